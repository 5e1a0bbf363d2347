//! Whatever a peer, a network or a caller does wrong comes back as one typed error, and leaves
//! nothing behind.

#[path = "../common/mod.rs"]
mod common;

mod requests;
mod responses;
mod unfinished;
mod unreachable;

use bytes::Bytes;
use common::body::Steps;
use common::bounded;
use common::client::{Client, NAME, WAYS, Way, collect, get, request, spawn, with_body, within};
use common::peer::Peer;
use http::Method;
use ringpool::on_shard::Head;
use ringpool::{Body, Error, ErrorKind, Phase, RequestSent};
use std::error::Error as _;
use std::net::TcpListener;
use std::time::Duration;

/// What every error has to hold: one line, the upstream's name, and the figures.
fn check(error: &Error, kind: ErrorKind, attempts: u32, sent: RequestSent, what: &str) {
    assert_eq!(error.kind(), kind, "{what}: {error:?}");
    assert_eq!(error.upstream(), Some(NAME), "{what}: {error}");
    assert_eq!(error.attempts(), attempts, "{what}: {error}");
    assert_eq!(error.request_sent(), sent, "{what}: {error}");
    let line = error.to_string();
    assert!(!line.contains('\n') && line.len() < 300, "{what}: {line}");
    assert!(line.starts_with("peer: "), "{what}: {line}");
}
