//! What a server does wrong with TLS, and what a client may make of it.
//!
//! Owns: the bytes, and the list of failures that each wrong explains. Never: throws dice while a
//! connection lives; what a connection meets in its handshake is known when it begins.

use super::certificates::Certificate;
use crate::dice::Dice;
use ringpool::TlsFailure;

/// A handshake that the server breaks off in its first flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenFlight {
    /// How much of the flight is sent before, out of 1024.
    pub share: u64,
    /// What comes then.
    pub then: Break,
}

/// What comes in the middle of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// FIN.
    End,
    /// RST.
    Reset,
    /// Nothing more.
    Silence,
    /// close_notify, in plain text, and FIN.
    CloseNotify,
    /// A fatal alert.
    Alert,
    /// What is no record.
    Garbage,
    /// Not TLS, from the first byte on.
    PlainText,
}

impl BrokenFlight {
    /// One of many.
    pub fn throw(dice: &mut Dice) -> BrokenFlight {
        let then = *dice.pick(&[
            Break::End,
            Break::Reset,
            Break::Silence,
            Break::CloseNotify,
            Break::Alert,
            Break::Garbage,
            Break::PlainText,
        ]);
        let share = match dice.one_in(4) {
            true => 0,
            false => dice.below(1024),
        };
        BrokenFlight { share, then }
    }

    /// How much of this flight is sent. What is meant to be understood comes between two records.
    pub fn keeps(&self, flight: &[u8]) -> usize {
        let most = (flight.len() as u64 * self.share / 1024) as usize;
        match self.then {
            Break::End | Break::Reset | Break::Silence => most,
            Break::CloseNotify | Break::Alert | Break::Garbage => {
                let ends = record_ends(flight);
                ends.take_while(|&end| end <= most).last().unwrap_or(0)
            }
            Break::PlainText => 0,
        }
    }
}

impl Break {
    /// What is sent instead of the rest.
    pub fn bytes(self) -> &'static [u8] {
        match self {
            Break::End | Break::Reset | Break::Silence => b"",
            Break::CloseNotify => b"\x15\x03\x03\x00\x02\x01\x00",
            Break::Alert => b"\x15\x03\x03\x00\x02\x02\x28",
            Break::Garbage => GARBAGE,
            Break::PlainText => b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        }
    }

    /// How a client may say that it failed by this.
    pub fn explains(self) -> &'static [TlsFailure] {
        match self {
            Break::End | Break::Reset => &[TlsFailure::Truncated],
            Break::Silence => &[],
            // An alert that nobody has vouched for may be a warning to be passed over, or a failure; and
            // one in the middle of a message that takes several records is against the protocol.
            Break::CloseNotify => &[
                TlsFailure::Truncated,
                TlsFailure::Alert,
                TlsFailure::Protocol,
            ],
            Break::Alert => &[TlsFailure::Alert, TlsFailure::Protocol],
            Break::Garbage => &[TlsFailure::Protocol],
            Break::PlainText => &[TlsFailure::NotTls],
        }
    }

    /// Its name in the coverage.
    pub fn name(self) -> &'static str {
        match self {
            Break::End => "tls_cut_end",
            Break::Reset => "tls_cut_reset",
            Break::Silence => "tls_silence",
            Break::CloseNotify => "tls_early_close_notify",
            Break::Alert => "tls_alert",
            Break::Garbage => "tls_garbage",
            Break::PlainText => "tls_plain_text",
        }
    }
}

/// What a server does on a connection at rest, in the layer of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// close_notify alone.
    CloseNotify,
    /// close_notify and FIN.
    Close,
    /// FIN alone.
    End,
    /// A record that cannot be decrypted.
    Garbage,
    /// New keys, and the wish for new ones: nothing is wrong with that.
    KeyUpdate,
}

impl Idle {
    /// One of them; one that TLS 1.2 knows, if that is spoken.
    pub fn throw(dice: &mut Dice, tls12: bool) -> Idle {
        let all = [
            Idle::CloseNotify,
            Idle::Close,
            Idle::End,
            Idle::Garbage,
            Idle::KeyUpdate,
            Idle::KeyUpdate,
        ];
        *dice.pick(if tls12 { &all[..4] } else { &all })
    }

    /// How a client whose request crosses it may say that it failed by this.
    pub fn explains(self) -> &'static [TlsFailure] {
        match self {
            Idle::CloseNotify | Idle::Close | Idle::KeyUpdate => &[],
            Idle::End => &[TlsFailure::Truncated],
            Idle::Garbage => &[TlsFailure::Protocol],
        }
    }

    /// Its name in the coverage.
    pub fn name(self) -> &'static str {
        match self {
            Idle::CloseNotify => "tls_idle_close_notify",
            Idle::Close => "tls_idle_close",
            Idle::End => "tls_idle_end",
            Idle::Garbage => "tls_idle_garbage",
            Idle::KeyUpdate => "tls_key_update",
        }
    }
}

impl Certificate {
    /// How a client has to say that it failed by this.
    pub fn explains(self) -> &'static [TlsFailure] {
        match self {
            Certificate::Good => &[],
            Certificate::UnknownIssuer => &[TlsFailure::UnknownIssuer],
            Certificate::WrongName => &[TlsFailure::WrongName],
            Certificate::Expired => &[TlsFailure::Expired],
        }
    }

    /// Its name in the coverage, if it is worth one.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Certificate::Good => None,
            Certificate::UnknownIssuer => Some("tls_unknown_issuer"),
            Certificate::WrongName => Some("tls_wrong_name"),
            Certificate::Expired => Some("tls_expired"),
        }
    }
}

/// Looks like a record of application data, and is none.
pub const GARBAGE: &[u8] = b"\x17\x03\x03\x00\x20thirty-two bytes of no meaning..";

/// Where the records of a flight end (RFC 8446, section 5.1).
fn record_ends(flight: &[u8]) -> impl Iterator<Item = usize> {
    let mut end = 0;
    std::iter::from_fn(move || {
        let length = flight.get(end + 3..end + 5)?;
        end += 5 + usize::from(u16::from_be_bytes([length[0], length[1]]));
        Some(end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_understood_comes_between_records() {
        let flight = b"\x16\x03\x03\x00\x01a\x17\x03\x03\x00\x02bc";
        let keeps = |share, then| BrokenFlight { share, then }.keeps(flight);
        assert_eq!(record_ends(flight).collect::<Vec<_>>(), [6, 13]);
        assert_eq!(keeps(512, Break::End), 6);
        assert_eq!(keeps(800, Break::Reset), 10);
        assert_eq!(keeps(800, Break::Alert), 6);
        assert_eq!(keeps(100, Break::CloseNotify), 0);
        assert_eq!(keeps(1023, Break::PlainText), 0);
        assert_eq!(GARBAGE.len(), 5 + 0x20);
    }
}
