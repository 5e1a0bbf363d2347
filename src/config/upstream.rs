//! One upstream's settings.

use super::address::EndpointAddress;
use super::class::Class;
use super::policy::{
    AttemptConfig, BalanceConfig, BreakerConfig, RetryConfig, ShedConfig, WarmConfig,
};
use super::serial;
use super::url::UpstreamUrl;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Settings of one upstream: where it is, and the policy for connections to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamConfig {
    /// Where it is and what is spoken there. There is no default worth having: `http://localhost`.
    pub url: UpstreamUrl,
    /// Where its servers are, if not at the URL's own host and port: the URL then gives scheme, Host
    /// header and TLS name alone. Each address here, or each one that a name here resolves to, is an
    /// endpoint among which calls are spread. Empty, the default, takes the URL's host.
    pub endpoints: Vec<EndpointAddress>,
    /// What class its calls have that do not say one themselves. Default normal.
    pub class: Class,
    /// The most connections to it at once, over all shards; strict, counted in open descriptors.
    /// Default 128: Envoy and nginx setups run with about as many; a backend that forks per
    /// connection wants far fewer.
    pub connections_max: u32,
    /// So many of the engine's `connections_max` are this upstream's alone, whatever others open.
    /// Default 0: an engine's cap is rarely met, and what is reserved is lost to everyone else.
    pub connections_reserved: u32,
    /// So many of this upstream's `connections_max` serve critical calls alone. They are kept warm,
    /// beside `idle_min`. Default 0: it takes capacity from all other calls.
    pub critical_reserved: u32,
    /// Connections kept open, handshaken, before anyone asks; counts leased ones too. Spread evenly
    /// over the shards. Default 0: warmth costs the backend something, so it is asked for.
    pub idle_min: u32,
    /// An idle connection older than this is closed, warm ones included (and replaced). Default
    /// 50 s: below the 60 s after which AWS's load balancers and nginx's upstream side let go, so
    /// that we are the ones who close. Raise it where both ends are known; lower it to under 5 s
    /// for Node's default server.
    #[serde(with = "serial::duration_or_off")]
    pub idle_timeout: Option<Duration>,
    /// A connection older than this is closed at its next release, or when idle; each connection's
    /// own limit is up to 25 % shorter, by chance, so that what was opened together does not end
    /// together. Default 1 h (nginx, pgx): long enough to cost nothing, short enough to follow DNS
    /// and certificates.
    #[serde(with = "serial::duration_or_off")]
    pub age_max: Option<Duration>,
    /// A connection is closed after this many uses. Default off: age covers the usual reasons. Set
    /// it below a server's own limit (nginx: `keepalive_requests`, 1000) to be the one who closes.
    #[serde(with = "serial::count_or_off")]
    pub uses_max: Option<u64>,
    /// The most callers that wait for a connection on one shard; the next one is shed at once.
    /// Default 1024: at 1 ms a request and 128 connections, 8 ms of queue.
    pub waiters_max: u32,
    /// The most connections that one shard dials at once. Default 16: enough to ramp up in a few
    /// round trips, few enough to leave a backend that has just come back standing.
    pub dials_max: u32,
    /// How long a caller waits for a connection. Default 5 s: half of what people wait for a page.
    #[serde(with = "serial::duration")]
    pub wait_timeout: Duration,
    /// How long a dial may take, TCP and TLS together. Default 5 s (Envoy's): a SYN is sent again
    /// after 1 s and 3 s, so two losses still pass.
    #[serde(with = "serial::duration")]
    pub dial_timeout: Duration,
    /// How long a whole call may take, waiting included, up to the response's head; the body then
    /// has to move at least once within the same time. Default 30 s.
    #[serde(with = "serial::duration")]
    pub call_timeout: Duration,
    /// Pause after a failed dial; doubles with each further one up to `dial_backoff_max`, each
    /// shortened by up to half at random. Default 10 ms.
    #[serde(with = "serial::duration")]
    pub dial_backoff_min: Duration,
    /// The longest pause between failing dials. Default 500 ms: a backend that is back is found
    /// within half a second.
    #[serde(with = "serial::duration")]
    pub dial_backoff_max: Duration,
    /// How long a resolved name is trusted. Default 30 s: the system resolver does not tell the
    /// record's own time to live. When resolving fails, the old addresses are used on.
    #[serde(with = "serial::duration")]
    pub resolve_ttl: Duration,
    /// The kernel's probes of idle connections.
    pub keepalive: KeepaliveConfig,
    /// TCP_USER_TIMEOUT: how long data may stay unacknowledged, or the peer's window shut, before
    /// the kernel gives up. Default 30 s, as long as a call may take: keepalive never looks at a busy
    /// connection, so without it a vanished peer holds one for 15 minutes. It must exceed the
    /// longest stall of a live peer that is to be tolerated: a peer that does not read for this
    /// long is cut off.
    #[serde(with = "serial::duration_or_off")]
    pub user_timeout: Option<Duration>,
    /// The largest response head, in bytes. Default 64 KiB, more than browsers accept.
    pub head_bytes_max: usize,
    /// The most header fields in a response, at most 256. Default 100.
    pub headers_max: usize,
    /// The most interim (1xx) responses to one request. Default 16.
    pub informational_max: u32,
    /// How long a request with `Expect: 100-continue` waits for the interim response before its body
    /// is sent all the same (RFC 9110 §10.1.1 forbids waiting for ever). Default 1 s, as curl has.
    #[serde(with = "serial::duration")]
    pub continue_timeout: Duration,
    /// How long connections that were made under settings since replaced may live on: their number
    /// falls steadily over that time, and one still in use at its end is closed. Default 30 s, as
    /// long as a call may take.
    #[serde(with = "serial::duration")]
    pub drain_timeout: Duration,
    /// When callers who wait are sent away.
    pub shed: ShedConfig,
    /// How connections are made ahead of demand and given up after it.
    pub warm: WarmConfig,
    /// When endpoints that fail get no more calls.
    pub breaker: BreakerConfig,
    /// When calls are tried again.
    pub retry: RetryConfig,
    /// How long one attempt may take.
    pub attempt: AttemptConfig,
    /// How calls are spread over endpoints.
    pub balance: BalanceConfig,
    /// TLS settings, for `https` and `tls`.
    pub tls: TlsConfig,
}

impl Default for UpstreamConfig {
    fn default() -> UpstreamConfig {
        UpstreamConfig {
            url: UpstreamUrl::http(false, "localhost", 80).expect("localhost is a host"),
            endpoints: Vec::new(),
            class: Class::Normal,
            connections_max: 128,
            connections_reserved: 0,
            critical_reserved: 0,
            idle_min: 0,
            idle_timeout: Some(Duration::from_secs(50)),
            age_max: Some(Duration::from_secs(3600)),
            uses_max: None,
            waiters_max: 1024,
            dials_max: 16,
            wait_timeout: Duration::from_secs(5),
            dial_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(30),
            dial_backoff_min: Duration::from_millis(10),
            dial_backoff_max: Duration::from_millis(500),
            resolve_ttl: Duration::from_secs(30),
            keepalive: KeepaliveConfig::default(),
            user_timeout: Some(Duration::from_secs(30)),
            head_bytes_max: 64 * 1024,
            headers_max: 100,
            informational_max: 16,
            continue_timeout: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(30),
            shed: ShedConfig::default(),
            warm: WarmConfig::default(),
            breaker: BreakerConfig::default(),
            retry: RetryConfig::default(),
            attempt: AttemptConfig::default(),
            balance: BalanceConfig::default(),
            tls: TlsConfig::default(),
        }
    }
}

impl UpstreamConfig {
    /// Defaults for the upstream at `url`.
    ///
    /// # Errors
    /// If `url` names no upstream; see [`UpstreamUrl`].
    pub fn at(url: &str) -> Result<UpstreamConfig, super::UrlError> {
        Ok(UpstreamConfig {
            url: url.parse()?,
            ..UpstreamConfig::default()
        })
    }
}

/// When the kernel probes a silent connection (tcp(7), SO_KEEPALIVE).
///
/// Where idle connections are closed before the first probe would be sent (`idle_timeout` at or below
/// `idle`), none is set: it would never fire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeepaliveConfig {
    /// Silence before the first probe. Default 120 s: half of the 240 s after which the least patient
    /// common middlebox forgets a flow (Azure 240 s, AWS NLB 350 s, GCP 600 s), so that one lost probe
    /// does not lose the connection. `"off"` turns probes off.
    #[serde(with = "serial::duration_or_off")]
    pub idle: Option<Duration>,
    /// Between probes. Default 30 s.
    #[serde(with = "serial::duration")]
    pub interval: Duration,
    /// Unanswered probes that end the connection. Default 3: gone is noticed after 210 s.
    pub count: u32,
}

impl Default for KeepaliveConfig {
    fn default() -> KeepaliveConfig {
        KeepaliveConfig {
            idle: Some(Duration::from_secs(120)),
            interval: Duration::from_secs(30),
            count: 3,
        }
    }
}

/// TLS settings of one upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Who may sign the server's certificate. Default: the web's certificate authorities.
    pub roots: TrustRoots,
    /// The name that the certificate must be for, and that is sent as SNI. Empty, the default, takes
    /// the URL's host.
    pub server_name: String,
    /// Protocols offered by ALPN (RFC 7301), best first. Empty, the default, offers `http/1.1` for
    /// `https` and none for `tls`.
    pub alpn: Vec<String>,
    /// Whether sessions are resumed with tickets. Default true: it saves about a quarter of a
    /// handshake's CPU and the certificate's bytes. A ticket stays within its identity.
    pub resumption: bool,
}

impl Default for TlsConfig {
    fn default() -> TlsConfig {
        TlsConfig {
            roots: TrustRoots::WebPki,
            server_name: String::new(),
            alpn: Vec::new(),
            resumption: true,
        }
    }
}

/// Who may sign a server's certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrustRoots {
    /// Mozilla's set, compiled in (webpki-roots).
    WebPki,
    /// The certificates in this PEM file, read when the engine starts.
    PemFile(PathBuf),
    /// The certificates in this PEM text.
    Pem(String),
}
