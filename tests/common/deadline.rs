//! A bound for every wait, so that a hang is a failure with a name.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

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
