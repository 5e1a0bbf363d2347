//! The other end of a simulated connection.
//!
//! Owns: what a script sees ([`Peer`]), what it can do ([`Answers`]), and the handle with which a
//! test does the same from outside ([`SimConnection`]). Never: acts at once; whatever is done here
//! goes on its way and arrives one hop later.

use super::network::{Down, Network};

/// What a server does on one connection: a script.
pub trait Peer {
    /// The connection is there.
    fn connected(&mut self, _out: &mut Answers) {}

    /// These bytes came, in the pieces that were sent.
    fn received(&mut self, bytes: &[u8], out: &mut Answers);

    /// The other side closed the connection. The last call.
    fn closed(&mut self) {}
}

/// What a peer does next, in order.
#[derive(Debug, Default)]
pub struct Answers(pub(super) Vec<Down>);

impl Answers {
    /// Sends bytes; none is no message.
    pub fn send(&mut self, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        if !bytes.is_empty() {
            self.0.push(Down::Bytes(bytes));
        }
    }

    /// Sends FIN: no more bytes will come. The peer still receives.
    pub fn end(&mut self) {
        self.0.push(Down::End);
    }

    /// Sends RST: the connection is gone, and the peer with it.
    pub fn reset(&mut self) {
        self.0.push(Down::Reset);
    }
}

/// One established connection, seen from the peer's end.
#[derive(Clone)]
pub struct SimConnection {
    pub(super) network: Network,
    pub(super) id: usize,
}

impl SimConnection {
    /// The peer sends bytes, asked or not.
    pub fn send(&self, bytes: impl Into<Vec<u8>>) {
        self.act(|answers| answers.send(bytes));
    }

    /// The peer sends FIN.
    pub fn end(&self) {
        self.act(Answers::end);
    }

    /// The peer sends RST.
    pub fn reset(&self) {
        self.act(Answers::reset);
    }

    /// The peer reads no more, until [`resume`](SimConnection::resume).
    pub fn stall(&self) {
        self.network.stall(self.id, true);
    }

    /// The peer reads again.
    pub fn resume(&self) {
        self.network.stall(self.id, false);
    }

    /// Whether the socket at the other end is still open.
    pub fn is_open(&self) -> bool {
        self.network.is_open(self.id)
    }

    fn act(&self, action: impl FnOnce(&mut Answers)) {
        let mut answers = Answers::default();
        action(&mut answers);
        self.network.answer(self.id, answers);
    }
}
