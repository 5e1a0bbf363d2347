//! Which nonces have been asked for, and whether any came again.
//!
//! Owns: a bit for each. Never: a lock; a request without a nonce does not come here.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

/// Where a client asks what has been seen.
pub(crate) const PATH: &str = "/nonces";
/// Where the body of an answer with a nonce is sent apart from its head.
pub(crate) const APART: &str = "/apart";
/// The field that repeats a request's nonce, as the body does.
pub(crate) const NONCE: &str = "nonce";
/// One above the largest. 8 MiB of bits.
pub(crate) const NONCES_MAX: u64 = 1 << 26;

/// What all threads have seen.
#[derive(Default)]
pub(super) struct Nonces {
    bits: OnceLock<Box<[AtomicU64]>>,
    seen: AtomicU64,
    again: AtomicU64,
}

impl Nonces {
    /// A request with this nonce has come.
    pub(super) fn see(&self, nonce: u64) {
        debug_assert!(nonce < NONCES_MAX, "the parser refuses it");
        let bits = self
            .bits
            .get_or_init(|| (0..NONCES_MAX / 64).map(|_| AtomicU64::new(0)).collect());
        let bit = 1 << (nonce % 64);
        let before = bits[(nonce / 64) as usize].fetch_or(bit, Ordering::Relaxed);
        self.seen.fetch_add(1, Ordering::Relaxed);
        if before & bit != 0 {
            self.again.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// For the client, beside the connections that are open.
    pub(super) fn tell(&self, open: usize) -> Value {
        json!({
            "seen": self.seen.load(Ordering::Relaxed),
            "again": self.again.load(Ordering::Relaxed),
            "open": open,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_that_comes_again_is_noticed() {
        let nonces = Nonces::default();
        for nonce in [0, 63, 64, NONCES_MAX - 1, 63] {
            nonces.see(nonce);
        }
        let told = nonces.tell(1);
        assert_eq!((&told["seen"], &told["again"]), (&json!(5), &json!(1)));
    }
}
