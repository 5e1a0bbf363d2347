//! Whose turn it is when the one connection comes free, and callers wait on both shards.

use super::config;
use super::rig::{Call, Rig};
use crate::config::{Class, UpstreamConfig};
use crate::lifecycle::{Lifecycle, LifecycleEvent};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// An upstream with one connection at most, in use on its first shard; that shard, the other one, and the call.
fn busy(change: fn(&mut UpstreamConfig)) -> (Rig, [usize; 2], Call) {
    let policy = config(1, |upstream| {
        upstream.connections_max = 1;
        change(upstream);
    });
    hold(Rig::of(2, policy))
}

/// The same of a rig that is there.
fn hold(mut rig: Rig) -> (Rig, [usize; 2], Call) {
    rig.web.serve(1, 1);
    let owner = rig.upstream("a").homes.first();
    let held = rig.call(owner, "a", "/hold/first");
    rig.settle();
    assert_eq!(rig.web.asked(), ["/hold/first"]);
    (rig, [owner, 1 - owner], held)
}

/// Lets the connection go, and tells in which order calls were made from then on.
fn order(mut rig: Rig, held: Call, calls: Vec<Call>) -> Vec<String> {
    let mut calls: Vec<Call> = std::iter::once(held).chain(calls).collect();
    rig.settle();
    rig.web.let_go();
    rig.finish(&mut calls);
    assert!(calls.iter_mut().all(|call| call.error().is_none()));
    let asked = rig.web.asked();
    rig.stop();
    asked[1..].to_vec()
}

fn of(class: Class, path: &str) -> http::Request<()> {
    let mut request = http::Request::get(path).body(()).expect("a request");
    request.extensions_mut().insert(class);
    request
}

#[test]
fn a_call_that_has_waited_longer_elsewhere_goes_first() {
    for change in [(|_| {}) as fn(&mut UpstreamConfig), |upstream| {
        upstream.uses_max = Some(1)
    }] {
        let (mut rig, [owner, other], held) = busy(change);
        let early = rig.call(other, "a", "/early");
        rig.pass(7 * MS);
        let late = rig.call(owner, "a", "/late");
        assert_eq!(order(rig, held, vec![early, late]), ["/early", "/late"]);
    }
}

#[test]
fn a_call_that_is_handed_on_is_told_of_as_stolen() {
    let policy = config(1, |upstream| upstream.connections_max = 1);
    let stolen: Arc<Mutex<Vec<usize>>> = Arc::default();
    let told = stolen.clone();
    let rig = Rig::telling(2, policy, move |event: &LifecycleEvent<'_>| {
        if event.what == Lifecycle::Stolen {
            told.lock().unwrap().push(event.shard);
        }
    });
    let (mut rig, [owner, other], held) = hold(rig);
    let early = rig.call(other, "a", "/early");
    rig.pass(7 * MS);
    let late = rig.call(owner, "a", "/late");
    assert_eq!(order(rig, held, vec![early, late]), ["/early", "/late"]);
    assert_eq!(*stolen.lock().unwrap(), [owner]);
}

#[test]
fn calls_of_about_one_age_stay_where_they_are() {
    let (mut rig, [owner, other], held) = busy(|_| {});
    let there = rig.call(other, "a", "/there");
    rig.pass(2 * MS);
    let here = rig.call(owner, "a", "/here");
    assert_eq!(order(rig, held, vec![there, here]), ["/here", "/there"]);
}

#[test]
fn what_matters_more_goes_first_wherever_it_waits() {
    let (mut rig, [owner, other], held) = busy(|_| {});
    let normal = rig.call_with(owner, "a", of(Class::Normal, "/normal"));
    let critical = rig.call_with(owner, "a", of(Class::Critical, "/critical"));
    rig.pass(7 * MS);
    let there = rig.call_with(other, "a", of(Class::Critical, "/there"));
    let sheddable = rig.call_with(other, "a", of(Class::Sheddable, "/sheddable"));
    let calls = vec![normal, critical, there, sheddable];
    let expected = ["/critical", "/there", "/normal", "/sheddable"];
    assert_eq!(order(rig, held, calls), expected);
}

/// A shard whose own callers always wait never has room for others: they are served all the same.
#[test]
fn nobody_starves_beside_a_queue_that_moves() {
    let (mut rig, [owner, other], held) = busy(|_| {});
    let mut calls = vec![held];
    let mut there = rig.call(other, "a", "/there");
    for n in 0..20 {
        calls.push(rig.call(owner, "a", &format!("/hold/{n}")));
        rig.pass(3 * MS);
        rig.web.let_go();
        rig.settle();
    }
    assert!(there.is_answered(), "{:?}", rig.web.asked());
    rig.web.let_go();
    rig.finish(&mut calls);
    rig.stop();
}
