//! The rules of a review, each by itself.
//!
//! Owns their order. Thresholds stand at the rules: `pool`, `contacts`, `load`, `unseen`. A rule that lacks a figure says nothing. Never: two rules
//! for one thing.

mod contacts;
mod load;
mod pool;
mod unseen;

use super::Advice;
use super::facts::Facts;

/// Every rule's advice, what should be changed first.
pub(super) fn all(facts: &Facts) -> Vec<Advice> {
    let rules: &[fn(&Facts) -> Option<Advice>] = &[
        load::invalid,
        unseen::down,
        unseen::missing,
        unseen::not_up,
        pool::too_tight,
        pool::too_loose,
        pool::churn,
        pool::evictions,
        contacts::resumption,
        contacts::dials_failed,
        contacts::names,
        contacts::endpoints,
        contacts::shares,
        load::errors,
        load::callers,
        load::shards,
        load::silence,
        load::few_samples,
        pool::avoided,
    ];
    let mut advice: Vec<Advice> = rules.iter().filter_map(|rule| rule(facts)).collect();
    advice.sort_by_key(|one| !one.change);
    advice
}

fn advice(rule: &'static str, change: bool, says: String, reason: String) -> Option<Advice> {
    Some(Advice {
        rule,
        change,
        says,
        reason,
    })
}

fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.1} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run that has nothing to be said of.
    fn quiet() -> Facts {
        Facts {
            answered: 100_000,
            seconds: 10.0,
            hits: 100_000,
            opened: 64,
            connections_max: Some(64),
            reuse: true,
            shards: Some(1),
            rate: Some(10_000.0),
            leased_most: Some(50),
            waiting: Some(0.0),
            cores_used: 0.4,
            p99: [Some(1e-3), Some(1e-3), Some(1e-5)],
            beyond_p999: Some(100),
            interval: 0.1,
            ..Facts::default()
        }
    }

    fn rules(facts: &Facts) -> Vec<&'static str> {
        all(facts).into_iter().map(|one| one.rule).collect()
    }

    #[test]
    fn a_run_without_fault_has_no_advice() {
        assert!(rules(&quiet()).is_empty());
        assert!(rules(&Facts::default()).is_empty(), "nothing is known");
    }

    #[test]
    fn each_rule_has_its_case() {
        let case = |change: fn(&mut Facts)| {
            let mut facts = quiet();
            change(&mut facts);
            rules(&facts)
        };
        let tight = case(|f| {
            (f.leased_most, f.waiting, f.waits) = (Some(64), Some(0.5), 9000);
        });
        assert_eq!(tight, ["too_tight"]);
        assert_eq!(case(|f| f.leased_most = Some(9)), ["too_loose"]);
        let closed_loop = case(|f| (f.leased_most, f.rate) = (Some(9), None));
        assert!(closed_loop.is_empty(), "callers are as many as connections");
        assert_eq!(case(|f| f.dials = 20_000), ["churn"]);
        assert_eq!(case(|f| (f.evictions, f.opened) = (40, 64)), ["evictions"]);
        let full = case(|f| (f.handshakes_full, f.handshakes_resumed) = (100, 3));
        assert_eq!(full, ["resumption"]);
        let resumed = case(|f| (f.handshakes_full, f.handshakes_resumed) = (64, 200));
        assert!(resumed.is_empty());
        let late = case(|f| (f.invalid, f.dials_failed) = (vec!["it was late".to_owned()], 1));
        assert_eq!(late, ["invalid", "dials_failed"], "the first to know");
        assert_eq!(case(|f| f.dials_failed = 1), ["dials_failed"]);
        assert_eq!(case(|f| f.contacts.lookups_failed = 2), ["names"]);
        let failed = case(|f| f.failed = [("closed".to_owned(), 3)].into());
        assert_eq!(failed, ["errors"]);
        assert_eq!(case(|f| f.p99[0] = Some(0.1)), ["callers"]);
        assert_eq!(case(|f| f.cores_used = 0.95), ["shards"]);
        assert_eq!(case(|f| f.silent = 3), ["silence"]);
        assert_eq!(case(|f| f.beyond_p999 = Some(3)), ["few_samples"]);
        assert_eq!(case(|f| f.seconds_avoided = 12.0), ["avoided"]);
        let missing = case(|f| (f.unseen.missing, f.unseen.missing_most) = ([7, 100], 1));
        assert_eq!(missing, ["missing"]);
        assert_eq!(case(|f| f.unseen.down = 1), ["down"]);
        let not_up = case(|f| f.unseen.not_up = [("1".to_owned(), 3.0)].into());
        assert_eq!(not_up, ["not_up"]);
    }

    #[test]
    fn lateness_is_told_by_its_cause() {
        let mut facts = quiet();
        facts.p99 = [Some(0.1), Some(1e-3), Some(0.09)];
        assert!(all(&facts)[0].says.contains("more CPU"));
        facts.p99[2] = Some(1e-4);
        assert!(all(&facts)[0].says.contains("more connections"));
    }

    #[test]
    fn what_is_to_be_changed_comes_first() {
        let mut facts = quiet();
        (facts.seconds_avoided, facts.dials_failed) = (5.0, 2);
        assert_eq!(rules(&facts), ["dials_failed", "avoided"]);
    }
}
