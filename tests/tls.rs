//! TLS as it goes wrong, and as it goes right: against nginx, `openssl s_server`, and a peer in this
//! process that misbehaves on purpose.

mod common;

use bytes::Bytes;
use common::bounded::{engine, run, until};
use common::certificates::{Authority, Certificate, Validity};
use common::servers::{Nginx, OpensslServer};
use common::tls_peer::{Peer, TlsStream, config, read_head};
use http_body_util::BodyExt;
use ringpool::config::{TlsConfig, TrustRoots, UpstreamConfig};
use ringpool::on_shard::Head;
use ringpool::{Config, Engine, Error, ErrorKind, Phase, TlsFailure, Trip};
use rustls::ServerConfig;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

/// An upstream that trusts `authority`.
fn backend(url: &str, authority: &Authority) -> UpstreamConfig {
    UpstreamConfig {
        tls: TlsConfig {
            roots: TrustRoots::Pem(authority.pem.clone()),
            ..TlsConfig::default()
        },
        ..UpstreamConfig::at(url).expect("a URL")
    }
}

async fn get(upstream: &ringpool::Upstream, path: &str) -> Result<Bytes, Error> {
    let request = http::Request::get(path).body(()).expect("a request");
    let response = upstream.call(request).await?;
    Ok(response.into_body().collect().await?.to_bytes())
}

/// What a call to this upstream fails with, from outside; the same has to come on the shard.
fn failure(mut backend: UpstreamConfig) -> Error {
    // Every caller is to meet the failure itself.
    backend.breaker.enabled = false;
    let engine = engine(1, backend);
    let upstream = engine.upstream("backend").unwrap();
    let error = run(get(&upstream, "/")).expect_err("it cannot succeed");
    let tasks = engine.spawn_on_each(|shard| async move {
        let upstream = shard.upstream("backend").unwrap();
        upstream.exchange(Head::get("/")).await.map(drop)
    });
    for ended in run(tasks) {
        let on_shard = ended.unwrap().expect_err("it cannot succeed");
        assert_eq!(on_shard.kind(), error.kind());
    }
    let text = error.to_string();
    assert!(
        text.starts_with("backend: ") && !text.contains('\n'),
        "{text}"
    );
    assert!(text.contains("127.0.0.1:"), "it says where: {text}");
    until(&engine, "nothing left", |seen| {
        seen.now.sockets == 0 && seen.now.waiters == 0
    });
    error
}

/// nginx with this certificate.
fn nginx(certificate: &Certificate, directives: &str) -> Option<Nginx> {
    let server = format!(
        "listen PORT ssl; ssl_certificate DIR/cert.pem; ssl_certificate_key DIR/key.pem; \
         {directives}"
    );
    let files = [
        ("cert.pem", certificate.pem.as_bytes()),
        ("key.pem", certificate.key_pem.as_bytes()),
    ];
    Nginx::start_with(&server, &files)
}

/// Certificates that must be refused, and what the refusal has to be.
fn bad_certificates(authority: &Authority) -> [(Certificate, TlsFailure, &'static str); 4] {
    let here = ["127.0.0.1"];
    [
        (
            Authority::new().sign(),
            TlsFailure::UnknownIssuer,
            "unknown issuer",
        ),
        (
            authority.sign_for(&["elsewhere.test", "127.0.0.2"], Validity::Now),
            TlsFailure::WrongName,
            "another name",
        ),
        (
            authority.sign_for(&here, Validity::Past),
            TlsFailure::Expired,
            "expired",
        ),
        (
            authority.sign_for(&here, Validity::Future),
            TlsFailure::NotYetValid,
            "not yet valid",
        ),
    ]
}

#[test]
fn nginx_with_a_bad_certificate_is_refused_by_name() {
    let authority = Authority::new();
    for (certificate, expected, words) in bad_certificates(&authority) {
        let Some(nginx) = nginx(&certificate, "location / { return 200; }") else {
            return;
        };
        let error = failure(backend(&nginx.url("https"), &authority));
        assert_eq!(error.kind(), ErrorKind::Tls(expected), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(!error.is_retryable(), "a certificate does not mend itself");
        assert!(std::error::Error::source(&error).is_some());
    }
}

#[test]
fn s_server_with_a_bad_certificate_is_refused_by_name() {
    let authority = Authority::new();
    for (certificate, expected, words) in bad_certificates(&authority) {
        for version in ["-tls1_2", "-tls1_3"] {
            let Some(server) = OpensslServer::start(&certificate, &["-www", version]) else {
                return;
            };
            let error = failure(backend(&server.url("https"), &authority));
            assert_eq!(error.kind(), ErrorKind::Tls(expected), "{error:?}");
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}

#[test]
fn a_server_that_does_not_speak_tls_is_told_so() {
    let authority = Authority::new();
    let Some(nginx) = Nginx::start("listen PORT; location / { return 200; }") else {
        return;
    };
    let error = failure(backend(&nginx.url("https"), &authority));
    assert_eq!(error.kind(), ErrorKind::Tls(TlsFailure::NotTls));
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
    // One that speaks first, and not TLS.
    let peer = Peer::tcp(|mut stream| {
        let _ = stream.write_all(b"220 mail.test ESMTP\r\n");
        let _ = stream.read(&mut [0; 1024]);
    });
    let error = failure(backend(&peer.url("https"), &authority));
    assert_eq!(error.kind(), ErrorKind::Tls(TlsFailure::NotTls));
}

#[test]
fn a_handshake_cut_short_is_a_truncation() {
    let authority = Authority::new();
    let after_hello = Peer::tcp(|mut stream| {
        // The whole of it, so that the close is a FIN and not a reset.
        let _ = stream.read(&mut [0; 4096]);
    });
    let in_server_hello = Peer::tcp(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(&[22, 3, 3, 0, 122, 2, 0, 0, 118, 3, 3]);
    });
    let reset = Peer::tcp(|stream| {
        let linger = Some(Duration::ZERO);
        socket2::SockRef::from(&stream).set_linger(linger).unwrap();
        let _ = stream.peek(&mut [0]);
    });
    for peer in [after_hello, in_server_hello, reset] {
        let error = failure(backend(&peer.url("https"), &authority));
        assert_eq!(error.kind(), ErrorKind::Tls(TlsFailure::Truncated));
        assert!(error.is_retryable());
    }
}

#[test]
fn a_silent_tls_server_runs_into_the_dial_timeout() {
    let silent = Peer::tcp(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let error = failure(UpstreamConfig {
        dial_timeout: Duration::from_millis(100),
        ..backend(&silent.url("https"), &Authority::new())
    });
    assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Dial), "{error:?}");
    assert!(error.to_string().contains("100ms"), "{error}");
}

#[test]
fn a_server_that_shares_no_protocol_with_us_says_so() {
    let authority = Authority::new();
    let mut http2_only = config(&authority.sign());
    http2_only.alpn_protocols = vec![b"h2".to_vec()];
    let peer = Peer::tls(Arc::new(http2_only), |mut stream| {
        let _ = stream.read(&mut [0]);
    });
    let error = failure(backend(&peer.url("https"), &authority));
    assert_eq!(error.kind(), ErrorKind::Tls(TlsFailure::Alert), "{error:?}");
    assert!(
        error.to_string().contains("NoApplicationProtocol"),
        "{error}"
    );
}

/// nginx that answers with what it knows of the TLS: version, ALPN, server name, resumed or not (`r`
/// or `.`).
fn telling_nginx(directives: &str) -> Option<(Nginx, Authority)> {
    let authority = Authority::new();
    let tells = "location / { return 200 \
         \"$ssl_protocol $ssl_alpn_protocol $ssl_server_name $ssl_session_reused\"; }";
    let nginx = nginx(&authority.sign(), &format!("{directives} {tells}"))?;
    Some((nginx, authority))
}

#[test]
fn alpn_and_server_name_reach_the_server() {
    let Some((nginx, authority)) = telling_nginx("ssl_protocols TLSv1.3;") else {
        return;
    };
    let told = |tls: TlsConfig| {
        let roots = TrustRoots::Pem(authority.pem.clone());
        let engine = engine(
            1,
            UpstreamConfig {
                tls: TlsConfig { roots, ..tls },
                ..UpstreamConfig::at(&nginx.url("https")).unwrap()
            },
        );
        let upstream = engine.upstream("backend").unwrap();
        let body = run(get(&upstream, "/")).unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    };
    // An IP address is no server name (RFC 6066 §3).
    assert_eq!(told(TlsConfig::default()), "TLSv1.3 http/1.1  .");
    let named = TlsConfig {
        server_name: "backend.test".into(),
        alpn: vec!["http/1.0".into(), "http/1.1".into()],
        ..TlsConfig::default()
    };
    // nginx takes the first of its own list that is offered: http/1.1 before http/1.0.
    assert_eq!(told(named), "TLSv1.3 http/1.1 backend.test .");
}

/// GETs once on the shard with this index, on a connection that the server closes after it.
fn one_call_on(engine: &Engine, index: usize, upstream: &'static str) -> Bytes {
    let tasks = engine.spawn_on_each(move |shard| async move {
        if shard.index() != index {
            return None;
        }
        let upstream = shard.upstream(upstream).unwrap();
        let response = upstream
            .call(http::Request::get("/").body(()).unwrap())
            .await
            .expect("the call");
        assert!(!Trip::of(&response).unwrap().reused);
        Some(response.into_body().collect().await.expect("the body"))
    });
    let mut bodies = run(tasks).into_iter().filter_map(|ended| ended.unwrap());
    bodies.next().expect("the shard answered").to_bytes()
}

#[test]
fn the_second_connection_is_resumed_on_another_shard_too() {
    for version in ["TLSv1.2", "TLSv1.3"] {
        let directives = format!("keepalive_timeout 0; ssl_protocols {version};");
        let Some((nginx, authority)) = telling_nginx(&directives) else {
            return;
        };
        let engine = engine(2, backend(&nginx.url("https"), &authority));
        for (shard, resumed) in [(0, "."), (0, "r"), (1, "r"), (0, "r")] {
            let told = one_call_on(&engine, shard, "backend");
            let expected = format!("{version} http/1.1  {resumed}");
            assert_eq!(told, expected, "shard {shard}");
        }
        let seen = run(engine.snapshot()).unwrap();
        assert_eq!((seen.handshakes_full, seen.handshakes_resumed), (1, 3));
    }
}

#[test]
fn s_server_resumes_too() {
    let authority = Authority::new();
    for version in ["-tls1_2", "-tls1_3"] {
        let Some(server) = OpensslServer::start(&authority.sign(), &["-www", version]) else {
            return;
        };
        let engine = engine(1, backend(&server.url("https"), &authority));
        for word in ["New", "Reused", "Reused"] {
            // Its page begins with the session's facts.
            let page = one_call_on(&engine, 0, "backend");
            let page = String::from_utf8_lossy(&page);
            assert!(page.contains(&format!("{word}, TLSv1")), "{word}: {page}");
        }
        let seen = run(engine.snapshot()).unwrap();
        assert_eq!((seen.handshakes_full, seen.handshakes_resumed), (1, 2));
    }
}

#[test]
fn a_ticket_stays_within_its_identity() {
    let Some((nginx, authority)) = telling_nginx("keepalive_timeout 0;") else {
        return;
    };
    let plain = backend(&nginx.url("https"), &authority);
    let with = |tls: TlsConfig| UpstreamConfig {
        tls,
        ..plain.clone()
    };
    let named = with(TlsConfig {
        server_name: "backend.test".into(),
        ..plain.tls.clone()
    });
    let other_alpn = with(TlsConfig {
        alpn: vec!["http/1.1".into(), "http/1.0".into()],
        ..plain.tls.clone()
    });
    let other_roots = with(TlsConfig {
        roots: TrustRoots::Pem(format!("{}{}", authority.pem, Authority::new().pem)),
        ..plain.tls.clone()
    });
    let off = with(TlsConfig {
        resumption: false,
        ..plain.tls.clone()
    });
    let mut config = Config {
        shards: 1,
        pin: false,
        ..Config::default()
    };
    let upstreams = [
        ("plain", plain),
        ("named", named),
        ("alpn", other_alpn),
        ("roots", other_roots),
        ("off", off),
    ];
    for (name, upstream) in upstreams {
        config.upstreams.insert(name.into(), upstream);
    }
    let engine = Engine::start(config).unwrap();
    for name in ["plain", "named", "alpn", "roots", "off", "off"] {
        let told = one_call_on(&engine, 0, name);
        assert!(told.ends_with(b"."), "{name} took another's ticket");
    }
    for name in ["plain", "named", "alpn", "roots"] {
        let told = one_call_on(&engine, 0, name);
        assert!(told.ends_with(b"r"), "{name} has lost its ticket");
    }
}

#[test]
fn a_body_that_ends_with_the_connection_needs_close_notify() {
    let authority = Authority::new();
    let tls = Arc::new(config(&authority.sign()));
    for polite in [true, false] {
        let peer = Peer::tls(tls.clone(), move |mut stream: TlsStream| {
            if read_head(&mut stream).is_none() {
                return;
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf of it, or all?");
            let _ = stream.flush();
            if polite {
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
            let _ = stream.sock.shutdown(Shutdown::Write);
            let _ = stream.sock.read(&mut [0; 1024]);
        });
        let engine = engine(1, backend(&peer.url("https"), &authority));
        let upstream = engine.upstream("backend").unwrap();
        let from_outside = run(get(&upstream, "/"));
        let tasks = engine.spawn_on_each(|shard| async move {
            let upstream = shard.upstream("backend").unwrap();
            let mut exchange = upstream.exchange(Head::get("/")).await.unwrap();
            let mut body = Vec::new();
            while let Some(chunk) = exchange.chunk().await? {
                body.extend_from_slice(&chunk);
            }
            Ok::<_, Error>(Bytes::from(body))
        });
        let on_shard = run(tasks).remove(0).unwrap();
        for result in [from_outside, on_shard] {
            if polite {
                assert_eq!(result.expect("all of it"), "half of it, or all?");
            } else {
                let error = result.expect_err("who knows whether that was all");
                assert_eq!(error.kind(), ErrorKind::Tls(TlsFailure::Truncated));
            }
        }
    }
}

/// Closes each connection when its second request comes, without close_notify; answers the first.
fn closes_at_the_second(tls: Arc<ServerConfig>) -> Peer {
    Peer::tls(tls, |mut stream: TlsStream| {
        if read_head(&mut stream).is_some() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            let _ = stream.flush();
            let _ = read_head(&mut stream);
        }
    })
}

#[test]
fn a_reused_connection_closed_without_close_notify_is_tried_again() {
    let authority = Authority::new();
    let peer = closes_at_the_second(Arc::new(config(&authority.sign())));
    let engine = engine(1, backend(&peer.url("https"), &authority));
    let upstream = engine.upstream("backend").unwrap();
    assert_eq!(run(get(&upstream, "/")).unwrap(), "ok");
    for _ in 0..2 {
        let request = http::Request::get("/").body(()).unwrap();
        let response = run(upstream.call(request)).expect("idempotent: once more");
        let trip = Trip::of(&response).unwrap();
        assert_eq!((trip.attempts, trip.reused), (2, false));
        assert_eq!(
            run(response.into_body().collect()).unwrap().to_bytes(),
            "ok"
        );
    }
    // What may not be repeated is not.
    let request = http::Request::post("/").body("once").unwrap();
    let error = run(upstream.call(request)).expect_err("the peer closed");
    assert_eq!(error.kind(), ErrorKind::Tls(TlsFailure::Truncated));
    assert!(!error.is_retryable());
}

#[test]
fn what_came_before_a_broken_record_is_read_first() {
    let authority = Authority::new();
    let peer = Peer::tls(
        Arc::new(config(&authority.sign())),
        |mut stream: TlsStream| {
            if read_head(&mut stream).is_none() {
                return;
            }
            // A whole response, and a record that decrypts to nothing good, in one segment.
            let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            stream.conn.writer().write_all(response).unwrap();
            let mut bytes = Vec::new();
            while stream.conn.wants_write() {
                stream.conn.write_tls(&mut bytes).unwrap();
            }
            bytes.extend_from_slice(&[23, 3, 3, 0, 20]);
            bytes.extend_from_slice(&[7; 20]);
            let _ = stream.sock.write_all(&bytes);
            let _ = stream.sock.read_to_end(&mut Vec::new());
        },
    );
    let engine = engine(1, backend(&peer.url("https"), &authority));
    let upstream = engine.upstream("backend").unwrap();
    assert_eq!(run(get(&upstream, "/")).unwrap(), "ok");
    until(&engine, "no such connection is kept", |seen| {
        seen.now.connections == 0
    });
}

#[test]
fn records_of_one_byte() {
    let authority = Authority::new();
    let body: Bytes = (0..4096u32).map(|n| (n * 7 % 251) as u8).collect();
    let sent = body.clone();
    let peer = Peer::tls(
        Arc::new(config(&authority.sign())),
        move |mut stream: TlsStream| {
            while read_head(&mut stream).is_some() {
                let mut response =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", sent.len())
                        .into_bytes();
                response.extend_from_slice(&sent);
                for byte in response {
                    if stream
                        .write_all(&[byte])
                        .and_then(|()| stream.flush())
                        .is_err()
                    {
                        return;
                    }
                }
            }
        },
    );
    let engine = engine(1, backend(&peer.url("https"), &authority));
    let upstream = engine.upstream("backend").unwrap();
    for _ in 0..3 {
        assert!(run(get(&upstream, "/")).unwrap() == body);
    }
    assert_eq!(run(engine.snapshot()).unwrap().connections_opened, 1);
}

/// Sends back whatever comes, until the client closes.
fn echo(mut stream: TlsStream) {
    let mut buffer = vec![0; 32 * 1024];
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..n]).is_err() {
            return;
        }
    }
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

#[test]
fn a_raw_lease_carries_a_mebibyte_both_ways_at_once() {
    let authority = Authority::new();
    let peer = Peer::tls(Arc::new(config(&authority.sign())), echo);
    let engine = engine(1, backend(&peer.url("tls"), &authority));
    let sent: Bytes = (0..1u32 << 20)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let outside = {
        let upstream = engine.upstream("backend").unwrap();
        let sent = sent.clone();
        async move {
            let mut lease = upstream.checkout().await?;
            let mut received = Vec::new();
            for piece in sent.chunks(50_000) {
                lease.write_all(piece).await?;
                received.extend_from_slice(&lease.read().await?.expect("an echo"));
            }
            while received.len() < sent.len() {
                received.extend_from_slice(&lease.read().await?.expect("an echo"));
            }
            lease.release();
            Ok::<_, Error>(received)
        }
    };
    assert!(run(outside).unwrap() == sent);
    let tasks = engine.spawn_on_each({
        let sent = sent.clone();
        move |shard| {
            let sent = sent.clone();
            async move {
                let mut lease = shard.upstream("backend")?.checkout().await?;
                let mut received = Vec::new();
                for piece in sent.chunks(50_000) {
                    lease.write_all(piece).await?;
                    received.extend_from_slice(&lease.read().await?.expect("an echo"));
                }
                while received.len() < sent.len() {
                    received.extend_from_slice(&lease.read().await?.expect("an echo"));
                }
                let reused = lease.reused();
                lease.release();
                Ok::<_, Error>((reused, received == sent))
            }
        }
    });
    for ended in run(tasks) {
        assert_eq!(ended.unwrap().unwrap(), (true, true));
    }
    assert_eq!(run(engine.snapshot()).unwrap().driver.faults, 0);
}

#[test]
fn a_tls_lease_cannot_be_detached() {
    let authority = Authority::new();
    let peer = Peer::tls(Arc::new(config(&authority.sign())), echo);
    let engine = engine(1, backend(&peer.url("tls"), &authority));
    let upstream = engine.upstream("backend").unwrap();
    let error = run(async { upstream.checkout().await?.detach().await }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(!error.to_string().contains('\n'));
    let tasks = engine.spawn_on_each(|shard| async move {
        let lease = shard.upstream("backend").unwrap().checkout().await.unwrap();
        lease.detach().await.unwrap_err().kind()
    });
    assert_eq!(run(tasks).remove(0).unwrap(), ErrorKind::Unsupported);
    until(&engine, "both closed", |seen| seen.now.sockets == 0);
}

/// Reads from a lease until `line` has come.
async fn hears(lease: &mut ringpool::Lease, line: &str) {
    let mut heard = String::new();
    while heard != line {
        let piece = lease.read().await.unwrap().expect("more to come");
        heard.push_str(std::str::from_utf8(&piece).unwrap());
        assert!(line.starts_with(&heard), "heard {heard:?}");
    }
}

#[test]
fn tickets_and_key_updates_on_an_idle_connection_are_taken_in() {
    let authority = Authority::new();
    let options = ["-tls1_3", "-msg", "-num_tickets", "5"];
    let Some(mut server) = OpensslServer::start(&authority.sign(), &options) else {
        return;
    };
    let engine = engine(
        1,
        UpstreamConfig {
            idle_min: 1,
            ..backend(&server.url("tls"), &authority)
        },
    );
    // The tickets come after the handshake: to a connection that rests.
    run(engine.ready(Duration::from_secs(5))).unwrap();
    for _ in 0..5 {
        server.hear("NewSessionTicket");
    }
    let upstream = engine.upstream("backend").unwrap();
    for round in 0..3 {
        let mut lease = run(upstream.checkout()).unwrap();
        server.tell(&format!("server {round}"));
        run(hears(&mut lease, &format!("server {round}\n")));
        run(lease.write_all(format!("client {round}\n").as_bytes())).unwrap();
        run(lease.flush()).unwrap();
        server.hear(&format!("client {round}"));
        lease.release();
        // Twice: that the second goes out tells that the first is out.
        for command in ["k", "K", "k"] {
            server.tell(command);
            server.hear(">>> TLS 1.3, Handshake [length 0005], KeyUpdate");
        }
    }
    let seen = run(engine.snapshot()).unwrap();
    assert_eq!((seen.connections_opened, seen.evictions()), (1, 0));
}

#[test]
fn s_server_and_a_raw_lease() {
    let authority = Authority::new();
    for version in ["-tls1_2", "-tls1_3"] {
        let Some(server) = OpensslServer::start(&authority.sign(), &["-rev", version]) else {
            return;
        };
        let engine = engine(1, backend(&server.url("tls"), &authority));
        let upstream = engine.upstream("backend").unwrap();
        for (said, heard) in [("stressed\n", "desserts\n"), ("reviled\n", "deliver\n")] {
            let mut lease = run(upstream.checkout()).unwrap();
            run(lease.write_all(said.as_bytes())).unwrap();
            run(hears(&mut lease, heard));
            lease.release();
        }
        assert_eq!(run(engine.snapshot()).unwrap().connections_opened, 1);
    }
}
