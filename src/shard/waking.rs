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
    task: Cell<Key>,
    /// What it is polled with. Kept as long as anybody may wake it here: no later task has a waker at the same address
    /// meanwhile, and passes for this one.
    waker: Waker,
    /// Whether it is on this thread's list of tasks to run, put there by a [`LocalWaker`].
    listed: Cell<bool>,
}

impl LocalTask {
    pub(super) fn new(executor: u64, task: Key, waker: Waker) -> Rc<LocalTask> {
        Rc::new(LocalTask {
            executor,
            task: Cell::new(task),
            waker,
            listed: Cell::new(false),
        })
    }

    /// From now on it is `task`, which is about to be listed otherwise. Nobody else may have it.
    pub(super) fn becomes(self: &Rc<Self>, task: Key) {
        debug_assert_eq!(Rc::strong_count(self), 1, "it is somebody's");
        self.task.set(task);
        self.listed.set(false);
    }

    pub(super) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// It is about to be polled: what wakes it from now on lists it again.
    pub(super) fn unlist(&self) {
        self.listed.set(false);
    }

    fn wake(&self) {
        let task = self.task.get();
        if !self.listed.replace(true) && !enqueue(self.executor, task) {
            // The thread's locals may be gone, and with them whoever would look here.
            let _ = ASIDE.try_with(|aside| aside.borrow_mut().push((self.executor, task)));
        }
    }
}

/// Runs `poll` as the task `polled`.
pub(super) fn polling<R>(polled: &Rc<LocalTask>, poll: impl FnOnce() -> R) -> R {
    let before = POLLED.replace(Some(polled.clone()));
    assert!(before.is_none(), "a task polled inside of another");
    let result = poll();
    POLLED.set(None);
    result
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
            Some(task) if task.waker.will_wake(waker) => LocalWaker(Whom::Task(task.clone())),
            Some(_) | None => LocalWaker(Whom::Other(waker.clone())),
        })
    }

    /// Puts the same as `waker` into `slot`, if that is not in it already. Where it stays, word by word.
    #[inline]
    pub(crate) fn store(slot: &mut Option<LocalWaker>, waker: &Waker) {
        if let Some(known) = slot
            && known.will_wake(waker)
        {
            return;
        }
        // Dropped at the end: what another waker's going sets off is not to find this at work.
        let _known = slot.take();
        POLLED.with_borrow(|polled| match polled {
            Some(task) if task.waker.will_wake(waker) => {
                *slot = Some(LocalWaker(Whom::Task(task.clone())));
            }
            Some(_) | None => *slot = Some(LocalWaker(Whom::Other(waker.clone()))),
        });
    }

    /// From now on it wakes the one that `waker` does.
    #[inline]
    pub(crate) fn update(&mut self, waker: &Waker) {
        if !self.will_wake(waker) {
            *self = LocalWaker::of(waker);
        }
    }

    /// Whether it wakes the one that `waker` does.
    #[inline]
    pub(crate) fn will_wake(&self, waker: &Waker) -> bool {
        match &self.0 {
            Whom::Task(task) => task.waker.will_wake(waker),
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

    #[inline]
    pub(crate) fn wake_by_ref(&self) {
        match &self.0 {
            Whom::Task(task) => task.wake(),
            Whom::Other(waker) => waker.wake_by_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::task::Wake;

    struct Nobody;

    impl Wake for Nobody {
        fn wake(self: Arc<Self>) {}
    }

    /// A task, and what it leaves behind where it waits.
    fn waiting(index: u32) -> LocalWaker {
        let waker = Waker::from(Arc::new(Nobody));
        let task = LocalTask::new(1, Key::from_parts(index, 1), waker);
        polling(&task, || LocalWaker::of(task.waker()))
    }

    #[test]
    fn a_task_is_not_taken_for_one_before_it() {
        let left = waiting(0);
        // Allocators like to give out what came back last.
        for index in 1..100 {
            let waker = Waker::from(Arc::new(Nobody));
            let task = LocalTask::new(1, Key::from_parts(index, 1), waker);
            assert!(!left.will_wake(task.waker()));
            assert!(LocalWaker::of(task.waker()).will_wake(task.waker()));
        }
    }

    /// What goes when another one comes may set off anything.
    #[test]
    fn one_that_goes_finds_nothing_at_work() {
        struct Going;

        impl Wake for Going {
            fn wake(self: Arc<Self>) {}
        }

        impl Drop for Going {
            fn drop(&mut self) {
                waiting(7);
            }
        }

        let mut slot = None;
        LocalWaker::store(&mut slot, &Waker::from(Arc::new(Going)));
        LocalWaker::store(&mut slot, &Waker::from(Arc::new(Nobody)));
        assert!(slot.is_some());
    }
}
