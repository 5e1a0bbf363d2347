//! The agent: waits for a conductor, carries out its part, and tells what came of it. One conductor after the other.
//!
//! Owns who is let in, and what of a plan is refused. Never: touches a file for one.

use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;

use serde_json::json;

use super::perform::perform;
use super::proof::{Nonce, Nonces, Who};
use super::share::KEPT;
use super::wire::{self, Answer, LIMITS, Limits, ORDER_MAX, Order, VERSION, WireError};
use crate::cli::{AgentOptions, RunOptions};
use crate::failure::Failure;
use crate::load::LoadPlan;
use crate::{cli, measure, plan_of, report};

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
    let mut door = Door::default();
    loop {
        match listener.accept() {
            Ok((stream, peer)) if options.once => {
                return match session(stream, token.as_deref(), LIMITS) {
                    Ok(()) => Ok(ExitCode::SUCCESS),
                    Err(why) => Err(Failure::Run(format!("{peer}: {why}"))),
                };
            }
            Ok((stream, peer)) => {
                let token = token.clone();
                door.open(stream, LIMITS, move |stream| {
                    let ended = session(stream, token.as_deref(), LIMITS);
                    let ended = ended.map_or_else(|why| why.to_string(), |()| "done".to_owned());
                    let _ = writeln!(io::stderr(), "{peer}: {ended}");
                });
            }
            // Somebody went away before, or no descriptor is left for the moment.
            Err(_) => thread::sleep(LIMITS.beat / 10),
        }
    }
}

/// Lets one in at a time. Who comes meanwhile is told so at once, and not left to guess what is wrong.
#[derive(Default)]
struct Door {
    /// Hears of the end of whoever is inside.
    inside: Option<Receiver<()>>,
}

impl Door {
    /// Lets `stream` in to `session`, or sends it away. Who has said good-bye is waited for: runs may follow each other closely.
    fn open(
        &mut self,
        stream: TcpStream,
        limits: Limits,
        session: impl FnOnce(TcpStream) + Send + 'static,
    ) {
        // What tells of the end is that the other side of the channel is dropped.
        let has_left = |inside: &mut Receiver<()>| {
            inside.recv_timeout(limits.beat) != Err(RecvTimeoutError::Timeout)
        };
        drop(self.inside.take_if(has_left));
        if self.inside.is_some() {
            return send_away(&stream, limits);
        }
        let (ended, end) = mpsc::channel();
        self.inside = Some(end);
        thread::spawn(move || {
            session(stream);
            drop(ended);
        });
    }
}

fn send_away(stream: &TcpStream, limits: Limits) {
    let why = "this agent works for another conductor just now".to_owned();
    // It has said hello, or does so now: what is not read when this closes would take the answer with it.
    let _ = wire::receive::<Order>(stream, ORDER_MAX, limits.beat);
    let _ = wire::send(stream, &Answer::Failed { why }, limits.beat);
}

/// One conductor, from its hello to the report.
fn session(stream: TcpStream, token: Option<&str>, limits: Limits) -> Result<(), WireError> {
    stream.set_nodelay(true)?;
    let refuse = |why: String| {
        let _ = wire::send(
            &stream,
            &Answer::Failed { why: why.clone() },
            limits.silence,
        );
        Err(WireError::Nonsense(why))
    };
    let hear = |limit| wire::receive::<Order>(&stream, ORDER_MAX, limit);
    let answer = |answer: &Answer| wire::send(&stream, answer, limits.silence);
    let theirs = match hear(limits.silence) {
        Ok(Order::Hello { version, nonce }) if version == VERSION => Nonce::from_text(&nonce),
        Ok(Order::Hello { version, .. }) => {
            return refuse(format!(
                "this agent speaks version {VERSION}, not {version}"
            ));
        }
        Ok(_) => return refuse("a hello was expected".to_owned()),
        // One of another version, perhaps.
        Err(WireError::Nonsense(why)) => {
            return refuse(format!("{why}; this agent speaks version {VERSION}"));
        }
        Err(error) => return Err(error),
    };
    let (Some(conductor), Some(agent)) = (theirs, Nonce::random()) else {
        return refuse("there are no nonces to prove a token by".to_owned());
    };
    let nonces = Nonces { conductor, agent };
    answer(&Answer::Challenge {
        version: VERSION,
        nonce: agent.to_text(),
    })?;
    match hear(limits.silence)? {
        Order::Prove { proof } => {
            let knows = |token: &str| nonces.is_proof(Who::Conductor, token, proof.as_deref());
            if !token.is_none_or(knows) {
                return refuse("the token is not this agent's".to_owned());
            }
        }
        _ => return refuse("a proof was expected".to_owned()),
    }
    // Whoever has proved to know it may be told that it is known here.
    let proof = token.map(|token| nonces.prove(Who::Agent, token));
    answer(&Answer::Welcome { proof })?;
    let plan = match hear(limits.silence)? {
        Order::Plan {
            arguments,
            ca,
            share,
        } => read(arguments, ca).and_then(|options| plan_of_share(options, share)),
        _ => Err("a plan was expected".to_owned()),
    };
    let plan = match plan {
        Ok(plan) => plan,
        Err(why) => return refuse(why),
    };
    answer(&Answer::Accepted)?;
    // The others are being greeted meanwhile.
    match hear(limits.greet + limits.silence)? {
        Order::Prepare => perform(stream, plan, limits),
        _ => refuse("to prepare was expected".to_owned()),
    }
}

/// The plan of one of several: its even starts lie between those of the others.
fn plan_of_share(options: RunOptions, (nth, of): (u32, u32)) -> Result<LoadPlan, String> {
    if nth >= of {
        return Err(format!("there is no share {nth} of {of}"));
    }
    let mut plan = plan_of(options);
    plan.traffic.offset = f64::from(nth) / f64::from(of);
    Ok(plan)
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

#[cfg(test)]
mod tests {
    use super::*;

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

    /// A session in a thread, and the conductor's end of it, so far that the load is to begin at once. Nothing listens where it goes.
    fn begun(limits: Limits) -> (TcpStream, thread::JoinHandle<Result<(), WireError>>) {
        let (conductor, stream) = wire::tests::pair();
        let agent = thread::spawn(move || session(stream, Some("t"), limits));
        let say = |order: &Order| wire::send(&conductor, order, LIMITS.silence).unwrap();
        let hear = || -> Answer {
            loop {
                match wire::receive(&conductor, wire::ANSWER_MAX, LIMITS.silence).unwrap() {
                    Answer::Beat { .. } => {}
                    answer => return answer,
                }
            }
        };
        let own = Nonce::random().unwrap();
        say(&Order::Hello {
            version: VERSION,
            nonce: own.to_text(),
        });
        let Answer::Challenge { nonce, .. } = hear() else {
            panic!("a challenge");
        };
        let nonces = Nonces {
            conductor: own,
            agent: Nonce::from_text(&nonce).unwrap(),
        };
        let proof = Some(nonces.prove(Who::Conductor, "t"));
        say(&Order::Prove { proof });
        let Answer::Welcome { proof } = hear() else {
            panic!("a welcome");
        };
        assert!(nonces.is_proof(Who::Agent, "t", proof.as_deref()));
        let arguments = "http://127.0.0.1:9/ --connections 1 --duration 1h --warmup 0s --reuse off";
        say(&Order::Plan {
            arguments: arguments.split(' ').map(str::to_owned).collect(),
            ca: None,
            share: (0, 1),
        });
        assert!(matches!(hear(), Answer::Accepted));
        say(&Order::Prepare);
        assert!(matches!(hear(), Answer::Ready));
        say(&Order::Ping { number: 7 });
        assert!(matches!(hear(), Answer::Pong { number: 7, .. }));
        say(&Order::Go { at_ns: 0 });
        (conductor, agent)
    }

    #[test]
    fn a_conductor_that_vanishes_ends_an_hour_of_load() {
        let limits = Limits {
            silence: std::time::Duration::from_millis(500),
            ..LIMITS
        };
        // Its end stays open, and nothing comes from it any more.
        let (_conductor, agent) = begun(limits);
        let ended = agent.join().unwrap();
        assert!(matches!(ended, Err(WireError::Silent(_))), "{ended:?}");
    }

    #[test]
    fn a_conductor_that_says_stop_gets_its_report() {
        let (conductor, agent) = begun(LIMITS);
        wire::send(&conductor, &Order::Stop, LIMITS.silence).unwrap();
        let report = loop {
            match wire::receive(&conductor, wire::ANSWER_MAX, LIMITS.silence).unwrap() {
                Answer::Beat { .. } => {}
                answer => break answer,
            }
        };
        let Answer::Report {
            began_ns,
            opened_ns,
            ..
        } = report
        else {
            panic!("{report:?}");
        };
        assert!(0 < began_ns && began_ns <= opened_ns);
        assert!(agent.join().unwrap().is_ok());
    }

    #[test]
    fn one_is_inside_and_who_comes_meanwhile_is_told_so() {
        let limits = Limits {
            beat: std::time::Duration::from_millis(50),
            ..LIMITS
        };
        let (mut door, (leave, left)) = (Door::default(), mpsc::channel::<()>());
        let (entered, inside) = mpsc::channel();
        let (_first, stream) = wire::tests::pair();
        door.open(stream, limits, move |_| {
            let _ = left.recv();
        });
        let (second, stream) = wire::tests::pair();
        let nonce = Nonce::random().unwrap().to_text();
        let hello = Order::Hello {
            version: VERSION,
            nonce,
        };
        wire::send(&second, &hello, LIMITS.silence).unwrap();
        door.open(stream, limits, |_| panic!("it was let in"));
        let told = wire::receive::<Answer>(&second, wire::ANSWER_MAX, LIMITS.silence).unwrap();
        assert!(matches!(told, Answer::Failed { why } if why.contains("another conductor")));
        drop(leave);
        let (_third, stream) = wire::tests::pair();
        door.open(stream, LIMITS, move |_| entered.send(()).unwrap());
        inside.recv().unwrap();
    }

    #[test]
    fn nobody_gets_in_without_a_proof() {
        let (conductor, stream) = wire::tests::pair();
        let agent = thread::spawn(move || session(stream, Some("t"), LIMITS));
        let hear =
            || wire::receive::<Answer>(&conductor, wire::ANSWER_MAX, LIMITS.silence).unwrap();
        let say = |order: &Order| wire::send(&conductor, order, LIMITS.silence).unwrap();
        say(&Order::Hello {
            version: VERSION,
            nonce: Nonce::random().unwrap().to_text(),
        });
        assert!(matches!(hear(), Answer::Challenge { .. }));
        say(&Order::Prove { proof: None });
        let refused = hear();
        assert!(matches!(refused, Answer::Failed { why } if why.contains("token")));
        assert!(agent.join().unwrap().is_err());
    }
}
