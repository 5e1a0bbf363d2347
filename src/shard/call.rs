//! A call with the `http` crate's types, on the shard: the low-level exchange with a body on each side.

use super::again::{Again, Failure};
use super::bytes_in::Piece;
use super::exchange::Exchange;
use super::lease::Lease;
use super::local::LocalUpstream;
use super::terms::Terms;
use super::upload::{Source, Upload};
use crate::config::CallOptions;
use crate::driver::Driver;
use crate::error::{Error, ErrorKind};
use crate::protocol::http1::{Head, RequestBody};
use crate::protocol::http1::{HeadError, RequestFacts, encode_head, encode_http_head};
use crate::trip::Trip;
use bytes::Bytes;
use http::{HeaderMap, Method};
use std::future::poll_fn;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

/// A response's body on the shard; the rest of the request's, too, where the peer answered early.
pub(crate) struct LocalBody<D: Driver> {
    exchange: Exchange<D>,
    upload: Option<Upload<D>>,
    /// Why the rest of the request cannot be sent.
    upload_error: Option<Error>,
    trailers_given: bool,
}

impl<D: Driver> Exchange<D> {
    /// How it went, for whoever called.
    pub(crate) fn trip(&self) -> Trip {
        let facts = self.facts();
        Trip {
            reused: facts.reused,
            attempts: u32::try_from(facts.failed.len()).map_or(u32::MAX, |failed| failed + 1),
            failed: facts.failed.clone(),
            wait: facts.granted.since(facts.begun),
            first_byte: facts.head.since(facts.granted),
            endpoint: facts.endpoint.clone(),
            shard: self.upstream().shard.index(),
        }
    }
}

/// Sends `head` with `body` and waits for the response's head. Tries again where that is safe.
pub(crate) async fn exchange<D: Driver>(
    upstream: &LocalUpstream<D>,
    head: &Head<'_>,
    body: Option<&[u8]>,
) -> Result<Exchange<D>, Error> {
    check_http(upstream)?;
    let terms = Terms::begin(upstream, CallOptions::default(), head.is_idempotent())?;
    let framing = body.map_or(RequestBody::None, |body| {
        RequestBody::Length(body.len() as u64)
    });
    let facts = RequestFacts {
        expects_continue: false,
        ..RequestFacts::of(head, framing)
    };
    let encode = |out: &mut Vec<u8>| {
        encode_head(out, head, &upstream.shared.authority, framing)?;
        out.extend_from_slice(body.unwrap_or_default());
        Ok(())
    };
    let mut again = Again::first();
    loop {
        let (error, failure) = match Exchange::open(upstream, facts, encode, &terms, again).await {
            Ok(mut exchange) => {
                exchange.request_written();
                exchange.flush();
                match exchange.response().await {
                    Ok(()) => return Ok(exchange),
                    Err(error) => {
                        let failure = exchange.failure(error.kind());
                        (error, failure)
                    }
                }
            }
            Err(error) => {
                let failure = Failure::of_checkout(error.kind());
                (error, failure)
            }
        };
        again = Again::after(upstream, &terms, error, failure).await?;
    }
}

/// Sends a request and waits for the response's head.
pub(crate) async fn call<D: Driver>(
    upstream: &LocalUpstream<D>,
    parts: http::request::Parts,
    mut source: Source,
) -> Result<http::Response<LocalBody<D>>, Error> {
    check_http(upstream)?;
    let options = CallOptions::of(&parts.extensions);
    let terms = Terms::begin(upstream, options, parts.method.is_idempotent())?;
    let mut again = Again::first();
    loop {
        let framing = source.framing();
        let facts = RequestFacts::of_http(&parts.method, &parts.headers, framing);
        let encode =
            |out: &mut Vec<u8>| encode_parts(out, &parts, &upstream.shared.authority, framing);
        let mut exchange = match Exchange::open(upstream, facts, encode, &terms, again).await {
            Ok(exchange) => exchange,
            // The body is untouched.
            Err(error) => {
                let failure = Failure::of_checkout(error.kind());
                again = Again::after(upstream, &terms, error, failure).await?;
                continue;
            }
        };
        let replay = source.again();
        let hold = exchange
            .awaits_continue()
            .then(|| upstream.shard.sleep(terms.continue_timeout));
        let mut upload = Upload::new(source, hold);
        let error = match send(&mut exchange, &mut upload).await {
            Ok(()) => return Ok(respond(exchange, upload)),
            Err(error) => error,
        };
        let failure = exchange.failure(error.kind());
        // Neither need be held while the next attempt waits for its time.
        drop((exchange, upload));
        source = match replay {
            Some(replay) => replay,
            None => return Err(error),
        };
        again = Again::after(upstream, &terms, error, failure).await?;
    }
}

/// Sends the body while listening: a peer may answer before it has everything.
async fn send<D: Driver>(exchange: &mut Exchange<D>, upload: &mut Upload<D>) -> Result<(), Error> {
    poll_fn(|cx| {
        if let Poll::Ready(Err(error)) = upload.poll(exchange, cx) {
            return Poll::Ready(Err(exchange.fail(error)));
        }
        match exchange.poll_head(cx) {
            // An interim response may have released the body.
            Poll::Pending if !upload.is_done() => match upload.poll(exchange, cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(exchange.fail(error))),
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
            },
            other => other,
        }
    })
    .await
}

fn respond<D: Driver>(exchange: Exchange<D>, upload: Upload<D>) -> http::Response<LocalBody<D>> {
    let mut response = exchange.head().to_http();
    response.extensions_mut().insert(exchange.trip());
    // A final response instead of 100 (Continue): the peer does not want the body.
    let refused = upload.is_held() && !exchange.was_continued();
    let upload = (!upload.is_done() && !refused && !exchange.is_complete()).then_some(upload);
    response.map(|()| LocalBody {
        exchange,
        upload,
        upload_error: None,
        trailers_given: false,
    })
}

fn encode_parts(
    out: &mut Vec<u8>,
    parts: &http::request::Parts,
    authority: &str,
    framing: RequestBody,
) -> Result<(), HeadError> {
    let target = match (&parts.method, parts.uri.path_and_query()) {
        (&Method::CONNECT, _) => parts
            .uri
            .authority()
            .map_or("", |authority| authority.as_str()),
        (_, Some(path)) => path.as_str(),
        (_, None) => "/",
    };
    encode_http_head(
        out,
        &parts.method,
        target,
        &parts.headers,
        authority,
        framing,
    )
}

fn check_http<D: Driver>(upstream: &LocalUpstream<D>) -> Result<(), Error> {
    if upstream.shared.url.is_http() {
        return Ok(());
    }
    let what = format!(
        "{} does not speak HTTP: a lease or a stream of it is checked out instead",
        upstream.shared.url
    );
    Err(upstream.name_error(Error::new(ErrorKind::Unsupported, what)))
}

impl<D: Driver> LocalBody<D> {
    /// The next piece of the body, `None` after its end.
    pub(crate) fn poll_piece(
        &mut self,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<Option<Piece<D::Buffer>>, Error>> {
        if let Some(upload) = &mut self.upload {
            match upload.poll(&mut self.exchange, cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.upload = None,
                // What has come of the response counts; there will be no more of it.
                Poll::Ready(Err(error)) => {
                    self.upload = None;
                    self.upload_error = Some(error);
                }
            }
        }
        match self.exchange.poll_chunk(cx) {
            Poll::Pending => match self.upload_error.take() {
                Some(error) => Poll::Ready(Err(self.exchange.fail(error))),
                None => Poll::Pending,
            },
            ready => ready,
        }
    }

    /// Whether the shard stops.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.exchange.upstream().shard.is_stopping()
    }

    /// Gives the rest of the body up because the shard stops: with what error, unless all of it was read.
    pub(crate) fn interrupt(&mut self) -> Option<Error> {
        let ended = self.exchange.upstream().ended();
        (!self.exchange.is_complete()).then(|| self.exchange.fail(ended))
    }

    /// The trailers, once, after the body's end.
    pub(crate) fn take_trailers(&mut self) -> Option<HeaderMap> {
        if std::mem::replace(&mut self.trailers_given, true) {
            return None;
        }
        self.exchange.trailers()
    }

    /// The whole body, if it has arrived completely and fits `room`; what was read otherwise, and
    /// `false`.
    pub(crate) fn read_ready(
        &mut self,
        cx: &mut TaskContext<'_>,
        room: usize,
    ) -> Result<(Vec<u8>, bool), Error> {
        let mut ready = Vec::new();
        while ready.len() < room {
            match self.poll_piece(cx) {
                Poll::Ready(Ok(Some(piece))) => {
                    if ready.is_empty() {
                        let all = self.exchange.content_length().unwrap_or(0).min(room as u64);
                        ready.reserve_exact(piece.len().max(all as usize));
                    }
                    ready.extend_from_slice(&piece);
                }
                Poll::Ready(Ok(None)) => return Ok((ready, true)),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        Ok((ready, self.exchange.is_complete()))
    }

    /// Whether the connection speaks another protocol from here on.
    pub(crate) fn is_upgraded(&self) -> bool {
        self.exchange.is_upgraded()
    }

    /// Bytes of the body still to come, if that is known.
    pub(crate) fn remaining(&self) -> Option<u64> {
        self.exchange.remaining()
    }

    /// How long it may stand still.
    pub(crate) fn timeout(&self) -> Duration {
        self.exchange.body_timeout()
    }

    pub(crate) fn content_length(&self) -> Option<u64> {
        self.exchange.content_length()
    }

    /// The connection as a raw stream, after 101 or a 2xx to CONNECT.
    pub(crate) fn into_upgraded(self) -> Option<Lease<D>> {
        self.exchange.into_upgraded()
    }
}

/// A piece on the heap, for those on other threads.
pub(crate) fn copied<B: crate::driver::ReceivedBuffer>(piece: &Piece<B>) -> Bytes {
    piece.to_bytes()
}
