//! What a conductor and an agent say to each other: JSON behind a length of four bytes, big-endian.
//!
//! Owns the messages, their bounds and their time limits. Never: allocates for a length that is not allowed.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Both sides have to have the same.
pub(super) const VERSION: u32 = 1;
/// How long the next message may take, and how long writing one.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How often an agent says how it goes.
pub(super) const BEAT: Duration = Duration::from_secs(1);
/// The longest message for an agent: arguments and certificates.
pub(super) const ORDER_MAX: usize = 4 << 20;
/// The longest message from one: a report takes a few megabytes.
pub(super) const ANSWER_MAX: usize = 64 << 20;

/// What a conductor says, in this order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Order {
    Hello {
        version: u32,
        /// What both sides know, if the agent asks for it.
        token: Option<String>,
    },
    Plan {
        /// Of `stress run`.
        arguments: Vec<String>,
        /// Certificates to trust, in PEM: an agent reads no file.
        ca: Option<String>,
    },
    /// All are ready: begin now.
    Go,
    /// End early, and tell what was measured.
    Stop,
}

/// What an agent says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Answer {
    Welcome {
        version: u32,
    },
    Ready,
    /// It goes on; requests that have ended since the last time.
    Beat {
        ok: u64,
        failed: u64,
    },
    /// The report, as `--json` writes it.
    Report {
        json: String,
    },
    /// It does not, or no more.
    Failed {
        why: String,
    },
}

/// Why the other side cannot be understood.
#[derive(Debug)]
pub(super) enum WireError {
    /// It is gone.
    Gone,
    /// It has said nothing for too long.
    Silent,
    /// What it says is no message.
    Nonsense(String),
    Io(io::Error),
}

/// Sets the time limits of both directions.
pub(super) fn limit(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))
}

/// Says one message.
pub(super) fn send(stream: &mut impl Write, message: &impl Serialize) -> Result<(), WireError> {
    let bytes = serde_json::to_vec(message).map_err(|e| WireError::Nonsense(e.to_string()))?;
    let length = u32::try_from(bytes.len()).ok();
    let length = length.filter(|length| *length as usize <= ANSWER_MAX);
    let length = length.ok_or_else(|| WireError::Nonsense("it is too long".to_owned()))?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend(bytes);
    stream.write_all(&framed)?;
    stream.flush()?;
    Ok(())
}

/// Hears one message of at most `most` bytes.
pub(super) fn receive<M: DeserializeOwned>(
    stream: &mut impl Read,
    most: usize,
) -> Result<M, WireError> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > most {
        return Err(WireError::Nonsense(format!(
            "a message of {length} bytes; at most {most} are allowed"
        )));
    }
    // Room is made as it comes, not as it is promised.
    let mut bytes = Vec::new();
    stream.take(length as u64).read_to_end(&mut bytes)?;
    if bytes.len() < length {
        return Err(WireError::Gone);
    }
    serde_json::from_slice(&bytes).map_err(|e| WireError::Nonsense(e.to_string()))
}

impl From<io::Error> for WireError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Self::Gone,
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Silent,
            _ => Self::Io(error),
        }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the connection ended"),
            Self::Silent => write!(f, "it said nothing for {} s", SILENCE_MAX.as_secs()),
            Self::Nonsense(what) => write!(f, "not understood: {what}"),
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_as_they_went() {
        let mut bytes = Vec::new();
        let plan = Order::Plan {
            arguments: vec!["http://h/".to_owned()],
            ca: None,
        };
        send(&mut bytes, &plan).unwrap();
        send(&mut bytes, &Order::Go).unwrap();
        let mut read = bytes.as_slice();
        let heard: Order = receive(&mut read, ORDER_MAX).unwrap();
        assert!(matches!(heard, Order::Plan { arguments, ca: None } if arguments == ["http://h/"]));
        assert!(matches!(receive(&mut read, ORDER_MAX), Ok(Order::Go)));
        assert!(matches!(
            receive::<Order>(&mut read, ORDER_MAX),
            Err(WireError::Gone)
        ));
    }

    #[test]
    fn what_is_none_is_refused_before_room_is_made() {
        let framed = |length: u32, text: &str| {
            let mut bytes = length.to_be_bytes().to_vec();
            bytes.extend(text.as_bytes());
            receive::<Order>(&mut bytes.as_slice(), 100).unwrap_err()
        };
        assert!(matches!(framed(u32::MAX, ""), WireError::Nonsense(_)));
        assert!(matches!(framed(50, "{"), WireError::Gone));
        assert!(matches!(framed(2, "{}"), WireError::Nonsense(_)));
        assert!(matches!(framed(3, "\"x\""), WireError::Nonsense(_)));
        let more = "{\"order\":\"go\",\"x\":1}";
        let _ = framed(more.len() as u32, more.trim_end_matches('}'));
    }
}
