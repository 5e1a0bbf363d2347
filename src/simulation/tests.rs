//! The face of the simulation, driven the way a simulator drives it.

use super::*;
use crate::client::body::Body;
use crate::config::{Config, UpstreamConfig};
use crate::error::{Error, ErrorKind};
use crate::protocol::http1::Head;
use crate::random::Random;
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);

/// Answers each request with its path.
#[derive(Default)]
struct Echo {
    unread: Vec<u8>,
}

impl Peer for Echo {
    fn received(&mut self, bytes: &[u8], out: &mut Answers) {
        self.unread.extend_from_slice(bytes);
        while let Some(end) = self.unread.windows(4).position(|end| end == b"\r\n\r\n") {
            let head: Vec<u8> = self.unread.drain(..end + 4).collect();
            let head = String::from_utf8(head).expect("a request's head is text");
            let path = head.split(' ').nth(1).expect("a request line has a path");
            let length = path.len();
            out.wait(MILLISECOND);
            out.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{path}"
            ));
        }
    }
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 80))
}

/// Upstreams `a` by address and `b` by name, both served; `raw`, where nobody says a word unasked.
fn world(seed: u64, shards: usize) -> (Network, Engine) {
    let network = Network::new(seed);
    let mut config = Config::default();
    let urls = ["http://192.0.2.1", "http://b.test", "tcp://192.0.2.3:80"];
    for (n, (name, url)) in ["a", "b", "raw"].into_iter().zip(urls).enumerate() {
        let upstream = UpstreamConfig {
            connections_max: 5,
            ..UpstreamConfig::at(url).expect("a URL")
        };
        config.upstreams.insert(name.to_owned(), upstream);
        network.listen(address(n as u8 + 1).into(), || Box::new(Echo::default()));
    }
    network.set_names("b.test", vec![SocketAddr::from(([192, 0, 2, 2], 0))]);
    let engine = Engine::new(config, shards, seed, &network).expect("it is right");
    (network, engine)
}

/// Steps until `done`, and lets time go by whenever nothing else is left to do.
fn run_until(network: &Network, engine: &mut Engine, mut done: impl FnMut() -> bool) {
    for _ in 0..1_000_000 {
        if done() {
            return;
        }
        if !engine.step() {
            let next = engine.next_event().expect("there is something to wait for");
            network.advance_to(next);
        }
    }
    panic!("that never ends");
}

fn get(path: &str) -> http::Request<Body> {
    let request = http::Request::get(path).body(Body::empty());
    request.expect("the test's path is right")
}

type Answer = Result<http::Response<Bytes>, Error>;

fn finish(network: &Network, engine: &mut Engine, calls: &mut [Call]) -> Vec<Answer> {
    let mut answers: Vec<Option<Answer>> = calls.iter().map(|_| None).collect();
    run_until(network, engine, || {
        for (call, answer) in calls.iter_mut().zip(&mut answers) {
            if answer.is_none() {
                *answer = call.poll();
            }
        }
        answers.iter().all(Option::is_some)
    });
    answers.into_iter().flatten().collect()
}

#[test]
fn calls_go_to_where_they_are_sent_and_come_back() {
    let (network, mut engine) = world(1, 2);
    let mut calls = vec![
        engine.call(Some(0), "a", get("/0")),
        engine.call(Some(1), "a", get("/1")),
        engine.call(None, "b", get("/2")),
        engine.call_url(get("http://192.0.2.1/3")).expect("a URL"),
        engine.call(None, "nobody", get("/4")),
    ];
    let answers = finish(&network, &mut engine, &mut calls);
    let bodies = answers.iter().map(|answer| match answer {
        Ok(response) => String::from_utf8_lossy(response.body()).into_owned(),
        Err(error) => format!("{:?}", error.kind()),
    });
    let bodies: Vec<String> = bodies.collect();
    assert_eq!(bodies, ["/0", "/1", "/2", "/3", "Config"]);
    let mut look = Look::default();
    engine.look(0, &mut look);
    assert!(look.connections.iter().all(|c| c.state == "idle"));
    assert!(look.connections.iter().all(|c| c.has_permit && c.uses == 1));
    assert_eq!(look.sockets, look.connections.len() as u64);
    assert_eq!(engine.permits("a").in_use, 2);
    assert_eq!(engine.permits("a").engine_in_use, 4);
    assert_eq!(engine.stop(), Vec::<String>::new());
    assert_eq!(network.open_connections(&address(1).into()), 0);
}

#[test]
fn tasks_on_a_shard_call_check_out_and_sleep() {
    let (network, mut engine) = world(1, 1);
    let done = Arc::new(Mutex::new(Vec::new()));
    let said = done.clone();
    let task = |shard: Shard| async move {
        shard.sleep(5 * MILLISECOND).await;
        let head = Head::get("/exchange");
        let (status, body) = shard.exchange("a", head).await.unwrap();
        let called = shard.call("a", get("/call")).await.unwrap();
        let mut lease = shard.checkout("raw").await.unwrap();
        let request = Bytes::from_static(b"GET /raw HTTP/1.1\r\n\r\n");
        lease.write(request).await.unwrap();
        lease.flush().await.unwrap();
        let read = lease.read().await.unwrap().unwrap();
        lease.release();
        let bodies = [
            body,
            called.into_body(),
            read.to_bytes().slice(read.len() - 4..),
        ];
        said.lock().unwrap().push((status, bodies));
    };
    engine.spawn(0, task).expect("there is room");
    run_until(&network, &mut engine, || !done.lock().unwrap().is_empty());
    let expected = ["/exchange", "/call", "/raw"].map(Bytes::from);
    assert_eq!(*done.lock().unwrap(), [(200, expected)]);
    assert!(network.now() >= 5 * MILLISECOND);
    assert_eq!(engine.stop(), Vec::<String>::new());
}

#[test]
fn a_lease_from_outside_writes_reads_and_comes_back() {
    let (network, mut engine) = world(1, 1);
    for reused in [false, true] {
        let mut checkout = engine.checkout(None, "raw");
        let mut lease = None;
        run_until(&network, &mut engine, || {
            lease = lease.take().or_else(|| checkout.poll());
            lease.is_some()
        });
        let mut lease = lease.unwrap().unwrap();
        assert_eq!(lease.reused(), reused);
        lease.write(Bytes::from_static(b"GET /raw HTTP/1.1\r\n"));
        lease.write(Bytes::from_static(b"\r\n"));
        let mut read = None;
        run_until(&network, &mut engine, || {
            read = read.take().or_else(|| lease.poll_read());
            read.is_some()
        });
        let read = read.unwrap().unwrap().unwrap();
        assert!(read.ends_with(b"/raw"));
        lease.release();
        while engine.step() {}
    }
    assert_eq!(engine.stop(), Vec::<String>::new());
}

#[test]
fn a_reader_that_pauses_has_its_response_later() {
    let (network, mut engine) = world(1, 1);
    let mut call = engine.call(None, "a", get("/x"));
    call.pause_reading(true);
    for _ in 0..50 {
        assert!(call.poll().is_none());
        if !engine.step() {
            network.advance_to(engine.next_event().unwrap_or(network.now()));
        }
    }
    call.pause_reading(false);
    assert_eq!(call.poll().unwrap().unwrap().body(), "/x");
    drop(engine);
}

#[test]
fn what_is_left_over_is_named() {
    let (network, mut engine) = world(1, 1);
    let mut call = engine.call(None, "a", get("/x"));
    run_until(&network, &mut engine, || call.poll().is_some());
    // Longer than a shard waits for its last connection.
    let faults = Faults {
        late: 1024,
        late_max: Duration::from_secs(100_000),
        ..Faults::default()
    };
    engine.set_faults(0, faults);
    let left = engine.stop();
    assert_eq!(left[0], "shard 0: 1 connections left");
    assert!(left.contains(&"upstream a: 1 permits left".to_owned()));
}

#[test]
fn caps_follow_new_settings_at_once_and_what_an_upstream_is_stays() {
    let (_, engine) = world(1, 1);
    let settings = UpstreamConfig {
        connections_max: 7,
        ..UpstreamConfig::at("http://192.0.2.1").unwrap()
    };
    engine.configure("a", settings.clone()).unwrap();
    assert_eq!(engine.permits("a").max, 7);
    for (name, elsewhere) in [("a", "http://elsewhere:80"), ("nobody", "http://192.0.2.1")] {
        let other = UpstreamConfig::at(elsewhere).unwrap();
        let error = engine.configure(name, other).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{name}");
    }
    assert_eq!(engine.permits("a").max, 7, "nothing has changed");
}

/// Many calls under all faults at once; what came of them, and how many events that took.
fn storm(seed: u64, calls: usize) -> (Vec<String>, u64) {
    let (network, mut engine) = world(seed, 2);
    let mut random = Random::new(seed);
    for shard in 0..2 {
        engine.set_faults(
            shard,
            Faults {
                late: 100,
                late_max: 3 * MILLISECOND,
                reordered: 200,
                short_send: 50,
                more_lost: 50,
                no_buffers: 20,
                open_fails: 20,
                submit_fails: 5,
                cancel_races: 300,
                overflow: 100,
                events_per_reap_max: 16,
            },
        );
    }
    for host in [1, 2] {
        network.set_weather(
            address(host).into(),
            Weather {
                latency_min: MILLISECOND / 10,
                latency_max: 2 * MILLISECOND,
                piece_max: 64,
            },
        );
    }
    let mut open: Vec<(String, Call)> = Vec::new();
    let (mut log, mut begun) = (Vec::new(), 0);
    let mut look = Look::default();
    while begun < calls || !open.is_empty() {
        if begun < calls && open.len() < 20 {
            let path = format!("/{begun}");
            let shard = random.below(2) as usize;
            let upstream = ["a", "b"][random.below(2) as usize];
            open.push((path.clone(), engine.call(Some(shard), upstream, get(&path))));
            begun += 1;
        }
        if random.below(500) == 0 && !open.is_empty() {
            open.swap_remove(random.below(open.len() as u64) as usize);
        }
        open.retain_mut(|(path, call)| match call.poll() {
            None => true,
            Some(Ok(response)) => {
                assert_eq!(response.body(), path, "seed {seed}");
                log.push(format!("{:?} {path}", network.now()));
                false
            }
            Some(Err(error)) => {
                log.push(format!("{:?} {path}: {error}", network.now()));
                false
            }
        });
        for shard in 0..2 {
            engine.look(shard, &mut look);
            let slots = look.connections.iter();
            assert!(slots.filter(|c| c.state == "leased").count() <= 10);
        }
        if !engine.step()
            && let Some(next) = engine.next_event()
        {
            network.advance_to(next);
        }
    }
    for upstream in ["a", "b"] {
        let permits = engine.permits(upstream);
        assert!(permits.in_use <= permits.max);
    }
    let events = network.events();
    assert_eq!(engine.stop(), Vec::<String>::new(), "seed {seed}");
    (log, events)
}

#[test]
fn under_all_faults_every_call_ends_and_a_seed_repeats() {
    for seed in 0..20 {
        let (log, events) = storm(seed, 200);
        assert_eq!((log, events), storm(seed, 200), "seed {seed}");
    }
    assert_ne!(storm(1, 50).0, storm(2, 50).0);
}
