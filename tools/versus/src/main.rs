//! `versus`: the same work done by ringpool, by its peers and by the bare loop, side by side in one run.
//!
//! Owns: the dispatch to its parts, and exit codes: 0 fine, 1 a client or the run failed, 2 usage, 3 the
//! machine cannot run it. This process runs the backend and, in each round, each client as a child that is pinned to a core;
//! what a client takes is its own process's alone.

mod backend;
mod caller;
mod certificate;
mod cli;
mod failure;
mod host;
mod instructions;
mod measure;
mod peers;
mod process;
mod report;
mod rounds;
mod scenario;
mod stats;

use clap::Parser;
use cli::{Arguments, ClientOptions, InstructionsOptions, Options, Part};
use failure::Failure;
use host::Host;
use peers::PEERS;
use rounds::Plan;
use scenario::SCENARIOS;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.part {
        Some(Part::Backend(options)) => backend::run(&options).map(|()| true),
        Some(Part::Instructions(options)) => count(&options),
        Some(Part::Client(options)) => client(&options).map(|()| true),
        None if arguments.options.list => list().map(|()| true),
        None => run(&arguments.options),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("versus: {failure}");
            failure.exit_code()
        }
    }
}

/// Whether everybody who took part did the work.
fn run(options: &Options) -> Result<bool, Failure> {
    let (client_core, backend_core) = cores(options.client_core, options.backend_core)?;
    let json = options.json.as_deref().map(JsonTarget::open).transpose()?;
    let directory = Directory::make()?;
    let plan = Plan {
        rounds: options.rounds,
        seconds: options.seconds,
        client_core,
        backend_core,
        directory: directory.0.clone(),
    };
    process::raise_descriptors(backend::DESCRIPTORS);
    let host = Host::look(client_core, backend_core);
    // Where the JSON goes to standard output, it is there alone.
    let to_stderr = matches!(json, Some(JsonTarget::Stdout));
    show(to_stderr, &report::heading(&host, &plan))?;
    let (peers, mut all) = (options.peers(), Vec::new());
    let shows_progress = io::stderr().is_terminal();
    let scenarios = options.scenarios();
    // All at once, or one after the other.
    let at_once = match options.interleave {
        true => scenarios.len().max(1),
        false => 1,
    };
    for some in scenarios.chunks(at_once) {
        let compared = rounds::compare(&plan, some, &peers, |scenario, round, peer| {
            if shows_progress {
                let (name, round) = (scenario.name, round + 1);
                eprint!(
                    "\r\x1b[K{name}: round {round} of {}, {}",
                    plan.rounds, peer.name
                );
            }
        })?;
        if shows_progress {
            eprint!("\r\x1b[K");
        }
        for one in &compared {
            show(to_stderr, &report::table(one))?;
        }
        all.extend(compared);
    }
    if let Some(paired) = report::idle_over_h1(&all) {
        show(to_stderr, &paired.to_string())?;
    }
    if let Some(json) = json {
        json.write(&report::json(&host, &plan, &all))?;
    }
    Ok(all.iter().all(|compared| compared.failed.is_empty()))
}

/// Whether everybody who took part did the work.
fn count(options: &InstructionsOptions) -> Result<bool, Failure> {
    let (client_core, backend_core) = cores(options.client_core, options.backend_core)?;
    let json = options.json.as_deref().map(JsonTarget::open).transpose()?;
    let directory = Directory::make()?;
    let plan = Plan {
        rounds: 1,
        seconds: instructions::SECONDS,
        client_core,
        backend_core,
        directory: directory.0.clone(),
    };
    process::raise_descriptors(backend::DESCRIPTORS);
    let host = Host::look(client_core, backend_core);
    let to_stderr = matches!(json, Some(JsonTarget::Stdout));
    show(to_stderr, &format!("{}\n", host.summary()))?;
    let counted = instructions::count(&plan, options, |text| show(to_stderr, text))?;
    if let Some(json) = json {
        json.write(&instructions::json(&host, options, &counted))?;
    }
    Ok(counted.iter().all(|one| one.outcome.is_ok()))
}

/// One client, in a process of its own: its figures are the one line that it says.
fn client(options: &ClientOptions) -> Result<(), Failure> {
    process::pin(options.core)?;
    process::raise_descriptors(backend::DESCRIPTORS);
    // For clients that take rustls's default; the same one for all.
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider
        .install_default()
        .map_err(|_| Failure::Run("rustls has a provider already".to_owned()))?;
    // Whoever hangs is to be told from whoever is slow, and the others are to have their turn.
    instructions::begin(options.marked, options.scenario)?;
    let within = options.within() + Duration::from_secs(5);
    thread::spawn(move || {
        thread::sleep(within);
        eprintln!("versus: did not end within {within:?}");
        std::process::exit(1);
    });
    let outcome = (options.peer.run)(options).map_err(Failure::Run)?;
    let line = serde_json::to_string(&outcome).map_err(|why| Failure::run("cannot tell", why))?;
    show(false, &format!("{line}\n"))
}

/// The client's core and the backend's.
fn cores(client: Option<usize>, backend: Option<usize>) -> Result<(usize, usize), Failure> {
    let allowed = process::cores_allowed();
    let (Some(first), Some(last)) = (allowed.first(), allowed.last()) else {
        return Err(Failure::Machine(
            "cannot tell which cores there are".to_owned(),
        ));
    };
    let client = client.unwrap_or(*last);
    let backend = backend.unwrap_or(*first);
    if let Some(core) = [client, backend]
        .iter()
        .find(|core| !allowed.contains(core))
    {
        return Err(Failure::Usage(format!(
            "core {core} is none of {allowed:?}"
        )));
    }
    match (client == backend, allowed.len()) {
        (false, _) => Ok((client, backend)),
        (true, 1) => Err(Failure::Machine(
            "two cores are needed, and there is one".to_owned(),
        )),
        (true, _) => Err(Failure::Usage(format!(
            "client and backend cannot both have core {client}"
        ))),
    }
}

fn list() -> Result<(), Failure> {
    let mut text = String::from("Scenarios:\n");
    for one in SCENARIOS {
        text += &format!("  {:<14} {}\n", one.name, one.about);
    }
    text += "Clients:\n";
    for one in PEERS {
        text += &format!("  {:<14} {}\n", one.name, one.about);
    }
    show(false, &text)
}

fn show(to_stderr: bool, text: &str) -> Result<(), Failure> {
    let written = if to_stderr {
        io::stderr().write_all(text.as_bytes())
    } else {
        io::stdout().write_all(text.as_bytes())
    };
    written.map_err(|why| Failure::run("cannot write", why))
}

/// Where the JSON goes; opened before anything is measured.
enum JsonTarget {
    Stdout,
    File(PathBuf, File),
}

impl JsonTarget {
    fn open(path: &Path) -> Result<JsonTarget, Failure> {
        if path == Path::new("-") {
            return Ok(JsonTarget::Stdout);
        }
        let failed = |why| Failure::Usage(format!("cannot write {}: {why}", path.display()));
        let file = File::create(path).map_err(failed)?;
        Ok(JsonTarget::File(path.to_owned(), file))
    }

    fn write(self, text: &str) -> Result<(), Failure> {
        match self {
            JsonTarget::Stdout => show(false, text),
            JsonTarget::File(path, mut file) => file
                .write_all(text.as_bytes())
                .map_err(|why| Failure::run(&format!("cannot write {}", path.display()), why)),
        }
    }
}

/// A directory of this run's own; it goes with it.
struct Directory(PathBuf);

impl Directory {
    fn make() -> Result<Directory, Failure> {
        let path = std::env::temp_dir().join(format!("versus-{}", std::process::id()));
        fs::create_dir(&path)
            .map_err(|why| Failure::run(&format!("cannot make {}", path.display()), why))?;
        Ok(Directory(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left lies among temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}
