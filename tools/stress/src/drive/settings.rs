//! What an engine is told for a plan.
//!
//! Owns: the configuration, from what a plan says of connections, or from settings as a scenario file has them. Never: starts one.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringpool::config::{Config, UpstreamConfig};
use serde_json::{Map, Value};

use super::{UPSTREAM, upstream_at};
use crate::load::{DriveError, LoadPlan};

/// The engine's own limit on `dials_max`.
const DIALS_MAX: u32 = 1 << 16;

/// The engine that the plan asks for, and the request target.
pub(super) fn configure(plan: &LoadPlan) -> Result<(Config, Arc<str>), DriveError> {
    let uri: http::Uri = plan.url.parse().map_err(DriveError::broken)?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(DriveError::broken("the URL is not absolute"));
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let origin = format!("{scheme}://{authority}");
    let base = upstream_at(&origin, plan.ca.as_deref())?;
    let target = match &plan.traffic.settings {
        None => of_connections(plan, base),
        Some(settings) => with(base, settings).map_err(DriveError::broken)?,
    };
    let mut upstreams = BTreeMap::from([(UPSTREAM.to_owned(), target)]);
    for other in &plan.traffic.others {
        let base = upstream_at(&other.url, other.ca.as_deref())?;
        let settings = with(base, &other.settings).map_err(DriveError::broken)?;
        upstreams.insert(other.name.clone(), settings);
    }
    let connections = upstreams.values().map(|one| one.connections_max).sum();
    let callers = plan.traffic.callers.unwrap_or(plan.connections);
    let defaults = Config::default();
    let config = Config {
        shards: plan.shards,
        connections_max: defaults.connections_max.max(connections),
        mailbox_max: defaults.mailbox_max.max(callers),
        upstreams,
        ..defaults
    };
    Ok((config, path.into()))
}

/// What the plan makes of its connections.
fn of_connections(plan: &LoadPlan, base: UpstreamConfig) -> UpstreamConfig {
    let connections = u32::try_from(plan.connections).unwrap_or(u32::MAX);
    let callers = plan.traffic.callers.unwrap_or(plan.connections);
    let mut target = UpstreamConfig {
        connections_max: connections * if plan.warm { 1 } else { 2 },
        idle_min: if plan.reuse && plan.warm {
            connections
        } else {
            0
        },
        // Without reuse we close first, and each local port rests in TIME_WAIT. On loopback the
        // kernel gives it back after a second (tcp_tw_reuse = 2, the default), which is enough for
        // some 28,000 connections a second; to other hosts ports may run out, as kind `dial`.
        uses_max: if plan.reuse { None } else { Some(1) },
        // A load is to measure the peer's limits, not ours.
        age_max: None,
        waiters_max: u32::try_from(callers).unwrap_or(u32::MAX),
        dials_max: connections.min(DIALS_MAX),
        ..base
    };
    target.tls.resumption = plan.resume;
    target
}

/// The names of the upstreams, the plan's own first.
pub(super) fn names(plan: &LoadPlan) -> Arc<[String]> {
    let others = plan.traffic.others.iter().map(|other| other.name.clone());
    std::iter::once(UPSTREAM.to_owned()).chain(others).collect()
}

/// Whether the engine knows this setting of an upstream, and takes this value.
pub(crate) fn check(key: &str, value: &Value) -> Result<(), String> {
    let settings = Map::from_iter([(key.to_owned(), value.clone())]);
    with(UpstreamConfig::default(), &settings).map(drop)
}

/// `base` with these settings, as a configuration file would have them.
fn with(base: UpstreamConfig, settings: &Map<String, Value>) -> Result<UpstreamConfig, String> {
    let mut whole = serde_json::to_value(base).map_err(|e| e.to_string())?;
    for (key, value) in settings {
        lay_over(&mut whole[key.as_str()], value);
    }
    serde_json::from_value(whole).map_err(|e| e.to_string())
}

fn lay_over(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                lay_over(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn settings_are_those_of_the_engine() {
        for (key, value) in [
            ("connections_max", json!(8)),
            ("age_max", json!("2s")),
            ("age_max", json!("off")),
            ("shed", json!({ "sojourn_target": "off" })),
            ("endpoints", json!(["127.0.0.1:1", "127.0.0.1:2"])),
        ] {
            assert_eq!(check(key, &value), Ok(()), "{key}");
        }
        for (key, value) in [
            ("connection_max", json!(8)),
            ("connections_max", json!("many")),
            ("shed", json!({ "sojourn": "1s" })),
            ("age_max", json!("5")),
        ] {
            assert!(check(key, &value).is_err(), "{key}");
        }
    }

    #[test]
    fn what_is_not_said_stays_as_it_was() {
        let base = UpstreamConfig::default();
        let over = json!({ "shed": { "sojourn_target": "off" } });
        let laid = with(base.clone(), over.as_object().unwrap()).unwrap();
        assert_eq!(laid.shed.sojourn_target, None);
        assert_eq!(laid.shed.sojourn_interval, base.shed.sojourn_interval);
        assert_eq!(with(base.clone(), &Map::new()), Ok(base));
    }
}
