//! What proves who we are, to a server that asks (RFC 8446 §4.3.2).
//!
//! Owns: a certificate chain and its key, as PEM. Never: shows the key.

use super::error::CredentialsProblem;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::sync::Arc;

/// A client's certificates, its own first, and the key of that one: both in PEM, which may be the same text. Compared
/// whole.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Credentials {
    /// The chain. Other sections are passed over.
    pub chain: Arc<[u8]>,
    /// The key, in PKCS #8, PKCS #1 or SEC 1, not encrypted.
    pub key: Arc<[u8]>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({} bytes of chain)", self.chain.len())
    }
}

type Parsed = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Credentials {
    pub(super) fn parse(&self) -> Result<Parsed, CredentialsProblem> {
        let certificates = CertificateDer::pem_slice_iter(&self.chain).enumerate();
        let chain: Result<Vec<_>, _> = certificates
            .map(|(nth, certificate)| {
                certificate.map_err(|error| CredentialsProblem::Pem(nth, error.to_string()))
            })
            .collect();
        let chain = chain?;
        if chain.is_empty() {
            return Err(CredentialsProblem::NoCertificate);
        }
        // What the parser says might quote the key: it is left out.
        let key = PrivateKeyDer::from_pem_slice(&self.key);
        Ok((chain, key.map_err(|_| CredentialsProblem::NoKey)?))
    }
}
