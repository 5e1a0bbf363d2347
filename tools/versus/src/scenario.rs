//! What is done: the scenarios, each a plain description that every client reads alike.
//!
//! Owns: their names, and what a request, its transport and its callers are. Never: anything of a client.

use std::time::Duration;

/// Bytes of the small response body.
pub(crate) const SMALL: usize = 13;
/// Bytes of the large bodies, of responses and of requests.
pub(crate) const LARGE: usize = 64 << 10;
/// What `burst` leaves between the last response of one burst and the first request of the next.
pub(crate) const QUIET: Duration = Duration::from_millis(10);

/// One kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scenario {
    /// Its name on the command line and in the JSON.
    pub(crate) name: &'static str,
    /// One line about it.
    pub(crate) about: &'static str,
    /// Callers, each with one request under way at a time; at most as many connections are busy.
    pub(crate) callers: usize,
    pub(crate) work: Work,
    pub(crate) transport: Transport,
    pub(crate) place: Place,
    pub(crate) pace: Pace,
    /// Connections that are open beside, and carry nothing while measured.
    pub(crate) idle: usize,
    /// Upstreams that calls go to in turn, all of them the one backend.
    pub(crate) upstreams: usize,
}

/// One request and its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// GET, answered with 13 bytes.
    Small,
    /// GET, answered with 64 KiB.
    Large,
    /// POST of 64 KiB, answered with 13 bytes.
    Upload,
    /// GET, answered with 13 bytes and `Connection: close`; the backend then closes.
    Connect,
}

/// What is below HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    /// TLS 1.3 over TCP.
    Tls,
    Unix,
}

/// Where the calls come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Wherever a client is fastest: on its own runtime, thread or shard.
    Home,
    /// A tokio current-thread runtime on the client's core.
    Tokio,
}

/// When the next request begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// A caller's next one when its last has ended.
    Closed,
    /// All callers at once; and again, [`QUIET`] after the last of them has ended.
    Burst,
}

impl Work {
    /// The request target.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Work::Small => "/small",
            Work::Large => "/large",
            Work::Upload => "/upload",
            Work::Connect => "/close",
        }
    }

    /// Bytes of the response's body.
    pub(crate) const fn response_body(self) -> usize {
        match self {
            Work::Large => LARGE,
            Work::Small | Work::Upload | Work::Connect => SMALL,
        }
    }

    /// Bytes of the request's body.
    pub(crate) const fn request_body(self) -> usize {
        match self {
            Work::Upload => LARGE,
            Work::Small | Work::Large | Work::Connect => 0,
        }
    }

    pub(crate) const fn method(self) -> &'static str {
        match self {
            Work::Upload => "POST",
            Work::Small | Work::Large | Work::Connect => "GET",
        }
    }
}

impl Scenario {
    /// Connections that a client may have open at once.
    pub(crate) const fn connections(&self) -> usize {
        let in_turn = if self.upstreams > self.callers {
            self.upstreams
        } else {
            self.callers
        };
        in_turn + self.idle
    }

    /// Whether a connection carries more than one request.
    pub(crate) fn reuses(&self) -> bool {
        self.work != Work::Connect
    }
}

const H1: Scenario = Scenario {
    name: "h1",
    about: "64 connections, closed loop, 13-byte bodies",
    callers: 64,
    work: Work::Small,
    transport: Transport::Tcp,
    place: Place::Home,
    pace: Pace::Closed,
    idle: 0,
    upstreams: 1,
};

/// All of them, in the order in which they run.
pub(crate) const SCENARIOS: &[Scenario] = &[
    H1,
    Scenario {
        name: "h1-1",
        about: "one connection, closed loop, 13-byte bodies",
        callers: 1,
        ..H1
    },
    Scenario {
        name: "h1-512",
        about: "512 connections, closed loop, 13-byte bodies",
        callers: 512,
        ..H1
    },
    Scenario {
        name: "h1-64k",
        about: "64 connections, 64 KiB response bodies",
        work: Work::Large,
        ..H1
    },
    Scenario {
        name: "upload",
        about: "64 connections, 64 KiB request bodies",
        work: Work::Upload,
        ..H1
    },
    Scenario {
        name: "tls",
        about: "64 connections, TLS 1.3, 13-byte bodies",
        transport: Transport::Tls,
        ..H1
    },
    Scenario {
        name: "anywhere",
        about: "64 callers on a tokio current-thread runtime, all on one core",
        place: Place::Tokio,
        ..H1
    },
    Scenario {
        name: "anywhere-1",
        about: "one caller on a tokio current-thread runtime, all on one core",
        callers: 1,
        place: Place::Tokio,
        ..H1
    },
    Scenario {
        name: "connect",
        about: "64 callers, a new connection for each request",
        work: Work::Connect,
        ..H1
    },
    Scenario {
        name: "unix",
        about: "64 connections over a Unix socket, 13-byte bodies",
        transport: Transport::Unix,
        ..H1
    },
    Scenario {
        name: "idle",
        about: "64 active connections beside 10,000 idle ones",
        idle: 10_000,
        ..H1
    },
    Scenario {
        name: "upstreams-100",
        about: "64 callers, 100 upstreams in turn, a connection to each",
        upstreams: 100,
        ..H1
    },
    Scenario {
        name: "upstreams-1k",
        about: "64 callers, 1,000 upstreams in turn, a connection to each",
        upstreams: 1_000,
        ..H1
    },
    Scenario {
        name: "upstreams-10k",
        about: "64 callers, 10,000 upstreams in turn, a connection to each",
        upstreams: 10_000,
        ..H1
    },
    Scenario {
        name: "burst",
        about: "512 calls at once, 10 ms of quiet, again; up to 512 connections",
        callers: 512,
        pace: Pace::Burst,
        ..H1
    },
];

/// The one of that name.
pub(crate) fn named(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_were_promised() {
        let promised = [
            "h1", "h1-1", "h1-512", "h1-64k", "upload", "tls", "anywhere", "connect", "unix",
            "idle", "burst",
        ];
        for name in promised {
            assert!(named(name).is_some(), "{name}");
        }
        assert!(named("h2").is_none());
    }

    #[test]
    fn names_are_unique() {
        for (at, one) in SCENARIOS.iter().enumerate() {
            let same = SCENARIOS[at + 1..]
                .iter()
                .find(|other| other.name == one.name);
            assert_eq!(same, None);
        }
    }
}
