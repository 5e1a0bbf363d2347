//! A future run on the thread that asks for it, for a bounded time.

use crate::time::Time;
use crate::time::clock::Clock;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

/// Runs `future` on this thread, until then at most.
pub(super) fn within<F: Future>(future: F, clock: &Clock, until: Time) -> Option<F::Output> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = TaskContext::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Some(output);
        }
        match until.since(clock.now()) {
            Duration::ZERO => return None,
            left => thread::park_timeout(left),
        }
    }
}
