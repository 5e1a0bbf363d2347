//! What a peer says on a multiplexed connection, taken apart as it arrives: streams get their bytes, the
//! pool learns what the peer allows.
//!
//! Never: keeps a frame. Bytes go to their stream as views of what was received; what is for a stream
//! that is over here goes nowhere, since its peer may not have heard yet.

use super::bytes_in::{End, Piece};
use super::connection::State;
use super::core::Core;
use super::framing::News;
use super::receiving::PIECES_MAX;
use super::returning::Eviction;
use crate::driver::Driver;
use crate::error::{Error, ErrorKind, RequestSent};
use crate::pool::Input;
use crate::slab::Key;
use std::io;
use std::ops::{Bound, Range};

impl<D: Driver> Core<D> {
    /// Bytes came, whether the connection is in use or not.
    pub(super) fn on_stream_bytes(&mut self, key: Key, piece: &Piece<D::Buffer>) {
        let mut at = 0;
        while at < piece.len() {
            // What was said before may have been the connection's end.
            let Some(streams) = self
                .connections
                .get_mut(key)
                .and_then(|connection| connection.streams.as_deref_mut())
            else {
                return;
            };
            match streams.framing.step(&piece[at..]) {
                Ok(step) => {
                    if let Some(news) = step.news {
                        self.on_news(key, piece, at, news);
                    }
                    at += step.consumed;
                }
                Err(fault) => {
                    self.break_streams(key, fault);
                    return;
                }
            }
        }
        self.write_replies(key);
    }

    fn on_news(&mut self, key: Key, piece: &Piece<D::Buffer>, at: usize, news: News) {
        match news {
            News::Data {
                stream,
                bytes,
                last,
            } => {
                let bytes = at + bytes.start..at + bytes.end;
                self.on_stream_data(key, stream, piece, bytes, last);
            }
            News::Reset {
                stream,
                code,
                refused,
            } => self.on_stream_reset(key, stream, code, refused),
            News::Limit(streams) => self.on_streams_limit(key, streams),
            News::GoAway { last } => self.on_going_away(key, last),
        }
    }

    fn on_stream_data(
        &mut self,
        connection: Key,
        id: u32,
        piece: &Piece<D::Buffer>,
        bytes: Range<usize>,
        last: bool,
    ) {
        let Some(key) = self.stream_of(connection, id) else {
            return;
        };
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        if stream.inbound.end().is_some() {
            let what = format!("more of stream {id} after its end");
            self.break_streams(connection, Error::new(ErrorKind::Protocol, what));
            return;
        }
        if !bytes.is_empty() {
            let mut part = piece.clone();
            part.truncate(bytes.end);
            part.advance(bytes.start);
            stream.inbound.push(part);
        }
        if last {
            stream.inbound.finish(End::Clean);
        }
        stream.wake_reader();
        let over = last && stream.ended;
        if !std::mem::replace(&mut stream.answered, true) {
            let latency = self.now.since(stream.opened);
            self.note_served(connection, latency);
        }
        self.weigh(connection, key);
        if over {
            self.leave_connection(key);
        }
    }

    fn on_stream_reset(&mut self, connection: Key, id: u32, code: u32, refused: bool) {
        let Some(key) = self.stream_of(connection, id) else {
            return;
        };
        let sent = match refused {
            true => RequestSent::No,
            false => self.stream_sent(key),
        };
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        // After a whole answer it only means that the rest of the request is not wanted.
        let failed = !refused && stream.inbound.end().is_none();
        let answered = stream.answered;
        let what = match refused {
            true => "the peer refused the stream".to_owned(),
            false => format!("the peer reset the stream, with code {code}"),
        };
        stream.fail(Error::new(ErrorKind::Closed, what), sent);
        if failed {
            self.note_fault(connection, answered);
        }
        self.leave_connection(key);
    }

    fn on_streams_limit(&mut self, key: Key, streams: u32) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let Some(table) = connection.streams.as_deref_mut() else {
            return;
        };
        let slots = table.set_limit(streams);
        if let Some(member) = connection.member {
            let upstream = connection.upstream;
            self.pool_input(upstream, Input::Slots { member, slots });
        }
    }

    /// The peer serves the streams up to `last` and no other: those above it have not been processed,
    /// whatever was sent of them.
    fn on_going_away(&mut self, key: Key, last: u32) {
        self.retire_connection(key);
        let Some(streams) = self
            .connections
            .get(key)
            .and_then(|connection| connection.streams.as_deref())
        else {
            return;
        };
        let above = (Bound::Excluded(last), Bound::Unbounded);
        let mut unserved: Vec<Key> = streams.open.range(above).map(|(_, &key)| key).collect();
        unserved.extend_from_slice(streams.unopened());
        for key in unserved {
            if let Some(stream) = self.streams.get_mut(key) {
                let error = Error::new(
                    ErrorKind::Closed,
                    "the peer is going away and does not serve this stream",
                );
                stream.fail(error, RequestSent::No);
            }
            self.leave_connection(key);
        }
    }

    /// No new streams on this connection.
    pub(super) fn retire_connection(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let Some(streams) = connection.streams.as_deref_mut() else {
            return;
        };
        if std::mem::replace(&mut streams.retiring, true) {
            return;
        }
        streams.wake_writers();
        if let Some(member) = connection.member {
            let upstream = connection.upstream;
            self.pool_input(upstream, Input::Retire { member });
        }
    }

    /// The connection's bytes mean nothing any more.
    pub(super) fn break_streams(&mut self, key: Key, fault: Error) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.fault = Some(fault);
        match connection.state() {
            State::Idle => self.evict(key, Eviction::Failed),
            State::Leased => self.lose_streams(key, End::Failed(io::ErrorKind::InvalidData)),
            State::Dialing | State::Handshaking | State::Draining | State::Closing => {}
        }
    }

    /// Writes what the protocol answers by itself, as far as there is room.
    pub(super) fn write_replies(&mut self, key: Key) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        let waiting = connection
            .streams
            .as_deref()
            .is_some_and(|streams| streams.framing.has_replies());
        if waiting && connection.outbound.has_room() {
            self.write_frame(key, |framing, out| framing.write_replies(out));
            self.flush(key);
        }
    }

    /// Whether a stream has too much unread; while one has, its connection's receiving pauses.
    pub(super) fn weigh(&mut self, connection: Key, key: Key) {
        let max = self.settings.unread_max;
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        let inbound = &stream.inbound;
        let much = inbound.len() > max || inbound.pieces() >= PIECES_MAX;
        let little = inbound.len() <= max / 2 && inbound.pieces() <= PIECES_MAX / 2;
        // Of what has ended no more will come.
        let crowds = inbound.end().is_none() && (much || stream.crowds && !little);
        let crowded = std::mem::replace(&mut stream.crowds, crowds);
        if crowds == crowded {
            return;
        }
        let streams = self
            .connections
            .get_mut(connection)
            .and_then(|connection| connection.streams.as_deref_mut());
        let Some(streams) = streams else {
            return;
        };
        if crowds {
            streams.crowded += 1;
            self.pause_receiving(connection);
        } else {
            // The next look at paused connections finds it.
            streams.crowded -= 1;
        }
    }

    /// The stream that the peer means, unless it is over here.
    fn stream_of(&self, connection: Key, id: u32) -> Option<Key> {
        let streams = self.connections.get(connection)?.streams.as_deref()?;
        streams.open.get(&id).copied()
    }
}
