//! Calls that come to no end of their own.

use super::*;

#[test]
fn a_peer_that_says_nothing_times_out() {
    let table = [
        ("no head", "", Phase::Head),
        ("half a head", "HTTP/1.1 200 OK\r\n", Phase::Head),
        (
            "interim only",
            "HTTP/1.1 102 Processing\r\n\r\n",
            Phase::Head,
        ),
        (
            "no body",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
            Phase::Body,
        ),
        (
            "half a body",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel",
            Phase::Body,
        ),
        (
            "no last chunk",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
            Phase::Body,
        ),
    ];
    for way in WAYS {
        let peer = Peer::start();
        let client = Client::with(&peer.http(), |config| {
            config.call_timeout = Duration::from_millis(100);
        });
        for (what, response, phase) in table {
            let call = client.get(way, "/");
            let mut conn = peer.accept();
            conn.answer(response);
            let error = call.wait().expect_err(what);
            check(
                &error,
                ErrorKind::Timeout(phase),
                1,
                RequestSent::Whole,
                what,
            );
            assert!(error.is_retryable(), "GET may be repeated");
            assert_eq!(conn.closed(), b"", "{what}, {way:?}");
        }
        client.until_empty();
    }
}

#[test]
fn an_engine_that_stops_fails_what_is_under_way() {
    for way in [Way::Anywhere, Way::OnShard] {
        let peer = Peer::start();
        let client = Client::new(&peer);
        let upstream = client.upstream();
        let call = match way {
            Way::Anywhere => spawn({
                let upstream = upstream.clone();
                async move { upstream.call(get("/")).await.map(drop).unwrap_err().kind() }
            }),
            Way::OnShard | Way::Exchange => {
                let each = client.engine.spawn_on_each(|shard| async move {
                    let upstream = shard.upstream(NAME).unwrap();
                    upstream.call(get("/")).await.map(drop)
                });
                spawn(async move { each.await.remove(0).unwrap_err().kind() })
            }
        };
        let mut conn = peer.accept();
        conn.request();
        client.engine.stop();
        assert_eq!(call.wait(), ErrorKind::Draining, "{way:?}");
        assert_eq!(conn.closed(), b"");
        let late = within(async move { upstream.call(get("/")).await.map(drop) });
        assert_eq!(late.unwrap_err().kind(), ErrorKind::Draining);
    }
}
