//! From a permit to a connection that the pool may hand out: resolve, connect, negotiate TLS.
//!
//! Owns: the order of steps and their one time limit. Never: decides when to dial; the pool does.

use super::connection::{Connection, Dial, State};
use super::core::Core;
use super::streams::Streams;
use crate::config::UpstreamConfig;
use crate::driver::Driver;
use crate::driver::socket::{Keepalive, SocketOptions};
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Phase, TlsFailure};
use crate::pool::{Input, MemberId, Permit};
use crate::slab::Key;
use crate::tls::{Session, TlsError};
use std::io;
use std::sync::Arc;

impl<D: Driver> Core<D> {
    pub(super) fn begin_dial(&mut self, upstream: Key, member: MemberId, permit: Permit) {
        let now = self.now;
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return;
        };
        let timeout = state.shared.config.dial_timeout;
        let first = state.address_next;
        let dial = Dial {
            started: now,
            addresses: Arc::new([]),
            tried: 0,
            first,
            error: None,
        };
        let key = self
            .connections
            .insert(Connection::new(upstream, member, permit, dial));
        self.set_deadline(key, now + timeout);
        if self.stopping {
            self.fail_dial(key, Error::draining());
            return;
        }
        match self.addresses(upstream) {
            Some(addresses) => self.dial_addresses(key, addresses),
            None => self.await_addresses(upstream, key),
        }
    }

    pub(super) fn dial_addresses(&mut self, key: Key, addresses: Arc<[Endpoint]>) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.state() != State::Dialing {
            return;
        }
        if let Some(dial) = connection.dial.as_mut() {
            dial.addresses = addresses;
        }
        self.dial_next_address(key);
    }

    /// Tries addresses one after the other until a connect is under way or none is left.
    pub(super) fn dial_next_address(&mut self, key: Key) {
        loop {
            let Some(connection) = self.connections.get_mut(key) else {
                return;
            };
            let upstream = connection.upstream;
            let Some(dial) = connection.dial.as_mut() else {
                return;
            };
            let Some(endpoint) = dial.next() else {
                let error = dial.error.take();
                let error =
                    error.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no address"));
                self.fail_dial(key, super::faults::dial(error));
                return;
            };
            let Some(state) = self.upstreams.get(upstream) else {
                self.fail_dial(key, Error::draining());
                return;
            };
            match self
                .driver
                .open(key, &endpoint, &socket_options(&state.shared.config))
            {
                Ok(()) => {
                    connection.operations.socket = true;
                    connection.operations.connect = true;
                    self.driver.connect(key);
                    return;
                }
                Err(error) => dial.error = Some(error),
            }
        }
    }

    pub(super) fn on_connected(&mut self, key: Key, result: io::Result<()>) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.operations.connect = false;
        match connection.state() {
            State::Draining | State::Closing => {
                self.after_operation(key);
                return;
            }
            State::Dialing => {}
            State::Handshaking | State::Idle | State::Leased => unreachable!("connected twice"),
        }
        match result {
            Err(error) => {
                // The key stays, the socket goes; its end tries the next address.
                if let Some(dial) = connection.dial.as_mut() {
                    dial.error = Some(error);
                }
                if let Some(state) = self.upstreams.get_mut(connection.upstream) {
                    state.address_next = state.address_next.wrapping_add(1);
                }
                connection.operations.close = true;
                self.driver.close(key);
            }
            Ok(()) => {
                connection.endpoint = connection
                    .dial
                    .as_ref()
                    .and_then(|dial| dial.current())
                    .cloned();
                self.after_connect(key);
            }
        }
    }

    fn after_connect(&mut self, key: Key) {
        self.arm_receive(key);
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let tls = self
            .upstreams
            .get(connection.upstream)
            .and_then(|state| state.shared.tls.as_ref());
        let Some(client) = tls else {
            self.established(key);
            return;
        };
        match Session::new(client) {
            Ok(mut session) => {
                connection.become_state(State::Handshaking);
                connection
                    .outbound
                    .append(&mut self.blocks, |out| session.output(out));
                connection.tls = Some(Box::new(session));
                self.flush(key);
            }
            Err(error) => self.fail_dial(key, super::faults::tls(error)),
        }
    }

    /// TLS bytes were taken in while negotiating: is it done?
    pub(super) fn after_handshake_bytes(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let Some(handshake) = connection
            .tls
            .as_ref()
            .and_then(|session| session.handshake())
        else {
            return;
        };
        if handshake.resumed {
            self.tally.handshakes_resumed += 1;
        } else {
            self.tally.handshakes_full += 1;
        }
        self.established(key);
    }

    fn established(&mut self, key: Key) {
        let now = self.clock_now();
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.become_state(State::Idle);
        connection.deadline = crate::time::Time::NEVER;
        let (upstream, member) = (connection.upstream, connection.member);
        connection.streams = self
            .upstreams
            .get(upstream)
            .and_then(|state| Streams::of(&state.shared.config.url));
        let slots = connection
            .streams
            .as_deref()
            .map_or(1, |streams| streams.limit());
        if let Some(dial) = connection.dial.take() {
            let took = now.since(dial.started);
            let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            self.tally.dial_nanos += nanos;
            if let Some(state) = self.upstreams.get_mut(upstream) {
                state.dial_nanos_min = state.dial_nanos_min.min(nanos);
            }
            self.tally.connections_opened += 1;
        }
        if let Some(state) = self.upstreams.get_mut(upstream) {
            state.dial_error = None;
        }
        if let Some(member) = member {
            self.pool_input(
                upstream,
                Input::Dialed {
                    member,
                    conn: key,
                    slots,
                },
            );
        }
    }

    pub(super) fn on_handshake_failed(&mut self, key: Key, failure: TlsError) {
        self.fail_dial(key, super::faults::tls(failure));
    }

    /// The connection ended in the middle of the handshake.
    pub(super) fn on_handshake_cut(&mut self, key: Key) {
        let error = Error::new(
            ErrorKind::Tls(TlsFailure::Truncated),
            "the peer closed the connection in the middle of the TLS handshake",
        );
        self.fail_dial(key, error);
    }

    pub(super) fn on_dial_timeout(&mut self, key: Key) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        let upstream = connection.upstream;
        let after = self
            .upstreams
            .get(upstream)
            .map_or_else(Default::default, |s| s.shared.config.dial_timeout);
        if let Some(state) = self.upstreams.get_mut(upstream) {
            state.address_next = state.address_next.wrapping_add(1);
        }
        self.fail_dial(key, Error::timeout(Phase::Dial, after));
    }

    /// Gives a dial up and tells the pool.
    pub(super) fn fail_dial(&mut self, key: Key, error: Error) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let upstream = connection.upstream;
        let tried = connection
            .dial
            .as_ref()
            .and_then(|dial| dial.current())
            .or(connection.endpoint.as_ref());
        let error = error.at_endpoint(tried);
        let member = connection.member.take();
        if let Some(state) = self.upstreams.get_mut(upstream) {
            state.dial_error = Some(error);
            state.resolving.retain(|&waiting| waiting != key);
        }
        // The pool first: freeing the slot offers its permit to a pool that has to know of the failure.
        if let Some(member) = member {
            self.pool_input(upstream, Input::DialFailed { member });
        }
        self.condemn(key);
    }
}

/// What the policy means for the kernel.
fn socket_options(config: &UpstreamConfig) -> SocketOptions {
    let keepalive = config.keepalive.idle.and_then(|idle| {
        // Where we close idle connections before the first probe, the kernel need not be asked.
        let probes_come = config.idle_timeout.is_none_or(|timeout| timeout > idle);
        probes_come.then_some(Keepalive {
            idle,
            interval: config.keepalive.interval,
            count: config.keepalive.count,
        })
    });
    SocketOptions {
        keepalive,
        user_timeout: config.user_timeout,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn no_kernel_probes_where_they_would_never_start() {
        let mut config = UpstreamConfig::default();
        assert_eq!(socket_options(&config).keepalive, None);
        config.idle_timeout = Some(Duration::from_secs(600));
        let keepalive = socket_options(&config)
            .keepalive
            .expect("idle connections outlive the first probe");
        assert_eq!(keepalive.idle, Duration::from_secs(120));
        config.idle_timeout = None;
        assert!(socket_options(&config).keepalive.is_some());
        config.keepalive.idle = None;
        assert_eq!(socket_options(&config).keepalive, None);
    }
}
