//! The client's side: where the counting begins and ends.
//!
//! Owns: the signal by which a client tells its tracer that so many requests are answered. Never: counts. Between two marks it
//! costs a comparison for each request.

use crate::failure::Failure;
use crate::scenario::Scenario;
use nix::sys::signal::{Signal, raise};
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The signal of a mark. The tracer keeps it; untraced it would end the client.
pub(super) const SIGNAL: Signal = Signal::SIGUSR1;
/// Requests of each caller before stepping begins: pools are full and caches as warm as they get.
const WARM_EACH: u64 = 200;
/// Requests of each caller that are stepped before anything counts: whoever was interrupted has caught up.
const SETTLE_EACH: u64 = 1;

/// How many requests have to be answered at each mark: stepping begins, counting begins, counting ends.
#[derive(Debug)]
pub(crate) struct Marks {
    at: [u64; 3],
    /// The next one's.
    next: AtomicU64,
}

static MARKS: OnceLock<Marks> = OnceLock::new();

impl Marks {
    /// Those of this process, if it is a client whose instructions are counted.
    pub(crate) fn of_this_client() -> Option<&'static Marks> {
        MARKS.get()
    }

    fn new(requests: u64, scenario: &Scenario) -> Marks {
        let callers = scenario.callers as u64;
        // Whole rounds of all callers, so that all marks find the client in the same place; and multiples of 64, as the bare loop
        // tells no others.
        let step = callers.next_multiple_of(64);
        let warm = (callers * WARM_EACH).next_multiple_of(step);
        let settled = warm + (callers * SETTLE_EACH).next_multiple_of(step);
        Marks {
            at: [warm, settled, settled + counted(requests, scenario)],
            next: AtomicU64::new(warm),
        }
    }

    /// So many are answered by now.
    pub(crate) fn pass(&self, answered: u64) {
        if answered == self.next.load(Relaxed) {
            self.mark(answered);
        }
    }

    #[cold]
    #[inline(never)]
    fn mark(&self, answered: u64) {
        let next = self.at.into_iter().find(|at| *at > answered);
        self.next.store(next.unwrap_or(u64::MAX), Relaxed);
        // It cannot fail: the signal exists.
        let _ = raise(SIGNAL);
    }
}

/// Requests that are counted when so many were asked for.
pub(super) fn counted(requests: u64, scenario: &Scenario) -> u64 {
    let step = (scenario.callers as u64).next_multiple_of(64);
    requests.next_multiple_of(step)
}

/// In a client: waits until it is traced, if it is to be.
pub(crate) fn begin(requests: Option<u64>, scenario: &Scenario) -> Result<(), Failure> {
    let Some(requests) = requests else {
        return Ok(());
    };
    let mut go = String::new();
    let read = io::stdin().read_line(&mut go);
    match read {
        Ok(read) if read > 0 => {}
        Ok(_) | Err(_) => return Err(Failure::Run("nobody traces it".to_owned())),
    }
    MARKS.get_or_init(|| Marks::new(requests, scenario));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::named;

    #[test]
    fn marks_are_whole_rounds_of_all_callers() {
        for name in ["h1", "h1-1", "h1-512"] {
            let scenario = named(name).unwrap();
            let marks = Marks::new(1000, scenario);
            assert!(marks.at.is_sorted(), "{name}");
            for at in marks.at {
                assert_eq!(at % scenario.callers as u64, 0, "{name}");
                assert_eq!(at % 64, 0, "{name}");
            }
            assert!(marks.at[2] - marks.at[1] >= 1000);
        }
    }
}
