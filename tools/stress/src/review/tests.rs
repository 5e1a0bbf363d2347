//! Whole synthetic runs, and what is advised of each.

use std::time::Duration;

use serde_json::{Value, json};

use super::facts::Facts;
use super::rules;
use crate::contacts::{Contacts, Endpoint, Times};
use crate::load::LoadResult;
use crate::measure::{self, CpuTime};
use crate::record::Kept;
use crate::series::{PoolState, Sample};

/// Ten seconds of 2,000 requests/s over TLS on 64 connections, of which 40 are in use: nothing to be said of it.
fn run() -> Kept {
    let mut result = LoadResult {
        ok: 20_000,
        hits: 20_000,
        connections_opened: 64,
        handshakes_full: 64,
        elapsed: Duration::from_secs(10),
        cpu: CpuTime {
            user: Duration::from_secs(2),
            system: Duration::ZERO,
        },
        ..LoadResult::default()
    };
    result.series.interval = Duration::from_millis(100);
    for nth in 0..100_u32 {
        result.series.samples.push(Sample {
            start: result.series.interval * nth,
            length: result.series.interval,
            ok: 200,
            pool: Some(PoolState {
                leased: 40,
                idle: 24,
                connections: 64,
                sockets: 64,
                ..PoolState::default()
            }),
            ..Sample::default()
        });
    }
    for _ in 0..20_000 {
        measure::record(&mut result.latency, Duration::from_millis(5));
        measure::record(&mut result.service, Duration::from_millis(5));
        measure::record(&mut result.lag, Duration::from_micros(20));
    }
    Kept {
        title: "run".to_owned(),
        result,
        plan: json!({ "connections": 64, "shards": 1, "reuse": true, "rate": 2000.0 }),
        command: "stress run".to_owned(),
        host: Value::Null,
    }
}

/// The rules that have something to say of the run once it is changed, and all that they say.
fn advised(change: impl FnOnce(&mut Kept)) -> (Vec<&'static str>, String) {
    let mut kept = run();
    change(&mut kept);
    let all = rules::all(&Facts::of(&kept));
    let says: Vec<String> = all.iter().map(|one| one.says.clone()).collect();
    (all.iter().map(|one| one.rule).collect(), says.join("\n"))
}

fn pools(kept: &mut Kept, change: impl Fn(&mut PoolState)) {
    let pools = kept.result.series.samples.iter_mut();
    pools.filter_map(|s| s.pool.as_mut()).for_each(change);
}

#[test]
fn a_healthy_run_has_no_advice() {
    let (rules, says) = advised(|_| ());
    assert!(rules.is_empty(), "{says}");
}

#[test]
fn shards_that_did_not_tell_are_told_with_how_often() {
    let mut kept = run();
    let samples = kept.result.series.samples.iter_mut();
    for pool in samples.filter_map(|s| s.pool.as_mut()).take(7) {
        pool.missing = 1;
    }
    let [one] = &rules::all(&Facts::of(&kept))[..] else {
        panic!("one piece of advice");
    };
    assert!(one.rule == "missing" && one.change, "{one:?}");
    assert!(one.says.contains("a task that blocks"), "{one:?}");
    let reason =
        "at the end of 7 of 100 intervals some shards did not tell theirs in time, 1 at most";
    assert_eq!(one.reason, reason);
    let (rules, says) = advised(|kept| pools(kept, |pool| pool.down = 1));
    assert_eq!(rules, ["down"]);
    assert!(says.contains("restarts_max"), "{says}");
}

#[test]
fn a_pool_that_is_too_small_is_to_grow() {
    let (rules, says) = advised(|kept| {
        pools(kept, |pool| {
            (pool.leased, pool.idle, pool.waiters) = (64, 0, 9)
        });
        (kept.result.hits, kept.result.misses, kept.result.waits) = (12_000, 8_000, 8_000);
    });
    assert_eq!(rules, ["too_tight"]);
    assert!(says.contains("raise connections_max above 64"), "{says}");
}

#[test]
fn a_pool_that_is_too_large_is_to_shrink_to_what_was_in_use_and_some() {
    let (rules, says) = advised(|kept| {
        pools(kept, |pool| (pool.leased, pool.idle) = (8, 56));
    });
    assert_eq!(rules, ["too_loose"]);
    assert!(
        says.contains("10 connections would do instead of 64"),
        "{says}"
    );
}

#[test]
fn waits_that_are_too_tight_are_told_from_a_pool_that_is_too_small() {
    let fail = |kept: &mut Kept| {
        kept.result.failed.insert("timeout_wait".to_owned(), 900);
    };
    let (rules, says) = advised(fail);
    assert_eq!(rules, ["errors"]);
    assert!(
        says.contains("raise wait_timeout above what a dial takes"),
        "{says}"
    );
    let (rules, says) = advised(|kept| {
        fail(kept);
        pools(kept, |pool| {
            (pool.leased, pool.idle, pool.waiters) = (64, 0, 9)
        });
        kept.result.waits = 9_000;
    });
    assert_eq!(rules, ["too_tight", "errors"]);
    assert!(
        says.contains("more connections, or callers more time"),
        "{says}"
    );
}

#[test]
fn a_server_that_closes_after_each_answer_is_told_from_limits_of_our_own() {
    let churn = |dials: u64, why: &str, count: u64| {
        let why = why.to_owned();
        advised(move |kept| {
            (kept.result.dials, kept.result.connections_opened) = (dials, dials);
            kept.result.contacts.close(&why, count);
            kept.result.contacts.close("stopped", 30_000);
        })
    };
    for why in ["discarded", "going_away", "peer_closed"] {
        let (rules, says) = churn(20_000, why, 19_900);
        assert_eq!(rules, ["churn"], "{why}");
        assert!(says.contains("Connection: close"), "{why}: {says}");
    }
    for (why, word) in [
        ("discarded", "without a length"),
        ("going_away", "the server's limit of requests"),
        ("peer_closed", "idle_timeout below the server's"),
        ("uses", "uses_max"),
        ("age", "age_max"),
        ("failed", "see the errors"),
    ] {
        let (rules, says) = churn(2_000, why, 1_900);
        assert_eq!(rules, ["churn"], "{why}");
        assert!(says.contains(word), "{why}: {says}");
    }
    let (_, says) = churn(2_000, "uses", 0);
    assert!(
        says.contains("find out who closes"),
        "nothing is known: {says}"
    );
}

#[test]
fn full_handshakes_where_tickets_could_be_used_are_told() {
    let (rules, says) = advised(|kept| {
        (kept.result.handshakes_full, kept.result.handshakes_resumed) = (400, 2);
    });
    assert_eq!(rules, ["resumption"]);
    assert!(says.contains("tickets"), "{says}");
    let (rules, _) = advised(|kept| {
        (kept.result.handshakes_full, kept.result.handshakes_resumed) = (64, 400);
    });
    assert!(rules.is_empty(), "they were resumed");
}

#[test]
fn names_that_are_slow_to_look_up_are_told() {
    let lookups = |seconds: f64| {
        advised(move |kept| {
            kept.result.contacts.lookups = Times { count: 4, seconds };
        })
    };
    let (rules, says) = lookups(1.2);
    assert_eq!(rules, ["names"]);
    assert!(says.contains("resolve_ttl"), "{says}");
    assert!(lookups(0.02).0.is_empty(), "5 ms each");
}

#[test]
fn endpoints_that_are_slow_dead_or_idle_are_named() {
    let endpoints = |all: &[(&str, u64, f64)]| {
        let all = all.iter().map(|(address, count, each)| {
            let held = Times {
                count: *count,
                seconds: *count as f64 * each,
            };
            let one = Endpoint {
                dials: 20,
                held,
                ..Endpoint::default()
            };
            ((*address).to_owned(), one)
        });
        Contacts {
            endpoints: all.collect(),
            ..Contacts::default()
        }
    };
    let with = |contacts: Contacts| advised(move |kept| kept.result.contacts = contacts);
    let even = [
        ("a:1", 7000, 0.005),
        ("b:1", 6500, 0.006),
        ("c:1", 6500, 0.005),
    ];
    assert!(with(endpoints(&even)).0.is_empty());
    let (rules, says) = with(endpoints(&[even[0], even[1], ("c:1", 5000, 0.05)]));
    assert_eq!(rules, ["endpoints"]);
    assert!(says.contains("c:1"), "{says}");
    let (rules, says) = with(endpoints(&[("a:1", 9000, 0.005), ("b:1", 8000, 0.02)]));
    assert!(rules == ["endpoints"] && says.contains("b:1"), "{says}");
    let (rules, says) = with(endpoints(&[("a:1", 18_000, 0.005), ("b:1", 900, 0.005)]));
    assert!(rules == ["shares"] && says.contains("a:1"), "{says}");
    let mut dead = endpoints(&even);
    dead.endpoints.insert(
        "d:1".to_owned(),
        Endpoint {
            dials: 12,
            dials_failed: 12,
            ..Endpoint::default()
        },
    );
    let (rules, says) = with(dead);
    assert!(rules == ["endpoints"] && says.contains("d:1"), "{says}");
}
