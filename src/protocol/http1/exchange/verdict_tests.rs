//! What condemns a connection, and what does not.

use super::tests::{CLOSES, CONNECT, GET, HEAD, UPGRADE, respond};
use super::*;

#[test]
fn a_connection_is_condemned_for_each_cause_by_name() {
    for (request, text, why) in [
        (CLOSES, "HTTP/1.1 204 X\r\n\r\n", Why::RequestCloses),
        (
            GET,
            "HTTP/1.1 204 X\r\nConnection: foo, Close\r\n\r\n",
            Why::PeerCloses,
        ),
        (
            GET,
            "HTTP/1.1 204 X\r\nConnection: foo\r\nconnection: close\r\n\r\n",
            Why::PeerCloses,
        ),
        (GET, "HTTP/1.0 204 X\r\n\r\n", Why::PeerCloses),
        (
            GET,
            "HTTP/1.1 204 X\r\ncontent-length: 3\r\n\r\n",
            Why::ForbiddenBody,
        ),
        (
            GET,
            "HTTP/1.1 204 X\r\ntransfer-encoding: chunked\r\n\r\n",
            Why::ForbiddenBody,
        ),
        (
            GET,
            "HTTP/1.1 100 X\r\ncontent-length: 3\r\n\r\nHTTP/1.1 204 X\r\n\r\n",
            Why::ForbiddenBody,
        ),
        (GET, "HTTP/1.1 204 X\r\n\r\n\r\n", Why::ExcessBytes),
        (
            HEAD,
            "HTTP/1.1 200 X\r\ncontent-length: 1\r\n\r\nx",
            Why::ExcessBytes,
        ),
        (
            GET,
            "HTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\nx",
            Why::ResponseUnfinished,
        ),
        (GET, "HTTP/1.1 100 X\r\n\r\n", Why::ResponseUnfinished),
        (GET, "HTTP/1.1 200 X\r\n\r\nx", Why::ResponseUnfinished),
        (GET, "", Why::ResponseUnfinished),
        (GET, "nonsense", Why::ProtocolError),
    ] {
        let outcome = respond(request, text);
        assert_eq!(outcome.verdict, Verdict::Condemn(why), "{text:?}");
    }
}

#[test]
fn a_response_before_the_end_of_the_request_is_delivered_but_condemns() {
    let response = b"HTTP/1.1 413 X\r\ncontent-length: 0\r\n\r\n";
    let mut early = Exchange::new(GET, &Limits::default());
    assert!(matches!(early.head(response), Ok(HeadStep::Final { .. })));
    assert!(early.is_complete());
    assert_eq!(
        early.verdict(false),
        Verdict::Condemn(Why::RequestUnfinished)
    );
    early.request_sent();
    assert_eq!(early.verdict(false), Verdict::Condemn(Why::EarlyResponse));
}

#[test]
fn a_body_waits_for_100_and_is_not_sent_after_a_final_status() {
    let expecting = RequestFacts {
        expects_continue: true,
        ..GET
    };
    let mut granted = Exchange::new(expecting, &Limits::default());
    assert!(granted.awaits_continue());
    granted.head(b"HTTP/1.1 103 X\r\n\r\n").unwrap();
    assert!(granted.awaits_continue(), "only 100 says continue");
    granted.head(b"HTTP/1.1 100 X\r\n\r\n").unwrap();
    assert!(!granted.awaits_continue());
    granted.request_sent();
    granted.head(b"HTTP/1.1 204 X\r\n\r\n").unwrap();
    assert_eq!(granted.verdict(false), Verdict::Reusable);

    let mut refused = Exchange::new(expecting, &Limits::default());
    refused
        .head(b"HTTP/1.1 417 X\r\ncontent-length: 0\r\n\r\n")
        .unwrap();
    assert!(!refused.awaits_continue());
    assert_eq!(
        refused.verdict(false),
        Verdict::Condemn(Why::RequestUnfinished)
    );
}

#[test]
fn an_upgrade_only_where_asked_and_its_bytes_are_left() {
    const SWITCH: &str = "HTTP/1.1 101 X\r\nupgrade: raw\r\nconnection: upgrade\r\n\r\nraw";
    const TUNNEL: &str = "HTTP/1.1 200 X\r\ncontent-length: x\r\n\r\nraw";
    let refused = respond(GET, SWITCH);
    assert_eq!(refused.error, Some(ProtocolError::UnexpectedUpgrade));
    for (request, text) in [(UPGRADE, SWITCH), (CONNECT, TUNNEL)] {
        let outcome = respond(request, text);
        assert_eq!(outcome.verdict, Verdict::Upgraded);
        assert_eq!(outcome.leftover, b"raw");
        let mut unsent = Exchange::new(request, &Limits::default());
        unsent.head(text.as_bytes()).unwrap();
        let why = Why::RequestUnfinished;
        assert_eq!(unsent.verdict(true), Verdict::Condemn(why));
    }
    let declined = respond(UPGRADE, "HTTP/1.1 200 X\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(declined.verdict, Verdict::Reusable);
}
