//! The scenarios about several shards, short, from the outside. What this machine comes to is not asked.

mod common;

use common::{assert_calls_shown, json, run, words};
use serde_json::Value;

/// Runs it, and sees that its exit code is what its outcome says, and that whoever watched saw its calls.
fn outcome(line: &str) -> (String, Value) {
    let output = run(line);
    let report = json(&output);
    let outcome = report["outcome"].as_str().expect("an outcome").to_owned();
    let codes = [("PASS", 0), ("FAIL", 1), ("INVALID", 3)];
    let code = codes.iter().find(|(name, _)| *name == outcome);
    let code = code.map(|(_, code)| *code);
    assert_eq!(code, output.status.code(), "{}", words(&output));
    assert_calls_shown(&output);
    (outcome, report)
}

fn criterion<'a>(report: &'a Value, key: &str) -> &'a Value {
    let criteria = report["criteria"].as_array().expect("criteria");
    let found = criteria.iter().find(|one| one["key"] == key);
    found.unwrap_or_else(|| panic!("no criterion {key}: {report}"))
}

#[test]
fn one_pool_gives_an_interval_over_its_rounds() {
    let (_, report) = outcome("scenario one-pool --rounds 2 --json -");
    let [low, high] = ["excess_low", "excess_high"].map(|key| criterion(&report, key));
    assert!(low["value"].as_f64() <= high["value"].as_f64(), "{report}");
    assert_eq!(high["bound"]["at_most"], 0.05);
    assert_eq!(criterion(&report, "failed")["value"], 0.0);
    assert_eq!(report["figures"]["rounds"]["values"]["two"], 2.0);
}

#[test]
fn one_round_is_no_interval() {
    let (outcome, report) = outcome("scenario one-pool --rounds 1 --json -");
    assert_eq!(outcome, "INVALID", "{report}");
}

#[test]
fn moves_loses_no_call_and_sends_none_twice() {
    let (_, report) = outcome("scenario moves --calls 2000 --json -");
    // How many were stolen beside how many ran at home is the machine's affair.
    for key in [
        "lost", "wrong", "twice", "unasked", "unseen", "failed", "offers", "steals", "left",
    ] {
        assert_eq!(criterion(&report, key)["value"], 0.0, "{key}: {report}");
    }
    let stolen = criterion(&report, "stolen");
    assert!(stolen["value"].as_f64() >= Some(2000.0), "{report}");
}

#[test]
fn skew_compares_three_ways_and_loses_no_call() {
    let (_, report) = outcome("scenario skew --json -");
    assert_eq!(criterion(&report, "failed")["value"], 0.0, "{report}");
    assert_eq!(criterion(&report, "dials")["bound"]["at_most"], 0.0);
    assert!(criterion(&report, "gain")["value"].as_f64() > Some(0.0));
}

#[test]
fn a_lost_shard_costs_its_own_calls_only() {
    let (_, report) = outcome("scenario lost-shard --json -");
    for lost in ["helper_lost", "entrance_lost"] {
        assert_eq!(criterion(&report, lost)["value"], 1.0, "{report}");
    }
    // Whose call was under way then is told by the time: where the machine cannot keep up, and says so, nothing can be said of it.
    // `tests/lost_shard.rs` of the engine asks the same without a clock.
    if report["outcome"] == "INVALID" {
        return;
    }
    let failed = criterion(&report, "entrance_failed");
    let most = failed["bound"]["at_most"].as_f64();
    assert!(failed["value"].as_f64() <= most, "{report}");
    assert_eq!(criterion(&report, "others")["value"], 0.0, "{report}");
}

#[test]
fn little_load_needs_few_connections() {
    let (_, report) = outcome("scenario quiet --json -");
    assert_eq!(criterion(&report, "failed")["value"], 0.0, "{report}");
    assert_eq!(criterion(&report, "opened")["bound"]["at_most"], 2.0);
}

#[test]
fn caps_hold_in_bursts() {
    let (_, report) = outcome("scenario cap --json -");
    for key in ["peer", "descriptors", "permits"] {
        let value = criterion(&report, key)["value"].as_f64();
        assert!(value <= Some(3.0), "{key}: {report}");
    }
    // Where the machine has no cores for it, and says so, calls wait for longer than they may: that is no cap's fault.
    if report["outcome"] != "INVALID" {
        for key in ["failed", "missed"] {
            assert_eq!(criterion(&report, key)["value"], 0.0, "{report}");
        }
    }
}

#[test]
fn local_load_is_counted_by_where_it_ran() {
    let (_, report) = outcome("scenario local --json -");
    assert_eq!(criterion(&report, "failed")["value"], 0.0, "{report}");
    assert!(criterion(&report, "stayed")["value"].as_f64() <= Some(1.0));
}
