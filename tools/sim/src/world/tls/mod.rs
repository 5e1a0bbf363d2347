//! The TLS of servers: rustls, between the wire and a server that speaks in plain text.
//!
//! | file | concept |
//! |---|---|
//! | `provider` | keys that repeat themselves |
//! | `certificates`, `sessions` | what servers show, and what they remember |
//! | `ground` | what all servers of a run share |
//! | `mischief` | what goes wrong |

mod certificates;
mod ground;
mod mischief;
mod provider;
mod server;
mod sessions;

pub use certificates::{Certificate, roots};
pub use ground::Ground;
pub use provider::provider;
pub use server::{Service, TlsServer};
