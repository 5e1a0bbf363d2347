//! The clients that are compared, each used in the way its documentation tells a user to.
//!
//! Owns: the list, and what each says about what it cannot do. Never: measures; a client that is a library makes
//! calls ([`crate::caller`]), one that is a tool is read. The README of `versus` says how each is configured.

mod anywhere;
mod floor;
mod floor_pulse;
mod h2load;
mod hyper_unix;
mod hyper_util;
#[cfg(feature = "pingora")]
mod pingora;
mod ringline;
mod ringpool;
mod ringpool_http;
mod tokio_runtime;
mod tokio_uring;
mod tool;
mod wrk;

use crate::cli::ClientOptions;
use crate::measure::Outcome;
use crate::scenario::{Place, Scenario};

impl Peer {
    /// Why it has no part in a scenario; `None`: it has.
    pub(crate) fn lacks(&self, scenario: &Scenario) -> Option<String> {
        let is_ours = self.name.starts_with(SUBJECT);
        if scenario.upstreams > 1 && !is_ours {
            return Some("of many upstreams only ours are compared, with ours of one".to_owned());
        }
        (self.refuses)(scenario)
    }
}

/// What everybody is compared with.
pub(crate) const SUBJECT: &str = "ringpool";

/// A client.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Its name on the command line and in the JSON.
    pub(crate) name: &'static str,
    /// One line about it.
    pub(crate) about: &'static str,
    /// Why it cannot do a scenario; `None`: it can.
    pub(crate) refuses: fn(&Scenario) -> Option<String>,
    /// Does it, once, in a process of its own.
    pub(crate) run: fn(&ClientOptions) -> Result<Outcome, String>,
}

/// All of them, in the order of the report.
pub(crate) const PEERS: &[Peer] = &[
    ringpool::PEER,
    ringpool_http::PEER,
    floor::PEER,
    floor_pulse::PEER,
    hyper_util::PEER,
    PINGORA,
    ringline::PEER,
    tokio_uring::PEER,
    wrk::PEER,
    h2load::PEER,
];

#[cfg(feature = "pingora")]
const PINGORA: Peer = pingora::PEER;
#[cfg(not(feature = "pingora"))]
const PINGORA: Peer = Peer {
    name: "pingora",
    about: "pingora-core's HTTP client",
    refuses: |_| Some("not compiled in: the feature `pingora` is off".to_owned()),
    run: |_| Err("not compiled in".to_owned()),
};

/// The one of that name.
pub(crate) fn named(name: &str) -> Option<&'static Peer> {
    PEERS.iter().find(|peer| peer.name == name)
}

/// Why a client with a runtime of its own has no part in calls from tokio's.
fn refuses_tokio(scenario: &Scenario) -> Option<String> {
    (scenario.place == Place::Tokio)
        .then(|| "has a loop of its own, which nobody on a tokio runtime can call".to_owned())
}

/// Whether a response is the one that the scenario asks for.
fn expect(scenario: &Scenario, status: u16, body: usize) -> Result<(), String> {
    let expected = scenario.work.response_body();
    if (status, body) == (200, expected) {
        return Ok(());
    }
    Err(format!(
        "status {status} and {body} bytes, not 200 and {expected}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{SCENARIOS, named as scenario};

    #[test]
    fn everybody_who_was_promised_is_there_once() {
        let names: Vec<_> = PEERS.iter().map(|peer| peer.name).collect();
        let promised = [
            "ringpool",
            "ringpool-http",
            "floor",
            "floor-pulse",
            "hyper-util",
            "pingora",
            "ringline-http",
            "tokio-uring",
            "wrk",
            "h2load",
        ];
        assert_eq!(names, promised);
    }

    #[test]
    fn the_subject_and_hyper_util_can_do_everything() {
        for name in [SUBJECT, "hyper-util"] {
            let peer = named(name).unwrap();
            // Of many upstreams ours are compared with ours.
            for scenario in SCENARIOS.iter().filter(|one| one.upstreams == 1) {
                assert_eq!((peer.refuses)(scenario), None, "{name}, {}", scenario.name);
            }
        }
    }

    #[test]
    fn a_response_is_right_in_status_and_length_or_wrong() {
        let h1 = scenario("h1").unwrap();
        assert_eq!(expect(h1, 200, 13), Ok(()));
        assert!(expect(h1, 204, 13).is_err());
        assert!(expect(h1, 200, 12).is_err());
    }
}
