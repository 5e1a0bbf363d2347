//! What everyone in a run shares: the time, the dice of the course of things, and the oracle.
//!
//! Owns: nothing that belongs to one side. Never: borrowed across a call into the engine or the network,
//! for their peers look here as well.

use crate::coverage::Coverage;
use crate::dice::Dice;
use crate::knobs::Knobs;
use crate::oracle::Oracle;
use crate::trace::Trace;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// One run's common ground.
pub struct Stage {
    /// What the seed picked.
    pub knobs: Knobs,
    /// Virtual time.
    pub now: Cell<Duration>,
    /// Whether faults have stopped.
    pub calm: Cell<bool>,
    /// What the servers throw.
    pub dice: RefCell<Dice>,
    /// Who is told, and judges.
    pub oracle: RefCell<Oracle>,
    /// What was met.
    pub coverage: RefCell<Coverage>,
    /// Where the story goes.
    pub trace: Trace,
}

impl Stage {
    /// The ground of a run.
    pub fn new(knobs: Knobs, trace: Trace) -> Rc<Stage> {
        let dice = RefCell::new(Dice::new(knobs.seed, "servers"));
        let oracle = RefCell::new(Oracle::new(&knobs));
        Rc::new(Stage {
            knobs,
            now: Cell::default(),
            calm: Cell::new(false),
            dice,
            oracle,
            coverage: RefCell::default(),
            trace,
        })
    }

    /// Throws once; false when faults have stopped.
    pub fn mischief(&self, of_1024: u16) -> bool {
        !self.calm.get() && self.dice.borrow_mut().chance(of_1024)
    }

    /// Adds a line to the story, if somebody listens.
    pub fn tell(&self, line: impl FnOnce() -> String) {
        self.trace.tell(self.now.get(), line);
    }
}
