//! Starts `stress` as the user would, and never leaves one behind.

#![allow(dead_code, reason = "each test file uses its own part of this")]

pub(crate) mod chromium;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// The program under test.
pub(crate) fn stress() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stress"));
    command.stdin(Stdio::null());
    command
}

/// Runs it to its end with `line` as arguments.
pub(crate) fn run(line: &str) -> Output {
    stress()
        .args(line.split_whitespace())
        .output()
        .expect("stress starts")
}

/// Standard error as text.
pub(crate) fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Standard output as JSON.
pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}\n{}", String::from_utf8_lossy(&output.stdout)))
}

/// The report on standard output of a run that was fine, or would have been on a machine that is less busy.
pub(crate) fn fine(output: &Output) -> Value {
    let report = ended_with(output, 0);
    for run in runs(&report) {
        assert_eq!(run["requests"]["failed"], 0, "{}", words(output));
    }
    report
}

/// The report on standard output of a run that ended with `code`, or with 3 because the machine was too busy for it to count.
pub(crate) fn ended_with(output: &Output, code: i32) -> Value {
    let is_known = output.status.code() == Some(code) || output.status.code() == Some(3);
    assert!(is_known, "{}", words(output));
    let report = json(output);
    assert_code(output, &report, code);
    report
}

/// The same of a run whose report is somewhere else.
pub(crate) fn assert_code(output: &Output, report: &Value, code: i32) {
    let is_excused = output.status.code() == Some(3) && machine_was_busy(report);
    assert!(
        output.status.code() == Some(code) || is_excused,
        "{:?}: {}",
        output.status.code(),
        words(output)
    );
}

/// Whether a run does not count, for reasons of the machine's only: the tool came late, had no core, or all of one.
fn machine_was_busy(report: &Value) -> bool {
    let whys = runs(report).filter_map(|run| run["invalid"].as_array());
    let whys: Vec<&str> = whys.flatten().filter_map(Value::as_str).collect();
    let its = ["the tool was late", "they had no core", "was saturated"];
    let is_its = |why: &&str| its.iter().any(|reason| why.contains(reason));
    !whys.is_empty() && whys.iter().all(is_its)
}

/// The one run of a report, or each phase of a scenario's.
fn runs(report: &Value) -> impl Iterator<Item = &Value> {
    let phases = report["phases"].as_object();
    let alone = phases.is_none().then_some(report);
    phases.into_iter().flat_map(|all| all.values()).chain(alone)
}

/// Of the lines that were shown, one a second, some told of calls; if there was any.
pub(crate) fn assert_calls_shown(output: &Output) {
    let said = words(output);
    let shown: Vec<&str> = said
        .lines()
        .filter(|line| line.contains(" requests/s"))
        .collect();
    let is_some = |line: &&str| !line.contains("  0 requests/s");
    assert!(shown.is_empty() || shown.iter().any(is_some), "{said}");
}

/// `stress serve` on free ports.
pub(crate) struct Served {
    pub(crate) child: Child,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) ca: String,
}

impl Served {
    pub(crate) fn start(options: &str) -> Self {
        let mut child = stress()
            .args("serve --plain 127.0.0.1:0 --tls 127.0.0.1:0 --until-stdin-closes".split(' '))
            .args(options.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("stress starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("it says something");
        let ready: Value = serde_json::from_str(&line).expect("the ready line is JSON");
        let text = |key: &str| ready[key].as_str().expect("it is text").to_owned();
        let address = |key| text(key).parse().expect("it is an address");
        Self {
            child,
            plain: address("plain"),
            tls: address("tls"),
            ca: text("ca"),
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One response: its head as text, and its body.
pub(crate) fn response(stream: &mut impl BufRead, has_body: bool) -> (String, Vec<u8>) {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(
            stream.read_line(&mut head).expect("a line") > 0,
            "cut short: {head:?}"
        );
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .map_or(0, |length| length.parse().expect("a number"));
    let mut body = vec![0; if has_body { length } else { 0 }];
    stream.read_exact(&mut body).expect("the whole body");
    (head, body)
}
