//! What is true of a run, and whether the engine kept to it: the ten invariants of the design.
//!
//! Owns: what the callers and the servers told it, and the last look at every shard. Shares no code with the
//! engine: it sees what callers see, what servers see, the network's own counts, and the figures of
//! [`ringpool::simulation::Look`]. Never: changes anything in the run.

mod baton;
mod calls;
mod caps;
mod census;
mod drain;
mod facts;
mod identity;
mod once;
mod ownership;
mod replaced;
mod rest;
mod reuse;
mod states;
mod tls;

pub use baton::{Place, Starving};
pub use caps::Cap;
pub use facts::{Answer, Arrival, CallFacts, Ending, Failure, Said};
pub use replaced::Named;
pub use rest::Remains;
pub use states::State;

use crate::coverage::Coverage;
use crate::knobs::Knobs;
use ringpool::config::UpstreamConfig;
use ringpool::simulation::Look;
use states::Slots;
use std::fmt;
use std::time::Duration;

/// Which of the design's invariants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invariant {
    /// 1: one owner, exclusive leases, stream counts within the peer's limit.
    Ownership,
    /// 2: one state; counters equal a census.
    Census,
    /// 3: every call ends exactly once, by its deadline.
    Ends,
    /// 4: a response goes to its call, on a connection of the identity asked for.
    Identity,
    /// 5: what is in doubt is not used again.
    Reuse,
    /// 6: at most once, unless idempotent or provably unprocessed.
    Once,
    /// 7: no idle connection beside a waiter.
    Baton,
    /// 8: caps hold at every instant.
    Caps,
    /// 9: when load and faults stop nothing is left.
    Rest,
    /// 10: no buffer or descriptor is reused before its final completion; the contract with the driver.
    Driver,
    /// What was made under replaced settings goes within a bound.
    Replaced,
    /// What holds for the whole: once faults have stopped, calls succeed.
    Liveness,
    /// What a named scenario asks for beside all these.
    Scenario,
}

/// Something that must never be, and was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Of what.
    pub invariant: Invariant,
    /// When.
    pub at: Duration,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation {
            invariant,
            at,
            what,
        } = self;
        write!(f, "{invariant:?} at {:.6}s: {what}", at.as_secs_f64())
    }
}

/// The judge of one run.
pub struct Oracle {
    news: Duration,
    hosts: Vec<String>,
    attempts_max: Vec<u32>,
    calls: Vec<calls::Call>,
    /// All calls before this one are over.
    over: usize,
    open: usize,
    /// Server by server: when it was cut off, from and to.
    gaps: Vec<(usize, usize, Duration, Option<Duration>)>,
    jumps: Vec<(Duration, Duration)>,
    slots: Vec<Slots>,
    user_timeouts: Vec<Option<Duration>>,
    replaced: Vec<replaced::Replaced>,
    tls: tls::Misdeeds,
    drain: drain::Drain,
    first: Option<Violation>,
    now: Duration,
}

impl Oracle {
    /// Knows what a seed picked, and nothing else yet.
    pub fn new(knobs: &Knobs) -> Oracle {
        let upstreams = || 0..knobs.upstreams.len();
        Oracle {
            news: knobs.news(),
            hosts: upstreams()
                .map(|index| match knobs.upstreams[index].raw {
                    true => knobs.upstreams[index].name.clone(),
                    false => knobs.upstreams[index].authority.clone(),
                })
                .collect(),
            attempts_max: upstreams()
                .map(|index| knobs.most(index, |settings| settings.retry.attempts_max))
                .collect(),
            calls: Vec::new(),
            over: 0,
            open: 0,
            gaps: Vec::new(),
            jumps: Vec::new(),
            slots: (0..knobs.shards).map(|_| Slots::default()).collect(),
            user_timeouts: upstreams()
                .map(|index| knobs.settings(index).user_timeout)
                .collect(),
            replaced: Vec::new(),
            tls: tls::Misdeeds::default(),
            drain: drain::Drain::default(),
            first: None,
            now: Duration::ZERO,
        }
    }

    /// The first violation, if there was one.
    pub fn verdict(&self) -> Option<&Violation> {
        self.first.as_ref()
    }

    /// It is this time now.
    pub fn at(&mut self, now: Duration) {
        self.now = now;
    }

    /// A finding of the run itself: a panic, a shard that spins.
    pub fn found(&mut self, invariant: Invariant, what: String) {
        self.judge(invariant, Err(what));
    }

    /// A shard was lost, and another one is in its place.
    pub fn lost(&mut self, shard: usize) {
        self.slots[shard] = Slots::default();
        self.replaced.retain(|one| !one.is_on(shard));
    }

    /// The engine drains, until then at the latest.
    pub fn drains(&mut self, by: Duration) {
        self.drain.begins(self.now, by);
    }

    /// A drain is over, and said to have cut nothing, or something.
    pub fn drained(&mut self, clean: bool) {
        let over = self.drain.over(self.now, clean);
        self.judge(Invariant::Ends, over);
    }

    /// Looks at a shard after its turn.
    pub fn look(&mut self, shard: usize, look: &Look, coverage: &mut Coverage) {
        let moved = self.slots[shard].moved(look, coverage);
        self.judge(Invariant::Census, moved);
        self.judge(Invariant::Census, census::check(look));
        self.judge(Invariant::Ownership, ownership::check(look));
        self.judge(Invariant::Reuse, reuse::check_rest(look));
    }

    /// An upstream's settings have been replaced, with these connections open. Where sockets are made
    /// otherwise now, they are to be gone in time.
    pub fn reloaded(
        &mut self,
        upstream: usize,
        settings: &UpstreamConfig,
        open: impl Iterator<Item = Named>,
    ) {
        let before = &mut self.user_timeouts[upstream];
        if std::mem::replace(before, settings.user_timeout) != settings.user_timeout {
            let by = self.now + settings.drain_timeout;
            let open = open.map(|named| replaced::Replaced::new(named, by));
            self.replaced.extend(open);
        }
    }

    /// Looks at the shards when nothing moves any more at this moment.
    pub fn quiet(&mut self, starving: &[Starving]) {
        self.judge(Invariant::Baton, baton::check(starving));
        let now = self.now;
        let gone = replaced::check(&mut self.replaced, &self.slots, now);
        self.judge(Invariant::Replaced, gone);
        let ended = self.calls[self.over..].iter();
        self.over += ended.take_while(|call| !call.is_open()).count();
        let late = self
            .calls
            .iter()
            .enumerate()
            .skip(self.over)
            .find(|(_, call)| call.is_late(now));
        if let Some((nonce, call)) = late {
            let what = call.late_story(nonce);
            self.judge(Invariant::Ends, Err(what));
        }
    }

    /// Looks at what is open.
    pub fn caps(&mut self, caps: &mut [Cap]) {
        for cap in caps {
            let held = cap.check();
            self.judge(Invariant::Caps, held);
        }
    }

    /// Looks at what is left when all is over.
    pub fn rest(&mut self, remains: &Remains) {
        self.judge(Invariant::Rest, rest::check(remains));
    }

    /// How many calls have not ended.
    pub fn open_calls(&self) -> usize {
        self.open
    }

    fn judge(&mut self, invariant: Invariant, held: Result<(), String>) {
        if let (Err(what), None) = (held, &self.first) {
            self.first = Some(Violation {
                invariant,
                at: self.now,
                what,
            });
        }
    }

    /// Whether something that a server did at `since` was sure to be known by `until`.
    fn was_known(&self, upstream: usize, server: usize, since: Duration, until: Duration) -> bool {
        if since + self.news >= until {
            return false;
        }
        let overlaps = |from: Duration, to: Duration| from <= until && to + self.news >= since;
        let cut_off = self.gaps.iter().any(|&(at, of, from, to)| {
            at == upstream && of == server && overlaps(from, to.unwrap_or(Duration::MAX / 2))
        });
        !cut_off && !self.jumps.iter().any(|&(from, to)| overlaps(from, to))
    }
}
