//! Waiting with an end: whatever hangs fails the test, with a message that says what hung.

use ringpool::config::UpstreamConfig;
use ringpool::{Config, Engine, Snapshot};
use std::future::Future;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// How long anything may take that takes milliseconds when all is well.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a future on this thread, for [`PATIENCE`] at most.
///
/// # Panics
/// If it takes longer.
pub fn run<F: Future>(future: F) -> F::Output {
    run_for(PATIENCE, future)
}

/// Runs a future on this thread, for `patience` at most.
///
/// # Panics
/// If it takes longer.
pub fn run_for<F: Future>(patience: Duration, future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        match tokio::time::timeout(patience, future).await {
            Ok(output) => output,
            Err(_) => panic!("hung: not done after {patience:?}"),
        }
    })
}

/// Runs `work` on a thread of its own.
///
/// # Panics
/// If it panics, or takes more than `limit`.
#[track_caller]
pub fn within<T: Send + 'static>(
    limit: Duration,
    what: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (done, result) = mpsc::channel();
    let worker = thread::spawn(move || {
        let result = work();
        // Nobody listens after the time limit.
        let _ = done.send(result);
    });
    match result.recv_timeout(limit) {
        Ok(result) => {
            worker.join().expect("it has sent its result");
            result
        }
        Err(RecvTimeoutError::Timeout) => panic!("{what} takes more than {limit:?}"),
        Err(RecvTimeoutError::Disconnected) => match worker.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => unreachable!("a result is sent before the thread ends"),
        },
    }
}

/// Looks at snapshots until `reached` says so.
///
/// # Panics
/// If that takes longer than [`PATIENCE`]; the message holds the last snapshot.
pub fn until(engine: &Engine, what: &str, reached: impl Fn(&Snapshot) -> bool) -> Snapshot {
    let pause = Duration::from_millis(5);
    for _ in 0..PATIENCE.as_millis() / pause.as_millis() {
        let snapshot = run(engine.snapshot()).expect("the engine runs");
        if reached(&snapshot) {
            return snapshot;
        }
        thread::sleep(pause);
    }
    let last = run(engine.snapshot());
    panic!("never came: {what}; last seen: {last:#?}");
}

/// An engine with one upstream, "backend".
pub fn engine(shards: usize, backend: UpstreamConfig) -> Engine {
    Engine::start(Config {
        shards,
        pin: false,
        ..Config::with_upstream("backend", backend)
    })
    .expect("the engine starts")
}
