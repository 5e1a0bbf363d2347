//! What one seed picks: how large the engine is, how it is configured, what goes wrong and how often.
//!
//! Owns: every choice that is made once. Never: what happens in the course of a run; that is thrown
//! from dice of its own, so that a knob more does not change the rest.

mod reload;
mod tls;

pub use reload::Reload;
pub use tls::{Imposture, SHARE as TLS_SHARE, TlsKnobs, UpstreamTls, is_spoken as speaks_tls};

use crate::dice::Dice;
use ringpool::Config;
use ringpool::config::{Class, EndpointAddress, UpstreamConfig};
use ringpool::simulation::{Costs, Faults, Weather};
use std::net::SocketAddr;
use std::time::Duration;

/// All choices of one seed.
#[derive(Clone)]
pub struct Knobs {
    /// What they were made from.
    pub seed: u64,
    /// How many shards the engine has.
    pub shards: usize,
    /// The engine's configuration, upstreams included.
    pub config: Config,
    /// The upstreams, as the world sees them.
    pub upstreams: Vec<UpstreamKnobs>,
    /// What each shard's driver does wrong.
    pub faults: Faults,
    /// How bytes travel.
    pub weather: Weather,
    /// What servers do wrong.
    pub mischief: Mischief,
    /// What callers do.
    pub load: LoadKnobs,
    /// What happens to whole endpoints, and to time itself.
    pub trouble: TroubleKnobs,
    /// How long servers take to set a connection up, and no longer to answer for it.
    pub setup: Duration,
    /// How long they take to answer, in one piece, where chance does not decide.
    pub service: Option<Duration>,
    /// What shards' work costs of their time.
    pub costs: Costs,
    /// Times out of 1024 that a shard which is awake is passed over in a round.
    pub skip: u16,
    /// Settings that are replaced on the way.
    pub reloads: Vec<Reload>,
    /// What goes wrong with TLS, where it is spoken.
    pub tls: Option<TlsKnobs>,
}

/// One upstream and its servers.
#[derive(Clone)]
pub struct UpstreamKnobs {
    /// Its name in the configuration.
    pub name: String,
    /// What its name resolves to.
    pub host: String,
    /// What its Host header says.
    pub authority: String,
    /// Where its servers listen.
    pub addresses: Vec<SocketAddr>,
    /// Whether it is a byte stream rather than HTTP.
    pub raw: bool,
    /// Whose servers these are: its own, or those of an upstream before it, under another name.
    pub home: usize,
    /// How it speaks TLS, if it does.
    pub tls: Option<UpstreamTls>,
}

/// How often a server misbehaves, out of 1024 requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mischief {
    /// A response of the wrong kind, or none: see [`Plan`](crate::world::Plan).
    pub answers: u16,
    /// Something on a connection that is at rest.
    pub idle: u16,
    /// The connection closed, politely, after an answer.
    pub closes: u16,
    /// An answer that takes long.
    pub slow: u16,
    /// The longest that a slow answer takes.
    pub slow_max: Duration,
}

/// What callers do.
#[derive(Clone, Copy, Debug)]
pub struct LoadKnobs {
    /// Calls while things go wrong.
    pub calls: u32,
    /// The mean pause between two bursts of them.
    pub pause: Duration,
    /// The most calls in a burst.
    pub burst_max: u64,
    /// Out of 1024: callers who go before they have their answer.
    pub cancels: u16,
    /// Out of 1024: calls from a task on a shard.
    pub on_shard: u16,
    /// Out of 1024: requests with a body.
    pub uploads: u16,
    /// The largest body, either way.
    pub body_max: u64,
    /// Out of 1024: callers who read slowly.
    pub slow_readers: u16,
    /// Critical, normal, sheddable: the share of each.
    pub classes: [u16; 3],
}

/// What happens to whole endpoints, and to time itself.
#[derive(Clone, Copy, Debug)]
pub struct TroubleKnobs {
    /// How many troubles there are in a run.
    pub count: u64,
    /// The longest that one lasts.
    pub lasts_max: Duration,
    /// Out of 1024 advances of the clock: jumps further than asked for.
    pub jumps: u16,
    /// The longest jump.
    pub jump_max: Duration,
}

impl Knobs {
    /// What `seed` picks.
    pub fn of(seed: u64) -> Knobs {
        let dice = &mut Dice::new(seed, "knobs");
        let shards = dice.within(1, 3) as usize;
        let weather = weather(dice);
        let count = dice.within(1, 4) as usize;
        let mut config = Config {
            shards,
            connections_max: 64,
            ..Config::default()
        };
        if dice.one_in(4) {
            config.connections_max = dice.within(count as u64 + 1, 12) as u32;
        }
        if dice.one_in(8) {
            config.mailbox_max = dice.within(2, 8) as usize;
        }
        let mut upstreams = Vec::new();
        for (index, tls) in tls::upstreams(seed, count).into_iter().enumerate() {
            let raw = index > 0 && dice.one_in(4);
            let mut knobs = UpstreamKnobs {
                tls,
                ..upstream(dice, index, raw)
            };
            if let Some(host) = host_of(seed, index, &upstreams) {
                knobs.move_in(host);
            }
            let settings = settings(dice, &knobs, &weather, config.connections_max);
            config.upstreams.insert(knobs.name.clone(), settings);
            upstreams.push(knobs);
        }
        leave_something(&mut config);
        // Dice of their own: what came before keeps the seeds that it has.
        let eager = &mut Dice::new(seed, "eager dials");
        for settings in config.upstreams.values_mut() {
            settings.dials_eager = eager.one_in(6);
        }
        share(&mut config, &mut Dice::new(seed, "sharing"));
        let reloads = reload::all(seed, &upstreams, &weather, &config);
        let mut knobs = Knobs {
            reloads,
            seed,
            shards,
            config,
            upstreams,
            faults: faults(dice),
            weather,
            mischief: mischief(dice),
            load: load(dice, &weather),
            trouble: trouble(dice),
            setup: Duration::ZERO,
            service: None,
            costs: Costs::default(),
            skip: *dice.pick(&[0, 100, 400]),
            tls: None,
        };
        if speaks_tls(seed) {
            let upstreams = knobs.upstreams.iter();
            let servers: Vec<usize> = upstreams.map(|one| one.addresses.len()).collect();
            let time = knobs.load.pause * knobs.load.calls;
            knobs.tls = Some(tls::mischief(seed, &servers, time));
        }
        knobs
    }

    /// How long it takes at the longest until the engine knows what a server did: there is slow
    /// weather, and drivers are late; where receiving stops after every few bytes they are so again and
    /// again until the end of a body.
    pub fn news(&self) -> Duration {
        let times = if self.faults.late > 0 { 40 } else { 2 };
        self.weather.latency_max * 8 + self.faults.late_max * times + Duration::from_millis(10)
    }

    /// The upstreams at the servers of this one, itself included.
    pub fn at_home(&self, home: usize) -> impl Iterator<Item = usize> {
        let all = self.upstreams.iter().enumerate();
        all.filter(move |(_, one)| one.home == home)
            .map(|(index, _)| index)
    }

    /// The settings of an upstream when it begins.
    pub fn settings(&self, upstream: usize) -> &UpstreamConfig {
        &self.config.upstreams[&self.upstreams[upstream].name]
    }
}

fn weather(dice: &mut Dice) -> Weather {
    let latency_max = dice.millis(1, 20);
    Weather {
        latency_min: latency_max / *dice.pick(&[1, 2, 10]),
        latency_max,
        piece_max: *dice.pick(&[3, 40, 200, 1460, 1460, 65_536]),
    }
}

fn upstream(dice: &mut Dice, index: usize, raw: bool) -> UpstreamKnobs {
    let port = 8000 + index as u16;
    let host = format!("up{index}.test");
    let addresses = (0..dice.within(1, 4))
        .map(|server| SocketAddr::from(([10, 0, index as u8, server as u8 + 1], port)))
        .collect();
    UpstreamKnobs {
        name: format!("up{index}"),
        authority: format!("{host}:{port}"),
        host,
        addresses,
        raw,
        home: index,
        tls: None,
    }
}

/// The upstream at whose servers this one is, under a name of its own, if it has none itself.
fn host_of(seed: u64, index: usize, before: &[UpstreamKnobs]) -> Option<&UpstreamKnobs> {
    // A certificate is for one name: who speaks TLS has servers of its own.
    if speaks_tls(seed) {
        return None;
    }
    let dice = &mut Dice::new(seed + index as u64, "guests");
    let host = dice.one_in(3).then(|| before.last()).flatten()?;
    before.get(host.home)
}

impl UpstreamKnobs {
    /// From now on these servers are its own, too: nothing but its name tells it from `host`.
    fn move_in(&mut self, host: &UpstreamKnobs) {
        let port = host.addresses[0].port();
        self.authority = format!("{}:{port}", self.host);
        self.addresses = host.addresses.clone();
        (self.raw, self.home) = (host.raw, host.home);
    }
}

/// Time limits are long beside the latency, so that what is in order succeeds.
fn settings(
    dice: &mut Dice,
    upstream: &UpstreamKnobs,
    weather: &Weather,
    engine_max: u32,
) -> UpstreamConfig {
    let scheme = match (upstream.raw, &upstream.tls) {
        (true, None) => "tcp",
        (true, Some(_)) => "tls",
        (false, None) => "http",
        (false, Some(_)) => "https",
    };
    let url = format!("{scheme}://{}", upstream.authority);
    let mut settings = UpstreamConfig::at(&url).expect("a made-up URL that is right");
    if let Some(tls) = &upstream.tls {
        settings.tls = tls.config(&upstream.host);
    }
    if dice.one_in(2) {
        let addresses = upstream.addresses.iter();
        settings.endpoints = addresses
            .map(|address| EndpointAddress::Host {
                host: address.ip().to_string(),
                port: address.port(),
            })
            .collect();
    }
    let least = (weather.latency_max * 12).as_millis() as u64 + 200;
    settings.class = *dice.pick(&Class::ALL);
    settings.connections_max = dice.magnitude(1, 12) as u32;
    if dice.one_in(3) {
        settings.idle_min = dice.within(0, settings.connections_max.min(engine_max).into()) as u32;
    }
    if dice.one_in(5) {
        let room = settings.connections_max - settings.idle_min;
        let most = room.min(settings.connections_max - 1);
        settings.critical_reserved = dice.within(0, most.into()) as u32;
    }
    settings.idle_timeout = (!dice.one_in(6)).then(|| dice.millis(50, 20_000));
    settings.age_max = (!dice.one_in(3)).then(|| dice.millis(100, 20_000));
    settings.uses_max = dice.one_in(3).then(|| dice.magnitude(1, 50));
    settings.waiters_max = dice.magnitude(1, 64) as u32;
    settings.dials_max = dice.magnitude(1, 16) as u32;
    settings.wait_timeout = dice.millis(least, least * 6);
    settings.dial_timeout = dice.millis(least, least * 4);
    settings.call_timeout = dice.millis(least, least * 8);
    settings.dial_backoff_min = dice.millis(1, 20);
    settings.dial_backoff_max = settings.dial_backoff_min + dice.millis(1, 300);
    settings.resolve_ttl = dice.millis(10, 10_000);
    settings.continue_timeout = dice.millis(5, 200);
    settings.drain_timeout = dice.millis(50, 1000);
    settings.informational_max = dice.within(0, 4) as u32;
    settings.head_bytes_max = match weather.piece_max {
        0..1000 => 512,
        _ => *dice.pick(&[512, 4096, 64 * 1024]),
    };
    policy(dice, &mut settings);
    settings
}

/// What is reserved for critical calls leaves the engine one connection at least for all others.
fn leave_something(config: &mut Config) {
    let mut left = config.connections_max - 1;
    for settings in config.upstreams.values_mut() {
        settings.critical_reserved = settings.critical_reserved.min(left);
        left -= settings.critical_reserved;
    }
}

/// Giving up stays: with neither, callers on a shard without a connection could wait in vain.
fn share(config: &mut Config, dice: &mut Dice) {
    for settings in config.upstreams.values_mut() {
        settings.sharing.steal = !dice.one_in(4);
    }
}

fn policy(dice: &mut Dice, settings: &mut UpstreamConfig) {
    settings.shed.sojourn_target = dice.one_in(2).then(|| dice.millis(5, 100));
    settings.shed.sojourn_interval =
        settings.shed.sojourn_target.unwrap_or_default() + dice.millis(1, 300);
    settings.warm.dials_per_second = dice.magnitude(5, 200) as u32;
    settings.warm.forecast_max = dice.within(0, settings.connections_max.into()) as u32;
    settings.warm.purge_interval = (!dice.one_in(3)).then(|| dice.millis(50, 5000));
    let breaker = &mut settings.breaker;
    breaker.enabled = !dice.one_in(5);
    breaker.failures_max = dice.within(2, 8) as u32;
    breaker.window = dice.millis(100, 5000);
    breaker.calls_min = dice.within(3, 20) as u32;
    breaker.ejection_min = dice.millis(20, 200);
    breaker.ejection_max = breaker.ejection_min + dice.millis(1, 500);
    breaker.ejected_share_max = *dice.pick(&[0.0, 0.5, 1.0]);
    breaker.trials_max = dice.within(1, 4) as u32;
    settings.retry.attempts_max = dice.within(1, 4) as u32;
    settings.retry.budget_share = *dice.pick(&[0.0, 0.2, 1.0]);
    settings.retry.budget_per_second = dice.magnitude(1, 100) as u32;
    settings.retry.backoff_min = dice.millis(1, 20);
    settings.retry.backoff_max = settings.retry.backoff_min + dice.millis(1, 200);
    settings.attempt.timeout_max = Some(settings.call_timeout);
    if dice.one_in(3) {
        settings.attempt.timeout_min = Some(settings.call_timeout / 2);
    }
    settings.balance.slow_start = dice.one_in(2).then(|| dice.millis(50, 2000));
}

fn faults(dice: &mut Dice) -> Faults {
    let mut chance = |most: u64| match dice.below(3) {
        0 => 0,
        1 => dice.magnitude(1, most) as u16,
        _ => dice.within(0, most) as u16,
    };
    let mut faults = Faults {
        late: chance(200),
        reordered: chance(300),
        short_send: chance(300),
        more_lost: chance(200),
        no_buffers: chance(100),
        open_fails: chance(40),
        submit_fails: chance(100),
        cancel_races: chance(512),
        overflow: chance(60),
        ..Faults::default()
    };
    faults.late_max = dice.millis(1, 10);
    faults.events_per_reap_max = *dice.pick(&[0, 0, 1, 2, 5]);
    faults
}

fn mischief(dice: &mut Dice) -> Mischief {
    Mischief {
        answers: *dice.pick(&[0, 20, 60, 200, 600]),
        idle: *dice.pick(&[0, 20, 60, 200]),
        closes: *dice.pick(&[0, 20, 100, 500]),
        slow: *dice.pick(&[0, 50, 200, 600]),
        slow_max: dice.millis(5, 300),
    }
}

fn load(dice: &mut Dice, weather: &Weather) -> LoadKnobs {
    // Byte by byte, a large body would be all that a run sees.
    let most = weather.piece_max as u64 * 200;
    LoadKnobs {
        calls: dice.within(40, 120) as u32,
        pause: dice.millis(1, 40),
        burst_max: *dice.pick(&[1, 2, 4, 12, 30]),
        cancels: *dice.pick(&[0, 20, 100, 400]),
        on_shard: *dice.pick(&[0, 512, 512, 1024]),
        uploads: *dice.pick(&[0, 200, 600]),
        body_max: (*dice.pick(&[100, 2000, 8000, 60_000])).min(most),
        slow_readers: *dice.pick(&[0, 0, 100, 300]),
        classes: *dice.pick(&[[0, 1, 0], [1, 1, 1], [1, 4, 4], [1, 0, 3]]),
    }
}

fn trouble(dice: &mut Dice) -> TroubleKnobs {
    TroubleKnobs {
        count: *dice.pick(&[0, 1, 3, 6]),
        lasts_max: dice.millis(20, 1500),
        jumps: *dice.pick(&[0, 0, 5, 30]),
        jump_max: dice.millis(10, 5000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_picks_a_valid_configuration() {
        for seed in 0..2000 {
            let knobs = Knobs::of(seed);
            let mut config = knobs.config.clone();
            if let Err(error) = config.validate() {
                panic!("seed {seed}: {error}");
            }
            for Reload {
                upstream, settings, ..
            } in knobs.reloads
            {
                let name = knobs.upstreams[upstream].name.clone();
                config.upstreams.insert(name, settings);
                if let Err(error) = config.validate() {
                    panic!("seed {seed}, reloaded: {error}");
                }
            }
        }
    }
}
