//! What is seen of the engine in the course of a run, put together for the oracle.

use super::Run;
use crate::oracle::{Named, Place, Starving, State};
use ringpool::simulation::{Look, PermitsLook};
use std::time::Duration;

impl Run {
    /// Caps, as the network, the engine and the shards count.
    pub(super) fn look_around(&mut self) {
        let knobs = &self.stage.knobs;
        let engine = self.caps.len() - 1;
        for cap in &mut self.caps {
            (cap.open, cap.connections) = (0, 0);
        }
        for (index, upstream) in knobs.upstreams.iter().enumerate() {
            let permits = self.permits[index].look();
            let open = self.world.open_to(index);
            let guests = knobs.at_home(index).filter(|&guest| guest != index);
            let guests = guests.map(|guest| self.permits[guest].look().in_use as usize);
            let cap = &mut self.caps[index];
            // Sockets that have a guest's permit are the guest's.
            cap.open = open.saturating_sub(guests.sum());
            cap.permits = permits.in_use as usize;
            cap.connections = connections_of(&self.looks, &upstream.name);
            let connections = cap.connections;
            let whole = &mut self.caps[engine];
            whole.open += open;
            whole.connections += connections;
            whole.permits = permits.engine_in_use as usize;
        }
        self.stage.oracle.borrow_mut().caps(&mut self.caps);
        let mut present = [0; State::ALL.len()];
        for connection in self.looks.iter().flat_map(|look| &look.connections) {
            if let Some(state) = State::named(connection.state) {
                present[state as usize] += 1;
            }
        }
        self.stage.coverage.borrow_mut().present(present);
    }

    pub(super) fn quiet(&mut self) {
        let (knobs, now) = (&self.stage.knobs, self.stage.now.get());
        let mut starving = Vec::new();
        let returning = self
            .looks
            .iter()
            .flat_map(|look| &look.connections)
            .any(|one| {
                let state = State::named(one.state);
                matches!(state, Some(State::Draining | State::Closing))
            });
        for (index, upstream) in knobs.upstreams.iter().enumerate() {
            let permits = self.permits[index].look();
            let backoff_max = knobs.most(index, |settings| settings.dial_backoff_max);
            let steals_most = knobs.most(index, |settings| settings.sharing.steal);
            let steals_least = knobs.least(index, |settings| settings.sharing.steal);
            let reserved = knobs.most(index, |settings| settings.critical_reserved);
            let shards = self.looks.iter().enumerate().map(|(shard, look)| {
                let its = look.upstreams.iter();
                let mut its = its.filter(|one| *one.name == *upstream.name);
                let paused = self.pauses[shard][index].lasts(now, backoff_max);
                // Whom only a new connection serves waits beside any other.
                its.next().map_or(Place::default(), |one| Place {
                    idle: one.idle,
                    waiters: one.waiters - one.waiters_fresh,
                    fresh: one.waiters_fresh,
                    movable: one.waiters_movable,
                    coming: one.dialing + one.leased + u32::from(paused),
                })
            });
            starving.push(Starving {
                name: upstream.name.clone(),
                shards: shards.collect(),
                reserved,
                steals: (steals_most == steals_least).then_some(steals_most),
                permit_left: returning || is_left(permits),
                choosy: self
                    .looks
                    .iter()
                    .flat_map(|look| &look.upstreams)
                    .any(|one| *one.name == *upstream.name && one.choosy),
            });
        }
        self.stage.oracle.borrow_mut().quiet(&starving);
    }

    /// What was seen last, where the story ends badly.
    pub(super) fn tell_looks(&self) {
        if !self.is_over() {
            return;
        }
        for (shard, look) in self.looks.iter().enumerate() {
            for one in &look.upstreams {
                self.stage.tell(|| {
                    format!(
                        "shard {shard} {}: {} idle, {} leased, {} dialing, {} waiting, {} of them for new ones",
                        one.name, one.idle, one.leased, one.dialing, one.waiters, one.waiters_fresh
                    )
                });
            }
            for one in &look.connections {
                self.stage.tell(|| {
                    format!(
                        "shard {shard} slot {}#{}: {}, upstream {}, {} uses, {} operations",
                        one.slot, one.generation, one.state, one.upstream, one.uses, one.operations
                    )
                });
            }
        }
        for (upstream, permits) in self.stage.knobs.upstreams.iter().zip(&self.permits) {
            let permits = permits.look();
            self.stage
                .tell(|| format!("{}: {permits:?}", upstream.name));
        }
    }
}

/// Since when a shard may be pausing with its dials to an upstream, because one failed, and whether there was a
/// permit meanwhile: it need not ask a sibling for one then, and a sibling may take it before the pause is over.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pause {
    failed: u64,
    since: Duration,
    permit_seen: bool,
}

impl Pause {
    pub(super) fn note(
        &mut self,
        look: &Look,
        upstream: &str,
        permits: PermitsLook,
        now: Duration,
    ) {
        let its = look.upstreams.iter().find(|one| *one.name == *upstream);
        let failed = its.map_or(0, |one| one.counters.dials_failed);
        if failed != self.failed {
            (self.failed, self.since, self.permit_seen) = (failed, now, false);
        }
        // Its own came back when the dial failed. Whoever takes that within the same turn is another upstream, and the
        // engine is full: the shard asks when its pause is over.
        self.permit_seen |= is_left(permits) || permits.engine_in_use == permits.engine_max;
    }

    fn lasts(&self, now: Duration, most: Duration) -> bool {
        // The wheel's tick is a millisecond.
        self.failed > 0 && self.permit_seen && now < self.since + most + Duration::from_millis(3)
    }
}

fn is_left(permits: PermitsLook) -> bool {
    permits.in_use < permits.max && permits.engine_in_use < permits.engine_max
}

/// The connections to an upstream that somebody uses or may use, as the looks name them.
pub(super) fn open_to<'a>(
    looks: &'a [Look],
    upstream: &'a str,
) -> impl Iterator<Item = Named> + 'a {
    looks.iter().enumerate().flat_map(move |(shard, look)| {
        let id = look.upstreams.iter().find(|one| *one.name == *upstream);
        let its = look.connections.iter();
        let its = its.filter(move |one| id.is_some_and(|id| one.upstream == id.id));
        let open = its.filter(|one| matches!(one.state, "idle" | "leased"));
        open.map(move |one| (shard, one.slot, one.generation))
    })
}

fn connections_of(looks: &[Look], upstream: &str) -> usize {
    let mut count = 0;
    for look in looks {
        let Some(its) = look.upstreams.iter().find(|one| *one.name == *upstream) else {
            continue;
        };
        let its = look.connections.iter().filter(|one| one.upstream == its.id);
        count += its.filter(|one| one.has_permit).count();
    }
    count
}
