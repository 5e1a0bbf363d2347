//! Whom an event wakes: a task of this very thread, or whoever has a waker.
//!
//! Owns: what tasks and events say to each other on one thread, in plain memory. To clone, wake and drop a
//! [`Waker`] is to count across threads, three times a wait; a task that waits under its own waker needs none of it.
//! Never: crosses threads, or wakes a task that has ended.

use crate::slab::Key;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

thread_local! {
    /// The executor whose turn it is on this thread; 0 is none.
    static CURRENT: Cell<u64> = const { Cell::new(0) };
    /// Tasks of the current executor that want to run.
    static READY: RefCell<Vec<Key>> = const { RefCell::new(Vec::new()) };
    /// Tasks that were woken while it was not their executor's turn.
    static ASIDE: RefCell<Vec<(u64, Key)>> = const { RefCell::new(Vec::new()) };
    /// The task that is being polled.
    static POLLED: RefCell<Option<Rc<LocalTask>>> = const { RefCell::new(None) };
}

/// A task, as its own thread knows it.
pub(super) struct LocalTask {
    executor: u64,
    task: Key,
    /// What tells its waker from others: the addresses, never followed.
    waker: (*const (), *const ()),
    /// Whether it is on this thread's list of tasks to run, put there by a [`LocalWaker`].
    listed: Cell<bool>,
}

impl LocalTask {
    pub(super) fn new(executor: u64, task: Key, waker: &Waker) -> Rc<LocalTask> {
        Rc::new(LocalTask {
            executor,
            task,
            waker: identity(waker),
            listed: Cell::new(false),
        })
    }

    /// It is about to be polled: what wakes it from now on lists it again.
    pub(super) fn unlist(&self) {
        self.listed.set(false);
    }

    fn wake(&self) {
        if !self.listed.replace(true) && !enqueue(self.executor, self.task) {
            ASIDE.with_borrow_mut(|aside| aside.push((self.executor, self.task)));
        }
    }
}

fn identity(waker: &Waker) -> (*const (), *const ()) {
    (waker.data(), std::ptr::from_ref(waker.vtable()).cast())
}

/// Runs `poll` as the task `polled`.
pub(super) fn polling<R>(polled: Rc<LocalTask>, poll: impl FnOnce() -> R) -> (R, Rc<LocalTask>) {
    let before = POLLED.replace(Some(polled));
    assert!(before.is_none(), "a task polled inside of another");
    let result = poll();
    let polled = POLLED.take();
    (result, polled.expect("it was put there"))
}

/// Puts a task on this thread's list of tasks to run, if it is its executor's turn.
#[inline]
pub(super) fn enqueue(executor: u64, task: Key) -> bool {
    // `try_with`: a waker may be used while the thread's locals are being destroyed.
    let here = CURRENT
        .try_with(|current| current.get() == executor)
        .unwrap_or(false);
    if here {
        READY.with_borrow_mut(|ready| ready.push(task));
    }
    here
}

/// The executor's turn begins, with tasks that the last one left.
pub(super) fn begin_turn(executor: u64, carried: &mut Vec<Key>) {
    let before = CURRENT.replace(executor);
    assert_eq!(before, 0, "a turn inside of a turn");
    READY.with_borrow_mut(|ready| {
        std::mem::swap(ready, carried);
        ASIDE.with_borrow_mut(|aside| {
            if !aside.is_empty() {
                aside.retain(|&(whose, task)| {
                    if whose == executor {
                        ready.push(task);
                    }
                    whose != executor
                });
            }
        });
    });
}

/// It ends, and leaves what was woken but not run.
pub(super) fn end_turn(carried: &mut Vec<Key>) {
    swap_ready(carried);
    CURRENT.set(0);
}

/// Tasks that want to run, for those in `tasks`.
pub(super) fn swap_ready(tasks: &mut Vec<Key>) {
    READY.with_borrow_mut(|ready| std::mem::swap(ready, tasks));
}

/// Whether tasks of an executor were woken while it was not its turn.
pub(super) fn is_any_aside(executor: u64) -> bool {
    ASIDE.with_borrow(|aside| aside.iter().any(|(whose, _)| *whose == executor))
}

/// Forgets those tasks: their executor is gone.
pub(super) fn forget(executor: u64) {
    // The thread's locals may be gone as well.
    let _ = ASIDE.try_with(|aside| {
        aside.borrow_mut().retain(|(whose, _)| *whose != executor);
    });
}

/// Wakes whoever waits for an event of this thread.
pub(crate) struct LocalWaker(Whom);

enum Whom {
    /// A task that waited under its own waker.
    Task(Rc<LocalTask>),
    /// Anybody else: a future within a task that wakes by a waker of its own.
    Other(Waker),
}

impl LocalWaker {
    /// The same as `waker`, here.
    #[inline]
    pub(crate) fn of(waker: &Waker) -> LocalWaker {
        POLLED.with_borrow(|polled| match polled {
            Some(task) if task.waker == identity(waker) => LocalWaker(Whom::Task(task.clone())),
            Some(_) | None => LocalWaker(Whom::Other(waker.clone())),
        })
    }

    /// Whether it wakes the one that `waker` does.
    #[inline]
    pub(crate) fn will_wake(&self, waker: &Waker) -> bool {
        match &self.0 {
            Whom::Task(task) => task.waker == identity(waker),
            Whom::Other(known) => known.will_wake(waker),
        }
    }

    #[inline]
    pub(crate) fn wake(self) {
        match self.0 {
            Whom::Task(task) => task.wake(),
            Whom::Other(waker) => waker.wake(),
        }
    }
}
