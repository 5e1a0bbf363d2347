//! The keys of TLS, for both ends of every connection of a run: real ones, that repeat themselves.
//!
//! rustls speaks, unchanged; only what it takes from chance comes from the run's seed: random bytes, and the
//! private keys of the key exchange. Certificates are Ed25519, whose signatures are fixed by what is signed.
//! So the same seed puts the same bytes on the wire. A stand-in for the record layer would have been
//! faster, and would not have met what rustls does with what comes in pieces, late, or broken.
//!
//! Owns: one thread's dice. Never: of any use outside of a simulation, as whoever knows the seed knows the keys.

use crate::dice::Dice;
use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret,
    SupportedKxGroup,
};
use rustls::{Error, NamedGroup, PeerMisbehaved};
use std::cell::RefCell;

thread_local! {
    static DICE: RefCell<Dice> = RefCell::new(Dice::new(0, "keys"));
}

/// What makes the keys of a run on this thread, from its beginning on.
pub fn provider(seed: u64) -> CryptoProvider {
    DICE.with(|dice| dice.replace(Dice::new(seed, "keys")));
    CryptoProvider {
        kx_groups: vec![&Seeded],
        secure_random: &Seeded,
        ..default_provider()
    }
}

/// rustls wants a random source that lives for ever: this one is without a state of its own.
#[derive(Debug)]
struct Seeded;

impl SecureRandom for Seeded {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        DICE.with(|dice| {
            let dice = &mut dice.borrow_mut();
            for piece in bytes.chunks_mut(8) {
                piece.copy_from_slice(&dice.bits().to_le_bytes()[..piece.len()]);
            }
        });
        Ok(())
    }
}

impl SupportedKxGroup for Seeded {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut bytes = [0; 32];
        let failed = |_| Error::FailedToGetRandomBytes;
        self.fill(&mut bytes).map_err(failed)?;
        let private = PrivateKey::from_private_key(&X25519, &bytes)
            .map_err(|_| Error::FailedToGetRandomBytes)?;
        let public = private
            .compute_public_key()
            .map_err(|_| Error::FailedToGetRandomBytes)?;
        Ok(Box::new(Exchange {
            public: public.as_ref().to_vec(),
            private,
        }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

/// A key exchange under way.
struct Exchange {
    private: PrivateKey,
    public: Vec<u8>,
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let peer = UnparsedPublicKey::new(&X25519, peer);
        let misbehaved = Error::from(PeerMisbehaved::InvalidKeyShare);
        agreement::agree(&self.private, peer, misbehaved, |secret| {
            Ok(SharedSecret::from(secret))
        })
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}
