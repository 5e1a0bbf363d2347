//! One connection of a scripted peer: its handshake, and the bytes of its requests.

use super::request::Request;
use super::script::{Script, Step};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

pub(super) trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

pub(super) fn converse(
    socket: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    script: &Script,
) -> io::Result<()> {
    let closing = socket.try_clone()?;
    let result = match tls {
        None => serve(&mut &socket, script),
        Some(config) => {
            let connection = ServerConnection::new(config).map_err(io::Error::other)?;
            handshake(connection, socket, script).and_then(|mut wire| serve(&mut wire, script))
        }
    };
    // Other descriptors of it may be open: this is what ends the connection.
    let _ = closing.shutdown(Shutdown::Both);
    result
}

/// Shakes hands in small pieces.
fn handshake(
    mut connection: ServerConnection,
    mut socket: TcpStream,
    script: &Script,
) -> io::Result<StreamOwned<ServerConnection, TcpStream>> {
    let round = script.round();
    while connection.is_handshaking() || connection.wants_write() {
        if connection.wants_write() {
            let mut flight = Vec::new();
            while connection.wants_write() {
                connection.write_tls(&mut flight)?;
            }
            for piece in flight.chunks(150) {
                script.step(round, Step::Prepare);
                socket.write_all(piece)?;
            }
            continue;
        }
        script.step(round, Step::Prepare);
        if connection.read_tls(&mut socket)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        connection.process_new_packets().map_err(io::Error::other)?;
    }
    Ok(StreamOwned::new(connection, socket))
}

/// Answers requests until the connection ends.
fn serve(wire: &mut impl Wire, script: &Script) -> io::Result<()> {
    let mut received = Vec::new();
    while let Some(request) = Request::read(wire, &mut received)? {
        request.read_body(wire, &mut received, script)?;
        request.answer(wire, script)?;
        if request.closes {
            return Ok(());
        }
    }
    Ok(())
}

pub(super) fn fill(wire: &mut impl Wire, received: &mut Vec<u8>) -> io::Result<usize> {
    let mut piece = [0; 32 * 1024];
    let n = wire.read(&mut piece)?;
    received.extend_from_slice(&piece[..n]);
    Ok(n)
}

pub(super) fn at_least_one(n: usize) -> io::Result<()> {
    match n {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

pub(super) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|at| at == needle)
}
