//! The command line: what may be asked for, and the defaults.
//!
//! Owns: every refusal that needs nothing but the words given, so that it is exit code 2 before anything
//! starts. Never: acts.

use crate::peers::{PEERS, Peer, SUBJECT};
use crate::scenario::{SCENARIOS, Scenario, Transport};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// More rounds, or longer ones, are a slip of the keyboard.
const ROUNDS_MAX: u64 = 1_000;
const SECONDS_MAX: u64 = 600;
/// An instruction takes 4 to 20 µs where it is counted: of a request some tenths of a second.
const REQUESTS_MAX: u64 = 1_000_000;

/// The same work done by ringpool, by its peers and by the bare loop, side by side in one run.
#[derive(Debug, Parser)]
#[command(name = "versus", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) part: Option<Part>,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// What to compare, and how long.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Scenarios to run, separated by commas [default: all]
    #[arg(long = "scenario", value_name = "S", value_delimiter = ',', value_parser = scenario)]
    pub(crate) scenarios: Vec<&'static Scenario>,
    /// Clients to compare, separated by commas [default: all]
    #[arg(long = "peer", value_name = "P", value_delimiter = ',', value_parser = peer)]
    pub(crate) peers: Vec<&'static Peer>,
    /// Rounds; in each, every client runs once
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=ROUNDS_MAX))]
    pub(crate) rounds: u64,
    /// Of all scenarios one round, then of all the next, rather than one scenario after the other: for ratios between
    /// scenarios
    #[arg(long)]
    pub(crate) interleave: bool,
    /// Seconds that a client is measured in each round
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    pub(crate) seconds: u64,
    /// Write the report as JSON to this file; - is standard output
    #[arg(long, value_name = "PATH|-")]
    pub(crate) json: Option<PathBuf>,
    /// The core of the clients [default: the last one allowed]
    #[arg(long, value_name = "CORE")]
    pub(crate) client_core: Option<usize>,
    /// The core of the backend [default: the first one allowed]
    #[arg(long, value_name = "CORE")]
    pub(crate) backend_core: Option<usize>,
    /// Show what there is to compare, and end
    #[arg(long)]
    pub(crate) list: bool,
}

impl Options {
    pub(crate) fn scenarios(&self) -> Vec<&'static Scenario> {
        match self.scenarios.as_slice() {
            [] => SCENARIOS.iter().collect(),
            some => SCENARIOS.iter().filter(|one| some.contains(one)).collect(),
        }
    }

    pub(crate) fn peers(&self) -> Vec<&'static Peer> {
        let asked =
            |one: &&Peer| self.peers.is_empty() || self.peers.iter().any(|p| p.name == one.name);
        PEERS.iter().filter(asked).collect()
    }
}

/// What else it does, and the processes that it starts of itself.
#[derive(Debug, Subcommand)]
pub(crate) enum Part {
    /// Count user instructions per request, on the real ring, and say where they are
    Instructions(InstructionsOptions),
    /// The backend
    #[command(name = "__backend", hide = true)]
    Backend(BackendOptions),
    /// One client, once
    #[command(name = "__client", hide = true)]
    Client(ClientOptions),
}

/// Whose instructions to count, and how to sort them.
#[derive(Clone, Debug, Args)]
pub(crate) struct InstructionsOptions {
    /// Scenarios, separated by commas
    #[arg(long = "scenario", value_name = "S", value_delimiter = ',', value_parser = scenario, default_value = "h1")]
    pub(crate) scenarios: Vec<&'static Scenario>,
    /// Clients, separated by commas
    #[arg(long = "peer", value_name = "P", value_delimiter = ',', value_parser = peer, default_value = SUBJECT)]
    pub(crate) peers: Vec<&'static Peer>,
    /// Requests that are counted; a multiple of the scenario's callers is taken
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u64).range(1..=REQUESTS_MAX))]
    pub(crate) requests: u64,
    /// Rows of the profile
    #[arg(long, value_name = "N", default_value_t = 40)]
    pub(crate) top: usize,
    /// What a row of the profile is
    #[arg(long, value_enum, default_value_t = By::Function)]
    pub(crate) by: By,
    /// Write the report as JSON to this file; - is standard output
    #[arg(long, value_name = "PATH|-")]
    pub(crate) json: Option<PathBuf>,
    /// The core of the clients [default: the last one allowed]
    #[arg(long, value_name = "CORE")]
    pub(crate) client_core: Option<usize>,
    /// The core of the backend [default: the first one allowed]
    #[arg(long, value_name = "CORE")]
    pub(crate) backend_core: Option<usize>,
}

/// What instructions are added up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// The function as written, wherever it was inlined; the standard library's count for who calls them
    Function,
    /// The function as compiled, with all that was inlined into it, and how often it was called
    Symbol,
    /// The line of the source
    Line,
    /// The instruction, as an offset into the symbol
    Instruction,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct BackendOptions {
    #[arg(long)]
    pub(crate) core: usize,
    /// A directory of its own, for the socket and the certificate
    #[arg(long)]
    pub(crate) directory: PathBuf,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ClientOptions {
    #[arg(long, value_parser = peer)]
    pub(crate) peer: &'static Peer,
    #[arg(long, value_parser = scenario)]
    pub(crate) scenario: &'static Scenario,
    #[arg(long)]
    pub(crate) seconds: u64,
    #[arg(long)]
    pub(crate) core: usize,
    #[arg(long)]
    pub(crate) tcp: SocketAddr,
    #[arg(long)]
    pub(crate) tls: SocketAddr,
    #[arg(long)]
    pub(crate) unix: PathBuf,
    /// The authority behind the backend's certificate, in PEM
    #[arg(long)]
    pub(crate) authority: PathBuf,
    /// Where this client may write files
    #[arg(long)]
    pub(crate) directory: PathBuf,
    /// Stops at marks, for whoever counts so many requests' instructions; begins at a line on standard input
    #[arg(long)]
    pub(crate) marked: Option<u64>,
}

impl ClientOptions {
    /// The most that the client's process may take, connecting and all.
    pub(crate) fn within(&self) -> Duration {
        Duration::from_secs(self.seconds + 60)
    }

    /// Where the scenario's backend listens, if not on a Unix socket.
    pub(crate) fn address(&self) -> SocketAddr {
        match self.scenario.transport {
            Transport::Tls => self.tls,
            Transport::Tcp | Transport::Unix => self.tcp,
        }
    }
}

fn scenario(name: &str) -> Result<&'static Scenario, String> {
    let names = || SCENARIOS.iter().map(|one| one.name).collect::<Vec<_>>();
    crate::scenario::named(name).ok_or_else(|| format!("there are {}", names().join(", ")))
}

fn peer(name: &str) -> Result<&'static Peer, String> {
    let names = || PEERS.iter().map(|one| one.name).collect::<Vec<_>>();
    crate::peers::named(name).ok_or_else(|| format!("there are {}", names().join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Options, clap::Error> {
        let words = ["versus"].into_iter().chain(words.split_whitespace());
        Arguments::try_parse_from(words).map(|arguments| arguments.options)
    }

    #[test]
    fn the_defaults_are_all_of_it_in_seven_rounds_of_a_second() {
        let options = parse("").unwrap();
        assert_eq!((options.rounds, options.seconds), (7, 1));
        assert_eq!(options.scenarios().len(), SCENARIOS.len());
        assert_eq!(options.peers().len(), PEERS.len());
        assert!(options.json.is_none());
    }

    #[test]
    fn several_are_named_with_commas_or_one_by_one() {
        let options = parse("--scenario tls,h1 --scenario burst --json -").unwrap();
        let names: Vec<_> = options.scenarios().iter().map(|one| one.name).collect();
        assert_eq!(names, ["h1", "tls", "burst"]);
        assert_eq!(parse("--peer floor,wrk").unwrap().peers().len(), 2);
    }

    #[test]
    fn what_does_not_exist_is_refused_with_exit_code_2() {
        for words in [
            "--scenario h3",
            "--peer curl",
            "--rounds 0",
            "--rounds many",
            "--seconds 0",
            "--seconds 100000",
            "--seconds 0.5",
            "--client-core x",
            "--warmup 1",
            "h1",
        ] {
            let refused = parse(words).unwrap_err();
            assert_eq!(refused.exit_code(), 2, "{words}");
        }
    }
}
