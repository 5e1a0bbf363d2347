//! The command line: what may be asked for, and the defaults.
//!
//! Every value that can be refused is refused here, before anything starts, so that a usage
//! error is exit code 2 and never a failed run. Nothing here acts, except that a CA is read.

mod all;
mod serve;
mod trials;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::arrivals::Arrivals;
use crate::compare::Limit;
use crate::load::WayIn;
use crate::report::OutputOptions;
use crate::words::DURATION_MAX;

pub(crate) use all::AllOptions;
pub(crate) use serve::ServeOptions;
pub(crate) use trials::{CallOptions, CurveOptions, FindMaxOptions, TrialOptions};

/// More callers than one host has ports for.
const CONNECTIONS_MAX: u64 = 1 << 20;
/// More than one person starts.
const AGENTS_MAX: u64 = 256;

/// Load an HTTP server through ringpool, and see what connection reuse is worth.
///
/// Without a command it runs the scenario `demo` against a backend of its own.
#[derive(Debug, Parser)]
#[command(name = "stress", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Load one URL and report
    Run(RunOptions),
    /// Run the backend alone, until it is told to end
    Serve(ServeOptions),
    /// Run a named scenario; without a name, list them
    Scenario(ScenarioOptions),
    /// Find the highest rate at which an SLO is kept
    FindMax(FindMaxOptions),
    /// Load at one rate after the other: latency against rate
    Curve(CurveOptions),
    /// Show a run that was kept, or turn it into other files
    Show(ShowOptions),
    /// Compare runs that were kept, and say what differs by more than chance
    Compare(CompareOptions),
    /// Look whether this machine can run it, and what would disturb a measurement
    Doctor(DoctorOptions),
    /// Advise on a run that was kept, or on a scrape: limits too tight or too loose, and why
    Review(ReviewOptions),
    /// Load for somebody else's `stress run --agents`
    Agent(AgentOptions),
}

impl Default for Command {
    fn default() -> Self {
        Self::Scenario(ScenarioOptions {
            name: Some("demo".to_owned()),
            file: None,
            all: AllOptions::default(),
            print: false,
            outputs: OutputOptions::default(),
            duration: None,
            rounds: None,
            calls: None,
        })
    }
}

/// `stress run`.
#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// What to GET: an http:// or https:// URL
    #[arg(value_parser = url)]
    pub(crate) url: String,
    /// Callers, and with them idle_min and connections_max
    #[arg(long, value_name = "N", default_value = "64", value_parser = connections)]
    pub(crate) connections: usize,
    /// Shards of the engine [default: half of the cores, at least one]
    #[arg(long, value_name = "N", value_parser = shards)]
    pub(crate) shards: Option<usize>,
    /// How long to measure, such as 50s or 200ms
    #[arg(long, value_name = "D", default_value = "10s", value_parser = duration_some)]
    pub(crate) duration: Duration,
    /// How long to load before measuring
    #[arg(long, value_name = "D", default_value = "1s", value_parser = duration)]
    pub(crate) warmup: Duration,
    /// Whether connections are used again
    #[arg(long, value_name = "on|off", default_value = "on")]
    pub(crate) reuse: Switch,
    /// Trust the certificates in this PEM file instead of the public roots
    #[arg(long, value_name = "FILE", value_parser = certificates)]
    pub(crate) insecure_ca: Option<Box<[u8]>>, // A Vec would mean several values to clap.
    /// Requests per second, latency taken from the intended start [default: as fast as it goes]
    #[arg(long, value_name = "R", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// How starts lie within the rate: uniform, poisson, burst:N
    #[arg(long, value_name = "HOW", default_value = "uniform", value_parser = Arrivals::parse, requires = "rate")]
    pub(crate) arrivals: Arrivals,
    /// Callers [default: as many as connections]
    #[arg(long, value_name = "N", value_parser = connections)]
    pub(crate) callers: Option<usize>,
    #[command(flatten)]
    pub(crate) calls: CallOptions,
    /// What random numbers come from
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) seed: u64,
    /// Have these agents carry it out, each its share: addresses of `stress agent`, separated by commas
    #[arg(long, value_name = "ADDR,ADDR", value_parser = agents)]
    pub(crate) agents: Option<Box<[String]>>, // A Vec would mean several values to clap.
    /// Where the callers run
    #[arg(long, default_value = "shards")]
    pub(crate) from: WayIn,
    #[command(flatten)]
    pub(crate) outputs: OutputOptions,
}

/// `stress scenario`.
#[derive(Debug, Args)]
pub(crate) struct ScenarioOptions {
    /// Which scenario
    pub(crate) name: Option<String>,
    /// Run the scenario of this file instead
    #[arg(long, value_name = "FILE", conflicts_with = "name")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) all: AllOptions,
    /// Print the file of a scenario that has one, and run nothing
    #[arg(long, requires = "name")]
    pub(crate) print: bool,
    #[command(flatten)]
    pub(crate) outputs: OutputOptions,
    /// How long to measure in each phase of demo and floor [default: 3s]
    #[arg(long, value_name = "D", value_parser = duration_some)]
    pub(crate) duration: Option<Duration>,
    /// How many rounds floor [default: 5] and one-pool [default: 36] run
    #[arg(long, value_name = "N", value_parser = rounds)]
    pub(crate) rounds: Option<usize>,
    /// How many stolen calls moves waits for [default: 250000]
    #[arg(long, value_name = "N", value_parser = calls)]
    pub(crate) calls: Option<u64>,
}

/// `stress show`.
#[derive(Debug, Args)]
pub(crate) struct ShowOptions {
    /// What `--json` wrote
    pub(crate) run: PathBuf,
    /// Which phase, if it was a scenario
    #[arg(long, value_name = "KEY")]
    pub(crate) phase: Option<String>,
    /// Write it as one page of HTML to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Write it over time as CSV to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// Write the latencies of each interval to this file, as an HdrHistogram log
    #[arg(long, value_name = "FILE")]
    pub(crate) hlog: Option<PathBuf>,
}

/// `stress compare`.
#[derive(Debug, Args)]
pub(crate) struct CompareOptions {
    /// What `--json` wrote before; several, separated by commas or by a pattern like 'before-*.json', are runs of one kind
    #[arg(value_delimiter = ',', num_args = 1, required = true)]
    pub(crate) before: Vec<String>,
    /// The same after
    #[arg(value_delimiter = ',', num_args = 1, required = true)]
    pub(crate) after: Vec<String>,
    /// The nth run before was made in turn with the nth after: compare pairs, of which four are needed
    #[arg(long)]
    pub(crate) pairs: bool,
    /// Which phase, if they were scenarios
    #[arg(long, value_name = "KEY")]
    pub(crate) phase: Option<String>,
    /// Exit with 1 if a change is surely beyond a limit, such as p99:+5%,throughput:-3%
    #[arg(long, value_name = "LIMITS", value_parser = limits)]
    pub(crate) fail_on: Option<Box<[Limit]>>, // A Vec would mean several values to clap.
    /// Write the comparison as JSON to standard output
    #[arg(long)]
    pub(crate) json: bool,
    /// Write it as one page of HTML to this file: both sides in each chart
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
}

/// `stress doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorOptions {
    /// How many connections a run is to open
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub(crate) connections: u64,
    /// Write the findings as JSON to standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// `stress review`.
#[derive(Debug, Args)]
pub(crate) struct ReviewOptions {
    /// What `--json` wrote, or metrics of an engine in Prometheus' text format
    pub(crate) run: PathBuf,
    /// Which phase, if it was a scenario
    #[arg(long, value_name = "KEY")]
    pub(crate) phase: Option<String>,
    /// Write the advice as JSON to standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// `stress agent`.
#[derive(Debug, Args)]
pub(crate) struct AgentOptions {
    /// Where to listen for a conductor; beyond loopback STRESS_TOKEN has to be set. Port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7007")]
    pub(crate) listen: SocketAddr,
    /// End after the first conductor, with exit code 1 if it was refused or went away
    #[arg(long)]
    pub(crate) once: bool,
}

/// `on` or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

impl Switch {
    pub(crate) fn is_on(self) -> bool {
        self == Self::On
    }
}

pub(crate) fn url(text: &str) -> Result<String, String> {
    let uri: http::Uri = text.parse().map_err(|e| format!("{e}"))?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        Some(_) | None => return Err("it must begin with http:// or https://".to_owned()),
    }
    let authority = uri.authority().ok_or("it names no host")?;
    if authority.host().is_empty() {
        return Err("it names no host".to_owned());
    }
    if authority.as_str().contains('@') {
        return Err("user and password are not supported".to_owned());
    }
    let digits = authority
        .as_str()
        .rsplit_once(']')
        .map_or(authority.as_str(), |(_, rest)| rest);
    if let Some((_, port)) = digits.rsplit_once(':')
        && !port.parse::<u16>().is_ok_and(|port| port != 0)
    {
        return Err(format!("`{port}` is not a port"));
    }
    Ok(text.to_owned())
}

/// The path and the query of a URL that was accepted.
pub(crate) fn path_of(url: &str) -> String {
    let uri: Option<http::Uri> = url.parse().ok();
    let path = uri.as_ref().and_then(http::Uri::path_and_query);
    path.map_or("/", |path| path.as_str()).to_owned()
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|e| e.to_string())?;
    if duration > DURATION_MAX {
        return Err("more than a week".to_owned());
    }
    Ok(duration)
}

fn duration_some(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("it must be longer than nothing".to_owned()),
        some => Ok(some),
    }
}

pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if rate.is_finite() && (0.001..=1e8).contains(&rate) {
        Ok(rate)
    } else {
        Err("it must lie between 0.001 and 100000000 requests per second".to_owned())
    }
}

fn connections(text: &str) -> Result<usize, String> {
    within(text, 1, CONNECTIONS_MAX).map(|n| n as usize)
}

fn shards(text: &str) -> Result<usize, String> {
    within(text, 1, 1024).map(|n| n as usize)
}

fn rounds(text: &str) -> Result<usize, String> {
    within(text, 1, 100_000).map(|n| n as usize)
}

fn calls(text: &str) -> Result<u64, String> {
    within(text, 1, crate::backend::NONCES_MAX / 2)
}

fn body_size(text: &str) -> Result<u64, String> {
    within(text, 0, crate::backend::BODY_MAX)
}

fn within(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let number: u64 = text.parse().map_err(|_| "not a whole number".to_owned())?;
    if (least..=most).contains(&number) {
        Ok(number)
    } else {
        Err(format!("it must lie between {least} and {most}"))
    }
}

/// The options of `stress run` with these arguments. Nothing that clap would print, such as help, is.
pub(crate) fn run_options(arguments: Vec<String>) -> Result<RunOptions, String> {
    let words = ["stress", "run"].map(str::to_owned).into_iter();
    let parsed = Arguments::try_parse_from(words.chain(arguments));
    match parsed.map_err(|e| e.to_string())?.command {
        Some(Command::Run(options)) => Ok(options),
        Some(_) | None => Err("it is no run".to_owned()),
    }
}

fn agents(text: &str) -> Result<Box<[String]>, String> {
    let names: Box<[String]> = text.split(',').map(|name| name.trim().to_owned()).collect();
    let port = |name: &String| {
        name.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
        })
    };
    match names.iter().find(|name| !port(name)) {
        Some(name) => Err(format!("`{name}` is no host:port")),
        None if names.len() as u64 > AGENTS_MAX => Err(format!("more than {AGENTS_MAX}")),
        None => Ok(names),
    }
}

fn limits(text: &str) -> Result<Box<[Limit]>, String> {
    Limit::all(text).map(Vec::into_boxed_slice)
}

fn certificates(path: &str) -> Result<Box<[u8]>, String> {
    certificates_in(std::fs::read(path).map_err(|e| format!("cannot read it: {e}"))?)
}

/// Certificates in PEM, if they are.
pub(crate) fn certificates_in(pem: Vec<u8>) -> Result<Box<[u8]>, String> {
    let mut found = 0;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        certificate.map_err(|e| format!("not PEM: {e}"))?;
        found += 1;
    }
    if found == 0 {
        return Err("it holds no certificate in PEM".to_owned());
    }
    Ok(pem.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn nothing_means_the_demo() {
        let command = parse("stress").unwrap().command.unwrap_or_default();
        assert!(matches!(command, Command::Scenario(s) if s.name.as_deref() == Some("demo")));
    }

    #[test]
    fn run_takes_all_its_options() {
        let line = "stress run http://localhost:1/x --connections 3 --shards 2 --duration 200ms \
                    --warmup 0s --reuse off --rate 1e3 --from anywhere --json -";
        let Some(Command::Run(run)) = parse(line).unwrap().command else {
            panic!("not a run");
        };
        assert_eq!((run.connections, run.shards), (3, Some(2)));
        assert_eq!(run.duration, Duration::from_millis(200));
        assert_eq!(run.warmup, Duration::ZERO);
        assert!(!run.reuse.is_on());
        assert_eq!(run.rate, Some(1000.0));
        assert_eq!(run.from, WayIn::Anywhere);
        assert_eq!(run.outputs.json, Some(PathBuf::from("-")));
    }

    #[test]
    fn a_ca_is_read_from_its_file() {
        let pem = crate::certificates::Certificates::generate([127, 0, 0, 1].into())
            .unwrap()
            .authority_pem;
        let path = std::env::temp_dir().join(format!("stress-ca-{}.pem", std::process::id()));
        std::fs::write(&path, &pem).unwrap();
        let line = format!("stress run https://h/ --insecure-ca {}", path.display());
        let parsed = parse(&line);
        std::fs::remove_file(&path).unwrap();
        let Some(Command::Run(run)) = parsed.unwrap().command else {
            panic!("not a run");
        };
        assert_eq!(run.insecure_ca.as_deref(), Some(pem.as_bytes()));
    }

    #[test]
    fn bad_values_are_refused() {
        for line in [
            "stress run",
            "stress run localhost:80",
            "stress run ftp://localhost/",
            "stress run http://",
            "stress run http:///path",
            "stress run http://host:0/",
            "stress run http://host:99999/",
            "stress run http://[::1]:/",
            "stress run http://me:secret@host/",
            "stress run http://h/ --connections 0",
            "stress run http://h/ --connections -1",
            "stress run http://h/ --shards 0",
            "stress run http://h/ --duration 0s",
            "stress run http://h/ --duration 5",
            "stress run http://h/ --duration 9999999h",
            "stress run http://h/ --rate 0",
            "stress run http://h/ --rate NaN",
            "stress run http://h/ --reuse maybe",
            "stress run http://h/ --from elsewhere",
            "stress run http://h/ --upload 4MiB",
            "stress run http://h/ --upload bimodal:1KiB,2MiB,5%",
            "stress run http://h/ --insecure-ca /nowhere/ca.pem",
            "stress run http://h/ --insecure-ca /dev/null",
            "stress serve --plain localhost",
            "stress serve --threads 0",
            "stress serve --body -1",
            "stress scenario demo --duration 0ms",
            "stress scenario one-pool --rounds 0",
            "stress scenario moves --calls 0",
            "stress scenario demo --all",
            "stress scenario --all --json -",
            "stress scenario --markdown",
            "stress scenario moves --calls 99999999999",
            "stress run http://h/ --agents h",
            "stress run http://h/ --agents h:1,",
            "stress agent --listen nowhere",
            "stress compare a.json",
            "stress compare a.json b.json --fail-on p98:+5%",
            "stress dance",
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn good_urls_pass() {
        for good in [
            "http://h",
            "https://h/p?q=1",
            "http://[::1]:8080/",
            "http://127.0.0.1:1/",
        ] {
            assert_eq!(url(good).as_deref(), Ok(good));
        }
    }
}
