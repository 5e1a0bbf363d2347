//! Members against plain lists: who idles in which order, and who is free where.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const ENDPOINTS: [Option<EndpointId>; 3] = [None, Some(EndpointId(0)), Some(EndpointId(1))];
const TIERS: [Tier; 2] = [Tier::Open, Tier::Reserved];

/// One of those that [`Both::take`] chooses from.
type Shelf = (usize, usize);

/// What the lists know of a member.
#[derive(Clone, Copy, Debug)]
struct Known {
    shelf: Shelf,
    slots: u32,
    used: u32,
    doomed: bool,
    replaced: bool,
}

impl Known {
    fn is_free(&self) -> bool {
        !self.doomed && self.used < self.slots
    }
}

/// Members, and the same as plain lists.
#[derive(Default)]
struct Both {
    members: Members,
    now: Time,
    known: BTreeMap<Key, Known>,
    /// From the oldest to the newest, as all lists here.
    idle: Vec<MemberId>,
    shelves: BTreeMap<Shelf, Vec<MemberId>>,
}

impl Both {
    fn open(&mut self, (endpoint, tier): Shelf, slots: u32) {
        let purpose = Purpose::Queue;
        let dialed = self
            .members
            .dial(self.now, purpose, TIERS[tier], ENDPOINTS[endpoint]);
        let opened = Opened {
            conn: dialed.0,
            slots,
            trusted_until: Time::NEVER,
            replaced: false,
        };
        self.members.opened(dialed, opened, self.now);
        let known = Known {
            shelf: (endpoint, tier),
            slots,
            used: 0,
            doomed: false,
            replaced: false,
        };
        self.known.insert(dialed.0, known);
        self.idle.push(dialed);
        self.shelve(dialed);
    }

    fn nth(&self, nth: usize, wanted: impl Fn(&Known) -> bool) -> Option<MemberId> {
        let all: Vec<MemberId> = (self.known.iter())
            .filter(|(_, known)| wanted(known))
            .map(|(key, _)| MemberId(*key))
            .collect();
        (!all.is_empty()).then(|| all[nth % all.len()])
    }

    /// A member has become free, or is free no more.
    fn shelve(&mut self, id: MemberId) {
        let known = self.known.get(&id.0).copied();
        let is_free = known.is_some_and(|known| known.is_free());
        for shelf in self.shelves.values_mut() {
            if !is_free {
                shelf.retain(|other| *other != id);
            }
        }
        let Some(known) = known.filter(Known::is_free) else {
            return;
        };
        let shelf = self.shelves.entry(known.shelf).or_default();
        match known.replaced {
            _ if shelf.contains(&id) => {}
            false => shelf.push(id),
            true => shelf.insert(0, id),
        }
    }

    fn took(&mut self, id: MemberId) {
        let known = self.known.get_mut(&id.0).expect("it is open");
        known.used += 1;
        self.idle.retain(|other| *other != id);
        self.shelve(id);
    }

    fn take(&mut self, id: MemberId) {
        let granted = self.members.taken(id, self.now);
        assert_eq!(granted.conn, id.0);
        self.took(id);
    }

    fn take_last(&mut self, fits: bool) {
        let wanted = |_: &Member| fits;
        if let Some((id, _)) = self.members.take_last(self.now, wanted) {
            assert!(fits);
            assert_eq!(self.idle.last(), Some(&id));
            self.took(id);
        }
    }

    /// At once if that goes, unless it is to go the long way.
    fn give_back(&mut self, id: MemberId, at_once: bool) {
        let returned = if at_once {
            self.members.rest(id, self.now)
        } else {
            None
        };
        let returned = returned.unwrap_or_else(|| self.members.returned(id, self.now));
        let known = self.known.get_mut(&id.0).expect("it is open");
        known.used -= 1;
        assert_eq!(returned.idle, known.used == 0);
        if returned.idle {
            self.idle.push(id);
        }
        self.shelve(id);
    }

    fn set_slots(&mut self, id: MemberId, slots: u32) {
        self.members.set_slots(id, slots);
        self.known.get_mut(&id.0).expect("it is open").slots = slots;
        self.shelve(id);
    }

    /// What is free stays where it stands.
    fn replace(&mut self, id: MemberId) {
        let why = CloseReason::Reconfigured;
        self.members.set_retirement(id, Time::NEVER, why);
        self.known.get_mut(&id.0).expect("it is open").replaced = true;
    }

    fn doom(&mut self, id: MemberId) {
        self.members.doom(id, CloseReason::Retired);
        self.known.get_mut(&id.0).expect("it is open").doomed = true;
        self.shelve(id);
    }

    fn remove(&mut self, id: MemberId) {
        assert!(self.members.remove(id).is_some());
        self.known.remove(&id.0);
        self.idle.retain(|other| *other != id);
        self.shelve(id);
    }

    fn step(&mut self, step: Step) {
        self.now = self.now + std::time::Duration::from_nanos(1);
        let free = |nth| self.nth(nth, Known::is_free);
        let used = |nth| self.nth(nth, |known| known.used > 0);
        let any = |nth| self.nth(nth, |_| true);
        match step {
            Step::Open { shelf, slots } => self.open(shelf, slots),
            Step::Take(nth) => free(nth).into_iter().for_each(|id| self.take(id)),
            Step::TakeLast { fits } => self.take_last(fits),
            Step::GiveBack { nth, at_once } => {
                let id = used(nth).into_iter();
                id.for_each(|id| self.give_back(id, at_once));
            }
            Step::SetSlots { nth, slots } => {
                let id = any(nth).into_iter();
                id.for_each(|id| self.set_slots(id, slots));
            }
            Step::Replace(nth) => any(nth).into_iter().for_each(|id| self.replace(id)),
            Step::Doom(nth) => any(nth).into_iter().for_each(|id| self.doom(id)),
            Step::Remove(nth) => any(nth).into_iter().for_each(|id| self.remove(id)),
        }
    }

    fn check(&self) {
        assert!(self.members.counts_hold());
        assert_eq!(self.members.idle() as usize, self.idle.len());
        let mut at = self.members.oldest_idle();
        for id in &self.idle {
            assert_eq!(at.map(|(id, _)| id), Some(*id), "of {:?}", self.idle);
            at = self.members.idle_after(*id);
        }
        assert!(at.is_none());
        for shelf in (0..ENDPOINTS.len()).flat_map(|endpoint| [(endpoint, 0), (endpoint, 1)]) {
            let ids = self.shelves.get(&shelf).map_or(&[][..], |ids| &ids[..]);
            let (endpoint, tier) = (ENDPOINTS[shelf.0], TIERS[shelf.1]);
            let mut at = self.members.newest_free(endpoint, tier);
            for id in ids.iter().rev() {
                assert_eq!(at.map(|(id, _)| id), Some(*id), "of {ids:?}");
                at = self.members.free_before(*id);
            }
            assert!(at.is_none());
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Open { shelf: Shelf, slots: u32 },
    Take(usize),
    TakeLast { fits: bool },
    GiveBack { nth: usize, at_once: bool },
    SetSlots { nth: usize, slots: u32 },
    Replace(usize),
    Doom(usize),
    Remove(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let shelf = (0..ENDPOINTS.len(), 0..TIERS.len());
    let slots = prop_oneof![3 => Just(1u32), 1 => 1u32..4];
    let nth = any::<usize>();
    prop_oneof![
        3 => (shelf, slots).prop_map(|(shelf, slots)| Step::Open { shelf, slots }),
        6 => nth.prop_map(Step::Take),
        4 => any::<bool>().prop_map(|fits| Step::TakeLast { fits }),
        9 => (nth, prop::bool::weighted(0.8))
            .prop_map(|(nth, at_once)| Step::GiveBack { nth, at_once }),
        1 => (nth, 0u32..4).prop_map(|(nth, slots)| Step::SetSlots { nth, slots }),
        1 => nth.prop_map(Step::Replace),
        1 => nth.prop_map(Step::Doom),
        1 => nth.prop_map(Step::Remove),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn they_stand_as_in_plain_lists(steps in prop::collection::vec(step(), 0..120)) {
        let mut both = Both::default();
        for step in steps {
            both.step(step);
            both.check();
        }
    }
}
