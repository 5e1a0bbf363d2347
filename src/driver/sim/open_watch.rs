//! How many sockets are open to one endpoint, for whoever asks again and again.

use super::network::Network;
use crate::endpoint::Endpoint;

/// Counts the sockets to one endpoint.
pub struct OpenWatch {
    network: Network,
    place: usize,
}

impl Network {
    /// A watch on `endpoint`.
    pub fn watch(&self, endpoint: &Endpoint) -> OpenWatch {
        let place = self.0.world.borrow_mut().place(endpoint);
        OpenWatch {
            network: self.clone(),
            place,
        }
    }
}

impl OpenWatch {
    /// See [`Network::open_connections`].
    pub fn count(&self) -> usize {
        self.network.0.world.borrow().places[self.place].open
    }
}
