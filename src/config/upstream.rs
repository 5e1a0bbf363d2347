//! One upstream's settings.

use super::address::EndpointAddress;
use super::class::Class;
use super::policy::{
    AttemptConfig, BalanceConfig, BreakerConfig, RetryConfig, ShedConfig, WarmConfig,
};
use super::serial;
use super::sharing::SharingConfig;
use super::tls::TlsConfig;
use super::url::UpstreamUrl;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Settings of one upstream: where it is, and the policy for connections to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamConfig {
    /// Where it is and what is spoken there. Default `http://localhost`, which stands for a value
    /// that nobody can know: always set it.
    pub url: UpstreamUrl,
    /// Where its servers are, if not at the URL's own host and port: the URL then gives scheme,
    /// Host header and TLS name alone. Each address here, or each one that a name here resolves to,
    /// is an endpoint among which calls are spread. Empty, the default, takes the URL's host: one
    /// place to name is enough for most. Set it where servers are told by something other than DNS.
    pub endpoints: Vec<EndpointAddress>,
    /// What class its calls have that do not say one themselves. Default normal: only who knows
    /// what matters more, or less, can say so, and it says nothing unless some calls differ.
    pub class: Class,
    /// The most connections to it at once, over all shards; strict, counted in open descriptors.
    /// Default 128: Envoy and nginx setups run with about as many; a backend that forks per
    /// connection wants far fewer. Fewer than rate × response time makes calls wait.
    pub connections_max: u32,
    /// So many of the engine's `connections_max` are this upstream's alone, whatever others open.
    /// Default 0: an engine's cap is rarely met, and what is reserved is lost to everyone else. Set
    /// it for an upstream that must work while others flood the engine.
    pub connections_reserved: u32,
    /// So many of this upstream's `connections_max` serve critical calls alone. They are kept warm,
    /// beside `idle_min`, and no other upstream of the engine gets them either: what is reserved has to
    /// leave each upstream one connection at least. Default 0: it takes capacity from all other calls.
    /// With more, critical calls find a connection at once while others wait.
    pub critical_reserved: u32,
    /// Connections kept open, handshaken, before anyone asks; counts leased ones too. Spread evenly
    /// over the shards. Default 0: warmth costs the backend something, so it is asked for. Set it
    /// to what a quiet moment needs, and first calls save the handshake. Successors of those that
    /// end are dialled ahead, within `connections_max`: leave room for them, or calls meet dials.
    pub idle_min: u32,
    /// An idle connection older than this is closed, warm ones included (and replaced). Default 50
    /// s: below the 60 s after which AWS's load balancers and nginx's upstream side let go, so that
    /// we are the ones who close. Raise it where both ends are known; lower it to under 5 s for
    /// Node's default server.
    #[serde(with = "serial::duration_or_off")]
    pub idle_timeout: Option<Duration>,
    /// A connection older than this is closed at its next release, or when idle; each connection's
    /// own limit is up to 25 % shorter, by chance, so that what was opened together does not end
    /// together. Default 1 h (nginx, pgx): long enough to cost nothing, short enough to follow DNS
    /// and certificates. Shorter follows changes sooner, and spends more on handshakes.
    #[serde(with = "serial::duration_or_off")]
    pub age_max: Option<Duration>,
    /// A connection is closed after this many uses. Default off: age covers the usual reasons. Set
    /// it below a server's own limit (nginx: `keepalive_requests`, 1000) to be the one who closes.
    #[serde(with = "serial::count_or_off")]
    pub uses_max: Option<u64>,
    /// The most callers that wait for a connection on one shard; the next one is shed at once.
    /// Default 1024: at 1 ms a request and 128 connections, 8 ms of queue. More lets everyone wait
    /// longer for no more work done; fewer sheds in bursts.
    pub waiters_max: u32,
    /// The most connections that one shard dials at once. Default 16: enough to ramp up in a few
    /// round trips, few enough to leave a backend that has just come back standing. More ramps up
    /// faster and hits such a backend harder.
    pub dials_max: u32,
    /// Whether each caller who waits has a dial begun for it, up to `dials_max` at once; whoever
    /// comes first, the new connection or one given back, serves it. Default false, a dial begins
    /// where it serves sooner than the queue would: of 50 callers on 5 connections that are back in
    /// 2 ms, none is served by 45 dials that take 150 ms. Set it where calls take unlike times, so
    /// that no average foretells the queue, and the backend does not mind connections that nobody
    /// needs in the end.
    pub dials_eager: bool,
    /// How long a caller waits for a connection. Default 5 s: half of what people wait for a page.
    /// Longer keeps callers whose own callers have left; shorter fails through a slow cold start.
    #[serde(with = "serial::duration")]
    pub wait_timeout: Duration,
    /// How long a dial may take, TCP and TLS together. Default 5 s (Envoy's): a SYN is sent again
    /// after 1 s and 3 s, so two losses still pass. Shorter finds a dead address sooner, and fails
    /// on a lossy network.
    #[serde(with = "serial::duration")]
    pub dial_timeout: Duration,
    /// How long a whole call may take, waiting included, up to the response's head; the body then
    /// has to move at least once within the same time. Default 30 s: slow reports still pass, and a
    /// call that hangs does not hang for ever. Shorter frees callers and connections sooner; set it
    /// to what the caller's own deadline leaves.
    #[serde(with = "serial::duration")]
    pub call_timeout: Duration,
    /// Pause after a failed dial; doubles with each further one up to `dial_backoff_max`, each
    /// shortened by up to half at random. Default 10 ms: one lost dial is not felt, and a refusing
    /// port is not spun on. Longer is kinder to a backend that is down, and later to find it back.
    #[serde(with = "serial::duration")]
    pub dial_backoff_min: Duration,
    /// The longest pause between failing dials. Default 500 ms: a backend that is back is found
    /// within half a second. A dead one costs two dials a second and shard; longer makes that
    /// fewer.
    #[serde(with = "serial::duration")]
    pub dial_backoff_max: Duration,
    /// How long a resolved name is trusted. Default 30 s: the system resolver does not tell the
    /// record's own time to live. When resolving fails, the old addresses are used on. Shorter
    /// follows changes sooner and asks the resolver more often.
    #[serde(with = "serial::duration")]
    pub resolve_ttl: Duration,
    /// The kernel's probes of idle connections.
    pub keepalive: KeepaliveConfig,
    /// TCP_USER_TIMEOUT: how long data may stay unacknowledged, or the peer's window shut, before
    /// the kernel gives up. Default 30 s, as long as a call may take: keepalive never looks at a
    /// busy connection, so without it a vanished peer holds one for 15 minutes. It must exceed the
    /// longest stall of a live peer that is to be tolerated: a peer that does not read for this
    /// long is cut off.
    #[serde(with = "serial::duration_or_off")]
    pub user_timeout: Option<Duration>,
    /// The largest response head, in bytes. Default 64 KiB: real heads with many cookies fit, and a
    /// peer that sends headers without end takes no more memory than that. Larger lets each
    /// connection take more.
    pub head_bytes_max: usize,
    /// The most header fields in a response, at most 256. Default 100: real responses have far
    /// fewer, and a flood of empty fields is cut short. More accepts heads that cost more to parse.
    pub headers_max: usize,
    /// The most interim (1xx) responses to one request. Default 16: a server sends one or two, or
    /// some while it works; past that it is a flood that keeps a call from ending. More is for
    /// backends that tell their progress so.
    pub informational_max: u32,
    /// How long a request with `Expect: 100-continue` waits for the interim response before its
    /// body is sent all the same (RFC 9110 §10.1.1 forbids waiting for ever). Default 1 s, as curl
    /// has: servers that know the header answer within it. Shorter delays calls to servers that do
    /// not know it less; longer spares more bodies that would be refused.
    #[serde(with = "serial::duration")]
    pub continue_timeout: Duration,
    /// How long connections that were made under settings since replaced may live on: their number
    /// falls steadily over that time, and one still in use at its end is closed. Default 30 s, as
    /// long as a call may take. Shorter applies new settings sooner, and cuts off calls that are
    /// under way; longer keeps old connections for more of them. Where a key was stolen, replace it
    /// along with a `drain_timeout` of `"1ms"`: nothing of the old identity outlasts that.
    #[serde(with = "serial::duration")]
    pub drain_timeout: Duration,
    /// Whether calls go out with the header `traceparent` of the OpenTelemetry context that their caller is in
    /// (and its `tracestate`), if they have none themselves. Default false: a trace's ids are for one's own backends, and
    /// for strangers nobody's business. Set it where the backend takes part in traces. It needs the feature
    /// `opentelemetry`, and is refused without; a [`TraceParent`](crate::config::TraceParent) among a request's extensions goes out without either.
    pub trace_context: bool,
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
    /// What shards do for each other.
    pub sharing: SharingConfig,
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
            dials_eager: false,
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
            trace_context: false,
            shed: ShedConfig::default(),
            warm: WarmConfig::default(),
            breaker: BreakerConfig::default(),
            retry: RetryConfig::default(),
            attempt: AttemptConfig::default(),
            balance: BalanceConfig::default(),
            sharing: SharingConfig::default(),
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
    /// Silence before the first probe. Default 120 s: half of the 240 s after which the least
    /// patient common middlebox forgets a flow (Azure 240 s, AWS NLB 350 s, GCP 600 s), so that one
    /// lost probe does not lose the connection. Shorter notices vanished peers sooner, and costs
    /// packets; `"off"` turns probes off.
    #[serde(with = "serial::duration_or_off")]
    pub idle: Option<Duration>,
    /// Between probes. Default 30 s: three of them outlast a short outage on the way. Shorter
    /// notices a vanished peer sooner, and takes a short outage for one.
    #[serde(with = "serial::duration")]
    pub interval: Duration,
    /// Unanswered probes that end the connection. Default 3: gone is noticed after 210 s. With
    /// fewer a single loss ends a good connection; more notices later.
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
