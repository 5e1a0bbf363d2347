//! The engine, stepped by hand.
//!
//! Owns: the shards, and that each turns only when told to. Never: decides anything that a service's
//! engine decides; what is called here is what services call.

use super::call::Call;
use super::costs::{Costs, Done};
use super::lease::Checkout;
use super::shard::Shard as LocalShard;
use super::wall_clock::wall_clock;
use crate::client::body::Body;
use crate::client::drained::DrainReport;
use crate::client::engine::destination;
use crate::client::upstream::{Addressed, checkout, send};
use crate::config::{CallOptions, Config, UpstreamConfig};
use crate::driver::sim::{FaultCounts, Faults, Names, Network, Sim};
use crate::engine::EngineShared;
use crate::error::Error;
use crate::pool::Counter;
use crate::random::Random;
use crate::shard::look::Look;
use crate::shard::lookup::{Lookup, Resolve, Resolved};
use crate::shard::lost;
use crate::shard::mailbox::Control;
use crate::shard::sharing::movable::Underway;
use crate::shard::upstream::UpstreamShared;
use crate::shard::{Shard, Turn};
use crate::time::Time;
use crate::tls::TicketStore;
use rustls::crypto::CryptoProvider;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// The real engine over simulated drivers.
pub struct Engine {
    // Before `shared`, as in a service: the shards end first.
    shards: Vec<Shard<Sim>>,
    shared: Arc<EngineShared<Sim>>,
    network: Network,
    seeds: Random,
    costs: Costs,
    /// Until when each shard is at work, if it is in the middle of a turn.
    at_work: Vec<Option<Time>>,
}

/// Permits of an upstream and of the whole engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PermitsLook {
    /// The upstream's in use.
    pub in_use: u32,
    /// Its `connections_max`.
    pub max: u32,
    /// The engine's in use.
    pub engine_in_use: u32,
    /// Its `connections_max`.
    pub engine_max: u32,
}

/// Looks at the permits of one upstream, as often as wanted: its name is looked up once.
pub struct PermitsWatch(Arc<UpstreamShared>);

impl PermitsWatch {
    /// What is in use now.
    pub fn look(&self) -> PermitsLook {
        let (own, engine): (&Counter, &Counter) = (&self.0.connections, self.0.permits.engine());
        PermitsLook {
            in_use: own.in_use(),
            max: own.max(),
            engine_in_use: engine.in_use(),
            engine_max: engine.max(),
        }
    }
}

impl Engine {
    /// Makes an engine with so many shards, whose names are those of the network. `seed` decides what
    /// chance decides in a service, but for the keys of TLS.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(
        config: Config,
        shards: usize,
        seed: u64,
        network: &Network,
    ) -> Result<Engine, Error> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        Engine::with_tls(config, shards, seed, network, provider)
    }

    /// As [`new`](Engine::new), with `provider` to make the keys of TLS: they repeat themselves if what
    /// it makes does. Its clock is [`wall_clock`].
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn with_tls(
        config: Config,
        shards: usize,
        seed: u64,
        network: &Network,
        provider: CryptoProvider,
    ) -> Result<Engine, Error> {
        let tickets = TicketStore::with(provider, wall_clock(network));
        let resolver = Arc::new(ByNetwork(network.names()));
        let shared = Arc::new(EngineShared::new(
            config,
            shards,
            network.clock(),
            resolver,
            tickets,
        )?);
        let mut seeds = Random::new(seed);
        let at_work = vec![None; shards];
        let shards = (0..shards)
            .map(|index| {
                let mut parts = shared.parts(index, driver(&shared, network));
                parts.seed = seeds.next_u64();
                Shard::new(parts)
            })
            .collect();
        Ok(Engine {
            shards,
            shared,
            network: network.clone(),
            seeds,
            costs: Costs::default(),
            at_work,
        })
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Until when the shard would sleep, since the clock's zero; `None`: until something comes. What is
    /// not after [`Network::now`] means that it is awake. One in the middle of a turn is at work until then.
    pub fn rests_until(&self, shard: usize) -> Option<Duration> {
        let until = self.at_work[shard].unwrap_or_else(|| self.shards[shard].rests_until());
        (until != Time::NEVER).then(|| until.since(Time::ZERO))
    }

    /// When something happens next if nobody calls: in the network, in a driver or on a shard.
    pub fn next_event(&self) -> Option<Duration> {
        let shards = (0..self.shards()).filter_map(|shard| self.rests_until(shard));
        shards.chain(self.network.next_event()).min()
    }

    /// Copies what is there on a shard, between two turns; allocates only where there is more than
    /// there ever was in `look`.
    pub fn look(&self, shard: usize, look: &mut Look) {
        self.shards[shard].look(look);
    }

    /// The permits of a named upstream, and the engine's.
    ///
    /// # Panics
    /// If the configuration has no upstream of that name.
    pub fn permits(&self, upstream: &str) -> PermitsLook {
        self.watch_permits(upstream).look()
    }

    /// For whoever looks at the permits of a named upstream again and again.
    ///
    /// # Panics
    /// If the configuration has no upstream of that name.
    pub fn watch_permits(&self, upstream: &str) -> PermitsWatch {
        PermitsWatch(self.shared.named(upstream).expect("it is configured"))
    }

    /// What goes wrong in a shard's driver from now on.
    pub fn set_faults(&mut self, shard: usize, faults: Faults) {
        self.shards[shard].with_driver(|driver| driver.set_faults(faults));
    }

    /// How often each kind of fault has happened in a shard's driver.
    pub fn faults_met(&self, shard: usize) -> FaultCounts {
        let mut met = FaultCounts::default();
        self.shards[shard].with_driver(|driver| met = driver.faults_met());
        met
    }

    /// What turns cost from now on; nothing in the beginning.
    pub fn set_costs(&mut self, costs: Costs) {
        self.costs = costs;
    }

    /// Whether any shard is in the middle of a turn.
    pub fn is_at_work(&self) -> bool {
        self.at_work.iter().any(Option::is_some)
    }

    /// One turn of a shard, awake or not. Never blocks: where it would sleep it returns. Where turns cost
    /// something this is half of one, in which all is done but to tell the kernel; the other half is the next
    /// call, to be made when that time has gone by.
    pub fn turn(&mut self, index: usize) {
        let shard = &mut self.shards[index];
        if self.at_work[index].take().is_none() {
            let before = Done::by(shard);
            shard.work().expect("a simulated driver never breaks");
            let cost = Done::by(shard).cost_since(before, self.costs);
            if !cost.is_zero() {
                shard.with_driver(|driver| driver.leave());
                self.at_work[index] = Some(self.network.clock().now() + cost);
                return;
            }
        }
        let turn = shard.finish_turn();
        assert!(matches!(turn, Ok(Turn::GoOn)), "it ended by itself");
    }

    /// Delivers what has arrived, and turns every shard that is awake, in order; false if there was
    /// nothing to do.
    pub fn step(&mut self) -> bool {
        let mut moved = self.network.step();
        for shard in 0..self.shards() {
            if self
                .rests_until(shard)
                .is_some_and(|until| until <= self.network.now())
            {
                self.turn(shard);
                moved = true;
            }
        }
        moved
    }

    /// Sends a request from outside, on the shard that the engine picks or on the one that is wanted.
    pub fn call(&self, shard: Option<usize>, upstream: &str, request: http::Request<Body>) -> Call {
        let upstream = match self.shared.named(upstream) {
            Ok(upstream) => upstream,
            Err(unknown) => return Call::new(std::future::ready(Err(unknown))),
        };
        let (shard, underway) = self.begin(shard, &upstream);
        self.send(shard, underway, request)
    }

    /// Sends a request from outside to wherever its absolute URL says.
    ///
    /// # Errors
    /// If the URL is not absolute, or there are too many upstreams and all are in use.
    pub fn call_url(&self, request: http::Request<Body>) -> Result<Call, Error> {
        let url = destination(request.uri())?;
        let begin = |upstream: &_| self.begin(None, upstream);
        let (_, (shard, underway)) = self.shared.by_url(&url, begin)?;
        Ok(self.send(shard, underway, request))
    }

    /// Takes a connection from outside.
    pub fn checkout(&self, shard: Option<usize>, upstream: &str) -> Checkout {
        let upstream = match self.shared.named(upstream) {
            Ok(upstream) => upstream,
            Err(unknown) => return Checkout::new(std::future::ready(Err(unknown))),
        };
        let shard = shard.unwrap_or_else(|| self.shared.shard_for(&upstream));
        let underway = Underway::lease(&self.shared.mailboxes[shard], &upstream);
        let shared = self.shared.clone();
        Checkout::new(async move {
            let options = CallOptions::default();
            checkout(&shared, shard, underway, options).await
        })
    }

    /// Runs a task on a shard.
    ///
    /// # Errors
    /// If the shard's mailbox is full.
    pub fn spawn<R: Future<Output = ()> + 'static>(
        &self,
        shard: usize,
        task: impl FnOnce(LocalShard) -> R + Send + 'static,
    ) -> Result<(), Error> {
        self.shared.submit(
            shard,
            Box::new(move |local| local.spawn(task(LocalShard::new(local.clone())))),
        )
    }

    /// Puts other settings in force for a named upstream: caps at once, the rest as each shard turns.
    ///
    /// # Errors
    /// What is wrong with them. Nothing has changed then.
    pub fn configure(&self, name: &str, settings: UpstreamConfig) -> Result<(), Error> {
        let upstream = self.shared.named(name)?;
        self.shared.reconfigure(&upstream, settings).map(drop)
    }

    /// Drains the engine; the shards go on turning as they are told to, and sooner or later there is a
    /// [`report`](Engine::drained).
    pub fn drain(&self, within: Duration) {
        // Whoever waits for it is told by the report.
        drop(self.shared.drain(within));
    }

    /// What the drain came to, once it is over.
    pub fn drained(&self) -> Option<DrainReport> {
        let shards = self.shared.drained();
        (shards.len() == self.shards()).then(|| DrainReport::of(&shards))
    }

    /// Has a shard panic in the middle of a turn, and puts another one in its place, as its thread would.
    ///
    /// # Panics
    /// If it panics once more when it is dropped.
    pub fn lose_shard(&mut self, index: usize) {
        let mut lost = self.shards.remove(index);
        self.at_work[index] = None;
        self.shared.mailboxes[index].control(Control::Panic);
        let turned = catch_unwind(AssertUnwindSafe(|| lost.turn(true)));
        assert!(turned.is_err(), "it goes on though it was to panic");
        let fault = lost::lost(index, "the simulator wanted it");
        self.shared.mailboxes[index].lose(&fault);
        let tally = lost.lose(&fault);
        drop(lost);
        self.shared.on_shard_lost(index);
        let driver = driver(&self.shared, &self.network);
        let mut parts = self.shared.successor(index, driver, tally);
        parts.seed = self.seeds.next_u64();
        let mut successor = Shard::new(parts);
        successor.begin_with(self.shared.restore(index));
        self.shards.insert(index, successor);
    }

    /// Stops every shard, letting as much time go by as that takes. Each line names something that was
    /// left over; none is a clean end.
    pub fn stop(&mut self) -> Vec<String> {
        self.network.let_drivers_sleep();
        // Whoever is in the middle of a turn ends it first.
        for index in 0..self.shards() {
            if self.at_work[index].is_some() {
                self.turn(index);
            }
        }
        self.shared.stop();
        let mut left = Vec::new();
        for (index, shard) in self.shards.iter_mut().enumerate() {
            match shard.turn(true) {
                Ok(Turn::Stopped) => left.extend(shard.leftovers()),
                other => left.push(format!("shard {index} did not stop: {other:?}")),
            }
        }
        self.add_leftovers(&mut left);
        left
    }

    fn add_leftovers(&self, left: &mut Vec<String>) {
        let mut engine = 0;
        for (name, upstream) in self.shared.directory.iter() {
            let permits = upstream.connections.in_use();
            if permits > 0 {
                left.push(format!("upstream {name}: {permits} permits left"));
            }
            engine = upstream.permits.engine().in_use();
        }
        if engine > 0 {
            left.push(format!("the engine: {engine} permits left"));
        }
        for (name, upstream) in self.shared.directory.iter() {
            if upstream
                .offers()
                .is_some_and(|offers| !offers.open().is_empty())
            {
                left.push(format!("upstream {name}: calls are still offered"));
            }
        }
        for (index, mailbox) in self.shared.mailboxes.iter().enumerate() {
            if mailbox.depth() > 0 {
                let calls = mailbox.depth();
                left.push(format!("mailbox {index}: {calls} calls still counted"));
            }
        }
    }

    fn begin(&self, shard: Option<usize>, upstream: &Arc<UpstreamShared>) -> (usize, Underway) {
        let shard = shard.unwrap_or_else(|| self.shared.shard_for(upstream));
        let underway = Underway::new(&self.shared.mailboxes[shard], upstream);
        (shard, underway)
    }

    fn send(&self, shard: usize, underway: Underway, request: http::Request<Body>) -> Call {
        let shared = self.shared.clone();
        let call = Addressed {
            options: CallOptions::default(),
            request,
        };
        let upstream = underway.upstream().clone();
        Call::new(async move {
            let mut answer = send(&shared, &upstream, shard, underway, call)?;
            let answered = poll_fn(|cx| answer.poll_head(cx, &upstream)).await?;
            Ok(Body::response(answered, answer.into_upload()))
        })
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({} simulated shards)", self.shards())
    }
}

fn driver(shared: &EngineShared<Sim>, network: &Network) -> Sim {
    let config = &shared.config;
    let buffers = u32::from(config.receive_buffers);
    network.driver_with(buffers, config.receive_buffer_size as usize)
}

/// Answers at once with what the network knows.
struct ByNetwork(Names);

impl Resolve for ByNetwork {
    fn resolve(&self, lookup: Lookup) {
        let known = self.0.addresses(&lookup.host);
        let known = known.filter(|addresses| !addresses.is_empty());
        let result = match known {
            Some(mut addresses) => {
                for address in addresses.iter_mut().filter(|address| address.port() == 0) {
                    address.set_port(lookup.port);
                }
                Ok(addresses)
            }
            None => Err(io::Error::new(io::ErrorKind::NotFound, "no such name")),
        };
        (lookup.deliver)(Resolved {
            upstream: lookup.upstream,
            result,
        });
    }
}
