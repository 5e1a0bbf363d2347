//! What the audit trail tells: one event when a connection is open, one when it ends, one when it never came to be.
//!
//! Owns: the words. Never: holds a secret: of keys, tickets and payloads nothing is in it.

use crate::endpoint::Endpoint;
use serde::{Serialize, Serializer};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// One line of the audit trail. As JSON it is one flat object, with `event` saying which [`AuditAction`] it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AuditEvent {
    /// When it happened (RFC 3339 in JSON, in UTC, with microseconds).
    #[serde(serialize_with = "timestamp")]
    pub at: SystemTime,
    /// Which connection: a number given when its dial began, never used twice by an engine.
    pub connection: u64,
    /// The shard that has it.
    pub shard: usize,
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// Where it goes; absent if it never came to choose.
    #[serde(serialize_with = "endpoint", skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// How many events just before this one are missing, because they came faster than they were taken.
    #[serde(skip_serializing_if = "is_zero")]
    pub missing_before: u64,
    /// What happened.
    #[serde(flatten)]
    pub action: AuditAction,
}

/// What happened to a connection.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum AuditAction {
    /// It can be used: connected, and handshaken where TLS is spoken.
    #[non_exhaustive]
    Opened {
        /// What it was dialled for.
        dialled_for: DialCause,
        /// How long that took, in seconds in JSON.
        #[serde(serialize_with = "seconds", rename = "dial_seconds")]
        took: Duration,
        /// What was agreed, where TLS is spoken.
        #[serde(skip_serializing_if = "Option::is_none")]
        tls: Option<Arc<AuditTls>>,
    },
    /// It could not be made.
    #[non_exhaustive]
    Failed {
        /// What it was dialled for.
        dialled_for: DialCause,
        /// How long that took, in seconds in JSON.
        #[serde(serialize_with = "seconds", rename = "dial_seconds")]
        took: Duration,
        /// Why, in one line.
        error: String,
    },
    /// It has ended, with what came of it.
    #[non_exhaustive]
    Closed {
        /// Why.
        why: CloseCause,
        /// How often it was handed out.
        uses: u64,
        /// Bytes sent, TLS records included.
        sent: u64,
        /// Bytes received, TLS records included.
        received: u64,
        /// How long it was open, in seconds in JSON.
        #[serde(serialize_with = "seconds", rename = "age_seconds")]
        age: Duration,
        /// What was agreed, where TLS is spoken.
        #[serde(skip_serializing_if = "Option::is_none")]
        tls: Option<Arc<AuditTls>>,
    },
}

/// What TLS agreed on, and who proved what.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AuditTls {
    /// Which identity: a number given when its settings were put in force. Certificates, keys, roots, pins or lists that
    /// were replaced have another one.
    pub identity: u64,
    /// The name that the server's certificate is for.
    pub server_name: Arc<str>,
    /// `TLS 1.3` or `TLS 1.2`.
    pub version: &'static str,
    /// The cipher suite, as IANA names it.
    pub suite: &'static str,
    /// The protocol that was picked by ALPN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpn: Option<String>,
    /// Whether an earlier session was resumed: no certificate was sent then.
    pub resumed: bool,
    /// SHA-256 of the server's own certificate; of a resumed session, of the one that it goes back to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_certificate: Option<Fingerprint>,
    /// SHA-256 of the certificate that we have to show, should the server ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<Fingerprint>,
}

/// A certificate's SHA-256, over its DER; 64 hexadecimal digits when written.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// What a connection is dialled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DialCause {
    /// A caller waits.
    Demand,
    /// A caller wants a new one: what was reused failed under its call.
    Retry,
    /// Nobody yet: to be there when somebody comes.
    Warmth,
    /// To see whether an endpoint can be connected to again.
    Trial,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CloseCause {
    /// Idle for `idle_timeout`.
    IdleTimeout,
    /// Older than its share of `age_max`.
    Age,
    /// Used `uses_max` times.
    Uses,
    /// Given up, so that its permit serves another need.
    Capacity,
    /// More than the recent peak needed.
    Surplus,
    /// What its server had proven did not count for longer.
    Trust,
    /// Made under settings that were replaced, or past a limit that was lowered.
    Reconfigured,
    /// Its endpoint was ejected, or is none of the upstream's any more.
    Endpoint,
    /// The peer announced that it would close it, or it has no number left for another stream.
    GoingAway,
    /// The peer closed or reset it.
    PeerClosed,
    /// The peer sent what nobody had asked for.
    StrayBytes,
    /// It failed: an error of the network, or against the protocol.
    Failed,
    /// Whoever used it left it in a state that cannot be reused: an exchange given up, or an answer that ends with
    /// the connection.
    Discarded,
    /// Its socket was given away.
    Detached,
    /// Its upstream, made on the fly, was given up: there are more than `upstreams_max`.
    Forgotten,
    /// The engine drained, or has stopped.
    Stopped,
    /// Its shard was lost by a defect of the engine.
    Lost,
}

impl CloseCause {
    /// All of them, in the order of their declaration.
    pub const ALL: [CloseCause; 17] = [
        CloseCause::IdleTimeout,
        CloseCause::Age,
        CloseCause::Uses,
        CloseCause::Capacity,
        CloseCause::Surplus,
        CloseCause::Trust,
        CloseCause::Reconfigured,
        CloseCause::Endpoint,
        CloseCause::GoingAway,
        CloseCause::PeerClosed,
        CloseCause::StrayBytes,
        CloseCause::Failed,
        CloseCause::Discarded,
        CloseCause::Detached,
        CloseCause::Forgotten,
        CloseCause::Stopped,
        CloseCause::Lost,
    ];

    /// As it is written in JSON and in metrics: `idle_timeout`.
    pub const fn name(self) -> &'static str {
        match self {
            CloseCause::IdleTimeout => "idle_timeout",
            CloseCause::Age => "age",
            CloseCause::Uses => "uses",
            CloseCause::Capacity => "capacity",
            CloseCause::Surplus => "surplus",
            CloseCause::Trust => "trust",
            CloseCause::Reconfigured => "reconfigured",
            CloseCause::Endpoint => "endpoint",
            CloseCause::GoingAway => "going_away",
            CloseCause::PeerClosed => "peer_closed",
            CloseCause::StrayBytes => "stray_bytes",
            CloseCause::Failed => "failed",
            CloseCause::Discarded => "discarded",
            CloseCause::Detached => "detached",
            CloseCause::Forgotten => "forgotten",
            CloseCause::Stopped => "stopped",
            CloseCause::Lost => "lost",
        }
    }
}

/// How many connections ended, by why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closes([u64; CloseCause::ALL.len()]);

impl Closes {
    /// How many ended because of `why`.
    pub fn of(&self, why: CloseCause) -> u64 {
        self.0[why as usize]
    }

    /// How many ended in all.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Each cause with its count, those without one as well.
    pub fn iter(&self) -> impl Iterator<Item = (CloseCause, u64)> + '_ {
        CloseCause::ALL.into_iter().zip(self.0)
    }

    pub(crate) fn count(&mut self, why: CloseCause) {
        self.0[why as usize] += 1;
    }

    pub(crate) fn add(&mut self, others: &Closes) {
        for (count, more) in self.0.iter_mut().zip(others.0) {
            *count += more;
        }
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn timestamp<S: Serializer>(at: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&humantime::format_rfc3339_micros(*at))
}

fn seconds<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_secs_f64())
}

fn endpoint<S: Serializer>(endpoint: &Option<Endpoint>, to: S) -> Result<S::Ok, S::Error> {
    match endpoint {
        Some(endpoint) => to.collect_str(endpoint),
        None => to.serialize_none(),
    }
}
