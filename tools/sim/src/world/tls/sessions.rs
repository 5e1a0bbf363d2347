//! The sessions that servers remember, so that clients may resume them.
//!
//! Owns: whose each ticket is. Never: lets a ticket pass that came to another upstream's server, or twice.

use rustls::server::StoresServerSessions;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All sessions of a run.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    sessions: BTreeMap<Vec<u8>, Session>,
    /// What a client did with tickets that it must not.
    findings: Vec<String>,
}

#[derive(Debug)]
struct Session {
    upstream: usize,
    server: usize,
    value: Vec<u8>,
    used: bool,
}

impl Sessions {
    /// What was found since the last time.
    pub fn finding(&self) -> Option<String> {
        self.lock().findings.pop()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Each change under the lock is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sessions as one server sees them.
#[derive(Debug)]
pub struct Shelf {
    /// All of them.
    pub sessions: Arc<Sessions>,
    /// Whose server it is.
    pub upstream: usize,
    /// Which of them.
    pub server: usize,
    /// Whether it knows the sessions of the upstream's other servers.
    pub shared: bool,
}

impl Shelf {
    fn find(&self, key: &[u8], once: bool) -> Option<Vec<u8>> {
        let known = &mut *self.sessions.lock();
        let session = known.sessions.get_mut(key)?;
        let Shelf {
            upstream, server, ..
        } = self;
        if session.upstream != *upstream {
            let of = session.upstream;
            let what = format!("a session of up{of} was offered to up{upstream}.{server}");
            known.findings.push(what);
        }
        if once && std::mem::replace(&mut session.used, true) {
            let what =
                format!("a ticket was offered twice, the second time to {upstream}.{server}");
            known.findings.push(what);
        }
        (self.shared || session.server == *server).then(|| session.value.clone())
    }
}

impl StoresServerSessions for Shelf {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let session = Session {
            upstream: self.upstream,
            server: self.server,
            value,
            used: false,
        };
        self.sessions.lock().sessions.insert(key, session);
        true
    }

    /// TLS 1.2: a session may be resumed any number of times.
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.find(key, false)
    }

    /// TLS 1.3: a ticket is used once (RFC 8446, appendix C.4).
    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.find(key, true)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_for_one_upstream_and_for_once() {
        let sessions = Arc::new(Sessions::default());
        let shelf = |upstream, server, shared| Shelf {
            sessions: sessions.clone(),
            upstream,
            server,
            shared,
        };
        shelf(0, 0, true).put(vec![1], vec![7]);
        shelf(0, 0, true).put(vec![2], vec![8]);
        assert_eq!(shelf(0, 1, true).take(&[1]), Some(vec![7]));
        assert_eq!(shelf(0, 1, false).take(&[2]), None, "not its own");
        assert_eq!(sessions.finding(), None);
        shelf(0, 0, true).take(&[1]);
        assert!(
            sessions
                .finding()
                .is_some_and(|what| what.contains("twice"))
        );
        shelf(1, 0, true).get(&[2]);
        assert!(sessions.finding().is_some_and(|what| what.contains("up1")));
    }
}
