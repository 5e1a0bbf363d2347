//! What is called: the kinds of calls that a plan mixes, and each call as it goes out.
//!
//! Owns: the draw of a kind, and what of a call is left to chance. Never: sends.

use std::borrow::Cow;

use ringpool::config::Class;

use crate::chance::Chance;
use crate::traffic::{CallClass, CallPlan, UPLOAD_MAX};

/// What bodies are made of.
static ZEROS: [u8; UPLOAD_MAX as usize] = [0; UPLOAD_MAX as usize];

/// The kinds of calls.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    kinds: Vec<CallPlan>,
    /// The weights up to each, with its own.
    weights: Vec<f64>,
}

/// One call.
#[derive(Debug)]
pub(super) struct Message<'a> {
    /// 0 is the plan's own.
    pub(super) upstream: usize,
    pub(super) class: Option<Class>,
    pub(super) target: Cow<'a, str>,
    /// In a POST.
    pub(super) body: Option<&'static [u8]>,
    /// Whether the connection is not to be used again.
    pub(super) close: bool,
}

impl Calls {
    /// Of at least one kind.
    pub(super) fn new(kinds: &[CallPlan]) -> Self {
        debug_assert!(!kinds.is_empty());
        let mut sum = 0.0;
        let weights = kinds.iter().map(|kind| {
            sum += kind.weight;
            sum
        });
        Self {
            weights: weights.collect(),
            kinds: kinds.to_vec(),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.kinds.len()
    }

    /// The next one's kind, and the call itself.
    pub(super) fn draw(&self, chance: &mut Chance) -> (usize, Message<'_>) {
        let number = self.pick(chance);
        let kind = &self.kinds[number];
        let target = match kind.size {
            None => Cow::Borrowed(kind.path.as_str()),
            Some(size) => {
                let glue = if kind.path.contains('?') { '&' } else { '?' };
                let size = size.draw(chance) as u64;
                Cow::Owned(format!("{}{glue}size={size}", kind.path))
            }
        };
        let body = kind.upload.map(|upload| {
            let size = (upload.draw(chance) as usize).min(ZEROS.len());
            &ZEROS[..size]
        });
        let message = Message {
            upstream: kind.upstream,
            class: class(kind.class),
            target,
            body,
            close: kind.close > 0.0 && chance.strikes(kind.close),
        };
        (number, message)
    }

    fn pick(&self, chance: &mut Chance) -> usize {
        let last = self.weights.len() - 1;
        if last == 0 {
            return 0;
        }
        let at = chance.unit() * self.weights[last];
        self.weights
            .partition_point(|weight| *weight <= at)
            .min(last)
    }
}

fn class(class: CallClass) -> Option<Class> {
    match class {
        CallClass::Unsaid => None,
        CallClass::Critical => Some(Class::Critical),
        CallClass::Normal => Some(Class::Normal),
        CallClass::Sheddable => Some(Class::Sheddable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Spread;

    #[test]
    fn kinds_come_as_often_as_they_weigh() {
        let kind = |weight| CallPlan {
            weight,
            ..CallPlan::get("/")
        };
        let calls = Calls::new(&[kind(1.0), kind(0.0), kind(3.0)]);
        let mut chance = Chance::new(5);
        let mut counts = [0; 3];
        for _ in 0..40_000 {
            counts[calls.draw(&mut chance).0] += 1;
        }
        assert!((9_700..10_300).contains(&counts[0]), "{counts:?}");
        assert_eq!(counts[1], 0);
    }

    #[test]
    fn a_call_says_all_that_its_kind_says() {
        let calls = Calls::new(&[CallPlan {
            size: Some(Spread::Fixed(7.0)),
            upload: Some(Spread::Fixed(5e9)),
            close: 1.0,
            class: CallClass::Critical,
            ..CallPlan::get("/a?b=c")
        }]);
        let (_, message) = calls.draw(&mut Chance::new(0));
        assert_eq!(message.target, "/a?b=c&size=7");
        assert_eq!(message.body.map(<[u8]>::len), Some(UPLOAD_MAX as usize));
        assert!(message.close && message.class == Some(Class::Critical));
    }
}
