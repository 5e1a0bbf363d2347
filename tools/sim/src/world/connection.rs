//! What the world knows of one accepted connection.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::time::Duration;

/// One accepted connection.
pub struct Link {
    /// Which of all that the world accepted.
    pub number: u64,
    /// Whose server it is at.
    pub upstream: usize,
    /// Which of that upstream's servers.
    pub server: usize,
    /// Since when the server's side has been of no more use: it closed, or sent what nobody asked for.
    pub spoiled: Cell<Option<Duration>>,
    /// Until when the server is at work: what it sends leaves after that only.
    pub busy_until: Cell<Duration>,
    /// The client has closed it.
    pub gone: Cell<bool>,
    /// The end of the connection would pass for the end of a body.
    pub until_close: Cell<bool>,
    /// Whom the first request on it was for.
    pub first: OnceCell<String>,
    /// Whether TLS is spoken on it.
    pub tls: bool,
    /// Its server does not say good-bye (close_notify) before it closes.
    pub rude: Cell<bool>,
}

impl Link {
    /// A request for `host` is here: whom the connection was made for.
    pub fn made_for(&self, host: &str) -> String {
        self.first.get_or_init(|| host.to_owned()).clone()
    }

    /// From `at` on nobody may begin to use it who could know.
    pub fn spoil(&self, at: Duration) {
        if self.spoiled.get().is_none_or(|before| at < before) {
            self.spoiled.set(Some(at));
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "up{}.{}#{}", self.upstream, self.server, self.number)
    }
}
