//! What a scripted peer and its test tell each other: when the peer goes on.

use std::sync::{Condvar, Mutex};
use std::task::{Context, Poll, Waker};

/// When the peer goes on with its next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// At once.
    Free,
    /// With each thing it says once for each time that the test's future had nothing to do. It listens, shakes
    /// hands and completes a head at once: a caller on another thread is not woken by that, so there might
    /// never be a next time.
    Paced,
    /// At once, but only so many steps.
    Stall(u64),
}

/// What a step is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// What wakes nobody on another thread: the handshake, the request, the second half of a head.
    Prepare,
    /// The rest of the response.
    Answer,
}

/// What the peer and the test tell each other. A round is one conversation of the test's; the script holds for
/// the connection and the request of the present round only, others go on freely.
#[derive(Default)]
pub struct Script {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    round: u64,
    pace: Pace,
    steps: u64,
    pendings: u64,
    /// Pendings that were answered by a step.
    answered: u64,
    stalled: bool,
    waiting: Option<Waker>,
}

impl Default for State {
    fn default() -> State {
        State {
            round: 0,
            pace: Pace::Free,
            steps: 0,
            pendings: 0,
            answered: 0,
            stalled: false,
            waiting: None,
        }
    }
}

impl Script {
    /// Begins a round in which the peer takes a step whenever [`pending`](Script::pending) is called.
    pub fn pace(&self) -> u64 {
        self.begin(Pace::Paced)
    }

    /// Begins a round in which the peer stops for good after `steps`.
    pub fn stall(&self, steps: u64) -> u64 {
        self.begin(Pace::Stall(steps))
    }

    /// Lets everything go on that waits, and begins a round without stops.
    pub fn free(&self) -> u64 {
        self.begin(Pace::Free)
    }

    /// The test's future has nothing to do.
    pub fn pending(&self) {
        self.state.lock().unwrap().pendings += 1;
        self.changed.notify_all();
    }

    /// Ready when the peer has stopped for good.
    pub fn poll_stalled(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock().unwrap();
        if state.stalled {
            return Poll::Ready(());
        }
        state.waiting = Some(cx.waker().clone());
        Poll::Pending
    }

    fn begin(&self, pace: Pace) -> u64 {
        let mut state = self.state.lock().unwrap();
        let round = state.round + 1;
        *state = State {
            round,
            pace,
            ..State::default()
        };
        self.changed.notify_all();
        round
    }

    pub(super) fn round(&self) -> u64 {
        self.state.lock().unwrap().round
    }

    /// Returns when `round` may take its next step, or is over.
    pub(super) fn step(&self, round: u64, what: Step) {
        let mut state = self.state.lock().unwrap();
        loop {
            if state.round != round {
                return;
            }
            match state.pace {
                Pace::Free => return,
                Pace::Paced if what == Step::Prepare => return,
                Pace::Paced if state.pendings > state.answered => {
                    state.answered = state.pendings;
                    return;
                }
                Pace::Stall(steps) if state.steps < steps => {
                    state.steps += 1;
                    return;
                }
                Pace::Paced => {}
                Pace::Stall(_) => {
                    state.stalled = true;
                    if let Some(waker) = state.waiting.take() {
                        waker.wake();
                    }
                }
            }
            state = self.changed.wait(state).unwrap();
        }
    }
}
