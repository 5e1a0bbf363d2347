//! Whole exchanges, in one piece and cut at every byte.

use super::super::ResponseHead;
use super::*;
use proptest::prelude::*;

pub(super) const GET: RequestFacts = RequestFacts {
    method: MethodKind::Get,
    is_head: false,
    is_connect: false,
    expects_continue: false,
    upgrade_asked: false,
    closes: false,
};
pub(super) const HEAD: RequestFacts = RequestFacts {
    is_head: true,
    ..GET
};
pub(super) const CONNECT: RequestFacts = RequestFacts {
    is_connect: true,
    ..GET
};
pub(super) const UPGRADE: RequestFacts = RequestFacts {
    upgrade_asked: true,
    ..GET
};
pub(super) const CLOSES: RequestFacts = RequestFacts {
    closes: true,
    ..GET
};

fn exchange(request: RequestFacts) -> Exchange {
    let mut exchange = Exchange::new(request, &Limits::default());
    exchange.request_sent();
    exchange
}

/// All that an exchange tells about a response.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) statuses: Vec<u16>,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Option<HeaderMap>,
    pub(super) leftover: Vec<u8>,
    pub(super) complete: bool,
    pub(super) error: Option<ProtocolError>,
    pub(super) verdict: Verdict,
}

/// Runs an exchange as a connection would: pieces are accumulated, and consumed from the front.
struct Peer {
    exchange: Exchange,
    pending: Vec<u8>,
    outcome: Outcome,
}

impl Peer {
    fn new(exchange: Exchange) -> Peer {
        Peer {
            exchange,
            pending: Vec::new(),
            outcome: Outcome {
                statuses: Vec::new(),
                body: Vec::new(),
                trailers: None,
                leftover: Vec::new(),
                complete: false,
                error: None,
                verdict: Verdict::Reusable,
            },
        }
    }

    fn receive(&mut self, piece: &[u8]) {
        self.pending.extend(piece);
        if let Err(error) = self.advance() {
            self.outcome.error = Some(error);
        }
    }

    fn advance(&mut self) -> Result<(), ProtocolError> {
        while matches!(self.exchange.state, State::Head | State::Failed(_)) {
            match self.exchange.head(&self.pending)? {
                HeadStep::Partial => return Ok(()),
                HeadStep::Informational { status, len } | HeadStep::Final { status, len } => {
                    let head = ResponseHead::new(&self.pending[..len]);
                    assert_eq!(head.status(), status);
                    assert!(self.pending[..len].ends_with(b"\r\n\r\n"));
                    self.outcome.statuses.push(status);
                    self.pending.drain(..len);
                }
            }
        }
        while !self.pending.is_empty() && !self.exchange.is_complete() {
            let step = self.exchange.body(&self.pending)?;
            assert!(step.consumed > 0);
            assert_eq!(step.done, self.exchange.is_complete());
            self.outcome.body.extend(&self.pending[step.data]);
            self.pending.drain(..step.consumed);
        }
        Ok(())
    }

    fn end(&mut self, clean: bool) {
        if let Err(error) = self.exchange.end_of_stream(clean) {
            self.outcome.error = Some(error);
        }
    }

    fn outcome(mut self) -> Outcome {
        self.outcome.complete = self.exchange.is_complete();
        self.outcome.trailers = self.exchange.trailers();
        self.outcome.verdict = self.exchange.verdict(!self.pending.is_empty());
        self.outcome.leftover = self.pending;
        self.outcome
    }
}

fn run<'a>(request: RequestFacts, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut peer = Peer::new(exchange(request));
    for piece in pieces {
        peer.receive(piece);
    }
    peer.outcome()
}

/// The outcome of `text`, which must not depend on how it is cut.
pub(super) fn respond(request: RequestFacts, text: &str) -> Outcome {
    let bytes = text.as_bytes();
    let whole = run(request, [bytes]);
    for at in 0..=bytes.len() {
        let split = run(request, [&bytes[..at], &bytes[at..]]);
        assert_eq!(split, whole, "{text:?} split at {at}");
    }
    let single = run(request, bytes.chunks(1));
    assert_eq!(single, whole, "{text:?} byte by byte");
    whole
}

#[test]
fn good_responses_are_understood_however_they_are_cut() {
    const OK: &str = "HTTP/1.1 200 OK\r\nServer: x\r\n";
    for (request, head, rest, statuses, body) in [
        (
            GET,
            OK,
            "Content-Length: 5\r\n\r\nhello",
            &[200][..],
            "hello",
        ),
        (GET, OK, "Content-Length: 0\r\n\r\n", &[200], ""),
        (
            GET,
            OK,
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x\r\nd\r\n0\r\n\r\n",
            &[200],
            "abcd",
        ),
        (HEAD, OK, "Content-Length: 5\r\n\r\n", &[200], ""),
        (HEAD, OK, "Transfer-Encoding: chunked\r\n\r\n", &[200], ""),
        (GET, "HTTP/1.1 204 No Content\r\n", "\r\n", &[204], ""),
        (
            GET,
            "HTTP/1.1 304 Not Modified\r\n",
            "Content-Length: 9\r\n\r\n",
            &[304],
            "",
        ),
        (
            GET,
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\na: b\r\n\r\n",
            "HTTP/1.1 201 X\r\ncontent-length: 2\r\n\r\nok",
            &[100, 103, 201],
            "ok",
        ),
        (
            GET,
            "HTTP/1.0 200 OK\r\n",
            "connection: keep-alive\r\ncontent-length: 1\r\n\r\nx",
            &[200],
            "x",
        ),
        (
            CONNECT,
            "HTTP/1.1 407 No\r\n",
            "content-length: 1\r\n\r\nx",
            &[407],
            "x",
        ),
    ] {
        let text = format!("{head}{rest}");
        let outcome = respond(request, &text);
        assert_eq!(outcome.statuses, statuses, "{text:?}");
        assert_eq!(outcome.body, body.as_bytes(), "{text:?}");
        assert_eq!(outcome.error, None, "{text:?}");
        assert!(outcome.complete, "{text:?}");
        assert_eq!(outcome.verdict, Verdict::Reusable, "{text:?}");
        assert!(outcome.leftover.is_empty(), "{text:?}");
        // The same with a byte too many is delivered, and condemned.
        let excess = respond(request, &format!("{text}!"));
        assert_eq!(
            (&excess.statuses[..], &excess.body),
            (statuses, &outcome.body)
        );
        assert_eq!(
            excess.verdict,
            Verdict::Condemn(Why::ExcessBytes),
            "{text:?}"
        );
        // The same cut short is never taken for complete.
        for len in 0..text.len() {
            let mut peer = Peer::new(exchange(request));
            peer.receive(&text.as_bytes()[..len]);
            peer.end(true);
            assert_eq!(peer.exchange.response_started(), len > 0);
            let outcome = peer.outcome();
            assert!(
                outcome.error.is_some() && !outcome.complete,
                "{text:?} cut at {len}"
            );
            assert_eq!(outcome.verdict, Verdict::Condemn(Why::ProtocolError));
        }
    }
}

#[test]
fn a_body_until_close_ends_with_a_clean_end_only() {
    for (clean, error) in [(true, None), (false, Some(ProtocolError::UncleanEnd))] {
        let mut peer = Peer::new(exchange(GET));
        peer.receive(b"HTTP/1.1 200 X\r\n\r\nhello");
        assert_eq!(peer.exchange.content_length(), None);
        peer.end(clean);
        let outcome = peer.outcome();
        assert_eq!(outcome.body, b"hello");
        assert_eq!((outcome.complete, outcome.error), (clean, error));
        assert_ne!(outcome.verdict, Verdict::Reusable);
    }
}

#[test]
fn an_end_is_reported_by_where_it_comes() {
    use ProtocolError as E;
    for (text, error) in [
        ("", Some(E::ClosedBeforeResponse)),
        ("H", Some(E::TruncatedHead)),
        ("HTTP/1.1 100 X\r\n\r\n", Some(E::TruncatedHead)),
        (
            "HTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\nx",
            Some(E::TruncatedBody),
        ),
        (
            "HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
            Some(E::TruncatedBody),
        ),
        ("HTTP/1.1 204 X\r\n\r\n", None),
    ] {
        let mut peer = Peer::new(exchange(GET));
        peer.receive(text.as_bytes());
        peer.end(true);
        let outcome = peer.outcome();
        assert_eq!(outcome.error, error, "{text:?}");
        assert_ne!(outcome.verdict, Verdict::Reusable, "{text:?}");
    }
}

#[test]
fn trailers_are_read_without_those_that_must_not_be() {
    let text = "HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n\
        1\r\nz\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\n";
    let trailers = respond(GET, text).trailers.unwrap();
    assert_eq!(trailers.len(), 1);
    assert_eq!(trailers["x-sum"], "1");
    let without = "HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(respond(GET, without).trailers, None);
}

#[test]
fn heads_are_limited_in_size_and_number() {
    let limits = Limits {
        head_bytes_max: 40,
        informational_max: 2,
        headers_max: 2,
        ..Limits::default()
    };
    let fits = format!("HTTP/1.1 204 X\r\na: {}\r\n\r\n", "x".repeat(17));
    assert_eq!(fits.len(), 40);
    let too_large = fits.replace("a:", "aa:");
    let informational = "HTTP/1.1 102 X\r\n\r\n";
    let final_head = "HTTP/1.1 204 X\r\n\r\n";
    for (text, error) in [
        (fits, None),
        (too_large, Some(ProtocolError::HeadTooLarge)),
        ([informational, informational, final_head].concat(), None),
        (
            informational.repeat(3),
            Some(ProtocolError::TooManyInformational),
        ),
        ("HTTP/1.1 204 X\r\na:\r\nb:\r\n\r\n".into(), None),
        (
            "HTTP/1.1 204 X\r\na:\r\nb:\r\nc:\r\n\r\n".into(),
            Some(ProtocolError::TooManyHeaders),
        ),
    ] {
        for size in [1, 7, 1000] {
            let mut peer = Peer::new(Exchange::new(GET, &limits));
            for piece in text.as_bytes().chunks(size) {
                peer.receive(piece);
            }
            let outcome = peer.outcome();
            assert_eq!(outcome.error, error, "{text:?} by {size}");
            assert_eq!(outcome.complete, error.is_none(), "{text:?} by {size}");
            assert!(error.is_none_or(ProtocolError::is_limit));
        }
    }
}

#[test]
fn a_head_without_end_fails_once_it_is_over_the_limit() {
    let mut peer = Peer::new(exchange(GET));
    peer.receive(b"HTTP/1.1 200 X\r\na: ");
    for _ in 0..64 {
        peer.receive(&[b'x'; 1024]);
    }
    assert_eq!(peer.outcome().error, Some(ProtocolError::HeadTooLarge));
}

#[test]
fn a_failed_exchange_stays_failed() {
    let mut failed = exchange(GET);
    let error = Err(ProtocolError::StatusLine);
    assert_eq!(failed.head(b"\r\n"), error);
    assert_eq!(failed.head(b"HTTP/1.1 204 X\r\n\r\n"), error);
    assert_eq!(failed.end_of_stream(true), Err(ProtocolError::StatusLine));
    assert_eq!(failed.verdict(false), Verdict::Condemn(Why::ProtocolError));
}

#[test]
fn what_remains_is_counted_down() {
    let mut counted = exchange(GET);
    assert_eq!(
        (counted.content_length(), counted.remaining()),
        (None, None)
    );
    counted
        .head(b"HTTP/1.1 200 X\r\ncontent-length: 5\r\n\r\n")
        .unwrap();
    counted.body(b"he").unwrap();
    assert_eq!(
        (counted.content_length(), counted.remaining()),
        (Some(5), Some(3))
    );
    counted.body(b"llo!").unwrap();
    assert_eq!(counted.remaining(), Some(0));
    assert_eq!(counted.body(b"!").unwrap().consumed, 0);
}

proptest! {
    #[test]
    fn no_bytes_panic_nor_pass_twice_differently(
        words in prop::collection::vec(prop::sample::select(&[
            "HTTP/1.1 ", "HTTP/1.0 ", "200", "100", "204", " OK", "\r\n", "\r\n", "\r\n\r\n", "\n",
            "Content-Length", "Transfer-Encoding", "Connection", ": ", "5", "chunked", "close",
            "hello", "0", ";", "\0", "\r", " ",
        ][..]), 0..24),
        cut in any::<prop::sample::Index>(),
    ) {
        let text = format!("HTTP/1.1 200 OK\r\n{}", words.concat());
        let (a, b) = text.as_bytes().split_at(cut.index(text.len()));
        let whole = run(GET, [text.as_bytes()]);
        let split = run(GET, [a, b]);
        if whole.error.is_none() && whole.complete {
            prop_assert_eq!(&split, &whole);
        }
        // Cut, a fault may be found later, but nothing faulty passes.
        prop_assert!(!(whole.error.is_some() && split.complete));
        prop_assert!(!(split.error.is_some() && whole.complete));
    }
}
