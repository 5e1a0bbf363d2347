//! nginx killed in the middle of the load, and back later. Alone in its file: it counts the process's
//! descriptors, which a test beside it would change.

mod common;

use common::bounded::{PATIENCE, engine, run, run_for, until};
use common::certificates::Authority;
use common::servers::nginx::Nginx;
use http_body_util::BodyExt;
use ringpool::config::{TlsConfig, TrustRoots, UpstreamConfig};
use ringpool::on_shard::{Head, Shard, Upstream};
use ringpool::{Error, ErrorKind, Phase, TlsFailure};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Callers from outside, and as many on each shard.
const CALLERS: usize = 8;
/// Connections kept warm. The load may open as many more as it needs.
const WARM: u32 = 8;

#[test]
fn a_killed_backend_costs_typed_errors_and_nothing_else() {
    let authority = Authority::new();
    let certificate = authority.sign();
    for scheme in ["http", "https"] {
        let secure = match scheme {
            "https" => "ssl; ssl_certificate DIR/cert.pem; ssl_certificate_key DIR/key.pem",
            _ => "",
        };
        let server = format!("listen PORT {secure}; location / {{ return 200 \"here\"; }}");
        let files = [
            ("cert.pem", certificate.pem.as_bytes()),
            ("key.pem", certificate.key_pem.as_bytes()),
        ];
        let Some(nginx) = Nginx::start_with(&server, &files) else {
            return;
        };
        let backend = UpstreamConfig {
            idle_min: WARM,
            // What the load had opened beyond is gone soon after it.
            idle_timeout: Some(Duration::from_secs(1)),
            wait_timeout: Duration::from_millis(500),
            tls: TlsConfig {
                roots: TrustRoots::Pem(authority.pem.clone()),
                ..TlsConfig::default()
            },
            ..UpstreamConfig::at(&nginx.url(scheme)).unwrap()
        };
        outage(nginx, backend);
    }
}

fn outage(mut nginx: Nginx, backend: UpstreamConfig) {
    let before_engine = descriptors();
    let engine = engine(2, backend);
    run(engine.ready(Duration::from_secs(5))).unwrap();
    let warm = descriptors();
    let load = Arc::new(Load::default());

    let on_shards = engine.spawn_on_each({
        let load = load.clone();
        move |shard| on_shard(shard, load.clone())
    });
    let upstream = engine.upstream("backend").unwrap();
    let outside = std::thread::spawn({
        let load = load.clone();
        move || {
            run_for(3 * PATIENCE, async {
                let callers: tokio::task::JoinSet<()> = (0..CALLERS)
                    .map(|_| from_outside(upstream.clone(), load.clone()))
                    .collect();
                callers.join_all().await;
            });
        }
    });

    load.grows("calls that succeed", &load.succeeded, 500);
    nginx.kill();
    load.grows("calls that fail", &load.failed, 100);
    nginx.restart();
    load.grows("calls that succeed again", &load.succeeded, 1000);
    load.over.store(true, Ordering::Relaxed);

    // Every call ends: each caller's task does.
    outside.join().expect("no caller hung");
    for ended in run(on_shards) {
        assert_eq!(ended.expect("the task ended"), CALLERS);
    }
    load.only_of_the_right_kinds();

    // Warm again, and as many descriptors as before.
    run(engine.ready(Duration::from_secs(5))).unwrap();
    until(&engine, "as many connections as before", |seen| {
        seen.now.sockets == u64::from(WARM)
            && seen.upstreams["backend"].idle == u64::from(WARM)
            && seen.now.buffers_held == 0
            && descriptors() == warm
    });
    engine.stop();
    assert_eq!(descriptors(), before_engine);
}

/// What the callers have seen.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    succeeded: AtomicU64,
    failed: AtomicU64,
    kinds: Mutex<BTreeMap<String, ErrorKind>>,
}

impl Load {
    fn note(&self, result: Result<bool, Error>) {
        match result {
            Ok(right) => {
                assert!(right, "an answer that is not nginx's");
                self.succeeded.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
                kinds.insert(error.to_string(), error.kind());
            }
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn grows(&self, what: &str, count: &AtomicU64, by: u64) {
        let goal = count.load(Ordering::Relaxed) + by;
        for _ in 0..PATIENCE.as_millis() / 5 {
            if count.load(Ordering::Relaxed) >= goal {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let seen = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        panic!("never came: {by} {what}; errors: {seen:#?}");
    }

    fn only_of_the_right_kinds(&self) {
        let kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(!kinds.is_empty());
        for (message, kind) in kinds.iter() {
            let right = matches!(
                kind,
                ErrorKind::Closed
                    | ErrorKind::Dial
                    | ErrorKind::Breaker
                    | ErrorKind::Timeout(Phase::Wait)
                    // A connection whose end cannot be told from an attacker's cut.
                    | ErrorKind::Tls(TlsFailure::Truncated)
            );
            assert!(right, "{kind:?}: {message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }
}

async fn from_outside(upstream: ringpool::Upstream, load: Arc<Load>) {
    while !load.is_over() {
        let request = http::Request::get("/").body(()).unwrap();
        let result = async {
            let response = upstream.call(request).await?;
            Ok(response.into_body().collect().await?.to_bytes() == "here")
        };
        load.note(result.await);
        // A failure may come at once: the other callers of this thread have their turn.
        tokio::task::yield_now().await;
    }
}

/// Runs the callers of one shard; returns how many have ended.
async fn on_shard(shard: Shard, load: Arc<Load>) -> usize {
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let (done, ended) = futures_channel::oneshot::channel();
        let (upstream, load) = (shard.upstream("backend").unwrap(), load.clone());
        let pauses = shard.clone();
        shard.spawn(async move {
            while !load.is_over() {
                let result = exchange(&upstream).await;
                let failed = result.is_err();
                load.note(result);
                if failed {
                    pauses.sleep(Duration::from_millis(1)).await;
                }
            }
            let _ = done.send(());
        });
        callers.push(ended);
    }
    let mut ended = 0;
    for caller in callers {
        ended += usize::from(caller.await.is_ok());
    }
    ended
}

async fn exchange(upstream: &Upstream) -> Result<bool, Error> {
    let mut exchange = upstream.exchange(Head::get("/")).await?;
    let mut body = Vec::new();
    while let Some(chunk) = exchange.chunk().await? {
        body.extend_from_slice(&chunk);
    }
    Ok(body == b"here")
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc").count()
}
