//! What reaches a shard from other threads.
//!
//! Owns: the queues into a shard and the shard's sleep. Never: blocks a sender, or grows beyond what
//! the configuration and the number of calls under way allow.

use super::figures::ShardFigures;
use super::hunger::Hunger;
use super::local::LocalShard;
use super::parker::Parker;
use super::resolving::Answer;
use super::upstream::{UpstreamId, UpstreamShared};
use crate::config::UpstreamConfig;
use crate::driver::Driver;
use crate::error::{Error, ErrorKind};
use crate::slab::Key;
use crate::time::Time;
use crossbeam::queue::{ArrayQueue, SegQueue};
use futures_channel::oneshot;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The way into one shard.
pub(crate) struct Mailbox<D: Driver> {
    index: usize,
    gate: AtomicU8,
    /// Work from callers: bounded, since its senders are.
    work: ArrayQueue<Work<D>>,
    /// The engine's own messages: few, and never to be refused.
    control: SegQueue<Control>,
    /// Tasks of this shard that other threads have woken; each is in here at most once.
    ready: SegQueue<Key>,
    /// Its own wait for permits.
    hunger: Hunger,
    /// A sibling starves for a permit.
    need: AtomicBool,
    /// What the shard failed by last. Locked where a shard is lost, and by those who are told.
    fault: Mutex<Option<Error>>,
    /// How often the shard was lost.
    losses: AtomicU64,
    /// Calls from other threads that are queued here or under way on the shard.
    depth: AtomicUsize,
    pub(crate) parker: Parker,
}

/// Who is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Gate {
    /// Everyone.
    Open = 0,
    /// The shard is lost, and is about to be started again: whoever comes waits for that.
    Lost = 1,
    /// The engine's messages. What is queued is served, nobody new is let in.
    Draining = 2,
    /// Nobody: the shard has stopped, or stays down.
    Closed = 3,
}

/// Something to be run on the shard.
pub(crate) type Work<D> = Box<dyn FnOnce(&LocalShard<D>) + Send>;

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
    /// Give this upstream up: nobody holds a handle to it any more.
    Forget(UpstreamId),
    /// A name was resolved.
    Resolved(Answer),
    /// Tell when all warm connections are up, or after this long which are not and why.
    Ready(Duration, oneshot::Sender<Vec<String>>),
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
        Mailbox {
            index,
            gate: AtomicU8::new(Gate::Open as u8),
            work: ArrayQueue::new(work_max),
            control: SegQueue::new(),
            ready: SegQueue::new(),
            hunger: Hunger::default(),
            need: AtomicBool::new(false),
            fault: Mutex::default(),
            losses: AtomicU64::new(0),
            depth: AtomicUsize::new(0),
            parker: Parker::default(),
        }
    }

    /// Queues work of a caller.
    ///
    /// # Errors
    /// [`Shed`](ErrorKind::Shed) if the queue is full, [`Draining`](ErrorKind::Draining) if the
    /// engine drains or has stopped; what the shard failed by if it stays down.
    pub(crate) fn submit(&self, work: Work<D>) -> Result<(), Error> {
        // Pairs with `drain`: either this sees that the shard drains, or the shard sees the call.
        match self.gate() {
            Gate::Open | Gate::Lost => {}
            Gate::Draining | Gate::Closed => return Err(self.refusal()),
        }
        if self.work.push(work).is_err() {
            return Err(Error::new(
                ErrorKind::Shed,
                format!(
                    "the shard's mailbox is full ({} calls)",
                    self.work.capacity()
                ),
            )
            .with_retry_after(FULL_RETRY));
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
        self.control.pop()
    }

    pub(crate) fn take_ready(&self) -> Option<Key> {
        self.ready.pop()
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
            && self.control.is_empty()
            && self.ready.is_empty()
            && !self.hunger.has_news()
            && !self.need.load(Ordering::Relaxed)
    }

    /// Lets no new work in from now on.
    pub(crate) fn drain(&self) {
        if self.gate() != Gate::Closed {
            // Who is refused from now on is refused because of this.
            *self.fault() = None;
        }
        self.gate.fetch_max(Gate::Draining as u8, Ordering::SeqCst);
    }

    /// Refuses everything from now on, and fails what is queued.
    pub(crate) fn close(&self) {
        if self.gate() != Gate::Closed {
            *self.fault() = None;
            self.shut();
        }
    }

    /// The shard is lost by `fault`. What is queued waits for its successor.
    pub(crate) fn lose(&self, fault: &Error) {
        *self.fault() = Some(fault.duplicate());
        self.losses.fetch_add(1, Ordering::Relaxed);
        self.gate.fetch_max(Gate::Lost as u8, Ordering::SeqCst);
        // Its tasks are gone, and it starves for nothing.
        while self.ready.pop().is_some() {}
        self.hunger.set_starving(false);
    }

    /// A lost shard has a successor, unless it was told to drain meanwhile.
    pub(crate) fn reopen(&self) {
        let (lost, open) = (Gate::Lost as u8, Gate::Open as u8);
        let order = (Ordering::SeqCst, Ordering::Relaxed);
        // Anything but lost stays as it is.
        let _ = self.gate.compare_exchange(lost, open, order.0, order.1);
    }

    /// A lost shard has no successor: `fault` says so to everyone from now on.
    pub(crate) fn stay_down(&self, fault: Error) {
        *self.fault() = Some(fault);
        self.shut();
    }

    fn shut(&self) {
        self.gate.store(Gate::Closed as u8, Ordering::SeqCst);
        self.parker.clear_signal();
        self.fail_all();
    }

    pub(crate) fn gate(&self) -> Gate {
        match self.gate.load(Ordering::SeqCst) {
            0 => Gate::Open,
            1 => Gate::Lost,
            2 => Gate::Draining,
            _ => Gate::Closed,
        }
    }

    /// What the shard failed by last, if that is of interest still.
    pub(crate) fn last_fault(&self) -> Option<Error> {
        self.fault().as_ref().map(Error::duplicate)
    }

    /// How often the shard was lost.
    pub(crate) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Relaxed)
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Why somebody is not let in, or gets no answer: what the shard failed by, or that it has ended.
    pub(crate) fn refusal(&self) -> Error {
        self.last_fault().unwrap_or_else(Error::draining)
    }

    fn fault(&self) -> MutexGuard<'_, Option<Error>> {
        // It is a single store that is locked.
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many calls from other threads are here or under way.
    pub(crate) fn depth(&self) -> usize {
        self.depth.load(Ordering::SeqCst)
    }

    /// Before [`submit`](Mailbox::submit): a shard that drains waits for it.
    pub(crate) fn begin_call(&self) {
        self.depth.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn end_call(&self) {
        self.depth.fetch_sub(1, Ordering::SeqCst);
        // Refused, it ends on its caller's thread; and a shard that drains waits for the last one.
        if self.gate() == Gate::Draining {
            self.parker.wake();
        }
    }

    /// Dropping a piece of work tells its caller that it was not begun.
    fn fail_all(&self) {
        while self.work.pop().is_some() {}
        while self.control.pop().is_some() {}
        while self.ready.pop().is_some() {}
    }
}

fn take(flag: &AtomicBool) -> bool {
    flag.load(Ordering::Relaxed) && flag.swap(false, Ordering::SeqCst)
}
