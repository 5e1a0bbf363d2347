//! TLS settings of an upstream.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// TLS settings of one upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Who may sign the server's certificate. Default: the web's certificate authorities, compiled
    /// in, so that no file has to be in place. For an internal authority set its own: nobody else
    /// may sign then, which is safer.
    pub roots: TrustRoots,
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
}

impl Default for TlsConfig {
    fn default() -> TlsConfig {
        TlsConfig {
            roots: TrustRoots::WebPki,
            client_certificate: None,
            server_name: String::new(),
            alpn: Vec::new(),
            resumption: true,
        }
    }
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
