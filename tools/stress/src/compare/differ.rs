//! What differs between runs beside the build.
//!
//! Owns what of a plan and of a host makes runs comparable: all of both, but for what is named here. Never: forgives.

use std::collections::{BTreeMap, BTreeSet};

use http::Uri;
use serde_json::Value;

use crate::record::Kept;

/// What of a host may differ without a word: the moment, and what was going on then.
const MOMENT: [&str; 2] = ["date", "load_before"];
/// The share of a run's requests that may end after it without a word.
const LATE_MAX: f64 = 0.01;
/// What is not told by a run of an older version.
const UNTOLD: &str = "unknown";

/// All that makes the runs hard to compare, each in words.
pub(super) fn notes(runs: &[&Kept]) -> Vec<String> {
    let mut notes = Vec::new();
    for (nth, run) in runs.iter().enumerate() {
        let name = format!("run {} ({})", nth + 1, run.command);
        for why in &run.result.invalid {
            notes.push(format!("{name} is INVALID: {why}"));
        }
        if run.result.interrupted {
            notes.push(format!("{name} was interrupted"));
        }
        let late = run.result.series.late.as_ref();
        let late = late.map_or(0, |late| late.ended_total());
        let all = run.result.ok + run.result.failed_total();
        if late as f64 > all as f64 * LATE_MAX {
            notes.push(format!(
                "{name}: {late} of {all} requests ended after the window: they are in the percentiles of the run, and in no block"
            ));
        }
    }
    differences(&mut notes, "the plans", runs.iter().map(|run| plan(run)));
    differences(&mut notes, "the hosts", runs.iter().map(|run| host(run)));
    notes.dedup();
    notes
}

/// Names each fact that is not the same in all.
fn differences(
    notes: &mut Vec<String>,
    what: &str,
    all: impl Iterator<Item = BTreeMap<String, String>>,
) {
    let all: Vec<_> = all.collect();
    let keys: BTreeSet<&String> = all.iter().flat_map(BTreeMap::keys).collect();
    for key in keys {
        let values = all
            .iter()
            .map(|one| one.get(key).map_or(UNTOLD, String::as_str));
        let values: BTreeSet<&str> = values.collect();
        if values.len() > 1 {
            let values: Vec<&str> = values.into_iter().collect();
            notes.push(format!("{what} differ in {key}: {}", values.join(" and ")));
        }
    }
}

/// All that was asked for, but for where the server was.
fn plan(run: &Kept) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    leaves("", &run.plan, &mut facts);
    for value in facts.iter_mut().filter(|(key, _)| key.ends_with("url")) {
        *value.1 = without_place(value.1);
    }
    // Those who carried it out.
    facts.insert("agents".to_owned(), run.result.members.len().to_string());
    facts
}

fn host(run: &Kept) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    leaves("", &run.host, &mut facts);
    facts.retain(|key, _| !MOMENT.iter().any(|moment| key.starts_with(moment)));
    facts
}

/// Scheme, path and query of a URL: the server may have moved, but must be asked the same in the same way.
fn without_place(url: &str) -> String {
    let Ok(uri) = url.parse::<Uri>() else {
        return url.to_owned();
    };
    let scheme = uri.scheme_str().unwrap_or_default();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    format!("{scheme}:{path}")
}

/// The leaves of a JSON value, by their path.
fn leaves(path: &str, value: &Value, facts: &mut BTreeMap<String, String>) {
    let below = |key: &str| match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    };
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                leaves(&below(key), value, facts);
            }
        }
        Value::Array(all) => {
            for (nth, value) in all.iter().enumerate() {
                leaves(&below(&nth.to_string()), value, facts);
            }
        }
        Value::String(text) => {
            facts.insert(path.to_owned(), text.clone());
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            facts.insert(path.to_owned(), value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::LoadResult;
    use crate::series::Sample;
    use serde_json::json;

    fn kept(plan: Value, host: Value) -> Kept {
        Kept {
            title: "run".to_owned(),
            result: LoadResult::default(),
            plan,
            command: "stress run".to_owned(),
            host,
        }
    }

    #[test]
    fn where_and_when_may_differ_and_nothing_else() {
        let plan = |url: &str| json!({ "url": url, "rate": 1.0, "settings": { "a": [1] } });
        let host = |date: &str| json!({ "kernel": "6.1", "date": date, "load_before": date });
        let a = kept(plan("http://a:1/x?size=1"), host("1"));
        let b = kept(plan("http://b/x?size=1"), host("2"));
        assert!(notes(&[&a, &b]).is_empty(), "{:?}", notes(&[&a, &b]));
        let mut other = kept(
            json!({ "url": "https://a:1/x?size=2", "rate": 2.0, "settings": { "a": [2] }, "seed": 7 }),
            json!({ "kernel": "6.2", "boost": true }),
        );
        other.result.invalid.push("late".to_owned());
        other.result.interrupted = true;
        assert_eq!(
            notes(&[&a, &a, &other]),
            [
                "run 3 (stress run) is INVALID: late",
                "run 3 (stress run) was interrupted",
                "the plans differ in rate: 1.0 and 2.0",
                "the plans differ in seed: 7 and unknown",
                "the plans differ in settings.a.0: 1 and 2",
                "the plans differ in url: http:/x?size=1 and https:/x?size=2",
                "the hosts differ in boost: true and unknown",
                "the hosts differ in kernel: 6.1 and 6.2",
            ]
        );
    }

    #[test]
    fn what_ended_after_the_window_is_told() {
        let mut run = kept(json!({}), json!({}));
        run.result.ok = 100;
        let late = |ok| {
            Some(Sample {
                ok,
                ..Sample::default()
            })
        };
        run.result.series.late = late(1);
        assert!(notes(&[&run]).is_empty());
        run.result.series.late = late(5);
        assert!(notes(&[&run])[0].contains("5 of 100 requests ended after the window"));
    }

    #[test]
    fn all_that_a_plan_tells_is_compared() {
        use crate::traffic::{CallPlan, Traffic};
        use crate::words::Spread;
        let plan = |change: &dyn Fn(&mut Traffic)| {
            let mut phase = crate::report::tests::phase("run", "", 10);
            change(&mut phase.plan.traffic);
            let view = crate::report::tests::view(&phase);
            kept(view.plan.clone(), json!({}))
        };
        let call = CallPlan::get("/");
        let calls =
            |call: CallPlan| move |traffic: &mut Traffic| traffic.calls = vec![call.clone()];
        let base = plan(&calls(call.clone()));
        let size = CallPlan {
            size: Spread::of_sizes("4KiB").ok(),
            ..call.clone()
        };
        let upload = CallPlan {
            upload: Spread::of_sizes("1KiB").ok(),
            ..call.clone()
        };
        let churn = CallPlan {
            close: 0.5,
            ..call.clone()
        };
        let path = CallPlan {
            path: "/other".to_owned(),
            ..call
        };
        for (changed, key) in [
            (size, "calls.0.size"),
            (upload, "calls.0.upload"),
            (churn, "calls.0.churn"),
            (path, "calls.0.path"),
        ] {
            let told = notes(&[&base, &plan(&calls(changed))]);
            assert!(told.len() == 1 && told[0].contains(key), "{key}: {told:?}");
        }
        let seed = plan(&|traffic| (traffic.seed, traffic.calls) = (7, vec![CallPlan::get("/")]));
        assert_eq!(
            notes(&[&base, &seed]),
            ["the plans differ in seed: 1 and 7"]
        );
    }
}
