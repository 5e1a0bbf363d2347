//! What a seed picks of TLS: who speaks it, and what goes wrong with it.
//!
//! It is thrown from dice of its own: a seed without TLS is what it would be if there was none.

use crate::dice::Dice;
use crate::world::{Certificate, roots};
use ringpool::config::{TlsConfig, TrustRoots};
use std::time::Duration;

/// TLS is spoken in one seed out of so many: a connection costs a handshake, and with that most of a
/// millisecond, where a plain one costs microseconds.
pub const SHARE: u64 = 25;

/// How often TLS goes wrong.
#[derive(Clone, Debug)]
pub struct TlsKnobs {
    /// Out of 1024 handshakes: the server breaks off.
    pub handshakes: u16,
    /// Out of 1024 connections: the server never says good-bye.
    pub rude: u16,
    /// Out of 1024: something on a connection that is at rest, after a use.
    pub idle: u16,
    /// Who shows a certificate that is not good enough, for a while.
    pub impostures: Vec<Imposture>,
}

/// Shows a certificate that is not good enough, for a while.
#[derive(Clone, Debug)]
pub struct Imposture {
    /// Whose server.
    pub upstream: usize,
    /// Which of them.
    pub server: usize,
    /// What it shows.
    pub certificate: Certificate,
    /// From when.
    pub from: Duration,
    /// Until when.
    pub until: Duration,
}

/// One upstream's TLS.
#[derive(Clone, Debug)]
pub struct UpstreamTls {
    /// The name that the engine asks for and that certificates are for.
    pub server_name: String,
    /// Whether its servers speak TLS 1.2 and nothing newer.
    pub only_tls12: bool,
    /// How many tickets they send after a handshake.
    pub tickets: usize,
    /// Whether they know each other's sessions.
    pub shared_sessions: bool,
    /// Whether they pick a protocol.
    pub alpn: bool,
    /// The largest record that they send.
    pub record_max: Option<usize>,
    /// Whether the engine resumes.
    pub resumption: bool,
}

impl UpstreamTls {
    /// What the engine is told.
    pub fn config(&self, host: &str) -> TlsConfig {
        TlsConfig {
            roots: TrustRoots::Pem(roots().to_owned()),
            server_name: match self.server_name == host {
                true => String::new(),
                false => self.server_name.clone(),
            },
            resumption: self.resumption,
            ..TlsConfig::default()
        }
    }
}

/// Whether TLS is spoken in this seed.
pub fn is_spoken(seed: u64) -> bool {
    Dice::new(seed, "tls").one_in(SHARE)
}

/// The TLS of so many upstreams; none at all in most seeds.
pub(super) fn upstreams(seed: u64, count: usize) -> Vec<Option<UpstreamTls>> {
    if !is_spoken(seed) {
        return vec![None; count];
    }
    let dice = &mut Dice::new(seed, "tls upstreams");
    let sure = dice.below(count as u64) as usize;
    let upstream = |index| (index == sure || !dice.one_in(3)).then(|| upstream(dice, index));
    (0..count).map(upstream).collect()
}

fn upstream(dice: &mut Dice, index: usize) -> UpstreamTls {
    UpstreamTls {
        server_name: match dice.one_in(3) {
            true => format!("alias{index}.test"),
            false => format!("up{index}.test"),
        },
        only_tls12: dice.one_in(4),
        tickets: *dice.pick(&[0, 1, 2, 2, 4]),
        shared_sessions: dice.one_in(2),
        alpn: dice.one_in(2),
        record_max: *dice.pick(&[None, None, Some(64), Some(512)]),
        resumption: !dice.one_in(5),
    }
}

/// What goes wrong in a seed whose upstreams have so many servers each, in the first `time`.
pub(super) fn mischief(seed: u64, servers: &[usize], time: Duration) -> TlsKnobs {
    let dice = &mut Dice::new(seed, "tls mischief");
    let mut knobs = TlsKnobs {
        handshakes: *dice.pick(&[0, 50, 200]),
        rude: *dice.pick(&[0, 200, 1024]),
        idle: *dice.pick(&[0, 60, 300]),
        impostures: Vec::new(),
    };
    for _ in 0..dice.below(3) {
        let upstream = dice.below(servers.len() as u64) as usize;
        let from = time.mul_f64(dice.below(1024) as f64 / 1024.0);
        knobs.impostures.push(Imposture {
            upstream,
            server: dice.below(servers[upstream] as u64) as usize,
            certificate: *dice.pick(&[
                Certificate::UnknownIssuer,
                Certificate::WrongName,
                Certificate::Expired,
            ]),
            from,
            until: from + dice.millis(20, 1000),
        });
    }
    knobs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_what_it_says_and_somebody_speaks_in_it() {
        let seeds: Vec<u64> = (0..10_000).filter(|&seed| is_spoken(seed)).collect();
        let expected = 10_000 / SHARE as usize;
        assert!(
            seeds.len().abs_diff(expected) < expected / 4,
            "{}",
            seeds.len()
        );
        for seed in seeds {
            assert!(upstreams(seed, 3).iter().any(Option::is_some));
        }
        assert!(!is_spoken(0));
        assert!(upstreams(0, 3).iter().all(Option::is_none));
    }
}
