//! TLS settings of an upstream.

use super::serial;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// TLS settings of one upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Who may sign the server's certificate. Default: the web's certificate authorities, compiled
    /// in, so that no file has to be in place. For an internal authority set its own: nobody else
    /// may sign then, which is safer.
    pub roots: TrustRoots,
    /// Public keys of which the server's certificate has to be for one, whoever signed it: PEM with `PUBLIC KEY`
    /// sections, as `openssl x509 -pubkey -noout` writes them. None, the default, takes every key that a trusted authority
    /// has signed for, so that servers may change theirs. Pinning guards against an authority that signs for somebody
    /// else, and cuts the upstream off when a server takes a key that is not listed: list the next one ahead.
    pub pinned_keys: Option<Pem>,
    /// Which certificates their issuers took back.
    pub revocation: RevocationConfig,
    /// How long a check of the server's certificate counts. Connections are closed when so much time has passed (up
    /// to a quarter earlier, so that they do not close together; one in use then, when it is released), and in its last quarter
    /// nothing is resumed that goes back to it.
    /// Default 24 h: a resumed session is not checked again, and without a limit one check might
    /// serve for ever. Shorter notices a revoked or replaced certificate sooner, at the cost of full handshakes; `"off"`
    /// leaves it to the certificate's own end, which always counts.
    #[serde(with = "serial::duration_or_off")]
    pub verified_max: Option<Duration>,
    /// What proves who we are, to servers that ask for a certificate. None, the default, proves nothing: most
    /// servers do not ask, and those that do refuse the connection, or the request. Set it where servers let in only
    /// whom they know (mutual TLS).
    pub client_certificate: Option<ClientCertificate>,
    /// The name that the certificate must be for, and that is sent as SNI. Empty, the default,
    /// takes the URL's host: what was asked for is what has to be proven. Set it where the URL has
    /// an address, or a name that the certificate is not for.
    pub server_name: String,
    /// Protocols offered by ALPN (RFC 7301), best first. Empty, the default, offers `http/1.1` for
    /// `https` and none for `tls`: what is offered has to be what is spoken. Set it where a server
    /// of a raw protocol asks for a name.
    pub alpn: Vec<String>,
    /// Whether sessions are resumed with tickets. Default true: it saves about a quarter of a
    /// handshake's CPU and the certificate's bytes. A ticket stays within its identity. Without it
    /// every connection proves the certificate anew, at the cost of a full handshake.
    pub resumption: bool,
    /// How long a ticket is kept. Default 24 h: servers commonly change the keys that their tickets are sealed with once
    /// a day, and refuse older ones. Never longer than the server says, or seven days (RFC 8446 §4.6.1). Shorter narrows the time
    /// in which a stolen ticket is of use; it costs a full handshake after a longer pause.
    #[serde(with = "serial::duration")]
    pub ticket_lifetime_max: Duration,
    /// Whether a request may be sent along with the handshake of a resumed session, as early data (RFC 8446 §2.3), where a call waits
    /// for the connection and is idempotent (by its method, or its caller's word). Default false: whoever records early data can send it
    /// again, and the server may act on it twice, minutes later. Turn it on where requests are safe to repeat at any
    /// time and callers often wait for a dial: it saves them a round trip, on connections to servers that offer it. A server that does not
    /// take it gets the request after the handshake; one that answers 425 (RFC 8470) gets it once more, not early.
    pub early_data: bool,
    /// Whether the secrets of every connection are appended to the file that the environment's `SSLKEYLOGFILE` names, from which whoever
    /// reads it deciphers what was recorded. Default false: nothing secret leaves the process, whatever the environment says.
    /// Turn it on to look into traffic while debugging, and off again.
    pub key_log: bool,
}

impl Default for TlsConfig {
    fn default() -> TlsConfig {
        TlsConfig {
            roots: TrustRoots::WebPki,
            pinned_keys: None,
            revocation: RevocationConfig::default(),
            verified_max: Some(DAY),
            client_certificate: None,
            server_name: String::new(),
            alpn: Vec::new(),
            resumption: true,
            ticket_lifetime_max: DAY,
            early_data: false,
            key_log: false,
        }
    }
}

/// Which certificates their issuers took back (RFC 5280 §5). Lists are not fetched: whoever distributes them puts files in
/// place, which are watched as the others are. A new list makes a new identity: connections made before it drain
/// within `drain_timeout`, and their successors are checked by it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RevocationConfig {
    /// The lists: PEM with `X509 CRL` sections, one or more each. Empty, the default, checks nothing: the web's lists are
    /// too large to hand around, and its certificates short-lived instead. Set it for an internal authority that publishes
    /// lists.
    pub lists: Vec<Pem>,
    /// Whether a certificate passes whose issuer has no list here, intermediate ones included. Default false: a list that was
    /// forgotten is noticed at once. Turn it on to check what there are lists for,
    /// and no more.
    pub unknown_allowed: bool,
    /// Whether lists count still that are past their `nextUpdate`. Default false: who can hold back new lists could make
    /// old ones last. Turn it on to survive an
    /// authority that is late; one that was silenced is not noticed then.
    pub stale_allowed: bool,
}

/// Who may sign a server's certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrustRoots {
    /// Mozilla's set, compiled in (webpki-roots).
    WebPki,
    /// The certificates in this PEM file, read when the engine starts, when the upstream is reconfigured, and when it
    /// has changed (`reload_interval`; [`Engine::reload`](crate::Engine::reload)).
    PemFile(PathBuf),
    /// The certificates in this PEM text.
    Pem(String),
}

/// A certificate of our own and its key. Both may be in one file, which is then named twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificate {
    /// The certificate, and after it those that lead from it to the authority that the server knows. No default.
    pub chain: Pem,
    /// Its private key, in PKCS #8, PKCS #1 or SEC 1, not encrypted. No default.
    pub key: Pem,
}

/// Where a text in PEM (RFC 7468) is.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pem {
    /// In this file; read when the engine starts, when the upstream is reconfigured, and when it has changed
    /// (`reload_interval`; [`Engine::reload`](crate::Engine::reload)).
    PemFile(PathBuf),
    /// Here. A configuration with a key in it is a secret.
    Pem(String),
}

impl TlsConfig {
    /// The files that are named here.
    pub(crate) fn files(&self) -> Vec<&Path> {
        let roots = match &self.roots {
            TrustRoots::PemFile(path) => Some(path.as_path()),
            TrustRoots::WebPki | TrustRoots::Pem(_) => None,
        };
        let own = self.client_certificate.iter();
        let own = own.flat_map(|certificate| [&certificate.chain, &certificate.key]);
        let pems = self
            .pinned_keys
            .iter()
            .chain(&self.revocation.lists)
            .chain(own);
        roots
            .into_iter()
            .chain(pems.filter_map(Pem::file))
            .collect()
    }
}

impl Pem {
    fn file(&self) -> Option<&Path> {
        match self {
            Pem::PemFile(path) => Some(path),
            Pem::Pem(_) => None,
        }
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pem::PemFile(path) => write!(f, "PemFile({})", path.display()),
            Pem::Pem(text) => write!(f, "Pem({} bytes)", text.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_shown() {
        let certificate = ClientCertificate {
            chain: Pem::PemFile("/etc/client.pem".into()),
            key: Pem::Pem("secret".into()),
        };
        let shown = format!("{certificate:?}");
        assert!(
            shown.contains("/etc/client.pem") && !shown.contains("secret"),
            "{shown}"
        );
    }

    #[test]
    fn it_is_written_as_a_table() {
        let text = r#"{"chain": {"pem_file": "/etc/client.pem"}, "key": {"pem": "x"}}"#;
        let read: ClientCertificate = serde_json::from_str(text).expect("it is right");
        assert_eq!(read.chain, Pem::PemFile("/etc/client.pem".into()));
        assert!(serde_json::from_str::<ClientCertificate>(r#"{"chain": {"pem": "x"}}"#).is_err());
    }
}
