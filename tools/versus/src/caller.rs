//! The loop of one caller, the same for every client that is a library.
//!
//! Owns: when a call begins, in closed loops and in bursts. Never: knows a runtime, but for the sleep that it
//! is given.

use crate::measure::{Meter, Outcome};
use crate::scenario::{Pace, QUIET, Scenario};
use std::cell::{Cell, OnceCell, RefCell};
use std::future::{Future, poll_fn};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// The pause after a call that failed.
const REST: Duration = Duration::from_millis(1);

/// Whoever makes calls, one at a time.
pub(crate) trait Caller {
    /// Sends one request and reads the response to its end; status, length and whatever else the client tells
    /// have been looked at.
    fn call(&mut self) -> impl Future<Output = Result<(), String>>;

    /// The runtime's own sleep.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()>;
}

thread_local! {
    /// What all callers of a client share: one client runs in a process, and its callers on one thread. Here rather
    /// than in each of them, so that their futures are `Send`, as some runtimes want them.
    static SHARED: OnceCell<Shared> = const { OnceCell::new() };
}

struct Shared {
    meter: Meter,
    pace: Pace,
    gate: Gate,
}

fn shared<R>(look: impl FnOnce(&Shared) -> R) -> R {
    SHARED.with(|shared| look(shared.get().expect("callers begin before they run")))
}

/// The callers of the client that runs on this thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Callers(());

impl Callers {
    /// Makes ready for all callers of `scenario`; each of them has to run, on this thread, and nothing may have
    /// begun on it before.
    pub(crate) fn begin(scenario: &Scenario, seconds: u64) -> Callers {
        SHARED.with(|shared| {
            let fresh = shared.set(Shared {
                meter: Meter::new(Duration::from_secs(seconds)),
                pace: scenario.pace,
                gate: Gate::new(scenario.callers),
            });
            assert!(fresh.is_ok(), "one client a thread");
        });
        Callers(())
    }

    /// One caller, until the window has closed.
    pub(crate) async fn run(self, mut caller: impl Caller) {
        match shared(|shared| shared.pace) {
            Pace::Closed => closed_loop(&mut caller).await,
            Pace::Burst => bursts(&mut caller).await,
        }
    }

    /// What came of it, when all have ended.
    pub(crate) fn outcome(self) -> Result<Outcome, String> {
        shared(|shared| shared.meter.outcome())
    }
}

async fn closed_loop(caller: &mut impl Caller) {
    while shared(|shared| shared.meter.is_running()) {
        let began = shared(|shared| shared.meter.begin());
        let outcome = caller.call().await;
        let failed = outcome.is_err();
        shared(|shared| shared.meter.end(began, outcome));
        if failed {
            caller.sleep(REST).await;
        }
    }
}

async fn bursts(caller: &mut impl Caller) {
    loop {
        // The last one to come opens the gate for all.
        if shared(|shared| shared.gate.arrive()) {
            caller.sleep(QUIET).await;
            shared(|shared| shared.gate.open());
        } else {
            pass().await;
        }
        if !shared(|shared| shared.meter.is_running()) {
            return;
        }
        let outcome = caller.call().await;
        shared(|shared| shared.meter.end(Some(shared.gate.opened_at.get()), outcome));
    }
}

/// Waits for the gate's next opening.
async fn pass() {
    let openings = shared(|shared| shared.gate.openings.get());
    poll_fn(|context| {
        shared(|shared| {
            if shared.gate.openings.get() != openings {
                return Poll::Ready(());
            }
            let mut waiting = shared.gate.waiting.borrow_mut();
            waiting.push(context.waker().clone());
            Poll::Pending
        })
    })
    .await
}

/// Where callers gather for a burst.
struct Gate {
    callers: usize,
    missing: Cell<usize>,
    /// How often it was opened.
    openings: Cell<u64>,
    opened_at: Cell<Instant>,
    waiting: RefCell<Vec<Waker>>,
}

impl Gate {
    fn new(callers: usize) -> Gate {
        Gate {
            callers,
            missing: Cell::new(callers),
            openings: Cell::new(0),
            opened_at: Cell::new(Instant::now()),
            waiting: RefCell::new(Vec::with_capacity(callers)),
        }
    }

    /// Whether this is the last one.
    fn arrive(&self) -> bool {
        self.missing.set(self.missing.get() - 1);
        self.missing.get() == 0
    }

    fn open(&self) {
        self.missing.set(self.callers);
        self.openings.set(self.openings.get() + 1);
        self.opened_at.set(Instant::now());
        let waiting = self.waiting.replace(Vec::with_capacity(self.callers));
        waiting.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario;
    use std::rc::Rc;
    use tokio::task::LocalSet;

    /// Counts how many are under way at once, and answers when it has been polled twice.
    struct Counting(Rc<Cell<usize>>, Rc<Cell<usize>>);

    impl Caller for Counting {
        async fn call(&mut self) -> Result<(), String> {
            self.0.set(self.0.get() + 1);
            self.1.set(self.1.get().max(self.0.get()));
            tokio::task::yield_now().await;
            self.0.set(self.0.get() - 1);
            Ok(())
        }

        async fn sleep(&self, _: Duration) {
            assert_eq!(self.0.get(), 0, "the quiet begins when all have ended");
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn a_burst_is_all_callers_at_once_and_then_nobody() {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let burst = Scenario {
            callers: 16,
            ..*scenario::named("burst").unwrap()
        };
        let callers = Callers::begin(&burst, 1);
        let (now, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let tasks = LocalSet::new();
        for _ in 0..16 {
            tasks.spawn_local(callers.run(Counting(now.clone(), most.clone())));
        }
        runtime.unwrap().block_on(tasks);
        assert_eq!(most.get(), 16);
        let outcome = callers.outcome().unwrap();
        assert!(outcome.answered.unwrap().is_multiple_of(16));
    }
}
