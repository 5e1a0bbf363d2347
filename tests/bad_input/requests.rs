//! Requests that cannot be sent as they are.

use super::*;

#[test]
fn a_request_body_that_breaks_its_promise_is_an_error() {
    type Broken = fn() -> Steps;
    let table: [(&str, Broken); 4] = [
        ("too long", || Steps::promising(2).data("abc")),
        ("too long by a second piece", || {
            Steps::promising(2).data("ab").data("c")
        }),
        ("too short", || Steps::promising(4).data("abc")),
        ("failing", || Steps::chunked().data("abc").fail()),
    ];
    for (what, steps) in table {
        for on_shard in [false, true] {
            let peer = Peer::start();
            let client = Client::new(&peer);
            let call = if on_shard {
                client.on_shard(move |shard| async move {
                    let request = request("POST", "/", Body::stream(steps()));
                    shard.upstream(NAME)?.call(request).await.map(drop)
                })
            } else {
                let upstream = client.upstream();
                spawn(async move {
                    let request = request("POST", "/", Body::stream(steps()));
                    upstream.call(request).await.map(drop)
                })
            };
            let conn = peer.accept();
            let error = call.wait().expect_err(what);
            assert_eq!(error.kind(), ErrorKind::RequestBody, "{what}: {error:?}");
            assert!(!error.is_retryable());
            // What was promised is whole; only the surplus stays here.
            if what != "too long by a second piece" {
                assert_ne!(error.request_sent(), RequestSent::Whole, "{what}");
            }
            // The peer never sees a whole request: what came is cut short.
            let sent = String::from_utf8(conn.closed()).unwrap();
            assert!(!sent.ends_with("0\r\n\r\n"), "{what}: {sent}");
            assert!(!sent.contains("abcd"), "{what}: {sent}");
            client.until_empty();
        }
    }
}

#[test]
fn nothing_can_be_smuggled_into_a_request() {
    let peer = Peer::start();
    let client = Client::new(&peer);
    type Smuggling = fn() -> Head<'static>;
    let heads: [(&str, Smuggling); 9] = [
        ("a target with a space", || Head::get("/a b")),
        ("a target with a line", || Head::get("/ HTTP/1.1\r\nx: y")),
        ("no target", || Head::get("")),
        ("a method with a space", || Head::new("GET /", "/")),
        ("no method", || Head::new("", "/")),
        ("a name with a colon", || Head::get("/").header("a: b", "c")),
        ("a value with a line", || {
            Head::get("/").header("a", "b\r\nc: d")
        }),
        ("two hosts", || {
            Head::get("/").header("host", "a").header("Host", "b")
        }),
        ("a length without a body", || {
            Head::get("/").header("content-length", "5")
        }),
    ];
    for (what, head) in heads {
        let call = client.on_shard(move |shard| async move {
            shard.upstream(NAME)?.exchange(head()).await.map(drop)
        });
        let error = call.wait().expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Request, "{what}: {error:?}");
        assert_eq!(error.upstream(), Some(NAME));
        assert_eq!(
            (error.request_sent(), error.is_retryable()),
            (RequestSent::No, false)
        );
    }
    // The http crate refuses most of that by itself; what is left is framing.
    for name in ["content-length", "transfer-encoding"] {
        for way in [Way::Anywhere, Way::OnShard] {
            let mut wrong = with_body(Method::POST, "/", "hello");
            wrong.headers_mut().insert(name, "4".parse().unwrap());
            let error = client.send(way, wrong).wait().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Request, "{name}: {error:?}");
        }
    }
    // The connection was made for these, and nothing was ever written to it.
    let call = client.get(Way::Anywhere, "/");
    let got = peer.accept().answer("HTTP/1.1 204 No Content\r\n\r\n");
    call.wait().unwrap();
    assert_eq!(got.line(), "GET / HTTP/1.1");
    assert_eq!(peer.accepted(), 1);
}
