//! The connections of a pool, by name.
//!
//! Owns: each member's state, and the list of idle ones from the oldest to the one used last.
//! Never: decides who gets a member or when one goes, or touches a connection.
//!
//! ```text
//! Dialing ──opened──▶ Idle ◀──rested / leased──▶ Leased        any ──removed──▶ forgotten
//! ```

use super::list::{Linked, Links, List};
use super::message::MemberId;
use crate::slab::{Key, Slab};
use crate::time::Time;

/// What a member is doing, with the shard's key once there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// `fresh`: begun for a fresh waiter, and so for the first of them, if one waits still.
    Dialing {
        fresh: bool,
    },
    Idle(Key),
    Leased(Key),
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) state: State,
    /// Since when it is in that state; in `Leased`, since the latest grant.
    pub(super) since: Time,
    pub(super) opened: Time,
    /// When its age ends its life, jitter included.
    pub(super) retire_at: Time,
    /// How often it has been granted.
    pub(super) uses: u64,
    links: Links,
}

impl Linked for Member {
    fn links(&self) -> &Links {
        &self.links
    }
    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

#[derive(Debug, Default)]
pub(super) struct Members {
    all: Slab<Member>,
    idle: List,
    dialing: u32,
    dialing_fresh: u32,
}

impl Members {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Open ones, idle or leased.
    pub(super) fn live(&self) -> u32 {
        self.all.len() as u32 - self.dialing
    }

    pub(super) fn idle(&self) -> u32 {
        self.idle.len()
    }

    pub(super) fn dialing(&self) -> u32 {
        self.dialing
    }

    /// Those of the dialling ones that were begun for fresh waiters.
    pub(super) fn dialing_fresh(&self) -> u32 {
        self.dialing_fresh
    }

    #[inline]
    pub(super) fn get(&self, id: MemberId) -> Option<&Member> {
        self.all.get(id.0)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (MemberId, &Member)> {
        self.all.iter().map(|(key, member)| (MemberId(key), member))
    }

    /// Gives every open member a new end of life.
    pub(super) fn retire_all_at(&mut self, mut retire_at: impl FnMut(MemberId, &Member) -> Time) {
        let open: Vec<MemberId> = self
            .iter()
            .filter(|(_, member)| !matches!(member.state, State::Dialing { .. }))
            .map(|(id, _)| id)
            .collect();
        for id in open {
            let member = self.all.get_mut(id.0).expect("just listed");
            member.retire_at = retire_at(id, member);
        }
    }

    /// The idle member that has been idle longest.
    pub(super) fn oldest_idle(&self) -> Option<(MemberId, &Member)> {
        self.idle_at(self.idle.oldest())
    }

    /// The idle member used last.
    pub(super) fn newest_idle(&self) -> Option<(MemberId, &Member)> {
        self.idle_at(self.idle.newest())
    }

    /// The idle member used before `id`, an idle one.
    pub(super) fn idle_before(&self, id: MemberId) -> Option<(MemberId, &Member)> {
        self.idle_at(self.idle.before(&self.all, id.0))
    }

    fn idle_at(&self, key: Option<Key>) -> Option<(MemberId, &Member)> {
        let key = key?;
        let member = self.all.get(key).expect("the idle list names members");
        Some((MemberId(key), member))
    }

    /// A new member, dialling.
    pub(super) fn dial(&mut self, now: Time, fresh: bool) -> MemberId {
        self.dialing += 1;
        self.dialing_fresh += u32::from(fresh);
        MemberId(self.all.insert(Member {
            state: State::Dialing { fresh },
            since: now,
            opened: Time::NEVER,
            retire_at: Time::NEVER,
            uses: 0,
            links: Links::default(),
        }))
    }

    /// A dialling member is open now, and idle.
    pub(super) fn opened(&mut self, id: MemberId, conn: Key, now: Time, retire_at: Time) {
        let member = self.all.get_mut(id.0).expect("the caller looked it up");
        let State::Dialing { fresh } = member.state else {
            unreachable!("{id:?} is open already");
        };
        member.state = State::Idle(conn);
        member.since = now;
        member.opened = now;
        member.retire_at = retire_at;
        self.dialing -= 1;
        self.dialing_fresh -= u32::from(fresh);
        self.idle.push(&mut self.all, id.0);
    }

    /// An idle member is granted, or a leased one granted anew; tells its connection.
    #[inline]
    pub(super) fn leased(&mut self, id: MemberId, now: Time) -> Key {
        let member = self.all.get_mut(id.0).expect("the caller looked it up");
        member.since = now;
        member.uses += 1;
        match member.state {
            State::Dialing { .. } => unreachable!("{id:?} is granted before it is open"),
            State::Leased(conn) => conn,
            State::Idle(conn) => {
                member.state = State::Leased(conn);
                self.idle.unlink(&mut self.all, id.0);
                conn
            }
        }
    }

    /// A leased member is idle now.
    #[inline]
    pub(super) fn rested(&mut self, id: MemberId, now: Time) {
        let member = self.all.get_mut(id.0).expect("the caller looked it up");
        let State::Leased(conn) = member.state else {
            unreachable!("{id:?} rests without having been leased");
        };
        member.state = State::Idle(conn);
        member.since = now;
        self.idle.push(&mut self.all, id.0);
    }

    /// Forgets a member, whatever it is doing.
    pub(super) fn remove(&mut self, id: MemberId) -> Option<Member> {
        match self.all.get(id.0)?.state {
            State::Dialing { fresh } => {
                self.dialing -= 1;
                self.dialing_fresh -= u32::from(fresh);
            }
            State::Idle(_) => self.idle.unlink(&mut self.all, id.0),
            State::Leased(_) => {}
        }
        self.all.remove(id.0)
    }

    /// Whether the counts equal a census of the slab. Walks all members: for tests and assertions.
    pub(super) fn counts_hold(&self) -> bool {
        let count = |wanted: fn(&State) -> bool| {
            let matching = self.all.iter().filter(|(_, member)| wanted(&member.state));
            matching.count() as u32
        };
        let mut listed = 0;
        let mut at = self.newest_idle();
        while let Some((id, member)) = at {
            debug_assert!(matches!(member.state, State::Idle(_)));
            listed += 1;
            at = self.idle_before(id);
        }
        count(|state| matches!(state, State::Dialing { .. })) == self.dialing
            && count(|state| *state == State::Dialing { fresh: true }) == self.dialing_fresh
            && count(|state| matches!(state, State::Idle(_))) == self.idle.len()
            && listed == self.idle.len()
    }
}
