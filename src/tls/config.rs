//! What a client has to know before it speaks TLS, made once for each identity.
//!
//! Owns: [`Identity`], and the rustls configuration made from it.
//! Never: shares a configuration between identities that differ in anything.

use super::credentials::Credentials;
use super::error::{CredentialsProblem, TlsError};
use super::store::TicketStore;
use super::tickets::IdentityTickets;
use super::trust::{self, Trust};
use super::verifier::Verifier;
use super::x509;
use rustls::KeyLogFile;
use rustls::client::{ClientConfig, Resumption};
use rustls_pki_types::ServerName;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What makes two TLS connections interchangeable, apart from the address. Compared whole.
///
/// Names are compared as they are spelled: a difference in case makes two identities, which costs a
/// handshake and can never mix anything up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The DNS name or IP address that the certificate must be for; a DNS name is sent as SNI too.
    pub server_name: String,
    /// The protocols to offer (RFC 7301), best first; empty offers none. A server that picks none
    /// is accepted.
    pub alpn: Vec<Vec<u8>>,
    /// Whom to trust.
    pub trust: Trust,
    /// What to show a server that asks who we are; without it, nothing.
    pub credentials: Option<Credentials>,
    /// How long to keep tickets to resume with; `None` keeps none. At most as long as the server says, and seven days
    /// (RFC 8446, section 4.6.1).
    pub resumption: Option<Duration>,
    /// Whether requests may be sent before the handshake is over.
    pub early_data: bool,
    /// Whether secrets go to the file that `SSLKEYLOGFILE` names.
    pub key_log: bool,
}

/// One identity's rustls configuration, with that identity's tickets bound to it. Clones are cheap
/// and share everything.
#[derive(Clone)]
pub struct ClientTls(Arc<Prepared>);

struct Prepared {
    identity: Identity,
    server_name: ServerName<'static>,
    config: Arc<ClientConfig>,
    tickets: Option<Arc<IdentityTickets>>,
    number: u64,
    /// SHA-256 of our own certificate.
    client_fingerprint: Option<[u8; 32]>,
}

/// Whether a certificate can be for this name.
pub fn is_server_name(name: &str) -> bool {
    ServerName::try_from(name).is_ok()
}

impl ClientTls {
    /// What `identity` needs to connect; the one that `store` already has, if it has one: rustls
    /// resumes a session only with the very verifier that judged it first.
    ///
    /// # Errors
    /// [`TlsError::ServerName`], [`TlsError::Alpn`], [`TlsError::Roots`], [`TlsError::Revocation`],
    /// [`TlsError::Pins`] and [`TlsError::Credentials`], for an identity that can never connect.
    pub fn new(identity: Identity, store: &TicketStore) -> Result<ClientTls, TlsError> {
        if let Some(known) = store.known(&identity) {
            return Ok(known);
        }
        // Parsed outside the store's lock: a large PEM takes milliseconds.
        let server_name = ServerName::try_from(identity.server_name.clone())
            .map_err(|_| TlsError::ServerName(identity.server_name.clone()))?;
        if !identity.alpn.iter().all(|p| (1..=255).contains(&p.len())) {
            return Err(TlsError::Alpn);
        }
        let trust = &identity.trust;
        let (provider, clock) = (store.provider().clone(), store.wall_clock().clone());
        let web_pki = match store.known_verifier(trust) {
            Some(known) => known,
            None => {
                let made =
                    trust::web_pki(&trust.roots, trust.revocation.as_ref(), provider.clone())?;
                store.keep_verifier(trust, made)
            }
        };
        let pinned_keys = match &trust.pinned_keys {
            Some(pinned) => pinned.parse().map_err(TlsError::Pins)?,
            None => Vec::new(),
        };
        let tickets = identity.resumption.map(|lifetime_max| {
            let name = server_name.clone();
            Arc::new(IdentityTickets::new(name, clock.clone(), lifetime_max))
        });
        let verifier = Arc::new(Verifier {
            web_pki,
            pinned_keys,
            verified_max: trust.verified_max,
            tickets: tickets.clone(),
        });
        let builder = ClientConfig::builder_with_details(provider, clock)
            .with_safe_default_protocol_versions()?
            // What is dangerous about it: ours asks webpki first, and is the stricter one.
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut client_fingerprint = None;
        let mut config = match &identity.credentials {
            None => builder.with_no_client_auth(),
            Some(credentials) => {
                let (chain, key) = credentials.parse().map_err(TlsError::Credentials)?;
                client_fingerprint = chain.first().and_then(x509::fingerprint);
                let made = builder.with_client_auth_cert(chain, key);
                made.map_err(|error| TlsError::Credentials(CredentialsProblem::Unusable(error)))?
            }
        };
        config.alpn_protocols = identity.alpn.clone();
        config.enable_early_data = identity.early_data;
        if identity.key_log {
            config.key_log = Arc::new(KeyLogFile::new());
        }
        config.resumption = match &tickets {
            Some(tickets) => Resumption::store(tickets.clone()),
            None => Resumption::disabled(),
        };
        let prepared = ClientTls(Arc::new(Prepared {
            identity,
            server_name,
            config: Arc::new(config),
            tickets,
            number: store.next_number(),
            client_fingerprint,
        }));
        Ok(store.keep(prepared))
    }

    /// Whom it connects to, and how.
    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// Which one it is: a number for each identity that was set up, remembered ones keeping theirs.
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// The SHA-256 of the certificate that proves who we are.
    pub fn client_fingerprint(&self) -> Option<[u8; 32]> {
        self.0.client_fingerprint
    }

    pub(super) fn server_name(&self) -> &ServerName<'static> {
        &self.0.server_name
    }

    pub(super) fn config(&self) -> &Arc<ClientConfig> {
        &self.0.config
    }

    pub(super) fn tickets(&self) -> Option<&IdentityTickets> {
        self.0.tickets.as_deref()
    }

    /// Drops the tickets that there are.
    pub(super) fn purge(&self) {
        if let Some(tickets) = &self.0.tickets {
            tickets.clear();
        }
    }

    /// Whether nobody but the one who asks holds it.
    pub(super) fn is_unshared(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    #[cfg(test)]
    pub(super) fn is_same(&self, other: &ClientTls) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientTls").field(&self.0.identity).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::{PinsProblem, RevocationProblem, RootsProblem};
    use super::super::trust::{PinnedKeys, Revocation, Roots};
    use super::*;

    fn identity(roots: Roots) -> Identity {
        Identity {
            server_name: "example.test".into(),
            alpn: Vec::new(),
            trust: roots.into(),
            credentials: None,
            resumption: None,
            early_data: false,
            key_log: false,
        }
    }

    fn pem(text: &str) -> Roots {
        Roots::Pem(text.as_bytes().into())
    }

    fn refusal(identity: Identity) -> TlsError {
        ClientTls::new(identity, &TicketStore::new()).unwrap_err()
    }

    #[test]
    fn bad_roots_are_typed_errors() {
        for empty in [
            "",
            "no PEM at all",
            "-----BEGIN X-----\nAA==\n-----END X-----\n",
        ] {
            let error = refusal(identity(pem(empty)));
            assert_eq!(error, TlsError::Roots(RootsProblem::Empty), "{empty:?}");
        }
        let good = rcgen::generate_simple_self_signed(["a.test".to_string()])
            .unwrap()
            .cert
            .pem();
        let cut = format!("{good}{}", &good[..good.len() / 2]);
        let base64 = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
        for (text, at) in [(cut.as_str(), 1), (base64, 0)] {
            let TlsError::Roots(RootsProblem::Pem(nth, _)) = refusal(identity(pem(text))) else {
                panic!("{text}");
            };
            assert_eq!(nth, at);
        }
        let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(
            refusal(identity(pem(no_certificate))),
            TlsError::Roots(RootsProblem::Certificate(0, _))
        ));
        ClientTls::new(identity(pem(&good)), &TicketStore::new()).unwrap();
        ClientTls::new(identity(Roots::WebPki), &TicketStore::new()).unwrap();
    }

    #[test]
    fn pinned_keys_of_no_use_are_typed_errors() {
        let problem = |pem: &str| {
            let mut identity = identity(Roots::WebPki);
            identity.trust.pinned_keys = Some(PinnedKeys(pem.as_bytes().into()));
            match refusal(identity) {
                TlsError::Pins(problem) => problem,
                other => panic!("{other}"),
            }
        };
        let made = rcgen::generate_simple_self_signed(["a.test".to_string()]).unwrap();
        let certificate = made.cert.pem();
        for empty in ["", "no PEM at all", certificate.as_str()] {
            assert_eq!(problem(empty), PinsProblem::Empty);
        }
        let good = made.signing_key.public_key_pem();
        let cut = format!("{good}{}", &good[..good.len() / 2]);
        assert!(matches!(problem(&cut), PinsProblem::Pem(1, _)));
    }

    #[test]
    fn revocation_lists_of_no_use_are_typed_errors() {
        let problem = |pems: &[&str]| {
            let mut identity = identity(Roots::WebPki);
            identity.trust.revocation = Some(Revocation {
                lists: pems.iter().map(|pem| pem.as_bytes().into()).collect(),
                unknown_allowed: false,
                stale_allowed: false,
            });
            match refusal(identity) {
                TlsError::Revocation(problem) => problem,
                other => panic!("{other}"),
            }
        };
        assert_eq!(problem(&["no list"]), RevocationProblem::Empty(0));
        let broken = "-----BEGIN X509 CRL-----\n!!!!\n-----END X509 CRL-----\n";
        assert!(matches!(problem(&[broken]), RevocationProblem::Pem(0, _)));
        let none = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
        assert!(matches!(problem(&[none]), RevocationProblem::List(_)));
        assert_eq!(problem(&[none, ""]), RevocationProblem::Empty(1));
    }

    #[test]
    fn credentials_of_no_use_are_typed_errors_that_show_no_key() {
        let made = || rcgen::generate_simple_self_signed(["a.test".to_string()]).unwrap();
        let (own, other) = (made(), made());
        let with = |chain: &str, key: &str| Identity {
            credentials: Some(Credentials {
                chain: chain.as_bytes().into(),
                key: key.as_bytes().into(),
            }),
            ..identity(Roots::WebPki)
        };
        let (pem, key) = (own.cert.pem(), own.signing_key.serialize_pem());
        ClientTls::new(with(&pem, &key), &TicketStore::new()).unwrap();
        let both = format!("{key}{pem}");
        ClientTls::new(with(&both, &both), &TicketStore::new()).unwrap();
        let problem = |chain: &str, key: &str| match refusal(with(chain, key)) {
            TlsError::Credentials(problem) => problem,
            other => panic!("{other}"),
        };
        assert_eq!(problem(&key, &key), CredentialsProblem::NoCertificate);
        assert_eq!(problem(&pem, &pem), CredentialsProblem::NoKey);
        assert_eq!(
            problem(&pem, &key[..key.len() / 2]),
            CredentialsProblem::NoKey
        );
        let encrypted = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
        assert_eq!(problem(&pem, &encrypted), CredentialsProblem::NoKey);
        let foreign = other.signing_key.serialize_pem();
        let unusable = problem(&pem, &foreign);
        assert_eq!(unusable.to_string(), "the key is not the certificate's");
        let cut = format!("{pem}{}", &pem[..pem.len() / 2]);
        assert!(matches!(problem(&cut, &key), CredentialsProblem::Pem(1, _)));
        let shown = format!("{:?}", with(&pem, &key));
        let secret = key.lines().nth(1).expect("base64");
        assert!(
            !shown.contains(secret) && shown.contains("Credentials("),
            "{shown}"
        );
    }

    #[test]
    fn a_server_name_must_be_one() {
        for bad in ["", "a b", "exa_mple..test", "[::1]", "a.test:443"] {
            let mut identity = identity(Roots::WebPki);
            identity.server_name = bad.into();
            assert_eq!(refusal(identity), TlsError::ServerName(bad.into()));
        }
        for good in ["a.test", "192.0.2.1", "2001:db8::1"] {
            let mut identity = identity(Roots::WebPki);
            identity.server_name = good.into();
            ClientTls::new(identity, &TicketStore::new()).unwrap();
        }
    }

    #[test]
    fn an_alpn_name_has_1_to_255_bytes() {
        for bad in [Vec::new(), vec![b'x'; 256]] {
            let mut identity = identity(Roots::WebPki);
            identity.alpn = vec![b"http/1.1".to_vec(), bad];
            assert_eq!(refusal(identity), TlsError::Alpn);
        }
    }
}
