//! What subscribers are told of connections.
//!
//! Never: costs more than a look where there is no subscriber; tells of what never opened.

use super::core::Core;
use crate::driver::Driver;
use crate::lifecycle::{Lifecycle, LifecycleEvent};
use crate::slab::Key;
use crate::time::Time;
use std::panic::{AssertUnwindSafe, catch_unwind};

impl<D: Driver> Core<D> {
    /// Something has happened to a connection.
    #[inline]
    pub(in crate::shard) fn happened(&mut self, key: Key, what: Lifecycle) {
        if self.subscriber.is_some() {
            self.tell_subscriber(key, what);
        }
    }

    #[cold]
    fn tell_subscriber(&mut self, key: Key, what: Lifecycle) {
        let (Some(subscriber), Some(connection)) = (&self.subscriber, self.connections.get(key))
        else {
            return;
        };
        let upstream = self.upstreams.get(connection.upstream);
        let event = LifecycleEvent {
            at: self.now.since(Time::ZERO),
            shard: self.index,
            connection: u64::from(key.generation()) << 32 | u64::from(key.index()),
            upstream: upstream.map_or("", |upstream| &upstream.shared.name),
            endpoint: connection.endpoint.as_ref(),
            what,
        };
        let told = catch_unwind(AssertUnwindSafe(|| subscriber.on_event(&event)));
        if told.is_err() {
            self.subscriber = None;
        }
    }

    /// A connection that was open has gone, descriptor and all.
    pub(super) fn closed_for_good(&mut self, key: Key) {
        let Some(connection) = self
            .connections
            .get(key)
            .filter(|_| self.subscriber.is_some())
        else {
            return;
        };
        if let (Some(why), true) = (connection.why, connection.opened_at != Time::NEVER) {
            let uses = connection.uses;
            let age = self.now.since(connection.opened_at);
            self.tell_subscriber(key, Lifecycle::Closed { why, uses, age });
        }
    }
}
