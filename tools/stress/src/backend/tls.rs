//! TLS over a plain connection: rustls driven by hand, since tokio-uring owns the buffers.
//!
//! One task does everything in turn, so two sends can never be in flight and records never
//! interleave.

use std::io::{self, Read, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConnection;
use tokio_uring::net::TcpStream;

use super::Service;
use super::http;
use super::plain::{Channel, Plain};
use super::trouble::Line;

/// Answers one TLS connection until it closes.
pub(super) async fn serve(
    stream: TcpStream,
    line: Option<Rc<Line>>,
    service: &Service,
) -> io::Result<()> {
    let mut session = ServerConnection::new(Arc::clone(&service.tls)).map_err(io::Error::other)?;
    // What may be sent at once is limited above, where it is made.
    session.set_buffer_limit(None);
    let mut tls = Tls {
        plain: Plain::new(stream, line)?,
        session,
        received: Vec::new(),
        sealed: Vec::new(),
        handshake_delay: service.handshake_delay,
        ended: false,
    };
    http::converse(&mut tls, service).await
}

/// A TLS connection, in its handshake or after it.
struct Tls {
    plain: Plain,
    session: ServerConnection,
    /// Records as they came; empty between calls.
    received: Vec<u8>,
    /// Records on their way out; empty between calls.
    sealed: Vec<u8>,
    /// Time to sleep before the first flight; zero once slept.
    handshake_delay: Duration,
    /// Whether the peer said close_notify.
    ended: bool,
}

impl Tls {
    /// Opens all of `received` and appends the plaintext to `input`.
    fn open_received(&mut self, input: &mut Vec<u8>) -> io::Result<usize> {
        let mut records = self.received.as_slice();
        let mut opened = 0;
        while !records.is_empty() {
            if self.session.read_tls(&mut records)? == 0 {
                break; // After close_notify nothing more is taken.
            }
            let state = self
                .session
                .process_new_packets()
                .map_err(io::Error::other)?;
            let (filled, fresh) = (input.len(), state.plaintext_bytes_to_read());
            input.resize(filled + fresh, 0);
            self.session.reader().read_exact(&mut input[filled..])?;
            opened += fresh;
            self.ended |= state.peer_has_closed();
        }
        self.received.clear();
        Ok(opened)
    }

    /// Sends what the session has to say: flights of the handshake, tickets, alerts, data.
    async fn flush(&mut self) -> io::Result<()> {
        if !self.session.wants_write() {
            return Ok(());
        }
        if self.session.is_handshaking() && !self.handshake_delay.is_zero() {
            tokio::time::sleep(std::mem::take(&mut self.handshake_delay)).await;
        }
        while self.session.wants_write() {
            self.session.write_tls(&mut self.sealed)?;
        }
        self.plain.send(&mut self.sealed).await
    }
}

impl Channel for Tls {
    async fn receive(&mut self, input: &mut Vec<u8>) -> io::Result<usize> {
        loop {
            if self.ended {
                return Ok(0);
            }
            self.flush().await?;
            if self.plain.receive(&mut self.received).await? == 0 {
                return Ok(0);
            }
            match self.open_received(input) {
                Ok(0) => {}
                Ok(opened) => return Ok(opened),
                Err(error) => {
                    // The alert tells the peer why; that it may not arrive changes nothing.
                    let _ = self.flush().await;
                    let _ = self.plain.finish().await;
                    return Err(error);
                }
            }
        }
    }

    async fn send(&mut self, output: &mut Vec<u8>) -> io::Result<()> {
        self.session.writer().write_all(output)?;
        output.clear();
        self.flush().await
    }

    fn line(&self) -> Option<&Line> {
        self.plain.line()
    }

    async fn finish(&mut self) -> io::Result<()> {
        if self.plain.ended {
            return Ok(());
        }
        self.session.send_close_notify();
        self.flush().await?;
        self.plain.finish().await
    }
}
