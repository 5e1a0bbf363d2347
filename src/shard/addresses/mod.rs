//! Where an upstream's servers are: what was configured, what names came to, and the ids of it all.
//!
//! Owns: the trust in resolved names; one id per address. Never: asks a resolver (`resolving` does), or
//! judges an address (the pool does).

#[cfg(test)]
mod tests;

use crate::config::{EndpointAddress, UpstreamConfig};
use crate::endpoint::Endpoint;
use crate::pool::EndpointId;
use crate::time::Time;
use crate::trace::{self, Span};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// One shard's knowledge of an upstream's addresses.
pub(crate) struct Addresses {
    sources: Vec<Source>,
    /// By id. `None` is an id without an address.
    places: Vec<Option<Place>>,
    /// What the pool was told last.
    told: Vec<EndpointId>,
    /// The configuration has replaced what the pool knows, and it has not been told yet.
    replaced: bool,
}

/// What one configured endpoint is.
enum Source {
    Fixed(Endpoint),
    Name(Name),
}

/// Asked for again when it has been known for `resolve_ttl`.
struct Name {
    host: String,
    port: u16,
    /// What it came to last, whether or not that is still trusted.
    addresses: Vec<Endpoint>,
    since: Option<Time>,
    lookup: bool,
    /// When it was asked for last.
    asked: Time,
    span: Span,
}

struct Place {
    endpoint: Endpoint,
    /// Among the upstream's endpoints now.
    present: bool,
}

impl Addresses {
    pub(super) fn new(policy: &UpstreamConfig) -> Addresses {
        Addresses {
            sources: sources(policy),
            places: Vec::new(),
            told: Vec::new(),
            replaced: false,
        }
    }

    /// The address with this id.
    pub(super) fn get(&self, id: EndpointId) -> Option<&Endpoint> {
        let place = self.places.get(id.0 as usize)?.as_ref();
        place.map(|place| &place.endpoint)
    }

    /// Whether the pool may be asked to choose: it knows at least one endpoint.
    pub(super) fn is_known(&self) -> bool {
        !self.told.is_empty()
    }

    /// Whether at least one address may be trusted now.
    pub(super) fn is_fresh(&self, now: Time, ttl: Duration) -> bool {
        self.sources.iter().any(|source| match source {
            Source::Fixed(_) => true,
            Source::Name(name) => name.is_fresh(now, ttl),
        })
    }

    /// Whether a look-up is under way.
    pub(super) fn is_asking(&self) -> bool {
        self.sources.iter().any(|source| match source {
            Source::Fixed(_) => false,
            Source::Name(name) => name.lookup,
        })
    }

    /// The next name, host and port, that is to be asked for: not trusted any more, and not asked for
    /// yet. It is taken to be asked for from now on.
    pub(super) fn next_to_ask(&mut self, now: Time, ttl: Duration) -> Option<(String, u16)> {
        self.sources.iter_mut().find_map(|source| match source {
            Source::Name(name) if !name.lookup && !name.is_fresh(now, ttl) => {
                name.lookup = true;
                name.asked = now;
                name.span = trace::lookup(&name.host);
                Some((name.host.clone(), name.port))
            }
            Source::Name(_) | Source::Fixed(_) => None,
        })
    }

    /// Takes the answer for a name: `None` if there is none, which leaves what was known. Old addresses
    /// are better than none: a resolver's outage is not the backend's. Says how long that took, if it was waited for.
    pub(super) fn answered(
        &mut self,
        now: Time,
        host: &str,
        port: u16,
        addresses: Option<Vec<SocketAddr>>,
    ) -> Option<Duration> {
        for source in &mut self.sources {
            if let Source::Name(name) = source
                && name.lookup
                && (name.host.as_str(), name.port) == (host, port)
            {
                name.lookup = false;
                let span = std::mem::take(&mut name.span);
                if addresses.is_none() {
                    span.error(&"no answer that is of use");
                }
                if let Some(addresses) = addresses {
                    name.addresses = addresses.into_iter().map(Endpoint::Inet).collect();
                    name.since = Some(now);
                }
                return Some(now.since(name.asked));
            }
        }
        None
    }

    /// Puts other endpoints in the place of those known. A name that stays keeps what it came to.
    pub(super) fn replace(&mut self, policy: &UpstreamConfig) {
        let mut known = std::mem::replace(&mut self.sources, sources(policy));
        for source in &mut self.sources {
            if let Source::Name(name) = source
                && let Some(at) = known.iter().position(|source| name.is(source))
            {
                *source = known.swap_remove(at);
            }
        }
        self.replaced = true;
    }

    /// All endpoints, and whether it was the configuration that replaced them, if they are others than
    /// those that the pool knows. While nothing is known of new ones the old ones stay.
    pub(super) fn news(&mut self) -> Option<(Vec<EndpointId>, bool)> {
        let mut all: Vec<Endpoint> = Vec::new();
        for source in &self.sources {
            let addresses = match source {
                Source::Fixed(endpoint) => std::slice::from_ref(endpoint),
                Source::Name(name) => name.addresses.as_slice(),
            };
            for address in addresses {
                if !all.contains(address) {
                    all.push(address.clone());
                }
            }
        }
        if all.is_empty() {
            return None;
        }
        let replaced = std::mem::take(&mut self.replaced);
        for place in self.places.iter_mut().flatten() {
            place.present = false;
        }
        let mut ids: Vec<EndpointId> = all.into_iter().map(|at| self.place(at)).collect();
        ids.sort_unstable();
        if ids == self.told {
            return None;
        }
        self.told.clone_from(&ids);
        Some((ids, replaced))
    }

    /// Whether an address that has left is still known, so that it would come back under its old id.
    pub(super) fn has_left(&self) -> bool {
        self.places.iter().flatten().any(|place| !place.present)
    }

    /// Whether `id` is among the upstream's endpoints.
    pub(super) fn is_present(&self, id: EndpointId) -> bool {
        let place = self.places.get(id.0 as usize).and_then(Option::as_ref);
        place.is_some_and(|place| place.present)
    }

    /// Forgets what has left and is not in use, and says what that was. The pool must know that it has left: its id may go to
    /// another address from now on.
    pub(super) fn tidy(
        &mut self,
        in_use: impl Fn(EndpointId) -> bool,
    ) -> Vec<(EndpointId, Endpoint)> {
        let mut gone = Vec::new();
        for (id, place) in (0..).map(EndpointId).zip(&mut self.places) {
            if let Some(left) = place.take_if(|place| !place.present && !in_use(id)) {
                gone.push((id, left.endpoint));
            }
        }
        while self.places.last().is_some_and(Option::is_none) {
            self.places.pop();
        }
        gone
    }

    /// The id of an address that is present from now on: its old one, or else one that nobody has.
    fn place(&mut self, endpoint: Endpoint) -> EndpointId {
        let known = |place: &Option<Place>| {
            let place = place.as_ref();
            place.is_some_and(|place| place.endpoint == endpoint)
        };
        let at = self.places.iter().position(known);
        let at = at.or_else(|| self.places.iter().position(Option::is_none));
        let at = at.unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.places[at] = Some(Place {
            endpoint,
            present: true,
        });
        EndpointId(at as u32)
    }
}

impl Name {
    fn is_fresh(&self, now: Time, ttl: Duration) -> bool {
        self.since.is_some_and(|since| now.since(since) < ttl)
    }

    fn is(&self, source: &Source) -> bool {
        match source {
            Source::Fixed(_) => false,
            Source::Name(name) => (&name.host, name.port) == (&self.host, self.port),
        }
    }
}

/// What is configured: the endpoints, or else the URL's own place.
fn sources(policy: &UpstreamConfig) -> Vec<Source> {
    if !policy.endpoints.is_empty() {
        return policy.endpoints.iter().map(Source::at).collect();
    }
    let url = &policy.url;
    vec![match url.path() {
        Some(path) => Source::Fixed(Endpoint::Unix(path.into())),
        None => Source::host(
            url.host().unwrap_or_default(),
            url.port().unwrap_or_default(),
        ),
    }]
}

impl Source {
    fn at(address: &EndpointAddress) -> Source {
        match address {
            EndpointAddress::Host { host, port } => Source::host(host, *port),
            EndpointAddress::Path(path) => Source::Fixed(Endpoint::Unix(path.as_path().into())),
        }
    }

    fn host(host: &str, port: u16) -> Source {
        match host.parse::<IpAddr>() {
            Ok(ip) => Source::Fixed(Endpoint::Inet(SocketAddr::new(ip, port))),
            Err(_) => Source::Name(Name {
                host: host.to_owned(),
                port,
                addresses: Vec::new(),
                since: None,
                lookup: false,
                asked: Time::ZERO,
                span: Span::default(),
            }),
        }
    }
}
