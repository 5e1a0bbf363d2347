//! One connection of a pool.
//!
//! Owns: what is known of it, and its places in the [`rows`](super::rows). Never: counts others.

use super::message::{CloseReason, EndpointId, Purpose};
use super::permit::Tier;
use super::row::Place;
use crate::slab::Key;
use crate::time::Time;

/// What a member is doing, with the shard's key once there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Dialing(Purpose),
    Open(Key),
}

/// What is granted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Granted {
    pub(super) conn: Key,
    pub(super) endpoint: Option<EndpointId>,
    /// It ended soon before this grant.
    pub(super) ending: bool,
}

/// What the end of a lease leaves behind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Returned {
    /// Nobody uses the member any more.
    pub(super) idle: bool,
    /// The use that has ended had its verdict.
    pub(super) judged: bool,
    pub(super) endpoint: Option<EndpointId>,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) state: State,
    pub(super) tier: Tier,
    /// Where it goes, once that is chosen.
    pub(super) endpoint: Option<EndpointId>,
    /// Since when it is dialled, idle, or (while it is used) since the latest grant.
    pub(super) since: Time,
    /// When its time is over, jitter included, and why.
    pub(super) retire_at: Time,
    pub(super) retire_for: CloseReason,
    pub(super) opened: Time,
    /// Until when what its peer has proven counts.
    pub(super) trusted_until: Time,
    /// It was made under settings that were replaced while it was being dialled.
    pub(super) replaced: bool,
    /// How often it has been granted.
    pub(super) uses: u64,
    pub(super) slots: u32,
    pub(super) used: u32,
    /// How many of those who use it have had their verdict.
    pub(super) judged: u32,
    /// It ends soon, and is not counted as warm any more.
    pub(super) ending: bool,
    /// It goes as soon as nobody uses it.
    pub(super) doomed: Option<CloseReason>,
    /// It goes because there are too many: no other one has to go in its stead.
    pub(super) claimed: bool,
    /// While it is idle, among those that are.
    pub(super) idle_place: Place,
    /// While it is free, on its shelf.
    pub(super) shelf_place: Place,
}

impl Member {
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state, State::Open(_)) && self.used == 0
    }

    #[inline]
    pub(super) fn is_leased(&self) -> bool {
        matches!(self.state, State::Open(_)) && self.used > 0
    }

    #[inline]
    pub(super) fn is_free(&self) -> bool {
        matches!(self.state, State::Open(_)) && self.doomed.is_none() && self.used < self.slots
    }

    /// One slot is granted.
    #[inline]
    pub(super) fn take(&mut self, now: Time) -> Granted {
        let State::Open(conn) = self.state else {
            unreachable!("{conn:?} is granted before it is open", conn = self.state);
        };
        self.since = now;
        self.uses += 1;
        self.used += 1;
        Granted {
            conn,
            endpoint: self.endpoint,
            ending: self.ending,
        }
    }

    /// One slot is free again.
    #[inline]
    pub(super) fn give_back(&mut self, now: Time) -> Returned {
        let judged = self.judged > 0;
        self.judged -= u32::from(judged);
        self.used -= 1;
        let idle = self.used == 0;
        if idle {
            self.since = now;
        }
        Returned {
            idle,
            judged,
            endpoint: self.endpoint,
        }
    }
}
