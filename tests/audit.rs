//! The audit trail of a running engine.

#[path = "common/mod.rs"]
mod common;

use common::answering::Answering;
use common::bounded::{run, until};
use common::certificates::Authority;
use common::peer::Peer;
use common::servers::nginx::Nginx;
use ringpool::audit::{AuditAction, AuditEvent, CloseCause, DialCause};
use ringpool::config::{ClientCertificate, Pem, TrustRoots, UpstreamConfig};
use ringpool::{Config, Engine, ErrorKind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// An engine with one shard, and its events.
fn audited(settings: UpstreamConfig) -> (Engine, Receiver<AuditEvent>) {
    let (tell, events) = mpsc::channel();
    let config = Config {
        shards: 1,
        ..Config::with_upstream("backend", settings)
    };
    let sink = move |event: &AuditEvent| {
        // Who listens no more has seen enough.
        let _ = tell.send(event.clone());
    };
    let engine = Engine::builder(config).audit_sink(sink).start().unwrap();
    (engine, events)
}

fn get(engine: &Engine) -> Result<u16, ringpool::Error> {
    run(async {
        let upstream = engine.upstream("backend").unwrap();
        let request = http::Request::get("/").body(()).unwrap();
        let response = upstream.call(request).await?;
        let status = response.status().as_u16();
        http_body_util::BodyExt::collect(response.into_body()).await?;
        Ok(status)
    })
}

fn next(events: &Receiver<AuditEvent>) -> AuditEvent {
    let event = events.recv_timeout(Duration::from_secs(10));
    event.expect("an event")
}

/// The end of a connection: why, its uses, bytes sent and received.
fn closed(events: &Receiver<AuditEvent>) -> (CloseCause, u64, u64, u64) {
    match next(events).action {
        AuditAction::Closed {
            why,
            uses,
            sent,
            received,
            ..
        } => (why, uses, sent, received),
        other => panic!("{other:?}"),
    }
}

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn a_connection_is_told_of_when_it_opens_and_when_it_ends() {
    let peer = Peer::start();
    let (engine, events) = audited(UpstreamConfig::at(&peer.http()).unwrap());
    let mut asked = 0;
    let conn = thread::scope(|scope| {
        let calls = scope.spawn(|| {
            for _ in 0..3 {
                assert_eq!(get(&engine).unwrap(), 200);
            }
        });
        let mut conn = peer.accept();
        for _ in 0..3 {
            let head = conn.request_head();
            asked += head.len() as u64;
            conn.send(ANSWER);
        }
        calls.join().unwrap();
        conn
    });
    let event = next(&events);
    assert_eq!((event.connection, event.shard), (1, 0));
    assert_eq!(&*event.upstream, "backend");
    assert_eq!(event.missing_before, 0);
    let AuditAction::Opened {
        dialled_for, tls, ..
    } = &event.action
    else {
        panic!("{event:?}");
    };
    assert_eq!((*dialled_for, tls), (DialCause::Demand, &None));
    assert!(event.endpoint.is_some());
    conn.fin();
    let received = 3 * ANSWER.len() as u64;
    assert_eq!(
        closed(&events),
        (CloseCause::PeerClosed, 3, asked, received)
    );
    let figures = run(engine.snapshot()).unwrap().audit;
    assert_eq!((figures.dropped, figures.failed), (0, 0));
}

#[test]
fn why_a_connection_ends_is_told() {
    let peer = Peer::start();
    let mut settings = UpstreamConfig::at(&peer.http()).unwrap();
    settings.idle_min = 1;
    settings.drain_timeout = Duration::from_millis(20);
    let (engine, events) = audited(settings.clone());
    let opened_for = || match next(&events).action {
        AuditAction::Opened { dialled_for, .. } => dialled_for,
        other => panic!("{other:?}"),
    };
    let mut conn = peer.accept();
    assert_eq!(opened_for(), DialCause::Warmth);
    conn.send("unasked");
    assert_eq!(closed(&events), (CloseCause::StrayBytes, 0, 0, 7));
    let conn = peer.accept();
    assert_eq!(opened_for(), DialCause::Warmth);
    conn.reset();
    assert_eq!(closed(&events).0, CloseCause::PeerClosed);

    let _conn = peer.accept();
    assert_eq!(opened_for(), DialCause::Warmth);
    settings.idle_min = 0;
    settings.user_timeout = Some(Duration::from_secs(77));
    run(engine.reconfigure("backend", settings.clone())).unwrap();
    assert_eq!(closed(&events).0, CloseCause::Reconfigured);

    settings.idle_timeout = Some(Duration::from_millis(1));
    settings.idle_min = 1;
    run(engine.reconfigure("backend", settings)).unwrap();
    // Each has a successor before it goes, and each that was opened ends.
    let mut open = BTreeSet::new();
    let mut note = |event: AuditEvent| match event.action {
        AuditAction::Opened { dialled_for, .. } => {
            assert_eq!(dialled_for, DialCause::Warmth);
            assert!(open.insert(event.connection));
            None
        }
        AuditAction::Closed { why, .. } => {
            assert!(open.remove(&event.connection));
            Some(why)
        }
        _ => None,
    };
    let why = std::iter::from_fn(|| Some(next(&events))).find_map(&mut note);
    assert_eq!(why, Some(CloseCause::IdleTimeout));
    drop(engine);
    for why in events.iter().filter_map(note) {
        let expected = [CloseCause::IdleTimeout, CloseCause::Stopped];
        assert!(expected.contains(&why), "{why:?}");
    }
    assert!(open.is_empty());
}

#[test]
fn bytes_behind_an_answer_are_told_of_as_such() {
    let peer = Peer::start();
    let (engine, events) = audited(UpstreamConfig::at(&peer.http()).unwrap());
    let _conn = thread::scope(|scope| {
        let call = scope.spawn(|| assert_eq!(get(&engine).unwrap(), 200));
        let mut conn = peer.accept();
        conn.request_head();
        conn.send(format!("{ANSWER}HTTP/1.1 200 OK\r\n"));
        call.join().unwrap();
        conn
    });
    assert!(matches!(next(&events).action, AuditAction::Opened { .. }));
    assert_eq!(closed(&events).0, CloseCause::StrayBytes);
}

#[test]
fn an_upstream_that_is_given_up_is_told_of_as_such() {
    let (first, second) = (Answering::start(), Answering::start());
    let (tell, events) = mpsc::channel();
    let config = Config {
        shards: 1,
        upstreams_max: 1,
        ..Config::default()
    };
    let sink = move |event: &AuditEvent| {
        let _ = tell.send(event.clone());
    };
    let engine = Engine::builder(config).audit_sink(sink).start().unwrap();
    for url in [first.url(), second.url()] {
        let request = http::Request::get(url).body(()).unwrap();
        let response = run(engine.call(request)).unwrap();
        run(http_body_util::BodyExt::collect(response.into_body())).unwrap();
    }
    let why = std::iter::from_fn(|| Some(next(&events))).find_map(|event| match event.action {
        AuditAction::Closed { why, .. } => Some(why),
        _ => None,
    });
    assert_eq!(why, Some(CloseCause::Forgotten));
}

#[test]
fn a_dial_that_fails_is_told_of() {
    let address = Peer::start().endpoint();
    let (engine, events) = audited(UpstreamConfig::at(&format!("http://{address}")).unwrap());
    assert!(get(&engine).is_err());
    let event = next(&events);
    let AuditAction::Failed { error, .. } = &event.action else {
        panic!("{event:?}");
    };
    assert!(error.contains("refused"), "{error}");
    assert_eq!(event.endpoint.unwrap().to_string(), address);
}

/// nginx that wants certificates, and its audit trail in a file: what openssl says of the certificates is in it, and
/// nothing that is secret.
#[test]
fn tls_is_told_of_without_its_secrets() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let (own, servers) = (clients.sign_client(1), authority.sign());
    let server = "listen PORT ssl; ssl_certificate DIR/cert.pem; ssl_certificate_key DIR/key.pem; \
                  ssl_client_certificate DIR/clients.pem; ssl_verify_client on; ssl_protocols TLSv1.3; \
                  keepalive_requests 1; \
                  location / { return 200 \"ok\"; }";
    let files = [
        ("cert.pem", servers.pem.as_bytes()),
        ("key.pem", servers.key_pem.as_bytes()),
        ("clients.pem", clients.pem.as_bytes()),
    ];
    let Some(nginx) = Nginx::start_with(server, &files) else {
        return;
    };
    let mut settings = UpstreamConfig::at(&nginx.url("https")).unwrap();
    settings.tls.roots = TrustRoots::Pem(authority.pem.clone());
    settings.tls.client_certificate = Some(ClientCertificate {
        chain: Pem::Pem(own.pem.clone()),
        key: Pem::Pem(own.key_pem.clone()),
    });
    let path = nginx.file("audit.jsonl");
    let mut config = Config::with_upstream("backend", settings.clone());
    config.shards = 1;
    config.audit.file = Some(path.clone());
    let engine = Engine::start(config).unwrap();
    for _ in 0..3 {
        assert_eq!(get(&engine).unwrap(), 200);
    }
    let before = run(engine.snapshot()).unwrap();
    settings.tls.client_certificate = Some({
        let other = clients.sign_client(2);
        ClientCertificate {
            chain: Pem::Pem(other.pem),
            key: Pem::Pem(other.key_pem),
        }
    });
    run(engine.reconfigure("backend", settings)).unwrap();
    assert_eq!(get(&engine).unwrap(), 200);
    until(&engine, "all are closed", |seen| seen.now.sockets == 0);
    assert_eq!(before.handshakes_resumed + before.handshakes_full, 3);
    engine.stop();

    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut counts = BTreeMap::new();
    for line in &lines {
        let event = line["event"].as_str().unwrap().to_owned();
        *counts.entry(event).or_insert(0) += 1;
        assert_eq!(line["tls"]["version"], "TLS 1.3");
        assert_eq!(line["tls"]["server_name"], "127.0.0.1");
        assert_eq!(line["tls"]["server_certificate"], servers.fingerprint());
    }
    assert_eq!(counts["opened"], 4);
    assert_eq!(counts["closed"], 4);
    let opened = |field: &str| {
        let opened = lines.iter().filter(|line| line["event"] == "opened");
        opened
            .map(|line| line["tls"][field].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(opened("resumed"), [false, true, true, false]);
    let shown = opened("client_certificate");
    assert!(shown[..3].iter().all(|shown| *shown == own.fingerprint()));
    assert_ne!(shown[3], own.fingerprint());
    let identities = opened("identity");
    assert_eq!(identities[0], identities[2]);
    assert_ne!(identities[2], identities[3]);
    // Not a line of any key.
    for line in own.key_pem.lines().chain(servers.key_pem.lines()) {
        assert!(line.starts_with("-----") || !text.contains(line));
    }
}

#[test]
fn a_trail_that_cannot_be_written_keeps_the_engine_from_starting() {
    let mut config = Config::default();
    config.audit.file = Some("/no/such/directory/audit".into());
    let error = Engine::start(config).expect_err("it cannot");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("/no/such/directory"), "{error}");
}
