//! The first exchange, blocking, to learn how long a response is.
//!
//! Owns: just enough reading of a head to find Content-Length. Never: used while measuring.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const HEAD_MAX: usize = 64 << 10;

/// How many bytes, head and body, the response to `request` has.
pub(crate) fn response_len(address: SocketAddr, request: &[u8]) -> io::Result<usize> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    socket.write_all(request)?;
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    while head.len() < HEAD_MAX {
        let read = match socket.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            // A ring of this thread that has just gone may still have work for it; with a time limit on the
            // socket the kernel does not go on by itself.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        head.extend_from_slice(&piece[..read]);
        if let Some(len) = length(&head) {
            return len;
        }
    }
    Err(invalid("the response has no end of head"))
}

/// `None` while the head is not complete.
fn length(bytes: &[u8]) -> Option<io::Result<usize>> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]);
    let body = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let ours = name.eq_ignore_ascii_case("content-length");
        ours.then(|| value.trim().parse::<usize>().ok()).flatten()
    });
    Some(match body {
        Some(body) => Ok(end + 4 + body),
        None => Err(invalid("the response has no Content-Length")),
    })
}

fn invalid(complaint: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, complaint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_gives_the_whole_length() {
        let response = b"HTTP/1.1 200 OK\r\nServer: x\r\ncontent-LENGTH:  5 \r\n\r\nhe";
        let head = response.len() - 2;
        assert_eq!(length(response).unwrap().unwrap(), head + 5);
        assert!(length(&response[..head - 1]).is_none());
        assert!(length(b"HTTP/1.1 200 OK\r\n\r\n").unwrap().is_err());
    }
}
