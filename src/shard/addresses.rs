//! Where an upstream's servers are: what was configured, what names came to, and the ids of it all.
//!
//! Owns: the trust in resolved names; one id per address. Never: asks a resolver (`resolving` does), or
//! judges an address (the pool does).

use crate::config::{EndpointAddress, UpstreamConfig};
use crate::endpoint::Endpoint;
use crate::pool::EndpointId;
use crate::time::Time;
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
                Some((name.host.clone(), name.port))
            }
            Source::Name(_) | Source::Fixed(_) => None,
        })
    }

    /// Takes the answer for a name: `None` if there is none, which leaves what was known. Old addresses
    /// are better than none: a resolver's outage is not the backend's.
    pub(super) fn answered(
        &mut self,
        now: Time,
        host: &str,
        port: u16,
        addresses: Option<Vec<SocketAddr>>,
    ) {
        for source in &mut self.sources {
            if let Source::Name(name) = source
                && name.lookup
                && (name.host.as_str(), name.port) == (host, port)
            {
                name.lookup = false;
                if let Some(addresses) = addresses {
                    name.addresses = addresses.into_iter().map(Endpoint::Inet).collect();
                    name.since = Some(now);
                }
                return;
            }
        }
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

    /// Forgets what has left and is not in use. The pool must know that it has left: its id may go to
    /// another address from now on.
    pub(super) fn tidy(&mut self, in_use: impl Fn(EndpointId) -> bool) {
        for (id, place) in (0..).zip(&mut self.places) {
            if place.as_ref().is_some_and(|place| !place.present) && !in_use(EndpointId(id)) {
                *place = None;
            }
        }
        while self.places.last().is_some_and(Option::is_none) {
            self.places.pop();
        }
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
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(30);

    fn policy(endpoints: &[&str]) -> UpstreamConfig {
        UpstreamConfig {
            endpoints: endpoints.iter().map(|at| at.parse().unwrap()).collect(),
            ..UpstreamConfig::at("http://name.test").unwrap()
        }
    }

    fn ip(host: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, host], 80))
    }

    fn ids(ids: &[u32]) -> Vec<EndpointId> {
        ids.iter().copied().map(EndpointId).collect()
    }

    fn name(addresses: &mut Addresses, now: Time, hosts: &[u8]) {
        assert!(addresses.next_to_ask(now, TTL).is_some());
        let all = hosts.iter().copied().map(ip).collect();
        addresses.answered(now, "name.test", 80, Some(all));
    }

    #[test]
    fn endpoints_are_the_union_of_what_names_came_to() {
        let mut at = Addresses::new(&policy(&["192.0.2.1:80", "a.test:80", "b.test:80"]));
        let now = Time::ZERO;
        assert!(at.is_fresh(now, TTL) && !at.is_asking());
        assert_eq!(at.next_to_ask(now, TTL), Some(("a.test".into(), 80)));
        assert_eq!(at.next_to_ask(now, TTL), Some(("b.test".into(), 80)));
        assert_eq!(at.next_to_ask(now, TTL), None);
        assert_eq!(at.news(), Some((ids(&[0]), false)));
        at.answered(now, "b.test", 80, Some(vec![ip(2), ip(1)]));
        assert_eq!(at.news(), Some((ids(&[0, 1]), false)));
        at.answered(now, "a.test", 80, Some(vec![ip(1)]));
        assert_eq!(at.news(), None);
        // One that fails keeps what it had, and is asked for again.
        let later = now + TTL;
        assert!(at.next_to_ask(later, TTL).is_some() && at.next_to_ask(later, TTL).is_some());
        at.answered(later, "b.test", 80, None);
        assert_eq!(at.news(), None);
        assert_eq!(at.next_to_ask(later, TTL), Some(("b.test".into(), 80)));
    }

    #[test]
    fn an_id_has_one_address_as_long_as_anything_is_left_of_it() {
        let mut at = Addresses::new(&policy(&[]));
        name(&mut at, Time::ZERO, &[1, 2]);
        assert_eq!(at.news(), Some((ids(&[0, 1]), false)));
        // 1 leaves, and is still connected to.
        name(&mut at, Time::ZERO + TTL, &[2, 3]);
        assert_eq!(at.news(), Some((ids(&[1, 2]), false)));
        assert!(at.has_left() && !at.is_present(EndpointId(0)));
        at.tidy(|id| id == EndpointId(0));
        assert_eq!(at.get(EndpointId(0)), Some(&ip(1).into()));
        name(&mut at, Time::ZERO + 2 * TTL, &[1]);
        assert_eq!(
            at.news(),
            Some((ids(&[0]), false)),
            "it comes back as itself"
        );
        at.tidy(|_| false);
        assert_eq!(at.get(EndpointId(2)), None);
        name(&mut at, Time::ZERO + 3 * TTL, &[1, 4]);
        assert_eq!(at.news(), Some((ids(&[0, 1]), false)), "small numbers");
    }

    #[test]
    fn old_endpoints_stay_until_something_is_known_of_new_ones() {
        let mut at = Addresses::new(&policy(&["192.0.2.1:80"]));
        assert_eq!(at.news(), Some((ids(&[0]), false)));
        at.replace(&policy(&[]));
        assert_eq!(at.news(), None);
        assert!(at.is_known() && !at.is_fresh(Time::ZERO, TTL));
        name(&mut at, Time::ZERO, &[2]);
        assert_eq!(at.news(), Some((ids(&[1]), true)));
        // A name that stays is not asked for again.
        at.replace(&policy(&["name.test:80", "192.0.2.3:80"]));
        assert!(at.next_to_ask(Time::ZERO, TTL).is_none());
        assert_eq!(at.news(), Some((ids(&[1, 2]), true)));
    }
}
