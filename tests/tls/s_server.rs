//! `openssl s_server` that changes keys in mid-use, asks for a new negotiation, and gives many tickets.

use super::*;
use ringpool::Lease;

/// What it says with `-msg` when it has sent a KeyUpdate, and when one of ours has come.
const UPDATE_SENT: &str = ">>> TLS 1.3, Handshake [length 0005], KeyUpdate";
const UPDATE_HEARD: &str = "<<< TLS 1.3, Handshake [length 0005], KeyUpdate";

/// Reads from a lease until `line` has come.
pub(super) async fn hears(lease: &mut Lease, line: &str) {
    let mut heard = String::new();
    while heard != line {
        let piece = lease.read().await.unwrap().expect("more to come");
        heard.push_str(std::str::from_utf8(&piece).unwrap());
        assert!(line.starts_with(&heard), "heard {heard:?}");
    }
}

fn one_line_each_way(server: &mut OpensslServer, lease: &mut Lease, line: &str) {
    server.tell(line);
    run(hears(lease, &format!("{line}\n")));
    run(lease.write_all(format!("{line}, yes\n").as_bytes())).unwrap();
    run(lease.flush()).unwrap();
    server.hear(&format!("{line}, yes"));
}

/// `k` changes the server's keys; `K` asks for ours to be changed too, which shows in front of what we send next.
#[test]
fn keys_change_while_a_lease_is_held_and_while_the_connection_idles() {
    let authority = Authority::new();
    let Some(mut server) = OpensslServer::start(&authority.sign(), &["-tls1_3", "-msg"]) else {
        return;
    };
    let engine = engine(1, backend(&server.url("tls"), &authority));
    let upstream = engine.upstream("backend").unwrap();
    for round in 0..3 {
        let mut lease = run(upstream.checkout()).unwrap();
        one_line_each_way(&mut server, &mut lease, &format!("first, {round}"));
        // Leased, and between two reads.
        server.tell("k");
        server.hear(UPDATE_SENT);
        one_line_each_way(&mut server, &mut lease, &format!("second, {round}"));
        server.tell("K");
        server.hear(UPDATE_SENT);
        server.tell("behind it");
        run(hears(&mut lease, "behind it\n"));
        run(lease.write_all(b"ours\n")).unwrap();
        run(lease.flush()).unwrap();
        server.hear(UPDATE_HEARD);
        server.hear("ours");
        one_line_each_way(&mut server, &mut lease, &format!("third, {round}"));
        lease.release();
        // Idle: the answer has time until somebody speaks. It says so before it sends: that the second goes out tells
        // that the first is out.
        for command in ["K", "k"] {
            server.tell(command);
            server.hear(UPDATE_SENT);
        }
        let mut lease = run(upstream.checkout()).unwrap();
        run(lease.write_all(b"awake\n")).unwrap();
        run(lease.flush()).unwrap();
        server.hear(UPDATE_HEARD);
        server.hear("awake");
        lease.release();
    }
    let seen = run(engine.snapshot()).unwrap();
    assert_eq!((seen.connections_opened, seen.evictions()), (1, 0));
}

/// rustls answers the first request with a warning, `no_renegotiation`. OpenSSL takes that for a failed handshake.
#[test]
fn a_new_negotiation_is_refused_and_the_lease_ends_with_the_reason() {
    let authority = Authority::new();
    let Some(mut server) = OpensslServer::start(&authority.sign(), &["-tls1_2", "-msg"]) else {
        return;
    };
    let engine = engine(1, backend(&server.url("tls"), &authority));
    let upstream = engine.upstream("backend").unwrap();
    for round in 0..2 {
        let mut lease = run(upstream.checkout()).unwrap();
        one_line_each_way(&mut server, &mut lease, &format!("before, {round}"));
        server.tell("r");
        server.hear("HelloRequest");
        // The answer goes at once, whether or not we have anything to say.
        server.hear("no_renegotiation");
        let error = run(lease.read()).expect_err("it has given up");
        assert_eq!(error.kind(), ErrorKind::Tls(TlsFailure::Alert), "{error:?}");
        assert!(error.to_string().contains("HandshakeFailure"), "{error}");
        drop(lease);
    }
}

#[test]
fn a_new_negotiation_is_refused_on_an_idle_connection_too() {
    let authority = Authority::new();
    let Some(mut server) = OpensslServer::start(&authority.sign(), &["-tls1_2", "-msg"]) else {
        return;
    };
    let engine = engine(1, backend(&server.url("tls"), &authority));
    let upstream = engine.upstream("backend").unwrap();
    for round in 1..=2 {
        let mut lease = run(upstream.checkout()).unwrap();
        one_line_each_way(&mut server, &mut lease, &format!("before, {round}"));
        lease.release();
        until(&engine, "it idles", |seen| {
            seen.upstreams["backend"].idle == 1
        });
        server.tell("r");
        server.hear("HelloRequest");
        until(&engine, "it is gone", |seen| {
            seen.evicted_failed == round && seen.now.sockets == 0
        });
    }
}

#[test]
fn a_hundred_tickets_are_taken_in_and_a_thousand_are_a_flood() {
    let authority = Authority::new();
    for (tickets, bearable) in [("100", true), ("1000", false)] {
        let options = ["-tls1_3", "-www", "-num_tickets", tickets];
        let Some(server) = OpensslServer::start(&authority.sign(), &options) else {
            return;
        };
        let mut upstream = backend(&server.url("https"), &authority);
        if !bearable {
            // With one of the first tickets the next handshake would bring but one more.
            upstream.tls.resumption = false;
            let error = failure(upstream);
            assert_eq!(error.kind(), ErrorKind::Tls(TlsFailure::Flood), "{error:?}");
            continue;
        }
        let engine = engine(1, upstream);
        for round in 0..3 {
            let (status, page) = told(&engine);
            assert_eq!(status, 200);
            let word = if round == 0 { "New, " } else { "Reused, " };
            assert!(page.contains(word), "{page}");
        }
    }
}
