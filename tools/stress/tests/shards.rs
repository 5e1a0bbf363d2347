//! The scenarios about several shards, short, from the outside. What this machine comes to is not asked.

mod common;

use common::{json, run, words};
use serde_json::Value;

/// Runs it, and sees that its exit code is what its outcome says.
fn outcome(line: &str) -> (String, Value) {
    let output = run(line);
    let report = json(&output);
    let outcome = report["outcome"].as_str().expect("an outcome").to_owned();
    let codes = [("PASS", 0), ("FAIL", 1), ("INVALID", 3)];
    let code = codes.iter().find(|(name, _)| *name == outcome);
    let code = code.map(|(_, code)| *code);
    assert_eq!(code, output.status.code(), "{}", words(&output));
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
