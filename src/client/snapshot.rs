//! A copy of the engine's figures.

use super::figures::UpstreamFigures;
use crate::audit::AuditFigures;
use crate::error::Error;
use crate::pool::CloseReason;
use crate::shard::figures::ShardFigures;
use crate::shard::upstream::{UpstreamId, UpstreamShared};
use crate::stats::Latencies;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What the engine has counted since its start, and what it holds now: added up over its shards, each
/// copied between two turns. The shards are not stopped for it, so sums may be off by what happened
/// in between.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Checkouts answered at once with an idle connection.
    pub hits: u64,
    /// Checkouts that were not.
    pub misses: u64,
    /// Checkouts that waited in the queue.
    pub waits: u64,
    /// Those of them whose time ran out.
    pub wait_timeouts: u64,
    /// Checkouts refused because the queue was full.
    pub refused: u64,
    /// Callers sent away because everybody waited too long.
    pub shed: u64,
    /// Time spent waiting, added up.
    pub wait_time: Duration,
    /// Dials begun.
    pub dials: u64,
    /// Dials that failed.
    pub dials_failed: u64,
    /// Connections made: dialled, and handshaken where TLS is spoken.
    pub connections_opened: u64,
    /// Full TLS handshakes.
    pub handshakes_full: u64,
    /// Resumed TLS handshakes.
    pub handshakes_resumed: u64,
    /// How long it took from the beginning of a dial until the transport was connected: the look-up, if one had to be waited
    /// for, endpoints that failed, and the last one's connect.
    pub connect_times: Latencies,
    /// How long full TLS handshakes took, from then on.
    pub handshake_times_full: Latencies,
    /// How long resumed ones took.
    pub handshake_times_resumed: Latencies,
    /// Time from dial to connection, added up over all connections made.
    pub dial_time: Duration,
    /// Time that reuse saved at least: for every use of a connection after its first, what the
    /// quickest dial of its upstream has taken, TLS included. Added up over requests, so it may well
    /// exceed the time that has passed.
    pub handshake_time_avoided: Duration,
    /// Time that resumption saved at least: for every resumed handshake, how much longer the quickest full one of its upstream
    /// took.
    pub handshake_time_avoided_by_resumption: Duration,
    /// Requests that were sent along with a handshake (`tls.early_data`), and that the server took then.
    pub early_taken: u64,
    /// Those that it did not take: they were sent again as soon as the handshake was over.
    pub early_refused: u64,
    /// Idle connections closed by policy: idle time, age, uses, or because a permit was needed.
    pub evicted_by_policy: u64,
    /// Idle connections closed because the peer closed or reset them.
    pub evicted_peer_closed: u64,
    /// Idle connections closed because the peer sent bytes that nobody had asked for.
    pub evicted_stray_bytes: u64,
    /// Idle connections closed because they failed otherwise.
    pub evicted_failed: u64,
    /// Connections closed because their user gave them up in a state that cannot be reused.
    pub discarded: u64,
    /// Calls that waited on one shard and were offered to the others.
    pub offers: u64,
    /// Those of them that another shard ran.
    pub offers_taken: u64,
    /// Those of them that their own shard took back: it had a connection for them first, or they ended
    /// waiting.
    pub offers_returned: u64,
    /// Calls that a shard ran for another one: as `offers_taken`, from the other end.
    pub steals: u64,
    /// Calls of tasks on a shard that were sent to a home of their upstream.
    pub forwarded: u64,
    /// Calls that a shard whose loop was behind sent on to another home.
    pub passed_on: u64,
    /// Times that receiving was paused because a reader was too slow.
    pub receive_pauses: u64,
    /// Tasks on shards that ended by a panic.
    pub task_panics: u64,
    /// What is there now.
    pub now: Gauges,
    /// What the drivers counted.
    pub driver: DriverFigures,
    /// How the audit trail fares, where one is kept.
    pub audit: AuditFigures,
    /// By upstream's name.
    pub upstreams: BTreeMap<String, UpstreamFigures>,
    /// By upstream's name, why the files that its `tls` settings name could not be used when they were read last.
    pub reload_errors: BTreeMap<String, String>,
    /// How many shards have told these figures.
    pub shards: usize,
    /// Shards that did not answer in time: their thread is kept busy, by a task that blocks it, say. What they told last is in the figures;
    /// [`ShardState::age`] says how old that is.
    pub missing: Vec<usize>,
    /// How each shard is, those that stay down included.
    pub by_shard: Vec<ShardState>,
}

/// The upstreams that there are: those that were given up are told by name no more.
pub(crate) type Known = BTreeMap<UpstreamId, Arc<UpstreamShared>>;

/// How one shard is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardState {
    /// Which shard.
    pub shard: usize,
    /// Tasks on it that ended by a panic.
    pub task_panics: u64,
    /// Calls and leases from elsewhere that are queued for it, or under way there.
    pub depth: u64,
    /// Callers that wait for a connection there.
    pub waiters: u64,
    /// How far its loop is behind: how long what comes in waits for its turn, averaged over turns; zero where each
    /// turn leaves nothing undone. Calls avoid a shard where it exceeds `sharing.lag_max`.
    pub lag: Duration,
    /// How often it was lost by a defect of the engine. All but the last time it was started again; that
    /// time too, unless it is down.
    pub losses: u64,
    /// Why it is down, if it is: it was lost too often.
    pub down: Option<String>,
    /// Whether it did not answer in time.
    pub missing: bool,
    /// How old these figures are, if the shard is missing or down: they are what it told last, or had counted when it was lost. Nothing
    /// is there of a shard that has told nothing yet.
    pub age: Duration,
    /// What its driver counted.
    pub driver: DriverFigures,
    /// Receive buffers of it that somebody holds.
    pub buffers_held: u64,
    /// Receive buffers of it that the kernel has left.
    pub buffers_free: u64,
    /// Calls of siblings that it ran.
    pub steals: u64,
    /// Calls that waited here and were offered to siblings.
    pub offers: u64,
    /// Calls and leases from elsewhere that found its mailbox full (`mailbox_max`).
    pub refused_full: u64,
    /// Those that found it closed for new work: the engine drains, or has ended.
    pub refused_draining: u64,
}

/// What an engine holds at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gauges {
    /// Connections in any state, those being dialled or closed included.
    pub connections: u64,
    /// Open sockets.
    pub sockets: u64,
    /// Receive buffers held by somebody.
    pub buffers_held: u64,
    /// Callers waiting for a connection.
    pub waiters: u64,
    /// Timers armed.
    pub timers: u64,
    /// Tasks on the shards.
    pub tasks: u64,
}

/// What the kernel was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DriverFigures {
    /// Turns of the shards' loops.
    pub turns: u64,
    /// System calls to submit, reap or sleep.
    pub enters: u64,
    /// Those of them made because deferred work was left over.
    pub enters_extra: u64,
    /// Looks at the kernel within a turn, one at most: a checkout or a release met completions that nobody had looked at.
    /// Beside these and `enters_extra` a turn makes one system call at most.
    pub looks: u64,
    /// Operations submitted.
    pub submissions: u64,
    /// Completions reaped.
    pub completions: u64,
    /// Receives that ended for want of a buffer.
    pub out_of_buffers: u64,
    /// Completions with EFAULT: must be zero.
    pub faults: u64,
}

impl Snapshot {
    /// The share of checkouts that were answered at once, 0 to 1; `None` before the first.
    pub fn hit_rate(&self) -> Option<f64> {
        let checkouts = self.hits + self.misses;
        (checkouts > 0).then(|| self.hits as f64 / checkouts as f64)
    }

    /// Idle connections that were closed, for whatever reason.
    pub fn evictions(&self) -> u64 {
        self.evicted_by_policy
            + self.evicted_peer_closed
            + self.evicted_stray_bytes
            + self.evicted_failed
    }

    /// Adds how an upstream's files fared: news, failures, and why the last of those stands.
    fn add_reloads(&mut self, name: &str, told: (u64, u64, Option<Arc<str>>)) {
        let (done, failed, why) = told;
        if done + failed > 0 {
            let figures = self.upstreams.entry(name.to_owned()).or_default();
            (figures.reloads, figures.reloads_failed) = (done, failed);
        }
        if let Some(why) = why {
            self.reload_errors.insert(name.to_owned(), why.to_string());
        }
    }

    /// Adds a shard that stays down: what it counted stays, and nothing is there any more. `told`: what it told last, and how old that is.
    pub(crate) fn add_down(
        &mut self,
        shard: usize,
        told: Option<(&ShardFigures, Duration)>,
        known: &Known,
        losses: u64,
        why: &Error,
    ) {
        let told = told.map(|(last, age)| (last.counters_only(), age));
        let (state, age) = match &told {
            Some((last, age)) => (ShardState::of(last), *age),
            None => (ShardState::default(), Duration::ZERO),
        };
        self.by_shard.push(ShardState {
            shard,
            losses,
            down: Some(why.to_string()),
            age,
            ..state
        });
        if let Some((last, _)) = &told {
            self.add_figures(last, known);
        }
    }

    /// Adds a shard that does not answer.
    pub(crate) fn add_missing(
        &mut self,
        shard: usize,
        told: Option<(&ShardFigures, Duration)>,
        known: &Known,
        depth: usize,
        losses: u64,
    ) {
        let (state, age) = match told {
            Some((last, age)) => (ShardState::of(last), age),
            None => (ShardState::default(), Duration::ZERO),
        };
        self.missing.push(shard);
        self.by_shard.push(ShardState {
            shard,
            depth: depth as u64,
            losses,
            missing: true,
            age,
            ..state
        });
        if let Some((last, _)) = told {
            self.add_figures(last, known);
        }
    }

    /// `depth`, `losses`: of the shard's mailbox.
    pub(crate) fn add(&mut self, shard: &ShardFigures, known: &Known, depth: usize, losses: u64) {
        self.shards += 1;
        self.by_shard.push(ShardState {
            depth: depth as u64,
            losses,
            ..ShardState::of(shard)
        });
        self.add_figures(shard, known);
    }

    fn add_figures(&mut self, shard: &ShardFigures, known: &Known) {
        let (tally, totals) = (&shard.tally, &shard.totals);
        self.hits += totals.hits;
        self.misses += totals.misses;
        self.waits += totals.waits;
        self.wait_timeouts += totals.wait_timeouts;
        self.refused += totals.refused;
        self.shed += totals.shed;
        self.wait_time += Duration::from_nanos(tally.wait_nanos);
        self.dials += totals.dials;
        self.dials_failed += totals.dials_failed;
        self.connections_opened += tally.connections_opened;
        self.handshakes_full += tally.handshakes_full.count();
        self.handshakes_resumed += tally.handshakes_resumed.count();
        self.connect_times.add(&tally.connects);
        self.handshake_times_full.add(&tally.handshakes_full);
        self.handshake_times_resumed.add(&tally.handshakes_resumed);
        self.handshake_time_avoided_by_resumption += tally.avoided_by_resumption;
        self.early_taken += tally.early_taken;
        self.early_refused += tally.early_refused;
        self.dial_time += Duration::from_nanos(tally.dial_nanos);
        self.handshake_time_avoided += Duration::from_nanos(totals.avoided_by_reuse);
        self.evicted_by_policy += tally.evicted_by_policy;
        self.evicted_peer_closed += tally.evicted_peer_closed;
        self.evicted_stray_bytes += tally.evicted_stray_bytes;
        self.evicted_failed += tally.evicted_failed;
        self.discarded += tally.discards;
        self.offers += tally.offers;
        self.offers_taken += tally.offers_taken;
        self.offers_returned += tally.offers_returned;
        self.steals += tally.steals;
        self.forwarded += tally.forwarded;
        self.passed_on += tally.passed_on;
        self.receive_pauses += tally.pauses;
        self.task_panics += shard.task_panics;
        self.add_gauges(shard);
        for (name, part) in &shard.upstreams {
            if !known.contains_key(&part.id) {
                // It was given up: on all shards at once.
                continue;
            }
            let (census, counters) = (&part.census, &part.counters);
            let figures = self.upstreams.entry(name.to_string()).or_default();
            figures.idle += u64::from(census.idle);
            figures.leased += u64::from(census.leased);
            figures.dialing += u64::from(census.dialing);
            figures.waiters += u64::from(census.waiters);
            figures.given_up += counters.evicted(CloseReason::Capacity);
            figures.hits += counters.hits;
            figures.misses += counters.misses;
            figures.moved += counters.served_others;
            figures.dials += counters.dials;
            figures.dials_failed += counters.dials_failed;
            figures.evicted_idle += counters.evicted(CloseReason::IdleTimeout);
            figures.evicted_age += counters.evicted(CloseReason::Age);
            figures.evicted_uses += counters.evicted(CloseReason::Uses);
            figures.evicted_trust += counters.evicted(CloseReason::Trust);
            figures.add_meters(part);
        }
    }

    /// All shards have told: what none of them tells comes last.
    pub(crate) fn settle(&mut self, known: &Known) {
        for upstream in known.values() {
            if let Some(figures) = self.upstreams.get_mut(&*upstream.name) {
                figures.permits = u64::from(upstream.connections.in_use());
                figures.connections_max = u64::from(upstream.connections.max());
                figures.homes = upstream.homes.len() as u64;
                figures.settle();
            }
            let reloads = upstream.reloads.told();
            self.add_reloads(&upstream.name, reloads);
        }
    }

    fn add_gauges(&mut self, shard: &ShardFigures) {
        let now = &mut self.now;
        now.connections += shard.connections as u64;
        now.sockets += shard.driver.sockets;
        now.buffers_held += shard.driver.buffers_held;
        now.waiters += shard.waiters as u64;
        now.timers += shard.timers as u64;
        now.tasks += shard.tasks as u64;
        self.driver.add(&DriverFigures::of(shard));
    }
}

impl ShardState {
    fn of(shard: &ShardFigures) -> ShardState {
        ShardState {
            shard: shard.shard,
            task_panics: shard.task_panics,
            waiters: shard.waiters as u64,
            lag: shard.lag,
            driver: DriverFigures::of(shard),
            buffers_held: shard.driver.buffers_held,
            buffers_free: shard.buffers_free.into(),
            steals: shard.tally.steals,
            offers: shard.tally.offers,
            ..ShardState::default()
        }
    }

    /// Whether it serves: neither down nor missing.
    pub fn is_up(&self) -> bool {
        self.down.is_none() && !self.missing
    }
}

impl DriverFigures {
    fn of(shard: &ShardFigures) -> DriverFigures {
        DriverFigures {
            turns: shard.tally.turns,
            enters: shard.driver.enters,
            enters_extra: shard.driver.enters_extra,
            looks: shard.tally.looks,
            submissions: shard.driver.submissions,
            completions: shard.driver.completions,
            out_of_buffers: shard.driver.out_of_buffers,
            faults: shard.driver.faults,
        }
    }

    fn add(&mut self, others: &DriverFigures) {
        self.turns += others.turns;
        self.enters += others.enters;
        self.enters_extra += others.enters_extra;
        self.looks += others.looks;
        self.submissions += others.submissions;
        self.completions += others.completions;
        self.out_of_buffers += others.out_of_buffers;
        self.faults += others.faults;
    }
}
