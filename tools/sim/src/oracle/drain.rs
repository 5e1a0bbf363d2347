//! What a drain may do to calls: those begun before it are cut at its deadline and not a moment before, those
//! begun after it are not let in.

use super::calls::Call;
use super::facts::Ending;
use std::time::Duration;

/// How long connections may take to close when all calls are over: a farewell's time, and late drivers.
const CLOSING_MAX: Duration = Duration::from_secs(3);

/// A drain, if there is one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drain {
    times: Option<(Duration, Duration)>,
    /// A call was told that it was cut.
    cut: bool,
}

impl Drain {
    pub(super) fn begins(&mut self, now: Duration, by: Duration) {
        self.times = Some((now, by));
    }

    /// Whether a call may end like this.
    pub(super) fn check(
        &mut self,
        nonce: u64,
        call: &Call,
        ending: &Ending,
        now: Duration,
    ) -> Result<(), String> {
        let Some((begun, by)) = self.times else {
            return Ok(());
        };
        let refused = match ending {
            Ending::Failed(failure) => failure.kind == "draining",
            Ending::Answered(_) => false,
        };
        // A task that was on its way to its shard is not let in there.
        let late = call.facts.begun > begun || call.facts.in_task && call.arrivals.is_empty();
        if call.facts.begun > begun && (!refused || !call.arrivals.is_empty()) {
            return Err(format!("call {nonce} was let in though the engine drains"));
        }
        if refused && !late {
            self.cut = true;
        }
        if refused && !late && now < by {
            return Err(format!(
                "call {nonce}, begun at {:?} before the drain, was cut at {now:?} and not at {by:?}",
                call.facts.begun
            ));
        }
        Ok(())
    }

    /// Whether a drain may be over now, and say this of itself.
    pub(super) fn over(&self, now: Duration, clean: bool) -> Result<(), String> {
        let Some((_, by)) = self.times else {
            return Err("a drain is over that nobody began".into());
        };
        match (clean, self.cut) {
            (true, true) => Err("a drain cut calls and says that it did not".into()),
            (false, _) if now < by => Err(format!(
                "a drain says that it cut something at {now:?}, before {by:?}"
            )),
            _ if now > by + CLOSING_MAX => Err(format!("a drain until {by:?} ends at {now:?}")),
            (true, false) | (false, _) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::calls::tests::{arrival, facts, failure};
    use super::super::facts::Failure;
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn told(begun: u64, in_task: bool, arrivals: usize, kind: &'static str, now: u64) -> bool {
        let mut drain = Drain::default();
        drain.begins(seconds(2), seconds(5));
        let mut call = Call::new(facts("GET"));
        call.facts.begun = seconds(begun);
        call.facts.in_task = in_task;
        call.arrivals = (0..arrivals).map(|_| arrival(0)).collect();
        let ending = Ending::Failed(Failure { kind, ..failure() });
        drain.check(0, &call, &ending, seconds(now)).is_ok()
    }

    #[test]
    fn who_is_under_way_is_cut_at_the_deadline_and_who_is_late_at_once() {
        assert!(told(1, false, 1, "draining", 5) && !told(1, false, 1, "draining", 4));
        assert!(told(1, false, 0, "closed", 3) && !told(1, false, 0, "draining", 3));
        assert!(told(3, false, 0, "draining", 3) && !told(3, false, 0, "closed", 3));
        assert!(!told(3, false, 1, "draining", 3), "it arrived");
        assert!(told(1, true, 0, "draining", 3) && !told(1, true, 1, "draining", 3));
    }

    #[test]
    fn a_drain_ends_in_time_and_tells_the_truth() {
        let mut drain = Drain::default();
        assert!(drain.over(seconds(1), true).is_err());
        drain.begins(seconds(2), seconds(5));
        assert!(drain.over(seconds(3), true).is_ok() && drain.over(seconds(3), false).is_err());
        assert!(drain.over(seconds(9), true).is_err());
        drain.cut = true;
        assert!(drain.over(seconds(5), false).is_ok() && drain.over(seconds(5), true).is_err());
    }
}
