//! Part of invariant 4: TLS fails where a server did wrong, in the way that it did wrong, and nowhere else.
//!
//! That plain text and TLS are never taken for one another, that a server is asked for by its own name, and
//! that no ticket is shown to another upstream or twice, the servers tell.

use super::facts::Failure;
use ringpool::TlsFailure;

/// Which failures servers have given cause for, by upstream. An upstream remembers what its last dial
/// failed by, for as long as it likes: causes do not go out of date.
#[derive(Debug, Default)]
pub(super) struct Misdeeds(Vec<(usize, TlsFailure)>);

impl Misdeeds {
    /// There is cause for these now.
    pub(super) fn add(&mut self, upstream: usize, explains: &[TlsFailure]) {
        for &failure in explains {
            if !self.0.contains(&(upstream, failure)) {
                self.0.push((upstream, failure));
            }
        }
    }

    /// Whether a call that failed by TLS had cause to.
    pub(super) fn check(
        &self,
        nonce: u64,
        upstream: usize,
        failure: &Failure,
    ) -> Result<(), String> {
        match failure.tls {
            Some(why) if !self.0.contains(&(upstream, why)) => Err(format!(
                "call {nonce} failed by TLS though no server of up{upstream} gave cause: {}",
                failure.text
            )),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::calls::tests::failure;
    use super::*;

    #[test]
    fn a_failure_without_a_cause_is_seen() {
        let mut misdeeds = Misdeeds::default();
        let alert = Failure {
            tls: Some(TlsFailure::Alert),
            ..failure()
        };
        assert!(misdeeds.check(0, 1, &failure()).is_ok());
        assert!(misdeeds.check(0, 1, &alert).is_err());
        misdeeds.add(0, &[TlsFailure::Alert]);
        misdeeds.add(1, &[TlsFailure::Expired]);
        assert!(misdeeds.check(0, 1, &alert).is_err());
        misdeeds.add(1, &[TlsFailure::Alert]);
        assert!(misdeeds.check(0, 1, &alert).is_ok());
    }
}
