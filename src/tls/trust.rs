//! Whom a client believes, and for how long.
//!
//! Owns: trusted roots, pinned keys and revocation lists, as they were given and as rustls wants them. Never: judges a
//! certificate; [`Verifier`](super::verifier::Verifier) does.

use super::error::{PinsProblem, RevocationProblem, RootsProblem, TlsError};
use super::x509;
use rustls::RootCertStore;
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, SubjectPublicKeyInfoDer};
use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a server's certificate has to stand up to. Compared whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Trust {
    /// Who may have signed it.
    pub roots: Roots,
    /// The public keys of which it has to be for one; without them, any.
    pub pinned_keys: Option<PinnedKeys>,
    /// Who took back which certificates; without lists, nobody did.
    pub revocation: Option<Revocation>,
    /// How long a check counts. Past it, a connection is to be closed and no ticket of it used.
    pub verified_max: Option<Duration>,
}

/// The certificate authorities that are trusted.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Roots {
    /// Mozilla's, as compiled in by the webpki-roots crate.
    WebPki,
    /// These alone: one or more certificates in PEM. Other sections of the file are passed over.
    Pem(Arc<[u8]>),
}

/// Public keys in PEM (`PUBLIC KEY`, RFC 7468 §13), one or more. Other sections are passed over.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PinnedKeys(pub Arc<[u8]>);

/// Lists of certificates that their issuers took back (RFC 5280 §5).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revocation {
    /// In PEM (`X509 CRL`), each with one list or more. Other sections are passed over.
    pub lists: Vec<Arc<[u8]>>,
    /// Whether a certificate is good whose issuer has no list here.
    pub unknown_allowed: bool,
    /// Whether a list counts still when its time (`nextUpdate`) is over. Else nothing that its issuer signed is good then.
    pub stale_allowed: bool,
}

impl From<Roots> for Trust {
    /// Trust in whatever these have signed.
    fn from(roots: Roots) -> Trust {
        Trust {
            roots,
            pinned_keys: None,
            revocation: None,
            verified_max: None,
        }
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Roots::WebPki => f.write_str("WebPki"),
            Roots::Pem(pem) => write!(f, "Pem({} bytes)", pem.len()),
        }
    }
}

impl fmt::Debug for PinnedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PinnedKeys({} bytes)", self.0.len())
    }
}

impl fmt::Debug for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocation")
            .field("lists", &self.lists.len())
            .field("unknown_allowed", &self.unknown_allowed)
            .field("stale_allowed", &self.stale_allowed)
            .finish()
    }
}

impl PinnedKeys {
    /// The keys, at least one.
    pub(super) fn parse(&self) -> Result<Vec<SubjectPublicKeyInfoDer<'static>>, PinsProblem> {
        let keys = SubjectPublicKeyInfoDer::pem_slice_iter(&self.0).enumerate();
        let keys: Result<Vec<_>, _> = keys
            .map(|(nth, key)| key.map_err(|error| PinsProblem::Pem(nth, error.to_string())))
            .collect();
        match keys? {
            keys if keys.is_empty() => Err(PinsProblem::Empty),
            keys => Ok(keys),
        }
    }
}

/// What judges chains by `roots` and `revocation`. Parsing takes milliseconds for large files.
pub(super) fn web_pki(
    roots: &Roots,
    revocation: Option<&Revocation>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let trusted = match roots {
        Roots::WebPki => RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        },
        Roots::Pem(pem) => authorities(pem).map_err(TlsError::Roots)?,
    };
    let mut builder = WebPkiServerVerifier::builder_with_provider(Arc::new(trusted), provider);
    if let Some(revocation) = revocation {
        let lists = revocation.parse().map_err(TlsError::Revocation)?;
        builder = builder.with_crls(lists);
        if revocation.unknown_allowed {
            builder = builder.allow_unknown_revocation_status();
        }
        if !revocation.stale_allowed {
            builder = builder.enforce_revocation_expiration();
        }
    }
    builder.build().map_err(|error| match error {
        VerifierBuilderError::InvalidCrl(error) => {
            TlsError::Revocation(RevocationProblem::List(format!("{error:?}")))
        }
        // The only other complaint is of a store without roots, excluded above.
        _ => TlsError::Roots(RootsProblem::Empty),
    })
}

impl Revocation {
    fn parse(&self) -> Result<Vec<CertificateRevocationListDer<'static>>, RevocationProblem> {
        let mut lists = Vec::new();
        for (source, pem) in self.lists.iter().enumerate() {
            let before = lists.len();
            for list in CertificateRevocationListDer::pem_slice_iter(pem) {
                let list = list.map_err(|error| RevocationProblem::Pem(source, error.to_string()));
                lists.push(list?);
            }
            // An empty file is no list of nothing: it would let everything pass.
            if lists.len() == before {
                return Err(RevocationProblem::Empty(source));
            }
        }
        // Of an issuer's lists webpki asks the first: let that be the newest.
        lists.sort_by_key(|list| Reverse(x509::this_update(list)));
        Ok(lists)
    }
}

fn authorities(pem: &[u8]) -> Result<RootCertStore, RootsProblem> {
    let mut trusted = RootCertStore::empty();
    for (nth, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
        let certificate = certificate.map_err(|error| RootsProblem::Pem(nth, error.to_string()))?;
        trusted
            .add(certificate)
            .map_err(|error| RootsProblem::Certificate(nth, error.to_string()))?;
    }
    if trusted.is_empty() {
        return Err(RootsProblem::Empty);
    }
    Ok(trusted)
}
