//! Wakes those together who wait on one thread for answers of one turn.
//!
//! Owns: who waits, by thread. Never: wakes anybody later than [`PATIENCE`] after the turn.
//!
//! To wake a caller of another thread's runtime is a system call and, where that thread shares the shard's core, two
//! switches. So the shard wakes one caller of each thread, at the end of its turn, and that one wakes the others when it is
//! polled or dropped: from their own thread, which costs next to nothing. Should it not be looked at in time, because its task does
//! something else, the shard wakes them all.

use crate::time::Time;
use crossbeam::queue::SegQueue;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::task::{Context as TaskContext, Wake, Waker};
use std::time::Duration;

/// How long a caller that was woken for others too has to be polled: some twenty times what a runtime takes that is
/// not busy.
const PATIENCE: Duration = Duration::from_micros(500);

thread_local! {
    /// This thread's, as one that calls.
    static OWN: Arc<Doorbell> = Arc::default();
    /// On a shard's thread, while it has its turn: those to be rung at the end of it.
    static DUE: RefCell<Option<Vec<Arc<Doorbell>>>> = const { RefCell::new(None) };
}

/// Those who wait on one thread, and have an answer.
#[derive(Default)]
pub(super) struct Doorbell {
    waiting: SegQueue<Arc<Chime>>,
    /// One of them was woken, and is to wake the others.
    rung: AtomicBool,
}

impl Doorbell {
    /// Wakes all who are left.
    fn answer(&self) {
        self.rung.store(false, Ordering::SeqCst);
        // Whoever adds to them either is seen here or sees that nobody will look.
        fence(Ordering::SeqCst);
        while let Some(chime) = self.waiting.pop() {
            chime.waker.wake_by_ref();
        }
    }

    /// Wakes one who waits; true if others are left to be woken by that one, or by one whom another shard has woken.
    fn ring(&self) -> bool {
        fence(Ordering::SeqCst);
        if self.rung.load(Ordering::SeqCst) {
            return true;
        }
        let Some(first) = self.waiting.pop() else {
            return false;
        };
        let others = !self.waiting.is_empty();
        // Never back to false: another shard may count on it just now.
        if others {
            self.rung.store(true, Ordering::SeqCst);
        }
        first.waker.wake_by_ref();
        others
    }
}

/// A caller's place at its thread's doorbell. Dropped, it wakes the others if that was its part.
#[derive(Default)]
pub(super) struct Place(Option<(Arc<Chime>, Waker)>);

impl Place {
    /// A context whose waker wakes that of `cx`, soon; for those who are polled again and again until they
    /// are ready.
    pub(super) fn poll<R>(
        &mut self,
        cx: &mut TaskContext<'_>,
        poll: impl FnOnce(&mut TaskContext<'_>) -> R,
    ) -> R {
        let known = self.0.take();
        let known = known.filter(|(chime, _)| chime.waker.will_wake(cx.waker()));
        let (chime, waker) = known.unwrap_or_else(|| {
            let bell = OWN.try_with(Arc::clone).unwrap_or_default();
            let waker = cx.waker().clone();
            let chime = Arc::new(Chime { bell, waker });
            (chime.clone(), Waker::from(chime))
        });
        let polled = poll(&mut TaskContext::from_waker(&waker));
        if chime.bell.rung.load(Ordering::Acquire) {
            chime.bell.answer();
        }
        self.0 = Some((chime, waker));
        polled
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some((chime, _)) = &self.0
            && chime.bell.rung.load(Ordering::Acquire)
        {
            chime.bell.answer();
        }
    }
}

/// Wakes a caller: at once, or on a shard's thread at the end of its turn.
struct Chime {
    bell: Arc<Doorbell>,
    waker: Waker,
}

impl Wake for Chime {
    fn wake(self: Arc<Self>) {
        let mut chime = Some(self);
        let add = |due: &RefCell<Option<Vec<Arc<Doorbell>>>>| {
            if let Some(due) = &mut *due.borrow_mut()
                && let Some(chime) = chime.take()
            {
                let known = due.iter().position(|bell| Arc::ptr_eq(bell, &chime.bell));
                let known = known.unwrap_or_else(|| {
                    due.push(chime.bell.clone());
                    due.len() - 1
                });
                due[known].waiting.push(chime);
            }
        };
        // A thread that is about to end has no turn.
        let _ = DUE.try_with(add);
        if let Some(chime) = chime {
            chime.waker.wake_by_ref();
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.clone().wake();
    }
}

/// The doorbells that one shard has rung.
#[derive(Default)]
pub(super) struct Doorbells {
    /// Kept for its capacity.
    due: RefCell<Vec<Arc<Doorbell>>>,
    /// Those that somebody is to answer, and by when.
    rung: RefCell<Vec<(Time, Arc<Doorbell>)>>,
}

impl Doorbells {
    /// From now on this thread's wake-ups wait for the turn's end: until the guard is dropped.
    pub(super) fn begin_turn(&self, now: Time) -> Turn<'_> {
        self.rung.borrow_mut().retain(|(by, bell)| {
            let answered = !bell.rung.load(Ordering::Acquire);
            if !answered && *by <= now {
                bell.answer();
                return false;
            }
            !answered
        });
        let due = self.due.take();
        DUE.with(|all| all.replace(Some(due)));
        Turn { bells: self, now }
    }

    /// By when the shard has to look at them again.
    pub(super) fn deadline(&self) -> Option<Time> {
        let rung = self.rung.borrow();
        let unanswered = rung.iter();
        let unanswered = unanswered.filter(|(_, bell)| bell.rung.load(Ordering::Acquire));
        unanswered.map(|(by, _)| *by).min()
    }
}

impl Drop for Doorbells {
    /// The shard looks at nobody any more.
    fn drop(&mut self) {
        for (_, bell) in self.rung.take() {
            bell.answer();
        }
    }
}

/// A turn of a shard.
pub(super) struct Turn<'a> {
    bells: &'a Doorbells,
    now: Time,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Ok(Some(mut due)) = DUE.try_with(RefCell::take) else {
            return;
        };
        for bell in due.drain(..) {
            let known = |rung: &[(Time, Arc<Doorbell>)]| {
                rung.iter().any(|(_, other)| Arc::ptr_eq(other, &bell))
            };
            // Each shard sees to those whom it has answered: another one may be in the middle of a long turn.
            if bell.ring() && !known(&self.bells.rung.borrow()) {
                let by = self.now + PATIENCE;
                self.bells.rung.borrow_mut().push((by, bell));
            }
        }
        self.bells.due.replace(due);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A caller that waits for what `wake` tells.
    struct Caller {
        place: Place,
        count: Arc<Count>,
        waker: Waker,
    }

    impl Caller {
        fn new() -> Caller {
            let mut caller = Caller {
                place: Place::default(),
                count: Arc::default(),
                waker: Waker::noop().clone(),
            };
            caller.poll();
            caller
        }

        fn poll(&mut self) {
            let waker = Waker::from(self.count.clone());
            let mut cx = TaskContext::from_waker(&waker);
            self.waker = self.place.poll(&mut cx, |cx| cx.waker().clone());
        }

        fn woken(&self) -> usize {
            self.count.0.load(Ordering::Relaxed)
        }
    }

    fn woken(callers: &[Caller]) -> Vec<usize> {
        callers.iter().map(Caller::woken).collect()
    }

    /// Three callers, woken in one turn at `now`.
    fn three(bells: &Doorbells, now: Time) -> Vec<Caller> {
        let callers: Vec<Caller> = (0..3).map(|_| Caller::new()).collect();
        let turn = bells.begin_turn(now);
        for caller in &callers {
            caller.waker.wake_by_ref();
        }
        assert_eq!(woken(&callers), [0, 0, 0], "not before the turn's end");
        drop(turn);
        assert_eq!(woken(&callers), [1, 0, 0]);
        callers
    }

    #[test]
    fn the_one_who_is_woken_wakes_the_others_when_it_is_polled() {
        let bells = Doorbells::default();
        let mut callers = three(&bells, Time::ZERO);
        assert_eq!(bells.deadline(), Some(Time::ZERO + PATIENCE));
        callers[0].poll();
        assert_eq!(woken(&callers), [1, 1, 1]);
        assert_eq!(bells.deadline(), None);
    }

    #[test]
    fn and_when_it_is_dropped() {
        let bells = Doorbells::default();
        let mut callers = three(&bells, Time::ZERO);
        callers.remove(0);
        assert_eq!(woken(&callers), [1, 1]);
    }

    #[test]
    fn others_are_woken_by_the_shard_if_it_is_not_looked_at() {
        let bells = Doorbells::default();
        let callers = three(&bells, Time::ZERO);
        drop(bells.begin_turn(Time::ZERO + PATIENCE / 2));
        assert_eq!(woken(&callers), [1, 0, 0]);
        // What comes meanwhile waits with them.
        let late = Caller::new();
        let turn = bells.begin_turn(Time::ZERO + PATIENCE / 2);
        late.waker.wake_by_ref();
        drop(turn);
        drop(bells.begin_turn(Time::ZERO + PATIENCE));
        assert_eq!((woken(&callers), late.woken()), (vec![1, 1, 1], 1));
        assert_eq!(bells.deadline(), None);
    }

    #[test]
    fn a_shard_does_not_count_on_another_one_that_has_rung() {
        let (busy, other) = (Doorbells::default(), Doorbells::default());
        let late = Caller::new();
        let callers = three(&busy, Time::ZERO);
        for _ in 0..2 {
            let turn = other.begin_turn(Time::ZERO);
            late.waker.wake_by_ref();
            drop(turn);
        }
        assert_eq!(late.woken(), 0, "it waits for the one who was woken");
        assert_eq!(other.rung.borrow().len(), 1);
        assert_eq!(other.deadline(), Some(Time::ZERO + PATIENCE));
        drop(other.begin_turn(Time::ZERO + PATIENCE));
        assert_eq!((woken(&callers), late.woken()), (vec![1, 1, 1], 2));
        assert_eq!(busy.deadline(), None);
    }

    #[test]
    fn outside_of_a_turn_everybody_is_woken_at_once() {
        let caller = Caller::new();
        caller.waker.wake_by_ref();
        assert_eq!(caller.woken(), 1);
    }

    #[test]
    fn nobody_is_left_asleep_by_threads() {
        let bell = Arc::<Doorbell>::default();
        let count = Arc::<Count>::default();
        const EACH: usize = 20_000;
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..EACH {
                        let waker = Waker::from(count.clone());
                        let chime = Chime {
                            bell: bell.clone(),
                            waker,
                        };
                        bell.waiting.push(Arc::new(chime));
                        bell.ring();
                    }
                });
            }
            scope.spawn(|| {
                while count.0.load(Ordering::Relaxed) < 2 * EACH {
                    if bell.rung.load(Ordering::Acquire) {
                        bell.answer();
                    }
                    std::hint::spin_loop();
                }
            });
        });
        assert_eq!(count.0.load(Ordering::Relaxed), 2 * EACH);
    }
}
