//! ringpool, the fast way: tasks on the shard, low-level exchange.
//!
//! Where a scenario asks for calls from a tokio runtime, it is the handle for any thread ([`super::anywhere`]).

use super::{Peer, anywhere, expect};
use crate::caller::{Caller, Callers};
use crate::certificate::NAME;
use crate::cli::ClientOptions;
use crate::measure::Outcome;
use crate::scenario::{LARGE, Place, Scenario, Transport};
use bytes::Bytes;
use ringpool::config::{TrustRoots, UpstreamConfig};
use ringpool::on_shard::{Head, Shard, Upstream};
use ringpool::{Config, Engine, block_on};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::mpsc;

pub(super) const PEER: Peer = Peer {
    name: "ringpool",
    about: "tasks on the shard, low-level exchange; `anywhere`: calls from tokio's thread",
    refuses: |_| None,
    run,
};

/// The upstream's name.
pub(super) const BACKEND: &str = "backend";

fn run(options: &ClientOptions) -> Result<Outcome, String> {
    if options.scenario.place == Place::Tokio {
        return anywhere::run(options);
    }
    on_shard(options, OnShard::new)
}

/// Runs the callers that `make` makes as tasks on the one shard.
pub(super) fn on_shard<C: Caller + 'static>(
    options: &ClientOptions,
    make: fn(&ClientOptions, &Shard, &Rc<InTurn>) -> C,
) -> Result<Outcome, String> {
    let engine = engine(options)?;
    let options = options.clone();
    let outcomes = block_on(engine.spawn_on_each(move |shard| {
        let options = options.clone();
        async move {
            let upstreams = InTurn::new(&shard, options.scenario.upstreams).await?;
            let callers = Callers::begin(options.scenario, options.seconds);
            let (running, mut all_ended) = mpsc::channel::<()>(1);
            for _ in 0..options.scenario.callers {
                let (caller, running) = (make(&options, &shard, &upstreams), running.clone());
                shard.spawn(async move {
                    callers.run(caller).await;
                    drop(running);
                });
            }
            drop(running);
            all_ended.recv().await;
            callers.outcome()
        }
    }));
    let outcome = outcomes.into_iter().next().ok_or("no shard")?;
    outcome.map_err(|why| why.to_string())?
}

/// An engine with one shard on the client's core, whose connections are up.
pub(super) fn engine(options: &ClientOptions) -> Result<Engine, String> {
    let scenario = options.scenario;
    let connections = scenario.connections() as u32;
    let idle_min = match scenario {
        // Ten thousand dials at once are more than a backend's queue takes: there are calls instead, one by one.
        Scenario { upstreams: 2.., .. } => 0,
        one if !one.reuses() => 0,
        _ => connections,
    };
    let mut upstream = UpstreamConfig {
        connections_max: connections,
        idle_min,
        // What idles is to stay, however long a round is.
        idle_timeout: None,
        ..UpstreamConfig::at(&url(options)).map_err(|why| why.to_string())?
    };
    // Before anything counts: nobody else is to be spared here.
    upstream.warm.dials_per_second = connections.max(1_000);
    if !scenario.reuses() {
        // Every call needs a connection of its own: none is worth waiting for.
        upstream.dials_max = connections;
        upstream.dials_eager = true;
    }
    if scenario.transport == Transport::Tls {
        upstream.tls.roots = TrustRoots::PemFile(options.authority.clone());
        upstream.tls.server_name = NAME.to_owned();
    }
    let mut upstreams = BTreeMap::new();
    for nth in 0..scenario.upstreams {
        upstreams.insert(name(nth), upstream.clone());
    }
    let config = Config {
        shards: 1,
        upstreams,
        cores: vec![options.core],
        connections_max: connections.max(Config::default().connections_max),
        ..Config::default()
    };
    let engine = Engine::start(config).map_err(|why| why.to_string())?;
    let ready = block_on(engine.ready(Duration::from_secs(30)));
    ready.map_err(|why| why.to_string())?;
    Ok(engine)
}

fn url(options: &ClientOptions) -> String {
    match options.scenario.transport {
        Transport::Tcp => format!("http://{}", options.tcp),
        Transport::Tls => format!("https://{}", options.tls),
        Transport::Unix => format!("http+unix:{}", options.unix.display()),
    }
}

/// The name of the nth upstream.
fn name(nth: usize) -> String {
    match nth {
        0 => BACKEND.to_owned(),
        _ => format!("{BACKEND}-{nth}"),
    }
}

/// Upstreams that all callers take in turn.
pub(super) struct InTurn {
    all: Vec<Upstream>,
    next: Cell<usize>,
}

impl InTurn {
    /// With a connection to each.
    async fn new(shard: &Shard, count: usize) -> Result<Rc<InTurn>, String> {
        let upstream = |nth| shard.upstream(&name(nth)).map_err(|why| why.to_string());
        let all: Result<Vec<_>, _> = (0..count).map(upstream).collect();
        let all = all?;
        for upstream in all.iter().filter(|_| count > 1) {
            let lease = upstream.checkout().await.map_err(|why| why.to_string())?;
            lease.release();
        }
        Ok(Rc::new(InTurn {
            all,
            next: Cell::new(0),
        }))
    }

    /// The next one.
    pub(super) fn take(&self) -> &Upstream {
        let at = self.next.get();
        self.next
            .set(if at + 1 < self.all.len() { at + 1 } else { 0 });
        &self.all[at]
    }
}

struct OnShard {
    scenario: &'static Scenario,
    shard: Shard,
    upstreams: Rc<InTurn>,
}

impl OnShard {
    fn new(options: &ClientOptions, shard: &Shard, upstreams: &Rc<InTurn>) -> OnShard {
        OnShard {
            scenario: options.scenario,
            shard: shard.clone(),
            upstreams: upstreams.clone(),
        }
    }
}

/// The body of uploads.
pub(super) static UPLOAD: [u8; LARGE] = [b'x'; LARGE];

impl Caller for OnShard {
    async fn call(&mut self) -> Result<(), String> {
        let work = self.scenario.work;
        let head = Head::new(work.method(), work.path());
        let upstream = self.upstreams.take();
        let sent = match work.request_body() {
            0 => upstream.exchange(head).await,
            len => {
                let body = Bytes::from_static(&UPLOAD[..len]);
                upstream.exchange_shared(head, body).await
            }
        };
        let mut exchange = sent.map_err(|why| why.to_string())?;
        let mut body = 0;
        while let Some(chunk) = exchange.chunk().await.map_err(|why| why.to_string())? {
            body += chunk.len();
        }
        expect(self.scenario, exchange.status(), body)
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> {
        self.shard.sleep(time)
    }
}
