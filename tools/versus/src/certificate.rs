//! The backend's certificate, made at start: an authority, and what it vouches for.
//!
//! Keys live in memory only; the authority's certificate alone is written down.

use crate::failure::Failure;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::path::Path;
use std::sync::Arc;

/// The name that it is for.
pub(crate) const NAME: &str = "localhost";

/// A certificate and its key, and the authority behind it. ECDSA, P-256.
pub(crate) struct Certificate {
    pub(crate) authority_pem: String,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Certificate {
    pub(crate) fn generate() -> Result<Certificate, Failure> {
        Certificate::make().map_err(|why| Failure::run("cannot make a certificate", why))
    }

    fn make() -> Result<Certificate, rcgen::Error> {
        let authority_key = KeyPair::generate()?;
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let name = &mut authority.distinguished_name;
        name.push(DnType::CommonName, "versus authority");
        let authority_pem = authority.self_signed(&authority_key)?.pem();
        let issuer = Issuer::new(authority, authority_key);

        let key = KeyPair::generate()?;
        let names = vec![NAME.to_owned(), "127.0.0.1".to_owned()];
        let mut server = CertificateParams::new(names)?;
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = server.signed_by(&key, &issuer)?.into();
        Ok(Certificate {
            authority_pem,
            certificate,
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        })
    }

    /// TLS 1.3 alone, with tickets, for HTTP/1.1.
    pub(crate) fn server_config(self) -> Result<Arc<ServerConfig>, Failure> {
        let failed = |why: rustls::Error| Failure::run("cannot set up the backend's TLS", why);
        let mut config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(failed)?
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate], self.key)
            .map_err(failed)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(failed)?;
        Ok(Arc::new(config))
    }
}

/// rustls's defaults for a client that trusts the authority alone. `alpn`: whether to offer HTTP/1.1, for
/// clients that do not see to it themselves.
pub(crate) fn client_config(authority: &Path, alpn: bool) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(authority).map_err(|why| why.to_string())?;
    roots.add(certificate).map_err(|why| why.to_string())?;
    let mut config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|why| why.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    if alpn {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
    }
    Ok(config)
}
