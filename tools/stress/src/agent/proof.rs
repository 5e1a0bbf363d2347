//! How both sides show that they know the token, without saying it.
//!
//! Owns nonces and proofs: HMAC-SHA256 under the token over the nonces of both sides and the name of who proves, so that no proof can
//! be used twice, or sent back to where it came from. Proofs are compared in constant time. Never: encrypts, or signs what
//! is said afterwards: whoever can change what crosses the network can take over a conversation that has begun.

use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Bytes of a nonce.
const NONCE: usize = 32;

/// What one side made up for this conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nonce([u8; NONCE]);

/// Who proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Conductor,
    Agent,
}

/// The nonces of both sides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nonces {
    pub(super) conductor: Nonce,
    pub(super) agent: Nonce,
}

impl Nonce {
    /// A new one; `None` if the system has no random numbers to give.
    pub(super) fn random() -> Option<Self> {
        let mut bytes = [0; NONCE];
        rand::fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }

    pub(super) fn to_text(self) -> String {
        STANDARD.encode(self.0)
    }

    pub(super) fn from_text(text: &str) -> Option<Self> {
        STANDARD.decode(text).ok()?.try_into().ok().map(Self)
    }
}

impl Nonces {
    /// What shows that `who` knows `token`.
    pub(super) fn prove(&self, who: Who, token: &str) -> String {
        STANDARD.encode(hmac::sign(&key(token), &self.said_by(who)))
    }

    /// Whether `proof` shows that `who` knows `token`.
    pub(super) fn is_proof(&self, who: Who, token: &str, proof: Option<&str>) -> bool {
        let proof = proof.and_then(|proof| STANDARD.decode(proof).ok());
        proof.is_some_and(|proof| hmac::verify(&key(token), &self.said_by(who), &proof).is_ok())
    }

    fn said_by(&self, who: Who) -> Vec<u8> {
        let who: &[u8] = match who {
            Who::Conductor => b"stress agents 2, conductor\0",
            Who::Agent => b"stress agents 2, agent\0",
        };
        [who, &self.conductor.0, &self.agent.0].concat()
    }
}

fn key(token: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonces() -> Nonces {
        Nonces {
            conductor: Nonce::random().unwrap(),
            agent: Nonce::random().unwrap(),
        }
    }

    #[test]
    fn who_knows_the_token_can_prove_it_and_nobody_else() {
        let nonces = nonces();
        let proof = nonces.prove(Who::Conductor, "open sesame");
        let is = |who, token, proof| nonces.is_proof(who, token, proof);
        assert!(is(Who::Conductor, "open sesame", Some(&proof)));
        assert!(!is(Who::Conductor, "open", Some(&proof)));
        assert!(!is(Who::Conductor, "open sesame", None));
        for wrong in ["", "nonsense", &proof[4..]] {
            assert!(!is(Who::Conductor, "open sesame", Some(wrong)), "{wrong}");
        }
    }

    #[test]
    fn a_proof_is_good_for_one_conversation_and_one_side() {
        let (one, other) = (nonces(), nonces());
        let proof = one.prove(Who::Conductor, "t");
        assert!(!one.is_proof(Who::Agent, "t", Some(&proof)), "sent back");
        assert!(!other.is_proof(Who::Conductor, "t", Some(&proof)), "again");
    }

    #[test]
    fn nonces_come_as_they_went() {
        let nonce = Nonce::random().unwrap();
        assert_eq!(Nonce::from_text(&nonce.to_text()), Some(nonce));
        assert_eq!(Nonce::from_text("AAAA"), None);
        assert_eq!(Nonce::from_text("*"), None);
    }
}
