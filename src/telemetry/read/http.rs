//! What OpenTelemetry names: HTTP client metrics, and DNS.
//!
//! Owns: attributes as its conventions have them. Never: a metric of our own naming, but for look-ups that failed.

use super::{Out, each_upstream, of_upstreams};
use crate::client::figures::UpstreamFigures;
use crate::client::snapshot::Snapshot;
use crate::shard::meters::{EndpointFigures, Outcome};

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

pub(in crate::telemetry) fn requests(all: &Snapshot, out: &mut Out<'_>) {
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

/// Endpoints of HTTP upstreams: the upstream's labels and the endpoint's, and its figures.
fn each_peer(all: &Snapshot, mut each: impl FnMut([&str; 6], &EndpointFigures)) {
    each_upstream(all, |name, upstream| {
        if !is_http(upstream) {
            return;
        }
        let (host, port) = (&*upstream.address, port(upstream));
        for (address, figures) in &upstream.endpoints {
            let (ip, ip_port) = peer(address);
            each([name, host, &port, ip, ip_port, upstream.scheme], figures);
        }
    });
}

pub(in crate::telemetry) fn open_connections(all: &Snapshot, out: &mut Out<'_>) {
    each_peer(all, |[name, host, port, ip, ip_port, scheme], figures| {
        let now = &figures.connections;
        for (state, count) in [("active", now.leased), ("idle", now.idle)] {
            out.count(&[name, host, port, ip, ip_port, scheme, state], count);
        }
    });
}

pub(in crate::telemetry) fn lifetimes(all: &Snapshot, out: &mut Out<'_>) {
    each_peer(all, |labels, figures| {
        out.durations(&labels, &figures.lifetime)
    });
}

pub(in crate::telemetry) fn lookups(all: &Snapshot, out: &mut Out<'_>) {
    each_upstream(all, |name, upstream| {
        let asked = upstream.own_name.then_some(&*upstream.address);
        let asked = asked.unwrap_or_default();
        out.durations(&[name, asked, ""], &upstream.lookup);
        out.durations(&[name, asked, "resolve"], &upstream.lookup_in_vain);
    });
}

pub(in crate::telemetry) fn lookups_failed(all: &Snapshot, out: &mut Out<'_>) {
    of_upstreams(all, out, |upstream| upstream.lookups_failed);
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
