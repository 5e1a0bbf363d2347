//! How long some of the requests take.
//!
//! Owns: which are timed, and since when. Never: reads the clock for the others, nor at all if nobody asked.

use std::time::{Duration, Instant};

pub(crate) struct Timing<'a> {
    /// One request in so many is timed; 0: none.
    every: u64,
    passed: u64,
    /// When the request of each connection was queued, if it is one that is timed.
    began: Vec<Option<Instant>>,
    observe: &'a mut dyn FnMut(Duration),
}

impl<'a> Timing<'a> {
    pub(crate) fn new(
        every: u64,
        connections: usize,
        observe: &'a mut dyn FnMut(Duration),
    ) -> Timing<'a> {
        Timing {
            every,
            passed: 0,
            began: vec![None; connections],
            observe,
        }
    }

    /// A connection's response is complete, and its next request is about to be queued.
    #[inline]
    pub(crate) fn next(&mut self, connection: usize) {
        if self.every == 0 {
            return;
        }
        if let Some(began) = self.began[connection].take() {
            (self.observe)(began.elapsed());
        }
        self.passed += 1;
        if self.passed.is_multiple_of(self.every) {
            self.began[connection] = Some(Instant::now());
        }
    }
}
