//! What a task is known by to those who wake it: to its own thread, and to all threads.
//!
//! Owns: the names of tasks that have ended, for those that come. Never: gives a task a name that somebody still holds: he
//! would wake a stranger, or pass for one whom he does not know.

use super::mailbox::Mailbox;
use super::waking::{self, LocalTask};
use crate::driver::Driver;
use crate::slab::Key;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::task::{Wake, Waker};

/// Free names beyond this are given up.
const SPARE_MAX: usize = 256;

/// One task, as it is known: two allocations, and four counts across threads to make and to give up.
pub(super) struct TaskName<D: Driver> {
    pub(super) here: Rc<LocalTask>,
    pub(super) anywhere: Arc<TaskState<D>>,
}

/// A task, as all threads know it.
pub(super) struct TaskState<D: Driver> {
    executor: u64,
    /// The task's [`Key`], as a word.
    task: AtomicU64,
    /// Whether it is on a list of tasks to run already.
    queued: AtomicBool,
    mailbox: Arc<Mailbox<D>>,
}

/// The names that are free.
pub(super) struct TaskNames<D: Driver> {
    free: RefCell<Vec<TaskName<D>>>,
}

impl<D: Driver> Default for TaskNames<D> {
    fn default() -> TaskNames<D> {
        TaskNames {
            // A task that ends allocates nothing.
            free: RefCell::new(Vec::with_capacity(SPARE_MAX)),
        }
    }
}

impl<D: Driver> TaskNames<D> {
    /// A name for `task`, which is on a list of tasks to run, or about to be.
    pub(super) fn give(&self, executor: u64, task: Key, mailbox: &Arc<Mailbox<D>>) -> TaskName<D> {
        if let Some(name) = self.free.borrow_mut().pop() {
            name.anywhere.task.store(task.word(), Ordering::Relaxed);
            name.anywhere.queued.store(true, Ordering::Relaxed);
            name.here.becomes(task);
            return name;
        }
        let anywhere = Arc::new(TaskState {
            executor,
            task: AtomicU64::new(task.word()),
            queued: AtomicBool::new(true),
            mailbox: mailbox.clone(),
        });
        let here = LocalTask::new(executor, task, Waker::from(anywhere.clone()));
        TaskName { here, anywhere }
    }

    /// Its task has ended.
    pub(super) fn take_back(&self, name: TaskName<D>) {
        // Of `anywhere` one is here and one within `here`: nobody else has one, or could come by one.
        if Rc::strong_count(&name.here) > 1 || Arc::strong_count(&name.anywhere) > 2 {
            return;
        }
        // What the last of the others did with it came before what is done with it now.
        fence(Ordering::Acquire);
        let mut free = self.free.borrow_mut();
        if free.len() < SPARE_MAX {
            free.push(name);
        }
    }
}

impl<D: Driver> TaskState<D> {
    /// Before it is polled: what wakes it from now on must queue it again. Where a plain look finds that no waker has
    /// queued it, there is nothing to take back: one that does so now will have it polled once more.
    pub(super) fn unqueue(&self) {
        if self.queued.load(Ordering::Acquire) {
            self.queued.swap(false, Ordering::AcqRel);
        }
    }
}

impl<D: Driver> Wake for TaskState<D> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Always a read-modify-write, as in `unqueue`: a plain look could miss that the task is being polled
        // just now, and what it has not seen yet would be news to nobody.
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        // As long as there is a waker, it is the same task's.
        let task = Key::of_word(self.task.load(Ordering::Relaxed));
        enqueue(self.executor, task, &self.mailbox);
    }
}

/// Puts a task on a list of tasks to run: this thread's, if it is the executor's turn here, or the mailbox's.
pub(super) fn enqueue<D: Driver>(executor: u64, task: Key, mailbox: &Mailbox<D>) {
    if !waking::enqueue(executor, task) {
        mailbox.wake_task(task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::sim::Sim;

    const FIRST: Key = Key::from_parts(u32::MAX, (1 << 24) - 1);
    const SECOND: Key = Key::from_parts(0, 1);

    fn names() -> (TaskNames<Sim>, Arc<Mailbox<Sim>>) {
        (TaskNames::default(), Arc::new(Mailbox::new(0, 8)))
    }

    #[test]
    fn a_task_takes_over_the_name_of_one_that_has_ended() {
        let (names, mailbox) = names();
        let name = names.give(7, FIRST, &mailbox);
        name.anywhere.unqueue();
        let before = Arc::as_ptr(&name.anywhere);
        names.take_back(name);
        let name = names.give(7, SECOND, &mailbox);
        assert_eq!(Arc::as_ptr(&name.anywhere), before);
        // Queued, as a new one is.
        name.here.waker().wake_by_ref();
        assert_eq!(mailbox.take_ready(), None);
        name.anywhere.unqueue();
        name.here.waker().wake_by_ref();
        assert_eq!(mailbox.take_ready(), Some(SECOND));
    }

    #[test]
    fn a_name_that_somebody_holds_is_not_given_again() {
        let (names, mailbox) = names();
        let name = names.give(7, FIRST, &mailbox);
        name.anywhere.unqueue();
        let held = name.here.waker().clone();
        names.take_back(name);
        let second = names.give(7, SECOND, &mailbox);
        assert!(!second.here.waker().will_wake(&held));
        second.anywhere.unqueue();
        held.wake();
        assert_eq!(mailbox.take_ready(), Some(FIRST));
        let here = second.here.clone();
        names.take_back(second);
        assert!(
            !names
                .give(7, FIRST, &mailbox)
                .here
                .waker()
                .will_wake(here.waker())
        );
    }

    #[test]
    fn names_that_are_not_wanted_are_given_up() {
        let (names, mailbox) = names();
        let key = |index| Key::from_parts(index as u32, 1);
        let given: Vec<_> = (0..SPARE_MAX + 9)
            .map(|index| names.give(7, key(index), &mailbox))
            .collect();
        given.into_iter().for_each(|name| names.take_back(name));
        assert_eq!(names.free.borrow().len(), SPARE_MAX);
        assert_eq!(Arc::strong_count(&mailbox), 1 + SPARE_MAX);
    }
}
