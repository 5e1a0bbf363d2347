//! A call over a stream: bytes there, bytes back.
//!
//! Owns: the attempts of one call. Never: repeats what the peer may have processed.

use super::again::{Again, Failure};
use super::local::LocalUpstream;
use super::stream_lease::{StreamCheckout, StreamLease};
use super::terms::Terms;
use crate::config::CallOptions;
use crate::driver::Driver;
use crate::error::{Error, ErrorKind};
use crate::time::Time;
use bytes::{Bytes, BytesMut};
use std::future::poll_fn;
use std::task::{Context as TaskContext, Poll};

/// The longest answer. 1 MiB: the simulator's servers answer with much less.
const ANSWER_MAX: usize = 1 << 20;

impl<D: Driver> LocalUpstream<D> {
    /// Sends `payload` on a stream of its own and collects the answer to its end. Tried again, as any call,
    /// where the peer has provably processed nothing: it refused the stream, is going away, or was
    /// never sent any of it.
    ///
    /// # Errors
    /// With how far the request got. Dropping the future calls the stream off.
    pub(crate) async fn stream_call(&self, payload: Bytes, deadline: Time) -> Result<Bytes, Error> {
        let options = CallOptions {
            timeout: Some(deadline.since(self.shard.now())),
            ..CallOptions::default()
        };
        let terms = Terms::begin(self, options, false)?;
        self.begin_call();
        let mut again = Again::first();
        loop {
            let attempt = self.shard.now();
            let checkout = StreamCheckout::new(self, terms.wait_until(attempt))?;
            let (error, failure) = match checkout.await {
                Ok(mut lease) => {
                    lease.expect_by(terms.deadline);
                    let endpoint = lease.endpoint();
                    let error = match converse(&mut lease, payload.clone()).await {
                        Ok(answer) => return Ok(answer),
                        Err(error) => self.name_error(error).at_endpoint(endpoint.as_ref()),
                    };
                    // That it was stale is nothing to tell: others use the connection as well.
                    let failure = Failure::of_exchange(error.kind(), false, false);
                    let (reused, sent) = (lease.reused(), lease.sent());
                    let error = again.on_connection(self, &terms, attempt, error, reused, sent);
                    (error, failure)
                }
                Err(error) => {
                    let failure = Failure::of_checkout(error.kind());
                    let error = again.without_connection(self, &terms, attempt, error);
                    (error, failure)
                }
            };
            again = Again::after(self, &terms, error, failure).await?;
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
