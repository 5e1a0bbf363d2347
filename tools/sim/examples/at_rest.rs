//! At rest: what the machinery between shards costs a request when there is nothing for it to do, in instructions.
//!
//! `cargo run --release -p sim --example at_rest` runs itself under `valgrind --tool=callgrind`: two shards, with
//! stealing configured on and off. Each has eight warm connections and four calls under way, so that no call ever
//! waits or moves. Each run is made twice, with few
//! requests and with many: the difference is what requests cost, without beginning and end.
//!
//! The engine is the production one over the simulated driver and network, stepped in one thread, so that runs take the
//! same turns and figures repeat themselves. (A real ring blocks in a system call that callgrind does not know
//! to be one: other threads stand still.) The simulator's driver and network are counted too, and so
//! shares are not taken of everything, but of what is spent in the engine's own lines, without even the standard
//! library: less than a request costs anywhere.
//!
//! What is judged is stealing on against off. That is not all that the machinery costs: most of what it looks at in
//! each turn it looks at whatever is configured. Its own lines are therefore shown as well (`between shards`).
//!
//! `at_rest --beside OTHER` compares this build with another one of this program instead: what telemetry costs, if OTHER was built
//! with `--no-default-features`.
//!
//! Exit codes: 0 within the bound, 1 not, 3 no valgrind.

use ringpool::config::{Config, SharingConfig, UpstreamConfig};
use ringpool::on_shard::Head;
use ringpool::simulation::{Answers, Call, Engine, Look, Network, Peer, Weather};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::rc::Rc;
use std::time::Duration;

/// What stealing that is configured, and has nothing to do, may cost.
const SHARE_MAX: f64 = 0.02;
/// Requests of the two runs.
const FEW: u64 = 2_000;
const MANY: u64 = 12_000;
const SHARDS: usize = 2;
/// Under way on each shard, and half of the connections there.
const CALLS: u64 = 4;

/// Where what shards do for each other stands.
const BETWEEN: &[&str] = &[
    "src/shard/sharing",
    "src/shard/homes",
    "src/shard/homing.rs",
    "src/shard/hunger.rs",
    "src/shard/lag.rs",
    "src/shard/siblings.rs",
];

type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        [] => compare(),
        ["--beside", other] => beside(Path::new(other)),
        [way, steal, requests] => run(way, *steal == "on", requests).map(|()| ExitCode::SUCCESS),
        _ => Err("usage: at_rest [--beside OTHER]".into()),
    };
    done.unwrap_or_else(|failure| {
        eprintln!("at_rest: {failure}");
        ExitCode::from(3)
    })
}

/// Counts both ways in, and says what came of it.
fn compare() -> Result<ExitCode, Failure> {
    let mut within = true;
    let this = std::env::current_exe()?;
    println!("{HEADING}");
    for (way, says) in WAYS {
        println!("{says}");
        let off = per_request(&this, [way, "off"])?;
        let on = per_request(&this, [way, "on"])?;
        off.print("stealing off");
        on.print("stealing on");
        let more = (on.all - off.all) / off.own;
        println!("  on against off {:.2} % of the engine's own", more * 100.0);
        println!(
            "  between shards {:.2} % of the engine's own, {:.2} % of all",
            on.between / on.own * 100.0,
            on.between / on.all * 100.0
        );
        within &= more <= SHARE_MAX;
    }
    let verdict = if within { "PASS" } else { "FAIL" };
    println!(
        "{verdict}  on against off: at most {:.0} % of the engine's own",
        SHARE_MAX * 100.0
    );
    Ok(ExitCode::from(u8::from(!within)))
}

const HEADING: &str = "instructions a request          all   engine's own   between shards";
const WAYS: [(&str, &str); 2] = [
    ("tasks", "tasks on the shards"),
    ("outside", "calls from outside"),
];

/// Counts this build and another one, and says how much more this one takes.
fn beside(other: &Path) -> Result<ExitCode, Failure> {
    let mut within = true;
    let this = std::env::current_exe()?;
    println!("{HEADING}");
    for (way, says) in WAYS {
        println!("{says}");
        let off = per_request(other, [way, "on"])?;
        let on = per_request(&this, [way, "on"])?;
        off.print("the other build");
        on.print("this build");
        let more = on.all - off.all;
        println!(
            "  {more:+.1}: {:.2} % of the engine's own, {:.2} % of all",
            more / off.own * 100.0,
            more / off.all * 100.0
        );
        within &= more / off.own <= SHARE_MAX;
    }
    let verdict = if within { "PASS" } else { "FAIL" };
    println!(
        "{verdict}  this build against the other: at most {:.0} % of the engine's own",
        SHARE_MAX * 100.0
    );
    Ok(ExitCode::from(u8::from(!within)))
}

/// Instructions.
#[derive(Clone, Copy, Default)]
struct Count {
    all: f64,
    /// In lines of the engine, without the simulated driver.
    own: f64,
    /// In those of them that are about what shards do for each other.
    between: f64,
}

impl Count {
    fn print(&self, what: &str) {
        let Count { all, own, between } = self;
        println!("  {what:<26} {all:>8.1} {own:>12.1} {between:>14.1}");
    }
}

fn per_request(program: &Path, what: [&str; 2]) -> Result<Count, Failure> {
    let (few, many) = (count(program, what, FEW)?, count(program, what, MANY)?);
    let each = |of: fn(&Count) -> f64| (of(&many) - of(&few)) / (MANY - FEW) as f64;
    Ok(Count {
        all: each(|count| count.all),
        own: each(|count| count.own),
        between: each(|count| count.between),
    })
}

/// Runs this program, or another build of it, under callgrind.
fn count(program: &Path, what: [&str; 2], requests: u64) -> Result<Count, Failure> {
    let out = Scratch::new(&format!("{}-{requests}", what.join("-")));
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", out.0.display()))
        .arg(program)
        .args(what)
        .arg(requests.to_string())
        .output()
        .map_err(|error| format!("cannot run valgrind, which has to be installed: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let counted = add_up(&std::fs::read_to_string(&out.0)?);
    if counted.own > 0.0 {
        Ok(counted)
    } else {
        Err("nothing was counted in the engine's lines: without debug information it cannot be told".into())
    }
}

/// A file that goes when this does.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let name = format!("at-rest-{}-{name}.callgrind", std::process::id());
        Scratch(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Adds up the costs in callgrind's format. `fl=`, `fi=` and `fe=` name the file of the lines that follow, `fn=` the
/// function: in full the first time and by number after that. The first time may be that it is called (`cfl=`, `cfi=`,
/// `cfn=`). The line behind `calls=` is what was called, counted there.
fn add_up(profile: &str) -> Count {
    let mut files: BTreeMap<String, Kind> = BTreeMap::new();
    // Functions for whoever steps shards by hand, into which much is inlined.
    let (mut steps, mut stepping) = (Vec::new(), false);
    let (mut count, mut kind, mut called) = (Count::default(), Kind::Other, false);
    for line in profile.lines() {
        let file = ["fl=", "fi=", "fe=", "cfl=", "cfi="]
            .iter()
            .find_map(|key| line.strip_prefix(key));
        if let Some(file) = file {
            let (id, name) = file.split_once(' ').unwrap_or((file, ""));
            if !name.is_empty() {
                files.insert(id.to_owned(), Kind::of(Path::new(name)));
            }
            if !line.starts_with('c') {
                kind = files.get(id).copied().unwrap_or(Kind::Other);
            }
        } else if let Some(function) = ["fn=", "cfn="]
            .iter()
            .find_map(|key| line.strip_prefix(key))
        {
            let (id, name) = function.split_once(' ').unwrap_or((function, ""));
            if name.contains("::by_hand::") {
                steps.push(id.to_owned());
            }
            if line.starts_with('f') {
                stepping = steps.iter().any(|known| known == id);
            }
        } else if line.starts_with("calls=") {
            called = true;
        } else if line.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '*')) {
            let cost = line.split(' ').nth(1).and_then(|cost| cost.parse().ok());
            let cost: f64 = if called { 0.0 } else { cost.unwrap_or(0.0) };
            called = false;
            count.all += cost;
            let kind = if stepping { Kind::Other } else { kind };
            count.own += if kind == Kind::Other { 0.0 } else { cost };
            count.between += if kind == Kind::Between { cost } else { 0.0 };
        }
    }
    count
}

/// Whose a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The engine's, about what shards do for each other.
    Between,
    /// The engine's.
    Engine,
    /// The stage's, the standard library's or another crate's.
    Other,
}

impl Kind {
    fn of(file: &Path) -> Kind {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let root = root.canonicalize().unwrap_or(root);
        let file = file.strip_prefix(&root).unwrap_or(file);
        let is_in = |folders: &[&str]| folders.iter().any(|folder| file.starts_with(folder));
        if !is_in(&["src"]) || is_in(&["src/simulation", "src/driver/sim"]) {
            Kind::Other
        } else if is_in(BETWEEN) {
            Kind::Between
        } else {
            Kind::Engine
        }
    }
}

struct Server;

impl Peer for Server {
    fn received(&mut self, _: &[u8], out: &mut Answers) {
        out.send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nhello, world\n");
    }
}

/// What is counted: so many requests, and nothing of it waits or moves.
fn run(way: &str, steal: bool, requests: &str) -> Result<(), Failure> {
    let requests = requests.parse()?;
    let network = Network::new(1);
    let address: SocketAddr = "192.0.2.1:80".parse()?;
    network.listen(address.into(), || Box::new(Server));
    // So that each response has a turn of its own.
    let weather = Weather {
        latency_min: Duration::from_micros(400),
        latency_max: Duration::from_micros(600),
        piece_max: 0,
    };
    network.set_weather(address.into(), weather);
    let warm = (2 * CALLS) as u32 * SHARDS as u32;
    let target = UpstreamConfig {
        connections_max: warm,
        idle_min: warm,
        age_max: None,
        sharing: SharingConfig {
            steal,
            ..SharingConfig::default()
        },
        ..UpstreamConfig::at("http://192.0.2.1")?
    };
    let config = Config::with_upstream("a", target);
    let mut engine = Engine::new(config, SHARDS, 1, &network)?;
    let mut turn = |engine: &mut Engine| {
        if !engine.step() {
            let next = engine.next_event().ok_or("nothing is under way")?;
            network.advance_to(next);
        }
        Ok::<(), Failure>(())
    };
    while look(&engine).idle < warm {
        turn(&mut engine)?;
    }
    match way {
        "tasks" => tasks(&mut engine, requests, &mut turn)?,
        "outside" => outside(&mut engine, requests, &mut turn)?,
        other => return Err(format!("what is {other}?").into()),
    }
    let seen = look(&engine);
    if seen.misses + seen.moved > 0 {
        return Err(format!(
            "not at rest: {} misses, {} calls moved",
            seen.misses, seen.moved
        )
        .into());
    }
    Ok(())
}

type Turn<'a> = &'a mut dyn FnMut(&mut Engine) -> Result<(), Failure>;

fn tasks(engine: &mut Engine, requests: u64, turn: Turn<'_>) -> Result<(), Failure> {
    let callers = CALLS * engine.shards() as u64;
    thread_local!(static DONE: Rc<Cell<u64>> = Rc::default());
    for shard in 0..engine.shards() {
        for _ in 0..CALLS {
            engine.spawn(shard, move |shard| async move {
                let done = DONE.with(Rc::clone);
                // Every caller makes as many: what one had more would be on one shard alone.
                for _ in 0..requests / callers {
                    let answer = shard.exchange("a", Head::get("/")).await;
                    done.set(done.get() + u64::from(answer.is_ok_and(|(status, _)| status == 200)));
                }
            })?;
        }
    }
    let wanted = requests / callers * callers;
    while DONE.with(|done| done.get()) < wanted {
        turn(engine)?;
    }
    Ok(())
}

fn outside(engine: &mut Engine, requests: u64, turn: Turn<'_>) -> Result<(), Failure> {
    let mut calls: Vec<Option<Call>> = (0..CALLS).map(|_| None).collect();
    let (mut begun, mut done) = (0, 0);
    while done < requests {
        for place in &mut calls {
            if let Some(answer) = place.as_mut().and_then(Call::poll) {
                done += u64::from(answer?.status() == 200);
                *place = None;
            }
            if place.is_none() && begun < requests {
                *place = Some(engine.call(None, "a", http::Request::new(().into())));
                begun += 1;
            }
        }
        turn(engine)?;
    }
    Ok(())
}

#[derive(Default)]
struct Seen {
    idle: u32,
    misses: u64,
    moved: u64,
}

fn look(engine: &Engine) -> Seen {
    let (mut look, mut seen) = (Look::default(), Seen::default());
    for shard in 0..engine.shards() {
        engine.look(shard, &mut look);
        for upstream in &look.upstreams {
            seen.idle += upstream.idle;
            seen.misses += upstream.counters.misses;
            seen.moved += upstream.counters.moved;
        }
    }
    seen
}
