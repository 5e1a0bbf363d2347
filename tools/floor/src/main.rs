//! `floor ADDR`: prints one line of JSON, the threads' figures added up. `--compare` runs variants beside the plain loop
//! and prints a line of JSON for each. See the library for what it measures.

use floor::{
    Comparison, FloorReport, FloorRun, Names, Row, Until, Variant, compare, run_on_threads,
};
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "usage: floor ADDR [--connections 64] [--threads 1] [--seconds 5] [--path /] [--upload BYTES] [--core N]
             [--variant NAME[+NAME..] | --compare NAME[+NAME..][,..] [--rounds 31]]
variants:";

/// How long each run of a comparison is not counted.
const WARMUP: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    let plan = match plan(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(complaint) => {
            eprint!("floor: {complaint}\n{USAGE}\n{Names}");
            return ExitCode::from(2);
        }
    };
    let lines = match plan.compared.is_empty() {
        true => run_on_threads(&plan.run, plan.threads)
            .map(|reports| vec![told(&FloorReport::sum(&reports))]),
        false => compare(&Comparison {
            run: plan.run,
            variants: plan.compared,
            rounds: plan.rounds,
        })
        .map(|rows| rows.iter().map(row).collect()),
    };
    match lines {
        Ok(lines) => {
            lines.iter().for_each(|line| println!("{line}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn told(report: &FloorReport) -> String {
    let each = |micros: u64| micros as f64 / report.requests.max(1) as f64;
    format!(
        "{{\"requests\":{},\"seconds\":{:.3},\"per_second\":{:.0},\"cpu_user_us\":{},\
         \"cpu_system_us\":{},\"cpu_us_per_request\":{:.3},\"enters\":{}}}",
        report.requests,
        report.seconds,
        report.requests as f64 / report.seconds,
        report.cpu_user_us,
        report.cpu_system_us,
        each(report.cpu_user_us + report.cpu_system_us),
        report.enters,
    )
}

fn row(row: &Row) -> String {
    format!(
        "{{\"variant\":\"{}\",\"cpu_us_per_request\":{:.3},\"ratio\":{:.3},\"ratios\":[{:.3},{:.3}],\
         \"per_second\":{:.0},\"p50_us\":{:.1},\"requests_per_enter\":{:.2}}}",
        row.name,
        row.cpu_us,
        row.ratio,
        row.ratios.0,
        row.ratios.1,
        row.per_second,
        row.p50_us,
        row.requests_per_enter,
    )
}

struct Plan {
    run: FloorRun,
    threads: usize,
    compared: Vec<(String, Variant)>,
    rounds: usize,
}

fn plan(mut arguments: impl Iterator<Item = String>) -> Result<Plan, String> {
    let (mut address, mut path, mut seconds) = (None, String::from("/"), 5.0);
    let (mut connections, mut core, mut variant) = (64, None, Variant::default());
    let (mut threads, mut rounds, mut compared, mut upload) = (1, 31, Vec::new(), 0);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} wants a value"));
        match argument.as_str() {
            "--connections" => connections = parse(&value()?)?,
            "--threads" => threads = parse(&value()?)?,
            "--seconds" => seconds = parse(&value()?)?,
            "--path" => path = value()?,
            "--upload" => upload = parse(&value()?)?,
            "--core" => core = Some(parse(&value()?)?),
            "--variant" => variant = value()?.parse()?,
            "--rounds" => rounds = parse(&value()?)?,
            "--compare" => {
                for name in value()?.split(',') {
                    compared.push((name.to_owned(), name.parse()?));
                }
            }
            other if address.is_none() => address = Some(parse(other)?),
            other => return Err(format!("what is {other}?")),
        }
    }
    let address: std::net::SocketAddr = address.ok_or("no address")?;
    let duration = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
    if threads == 0 || rounds == 0 {
        return Err("at least one thread and one round".to_owned());
    }
    let run = FloorRun {
        address,
        connections,
        request: request(&path, address, upload),
        response_len: None,
        warmup: match compared.is_empty() {
            true => Duration::ZERO,
            false => WARMUP,
        },
        until: Until::Elapsed(duration),
        core,
        variant,
    };
    Ok(Plan {
        run,
        threads,
        compared,
        rounds,
    })
}

fn request(path: &str, address: std::net::SocketAddr, upload: usize) -> Vec<u8> {
    let (method, length) = match upload {
        0 => ("GET", String::new()),
        _ => ("POST", format!("Content-Length: {upload}\r\n")),
    };
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n{length}\r\n");
    let mut request = head.into_bytes();
    request.resize(request.len() + upload, b'x');
    request
}

fn parse<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("cannot read {text}"))
}
