//! An engine with one upstream, and the ways to use it: from any thread, or on its shard.

use super::peer::{PATIENCE, Peer};
use bytes::Bytes;
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use ringpool::config::{Config, UpstreamConfig};
use ringpool::on_shard::{Head, Shard};
use ringpool::{Body, Engine, Error, Snapshot, Travelled, Trip, block_on};
use std::future::Future;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The upstream's name in every test.
pub const NAME: &str = "peer";

/// How a request reaches the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `Upstream::call`, from a thread of the test's.
    Anywhere,
    /// `on_shard::Upstream::call`.
    OnShard,
    /// `on_shard::Upstream::exchange`, the low level.
    Exchange,
}

pub const WAYS: [Way; 3] = [Way::Anywhere, Way::OnShard, Way::Exchange];

/// A response, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    pub trailers: Option<http::HeaderMap>,
    pub trip: Trip,
}

/// An engine with one upstream.
pub struct Client {
    pub engine: Engine,
}

impl Client {
    /// For HTTP to `peer`, with defaults.
    pub fn new(peer: &Peer) -> Client {
        Client::with(&peer.http(), |_| {})
    }

    /// For the upstream at `url`, with settings of the test's.
    pub fn with(url: &str, settings: impl FnOnce(&mut UpstreamConfig)) -> Client {
        let mut upstream = UpstreamConfig {
            // So that a failed dial leaves no timer behind for long.
            dial_backoff_max: Duration::from_millis(20),
            ..UpstreamConfig::at(url).unwrap()
        };
        // A peer that fails on purpose, again and again, is asked all the same.
        upstream.breaker.enabled = false;
        settings(&mut upstream);
        let config = Config {
            shards: 1,
            pin: false,
            ..Config::with_upstream(NAME, upstream)
        };
        Client {
            engine: Engine::start(config).expect("the engine starts"),
        }
    }

    /// The upstream, for any thread.
    pub fn upstream(&self) -> ringpool::Upstream {
        self.engine.upstream(NAME).unwrap()
    }

    /// Sends a request and reads the response to its end, on a thread of its own or on the shard.
    pub fn send(&self, way: Way, request: http::Request<Bytes>) -> Running<Result<Answer, Error>> {
        match way {
            Way::Anywhere => {
                let upstream = self.upstream();
                spawn(async move { collect(upstream.call(request).await?).await })
            }
            Way::OnShard => self.on_shard(move |shard| {
                let request = request.clone();
                async move {
                    let upstream = shard.upstream(NAME)?;
                    collect(upstream.call(request).await?).await
                }
            }),
            Way::Exchange => self.on_shard(move |shard| exchange(shard, request.clone())),
        }
    }

    /// `GET target`
    pub fn get(&self, way: Way, target: &str) -> Running<Result<Answer, Error>> {
        self.send(way, get(target))
    }

    /// Runs a task on the shard.
    pub fn on_shard<F, R>(&self, task: F) -> Running<R::Output>
    where
        F: Fn(Shard) -> R + Clone + Send + 'static,
        R: Future + 'static,
        R::Output: Send + 'static,
    {
        let each = self.engine.spawn_on_each(task);
        spawn(async move {
            let mut results = each.await;
            results.remove(0).expect("the task on the shard ends")
        })
    }

    pub fn snapshot(&self) -> Snapshot {
        block_on(self.engine.snapshot()).unwrap()
    }

    /// Waits until the engine's figures are so.
    pub fn until(&self, what: &str, so: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let begun = Instant::now();
        loop {
            let snapshot = self.snapshot();
            if so(&snapshot) {
                return snapshot;
            }
            let waited = begun.elapsed();
            assert!(waited < PATIENCE, "{what} never came true: {snapshot:#?}");
            thread::yield_now();
        }
    }

    /// Waits until nothing is left: no connection, socket, buffer, waiter, timer or task.
    pub fn until_empty(&self) -> Snapshot {
        self.until("every gauge at zero", |snapshot| {
            snapshot.now == ringpool::Gauges::default()
        })
    }
}

/// `GET target`
pub fn get(target: &str) -> http::Request<Bytes> {
    http::Request::get(target).body(Bytes::new()).unwrap()
}

/// `method target` with a body.
pub fn with_body(
    method: http::Method,
    target: &str,
    body: impl Into<Bytes>,
) -> http::Request<Bytes> {
    let request = http::Request::builder().method(method).uri(target);
    request.body(body.into()).unwrap()
}

/// Reads a response to its end.
pub async fn collect<B>(response: http::Response<B>) -> Result<Answer, Error>
where
    B: HttpBody<Data = Bytes, Error = Error> + Travelled,
{
    let trip = Trip::of(&response).expect("every response has a trip");
    let (parts, body) = response.into_parts();
    let collected = body.collect().await?;
    Ok(Answer {
        status: parts.status.as_u16(),
        trailers: collected.trailers().cloned(),
        body: collected.to_bytes().to_vec(),
        trip,
    })
}

async fn exchange(shard: Shard, request: http::Request<Bytes>) -> Result<Answer, Error> {
    let upstream = shard.upstream(NAME)?;
    let target = request.uri().path();
    let mut head = Head::new(request.method().as_str(), target);
    for (name, value) in request.headers() {
        head = head.header(name.as_str(), value.as_bytes());
    }
    let mut exchange = if request.body().is_empty() {
        upstream.exchange(head).await?
    } else {
        upstream.exchange_with(head, request.body()).await?
    };
    let mut body = Vec::new();
    while let Some(chunk) = exchange.chunk().await? {
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status: exchange.status(),
        body,
        trailers: None,
        trip: exchange.trip(),
    })
}

/// A future that runs on a thread of its own.
pub struct Running<T>(Receiver<T>);

/// Runs a future on a thread of its own.
pub fn spawn<F>(future: F) -> Running<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let (done, result) = channel();
    thread::spawn(move || {
        // Whoever started it may have failed meanwhile.
        let _ = done.send(block_on(future));
    });
    Running(result)
}

/// Runs a future here, for no longer than [`PATIENCE`].
pub fn within<F>(future: F) -> F::Output
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    spawn(future).wait()
}

impl<T> Running<T> {
    /// What the future came to.
    #[track_caller]
    pub fn wait(self) -> T {
        match self.0.recv_timeout(PATIENCE) {
            Ok(value) => value,
            Err(RecvTimeoutError::Timeout) => panic!("it does not end"),
            Err(RecvTimeoutError::Disconnected) => panic!("it panicked"),
        }
    }
}

/// A request's body that is of the `Body` type already.
pub fn request<B: Into<Body>>(method: &str, target: &str, body: B) -> http::Request<Body> {
    let request = http::Request::builder().method(method).uri(target);
    request.body(body.into()).unwrap()
}
