//! Waiting for what tasks on the shards return.

use crate::error::{Error, ErrorKind};
use futures_channel::oneshot;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

/// What the tasks of [`Engine::spawn_on_each`](crate::Engine::spawn_on_each) return, in the order of
/// shards, when all have ended. Dropping it leaves the tasks running.
#[must_use = "await it for what the tasks return, or drop it knowingly"]
pub struct OnEach<T> {
    waiting: Vec<Option<oneshot::Receiver<T>>>,
    ended: Vec<Option<Result<T, Error>>>,
}

impl<T> OnEach<T> {
    /// Waits for the tasks that could be started; why the others could not is their result.
    pub(crate) fn new(tasks: Vec<Result<oneshot::Receiver<T>, Error>>) -> OnEach<T> {
        let (waiting, ended) = tasks
            .into_iter()
            .map(|task| match task {
                Ok(receiver) => (Some(receiver), None),
                Err(error) => (None, Some(Err(error))),
            })
            .unzip();
        OnEach { waiting, ended }
    }
}

impl<T> Unpin for OnEach<T> {}

impl<T> Future for OnEach<T> {
    /// A task that panicked, or that the engine's end cut short, is an error of kind
    /// [`Draining`](ErrorKind::Draining).
    type Output = Vec<Result<T, Error>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let OnEach { waiting, ended } = &mut *self;
        for (receiver, ended) in waiting.iter_mut().zip(ended.iter_mut()) {
            let Some(receiving) = receiver else {
                continue;
            };
            if let Poll::Ready(result) = Pin::new(receiving).poll(cx) {
                *receiver = None;
                *ended = Some(result.map_err(|_| {
                    Error::new(
                        ErrorKind::Draining,
                        "the task did not end by itself: it panicked, or the engine stopped",
                    )
                }));
            }
        }
        if waiting.iter().any(Option::is_some) {
            return Poll::Pending;
        }
        Poll::Ready(ended.drain(..).flatten().collect())
    }
}

impl<T> fmt::Debug for OnEach<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = self.waiting.iter().flatten().count();
        write!(f, "OnEach({left} of {} tasks run)", self.waiting.len())
    }
}
