//! How a simulated driver's operations end: each with its event, which comes in its turn.
//!
//! Owns: what the shard has been told. Never: tells it twice.

use super::Sim;
use super::buffer::SimBuffer;
use super::completions::{Due, LateCancel};
use super::socket::OperationId;
use crate::driver::{Event, Received, Scope, SendBuffer};
use crate::slab::Key;
use std::io;

impl Sim {
    /// Ends the operations in `scope` that began before `before`.
    pub(super) fn cancel_targets(&mut self, key: Key, scope: Scope, before: OperationId) {
        let socket = self.sockets.open(key);
        if socket.receiving.is_some_and(|target| target.id < before) {
            socket.receiving = None;
            self.complete(received(key, Received::Stopped, false));
        }
        match scope {
            Scope::Receive => return,
            Scope::All => {}
        }
        let socket = self.sockets.open(key);
        if socket.connecting.is_some_and(|target| target < before) {
            socket.connecting = None;
            self.complete(connected(key, Err(errno(libc::ECANCELED))));
        }
        let socket = self.sockets.open(key);
        if let Some((_, buffer)) = socket.sending.take_if(|(target, _)| *target < before) {
            self.complete(sent(key, buffer, Err(errno(libc::ECANCELED))));
        }
    }

    /// Sets the event on its way to the completion queue.
    pub(super) fn complete(&mut self, event: Event<SimBuffer>) {
        let mut turn = self.dice.turn(self.network.time());
        if let Event::Received { key, .. } = &event {
            let socket = self.sockets.open(*key);
            turn = turn.max(socket.received_last);
            socket.received_last = turn;
        }
        self.completions.add(turn, Due::Event(event));
    }

    /// Puts what is due in the completion queue.
    pub(super) fn queue_due(&mut self) {
        let now = self.network.time();
        while let Some(due) = self.completions.next_due(now) {
            match due {
                Due::Event(event) => {
                    self.network.count_event();
                    let (key, what) = (key_of(&event), &event);
                    self.tell(key, || describe(what));
                    self.completions.queue(event);
                }
                Due::Cancel(cancel) => self.cancel_late(cancel),
            }
        }
    }

    fn cancel_late(&mut self, cancel: LateCancel) {
        let key = cancel.key;
        // Gone, if its own event came first and everything else had ended by then.
        if self.sockets.get(key).is_none() {
            return;
        }
        self.cancel_targets(key, cancel.scope, cancel.before);
        if cancel.untold {
            self.complete(Event::Cancelled { key });
        }
    }

    /// Notes that the shard has reaped an event.
    pub(super) fn settle(&mut self, event: &Event<SimBuffer>) {
        match event {
            Event::Connected { key, .. } => self.sockets.owed(*key).connect = false,
            Event::Received { key, more, .. } => self.sockets.owed(*key).receive = *more,
            Event::Sent { key, .. } => self.sockets.owed(*key).send = false,
            Event::Cancelled { key } => self.sockets.owed(*key).cancels -= 1,
            Event::Closed { .. } => {}
        }
    }
}

pub(super) fn errno(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

pub(super) fn connected(key: Key, result: io::Result<()>) -> Event<SimBuffer> {
    Event::Connected { key, result }
}

pub(super) fn received(key: Key, outcome: Received<SimBuffer>, more: bool) -> Event<SimBuffer> {
    // It holds nothing back: events are late at most.
    let nonempty = false;
    Event::Received {
        key,
        outcome,
        more,
        nonempty,
    }
}

pub(super) fn sent(key: Key, buffer: SendBuffer, result: io::Result<usize>) -> Event<SimBuffer> {
    Event::Sent {
        key,
        buffer,
        result,
    }
}

fn key_of(event: &Event<SimBuffer>) -> Key {
    match event {
        Event::Connected { key, .. }
        | Event::Received { key, .. }
        | Event::Sent { key, .. }
        | Event::Cancelled { key }
        | Event::Closed { key } => *key,
    }
}

/// One line for whoever traces.
fn describe(event: &Event<SimBuffer>) -> String {
    match event {
        Event::Connected { result, .. } => format!("connected: {result:?}"),
        Event::Received { outcome, more, .. } => {
            let armed = if *more { "" } else { ", no more" };
            match outcome {
                Received::Data(bytes) => format!("received {} bytes{armed}", bytes.len()),
                Received::End => format!("received the end{armed}"),
                Received::NoBuffers => format!("no buffers{armed}"),
                Received::Stopped => format!("receiving stopped{armed}"),
                Received::Failed(error) => format!("receiving failed: {error}{armed}"),
            }
        }
        Event::Sent { result, .. } => format!("sent: {result:?}"),
        Event::Cancelled { .. } => "cancelled".to_owned(),
        Event::Closed { .. } => "closed".to_owned(),
    }
}
