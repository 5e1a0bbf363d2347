//! Mistakes in the settings of an upstream.
//!
//! Owns: what each of its settings may be, by itself and beside the others. Never: looks at another upstream.

use super::mistakes::Mistakes;
use crate::config::{Config, UpstreamConfig};
use std::time::Duration;

/// The settings of one upstream, or the defaults for those that have none of their own.
pub(super) fn upstream(settings: &UpstreamConfig, config: &Config, mistakes: &mut Mistakes) {
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
