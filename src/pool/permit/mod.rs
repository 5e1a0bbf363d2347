//! Permits: the right to have one connection open, counted over the whole engine.
//!
//! Owns: the counts, and the guard that stands for one of each. A count changes by compare-and-swap
//! when a connection is dialled and when its descriptor is closed; a checkout that hits touches none.
//! Never: lets a count pass its cap, waits, or wakes anyone. Who starves leaves a need.
//!
//! ```text
//! upstream   all its connections           ≤ connections_max
//!            ├ open: anyone's              ≤ connections_max − critical_reserved
//!            └ critical: critical calls'   ≤ critical_reserved
//! engine     all connections               ≤ the engine's connections_max
//!            ├ reserve, one per upstream   ≤ its connections_reserved
//!            └ shared, by all upstreams    ≤ connections_max − all reserves
//! ```
//! The parts add up to their whole, except while a new configuration moves a share from one part to
//! another and what is open does not fit the new one yet: hence the wholes are counted, too, and hold at
//! every instant.

mod counter;
mod leaving;
#[cfg(test)]
mod tests;

pub use counter::Counter;

use leaving::Leaving;
use std::sync::Arc;

/// Where the pools of an upstream get their permits.
#[derive(Clone, Debug)]
pub struct Permits(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    upstream: Arc<Counter>,
    open: Counter,
    critical: Counter,
    engine: Arc<Counter>,
    shared: Arc<Counter>,
    reserve: Counter,
    /// How many of the upstream's connections count in `shared`: those beyond its reserve.
    borrowed: Counter,
    /// Which of them close because there are too many.
    leaving: Leaving,
}

/// How many connections an upstream may have, and which of them are set apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// So many in all.
    pub connections_max: u32,
    /// So many of them for critical calls alone.
    pub critical_reserved: u32,
    /// So many of the engine's are this upstream's alone.
    pub connections_reserved: u32,
}

/// Which part of its upstream's connections a permit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tier {
    /// Anyone's.
    Open,
    /// Reserved for critical calls.
    Reserved,
}

/// Which cap stands in the way of another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exhausted {
    /// The upstream's `connections_max`, less what is reserved for critical calls.
    Upstream,
    /// The upstream's `connections_max`, for a critical call that was refused an open one before.
    Reserved,
    /// The engine's `connections_max`, less what is reserved for other upstreams.
    Engine,
}

impl Permits {
    /// Permits that count against both, with nothing set apart.
    #[cfg(test)]
    pub fn new(upstream: Arc<Counter>, engine: Arc<Counter>) -> Permits {
        let quota = Quota {
            connections_max: u32::MAX,
            critical_reserved: 0,
            connections_reserved: 0,
        };
        let shared = Arc::new(Counter::new(u32::MAX));
        Permits::counted(upstream, engine, shared, quota)
    }

    /// Permits of an upstream with `quota`; `shared` is what no upstream has reserved of the engine's.
    pub fn with_quota(engine: Arc<Counter>, shared: Arc<Counter>, quota: Quota) -> Permits {
        let upstream = Arc::new(Counter::new(quota.connections_max));
        Permits::counted(upstream, engine, shared, quota)
    }

    fn counted(
        upstream: Arc<Counter>,
        engine: Arc<Counter>,
        shared: Arc<Counter>,
        quota: Quota,
    ) -> Permits {
        Permits(Arc::new(Counts {
            upstream,
            open: Counter::new(quota.connections_max - quota.critical_reserved),
            critical: Counter::new(quota.critical_reserved),
            engine,
            shared,
            reserve: Counter::new(quota.connections_reserved),
            borrowed: Counter::new(u32::MAX),
            leaving: Leaving::default(),
        }))
    }

    /// All connections of the upstream.
    pub fn upstream(&self) -> &Arc<Counter> {
        &self.0.upstream
    }

    /// All connections of the engine.
    pub fn engine(&self) -> &Arc<Counter> {
        &self.0.engine
    }

    /// How many connections the upstream has beyond what a new quota allows, those [claimed](Permits::claim_over)
    /// not counted: so many idle ones are to go, or else so many of those in use when they are released.
    pub fn over(&self) -> u32 {
        let counts = &*self.0;
        let leaving = [Tier::Open, Tier::Reserved].map(|tier| counts.leaving.of(tier));
        let parts = [&counts.open, &counts.critical];
        let parts = parts.into_iter().zip(leaving);
        let parts = parts.map(|(part, leaving)| part.over().saturating_sub(leaving));
        let whole = counts.upstream.over();
        whole.saturating_sub(leaving.iter().sum()).max(parts.sum())
    }

    /// Whether a connection of `tier` has to go because there are too many. Then it is claimed: no
    /// shard closes another one in its stead, though it counts until its descriptor is closed. What
    /// follows is [`Permit::leave`], or [`unclaim`](Permits::unclaim).
    pub fn claim_over(&self, tier: Tier) -> bool {
        let counts = &*self.0;
        let part = match tier {
            Tier::Open => &counts.open,
            Tier::Reserved => &counts.critical,
        };
        counts.leaving.claim(tier, |all, of_tier| {
            counts.upstream.over() > all || part.over() > of_tier
        })
    }

    /// A connection that was claimed closes for another reason.
    pub fn unclaim(&self, tier: Tier) {
        self.0.leaving.end(tier);
    }

    /// Whether a connection of this upstream that closes leaves its place to any other upstream, and
    /// not to this one's reserve. One that closes counts until its descriptor is closed, as with
    /// [`over`](Permits::over).
    pub fn is_borrowing(&self) -> bool {
        self.0.borrowed.in_use() > 0
    }

    /// Whether what stood in the way does so no more.
    pub fn has_room(&self, exhausted: Exhausted) -> bool {
        let counts = &*self.0;
        match exhausted {
            Exhausted::Upstream => counts.upstream.has_room() && counts.open.has_room(),
            Exhausted::Reserved => {
                let part = counts.open.has_room() || counts.critical.has_room();
                part && counts.upstream.has_room()
            }
            Exhausted::Engine => {
                let part = counts.reserve.has_room() || counts.shared.has_room();
                part && counts.engine.has_room()
            }
        }
    }

    /// Puts another quota in force. What is open stays; see [`over`](Permits::over).
    pub fn set_quota(&self, quota: Quota) {
        let counts = &*self.0;
        let open = quota.connections_max - quota.critical_reserved;
        counts.upstream.set_max(quota.connections_max);
        counts.open.set_max(open);
        counts.critical.set_max(quota.critical_reserved);
        counts.reserve.set_max(quota.connections_reserved);
    }

    /// One permit of `tier`, if every count has room.
    ///
    /// The upstream's part is taken first and given back if the engine has none. A sibling that looks
    /// in between may see one permit of the upstream too few; the engine had none for it either.
    ///
    /// # Errors
    /// Which cap stands in the way.
    pub fn try_acquire(&self, tier: Tier) -> Result<Permit, Exhausted> {
        let counts = &*self.0;
        let (part, full) = match tier {
            Tier::Open => (&counts.open, Exhausted::Upstream),
            Tier::Reserved => (&counts.critical, Exhausted::Reserved),
        };
        if !part.acquire() {
            return Err(full);
        }
        if !counts.upstream.acquire() {
            part.give_back();
            return Err(full);
        }
        if !counts.borrow() {
            counts.upstream.give_back();
            part.give_back();
            return Err(Exhausted::Engine);
        }
        if !counts.engine.acquire() {
            counts.repay();
            counts.upstream.give_back();
            part.give_back();
            return Err(Exhausted::Engine);
        }
        let permits = self.clone();
        let leaves = false;
        Ok(Permit {
            permits,
            tier,
            leaves,
        })
    }
}

impl Counts {
    /// Takes one of the engine's: of the reserve as long as it lasts, then of the shared ones.
    fn borrow(&self) -> bool {
        if self.reserve.acquire() {
            return true;
        }
        let shared = self.shared.acquire();
        if shared {
            self.borrowed.add();
        }
        shared
    }

    /// Gives one of the engine's back: a shared one as long as there is any, whichever way this one was
    /// come by. What is open within the reserve keeps nothing from the others.
    fn repay(&self) {
        // Of those taken, what is not counted as borrowed is counted in the reserve. One that is borrowed
        // just now may not be counted yet: then the reserve holds what comes back here.
        if self.borrowed.give_back_if_any() {
            self.shared.give_back();
        } else {
            self.reserve.give_back();
        }
    }
}

/// The right to have one connection open. Dropping it, after the descriptor is closed, returns it.
#[must_use = "dropping a permit returns it"]
#[derive(Debug)]
pub struct Permit {
    permits: Permits,
    tier: Tier,
    leaves: bool,
}

impl Permit {
    /// It was [claimed](Permits::claim_over): its return is the end of that.
    pub fn leave(&mut self) {
        self.leaves = true;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let counts = &*self.permits.0;
        // The other way round than it was taken: whoever finds room in a part finds it in the whole.
        counts.engine.give_back();
        counts.repay();
        counts.upstream.give_back();
        match self.tier {
            Tier::Open => counts.open.give_back(),
            Tier::Reserved => counts.critical.give_back(),
        }
        // Last: too few look over in between, never too many.
        if self.leaves {
            self.permits.unclaim(self.tier);
        }
    }
}
