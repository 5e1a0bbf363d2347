//! What a conductor and an agent say to each other: JSON behind a length of four bytes, big-endian.
//!
//! Owns the messages, their bounds and their time limits, which are of whole messages: one that comes byte by byte has no more time
//! than one that does not come. Never: allocates for a length that is not allowed.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Both sides have to have the same.
pub(super) const VERSION: u32 = 2;
/// The longest message for an agent: arguments and certificates.
pub(super) const ORDER_MAX: usize = 4 << 20;
/// The longest message from one: a report takes a few megabytes.
pub(super) const ANSWER_MAX: usize = 64 << 20;
/// A long message has more time, by so many bytes a second.
const BYTES_PER_SECOND: u64 = 1 << 20;

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How often each side says that it is there.
    pub(super) beat: Duration,
    /// How long until the next message is there as a whole, but for its length.
    pub(super) silence: Duration,
    /// How long until an agent is connected, knows whom it talks to, and has its part.
    pub(super) greet: Duration,
    /// How long until its engine is ready.
    pub(super) prepare: Duration,
    /// How long after the planned end, or after it was stopped, until it has reported.
    pub(super) grace: Duration,
}

/// What is used but in tests.
pub(super) const LIMITS: Limits = Limits {
    beat: Duration::from_secs(1),
    silence: Duration::from_secs(5),
    greet: Duration::from_secs(10),
    prepare: Duration::from_secs(30),
    grace: Duration::from_secs(30),
};

/// What a conductor says, in this order, but for `Beat`, `Ping` and `Stop`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Order {
    Hello {
        version: u32,
        nonce: String,
    },
    /// It knows the token, if it has one.
    Prove {
        proof: Option<String>,
    },
    Plan {
        /// Of `stress run`.
        arguments: Vec<String>,
        /// Certificates to trust, in PEM: an agent reads no file.
        ca: Option<String>,
        /// Which one it is, and of how many.
        share: (u32, u32),
    },
    /// All have their plan: start the engine, and say when it is ready.
    Prepare,
    /// What does your clock show?
    Ping {
        number: u32,
    },
    /// All are ready: begin when your clock shows this.
    Go {
        at_ns: u64,
    },
    /// It is still there.
    Beat,
    /// End early, and tell what was measured.
    Stop,
}

/// What an agent says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Answer {
    Challenge {
        version: u32,
        nonce: String,
    },
    /// Come in; it knows the token as well, if it has one.
    Welcome {
        proof: Option<String>,
    },
    /// The plan can be carried out, as far as is known.
    Accepted,
    Ready,
    Pong {
        number: u32,
        clock_ns: u64,
    },
    /// It goes on; requests that have ended since the last time.
    Beat {
        ok: u64,
        failed: u64,
    },
    Report {
        /// As `--json` writes it.
        json: String,
        /// When the load began and the window opened, by its clock.
        began_ns: u64,
        opened_ns: u64,
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
    /// It has said nothing for so long.
    Silent(Duration),
    /// A message was begun, and not ended in time.
    Slow,
    /// What it says is no message.
    Nonsense(String),
    Io(io::Error),
}

/// A stream until a moment, whatever comes meanwhile.
struct Timed<'a> {
    stream: &'a TcpStream,
    until: Instant,
    /// Bytes so far.
    moved: usize,
}

impl<'a> Timed<'a> {
    fn new(stream: &'a TcpStream, limit: Duration) -> Self {
        Self {
            stream,
            until: Instant::now() + limit,
            moved: 0,
        }
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(left),
        }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        let count = self.stream.read(bytes)?;
        self.moved += count;
        Ok(count)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        let count = self.stream.write(bytes)?;
        self.moved += count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Says one message, within `limit` and the time that its length takes.
pub(super) fn send(
    stream: &TcpStream,
    message: &impl Serialize,
    limit: Duration,
) -> Result<(), WireError> {
    let framed = framed(message)?;
    let mut timed = Timed::new(stream, limit + time_of(framed.len()));
    timed
        .write_all(&framed)
        .map_err(|e| WireError::of(e, 1 + timed.moved, limit))
}

/// Hears one message of at most `most` bytes, within `limit` and the time that its length takes.
pub(super) fn receive<M: DeserializeOwned>(
    stream: &TcpStream,
    most: usize,
    limit: Duration,
) -> Result<M, WireError> {
    let mut timed = Timed::new(stream, limit);
    let mut read = || -> io::Result<Result<Vec<u8>, WireError>> {
        let mut length = [0; 4];
        timed.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > most {
            return Ok(Err(WireError::Nonsense(format!(
                "a message of {length} bytes; at most {most} are allowed"
            ))));
        }
        timed.until += time_of(length);
        // Room is made as it comes, not as it is promised.
        let mut bytes = Vec::new();
        (&mut timed).take(length as u64).read_to_end(&mut bytes)?;
        match bytes.len() < length {
            true => Err(io::ErrorKind::UnexpectedEof.into()),
            false => Ok(Ok(bytes)),
        }
    };
    let bytes = read();
    let bytes = bytes.map_err(|e| WireError::of(e, timed.moved, limit))??;
    serde_json::from_slice(&bytes).map_err(|e| WireError::Nonsense(e.to_string()))
}

fn framed(message: &impl Serialize) -> Result<Vec<u8>, WireError> {
    let bytes = serde_json::to_vec(message).map_err(|e| WireError::Nonsense(e.to_string()))?;
    let length = u32::try_from(bytes.len()).ok();
    let length = length.filter(|length| *length as usize <= ANSWER_MAX);
    let length = length.ok_or_else(|| WireError::Nonsense("it is too long".to_owned()))?;
    Ok([&length.to_be_bytes(), bytes.as_slice()].concat())
}

fn time_of(length: usize) -> Duration {
    Duration::from_millis(length as u64 * 1000 / BYTES_PER_SECOND)
}

impl WireError {
    /// What went wrong when so many bytes of a message had been moved.
    fn of(error: io::Error, moved: usize, limit: Duration) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Self::Gone,
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut if moved == 0 => {
                Self::Silent(limit)
            }
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Slow,
            _ => Self::Io(error),
        }
    }
}

impl From<io::Error> for WireError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the connection ended"),
            Self::Silent(time) => write!(f, "it said nothing for {time:?}"),
            Self::Slow => f.write_str("a message did not come to its end in time"),
            Self::Nonsense(what) => write!(f, "not understood: {what}"),
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    /// Both ends of a connection.
    pub(crate) fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (one, listener.accept().unwrap().0)
    }

    const SHORT: Duration = Duration::from_millis(50);

    #[test]
    fn messages_come_as_they_went() {
        let (one, other) = pair();
        let plan = Order::Plan {
            arguments: vec!["http://h/".to_owned()],
            ca: None,
            share: (0, 2),
        };
        send(&one, &plan, LIMITS.silence).unwrap();
        send(&one, &Order::Prepare, LIMITS.silence).unwrap();
        drop(one);
        let hear = || receive::<Order>(&other, ORDER_MAX, LIMITS.silence);
        let is_plan = |order: &Order| matches!(order, Order::Plan { arguments, ca: None, share: (0, 2) } if arguments == &["http://h/"]);
        assert!(hear().is_ok_and(|order| is_plan(&order)));
        assert!(matches!(hear(), Ok(Order::Prepare)));
        assert!(matches!(hear(), Err(WireError::Gone)));
    }

    #[test]
    fn what_is_none_is_refused_before_room_is_made() {
        let hear = |length: u32, text: &str| {
            let (mut one, other) = pair();
            one.write_all(&length.to_be_bytes()).unwrap();
            one.write_all(text.as_bytes()).unwrap();
            drop(one);
            receive::<Order>(&other, 100, LIMITS.silence).unwrap_err()
        };
        assert!(matches!(hear(u32::MAX, ""), WireError::Nonsense(_)));
        assert!(matches!(hear(50, "{"), WireError::Gone));
        assert!(matches!(hear(2, "{}"), WireError::Nonsense(_)));
        assert!(matches!(hear(3, "\"x\""), WireError::Nonsense(_)));
        let more = "{\"order\":\"go\",\"at_ns\":1,\"x\":1}";
        assert!(matches!(
            hear(more.len() as u32, more),
            WireError::Nonsense(_)
        ));
    }

    #[test]
    fn a_message_that_trickles_has_no_more_time_than_one_that_does_not_come() {
        let (one, other) = pair();
        let hear = || receive::<Order>(&other, ORDER_MAX, SHORT).unwrap_err();
        assert!(matches!(hear(), WireError::Silent(SHORT)));
        let end = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let trickle = || {
                let mut one = &one;
                let _ = one.write_all(&1000_u32.to_be_bytes());
                while !end.load(std::sync::atomic::Ordering::Relaxed) {
                    let _ = one.write_all(b" ");
                    std::thread::sleep(SHORT / 10);
                }
            };
            scope.spawn(trickle);
            // Each byte comes in time, and all of them would take five seconds.
            assert!(matches!(hear(), WireError::Slow));
            end.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    #[test]
    fn nobody_is_waited_for_who_does_not_read() {
        let (one, _other) = pair();
        let json = "x".repeat(ANSWER_MAX / 2);
        let report = Answer::Report {
            json,
            began_ns: 0,
            opened_ns: 0,
        };
        // More than buffers take. Its length has a time of its own, which is not waited for here.
        let framed = framed(&report).unwrap();
        let mut timed = Timed::new(&one, SHORT);
        let error = timed.write_all(&framed).unwrap_err();
        let error = WireError::of(error, 1 + timed.moved, SHORT);
        assert!(matches!(error, WireError::Slow), "{error:?}");
    }
}
