//! Tests of the pool through its public face.
//!
//! Owns: a rig that plays the shard, names members by the order of their dials, and keeps their permits.

mod dialing;
mod handing_on;
mod model;
mod properties;
mod queueing;
mod retiring;
mod spike;

use crate::config::{BalanceConfig, BreakerConfig, Class, ShedConfig, WarmConfig};
use crate::slab::Key;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn ms(n: u64) -> Time {
    Time::ZERO + MS * n as u32
}

/// Limits that stay out of the way: nothing warm, nothing retired, plenty of room.
fn roomy() -> Limits {
    Limits {
        idle_min: 0,
        idle_timeout: None,
        age_max: None,
        uses_max: None,
        waiters_max: 10_000,
        dials_max: 64,
        dials_eager: false,
        dial_backoff_min: 10 * MS,
        dial_backoff_max: 500 * MS,
        critical_reserved: 0,
        shed: ShedConfig {
            sojourn_target: None,
            ..ShedConfig::default()
        },
        warm: WarmConfig {
            purge_interval: None,
            ..WarmConfig::default()
        },
        breaker: BreakerConfig::default(),
        balance: BalanceConfig::default(),
    }
}

/// An action with small numbers for names, so that it can be compared.
#[derive(Clone, Debug, PartialEq)]
enum Did {
    Dial(usize),
    Grant(u32, usize, Reused),
    Fail(u32, Refusal),
    Close(usize, CloseReason),
    Starving(Exhausted),
}

type Reused = bool;

struct Rig {
    pool: Pool,
    now: Time,
    upstream: Arc<Counter>,
    engine: Arc<Counter>,
    members: Vec<(MemberId, Option<Permit>)>,
    granted: HashMap<MemberId, Time>,
}

impl Rig {
    fn new(connections_max: u32, limits: Limits) -> Rig {
        let upstream = Arc::new(Counter::new(connections_max));
        let engine = Arc::new(Counter::new(100_000));
        let permits = Permits::new(upstream.clone(), engine.clone());
        Rig {
            pool: Pool::new(limits, permits, 7),
            now: Time::ZERO,
            upstream,
            engine,
            members: Vec::new(),
            granted: HashMap::new(),
        }
    }

    /// A rig whose pool has `count` idle connections; member 0 was used last.
    fn with_idle(count: usize, connections_max: u32, limits: Limits) -> Rig {
        let mut rig = Rig::new(connections_max, limits);
        for waiter in 0..count {
            rig.enqueue(waiter as u32);
            // Whatever the dial rule thinks, in time there is a dial for each.
            while rig.members.len() == waiter {
                rig.now = rig.pool.deadline().expect("a stall is noticed");
                rig.tick();
            }
            rig.dialed(waiter);
        }
        for member in (0..count).rev() {
            assert_eq!(rig.released(member), []);
        }
        assert_eq!(rig.census(), [count as u32, 0, 0, 0]);
        rig
    }

    fn handle(&mut self, input: Input) -> Vec<Did> {
        let mut actions = Vec::new();
        self.pool.handle(self.now, input, &mut actions);
        actions.into_iter().map(|action| self.did(action)).collect()
    }

    fn did(&mut self, action: Action) -> Did {
        match action {
            Action::Dial { member, permit, .. } => {
                self.members.push((member, Some(permit)));
                Did::Dial(self.members.len() - 1)
            }
            Action::Grant { waiter, grant } => {
                self.granted.insert(grant.member, self.now);
                let member = self.index(grant.member);
                assert_eq!(grant.conn, conn(member));
                Did::Grant(waiter.0.index(), member, grant.before.is_used())
            }
            Action::Fail { waiter, refusal } => Did::Fail(waiter.0.index(), refusal),
            Action::Close {
                member,
                conn: closed,
                reason,
                claimed,
            } => {
                let member = self.index(member);
                assert_eq!(closed, conn(member));
                if claimed && let Some(permit) = &mut self.members[member].1 {
                    permit.leave();
                }
                Did::Close(member, reason)
            }
            Action::Starving(exhausted) => Did::Starving(exhausted),
        }
    }

    fn index(&self, id: MemberId) -> usize {
        let found = self.members.iter().rposition(|(member, _)| *member == id);
        found.expect("the pool names members that it dialled")
    }

    fn enqueue_with(&mut self, waiter: u32, deadline: Time, fresh: bool) -> Vec<Did> {
        let waiter = id(waiter);
        self.handle(Input::Enqueue {
            elsewhere: false,
            waiter,
            class: Class::Normal,
            deadline,
            fresh,
        })
    }

    fn enqueue(&mut self, waiter: u32) -> Vec<Did> {
        self.enqueue_with(waiter, Time::NEVER, false)
    }

    fn enqueue_fresh(&mut self, waiter: u32) -> Vec<Did> {
        self.enqueue_with(waiter, Time::NEVER, true)
    }

    fn cancel(&mut self, waiter: u32) -> Vec<Did> {
        self.handle(Input::Cancel { waiter: id(waiter) })
    }

    fn dialed(&mut self, member: usize) -> Vec<Did> {
        self.dialed_as(member, opened(member))
    }

    fn dialed_as(&mut self, member: usize, opened: Opened) -> Vec<Did> {
        let member = self.members[member].0;
        self.handle(Input::Dialed { member, opened })
    }

    /// The dial fails; its permit is back already.
    fn failed(&mut self, member: usize) -> Vec<Did> {
        self.members[member].1 = None;
        let member = self.members[member].0;
        self.handle(Input::DialFailed { member })
    }

    fn released(&mut self, member: usize) -> Vec<Did> {
        let member = self.members[member].0;
        let held = self.now.since(self.granted[&member]);
        self.handle(Input::Released { member, held })
    }

    fn closed(&mut self, member: usize) -> Vec<Did> {
        let member = self.members[member].0;
        self.handle(Input::Closed { member })
    }

    /// The descriptor of `member` is closed, and the pool is told.
    fn permit_back(&mut self, member: usize) -> Vec<Did> {
        self.members[member].1 = None;
        self.handle(Input::Capacity)
    }

    fn tick(&mut self) -> Vec<Did> {
        self.handle(Input::Tick)
    }

    fn checkout(&mut self) -> Option<usize> {
        let grant = self.pool.checkout(self.now, Class::Normal)?;
        self.granted.insert(grant.member, self.now);
        assert!(grant.before.is_used());
        Some(self.index(grant.member))
    }

    /// Idle, leased, dialling, waiting.
    fn census(&self) -> [u32; 4] {
        let census = self.pool.census();
        [census.idle, census.leased, census.dialing, census.waiters]
    }
}

fn id(waiter: u32) -> WaiterId {
    WaiterId(Key::from_parts(waiter, 1))
}

/// What a dial of this member brings: one slot, of a peer that is trusted for ever.
fn opened(member: usize) -> Opened {
    Opened {
        conn: conn(member),
        slots: 1,
        trusted_until: Time::NEVER,
        replaced: false,
    }
}

fn conn(member: usize) -> Key {
    Key::from_parts(1000 + member as u32, 3)
}
