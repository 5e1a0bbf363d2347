//! Waiting for what tasks on the shards return.
//!
//! Owns: a place for each shard's result, which outlives the task that a lost shard was running: the one
//! made anew fills it.

use super::shard::Shard;
use crate::driver::uring::Uring;
use crate::engine::standing::StandingTask;
use crate::error::{Error, ErrorKind};
use crate::shard::local::LocalShard;
use crate::shard::mailbox::Errand;
use futures_channel::oneshot;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll};

/// What the tasks of [`Engine::spawn_on_each`](crate::Engine::spawn_on_each) return, in the order of
/// shards, when all have ended. Dropping it leaves the tasks running.
///
/// The task of a shard that was lost by a defect of the engine is made anew on its successor, and what
/// that one returns is the result.
#[must_use = "await it for what the tasks return, or drop it knowingly"]
pub struct OnEach<T> {
    waiting: Vec<Option<oneshot::Receiver<T>>>,
    ended: Vec<Option<Result<T, Error>>>,
}

impl<T: Send + 'static> OnEach<T> {
    /// The places for the results of `task`, and what fills them.
    pub(crate) fn of<F>(task: F, shards: usize) -> (EachTask<F, T>, OnEach<T>) {
        let (places, waiting) = (0..shards)
            .map(|_| {
                let (place, waiting) = oneshot::channel();
                (
                    Arc::new(ResultPlace(Mutex::new(Some(place)))),
                    Some(waiting),
                )
            })
            .unzip();
        let ended = (0..shards).map(|_| None).collect();
        (EachTask { task, places }, OnEach { waiting, ended })
    }

    /// Waits for those tasks that could be started; why the others could not is their result.
    pub(crate) fn except(mut self, refused: Vec<Option<Error>>) -> OnEach<T> {
        for (shard, error) in refused.into_iter().enumerate() {
            if let Some(error) = error {
                self.waiting[shard] = None;
                self.ended[shard] = Some(Err(error));
            }
        }
        self
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

/// A task for every shard, as often as it has to be made.
pub(crate) struct EachTask<F, T> {
    task: F,
    places: Vec<Arc<ResultPlace<T>>>,
}

impl<F, R> StandingTask<Uring> for EachTask<F, R::Output>
where
    F: Fn(Shard) -> R + Clone + Send + 'static,
    R: Future + 'static,
    R::Output: Send + 'static,
{
    fn make(&self, shard: usize) -> Option<Errand<Uring>> {
        let place = self.places[shard].clone();
        if place.is_over() {
            return None;
        }
        let task = self.task.clone();
        Some(Box::new(move |local| {
            let (handle, shard) = (Shard::new(local.clone()), local.clone());
            local.spawn(async move {
                let filling = Filling { place, shard };
                let result = task(handle).await;
                filling.place.fill(result);
            });
        }))
    }

    fn end(&self, shard: usize) {
        self.places[shard].give_up();
    }

    fn is_over(&self) -> bool {
        self.places.iter().all(|place| place.is_over())
    }
}

/// Where one shard's result goes. Touched when a task begins and when it ends.
struct ResultPlace<T>(Mutex<Option<oneshot::Sender<T>>>);

impl<T> ResultPlace<T> {
    fn fill(&self, result: T) {
        if let Some(place) = self.sender().take() {
            // Whoever wanted the result may be gone.
            let _ = place.send(result);
        }
    }

    fn give_up(&self) {
        *self.sender() = None;
    }

    fn is_over(&self) -> bool {
        self.sender().is_none()
    }

    fn sender(&self) -> MutexGuard<'_, Option<oneshot::Sender<T>>> {
        // It is a single store that is locked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task that is to fill a place. One that goes because its shard was lost leaves it to its successor; what
/// else ends it, ends it for good.
struct Filling<T> {
    place: Arc<ResultPlace<T>>,
    shard: LocalShard<Uring>,
}

impl<T> Drop for Filling<T> {
    fn drop(&mut self) {
        if !self.shard.is_lost() {
            self.place.give_up();
        }
    }
}
