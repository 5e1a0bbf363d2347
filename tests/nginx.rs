//! The engine against a real nginx, both ways in: from any thread, and on the shards.

mod common;

use bytes::Bytes;
use common::bounded::{engine, run, run_for, until};
use common::certificates::Authority;
use common::servers::nginx::Nginx;
use http_body::Frame;
use http_body_util::BodyExt;
use ringpool::config::{TlsConfig, TrustRoots, UpstreamConfig};
use ringpool::on_shard::{Head, Shard};
use ringpool::{Engine, Error, Trip};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// The first lines of most configurations: one file tree, and one answer that says who it was.
const PLAIN: &str = "listen PORT; location = /who { return 200 \"nginx\"; } location / { }";

fn backend(url: &str) -> UpstreamConfig {
    UpstreamConfig::at(url).expect("a URL")
}

/// A response as a test looks at it.
#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    body: Bytes,
    reused: bool,
}

async fn get(upstream: &ringpool::Upstream, path: &str) -> Result<Answer, Error> {
    let request = http::Request::get(path).body(()).expect("a request");
    send(upstream, request).await
}

async fn send<B: Into<ringpool::Body>>(
    upstream: &ringpool::Upstream,
    request: http::Request<B>,
) -> Result<Answer, Error> {
    let response = upstream.call(request).await?;
    let reused = Trip::of(&response).expect("it has made a trip").reused;
    Ok(Answer {
        status: response.status().as_u16(),
        body: response.into_body().collect().await?.to_bytes(),
        reused,
    })
}

/// The same by the low-level exchange on the shard.
async fn exchange(shard: &Shard, head: Head<'_>) -> Result<Answer, Error> {
    let mut exchange = shard.upstream("backend")?.exchange(head).await?;
    let mut body = Vec::new();
    while let Some(chunk) = exchange.chunk().await? {
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status: exchange.status(),
        body: body.into(),
        reused: exchange.reused(),
    })
}

/// GETs `path` `times` times on every shard, one after the other.
fn gets_on_shards(engine: &Engine, path: &'static str, times: usize) -> Vec<Answer> {
    let tasks = engine.spawn_on_each(move |shard| async move {
        let mut answers = Vec::new();
        for _ in 0..times {
            answers.push(exchange(&shard, Head::get(path)).await?);
        }
        Ok::<_, Error>(answers)
    });
    run(tasks)
        .into_iter()
        .flat_map(|ended| ended.expect("the task ended").expect("no request failed"))
        .collect()
}

/// `callers` tasks on a current-thread runtime that GET `path` `times` times each.
fn gets_from_outside(engine: &Engine, path: &'static str, callers: usize, times: usize) {
    let upstream = engine.upstream("backend").expect("configured");
    let calls = (0..callers).map(|_| {
        let upstream = upstream.clone();
        async move {
            for _ in 0..times {
                let answer = get(&upstream, path).await.expect("no request failed");
                assert_eq!(answer.status, 200);
            }
        }
    });
    run_for(Duration::from_secs(30), async {
        let tasks: tokio::task::JoinSet<()> = calls.collect();
        tasks.join_all().await;
    });
}

/// Bytes in which a piece that is lost, doubled or moved shows.
fn pattern(len: usize) -> Bytes {
    let word = |n: usize| (n as u32).wrapping_mul(2_654_435_761).to_be_bytes();
    (0..len.div_ceil(4)).flat_map(word).take(len).collect()
}

/// nginx with TLS, for a client that trusts `authority`.
fn tls_nginx(directives: &str, files: &[(&str, &[u8])]) -> Option<(Nginx, UpstreamConfig)> {
    let authority = Authority::new();
    let certificate = authority.sign();
    let mut all: Vec<(&str, &[u8])> = vec![
        ("cert.pem", certificate.pem.as_bytes()),
        ("key.pem", certificate.key_pem.as_bytes()),
    ];
    all.extend_from_slice(files);
    let server = format!(
        "listen PORT ssl; ssl_certificate DIR/cert.pem; ssl_certificate_key DIR/key.pem; \
         {directives}"
    );
    let nginx = Nginx::start_with(&server, &all)?;
    let backend = UpstreamConfig {
        tls: TlsConfig {
            roots: TrustRoots::Pem(authority.pem),
            ..TlsConfig::default()
        },
        ..backend(&nginx.url("https"))
    };
    Some((nginx, backend))
}

#[test]
fn plain_both_ways_in() {
    let Some(nginx) = Nginx::start(PLAIN) else {
        return;
    };
    let engine = engine(2, backend(&nginx.url("http")));
    let upstream = engine.upstream("backend").unwrap();
    for reused in [false, true, true] {
        let answer = run(get(&upstream, "/who")).unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, &b"nginx"[..]));
        assert_eq!(answer.reused, reused);
    }
    assert_eq!(run(get(&upstream, "/nothing")).unwrap().status, 404);
    let answers = gets_on_shards(&engine, "/who", 50);
    assert!(answers.iter().all(|a| a.status == 200 && a.body == "nginx"));
    assert!(answers.iter().filter(|a| !a.reused).count() <= 2);
}

#[test]
fn over_a_unix_socket() {
    let Some(nginx) = Nginx::start("listen unix:DIR/socket; location / { return 200 $host; }")
    else {
        return;
    };
    let url = format!("http+unix:{}", nginx.file("socket").display());
    let engine = engine(1, backend(&url));
    let upstream = engine.upstream("backend").unwrap();
    let answer = run(get(&upstream, "/")).unwrap();
    assert_eq!((answer.status, &answer.body[..]), (200, &b"localhost"[..]));
    assert!(gets_on_shards(&engine, "/", 20).iter().all(|a| a.reused));
}

#[test]
fn tls_1_2_alone_and_tls_1_3_alone() {
    for version in ["TLSv1.2", "TLSv1.3"] {
        let directives =
            format!("ssl_protocols {version}; location / {{ return 200 $ssl_protocol; }}");
        let Some((_nginx, backend)) = tls_nginx(&directives, &[]) else {
            return;
        };
        let engine = engine(2, backend);
        let upstream = engine.upstream("backend").unwrap();
        let answer = run(get(&upstream, "/")).unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, version.as_bytes()));
        let answers = gets_on_shards(&engine, "/", 50);
        assert!(answers.iter().all(|a| a.body == version));
        let seen = run(engine.snapshot()).unwrap();
        assert_eq!(
            seen.handshakes_full + seen.handshakes_resumed,
            seen.connections_opened
        );
        assert!(seen.connections_opened <= 2, "{seen:?}");
    }
}

#[test]
fn a_server_that_closes_after_100_requests_fails_none() {
    let Some(nginx) = Nginx::start(&format!("keepalive_requests 100; {PLAIN}")) else {
        return;
    };
    let engine = engine(2, backend(&nginx.url("http")));
    gets_from_outside(&engine, "/who", 8, 100);
    assert_eq!(gets_on_shards(&engine, "/who", 400).len(), 800);
    let seen = run(engine.snapshot()).unwrap();
    // 1,600 requests need 16 connections at least; a reconnect too many now and then is no error.
    assert!((16..=64).contains(&seen.connections_opened), "{seen:?}");
}

#[test]
fn a_server_that_closes_after_100_requests_fails_none_over_tls() {
    let directives = "keepalive_requests 100; location / { return 200 \"ok\"; }";
    let Some((_nginx, backend)) = tls_nginx(directives, &[]) else {
        return;
    };
    let engine = engine(2, backend);
    gets_from_outside(&engine, "/who", 8, 75);
    assert_eq!(gets_on_shards(&engine, "/", 300).len(), 600);
    let seen = run(engine.snapshot()).unwrap();
    assert!(seen.connections_opened >= 12, "{seen:?}");
    assert!(seen.handshakes_resumed > 0, "{seen:?}");
}

#[test]
fn a_server_that_closes_after_one_idle_second_fails_none() {
    let Some(nginx) = Nginx::start(&format!("keepalive_timeout 1s; {PLAIN}")) else {
        return;
    };
    let engine = engine(1, backend(&nginx.url("http")));
    let upstream = engine.upstream("backend").unwrap();
    for round in 1..=3 {
        let answer = run(get(&upstream, "/who")).unwrap();
        assert!(!answer.reused, "the last connection was closed");
        assert!(run(get(&upstream, "/who")).unwrap().reused);
        until(&engine, "the server's close", |seen| {
            seen.evicted_peer_closed == round
        });
    }
    let seen = until(&engine, "nothing left", |seen| seen.now.connections == 0);
    assert_eq!((seen.now.sockets, seen.connections_opened), (0, 3));
}

#[test]
fn warm_connections_that_the_server_closes_are_replaced() {
    let Some(nginx) = Nginx::start(&format!("keepalive_timeout 1s; {PLAIN}")) else {
        return;
    };
    let warm = UpstreamConfig {
        idle_min: 4,
        ..backend(&nginx.url("http"))
    };
    let engine = engine(2, warm);
    run(engine.ready(Duration::from_secs(5))).unwrap();
    // nginx closes what has not sent a request after client_header_timeout, a minute; after the
    // first request it is one second.
    let _ = gets_on_shards(&engine, "/who", 1);
    until(&engine, "an eviction and its replacement", |seen| {
        seen.evicted_peer_closed > 0 && seen.upstreams["backend"].idle == 4
    });
    let answers = gets_on_shards(&engine, "/who", 5);
    assert!(answers.iter().all(|a| a.status == 200));
}

#[test]
fn a_response_that_ends_with_the_connection() {
    let body = pattern(300_000);
    // Without chunks and without a length, which SSI takes away, only the end is left.
    let directives = "listen PORT; ssi on; ssi_types *; chunked_transfer_encoding off; \
                      location = /closes { keepalive_timeout 0; return 200 \"closes\"; }";
    let Some(nginx) = Nginx::start_with(directives, &[("www/body", &body)]) else {
        return;
    };
    let engine = engine(1, backend(&nginx.url("http")));
    let upstream = engine.upstream("backend").unwrap();
    for path in ["/body", "/body", "/closes", "/closes"] {
        let answer = run(get(&upstream, path)).unwrap();
        assert!(!answer.reused, "{path} cannot leave a connection behind");
        assert!(answer.body == body || answer.body == "closes");
    }
    let on_shard = gets_on_shards(&engine, "/body", 2);
    assert!(on_shard.iter().all(|a| !a.reused && a.body == body));
    until(&engine, "all closed", |seen| seen.now.connections == 0);
}

#[test]
fn a_chunked_response() {
    let body = pattern(3_000_000);
    let Some(nginx) = Nginx::start_with(
        "listen PORT; ssi on; ssi_types *;",
        &[("www/body", &body), ("www/empty", b"")],
    ) else {
        return;
    };
    let engine = engine(1, backend(&nginx.url("http")));
    let upstream = engine.upstream("backend").unwrap();
    let response = run(upstream.call(http::Request::get("/body").body(()).unwrap())).unwrap();
    assert_eq!(response.headers()["transfer-encoding"], "chunked");
    let read = run(response.into_body().collect()).unwrap().to_bytes();
    assert!(read == body, "the body is not what was sent");
    let again = run(get(&upstream, "/body")).unwrap();
    assert!(again.reused && again.body == body);
    assert!(
        gets_on_shards(&engine, "/body", 2)
            .iter()
            .all(|a| a.reused && a.body == body)
    );
    assert_eq!(run(get(&upstream, "/empty")).unwrap().body, "");
}

#[test]
fn head_has_a_length_and_no_body() {
    let body = pattern(100_000);
    let Some(nginx) = Nginx::start_with(PLAIN, &[("www/body", &body)]) else {
        return;
    };
    let engine = engine(1, backend(&nginx.url("http")));
    let upstream = engine.upstream("backend").unwrap();
    for reused in [false, true, true] {
        let request = http::Request::head("/body").body(()).unwrap();
        let response = run(upstream.call(request)).unwrap();
        assert_eq!(response.headers()["content-length"], "100000");
        assert_eq!(Trip::of(&response).unwrap().reused, reused);
        let read = run(response.into_body().collect()).unwrap().to_bytes();
        assert_eq!(read.len(), 0);
    }
    let tasks = engine.spawn_on_each(|shard| async move {
        let head = exchange(&shard, Head::head("/body")).await?;
        Ok::<_, Error>((head, exchange(&shard, Head::get("/body")).await?))
    });
    for ended in run(tasks) {
        let (head, get) = ended.unwrap().unwrap();
        assert!(head.reused && head.body.is_empty());
        assert!(get.reused && get.body == body);
    }
}

/// Puts a large body, then gets it: what comes back is what went.
fn large_bodies(engine: &Engine) {
    let upstream = engine.upstream("backend").unwrap();
    let body = pattern(5_000_000);
    let put = http::Request::put("/whole").body(body.clone()).unwrap();
    assert_eq!(run(send(&upstream, put)).unwrap().status, 201);
    // In pieces of uneven sizes, without a length: chunked.
    let put = http::Request::put("/pieces")
        .body(ringpool::Body::stream(Pieces(body.clone())))
        .unwrap();
    assert_eq!(run(send(&upstream, put)).unwrap().status, 201);
    for path in ["/whole", "/pieces"] {
        let read = run(get(&upstream, path)).unwrap();
        assert!(read.reused && read.body == body, "{path} came back changed");
    }
    for answer in gets_on_shards(engine, "/pieces", 1) {
        assert!(answer.body == body, "/pieces came back changed");
    }
    let tasks = engine.spawn_on_each(move |shard| {
        let body = body.clone();
        async move {
            let path = format!("/shard-{}", shard.index());
            let put = shard.upstream("backend")?;
            let copied = put.exchange_with(Head::put(&path), &body).await?.status();
            let read = exchange(&shard, Head::get(&path)).await?;
            let is_same = read.body == body;
            let path = format!("{path}-shared");
            let shared = body.clone();
            let shared = put
                .exchange_shared(Head::put(&path), shared)
                .await?
                .status();
            let read = exchange(&shard, Head::get(&path)).await?;
            Ok::<_, Error>((copied, shared, is_same && read.body == body))
        }
    });
    for ended in run(tasks) {
        assert_eq!(ended.unwrap().unwrap(), (201, 201, true));
    }
    let seen = until(engine, "all buffers back", |seen| {
        seen.now.buffers_held == 0
    });
    assert_eq!(seen.driver.faults, 0);
}

#[test]
fn large_bodies_both_ways() {
    let Some(nginx) = Nginx::start(&format!("dav_methods PUT; {PLAIN}")) else {
        return;
    };
    large_bodies(&engine(2, backend(&nginx.url("http"))));
}

#[test]
fn large_bodies_both_ways_over_tls() {
    let Some((_nginx, backend)) = tls_nginx("dav_methods PUT;", &[]) else {
        return;
    };
    large_bodies(&engine(2, backend));
}

/// A body that comes in pieces and does not say how long it is.
struct Pieces(Bytes);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let len = self.0.len().min(70_001);
        let piece = self.0.split_to(len);
        Poll::Ready((len > 0).then(|| Ok(Frame::data(piece))))
    }
}

/// 64 connections warmed, 64 callers, 64 connections opened: not one more. From outside there is one
/// shard: with more, a shard that more than its share of the callers come to takes a permit over.
fn exactly_64(backend: UpstreamConfig) {
    let warm = UpstreamConfig {
        idle_min: 64,
        connections_max: 64,
        idle_timeout: None,
        age_max: None,
        ..backend
    };
    let alone = engine(1, warm.clone());
    run(alone.ready(Duration::from_secs(10))).unwrap();
    gets_from_outside(&alone, "/who", 64, 20);
    opened_64(&alone);
    drop(alone);

    let engine = engine(2, warm);
    run(engine.ready(Duration::from_secs(10))).unwrap();
    let tasks = engine.spawn_on_each(|shard| async move {
        // 32 callers a shard, which is what each shard has connections for.
        let mut callers = Vec::new();
        for _ in 0..32 {
            let (done, ended) = futures_channel::oneshot::channel();
            let caller = shard.clone();
            shard.spawn(async move {
                let mut result = Ok(());
                for _ in 0..20 {
                    result = exchange(&caller, Head::get("/who")).await.map(drop);
                    if result.is_err() {
                        break;
                    }
                }
                let _ = done.send(result);
            });
            callers.push(ended);
        }
        for caller in callers {
            caller.await.expect("it ended").expect("no request failed");
        }
    });
    for ended in run(tasks) {
        ended.expect("no caller failed");
    }
    opened_64(&engine);
}

fn opened_64(engine: &Engine) {
    let seen = run(engine.snapshot()).unwrap();
    assert_eq!((seen.connections_opened, seen.dials), (64, 64), "{seen:?}");
    assert_eq!(seen.upstreams["backend"].idle, 64);
}

#[test]
fn of_64_warm_connections_exactly_64_are_opened() {
    let Some(nginx) = Nginx::start(&format!("keepalive_requests 1000000; {PLAIN}")) else {
        return;
    };
    exactly_64(backend(&nginx.url("http")));
}

#[test]
fn of_64_warm_tls_connections_exactly_64_are_opened() {
    let directives = "keepalive_requests 1000000; location / { return 200 \"ok\"; }";
    let Some((_nginx, backend)) = tls_nginx(directives, &[]) else {
        return;
    };
    exactly_64(backend);
}
