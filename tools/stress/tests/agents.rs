//! Several agents on loopback, driven by one run.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};

use common::{Served, json, run, stress, words};
use serde_json::Value;

/// `stress agent` on a free port.
struct Agent {
    child: Child,
    address: String,
}

impl Agent {
    fn start(token: Option<&str>) -> Self {
        let mut command = stress();
        command.args(["agent", "--listen", "127.0.0.1:0"]);
        if let Some(token) = token {
            command.env("STRESS_TOKEN", token);
        }
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("stress starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped"))
            .read_line(&mut line)
            .expect("it says where it is");
        let said: Value = serde_json::from_str(&line).expect("it is JSON");
        let address = said["agent"].as_str().expect("an address").to_owned();
        Self { child, address }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn three_agents_load_as_one_and_their_histograms_are_whole() {
    let served = Served::start("");
    let ca = std::env::temp_dir().join(format!("stress-agents-{}.pem", std::process::id()));
    std::fs::write(&ca, &served.ca).expect("a file");
    let agents = [(); 3].map(|()| Agent::start(None));
    let names = agents
        .each_ref()
        .map(|agent| agent.address.as_str())
        .join(",");
    // Twice: an agent serves one conductor after the other.
    for _ in 0..2 {
        let output = run(&format!(
            "run https://{}/ --connections 7 --rate 600 --duration 500ms --warmup 50ms --insecure-ca {} --agents {names} --json -",
            served.tls,
            ca.display()
        ));
        let report = json(&output);
        let (ok, failed) = (&report["requests"]["ok"], &report["requests"]["failed"]);
        assert!(ok.as_u64() > Some(0) && failed == 0, "{}", words(&output));
        assert_eq!(report["connections_opened"], 7, "3, 2 and 2");
        let samples = report["record"]["series"]["samples"]
            .as_array()
            .expect("samples");
        let sum: u64 = samples.iter().filter_map(|one| one["ok"].as_u64()).sum();
        assert_eq!(Some(sum), ok.as_u64(), "every request is in one interval");
        // As many as 600 a second for as long as the window was, shared by three; their grids may begin apart.
        let expected = 600.0 * report["seconds"].as_f64().expect("a length");
        assert!(
            (sum as f64 - expected).abs() <= 0.1 * expected + 6.0,
            "{sum} for {expected}"
        );
    }
    std::fs::remove_file(&ca).expect("it is there");
}

/// An agent that goes away when the load has begun, after it has sent `last`.
fn deserter(last: &'static [u8]) -> (String, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a conductor");
        say(&mut stream, r#"{"answer":"welcome","version":1}"#);
        say(&mut stream, r#"{"answer":"ready"}"#);
        hear(&mut stream);
        let _ = stream.write_all(last);
    });
    (address, thread)
}

fn hear(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("a length");
    let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut bytes).expect("a message");
    bytes
}

/// Hears one order and answers it.
fn say(stream: &mut TcpStream, answer: &str) {
    hear(stream);
    let length = u32::try_from(answer.len()).expect("it is short");
    stream.write_all(&length.to_be_bytes()).expect("it listens");
    stream.write_all(answer.as_bytes()).expect("it listens");
}

#[test]
fn an_agent_that_is_lost_makes_the_run_invalid_and_the_rest_is_told() {
    let served = Served::start("");
    let agent = Agent::start(None);
    for last in [
        b"".as_slice(),
        b"\xff\xff\xff\xff",
        b"\0\0\0\x02{}",
        b"\0\0\0\x09{\"ans",
    ] {
        let (lost, thread) = deserter(last);
        let output = run(&format!(
            "run http://{}/ --connections 4 --duration 300ms --warmup 0s --agents {},{lost} --json -",
            served.plain, agent.address
        ));
        assert_eq!(output.status.code(), Some(3), "{}", words(&output));
        let report = json(&output);
        assert!(report["requests"]["ok"].as_u64() > Some(0));
        // Whatever else kept it from counting on this machine.
        let whys = report["invalid"].as_array().expect("reasons");
        let is_told = |why: &serde_json::Value| {
            let why = why.as_str().unwrap_or_default();
            why.contains(&lost) && why.contains("lost")
        };
        assert!(whys.iter().any(is_told), "{whys:?}");
        thread.join().expect("it went away");
    }
}

#[test]
fn whoever_does_not_know_the_token_is_sent_away() {
    let served = Served::start("");
    let agent = Agent::start(Some("open sesame"));
    let conduct = |token: Option<&str>| {
        let mut command = stress();
        command.args([
            "run",
            &format!("http://{}/", served.plain),
            "--agents",
            &agent.address,
        ]);
        command.args("--connections 1 --duration 100ms --warmup 0s".split(' '));
        if let Some(token) = token {
            command.env("STRESS_TOKEN", token);
        }
        command.output().expect("stress starts")
    };
    for wrong in [None, Some("open")] {
        let output = conduct(wrong);
        assert_eq!(output.status.code(), Some(1));
        assert!(words(&output).contains("token"), "{}", words(&output));
    }
    let output = conduct(Some("open sesame"));
    // Whether it counts on this machine is not asked.
    assert!(
        matches!(output.status.code(), Some(0 | 3)),
        "{}",
        words(&output)
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains("share of requests"));
}

#[test]
fn an_agent_that_anybody_could_reach_needs_a_token() {
    let output = run("agent --listen 0.0.0.0:0");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        words(&output).contains("STRESS_TOKEN"),
        "{}",
        words(&output)
    );
}

#[test]
fn an_agent_that_is_not_there_is_told() {
    let output = run("run http://127.0.0.1:9/ --agents 127.0.0.1:9");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        words(&output).contains("127.0.0.1:9: cannot connect"),
        "{}",
        words(&output)
    );
}
