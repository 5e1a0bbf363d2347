//! What each metric reads out of a snapshot.
//!
//! Owns: the way from a figure to its labels. Never: makes a series for what was never there, where there may be many.

use super::catalogue::{Sample, Value};
use crate::client::figures::UpstreamFigures;
use crate::client::snapshot::{DriverFigures, ShardState, Snapshot};
use crate::shard::meters::{EndpointFigures, Outcome};
use crate::stats::Durations;
use std::time::Duration;

/// Where values go.
pub(super) struct Out<'a>(pub(super) &'a mut dyn FnMut(Sample<'_>));

impl Out<'_> {
    fn count(&mut self, labels: &[&str], count: u64) {
        let value = Value::Count(count);
        (self.0)(Sample { labels, value });
    }

    fn number(&mut self, labels: &[&str], number: f64) {
        let value = Value::Number(number);
        (self.0)(Sample { labels, value });
    }

    fn seconds(&mut self, labels: &[&str], time: Duration) {
        self.number(labels, time.as_secs_f64());
    }

    /// Those of which there are none are left out: most of what could be measured never happens.
    fn durations(&mut self, labels: &[&str], durations: &Durations) {
        if !durations.is_empty() {
            let value = Value::Durations(durations);
            (self.0)(Sample { labels, value });
        }
    }
}

fn each_upstream(all: &Snapshot, mut each: impl FnMut(&str, &UpstreamFigures)) {
    for (name, figures) in &all.upstreams {
        each(name, figures);
    }
}

fn each_endpoint(all: &Snapshot, mut each: impl FnMut(&str, &str, &EndpointFigures)) {
    each_upstream(all, |name, upstream| {
        for (address, figures) in &upstream.endpoints {
            each(name, address, figures);
        }
    });
}

fn of_upstreams(all: &Snapshot, out: &mut Out<'_>, count: fn(&UpstreamFigures) -> u64) {
    each_upstream(all, |name, figures| out.count(&[name], count(figures)));
}

fn of_endpoints(all: &Snapshot, out: &mut Out<'_>, count: fn(&EndpointFigures) -> u64) {
    each_endpoint(all, |name, at, figures| {
        out.count(&[name, at], count(figures))
    });
}

fn each_shard(all: &Snapshot, mut each: impl FnMut(&str, &ShardState)) {
    for shard in &all.by_shard {
        each(&shard.shard.to_string(), shard);
    }
}

fn of_shards(all: &Snapshot, out: &mut Out<'_>, count: fn(&ShardState) -> u64) {
    each_shard(all, |name, shard| out.count(&[name], count(shard)));
}

fn of_drivers(all: &Snapshot, out: &mut Out<'_>, count: fn(&DriverFigures) -> u64) {
    each_shard(all, |name, shard| out.count(&[name], count(&shard.driver)));
}

// HTTP client metrics, and DNS.

fn port(upstream: &UpstreamFigures) -> String {
    upstream
        .port
        .map_or_else(String::new, |port| port.to_string())
}

fn is_http(upstream: &UpstreamFigures) -> bool {
    upstream.scheme.contains("http")
}

/// An address in its parts; a path has no port.
fn peer(address: &str) -> (&str, &str) {
    if address.starts_with("unix:") {
        return (address, "");
    }
    let (ip, port) = address.rsplit_once(':').unwrap_or((address, ""));
    (ip.trim_matches(['[', ']']), port)
}

pub(super) fn requests(all: &Snapshot, out: &mut Out<'_>) {
    each_upstream(all, |name, upstream| {
        let port = port(upstream);
        for one in &upstream.requests {
            let code;
            let (status, error, overflow) = match one.outcome {
                Outcome::Status(status) => {
                    code = status.to_string();
                    // As OpenTelemetry has it: 4xx and 5xx are errors to a client.
                    (&*code, if status >= 400 { &*code } else { "" }, "")
                }
                Outcome::Error(kind) => ("", kind, ""),
                Outcome::Other => ("", "", "true"),
            };
            let (address, scheme) = (&*upstream.address, upstream.scheme);
            let labels = [
                name, address, &port, scheme, one.method, status, error, overflow,
            ];
            out.durations(&labels, &one.duration);
        }
    });
}

pub(super) fn open_connections(all: &Snapshot, out: &mut Out<'_>) {
    each_upstream(all, |name, upstream| {
        if !is_http(upstream) {
            return;
        }
        let port = port(upstream);
        for (address, figures) in &upstream.endpoints {
            let (ip, ip_port) = peer(address);
            let now = &figures.connections;
            for (state, count) in [("active", now.leased), ("idle", now.idle)] {
                let (address, scheme) = (&*upstream.address, upstream.scheme);
                out.count(&[name, address, &port, ip, ip_port, scheme, state], count);
            }
        }
    });
}

pub(super) fn lifetimes(all: &Snapshot, out: &mut Out<'_>) {
    each_upstream(all, |name, upstream| {
        if !is_http(upstream) {
            return;
        }
        let port = port(upstream);
        for (address, figures) in &upstream.endpoints {
            let (ip, ip_port) = peer(address);
            let labels = [name, &upstream.address, &port, ip, ip_port, upstream.scheme];
            out.durations(&labels, &figures.lifetime);
        }
    });
}

pub(super) fn lookups(all: &Snapshot, out: &mut Out<'_>) {
    each_upstream(all, |name, upstream| {
        let asked = upstream.own_name.then_some(&*upstream.address);
        let asked = asked.unwrap_or_default();
        out.durations(&[name, asked, ""], &upstream.lookup);
        out.durations(&[name, asked, "resolve"], &upstream.lookup_in_vain);
    });
}

pub(super) fn lookups_failed(all: &Snapshot, out: &mut Out<'_>) {
    of_upstreams(all, out, |upstream| upstream.lookups_failed);
}

// Upstreams.

pub(super) fn connections(all: &Snapshot, out: &mut Out<'_>) {
    each_upstream(all, |name, upstream| {
        for (state, count) in upstream.all.connections.iter() {
            out.count(&[name, state], count);
        }
    });
}

pub(super) fn connections_max(all: &Snapshot, out: &mut Out<'_>) {
    of_upstreams(all, out, |upstream| upstream.connections_max);
}

pub(super) fn permits(all: &Snapshot, out: &mut Out<'_>) {
    of_upstreams(all, out, |upstream| upstream.permits);
}

pub(super) fn waiters(all: &Snapshot, out: &mut Out<'_>) {
    of_upstreams(all, out, |upstream| upstream.waiters);
}

pub(super) fn acquires(all: &Snapshot, out: &mut Out<'_>) {
    each_upstream(all, |name, upstream| {
        for (outcome, count) in upstream.acquires.iter() {
            out.count(&[name, outcome], count);
        }
    });
}

pub(super) fn acquires_begun(all: &Snapshot, out: &mut Out<'_>) {
    of_upstreams(all, out, |upstream| upstream.acquires.begun);
}

pub(super) fn stale_grants(all: &Snapshot, out: &mut Out<'_>) {
    of_upstreams(all, out, |upstream| upstream.acquires.stale);
}

pub(super) fn waits(all: &Snapshot, out: &mut Out<'_>) {
    each_upstream(all, |name, upstream| out.durations(&[name], &upstream.wait));
}

pub(super) fn create_times(all: &Snapshot, out: &mut Out<'_>) {
    each_upstream(all, |name, upstream| {
        out.durations(&[name], &upstream.all.dial)
    });
}

pub(super) fn phases(all: &Snapshot, out: &mut Out<'_>) {
    each_upstream(all, |name, upstream| {
        for (phase, durations) in phases_of(&upstream.all) {
            out.durations(&[name, phase], durations);
        }
    });
}

fn phases_of(figures: &EndpointFigures) -> [(&'static str, &Durations); 3] {
    [
        ("tcp", &figures.connect),
        ("tls_full", &figures.handshake_full),
        ("tls_resumed", &figures.handshake_resumed),
    ]
}

pub(super) fn use_times(all: &Snapshot, out: &mut Out<'_>) {
    each_upstream(all, |name, upstream| {
        out.durations(&[name], &upstream.all.hold)
    });
}

pub(super) fn closes(all: &Snapshot, out: &mut Out<'_>) {
    each_upstream(all, |name, upstream| {
        for (why, count) in upstream.all.closed.iter() {
            out.count(&[name, why.name()], count);
        }
    });
}

pub(super) fn dials(all: &Snapshot, out: &mut Out<'_>) {
    of_upstreams(all, out, |upstream| upstream.dials);
}

pub(super) fn dials_failed(all: &Snapshot, out: &mut Out<'_>) {
    of_upstreams(all, out, |upstream| upstream.dials_failed);
}

pub(super) fn avoided(all: &Snapshot, out: &mut Out<'_>) {
    each_upstream(all, |name, upstream| {
        let resumption = upstream.handshake_time_avoided_by_resumption;
        out.seconds(&[name, "reuse"], upstream.handshake_time_avoided);
        out.seconds(&[name, "resumption"], resumption);
    });
}

pub(super) fn retries(all: &Snapshot, out: &mut Out<'_>) {
    each_upstream(all, |name, upstream| {
        out.count(&[name, "granted"], upstream.retries);
        out.count(&[name, "refused"], upstream.retries_refused);
    });
}

pub(super) fn retry_budget(all: &Snapshot, out: &mut Out<'_>) {
    each_upstream(all, |name, upstream| {
        out.number(&[name], upstream.retry_budget)
    });
}

pub(super) fn homes(all: &Snapshot, out: &mut Out<'_>) {
    of_upstreams(all, out, |upstream| upstream.homes);
}

pub(super) fn reloads(all: &Snapshot, out: &mut Out<'_>) {
    each_upstream(all, |name, upstream| {
        out.count(&[name, "used"], upstream.reloads);
        out.count(&[name, "failed"], upstream.reloads_failed);
    });
}

// Endpoints.

pub(super) fn endpoint_connections(all: &Snapshot, out: &mut Out<'_>) {
    each_endpoint(all, |name, at, figures| {
        for (state, count) in figures.connections.iter() {
            out.count(&[name, at, state], count);
        }
    });
}

pub(super) fn endpoint_dials(all: &Snapshot, out: &mut Out<'_>) {
    of_endpoints(all, out, |figures| figures.dials);
}

pub(super) fn endpoint_dials_failed(all: &Snapshot, out: &mut Out<'_>) {
    of_endpoints(all, out, |figures| figures.dials_failed);
}

pub(super) fn endpoint_phases(all: &Snapshot, out: &mut Out<'_>) {
    each_endpoint(all, |name, at, figures| {
        for (phase, durations) in phases_of(figures) {
            out.durations(&[name, at, phase], durations);
        }
    });
}

pub(super) fn endpoint_use_times(all: &Snapshot, out: &mut Out<'_>) {
    each_endpoint(all, |name, at, figures| {
        out.durations(&[name, at], &figures.hold)
    });
}

pub(super) fn endpoint_closes(all: &Snapshot, out: &mut Out<'_>) {
    each_endpoint(all, |name, at, figures| {
        for (why, count) in figures.closed.iter().filter(|(_, count)| *count > 0) {
            out.count(&[name, at, why.name()], count);
        }
    });
}

pub(super) fn breakers(all: &Snapshot, out: &mut Out<'_>) {
    each_endpoint(all, |name, at, figures| {
        for (state, count) in figures.breaker.iter() {
            out.count(&[name, at, state], count);
        }
    });
}

pub(super) fn ejections(all: &Snapshot, out: &mut Out<'_>) {
    of_endpoints(all, out, |figures| figures.ejections);
}

// Shards.

pub(super) fn up(all: &Snapshot, out: &mut Out<'_>) {
    of_shards(all, out, |shard| shard.is_up().into());
}

pub(super) fn age(all: &Snapshot, out: &mut Out<'_>) {
    each_shard(all, |name, shard| out.seconds(&[name], shard.age));
}

pub(super) fn losses(all: &Snapshot, out: &mut Out<'_>) {
    of_shards(all, out, |shard| shard.losses);
}

pub(super) fn lag(all: &Snapshot, out: &mut Out<'_>) {
    each_shard(all, |name, shard| out.seconds(&[name], shard.lag));
}

pub(super) fn depth(all: &Snapshot, out: &mut Out<'_>) {
    of_shards(all, out, |shard| shard.depth);
}

pub(super) fn turns(all: &Snapshot, out: &mut Out<'_>) {
    of_drivers(all, out, |driver| driver.turns);
}

pub(super) fn enters(all: &Snapshot, out: &mut Out<'_>) {
    of_drivers(all, out, |driver| driver.enters);
}

pub(super) fn submissions(all: &Snapshot, out: &mut Out<'_>) {
    of_drivers(all, out, |driver| driver.submissions);
}

pub(super) fn completions(all: &Snapshot, out: &mut Out<'_>) {
    of_drivers(all, out, |driver| driver.completions);
}

pub(super) fn shortages(all: &Snapshot, out: &mut Out<'_>) {
    of_drivers(all, out, |driver| driver.out_of_buffers);
}

pub(super) fn buffers(all: &Snapshot, out: &mut Out<'_>) {
    each_shard(all, |name, shard| {
        out.count(&[name, "held"], shard.buffers_held);
        out.count(&[name, "free"], shard.buffers_free);
    });
}

pub(super) fn steals(all: &Snapshot, out: &mut Out<'_>) {
    of_shards(all, out, |shard| shard.steals);
}

pub(super) fn offers(all: &Snapshot, out: &mut Out<'_>) {
    of_shards(all, out, |shard| shard.offers);
}

pub(super) fn refused_calls(all: &Snapshot, out: &mut Out<'_>) {
    each_shard(all, |name, shard| {
        out.count(&[name, "full"], shard.refused_full);
        out.count(&[name, "draining"], shard.refused_draining);
    });
}

pub(super) fn panics(all: &Snapshot, out: &mut Out<'_>) {
    of_shards(all, out, |shard| shard.task_panics);
}

// The engine.

pub(super) fn sockets(all: &Snapshot, out: &mut Out<'_>) {
    out.count(&[], all.now.sockets);
}

pub(super) fn tasks(all: &Snapshot, out: &mut Out<'_>) {
    out.count(&[], all.now.tasks);
}

pub(super) fn timers(all: &Snapshot, out: &mut Out<'_>) {
    out.count(&[], all.now.timers);
}

pub(super) fn pauses(all: &Snapshot, out: &mut Out<'_>) {
    out.count(&[], all.receive_pauses);
}

pub(super) fn early(all: &Snapshot, out: &mut Out<'_>) {
    out.count(&["accepted"], all.early_taken);
    out.count(&["refused"], all.early_refused);
}

pub(super) fn audit(all: &Snapshot, out: &mut Out<'_>) {
    let audit = &all.audit;
    for (result, count) in [
        ("recorded", audit.recorded),
        ("dropped", audit.dropped),
        ("failed", audit.failed),
    ] {
        out.count(&[result], count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_apart() {
        assert_eq!(peer("127.0.0.1:80"), ("127.0.0.1", "80"));
        assert_eq!(peer("[::1]:443"), ("::1", "443"));
        assert_eq!(peer("unix:/run/a:b"), ("unix:/run/a:b", ""));
    }
}
