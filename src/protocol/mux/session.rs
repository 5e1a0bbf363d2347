//! The client's side of one connection.
//!
//! Owns: the ids of streams, and the rules that need no knowledge of a single stream. Never: keeps a
//! list of streams; whoever asks for them has one.

use super::decoder::{Decoder, Event, Step};
use super::error::MuxError;
use super::frame::{Kind, encode};
use arrayvec::ArrayVec;

/// So many answers to PINGs may wait until they can be written. A server that reads what it is sent
/// finds one or two waiting.
const PONGS_MAX: usize = 16;

/// A client's end of a connection.
#[derive(Debug)]
pub struct Session {
    decoder: Decoder,
    /// The id of the next stream. Beyond 32 bits: there are no more.
    next: u64,
    /// The last stream that will be served, once the server has said that there is one.
    last: Option<u32>,
    pongs: ArrayVec<[u8; 8], PONGS_MAX>,
}

impl Default for Session {
    fn default() -> Session {
        Session {
            decoder: Decoder::default(),
            next: 1,
            last: None,
            pongs: ArrayVec::new(),
        }
    }
}

impl Session {
    /// Takes what belongs together from the beginning of `input`. PINGs are taken note of, to be
    /// answered by [`write_pongs`](Session::write_pongs).
    ///
    /// # Errors
    /// If the server broke the rules. The connection is of no use then.
    pub fn step(&mut self, input: &[u8]) -> Result<Step, MuxError> {
        let step = self.decoder.step(input)?;
        match &step.event {
            None | Some(Event::Limit(_)) => {}
            Some(Event::Data { stream, .. } | Event::Reset { stream, .. }) => {
                if u64::from(*stream) >= self.next {
                    return Err(MuxError::Unopened(*stream));
                }
            }
            Some(Event::GoAway(last)) => {
                if self.last.is_some_and(|before| *last > before) {
                    return Err(MuxError::GoAwayRose(*last));
                }
                self.last = Some(*last);
            }
            Some(Event::Ping(bytes)) => self
                .pongs
                .try_push(*bytes)
                .map_err(|_| MuxError::PingFlood)?,
            // Nothing here sends PINGs.
            Some(Event::Pong(_)) => return Err(MuxError::Unasked),
        }
        Ok(step)
    }

    /// The id of a new stream, whose first frame has to be written before the next id is asked for.
    /// `None`: no more streams on this connection.
    pub fn open(&mut self) -> Option<u32> {
        if self.last.is_some() {
            return None;
        }
        let id = u32::try_from(self.next).ok()?;
        self.next += 1;
        Some(id)
    }

    /// Whether answers wait to be written.
    pub fn has_pongs(&self) -> bool {
        !self.pongs.is_empty()
    }

    /// Appends the answers to all PINGs so far.
    pub fn write_pongs(&mut self, out: &mut Vec<u8>) {
        for bytes in self.pongs.drain(..) {
            encode(out, 0, Kind::Pong, &bytes);
        }
    }
}

#[cfg(test)]
impl Session {
    /// Goes to the last id there is.
    pub(super) fn exhaust(&mut self) {
        self.next = u64::from(u32::MAX);
    }
}
