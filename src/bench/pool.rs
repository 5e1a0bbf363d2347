//! A pool of idle connections, without a shard around it.
//!
//! Owns: how its connections come to idle, and the time that they see. Never: decides what the pool decides.

use crate::config::{Class, UpstreamConfig};
use crate::pool::{Action, Counter, Grant, Input, Limits, Opened, Permit, Permits, Pool, Quota};
use crate::slab::Key;
use crate::time::Time;
use std::sync::Arc;
use std::time::Duration;

/// A pool of warm connections under the default settings.
pub struct IdlePool {
    pool: Pool,
    now: Time,
    actions: Vec<Action>,
    /// Of its connections, which stay open.
    permits: Vec<Permit>,
}

impl IdlePool {
    /// With so many connections, all idle.
    ///
    /// # Panics
    /// If the pool does not dial what it is to keep warm.
    pub fn new(connections: u32) -> IdlePool {
        let unlimited = || Arc::new(Counter::new(u32::MAX));
        let quota = Quota {
            connections_max: connections,
            critical_reserved: 0,
            connections_reserved: 0,
        };
        let permits = Permits::with_quota(unlimited(), unlimited(), quota);
        let mut idle = IdlePool {
            pool: Pool::new(limits(connections), permits, 7),
            now: Time::ZERO,
            actions: Vec::new(),
            permits: Vec::new(),
        };
        while idle.pool.census().idle < connections {
            idle.now = idle
                .pool
                .deadline()
                .expect("it is not warm yet")
                .max(idle.now);
            idle.handle(Input::Tick);
        }
        idle
    }

    /// Takes a connection, and gives it back a microsecond later.
    ///
    /// # Panics
    /// If none is idle.
    #[inline]
    pub fn checkout_and_release(&mut self) -> Grant {
        const HELD: Duration = Duration::from_micros(1);
        let granted = self.pool.checkout(self.now, Class::Normal);
        let grant = granted.expect("one is idle");
        self.now = self.now + HELD;
        self.pool
            .release(self.now, grant.member, HELD, &mut self.actions);
        // As a shard does after every release: it arms its timer by it.
        std::hint::black_box(self.pool.deadline());
        grant
    }

    fn handle(&mut self, input: Input) {
        let mut actions = Vec::new();
        self.pool.handle(self.now, input, &mut actions);
        for action in actions {
            match action {
                Action::Dial { member, permit, .. } => {
                    self.permits.push(permit);
                    let opened = Opened {
                        conn: Key::from_parts(self.permits.len() as u32, 1),
                        slots: 1,
                        trusted_until: Time::NEVER,
                        replaced: false,
                    };
                    self.handle(Input::Dialed { member, opened });
                }
                Action::Grant { .. }
                | Action::Fail { .. }
                | Action::Close { .. }
                | Action::Starving(_) => panic!("nobody asked for it"),
            }
        }
    }
}

/// The default settings, as a shard's pool has them, but for connections whose time is over: they would all be
/// closed by the clock that [`IdlePool`] moves.
fn limits(idle_min: u32) -> Limits {
    let config = UpstreamConfig::default();
    Limits {
        idle_min,
        idle_timeout: None,
        age_max: None,
        uses_max: config.uses_max,
        waiters_max: config.waiters_max,
        dials_max: config.dials_max,
        dials_eager: config.dials_eager,
        dial_backoff_min: config.dial_backoff_min,
        dial_backoff_max: config.dial_backoff_max,
        critical_reserved: config.critical_reserved,
        shed: config.shed,
        warm: config.warm,
        breaker: config.breaker,
        balance: config.balance,
    }
}
