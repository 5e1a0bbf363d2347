//! h2load speaking HTTP/1.1, one thread.

use super::{Peer, refuses_tokio, tool};
use crate::cli::ClientOptions;
use crate::measure::Outcome;
use crate::scenario::{LARGE, Pace, Scenario, Transport, Work};
use std::process::Command;

pub(super) const PEER: Peer = Peer {
    name: "h2load",
    about: "one thread, HTTP/1.1; tells no percentiles",
    refuses,
    run,
};

/// New connections for each second that is asked for, where it cannot be told a time.
const CONNECTS: u64 = 10_000;

fn refuses(scenario: &Scenario) -> Option<String> {
    let lacks = |what: &str| Some(what.to_owned());
    refuses_tokio(scenario).or_else(|| match scenario {
        Scenario {
            pace: Pace::Burst, ..
        } => lacks("has no bursts"),
        Scenario { idle: 1.., .. } => lacks("has no idle connections"),
        _ => tool::missing("h2load", "nghttp2-client"),
    })
}

fn run(options: &ClientOptions) -> Result<Outcome, String> {
    let scenario = options.scenario;
    let mut command = Command::new("h2load");
    command
        .args(["--h1", "--threads", "1", "--max-concurrent-streams", "1"])
        .args(["--clients", &scenario.callers.to_string()]);
    if scenario.reuses() {
        command.args(["--duration", &options.seconds.to_string()]);
    } else {
        // It does not end by time where the server closes connections: not as of 1.52.
        command.args(["--requests", &(options.seconds * CONNECTS).to_string()]);
    }
    if scenario.work == Work::Upload {
        let body = options.directory.join("upload");
        std::fs::write(&body, vec![b'x'; LARGE]).map_err(|why| why.to_string())?;
        command.arg("--data").arg(body);
    }
    let path = scenario.work.path();
    match scenario.transport {
        Transport::Tcp => command.arg(format!("http://{}{path}", options.tcp)),
        Transport::Tls => command.arg(format!("https://{}{path}", options.tls)),
        Transport::Unix => command
            .arg(format!("--base-uri=unix:{}", options.unix.display()))
            .arg(format!("http://localhost{path}")),
    };
    let ran = tool::run(&mut command, options.within())?;
    let (requests, seconds) = read(&ran.output)?;
    Ok(Outcome {
        requests,
        seconds,
        user_us: ran.cpu.user_us,
        system_us: ran.cpu.system_us,
        p50_us: None,
        p99_us: None,
        answered: Some(requests),
        peak_rss_bytes: ran.peak_rss_bytes,
    })
}

/// How many requests succeeded, and in how many seconds; an error if any did not.
fn read(output: &str) -> Result<(u64, f64), String> {
    let said = output
        .lines()
        .find_map(|line| line.strip_prefix("finished in "));
    let time = said.and_then(|said| tool::microseconds(said.split(',').next()?));
    let counts = output
        .lines()
        .find_map(|line| line.strip_prefix("requests:"));
    let count = |what: &str| {
        let pieces = counts?.split(',').map(str::trim);
        let number = pieces.filter_map(|piece| piece.strip_suffix(what)).next()?;
        number.trim().parse::<u64>().ok()
    };
    let known = (count("succeeded"), count("failed"), count("errored"), time);
    match known {
        (Some(succeeded), Some(0), Some(0), Some(time)) if succeeded > 0 => {
            Ok((succeeded, time / 1e6))
        }
        (Some(_), Some(_), Some(_), Some(_)) => {
            Err(format!("requests: {}", counts.unwrap_or_default()))
        }
        _ => Err(format!("cannot read h2load's report: {output}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_report_is_read() {
        let report = |counts: &str| {
            format!(
                "finished in 1.25s, 5.60 req/s, 0B/s\nrequests: {counts}\nstatus codes: 7 2xx\n"
            )
        };
        let fine =
            report("7 total, 8 started, 7 done, 7 succeeded, 0 failed, 0 errored, 0 timeout");
        assert_eq!(read(&fine), Ok((7, 1.25)));
        let failed =
            report("7 total, 8 started, 7 done, 6 succeeded, 1 failed, 1 errored, 0 timeout");
        assert!(read(&failed).is_err());
        assert!(read("could not connect").is_err());
    }
}
