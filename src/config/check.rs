//! Finds every mistake in a configuration, not the first only.

use super::{Config, UpstreamConfig};
use crate::error::{Error, ErrorKind};
use std::time::Duration;

/// A sleep that may last longer is better slept.
const SPIN_MAX: Duration = Duration::from_millis(1);

pub(super) fn config(config: &Config) -> Result<(), Error> {
    let mut mistakes = Mistakes {
        prefix: String::new(),
        found: Vec::new(),
    };
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

fn upstream(settings: &UpstreamConfig, config: &Config, mistakes: &mut Mistakes) {
    mistakes.range(
        "connections_max",
        settings.connections_max.into(),
        1,
        1 << 24,
    );
    mistakes.range(
        "idle_min",
        settings.idle_min.into(),
        0,
        settings.connections_max.into(),
    );
    if settings.idle_min > config.connections_max {
        mistakes.add(
            "idle_min",
            format!(
                "is over the engine's connections_max, {}",
                config.connections_max
            ),
        );
    }
    mistakes.range(
        "connections_reserved",
        settings.connections_reserved.into(),
        0,
        settings.connections_max.into(),
    );
    mistakes.range(
        "critical_reserved",
        settings.critical_reserved.into(),
        0,
        settings.connections_max.saturating_sub(1).into(),
    );
    if u64::from(settings.idle_min) + u64::from(settings.critical_reserved)
        > settings.connections_max.into()
    {
        mistakes.add(
            "idle_min",
            "and critical_reserved together are over connections_max".into(),
        );
    }
    mistakes.range("waiters_max", settings.waiters_max.into(), 0, 1 << 24);
    mistakes.range("dials_max", settings.dials_max.into(), 1, 1 << 16);
    if settings.uses_max == Some(0) {
        mistakes.add("uses_max", "is 0; write \"off\" for no limit".into());
    }
    mistakes.not_zero(&[
        ("idle_timeout", settings.idle_timeout),
        ("age_max", settings.age_max),
        ("user_timeout", settings.user_timeout),
        ("keepalive.idle", settings.keepalive.idle),
        ("wait_timeout", Some(settings.wait_timeout)),
        ("dial_timeout", Some(settings.dial_timeout)),
        ("call_timeout", Some(settings.call_timeout)),
        ("dial_backoff_min", Some(settings.dial_backoff_min)),
        ("continue_timeout", Some(settings.continue_timeout)),
        ("keepalive.interval", Some(settings.keepalive.interval)),
        ("drain_timeout", Some(settings.drain_timeout)),
    ]);
    if settings.dial_backoff_max < settings.dial_backoff_min {
        mistakes.add("dial_backoff_max", "is below dial_backoff_min".into());
    }
    // The kernel counts keepalive in whole seconds up to 32,767 and 127 probes (tcp(7)).
    let second = Duration::from_secs(1);
    let most = Duration::from_secs(32_767);
    for (name, value) in [
        ("keepalive.idle", settings.keepalive.idle),
        ("keepalive.interval", Some(settings.keepalive.interval)),
    ] {
        if value.is_some_and(|value| value < second || value > most) {
            mistakes.add(
                name,
                "is outside of 1s to 32767s, which the kernel takes".into(),
            );
        }
    }
    policy(settings, mistakes);
    mistakes.range("keepalive.count", settings.keepalive.count.into(), 1, 127);
    mistakes.range(
        "head_bytes_max",
        settings.head_bytes_max as u64,
        256,
        1 << 24,
    );
    mistakes.range("headers_max", settings.headers_max as u64, 1, 256);
    mistakes.range(
        "informational_max",
        settings.informational_max.into(),
        0,
        1 << 16,
    );
    if settings.trace_context && !cfg!(feature = "opentelemetry") {
        let what = "needs the feature opentelemetry, which this build does not have";
        mistakes.add("trace_context", what.into());
    }
    if settings
        .tls
        .alpn
        .iter()
        .any(|name| name.is_empty() || name.len() > 255)
    {
        mistakes.add("tls.alpn", "has a name that is not 1 to 255 bytes".into());
    }
    for (field, value) in [
        ("tls.verified_max", settings.tls.verified_max),
        (
            "tls.ticket_lifetime_max",
            Some(settings.tls.ticket_lifetime_max),
        ),
    ] {
        if value.is_some_and(|value| value < Duration::from_secs(1)) {
            mistakes.add(field, "is less than a second".into());
        }
    }
}

/// The nested parts of an upstream's policy.
fn policy(settings: &UpstreamConfig, mistakes: &mut Mistakes) {
    let (shed, warm, breaker) = (&settings.shed, &settings.warm, &settings.breaker);
    let (retry, attempt, balance) = (&settings.retry, &settings.attempt, &settings.balance);
    mistakes.not_zero(&[
        ("shed.sojourn_target", shed.sojourn_target),
        ("shed.sojourn_interval", Some(shed.sojourn_interval)),
        ("warm.purge_interval", warm.purge_interval),
        ("breaker.window", Some(breaker.window)),
        ("breaker.ejection_min", Some(breaker.ejection_min)),
        ("retry.backoff_min", Some(retry.backoff_min)),
        ("attempt.timeout_min", attempt.timeout_min),
        ("attempt.timeout_max", attempt.timeout_max),
        ("balance.latency_decay", Some(balance.latency_decay)),
        ("balance.slow_start", balance.slow_start),
        ("sharing.lag_max", Some(settings.sharing.lag_max)),
    ]);
    for (least, most, least_value, most_value) in [
        (
            "shed.sojourn_target",
            "shed.sojourn_interval",
            shed.sojourn_target.unwrap_or_default(),
            shed.sojourn_interval,
        ),
        (
            "breaker.ejection_min",
            "breaker.ejection_max",
            breaker.ejection_min,
            breaker.ejection_max,
        ),
        (
            "retry.backoff_min",
            "retry.backoff_max",
            retry.backoff_min,
            retry.backoff_max,
        ),
        (
            "attempt.timeout_min",
            "attempt.timeout_max",
            attempt.timeout_min.unwrap_or_default(),
            attempt.timeout_max.unwrap_or(Duration::MAX),
        ),
    ] {
        if most_value < least_value {
            mistakes.add(most, format!("is below {least}"));
        }
    }
    mistakes.range(
        "warm.dials_per_second",
        warm.dials_per_second.into(),
        1,
        1 << 20,
    );
    mistakes.range(
        "warm.forecast_max",
        warm.forecast_max.into(),
        0,
        settings.connections_max.into(),
    );
    mistakes.share("warm.forecast_margin", warm.forecast_margin, 0.0, 100.0);
    mistakes.range(
        "breaker.failures_max",
        breaker.failures_max.into(),
        1,
        1 << 20,
    );
    mistakes.share(
        "breaker.failure_share_max",
        breaker.failure_share_max,
        0.0,
        1.0,
    );
    mistakes.range("breaker.calls_min", breaker.calls_min.into(), 1, 1 << 20);
    mistakes.share(
        "breaker.ejected_share_max",
        breaker.ejected_share_max,
        0.0,
        1.0,
    );
    mistakes.range("breaker.trials_max", breaker.trials_max.into(), 1, 1 << 16);
    mistakes.range("retry.attempts_max", retry.attempts_max.into(), 1, 100);
    mistakes.share("retry.budget_share", retry.budget_share, 0.0, 10.0);
    mistakes.range(
        "retry.budget_per_second",
        retry.budget_per_second.into(),
        0,
        1 << 20,
    );
    mistakes.share("attempt.multiple", attempt.multiple, 1.0, 1000.0);
    if settings.sharing.homes_max == Some(0) {
        mistakes.add(
            "sharing.homes_max",
            "is 0; write \"off\" for no limit".into(),
        );
    }
    if settings.url.path().is_some() && !settings.endpoints.is_empty() {
        mistakes.add("endpoints", "do not go with the URL of a socket".into());
    }
    let mut seen = std::collections::HashSet::new();
    for endpoint in &settings.endpoints {
        if !seen.insert(endpoint) {
            mistakes.add("endpoints", format!("has {endpoint} twice"));
        }
    }
}

struct Mistakes {
    prefix: String,
    found: Vec<String>,
}

impl Mistakes {
    fn add(&mut self, field: &str, what: String) {
        self.found.push(format!("{}{field} {what}", self.prefix));
    }

    fn not_zero(&mut self, fields: &[(&str, Option<Duration>)]) {
        for (field, value) in fields {
            if *value == Some(Duration::ZERO) {
                self.add(field, "is 0".into());
            }
        }
    }

    fn range(&mut self, field: &str, value: u64, least: u64, most: u64) {
        if value < least || value > most {
            self.add(field, format!("is {value}, outside of {least} to {most}"));
        }
    }

    fn share(&mut self, field: &str, value: f64, least: f64, most: f64) {
        if !(least..=most).contains(&value) {
            self.add(field, format!("is {value}, outside of {least} to {most}"));
        }
    }

    fn into_result(self) -> Result<(), Error> {
        if self.found.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Config, self.found.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
