//! What an engine may not connect to, with the system's resolver: every way of writing an address that it should not reach.

use ringpool::config::{AccessConfig, Config};
use ringpool::{Engine, ErrorKind, block_on};
use std::net::TcpListener;
use std::time::Duration;

fn engine(access: AccessConfig) -> Engine {
    let mut config = Config {
        shards: 1,
        access,
        ..Config::default()
    };
    config.defaults.call_timeout = Duration::from_secs(10);
    Engine::start(config).unwrap()
}

/// A listener on loopback whose backlog stays empty.
fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[test]
fn loopback_is_out_of_reach_however_it_is_written() {
    let (listener, port) = listener();
    let engine = engine(AccessConfig {
        special: false,
        ..AccessConfig::default()
    });
    // The resolver understands the address forms of inet_aton(3): they are names to whoever parses the URL.
    for host in [
        "127.0.0.1",
        "127.1",
        "0177.0.0.1",
        "2130706433",
        "0x7f000001",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::]",
        "[64:ff9b::7f00:1]",
        "localhost",
        "LOCALHOST",
    ] {
        let request = http::Request::get(format!("http://{host}:{port}/")).body(());
        let error = block_on(engine.call(request.unwrap())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Forbidden, "{host}: {error}");
        assert!(!error.is_retryable(), "{host}");
        assert_eq!(error.attempts(), 0, "{host}");
    }
    let nobody = listener.accept().unwrap_err();
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn a_network_that_is_named_may_be_reached_at_its_ports() {
    let (listener, port) = listener();
    let engine = engine(AccessConfig {
        allow: vec![format!("127.0.0.0/8:{port}").parse().unwrap()],
        special: false,
        ..AccessConfig::default()
    });
    let call = |port: u16| {
        let mut request = http::Request::get(format!("http://127.0.0.1:{port}/"));
        let options = ringpool::config::CallOptions {
            timeout: Some(Duration::from_millis(200)),
            ..Default::default()
        };
        request.extensions_mut().unwrap().insert(options);
        block_on(engine.call(request.body(()).unwrap())).unwrap_err()
    };
    let other = if port == u16::MAX { 1 } else { port + 1 };
    assert_eq!(call(other).kind(), ErrorKind::Forbidden);
    // It is connected to, and says nothing.
    assert!(matches!(call(port).kind(), ErrorKind::Timeout(_)));
    assert!(listener.accept().is_ok());
}
