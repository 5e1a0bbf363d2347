//! Whole runs from the outside: exit codes, JSON, Ctrl-C, and a backend that dies.

mod common;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Output, Stdio};

use common::{Served, assert_calls_shown, assert_code, ended_with, fine, json, run, stress, words};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[test]
fn usage_errors_are_exit_code_2() {
    for line in [
        "run",
        "run nonsense",
        "run http://127.0.0.1:1/ --connections 0",
        "run http://127.0.0.1:1/ --insecure-ca /nowhere/ca.pem",
        "run http://127.0.0.1:1/ --json /nowhere/out.json",
        "scenario no-such",
        "dance",
    ] {
        let output = run(line);
        assert_eq!(output.status.code(), Some(2), "{line}: {}", words(&output));
        assert!(
            output.stdout.is_empty() && !output.stderr.is_empty(),
            "{line}"
        );
    }
    assert!(
        words(&run("scenario no-such")).contains("demo"),
        "it lists those that exist"
    );
}

#[test]
fn what_a_scenario_has_nothing_for_is_a_usage_error_and_no_file() {
    let path = std::env::temp_dir().join(format!("stress-nothing-{}", std::process::id()));
    for option in ["--report", "--csv", "--hlog"] {
        // Those of files have runs.
        for name in ["spike", "quiet"] {
            let output = run(&format!("scenario {name} {option} {}", path.display()));
            let said = words(&output);
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(said.contains(option) && said.contains("--json"), "{said}");
        }
    }
    assert!(!path.exists());
}

#[test]
fn scenarios_are_listed() {
    let output = run("scenario");
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("demo "));
}

#[test]
fn a_scenario_with_criteria_says_what_they_came_to() {
    let output = run("scenario spike --json -");
    let report = json(&output);
    let outcome = report["outcome"].as_str().expect("an outcome");
    // How quick this machine is just now is not asked.
    let codes = [("PASS", 0), ("FAIL", 1), ("INVALID", 3)];
    let code = codes.iter().find(|(name, _)| *name == outcome);
    assert_eq!(code.map(|(_, code)| *code), output.status.code());
    assert_eq!(report["scenario"], "spike");
    let criteria = report["criteria"].as_array().expect("criteria");
    let opened = criteria.iter().find(|one| one["key"] == "opened");
    assert_eq!(
        opened.map(|one| &one["bound"]["at_most"]),
        Some(&6.0.into())
    );
    assert_eq!(report["figures"]["callers"]["values"]["ours"], 50.0);
    assert!(words(&output).contains("connections opened"));
    assert_calls_shown(&output);
}

#[test]
fn all_scenarios_are_told_in_one_table() {
    let output = run("scenario --all --markdown --only spike,steady");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows: Vec<&str> = table.lines().skip(2).collect();
    assert!(
        rows.len() == 2 && rows[0].starts_with("| `spike` |"),
        "{table}"
    );
    assert!(rows[1].starts_with("| `steady` |"), "{table}");
    assert!(rows[1].contains("<br>hit_rate ("), "{table}");
    // How quick this machine is just now is not asked.
    let is = |verdict: &str| rows.iter().any(|row| row.contains(&format!("| {verdict}")));
    let code = if is("FAIL") {
        1
    } else if is("INVALID") {
        3
    } else {
        0
    };
    assert_eq!(output.status.code(), Some(code), "{table}");
    let unknown = run("scenario --all --only no-such");
    assert_eq!(unknown.status.code(), Some(2));
}

#[test]
fn the_scenario_of_rotation_is_judged_by_nginx_or_says_that_it_needs_it() {
    let output = run("scenario rotation --rounds 2 --json -");
    if std::env::var_os("RINGPOOL_FORBID_SKIP").is_none() && words(&output).contains("needs nginx")
    {
        assert_eq!(output.status.code(), Some(3));
        return;
    }
    let report = json(&output);
    // How quick this machine is just now is not asked; the rest is.
    let criteria = report["criteria"].as_array().expect("criteria");
    for one in criteria.iter().filter(|one| one["key"] != "seen") {
        assert_eq!(one["holds"], true, "{one}");
    }
    for by in ["settings", "files"] {
        assert_eq!(report["figures"]["replacements"]["values"][by], 2.0);
        let requests = &report["figures"]["requests_answered"]["values"][by];
        assert!(requests.as_f64() > Some(0.0), "{requests}");
    }
}

#[test]
fn rotation_without_nginx_is_exit_code_3() {
    let nowhere = stress()
        .args(["scenario", "rotation"])
        .env("PATH", "/nowhere")
        .output()
        .expect("stress starts");
    assert_eq!(nowhere.status.code(), Some(3), "{}", words(&nowhere));
    let said = words(&nowhere);
    assert!(
        said.contains("needs nginx") && said.contains("remedy: install it"),
        "{said}"
    );
}

#[test]
fn a_run_reports_json_alone_on_stdout() {
    let served = Served::start("");
    let url = format!("http://{}/x", served.plain);
    let output = run(&format!(
        "run {url} --connections 4 --duration 300ms --warmup 50ms --json -"
    ));
    let report = fine(&output);
    let ok = report["requests"]["ok"].as_u64().unwrap();
    assert!(ok > 0);
    assert_eq!(report["requests"]["failed"], 0);
    assert_eq!(report["connections_opened"], 4);
    assert!(report["latency_us"]["p99"].as_f64() <= report["latency_us"]["max"].as_f64());
    assert!(report["seconds"].as_f64().unwrap() >= 0.29);
    assert!(report["cpu_us_per_request"]["system"].as_f64().unwrap() >= 0.0);
    assert!(report["command"].as_str().unwrap().ends_with("--json -"));
    assert!(
        words(&output).contains("requests/s"),
        "the table goes to standard error"
    );
    let samples = report["record"]["series"]["samples"].as_array();
    let samples = samples.expect("it is told over time");
    let sum = |pointer: &str| {
        let of = |one: &serde_json::Value| one.pointer(pointer).and_then(|n| n.as_u64());
        samples
            .iter()
            .map(|one| of(one).expect("a count"))
            .sum::<u64>()
    };
    assert!(samples.len() >= 2, "{}", samples.len());
    let late = &report["record"]["series"]["late"];
    let late = late["ok"].as_u64().expect("what came late is told");
    assert_eq!(ok, sum("/ok") + late);
    assert_eq!(report["pool"]["hits"], sum("/counters/hits"));
    let lengths = sum("/length_ns") as f64 / 1e9;
    assert!((lengths - report["seconds"].as_f64().unwrap()).abs() < 1e-6);
    let last = samples.last().expect("there are some");
    assert_eq!(last["pool"]["connections"], 4);
}

#[test]
fn a_run_that_reuses_nothing_opens_a_connection_a_request() {
    let served = Served::start("");
    let path = std::env::temp_dir().join(format!("stress-run-{}.json", std::process::id()));
    let output = run(&format!(
        "run http://{}/ --connections 2 --duration 200ms --warmup 0s --reuse off --json {}",
        served.plain,
        path.display()
    ));
    let kept = std::fs::read(&path).unwrap_or_else(|e| panic!("{e}: {}", words(&output)));
    std::fs::remove_file(&path).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&kept).unwrap();
    assert_code(&output, &report, 0);
    assert!(String::from_utf8_lossy(&output.stdout).contains("requests/s"));
    assert!(report["connections_opened"].as_u64() >= report["requests"]["ok"].as_u64());
    assert_eq!(report["plan"]["reuse"], false);
}

/// An address where nobody listens.
fn nobody() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

#[test]
fn failed_requests_are_exit_code_1_and_counted_by_kind() {
    let output = run(&format!(
        "run http://{}/ --connections 1 --duration 100ms --warmup 0s --reuse off --json -",
        nobody()
    ));
    let report = ended_with(&output, 1);
    let errors = report["requests"]["errors"].as_object().unwrap();
    // After a few refused dials the breaker refuses by itself.
    let known = |kind: &String| kind == "dial" || kind == "breaker";
    assert!(errors.keys().all(known), "{errors:?}");
    let failed: u64 = errors.values().filter_map(|count| count.as_u64()).sum();
    assert!(failed > 0);
    assert_eq!(report["requests"]["failed"], failed);
    assert!(report["latency_us"]["p50"].is_null());
}

#[test]
fn a_server_that_cannot_be_reached_is_named_before_the_load() {
    let nobody = nobody();
    let output = run(&format!("run http://{nobody}/ --json -"));
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty(), "there is nothing to report");
    let said = words(&output);
    // Also where warm dials have opened the breaker before the first call came: its cause is told.
    assert!(
        said.contains(&nobody.to_string()) && said.contains("refused"),
        "{said}"
    );
}

#[test]
fn a_status_that_is_an_error_is_a_failed_request() {
    let served = Served::start("");
    let output = run(&format!(
        "run http://{}/?size=nonsense --connections 1 --duration 50ms --warmup 0s --json -",
        served.plain
    ));
    let report = ended_with(&output, 1);
    assert_eq!(report["requests"]["ok"], 0);
    assert!(report["requests"]["errors"]["status_4xx"].as_u64() > Some(0));
}

#[test]
fn either_way_in_runs_over_tls_on_any_number_of_shards() {
    let served = Served::start("");
    let ca = std::env::temp_dir().join(format!("stress-ca-run-{}.pem", std::process::id()));
    std::fs::write(&ca, &served.ca).unwrap();
    for way in ["shards", "anywhere"] {
        let output = run(&format!(
            "run https://{}/ --connections 5 --shards 2 --from {way} --duration 300ms \
             --warmup 50ms --insecure-ca {} --json -",
            served.tls,
            ca.display()
        ));
        let report = fine(&output);
        assert_eq!(report["connections_opened"], 5, "{way}");
        assert_eq!(report["requests"]["failed"], 0, "{way}");
        assert_eq!(report["plan"]["from"], way);
        let handshakes = &report["handshakes"];
        let sum = handshakes["full"].as_u64().unwrap() + handshakes["resumed"].as_u64().unwrap();
        assert_eq!(sum, 5, "{way}: as many as connections");
    }
    std::fs::remove_file(&ca).unwrap();
}

#[test]
fn a_fixed_rate_asks_as_often_as_it_says() {
    let served = Served::start("");
    for way in ["shards", "anywhere"] {
        let output = run(&format!(
            "run http://{}/ --connections 8 --rate 500 --duration 400ms --warmup 100ms \
             --from {way} --json -",
            served.plain
        ));
        let report = fine(&output);
        let asked = report["seconds"].as_f64().unwrap() * 500.0;
        let answered = report["requests"]["ok"].as_f64().unwrap();
        assert!((asked - answered).abs() <= 1.0, "{asked} {answered}");
    }
}

#[test]
fn at_a_fixed_rate_waiting_for_a_caller_is_latency() {
    // One answer takes 200 ms, and 20 are asked for in a second by one caller: the last of them is
    // answered about 3 s after it should have been asked.
    let served = Served::start("--delay 200ms");
    let output = run(&format!(
        "run http://{}/ --connections 1 --rate 20 --duration 1s --warmup 0s --json -",
        served.plain
    ));
    let report = json(&output);
    let number = |pointer: &str| report.pointer(pointer).unwrap().as_f64().unwrap();
    let all = number("/requests/ok") + number("/requests/failed");
    assert!((all - number("/seconds") * 20.0).abs() <= 1.0, "{report}");
    assert!(number("/requests/ok") >= 5.0, "{report}");
    assert!(number("/latency_us/max") >= 600_000.0, "{report}");
    assert!(number("/latency_us/p50") > 200_000.0, "{report}");
}

#[test]
fn what_is_not_answered_in_the_end_has_failed() {
    let served = Served::start("--delay 600s");
    let output = run(&format!(
        "run http://{}/ --connections 2 --duration 50ms --warmup 0s --json -",
        served.plain
    ));
    let report = ended_with(&output, 1);
    assert_eq!(report["requests"]["errors"]["unfinished"], 2);
    assert_eq!(report["requests"]["failed"], 2);
}

#[test]
fn the_demo_ends_with_four_phases_and_a_verdict() {
    let output = run("scenario demo --duration 150ms --json -");
    let report = fine(&output);
    assert_eq!(report["scenario"], "demo");
    for phase in [
        "plain_http_reuse",
        "plain_http_no_reuse",
        "tls_reuse",
        "tls_no_reuse",
    ] {
        let phase = &report["phases"][phase];
        assert!(phase["requests"]["ok"].as_u64().unwrap() > 0, "{phase}");
    }
    assert!(report["phases"]["tls_reuse"]["handshakes"]["full"].is_number());
    assert_eq!(report["verdict"]["held"], true);
    assert!(
        report["verdict"]["text"]
            .as_str()
            .unwrap()
            .contains("Over TLS, reuse gave")
    );
    let table = words(&output);
    assert!(
        table.contains("plain HTTP") && table.contains("gain"),
        "{table}"
    );
}

/// A demo under way, and the backend found among its children.
struct Demo {
    child: Child,
    backend: Pid,
    stderr: BufReader<ChildStderr>,
}

impl Demo {
    /// Starts it and waits for its first line of progress, which comes when requests have been
    /// answered for a while: well behind the warm-up.
    fn under_way(duration: &str) -> Self {
        let mut child = stress()
            .args(["scenario", "demo", "--duration", duration, "--json", "-"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id()));
        let backend = children.unwrap_or_default().trim().parse();
        let demo = Self {
            child,
            backend: Pid::from_raw(backend.unwrap_or(-1)),
            stderr,
        };
        assert!(
            line.contains("plain HTTP, reuse") && line.contains("requests/s"),
            "{line}"
        );
        assert!(demo.backend.as_raw() > 0, "no backend");
        demo
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Waits for the end: its standard error is what was said since the first line.
    fn end(mut self) -> Output {
        let (mut stderr, mut stdout) = (Vec::new(), Vec::new());
        let mut out = self.child.stdout.take().unwrap();
        out.read_to_end(&mut stdout).unwrap();
        self.stderr.read_to_end(&mut stderr).unwrap();
        Output {
            status: self.child.wait().unwrap(),
            stdout,
            stderr,
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn ctrl_c_ends_with_the_report_and_takes_the_backend_along() {
    let demo = Demo::under_way("600s");
    let backend = demo.backend;
    demo.signal(Signal::SIGINT);
    let output = demo.end();
    assert_eq!(output.status.code(), Some(130), "{}", words(&output));
    let report = json(&output);
    assert_eq!(report["interrupted"], true);
    let phases = report["phases"].as_object().unwrap();
    assert_eq!(phases.len(), 1, "no phase begins after it");
    assert!(
        phases["plain_http_reuse"]["requests"]["ok"]
            .as_u64()
            .unwrap()
            > 0
    );
    assert!(words(&output).contains("Interrupted"));
    assert!(kill(backend, None).is_err(), "the backend is gone");
}

#[test]
fn a_backend_that_dies_is_named_as_the_cause() {
    let demo = Demo::under_way("600s");
    kill(demo.backend, Signal::SIGKILL).unwrap();
    demo.signal(Signal::SIGINT); // Rather than wait for the end of the phase.
    let output = demo.end();
    let said = words(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("the backend died during the run (signal: 9"),
        "{said}"
    );
}

#[test]
fn an_orphaned_backend_ends_by_itself() {
    let mut demo = Demo::under_way("600s");
    demo.signal(Signal::SIGKILL);
    // The backend shares the standard error, which therefore ends only when both are gone.
    demo.stderr.read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn a_machine_without_what_it_takes_is_exit_code_3_with_a_remedy() {
    // Without descriptors there is no ring; which limit hits first is the program's affair, so
    // the smallest limit that lets it come that far is searched for.
    let code = |limit: u32, line: &str| {
        let line = format!("ulimit -n {limit}; exec \"$0\" {line}");
        let output = std::process::Command::new("sh")
            .args(["-c", &line, env!("CARGO_BIN_EXE_stress")])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (output.status.code(), words(&output))
    };
    for line in [
        "serve --plain 127.0.0.1:0 --tls 127.0.0.1:0 --until-stdin-closes",
        "run http://127.0.0.1:1/",
    ] {
        let refused = (4..24)
            .map(|limit| code(limit, line))
            .find(|(code, _)| *code == Some(3));
        let (_, said) = refused.expect("at some limit the ring is what fails");
        assert!(said.contains("ring") && said.contains("remedy: "), "{said}");
    }
}
