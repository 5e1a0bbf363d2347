//! The metrics: one table, from which all that is written of them comes.
//!
//! Owns: names, units, kinds, labels and help. Never: a name that is not in the table.

use super::read::{Out, http, pools, shards};
use crate::client::snapshot::Snapshot;
use crate::stats::Durations;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, while the engine lives and, with a label of an upstream or endpoint, while that is told.
    Counter,
    /// It is as it is at the moment.
    Gauge,
    /// Durations, in buckets.
    Histogram,
}

impl Kind {
    /// As Prometheus writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Metric {
    /// Its name, as OpenTelemetry writes it: `ringpool.pool.acquires`.
    pub name: &'static str,
    /// Its unit, in UCUM: `s`, or `{connection}` where something is counted.
    pub unit: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels' names, as OpenTelemetry writes attributes.
    pub labels: &'static [&'static str],
    /// What it says, in a line.
    pub help: &'static str,
    read: fn(&Snapshot, &mut Out<'_>),
}

/// One value of a metric.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// In the order of the metric's [`labels`](Metric::labels); empty where a label says nothing.
    pub labels: &'a [&'a str],
    /// How much.
    pub value: Value<'a>,
}

/// How much of what is measured.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// A number of things.
    Count(u64),
    /// Seconds, or something else that is no whole number.
    Number(f64),
    /// Durations.
    Durations(&'a Durations),
}

impl Metric {
    /// Its name in Prometheus: with its unit and, where it counts, `_total` at the end.
    pub fn prometheus_name(&self) -> String {
        let mut name = self.prometheus_family();
        if self.kind == Kind::Counter {
            name.push_str("_total");
        }
        name
    }

    /// Its name in OpenMetrics, where samples alone have `_total`.
    pub fn prometheus_family(&self) -> String {
        let mut name = prometheus_label(self.name);
        if self.unit == "s" {
            name.push_str("_seconds");
        }
        name
    }

    /// Whether its values are whole numbers of things: else they are seconds, or shares of things.
    #[cfg(any(test, feature = "opentelemetry"))]
    pub(super) fn is_whole(&self) -> bool {
        self.unit != "s" && self.name != RETRY_BUDGET
    }

    /// Gives `to` each of its values, one for each set of labels.
    pub fn read(&self, snapshot: &Snapshot, to: &mut dyn FnMut(Sample<'_>)) {
        let mut checked = |sample: Sample<'_>| {
            debug_assert_eq!(sample.labels.len(), self.labels.len(), "{}", self.name);
            to(sample);
        };
        (self.read)(snapshot, &mut Out(&mut checked));
    }
}

impl std::fmt::Debug for Metric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metric")
            .field("name", &self.name)
            .field("unit", &self.unit)
            .field("kind", &self.kind)
            .field("labels", &self.labels)
            .finish_non_exhaustive()
    }
}

/// An attribute's name as a label's.
pub(super) fn prometheus_label(name: &str) -> String {
    name.replace('.', "_")
}

const fn metric(
    (name, unit, kind): (&'static str, &'static str, Kind),
    labels: &'static [&'static str],
    help: &'static str,
    read: fn(&Snapshot, &mut Out<'_>),
) -> Metric {
    Metric {
        name,
        unit,
        kind,
        labels,
        help,
        read,
    }
}

use Kind::{Counter, Gauge, Histogram};

/// It fills bit by bit.
const RETRY_BUDGET: &str = "ringpool.pool.retry_budget";

const UPSTREAM: &[&str] = &["upstream"];
const ENDPOINT: &[&str] = &["upstream", "endpoint"];
const SHARD: &[&str] = &["shard"];
/// As OpenTelemetry has them for a connection of an HTTP client; `upstream` beside them.
const PEER: &[&str] = &[
    "upstream",
    "server.address",
    "server.port",
    "network.peer.address",
    "network.peer.port",
    "url.scheme",
];
const PEER_STATE: &[&str] = &[
    "upstream",
    "server.address",
    "server.port",
    "network.peer.address",
    "network.peer.port",
    "url.scheme",
    "http.connection.state",
];
const REQUEST: &[&str] = &[
    "upstream",
    "server.address",
    "server.port",
    "url.scheme",
    "http.request.method",
    "http.response.status_code",
    "error.type",
    "otel.metric.overflow",
];

/// All of them, in the order in which they are written.
#[rustfmt::skip]
pub const METRICS: &[Metric] = &[
    metric(("http.client.request.duration", "s", Histogram), REQUEST,
        "Calls that ended: from the turn that took one up until its response's head or its error, over all attempts.",
        http::requests),
    metric(("http.client.open_connections", "{connection}", Gauge), PEER_STATE,
        "Open connections of HTTP upstreams, active or idle.", http::open_connections),
    metric(("http.client.connection.duration", "s", Histogram), PEER,
        "How long connections of HTTP upstreams were open that have ended.", http::lifetimes),
    metric(("dns.lookup.duration", "s", Histogram), &["upstream", "dns.question.name", "error.type"],
        "Look-ups of names; error.type is resolve where there was no address.", http::lookups),
    metric(("ringpool.dns.lookup_failures", "{lookup}", Counter), UPSTREAM,
        "Look-ups that failed: what was known before is used on.", http::lookups_failed),

    metric(("ringpool.pool.connections", "{connection}", Gauge), &["upstream", "state"],
        "Connections in each state.", pools::connections),
    metric(("ringpool.pool.connection.max", "{connection}", Gauge), UPSTREAM,
        "The most connections that there may be (connections_max).", pools::connections_max),
    metric(("ringpool.pool.connection.permits", "{connection}", Gauge), UPSTREAM,
        "Connections that count against that, in whatever state.", pools::permits),
    metric(("ringpool.pool.pending_requests", "{request}", Gauge), UPSTREAM,
        "Callers that wait for a connection.", pools::waiters),
    metric(("ringpool.pool.acquires", "{acquire}", Counter), &["upstream", "outcome"],
        "What became of those who asked for a connection.", pools::acquires),
    metric(("ringpool.pool.acquires_begun", "{acquire}", Counter), UPSTREAM,
        "Times that somebody asked for a connection: each attempt of a call, and each checkout.", pools::acquires_begun),
    metric(("ringpool.pool.stale_grants", "{connection}", Counter), UPSTREAM,
        "Connections that had gone bad when those looked who got them, and asked again.", pools::stale_grants),
    metric(("ringpool.pool.connection.wait_time", "s", Histogram), UPSTREAM,
        "How long those waited for a connection who were queued, whatever came of it.", pools::waits),
    metric(("ringpool.pool.connection.create_time", "s", Histogram), UPSTREAM,
        "How long connections took to be made, look-up and TLS included.", pools::create_times),
    metric(("ringpool.pool.connection.phase_time", "s", Histogram), &["upstream", "phase"],
        "How long parts of that took: tcp, tls_full, tls_resumed. Its count is that of handshakes.", pools::phases),
    metric(("ringpool.pool.connection.use_time", "s", Histogram), UPSTREAM,
        "How long connections were held by those who got them.", pools::use_times),
    metric(("ringpool.pool.connection.closed", "{connection}", Counter), &["upstream", "reason"],
        "Connections that have ended, by why.", pools::closes),
    metric(("ringpool.pool.dials", "{dial}", Counter), UPSTREAM, "Dials begun.", pools::dials),
    metric(("ringpool.pool.dial_failures", "{dial}", Counter), UPSTREAM, "Dials that failed.", pools::dials_failed),
    metric(("ringpool.pool.handshake_avoided", "s", Counter), &["upstream", "by"],
        "Time for connecting and handshakes that was not spent, at least: by reuse, by resumption.", pools::avoided),
    metric(("ringpool.pool.retries", "{retry}", Counter), &["upstream", "result"],
        "Calls to be tried again: granted, or refused by the retry budget.", pools::retries),
    metric((RETRY_BUDGET, "{retry}", Gauge), UPSTREAM,
        "How many retries all shards have left just now.", pools::retry_budget),
    metric(("ringpool.pool.homes", "{shard}", Gauge), UPSTREAM, "Shards that calls from elsewhere go to.", pools::homes),
    metric(("ringpool.pool.config_reloads", "{reload}", Counter), &["upstream", "result"],
        "Times that files which its TLS settings name were read anew and used, or could not be.", pools::reloads),

    metric(("ringpool.endpoint.connections", "{connection}", Gauge), &["upstream", "endpoint", "state"],
        "Connections to one endpoint in each state.", pools::endpoint_connections),
    metric(("ringpool.endpoint.dials", "{dial}", Counter), ENDPOINT, "Attempts to connect to one endpoint.",
        pools::endpoint_dials),
    metric(("ringpool.endpoint.dial_failures", "{dial}", Counter), ENDPOINT,
        "Those of them that failed, TLS included.", pools::endpoint_dials_failed),
    metric(("ringpool.endpoint.phase_time", "s", Histogram), &["upstream", "endpoint", "phase"],
        "How long parts of connecting to one endpoint took: tcp, tls_full, tls_resumed.", pools::endpoint_phases),
    metric(("ringpool.endpoint.use_time", "s", Histogram), ENDPOINT,
        "How long connections to one endpoint were held.", pools::endpoint_use_times),
    metric(("ringpool.endpoint.closed", "{connection}", Counter), &["upstream", "endpoint", "reason"],
        "Connections to one endpoint that have ended, by why; reasons that were met.", pools::endpoint_closes),
    metric(("ringpool.endpoint.breaker", "{shard}", Gauge), &["upstream", "endpoint", "state"],
        "On how many shards the endpoint's breaker is closed, unreachable, ejected or half_open.", pools::breakers),
    metric(("ringpool.endpoint.ejections", "{ejection}", Counter), ENDPOINT,
        "How often a shard has ejected the endpoint.", pools::ejections),

    metric(("ringpool.shard.up", "{shard}", Gauge), SHARD,
        "1, or 0 for a shard that stays down, or did not tell its figures in time.", shards::up),
    metric(("ringpool.shard.figures_age", "s", Gauge), SHARD,
        "How old a shard's figures are: 0, unless it is not up; then those are told that it told last.", shards::age),
    metric(("ringpool.shard.losses", "{loss}", Counter), SHARD, "How often a shard was lost by a defect.", shards::losses),
    metric(("ringpool.shard.loop_lag", "s", Gauge), SHARD,
        "How long what comes in waits for its turn; 0 while each turn leaves nothing undone.", shards::lag),
    metric(("ringpool.shard.queued_calls", "{call}", Gauge), SHARD,
        "Calls and leases from elsewhere that are queued or under way.", shards::depth),
    metric(("ringpool.shard.refused_calls", "{call}", Counter), &["shard", "reason"],
        "Calls and leases from elsewhere that found the mailbox full, or closed for new work (draining); they have asked no pool.",
        shards::refused_calls),
    metric(("ringpool.shard.turns", "{turn}", Counter), SHARD, "Turns of the loop.", shards::turns),
    metric(("ringpool.shard.enters", "{call}", Counter), SHARD,
        "System calls to submit, reap or sleep.", shards::enters),
    metric(("ringpool.shard.submissions", "{operation}", Counter), SHARD,
        "Operations submitted; over enters, how many go with one system call.", shards::submissions),
    metric(("ringpool.shard.completions", "{operation}", Counter), SHARD, "Completions reaped.", shards::completions),
    metric(("ringpool.shard.buffers", "{buffer}", Gauge), &["shard", "state"],
        "Receive buffers: held by somebody, free for the kernel.", shards::buffers),
    metric(("ringpool.shard.buffer_shortages", "{receive}", Counter), SHARD,
        "Receives that ended for want of a buffer.", shards::shortages),
    metric(("ringpool.shard.steals", "{call}", Counter), SHARD, "Calls of siblings that the shard ran.", shards::steals),
    metric(("ringpool.shard.offers", "{call}", Counter), SHARD,
        "Calls that waited and were offered to siblings.", shards::offers),
    metric(("ringpool.shard.task_panics", "{task}", Counter), SHARD, "Tasks that ended by a panic.", shards::panics),

    metric(("ringpool.engine.sockets", "{socket}", Gauge), &[], "Open sockets.", shards::sockets),
    metric(("ringpool.engine.tasks", "{task}", Gauge), &[], "Tasks on the shards.", shards::tasks),
    metric(("ringpool.engine.timers", "{timer}", Gauge), &[], "Timers armed.", shards::timers),
    metric(("ringpool.engine.receive_pauses", "{pause}", Counter), &[],
        "Times that receiving was paused because a reader was too slow.", shards::pauses),
    metric(("ringpool.engine.early_data", "{request}", Counter), &["result"],
        "Requests sent along with a handshake: accepted, or refused.", shards::early),
    metric(("ringpool.engine.audit_events", "{event}", Counter), &["result"],
        "Audit events: recorded, dropped because the queue was full, or failed.", shards::audit),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::figures::UpstreamFigures;
    use crate::client::snapshot::ShardState;
    use crate::shard::meters::EndpointFigures;
    use std::collections::BTreeSet;

    #[test]
    fn values_are_of_the_kind_that_is_said() {
        let mut snapshot = Snapshot::default();
        let mut upstream = UpstreamFigures::default();
        (upstream.endpoints).insert("10.0.0.1:80".to_owned(), EndpointFigures::default());
        upstream.scheme = "http";
        snapshot.upstreams.insert("a".to_owned(), upstream);
        snapshot.by_shard.push(ShardState::default());
        for metric in METRICS {
            let mut told = 0;
            metric.read(&snapshot, &mut |sample| {
                told += 1;
                let fits = match sample.value {
                    Value::Count(_) => metric.is_whole() && metric.kind != Kind::Histogram,
                    Value::Number(_) => !metric.is_whole() && metric.kind != Kind::Histogram,
                    Value::Durations(_) => metric.kind == Kind::Histogram,
                };
                assert!(fits, "{}", metric.name);
            });
            // Durations of which there are none are left out, and so are reasons that were not met.
            let may_be_none =
                metric.kind == Kind::Histogram || metric.name == "ringpool.endpoint.closed";
            assert!(told > 0 || may_be_none, "{}", metric.name);
        }
    }

    #[test]
    fn names_are_unique_and_follow_the_conventions() {
        let mut names = BTreeSet::new();
        for metric in METRICS {
            assert!(names.insert(metric.prometheus_name()), "{}", metric.name);
            let ours = metric.name.starts_with("ringpool.");
            let known = ["http.client.", "dns.lookup."];
            assert!(ours || known.iter().any(|known| metric.name.starts_with(known)));
            let is_word = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
            for word in metric.labels.iter().chain([&metric.name]) {
                assert!(word.chars().all(is_word), "{word}");
            }
            assert!(metric.help.ends_with('.'), "{}", metric.name);
            let timed = metric.kind == Kind::Histogram;
            assert!(!timed || metric.unit == "s", "{}", metric.name);
            assert!(
                metric.unit == "s" || metric.unit.starts_with('{'),
                "{}",
                metric.name
            );
        }
    }
}
