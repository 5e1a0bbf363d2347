//! A timer of the ring that goes off each millisecond while a shard sleeps often, for short.
//!
//! Owns: when it runs. Never: wakes a shard at rest. A core that has no timer due soon may be put to sleep deeply by the kernel, or by the
//! hypervisor below it, though the next response comes within microseconds. With a timer due it is not, and each of
//! these sleeps takes less time and less work to end (`docs/performance.md`). Where sleeps are few there is no timer: it
//! would cost more than it saves.

use super::token::{Kind, Token};
use io_uring::types::Timespec;
use io_uring::{opcode, squeue};

/// How long until it goes off. Static: the kernel reads it when the entry is handed over.
static PERIOD: Timespec = Timespec::new().nsec(1_000_000);

/// It goes on as long as there are so many sleeps between two times.
const SLEEPS_MIN: u64 = 8;

/// While it does not run, it is tried after so many sleeps.
const SLEEPS_UNTIL_TRIED: u64 = 64;

#[derive(Debug)]
pub(super) struct Pulse {
    state: State,
    /// How many sleeps there had been when the state was entered.
    since: u64,
    /// How often it went off.
    pub(super) count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Resting,
    /// It went off, and is to go on.
    Due,
    Armed,
    /// The kernel has no timers for rings, or lets us have none.
    Refused,
}

impl Pulse {
    pub(super) fn new() -> Pulse {
        Pulse {
            state: State::Resting,
            since: 0,
            count: 0,
        }
    }

    /// The operation to queue before the ring sleeps for the `sleeps`th time, if any.
    #[inline]
    pub(super) fn arm(&mut self, sleeps: u64) -> Option<squeue::Entry> {
        let is_due = match self.state {
            State::Resting => sleeps - self.since >= SLEEPS_UNTIL_TRIED,
            State::Due => true,
            State::Armed | State::Refused => false,
        };
        is_due.then(|| {
            self.enter(State::Armed, sleeps);
            let token = Token::internal(Kind::Pulse).pack();
            opcode::Timeout::new(&PERIOD).build().user_data(token)
        })
    }

    /// It ended, after `sleeps` in all.
    pub(super) fn ended(&mut self, result: i32, sleeps: u64) {
        debug_assert!(self.state == State::Armed, "it ends once");
        let slept = sleeps - self.since;
        let next = match -result {
            libc::ETIME if slept >= SLEEPS_MIN => State::Due,
            libc::ETIME | libc::ECANCELED => State::Resting,
            _ => State::Refused,
        };
        self.count += 1;
        self.enter(next, sleeps);
    }

    fn enter(&mut self, state: State, sleeps: u64) {
        self.state = state;
        self.since = sleeps;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_while_there_are_sleeps_and_rests_without() {
        let mut pulse = Pulse::new();
        assert!(pulse.arm(SLEEPS_UNTIL_TRIED - 1).is_none());
        assert!(pulse.arm(64).is_some());
        assert!(pulse.arm(1_000).is_none(), "one at a time");
        pulse.ended(-libc::ETIME, 72);
        assert!(pulse.arm(72).is_some());
        pulse.ended(-libc::ETIME, 79);
        assert!(pulse.arm(79).is_none());
        assert!(pulse.arm(79 + SLEEPS_UNTIL_TRIED).is_some());
    }

    #[test]
    fn what_the_kernel_refuses_is_not_asked_for_again() {
        let mut pulse = Pulse::new();
        assert!(pulse.arm(64).is_some());
        pulse.ended(-libc::EINVAL, 64);
        assert!(pulse.arm(u64::MAX).is_none());
    }

    #[test]
    fn a_cancelled_one_does_not_come_back_by_itself() {
        let mut pulse = Pulse::new();
        assert!(pulse.arm(64).is_some());
        pulse.ended(-libc::ECANCELED, 1_000);
        assert!(pulse.arm(1_000).is_none());
    }
}
