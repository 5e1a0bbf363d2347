//! What a snapshot says of the engine's dealings with servers.
//!
//! Owns which figure is which. Never: keeps one.

use ringpool::{Durations, Snapshot};

use crate::contacts::{Contacts, Times};

/// From the engine's start.
pub(super) fn of(snapshot: &Snapshot) -> Contacts {
    let mut contacts = Contacts::default();
    for upstream in snapshot.upstreams.values() {
        contacts.lookups.add(times(&upstream.lookup));
        contacts.lookups_failed += upstream.lookups_failed;
        for (why, count) in upstream.all.closed.iter() {
            contacts.close(why.name(), count);
        }
        for (address, figures) in &upstream.endpoints {
            if let Some(endpoint) = contacts.endpoint(address) {
                endpoint.dials += figures.dials;
                endpoint.dials_failed += figures.dials_failed;
                endpoint.held.add(times(&figures.hold));
            }
        }
    }
    contacts
}

fn times(durations: &Durations) -> Times {
    Times {
        count: durations.count(),
        seconds: durations.sum().as_secs_f64(),
    }
}
