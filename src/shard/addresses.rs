//! Which addresses an upstream has: known at once, or asked for away from this thread.
//!
//! Owns: the trust in a resolved name. Never: resolves; at most one look-up per upstream is under way.

use super::core::Core;
use super::lookup::{Lookup, Resolved};
use super::mailbox::Control;
use crate::driver::Driver;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind};
use crate::slab::Key;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

impl<D: Driver> Core<D> {
    /// The upstream's addresses, if they are known and fresh.
    pub(super) fn addresses(&mut self, upstream: Key) -> Option<Arc<[Endpoint]>> {
        let now = self.now;
        let state = self.upstreams.get_mut(upstream)?;
        let config = &state.shared.config;
        if let Some((addresses, since)) = &state.addresses {
            if now.since(*since) < config.resolve_ttl || config.url.host().is_none_or(is_literal) {
                return Some(addresses.clone());
            }
            return None;
        }
        let known: Arc<[Endpoint]> = match (config.url.path(), config.url.host(), config.url.port())
        {
            (Some(path), _, _) => Arc::new([Endpoint::Unix(path.into())]),
            (None, Some(host), Some(port)) => {
                let address: IpAddr = host.parse().ok()?;
                Arc::new([Endpoint::Inet(SocketAddr::new(address, port))])
            }
            (None, _, _) => return None,
        };
        state.addresses = Some((known.clone(), now));
        Some(known)
    }

    /// Puts the connection on the list of those that wait for the name; the first one asks.
    pub(super) fn await_addresses(&mut self, upstream: Key, key: Key) {
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return;
        };
        state.resolving.push(key);
        if std::mem::replace(&mut state.lookup, true) {
            return;
        }
        let mailbox = self.mailboxes[self.index].clone();
        let url = &state.shared.config.url;
        self.resolver.resolve(Lookup {
            upstream: state.shared.id,
            host: url.host().unwrap_or_default().to_owned(),
            port: url.port().unwrap_or_default(),
            deliver: Box::new(move |resolved| mailbox.control(Control::Resolved(resolved))),
        });
    }

    pub(super) fn on_resolved(&mut self, resolved: Resolved) {
        let Some(upstream) = self
            .upstreams
            .iter()
            .find(|(_, state)| state.shared.id == resolved.upstream && state.lookup)
            .map(|(key, _)| key)
        else {
            return;
        };
        let now = self.now;
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return;
        };
        state.lookup = false;
        // Those who have given up meanwhile are not among them; the answer is kept all the same.
        let waiting = std::mem::take(&mut state.resolving);
        let failure = match resolved.result {
            Ok(addresses) if !addresses.is_empty() => {
                let addresses: Arc<[Endpoint]> =
                    addresses.into_iter().map(Endpoint::Inet).collect();
                state.addresses = Some((addresses, now));
                None
            }
            Ok(_) => Some(io::Error::new(
                io::ErrorKind::NotFound,
                "the name has no address",
            )),
            Err(error) => Some(error),
        };
        // Old addresses are better than none: a resolver's outage is not the backend's.
        let addresses = state
            .addresses
            .as_ref()
            .map(|(addresses, _)| addresses.clone());
        for key in waiting {
            match (&addresses, &failure) {
                (Some(addresses), _) => self.dial_addresses(key, addresses.clone()),
                (None, failure) => {
                    let why = failure
                        .as_ref()
                        .map_or_else(String::new, io::Error::to_string);
                    self.fail_dial(
                        key,
                        Error::new(
                            ErrorKind::Resolve,
                            format!("cannot resolve the name: {why}"),
                        ),
                    );
                }
            }
        }
        self.remove_if_vacant(upstream);
    }
}

fn is_literal(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}
