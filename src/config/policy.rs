//! The parts of an upstream's policy that go together.

use super::serial;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// When callers who wait are sent away before their time is over.
///
/// As in CoDel (Nichols and Jacobson, 2012; RFC 8289): a queue that drains again and again is a
/// burst and does no harm; one in which everybody waits longer than the target during a whole interval
/// only adds delay. Then whoever has waited longer than the target is shed. Classes are looked at
/// one by one, and since the higher ones are served first it is always the lowest that is hit first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShedConfig {
    /// How long callers may wait under sustained overload; at least one hold time is always allowed. Default 100 ms: a cold start with slow TLS
    /// handshakes stays below it, and people do not feel it. Smaller sheds sooner and keeps latency
    /// low; `"off"` lets everyone wait for `wait_timeout`.
    #[serde(with = "serial::duration_or_off")]
    pub sojourn_target: Option<Duration>,
    /// How long every wait has to be over the target before anyone is shed. Default 500 ms: five times
    /// the target, so that a burst passes. Smaller reacts sooner and sheds in bursts too.
    #[serde(with = "serial::duration")]
    pub sojourn_interval: Duration,
}

impl Default for ShedConfig {
    fn default() -> ShedConfig {
        ShedConfig {
            sojourn_target: Some(Duration::from_millis(100)),
            sojourn_interval: Duration::from_millis(500),
        }
    }
}

/// How connections are made ahead of demand, and given up after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WarmConfig {
    /// How many warm connections one shard dials in a second, in random steps, beyond a first batch
    /// of `dials_max`. Default 50: a floor of 64 is back within a second, and a backend that has
    /// just restarted is not met by every client's whole floor at once. More is warm sooner; fewer
    /// is kinder where there are many clients.
    pub dials_per_second: u32,
    /// The most connections that one shard keeps warm beyond `idle_min` because it expects them to
    /// be needed: the ceiling of the forecast. Default 0, no forecast: warmth costs the backend
    /// something, so it is asked for. Set it to what a shard may use at its busiest: rising load
    /// then finds connections open, and the backend holds more idle ones.
    pub forecast_max: u32,
    /// How much more than the mean the forecast provides for, in standard deviations: arrivals λ
    /// and hold time h need λh connections on average (Little, 1961), and if arrivals are random λh
    /// plus margin × √(λh) most of the time. Default 2: enough for 97 % of moments. Fewer saves
    /// idle connections and makes more calls wait for a dial.
    pub forecast_margin: f64,
    /// How often surplus connections are given up: half of those that the recent peak (six
    /// intervals) did not need, never below `idle_min`. Default 5 s, as HAProxy has it: what a
    /// burst left behind goes in steps within a minute, not all at once. Shorter frees the backend
    /// sooner, and dials more if bursts come again; `"off"` leaves it to `idle_timeout`.
    #[serde(with = "serial::duration_or_off")]
    pub purge_interval: Option<Duration>,
}

impl Default for WarmConfig {
    fn default() -> WarmConfig {
        WarmConfig {
            dials_per_second: 50,
            forecast_max: 0,
            forecast_margin: 2.0,
            purge_interval: Some(Duration::from_secs(5)),
        }
    }
}

/// When an endpoint gets no more calls because it fails. Each shard judges by what it sees itself.
///
/// Two kinds of failure are told apart. An endpoint that *cannot be connected to* gets no dials but one on
/// trial every `dial_backoff_max` or less, made in the background, until one succeeds. One that *connects and
/// then fails* (a call closed, timed out, garbled, or answered by 502, 503 or 504) is ejected for
/// a time that grows, and then tried with a few calls. A call that its caller gave less time than the
/// upstream's own settings do (`call_timeout`, `attempt`) is not held against the endpoint when that time is over:
/// callers in a hurry eject nobody. Where no endpoint is left, calls are refused at once with
/// [`Breaker`](crate::ErrorKind::Breaker).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerConfig {
    /// Whether endpoints are judged at all. Default true: without it a dead backend holds every
    /// caller for as long as it may wait.
    pub enabled: bool,
    /// So many failed calls in a row eject an endpoint, and so many failed dials in a row make it
    /// unreachable. Default 5 (Finagle, Envoy): fewer trip on a deploy, more hurt more callers. A
    /// call counts once at an endpoint, however many of its attempts failed there: two calls that
    /// no server survives are no reason to eject it. Dials count each, whoever they are for: there
    /// are pauses between them, so that five in a row take some 100 ms, and an endpoint back sooner
    /// than it seemed is found by the next dial on trial, within `dial_backoff_max`.
    pub failures_max: u32,
    /// The share of failures within `window` that ejects an endpoint, 0 to 1. Default 0.5: a backend
    /// that fails every second call is of little use; smaller ejects on partial trouble.
    pub failure_share_max: f64,
    /// The window in which shares are counted. Default 10 s: long enough for a judgement at a few
    /// calls a second, short enough to forget. Longer judges by more calls, and ejects and forgives
    /// later.
    #[serde(with = "serial::duration")]
    pub window: Duration,
    /// With fewer calls than this in the window its share is not looked at. Default 20: of fewer
    /// the share is noise, and one bad moment would eject. A higher one leaves quiet upstreams to
    /// `failures_max` alone.
    pub calls_min: u32,
    /// How long a first ejection lasts; doubles with each further one, and is shortened by up to
    /// half at random. Default 5 s (Finagle): a restart is over by then, more often than not.
    /// Shorter has it back sooner, and more calls fail on one that is still broken.
    #[serde(with = "serial::duration")]
    pub ejection_min: Duration,
    /// The longest ejection. Default 300 s (Finagle, Envoy): a backend that keeps failing costs a
    /// few calls every five minutes. Longer costs fewer of them, and finds one that was mended
    /// later.
    #[serde(with = "serial::duration")]
    pub ejection_max: Duration,
    /// The largest share of an upstream's endpoints that is ejected at once, though always one may
    /// be. Default 0.5: if most fail, the fault is likely elsewhere, and those left would drown.
    /// Larger spares callers more failing endpoints, at that risk; 0 leaves it at one.
    pub ejected_share_max: f64,
    /// How many calls at once try an endpoint after its ejection, and so many successes end it.
    /// Default 3: one could be luck, more would hurt if it still fails.
    pub trials_max: u32,
}

impl Default for BreakerConfig {
    fn default() -> BreakerConfig {
        BreakerConfig {
            enabled: true,
            failures_max: 5,
            failure_share_max: 0.5,
            window: Duration::from_secs(10),
            calls_min: 20,
            ejection_min: Duration::from_secs(5),
            ejection_max: Duration::from_secs(300),
            ejected_share_max: 0.5,
            trials_max: 3,
        }
    }
}

/// When a call is tried again.
///
/// Only if that is safe: the method is idempotent (RFC 9110 §9.2.2), or provably nothing of the request
/// was processed; only if its body can be sent again; and only within the call's one deadline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryConfig {
    /// The most attempts, the first one included. Default 3: two endpoints may fail in a row, and a
    /// call that failed three times is likely to fail again. More multiplies the load on what is
    /// failing; 1 turns retries off.
    pub attempts_max: u32,
    /// Retries may be this share of the calls of the last 10 s. Default 0.2 (Finagle): under a
    /// partial failure they help, under a full one they add a fifth to the load and not a multiple.
    /// More helps where more calls fail, and costs a failing backend as much more.
    pub budget_share: f64,
    /// So many retries a second are allowed however few the calls. Default 10 (Finagle), per shard:
    /// where calls are few, a share of them would be less than one retry, and what so few add harms
    /// no backend. Set it to 0 to have the share alone; more matters where many clients are quiet.
    pub budget_per_second: u32,
    /// The pause before a first or second retry; doubles with each further one, each shortened by
    /// up to all of it at random ("full jitter"). The first retry after a connection found closed
    /// has none. Default 10 ms: callers hardly feel it, and calls that failed together do not come
    /// back together. Longer outlasts longer hiccups, and takes more of the call's own time.
    #[serde(with = "serial::duration")]
    pub backoff_min: Duration,
    /// The longest pause. Default 1 s: a thirtieth of what a call may take, so that the pauses do
    /// not use its time up. It matters with many attempts alone; longer spreads those over a longer
    /// outage.
    #[serde(with = "serial::duration")]
    pub backoff_max: Duration,
}

impl Default for RetryConfig {
    fn default() -> RetryConfig {
        RetryConfig {
            attempts_max: 3,
            budget_share: 0.2,
            budget_per_second: 10,
            backoff_min: Duration::from_millis(10),
            backoff_max: Duration::from_secs(1),
        }
    }
}

/// How long one attempt may take, from its connection to the response's head: a multiple of what the
/// slowest hundredth of recent responses took, within bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttemptConfig {
    /// The shortest time limit that observation may lead to. Default `"off"`, attempts are bounded
    /// by `timeout_max` alone, if that is set: an upstream with a rare slow answer among many quick ones would find
    /// it cut off, so adapting is asked for. 1 s is a good beginning. Lower retries a stuck call
    /// sooner, and cuts off more that would have come.
    #[serde(with = "serial::duration_or_off")]
    pub timeout_min: Option<Duration>,
    /// The longest, in force until enough was observed. Default `"off"`: an attempt may take what
    /// is left of its call's own time, long or short, and is not cut off for want of knowledge. A
    /// limit leaves time in the call for another attempt, which a single slow one would use up;
    /// calls that may take longer than it are cut off by it too.
    #[serde(with = "serial::duration_or_off")]
    pub timeout_max: Option<Duration>,
    /// How many times the 99th percentile. Default 4: a tail within a factor of four of it is left
    /// alone. Lower cuts off sooner, good answers among them; higher waits longer for what is
    /// stuck.
    pub multiple: f64,
}

impl Default for AttemptConfig {
    fn default() -> AttemptConfig {
        AttemptConfig {
            timeout_min: None,
            timeout_max: None,
            multiple: 4.0,
        }
    }
}

/// How calls are spread over several endpoints: of two picked by chance the one with less outstanding work,
/// weighed by its latency (Mitzenmacher, "The power of two choices", 2001; the latency is a moving average
/// that jumps up at once and comes down slowly, Finagle's peak EWMA).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BalanceConfig {
    /// Over how long a slow answer is forgotten. Default 10 s (Finagle): shorter follows faster and
    /// swings more.
    #[serde(with = "serial::duration")]
    pub latency_decay: Duration,
    /// How long an endpoint that joins others, comes back from an ejection, or can be connected to
    /// again gets less than its share, rising steadily. Default 10 s: caches fill, compilers compile.
    /// Longer is kinder to it and harder on the others; `"off"` gives it its share at once.
    #[serde(with = "serial::duration_or_off")]
    pub slow_start: Option<Duration>,
}

impl Default for BalanceConfig {
    fn default() -> BalanceConfig {
        BalanceConfig {
            latency_decay: Duration::from_secs(10),
            slow_start: Some(Duration::from_secs(10)),
        }
    }
}
