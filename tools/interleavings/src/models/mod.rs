//! The models, by what must hold. Each is run by a test of its name in `tests/models.rs`.

pub mod offers;
pub mod permits;
pub mod sleep;

use crate::driver::Signal;
use crate::parker::Parker;
use loom::sync::Notify;
use std::sync::Arc;

/// A shard's sleep, with loom's own way to wake a thread in place of an eventfd.
struct Bed {
    parker: Parker,
    bell: Arc<Bell>,
}

struct Bell(Notify);

impl Signal for Bell {
    fn signal(&self) {
        self.0.notify();
    }
}

impl Bed {
    fn new() -> Bed {
        let (parker, bell) = (Parker::default(), Arc::new(Bell(Notify::new())));
        parker.set_signal(bell.clone());
        Bed { parker, bell }
    }

    /// Sleeps as a shard does: announce, look once more, and only then sleep.
    fn sleep_unless(&self, mail: impl Fn() -> bool) {
        self.parker.announce_sleep();
        if !mail() {
            self.bell.0.wait();
        }
        self.parker.woken();
    }
}

/// Runs `model` in every order, with few enough preemptions that it ends soon: two find nearly all
/// there is to find (Musuvathi and Qadeer, "Iterative context bounding", 2007).
fn in_every_order(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(model);
}
