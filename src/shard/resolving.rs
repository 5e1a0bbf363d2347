//! Asking for names, and what their answers change.
//!
//! Owns: dials that wait for a name. Never: resolves, or has more than one look-up per name under way.

use super::core::Core;
use super::lookup::{Forbidden, Lookup, Resolved};
use super::mailbox::Control;
use crate::driver::Driver;
use crate::error::{Error, ErrorKind};
use crate::pool::{EndpointId, Input};
use crate::slab::Key;
use std::collections::BTreeSet;
use std::io;

/// The answer to one look-up.
pub(crate) struct Answer {
    host: String,
    port: u16,
    resolved: Resolved,
}

impl<D: Driver> Core<D> {
    /// Asks for those of the upstream's names that are not known or not trusted any more. Every dial
    /// does, one on trial too: where no endpoint is of use, the names may say that there are others.
    pub(super) fn refresh_addresses(&mut self, upstream: Key) {
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return;
        };
        let ttl = state.policy.current().resolve_ttl;
        while let Some((host, port)) = state.addresses.next_to_ask(self.now, ttl) {
            let mailbox = self.mailboxes[self.index].clone();
            let asked = host.clone();
            self.resolver.resolve(Lookup {
                upstream: state.shared.id,
                host,
                port,
                deliver: Box::new(move |resolved| {
                    mailbox.control(Control::Resolved(Answer {
                        host: asked,
                        port,
                        resolved,
                    }));
                }),
            });
        }
    }

    /// Whether a dial may begin: one address is trusted, or none is to be had.
    pub(super) fn may_choose_address(&self, upstream: Key) -> bool {
        self.upstreams.get(upstream).is_none_or(|state| {
            let ttl = state.policy.current().resolve_ttl;
            state.addresses.is_fresh(self.now, ttl) || !state.addresses.is_asking()
        })
    }

    pub(super) fn on_resolved(&mut self, answer: Answer) {
        let id = answer.resolved.upstream;
        let Some(upstream) = self
            .upstreams
            .iter()
            .find(|(_, state)| state.shared.id == id && state.addresses.is_asking())
            .map(|(key, _)| key)
        else {
            return;
        };
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return;
        };
        let (host, port) = (answer.host.as_str(), answer.port);
        let addresses = match answer.resolved.result {
            Ok(addresses) if !addresses.is_empty() => Some(addresses),
            Ok(_) => {
                let what = format!("{host} has no address");
                state.resolve_error = Some((ErrorKind::Resolve, what));
                None
            }
            Err(error) => {
                state.resolve_error = Some(cannot_resolve(host, &error));
                None
            }
        };
        let in_vain = addresses.is_none();
        state.meters.lookups_failed += u64::from(in_vain);
        let took = state.addresses.answered(self.now, host, port, addresses);
        if let Some(took) = took {
            match in_vain {
                true => state.meters.lookups_in_vain.record(took),
                false => state.meters.lookups.record(took),
            }
        }
        self.tell_endpoints(upstream);
        self.dial_those_waiting(upstream);
        self.remove_if_vacant(upstream);
    }

    /// Tells the pool of endpoints that it does not know yet, and of those that have left.
    pub(super) fn tell_endpoints(&mut self, upstream: Key) {
        let news = |core: &mut Core<D>| core.upstreams.get_mut(upstream)?.addresses.news();
        let Some((ids, replaced)) = news(self) else {
            return;
        };
        if let Some(state) = self.upstreams.get_mut(upstream) {
            let (meters, addresses) = (&mut state.meters, &state.addresses);
            // The pool forgets those that are not among them.
            for (id, _, ejections) in state.pool.endpoints().filter(|(id, ..)| !ids.contains(id)) {
                meters.keep_ejections(id, ejections);
            }
            for &id in &ids {
                if let Some(address) = addresses.get(id) {
                    meters.come(id, address);
                }
            }
        }
        self.pool_input(upstream, Input::Endpoints(ids));
        if replaced {
            self.close_in_time(upstream, |state, connection| {
                let place = connection.place;
                place.is_some_and(|id| !state.addresses.is_present(id))
            });
        }
        self.tidy_endpoints(upstream);
    }

    /// Forgets endpoints that have left, and that no connection goes to any more.
    pub(super) fn tidy_endpoints(&mut self, upstream: Key) {
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return;
        };
        if state.addresses.has_left() {
            let connections = self.connections.iter();
            let in_use: BTreeSet<EndpointId> = connections
                .filter(|(_, connection)| connection.upstream == upstream)
                .filter_map(|(_, connection)| connection.place)
                .collect();
            for (id, gone) in state.addresses.tidy(|id| in_use.contains(&id)) {
                state.meters.leave(self.now, id, &gone);
            }
        }
    }

    /// Goes on with the dials that waited for a name, if they need wait no longer.
    pub(super) fn dial_those_waiting(&mut self, upstream: Key) {
        if !self.may_choose_address(upstream) {
            return;
        }
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return;
        };
        // Those who have given up meanwhile are not among them; the answer is kept all the same.
        let waiting = std::mem::take(&mut state.resolving);
        let known = state.addresses.is_known();
        let why = state.resolve_error.clone();
        let (kind, why) = why.unwrap_or((ErrorKind::Resolve, String::new()));
        for key in waiting {
            if known {
                self.dial_next(key);
            } else {
                self.fail_dial(key, Error::new(kind, why.clone()));
            }
        }
    }
}

fn cannot_resolve(host: &str, error: &io::Error) -> (ErrorKind, String) {
    let inner = error.get_ref();
    match inner.is_some_and(|inner| inner.is::<Forbidden>()) {
        true => (ErrorKind::Forbidden, format!("{host}: {error}")),
        false => (
            ErrorKind::Resolve,
            format!("cannot resolve {host}: {error}"),
        ),
    }
}
