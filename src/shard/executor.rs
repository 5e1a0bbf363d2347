//! Runs tasks on the shard's thread.
//!
//! Owns: the tasks and the order in which they run. Never: polls a task while anything of the shard is
//! borrowed, or lets one task's panic reach another.
//!
//! A waker may be used on any thread. On the shard's own thread, during a turn, it appends to a plain
//! list; elsewhere it goes through the mailbox and, if the shard sleeps, wakes it. What waits for the shard's own
//! events needs no waker (`waking`).

use super::mailbox::Mailbox;
use super::recycled::{FuturePlaces, TaskFuture};
use super::task_names::{TaskName, TaskNames, TaskState, enqueue};
use super::waking::{self, LocalTask, polling};
use crate::driver::Driver;
use crate::slab::{Key, Slab};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Context as TaskContext;

/// The tasks of one shard.
pub(crate) struct Executor<D: Driver> {
    /// Distinguishes this executor from every other one in the process.
    id: u64,
    tasks: RefCell<Slab<Task<D>>>,
    /// The list being run; kept for its capacity.
    running: RefCell<Vec<Key>>,
    /// Tasks woken in one turn and left for the next.
    carried: RefCell<Vec<Key>>,
    mailbox: Arc<Mailbox<D>>,
    names: TaskNames<D>,
    /// Places for what runs calls.
    places: FuturePlaces,
    panics: Cell<u64>,
}

struct Task<D: Driver> {
    /// Taken out while it is polled, together: to clone a waker is to count across threads.
    idle: Option<Idle>,
    kind: TaskKind,
    anywhere: Arc<TaskState<D>>,
}

/// Whose code a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TaskKind {
    /// The service's own, which may do anything: at the end it is dropped.
    Own,
    /// The engine's, in the service of a caller on another thread: at the end it is polled once more, to
    /// tell its caller how far it got.
    Serving,
}

/// What is polled of a task, and whom it wakes.
struct Idle {
    future: TaskFuture,
    here: Rc<LocalTask>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl<D: Driver> Executor<D> {
    pub(crate) fn new(mailbox: Arc<Mailbox<D>>) -> Rc<Executor<D>> {
        Rc::new(Executor {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            tasks: RefCell::new(Slab::new()),
            running: RefCell::new(Vec::new()),
            carried: RefCell::new(Vec::new()),
            mailbox,
            names: TaskNames::default(),
            places: FuturePlaces::default(),
            panics: Cell::new(0),
        })
    }

    /// Marks the beginning of this shard's turn on this thread; the end when the guard is dropped.
    /// What was woken but not run by then waits for the next turn.
    pub(crate) fn begin_turn(&self) -> TurnGuard<'_, D> {
        waking::begin_turn(self.id, &mut self.carried.borrow_mut());
        TurnGuard(self)
    }

    /// Adds a task of the service's own; it first runs in this turn or the next one.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.add(TaskKind::Own, Box::pin(Some(future)));
    }

    /// As [`spawn`](Executor::spawn), for one that answers a caller: it is polled for a last time when the
    /// shard ends, and must not wait for anything then.
    pub(crate) fn spawn_serving(&self, future: impl Future<Output = ()> + 'static) {
        self.add(TaskKind::Serving, Box::pin(Some(future)));
    }

    /// As [`spawn_serving`](Executor::spawn_serving), for what `make` makes: that comes and goes with each call, and takes over the place of
    /// one that has ended.
    ///
    /// # Panics
    /// If it is of another type than those before.
    #[inline(always)]
    pub(super) fn spawn_call<F: Future<Output = ()> + 'static>(&self, make: impl FnOnce() -> F) {
        self.add(TaskKind::Serving, self.places.keep(make));
    }

    fn add(&self, kind: TaskKind, future: TaskFuture) {
        let key = self.tasks.borrow_mut().insert_with(|task| {
            let TaskName { here, anywhere } = self.names.give(self.id, task, &self.mailbox);
            Task {
                idle: Some(Idle { future, here }),
                kind,
                anywhere,
            }
        });
        enqueue(self.id, key, &self.mailbox);
    }

    /// Runs every task that wants to; those woken meanwhile run as well, up to a bound of passes, so
    /// that tasks which keep waking each other cannot keep the ring from being served.
    pub(crate) fn run(&self) {
        const PASSES_MAX: usize = 4;
        while let Some(task) = self.mailbox.take_ready() {
            waking::enqueue(self.id, task);
        }
        for _ in 0..PASSES_MAX {
            let mut running = self.running.take();
            waking::swap_ready(&mut running);
            if running.is_empty() {
                self.running.replace(running);
                return;
            }
            for &task in &running {
                self.poll(task);
            }
            running.clear();
            self.running.replace(running);
        }
    }

    /// Whether tasks were left for the next turn.
    pub(crate) fn has_carried(&self) -> bool {
        !self.carried.borrow().is_empty() || waking::is_any_aside(self.id)
    }

    /// How many tasks there are.
    pub(crate) fn len(&self) -> usize {
        self.tasks.borrow().len()
    }

    /// Those of them that serve nobody elsewhere.
    pub(crate) fn own(&self) -> usize {
        let tasks = self.tasks.borrow();
        tasks
            .iter()
            .filter(|(_, task)| task.kind == TaskKind::Own)
            .count()
    }

    /// How many tasks ended by a panic.
    pub(crate) fn panics(&self) -> u64 {
        self.panics.get()
    }

    /// Polls those that serve callers for the last time, and drops all.
    pub(crate) fn finish(&self) {
        {
            let _turn = self.begin_turn();
            let tasks = self.tasks.borrow();
            let serving = tasks.iter().filter(|(_, task)| match task.kind {
                TaskKind::Own => false,
                TaskKind::Serving => true,
            });
            let serving: Vec<Key> = serving.map(|(key, _)| key).collect();
            drop(tasks);
            for task in serving {
                self.poll(task);
            }
        }
        self.clear();
    }

    /// Drops all tasks, wherever they are.
    pub(crate) fn clear(&self) {
        // A task's destructor may spawn another task; one that always does is left to leak.
        const ROUNDS_MAX: usize = 64;
        for _ in 0..ROUNDS_MAX {
            let keys: Vec<Key> = self.tasks.borrow().iter().map(|(key, _)| key).collect();
            if keys.is_empty() {
                return;
            }
            for key in keys {
                let task = self.tasks.borrow_mut().remove(key);
                self.drop_task(task);
            }
        }
    }

    fn poll(&self, key: Key) {
        let Some(idle) = self.take(key) else {
            return;
        };
        let Idle { mut future, here } = idle;
        let mut cx = TaskContext::from_waker(here.waker());
        let poll = || catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut cx)));
        match polling(&here, poll) {
            Ok(std::task::Poll::Pending) => {
                if let Some(task) = self.tasks.borrow_mut().get_mut(key) {
                    task.idle = Some(Idle { future, here });
                }
            }
            Ok(std::task::Poll::Ready(())) => self.end(key, future, here),
            Err(_) => {
                self.panics.set(self.panics.get() + 1);
                self.end(key, future, here);
            }
        }
    }

    /// A task that was being polled has ended.
    fn end(&self, key: Key, future: TaskFuture, here: Rc<LocalTask>) {
        let task = self.tasks.borrow_mut().remove(key);
        self.drop_quietly(future);
        // Not before: what it held may have been able to wake it.
        if let Some(Task { anywhere, .. }) = task {
            self.names.take_back(TaskName { here, anywhere });
        }
    }

    fn take(&self, key: Key) -> Option<Idle> {
        let mut tasks = self.tasks.borrow_mut();
        let task = tasks.get_mut(key)?;
        task.anywhere.unqueue();
        let idle = task.idle.take()?;
        idle.here.unlist();
        Some(idle)
    }

    fn drop_task(&self, task: Option<Task<D>>) {
        if let Some(idle) = task.and_then(|task| task.idle) {
            self.drop_quietly(idle.future);
        }
    }

    /// A destructor that panics is the task's own affair as well.
    fn drop_quietly(&self, future: TaskFuture) {
        if catch_unwind(AssertUnwindSafe(|| future.vacate(&self.places))).is_err() {
            self.panics.set(self.panics.get() + 1);
        }
    }
}

impl<D: Driver> Drop for Executor<D> {
    fn drop(&mut self) {
        waking::forget(self.id);
    }
}

/// While it lives, wake-ups on this thread for this executor's tasks stay on this thread.
pub(crate) struct TurnGuard<'a, D: Driver>(&'a Executor<D>);

impl<D: Driver> Drop for TurnGuard<'_, D> {
    fn drop(&mut self) {
        waking::end_turn(&mut self.0.carried.borrow_mut());
    }
}
