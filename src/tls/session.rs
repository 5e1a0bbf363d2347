//! The TLS of one connection, client side.
//!
//! Owns: rustls' connection, and the limits that rustls does not set. Never: keeps plaintext or
//! ciphertext back: what goes in comes out in the same call, as far as the protocol allows.

use super::config::ClientTls;
use super::error::TlsError;
use super::verifier;
use super::x509;
use rustls::client::ClientConnection;
use rustls::{CertificateError, HandshakeKind, ProtocolVersion};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::io::{BufRead, Write};
use std::time::Duration;

/// The most plaintext a record takes (RFC 8446, section 5.1).
const RECORD_MAX: usize = 16 * 1024;

/// How much ciphertext may come without a byte for the user in it, once the handshake is over: 64 KiB,
/// room for the largest record, coming in piecemeal, and dozens of tickets.
const SILENT_MAX: usize = 64 * 1024;

/// What stands at the start of a record of application data (RFC 8446, section 5.1). TLS 1.3 puts it
/// on every protected record.
const APPLICATION_DATA: u8 = 23;

/// One connection's TLS.
///
/// After a failure, [`output`](Session::output) still has the alert that tells the server why.
///
/// A KeyUpdate of the server is answered with the next [`encrypt`](Session::encrypt), in front of
/// the data, as RFC 8446, section 4.6.3 wants it; an idle connection owes no answer.
pub struct Session {
    connection: ClientConnection,
    client: ClientTls,
    failure: Option<TlsError>,
    opening: Opening,
    /// Ciphertext received since the handshake or the last byte of plaintext.
    silent: usize,
    close_sent: bool,
    peer_closed: bool,
    /// What was sent before the handshake was over, until the server has said whether it takes that.
    early: Vec<u8>,
    /// Until when what was proven for the tickets counted that there were at its beginning; `Some(None)` is for ever.
    earlier: Option<Option<UnixTime>>,
    /// Until when what the server proved counts, once that is known.
    good_until: Option<UnixTime>,
    /// Tickets received.
    tickets: u32,
    early_taken: Option<bool>,
}

/// What a handshake ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Whether it took up an earlier session: no certificate was sent or checked.
    pub resumed: bool,
    /// The version agreed on: "TLS 1.3" or "TLS 1.2".
    pub version: &'static str,
    /// The cipher suite agreed on, as rustls spells it.
    pub suite: &'static str,
    /// The protocol the server picked, if it picked one.
    pub alpn: Option<Vec<u8>>,
    /// How long what the server proved counts from now on: until its certificate ends, or the check is
    /// [too long ago](super::Trust::verified_max); `None` for ever. Where a session was resumed, of the check that it goes
    /// back to.
    pub good_for: Option<Duration>,
}

impl Session {
    /// Begins a connection; its first output is the ClientHello.
    ///
    /// # Errors
    /// [`TlsError::Protocol`] if the system has no randomness to give.
    pub fn new(client: &ClientTls) -> Result<Session, TlsError> {
        // Before a ticket is taken: what is proven meanwhile is of another check.
        let earlier = client.tickets().and_then(|tickets| tickets.good_until());
        let connection =
            ClientConnection::new(client.config().clone(), client.server_name().clone())?;
        Ok(Session {
            connection,
            client: client.clone(),
            failure: None,
            opening: Opening::default(),
            silent: 0,
            close_sent: false,
            peer_closed: false,
            early: Vec::new(),
            earlier,
            good_until: None,
            tickets: 0,
            early_taken: None,
        })
    }

    /// How much may be sent before the handshake is over: something only where the identity allows it, and a ticket
    /// is there whose server said that it takes so much (RFC 8446, section 4.2.10).
    pub fn early_room(&mut self) -> usize {
        let early = self.connection.early_data();
        early.map_or(0, |early| early.bytes_left().min(RECORD_MAX))
    }

    /// Appends the record of `plain` to `out` before the handshake is over, if there is room for all of it; false if not.
    /// Whoever recorded it can send it again, and the server cannot tell: it has to be good for that. Should
    /// the server not take it, it is sent once more, as soon as the handshake is over, before all else.
    pub fn encrypt_early(&mut self, plain: &[u8], out: &mut Vec<u8>) -> bool {
        if plain.len() > self.early_room() {
            return false;
        }
        let Some(mut early) = self.connection.early_data() else {
            return false;
        };
        if !early.write(plain).is_ok_and(|taken| taken == plain.len()) {
            return false;
        }
        self.early.extend_from_slice(plain);
        self.output(out);
        true
    }

    /// Whether there is something to send that nobody asked for: see [`output`](Session::output).
    pub fn wants_output(&self) -> bool {
        self.connection.wants_write()
    }

    /// Whether the handshake still goes on.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// What the handshake ended with; `None` while it goes on.
    pub fn handshake(&self) -> Option<Handshake> {
        if self.is_handshaking() {
            return None;
        }
        let version = match self.connection.protocol_version()? {
            ProtocolVersion::TLSv1_3 => "TLS 1.3",
            ProtocolVersion::TLSv1_2 => "TLS 1.2",
            // rustls speaks no other.
            _ => return None,
        };
        Some(Handshake {
            resumed: self.is_resumed(),
            version,
            suite: self
                .connection
                .negotiated_cipher_suite()?
                .suite()
                .as_str()?,
            alpn: self.connection.alpn_protocol().map(<[u8]>::to_vec),
            good_for: self.good_for(),
        })
    }

    /// The SHA-256 of the server's own certificate, once it is known; in a resumed session that of the session it
    /// goes back to.
    pub fn fingerprint(&self) -> Option<[u8; 32]> {
        x509::fingerprint(self.certificate()?)
    }

    /// What it connects by.
    pub fn client(&self) -> &ClientTls {
        &self.client
    }

    fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.connection.peer_certificates()?.first()
    }

    fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    fn now(&self) -> Option<UnixTime> {
        self.client.config().time_provider.current_time()
    }

    fn good_for(&self) -> Option<Duration> {
        self.left_until(self.good_until?)
    }

    fn left_until(&self, end: UnixTime) -> Option<Duration> {
        let left = end.as_secs().saturating_sub(self.now()?.as_secs());
        Some(Duration::from_secs(left))
    }

    /// The handshake is over: notes how long what the server proved counts. rustls does not look at the certificate
    /// again when it resumes a session.
    fn judge(&mut self) -> Result<(), TlsError> {
        let (Some(now), Some(certificate)) = (self.now(), self.certificate()) else {
            return Ok(());
        };
        if self.is_resumed() && x509::not_after(certificate).is_some_and(|end| end <= now) {
            self.client.purge();
            return Err(rustls::Error::InvalidCertificate(CertificateError::Expired).into());
        }
        let verified_max = self.client.identity().trust.verified_max;
        let own = verifier::good_until(certificate, verified_max, now);
        let known = || {
            self.client
                .tickets()
                .and_then(|tickets| tickets.good_until())
        };
        let earlier = match self.is_resumed() {
            // Nothing was proven when it began: then the ticket came, and was taken, just after that.
            true => self.earlier.or_else(known).unwrap_or(Some(now)),
            false => None,
        };
        self.good_until = own.into_iter().chain(earlier).min();
        Ok(())
    }

    /// Tickets are good for no longer than the session that they come of, however late.
    fn bound_tickets(&mut self) {
        let received = self.connection.tls13_tickets_received();
        if received == self.tickets {
            return;
        }
        self.tickets = received;
        if let (Some(tickets), Some(end)) = (self.client.tickets(), self.good_until) {
            tickets.ticket_of(end);
        }
    }

    /// Whether the server took what was sent early; `None` if nothing was, or it has not said so yet.
    pub fn early_taken(&self) -> Option<bool> {
        self.early_taken
    }

    /// How long what the server proved will count if the session that is being resumed is.
    pub fn early_good_for(&self) -> Option<Duration> {
        self.left_until(self.earlier??)
    }

    /// Sends again what the server did not take early.
    fn repeat_early(&mut self) {
        let early = std::mem::take(&mut self.early);
        if early.is_empty() {
            return;
        }
        let taken = self.connection.is_early_data_accepted();
        self.early_taken = Some(taken);
        if taken {
            return;
        }
        // It is one record's worth, and rustls holds more: it goes out behind the handshake's last message.
        let taken = self.connection.writer().write(&early);
        debug_assert_eq!(taken.ok(), Some(early.len()));
    }

    /// Whether the server has sent `close_notify`: what it wanted to say is complete.
    pub fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Whether nothing more can be received: it has failed, or the server has closed.
    pub fn is_over(&self) -> bool {
        self.failure.is_some() || self.peer_closed
    }

    /// Feeds received ciphertext, all of it, and appends what it decrypts to, at most as many bytes,
    /// to `plaintext`. What comes after the server's `close_notify` is ignored (RFC 8446, section
    /// 6.1). Look at [`wants_output`](Session::wants_output) afterwards.
    ///
    /// # Errors
    /// Whatever makes the connection unusable. What was decrypted before stays in `plaintext`.
    pub fn receive(&mut self, ciphertext: &[u8], plaintext: &mut Vec<u8>) -> Result<(), TlsError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        self.opening.see(ciphertext);
        let received = self.decrypt(ciphertext, plaintext);
        self.failure = received.clone().err();
        received
    }

    fn decrypt(&mut self, mut rest: &[u8], plaintext: &mut Vec<u8>) -> Result<(), TlsError> {
        // rustls takes 4 KiB at a time, and refuses more while it holds plaintext.
        while !rest.is_empty() && !self.peer_closed {
            let before = rest.len();
            if self.connection.read_tls(&mut rest).is_err() || rest.len() == before {
                return Err(rustls::Error::PeerSentOversizedRecord.into());
            }
            let taken = before - rest.len();
            let was_handshaking = self.connection.is_handshaking();
            // Drained also after an error: the records before the bad one were sound.
            let processed = self.connection.process_new_packets();
            let decrypted = self.drain(plaintext);
            match processed {
                Ok(state) => self.peer_closed = state.peer_has_closed(),
                Err(error) if self.opening.is_foreign() => return Err(TlsError::NotTls(error)),
                Err(error) => return Err(error.into()),
            }
            if decrypted || was_handshaking {
                self.silent = 0;
            } else {
                self.silent += taken;
            }
            if was_handshaking && !self.connection.is_handshaking() {
                self.judge()?;
                self.repeat_early();
            }
            self.bound_tickets();
            if self.silent > SILENT_MAX {
                return Err(TlsError::Flood);
            }
        }
        Ok(())
    }

    /// Moves decrypted bytes out; whether there were any.
    fn drain(&mut self, plaintext: &mut Vec<u8>) -> bool {
        let before = plaintext.len();
        let mut reader = self.connection.reader();
        // An error means that there is no more for now.
        while let Ok(chunk) = reader.fill_buf()
            && !chunk.is_empty()
        {
            plaintext.extend_from_slice(chunk);
            let taken = chunk.len();
            reader.consume(taken);
        }
        plaintext.len() > before
    }

    /// Encrypts all of `plain` and appends the records to `out`, after whatever else was waiting to
    /// be sent.
    ///
    /// # Errors
    /// [`TlsError::NotOpen`] before the handshake has ended and after `close_notify`: nothing is
    /// kept for later. [`TlsError::KeysExhausted`] on a TLS 1.2 connection after 2²⁴ records or so.
    /// After an error `out` holds a part of `plain`, and the connection can send no more; what the
    /// server still sends can be received.
    pub fn encrypt(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), TlsError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if self.is_handshaking() || self.close_sent {
            return Err(TlsError::NotOpen);
        }
        self.output(out);
        for piece in plain.chunks(RECORD_MAX) {
            self.encrypt_record(piece, out)?;
        }
        Ok(())
    }

    fn encrypt_record(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), TlsError> {
        let start = out.len();
        let taken = self.connection.writer().write(piece);
        self.output(out);
        // When the keys of TLS 1.2 run out, rustls takes the bytes, drops them, and says good-bye
        // instead: then the first new record, if there is one, is an alert.
        if taken.is_ok_and(|taken| taken == piece.len())
            && out.get(start) == Some(&APPLICATION_DATA)
        {
            return Ok(());
        }
        self.close_sent = true;
        Err(TlsError::KeysExhausted)
    }

    /// Appends what the TLS layer itself wants to send: handshake messages and alerts.
    pub fn output(&mut self, out: &mut Vec<u8>) {
        while self.connection.wants_write() {
            self.connection
                .write_tls(out)
                .expect("a Vec takes every byte");
        }
    }

    /// Tells the server that no more will be sent, after whatever else was waiting. Once only; a
    /// connection that has failed has sent its alert already.
    pub fn close_notify(&mut self, out: &mut Vec<u8>) {
        self.connection.send_close_notify();
        self.close_sent = true;
        self.output(out);
    }
}

/// The first two bytes that came: they tell whether TLS records follow at all.
#[derive(Default)]
struct Opening {
    bytes: [u8; 2],
    seen: usize,
}

impl Opening {
    fn see(&mut self, received: &[u8]) {
        for &byte in received.iter().take(self.bytes.len() - self.seen) {
            self.bytes[self.seen] = byte;
            self.seen += 1;
        }
    }

    /// Content types are 20 to 24, and every version's first byte is 3 (RFC 8446, section 5.1).
    fn is_foreign(&self) -> bool {
        (self.seen > 0 && !(20..=24).contains(&self.bytes[0]))
            || (self.seen > 1 && self.bytes[1] != 3)
    }
}
