//! Prometheus, and its `promtool`.
//!
//! Owns: one process with a store of its own, gone with it. Never: the one that a package may have started.

use super::{Directory, free_address, installed};
use crate::common::bounded::PATIENCE;
use ringpool::config::UpstreamConfig;
use ringpool::{Config, Engine, block_on};
use serde_json::Value;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// A running Prometheus that scrapes one target.
pub struct Prometheus {
    child: Child,
    /// What asks it: an engine of ours.
    client: Engine,
    directory: Directory,
}

impl Prometheus {
    /// Starts one that scrapes `target` five times a second, and goes by the rules in `rules`. `None` where there is none.
    pub fn start(target: SocketAddr, rules: &Path) -> Option<Prometheus> {
        installed("prometheus", "--version")?;
        let directory = Directory::new("prometheus");
        let configuration = format!(
            "global: {{ scrape_interval: 200ms, evaluation_interval: 200ms }}\n\
             rule_files: [{:?}]\n\
             scrape_configs:\n- job_name: ringpool\n  static_configs: [{{ targets: [\"{target}\"] }}]\n",
            rules
        );
        std::fs::write(directory.file("prometheus.yml"), configuration).expect("written");
        let address = free_address();
        let log = std::fs::File::create(directory.file("log")).expect("a file");
        let child = Command::new("prometheus")
            .arg(format!(
                "--config.file={}",
                directory.file("prometheus.yml").display()
            ))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.file("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("it starts");
        let settings = UpstreamConfig::at(&format!("http://{address}")).expect("a URL");
        let client = Engine::start(Config {
            shards: 1,
            pin: false,
            ..Config::with_upstream("prometheus", settings)
        });
        let prometheus = Prometheus {
            child,
            client: client.expect("an engine"),
            directory,
        };
        prometheus.wait("its start", |prometheus| {
            prometheus.ask("/-/ready").is_some()
        });
        Some(prometheus)
    }

    /// Waits for `until`, without end but the test's patience.
    pub fn wait(&self, what: &str, until: impl Fn(&Prometheus) -> bool) {
        let pause = Duration::from_millis(20);
        for _ in 0..3 * PATIENCE.as_millis() / pause.as_millis() {
            if until(self) {
                return;
            }
            thread::sleep(pause);
        }
        panic!("never came: {what}; {}", self.directory.read("log"));
    }

    /// What it answers to a query: a list of series with their values.
    ///
    /// # Panics
    /// If it refuses the query.
    pub fn query(&self, query: &str) -> Vec<Value> {
        let coded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = self
            .ask(&format!("/api/v1/query?query={coded}"))
            .expect("an answer");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"]
            .as_array()
            .cloned()
            .expect("a list")
    }

    fn ask(&self, path: &str) -> Option<String> {
        block_on(async {
            let request = http::Request::get(path).body(()).expect("a request");
            let upstream = self.client.upstream("prometheus").expect("configured");
            let response = upstream.call(request).await.ok()?;
            let found = response.status().is_success() || response.status() == 400;
            let body = http_body_util::BodyExt::collect(response.into_body())
                .await
                .ok()?;
            found.then(|| String::from_utf8_lossy(&body.to_bytes()).into_owned())
        })
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `promtool check …` says of `input`; an error if it is not content. `None` where there is none.
pub fn promtool(arguments: &[&str], input: &[u8]) -> Option<Result<String, String>> {
    installed("promtool", "--version")?;
    let mut child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(input)
        .expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    Some(match output.status.success() && !said.contains("error") {
        true => Ok(said),
        false => Err(said),
    })
}
