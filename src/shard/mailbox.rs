//! What reaches a shard from other threads.
//!
//! Owns: the queues into a shard and the shard's sleep. Never: blocks a sender, or grows beyond what
//! the configuration and the number of calls under way allow.

pub(crate) use super::entrance::Gate;
use super::entrance::{Entrance, Why};
use super::figures::ShardFigures;
use super::hunger::Hunger;
use super::local::LocalShard;
use super::parker::Parker;
use super::ready::Missing;
use super::resolving::Answer;
use super::sharing::movable::Movable;
use super::upstream::{UpstreamId, UpstreamShared};
use crate::config::UpstreamConfig;
use crate::driver::Driver;
use crate::error::{Error, ErrorKind};
use crate::slab::Key;
use crate::time::Time;
use crossbeam::queue::{ArrayQueue, SegQueue};
use crossbeam::utils::CachePadded;
use futures_channel::oneshot;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// The way into one shard.
pub(crate) struct Mailbox<D: Driver> {
    entrance: Arc<Entrance>,
    /// Work from callers: bounded, since its senders are.
    work: ArrayQueue<Work<D>>,
    /// Upstreams with offered calls that this shard has room for; each is in here at most once.
    offered: SegQueue<UpstreamId>,
    /// Waiters of this shard whose calls siblings have taken.
    moved: SegQueue<Key>,
    /// The engine's own messages: few, and never to be refused.
    control: SegQueue<Control>,
    /// Tasks of this shard that other threads have woken; each is in here at most once.
    ready: SegQueue<Key>,
    /// Its own wait for permits.
    hunger: Hunger,
    /// A sibling starves for a permit.
    need: AtomicBool,
    /// How far the shard's loop is behind, in nanoseconds; on a line of its own, since others read it
    /// often and it changes seldom.
    lag: CachePadded<AtomicU64>,
    pub(crate) parker: Arc<Parker>,
}

/// What callers ask of a shard.
pub(crate) enum Work<D: Driver> {
    /// A call, which another shard could run as well.
    Call(Box<Movable>),
    /// Something to be run on this shard.
    Run(Errand<D>),
}

/// What only the shard itself can run.
pub(crate) type Errand<D> = Box<dyn FnOnce(&LocalShard<D>) + Send>;

/// When to come back to a mailbox that was full. 10 ms: a shard that keeps up takes hundreds of calls out of it in
/// each of its turns, and one that does not is not helped by callers who come sooner.
const FULL_RETRY: Duration = Duration::from_millis(10);

/// The engine's own messages to a shard.
pub(crate) enum Control {
    /// Keep this upstream's warm connections from now on.
    Warm(Arc<UpstreamShared>),
    /// Go by these settings of an upstream from now on, and say when that is so.
    Configure(
        Arc<UpstreamShared>,
        Arc<UpstreamConfig>,
        oneshot::Sender<()>,
    ),
    /// Shards share this upstream's waiting calls from now on.
    Share(Arc<UpstreamShared>),
    /// Give this upstream up: nobody holds a handle to it any more.
    Forget(UpstreamId),
    /// A name was resolved.
    Resolved(Answer),
    /// Tell when all warm connections are up, or after this long which are not and why.
    Ready(Duration, oneshot::Sender<Vec<Missing>>),
    /// Tell the figures.
    Figures(oneshot::Sender<ShardFigures>),
    /// Finish what is under way until `by`, then cut the rest.
    Drain { begun: Time, by: Time },
    /// End: drop tasks, fail calls, close connections.
    Stop,
    /// Panic, as a defect would.
    #[cfg(any(test, feature = "simulation", feature = "chaos"))]
    Panic,
}

impl<D: Driver> Mailbox<D> {
    pub(crate) fn new(index: usize, work_max: usize) -> Mailbox<D> {
        let parker = Arc::new(Parker::default());
        Mailbox {
            work: ArrayQueue::new(work_max),
            offered: SegQueue::new(),
            moved: SegQueue::new(),
            control: SegQueue::new(),
            ready: SegQueue::new(),
            hunger: Hunger::default(),
            need: AtomicBool::new(false),
            entrance: Arc::new(Entrance::new(index, parker.clone())),
            lag: CachePadded::new(AtomicU64::new(0)),
            parker,
        }
    }

    /// Queues work of a caller.
    ///
    /// # Errors
    /// [`Shed`](ErrorKind::Shed) if the queue is full, [`Draining`](ErrorKind::Draining) if the
    /// engine drains or has stopped; what the shard failed by if it stays down.
    pub(crate) fn submit(&self, work: Work<D>) -> Result<(), Error> {
        self.try_submit(work).map_err(|(error, _)| error)
    }

    /// As [`submit`](Mailbox::submit), giving back what cannot be queued.
    pub(crate) fn try_submit(&self, work: Work<D>) -> Result<(), (Error, Work<D>)> {
        // Pairs with `drain`: either this sees that the shard drains, or the shard sees the call.
        match self.gate() {
            Gate::Open | Gate::Lost => {}
            Gate::Draining | Gate::Closed => {
                self.entrance.turned_away(Why::Closed);
                return Err((self.refusal(), work));
            }
        }
        if let Err(work) = self.work.push(work) {
            self.entrance.turned_away(Why::Full);
            let what = format!(
                "the shard's mailbox is full ({} calls)",
                self.work.capacity()
            );
            let error = Error::new(ErrorKind::Shed, what).with_retry_after(FULL_RETRY);
            return Err((error, work));
        }
        self.parker.wake();
        // A shard that closed meanwhile may have emptied its queue before this push: whoever comes
        // last empties it, which fails the calls in it.
        if self.gate() == Gate::Closed {
            self.fail_all();
        }
        Ok(())
    }

    /// Queues a message of the engine. A shard that has stopped drops it.
    pub(crate) fn control(&self, message: Control) {
        if self.gate() == Gate::Closed {
            return;
        }
        self.control.push(message);
        self.parker.wake();
        if self.gate() == Gate::Closed {
            self.fail_all();
        }
    }

    /// Tells the shard to look for offered calls of an upstream.
    pub(crate) fn announce_offers(&self, upstream: UpstreamId) {
        self.offered.push(upstream);
        self.parker.wake();
    }

    /// Tells the shard that a sibling runs the call of one of its waiters.
    pub(crate) fn announce_moved(&self, waiter: Key) {
        self.moved.push(waiter);
        self.parker.wake();
    }

    /// Tells the shard that one of its tasks wants to run.
    pub(crate) fn wake_task(&self, task: Key) {
        self.ready.push(task);
        self.parker.wake();
    }

    /// Tells the shard that a permit came free, if it waits for one.
    pub(crate) fn announce_capacity(&self) {
        if self.hunger.announce() {
            self.parker.wake();
        }
    }

    /// Tells the shard that a sibling starves.
    pub(crate) fn announce_need(&self) {
        self.need.store(true, Ordering::SeqCst);
        self.parker.wake();
    }

    /// See [`Hunger::set_starving`].
    pub(crate) fn set_starving(&self, starving: bool) {
        self.hunger.set_starving(starving);
    }

    pub(crate) fn take_work(&self) -> Option<Work<D>> {
        self.work.pop()
    }

    pub(crate) fn take_control(&self) -> Option<Control> {
        first(&self.control)
    }

    pub(crate) fn take_ready(&self) -> Option<Key> {
        first(&self.ready)
    }

    pub(crate) fn take_offered(&self) -> Option<UpstreamId> {
        first(&self.offered)
    }

    pub(crate) fn take_moved(&self) -> Option<Key> {
        first(&self.moved)
    }

    pub(crate) fn take_capacity(&self) -> bool {
        self.hunger.take_news()
    }

    pub(crate) fn take_need(&self) -> bool {
        take(&self.need)
    }

    /// Whether the shard would find nothing here.
    pub(crate) fn is_empty(&self) -> bool {
        self.work.is_empty()
            && self.offered.is_empty()
            && self.moved.is_empty()
            && self.control.is_empty()
            && self.ready.is_empty()
            && !self.hunger.has_news()
            && !self.need.load(Ordering::Relaxed)
    }

    /// Lets no new work in from now on.
    pub(crate) fn drain(&self) {
        self.entrance.drain();
    }

    /// Refuses everything from now on, and fails what is queued.
    pub(crate) fn close(&self) {
        if self.entrance.close() {
            self.shut();
        }
    }

    /// The shard is lost by `fault`. What is queued waits for its successor.
    pub(crate) fn lose(&self, fault: &Error) {
        self.entrance.lose(fault);
        // Its tasks and waiters are gone, and it starves for nothing.
        while self.ready.pop().is_some() {}
        while self.moved.pop().is_some() {}
        self.hunger.set_starving(false);
    }

    /// A lost shard has a successor, unless it was told to drain meanwhile.
    pub(crate) fn reopen(&self) {
        self.entrance.reopen();
    }

    /// A lost shard has no successor: `fault` says so to everyone from now on.
    pub(crate) fn stay_down(&self, fault: Error) {
        self.entrance.stay_down(fault);
        self.shut();
    }

    /// After the gate was closed.
    fn shut(&self) {
        self.parker.clear_signal();
        self.fail_all();
    }

    pub(crate) fn gate(&self) -> Gate {
        self.entrance.gate()
    }

    /// How often the shard was lost.
    pub(crate) fn losses(&self) -> u64 {
        self.entrance.losses()
    }

    pub(crate) fn index(&self) -> usize {
        self.entrance.index()
    }

    /// See [`Entrance::refusal`].
    pub(crate) fn refusal(&self) -> Error {
        self.entrance.refusal()
    }

    /// Where calls to the shard are let in and counted.
    pub(crate) fn entrance(&self) -> &Arc<Entrance> {
        &self.entrance
    }

    /// Whether a call would find a place.
    pub(crate) fn has_room(&self) -> bool {
        !self.work.is_full() && self.gate() == Gate::Open
    }

    /// How far the shard's loop is behind, to a quarter's precision.
    pub(crate) fn lag(&self) -> Duration {
        Duration::from_nanos(self.lag.load(Ordering::Relaxed))
    }

    /// Lets others know how far the loop is behind.
    pub(crate) fn publish_lag(&self, lag: Duration) {
        let nanos = u64::try_from(lag.as_nanos()).unwrap_or(u64::MAX);
        // Two digits after the first one: a store for every small change would keep the line moving.
        let digits = nanos.checked_ilog2().unwrap_or(0).saturating_sub(2);
        let nanos = nanos >> digits << digits;
        if self.lag.load(Ordering::Relaxed) != nanos {
            self.lag.store(nanos, Ordering::Relaxed);
        }
    }

    /// How many calls from other threads are here or under way.
    pub(crate) fn depth(&self) -> usize {
        self.entrance.depth()
    }

    /// Dropping a piece of work tells its caller that it was not begun.
    fn fail_all(&self) {
        while self.work.pop().is_some() {}
        while self.offered.pop().is_some() {}
        while self.moved.pop().is_some() {}
        while self.control.pop().is_some() {}
        while self.ready.pop().is_some() {}
    }
}

fn take(flag: &AtomicBool) -> bool {
    flag.load(Ordering::Relaxed) && flag.swap(false, Ordering::SeqCst)
}

/// The first in a queue. Most are empty in most turns, and to look costs less than to pop, which fences where there is
/// nothing. What comes in the meantime is found before the shard sleeps ([`Mailbox::is_empty`]).
fn first<T>(queue: &SegQueue<T>) -> Option<T> {
    if queue.is_empty() { None } else { queue.pop() }
}
