//! One connection to a server that speaks TLS.
//!
//! Owns: the layer of TLS, right or wrong, and telling the oracle what was wrong with it. Never: knows what
//! is spoken above it.

use super::Ground;
use super::certificates::Certificate;
use super::ground::shown;
use super::mischief::{Break, BrokenFlight, GARBAGE, Idle};
use crate::knobs::{TlsKnobs, UpstreamTls};
use crate::stage::Stage;
use crate::world::connection::Link;
use ringpool::TlsFailure;
use ringpool::simulation::{Answer, Answers, Peer};
use rustls::{Error, HandshakeKind, ProtocolVersion, ServerConnection};
use std::io::{BufRead, Write};
use std::rc::Rc;
use std::time::Duration;

/// A server that speaks in plain text, as the layer below it sees it.
pub trait Service: Peer {
    /// Whether it has nothing to do and nothing on its way.
    fn is_at_rest(&self) -> bool;

    /// It answers nothing any more.
    fn fall_silent(&mut self);
}

/// The server's side of one connection.
pub struct TlsServer<S> {
    stage: Rc<Stage>,
    ground: Rc<Ground>,
    link: Rc<Link>,
    service: S,
    tls: ServerConnection,
    at: At,
    broken: Option<BrokenFlight>,
    /// Its client may have something against it.
    misbehaved: bool,
    /// Who is called when, in order.
    timers: Vec<(Duration, Whose)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Handshaking,
    Open,
    /// What comes is not read any more.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Service,
    Own,
}

/// The most plaintext that rustls is given at once.
const PIECE: usize = 16 * 1024;

impl<S: Service> TlsServer<S> {
    /// The server at the end of `link`, in front of `service`. Its upstream speaks TLS.
    pub fn new(stage: Rc<Stage>, ground: Rc<Ground>, link: Rc<Link>, service: S) -> TlsServer<S> {
        let place @ (upstream, server) = (link.upstream, link.server);
        let knobs = &stage.knobs;
        let tls = knobs.upstreams[upstream].tls.as_ref();
        let tls = tls.expect("whoever makes one knows that it speaks TLS");
        let now = stage.now.get();
        let certificate = match stage.calm.get() {
            true => Certificate::Good,
            false => shown(knobs, upstream, server, now),
        };
        let mischief = knobs.tls.as_ref();
        let breaks = mischief.is_some_and(|tls| stage.mischief(tls.handshakes));
        link.rude
            .set(mischief.is_some_and(|tls| stage.mischief(tls.rude)));
        let mut made = TlsServer {
            tls: ground.accept(place, tls, certificate),
            broken: breaks.then(|| BrokenFlight::throw(&mut stage.dice.borrow_mut())),
            stage,
            ground,
            link,
            service,
            at: At::Handshaking,
            misbehaved: false,
            timers: Vec::new(),
        };
        if let Some(name) = certificate.name() {
            made.misbehave(name, certificate.explains());
        }
        made
    }

    fn knobs(&self) -> (&UpstreamTls, &TlsKnobs) {
        let knobs = &self.stage.knobs;
        let upstream = knobs.upstreams[self.link.upstream].tls.as_ref();
        let mischief = knobs.tls.as_ref();
        upstream.zip(mischief).expect("TLS is spoken in this run")
    }

    /// Tells of something that was not right.
    fn misbehave(&mut self, name: &'static str, explains: &[TlsFailure]) {
        self.misbehaved = true;
        self.note(name);
        self.explain(explains);
    }

    fn note(&self, name: &'static str) {
        self.stage.tell(|| format!("server {}: {name}", self.link));
        self.stage.coverage.borrow_mut().fault(name);
    }

    fn explain(&self, failures: &[TlsFailure]) {
        let oracle = &mut self.stage.oracle.borrow_mut();
        oracle.tls_misdeed(self.link.upstream, failures);
    }

    /// Feeds what came to rustls; what it decrypted to is added to `plain`.
    fn take_in(&mut self, mut bytes: &[u8], plain: &mut Vec<u8>) -> Result<(), Error> {
        while !bytes.is_empty() {
            let before = bytes.len();
            let read = self.tls.read_tls(&mut bytes);
            if read.is_err() || bytes.len() == before {
                return Err(Error::General("it sends more than can be taken".into()));
            }
            let processed = self.tls.process_new_packets();
            let mut reader = self.tls.reader();
            while let Ok(piece) = reader.fill_buf()
                && !piece.is_empty()
            {
                plain.extend_from_slice(piece);
                let taken = piece.len();
                reader.consume(taken);
            }
            processed?;
        }
        Ok(())
    }

    /// What rustls has to send.
    fn records(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls
                .write_tls(&mut bytes)
                .expect("a Vec takes every byte");
        }
        bytes
    }

    /// What the client did, if it was against the protocol or for no reason.
    fn judge(&mut self, error: Error, out: &mut Answers) {
        self.at = At::Over;
        out.end();
        let link = &self.link;
        let what = match error {
            Error::AlertReceived(_) if self.misbehaved => return,
            Error::AlertReceived(alert) => {
                format!("server {link} is in good order and was sent the alert {alert:?}")
            }
            error => format!("server {link} speaks TLS, and its client does not: {error}"),
        };
        self.stage.oracle.borrow_mut().broken_request(what);
    }

    /// Sends the first flight, or what is left of it.
    fn send_flight(&mut self, flight: &[u8], out: &mut Answers) {
        let Some(broken) = self.broken.take_if(|_| !flight.is_empty()) else {
            return out.send(flight);
        };
        self.at = At::Over;
        self.misbehave(broken.then.name(), broken.then.explains());
        out.send(&flight[..broken.keeps(flight)]);
        out.send(broken.then.bytes());
        match broken.then {
            Break::Reset => out.reset(),
            Break::End | Break::CloseNotify | Break::Alert | Break::PlainText => out.end(),
            Break::Silence | Break::Garbage => {}
        }
    }

    /// The handshake is over, if it is.
    fn open(&mut self, out: &mut Answers) {
        if self.at != At::Handshaking || self.tls.is_handshaking() {
            return;
        }
        self.at = At::Open;
        let resumed = self.tls.handshake_kind() == Some(HandshakeKind::Resumed);
        let expected = &self.knobs().0.server_name;
        if self.tls.server_name() != Some(expected) {
            let asked = self.tls.server_name();
            let what = format!(
                "server {} is {expected} and was asked for {asked:?}",
                self.link
            );
            self.stage.oracle.borrow_mut().broken_request(what);
        }
        self.stage
            .tell(|| format!("server {}: TLS is open, resumed: {resumed}", self.link));
        if resumed {
            self.note("tls_resumed");
        }
        self.serve(out, S::connected);
    }

    /// Lets the service do something, and passes on what it does.
    fn serve(&mut self, out: &mut Answers, act: impl FnOnce(&mut S, &mut Answers)) {
        let mut answers = Answers::default();
        act(&mut self.service, &mut answers);
        for answer in answers.take() {
            match answer {
                Answer::Send(bytes) => self.send(&bytes, out),
                Answer::End => self.end(out),
                Answer::Reset => {
                    self.explain(&[TlsFailure::Truncated]);
                    out.reset();
                }
                Answer::Wait(time) => out.wait(time),
                Answer::Timer(after) => self.set_timer(after, Whose::Service, out),
            }
        }
    }

    fn send(&mut self, plain: &[u8], out: &mut Answers) {
        for piece in plain.chunks(PIECE) {
            let written = self.tls.writer().write_all(piece);
            written.expect("there is room for a piece");
            out.send(self.records());
        }
    }

    fn end(&mut self, out: &mut Answers) {
        if self.link.rude.get() {
            self.note("tls_rude_end");
            self.explain(&[TlsFailure::Truncated]);
        } else {
            self.tls.send_close_notify();
            out.send(self.records());
        }
        out.end();
    }

    fn set_timer(&mut self, after: Duration, whose: Whose, out: &mut Answers) {
        self.timers.push((self.stage.now.get() + after, whose));
        self.timers.sort_by_key(|&(at, _)| at);
        out.timer(after);
    }

    /// Something in the layer of TLS on a connection that is at rest.
    fn stray(&mut self, out: &mut Answers) {
        let tls12 = self.tls.protocol_version() == Some(ProtocolVersion::TLSv1_2);
        let stray = Idle::throw(&mut self.stage.dice.borrow_mut(), tls12);
        if stray != Idle::KeyUpdate {
            self.service.fall_silent();
            self.link.spoil(self.stage.now.get());
            self.misbehave(stray.name(), stray.explains());
        }
        match stray {
            Idle::KeyUpdate => {
                self.note(stray.name());
                let renewed = self.tls.refresh_traffic_keys();
                renewed.expect("TLS 1.3 is open");
                out.send(self.records());
            }
            Idle::CloseNotify | Idle::Close => {
                self.tls.send_close_notify();
                out.send(self.records());
                if stray == Idle::Close {
                    out.end();
                }
            }
            Idle::End => out.end(),
            Idle::Garbage => out.send(GARBAGE),
        }
    }
}

impl<S: Service> Peer for TlsServer<S> {
    fn connected(&mut self, _out: &mut Answers) {
        self.stage
            .tell(|| format!("server {}: accepted, for TLS", self.link));
    }

    fn received(&mut self, bytes: &[u8], out: &mut Answers) {
        if self.at == At::Over {
            return;
        }
        let mut plain = Vec::new();
        let taken = self.take_in(bytes, &mut plain);
        if let Some(what) = self.ground.finding() {
            self.stage.oracle.borrow_mut().broken_request(what);
        }
        let records = self.records();
        self.send_flight(&records, out);
        if taken.is_ok() {
            self.open(out);
        }
        if !plain.is_empty() && self.at == At::Open {
            self.serve(out, |service, out| service.received(&plain, out));
            let idle = self.knobs().1.idle;
            if self.stage.mischief(idle) {
                let rest = self.stage.dice.borrow_mut().millis(0, 60);
                self.set_timer(rest, Whose::Own, out);
            }
        }
        if let Err(error) = taken {
            self.judge(error, out);
        }
    }

    fn timer(&mut self, out: &mut Answers) {
        if self.timers.is_empty() {
            return;
        }
        let whose = self.timers.remove(0).1;
        let rests = self.service.is_at_rest() && self.link.spoiled.get().is_none();
        match whose {
            _ if self.at == At::Over => {}
            Whose::Service => self.serve(out, S::timer),
            Whose::Own if rests && !self.stage.calm.get() => self.stray(out),
            Whose::Own => {}
        }
    }

    fn ended(&mut self, out: &mut Answers) {
        self.service.ended(out);
    }
}
