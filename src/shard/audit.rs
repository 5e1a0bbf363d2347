//! What the audit trail is told of connections.
//!
//! Owns: what has to be kept of a connection until it ends, and the words for why it does. Never: costs more than a look
//! where no trail is kept.

use super::bytes_in::End;
use super::core::Core;
use crate::audit::{AuditAction, AuditTls, CloseCause, DialCause, Fingerprint, Told};
use crate::driver::Driver;
use crate::lifecycle::Lifecycle;
use crate::pool::{CloseReason, MemberId, Purpose};
use crate::slab::Key;
use crate::time::Time;
use crate::tls::{Handshake, Session};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// A connection's part in the trail.
#[derive(Debug)]
pub(crate) struct Audited {
    number: u64,
    dialled_for: DialCause,
    dialled: Time,
    opened: Option<Time>,
    tls: Option<Arc<AuditTls>>,
    /// Why its dial failed.
    error: Option<String>,
}

impl<D: Driver> Core<D> {
    /// A dial begins.
    pub(super) fn audit_dial(&mut self, key: Key, upstream: Key, member: MemberId) {
        let Some(trail) = &self.trail else {
            return;
        };
        let state = self.upstreams.get(upstream);
        let purpose = state.and_then(|state| state.pool.dialed_for(member));
        if let Some(connection) = self.connections.get_mut(key) {
            connection.audited = Some(Box::new(Audited {
                number: trail.number(),
                dialled_for: dial_cause(purpose),
                dialled: self.now,
                opened: None,
                tls: None,
                error: None,
            }));
        }
    }

    /// A handshake has ended.
    pub(super) fn audit_handshake(&mut self, key: Key, handshake: &Handshake) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if let (Some(audited), Some(session)) = (&mut connection.audited, &connection.tls) {
            audited.tls = Some(Arc::new(agreed(session, handshake)));
        }
    }

    /// A connection can be used.
    pub(super) fn audit_opened(&mut self, key: Key, now: Time, took: Duration) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.opened_at = now;
        connection.span.opened(connection.endpoint.as_ref());
        self.happened(key, Lifecycle::Opened { took });
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let Some(audited) = connection.audited.as_deref_mut() else {
            return;
        };
        audited.opened = Some(now);
        let action = AuditAction::Opened {
            dialled_for: audited.dialled_for,
            took: now.since(audited.dialled),
            tls: audited.tls.clone(),
        };
        let number = audited.number;
        self.tell(key, number, now, action);
    }

    /// A dial has failed.
    pub(super) fn audit_failure(&mut self, key: Key, error: &dyn std::error::Error) {
        if let Some(audited) = self.audited(key) {
            audited.error.get_or_insert_with(|| error.to_string());
        }
    }

    /// A connection is about to end, for this reason unless there was one before.
    pub(super) fn ends_by(&mut self, key: Key, why: CloseCause) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.why.get_or_insert(why);
        }
    }

    /// The same, by what the pool says.
    pub(super) fn ends_by_pool(&mut self, key: Key, upstream: Key, reason: CloseReason) {
        let state = self.upstreams.get(upstream);
        let forgotten = state.is_some_and(|state| state.forgotten);
        let why = match reason {
            CloseReason::Drained if forgotten => CloseCause::Forgotten,
            _ => reason.into(),
        };
        self.ends_by(key, why);
    }

    /// The same, for a connection that somebody gives up, being through with it or not: for what is known of it.
    pub(super) fn ends_as_it_is(&mut self, key: Key, complete: bool) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        let why = match (connection.inbound.end(), connection.outbound.failed) {
            _ if self.stopping => CloseCause::Stopped,
            _ if connection.fault.is_some() => CloseCause::Failed,
            (Some(end), _) => end_cause(end),
            (None, Some(kind)) => end_cause(End::Failed(kind)),
            // Whoever used it is through with it, and more has come.
            (None, None) if complete && !connection.inbound.is_empty() => CloseCause::StrayBytes,
            (None, None) => CloseCause::Discarded,
        };
        self.ends_by(key, why);
    }

    /// A connection begins to end, opened or not.
    pub(super) fn audit_end(&mut self, key: Key) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let why = connection.why.unwrap_or(CloseCause::Failed);
        connection.span.ends(why.name(), connection.uses);
        if connection.opened_at != Time::NEVER
            && let Some(state) = self.upstreams.get_mut(connection.upstream)
        {
            let open = now.since(connection.opened_at);
            state.meters.closed(connection.place, why, open);
            connection.why = Some(why);
            self.happened(key, Lifecycle::Retired { why });
        }
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let Some(mut audited) = connection.audited.take() else {
            return;
        };
        let action = match audited.opened {
            Some(opened) => AuditAction::Closed {
                why,
                uses: connection.uses,
                sent: connection.sent,
                received: connection.received,
                age: now.since(opened),
                tls: audited.tls.take(),
            },
            None => AuditAction::Failed {
                dialled_for: audited.dialled_for,
                took: now.since(audited.dialled),
                error: audited
                    .error
                    .take()
                    .unwrap_or_else(|| format!("given up: {why:?}")),
            },
        };
        self.tell(key, audited.number, now, action);
    }

    /// The shard is lost: none of its connections ends in order.
    pub(super) fn audit_lost(&mut self) {
        let keys: Vec<Key> = self.connections.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.ends_by(key, CloseCause::Lost);
            self.audit_end(key);
        }
    }

    fn audited(&mut self, key: Key) -> Option<&mut Audited> {
        self.connections.get_mut(key)?.audited.as_deref_mut()
    }

    fn tell(&self, key: Key, number: u64, at: Time, action: AuditAction) {
        let (Some(trail), Some(connection)) = (&self.trail, self.connections.get(key)) else {
            return;
        };
        let upstream = self.upstreams.get(connection.upstream);
        let Some(upstream) = upstream else {
            return;
        };
        trail.tell(Told {
            at,
            connection: number,
            shard: self.index,
            upstream: upstream.shared.name.clone(),
            endpoint: connection.endpoint.clone(),
            action,
            missing: 0,
        });
    }
}

fn agreed(session: &Session, handshake: &Handshake) -> AuditTls {
    let client = session.client();
    let alpn = handshake.alpn.as_deref();
    AuditTls {
        identity: client.number(),
        server_name: client.identity().server_name.as_str().into(),
        version: handshake.version,
        suite: handshake.suite,
        alpn: alpn.map(|name| String::from_utf8_lossy(name).into_owned()),
        resumed: handshake.resumed,
        server_certificate: session.fingerprint().map(Fingerprint),
        client_certificate: client.client_fingerprint().map(Fingerprint),
    }
}

fn dial_cause(purpose: Option<Purpose>) -> DialCause {
    match purpose {
        Some(Purpose::Fresh) => DialCause::Retry,
        Some(Purpose::Warmth) => DialCause::Warmth,
        Some(Purpose::Trial) => DialCause::Trial,
        Some(Purpose::Queue) | None => DialCause::Demand,
    }
}

pub(super) fn end_cause(end: End) -> CloseCause {
    match end {
        End::Clean
        | End::Truncated
        | End::Failed(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            CloseCause::PeerClosed
        }
        End::Failed(_) => CloseCause::Failed,
    }
}

impl From<CloseReason> for CloseCause {
    fn from(reason: CloseReason) -> CloseCause {
        match reason {
            CloseReason::IdleTimeout => CloseCause::IdleTimeout,
            CloseReason::Age => CloseCause::Age,
            CloseReason::Uses => CloseCause::Uses,
            CloseReason::Capacity => CloseCause::Capacity,
            CloseReason::Drained => CloseCause::Stopped,
            CloseReason::Reconfigured => CloseCause::Reconfigured,
            CloseReason::Surplus => CloseCause::Surplus,
            CloseReason::Endpoint => CloseCause::Endpoint,
            CloseReason::Retired => CloseCause::GoingAway,
            CloseReason::Trust => CloseCause::Trust,
        }
    }
}
