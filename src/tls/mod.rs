//! TLS, sans-IO: ciphertext in, plaintext out, and the other way round.
//!
//! Owns: what a connection must prove (an [`Identity`]), the tickets that let it prove it again for
//! less (a [`TicketStore`]), and the TLS of one connection (a [`Session`]). rustls does the work and
//! shows nowhere but in errors. Never: touches a socket, knows a connection's fate, logs a key unless
//! asked to, or decides what may be sent early (which could be replayed).
//!
//! The one thing taken from outside is the wall clock: rustls reads it to judge certificates and
//! tickets.

mod config;
mod credentials;
mod error;
mod session;
mod store;
mod tickets;
mod trust;
mod verifier;
mod x509;

#[cfg(test)]
mod tests;

pub use config::{ClientTls, Identity, is_server_name};
pub use credentials::Credentials;
pub use error::{CertificateProblem, TlsError};
pub use session::{Handshake, Session};
pub use store::TicketStore;
pub use trust::{PinnedKeys, Revocation, Roots, Trust};
