//! A call from outside, polled by hand.

use super::polled::{Alarm, Polled};
use crate::client::body::Body;
use crate::error::Error;
use crate::trip::Travelled;
use bytes::{Bytes, BytesMut};
use http_body::Body as HttpBody;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

/// A call from outside. Dropping it gives it up.
pub struct Call {
    alarm: Alarm,
    head: Polled<Result<http::Response<Body>, Error>>,
    reading: Option<Reading>,
    paused: bool,
    /// Known already, if the first look brought everything.
    result: Option<Result<http::Response<Bytes>, Error>>,
}

struct Reading {
    parts: http::response::Parts,
    body: Body,
    read: BytesMut,
}

impl Call {
    pub(super) fn new(
        future: impl Future<Output = Result<http::Response<Body>, Error>> + 'static,
    ) -> Call {
        let mut call = Call {
            alarm: Alarm::new(),
            head: Polled::new(future),
            reading: None,
            paused: false,
            result: None,
        };
        // A call is under way from its first poll on.
        call.result = call.advance();
        call
    }

    /// Goes on if there is something to go on with; the whole response when it is there, once, with its
    /// [`Trip`](crate::Trip) among the extensions. A connection that became a raw stream is let go, and its response has no body.
    pub fn poll(&mut self) -> Option<Result<http::Response<Bytes>, Error>> {
        if self.result.is_some() {
            return self.result.take();
        }
        self.advance()
    }

    /// Reads no more of the response's body, or reads again.
    pub fn pause_reading(&mut self, paused: bool) {
        self.paused = paused;
        if !paused {
            self.alarm.ring();
        }
    }

    fn advance(&mut self) -> Option<Result<http::Response<Bytes>, Error>> {
        if !self.alarm.take() {
            return None;
        }
        if self.reading.is_none() {
            match self.head.poll(&self.alarm)? {
                Err(error) => return Some(Err(error)),
                Ok(response) => {
                    let (mut parts, body) = response.into_parts();
                    if let Some(trip) = body.trip() {
                        parts.extensions.insert(trip);
                    }
                    let read = BytesMut::new();
                    self.reading = Some(Reading { parts, body, read });
                }
            }
        }
        self.read()
    }

    fn read(&mut self) -> Option<Result<http::Response<Bytes>, Error>> {
        if self.paused {
            return None;
        }
        let mut reading = self.reading.take()?;
        loop {
            match Pin::new(&mut reading.body).poll_frame(&mut self.alarm.context()) {
                Poll::Pending => {
                    self.reading = Some(reading);
                    return None;
                }
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers are left aside.
                    if let Ok(data) = frame.into_data() {
                        reading.read.extend_from_slice(&data);
                    }
                }
                Poll::Ready(Some(Err(error))) => return Some(Err(error)),
                Poll::Ready(None) => {
                    let body = reading.read.freeze();
                    return Some(Ok(http::Response::from_parts(reading.parts, body)));
                }
            }
        }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("head_is_there", &self.reading.is_some())
            .field("paused", &self.paused)
            .finish_non_exhaustive()
    }
}
