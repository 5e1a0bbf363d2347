//! The sockets of a simulated driver, and what is under way on each.
//!
//! Owns: the contract in [`driver`](crate::driver), to which it holds the shard: whoever breaks it
//! panics. Never: does anything by itself.

use super::faults::Turn;
use crate::driver::SendBuffer;
use crate::endpoint::Endpoint;
use crate::slab::Key;
use crate::time::Time;
use std::cell::Cell;
use std::rc::Rc;

/// Names one operation of a driver; never used twice.
pub(super) type OperationId = u64;

pub(super) struct Socket {
    key: Key,
    pub(super) endpoint: Endpoint,
    pub(super) connection: Option<Key>,
    pub(super) connecting: Option<OperationId>,
    pub(super) receiving: Option<Receiving>,
    pub(super) sending: Option<(OperationId, SendBuffer)>,
    /// When the last event of a receive comes: the next one never overtakes it.
    pub(super) received_last: Turn,
    pub(super) held: Rc<Cell<u32>>,
    pub(super) owed: Owed,
}

/// An armed receive.
#[derive(Clone, Copy)]
pub(super) struct Receiving {
    pub(super) id: OperationId,
    /// A cancel is under way that the next bytes forestall.
    pub(super) raced: bool,
}

/// Final events that the shard has not reaped yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Owed {
    pub(super) connect: bool,
    pub(super) receive: bool,
    pub(super) send: bool,
    pub(super) cancels: u32,
    pub(super) close: bool,
}

/// All sockets of a driver, by slot. A key is that of the shard's slab, so slots are dense.
#[derive(Default)]
pub(super) struct Sockets {
    slots: Vec<Option<Socket>>,
    len: usize,
}

impl Sockets {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, key: Key) -> Option<&Socket> {
        let slot = self.slots.get(key.index() as usize)?;
        slot.as_ref().filter(|socket| socket.key == key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Socket> {
        let slot = self.slots.get_mut(key.index() as usize)?;
        slot.as_mut().filter(|socket| socket.key == key)
    }

    /// The socket, which must be open.
    pub(super) fn open(&mut self, key: Key) -> &mut Socket {
        let socket = self.get_mut(key);
        socket.unwrap_or_else(|| panic!("{key:?} is not open"))
    }

    /// The socket, which must be open and not about to be closed.
    pub(super) fn usable(&mut self, key: Key) -> &mut Socket {
        let socket = self.open(key);
        assert!(!socket.owed.close, "{key:?} is being closed");
        socket
    }

    /// The socket, whose every operation has had its final event reaped.
    pub(super) fn at_rest(&mut self, key: Key) -> &mut Socket {
        let socket = self.usable(key);
        let owed = socket.owed;
        assert_eq!(owed, Owed::default(), "{key:?} still has operations");
        socket
    }

    /// What an open socket's shard has not been told yet.
    pub(super) fn owed(&mut self, key: Key) -> &mut Owed {
        let socket = self.get_mut(key);
        &mut socket.expect("no close before the last event").owed
    }

    pub(super) fn insert(&mut self, key: Key, endpoint: &Endpoint) {
        let index = key.index() as usize;
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, || None);
        }
        let slot = &mut self.slots[index];
        assert!(slot.is_none(), "{key:?} is open already");
        *slot = Some(Socket {
            key,
            endpoint: endpoint.clone(),
            connection: None,
            connecting: None,
            receiving: None,
            sending: None,
            received_last: (Time::ZERO, 0),
            held: Rc::default(),
            owed: Owed::default(),
        });
        self.len += 1;
    }

    pub(super) fn remove(&mut self, key: Key) -> Socket {
        self.open(key);
        self.len -= 1;
        let slot = self.slots[key.index() as usize].take();
        slot.expect("it is open")
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Socket> {
        self.slots.iter().flatten()
    }
}
