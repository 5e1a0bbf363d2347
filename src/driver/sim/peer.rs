//! The other end of a simulated connection.
//!
//! Owns: what a script sees ([`Peer`]), what it can do ([`Answers`]), and the handle with which a
//! test does the same from outside ([`SimConnection`]). Never: acts at once; whatever is done here
//! goes on its way and arrives later, if only by a hop.

use super::network::Network;
use crate::slab::Key;
use bytes::Bytes;
use std::time::Duration;

/// What a server does on one connection: a script. It is called while nothing of the network is
/// borrowed, and may use the network itself.
pub trait Peer {
    /// The connection is there.
    fn connected(&mut self, _out: &mut Answers) {}

    /// These bytes came, in the pieces that were sent or that the weather made of them.
    fn received(&mut self, bytes: &[u8], out: &mut Answers);

    /// The other side closed the connection. The last call; what is answered reaches nobody.
    fn ended(&mut self, _out: &mut Answers) {}

    /// A time asked for by [`Answers::timer`] has come.
    fn timer(&mut self, _out: &mut Answers) {}
}

/// What a peer does next, in order: a connection's answers never overtake one another.
#[derive(Debug, Default)]
pub struct Answers(pub(super) Vec<Answer>);

/// One thing that a peer does: see the methods of [`Answers`].
#[derive(Debug)]
pub enum Answer {
    /// Bytes are sent.
    Send(Bytes),
    /// FIN is sent.
    End,
    /// RST is sent.
    Reset,
    /// What comes after it leaves that much later.
    Wait(Duration),
    /// The peer is called after that long.
    Timer(Duration),
}

impl Answers {
    /// Sends bytes; none is no message.
    pub fn send(&mut self, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        if !bytes.is_empty() {
            self.0.push(Answer::Send(bytes.into()));
        }
    }

    /// Sends FIN: no more bytes will come. The peer still receives.
    pub fn end(&mut self) {
        self.0.push(Answer::End);
    }

    /// Sends RST: the connection is gone, and the peer with it.
    pub fn reset(&mut self) {
        self.0.push(Answer::Reset);
    }

    /// Whatever this connection's peer sends from now on, in this call or a later one, leaves that
    /// much later: a server that works on one thing at a time.
    pub fn wait(&mut self, time: Duration) {
        self.0.push(Answer::Wait(time));
    }

    /// Calls [`Peer::timer`] after this long, counted from now: waits do not put it off.
    pub fn timer(&mut self, after: Duration) {
        self.0.push(Answer::Timer(after));
    }

    /// Takes out all that is to be done, in order: for a peer that stands before another one and passes
    /// on what that does, in a way of its own.
    #[cfg(feature = "simulation")]
    pub fn take(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.0)
    }
}

/// One established connection, seen from the peer's end. When the connection is over, what is done
/// here does nothing.
#[derive(Clone)]
pub struct SimConnection {
    pub(super) network: Network,
    pub(super) key: Key,
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
        self.network.stall(self.key, true);
    }

    /// The peer reads again.
    pub fn resume(&self) {
        self.network.stall(self.key, false);
    }

    /// Whether the socket at the other end is still open.
    pub fn is_open(&self) -> bool {
        self.network.is_open(self.key)
    }

    fn act(&self, action: impl FnOnce(&mut Answers)) {
        let mut answers = Answers::default();
        action(&mut answers);
        self.network.answer(self.key, answers);
    }
}
