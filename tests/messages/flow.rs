//! Who sends faster than the other one reads is held back; how much is to come is told.

use super::*;

#[test]
fn an_upload_is_held_back_by_a_peer_that_does_not_read() {
    const PIECE: usize = 16 * 1024;
    const PIECES: usize = 4096;
    for on_shard in [false, true] {
        for length in [None, Some(PIECE * PIECES)] {
            let peer = Peer::with_receive_buffer(4096);
            let client = Client::with(&peer.http(), |config| {
                config.call_timeout = Duration::from_millis(500);
            });
            let mut steps = length.map_or_else(Steps::chunked, Steps::promising);
            for _ in 0..PIECES {
                steps = steps.data(vec![0; PIECE]);
            }
            let polled = steps.polled();
            let call = upload(&client, on_shard, request("POST", "/", Body::stream(steps)));
            let conn = peer.accept();
            let error = call.wait().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Send), "{error}");
            assert_eq!(error.request_sent(), RequestSent::Partly);
            assert!(!error.is_retryable());
            // The kernel's send buffer may take 4 MiB (tcp_wmem), the engine a little.
            let polled = polled.load(Ordering::SeqCst);
            assert!(polled < 8 << 20, "{polled} bytes were asked for");
            drop(conn);
            client.until_empty();
        }
    }
}

#[test]
fn a_download_is_held_back_while_nobody_reads() {
    const MOST: usize = 64 << 20;
    let peer = Peer::start();
    let client = Client::new(&peer);
    for on_shard in [false, true] {
        let (go_on, wait) = futures_channel::oneshot::channel::<()>();
        let wait = std::sync::Arc::new(std::sync::Mutex::new(Some(wait)));
        let task = if on_shard {
            client.on_shard(move |shard| {
                let wait = wait.lock().unwrap().take().unwrap();
                async move {
                    let head = ringpool::on_shard::Head::get("/");
                    let mut exchange = shard.upstream(NAME)?.exchange(head).await?;
                    wait.await.unwrap();
                    let mut read = 0;
                    while let Some(chunk) = exchange.chunk().await? {
                        read += chunk.len();
                    }
                    Ok::<_, Error>(read)
                }
            })
        } else {
            let upstream = client.upstream();
            spawn(async move {
                let mut body = upstream.call(get("/")).await?.into_body();
                let wait = wait.lock().unwrap().take().unwrap();
                wait.await.unwrap();
                let mut read = 0;
                while let Some(frame) = body.frame().await {
                    read += frame?.data_ref().map_or(0, Bytes::len);
                }
                Ok(read)
            })
        };
        let mut conn = peer.accept();
        conn.answer("HTTP/1.1 200 OK\r\n\r\n");
        let sent = conn.send_until_stalled(MOST, Duration::from_millis(300));
        assert!(sent < MOST / 2, "{sent} bytes were taken in unread");
        go_on.send(()).unwrap();
        conn.send("end");
        conn.fin();
        assert_eq!(task.wait().unwrap(), sent + 3);
    }
}

#[test]
fn a_response_tells_how_much_is_to_come() {
    let peer = Peer::start();
    let client = Client::new(&peer);
    let upstream = client.upstream();
    let call = spawn(async move { upstream.call(get("/")).await });
    let mut conn = peer.accept();
    conn.answer("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello");
    let body = call.wait().unwrap().into_body();
    assert_eq!(body.size_hint().exact(), Some(10));
    let read = spawn(async move {
        let mut body = body;
        let first = body.frame().await.unwrap()?.into_data().unwrap();
        Ok::<_, Error>((first, body))
    });
    let (first, body) = read.wait().unwrap();
    assert_eq!(first, "hello");
    assert_eq!(body.size_hint().exact(), Some(5));
    conn.send("world");
    let rest = spawn(async move { body.collect().await.map(|rest| rest.to_bytes()) });
    assert_eq!(rest.wait().unwrap(), "world");
}
