//! The agent: waits for a conductor, carries out its part, and tells what came of it. One conductor after the other.
//!
//! Owns who is let in, and what of a plan is refused. A conductor that goes away ends its load. Never: touches a file for one.

use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use host::Host;
use serde_json::json;

use super::share::KEPT;
use super::wire::{self, Answer, BEAT, ORDER_MAX, Order, VERSION, WireError};
use crate::cli::{AgentOptions, RunOptions};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::report::{self, Phase, Report};
use crate::{cli, measure, plan_of};

/// Listens, and serves until it is ended.
pub(crate) fn serve(options: &AgentOptions) -> Result<ExitCode, Failure> {
    let token = super::token();
    if !options.listen.ip().is_loopback() && token.is_none() {
        return Err(Failure::Usage(format!(
            "{} is not loopback: whoever reaches it could send load from here. Set {} here and where the run is started",
            options.listen,
            super::TOKEN
        )));
    }
    let listener = TcpListener::bind(options.listen)
        .map_err(|e| Failure::Usage(format!("cannot listen on {}: {e}", options.listen)))?;
    let address = listener
        .local_addr()
        .map_err(|e| Failure::Run(e.to_string()))?;
    measure::raise_descriptor_limit();
    report::write(io::stdout(), &format!("{}\n", json!({ "agent": address })))?;
    loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                let ended = session(stream, token.as_deref());
                let ended = ended.map_or_else(|why| why.to_string(), |()| "done".to_owned());
                let _ = writeln!(io::stderr(), "{peer}: {ended}");
            }
            // Somebody went away before, or no descriptor is left for the moment.
            Err(_) => thread::sleep(wire::BEAT / 10),
        }
        if options.once {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// One conductor, from its hello to the report.
fn session(mut stream: TcpStream, token: Option<&str>) -> Result<(), WireError> {
    wire::limit(&stream)?;
    let refuse = |stream: &mut TcpStream, why: &str| {
        let why = why.to_owned();
        let _ = wire::send(stream, &Answer::Failed { why: why.clone() });
        Err(WireError::Nonsense(why))
    };
    match wire::receive(&mut stream, ORDER_MAX)? {
        Order::Hello { version, .. } if version != VERSION => {
            let why = format!("this agent speaks version {VERSION}, not {version}");
            return refuse(&mut stream, &why);
        }
        Order::Hello { token: theirs, .. } if !is_same(token, theirs.as_deref()) => {
            return refuse(&mut stream, "the token is not this agent's");
        }
        Order::Hello { .. } => wire::send(&mut stream, &Answer::Welcome { version: VERSION })?,
        Order::Plan { .. } | Order::Go | Order::Stop => {
            return refuse(&mut stream, "a hello was expected");
        }
    }
    let plan = match wire::receive(&mut stream, ORDER_MAX)? {
        Order::Plan { arguments, ca } => read(arguments, ca),
        Order::Hello { .. } | Order::Go | Order::Stop => Err("a plan was expected".to_owned()),
    };
    let options = match plan {
        Ok(options) => options,
        Err(why) => return refuse(&mut stream, &why),
    };
    wire::send(&mut stream, &Answer::Ready)?;
    match wire::receive(&mut stream, ORDER_MAX)? {
        Order::Go => load(stream, options),
        // Another agent was not ready.
        Order::Stop => Ok(()),
        Order::Hello { .. } | Order::Plan { .. } => refuse(&mut stream, "a go was expected"),
    }
}

/// The plan's options, without anything that concerns files. Words are refused before they are understood: a file would be opened
/// meanwhile. None is understood that is only the beginning of an option's name.
fn read(arguments: Vec<String>, ca: Option<String>) -> Result<RunOptions, String> {
    let is_refused = |word: &String| KEPT.iter().any(|option| word.starts_with(option));
    if let Some(word) = arguments.iter().find(|word| is_refused(word)) {
        let option = word.split('=').next().unwrap_or_default();
        return Err(format!(
            "{option}: an agent opens no file, and conducts nobody"
        ));
    }
    let mut options = cli::run_options(arguments)?;
    let outputs = &options.outputs;
    let files = [&outputs.json, &outputs.report, &outputs.csv, &outputs.hlog];
    let names_file = files.iter().any(|file| file.is_some()) || options.insecure_ca.is_some();
    if names_file || options.agents.is_some() {
        return Err("an agent opens no file, and conducts nobody".to_owned());
    }
    if let Some(ca) = ca {
        options.insecure_ca = Some(cli::certificates_in(ca.into_bytes())?);
    }
    Ok(options)
}

/// Carries out the load, beats meanwhile, and reports.
fn load(stream: TcpStream, options: RunOptions) -> Result<(), WireError> {
    let host = Host::look();
    let (interrupt, progress) = (Interrupt::by_hand(), Progress::silent());
    let (stop, counts) = (interrupt.clone(), progress.clone());
    let mut orders = stream.try_clone()?;
    // Whatever comes from the conductor now means the end, its going away too. It is silent as long as all is well.
    orders.set_read_timeout(None)?;
    let listener = thread::spawn(move || {
        let _ = wire::receive::<Order>(&mut orders, ORDER_MAX);
        stop.request();
    });
    let (ended, end) = mpsc::channel();
    let worker = thread::spawn(move || {
        let outcome = Phase::measure("run", plan_of(options), &progress, &interrupt);
        // Nobody listens only if the session has ended.
        let _ = ended.send(outcome);
    });
    let mut stream = stream;
    let outcome = loop {
        match end.recv_timeout(BEAT) {
            Ok(outcome) => break outcome.map_err(|e| e.to_string()),
            Err(RecvTimeoutError::Disconnected) => break Err("the load panicked".to_owned()),
            Err(RecvTimeoutError::Timeout) => {
                let (ok, failed) = counts.take();
                // A conductor that is gone is noticed by the listener, which ends the load.
                let _ = wire::send(&mut stream, &Answer::Beat { ok, failed });
            }
        }
    };
    let _ = worker.join();
    let answer = match outcome {
        Ok(phase) => Answer::Report {
            json: report::json_of(&Report::of_run(phase), &host),
        },
        Err(why) => Answer::Failed { why },
    };
    let sent = wire::send(&mut stream, &answer);
    // Wakes the listener, if the conductor has not closed yet; what was sent still arrives.
    let _ = stream.shutdown(std::net::Shutdown::Read);
    let _ = listener.join();
    sent
}

/// Compares in a time that does not tell where they differ.
fn is_same(ours: Option<&str>, theirs: Option<&str>) -> bool {
    let Some(ours) = ours else {
        return true;
    };
    let theirs = theirs.unwrap_or_default();
    let differ = ours.bytes().zip(theirs.bytes());
    let differ = differ.fold(0, |differ, (a, b)| differ | (a ^ b));
    ours.len() == theirs.len() && differ == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_to_be_the_same_where_there_is_one() {
        assert!(is_same(None, None) && is_same(None, Some("x")));
        assert!(is_same(Some("abc"), Some("abc")));
        for other in [None, Some(""), Some("ab"), Some("abd"), Some("abcd")] {
            assert!(!is_same(Some("abc"), other), "{other:?}");
        }
    }

    #[test]
    fn a_plan_that_concerns_files_or_agents_is_refused() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(read(words("http://h/ --connections 2"), None).is_ok());
        for bad in [
            "http://h/ --json /tmp/x",
            "http://h/ --report /tmp/x",
            "http://h/ --csv /tmp/x",
            "http://h/ --hlog /tmp/x",
            "http://h/ --agents 127.0.0.1:1",
            "http://h/ --insecure-ca /etc/hostname",
            "http://h/ --no-such",
            "--help",
        ] {
            assert!(read(words(bad), None).is_err(), "{bad}");
        }
        assert!(read(words("http://h/"), Some("nonsense".to_owned())).is_err());
    }

    #[test]
    fn no_file_is_opened_for_a_plan() {
        let pem = crate::certificates::Certificates::generate([127, 0, 0, 1].into())
            .unwrap()
            .authority_pem;
        let name = format!("stress-agent-ca-{}.pem", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, &pem).unwrap();
        let of = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let shown = path.display().to_string();
        // One that is there and holds certificates, and one that could only be opened.
        for file in [shown.as_str(), "/dev/stdin"] {
            let joined = format!("--insecure-ca={file}");
            for line in [
                vec!["http://h/", "--insecure-ca", file],
                vec!["http://h/", &joined],
                vec!["http://h/", "--insecure-c", file],
                vec!["http://h/", "--no-such", "--insecure-ca", file],
            ] {
                let why = read(of(&line), None).unwrap_err();
                let is_known = why.contains("opens no file") || why.contains("unexpected argument");
                assert!(is_known, "{line:?}: {why}");
            }
        }
        std::fs::remove_file(&path).unwrap();
        assert!(read(of(&["http://h/"]), Some(pem)).is_ok());
    }
}
