//! What is said on a connection, as pure state machines: bytes in, events out.
//!
//! Owns: the syntax and the rules of each protocol, and the verdict on a connection after use.
//! Never: sees a socket, a clock, a thread or a random source; imports `pool` or `tls`.

pub mod http1;
#[cfg(any(test, feature = "simulation"))]
pub mod mux;
