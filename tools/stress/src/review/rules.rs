//! The rules of a review, each by itself.
//!
//! Owns the thresholds. A rule that lacks a figure says nothing. Never: two rules for one thing.

use super::Advice;
use super::facts::Facts;

/// Every rule's advice, what should be changed first.
pub(super) fn all(facts: &Facts) -> Vec<Advice> {
    let rules: [fn(&Facts) -> Option<Advice>; 11] = [
        too_tight,
        too_loose,
        churn,
        evictions,
        resumption,
        dials_failed,
        errors,
        callers,
        shards,
        silence,
        few_samples,
    ];
    let mut advice: Vec<Advice> = rules.iter().filter_map(|rule| rule(facts)).collect();
    advice.extend(avoided(facts));
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

/// Callers that wait while every connection is in use.
fn too_tight(facts: &Facts) -> Option<Advice> {
    let (most, leased) = (facts.connections_max?, facts.leased_most?);
    let checkouts = facts.hits + facts.misses;
    let waited = facts.waits as f64 / checkouts.max(1) as f64;
    let waiting = facts.waiting?;
    if leased < most || (waited < 0.01 && waiting < 0.1) {
        return None;
    }
    advice(
        "too_tight",
        true,
        format!("raise connections_max above {most}, or make the server quicker"),
        format!(
            "{:.1} % of checkouts had to queue, callers waited at the end of {:.0} % of intervals, and all {most} connections were in use",
            waited * 100.0,
            waiting * 100.0
        ),
    )
}

/// Connections that are kept for nobody.
fn too_loose(facts: &Facts) -> Option<Advice> {
    let (most, leased) = (facts.connections_max?, facts.leased_most?);
    // In a closed loop there are as many callers as connections: what idles there says nothing.
    facts.rate?;
    if most < 4 || leased * 2 > most || facts.waits > 0 {
        return None;
    }
    let enough = (leased + leased.div_ceil(4)).max(1);
    advice(
        "too_loose",
        true,
        format!("{enough} connections would do instead of {most} (idle_min, connections_max)"),
        format!("no more than {leased} were ever seen in use, and nobody had to wait"),
    )
}

/// Connections that are made for a few requests each.
fn churn(facts: &Facts) -> Option<Advice> {
    let each = facts.answered as f64 / facts.dials.max(1) as f64;
    if facts.dials < 10 || each >= 100.0 {
        return None;
    }
    let says = if facts.reuse {
        "find out who closes connections: the server's keep-alive limits, uses_max, age_max, or idle_timeout"
    } else {
        "let connections be used again (--reuse on)"
    };
    advice(
        "churn",
        true,
        says.to_owned(),
        format!("{} dials served {each:.1} requests each", facts.dials),
    )
}

/// Idle connections that end before they are used again.
fn evictions(facts: &Facts) -> Option<Advice> {
    let share = facts.evictions as f64 / facts.opened.max(1) as f64;
    if !facts.reuse || facts.evictions < 5 || share < 0.5 {
        return None;
    }
    advice(
        "evictions",
        true,
        "set idle_timeout a little below the server's own, and idle_min to what is used in quiet times".to_owned(),
        format!(
            "{} idle connections were closed, of {} that were opened",
            facts.evictions, facts.opened
        ),
    )
}

/// Full handshakes where tickets could have been used.
fn resumption(facts: &Facts) -> Option<Advice> {
    let all = facts.handshakes_full + facts.handshakes_resumed;
    let share = facts.handshakes_resumed as f64 / all.max(1) as f64;
    // The first of each connection that is dialled at the start cannot be resumed.
    let first = facts.connections_max.unwrap_or(0);
    if all < first + 20 || share > 0.5 {
        return None;
    }
    advice(
        "resumption",
        true,
        "see whether the server gives tickets, and all of its processes share the keys".to_owned(),
        format!(
            "{} of {all} TLS handshakes were full, {} resumed",
            facts.handshakes_full, facts.handshakes_resumed
        ),
    )
}

/// Dials that come to nothing.
fn dials_failed(facts: &Facts) -> Option<Advice> {
    if facts.dials_failed == 0 {
        return None;
    }
    advice(
        "dials_failed",
        true,
        "see whether the server's backlog, its limit of connections or local ports are used up"
            .to_owned(),
        format!("{} of {} dials failed", facts.dials_failed, facts.dials),
    )
}

/// The most frequent kind of error, and what it means.
fn errors(facts: &Facts) -> Option<Advice> {
    let (kind, count) = facts.failed.iter().max_by_key(|(_, count)| **count)?;
    let says = match kind.as_str() {
        "timeout_wait" | "timed_out" | "refused" | "shed" => {
            "give the pool more connections, or callers more time: calls ended in the queue"
        }
        "timeout_dial" | "dial" => "see why the server does not take connections",
        "timeout_head" | "timeout_body" => "see why the server is slow, or allow it more time",
        "closed" => {
            "see why the server closes connections under requests: its keep-alive limit may be shorter than idle_timeout"
        }
        "tls" => "see the certificate, its names and its trust",
        "breaker" => "the breaker had ejected every endpoint: see why they failed first",
        "status_5xx" => "see the server's own log",
        "status_4xx" => "see the request: the server refuses it",
        "not_started" => "more callers or a lower rate: the tool could not begin calls in time",
        _ => "see what the kind of error means, in the documentation of ErrorKind",
    };
    let all: u64 = facts.failed.values().sum();
    let total = (all + facts.answered).max(1) as f64;
    advice(
        "errors",
        true,
        says.to_owned(),
        format!(
            "{all} requests failed ({:.2} %), {count} of them with {kind}",
            100.0 * all as f64 / total
        ),
    )
}

/// Latency that is waiting for a caller, not for the server.
fn callers(facts: &Facts) -> Option<Advice> {
    let rate = facts.rate?;
    let [Some(latency), Some(service), lag] = facts.p99 else {
        return None;
    };
    if latency < 2.0 * service || latency - service < 1e-3 {
        return None;
    }
    let of_the_tool = lag.is_some_and(|lag| lag > (latency - service) / 2.0);
    let says = if of_the_tool {
        "give the tool more CPU, or lower the rate: requests were late by its own doing"
    } else {
        "more connections or a lower rate: requests waited for one to be free"
    };
    advice(
        "callers",
        true,
        says.to_owned(),
        format!(
            "p99 is {} from the intended start and {} from the send, at {rate} requests/s",
            time(latency),
            time(service)
        ),
    )
}

/// Shards that have no more to give.
fn shards(facts: &Facts) -> Option<Advice> {
    let shards = facts.shards?;
    if shards == 0 || facts.cores_used < 0.9 * shards as f64 {
        return None;
    }
    // In a closed loop without errors that is what it is meant to do.
    facts.rate?;
    advice(
        "shards",
        true,
        format!("more than {shards} shards, on cores of their own"),
        format!("the process used {:.2} cores", facts.cores_used),
    )
}

/// Whole intervals without an answer.
fn silence(facts: &Facts) -> Option<Advice> {
    // At a low rate some intervals have nothing to answer.
    let each = facts.answered as f64 * facts.interval / facts.seconds.max(1e-9);
    if facts.silent == 0 || each < 10.0 {
        return None;
    }
    advice(
        "silence",
        true,
        "see what the server did then: the report's throughput over time tells when".to_owned(),
        format!(
            "in {} intervals of {} nothing was answered",
            facts.silent,
            time(facts.interval)
        ),
    )
}

/// Percentiles that rest on a few requests.
fn few_samples(facts: &Facts) -> Option<Advice> {
    let beyond = facts.beyond_p999?;
    if facts.answered == 0 || beyond >= 10 {
        return None;
    }
    advice(
        "few_samples",
        false,
        "make it longer before p99.9 is quoted".to_owned(),
        format!(
            "only {beyond} of {} requests lie beyond p99.9",
            facts.answered
        ),
    )
}

/// What reuse was worth.
fn avoided(facts: &Facts) -> Option<Advice> {
    if facts.seconds_avoided <= 0.0 || facts.answered == 0 {
        return None;
    }
    let each = facts.seconds_avoided / facts.answered as f64;
    advice(
        "avoided",
        false,
        format!(
            "reuse and resumption saved {} a request at least",
            time(each)
        ),
        format!(
            "{} connections served {} requests, which {:.1} s of connecting and shaking hands would have come before",
            facts.opened, facts.answered, facts.seconds_avoided
        ),
    )
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
        assert_eq!(case(|f| f.dials_failed = 1), ["dials_failed"]);
        let failed = case(|f| f.failed = [("closed".to_owned(), 3)].into());
        assert_eq!(failed, ["errors"]);
        assert_eq!(case(|f| f.p99[0] = Some(0.1)), ["callers"]);
        assert_eq!(case(|f| f.cores_used = 0.95), ["shards"]);
        assert_eq!(case(|f| f.silent = 3), ["silence"]);
        assert_eq!(case(|f| f.beyond_p999 = Some(3)), ["few_samples"]);
        assert_eq!(case(|f| f.seconds_avoided = 12.0), ["avoided"]);
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
