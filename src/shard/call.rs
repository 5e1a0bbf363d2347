//! A call with the `http` crate's types, on the shard: the low-level exchange with a body on each side.

#![allow(
    clippy::manual_async_fn,
    reason = "a block has its arguments where they were put; an `async fn` copies each once more"
)]

use super::again::{Again, Failure};
use super::bytes_in::Piece;
use super::exchange::{Exchange, malformed};
use super::lease::Lease;
use super::local::LocalUpstream;
use super::terms::Terms;
use super::upload::{Source, Upload};
use crate::driver::Driver;
use crate::error::{Error, ErrorKind};
use crate::protocol::http1::{Head, RequestBody};
use crate::protocol::http1::{
    HeadError, Host, MethodKind, RequestFacts, encode_head, encode_http_head,
};
use crate::trip::Trip;
use bytes::Bytes;
use http::{HeaderMap, Method};
use std::future::{Future, poll_fn};
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

/// A body for which room is made with its head's, whether any of it is there or not.
const SMALL: usize = 4096;

/// How much of a body has been read.
pub(super) enum Extent {
    Whole,
    Part,
    /// There will be no more, though it is not all.
    Broken(Error),
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

/// A body of the low-level exchange.
#[derive(Clone, Copy)]
pub(crate) enum Payload<'a> {
    /// Copied behind the head.
    Borrowed(&'a [u8]),
    /// Sent from where it is.
    Shared(&'a Bytes),
}

impl<'a> Payload<'a> {
    fn bytes(&self) -> &'a [u8] {
        match self {
            Payload::Borrowed(bytes) => bytes,
            Payload::Shared(bytes) => bytes,
        }
    }
}

/// Sends `head` with `body` and waits for the response's head. Tries again where that is safe. `first` is
/// what it has got for its first attempt, if it has asked already.
///
/// By reference, all of it, and as a block: what futures hand on to each other by value is copied at each step, and an `async fn` copies
/// each argument once more.
pub(super) fn exchange<D: Driver>(
    upstream: &LocalUpstream<D>,
    head: &Head<'_>,
    body: Option<&Payload<'_>>,
    terms: &Terms,
    first: &mut Option<Result<Lease<D>, Error>>,
) -> impl Future<Output = Result<Exchange<D>, Error>> {
    async move {
        let (framing, facts) = framed(head, body);
        let (copied, shared) = match body {
            None => (&[][..], None),
            Some(Payload::Borrowed(bytes)) => (*bytes, None),
            Some(Payload::Shared(bytes)) => (&[][..], Some(*bytes)),
        };
        let encode = |out: &mut Vec<u8>| encode_whole(out, upstream, head, copied, framing);
        attempts(upstream, &facts, &encode, shared, terms, first).await
    }
}

/// A request of the low-level exchange, for another shard: all its bytes, and what its response depends
/// on.
pub(crate) struct Encoded {
    bytes: Bytes,
    facts: RequestFacts,
    idempotent: bool,
}

impl Encoded {
    pub(super) fn new<D: Driver>(
        upstream: &LocalUpstream<D>,
        head: &Head<'_>,
        body: Option<&Payload<'_>>,
    ) -> Result<Encoded, Error> {
        let (framing, facts) = framed(head, body);
        let mut bytes = Vec::new();
        let body = body.map_or(&[][..], Payload::bytes);
        encode_whole(&mut bytes, upstream, head, body, framing)
            .map_err(|error| malformed(upstream, error))?;
        Ok(Encoded {
            bytes: bytes.into(),
            facts,
            idempotent: head.is_idempotent(),
        })
    }

    /// Its method's name, `_OTHER` for those that HTTP does not know.
    pub(super) fn method(&self) -> &'static str {
        self.facts.method.name()
    }

    /// What its method says.
    pub(super) fn is_idempotent(&self) -> bool {
        self.idempotent
    }

    /// Whether its connection may become a raw stream.
    pub(super) fn may_upgrade(&self) -> bool {
        self.facts.is_connect || self.facts.upgrade_asked
    }
}

/// As [`exchange`], for a caller on another shard.
pub(super) async fn run_encoded<D: Driver>(
    upstream: &LocalUpstream<D>,
    request: &Encoded,
    terms: &Terms,
    first: &mut Option<Result<Lease<D>, Error>>,
) -> Result<LocalBody<D>, Error> {
    let encode = |out: &mut Vec<u8>| {
        out.extend_from_slice(&request.bytes);
        Ok(())
    };
    let exchange = attempts(upstream, &request.facts, &encode, None, terms, first).await?;
    Ok(LocalBody::new(exchange, None))
}

#[inline(always)]
fn framed(head: &Head<'_>, body: Option<&Payload<'_>>) -> (RequestBody, RequestFacts) {
    let framing = body.map_or(RequestBody::None, |body| {
        RequestBody::Length(body.bytes().len() as u64)
    });
    let facts = RequestFacts {
        expects_continue: false,
        ..RequestFacts::of(head, framing)
    };
    (framing, facts)
}

fn encode_whole<D: Driver>(
    out: &mut Vec<u8>,
    upstream: &LocalUpstream<D>,
    head: &Head<'_>,
    body: &[u8],
    framing: RequestBody,
) -> Result<(), HeadError> {
    encode_head(out, head, &upstream.shared().host, framing)?;
    out.extend_from_slice(body);
    Ok(())
}

/// Makes attempts with a request that is written at once, until one has its response's head or there is to
/// be none any more.
fn attempts<D: Driver>(
    upstream: &LocalUpstream<D>,
    facts: &RequestFacts,
    encode: &impl Fn(&mut Vec<u8>) -> Result<(), HeadError>,
    body: Option<&Bytes>,
    terms: &Terms,
    first: &mut Option<Result<Lease<D>, Error>>,
) -> impl Future<Output = Result<Exchange<D>, Error>> {
    async move {
        let mut again = Again::first();
        loop {
            let opened = match first.take() {
                Some(first) => Exchange::first(upstream, first, *facts, encode, terms),
                None => Exchange::open(upstream, *facts, encode, terms, again).await,
            };
            let (error, failure) = match opened {
                Ok(mut exchange) => {
                    let body = body.cloned().map(|body| exchange.write_body_shared(body));
                    exchange.send();
                    let answered = match body.transpose() {
                        Ok(_) => exchange.response().await,
                        Err(error) => Err(error),
                    };
                    match answered {
                        Ok(()) if exchange.came_too_early() => {
                            again = exchange.not_early();
                            continue;
                        }
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
            again = (Again::after(upstream, terms, error, failure).await)
                .map_err(|error| upstream.note_failed(terms, facts.method, error))?;
        }
    }
}

/// Sends a request by its terms and waits for the response's head; `first` is what it has got for its first attempt, if it has asked already.
pub(super) async fn run<D: Driver>(
    upstream: &LocalUpstream<D>,
    parts: &http::request::Parts,
    mut source: Source,
    terms: &Terms,
    first: &mut Option<Result<Lease<D>, Error>>,
) -> Result<LocalBody<D>, Error> {
    let mut again = Again::first();
    let method = MethodKind::of_http(&parts.method);
    loop {
        let framing = source.framing();
        let facts = RequestFacts::of_http(&parts.method, &parts.headers, framing);
        let encode = |out: &mut Vec<u8>| encode_parts(out, parts, &upstream.shared().host, framing);
        let opened = match first.take() {
            Some(first) => Exchange::first(upstream, first, facts, encode, terms),
            None => Box::pin(Exchange::open(upstream, facts, encode, terms, again)).await,
        };
        let mut exchange = match opened {
            Ok(exchange) => exchange,
            // The body is untouched.
            Err(error) => {
                let failure = Failure::of_checkout(error.kind());
                again = Box::pin(Again::after(upstream, terms, error, failure))
                    .await
                    .map_err(|error| upstream.note_failed(terms, method, error))?;
                continue;
            }
        };
        let replay = source.again();
        if replay.is_none() {
            exchange.stays_as_it_is();
        }
        let hold = exchange
            .awaits_continue()
            .then(|| upstream.shard.sleep(terms.continue_timeout));
        let mut upload = Upload::new(source, framing, hold);
        let error = match send(&mut exchange, &mut upload).await {
            Ok(()) => match replay {
                Some(replay) if exchange.came_too_early() => {
                    drop(upload);
                    (source, again) = (replay, exchange.not_early());
                    continue;
                }
                Some(_) | None => return Ok(respond(exchange, upload)),
            },
            Err(error) => error,
        };
        let failure = exchange.failure(error.kind());
        // Neither need be held while the next attempt waits for its time.
        drop((exchange, upload));
        source = match replay {
            Some(replay) => replay,
            None => return Err(upstream.note_failed(terms, method, error)),
        };
        again = Box::pin(Again::after(upstream, terms, error, failure))
            .await
            .map_err(|error| upstream.note_failed(terms, method, error))?;
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

fn respond<D: Driver>(exchange: Exchange<D>, upload: Upload<D>) -> LocalBody<D> {
    // A final response instead of 100 (Continue): the peer does not want the body.
    let refused = upload.is_held() && !exchange.was_continued();
    let upload = (!upload.is_done() && !refused && !exchange.is_complete()).then_some(upload);
    LocalBody::new(exchange, upload)
}

fn encode_parts(
    out: &mut Vec<u8>,
    parts: &http::request::Parts,
    host: &Host,
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
    encode_http_head(out, &parts.method, target, &parts.headers, host, framing)
}

pub(super) fn check_http<D: Driver>(upstream: &LocalUpstream<D>) -> Result<(), Error> {
    if upstream.shared().url.is_http() {
        return Ok(());
    }
    let what = format!(
        "{} does not speak HTTP: a lease or a stream of it is checked out instead",
        upstream.shared().url
    );
    Err(upstream.name_error(Error::new(ErrorKind::Unsupported, what)))
}

impl<D: Driver> LocalBody<D> {
    fn new(exchange: Exchange<D>, upload: Option<Upload<D>>) -> LocalBody<D> {
        LocalBody {
            exchange,
            upload,
            upload_error: None,
            trailers_given: false,
        }
    }

    /// With the response's head.
    pub(super) fn into_http(self) -> http::Response<LocalBody<D>> {
        self.exchange.head().to_http().map(|()| self)
    }

    /// How it went.
    pub(super) fn trip(&self) -> Trip {
        self.exchange.trip()
    }

    /// The response's head as it was received, and its length.
    pub(super) fn copy_head(&self) -> (Vec<u8>, usize) {
        let head = self.exchange.head_bytes();
        (head.to_vec(), head.len())
    }

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

    /// The head as it was received and its length; behind it what has arrived of the body and fits `room`, and
    /// whether that is all of it.
    pub(super) fn read_ready(
        &mut self,
        cx: &mut TaskContext<'_>,
        room: usize,
    ) -> (Vec<u8>, usize, Extent) {
        let known = self.exchange.remaining().unwrap_or(0).min(room as u64) as usize;
        let head = self.exchange.head_bytes();
        // To the byte, as a rule: what has no spare room becomes `Bytes` as it is.
        let at_once = if known <= SMALL { known } else { 0 };
        let mut ready = Vec::with_capacity(head.len() + at_once);
        ready.extend_from_slice(head);
        let head = ready.len();
        let extent = loop {
            if ready.len() - head >= room {
                break None;
            }
            match self.poll_piece(cx) {
                Poll::Ready(Ok(Some(piece))) => {
                    if ready.len() == head {
                        ready.reserve_exact(piece.len().max(known));
                    }
                    ready.extend_from_slice(&piece);
                }
                Poll::Ready(Ok(None)) => break Some(Extent::Whole),
                Poll::Ready(Err(error)) => break Some(Extent::Broken(error)),
                Poll::Pending => break None,
            }
        };
        let extent = extent.unwrap_or(match self.exchange.is_complete() {
            true => Extent::Whole,
            false => Extent::Part,
        });
        (ready, head, extent)
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
