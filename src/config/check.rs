//! Finds every mistake in a configuration, not the first only.
//!
//! Owns: what the engine's own settings may be, and what all upstreams take together. `upstream` has those of each.

mod mistakes;
mod upstream;

use super::{Config, UpstreamConfig};
use crate::error::Error;
use mistakes::Mistakes;
use std::time::Duration;
use upstream::upstream;

/// A sleep that may last longer is better slept.
const SPIN_MAX: Duration = Duration::from_millis(1);

pub(super) fn config(config: &Config) -> Result<(), Error> {
    let mut mistakes = Mistakes::default();
    mistakes.range("shards", config.shards as u64, 0, 1024);
    mistakes.range("connections_max", config.connections_max.into(), 1, 1 << 24);
    mistakes.range("upstreams_max", config.upstreams_max as u64, 1, 1 << 20);
    mistakes.range("mailbox_max", config.mailbox_max as u64, 1, 1 << 20);
    mistakes.range("restarts_max", config.restarts_max.into(), 0, 1000);
    mistakes.range("ring_entries", config.ring_entries.into(), 8, 32_768);
    mistakes.range("receive_buffers", config.receive_buffers.into(), 2, 32_768);
    if !config.receive_buffers.is_power_of_two() {
        mistakes.add(
            "receive_buffers",
            format!("is {}, not a power of two", config.receive_buffers),
        );
    }
    mistakes.range(
        "receive_buffer_size",
        config.receive_buffer_size.into(),
        1024,
        1 << 20,
    );
    let most = config.receive_buffers / 2;
    mistakes.range(
        "receive_buffers_per_connection",
        config.receive_buffers_per_connection.into(),
        1,
        most.max(1).into(),
    );
    mistakes.not_zero(&[
        ("reload_interval", config.reload_interval),
        ("spin", config.spin),
    ]);
    if config.spin.is_some_and(|spin| spin > SPIN_MAX) {
        mistakes.add("spin", format!("is longer than {SPIN_MAX:?}"));
    }
    mistakes.range("audit.queue_max", config.audit.queue_max as u64, 1, 1 << 24);
    mistakes.prefix = "defaults.".into();
    upstream(&config.defaults, config, &mut mistakes);
    if config.defaults.connections_reserved > 0 {
        mistakes.add("connections_reserved", "is for named upstreams only".into());
    }
    if !config.defaults.endpoints.is_empty() {
        mistakes.add("endpoints", "is for named upstreams only".into());
    }
    if config.defaults.critical_reserved > 0 {
        mistakes.add("critical_reserved", "is for named upstreams only".into());
    }
    mistakes.prefix = String::new();
    reserves(config, &mut mistakes);
    for (name, settings) in &config.upstreams {
        if name.is_empty() {
            mistakes.prefix = String::new();
            mistakes.add("upstreams", "has one with an empty name".into());
        }
        mistakes.prefix = format!("upstreams.{name}.");
        upstream(settings, config, &mut mistakes);
        access(settings, config, &mut mistakes);
    }
    mistakes.into_result()
}

/// Where a named upstream is has to be a place that the engine may connect to, as far as that can be known.
fn access(settings: &UpstreamConfig, config: &Config, mistakes: &mut Mistakes) {
    let field = match settings.endpoints.is_empty() {
        true => "url",
        false => "endpoints",
    };
    for denied in config.access.judge_upstream(settings) {
        mistakes.add(field, format!("may not be connected to: {denied}"));
    }
}

/// What is reserved within the engine has to leave every upstream something: a caller for whom nothing
/// can ever come free would wait to no end.
fn reserves(config: &Config, mistakes: &mut Mistakes) {
    let taken = |settings: &UpstreamConfig| {
        let reserved = settings.connections_reserved;
        u64::from(reserved.max(settings.critical_reserved))
    };
    let reserved: u64 = config.upstreams.values().map(taken).sum();
    let max = u64::from(config.connections_max);
    if reserved > max {
        mistakes.add(
            "connections_max",
            format!(
                "is below what the upstreams' connections_reserved and critical_reserved add up to, {reserved}"
            ),
        );
        return;
    }
    let has_none = |settings: &UpstreamConfig| {
        reserved == max && settings.connections_reserved <= settings.critical_reserved
    };
    for (name, _) in config.upstreams.iter().filter(|(_, s)| has_none(s)) {
        mistakes.add(
            "connections_max",
            format!(
                "leaves nothing for {name}: all of it is reserved for others or critical calls"
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn defaults_are_valid() {
        config(&Config::default()).unwrap();
    }

    #[test]
    fn all_mistakes_are_listed() {
        let mut wrong = Config {
            receive_buffers: 100,
            ..Config::default()
        };
        let mut users = UpstreamConfig::at("https://users").unwrap();
        users.connections_max = 0;
        users.uses_max = Some(0);
        users.keepalive.count = 200;
        users.critical_reserved = 3;
        users.warm.forecast_margin = f64::NAN;
        users.breaker.ejection_max = Duration::from_millis(1);
        users.retry.attempts_max = 0;
        users.attempt.timeout_min = Some(Duration::ZERO);
        users.endpoints = vec!["10.0.0.1:80".parse().unwrap(); 2];
        wrong.upstreams.insert("users".into(), users);
        let error = config(&wrong).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        for part in [
            "receive_buffers is 100",
            "users.connections_max",
            "users.uses_max",
            "users.keepalive.count",
            "users.critical_reserved",
            "users.idle_min",
            "users.warm.forecast_margin",
            "users.breaker.ejection_max is below breaker.ejection_min",
            "users.retry.attempts_max",
            "users.attempt.timeout_min",
            "users.endpoints has 10.0.0.1:80 twice",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn trace_context_needs_its_feature() {
        let mut traced = Config::default();
        let mut users = UpstreamConfig::at("https://users").unwrap();
        users.trace_context = true;
        traced.upstreams.insert("users".into(), users);
        if cfg!(feature = "opentelemetry") {
            config(&traced).unwrap();
        } else {
            let text = config(&traced).unwrap_err().to_string();
            let part = "users.trace_context needs the feature opentelemetry";
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn what_is_reserved_leaves_every_upstream_something() {
        let with = |max: u32, reserves: &[(u32, u32)]| {
            let mut whole = Config {
                connections_max: max,
                ..Config::default()
            };
            for (index, &(own, critical)) in reserves.iter().enumerate() {
                let mut settings = UpstreamConfig::at("http://users").unwrap();
                (settings.connections_reserved, settings.critical_reserved) = (own, critical);
                whole.upstreams.insert(format!("up{index}"), settings);
            }
            config(&whole).map_err(|error| error.to_string())
        };
        with(4, &[(2, 1), (2, 0)]).unwrap();
        with(4, &[(0, 3), (0, 0)]).unwrap();
        let over = with(4, &[(3, 0), (0, 2)]).unwrap_err();
        assert!(over.contains("add up to, 5"), "{over}");
        let starved = with(4, &[(2, 2), (2, 0)]).unwrap_err();
        assert!(starved.contains("leaves nothing for up0"), "{starved}");
        let starved = with(3, &[(0, 3), (0, 0)]).unwrap_err();
        assert!(
            starved.contains("up0") && starved.contains("up1"),
            "{starved}"
        );
    }

    #[test]
    fn a_file_names_only_what_differs_and_nothing_unknown() {
        let text = r#"{"upstreams":{"users":{"url":"https://users:8443","idle_timeout":"off","call_timeout":"2s"}}}"#;
        let read: Config = serde_json::from_str(text).unwrap();
        let users = &read.upstreams["users"];
        assert_eq!(users.idle_timeout, None);
        assert_eq!(users.call_timeout, Duration::from_secs(2));
        assert_eq!(users.age_max, UpstreamConfig::default().age_max);
        let again: Config = serde_json::from_str(&serde_json::to_string(&read).unwrap()).unwrap();
        assert_eq!(again, read);
        assert!(serde_json::from_str::<Config>(r#"{"shard":1}"#).is_err());
        assert!(serde_json::from_str::<Config>(r#"{"defaults":{"uses_max":"none"}}"#).is_err());
    }
}
