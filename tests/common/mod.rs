//! What several test files share; each file of it owns one thing.

pub mod body;
pub mod bounded;
pub mod certificates;
pub mod client;
pub mod peer;
pub mod servers;
pub mod tls_peer;
