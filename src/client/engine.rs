//! The engine, as a service holds it.

use super::body::Body;
use super::builder::EngineBuilder;
use super::drained::DrainReport;
use super::not_ready::NotReady;
use super::on_each::OnEach;
use super::shard::Shard;
use super::snapshot::Snapshot;
use super::snapshots::{self, Snapshots};
use super::upstream::{Addressed, Upstream, send};
use crate::audit::AuditWriter;
use crate::config::{CallOptions, Config, UpstreamConfig, UpstreamUrl, UrlError};
use crate::driver::uring::Uring;
use crate::engine::EngineShared;
use crate::engine::standing::StandingTask;
use crate::engine::threads::Threads;
use crate::engine::watch::FileWatch;
use crate::error::{Error, ErrorKind, Phase};
use crate::shard::mailbox::Control;
use crate::shard::sharing::movable::Underway;
use futures_channel::oneshot;
use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::time::Duration;

/// The whole: shard threads, and the connections that they keep.
///
/// Dropping it stops the shards, closes every connection and waits until that is done; calls still under
/// way fail with [`Draining`](ErrorKind::Draining). [`drain`](Engine::drain) lets them end first.
pub struct Engine {
    // Before `threads`: it ends looking at files.
    _watch: Option<FileWatch>,
    // Before `shared`: it ends the threads.
    _threads: Threads,
    // After `threads`: it records what they told last.
    _audit: Option<AuditWriter>,
    shared: Arc<EngineShared<Uring>>,
}

impl Engine {
    /// Starts an engine: checks `config` as a whole, starts the shards, and begins to dial warm
    /// connections. Returns when every shard runs, not when every connection is up; for that there
    /// is [`ready`](Engine::ready).
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config), with all mistakes; [`Unsupported`](ErrorKind::Unsupported) where
    /// the machine refuses io_uring, with what refuses it and the remedy.
    pub fn start(config: Config) -> Result<Engine, Error> {
        Engine::builder(config).start()
    }

    /// For an engine with more than a configuration to it.
    pub fn builder(config: Config) -> EngineBuilder {
        EngineBuilder::new(config)
    }

    pub(super) fn of(
        shared: Arc<EngineShared<Uring>>,
        audit: Option<AuditWriter>,
    ) -> Result<Engine, Error> {
        let threads = Threads::start(&shared)?;
        Ok(Engine {
            _watch: FileWatch::start(&shared)?,
            _threads: threads,
            _audit: audit,
            shared,
        })
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.shared.mailboxes.len()
    }

    /// A handle on a named upstream.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) if the configuration has none of that name.
    pub fn upstream(&self, name: &str) -> Result<Upstream, Error> {
        Ok(Upstream::new(self.shared.clone(), self.shared.named(name)?))
    }

    /// Sends a request to wherever its absolute URL says. The upstream is found or made, with the
    /// settings in `defaults` of the configuration; at most `upstreams_max` of those are kept.
    ///
    /// # Errors
    /// As [`Upstream::call`]; also [`Request`](ErrorKind::Request) if the URL is not absolute, and
    /// [`Forbidden`](ErrorKind::Forbidden) if `access` in the configuration does not let the engine connect there;
    /// [`Refused`](ErrorKind::Refused) if there are too many upstreams and all are in use.
    pub async fn call<B: Into<Body>>(
        &self,
        request: http::Request<B>,
    ) -> Result<http::Response<Body>, Error> {
        let url = destination(request.uri())?;
        let (_, (shard, underway)) = self.shared.by_url(&url, |upstream| {
            let shard = self.shared.shard_for(upstream);
            (
                shard,
                Underway::new(&self.shared.mailboxes[shard], upstream),
            )
        })?;
        let call = Addressed {
            options: CallOptions::default(),
            request,
        };
        let upstream = underway.upstream().clone();
        let mut answer = send(&self.shared, &upstream, shard, underway, call)?;
        let answered = poll_fn(|cx| answer.poll_head(cx, &upstream)).await?;
        Ok(Body::response(answered, answer.into_upload()))
    }

    /// Ends the engine without haste: nothing new is let in, idle connections close at once, and what is
    /// under way has until `within` from now to end by itself. What is left then is cut, and the report
    /// says what that was. It comes when every connection is closed, some time before `within` is over if
    /// nothing has to be cut.
    ///
    /// Under way is whatever was begun before: calls from anywhere, those that wait for a connection and
    /// those between two attempts too; the rest of their bodies; leases; and the tasks on the shards, which
    /// learn of it ([`Shard::draining`](crate::on_shard::Shard::draining)). What begins later gets
    /// [`Draining`](ErrorKind::Draining), calls of tasks on the shards too. Sockets that were detached are
    /// nobody's business any more: the report counts those that are still out.
    ///
    /// A second drain joins the first; the earlier deadline counts. Dropping the future does not call it
    /// off. When it is over the engine still tells its figures; dropping it ends the threads.
    pub async fn drain(&self, within: Duration) -> DrainReport {
        // The sender stays where the shared state is: this cannot be cancelled.
        let _ = self.shared.drain(within).await;
        DrainReport::of(&self.shared.drained())
    }

    /// Waits until every warm connection (`idle_min`) is up, for `within` at most.
    ///
    /// # Errors
    /// [`Timeout`](ErrorKind::Timeout) of phase [`Ready`](Phase::Ready); the message says what is
    /// missing, and why. [`NotReady::of`] has it in parts.
    pub async fn ready(&self, within: Duration) -> Result<(), Error> {
        let ask = |reply| Control::Ready(within, reply);
        let mut missing = Vec::new();
        for answer in snapshots::ask_all(&self.shared, ask).await {
            missing.extend(answer?);
        }
        if missing.is_empty() {
            return Ok(());
        }
        let missing = NotReady::new(missing);
        let what = format!("not ready within {within:?}: {missing}");
        Err(Error::new(ErrorKind::Timeout(Phase::Ready), what).caused_by(missing))
    }

    /// Puts other settings in force for a named upstream, while it is in use. When this returns, every
    /// shard decides by them: handles made before see them at their next call, and what has begun goes
    /// on by the settings it began with.
    ///
    /// Everything may change but `url`, `tls.server_name` and `tls.alpn`, which say what the upstream is.
    /// - `connections_max` and the reserves hold at once. Where more is open than they allow, nothing is
    ///   dialled; idle connections close, and those in use when they are released.
    /// - Where connections are made otherwise (`keepalive`, `user_timeout`, `tls`) or elsewhere (`endpoints`),
    ///   those that are open are replaced within `drain_timeout`. One still in use then is closed,
    ///   and whoever uses it gets [`Closed`](ErrorKind::Closed).
    /// - Where TLS trusts others or proves something else (anything else of `tls`: roots, pinned keys, revocation lists, our
    ///   certificate), handshakes go by that at once, and tickets of before are dropped. Files that `tls` names are read anew, here, on
    ///   the caller's thread, whether or not their names have changed.
    ///
    /// Upstreams made on the fly for absolute URLs have no name and cannot be reconfigured; they go by
    /// `defaults`.
    ///
    /// Dropping the future does not take the settings back.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) with all mistakes, or if there is no upstream of that name: nothing
    /// has changed then. [`Draining`](ErrorKind::Draining) if a shard has stopped.
    pub async fn reconfigure(&self, upstream: &str, config: UpstreamConfig) -> Result<(), Error> {
        let known = self.shared.named(upstream)?;
        let shards = self.shared.reconfigure(&known, config)?;
        self.taken_up(shards).await
    }

    /// Waits until every shard has taken something up.
    async fn taken_up(&self, shards: Vec<oneshot::Receiver<()>>) -> Result<(), Error> {
        for (taken, mailbox) in shards.into_iter().zip(self.shared.mailboxes.iter()) {
            taken.await.map_err(|_| mailbox.refusal())?;
        }
        Ok(())
    }

    /// Reads the files that the upstream's `tls` settings name anew: after a certificate, its key or the roots were renewed
    /// in place. As [`reconfigure`](Engine::reconfigure) with the settings in force; where the files say what they said before, nothing
    /// changes. The engine looks for changes by itself (`reload_interval`); this does not wait for that. Write new
    /// files under other names and rename them: what is read half-written is refused. How it went is in the snapshot, too.
    ///
    /// # Errors
    /// As there: what was read before stays in force then.
    pub async fn reload(&self, upstream: &str) -> Result<(), Error> {
        let known = self.shared.named(upstream)?;
        let shards = self.shared.reload(&known)?;
        self.taken_up(shards).await
    }

    /// Runs a task on every shard, on its thread: `task` is called once on each, and the future that
    /// it returns need not be `Send`. A panic ends that task alone.
    ///
    /// On a shard that was lost by a defect of the engine, and started again, `task` is called anew,
    /// unless its task had ended: what that one returns is the result then.
    pub fn spawn_on_each<F, R>(&self, task: F) -> OnEach<R::Output>
    where
        F: Fn(Shard) -> R + Clone + Send + 'static,
        R: Future + 'static,
        R::Output: Send + 'static,
    {
        let (task, on_each) = OnEach::of(task, self.shards());
        let begun = (0..self.shards()).map(|shard| match task.make(shard) {
            Some(work) => self.shared.submit(shard, work),
            None => Ok(()),
        });
        let refused = begun.map(Result::err).collect();
        self.shared.standing.add(Box::new(task));
        on_each.except(refused)
    }

    /// What the engine has counted, and what it holds. A shard that does not tell within a second, because a task blocks its thread, is
    /// [missing](Snapshot::missing): the others' figures come, and what it told last, so that no counter falls. The same
    /// goes for a shard that stays down. [`Snapshots::within`] sets another time limit.
    ///
    /// # Errors
    /// [`Draining`](ErrorKind::Draining) if it is stopping.
    pub async fn snapshot(&self) -> Result<Snapshot, Error> {
        snapshots::take(&self.shared, snapshots::PATIENCE).await
    }

    /// What takes snapshots without the engine at hand: for whoever publishes them.
    pub fn snapshots(&self) -> Snapshots {
        Snapshots::of(self.shared.clone())
    }

    /// Makes a shard's loop panic, as a defect of the engine would: to see what that does to a service.
    /// Only with the feature `chaos`.
    ///
    /// # Panics
    /// If there is no such shard.
    #[cfg(feature = "chaos")]
    pub fn panic_shard(&self, shard: usize) {
        self.shared.mailboxes[shard].control(Control::Panic);
    }

    /// Stops the engine and waits until nothing is left of it. The same as dropping it.
    pub fn stop(self) {
        drop(self);
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.shared.directory.keys().map(|name| &**name).collect();
        f.debug_struct("Engine")
            .field("shards", &self.shards())
            .field("upstreams", &names)
            .finish_non_exhaustive()
    }
}

/// Scheme, host and port of an absolute URL.
pub(crate) fn destination(uri: &http::Uri) -> Result<UpstreamUrl, Error> {
    let refuse = |what: String| Error::new(ErrorKind::Request, what);
    match (uri.scheme_str(), uri.authority()) {
        (Some(scheme @ ("http" | "https")), Some(authority)) => format!("{scheme}://{authority}")
            .parse()
            .map_err(|error: UrlError| refuse(error.to_string()).caused_by(error)),
        (Some(other), Some(_)) => Err(refuse(format!("{other:?} is neither http nor https"))),
        (_, None) | (None, _) => Err(refuse(format!("{uri} is not an absolute URL"))),
    }
}
