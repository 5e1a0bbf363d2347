//! Two shards or more, the real engine and its real mailboxes, and a simulated network: stepped in one thread,
//! under a clock moved by hand.
//!
//! Owns: who turns when. A shard turns only when it would be awake in production, so one that sleeps
//! over work that is left shows as a call that never ends. Never: threads, sleeps, real time.

use super::web::Web;
use crate::config::{CallOptions, Config};
use crate::driver::sim::{Network, Sim};
use crate::engine::EngineShared;
use crate::error::Error;
use crate::lifecycle::LifecycleSubscriber;
use crate::random::Random;
use crate::shard::answer::RemoteBody;
use crate::shard::crossing::Answer;
use crate::shard::figures::ShardFigures;
use crate::shard::lookup::{NoNames, Resolver};
use crate::shard::lost;
use crate::shard::mailbox::Control;
use crate::shard::serve_lease::{self, RemoteCheckout, RemoteLease};
use crate::shard::sharing::movable::{Movable, Request, Underway};
use crate::shard::upload::Source;
use crate::shard::upstream::UpstreamShared;
use crate::shard::{Shard, Turn};
use crate::time::Time;
use crate::time::clock::Clock;
use crate::tls::TicketStore;
use crate::trip::Trip;
use futures_channel::oneshot;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

/// Rounds in which nothing may stay unsettled.
const ROUNDS_MAX: usize = 20_000;

pub(super) struct Rig {
    pub(super) shared: Arc<EngineShared<Sim>>,
    pub(super) shards: Vec<Shard<Sim>>,
    pub(super) network: Network,
    pub(super) web: Web,
    pub(super) clock: Clock,
    /// Which shards turn in a round, if not all of those awake.
    order: Option<Random>,
}

impl Rig {
    pub(super) fn new(config: Config) -> Rig {
        Rig::with(config, 2, None, Arc::new(NoNames))
    }

    /// With so many shards.
    pub(super) fn of(shards: usize, config: Config) -> Rig {
        Rig::with(config, shards, None, Arc::new(NoNames))
    }

    /// With an order of turns that `seed` decides.
    pub(super) fn shuffled(config: Config, seed: u64) -> Rig {
        Rig::with(config, 2, Some(Random::new(seed)), Arc::new(NoNames))
    }

    /// With names that `resolver` resolves.
    pub(super) fn resolving(config: Config, resolver: Resolver) -> Rig {
        Rig::with(config, 2, None, resolver)
    }

    /// With so many shards, which tell `subscriber` of their connections.
    pub(super) fn telling(
        shards: usize,
        config: Config,
        subscriber: impl LifecycleSubscriber,
    ) -> Rig {
        Rig::built(config, shards, None, Arc::new(NoNames), |shared| {
            shared.subscriber = Some(Arc::new(subscriber));
        })
    }

    fn with(config: Config, shards: usize, order: Option<Random>, resolver: Resolver) -> Rig {
        Rig::built(config, shards, order, resolver, |_| {})
    }

    fn built(
        config: Config,
        shards: usize,
        order: Option<Random>,
        resolver: Resolver,
        change: impl FnOnce(&mut EngineShared<Sim>),
    ) -> Rig {
        let network = Network::new(1);
        let clock = network.clock();
        let tickets = TicketStore::new();
        let shared = EngineShared::new(config, shards, clock.clone(), resolver, tickets);
        let mut shared = shared.expect("the test's configuration is right");
        change(&mut shared);
        let shared = Arc::new(shared);
        let shards = (0..shards)
            .map(|index| Shard::new(shared.parts(index, network.driver(64))))
            .collect();
        let web = Web::new(&network);
        Rig {
            shared,
            shards,
            network,
            web,
            clock,
            order,
        }
    }

    /// One round: what is in flight moves by a hop, shards that are awake turn. False if there was
    /// nothing to do.
    pub(super) fn step(&mut self) -> bool {
        let mut moved = self.network.step();
        for index in 0..self.shards.len() {
            let awake = self.shards[index].rests_until() <= self.clock.now();
            let skipped = self
                .order
                .as_mut()
                .is_some_and(|random| random.below(3) == 0);
            moved |= awake;
            if awake && !skipped {
                let turn = self.shards[index].turn(true).expect("the sim never breaks");
                assert_eq!(turn, Turn::GoOn);
            }
        }
        self.web.assert_caps();
        moved
    }

    /// Steps until all sleep, without any time going by.
    pub(super) fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            if !self.step() {
                return;
            }
        }
        panic!("after {ROUNDS_MAX} rounds something is still going on: a shard spins");
    }

    /// Settles, and lets `time` go by, from one timer to the next.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.clock.now() + time;
        self.run(end, |_| false);
        let left = end.since(self.clock.now());
        self.clock.advance(left);
        self.settle();
    }

    /// Settles, and lets time go by until `done` or, failing that, until `end`.
    fn run(&mut self, end: Time, mut done: impl FnMut(&Rig) -> bool) -> bool {
        loop {
            self.settle();
            if done(self) {
                return true;
            }
            let wakes = self.shards.iter().map(Shard::rests_until);
            let next = wakes.min().unwrap_or(Time::NEVER);
            if next > end {
                return false;
            }
            self.clock.advance(next.since(self.clock.now()));
        }
    }

    /// Lets time go by until every call has its answer.
    ///
    /// # Panics
    /// If that takes more than a minute of the clock's: every call ends by its deadline.
    pub(super) fn finish(&mut self, calls: &mut [Call]) {
        let end = self.clock.now() + Duration::from_secs(60);
        let mut waiting = || {
            let answered = calls.iter_mut().map(Call::is_answered);
            answered.filter(|answered| !answered).count()
        };
        let all = self.run(end, |_| waiting() == 0);
        assert!(all, "{} calls never ended", waiting());
    }

    pub(super) fn upstream(&self, name: &str) -> Arc<UpstreamShared> {
        self.shared.named(name).expect("it is configured")
    }

    /// Calls `path` at the upstream, on the shard that the test wants.
    pub(super) fn call(&self, shard: usize, upstream: &str, path: &str) -> Call {
        self.request(shard, upstream, http::Method::GET, path)
    }

    /// As [`call`](Rig::call), with any method.
    pub(super) fn request(
        &self,
        shard: usize,
        upstream: &str,
        method: http::Method,
        path: &str,
    ) -> Call {
        let upstream = self.upstream(upstream);
        let underway = Underway::new(&self.shared.mailboxes[shard], &upstream);
        let request = http::Request::builder().method(method).uri(path).body(());
        self.send(shard, underway, request.expect("a request"))
    }

    /// Calls with a request that says more for itself; without a body.
    pub(super) fn call_with(
        &self,
        shard: usize,
        upstream: &str,
        request: http::Request<()>,
    ) -> Call {
        let upstream = self.upstream(upstream);
        let underway = Underway::new(&self.shared.mailboxes[shard], &upstream);
        self.send(shard, underway, request)
    }

    /// Calls an absolute URL on the shard that the engine picks.
    pub(super) fn call_url(&self, url: &str, path: &str) -> Result<Call, Error> {
        let url = url.parse().expect("the test's URL is right");
        let (_, (shard, underway)) = self.shared.by_url(&url, |upstream| {
            let shard = self.shared.shard_for(upstream);
            let underway = Underway::new(&self.shared.mailboxes[shard], upstream);
            (shard, underway)
        })?;
        let request = http::Request::get(path).body(()).expect("a request");
        Ok(self.send(shard, underway, request))
    }

    fn send(&self, shard: usize, underway: Underway, request: http::Request<()>) -> Call {
        let (parts, ()) = request.into_parts();
        let request = Request::Http(parts, Source::Empty);
        let (call, answer) = Movable::new(underway, CallOptions::default(), request);
        let submitted = self.shared.submit_call(shard, call);
        let given = submitted
            .err()
            .map(|error| Outcome::Failed(Box::new(error)));
        Call { answer, given }
    }

    pub(super) fn checkout(
        &self,
        shard: usize,
        upstream: &str,
    ) -> oneshot::Receiver<Result<RemoteLease, Error>> {
        let upstream = self.upstream(upstream);
        let underway = Underway::lease(&self.shared.mailboxes[shard], &upstream);
        let (reply, answer) = oneshot::channel();
        let options = CallOptions::default();
        let checkout = RemoteCheckout { options, reply };
        let submitted = self.shared.submit(
            shard,
            Box::new(move |local| {
                local.spawn_serving(serve_lease::checkout(local.clone(), checkout, underway))
            }),
        );
        submitted.expect("the mailbox has room");
        answer
    }

    pub(super) fn figures(&mut self, shard: usize) -> ShardFigures {
        let (reply, mut answer) = oneshot::channel();
        self.shared.mailboxes[shard].control(Control::Figures(reply));
        self.settle();
        let answered = answer.try_recv().expect("the shard lives");
        answered.expect("figures come within a turn")
    }

    /// All shards' figures of one upstream, added up: hits, misses, dials.
    pub(super) fn counts(&mut self, upstream: &str) -> [u64; 3] {
        let mut sums = [0; 3];
        for shard in 0..self.shards.len() {
            if let Some(part) = self.figures(shard).upstreams.get(upstream) {
                let counters = &part.counters;
                for (sum, count) in
                    sums.iter_mut()
                        .zip([counters.hits, counters.misses, counters.dials])
                {
                    *sum += count;
                }
            }
        }
        sums
    }

    /// Has a shard panic in its next turn, and puts another one in its place, as its thread would.
    pub(super) fn lose(&mut self, shard: usize) {
        self.shared.mailboxes[shard].control(Control::Panic);
        let lost = &mut self.shards[shard];
        let panicked = catch_unwind(AssertUnwindSafe(|| lost.turn(true))).is_err();
        assert!(panicked, "it was asked to");
        let fault = lost::lost(shard, "a test");
        self.shared.mailboxes[shard].lose(&fault);
        let tally = lost.lose(&fault);
        // The old one has to be gone before its successor begins.
        self.shards.remove(shard);
        self.shared.on_shard_lost(shard);
        let now = self.shared.now();
        self.shared.told.keep(shard, tally.figures(shard, now));
        let driver = self.network.driver(64);
        let mut successor = Shard::new(self.shared.successor(shard, driver, tally));
        successor.begin_with(self.shared.restore(shard));
        self.shards.insert(shard, successor);
    }

    /// Stops all shards and checks that nothing is left of them, in the network or in counts.
    pub(super) fn stop(&mut self) {
        self.shared.stop();
        for shard in &mut self.shards {
            assert_eq!(
                shard.turn(true).expect("the sim never breaks"),
                Turn::Stopped
            );
            assert_eq!(shard.leftovers(), Vec::<String>::new());
        }
        assert_eq!(self.web.open(), 0, "a socket outlived its shard");
        for upstream in self.shared.directory.values() {
            let offers = upstream.offers();
            assert!(offers.is_none_or(|offers| offers.open().is_empty()));
            assert_eq!(upstream.connections.in_use(), 0, "a permit is missing");
            assert_eq!(upstream.permits.engine().in_use(), 0, "a permit is missing");
        }
        for mailbox in self.shared.mailboxes.iter() {
            assert_eq!(mailbox.depth(), 0, "a call is still counted");
        }
    }
}

/// A call from outside. Dropping it gives it up.
pub(super) struct Call {
    answer: Answer,
    given: Option<Outcome>,
}

#[derive(Debug)]
enum Outcome {
    Answered(http::StatusCode, Vec<u8>, Trip),
    Failed(Box<Error>),
}

impl Call {
    pub(super) fn is_answered(&mut self) -> bool {
        if self.given.is_none() {
            self.given = self.answer.try_head().map(|answer| match answer {
                Ok(response) => Outcome::of(response.into_http()),
                Err(error) => Outcome::Failed(Box::new(error)),
            });
        }
        self.given.is_some()
    }

    /// The response's body.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub(super) fn body(&mut self) -> String {
        assert!(self.is_answered(), "no answer yet");
        match self.given.as_ref() {
            Some(Outcome::Answered(status, body, _)) => {
                assert_eq!(*status, 200);
                String::from_utf8_lossy(body).into_owned()
            }
            other => panic!("not a response: {other:?}"),
        }
    }

    /// Whether the response came over a connection that had been used before.
    #[track_caller]
    pub(super) fn reused(&mut self) -> bool {
        self.trip().reused
    }

    /// How often the request was tried.
    #[track_caller]
    pub(super) fn attempts(&mut self) -> u32 {
        self.trip().attempts
    }

    /// How it went.
    #[track_caller]
    pub(super) fn trip(&mut self) -> &Trip {
        assert!(self.is_answered(), "no answer yet");
        match self.given.as_ref() {
            Some(Outcome::Answered(_, _, trip)) => trip,
            other => panic!("not a response: {other:?}"),
        }
    }

    /// The error, if it is one.
    pub(super) fn error(&mut self) -> Option<&Error> {
        self.is_answered();
        match self.given.as_ref() {
            Some(Outcome::Failed(error)) => Some(error),
            Some(Outcome::Answered(..)) | None => None,
        }
    }
}

impl Outcome {
    fn of((response, trip): (http::Response<RemoteBody>, Trip)) -> Outcome {
        let (parts, body) = response.into_parts();
        match body {
            RemoteBody::Whole(bytes) => Outcome::Answered(parts.status, bytes.to_vec(), trip),
            // The simulated peers answer in one piece, or break off.
            RemoteBody::Pieces(mut pieces, ..) => {
                let mut cx = TaskContext::from_waker(Waker::noop());
                loop {
                    match pieces.poll_next(&mut cx) {
                        Poll::Ready(Some(Ok(Ok(_)))) => {}
                        Poll::Ready(Some(Ok(Err(error)))) => {
                            return Outcome::Failed(Box::new(error));
                        }
                        other => panic!("not in one piece: {}", other.is_pending()),
                    }
                }
            }
            RemoteBody::Upgraded(_) => panic!("the simulated peers upgrade nothing"),
        }
    }
}
