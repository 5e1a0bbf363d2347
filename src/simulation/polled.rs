//! A future that is polled by hand.
//!
//! Owns: a waker that only notes that it was called. A future that nobody has woken is not polled
//! again, so a lost wake-up shows as something that never ends, as it would in a service.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as TaskContext, Poll, Wake, Waker};

/// Notes that whoever waits has something to look at.
pub(super) struct Alarm {
    woken: Arc<Woken>,
    waker: Waker,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Woken>) {
        self.0.store(true, Ordering::Release);
    }

    fn wake_by_ref(self: &Arc<Woken>) {
        self.0.store(true, Ordering::Release);
    }
}

impl Alarm {
    /// Rings once at first: what was never polled has everything to look at.
    pub(super) fn new() -> Alarm {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(woken.clone());
        Alarm { woken, waker }
    }

    /// Rings.
    pub(super) fn ring(&self) {
        self.waker.wake_by_ref();
    }

    /// Whether it has rung since the last time.
    pub(super) fn take(&self) -> bool {
        self.woken.0.load(Ordering::Acquire) && self.woken.0.swap(false, Ordering::AcqRel)
    }

    pub(super) fn context(&self) -> TaskContext<'_> {
        TaskContext::from_waker(&self.waker)
    }
}

/// A future and its result.
pub(super) struct Polled<T> {
    future: Option<Pin<Box<dyn Future<Output = T>>>>,
}

impl<T> Polled<T> {
    pub(super) fn new(future: impl Future<Output = T> + 'static) -> Polled<T> {
        Polled {
            future: Some(Box::pin(future)),
        }
    }

    /// The result, once.
    pub(super) fn poll(&mut self, alarm: &Alarm) -> Option<T> {
        let future = self.future.as_mut()?;
        match future.as_mut().poll(&mut alarm.context()) {
            Poll::Pending => None,
            Poll::Ready(result) => {
                self.future = None;
                Some(result)
            }
        }
    }
}
