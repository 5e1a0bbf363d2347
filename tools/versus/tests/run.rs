//! The tool as a user runs it: what it says, and its exit codes.

use serde_json::Value;
use std::process::{Command, Output};

fn versus(words: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_versus"));
    command.args(words.split_whitespace());
    command.output().unwrap()
}

/// Whether there is a core for the client and one for the backend.
fn two_cores() -> bool {
    let two = std::thread::available_parallelism().is_ok_and(|cores| cores.get() >= 2);
    if !two {
        assert!(
            std::env::var_os("RINGPOOL_FORBID_SKIP").is_none(),
            "two cores are needed"
        );
        eprintln!("skipped: two cores are needed");
    }
    two
}

#[test]
fn a_run_compares_and_everybody_did_the_same_work() {
    if !two_cores() {
        return;
    }
    let clients = "ringpool,ringpool-http,floor,hyper-util,ringline-http,tokio-uring";
    let output = versus(&format!(
        "--scenario h1 --rounds 1 --peer {clients} --json -"
    ));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("h1: 64 connections"), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let h1 = &report["scenarios"]["h1"];
    for client in clients.split(',') {
        let figures = &h1["peers"][client];
        assert!(
            figures["connections"].as_u64() >= Some(64),
            "{client}: {figures}"
        );
        assert!(
            figures["cpu_us_per_request"]["total"].as_f64() > Some(0.0),
            "{client}"
        );
        assert!(figures["rps"].as_f64() > Some(0.0) && figures["p50_us"].as_f64() > Some(0.0));
        assert!(figures["peak_rss_bytes"].as_u64() > Some(0), "{client}");
        let ratio = h1["ratios"][client].as_f64();
        assert_eq!(ratio.is_some(), client != "ringpool");
    }
    assert_eq!(h1["failed"], serde_json::json!({}));
}

#[test]
#[cfg(target_arch = "x86_64")]
fn instructions_are_counted_and_found_in_functions() {
    if !two_cores() {
        return;
    }
    let output = versus("instructions --peer floor --requests 64 --top 100000 --json -");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let floor = &report["scenarios"]["h1"]["peers"]["floor"];
    assert_eq!(floor["requests"], 64);
    let all = floor["instructions_per_request"].as_f64().unwrap();
    let rows = floor["profile"].as_array().unwrap().iter();
    let sum: f64 = rows.map(|row| row["instructions"].as_f64().unwrap()).sum();
    assert!(
        all > 0.0 && (sum - all).abs() < all / 100.0,
        "{sum} of {all}"
    );
    assert!(floor["crates"]["floor"].as_f64() > Some(0.0), "{floor}");
    assert!(floor["system_calls_per_request"].as_f64() > Some(0.0));
}

#[test]
fn who_cannot_do_a_scenario_is_left_out_with_the_reason() {
    if !two_cores() {
        return;
    }
    let output = versus("--scenario tls --rounds 1 --peer ringpool,floor --json -");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let tls = &report["scenarios"]["tls"];
    assert_eq!(tls["skipped"]["floor"], "the bare loop speaks no TLS");
    assert!(tls["peers"]["ringpool"]["rps"].as_f64() > Some(0.0));
}

#[test]
fn what_cannot_be_done_is_exit_code_2_and_a_sentence() {
    for words in [
        "--scenario h3",
        "--peer curl",
        "--rounds 0",
        "--client-core 100000",
        "--client-core 0 --backend-core 0",
        "--json /no/such/directory/report.json",
    ] {
        // On a single core, two clients of it is a matter of the machine.
        if words.contains("backend") && !two_cores() {
            continue;
        }
        let output = versus(words);
        assert_eq!(output.status.code(), Some(2), "{words}");
        assert!(
            !output.stderr.is_empty() && output.stdout.is_empty(),
            "{words}"
        );
    }
}
