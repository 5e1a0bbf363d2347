//! The word that decides who runs an offered call.
//!
//! Owns: one atomic, which leaves `Open` exactly once. Never: holds the call itself; whoever takes the word
//! may take the call from beside it, and nobody else.
//!
//! ```text
//! Open ──▶ Local   its own shard has an answer for it: a grant, a refusal, its deadline, its caller's going
//!     └──▶ Thief   a sibling runs it
//! ```

use crate::sync::{AtomicU8, Ordering};

const OPEN: u8 = 0;
const LOCAL: u8 = 1;
const THIEF: u8 = 2;

/// Who runs an offered call, or ends it.
pub(crate) struct Claim(AtomicU8);

/// Whose an offered call may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claimant {
    /// The shard that has offered it.
    Local,
    /// A sibling.
    Thief,
}

impl Claim {
    pub(crate) fn new() -> Claim {
        Claim(AtomicU8::new(OPEN))
    }

    /// Takes the call; true for the one who has got it.
    pub(crate) fn take(&self, claimant: Claimant) -> bool {
        let word = match claimant {
            Claimant::Local => LOCAL,
            Claimant::Thief => THIEF,
        };
        // Acquire: what the offering shard has put beside the word is seen. Release: whoever finds the
        // word taken sees what its taker had done before.
        self.0
            .compare_exchange(OPEN, word, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Whether nobody has taken it yet.
    pub(crate) fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire) == OPEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn one_gets_it_and_only_once() {
        for (first, second) in [
            (Claimant::Local, Claimant::Thief),
            (Claimant::Thief, Claimant::Local),
            (Claimant::Thief, Claimant::Thief),
        ] {
            let claim = Claim::new();
            assert!(claim.is_open());
            assert!(claim.take(first));
            assert!(!claim.is_open());
            assert!(!claim.take(second) && !claim.take(first));
        }
    }

    #[test]
    fn threads_agree_on_one() {
        for _ in 0..200 {
            let claim = Arc::new(Claim::new());
            let takers = [Claimant::Local, Claimant::Thief, Claimant::Thief].map(|claimant| {
                let claim = claim.clone();
                std::thread::spawn(move || claim.take(claimant))
            });
            let won = takers.map(|taker| taker.join().expect("no panic"));
            assert_eq!(won.iter().filter(|&&won| won).count(), 1);
        }
    }
}
