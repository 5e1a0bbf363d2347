//! A call over a stream: bytes there, bytes back.
//!
//! Owns: the attempts of one call. Never: repeats what the peer may have processed.

use super::local::LocalUpstream;
use super::stream_lease::{StreamCheckout, StreamLease};
use crate::driver::Driver;
use crate::error::{Error, ErrorKind, RequestSent};
use crate::time::Time;
use bytes::{Bytes, BytesMut};
use std::future::poll_fn;
use std::task::{Context as TaskContext, Poll};

/// The longest answer. 1 MiB: the simulator's servers answer with much less.
const ANSWER_MAX: usize = 1 << 20;

impl<D: Driver> LocalUpstream<D> {
    /// Sends `payload` on a stream of its own and collects the answer to its end. Tried again, up to
    /// the configured number of attempts, where the peer has provably processed nothing: it refused
    /// the stream, is going away, or was never sent any of it.
    ///
    /// # Errors
    /// With how far the request got. Dropping the future calls the stream off.
    pub(crate) async fn stream_call(&self, payload: Bytes, deadline: Time) -> Result<Bytes, Error> {
        let config = self.policy();
        let mut attempt = 1;
        loop {
            let patience = deadline.min(self.shard.now() + config.wait_timeout);
            let mut lease = StreamCheckout::new(self, patience)?
                .await
                .map_err(|error| {
                    let error = error.after_sending(RequestSent::No, false);
                    error.after_attempts(attempt - 1)
                })?;
            lease.expect_by(deadline);
            let endpoint = lease.endpoint();
            let error = match converse(&mut lease, payload.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error
                    .after_sending(lease.sent(), false)
                    .after_attempts(attempt)
                    .at_endpoint(endpoint.as_ref()),
            };
            let unprocessed = error.is_retryable() && error.request_sent() == RequestSent::No;
            let left = attempt < config.retry.attempts_max && self.shard.now() < deadline;
            if !unprocessed || !left {
                return Err(self.name_error(error));
            }
            attempt += 1;
        }
    }
}

/// Writes while listening: a peer may answer before it has everything.
async fn converse<D: Driver>(
    lease: &mut StreamLease<D>,
    mut payload: Bytes,
) -> Result<Bytes, Error> {
    let mut written = false;
    let mut answer = BytesMut::new();
    poll_fn(|cx| {
        let unsent = match written {
            true => None,
            false => match lease.poll_write(&mut payload, true, cx) {
                Poll::Ready(Ok(())) => {
                    written = true;
                    None
                }
                Poll::Ready(Err(error)) => Some(error),
                Poll::Pending => None,
            },
        };
        // A whole answer is one, whatever became of the rest of the request.
        match (poll_answer(lease, &mut answer, cx), unsent) {
            (Poll::Pending, Some(error)) => Poll::Ready(Err(error)),
            (answered, _) => answered,
        }
    })
    .await
}

fn poll_answer<D: Driver>(
    lease: &mut StreamLease<D>,
    answer: &mut BytesMut,
    cx: &mut TaskContext<'_>,
) -> Poll<Result<Bytes, Error>> {
    loop {
        match lease.poll_read(cx)? {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => return Poll::Ready(Ok(std::mem::take(answer).freeze())),
            Poll::Ready(Some(piece)) if answer.len() + piece.len() > ANSWER_MAX => {
                let what = format!("an answer of more than {ANSWER_MAX} bytes");
                return Poll::Ready(Err(Error::new(ErrorKind::Limit, what)));
            }
            Poll::Ready(Some(piece)) => answer.extend_from_slice(&piece),
        }
    }
}
