//! The report for programs. Keys are a promise: they may be added to, never renamed.

use host::Host;
use scenarios::Findings;
use serde_json::{Map, Value, json};

use super::{Phase, Report};
use crate::load::{LoadPlan, LoadResult};
use crate::record;
use crate::traffic::{CallPlan, PhaseLoad, PhasePlan, UpstreamPlan};

/// The whole report as indented JSON, with a newline at its end.
pub(super) fn render(report: &Report, host: &Host) -> String {
    let mut object = Map::new();
    match (report.scenario, report.phases.as_slice()) {
        (None, [phase]) => object = figures(phase),
        (scenario, phases) => {
            if let Some(Value::Object(found)) = report.findings.as_ref().map(Findings::json) {
                object = found;
            }
            object.insert("scenario".into(), scenario.into());
            let phases = phases
                .iter()
                .map(|p| (p.key(), Value::Object(figures(p))))
                .collect();
            object.insert("phases".into(), Value::Object(phases));
        }
    }
    if let Some(verdict) = &report.verdict {
        let factors: Map<_, _> = verdict
            .factors
            .iter()
            .map(|(name, factor)| (name.clone(), json!(factor)))
            .collect();
        object.insert(
            "verdict".into(),
            json!({ "held": verdict.held, "text": verdict.sentences.join(" "), "factors": factors }),
        );
    }
    object.insert("interrupted".into(), report.interrupted().into());
    object.insert("command".into(), command().into());
    object.insert("host".into(), host.json());
    format!("{:#}\n", Value::Object(object))
}

/// What one phase gave; a figure that could not be computed is null.
fn figures(phase: &Phase) -> Map<String, Value> {
    let (plan, result) = (&phase.plan, &phase.result);
    let figures = json!({
        "requests": {
            "ok": result.ok,
            "failed": result.failed_total(),
            "errors": result.failed,
            "ok_in_window": result.carried.map(|carried| carried.ok),
            "failed_in_window": result.carried.map(|carried| carried.failed),
        },
        "throughput_rps": result.throughput(),
        "latency_us": {
            "p50": result.latency_us(0.5),
            "p90": result.latency_us(0.9),
            "p99": result.latency_us(0.99),
            "p999": result.latency_us(0.999),
            "max": result.latency_us(1.0),
        },
        "lag_us": lag(result),
        "cpu_us_per_request": {
            "user": result.us_per_request(result.cpu.user),
            "system": result.us_per_request(result.cpu.system),
        },
        "pool": {
            "hits": result.hits,
            "misses": result.misses,
            "dials": result.dials,
            "waits": result.waits,
            "evictions": result.evictions,
            "steals": result.steals,
            "forwarded": result.forwarded,
        },
        "handshakes": {
            "full": result.handshakes_full,
            "resumed": result.handshakes_resumed,
        },
        "handshake_seconds_avoided": result.handshake_seconds_avoided,
        "connections_opened": result.connections_opened,
        "seconds": result.elapsed.as_secs_f64(),
        "plan": self::plan(plan),
    });
    match figures {
        Value::Object(mut figures) => {
            figures.insert("seed".into(), json!(result.seed));
            figures.insert("invalid".into(), json!(result.invalid));
            figures.insert("contacts".into(), json!(result.contacts));
            if !result.members.is_empty() {
                figures.insert("agents".into(), json!(result.members));
            }
            figures.insert("record".into(), record::of(result));
            figures
        }
        other => Map::from_iter([("figures".to_owned(), other)]),
    }
}

/// How late the tool itself was; null where it could not be.
fn lag(result: &LoadResult) -> Value {
    let at = |quantile| result.lag.value_at_quantile(quantile) as f64 / 1e3;
    match result.lag.is_empty() {
        true => Value::Null,
        false => json!({ "p50": at(0.5), "p99": at(0.99), "max": at(1.0) }),
    }
}

/// What was asked for.
pub(super) fn plan(plan: &LoadPlan) -> Value {
    let mut value = json!({
        "url": plan.url,
        "connections": plan.connections,
        "shards": plan.shards,
        "seconds": plan.duration.as_secs_f64(),
        "warmup_seconds": plan.warmup.as_secs_f64(),
        "reuse": plan.reuse,
        "warm": plan.warm,
        "resume": plan.resume,
        "rate": plan.rate,
        "from": plan.way.name(),
        "arrivals": plan.rate.map(|_| plan.traffic.arrivals.name()),
        "callers": plan.traffic.callers.unwrap_or(plan.connections),
        "think": plan.traffic.think.to_string(),
        "seed": plan.traffic.seed,
    });
    if !plan.traffic.calls.is_empty() {
        let calls = plan.traffic.calls.iter().map(call);
        value["calls"] = calls.collect::<Vec<_>>().into();
    }
    if !plan.traffic.others.is_empty() {
        let upstream = |one: &UpstreamPlan| json!({ "name": one.name, "url": one.url, "settings": one.settings });
        let others = plan.traffic.others.iter().map(upstream);
        value["upstreams"] = others.collect::<Vec<_>>().into();
    }
    if !plan.traffic.phases.is_empty() {
        let phases = plan.traffic.phases.iter().map(phase);
        value["phases"] = phases.collect::<Vec<_>>().into();
    }
    if let Some(settings) = &plan.traffic.settings {
        value["settings"] = settings.clone().into();
    }
    value
}

/// A kind of call as a scenario file has it.
fn call(call: &CallPlan) -> Value {
    json!({
        "name": call.name,
        "upstream": call.upstream,
        "weight": call.weight,
        "path": call.path,
        "size": call.size.map(|size| size.to_string()),
        "upload": call.upload.map(|upload| upload.to_string()),
        "churn": call.close,
        "class": format!("{:?}", call.class).to_lowercase(),
    })
}

/// A phase as a scenario file has it.
fn phase(phase: &PhasePlan) -> Value {
    let mut value = json!({ "name": phase.name, "seconds": phase.lasts.as_secs_f64() });
    match phase.load {
        PhaseLoad::Callers(callers) => value["callers"] = callers.into(),
        PhaseLoad::Rate(first, last, arrivals) => {
            value["rate"] = json!([first, last]);
            value["arrivals"] = arrivals.name().into();
        }
    }
    value
}

/// The command line, quoted so that a shell would run it again.
pub(crate) fn command() -> String {
    let quoted = |word: String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%?&".contains(c);
        let special = |c: char| matches!(c, '?' | '&');
        if !word.is_empty() && word.chars().all(plain) && !word.contains(special) {
            word
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    let words = std::env::args_os().map(|word| quoted(word.to_string_lossy().into_owned()));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::tests::phase;
    use super::super::{Report, Verdict};
    use super::*;
    use crate::load::Carried;
    use crate::member::Member;
    use crate::packed::Packed;
    use crate::record::Kept;
    use crate::series::{Counters, PoolState, Sample};
    use std::time::Duration;

    fn parse(report: &Report) -> Value {
        serde_json::from_str(&render(report, &Host::look())).expect("it is JSON")
    }

    #[test]
    fn a_run_has_every_key() {
        let mut run = phase("run", "", 1000);
        run.result.failed.insert("refused".into(), 2);
        let json = parse(&Report::of_run(run));
        for pointer in [
            "/requests/ok",
            "/requests/failed",
            "/throughput_rps",
            "/latency_us/p50",
            "/latency_us/p90",
            "/latency_us/p99",
            "/latency_us/p999",
            "/latency_us/max",
            "/cpu_us_per_request/user",
            "/cpu_us_per_request/system",
            "/pool/hits",
            "/pool/misses",
            "/pool/dials",
            "/pool/waits",
            "/pool/evictions",
            "/handshakes/full",
            "/handshakes/resumed",
            "/handshake_seconds_avoided",
            "/connections_opened",
            "/seconds",
            "/host/cores",
            "/record/version",
            "/record/series/interval_ns",
        ] {
            assert!(
                json.pointer(pointer).is_some_and(Value::is_number),
                "{pointer}"
            );
        }
        assert_eq!(json["requests"]["errors"]["refused"], 2);
        assert_eq!(json["throughput_rps"], 500.0);
        assert!(json["seed"].is_null() && json["invalid"] == json!([]));
        assert!(json["record"]["histograms"]["latency"].is_string());
        assert!(json["command"].is_string() && json["host"]["kernel"].is_string());
    }

    #[test]
    fn figures_without_a_sample_are_null() {
        let mut run = phase("run", "", 1);
        run.result = crate::load::LoadResult::default();
        let json = parse(&Report::of_run(run));
        assert!(json["throughput_rps"].is_null() && json["latency_us"]["max"].is_null());
        assert_eq!(json["requests"]["ok"], 0);
    }

    #[test]
    fn a_scenario_has_its_phases_and_verdict() {
        let json = parse(&Report {
            scenario: Some("demo"),
            phases: vec![phase("TLS", "reuse", 10), phase("TLS", "no reuse", 5)],
            verdict: Some(Verdict {
                held: true,
                sentences: vec!["Good.".to_owned(), "Very.".to_owned()],
                factors: vec![("tls.requests_per_second".to_owned(), 2.0)],
            }),
            findings: None,
        });
        assert_eq!(json["scenario"], "demo");
        assert_eq!(json["phases"]["tls_reuse"]["requests"]["ok"], 10);
        assert_eq!(json["phases"]["tls_no_reuse"]["plan"]["reuse"], false);
        assert_eq!(json["verdict"]["text"], "Good. Very.");
        assert_eq!(json["verdict"]["factors"]["tls.requests_per_second"], 2.0);
    }

    #[test]
    fn a_run_comes_back_exactly() {
        let mut run = phase("run", "", 1000);
        let result = &mut run.result;
        result.service = result.latency.clone();
        crate::measure::record(&mut result.lag, Duration::from_micros(7));
        result.failed.insert("refused".into(), 2);
        result.invalid.push("the tool was late".into());
        result.members = vec![Member::lost("h:1".into(), "it went away".into())];
        result.carried = Some(Carried { ok: 990, failed: 1 });
        result.seed = Some(u64::MAX);
        result.contacts.close("uses", 3);
        result.series.interval = Duration::from_millis(250);
        result.series.samples = vec![Sample {
            start: Duration::from_nanos(1),
            length: Duration::from_nanos(1_999_999_999),
            ok: 1000,
            failed: result.failed.clone(),
            latency: Packed::of(&result.latency),
            pool: Some(PoolState {
                idle: 3,
                ..PoolState::default()
            }),
            counters: Counters {
                dials_failed: 4,
                ..Counters::default()
            },
            cpu: result.cpu,
        }];
        result.series.late = Some(Sample {
            start: result.elapsed,
            ok: 3,
            latency: Packed::of(&result.latency),
            ..Sample::default()
        });
        let host = Host::look();
        let text = render(&Report::of_run(run), &host);
        let kept = Kept::read(&text, None).expect("it is a run");
        assert_eq!(kept.plan["url"], "http://127.0.0.1:1/");
        assert!(!kept.command.is_empty() && kept.host["kernel"].is_string());
        let mut again = phase("run", "", 1000);
        again.result = kept.result;
        assert_eq!(render(&Report::of_run(again), &host), text);
    }

    #[test]
    fn a_phase_of_a_scenario_comes_back() {
        let report = Report {
            scenario: Some("demo"),
            phases: vec![phase("TLS", "reuse", 10), phase("TLS", "no reuse", 5)],
            verdict: None,
            findings: None,
        };
        let text = render(&report, &Host::look());
        let kept = Kept::read(&text, Some("tls_no_reuse")).expect("it is there");
        assert_eq!(kept.result.ok, 5);
        let error = Kept::read(&text, None).expect_err("which?").to_string();
        assert!(error.contains("tls_no_reuse, tls_reuse"), "{error}");
        for (bad, why) in [("", "no JSON"), ("{}", "no record"), ("[]", "no JSON")] {
            let error = Kept::read(bad, None).expect_err(why).to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
