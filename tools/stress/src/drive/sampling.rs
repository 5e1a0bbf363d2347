//! How the engine stands, interval by interval, while a load runs.
//!
//! Owns when it is asked: at the end of each interval, and not at all where the answer to the question before came too
//! late for that. Never: asks more often than that, since each time costs every shard a turn and counts as the client's CPU time.

use std::time::{Duration, Instant};

use ringpool::{Engine, Snapshot, UpstreamFigures};

use super::{LOOK, snapshot};
use crate::interrupt::Interrupt;
use crate::load::DriveError;
use crate::measure::CpuTime;
use crate::progress::Progress;
use crate::series::{Counters, PoolState, SAMPLES_MAX, Seen};

/// The engine since the window opened.
pub(super) struct Sampling {
    opened: Instant,
    interval: Duration,
    /// The interval that is under way.
    number: u32,
    counters: Counters,
    cpu: CpuTime,
    seen: Vec<(usize, Seen)>,
}

impl Sampling {
    /// The window has opened; the engine stood at `before` then.
    pub(super) fn begin(opened: Instant, interval: Duration, before: &Snapshot) -> Self {
        Self {
            opened,
            interval,
            number: 0,
            counters: counters(before),
            cpu: CpuTime::of_process(),
            seen: Vec::new(),
        }
    }

    /// Waits for `time` from the opening on, or for Ctrl-C, and asks in between. May be called again, for a later time.
    pub(super) fn watch(
        &mut self,
        engine: &Engine,
        time: Duration,
        progress: &Progress,
        interrupt: &Interrupt,
    ) -> Result<(), DriveError> {
        loop {
            let number = self.number;
            let due = (self.interval * (number + 1)).min(time);
            while let Some(left) = due.checked_sub(self.opened.elapsed()) {
                if left.is_zero() || interrupt.requested() {
                    break;
                }
                std::thread::sleep(left.min(LOOK));
            }
            if due == time || interrupt.requested() {
                return Ok(());
            }
            self.take(number as usize, &snapshot(engine)?, progress);
            let over = self.opened.elapsed().div_duration_f64(self.interval) as u32;
            self.number = (number + 1).max(over);
        }
    }

    /// The window has closed; all that was seen.
    pub(super) fn end(mut self, after: &Snapshot, progress: &Progress) -> Vec<(usize, Seen)> {
        // Whichever the last is.
        self.take(SAMPLES_MAX, after, progress);
        self.seen
    }

    fn take(&mut self, number: usize, snapshot: &Snapshot, progress: &Progress) {
        let (counters, cpu) = (counters(snapshot), CpuTime::of_process());
        let pool = pool(snapshot);
        let since = counters.since(self.counters);
        progress.pool(pool, since);
        let seen = Seen::Engine {
            pool,
            counters: since,
            cpu: cpu.since(self.cpu),
        };
        self.seen.push((number, seen));
        (self.counters, self.cpu) = (counters, cpu);
    }
}

/// How the pools of all upstreams stand together.
fn pool(snapshot: &Snapshot) -> PoolState {
    let sum = |figure: fn(&UpstreamFigures) -> u64| snapshot.upstreams.values().map(figure).sum();
    PoolState {
        idle: sum(|one| one.idle),
        leased: sum(|one| one.leased),
        dialing: sum(|one| one.dialing),
        waiters: sum(|one| one.waiters),
        connections: snapshot.now.connections,
        sockets: snapshot.now.sockets,
        missing: snapshot.missing.len() as u64,
        down: snapshot
            .by_shard
            .iter()
            .filter(|one| one.down.is_some())
            .count() as u64,
    }
}

/// What the engine has counted so far.
fn counters(snapshot: &Snapshot) -> Counters {
    Counters {
        hits: snapshot.hits,
        misses: snapshot.misses,
        waits: snapshot.waits,
        dials: snapshot.dials,
        dials_failed: snapshot.dials_failed,
        opened: snapshot.connections_opened,
        handshakes_full: snapshot.handshakes_full,
        handshakes_resumed: snapshot.handshakes_resumed,
        evictions: snapshot.evictions(),
    }
}
