//! The story of a run, line by line.
//!
//! Owns: how a line looks. Never: a pointer, a wall clock, or the order of a hash map, so that the same seed
//! tells the same story byte for byte.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

type Sink = Rc<RefCell<dyn FnMut(&str)>>;

/// Where lines go, if anywhere.
#[derive(Clone, Default)]
pub struct Trace(Option<Sink>);

impl Trace {
    /// A story that nobody listens to.
    pub fn none() -> Trace {
        Trace::default()
    }

    /// Every line goes to `sink`.
    pub fn to(sink: impl FnMut(&str) + 'static) -> Trace {
        Trace(Some(Rc::new(RefCell::new(sink))))
    }

    /// Whether anybody listens.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Tells one line.
    pub fn tell(&self, at: Duration, line: impl FnOnce() -> String) {
        if let Some(sink) = &self.0 {
            let micros = at.as_nanos() / 1000;
            let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
            (sink.borrow_mut())(&format!("{seconds:4}.{rest:06}  {}", line()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_stamped_with_virtual_time() {
        let told = Rc::new(RefCell::new(Vec::new()));
        let heard = told.clone();
        let trace = Trace::to(move |line| heard.borrow_mut().push(line.to_owned()));
        trace.tell(Duration::from_nanos(1_000_002_999), || {
            "caller 3 goes".into()
        });
        assert_eq!(*told.borrow(), ["   1.000002  caller 3 goes"]);
    }
}
