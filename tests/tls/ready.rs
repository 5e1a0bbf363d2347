//! What keeps an engine from being ready, told apart by upstream.

use super::*;
use ringpool::{Class, NotReady};
use std::collections::BTreeMap;
use std::error::Error as _;

/// A server that shakes hands with whoever comes.
fn server(certificate: &Certificate) -> Peer {
    Peer::tls(Arc::new(config(certificate)), |mut stream| {
        let _ = read_head(&mut stream);
    })
}

fn critical(url: &str, authority: &Authority) -> UpstreamConfig {
    UpstreamConfig {
        class: Class::Critical,
        idle_min: 1,
        ..backend(url, authority)
    }
}

#[test]
fn the_report_says_which_upstream_is_not_ready_and_why() {
    let authority = Authority::new();
    let here = ["127.0.0.1"];
    let [good, foreign, expired, misnamed] = [
        authority.sign(),
        Authority::new().sign(),
        authority.sign_for(&here, Validity::Past),
        authority.sign_for(&["elsewhere.test"], Validity::Now),
    ]
    .map(|certificate| server(&certificate));
    let silent = Peer::tcp(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    // Bound, and never listening.
    let down = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
    down.bind(&any.into()).unwrap();
    let down_at = down.local_addr().unwrap().as_socket().unwrap();

    let of = |peer: &Peer| critical(&peer.url("https"), &authority);
    let mut given_up = of(&silent);
    given_up.dial_timeout = Duration::from_millis(50);
    let upstreams = [
        ("good", of(&good)),
        ("foreign", of(&foreign)),
        ("expired", of(&expired)),
        ("misnamed", of(&misnamed)),
        ("down", critical(&format!("https://{down_at}"), &authority)),
        ("given-up", given_up),
        ("underway", of(&silent)),
    ];
    let mut config = Config {
        shards: 1,
        pin: false,
        ..Config::default()
    };
    for (name, upstream) in upstreams {
        config.upstreams.insert(name.into(), upstream);
    }
    let engine = Engine::start(config).unwrap();
    let error = run(engine.ready(Duration::from_secs(1))).expect_err("most are not");
    assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Ready));
    let report = NotReady::of(&error).expect("it says what is missing");
    let told: BTreeMap<_, _> = report
        .upstreams
        .iter()
        .map(|cold| {
            assert_eq!((cold.shard, cold.up, cold.wanted), (0, 0, 1), "{cold}");
            let why = cold.why.as_ref().map(Error::kind);
            (cold.upstream.as_str(), why)
        })
        .collect();
    let expected = BTreeMap::from([
        ("foreign", Some(ErrorKind::Tls(TlsFailure::UnknownIssuer))),
        ("expired", Some(ErrorKind::Tls(TlsFailure::Expired))),
        ("misnamed", Some(ErrorKind::Tls(TlsFailure::WrongName))),
        ("down", Some(ErrorKind::Dial)),
        ("given-up", Some(ErrorKind::Timeout(Phase::Dial))),
        ("underway", None),
    ]);
    assert_eq!(told, expected);
    // The same for people, in one line, with the causes behind it.
    let text = error.to_string();
    for part in [
        "not ready within 1s: ",
        "foreign has 0 of 1 warm on shard 0: server certificate refused: unknown issuer",
        "underway has 0 of 1 warm on shard 0",
    ] {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    assert!(!text.contains("good") && !text.contains('\n'), "{text}");
    let report = error.source().expect("what was missing");
    assert!(report.source().expect("why").source().is_some());
    // What is ready is used all the same.
    assert_eq!(run(engine.snapshot()).unwrap().upstreams["good"].idle, 1);
}
