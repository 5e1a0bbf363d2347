//! `floor ADDR [--connections 64] [--threads 1] [--seconds 5] [--path /] [--core N] [--single]`: prints one line
//! of JSON, the threads' figures added up. See the library for what it measures.

use floor::{FloorReport, FloorRun, Receive, Until, run_on_threads};
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "usage: floor ADDR [--connections 64] [--threads 1] [--seconds 5] [--path /] [--core N] [--single]";

fn main() -> ExitCode {
    let (plan, threads) = match plan(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(complaint) => {
            eprintln!("floor: {complaint}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let report = match run_on_threads(&plan, threads) {
        Ok(reports) => FloorReport::sum(&reports),
        Err(error) => {
            eprintln!("floor: {error}");
            return ExitCode::FAILURE;
        }
    };
    let each = |micros: u64| micros as f64 / report.requests.max(1) as f64;
    println!(
        "{{\"requests\":{},\"seconds\":{:.3},\"per_second\":{:.0},\"cpu_user_us\":{},\
         \"cpu_system_us\":{},\"cpu_us_per_request\":{:.3},\"enters\":{}}}",
        report.requests,
        report.seconds,
        report.requests as f64 / report.seconds,
        report.cpu_user_us,
        report.cpu_system_us,
        each(report.cpu_user_us + report.cpu_system_us),
        report.enters,
    );
    ExitCode::SUCCESS
}

/// What each thread is to do, and how many they are.
fn plan(mut arguments: impl Iterator<Item = String>) -> Result<(FloorRun, usize), String> {
    let (mut address, mut path, mut seconds) = (None, String::from("/"), 5.0);
    let (mut connections, mut core, mut receive) = (64, None, Receive::default());
    let mut threads = 1;
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} wants a value"));
        match argument.as_str() {
            "--connections" => connections = parse(&value()?)?,
            "--threads" => threads = parse(&value()?)?,
            "--seconds" => seconds = parse(&value()?)?,
            "--path" => path = value()?,
            "--core" => core = Some(parse(&value()?)?),
            "--single" => receive = Receive::Single,
            other if address.is_none() => address = Some(parse(other)?),
            other => return Err(format!("what is {other}?")),
        }
    }
    let address: std::net::SocketAddr = address.ok_or("no address")?;
    let duration = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
    if threads == 0 {
        return Err("at least one thread".to_owned());
    }
    let run = FloorRun {
        address,
        connections,
        request: format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes(),
        response_len: None,
        warmup: Duration::ZERO,
        until: Until::Elapsed(duration),
        core,
        receive,
    };
    Ok((run, threads))
}

fn parse<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("cannot read {text}"))
}
