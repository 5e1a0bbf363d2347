//! The queues of offers, from one thread and from several.

use super::*;
use crate::config::{CallOptions, UpstreamConfig};
use crate::driver::sim::Sim;
use crate::pool::{Counter, Permits};
use crate::shard::mailbox::Mailbox;
use crate::shard::sharing::movable::{Request, Underway};
use crate::shard::upload::Source;
use crate::shard::upstream::{UpstreamId, UpstreamShared};
use crate::slab::Key;

fn upstream() -> Arc<UpstreamShared> {
    let counter = || Arc::new(Counter::new(9));
    let permits = Permits::new(counter(), counter());
    let config = UpstreamConfig::default();
    let shared = UpstreamShared::new(UpstreamId(1), "a".into(), config, None, permits, 2);
    Arc::new(shared)
}

fn call(path: &str) -> Box<Movable> {
    let mailbox = Mailbox::<Sim>::new(0, 1);
    let underway = Underway::new(&mailbox, &upstream());
    let request = http::Request::get(path).body(()).expect("a request");
    let parts = request.into_parts().0;
    let request = Request::Http(parts, Source::Empty);
    Movable::new(underway, CallOptions::default(), request).0
}

fn offer(offers: &Offers, n: u32, class: Class) -> Arc<Offer> {
    let waiter = Key::from_parts(n, 1);
    let offer = Arc::new(Offer::new(call(&format!("/{n}")), class, 0, waiter));
    offers.publish(offer.clone());
    offer
}

fn taken(offers: &Offers, class: Class) -> Option<String> {
    let (offer, call) = offers.take(class)?;
    let path = call.request.path()?;
    assert_eq!(path, format!("/{}", offer.waiter.index()));
    Some(path.to_owned())
}

#[test]
fn they_are_taken_in_the_order_of_their_class() {
    let offers = Offers::new(2);
    for n in 0..3 {
        offer(&offers, n, Class::Normal);
        offer(&offers, n + 10, Class::Critical);
    }
    assert!(!offers.has_open(Class::Sheddable));
    assert_eq!(taken(&offers, Class::Sheddable), None);
    for n in 0..3 {
        assert_eq!(taken(&offers, Class::Normal), Some(format!("/{n}")));
        assert_eq!(
            taken(&offers, Class::Critical),
            Some(format!("/{}", n + 10))
        );
    }
    assert!(!offers.has_open(Class::Normal) && !offers.has_open(Class::Critical));
    assert_eq!(taken(&offers, Class::Normal), None);
}

#[test]
fn what_is_withdrawn_is_passed_over() {
    let offers = Offers::new(2);
    let all: Vec<_> = (0..4).map(|n| offer(&offers, n, Class::Normal)).collect();
    assert!(offers.withdraw(&all[0]).is_some());
    assert!(offers.withdraw(&all[2]).is_some());
    assert_eq!(taken(&offers, Class::Normal), Some("/1".into()));
    assert!(offers.withdraw(&all[1]).is_none(), "a sibling runs it");
    assert_eq!(taken(&offers, Class::Normal), Some("/3".into()));
    assert_eq!(taken(&offers, Class::Normal), None);
    assert!(!offers.has_open(Class::Normal));
}

#[test]
fn tombstones_do_not_pile_up() {
    let offers = Offers::new(2);
    let first = offer(&offers, 0, Class::Normal);
    for n in 1..10_000 {
        let offer = offer(&offers, n, Class::Normal);
        assert!(offers.withdraw(&offer).is_some());
        let length = offers.line(Class::Normal).queue.len();
        assert!(length <= 2 + TOMBSTONES_MAX, "{length} after {n}");
    }
    assert!(first.is_open());
    assert_eq!(taken(&offers, Class::Normal), Some("/0".into()));
}

/// Takers and withdrawers on several threads: each call comes out exactly once.
#[test]
fn each_call_comes_out_once() {
    const EACH: u32 = 2000;
    let offers = Arc::new(Offers::new(2));
    let takers: Vec<_> = (0..2)
        .map(|_| {
            let offers = offers.clone();
            std::thread::spawn(move || {
                let (mut count, mut idle) = (0, 0);
                while idle < 1000 {
                    match offers.take(Class::Normal) {
                        Some(_) => (count, idle) = (count + 1, 0),
                        None => {
                            idle += 1;
                            std::thread::yield_now();
                        }
                    }
                }
                count
            })
        })
        .collect();
    let mut out = 0;
    let mut kept = Vec::new();
    for n in 0..EACH {
        kept.push(offer(&offers, n, Class::Normal));
        if n % 3 == 0 {
            out += u32::from(offers.withdraw(&kept[n as usize / 2]).is_some());
        }
    }
    for taker in takers {
        out += taker.join().expect("no panic");
    }
    for offer in &kept {
        out += u32::from(offers.withdraw(offer).is_some());
    }
    assert_eq!(out, EACH);
    assert!(!offers.has_open(Class::Normal));
}
