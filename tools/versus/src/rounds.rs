//! A run: the backend, and in each round every client once.
//!
//! Owns: the children, their order, and what is checked of what they say. Never: measures; a client measures itself, the backend
//! counts, and this process sleeps meanwhile.

use crate::backend::{Counts, DESCRIPTORS, Listening};
use crate::failure::Failure;
use crate::measure::Outcome;
use crate::peers::Peer;
use crate::scenario::Scenario;
use serde::de::DeserializeOwned;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What one client did in one round, and what the backend saw of it.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) outcome: Outcome,
    pub(crate) seen: Counts,
}

/// What came of one scenario.
#[derive(Debug)]
pub(crate) struct Compared {
    pub(crate) scenario: &'static Scenario,
    /// Each client that took part, and its rounds.
    pub(crate) rounds: Vec<(&'static Peer, Vec<Round>)>,
    /// Who did not take part, and why.
    pub(crate) skipped: Vec<(&'static Peer, String)>,
    /// Who failed, in which way.
    pub(crate) failed: Vec<(&'static Peer, String)>,
}

/// Where and how long.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: u64,
    pub(crate) seconds: u64,
    pub(crate) client_core: usize,
    pub(crate) backend_core: usize,
    /// A directory of the run's own.
    pub(crate) directory: PathBuf,
}

/// Runs all rounds of these scenarios against one backend: of each scenario one, then of each the next, so that
/// those of one round stand beside each other.
pub(crate) fn compare(
    plan: &Plan,
    scenarios: &[&'static Scenario],
    peers: &[&'static Peer],
    mut progress: impl FnMut(&'static Scenario, u64, &'static Peer),
) -> Result<Vec<Compared>, Failure> {
    let mut backend = Backend::start(plan)?;
    let limit = backend.listening.descriptors;
    let begin = |scenario: &&'static Scenario| Compared::begin(scenario, peers, limit);
    let mut all: Vec<Compared> = scenarios.iter().map(begin).collect();
    for round in 0..plan.rounds {
        for place in 0..all.len() {
            let turn = (place + round as usize) % all.len();
            all[turn].round(plan, round, &mut backend, &mut progress)?;
        }
    }
    Ok(all)
}

impl Compared {
    fn begin(scenario: &'static Scenario, peers: &[&'static Peer], descriptors: u64) -> Compared {
        let (mut rounds, mut skipped) = (Vec::new(), Vec::new());
        let short = lacks_descriptors(scenario, descriptors);
        for peer in peers {
            match short.clone().or_else(|| peer.lacks(scenario)) {
                Some(why) => skipped.push((*peer, why)),
                None => rounds.push((*peer, Vec::new())),
            }
        }
        Compared {
            scenario,
            rounds,
            skipped,
            failed: Vec::new(),
        }
    }

    /// Runs every client once.
    fn round(
        &mut self,
        plan: &Plan,
        round: u64,
        backend: &mut Backend,
        progress: &mut impl FnMut(&'static Scenario, u64, &'static Peer),
    ) -> Result<(), Failure> {
        let taking_part = self.rounds.len();
        for place in 0..taking_part {
            // Everybody comes first once: what is slow about a place is nobody's alone.
            let turn = (place + round as usize) % taking_part;
            let (peer, rounds) = &mut self.rounds[turn];
            let mut failed = self.failed.iter();
            if failed.any(|(failed, _)| failed.name == peer.name) {
                continue;
            }
            progress(self.scenario, round, peer);
            match one_round(plan, self.scenario, peer, backend)? {
                Ok(round) => rounds.push(round),
                Err(why) => self.failed.push((*peer, why)),
            }
        }
        Ok(())
    }
}

/// What the client and the backend both need, if it is not to be had.
pub(crate) fn lacks_descriptors(scenario: &Scenario, limit: u64) -> Option<String> {
    let wanted = scenario.connections() as u64 + 256;
    (limit < wanted).then(|| {
        format!(
            "needs {wanted} descriptors, of which this machine allows {limit}: raise `ulimit -n` to {DESCRIPTORS}"
        )
    })
}

fn one_round(
    plan: &Plan,
    scenario: &'static Scenario,
    peer: &'static Peer,
    backend: &mut Backend,
) -> Result<Result<Round, String>, Failure> {
    let before = backend.counts()?;
    let said = run_client(plan, scenario, peer, &backend.listening)?;
    let seen = backend.counts()?.since(before);
    Ok(said.and_then(|outcome| {
        is_plausible(scenario, &outcome, seen)?;
        Ok(Round { outcome, seen })
    }))
}

/// Whether what the client says is what the backend saw.
fn is_plausible(scenario: &Scenario, outcome: &Outcome, seen: Counts) -> Result<(), String> {
    if outcome.requests == 0 {
        return Err("answered no request".to_owned());
    }
    let open = scenario.connections() as u64;
    if let Some(answered) = outcome.answered {
        // Beside those: what was under way at the end, and what opened the idle connections.
        let most =
            answered + 2 * scenario.callers as u64 + if scenario.idle > 0 { open } else { 0 };
        if !(answered..=most).contains(&seen.answered) {
            let seen = seen.answered;
            return Err(format!(
                "says {answered} requests, and the backend saw {seen}"
            ));
        }
    }
    let connections = seen.accepted;
    if connections < open {
        return Err(format!("opened {connections} connections, not {open}"));
    }
    if !scenario.reuses() && connections < outcome.requests {
        let requests = outcome.requests;
        return Err(format!(
            "opened {connections} connections for {requests} requests"
        ));
    }
    Ok(())
}

/// `Err` inside: the client failed, in its own words.
fn run_client(
    plan: &Plan,
    scenario: &Scenario,
    peer: &Peer,
    at: &Listening,
) -> Result<Result<Outcome, String>, Failure> {
    let output = client(plan, scenario, peer, at)?
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|why| Failure::run("cannot start a client", why))?;
    if output.status.success() {
        return parse(&output.stdout).map(Ok);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().trim_start_matches("versus: ").to_owned();
    Ok(Err(if said.is_empty() {
        output.status.to_string()
    } else {
        said
    }))
}

/// The command that runs one client.
pub(crate) fn client(
    plan: &Plan,
    scenario: &Scenario,
    peer: &Peer,
    at: &Listening,
) -> Result<Command, Failure> {
    let mut command = this_program()?;
    command
        .arg("__client")
        .args(["--peer", peer.name, "--scenario", scenario.name])
        .args(["--seconds", &plan.seconds.to_string()])
        .args(["--core", &plan.client_core.to_string()])
        .args(["--tcp", &at.tcp.to_string(), "--tls", &at.tls.to_string()])
        .args([
            Path::new("--unix"),
            &at.unix,
            Path::new("--authority"),
            &at.authority,
        ])
        .args([Path::new("--directory"), &plan.directory]);
    Ok(command)
}

/// The backend's process; it ends with this value.
pub(crate) struct Backend {
    child: Child,
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pub(crate) listening: Listening,
}

impl Backend {
    pub(crate) fn start(plan: &Plan) -> Result<Backend, Failure> {
        let failed = |why: std::io::Error| Failure::run("cannot start the backend", why);
        let directory = plan.directory.join("backend");
        // Of the scenario before.
        if directory.exists() {
            std::fs::remove_dir_all(&directory).map_err(failed)?;
        }
        std::fs::create_dir(&directory).map_err(failed)?;
        let mut child = this_program()?
            .arg("__backend")
            .args(["--core", &plan.backend_core.to_string()])
            .args([Path::new("--directory"), &directory])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (ask, answers) = (child.stdin.take(), child.stdout.take());
        let mut answers = BufReader::new(answers.expect("it is piped"));
        let listening = match answer(&mut answers) {
            Ok(listening) => listening,
            Err(failure) => {
                // It has ended, or says nothing that is of use.
                let _ = child.kill();
                let _ = child.wait();
                return Err(failure);
            }
        };
        Ok(Backend {
            child,
            ask,
            answers,
            listening,
        })
    }

    pub(crate) fn counts(&mut self) -> Result<Counts, Failure> {
        let mut ask = self.ask.as_ref().expect("it is there until the end");
        ask.write_all(b"\n")
            .map_err(|why| Failure::run("the backend is gone", why))?;
        answer(&mut self.answers)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // It ends when nobody can ask it any more.
        self.ask = None;
        let _ = self.child.wait();
    }
}

fn this_program() -> Result<Command, Failure> {
    let program = std::env::current_exe();
    Ok(Command::new(program.map_err(|why| {
        Failure::run("cannot find the program itself", why)
    })?))
}

fn answer<T: DeserializeOwned>(answers: &mut impl BufRead) -> Result<T, Failure> {
    let mut line = String::new();
    let read = answers.read_line(&mut line);
    read.map_err(|why| Failure::run("the backend does not answer", why))?;
    parse(line.as_bytes())
}

fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(text).map_err(|why| Failure::run("cannot read what a child says", why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::named;

    fn said(requests: u64, answered: Option<u64>) -> Outcome {
        Outcome {
            requests,
            seconds: 1.0,
            user_us: 1,
            system_us: 1,
            p50_us: None,
            p99_us: None,
            answered,
            peak_rss_bytes: 1,
        }
    }

    fn plausible(scenario: &str, outcome: &Outcome, accepted: u64, answered: u64) -> bool {
        let seen = Counts { accepted, answered };
        is_plausible(named(scenario).unwrap(), outcome, seen).is_ok()
    }

    #[test]
    fn what_a_client_says_has_to_be_what_the_backend_saw() {
        let fine = said(1_000, Some(1_300));
        assert!(plausible("h1", &fine, 64, 1_300));
        assert!(plausible("h1", &fine, 65, 1_400));
        assert!(!plausible("h1", &fine, 64, 1_299));
        assert!(!plausible("h1", &fine, 64, 2_000));
        assert!(!plausible("h1", &fine, 63, 1_300));
        assert!(!plausible("h1", &said(0, None), 64, 1_300));
    }

    #[test]
    fn a_connection_for_each_request_means_one_for_each() {
        assert!(plausible(
            "connect",
            &said(1_000, Some(1_300)),
            1_320,
            1_310
        ));
        assert!(!plausible("connect", &said(1_000, Some(1_300)), 999, 1_310));
    }

    #[test]
    fn idle_connections_have_to_be_open() {
        assert!(plausible("idle", &said(10, Some(13)), 10_064, 10_077));
        assert!(!plausible("idle", &said(10, Some(13)), 64, 13));
    }

    #[test]
    fn too_few_descriptors_are_said_with_the_remedy() {
        let idle = named("idle").unwrap();
        assert!(lacks_descriptors(idle, 1024).unwrap().contains("ulimit"));
        assert_eq!(lacks_descriptors(idle, DESCRIPTORS), None);
    }
}
