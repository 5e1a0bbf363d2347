//! Resumption: what lets a connection skip most of a handshake because an earlier one had it.
//!
//! Owns: one identity's tickets, and until when what the server proved then may be relied on. No lock.
//! Never: hands a TLS 1.3 ticket out twice (RFC 8446, appendix C.4: reuse lets an observer link
//! connections), a ticket to another identity, or one of a certificate whose time is over.

use crossbeam::atomic::AtomicCell;
use crossbeam::queue::ArrayQueue;
use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::time_provider::TimeProvider;
use rustls_pki_types::{ServerName, UnixTime};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// How many TLS 1.3 tickets an identity keeps. Servers send one or two for each handshake, which
/// uses one: 32 carry a burst of two shards that dial as many connections at once as they may by
/// default. With eight, 64 callers without reuse resumed a quarter of their handshakes.
const TICKETS_MAX: usize = 32;

/// One identity's tickets, as rustls wants them kept: the view of the store that is bound to one
/// configuration. rustls asks by server name only, which is why no two identities share a view.
pub(super) struct IdentityTickets {
    server_name: ServerName<'static>,
    clock: Arc<dyn TimeProvider>,
    /// How long a ticket is kept, in seconds.
    lifetime_max: u64,
    /// Until when all that was proven counts, in seconds since 1970: the earliest end of what was checked since there
    /// were no tickets last. [`UNPROVEN`] before the first check, and once tickets may be used no more: a
    /// ticket does not say which check it goes back to.
    good_until: AtomicU64,
    /// Until when tickets may be used: earlier than that, or else all that is resumed would end at the same moment.
    resume_until: AtomicU64,
    tls13: Newest<Kept<Tls13ClientSessionValue>>,
    /// A TLS 1.2 session may be used any number of times: taken out, cloned and put back.
    tls12: ArrayQueue<Kept<Tls12ClientSessionValue>>,
    /// The key-exchange group the server chose last; 0, which is no group, for none.
    group: AtomicU16,
}

const UNPROVEN: u64 = 0;

/// A ticket, in seconds since 1970 when it came, and until when it may be used at most.
#[derive(Clone)]
struct Kept<T> {
    ticket: T,
    since: u64,
    until: u64,
}

/// The share of the time that a check counts in which sessions that go back to it are resumed, in quarters.
const RESUMED_QUARTERS: u64 = 3;

impl IdentityTickets {
    pub(super) fn new(
        server_name: ServerName<'static>,
        clock: Arc<dyn TimeProvider>,
        lifetime_max: Duration,
    ) -> IdentityTickets {
        IdentityTickets {
            server_name,
            clock,
            lifetime_max: lifetime_max.as_secs(),
            good_until: AtomicU64::new(UNPROVEN),
            resume_until: AtomicU64::new(UNPROVEN),
            tls13: Newest::new(),
            tls12: ArrayQueue::new(1),
            group: AtomicU16::new(0),
        }
    }

    /// Drops all that there are.
    pub(super) fn clear(&self) {
        while self.tls13.take().is_some() {}
        while self.tls12.pop().is_some() {}
    }

    /// A server has proven itself at `now`, which counts until `end`; `None` is for ever.
    pub(super) fn proven(&self, now: UnixTime, end: Option<UnixTime>) {
        let (now, end) = (now.as_secs(), end.map_or(u64::MAX, |end| end.as_secs()));
        let resumed = match end {
            u64::MAX => u64::MAX,
            end => now + end.saturating_sub(now) / 4 * RESUMED_QUARTERS,
        };
        shorten(&self.good_until, end, true);
        shorten(&self.resume_until, resumed, true);
    }

    /// A ticket has come of a session that is good until `end`.
    pub(super) fn ticket_of(&self, end: UnixTime) {
        for known in [&self.good_until, &self.resume_until] {
            shorten(known, end.as_secs(), false);
        }
    }

    /// Until when a session that is resumed now may be relied on; `Some(None)` is for ever. `None` if nothing was
    /// proven.
    pub(super) fn good_until(&self) -> Option<Option<UnixTime>> {
        match self.good_until.load(Ordering::Relaxed) {
            UNPROVEN => None,
            u64::MAX => Some(None),
            end => Some(Some(UnixTime::since_unix_epoch(Duration::from_secs(end)))),
        }
    }

    fn is_for(&self, server_name: &ServerName<'_>) -> bool {
        self.server_name == *server_name
    }

    /// The time, and until when tickets may be used; `None` if they may not be kept or used at it.
    fn now_if_good(&self) -> Option<(u64, u64)> {
        let now = self.clock.current_time()?.as_secs();
        let until = self.resume_until.load(Ordering::Relaxed);
        if now < until {
            return Some((now, until));
        }
        if until != UNPROVEN {
            self.clear();
            // Whoever proves something at this moment loses no more than tickets.
            self.good_until.store(UNPROVEN, Ordering::Relaxed);
            self.resume_until.store(UNPROVEN, Ordering::Relaxed);
        }
        None
    }

    fn keep<T>(&self, ticket: T) -> Option<Kept<T>> {
        let (since, until) = self.now_if_good()?;
        Some(Kept {
            ticket,
            since,
            until,
        })
    }

    fn is_fresh<T>(&self, kept: &Kept<T>, now: u64) -> bool {
        now < kept.until && now.saturating_sub(kept.since) < self.lifetime_max
    }
}

/// The earlier of what is known and `end`; that, if nothing is known and it is `proven`.
fn shorten(known: &AtomicU64, end: u64, proven: bool) {
    let end = end.max(UNPROVEN + 1);
    let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
    // Without a proof nothing is stored.
    let _before = known.fetch_update(success, failure, |known| match known {
        UNPROVEN => proven.then_some(end),
        known => Some(known.min(end)),
    });
}

impl ClientSessionStore for IdentityTickets {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        if self.is_for(&server_name) {
            self.group.store(u16::from(group), Ordering::Relaxed);
        }
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        match self.group.load(Ordering::Relaxed) {
            0 => None,
            group => self.is_for(server_name).then(|| NamedGroup::from(group)),
        }
    }

    fn set_tls12_session(&self, server_name: ServerName<'static>, value: Tls12ClientSessionValue) {
        if self.is_for(&server_name)
            && let Some(kept) = self.keep(value)
        {
            self.tls12.force_push(kept);
        }
    }

    fn tls12_session(&self, server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        if !self.is_for(server_name) {
            return None;
        }
        let (now, _) = self.now_if_good()?;
        let kept = self.tls12.pop().filter(|kept| self.is_fresh(kept, now))?;
        // Refused if a newer one has come meanwhile, which is as it should be.
        let _newer_is_there = self.tls12.push(kept.clone());
        Some(kept.ticket)
    }

    fn remove_tls12_session(&self, server_name: &ServerName<'static>) {
        if self.is_for(server_name) {
            self.tls12.pop();
        }
    }

    fn insert_tls13_ticket(
        &self,
        server_name: ServerName<'static>,
        value: Tls13ClientSessionValue,
    ) {
        if self.is_for(&server_name)
            && let Some(kept) = self.keep(value)
        {
            self.tls13.insert(kept);
        }
    }

    fn take_tls13_ticket(
        &self,
        server_name: &ServerName<'static>,
    ) -> Option<Tls13ClientSessionValue> {
        if !self.is_for(server_name) {
            return None;
        }
        let (now, _) = self.now_if_good()?;
        // The stale ones are taken out on the way.
        let mut kept = std::iter::from_fn(|| self.tls13.take());
        let fresh = kept.find(|kept| self.is_fresh(kept, now))?;
        Some(fresh.ticket)
    }
}

impl fmt::Debug for IdentityTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What it holds is secret.
        f.debug_struct("IdentityTickets")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// The last [`TICKETS_MAX`] values put in, less those taken out; the newest is taken first. Not a
/// queue: taking the oldest would let a client that dials rarely meet expired tickets for ever, with
/// fresh ones behind them. Lock-free; a value moves by an atomic swap of its pointer, so it is taken
/// at most once. Under contention "newest" is approximate.
struct Newest<T> {
    slots: [AtomicCell<Option<Box<T>>>; TICKETS_MAX],
    inserted: AtomicUsize,
}

impl<T> Newest<T> {
    fn new() -> Newest<T> {
        const { assert!(AtomicCell::<Option<Box<T>>>::is_lock_free()) };
        // So that a count that wraps goes on with slot 0.
        const { assert!(TICKETS_MAX.is_power_of_two()) };
        Newest {
            slots: std::array::from_fn(|_| AtomicCell::new(None)),
            inserted: AtomicUsize::new(0),
        }
    }

    fn insert(&self, value: T) {
        let nth = self.inserted.fetch_add(1, Ordering::Relaxed);
        self.slots[nth % TICKETS_MAX].swap(Some(Box::new(value)));
    }

    fn take(&self) -> Option<T> {
        let inserted = self.inserted.load(Ordering::Relaxed);
        (1..=TICKETS_MAX)
            .find_map(|back| self.slots[inserted.wrapping_sub(back) % TICKETS_MAX].take())
            .map(|value| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::time_provider::DefaultTimeProvider;
    use std::sync::atomic::AtomicU32;
    use std::thread;

    #[test]
    fn the_newest_are_kept_and_the_newest_of_them_is_taken_first() {
        let newest = Newest::new();
        assert_eq!(newest.take(), None::<usize>);
        for n in 0..TICKETS_MAX + 3 {
            newest.insert(n);
        }
        assert_eq!(newest.take(), Some(TICKETS_MAX + 2));
        newest.insert(1000);
        let rest: Vec<usize> = std::iter::from_fn(|| newest.take()).collect();
        let kept = (4..TICKETS_MAX + 2).rev();
        assert_eq!(rest, std::iter::once(1000).chain(kept).collect::<Vec<_>>());
    }

    #[test]
    fn a_count_that_wraps_loses_nothing() {
        let newest = Newest::new();
        newest.inserted.store(usize::MAX - 2, Ordering::Relaxed);
        for n in 0..6 {
            newest.insert(n);
        }
        let all: Vec<u32> = std::iter::from_fn(|| newest.take()).collect();
        assert_eq!(all, [5, 4, 3, 2, 1, 0]);
    }

    #[test]
    fn nothing_is_taken_twice_by_threads() {
        const EACH: usize = 2000;
        let newest = Newest::new();
        let taken: Vec<AtomicU32> = (0..4 * EACH).map(|_| AtomicU32::new(0)).collect();
        thread::scope(|scope| {
            for thread in 0..4 {
                let (newest, taken) = (&newest, &taken);
                scope.spawn(move || {
                    for n in 0..EACH {
                        newest.insert(thread * EACH + n);
                        if let Some(value) = newest.take() {
                            taken[value].fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert!(taken.iter().all(|n| n.load(Ordering::Relaxed) <= 1));
        assert!(taken.iter().any(|n| n.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn a_view_answers_for_its_own_server_only() {
        let name = |name: &'static str| ServerName::try_from(name).unwrap();
        let tickets = IdentityTickets::new(
            name("a.test"),
            Arc::new(DefaultTimeProvider),
            Duration::from_secs(60),
        );
        tickets.set_kx_hint(name("b.test"), NamedGroup::X25519);
        assert_eq!(tickets.kx_hint(&name("a.test")), None);
        tickets.set_kx_hint(name("a.test"), NamedGroup::X25519);
        assert_eq!(tickets.kx_hint(&name("a.test")), Some(NamedGroup::X25519));
        assert_eq!(tickets.kx_hint(&name("b.test")), None);
    }
}
