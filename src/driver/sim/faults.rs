//! What goes wrong in a simulated driver, and how often.
//!
//! Owns: the chances, and the random source that decides. Never: draws a number for what cannot
//! happen, so that a driver without faults makes the same choices as one that never had any.

use crate::random::Random;
use crate::time::Time;
use std::io;
use std::time::Duration;

/// Chances, each out of 1024, of what a kernel may do at any time. All zero: it never does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// A completion comes later than at once, by up to `late_max`.
    pub late: u16,
    /// The most that a completion is late, and that a cancel takes which races with success.
    pub late_max: Duration,
    /// A completion comes behind those of other operations that are due at the same time.
    pub reordered: u16,
    /// A send takes a part of what it could.
    pub short_send: u16,
    /// A receive ends with the bytes that it brings.
    pub more_lost: u16,
    /// A receive ends for want of buffers though there are some.
    pub no_buffers: u16,
    /// Opening a socket fails: EMFILE, ENFILE or EADDRNOTAVAIL.
    pub open_fails: u16,
    /// An operation ends at once: ENOBUFS, ECANCELED, EAGAIN or ENOMEM.
    pub submit_fails: u16,
    /// A cancel takes its time; what it is about may succeed meanwhile.
    pub cancel_races: u16,
    /// The completion queue overflows: some of what is there comes with the next enter only.
    pub overflow: u16,
    /// The most events that one reap brings; 0: all.
    pub events_per_reap_max: usize,
}

impl Faults {
    fn chance(&self, fault: Fault) -> u16 {
        match fault {
            Fault::Late => self.late,
            Fault::Reordered => self.reordered,
            Fault::ShortSend => self.short_send,
            Fault::MoreLost => self.more_lost,
            Fault::NoBuffers => self.no_buffers,
            Fault::OpenFails => self.open_fails,
            Fault::SubmitFails => self.submit_fails,
            Fault::CancelRaces => self.cancel_races,
            Fault::Overflow => self.overflow,
        }
    }
}

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// See [`Faults::late`], and so on.
    Late,
    /// A completion out of order.
    Reordered,
    /// A short send.
    ShortSend,
    /// A receive that ends with its bytes.
    MoreLost,
    /// A receive that finds no buffer.
    NoBuffers,
    /// A socket that cannot be opened.
    OpenFails,
    /// An operation that fails at once.
    SubmitFails,
    /// A cancel that takes its time.
    CancelRaces,
    /// A completion queue that overflows.
    Overflow,
}

/// How often each kind of fault has happened, at the index of its discriminant.
pub type FaultCounts = [u64; 9];

/// Decides, and counts.
pub(super) struct Dice {
    pub(super) faults: Faults,
    pub(super) met: FaultCounts,
    random: Random,
}

/// When a completion comes: not before a moment, and of those of the same moment in this order.
pub(super) type Turn = (Time, u32);

/// So many places a reordered completion may go back.
const PLACES: u64 = 8;

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice {
            faults: Faults::default(),
            met: FaultCounts::default(),
            random: Random::new(seed),
        }
    }

    /// Whether a fault of this kind happens.
    pub(super) fn roll(&mut self, fault: Fault) -> bool {
        let chance = self.faults.chance(fault);
        let happens = chance > 0 && self.random.below(1024) < u64::from(chance);
        self.met[fault as usize] += u64::from(happens);
        happens
    }

    /// A number from 1 to `most`.
    pub(super) fn part(&mut self, most: usize) -> usize {
        1 + self.random.below(most as u64) as usize
    }

    /// When what is done by `now` completes.
    pub(super) fn turn(&mut self, now: Time) -> Turn {
        let at = if self.roll(Fault::Late) {
            self.later(now)
        } else {
            now
        };
        let place = if self.roll(Fault::Reordered) {
            self.part(PLACES as usize) as u32
        } else {
            0
        };
        (at, place)
    }

    /// Some time within `late_max`.
    pub(super) fn later(&mut self, now: Time) -> Time {
        let range = u64::try_from(self.faults.late_max.as_nanos()).unwrap_or(u64::MAX);
        now + Duration::from_nanos(self.random.below(range.saturating_add(1)))
    }

    pub(super) fn coin(&mut self) -> bool {
        self.random.next_u64() >> 63 == 1
    }

    /// Why a socket cannot be opened, if it cannot.
    pub(super) fn open_error(&mut self) -> Option<io::Error> {
        self.one_of(
            Fault::OpenFails,
            &[libc::EMFILE, libc::ENFILE, libc::EADDRNOTAVAIL],
        )
    }

    /// Why an operation ends at once, if it does.
    pub(super) fn submit_error(&mut self) -> Option<io::Error> {
        self.one_of(
            Fault::SubmitFails,
            &[libc::ENOBUFS, libc::ECANCELED, libc::EAGAIN, libc::ENOMEM],
        )
    }

    fn one_of(&mut self, fault: Fault, errors: &[i32]) -> Option<io::Error> {
        if !self.roll(fault) {
            return None;
        }
        let which = self.random.below(errors.len() as u64) as usize;
        Some(io::Error::from_raw_os_error(errors[which]))
    }
}
