//! Upstreams, and their endpoints.
//!
//! Owns: which figure is which. Never: adds figures up; a snapshot has.

use super::{Out, each_endpoint, each_upstream, of_endpoints, of_upstreams};
use crate::client::snapshot::Snapshot;
use crate::shard::meters::EndpointFigures;
use crate::stats::Durations;

pub(in crate::telemetry) fn connections(all: &Snapshot, out: &mut Out<'_>) {
    each_upstream(all, |name, upstream| {
        for (state, count) in upstream.all.connections.iter() {
            out.count(&[name, state], count);
        }
    });
}

pub(in crate::telemetry) fn connections_max(all: &Snapshot, out: &mut Out<'_>) {
    of_upstreams(all, out, |upstream| upstream.connections_max);
}

pub(in crate::telemetry) fn permits(all: &Snapshot, out: &mut Out<'_>) {
    of_upstreams(all, out, |upstream| upstream.permits);
}

pub(in crate::telemetry) fn waiters(all: &Snapshot, out: &mut Out<'_>) {
    of_upstreams(all, out, |upstream| upstream.waiters);
}

pub(in crate::telemetry) fn acquires(all: &Snapshot, out: &mut Out<'_>) {
    each_upstream(all, |name, upstream| {
        for (outcome, count) in upstream.acquires.iter() {
            out.count(&[name, outcome], count);
        }
    });
}

pub(in crate::telemetry) fn acquires_begun(all: &Snapshot, out: &mut Out<'_>) {
    of_upstreams(all, out, |upstream| upstream.acquires.begun);
}

pub(in crate::telemetry) fn stale_grants(all: &Snapshot, out: &mut Out<'_>) {
    of_upstreams(all, out, |upstream| upstream.acquires.stale);
}

pub(in crate::telemetry) fn waits(all: &Snapshot, out: &mut Out<'_>) {
    each_upstream(all, |name, upstream| out.durations(&[name], &upstream.wait));
}

pub(in crate::telemetry) fn create_times(all: &Snapshot, out: &mut Out<'_>) {
    each_upstream(all, |name, upstream| {
        out.durations(&[name], &upstream.all.dial)
    });
}

pub(in crate::telemetry) fn phases(all: &Snapshot, out: &mut Out<'_>) {
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

pub(in crate::telemetry) fn use_times(all: &Snapshot, out: &mut Out<'_>) {
    each_upstream(all, |name, upstream| {
        out.durations(&[name], &upstream.all.hold)
    });
}

pub(in crate::telemetry) fn closes(all: &Snapshot, out: &mut Out<'_>) {
    each_upstream(all, |name, upstream| {
        for (why, count) in upstream.all.closed.iter() {
            out.count(&[name, why.name()], count);
        }
    });
}

pub(in crate::telemetry) fn dials(all: &Snapshot, out: &mut Out<'_>) {
    of_upstreams(all, out, |upstream| upstream.dials);
}

pub(in crate::telemetry) fn dials_failed(all: &Snapshot, out: &mut Out<'_>) {
    of_upstreams(all, out, |upstream| upstream.dials_failed);
}

pub(in crate::telemetry) fn avoided(all: &Snapshot, out: &mut Out<'_>) {
    each_upstream(all, |name, upstream| {
        let resumption = upstream.handshake_time_avoided_by_resumption;
        out.seconds(&[name, "reuse"], upstream.handshake_time_avoided);
        out.seconds(&[name, "resumption"], resumption);
    });
}

pub(in crate::telemetry) fn retries(all: &Snapshot, out: &mut Out<'_>) {
    each_upstream(all, |name, upstream| {
        out.count(&[name, "granted"], upstream.retries);
        out.count(&[name, "refused"], upstream.retries_refused);
    });
}

pub(in crate::telemetry) fn retry_budget(all: &Snapshot, out: &mut Out<'_>) {
    each_upstream(all, |name, upstream| {
        out.number(&[name], upstream.retry_budget)
    });
}

pub(in crate::telemetry) fn homes(all: &Snapshot, out: &mut Out<'_>) {
    of_upstreams(all, out, |upstream| upstream.homes);
}

pub(in crate::telemetry) fn reloads(all: &Snapshot, out: &mut Out<'_>) {
    each_upstream(all, |name, upstream| {
        out.count(&[name, "used"], upstream.reloads);
        out.count(&[name, "failed"], upstream.reloads_failed);
    });
}

// Endpoints.

pub(in crate::telemetry) fn endpoint_connections(all: &Snapshot, out: &mut Out<'_>) {
    each_endpoint(all, |name, at, figures| {
        for (state, count) in figures.connections.iter() {
            out.count(&[name, at, state], count);
        }
    });
}

pub(in crate::telemetry) fn endpoint_dials(all: &Snapshot, out: &mut Out<'_>) {
    of_endpoints(all, out, |figures| figures.dials);
}

pub(in crate::telemetry) fn endpoint_dials_failed(all: &Snapshot, out: &mut Out<'_>) {
    of_endpoints(all, out, |figures| figures.dials_failed);
}

pub(in crate::telemetry) fn endpoint_phases(all: &Snapshot, out: &mut Out<'_>) {
    each_endpoint(all, |name, at, figures| {
        for (phase, durations) in phases_of(figures) {
            out.durations(&[name, at, phase], durations);
        }
    });
}

pub(in crate::telemetry) fn endpoint_use_times(all: &Snapshot, out: &mut Out<'_>) {
    each_endpoint(all, |name, at, figures| {
        out.durations(&[name, at], &figures.hold)
    });
}

pub(in crate::telemetry) fn endpoint_closes(all: &Snapshot, out: &mut Out<'_>) {
    each_endpoint(all, |name, at, figures| {
        for (why, count) in figures.closed.iter().filter(|(_, count)| *count > 0) {
            out.count(&[name, at, why.name()], count);
        }
    });
}

pub(in crate::telemetry) fn breakers(all: &Snapshot, out: &mut Out<'_>) {
    each_endpoint(all, |name, at, figures| {
        for (state, count) in figures.breaker.iter() {
            out.count(&[name, at, state], count);
        }
    });
}

pub(in crate::telemetry) fn ejections(all: &Snapshot, out: &mut Out<'_>) {
    of_endpoints(all, out, |figures| figures.ejections);
}
