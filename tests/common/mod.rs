//! What several test files share; each file of it owns one thing.

#![allow(dead_code, reason = "each test file uses its own part of this")]

pub mod answering;
pub mod bounded;
pub mod certificates;
pub mod deadline;
pub mod servers;
pub mod tls_peer;
