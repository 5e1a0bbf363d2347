//! Tickets: used on whatever shard, and by nobody of another identity.

use super::*;

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
        let times = [&seen.handshake_times_full, &seen.handshake_times_resumed];
        assert_eq!(times.map(|times| times.count()), [1, 3]);
        assert_eq!(seen.connect_times.count(), 4);
        assert!(times.iter().all(|times| times.min() > Some(Duration::ZERO)));
        let backend = &seen.upstreams["backend"];
        let phases = [
            &backend.all.connect,
            &backend.all.handshake_full,
            &backend.all.handshake_resumed,
        ];
        assert_eq!(phases.map(|phase| phase.count()), [4, 1, 3]);
        let avoided = backend.handshake_time_avoided_by_resumption;
        assert_eq!(avoided, seen.handshake_time_avoided_by_resumption);
        // At least: each resumed one avoided what the full one had taken longer, if it is known where it was resumed.
        let full = backend.all.handshake_full.sum();
        assert!(avoided <= 3 * full, "{avoided:?} of 3 times {full:?}");
        assert_eq!(
            backend.handshake_time_avoided,
            Duration::ZERO,
            "nothing was used twice"
        );
    }
}

#[test]
fn without_tickets_every_handshake_is_full() {
    for version in ["TLSv1.2", "TLSv1.3"] {
        let directives = format!(
            "ssl_session_tickets off; ssl_session_cache off; keepalive_timeout 0; ssl_protocols {version};"
        );
        let Some((nginx, authority)) = telling_nginx(&directives) else {
            return;
        };
        let engine = engine(2, backend(&nginx.url("https"), &authority));
        for shard in [0, 0, 1, 0] {
            let told = one_call_on(&engine, shard, "backend");
            assert_eq!(told, format!("{version} http/1.1  ."), "shard {shard}");
        }
        let (status, from_anywhere) = told(&engine);
        assert_eq!(
            (status, from_anywhere),
            (200, format!("{version} http/1.1  ."))
        );
        let seen = run(engine.snapshot()).unwrap();
        assert_eq!((seen.handshakes_full, seen.handshakes_resumed), (5, 0));
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
