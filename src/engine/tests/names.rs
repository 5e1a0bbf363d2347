//! Upstreams with names: how often a resolver is asked, and what becomes of its answers.

use super::rig::Rig;
use super::web::endpoint;
use super::{SECOND, config};
use crate::config::Config;
use crate::error::{ErrorKind, Phase};
use crate::shard::lookup::{Lookup, Resolve, Resolved};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// A resolver that answers when the test says so.
#[derive(Default)]
pub(super) struct Names {
    asked: Mutex<Vec<String>>,
    waiting: Mutex<Vec<Lookup>>,
}

impl Resolve for Names {
    fn resolve(&self, lookup: Lookup) {
        let name = format!("{}:{}", lookup.host, lookup.port);
        self.asked.lock().unwrap().push(name);
        self.waiting.lock().unwrap().push(lookup);
    }
}

impl Names {
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// Answers all that was asked with the addresses of these hosts.
    fn answer(&self, hosts: &[u8]) {
        for lookup in std::mem::take(&mut *self.waiting.lock().unwrap()) {
            let addresses = hosts
                .iter()
                .map(|&host| SocketAddr::from(([192, 0, 2, host], 80)));
            (lookup.deliver)(Resolved {
                upstream: lookup.upstream,
                result: Ok(addresses.collect()),
            });
        }
    }

    /// Answers what was asked of one host: with these addresses, or that it cannot be resolved.
    pub(super) fn answer_one(&self, host: &str, hosts: Option<&[u8]>) {
        let mut waiting = self.waiting.lock().unwrap();
        let at = waiting.iter().position(|lookup| lookup.host == host);
        let Some(at) = at else {
            return;
        };
        let lookup = waiting.remove(at);
        drop(waiting);
        let address = |&host: &u8| SocketAddr::from(([192, 0, 2, host], 80));
        let result = match hosts {
            Some(hosts) => Ok(hosts.iter().map(address).collect()),
            None => Err(std::io::Error::other("no name server")),
        };
        (lookup.deliver)(Resolved {
            upstream: lookup.upstream,
            result,
        });
    }
}

fn named() -> Config {
    config(1, |upstream| {
        upstream.url = "http://name.test".parse().expect("a URL");
        upstream.dial_timeout = SECOND;
        upstream.wait_timeout = 20 * SECOND;
    })
}

#[test]
fn one_look_up_is_under_way_however_many_dials_time_out_meanwhile() {
    let names = Arc::new(Names::default());
    let mut rig = Rig::resolving(named(), names.clone());
    rig.web.serve(1, 128);
    for _ in 0..3 {
        let mut calls = [rig.call(0, "a", "/early"), rig.call(0, "a", "/early")];
        rig.finish(&mut calls);
        for call in &mut calls {
            let kind = call.error().map(|error| error.kind());
            assert_eq!(kind, Some(ErrorKind::Timeout(Phase::Dial)));
        }
    }
    assert_eq!(names.asked(), ["name.test:80"]);
    // All who waited for it have given up: the answer counts all the same.
    rig.pass(2 * SECOND);
    names.answer(&[1]);
    rig.settle();
    let mut calls = [rig.call(0, "a", "/late")];
    rig.finish(&mut calls);
    assert_eq!(calls[0].body(), "late@0");
    assert_eq!(names.asked(), ["name.test:80"]);
    rig.stop();
}

#[test]
fn a_look_up_in_vain_is_told_apart() {
    let names = Arc::new(Names::default());
    let mut rig = Rig::resolving(named(), names.clone());
    rig.web.serve(1, 128);
    let mut calls = [rig.call(0, "a", "/x")];
    rig.settle();
    names.answer_one("name.test", None);
    rig.finish(&mut calls);
    let kind = calls[0].error().map(|error| error.kind());
    assert_eq!(kind, Some(ErrorKind::Resolve));
    let told = rig.figures(0);
    let meters = &told.upstreams["a"].meters;
    assert_eq!(meters.lookups_failed, 1);
    if crate::stats::TELEMETRY {
        let counts = [meters.lookups.count(), meters.lookups_in_vain.count()];
        assert_eq!(counts, [0, 1]);
    }
    rig.stop();
}

#[test]
fn the_first_address_that_accepts_serves() {
    let names = Arc::new(Names::default());
    let mut rig = Rig::resolving(named(), names.clone());
    rig.network.refuse(endpoint(1));
    rig.web.watch(1, 0);
    rig.web.serve(2, 128);
    let mut calls = [rig.call(0, "a", "/x")];
    rig.settle();
    names.answer(&[1, 2]);
    rig.finish(&mut calls);
    assert_eq!(calls[0].body(), "x@0");
    assert_eq!(calls[0].attempts(), 1);
    assert_eq!(rig.network.connections_accepted(&endpoint(2)), 1);
    rig.stop();
}
