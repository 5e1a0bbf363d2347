//! HAProxy: as a server that asks for certificates, closes when it sees fit, and is reloaded under load.

use super::client_certificates::{inline, serial};
use super::*;
use common::servers::haproxy::{Haproxy, Settings};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::thread;

const VERSIONS: [&str; 2] = ["TLSv1.2", "TLSv1.3"];

/// HAProxy that speaks this version and lets in only whom `clients` has signed for; and an upstream that shows such a
/// certificate, with 0x51 for its serial number.
fn asking(version: &str, settings: &Settings<'_>) -> Option<(Haproxy, UpstreamConfig)> {
    let (authority, clients) = (Authority::new(), Authority::new());
    let bind = format!(
        "ca-file DIR/clients.pem verify required ssl-min-ver {version} ssl-max-ver {version} {}",
        settings.bind
    );
    let settings = Settings {
        bind: &bind,
        ..*settings
    };
    let haproxy = start(&authority, &clients, &settings)?;
    let mut upstream = backend(&haproxy.url("https"), &authority);
    upstream.tls.client_certificate = Some(inline(&clients.sign_client(0x51)));
    Some((haproxy, upstream))
}

fn start(authority: &Authority, clients: &Authority, settings: &Settings<'_>) -> Option<Haproxy> {
    let own = authority.sign();
    let both = format!("{}{}", own.pem, own.key_pem);
    let files = [
        ("server.pem", both.as_str()),
        ("clients.pem", clients.pem.as_str()),
    ];
    Haproxy::start(settings, &files)
}

/// What HAProxy says of a call, and what the call says of itself.
#[derive(Clone, Debug)]
struct Told {
    version: String,
    resumed: bool,
    reused: bool,
    attempts: u32,
    worker: u32,
}

async fn read<B>(response: http::Response<B>) -> Result<Told, Error>
where
    B: http_body::Body<Data = Bytes, Error = Error> + ringpool::Travelled,
{
    assert_eq!(response.status(), 200);
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    let (version, resumed) = (header("tls"), header("resumed") == "1");
    let trip = Trip::of(&response).expect("a trip");
    let (reused, attempts) = (trip.reused, trip.attempts);
    let body = response.into_body().collect().await?.to_bytes();
    let body = std::str::from_utf8(&body).expect("text");
    let (worker, shown) = body.split_once(' ').expect("two words");
    assert_eq!(serial(shown), 0x51, "the certificate that was shown");
    Ok(Told {
        version,
        resumed,
        reused,
        attempts,
        worker: worker.parse().expect("a process id"),
    })
}

async fn from_anywhere(upstream: &ringpool::Upstream) -> Result<Told, Error> {
    let request = http::Request::get("/").body(()).unwrap();
    read(upstream.call(request).await?).await
}

async fn on_shard(upstream: &ringpool::on_shard::Upstream) -> Result<Told, Error> {
    let request = http::Request::get("/").body(()).unwrap();
    read(upstream.call(request).await?).await
}

/// One call from anywhere, then one on each shard in its turn.
fn one_each_way(engine: &Engine, shards: usize) -> Vec<Told> {
    let upstream = engine.upstream("backend").unwrap();
    let mut all = vec![run(from_anywhere(&upstream)).expect("from anywhere")];
    for index in 0..shards {
        let tasks = engine.spawn_on_each(move |shard| async move {
            if shard.index() != index {
                return None;
            }
            let upstream = shard.upstream("backend").unwrap();
            Some(on_shard(&upstream).await.expect("on the shard"))
        });
        all.extend(run(tasks).into_iter().filter_map(|ended| ended.unwrap()));
    }
    all
}

#[test]
fn with_tickets_every_connection_but_the_first_is_resumed() {
    for version in VERSIONS {
        let settings = Settings {
            frontend: "option httpclose",
            ..Settings::default()
        };
        let Some((_haproxy, upstream)) = asking(version, &settings) else {
            return;
        };
        let engine = engine(2, upstream);
        let told = [one_each_way(&engine, 2), one_each_way(&engine, 2)].concat();
        for (nth, told) in told.iter().enumerate() {
            assert!(!told.reused && told.version == version, "{told:?}");
            assert_eq!(told.resumed, nth > 0, "call {nth}: {told:?}");
        }
        let seen = run(engine.snapshot()).unwrap();
        assert_eq!((seen.handshakes_full, seen.handshakes_resumed), (1, 5));
    }
}

#[test]
fn without_tickets_every_handshake_is_full() {
    for version in VERSIONS {
        let settings = Settings {
            // No sessions in its memory either, to which the tickets of TLS 1.3 point then.
            global: "tune.ssl.cachesize 0",
            bind: "no-tls-tickets",
            frontend: "option httpclose",
        };
        let Some((_haproxy, upstream)) = asking(version, &settings) else {
            return;
        };
        let engine = engine(2, upstream);
        for told in [one_each_way(&engine, 2), one_each_way(&engine, 2)].concat() {
            assert!(!told.resumed && told.version == version, "{told:?}");
        }
        let seen = run(engine.snapshot()).unwrap();
        assert_eq!((seen.handshakes_full, seen.handshakes_resumed), (6, 0));
    }
}

#[test]
fn one_connection_serves_both_ways_in() {
    for version in VERSIONS {
        let Some((_haproxy, upstream)) = asking(version, &Settings::default()) else {
            return;
        };
        let engine = engine(1, upstream);
        for round in 0..4 {
            for (nth, told) in one_each_way(&engine, 1).iter().enumerate() {
                assert_eq!(told.reused, (round, nth) != (0, 0), "{told:?}");
            }
        }
        let seen = run(engine.snapshot()).unwrap();
        assert_eq!((seen.connections_opened, seen.evictions()), (1, 0));
    }
}

/// With TLS 1.3 the refusal comes after the handshake, for all that we can see.
#[test]
fn whom_it_does_not_know_it_refuses_by_an_alert() {
    let (authority, clients) = (Authority::new(), Authority::new());
    for version in VERSIONS {
        let bind = format!(
            "ca-file DIR/clients.pem verify required ssl-min-ver {version} ssl-max-ver {version}"
        );
        let settings = Settings {
            bind: &bind,
            ..Settings::default()
        };
        let Some(haproxy) = start(&authority, &clients, &settings) else {
            return;
        };
        let strangers = Authority::new().sign_client(1);
        for certificate in [None, Some(inline(&strangers))] {
            let mut upstream = backend(&haproxy.url("https"), &authority);
            upstream.tls.client_certificate = certificate;
            let error = failure(upstream);
            assert_eq!(error.kind(), ErrorKind::Tls(TlsFailure::Alert), "{error}");
        }
    }
}

#[test]
fn a_connection_that_it_closes_after_some_requests_fails_no_call() {
    let settings = Settings {
        frontend: " http-request track-sc0 src_port table ports\n \
                   http-after-response set-header connection close if { sc0_http_req_cnt(ports) ge 3 }",
        ..Settings::default()
    };
    for version in VERSIONS {
        let Some((_haproxy, upstream)) = asking(version, &settings) else {
            return;
        };
        let engine = engine(1, upstream);
        for _ in 0..15 {
            for told in one_each_way(&engine, 1) {
                assert_eq!(told.attempts, 1, "it says so in time: {told:?}");
            }
        }
        let seen = run(engine.snapshot()).unwrap();
        assert_eq!((seen.hits, seen.misses), (20, 10), "three calls on each");
        assert_eq!(seen.handshakes_full, 1);
    }
}

#[test]
fn a_connection_that_it_closes_for_idleness_is_noticed_at_once() {
    for version in VERSIONS {
        let settings = Settings {
            frontend: "timeout http-keep-alive 50ms",
            ..Settings::default()
        };
        let Some((_haproxy, upstream)) = asking(version, &settings) else {
            return;
        };
        let engine = engine(1, upstream);
        let caller = engine.upstream("backend").unwrap();
        for round in 1..=3 {
            let told = run(from_anywhere(&caller)).expect("an answer");
            assert_eq!((told.reused, told.attempts), (false, 1));
            until(&engine, "its close is seen", |seen| {
                seen.evicted_peer_closed == round && seen.now.sockets == 0
            });
        }
    }
}

/// Each reload starts a new worker; the old one ends what it serves and closes what idles, while we call on it.
#[test]
fn a_reload_under_load_fails_no_call() {
    const RELOADS: usize = 3;
    for version in VERSIONS {
        let Some((haproxy, upstream)) = asking(version, &Settings::default()) else {
            return;
        };
        let engine = engine(2, upstream);
        let load = Arc::new(Load::default());
        let on_shards = engine.spawn_on_each({
            let load = load.clone();
            move |shard| {
                let load = load.clone();
                async move {
                    let upstream = shard.upstream("backend").unwrap();
                    while !load.over.load(Ordering::Relaxed) {
                        load.note(&on_shard(&upstream).await);
                    }
                }
            }
        });
        thread::scope(|scope| {
            for _ in 0..3 {
                let (upstream, load) = (engine.upstream("backend").unwrap(), &load);
                scope.spawn(move || {
                    while !load.over.load(Ordering::Relaxed) {
                        load.note(&run(from_anywhere(&upstream)));
                    }
                });
            }
            let _end = load.end();
            until(&engine, "the load runs", |_| load.workers() == 1);
            for nth in 1..=RELOADS {
                haproxy.reload();
                until(&engine, "the next worker answers", |_| load.workers() > nth);
            }
        });
        for ended in run(on_shards) {
            ended.expect("no panic");
        }
        let failures = load.failures.lock().unwrap();
        assert!(failures.is_empty(), "{failures:#?}");
        assert!(load.calls.load(Ordering::Relaxed) > 0);
    }
}

/// What callers have seen.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    calls: AtomicU64,
    workers: Mutex<BTreeSet<u32>>,
    failures: Mutex<Vec<String>>,
}

impl Load {
    fn note(&self, result: &Result<Told, Error>) {
        match result {
            Ok(told) => {
                self.workers.lock().unwrap().insert(told.worker);
                self.calls.fetch_add(1, Ordering::Relaxed);
            }
            // So many say it all.
            Err(error) if self.failures.lock().unwrap().len() < 10 => {
                self.failures.lock().unwrap().push(format!("{error:?}"));
            }
            Err(_) => {}
        }
    }

    /// How many of HAProxy's workers have answered so far.
    fn workers(&self) -> usize {
        self.workers.lock().unwrap().len()
    }

    /// Ends the load when dropped, also by a test that fails.
    fn end(&self) -> End<'_> {
        End(&self.over)
    }
}
