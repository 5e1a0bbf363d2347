//! The report for programs. Keys are a promise: they may be added to, never renamed.

use super::{Figures, figures, ratios};
use crate::host::Host;
use crate::measure::{TIMED_EVERY, WARMUP};
use crate::peers::SUBJECT;
use crate::rounds::{Compared, Plan};
use crate::stats::{Spread, ratio};
use serde_json::{Map, Value, json};

/// The whole report, indented, with a newline at its end.
pub(crate) fn render(host: &Host, plan: &Plan, compared: &[Compared]) -> String {
    let scenarios: Map<_, _> = compared
        .iter()
        .map(|one| (one.scenario.name.to_owned(), scenario(one)))
        .collect();
    let report = json!({
        "host": host,
        "plan": {
            "rounds": plan.rounds,
            "seconds": plan.seconds,
            "warmup_seconds": WARMUP.as_secs_f64(),
            "timed_every": TIMED_EVERY,
            "command": std::env::args().collect::<Vec<_>>(),
        },
        "scenarios": scenarios,
        // Ours against ours: what idle connections cost those that are not.
        "idle_over_h1": beside_idle(compared),
        "idle_over_h1_paired": super::idle_over_h1(compared),
    });
    format!("{report:#}\n")
}

fn scenario(compared: &Compared) -> Value {
    let figures = figures(compared);
    let peers: Map<_, _> = figures
        .iter()
        .map(|(name, figures)| ((*name).to_owned(), peer(figures)))
        .collect();
    let over = |figure: fn(&Figures) -> Option<Spread>| {
        let ratios = ratios(&figures, figure).into_iter();
        Map::from_iter(ratios.map(|(name, ratio)| (name.to_owned(), rounded(ratio))))
    };
    let told = |who: &[(&'static crate::peers::Peer, String)]| {
        let who = who.iter();
        Map::from_iter(who.map(|(peer, why)| (peer.name.to_owned(), json!(why))))
    };
    json!({
        "about": compared.scenario.about,
        "peers": peers,
        "ratios": over(|one| one.total),
        "user_ratios": over(|one| one.user),
        "p50_ratios": over(|one| one.p50),
        "skipped": told(&compared.skipped),
        "failed": told(&compared.failed),
    })
}

/// Medians, and beside them from where to where the rounds go. What a client does not tell is null.
fn peer(figures: &Figures) -> Value {
    let median = |spread: Option<Spread>| spread.map(|spread| rounded(spread.median));
    let range =
        |spread: Option<Spread>| spread.map(|spread| [rounded(spread.min), rounded(spread.max)]);
    let whole = |spread: Option<Spread>| spread.map(|spread| spread.median.round() as u64);
    json!({
        "cpu_us_per_request": {
            "user": median(figures.user),
            "system": median(figures.system),
            "total": median(figures.total),
        },
        "rps": median(figures.rps),
        "p50_us": median(figures.p50),
        "p99_us": median(figures.p99),
        "connections": whole(figures.connections),
        "peak_rss_bytes": whole(figures.peak_rss),
        "requests": figures.requests,
        "rounds": figures.rounds,
        "spread": {
            "cpu_us_per_request": {
                "user": range(figures.user),
                "system": range(figures.system),
                "total": range(figures.total),
            },
            "rps": range(figures.rps),
            "p50_us": range(figures.p50),
            "p99_us": range(figures.p99),
            "connections": range(figures.connections),
            "peak_rss_bytes": range(figures.peak_rss),
        },
    })
}

/// To the ten-thousandth: more would be noise.
fn rounded(figure: f64) -> Value {
    json!((figure * 1e4).round() / 1e4)
}

fn beside_idle(compared: &[Compared]) -> Option<f64> {
    let ours = |name: &str| {
        let one = compared.iter().find(|one| one.scenario.name == name)?;
        let (_, ours) = figures(one)
            .into_iter()
            .find(|(peer, _)| *peer == SUBJECT)?;
        ours.total
    };
    ratio(ours("idle"), ours("h1"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::compared;
    use super::*;
    use std::path::PathBuf;

    fn report() -> Value {
        let plan = Plan {
            rounds: 3,
            seconds: 1,
            client_core: 1,
            backend_core: 0,
            directory: PathBuf::new(),
        };
        let text = render(&Host::look(1, 0), &plan, &[compared()]);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn every_key_that_was_promised_is_there() {
        let report = report();
        for key in [
            "cpu_us_per_request/user",
            "cpu_us_per_request/system",
            "cpu_us_per_request/total",
            "rps",
            "p50_us",
            "connections",
            "peak_rss_bytes",
        ] {
            let pointer = format!("/scenarios/h1/peers/ringpool/{key}");
            assert!(
                report.pointer(&pointer).is_some_and(Value::is_number),
                "{pointer}"
            );
        }
        assert_eq!(report["scenarios"]["h1"]["ratios"], json!({ "floor": 1.2 }));
        for fact in [
            "kernel",
            "cpu",
            "governor",
            "cores",
            "client_core",
            "backend_core",
            "date",
        ] {
            assert!(report["host"].get(fact).is_some(), "{fact}");
        }
    }

    #[test]
    fn what_is_not_told_is_null_and_who_is_missing_is_named() {
        let report = report();
        let h1 = &report["scenarios"]["h1"];
        assert!(h1["peers"]["ringpool"]["p99_us"].is_null());
        assert_eq!(h1["skipped"], json!({ "wrk": "is not installed" }));
        assert_eq!(h1["failed"], json!({ "h2load": "was refused" }));
        assert!(h1["peers"].get("h2load").is_none());
        assert!(report["idle_over_h1"].is_null());
    }
}
