//! HTTP/1.1 messages in both directions: lengths, chunks, trailers, interim responses, expectations,
//! upgrades, tunnels; whole, in pieces, and byte by byte.

#[path = "../common/mod.rs"]
mod common;

mod bodies;
mod expectations;
mod flow;
mod upgrades;

use bytes::Bytes;
use common::body::Steps;
use common::client::{
    Answer, Client, NAME, Running, WAYS, Way, collect, get, request, spawn, with_body,
};
use common::peer::{OK, Peer};
use http::Method;
use http_body::Body as _;
use http_body_util::BodyExt;
use ringpool::{Body, Error, ErrorKind, Phase, RequestSent};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Bytes whose place in the stream shows.
fn pattern(len: usize) -> Bytes {
    let word = |n: usize| (n as u32).wrapping_mul(2_654_435_761).to_le_bytes();
    let words = (0..len.div_ceil(4)).flat_map(word);
    words.take(len).collect::<Vec<u8>>().into()
}

fn in_chunks(body: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in body.chunks(size) {
        out.extend(format!("{:x};ext=1\r\n", chunk.len()).bytes());
        out.extend(chunk);
        out.extend(b"\r\n");
    }
    out.extend(b"0\r\n\r\n");
    out
}

/// Sends a request with any body, either way.
fn upload(
    client: &Client,
    on_shard: bool,
    request: http::Request<Body>,
) -> Running<Result<Answer, Error>> {
    if !on_shard {
        let upstream = client.upstream();
        return spawn(async move { collect(upstream.call(request).await?).await });
    }
    // A task on the shard is made by a closure that could be called more than once.
    let request = std::sync::Arc::new(std::sync::Mutex::new(Some(request)));
    client.on_shard(move |shard| {
        let request = request.lock().unwrap().take().unwrap();
        async move { collect(shard.upstream(NAME)?.call(request).await?).await }
    })
}
