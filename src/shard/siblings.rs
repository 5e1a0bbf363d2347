//! What shards do for each other: a permit that one needs and another can spare.
//!
//! Owns: the answering of needs. Never: moves a connection; it is closed here so that another one can be
//! opened there.

use super::core::Core;
use super::upstream::UpstreamState;
use crate::driver::Driver;
use crate::pool::{Exhausted, Input};
use crate::slab::Key;

impl<D: Driver> Core<D> {
    /// The pool may dial no more, but has a caller waiting. Siblings may have an idle connection: it is enough
    /// if they run the call; only where that is of no use one is asked to be given up.
    pub(super) fn on_starving(&mut self, upstream: Key, exhausted: Exhausted) {
        let index = self.index;
        self.mailboxes[index].set_starving(true);
        if let Some(state) = self.upstreams.get_mut(upstream) {
            let since = state.share.starved.map_or(self.now, |(_, since)| since);
            state.share.starved = Some((exhausted, since));
        }
        match exhausted {
            Exhausted::Upstream | Exhausted::Reserved => {}
            Exhausted::Engine => {
                if self.give_up_one_idle(Some(upstream)) {
                    return;
                }
            }
        }
        if self.must_ask(upstream, exhausted) {
            self.ask(upstream, exhausted);
        }
        // A permit that came back before this shard was seen to starve was announced to nobody.
        let has_room = |state: &UpstreamState| state.shared.permits.has_room(exhausted);
        if self.upstreams.get(upstream).is_some_and(has_room) {
            self.mailboxes[index].announce_capacity();
        }
    }

    /// Somebody waits whose call cannot move: those who starve may have to ask after all.
    pub(super) fn check_starving(&mut self, upstream: Key) {
        let Some(state) = self.upstreams.get(upstream) else {
            return;
        };
        if let (true, None, Some((exhausted, _))) =
            (state.pool.is_starving(), state.need, state.share.starved)
            && self.must_ask(upstream, exhausted)
        {
            self.ask(upstream, exhausted);
        }
    }

    /// Something has changed in the pool: with less in use here than before, those who starve for the upstream's own
    /// permits may have to ask after all.
    pub(super) fn check_starving_for_own(&mut self, upstream: Key) {
        let starved = self
            .upstreams
            .get(upstream)
            .map(|state| (state.share.starved, state.need));
        // For one of the engine's it has asked at once, or has given up a connection of its own.
        if let Some((Some((Exhausted::Upstream | Exhausted::Reserved, _)), None)) = starved {
            self.check_starving(upstream);
        }
    }

    /// Whether a connection has to be given up elsewhere for those who wait here.
    fn must_ask(&self, upstream: Key, exhausted: Exhausted) -> bool {
        let Some(state) = self.upstreams.get(upstream) else {
            return false;
        };
        let policy = state.policy.current();
        if !policy.sharing.give_up {
            return false;
        }
        let staying = state.share.staying;
        let none_stays = match exhausted {
            // Those few whose calls cannot move are next on the connections in use here, unless that takes long.
            Exhausted::Upstream | Exhausted::Reserved => !state.pool.is_worth_a_dial(staying),
            Exhausted::Engine => staying == 0,
        };
        let all_may_move = policy.sharing.steal && none_stays;
        let stuck = state.share.starved.is_some_and(|(_, since)| {
            // As long as the pool takes to say it again.
            self.now >= since + policy.dial_backoff_max
        });
        if !all_may_move || stuck {
            return true;
        }
        match exhausted {
            // Siblings have all of its connections: an idle one takes a call.
            Exhausted::Upstream | Exhausted::Reserved => false,
            Exhausted::Engine => !state.share.siblings_have_room(self.index),
        }
    }

    fn ask(&mut self, upstream: Key, exhausted: Exhausted) {
        self.note_need(upstream, exhausted);
        // What is in use here, of other upstreams, may idle before anything does elsewhere.
        self.needs_left |= is_everybodys(exhausted);
        for (sibling, mailbox) in self.mailboxes.iter().enumerate() {
            if sibling != self.index {
                mailbox.announce_need();
            }
        }
    }

    /// Lets siblings know what the pool starves for, once for as long as it does.
    fn note_need(&mut self, upstream: Key, exhausted: Exhausted) {
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return;
        };
        let (upstream, engine) = (
            state.shared.permits.upstream(),
            state.shared.permits.engine(),
        );
        let before = state.need.replace(exhausted);
        match before {
            None => upstream.begin_need(),
            Some(_) => upstream.repeat_need(),
        }
        match (before.is_some_and(is_everybodys), is_everybodys(exhausted)) {
            (false, false) => {}
            (false, true) => engine.begin_need(),
            (true, true) => engine.repeat_need(),
            (true, false) => engine.end_need(),
        }
    }

    /// Closes an idle connection of any upstream but `except`: its permit is needed elsewhere.
    fn give_up_one_idle(&mut self, except: Option<Key>) -> bool {
        let candidate = self
            .upstreams
            .iter()
            .filter(|(key, upstream)| Some(*key) != except && can_spare(upstream))
            .max_by_key(|(_, upstream)| upstream.pool.census().spare)
            .map(|(key, _)| key);
        match candidate {
            Some(key) => {
                self.pool_input(key, Input::GiveUp);
                true
            }
            None => false,
        }
    }

    /// Answers siblings that starve, once a turn: an idle connection here beside a waiter there
    /// helps nobody. Notes whether a need is left that this shard may be able to meet later.
    pub(super) fn answer_needs(&mut self) {
        self.needs_left = false;
        let (mut left, mut given_up) = (false, false);
        let mut engine = None;
        let keys: Vec<Key> = self.upstreams.iter().map(|(key, _)| key).collect();
        for key in keys {
            let Some(state) = self.upstreams.get(key) else {
                continue;
            };
            let census = state.pool.census();
            let (starving, shared) = (state.pool.is_starving(), state.shared.clone());
            if shared.connections.need() {
                if !starving && census.spare > 0 && shared.connections.take_need() {
                    self.pool_input(key, Input::GiveUp);
                    given_up = true;
                } else {
                    // What is leased, or being dialled, may idle here later.
                    left |= census.leased + census.dialing > 0;
                }
            }
            engine.get_or_insert_with(|| shared.permits.engine().clone());
        }
        match engine {
            // Most likely the same need, told to both: the next look tells.
            Some(engine) if engine.need() && given_up => left = true,
            Some(engine) if engine.need() => {
                let met = self.has_idle() && engine.take_need() && self.give_up_one_idle(None);
                left |= !met && !self.connections.is_empty();
            }
            Some(_) | None => {}
        }
        self.needs_left |= left;
    }

    fn has_idle(&self) -> bool {
        self.upstreams
            .iter()
            .any(|(_, upstream)| can_spare(upstream))
    }

    /// A permit came free somewhere: those who wait for one try again.
    pub(super) fn on_capacity(&mut self) {
        let starving: Vec<Key> = self
            .upstreams
            .iter()
            .filter(|(_, state)| state.pool.is_starving())
            .map(|(key, _)| key)
            .collect();
        let index = self.index;
        self.mailboxes[index].set_starving(false);
        for key in starving {
            // Sets the flags again if it is still short.
            self.pool_input(key, Input::Capacity);
        }
    }
}

impl UpstreamState {
    /// Takes the need back if the pool starves no more, so that nobody gives a connection up for a
    /// caller who has gone.
    #[inline]
    pub(super) fn check_need(&mut self) {
        if self.share.starved.is_some() && !self.pool.is_starving() {
            self.share.starved = None;
            self.end_need();
        }
    }

    /// Takes the need back, if there is one.
    pub(super) fn end_need(&mut self) {
        if let Some(exhausted) = self.need.take() {
            self.shared.permits.upstream().end_need();
            if is_everybodys(exhausted) {
                self.shared.permits.engine().end_need();
            }
        }
    }
}

/// However it goes, nobody gives a connection up for it any more.
impl Drop for UpstreamState {
    fn drop(&mut self) {
        self.end_need();
    }
}

/// Whether an idle connection of this upstream, closed, would leave its place to another one.
fn can_spare(upstream: &UpstreamState) -> bool {
    upstream.pool.census().spare > 0 && upstream.shared.permits.is_borrowing()
}

/// Whether connections of other upstreams would help, too. Those of its own always do: what stands in the way
/// may have changed since, when a sibling took the last permit of the upstream.
fn is_everybodys(exhausted: Exhausted) -> bool {
    match exhausted {
        Exhausted::Upstream | Exhausted::Reserved => false,
        Exhausted::Engine => true,
    }
}
