//! Shards of the real engine over the simulated network, stepped by hand.

mod hub;
mod rig;
mod tasks;
mod web;

mod access;
mod calls;
mod caps;
mod classes;
mod copying;
mod dials;
mod drain;
mod endpoints;
mod ends;
mod forwarding;
mod homes;
mod hygiene;
mod lost;
mod moves;
mod names;
mod reconfigure;
mod reserves;
mod retries;
mod snapshots;
mod stale;
mod stealing;
mod streams;
mod turns;
mod verdicts;

use crate::config::{Config, UpstreamConfig};
use std::time::Duration;

/// An engine with upstreams `a`, `b`… at `192.0.2.1`, `.2`…, each as `change` wants it.
fn config(upstreams: u8, change: impl Fn(&mut UpstreamConfig)) -> Config {
    let mut config = Config::default();
    for n in 0..upstreams {
        let url = format!("http://192.0.2.{}", n + 1);
        let mut upstream = UpstreamConfig::at(&url).expect("a URL");
        upstream.idle_timeout = None;
        upstream.age_max = None;
        change(&mut upstream);
        let name = char::from(b'a' + n).to_string();
        config.upstreams.insert(name, upstream);
    }
    config
}

const SECOND: Duration = Duration::from_secs(1);
