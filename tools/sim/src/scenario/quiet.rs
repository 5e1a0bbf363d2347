//! A world in which nothing goes wrong but what a scenario has in store.
//!
//! Owns: how far things are, which the seed picks. Never: any fault.

use crate::dice::Dice;
use crate::knobs::{Knobs, LoadKnobs, Mischief, TroubleKnobs, UpstreamKnobs};
use crate::load::{Order, Upload, Way};
use ringpool::Config;
use ringpool::config::{Class, UpstreamConfig};
use ringpool::simulation::{Costs, Faults, Weather};
use std::net::SocketAddr;
use std::time::Duration;

/// As finely as an engine keeps time: its timers' tick.
pub const TICK: Duration = Duration::from_millis(1);
/// The one upstream.
const NAME: &str = "target";

/// One server, `service` for each answer, and one upstream whose settings are made from its place. Way and back take
/// 0.1 to 1 ms.
pub fn world(
    seed: u64,
    shards: usize,
    service: Duration,
    settings: impl FnOnce(UpstreamConfig) -> UpstreamConfig,
) -> Knobs {
    let dice = &mut Dice::new(seed, "quiet");
    let latency_max = Duration::from_micros(dice.within(50, 500));
    let host = format!("{NAME}.test");
    let authority = format!("{host}:8000");
    let at = UpstreamConfig::at(&format!("http://{authority}")).expect("a URL that is right");
    let config = Config {
        shards,
        ..Config::with_upstream(NAME, settings(at))
    };
    Knobs {
        seed,
        shards,
        config,
        upstreams: vec![UpstreamKnobs {
            name: NAME.to_owned(),
            host,
            authority,
            addresses: vec![SocketAddr::from(([10, 0, 0, 1], 8000))],
            raw: false,
            home: 0,
            tls: None,
        }],
        reloads: Vec::new(),
        tls: None,
        faults: Faults::default(),
        weather: Weather {
            latency_min: latency_max / 2,
            latency_max,
            piece_max: 0,
        },
        mischief: Mischief::default(),
        load: LoadKnobs {
            calls: 0,
            pause: Duration::ZERO,
            burst_max: 1,
            cancels: 0,
            on_shard: 0,
            uploads: 0,
            body_max: 0,
            slow_readers: 0,
            classes: [0, 1, 0],
        },
        trouble: TroubleKnobs {
            count: 0,
            lasts_max: Duration::ZERO,
            jumps: 0,
            jump_max: Duration::ZERO,
        },
        setup: Duration::ZERO,
        service: Some(service),
        costs: Costs::default(),
        skip: 0,
    }
}

/// A plain call from outside.
pub fn call(class: Class) -> Order {
    Order {
        upstream: 0,
        way: Way::Outside(None),
        method: "GET",
        wants: 13,
        brings: 0,
        upload: Upload::Whole,
        expects: false,
        hasty: false,
        class: Some(class),
        patience: None,
        pause: None,
    }
}

/// Calls of these classes, one after the other, that come by chance from `from` until `to`, so many a second on average.
pub fn by_chance(
    dice: &mut Dice,
    rate: f64,
    (from, to): (Duration, Duration),
    class: impl Fn(usize) -> Class,
) -> Vec<(Duration, Order)> {
    let mut calls = Vec::new();
    let mut at = from;
    loop {
        // The pauses between arrivals that know nothing of each other.
        let uniform = (dice.below(1 << 53) as f64 + 1.0) / (1u64 << 53) as f64;
        at += Duration::from_secs_f64(-uniform.ln() / rate);
        if at >= to {
            return calls;
        }
        calls.push((at, call(class(calls.len()))));
    }
}
