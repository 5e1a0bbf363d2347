//! An exchange's response, as it is read: its head, and then its body piece by piece.
//!
//! Never: lets go of the connection; the exchange does, when this has found that it is complete.

use super::failing::{body_ended, head_cut_short};
use super::{Exchange, Told};
use crate::driver::Driver;
use crate::error::{Error, Phase};
use crate::protocol::http1::HeadStep;
use crate::shard::account::is_fault;
use crate::shard::bytes_in::Piece;
use crate::shard::transport::{Expired, Readable};
use crate::shard::{faults, transport};
use std::future::poll_fn;
use std::task::{Context as TaskContext, Poll};

impl<D: Driver> Exchange<D> {
    /// Waits for the response's final head, past interim ones.
    pub(crate) async fn response(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_head(cx)).await
    }

    pub(crate) fn poll_head(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Error>> {
        self.note_sent();
        let this = &mut *self.0;
        let Some(lease) = &this.lease else {
            return Poll::Ready(Err(transport::gone()));
        };
        let key = lease.key();
        let mut core = lease.shard.core.borrow_mut();
        let failure = loop {
            match core.poll_readable(key, cx.waker()) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(Expired)) => break this.late(core.now()),
                Poll::Ready(Ok(Readable::End(end))) => {
                    break head_cut_short(&mut this.state, core.end_error(key, end), end);
                }
                Poll::Ready(Ok(Readable::Bytes)) => {}
            }
            let Some(front) = core.front(key) else {
                return Poll::Pending;
            };
            match this.state.head(front) {
                Err(error) => break faults::protocol(error),
                Ok(HeadStep::Partial) => {
                    if core.gather(key) {
                        continue;
                    }
                    if let Some(end) = core.inbound_end(key) {
                        break head_cut_short(&mut this.state, core.end_error(key, end), end);
                    }
                    if core.is_expired(key) {
                        break this.late(core.now());
                    }
                    core.await_more(key, cx.waker());
                    return Poll::Pending;
                }
                Ok(HeadStep::Informational { len, .. }) => core.consume(key, len),
                Ok(HeadStep::Final { len, status }) => {
                    this.facts.head = core.now();
                    let body_by = core.now() + this.terms.body_timeout;
                    this.head = core.take_front(key, len, 0..len, body_by);
                    let latency = this.facts.head.since(this.facts.granted);
                    let took = this.facts.head.nanos_since(this.facts.begun);
                    // What is refused for having come early goes on, and what is told of it is how it ends.
                    let early = status == http::StatusCode::TOO_EARLY.as_u16() && this.facts.early;
                    // Now, not at its end: many a caller reads no body, and many a body has no end.
                    let ends = (!early).then(|| (this.state.method(), took));
                    core.note_head(key, latency, status, ends);
                    this.told = match is_fault(status) {
                        true => Told::Fault,
                        false => Told::Served,
                    };
                    drop(core);
                    if this.state.is_complete() {
                        self.complete();
                    }
                    return Poll::Ready(Ok(()));
                }
            }
        };
        drop(core);
        Poll::Ready(Err(self.fail(failure)))
    }

    /// The next piece of the body, `None` after its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Piece<D::Buffer>>, Error> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    pub(crate) fn poll_chunk(
        &mut self,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<Option<Piece<D::Buffer>>, Error>> {
        self.note_sent();
        let this = &mut *self.0;
        let Some(lease) = &this.lease else {
            // After a failure there is no end that could be taken for the body's.
            return Poll::Ready(match this.state.is_complete() {
                true => Ok(None),
                false => Err(transport::gone()),
            });
        };
        let key = lease.key();
        let mut core = lease.shard.core.borrow_mut();
        let failure = loop {
            if this.state.is_complete() {
                drop(core);
                self.complete();
                return Poll::Ready(Ok(None));
            }
            match core.poll_readable(key, cx.waker()) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(Expired)) => {
                    break Error::timeout(Phase::Body, this.terms.body_timeout);
                }
                Poll::Ready(Ok(Readable::End(end))) => match body_ended(&mut this.state, end) {
                    Ok(()) => continue,
                    Err(Some(error)) => break error,
                    Err(None) => break core.end_error(key, end),
                },
                Poll::Ready(Ok(Readable::Bytes)) => {}
            }
            let Some(front) = core.front(key) else {
                return Poll::Pending;
            };
            match this.state.body(front) {
                Err(error) => break faults::protocol(error),
                Ok(step) => {
                    let body_by = core.now() + this.terms.body_timeout;
                    let piece = core.take_front(key, step.consumed, step.data, body_by);
                    if step.done {
                        drop(core);
                        self.complete();
                        return Poll::Ready(Ok(piece));
                    }
                    if piece.is_some() {
                        return Poll::Ready(Ok(piece));
                    }
                }
            }
        };
        drop(core);
        Poll::Ready(Err(self.fail(failure)))
    }
}
