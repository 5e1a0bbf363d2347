//! One shard gets all calls, and has more to do than a thread can: what is short is time, not connections.
//!
//! A call costs its shard a modelled amount of its thread's time, so this is for virtual time alone. Beside the
//! defaults the same engine runs with nothing of what shards do for each other; what one shard can do then follows
//! from the costs, and is measured all the same.

use crate::Name;
use crate::evidence::{Evidence, Shot, quantile};
use crate::findings::{Bound, Findings, Unit, millis};
use ringpool::config::{SharingConfig, UpstreamConfig};
use std::time::Duration;

/// By name.
pub const NAME: Name = Name {
    name: "skew-cpu",
    about: "all calls on one of two shards, more than its thread can do: the other one helps",
};

/// What a call costs its shard: for the request, and for the response.
pub const SEND: Duration = Duration::from_micros(120);
/// See [`SEND`].
pub const RECEIVE: Duration = Duration::from_micros(80);
/// What handing it to another shard costs.
pub const HAND_OVER: Duration = Duration::from_micros(10);
/// How long an answer takes.
pub const SERVICE: Duration = Duration::from_millis(2);
/// How many times as much as one shard can do is asked for where two are to do all they can.
pub const HEAVY: f64 = 2.5;
/// And where two can do all that is asked for.
pub const LIGHT: f64 = 1.5;
/// How long it lasts.
pub const LASTS: Duration = Duration::from_secs(2);

/// Until then another home is being invited: half a second of looks at a saturated shard, and as long again.
const SETTLE: Duration = Duration::from_millis(800);
/// More than are ever used at once.
const CONNECTIONS: u32 = 4096;
/// How much more two shards carry.
const GAIN_MIN: f64 = 1.8;
/// How much of what a call takes with one shard alone it may take where two can do it all: most calls, and the
/// slowest hundredth. A turn takes 256 calls out of a mailbox, and what is passed on goes to one sibling until that
/// has had a turn: two such turns in a row, of 51 ms each here, are what the slowest wait for.
const MOST_MAX: f64 = 0.1;
const SLOWEST_MAX: f64 = 0.5;
/// How much of one shard's time has to be used, or there was no saturation: 1 is all of it. Answers come in
/// clumps of a turn, of which one more or less falls into the time that is looked at.
const USED_MIN: f64 = 0.92;

/// The most calls that wait to be taken up by a shard.
pub const MAILBOX: usize = 512;

/// What one shard can do, in calls a second.
pub fn capacity() -> f64 {
    1.0 / (SEND + RECEIVE).as_secs_f64()
}

/// The settings, given where the upstream is: connections enough, and for the rest the defaults.
pub fn settings(at: UpstreamConfig) -> UpstreamConfig {
    UpstreamConfig {
        connections_max: CONNECTIONS,
        ..at
    }
}

/// The same where shards do nothing for each other.
pub fn alone(settings: UpstreamConfig) -> UpstreamConfig {
    UpstreamConfig {
        sharing: SharingConfig {
            steal: false,
            give_up: false,
            homes_max: Some(1),
            // No loop is ever so late.
            lag_max: Duration::from_secs(3600),
        },
        ..settings
    }
}

/// The runs under one load.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// Where shards share their work.
    pub shared: &'a Evidence,
    /// Where they do not.
    pub alone: &'a Evidence,
}

/// What came of it, under a load that is more than both shards can do and under one that is not.
pub fn judge(heavy: Pair<'_>, light: Pair<'_>) -> Findings {
    let mut findings = Findings::new(&["shared", "alone", "shared, light", "alone, light"]);
    let all = [heavy.shared, heavy.alone, light.shared, light.alone].map(Seen::of);
    tell(&mut findings, &all);
    must(&mut findings, &all);
    findings
}

/// What is looked at of one run: what was to begin once things had settled.
struct Seen<'a> {
    shots: Vec<&'a Shot>,
    /// Calls answered in a second, whenever they had begun.
    carried: f64,
}

impl Seen<'_> {
    fn of(evidence: &Evidence) -> Seen<'_> {
        let begun = evidence
            .shots
            .first()
            .map_or(Duration::ZERO, |s| s.intended);
        let (from, to) = (begun + SETTLE, begun + LASTS);
        let answered = evidence.shots.iter().filter(|shot| shot.is_answered());
        let answered = answered.filter(|shot| shot.ended >= from && shot.ended < to);
        Seen {
            shots: evidence.between(from, to).collect(),
            carried: answered.count() as f64 / (to - from).as_secs_f64(),
        }
    }

    fn latency(&self, of: f64) -> f64 {
        let answered = self.shots.iter().filter(|shot| shot.is_answered());
        millis(quantile(answered.map(|shot| shot.latency()), of))
    }

    /// Those without an answer, but for those that were refused because there was no room for them.
    fn lost(&self) -> f64 {
        let lost = self
            .shots
            .iter()
            .filter(|s| !s.is_answered() && !s.failed_by("shed"));
        lost.count() as f64
    }

    fn refused(&self) -> f64 {
        self.shots
            .iter()
            .filter(|shot| shot.failed_by("shed"))
            .count() as f64
    }
}

fn tell(findings: &mut Findings, all: &[Seen<'_>; 4]) {
    let mut row = |name, unit, value: &dyn Fn(&Seen<'_>) -> f64| {
        let values = all.each_ref().map(|seen| Some(value(seen)));
        findings.figure(name, unit, &values);
    };
    let lasts = (LASTS - SETTLE).as_secs_f64();
    row("asked for, /s", Unit::Count, &|seen| {
        seen.shots.len() as f64 / lasts
    });
    row("answered, /s", Unit::Count, &|seen| seen.carried);
    row("of what one can do", Unit::Times, &|seen| {
        seen.carried / capacity()
    });
    row("refused", Unit::Count, &|seen| seen.refused());
    row("failed otherwise", Unit::Count, &|seen| seen.lost());
    row("latency p50", Unit::Millis, &|seen| seen.latency(0.5));
    row("latency p99", Unit::Millis, &|seen| seen.latency(0.99));
}

fn must(findings: &mut Findings, [shared, alone, shared_light, alone_light]: &[Seen<'_>; 4]) {
    findings.must(
        "saturated",
        format!(
            "one shard alone carries, of the {:.0}/s that its thread can",
            capacity()
        ),
        Unit::Share,
        alone.carried / capacity(),
        Bound::Within(USED_MIN, 1.0 + (1.0 - USED_MIN)),
    );
    findings.must(
        "gain",
        "two shards carry, of what one alone does or could do",
        Unit::Times,
        shared.carried / alone.carried.max(capacity()),
        Bound::AtLeast(GAIN_MIN),
    );
    let beside = |of| shared_light.latency(of) / alone_light.latency(of).max(1e-6);
    findings.must(
        "p50",
        "median latency where two can do it all, of what it is with one",
        Unit::Share,
        beside(0.5),
        Bound::AtMost(MOST_MAX),
    );
    findings.must(
        "p99",
        "p99 of it",
        Unit::Share,
        beside(0.99),
        Bound::AtMost(SLOWEST_MAX),
    );
    findings.must(
        "unanswered",
        "calls without an answer where two can do it all",
        Unit::Count,
        shared_light.lost() + shared_light.refused(),
        Bound::AtMost(0.0),
    );
    findings.must(
        "lost",
        "calls that failed but for want of room",
        Unit::Count,
        shared.lost() + alone.lost() + alone_light.lost(),
        Bound::AtMost(0.0),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Outcome;
    use ringpool::config::Class;

    const US: Duration = Duration::from_micros(1);

    /// What shards do that carry so many times what one can, if `load` times as much is asked of them and those who
    /// find a queue longer than a mailbox are refused.
    fn seen(load: f64, shards: f64) -> Evidence {
        let (rate, most) = (capacity() * load, capacity() * shards);
        let (mut free_at, mut shots) = (0.0f64, Vec::new());
        for nth in 0..(rate * LASTS.as_secs_f64()) as u32 {
            let at = f64::from(nth) / rate;
            free_at = free_at.max(at);
            let fits = (free_at - at) * most < MAILBOX as f64;
            free_at += if fits { 1.0 / most } else { 0.0 };
            let [intended, ended] =
                [at, if fits { free_at } else { at }].map(Duration::from_secs_f64);
            shots.push(Shot {
                class: Class::Normal,
                intended,
                sent: intended,
                ended,
                outcome: if fits {
                    Outcome::Answered(US)
                } else {
                    Outcome::Failed("shed")
                },
            });
        }
        Evidence {
            shots,
            ..Evidence::default()
        }
    }

    /// Shards that together do `shared`, beside one that does `alone`.
    fn failing(shared: f64, alone: f64) -> Vec<String> {
        let runs = [HEAVY, LIGHT].map(|load| (seen(load, shared), seen(load, alone)));
        let [heavy, light] = runs
            .each_ref()
            .map(|(shared, alone)| Pair { shared, alone });
        let findings = judge(heavy, light);
        let failing = findings.criteria.iter().filter(|one| !one.holds());
        failing.map(|one| one.key.to_string()).collect()
    }

    #[test]
    fn what_is_not_as_it_should_be_is_seen() {
        assert_eq!(failing(1.9, 1.0), ["gain"; 0]);
        assert_eq!(failing(1.7, 1.0), ["gain"]);
        assert_eq!(failing(1.0, 1.0), ["gain", "p50", "p99", "unanswered"]);
        // Where one shard had time to spare, or could do more than it can, nothing was compared.
        assert_eq!(failing(1.9, 0.9), ["saturated"]);
        assert_eq!(failing(1.9, 1.9), ["saturated", "gain", "p50", "p99"]);
        let mut lost = seen(HEAVY, 1.9);
        let last = lost.shots.last_mut().expect("there are some");
        last.outcome = Outcome::Failed("closed");
        let (alone, light) = (seen(HEAVY, 1.0), [seen(LIGHT, 1.9), seen(LIGHT, 1.0)]);
        let heavy = Pair {
            shared: &lost,
            alone: &alone,
        };
        let [shared, alone] = light.each_ref();
        let findings = judge(heavy, Pair { shared, alone });
        let failing = findings.criteria.iter().filter(|one| !one.holds());
        assert_eq!(
            failing.map(|one| &*one.key).collect::<Vec<&str>>(),
            ["lost"]
        );
    }

    #[test]
    fn the_settings_are_valid_and_differ_in_what_shards_share_alone() {
        let ours = settings(UpstreamConfig::at("http://h").expect("a URL"));
        let beside = alone(ours.clone());
        assert_ne!(beside.sharing, ours.sharing);
        assert_eq!(
            UpstreamConfig {
                sharing: ours.sharing.clone(),
                ..beside
            },
            ours
        );
    }
}
