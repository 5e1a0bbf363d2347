//! A model of the pool that shares no code with it.
//!
//! Owns: who waits and what each connection is doing, as the shard would know it. It makes up inputs
//! that a shard could give, and judges every action that answers them.

use std::collections::BTreeMap;

use super::*;

#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "there are few, in tests")]
pub(super) enum Op {
    Checkout { patience: u64, fresh: bool },
    Cancel(usize),
    DialEnds { nth: usize, well: bool },
    LeaseEnds { nth: usize, well: bool },
    PeerCloses(usize),
    DescriptorCloses(usize),
    GiveUp,
    Wait(u64),
    WaitForTick,
    Configure(Limits),
    Cap(u32),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Doing {
    Dialing,
    Idle,
    Leased,
    /// The pool has let go of it; its descriptor is open still.
    Closing,
}

#[derive(Debug)]
struct Connection {
    doing: Doing,
    opened: Time,
    idle_since: Time,
    grants: u64,
}

#[derive(Debug, PartialEq)]
struct Waiter {
    id: u32,
    deadline: Time,
    fresh: bool,
}

pub(super) struct Model {
    pub(super) rig: Rig,
    limits: Limits,
    /// By the number of their dial; gone when the descriptor is closed.
    connections: BTreeMap<usize, Connection>,
    /// In order of arrival.
    queue: Vec<Waiter>,
    callers: u32,
    pub(super) draining: bool,
    /// What the caps allowed last; permits given before a cap fell stay.
    in_use_before: u32,
}

impl Model {
    pub(super) fn new(limits: Limits, connections_max: u32) -> Model {
        Model {
            rig: Rig::new(connections_max, limits.clone()),
            limits,
            connections: BTreeMap::new(),
            queue: Vec::new(),
            callers: 0,
            draining: false,
            in_use_before: 0,
        }
    }

    fn nth(&self, doing: Doing, nth: usize) -> Option<usize> {
        let all: Vec<usize> = self.all(doing).collect();
        (!all.is_empty()).then(|| all[nth % all.len()])
    }

    fn all(&self, doing: Doing) -> impl Iterator<Item = usize> + '_ {
        let matching = self.connections.iter();
        matching
            .filter(move |(_, c)| c.doing == doing)
            .map(|(n, _)| *n)
    }

    fn count(&self, doing: Doing) -> u32 {
        self.all(doing).count() as u32
    }

    fn set(&mut self, member: usize, doing: Doing) {
        let connection = self.connections.get_mut(&member).unwrap();
        connection.doing = doing;
        connection.idle_since = self.rig.now;
    }

    pub(super) fn apply(&mut self, op: &Op) {
        match *op {
            Op::Checkout { patience, fresh } => self.checkout(patience, fresh),
            Op::Cancel(nth) => {
                if !self.queue.is_empty() {
                    let waiter = self.queue.remove(nth % self.queue.len());
                    let did = self.rig.cancel(waiter.id);
                    self.judge(did, op);
                }
            }
            Op::DialEnds { nth, well } => {
                if let Some(member) = self.nth(Doing::Dialing, nth) {
                    self.dial_ends(member, well, op);
                }
            }
            Op::LeaseEnds { nth, well } => {
                if let Some(member) = self.nth(Doing::Leased, nth) {
                    self.lease_ends(member, well, op);
                }
            }
            Op::PeerCloses(nth) => {
                if let Some(member) = self.nth(Doing::Idle, nth) {
                    self.set(member, Doing::Closing);
                    let did = self.rig.closed(member);
                    self.judge(did, op);
                }
            }
            Op::DescriptorCloses(nth) => {
                if let Some(member) = self.nth(Doing::Closing, nth) {
                    self.connections.remove(&member);
                    let did = self.rig.permit_back(member);
                    self.judge(did, op);
                }
            }
            Op::GiveUp => {
                let idle = self.count(Doing::Idle);
                let did = self.rig.handle(Input::GiveUp);
                assert!(idle == 0 || matches!(did[0], Did::Close(_, CloseReason::Capacity)));
                self.judge(did, op);
            }
            Op::Wait(millis) => self.rig.now = self.rig.now + MS * millis as u32,
            Op::WaitForTick => self.wait_for_tick(),
            Op::Configure(ref limits) => {
                self.limits = limits.clone();
                let did = self.rig.handle(Input::Configure {
                    limits: limits.clone().into(),
                    renew_within: None,
                });
                self.judge(did, op);
            }
            Op::Cap(max) => self.rig.upstream.set_max(max),
        }
    }

    fn checkout(&mut self, patience: u64, fresh: bool) {
        self.callers += 1;
        let id = self.callers;
        if !fresh && let Some(member) = self.rig.checkout() {
            assert!(self.queue.iter().all(|waiter| waiter.fresh), "overtaken");
            return self.granted(member, true);
        }
        let deadline = if patience == 0 {
            Time::NEVER
        } else {
            self.rig.now + MS * patience as u32
        };
        self.queue.push(Waiter {
            id,
            deadline,
            fresh,
        });
        let did = self.rig.enqueue_with(id, deadline, fresh);
        self.judge(did, &Op::Checkout { patience, fresh });
    }

    fn dial_ends(&mut self, member: usize, well: bool, op: &Op) {
        let did = if well {
            self.set(member, Doing::Idle);
            self.connections.get_mut(&member).unwrap().opened = self.rig.now;
            self.rig.dialed(member)
        } else {
            self.connections.remove(&member);
            self.rig.failed(member)
        };
        self.judge(did, op);
    }

    fn lease_ends(&mut self, member: usize, well: bool, op: &Op) {
        let did = if well {
            self.set(member, Doing::Idle);
            self.rig.released(member)
        } else {
            self.set(member, Doing::Closing);
            self.rig.closed(member)
        };
        self.judge(did, op);
    }

    fn wait_for_tick(&mut self) {
        if let Some(deadline) = self.rig.pool.deadline() {
            self.rig.now = self.rig.now.max(deadline);
            let did = self.rig.tick();
            self.judge(did, &Op::WaitForTick);
            let next = self.rig.pool.deadline();
            assert!(next.is_none_or(|at| at > self.rig.now), "ticks for nothing");
        }
    }

    /// Checks each action against the model, carries it out there, and then compares the two.
    pub(super) fn judge(&mut self, did: Vec<Did>, op: &Op) {
        let mut failed_dials = 0;
        for did in did {
            match did {
                Did::Dial(member) => {
                    assert!(!self.draining);
                    assert!(
                        self.count(Doing::Dialing) < self.limits.dials_max,
                        "dial cap"
                    );
                    let now = self.rig.now;
                    let connection = Connection {
                        doing: Doing::Dialing,
                        opened: now,
                        idle_since: now,
                        grants: 0,
                    };
                    assert!(self.connections.insert(member, connection).is_none());
                    self.dials_are_wanted();
                }
                Did::Grant(waiter, member, reused) => {
                    self.leaves_in_order(waiter, reused);
                    self.granted(member, reused);
                }
                Did::Fail(waiter, refusal) => {
                    let place = self.queue.iter().position(|w| w.id == waiter);
                    let waiter = self.queue.remove(place.expect("answered once"));
                    match refusal {
                        Refusal::Deadline => assert!(waiter.deadline <= self.rig.now),
                        Refusal::Overloaded { .. } | Refusal::Breaker { .. } => {
                            panic!("this model sheds nobody and knows no endpoints")
                        }
                        Refusal::QueueFull { .. } => {
                            assert!(self.queue.len() as u32 >= self.limits.waiters_max);
                        }
                        Refusal::DialFailed => {
                            assert!(matches!(op, Op::DialEnds { well: false, .. }));
                            failed_dials += 1;
                        }
                        Refusal::Draining => assert!(self.draining),
                    }
                }
                Did::Close(member, _) => {
                    assert_eq!(self.connections[&member].doing, Doing::Idle, "{op:?}");
                    self.set(member, Doing::Closing);
                }
                Did::Starving(_) => {
                    assert!(!self.queue.is_empty());
                    assert!(
                        self.rig.upstream.in_use() >= self.rig.upstream.max(),
                        "there was a permit"
                    );
                }
            }
        }
        assert!(failed_dials <= 1, "one failure fails one waiter");
        self.compare();
    }

    fn dials_are_wanted(&self) {
        let flying = self.count(Doing::Dialing);
        // What may end soon has a successor dialled: not before three quarters of its time, which
        // may itself be a quarter shorter than the limit.
        let ends_soon = |connection: &Connection| {
            let past = |limit: Option<Duration>, since, share| {
                limit.is_some_and(|limit: Duration| since + limit.mul_f64(share) <= self.rig.now)
            };
            let uses_max = self.limits.uses_max;
            uses_max.is_some_and(|max| connection.grants + (max / 4).max(1) >= max)
                || past(self.limits.age_max, connection.opened, 0.5)
                || past(self.limits.idle_timeout, connection.idle_since, 0.75)
        };
        let open = self.connections.values().filter(|connection| {
            matches!(connection.doing, Doing::Idle | Doing::Leased) && !ends_soon(connection)
        });
        let cold = self.limits.idle_min.saturating_sub(open.count() as u32);
        assert!(flying <= self.queue.len() as u32 + cold, "a dial too many");
    }

    /// First come, first served: among plain waiters, and among fresh ones. A plain waiter may pass a
    /// fresh one, whom a release does not serve; a fresh one may pass by a dial of its own.
    fn leaves_in_order(&mut self, id: u32, reused: bool) {
        let place = self.queue.iter().position(|waiter| waiter.id == id);
        let waiter = self.queue.remove(place.expect("answered once"));
        assert!(waiter.deadline > self.rig.now, "granted late");
        assert!(!(waiter.fresh && reused), "a fresh waiter got a used one");
        let mut passed = self.queue[..place.unwrap()].iter();
        assert!(passed.all(|other| other.fresh != waiter.fresh), "overtaken");
    }

    fn granted(&mut self, member: usize, reused: bool) {
        let now = self.rig.now;
        let connection = self.connections.get_mut(&member).unwrap();
        assert_eq!(connection.doing, Doing::Idle, "granted twice");
        assert!(reused || connection.grants == 0);
        let past = |limit: Option<Duration>, since| limit.is_some_and(|l| since + l <= now);
        // What comes straight from its dial or a release has idled for no time at all.
        if connection.idle_since < now {
            assert!(!past(self.limits.idle_timeout, connection.idle_since));
        }
        if connection.opened < now {
            assert!(!past(self.limits.age_max, connection.opened));
        }
        connection.grants += 1;
        assert!(
            self.limits
                .uses_max
                .is_none_or(|max| connection.grants <= max)
        );
        connection.doing = Doing::Leased;
    }

    fn compare(&mut self) {
        let census = self.rig.census();
        let queued = self.queue.len() as u32;
        let counted = [Doing::Idle, Doing::Leased, Doing::Dialing].map(|doing| self.count(doing));
        assert_eq!(census, [counted[0], counted[1], counted[2], queued]);
        let plain = self.queue.iter().any(|waiter| !waiter.fresh);
        assert!(!plain || counted[0] == 0, "idle beside a waiter");
        let now = self.rig.now;
        assert!(self.queue.iter().all(|waiter| waiter.deadline > now));
        // A permit for each open descriptor and each dial, and no other.
        let in_use = self.rig.upstream.in_use();
        assert_eq!(in_use as usize, self.connections.len());
        assert_eq!(in_use, self.rig.engine.in_use());
        assert!(in_use <= self.rig.upstream.max().max(self.in_use_before));
        self.in_use_before = in_use;
    }

    /// Everything under way ends well, in turn, until nothing is under way.
    pub(super) fn finish(&mut self) {
        for _ in 0..2000 {
            let dial = Op::DialEnds { nth: 0, well: true };
            let lease = Op::LeaseEnds { nth: 0, well: true };
            if self.count(Doing::Closing) > 0 {
                self.apply(&Op::DescriptorCloses(0));
            } else if self.count(Doing::Leased) > 0 {
                self.apply(&lease);
            } else if self.count(Doing::Dialing) > 0 {
                self.apply(&dial);
            } else if !self.queue.is_empty() {
                assert!(
                    self.rig.pool.deadline().is_some(),
                    "stranded: {:?}",
                    self.queue
                );
                self.apply(&Op::WaitForTick);
            } else {
                return;
            }
        }
        panic!("no end to it: {:?} {:?}", self.queue, self.connections);
    }

    /// Time passes until nothing is due any more, or `steps` deadlines have come.
    pub(super) fn settle(&mut self, steps: usize) {
        for _ in 0..steps {
            self.wait_for_tick();
            self.finish();
        }
    }
}
