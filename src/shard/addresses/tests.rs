//! Names that come and go, and the ids of what they come to.

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
