//! The end without haste, over real sockets: what is under way is finished, what is new is refused, what is
//! left at the deadline is cut and told.

mod common;

use common::client::{Client, NAME, Running, WAYS, spawn, within};
use common::peer::Peer;
use ringpool::on_shard::Shard;
use ringpool::{DrainReport, ErrorKind, block_on};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::Poll;
use std::time::Duration;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(60);
/// A deadline that is meant to pass.
const SHORT: Duration = Duration::from_millis(50);

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Drains on a thread of its own; returns when nothing new is let in any more.
fn drain(client: &Arc<Client>, within: Duration) -> Running<DrainReport> {
    let drainer = client.clone();
    let draining = spawn(async move { drainer.engine.drain(within).await });
    loop {
        // What is refused is refused at the first look; what is not is given up.
        let upstream = client.upstream();
        let mut checkout = pin!(upstream.checkout());
        let looked = block_on(poll_fn(|cx| Poll::Ready(checkout.as_mut().poll(cx))));
        match looked {
            Poll::Ready(Err(error)) if error.kind() == ErrorKind::Draining => return draining,
            Poll::Ready(_) | Poll::Pending => std::thread::yield_now(),
        }
    }
}

fn client(peer: &Peer, idle_min: u32) -> Arc<Client> {
    Arc::new(Client::with(&peer.http(), |upstream| {
        upstream.idle_min = idle_min;
        upstream.call_timeout = LONG;
    }))
}

#[test]
fn idle_connections_close_at_once_and_nothing_is_dialled_for_them() {
    let peer = Peer::start();
    let client = client(&peer, 3);
    block_on(client.engine.ready(LONG)).unwrap();
    let idle = [peer.accept(), peer.accept(), peer.accept()];
    let drainer = client.clone();
    let report = within(async move { drainer.engine.drain(LONG).await });
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.finished(), report.shards.len()), (0, 1));
    for connection in idle {
        assert_eq!(connection.closed(), b"");
    }
    assert_eq!(peer.accepted(), 3);
    // It still tells its figures, and has nothing left.
    assert_eq!(client.snapshot().now.sockets, 0);
    let late = client.get(WAYS[0], "/late").wait().unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Draining);
    let error = block_on(client.engine.ready(LONG)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Draining);
}

#[test]
fn a_response_that_is_half_way_comes_to_its_end() {
    for way in WAYS {
        let peer = Peer::start();
        let client = client(&peer, 0);
        let call = client.get(way, "/half");
        let mut connection = peer.accept();
        connection.request();
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ");
        client.until("the half has come", |snapshot| snapshot.now.tasks > 0);
        let draining = drain(&client, LONG);
        connection.send("whole");
        assert_eq!(call.wait().unwrap().body, b"half whole", "{way:?}");
        let report = draining.wait();
        assert!(report.is_clean(), "{way:?}: {report}");
        assert!(report.finished() >= 1, "{way:?}: {report}");
        assert_eq!(connection.closed(), b"");
    }
}

/// One that waits for the connection of another is under way as well.
#[test]
fn a_queue_is_served() {
    let peer = Peer::start();
    let client = Arc::new(Client::with(&peer.http(), |upstream| {
        upstream.connections_max = 1;
        upstream.call_timeout = LONG;
        upstream.wait_timeout = LONG;
    }));
    let first = client.get(WAYS[0], "/first");
    let mut connection = peer.accept();
    connection.request();
    let second = client.get(WAYS[0], "/second");
    client.until("the second waits", |snapshot| snapshot.now.waiters == 1);
    let draining = drain(&client, LONG);
    connection.send(OK);
    assert_eq!(connection.answer(OK).line(), "GET /second HTTP/1.1");
    for call in [first, second] {
        assert_eq!(call.wait().unwrap().body, b"ok");
    }
    let report = draining.wait();
    assert!(report.is_clean() && report.finished() >= 2, "{report}");
}

#[test]
fn what_is_too_slow_is_cut_and_counted() {
    let peer = Peer::start();
    let client = client(&peer, 0);
    let mut slow = Vec::new();
    for way in WAYS {
        let call = client.get(way, "/slow");
        let mut connection = peer.accept();
        connection.request();
        slow.push((way, call, connection));
    }
    let report = drain(&client, SHORT).wait();
    assert_eq!(
        (report.calls_cut(), report.leases_cut()),
        (3, 0),
        "{report}"
    );
    // The tasks of two of them.
    assert_eq!(report.tasks_cut(), 2, "{report}");
    let cut = &report.shards[0].upstreams[NAME];
    assert_eq!((cut.calls, cut.leases, cut.detached), (3, 0, 0));
    assert!(report.took >= SHORT);
    for (way, call, connection) in slow {
        assert_eq!(connection.closed(), b"");
        if way == WAYS[0] {
            let error = call.wait().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Draining);
            assert_eq!(error.request_sent(), ringpool::RequestSent::Whole);
        }
    }
}

#[test]
fn leases_have_their_time_and_detached_sockets_are_told() {
    let peer = Peer::start();
    let client = Arc::new(Client::with(&peer.raw(), |_| {}));
    let checkout = || block_on(client.upstream().checkout()).unwrap();
    let (mut finishing, cut, gone) = (checkout(), checkout(), checkout());
    let detached = block_on(gone.detach()).unwrap();
    let mut connections = [peer.accept(), peer.accept(), peer.accept()];
    let draining = drain(&client, Duration::from_secs(1));
    within(async move {
        finishing.write_all(b"ping\n").await.unwrap();
        finishing.flush().await.unwrap();
        finishing.release();
    });
    let report = draining.wait();
    assert_eq!(
        (report.calls_cut(), report.leases_cut()),
        (0, 1),
        "{report}"
    );
    assert_eq!(report.detached(), 1, "{report}");
    assert!(report.finished() >= 1, "{report}");
    drop(detached.guard);
    drop(cut);
    // The socket that left is open still.
    assert_eq!(connections[0].take(5), b"ping\n");
    drop(detached.socket);
    for connection in connections {
        assert_eq!(connection.closed(), b"");
    }
}

#[test]
fn tasks_learn_of_it() {
    let peer = Peer::start();
    let client = client(&peer, 0);
    let (begun, begins) = channel();
    let task = client.on_shard(move |shard: Shard| {
        let begun = begun.clone();
        async move {
            let upstream = shard.upstream(NAME).unwrap();
            begun.send(()).unwrap();
            shard.draining().await;
            assert!(shard.is_draining());
            let refused = upstream.checkout().await.err().map(|error| error.kind());
            let head = ringpool::on_shard::Head::get("/late");
            let exchange = upstream
                .exchange(head)
                .await
                .err()
                .map(|error| error.kind());
            [refused, exchange]
        }
    });
    begins.recv().unwrap();
    let report = drain(&client, LONG).wait();
    assert_eq!(task.wait(), [Some(ErrorKind::Draining); 2]);
    assert!(report.is_clean(), "{report}");
}

#[test]
fn a_task_that_goes_on_is_dropped_at_the_deadline() {
    let peer = Peer::start();
    let client = client(&peer, 0);
    let each = client
        .engine
        .spawn_on_each(|_| std::future::pending::<()>());
    let report = drain(&client, SHORT).wait();
    assert_eq!((report.tasks_cut(), report.calls_cut()), (1, 0), "{report}");
    // Whoever waits for it learns it, though the engine is still there.
    let error = within(each).remove(0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Draining);
}

/// A drain whose caller has gone goes on; the next one joins it and has the same report.
#[test]
fn a_drain_that_is_given_up_goes_on() {
    let peer = Peer::start();
    let client = client(&peer, 0);
    let call = client.get(WAYS[0], "/x");
    let mut connection = peer.accept();
    connection.request();
    block_on(async {
        let mut drain = pin!(client.engine.drain(LONG));
        poll_fn(|cx| {
            assert!(drain.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
    });
    // The shard has heard of it: what is refused before that would be counted with what was under way.
    client.snapshot();
    let late = client.get(WAYS[0], "/late").wait().unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Draining);
    connection.send(OK);
    assert_eq!(call.wait().unwrap().body, b"ok");
    assert_eq!(connection.closed(), b"");
    let reports = [0; 2].map(|_| block_on(client.engine.drain(LONG)));
    assert_eq!(reports[0], reports[1]);
    assert_eq!((reports[0].finished(), reports[0].is_clean()), (1, true));
}
