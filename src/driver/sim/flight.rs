//! Something on its way between the two ends of a connection.
//!
//! Owns: the order in which things arrive: by time, then as they left.

use crate::slab::Key;
use crate::time::Time;
use bytes::Bytes;

/// Something on its way.
pub(super) struct Flight {
    at: Time,
    sequence: u64,
    pub(super) connection: Key,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Up(Up),
    Down(Down),
    /// The peer has worked its way to a reset.
    Reset,
    /// The peer asked to be called.
    Timer,
    /// A stall or a partition is over: what was held goes on.
    Release,
}

/// On the way to the peer.
#[derive(Debug)]
pub(super) enum Up {
    Open,
    Bytes(Bytes),
    Closed,
}

/// On the way to the socket.
#[derive(Debug)]
pub(super) enum Down {
    Opened,
    Bytes(Bytes),
    End,
    Reset,
}

impl PartialEq for Flight {
    fn eq(&self, other: &Flight) -> bool {
        self.sequence == other.sequence
    }
}

impl Eq for Flight {}

impl PartialOrd for Flight {
    fn partial_cmp(&self, other: &Flight) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Flight {
    fn cmp(&self, other: &Flight) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl Flight {
    pub(super) fn new(at: Time, sequence: u64, connection: Key, what: What) -> Flight {
        Flight {
            at,
            sequence,
            connection,
            what,
        }
    }

    pub(super) fn at(&self) -> Time {
        self.at
    }

    /// Whether it arrives by `now`, of what left before `cutoff`.
    pub(super) fn has_arrived(&self, now: Time, cutoff: u64) -> bool {
        self.at <= now && self.sequence < cutoff
    }
}
