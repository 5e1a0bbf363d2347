//! Raw streams over TLS.

use super::s_server::hears;
use super::*;

/// Sends back whatever comes, until the client closes.
fn echo(mut stream: TlsStream) {
    let mut buffer = vec![0; 32 * 1024];
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..n]).is_err() {
            return;
        }
    }
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

#[test]
fn a_raw_lease_carries_a_mebibyte_both_ways_at_once() {
    let authority = Authority::new();
    let peer = Peer::tls(Arc::new(config(&authority.sign())), echo);
    let engine = engine(1, backend(&peer.url("tls"), &authority));
    let sent: Bytes = (0..1u32 << 20)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let outside = {
        let upstream = engine.upstream("backend").unwrap();
        let sent = sent.clone();
        async move {
            let mut lease = upstream.checkout().await?;
            let mut received = Vec::new();
            for piece in sent.chunks(50_000) {
                lease.write_all(piece).await?;
                received.extend_from_slice(&lease.read().await?.expect("an echo"));
            }
            while received.len() < sent.len() {
                received.extend_from_slice(&lease.read().await?.expect("an echo"));
            }
            lease.release();
            Ok::<_, Error>(received)
        }
    };
    assert!(run(outside).unwrap() == sent);
    let tasks = engine.spawn_on_each({
        let sent = sent.clone();
        move |shard| {
            let sent = sent.clone();
            async move {
                let mut lease = shard.upstream("backend")?.checkout().await?;
                let mut received = Vec::new();
                for piece in sent.chunks(50_000) {
                    lease.write_all(piece).await?;
                    received.extend_from_slice(&lease.read().await?.expect("an echo"));
                }
                while received.len() < sent.len() {
                    received.extend_from_slice(&lease.read().await?.expect("an echo"));
                }
                let reused = lease.reused();
                lease.release();
                Ok::<_, Error>((reused, received == sent))
            }
        }
    });
    for ended in run(tasks) {
        assert_eq!(ended.unwrap().unwrap(), (true, true));
    }
    assert_eq!(run(engine.snapshot()).unwrap().driver.faults, 0);
}

#[test]
fn a_tls_lease_cannot_be_detached() {
    let authority = Authority::new();
    let peer = Peer::tls(Arc::new(config(&authority.sign())), echo);
    let engine = engine(1, backend(&peer.url("tls"), &authority));
    let upstream = engine.upstream("backend").unwrap();
    let error = run(async { upstream.checkout().await?.detach().await }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(!error.to_string().contains('\n'));
    let tasks = engine.spawn_on_each(|shard| async move {
        let lease = shard.upstream("backend").unwrap().checkout().await.unwrap();
        lease.detach().await.unwrap_err().kind()
    });
    assert_eq!(run(tasks).remove(0).unwrap(), ErrorKind::Unsupported);
    until(&engine, "both closed", |seen| seen.now.sockets == 0);
}

#[test]
fn tickets_and_key_updates_on_an_idle_connection_are_taken_in() {
    let authority = Authority::new();
    let options = ["-tls1_3", "-msg", "-num_tickets", "5"];
    let Some(mut server) = OpensslServer::start(&authority.sign(), &options) else {
        return;
    };
    let engine = engine(
        1,
        UpstreamConfig {
            idle_min: 1,
            ..backend(&server.url("tls"), &authority)
        },
    );
    // The tickets come after the handshake: to a connection that rests.
    run(engine.ready(Duration::from_secs(5))).unwrap();
    for _ in 0..5 {
        server.hear("NewSessionTicket");
    }
    let upstream = engine.upstream("backend").unwrap();
    for round in 0..3 {
        let mut lease = run(upstream.checkout()).unwrap();
        server.tell(&format!("server {round}"));
        run(hears(&mut lease, &format!("server {round}\n")));
        run(lease.write_all(format!("client {round}\n").as_bytes())).unwrap();
        run(lease.flush()).unwrap();
        server.hear(&format!("client {round}"));
        lease.release();
        // Twice: that the second goes out tells that the first is out.
        for command in ["k", "K", "k"] {
            server.tell(command);
            server.hear(">>> TLS 1.3, Handshake [length 0005], KeyUpdate");
        }
    }
    let seen = run(engine.snapshot()).unwrap();
    assert_eq!((seen.connections_opened, seen.evictions()), (1, 0));
}

#[test]
fn s_server_and_a_raw_lease() {
    let authority = Authority::new();
    for version in ["-tls1_2", "-tls1_3"] {
        let Some(server) = OpensslServer::start(&authority.sign(), &["-rev", version]) else {
            return;
        };
        let engine = engine(1, backend(&server.url("tls"), &authority));
        let upstream = engine.upstream("backend").unwrap();
        for (said, heard) in [("stressed\n", "desserts\n"), ("reviled\n", "deliver\n")] {
            let mut lease = run(upstream.checkout()).unwrap();
            run(lease.write_all(said.as_bytes())).unwrap();
            run(hears(&mut lease, heard));
            lease.release();
        }
        assert_eq!(run(engine.snapshot()).unwrap().connections_opened, 1);
    }
}
