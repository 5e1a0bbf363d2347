//! A connection's bytes as they are, over tokio-uring's owned buffers.
//!
//! Also the trait that lets `http` not know whether TLS lies beneath it.

use std::io;
use std::net::Shutdown;
use std::time::Duration;

use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::TcpStream;

use std::rc::Rc;

use super::Service;
use super::http;
use super::trouble::Line;

/// Room offered to each receive.
const RECEIVE: usize = 16 << 10;
/// How long a closing connection reads on, so that its last words are not lost to a reset.
const LINGER: Duration = Duration::from_secs(1);
/// How much it reads in that time.
const LINGER_BYTES: usize = 1 << 20;

/// Bytes in and out, one of the two at a time.
pub(super) trait Channel {
    /// Appends what arrives next to `input`; 0 is the end of the stream.
    async fn receive(&mut self, input: &mut Vec<u8>) -> io::Result<usize>;

    /// Sends all of `output` and leaves it empty, its capacity kept.
    async fn send(&mut self, output: &mut Vec<u8>) -> io::Result<()>;

    /// Says that nothing more will be sent, and waits a little for the peer to close.
    async fn finish(&mut self) -> io::Result<()>;

    /// Its socket in other hands, if the backend has faults.
    fn line(&self) -> Option<&Line>;
}

/// Answers one plain connection until it closes.
pub(super) async fn serve(
    stream: TcpStream,
    line: Option<Rc<Line>>,
    service: &Service,
) -> io::Result<()> {
    http::converse(&mut Plain::new(stream, line)?, service).await
}

/// A TCP connection.
pub(super) struct Plain {
    stream: TcpStream,
    pub(super) line: Option<Rc<Line>>,
    /// Whether the peer has sent its FIN.
    pub(super) ended: bool,
}

impl Plain {
    pub(super) fn new(stream: TcpStream, line: Option<Rc<Line>>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            line,
            ended: false,
        })
    }
}

impl Channel for Plain {
    async fn receive(&mut self, input: &mut Vec<u8>) -> io::Result<usize> {
        input.reserve(RECEIVE);
        let filled = input.len();
        let buffer = std::mem::take(input).slice(filled..filled + RECEIVE);
        let (result, buffer) = self.stream.read(buffer).await;
        *input = buffer.into_inner();
        self.ended |= matches!(result, Ok(0));
        result
    }

    async fn send(&mut self, output: &mut Vec<u8>) -> io::Result<()> {
        if output.is_empty() {
            return Ok(());
        }
        let (result, buffer) = self.stream.write_all(std::mem::take(output)).await;
        *output = buffer;
        output.clear();
        result
    }

    fn line(&self) -> Option<&Line> {
        self.line.as_deref()
    }

    async fn finish(&mut self) -> io::Result<()> {
        if self.ended {
            return Ok(()); // Closing the descriptor says all there is left to say.
        }
        self.stream.shutdown(Shutdown::Write)?;
        let drain = async {
            let mut drained = 0;
            let mut waste = Vec::new();
            while drained < LINGER_BYTES {
                waste.clear();
                match self.receive(&mut waste).await {
                    Ok(0) | Err(_) => break,
                    Ok(n) => drained += n,
                }
            }
        };
        // A receive given up in flight keeps its own buffer until the shutdown ends it.
        let _ = tokio::time::timeout(LINGER, drain).await;
        match self.stream.shutdown(Shutdown::Both) {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
