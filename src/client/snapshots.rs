//! Whoever looks at an engine's figures from time to time, and does not own it.

use super::snapshot::Snapshot;
use crate::driver::Driver;
use crate::driver::uring::Uring;
use crate::engine::EngineShared;
use crate::error::{Error, ErrorKind};
use crate::shard::figures::ShardFigures;
use crate::shard::mailbox::Control;
use futures_channel::oneshot;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

/// How long a shard has to tell its figures, by default: a second is a thousand times what it takes while it turns, and a tenth of
/// Prometheus' usual `scrape_timeout`.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// Takes snapshots of an engine, from any thread: see [`Engine::snapshots`](crate::Engine::snapshots). Like other handles it
/// keeps no thread and no descriptor of an engine that was dropped.
#[derive(Clone)]
pub struct Snapshots {
    engine: Arc<EngineShared<Uring>>,
    patience: Duration,
}

impl Snapshots {
    pub(super) fn of(engine: Arc<EngineShared<Uring>>) -> Snapshots {
        Snapshots {
            engine,
            patience: PATIENCE,
        }
    }

    /// With another time limit for the shards, of which each has one second by default. It is for all of them together, since all are
    /// asked at once: a snapshot takes no longer.
    pub fn within(self, patience: Duration) -> Snapshots {
        Snapshots { patience, ..self }
    }

    /// How long a snapshot takes at most.
    #[cfg(any(feature = "prometheus", feature = "opentelemetry"))]
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// As [`Engine::snapshot`](crate::Engine::snapshot).
    ///
    /// # Errors
    /// As there.
    pub async fn take(&self) -> Result<Snapshot, Error> {
        take(&self.engine, self.patience).await
    }
}

impl fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshots")
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

/// Asks every shard, and puts together what those tell that answer in time. Of the others there is what they told last.
pub(crate) async fn take<D: Driver>(
    engine: &EngineShared<D>,
    patience: Duration,
) -> Result<Snapshot, Error> {
    let until = engine.now() + patience;
    let mut asked = Asked::all(engine);
    let mut alarm = engine.alarms.at(until);
    poll_fn(|cx| match asked.poll(cx) {
        Poll::Pending => alarm.poll(cx),
        Poll::Ready(()) => Poll::Ready(()),
    })
    .await;
    let mut snapshot = Snapshot::default();
    let known = engine.upstreams();
    for (shard, answer) in asked.answers.iter().enumerate() {
        let mailbox = &engine.mailboxes[shard];
        let last = || engine.told.last(shard);
        let age = |last: &ShardFigures| engine.now().since(last.at);
        match answer {
            Answer::Told(figures) => {
                snapshot.add(figures, &known, mailbox.depth(), mailbox.losses())
            }
            Answer::Owed(_) => {
                let last = last();
                let told = last.as_deref().map(|last| (last, age(last)));
                snapshot.add_missing(shard, told, &known, mailbox.depth(), mailbox.losses());
            }
            Answer::None => match mailbox.refusal() {
                error if error.kind() == ErrorKind::Draining => return Err(error),
                error => {
                    let last = last();
                    let told = last.as_deref().map(|last| (last, age(last)));
                    snapshot.add_down(shard, told, &known, mailbox.losses(), &error);
                }
            },
        }
    }
    for state in &mut snapshot.by_shard {
        let entrance = engine.mailboxes[state.shard].entrance();
        (state.refused_full, state.refused_draining) = entrance.all_turned_away();
    }
    snapshot.settle(&known);
    if let Some(trail) = &engine.trail {
        snapshot.audit = trail.figures();
    }
    Ok(snapshot)
}

/// Shards that were asked for their figures.
struct Asked<'a, D: Driver> {
    engine: &'a EngineShared<D>,
    /// By shard.
    answers: Vec<Answer>,
}

enum Answer {
    Owed(oneshot::Receiver<ShardFigures>),
    Told(Arc<ShardFigures>),
    /// There will be none.
    None,
}

impl<D: Driver> Asked<'_, D> {
    fn all(engine: &EngineShared<D>) -> Asked<'_, D> {
        let answers = engine.mailboxes.iter().map(|mailbox| {
            let owed = engine.told.owed(mailbox.index());
            Answer::Owed(owed.unwrap_or_else(|| ask(mailbox, Control::Figures)))
        });
        let answers = answers.collect();
        Asked { engine, answers }
    }

    /// Ready when every shard has answered, or cannot.
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        let mut all = Poll::Ready(());
        for (shard, answer) in self.answers.iter_mut().enumerate() {
            if let Answer::Owed(owed) = answer {
                *answer = match Pin::new(owed).poll(cx) {
                    Poll::Ready(Ok(figures)) => Answer::Told(self.engine.told.keep(shard, figures)),
                    Poll::Ready(Err(oneshot::Canceled)) => Answer::None,
                    Poll::Pending => {
                        all = Poll::Pending;
                        continue;
                    }
                };
            }
        }
        all
    }
}

impl<D: Driver> Drop for Asked<'_, D> {
    fn drop(&mut self) {
        for (shard, answer) in self.answers.drain(..).enumerate() {
            if let Answer::Owed(answer) = answer {
                self.engine.told.owes(shard, answer);
            }
        }
    }
}

fn ask<D: Driver, T>(
    mailbox: &crate::shard::mailbox::Mailbox<D>,
    question: impl Fn(oneshot::Sender<T>) -> Control,
) -> oneshot::Receiver<T> {
    let (reply, answer) = oneshot::channel();
    mailbox.control(question(reply));
    answer
}

/// Asks every shard, and waits for all answers.
pub(super) async fn ask_all<T>(
    engine: &EngineShared<Uring>,
    question: impl Fn(oneshot::Sender<T>) -> Control,
) -> Vec<Result<T, Error>> {
    let mailboxes = engine.mailboxes.iter();
    let answers: Vec<_> = mailboxes.map(|mailbox| ask(mailbox, &question)).collect();
    let mut all = Vec::new();
    for (answer, mailbox) in answers.into_iter().zip(engine.mailboxes.iter()) {
        all.push(answer.await.map_err(|_| mailbox.refusal()));
    }
    all
}
