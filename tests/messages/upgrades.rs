//! Connections that become raw streams: upgrades and tunnels.

use super::*;

#[test]
fn an_upgrade_makes_a_raw_stream() {
    const SWITCH: &str =
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: raw\r\nconnection: upgrade\r\n\r\nfirst";
    let ask = || {
        let mut ask = get("/chat");
        let headers = ask.headers_mut();
        headers.insert("upgrade", "raw".parse().unwrap());
        headers.insert("connection", "upgrade".parse().unwrap());
        ask
    };
    becomes_raw(ask, SWITCH, 101);
}

#[test]
fn connect_makes_a_tunnel() {
    let ask = || {
        let ask = http::Request::connect("example.com:443");
        ask.body(Bytes::new()).unwrap()
    };
    becomes_raw(ask, "HTTP/1.1 200 OK\r\n\r\nfirst", 200);
}

/// `ask` is answered by `answer`, after which the connection is a raw stream that begins with "first".
fn becomes_raw(ask: impl Fn() -> http::Request<Bytes>, answer: &str, status: u16) {
    let peer = Peer::start();
    let client = Client::new(&peer);
    for on_shard in [false, true] {
        let asked = ask();
        // The types differ, the steps do not.
        macro_rules! talk {
            ($upstream:expr, $asked:expr) => {{
                let response = $upstream.call($asked).await?;
                assert_eq!(response.status(), status);
                let mut lease = response.into_body().into_upgraded().expect("a raw stream");
                let mut read = Vec::new();
                while let Some(piece) = lease.read().await? {
                    read.extend_from_slice(&piece);
                    if read.len() == 5 {
                        lease.write_all(b"over to you\n").await?;
                    }
                }
                lease.flush().await?;
                Ok::<_, Error>(read)
            }};
        }
        let talk = if on_shard {
            client.on_shard(move |shard| {
                let asked = asked.clone();
                async move { talk!(shard.upstream(NAME)?, asked) }
            })
        } else {
            let upstream = client.upstream();
            spawn(async move { talk!(upstream, asked) })
        };
        let mut conn = peer.accept();
        let head = conn.answer(answer).head;
        if status == 200 {
            assert!(
                head.starts_with("CONNECT example.com:443 HTTP/1.1\r\n"),
                "{head}"
            );
        }
        assert_eq!(conn.take(12), b"over to you\n");
        conn.send(" and last");
        conn.fin();
        assert_eq!(talk.wait().unwrap(), b"first and last");
        assert_eq!(conn.closed(), b"");
        client.until_empty();
    }
}
