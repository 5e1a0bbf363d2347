//! What several test files share; each file of it owns one thing.

#![allow(dead_code, reason = "each test file uses its own part of this")]

pub mod answering;
pub mod body;
pub mod bounded;
pub mod certificates;
pub mod client;
pub mod conversation;
pub mod idle;
pub mod peer;
pub mod scripted;
pub mod servers;
pub mod tls_peer;
