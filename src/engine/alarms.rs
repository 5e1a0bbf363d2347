//! Wakes those who wait on their own threads for a bounded time.
//!
//! Owns: a thread, from the first who waits until a while after the last. Never: runs anybody's code but wakers; one on a shard's way.

use crate::time::Time;
use crate::time::clock::Clock;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long the thread stays when nobody waits: whoever scrapes every few seconds starts it once.
const LINGER: Duration = Duration::from_secs(20);

/// The alarms of an engine.
pub(crate) struct Alarms {
    clock: Clock,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    set: BTreeMap<(Time, u64), Waker>,
    next: u64,
    thread: Option<JoinHandle<()>>,
    running: bool,
    ended: bool,
}

impl Alarms {
    pub(super) fn new(clock: Clock) -> Alarms {
        Alarms {
            clock,
            shared: Arc::default(),
        }
    }

    /// One for `until`; it is set when it is polled first.
    pub(crate) fn at(&self, until: Time) -> Alarm<'_> {
        Alarm {
            alarms: self,
            until,
            set: None,
        }
    }

    /// Ends the thread. Alarms go off only where they are looked at from now on.
    pub(super) fn end(&self) {
        let thread = {
            let mut state = self.shared.lock();
            state.ended = true;
            state.thread.take()
        };
        self.shared.changed.notify_all();
        // A waker may be what ends the engine.
        if let Some(thread) = thread.filter(|one| one.thread().id() != thread::current().id()) {
            // It does not panic: wakers may, and that is caught.
            let _ = thread.join();
        }
    }
}

impl Drop for Alarms {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is whole before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, clock: &Clock) {
        let mut state = self.lock();
        loop {
            let first = state.set.first_key_value();
            let left = first.map(|((at, _), _)| at.since(clock.now()));
            match left {
                _ if state.ended => break,
                Some(Duration::ZERO) => {
                    let due = state.set.pop_first();
                    drop(state);
                    if let Some((_, waker)) = due {
                        // One that panics fails its own caller: the others' alarms go off as well.
                        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
                    }
                    state = self.lock();
                }
                Some(left) => state = self.wait(state, left).0,
                None => {
                    let (next, alone) = self.wait(state, LINGER);
                    state = next;
                    if alone && state.set.is_empty() {
                        break;
                    }
                }
            }
        }
        state.running = false;
    }

    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        time: Duration,
    ) -> (MutexGuard<'a, State>, bool) {
        let waited = self.changed.wait_timeout(state, time);
        let (state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        (state, waited.timed_out())
    }
}

/// Goes off at its time. Dropped, it does not.
pub(crate) struct Alarm<'a> {
    alarms: &'a Alarms,
    until: Time,
    set: Option<u64>,
}

impl Alarm<'_> {
    /// Ready from its time on. Where no thread can be started it wakes nobody, and is ready nevertheless.
    pub(crate) fn poll(&mut self, cx: &TaskContext<'_>) -> Poll<()> {
        let Alarms { clock, shared } = self.alarms;
        if clock.now() >= self.until {
            return Poll::Ready(());
        }
        let mut state = shared.lock();
        let id = *self.set.get_or_insert_with(|| {
            state.next += 1;
            state.next
        });
        let before = state.set.insert((self.until, id), cx.waker().clone());
        if !state.running && !state.ended {
            let (shared, clock) = (shared.clone(), clock.clone());
            let begun = thread::Builder::new()
                .name("ringpool-alarms".to_owned())
                .spawn(move || shared.run(&clock));
            state.running = begun.is_ok();
            state.thread = begun.ok();
        }
        drop(state);
        // Not under the lock: what a waker's end runs is its maker's.
        drop(before);
        shared.changed.notify_all();
        Poll::Pending
    }
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.set {
            let waker = self.alarms.shared.lock().set.remove(&(self.until, id));
            // Where nothing is locked: a waker may have much to drop.
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::sync::mpsc::{Sender, channel};
    use std::task::Wake;

    #[test]
    fn it_goes_off_and_its_thread_ends_with_the_engine() {
        let clock = Clock::system();
        let alarms = Alarms::new(clock.clone());
        for _ in 0..3 {
            let until = clock.now() + Duration::from_millis(5);
            let mut alarm = alarms.at(until);
            crate::block_on(poll_fn(|cx| alarm.poll(cx)));
            assert!(clock.now() >= until);
        }
        let mut never = alarms.at(clock.now() + Duration::from_secs(3600));
        let cx = TaskContext::from_waker(Waker::noop());
        assert!(never.poll(&cx).is_pending() && never.poll(&cx).is_pending());
        assert_eq!(alarms.shared.lock().set.len(), 1);
        drop(never);
        assert!(alarms.shared.lock().set.is_empty());
        let shared = alarms.shared.clone();
        drop(alarms);
        assert!(!shared.lock().running);
    }

    struct Panics;

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a panic that was asked for");
        }
    }

    struct Tells(Sender<()>);

    impl Wake for Tells {
        fn wake(self: Arc<Self>) {
            let _ = self.0.send(());
        }
    }

    #[test]
    fn a_waker_that_panics_keeps_nobody_else_waiting() {
        let clock = Clock::system();
        let alarms = Alarms::new(clock.clone());
        let mut bad = alarms.at(clock.now() + Duration::from_millis(5));
        let waker = Waker::from(Arc::new(Panics));
        assert!(bad.poll(&TaskContext::from_waker(&waker)).is_pending());
        let mut alarm = alarms.at(clock.now() + Duration::from_millis(50));
        let (told, heard) = channel();
        let waker = Waker::from(Arc::new(Tells(told)));
        assert!(alarm.poll(&TaskContext::from_waker(&waker)).is_pending());
        let gone_off = heard.recv_timeout(Duration::from_secs(10));
        assert!(gone_off.is_ok(), "it never goes off");
    }
}
