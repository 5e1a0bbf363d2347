//! Whoever looks at an engine's figures from time to time, and does not own it.

use super::snapshot::Snapshot;
use crate::driver::uring::Uring;
use crate::engine::EngineShared;
use crate::error::{Error, ErrorKind};
use crate::shard::mailbox::Control;
use futures_channel::oneshot;
use std::fmt;
use std::sync::Arc;

/// Takes snapshots of an engine, from any thread: see [`Engine::snapshots`](crate::Engine::snapshots). Like other handles it
/// keeps no thread and no descriptor of an engine that was dropped.
#[derive(Clone)]
pub struct Snapshots(Arc<EngineShared<Uring>>);

impl Snapshots {
    pub(super) fn of(shared: Arc<EngineShared<Uring>>) -> Snapshots {
        Snapshots(shared)
    }

    /// As [`Engine::snapshot`](crate::Engine::snapshot).
    ///
    /// # Errors
    /// As there.
    pub async fn take(&self) -> Result<Snapshot, Error> {
        take(&self.0).await
    }
}

impl fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Snapshots")
    }
}

pub(super) async fn take(engine: &EngineShared<Uring>) -> Result<Snapshot, Error> {
    let mut snapshot = Snapshot::default();
    let answers = ask_all(engine, Control::Figures).await;
    for (answer, mailbox) in answers.into_iter().zip(engine.mailboxes.iter()) {
        match answer {
            Ok(figures) => snapshot.add(&figures, mailbox.depth(), mailbox.losses()),
            Err(error) if error.kind() == ErrorKind::Draining => return Err(error),
            Err(error) => snapshot.add_down(mailbox.index(), mailbox.losses(), &error),
        }
    }
    for upstream in engine.directory.values() {
        snapshot.add_reloads(&upstream.name, upstream.reloads.told());
    }
    if let Some(trail) = &engine.trail {
        snapshot.audit = trail.figures();
    }
    Ok(snapshot)
}

/// Asks every shard, and waits for all answers.
pub(super) async fn ask_all<T>(
    engine: &EngineShared<Uring>,
    question: impl Fn(oneshot::Sender<T>) -> Control,
) -> Vec<Result<T, Error>> {
    let mut answers = Vec::new();
    for mailbox in engine.mailboxes.iter() {
        let (reply, answer) = oneshot::channel();
        mailbox.control(question(reply));
        answers.push(answer);
    }
    let mut all = Vec::new();
    for (answer, mailbox) in answers.into_iter().zip(engine.mailboxes.iter()) {
        all.push(answer.await.map_err(|_| mailbox.refusal()));
    }
    all
}
