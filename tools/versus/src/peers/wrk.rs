//! wrk, one thread.

use super::tool::{self, microseconds};
use super::{Peer, refuses_tokio};
use crate::cli::ClientOptions;
use crate::measure::Outcome;
use crate::scenario::{LARGE, Pace, Scenario, Transport, Work};
use std::process::Command;

pub(super) const PEER: Peer = Peer {
    name: "wrk",
    about: "one thread, with its own percentiles",
    refuses,
    run,
};

fn refuses(scenario: &Scenario) -> Option<String> {
    let lacks = |what: &str| Some(what.to_owned());
    refuses_tokio(scenario).or_else(|| match scenario {
        Scenario {
            transport: Transport::Unix,
            ..
        } => lacks("connects over TCP only"),
        Scenario {
            pace: Pace::Burst, ..
        } => lacks("has no bursts"),
        Scenario { idle: 1.., .. } => lacks("has no idle connections"),
        _ => tool::missing("wrk", "wrk"),
    })
}

fn run(options: &ClientOptions) -> Result<Outcome, String> {
    let scenario = options.scenario;
    let scheme = if scenario.transport == Transport::Tls {
        "https"
    } else {
        "http"
    };
    let mut command = Command::new("wrk");
    command
        .args(["--threads", "1", "--latency"])
        .args(["--connections", &scenario.callers.to_string()])
        .args(["--duration", &format!("{}s", options.seconds)]);
    if scenario.work == Work::Upload {
        let script = options.directory.join("upload.lua");
        let text = format!("wrk.method = \"POST\"\nwrk.body = string.rep(\"x\", {LARGE})\n");
        std::fs::write(&script, text).map_err(|why| why.to_string())?;
        command.arg("--script").arg(script);
    }
    command.arg(format!(
        "{scheme}://{}{}",
        options.address(),
        scenario.work.path()
    ));
    let ran = tool::run(&mut command, options.within())?;
    let said = read(&ran.output)?;
    Ok(Outcome {
        requests: said.requests,
        seconds: said.seconds,
        user_us: ran.cpu.user_us,
        system_us: ran.cpu.system_us,
        p50_us: said.p50_us,
        p99_us: said.p99_us,
        answered: Some(said.requests),
        peak_rss_bytes: ran.peak_rss_bytes,
    })
}

#[derive(Debug, PartialEq)]
struct Said {
    requests: u64,
    seconds: f64,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
}

fn read(output: &str) -> Result<Said, String> {
    let after = |word: &str| {
        let lines = output.lines().map(str::trim);
        lines
            .filter_map(|line| line.strip_prefix(word))
            .map(str::trim)
            .next()
    };
    for trouble in ["Socket errors:", "Non-2xx or 3xx responses:"] {
        if let Some(which) = after(trouble) {
            return Err(format!("{trouble} {which}"));
        }
    }
    // "  123456 requests in 1.00s, 12.34MB read"
    let line = output.lines().find(|line| line.contains(" requests in "));
    let counted = line.and_then(|line| {
        let (requests, rest) = line.trim().split_once(" requests in ")?;
        let (time, _) = rest.split_once(',')?;
        Some((requests.parse().ok()?, microseconds(time)? / 1e6))
    });
    let (requests, seconds) =
        counted.ok_or_else(|| format!("cannot read wrk's report: {output}"))?;
    Ok(Said {
        requests,
        seconds,
        p50_us: after("50%").and_then(microseconds),
        p99_us: after("99%").and_then(microseconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "Running 1s test @ http://127.0.0.1:1/small
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   540.38us  190.00us   3.67ms   78.09%
    Req/Sec   116.98k     3.45k  120.05k    90.91%
  Latency Distribution
     50%  514.00us
     75%  610.00us
     90%  764.00us
     99%    1.20ms
  128024 requests in 1.10s, 12.58MB read
Requests/sec: 116405.61
";

    #[test]
    fn its_report_is_read() {
        let said = read(REPORT).unwrap();
        assert_eq!(said.requests, 128_024);
        assert_eq!(
            (said.seconds, said.p50_us, said.p99_us),
            (1.1, Some(514.0), Some(1200.0))
        );
    }

    #[test]
    fn errors_are_failures() {
        for line in [
            "  Socket errors: connect 0, read 2, write 0, timeout 0",
            "  Non-2xx or 3xx responses: 4",
        ] {
            assert!(read(&format!("{REPORT}{line}\n")).is_err());
        }
        assert!(read("unable to connect").is_err());
    }
}
