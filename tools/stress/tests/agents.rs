//! Several agents on loopback, driven by one run.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};

use common::{Served, json as report_of, run, stress, words};
use serde_json::{Value, json};

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
        let report = report_of(&output);
        let (ok, failed) = (&report["requests"]["ok"], &report["requests"]["failed"]);
        assert!(ok.as_u64() > Some(0) && failed == 0, "{}", words(&output));
        assert_eq!(report["connections_opened"], 7, "3, 2 and 2");
        let series = &report["record"]["series"];
        let samples = series["samples"].as_array().expect("samples");
        let all = samples.iter().chain([&series["late"]]);
        let sum: u64 = all.filter_map(|one| one["ok"].as_u64()).sum();
        assert_eq!(Some(sum), ok.as_u64(), "every request is in one interval");
        // Each agent is told beside the sum: its figures, its host, and how well it kept time.
        let members = report["agents"].as_array().expect("agents");
        assert_eq!(members.len(), 3);
        let part = |member: &Value| member["requests"]["ok"].as_u64();
        assert_eq!(members.iter().filter_map(part).sum::<u64>(), sum);
        for member in members {
            assert!(member["host"]["kernel"].is_string(), "{member:#}");
            assert!(member["latency_us"]["p99"].is_number() && member["lost"].is_null());
            assert!(member["late_us"].is_number() && member["clock_error_us"].as_f64() > Some(0.0));
        }
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
        loop {
            let order: Value = serde_json::from_slice(&hear(&mut stream)).expect("JSON");
            match order["order"].as_str().expect("an order") {
                "hello" => {
                    let nonce = "A".repeat(43) + "=";
                    let challenge = json!({ "answer": "challenge", "version": 2, "nonce": nonce });
                    say(&mut stream, &challenge);
                }
                "prove" => say(&mut stream, &json!({ "answer": "welcome", "proof": null })),
                "plan" => say(&mut stream, &json!({ "answer": "accepted" })),
                "prepare" => say(&mut stream, &json!({ "answer": "ready" })),
                "ping" => {
                    let pong =
                        json!({ "answer": "pong", "number": order["number"], "clock_ns": 1 });
                    say(&mut stream, &pong);
                }
                "beat" => {}
                "go" => {
                    let _ = stream.write_all(last);
                    return;
                }
                other => panic!("{other}"),
            }
        }
    });
    (address, thread)
}

#[test]
fn a_run_that_is_interrupted_before_it_began_says_so_by_its_exit_code() {
    use nix::sys::signal::{Signal, kill};
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let mut conductor = stress()
        .args(["run", "http://127.0.0.1:9/", "--agents", &address])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("stress starts");
    let (mut stream, _) = listener.accept().expect("a conductor");
    loop {
        let order: Value = serde_json::from_slice(&hear(&mut stream)).expect("JSON");
        let nonce = "A".repeat(43) + "=";
        let answer = match order["order"].as_str().expect("an order") {
            "hello" => json!({ "answer": "challenge", "version": 2, "nonce": nonce }),
            "prove" => json!({ "answer": "welcome", "proof": null }),
            "plan" => json!({ "answer": "accepted" }),
            // It is never ready.
            _ => break,
        };
        say(&mut stream, &answer);
    }
    let pid = nix::unistd::Pid::from_raw(conductor.id() as i32);
    kill(pid, Signal::SIGINT).expect("it is there");
    let mut said = String::new();
    let mut stderr = conductor.stderr.take().expect("it is piped");
    stderr.read_to_string(&mut said).expect("text");
    let ended = conductor.wait().expect("it ends");
    assert_eq!(ended.code(), Some(130), "{said}");
    assert!(said.contains("interrupted"), "{said}");
}

fn hear(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("a length");
    let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut bytes).expect("a message");
    bytes
}

fn say(stream: &mut TcpStream, answer: &Value) {
    let answer = answer.to_string();
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
        let report = report_of(&output);
        assert!(report["requests"]["ok"].as_u64() > Some(0));
        assert!(report["agents"][0]["lost"].is_null() && report["agents"][1]["lost"].is_string());
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
fn whoever_has_a_token_wants_agents_that_know_it() {
    let agent = Agent::start(None);
    let mut command = stress();
    command.args(["run", "http://127.0.0.1:9/", "--agents", &agent.address]);
    command.env("STRESS_TOKEN", "open sesame");
    let output = command.output().expect("stress starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(words(&output).contains("token"), "{}", words(&output));
}

#[test]
fn a_file_whose_name_is_no_text_stays_here_and_harms_nothing() {
    use std::os::unix::ffi::OsStringExt;
    let name = format!("stress-{}-", std::process::id()).into_bytes();
    let name = std::ffi::OsString::from_vec([name.as_slice(), b"\xff"].concat());
    let path = std::env::temp_dir().join(name);
    let mut command = stress();
    command.args(["run", "http://127.0.0.1:9/", "--agents", "127.0.0.1:9"]);
    let output = command
        .arg("--json")
        .arg(&path)
        .output()
        .expect("it starts");
    let _ = std::fs::remove_file(&path);
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    assert!(
        words(&output).contains("cannot connect"),
        "{}",
        words(&output)
    );
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
