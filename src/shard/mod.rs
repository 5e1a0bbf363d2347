//! One shard: a thread's worth of connections, and the loop that serves them.
//!
//! Owns: the order of a turn. Never: locks, or waits for anything but its driver.
//!
//! ```text
//! reap ─→ translate ─→ decide ─→ perform ─→ submit (and sleep, if there is nothing to do)
//! ```
//! - *reap, translate*: the driver's events and the clock change connections, and note down which
//!   tasks have something to look at;
//! - *decide*: messages from other threads, then the tasks; they check connections out, write, read;
//! - *perform*: what had to wait for a look at the driver's newest events is granted;
//! - *submit*: one call hands all that to the kernel, and sleeps until the next event or timer.

mod account;
mod addresses;
mod again;
pub(crate) mod answer;
mod audit;
#[cfg(any(test, feature = "simulation"))]
mod by_hand;
pub(crate) mod bytes_in;
mod bytes_out;
pub(crate) mod call;
mod checkout;
mod connection;
mod copying;
pub(crate) mod core;
pub(crate) mod crossing;
mod demux;
pub(crate) mod desk;
mod dialing;
mod doorbell;
mod draining;
mod entrance;
mod events;
pub(crate) mod exchange;
mod executor;
mod faults;
pub(crate) mod figures;
pub(crate) mod forward;
mod forwarded;
mod framing;
mod homes;
mod homing;
mod hunger;
mod lag;
pub(crate) mod lease;
mod lifecycle;
pub(crate) mod local;
#[cfg(feature = "simulation")]
pub(crate) mod look;
pub(crate) mod lookup;
pub(crate) mod lost;
pub(crate) mod mailbox;
pub(crate) mod meters;
mod options;
mod parker;
pub(crate) mod pipe;
mod policy;
mod pooling;
pub(crate) mod propagation;
pub(crate) mod ready;
pub(crate) mod receiving;
pub(crate) mod recycled;
mod refusal;
mod resolving;
mod returning;
pub(crate) mod serve;
pub(crate) mod serve_lease;
pub(crate) mod sharing;
mod siblings;
mod slots;
mod stopping;
#[cfg(any(test, feature = "simulation"))]
mod stream_call;
mod stream_io;
#[cfg_attr(
    not(any(test, feature = "simulation")),
    allow(dead_code, reason = "services speak no protocol with streams yet")
)]
pub(crate) mod stream_lease;
mod streams;
mod task_names;
mod teardown;
pub(crate) mod terms;
mod transport;
pub(crate) mod upload;
pub(crate) mod upstream;
mod upstreams;
mod waking;

use crate::audit::Trail;
use crate::driver::{Driver, Wait};
use crate::lifecycle::LifecycleSubscriber;
use crate::time::Time;
use core::{Core, CoreSettings};
use desk::Desk;
use doorbell::Doorbells;
use draining::Drain;
use executor::Executor;
use figures::Tally;
use local::{Directory, LocalParts, LocalShard};
use lookup::Resolver;
use mailbox::{Control, Mailbox};
use ready::ReadyWatch;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What a shard is made of.
pub(crate) struct Parts<D: Driver> {
    pub(crate) driver: D,
    pub(crate) clock: crate::time::clock::Clock,
    pub(crate) index: usize,
    pub(crate) seed: u64,
    pub(crate) settings: CoreSettings,
    pub(crate) resolver: Resolver,
    pub(crate) directory: Directory,
    pub(crate) mailboxes: Arc<[Arc<Mailbox<D>>]>,
    pub(crate) desk: Arc<Desk>,
    /// The totals of the shard before this one, if that was lost.
    pub(crate) tally: Tally,
    /// Where connections are told of, if anywhere.
    pub(crate) trail: Option<Arc<Trail>>,
    /// Who is told what happens to them, if anybody.
    pub(crate) subscriber: Option<Arc<dyn LifecycleSubscriber>>,
}

/// A shard, to be turned by the thread that made it.
pub(crate) struct Shard<D: Driver> {
    local: LocalShard<D>,
    mailbox: Arc<Mailbox<D>>,
    watches: Vec<ReadyWatch>,
    desk: Arc<Desk>,
    doorbells: Rc<Doorbells>,
    drain: Option<Drain>,
    /// It failed, and its mailbox is its successor's.
    lost: bool,
    stopping: bool,
}

/// What is to be done after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// There will be another one.
    GoOn,
    /// The shard has stopped and nothing is left of it.
    Stopped,
}

/// How much of the mailbox one turn takes, so that a flood of calls cannot keep the ring waiting.
const WORK_PER_TURN: usize = 256;

/// How long stopping waits for the kernel to let go of the last connection. What is left then is
/// the driver's to cancel, or to leak.
const STOP_MAX: Duration = Duration::from_secs(2);

impl<D: Driver> Shard<D> {
    pub(crate) fn new(parts: Parts<D>) -> Shard<D> {
        let mailbox = parts.mailboxes[parts.index].clone();
        mailbox.parker.set_signal(parts.driver.signal());
        let mut core = Core::new(
            parts.driver,
            parts.clock,
            parts.index,
            parts.seed,
            parts.settings,
            parts.resolver,
            parts.mailboxes,
        );
        core.tally = parts.tally;
        core.trail = parts.trail;
        core.subscriber = parts.subscriber;
        let local = LocalShard::new(LocalParts {
            core: RefCell::new(core),
            executor: Executor::new(mailbox.clone()),
            directory: parts.directory,
            exchanges: Rc::default(),
        });
        Shard {
            local,
            mailbox,
            watches: Vec::new(),
            desk: parts.desk,
            doorbells: Rc::default(),
            drain: None,
            lost: false,
            stopping: false,
        }
    }

    /// Turns until told to stop.
    ///
    /// # Errors
    /// If the driver became unusable; what was open is closed by dropping the shard.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        while self.turn(true)? == Turn::GoOn {}
        Ok(())
    }

    /// One turn. Sleeps at its end if there is nothing to do and `may_sleep`.
    ///
    /// # Errors
    /// If the driver became unusable.
    pub(crate) fn turn(&mut self, may_sleep: bool) -> io::Result<Turn> {
        self.begin_turn()?;
        self.end_turn(may_sleep)
    }

    /// A turn up to where the kernel hears of it: all that takes the thread's own time.
    fn begin_turn(&mut self) -> io::Result<()> {
        let executor = self.local.executor.clone();
        let _turn = executor.begin_turn();
        let doorbells = self.doorbells.clone();
        self.local.core.borrow_mut().reap();
        let _callers = doorbells.begin_turn(self.local.now());
        self.take_mail();
        executor.run();
        self.perform()
    }

    fn end_turn(&mut self, may_sleep: bool) -> io::Result<Turn> {
        self.go_on_draining();
        if self.stopping {
            return self.stop();
        }
        self.submit(may_sleep)?;
        Ok(Turn::GoOn)
    }

    fn take_mail(&mut self) {
        while let Some(message) = self.mailbox.take_control() {
            self.on_control(message);
        }
        while let Some(waiter) = self.mailbox.take_moved() {
            self.local.core.borrow_mut().on_moved(waiter);
        }
        for _ in 0..WORK_PER_TURN {
            match self.mailbox.take_work() {
                Some(work) => self.local.take(work),
                None => break,
            }
        }
    }

    fn on_control(&mut self, message: Control) {
        let local = self.local.clone();
        let mut core = local.core.borrow_mut();
        match message {
            Control::Warm(shared) => {
                core.upstream_key(&shared);
            }
            Control::Share(shared) => core.on_share(&shared),
            Control::Forget(id) => core.forget(id),
            Control::Configure(shared, settings, done) => {
                core.configure(&shared, &settings);
                // There may be room now, for this upstream or another.
                core.on_capacity();
                // Whoever wanted to know may be gone.
                let _ = done.send(());
            }
            Control::Resolved(answer) => core.on_resolved(answer),
            // Nothing is kept warm any more: dropping the reply says so.
            Control::Ready(..) if core.draining => {}
            Control::Ready(within, reply) => self
                .watches
                .push(ReadyWatch::new(core.now() + within, reply)),
            Control::Figures(reply) => {
                let executor = &self.local.executor;
                core.begin_copy(executor.len(), executor.panics(), reply);
            }
            Control::Drain { begun, by } => self.begin_drain(&mut core, begun, by),
            Control::Stop => self.stopping = true,
            #[cfg(any(test, feature = "simulation", feature = "chaos"))]
            Control::Panic => panic!("a panic that was asked for"),
        }
    }

    fn perform(&mut self) -> io::Result<()> {
        let mut core = self.local.core.borrow_mut();
        core.tally.turns += 1;
        core.settle_deferred()?;
        if self.mailbox.take_capacity() {
            core.on_capacity();
        }
        // Before needs are answered: a call that runs here spares a close here and a dial there.
        if !self.stopping {
            core.share()?;
        }
        if self.mailbox.take_need() || core.needs_left {
            core.answer_needs();
        }
        core.resume_receiving();
        core.schedule_untimed();
        if core.is_copying() {
            core.go_on_copying();
        }
        if !self.watches.is_empty() {
            self.watches.retain_mut(|watch| !core.answer_ready(watch));
        }
        let mut taken = std::mem::take(&mut core.taken);
        drop(core);
        for call in taken.drain(..) {
            serve::take_over(&self.local, call);
        }
        self.local.core.borrow_mut().taken = taken;
        Ok(())
    }

    /// Hands everything to the kernel; sleeps if nothing is left to do here.
    fn submit(&mut self, may_sleep: bool) -> io::Result<()> {
        let mut core = self.local.core.borrow_mut();
        let carried = self.local.executor.has_carried();
        let left = carried || core.has_left() || core.driver().pending();
        core.note_turn(left || !self.mailbox.is_empty());
        if !may_sleep || carried || core.has_left() || core.is_copying() {
            return core.driver().enter(Wait::No);
        }
        self.mailbox.parker.announce_sleep();
        let wait = if self.mailbox.is_empty() && !self.drain_is_due(&core) {
            self.wait(&core)
        } else {
            Wait::No
        };
        let entered = core.driver().enter(wait);
        self.mailbox.parker.woken();
        entered
    }

    fn wait(&self, core: &Core<D>) -> Wait {
        let watched = self
            .watches
            .iter()
            .map(|watch| watch.look_again(core.now()))
            .min();
        let others = watched
            .into_iter()
            .chain(self.drain_deadline())
            .chain(self.doorbells.deadline());
        match core.next_timer().into_iter().chain(others).min() {
            None | Some(Time::NEVER) => Wait::Event,
            // From the clock, not from the turn's beginning: the turn itself took time.
            Some(at) => match at.since(core.clock_now()) {
                Duration::ZERO => Wait::No,
                left => Wait::EventOr(left),
            },
        }
    }

    /// Ends: the mailbox first, so that nothing comes in; then tasks, so that leases are let go; then
    /// connections.
    fn stop(&mut self) -> io::Result<Turn> {
        self.mailbox.close();
        self.watches.clear();
        self.local.core.borrow_mut().interrupt();
        self.local.executor.finish();
        let begun = {
            let mut core = self.local.core.borrow_mut();
            core.begin_stop();
            core.clock_now()
        };
        loop {
            let mut core = self.local.core.borrow_mut();
            if core.is_quiet() || core.clock_now().since(begun) > STOP_MAX {
                core.finish_stop();
                return Ok(Turn::Stopped);
            }
            core.driver()
                .enter(Wait::EventOr(Duration::from_millis(100)))?;
            core.reap();
        }
    }
}

impl<D: Driver> Drop for Shard<D> {
    /// Tasks hold handles on the shard, and the shard holds the tasks: without this a shard that ends
    /// by a panic would never let go of its driver.
    fn drop(&mut self) {
        if !self.lost {
            self.mailbox.close();
        }
        self.local.executor.clear();
    }
}
