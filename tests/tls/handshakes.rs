//! Handshakes that go wrong, and what they say to the server.

use super::*;

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
