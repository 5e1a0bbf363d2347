//! The 64 bits that go down with an operation and come back with its completion.
//!
//! Owns: their layout, kind 8 | generation 24 | slot 32. Never: a pointer. A completion that comes
//! late for a slot's former tenant names the old generation, and so nobody.

use crate::slab::Key;

/// What an operation was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Connect = 1,
    Receive = 2,
    Send = 3,
    Cancel = 4,
    Close = 5,
    /// The driver's own: the poll on the eventfd that ends its sleep.
    Wake = 6,
    /// The driver's own: the cancel of everything when it is dropped.
    Teardown = 7,
    /// From another ring: it ends a sleep.
    Message = 8,
    /// The driver's own: a message that did not arrive.
    Unsent = 9,
    /// The driver's own: the timer of a shard that sleeps often.
    Pulse = 10,
}

/// Names one operation of one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) key: Key,
}

impl Token {
    pub(super) const fn new(kind: Kind, key: Key) -> Token {
        Token { kind, key }
    }

    /// A token for what belongs to no socket.
    pub(super) const fn internal(kind: Kind) -> Token {
        Token::new(kind, Key::from_parts(0, 0))
    }

    #[inline]
    pub(super) const fn pack(self) -> u64 {
        (self.kind as u64) << 56 | (self.key.generation() as u64) << 32 | self.key.index() as u64
    }

    /// `None` for what no token of ours packs to.
    #[inline]
    pub(super) const fn unpack(bits: u64) -> Option<Token> {
        let kind = match bits >> 56 {
            1 => Kind::Connect,
            2 => Kind::Receive,
            3 => Kind::Send,
            4 => Kind::Cancel,
            5 => Kind::Close,
            6 => Kind::Wake,
            7 => Kind::Teardown,
            8 => Kind::Message,
            9 => Kind::Unsent,
            10 => Kind::Pulse,
            _ => return None,
        };
        // `from_parts` keeps the lower 24 bits of the generation: the kind falls off.
        let key = Key::from_parts(bits as u32, (bits >> 32) as u32);
        Some(Token::new(kind, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_the_trip_at_the_edges() {
        let kinds = [
            Kind::Connect,
            Kind::Receive,
            Kind::Send,
            Kind::Cancel,
            Kind::Close,
            Kind::Wake,
            Kind::Teardown,
            Kind::Message,
            Kind::Unsent,
            Kind::Pulse,
        ];
        for kind in kinds {
            for (index, generation) in [
                (0, 0),
                (u32::MAX, (1 << 24) - 1),
                (7, 1),
                (1 << 31, 1 << 23),
            ] {
                let token = Token::new(kind, Key::from_parts(index, generation));
                assert_eq!(Token::unpack(token.pack()), Some(token));
            }
        }
    }

    #[test]
    fn foreign_bits_are_nobody() {
        assert_eq!(Token::unpack(0), None);
        assert_eq!(Token::unpack(u64::MAX), None);
        assert_eq!(Token::unpack(11 << 56), None);
    }
}
