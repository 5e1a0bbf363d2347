//! The life of a connection: every state, every event, and where each takes the other.
//!
//! Owns: the table of transitions, which is the only way in which a state changes. Never: acts; what is done
//! about an event is the shard's.
//!
//! The whole table is spelled out in `table.rs`, and drawn in ARCHITECTURE.md; tests keep all three alike.

#[cfg(test)]
mod table;

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Resolving or connecting, one endpoint after the other.
    Dialing,
    /// Connected; TLS is being negotiated, if it is to be spoken.
    Handshaking,
    /// In the pool, ready for anyone.
    Idle,
    /// Somebody's.
    Leased,
    /// Given up: its operations are being cancelled and waited for.
    Draining,
    /// Nothing is in flight; the descriptor is being closed. From here alone the slot is freed.
    Closing,
}

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The endpoint was connected to.
    Connected,
    /// The endpoint cannot be connected to; the next one is tried once its socket is closed.
    ConnectFailed,
    /// Whatever had to be negotiated has been.
    Established,
    /// The pool gave it to somebody; where streams share it, to the first one.
    Granted,
    /// Given back; where streams share it, by the last one.
    Released,
    /// Bytes or an end, or the end of the receive itself.
    Received,
    /// A send is over.
    Sent,
    /// A cancel is over.
    Cancelled,
    /// Its socket is to be closed while somebody holds it.
    Cut,
    /// It is given up.
    Condemned,
    /// Nothing is in flight any more on what was given up.
    Drained,
    /// The socket is closed.
    Closed,
}

impl State {
    /// What an event makes of it.
    ///
    /// # Panics
    /// If this cannot happen in this state.
    #[inline(always)]
    pub(super) fn next(self, event: Event) -> State {
        match self.after(event) {
            Some(next) => next,
            None => impossible(self, event),
        }
    }

    /// The table. `None`: this cannot happen to a connection in that state.
    #[inline(always)]
    const fn after(self, event: Event) -> Option<State> {
        use State::{Closing, Dialing, Draining, Handshaking, Idle, Leased};
        let next = match (event, self) {
            (Event::Connected, Dialing) => Handshaking,
            // Given up before the answer came.
            (Event::Connected | Event::ConnectFailed, Draining) => Draining,
            (Event::ConnectFailed, Dialing) => Dialing,
            (Event::Established, Handshaking) => Idle,
            (Event::Granted, Idle) => Leased,
            (Event::Released, Leased) => Idle,
            (
                Event::Received | Event::Sent | Event::Cancelled,
                Handshaking | Idle | Leased | Draining,
            ) => self,
            (Event::Cut, Leased) => Leased,
            (Event::Condemned, Dialing | Handshaking | Idle | Leased) => Draining,
            (Event::Drained, Draining) => Closing,
            // Of an endpoint that failed, or of a connection that was cut: the slot stays in use.
            (Event::Closed, Dialing | Leased) => self,
            // It was being closed for one of these reasons when it was given up.
            (Event::Closed, Draining | Closing) => Closing,
            (Event::Connected | Event::ConnectFailed, Handshaking | Idle | Leased | Closing)
            | (Event::Established, Dialing | Idle | Leased | Draining | Closing)
            | (Event::Granted, Dialing | Handshaking | Leased | Draining | Closing)
            | (Event::Released, Dialing | Handshaking | Idle | Draining | Closing)
            | (Event::Received | Event::Sent | Event::Cancelled, Dialing | Closing)
            | (Event::Cut, Dialing | Handshaking | Idle | Draining | Closing)
            | (Event::Condemned, Draining | Closing)
            | (Event::Drained, Dialing | Handshaking | Idle | Leased | Closing)
            | (Event::Closed, Handshaking | Idle) => return None,
        };
        Some(next)
    }
}

#[cold]
#[inline(never)]
fn impossible(state: State, event: Event) -> ! {
    panic!("{event:?} cannot happen to a connection that is {state:?}")
}
