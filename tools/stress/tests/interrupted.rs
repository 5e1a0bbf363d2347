//! What the user ends early: it writes what it has, and its exit code says so.

mod common;

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use common::{Served, stress};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Starts the command, signals it once `ready` is in what it says, and gives its exit code and the file of `--json`.
fn ended_by(signal: Signal, line: &str, ready: &str) -> (Option<i32>, Value) {
    let words: String = line
        .chars()
        .filter(char::is_ascii_alphabetic)
        .take(8)
        .collect();
    let name = format!("stress-{words}-{signal}-{}", std::process::id());
    let file: PathBuf = std::env::temp_dir().join(name);
    // Both streams are one: which of them tells of progress differs.
    let mut child = stress()
        .args(line.split_whitespace())
        .arg("--json")
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("stress starts");
    let code = signalled(&mut child, signal, ready);
    let text = std::fs::read_to_string(&file).expect("a file");
    std::fs::remove_file(&file).expect("it is there");
    (code, serde_json::from_str(&text).expect("it is JSON"))
}

fn signalled(child: &mut Child, signal: Signal, ready: &str) -> Option<i32> {
    let mut said = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut line = String::new();
    while !line.contains(ready) {
        line.clear();
        assert!(said.read_line(&mut line).expect("a line") > 0, "it ended");
    }
    kill(Pid::from_raw(child.id() as i32), signal).expect("it is there");
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("text");
    child.wait().expect("it ends").code()
}

#[test]
fn run_curve_and_find_max_write_what_they_have_and_say_that_they_were_interrupted() {
    let served = Served::start("");
    let url = format!("http://{}/ --connections 4", served.plain);
    // A line of progress comes after a while.
    let run = format!("run {url} --duration 600s --warmup 0s");
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let (ended, report) = ended_by(signal, &run, "requests/s");
        assert_eq!(ended, Some(code));
        assert_eq!(report["interrupted"], true);
        assert!(report["requests"]["ok"].as_u64() > Some(0));
    }
    let curve = format!("curve {url} --rates 100,101 --duration 300s --warmup 0s");
    let (ended, report) = ended_by(Signal::SIGINT, &curve, "requests/s");
    assert_eq!(ended, Some(130));
    assert_eq!(report["interrupted"], true);
    let find = format!("find-max {url} --slo p99<50s --start 100 --duration 300s --warmup 0s");
    let (ended, report) = ended_by(Signal::SIGINT, &find, "requests/s");
    assert_eq!(ended, Some(130));
    assert_eq!(report["interrupted"], true);
    assert_eq!(report["slo"], "p99<50s,errors<1%");
    assert!(report["rate"].is_null());
}

#[test]
fn all_scenarios_end_with_the_one_that_was_interrupted() {
    let mut child = stress()
        .args("scenario --all --only quiet,cap".split(' '))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("stress starts");
    // The signal of a service manager reaches this process alone, and its scenario is ended by force.
    let code = signalled(&mut child, Signal::SIGTERM, "requests/s");
    assert_eq!(code, Some(143));
    let mut table = String::new();
    let told = child.stdout.take().expect("it is piped");
    BufReader::new(told)
        .read_to_string(&mut table)
        .expect("text");
    assert!(table.contains("quiet") && !table.contains("cap"), "{table}");
}
