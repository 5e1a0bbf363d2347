//! Conversations with a [`Scripted`](super::scripted::Scripted) peer, each checked to the last byte; futures cut
//! short in every place; and what has to be true afterwards.

use super::scripted::{Script, Scripted, pattern};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt;
use ringpool::on_shard::{Head, Shard};
use ringpool::{Body, Config, Engine, Error, Snapshot};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

/// Longer than anything here takes, however slow the machine.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The low-level exchange: on the shard only.
    Exchange,
    /// A call with a streaming upload and a streaming response.
    Call,
    /// A checkout; write, flush, read, release.
    Lease,
    /// The same, and the socket detached in the end.
    Detach,
}

impl Kind {
    pub fn is_raw(self) -> bool {
        match self {
            Kind::Exchange | Kind::Call => false,
            Kind::Lease | Kind::Detach => true,
        }
    }
}

/// One conversation.
#[derive(Clone, Copy, Debug)]
pub struct Talk {
    pub kind: Kind,
    /// Bytes of the body, both ways where there are two.
    pub length: usize,
    /// Tells the bodies of all conversations apart.
    pub nonce: u64,
    /// Whether the connection is to end with it.
    pub closes: bool,
}

impl Talk {
    fn path(&self, kind: &str) -> String {
        let bye = if self.closes { "/bye" } else { "" };
        format!("/{kind}/{}/{}{bye}", self.length, self.nonce)
    }

    fn post(&self) -> http::Request<Body> {
        let body = Body::stream(Pieces::new(pattern(self.nonce, self.length)));
        let request = http::Request::post(self.path("chunked"));
        request.body(body).expect("a request")
    }

    /// A request for a stream that knows nothing of HTTP.
    fn by_hand(&self) -> (Vec<u8>, Bytes) {
        let (path, length) = (self.path("length"), self.length);
        let head = format!("POST {path} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n");
        (head.into(), pattern(self.nonce, self.length).into())
    }

    fn check(&self, body: &[u8]) {
        assert!(
            body == pattern(self.nonce, self.length),
            "{self:?} was answered with another body: {} bytes, {:?}…",
            body.len(),
            String::from_utf8_lossy(&body[..body.len().min(32)])
        );
    }

    /// Whether `received` is the whole answer to what [`by_hand`](Talk::by_hand) asked.
    fn is_answered(&self, received: &[u8]) -> bool {
        let Some(head) = received.windows(4).position(|at| at == b"\r\n\r\n") else {
            return false;
        };
        if received.len() - head - 4 < self.length {
            return false;
        }
        self.check(&received[head + 4..]);
        true
    }

    /// Holds the conversation on the shard.
    ///
    /// # Errors
    /// The engine's.
    ///
    /// # Panics
    /// If the answer is another one's.
    pub async fn on_shard(&self, upstream: &ringpool::on_shard::Upstream) -> Result<(), Error> {
        match self.kind {
            Kind::Exchange => {
                let path = self.path("chunked");
                let mut exchange = upstream.exchange(Head::get(&path)).await?;
                let mut body = Vec::new();
                while let Some(chunk) = exchange.chunk().await? {
                    body.extend_from_slice(&chunk);
                }
                self.check(&body);
            }
            Kind::Call => {
                let response = upstream.call(self.post()).await?;
                self.check(&response.into_body().collect().await?.to_bytes());
            }
            Kind::Lease | Kind::Detach => {
                let mut lease = upstream.checkout().await?;
                let (head, body) = self.by_hand();
                lease.write_all(&head).await?;
                lease.write(body).await?;
                lease.flush().await?;
                let mut received = Vec::new();
                while !self.is_answered(&received) {
                    let piece = lease.read().await?.expect("more of the answer");
                    received.extend_from_slice(&piece);
                }
                match self.kind {
                    Kind::Detach => assert!(lease.detach().await?.received.is_empty()),
                    _ if self.closes => lease.discard(),
                    _ => lease.release(),
                }
            }
        }
        Ok(())
    }

    /// Holds the conversation from whatever thread this is.
    ///
    /// # Errors
    /// The engine's.
    ///
    /// # Panics
    /// If the answer is another one's.
    pub async fn anywhere(&self, upstream: &ringpool::Upstream) -> Result<(), Error> {
        match self.kind {
            Kind::Exchange => panic!("the exchange is for tasks on a shard"),
            Kind::Call => {
                let response = upstream.call(self.post()).await?;
                self.check(&response.into_body().collect().await?.to_bytes());
            }
            Kind::Lease | Kind::Detach => {
                let mut lease = upstream.checkout().await?;
                let (head, body) = self.by_hand();
                lease.write_all(&head).await?;
                lease.write(body).await?;
                lease.flush().await?;
                let mut received = Vec::new();
                while !self.is_answered(&received) {
                    let piece = lease.read().await?.expect("more of the answer");
                    received.extend_from_slice(&piece);
                }
                match self.kind {
                    Kind::Detach => assert!(lease.detach().await?.received.is_empty()),
                    _ if self.closes => lease.discard(),
                    _ => lease.release(),
                }
            }
        }
        Ok(())
    }
}

/// A request's body in pieces small and large, with a pause before each.
struct Pieces {
    left: Bytes,
    given: usize,
    paused: bool,
}

impl Pieces {
    fn new(all: Vec<u8>) -> Pieces {
        Pieces {
            left: all.into(),
            given: 0,
            paused: false,
        }
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.paused = !self.paused;
        if self.paused {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        self.given += 1;
        let size = [100, 5_000, usize::MAX][(self.given - 1).min(2)];
        let size = size.min(self.left.len());
        Poll::Ready(Some(Ok(Frame::data(self.left.split_to(size)))))
    }
}

/// Where a future is dropped.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// When it has been pending so many times: 0 is before its first poll.
    AtPending(u64),
    /// When the peer has stopped; `settled`: and when the shard has surely seen all that the peer did before.
    AtStall { settled: bool },
}

/// Polls `future` up to the cut, and drops it there. Returns what it returned, if it was faster.
async fn cut<T>(
    script: &Script,
    future: impl Future<Output = T>,
    at: Cut,
    pause: &impl AsyncFn(),
) -> Option<T> {
    // In a box, so that the drop is a free as well.
    let mut future = Box::pin(future);
    let mut settling = pin!(pause());
    let mut pendings = 0;
    poll_fn(|cx| {
        match at {
            Cut::AtPending(0) => return Poll::Ready(None),
            Cut::AtPending(_) => {}
            Cut::AtStall { settled } => {
                let stalled = script.poll_stalled(cx).is_ready();
                if stalled && (!settled || settling.as_mut().poll(cx).is_ready()) {
                    return Poll::Ready(None);
                }
            }
        }
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        pendings += 1;
        script.pending();
        match at {
            Cut::AtPending(most) if most == pendings => Poll::Ready(None),
            Cut::AtPending(_) | Cut::AtStall { .. } => Poll::Pending,
        }
    })
    .await
}

/// How many places a matrix found to drop a future in.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    pub pendings: u64,
    pub stalls: u64,
}

/// No conversation here has as many places to be dropped in.
const PLACES_MAX: u64 = 500;

/// Holds a conversation again and again, cut at every place: at its k-th pending poll against a peer that says one
/// small thing at a time, and wherever the peer may stop for good. After each, one that is not cut has to get its
/// own answer. With `fresh`, each one that is cut begins with a dial.
///
/// `talk` holds a conversation; `pause` lasts as long as it takes a shard to see what has been sent to it.
pub async fn cut_everywhere(
    script: &Script,
    fresh: bool,
    talk: impl AsyncFn(u64, bool) -> Result<(), Error>,
    pause: impl AsyncFn(),
) -> Places {
    let whole = async |after: &str, place: u64| {
        let nonce = script.free();
        if let Err(error) = talk(nonce, fresh).await {
            panic!("after a drop at {after} {place}: {error} ({error:?})");
        }
    };
    let completed = |result: Option<Result<(), Error>>, before: &str| {
        if let Some(Err(error)) = &result {
            panic!("failed by itself, before {before}: {error} ({error:?})");
        }
        result.is_some()
    };
    whole("the beginning", 0).await;
    let mut places = Places {
        pendings: 0,
        stalls: 0,
    };
    for pendings in 0.. {
        assert!(pendings < PLACES_MAX, "it never ends");
        let nonce = script.pace();
        let at = Cut::AtPending(pendings);
        let result = cut(script, talk(nonce, false), at, &pause).await;
        let ended = completed(result, "its pending poll");
        whole("pending poll", pendings).await;
        if ended {
            break;
        }
        places.pendings += 1;
    }
    for steps in 0.. {
        assert!(steps < PLACES_MAX, "it never ends");
        let mut ended = false;
        for settled in [false, true] {
            let nonce = script.stall(steps);
            let at = Cut::AtStall { settled };
            let result = cut(script, talk(nonce, false), at, &pause).await;
            ended |= completed(result, "the peer's stop");
            whole("the peer's step", steps).await;
        }
        if ended {
            break;
        }
        places.stalls += 1;
    }
    places
}

/// As [`cut_everywhere`], in a task on the engine's only shard.
pub async fn cut_on_shard(
    engine: &Engine,
    peer: &Scripted,
    kind: Kind,
    length: usize,
    fresh: bool,
) -> Places {
    let script = peer.script.clone();
    let task = move |shard: Shard| {
        let script = script.clone();
        async move {
            let upstream = shard.upstream("peer").expect("it is configured");
            let talk = async |nonce, closes| {
                let talk = Talk {
                    kind,
                    length,
                    nonce,
                    closes,
                };
                talk.on_shard(&upstream).await
            };
            let pause = async || shard.sleep(Duration::from_millis(2)).await;
            cut_everywhere(&script, fresh, talk, pause).await
        }
    };
    let mut places = engine.spawn_on_each(task).await;
    places.remove(0).expect("the task's panic was printed")
}

/// As [`cut_everywhere`], from a tokio task.
pub async fn cut_anywhere(
    engine: &Engine,
    peer: &Scripted,
    kind: Kind,
    length: usize,
    fresh: bool,
) -> Places {
    let upstream = engine.upstream("peer").expect("it is configured");
    let talk = async |nonce, closes| {
        let talk = Talk {
            kind,
            length,
            nonce,
            closes,
        };
        talk.anywhere(&upstream).await
    };
    let pause = async || tokio::time::sleep(Duration::from_millis(2)).await;
    cut_everywhere(&peer.script, fresh, talk, pause).await
}

/// An engine of one shard with one upstream, `peer`, and one connection to it: whatever is leaked stops the next
/// conversation.
pub fn config(peer: &Scripted, raw: bool) -> Config {
    let mut upstream = peer.upstream(raw);
    upstream.connections_max = 1;
    Config {
        shards: 1,
        pin: false,
        ..Config::with_upstream("peer", upstream)
    }
}

/// Runs a test against a peer and an engine of its own, and asks afterwards for what was leaked: buffers, slots,
/// waiters, tasks, descriptors, and writes of the kernel to memory that was gone. Other threads of the process must
/// leave descriptors alone meanwhile.
pub fn leaving_nothing<T>(
    secure: bool,
    config: impl FnOnce(&Scripted) -> Config,
    test: impl AsyncFnOnce(&Engine, &Scripted) -> T,
) -> (T, Snapshot) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let before = descriptors();
    let peer = Scripted::start(secure);
    let engine = Engine::start(config(&peer)).expect("an engine");
    let result = runtime.block_on(async {
        let result = test(&engine, &peer).await;
        (result, at_rest(&engine).await)
    });
    engine.stop();
    drop(peer);
    assert_eq!(descriptors(), before, "descriptors were leaked");
    result
}

/// Waits until nobody holds anything, and returns the figures of that moment.
///
/// # Panics
/// If that does not come to pass, with what is held; or if the kernel met memory that was gone.
pub async fn at_rest(engine: &Engine) -> Snapshot {
    let waiting = async {
        loop {
            let snapshot = engine.snapshot().await.expect("it runs");
            let idle: u64 = snapshot.upstreams.values().map(|u| u.idle).sum();
            let now = &snapshot.now;
            let held = now.buffers_held + now.waiters + now.tasks;
            if held == 0 && now.connections == idle && now.sockets == idle {
                return snapshot;
            }
            // Nothing tells when: asks again.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let Ok(snapshot) = tokio::time::timeout(PATIENCE, waiting).await else {
        let snapshot = engine.snapshot().await;
        panic!("something is still held: {snapshot:#?}");
    };
    assert_eq!(snapshot.driver.faults, 0, "the kernel met freed memory");
    assert_eq!(snapshot.task_panics, 0, "a task panicked");
    snapshot
}

/// `future`'s output, or a panic that says what took too long.
pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(6 * PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: hangs"),
    }
}

/// Open descriptors of this process.
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd")
        .expect("the kernel lists them")
        .count()
}

/// Drops large uploads that the kernel cannot take, because the peer has stopped reading: a send is in flight then.
/// Afterwards a small one has to get its own answer.
pub async fn cut_stuck_sends(
    script: &Script,
    talk: impl AsyncFn(u64, usize) -> Result<(), Error>,
    pause: impl AsyncFn(),
) {
    for steps in [0, 1, 4] {
        let nonce = script.stall(steps);
        let at = Cut::AtStall { settled: true };
        let result = cut(script, talk(nonce, 16 << 20), at, &pause).await;
        assert!(result.is_none(), "a peer that does not read has answered");
        let nonce = script.free();
        if let Err(error) = talk(nonce, 1_000).await {
            panic!("after a send that was stuck at step {steps}: {error} ({error:?})");
        }
    }
}

/// [`cut_stuck_sends`], in a task on the engine's only shard and then from here.
pub async fn cut_stuck_sends_everywhere(engine: &Engine, peer: &Scripted, kind: Kind) {
    let talk = move |nonce, length| Talk {
        kind,
        length,
        nonce,
        closes: false,
    };
    let script = peer.script.clone();
    let task = move |shard: Shard| {
        let script = script.clone();
        async move {
            let upstream = shard.upstream("peer").expect("it is configured");
            let talk = async |nonce, length| talk(nonce, length).on_shard(&upstream).await;
            let pause = async || shard.sleep(Duration::from_millis(5)).await;
            cut_stuck_sends(&script, talk, pause).await;
        }
    };
    for ended in engine.spawn_on_each(task).await {
        ended.expect("the task's panic was printed");
    }
    let upstream = engine.upstream("peer").expect("it is configured");
    let talk = async |nonce, length| talk(nonce, length).anywhere(&upstream).await;
    let pause = async || tokio::time::sleep(Duration::from_millis(5)).await;
    cut_stuck_sends(&peer.script, talk, pause).await;
}
