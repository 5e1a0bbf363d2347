//! A response on its way to a caller on another thread: with the call that it answers, which moves as a pointer does.
//!
//! Owns: the head as it was received, and behind it the body where all of that is there, in one piece of memory. Never:
//! makes the `http` crate's types before it is across: what they allocate would be made on one thread and freed on
//! another, which allocators are slow at.

use super::entrance::Entrance;
use super::pipe::PipeReceiver;
use super::serve_lease::RemoteLease;
use super::sharing::movable::Movable;
use crate::error::Error;
use crate::protocol::http1::ResponseHead;
use crate::trip::Trip;
use bytes::{Buf, Bytes};
use http_body::Frame;
use std::sync::Arc;

/// A response, as it crosses to the caller.
pub(crate) struct RemoteResponse {
    bytes: Bytes,
    /// How much of `bytes` is the head.
    head: usize,
    /// What its head says of the body.
    content_length: Option<u64>,
    trip: Trip,
    /// What follows the head; `None`: all of it is in `bytes`.
    rest: Option<RemoteBody>,
}

/// A call that goes back to its caller with its response: made by that thread, it is given up there.
pub(crate) struct Answered(Box<Movable>);

/// A response's body, as it crosses to the caller.
pub(crate) enum RemoteBody {
    /// All of it.
    Whole(Bytes),
    /// What follows, how long it is if that is known, and where it comes from.
    Pieces(
        PipeReceiver<Result<Frame<Bytes>, Error>>,
        Option<u64>,
        Arc<Entrance>,
    ),
    /// There is none: the connection became a raw stream.
    Upgraded(RemoteLease),
}

impl RemoteResponse {
    /// The first `head` of `bytes` are a head; behind it is the body, all of it unless there is a `rest`.
    #[inline]
    pub(super) fn new(
        bytes: Bytes,
        head: usize,
        content_length: Option<u64>,
        trip: Trip,
        rest: Option<RemoteBody>,
    ) -> RemoteResponse {
        assert!(head <= bytes.len(), "the head is there");
        RemoteResponse {
            bytes,
            head,
            content_length,
            trip,
            rest,
        }
    }

    /// To the call that it answers.
    #[inline]
    pub(super) fn to(self, mut call: Box<Movable>) -> Answered {
        call.response = Some(self);
        Answered(call)
    }

    /// As it was received.
    fn head(&self) -> ResponseHead<'_> {
        ResponseHead::new(&self.bytes[..self.head])
    }

    /// Its head with the `http` crate's types, its body, and how it went.
    fn into_http(self) -> (http::Response<RemoteBody>, Trip) {
        let response = self.head().to_http();
        let body = behind(self.bytes, self.head, self.rest);
        (response.map(|()| body), self.trip)
    }

    /// Its head as it was received, what that says of the body's length, and the body.
    fn into_raw(self) -> (Bytes, Option<u64>, Trip, RemoteBody) {
        let head = self.bytes.slice(..self.head);
        let body = behind(self.bytes, self.head, self.rest);
        (head, self.content_length, self.trip, body)
    }
}

impl Answered {
    /// The head with the `http` crate's types, the body, and how it went.
    pub(crate) fn into_http(self) -> (http::Response<RemoteBody>, Trip) {
        self.into_response().into_http()
    }

    /// The head as it was received, what that says of the body's length, how it went, and the body.
    pub(super) fn into_raw(self) -> (Bytes, Option<u64>, Trip, RemoteBody) {
        self.into_response().into_raw()
    }

    #[inline]
    fn into_response(mut self) -> RemoteResponse {
        self.0.response.take().expect("it was given one")
    }
}

fn behind(mut bytes: Bytes, head: usize, rest: Option<RemoteBody>) -> RemoteBody {
    rest.unwrap_or_else(|| {
        bytes.advance(head);
        RemoteBody::Whole(bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(rest: Option<RemoteBody>) -> RemoteResponse {
        let head = "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\n";
        let bytes = Bytes::from(format!("{head}body"));
        let trip = Trip {
            reused: true,
            attempts: 1,
            failed: Vec::new(),
            wait: Default::default(),
            first_byte: Default::default(),
            endpoint: None,
            shard: 3,
        };
        RemoteResponse::new(bytes, head.len(), Some(4), trip, rest)
    }

    fn whole(body: &RemoteBody) -> &[u8] {
        match body {
            RemoteBody::Whole(bytes) => bytes,
            RemoteBody::Pieces(..) | RemoteBody::Upgraded(_) => panic!("not whole"),
        }
    }

    #[test]
    fn head_and_body_part_on_the_other_side() {
        let (http, trip) = response(None).into_http();
        assert_eq!((http.status().as_u16(), http.headers().len()), (404, 1));
        assert_eq!(trip.shard, 3);
        assert_eq!(whole(http.body()), b"body");
        let (head, length, _, body) = response(None).into_raw();
        assert_eq!(ResponseHead::new(&head).status(), 404);
        assert_eq!((length, whole(&body)), (Some(4), b"body".as_slice()));
    }

    #[test]
    fn what_follows_elsewhere_is_not_looked_for_behind_the_head() {
        let rest = RemoteBody::Whole(Bytes::from_static(b"elsewhere"));
        let (http, _) = response(Some(rest)).into_http();
        assert_eq!(whole(http.body()), b"elsewhere");
    }
}
