//! Certificates made at start: authorities of one minute's fame, a server's certificate and clients' ones.
//!
//! Keys live in memory. Only an authority's certificate leaves the process, unless a server or a file that is gone with the
//! run needs more.

use std::net::IpAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::failure::Failure;

/// A server's certificate and key, and the authority that vouches for it.
pub(crate) struct Certificates {
    /// The authority's certificate, for clients to trust, in PEM.
    pub(crate) authority_pem: String,
    /// The server's own, in PEM, for a server that is not this program.
    pub(crate) certificate_pem: String,
    /// Its key, likewise.
    pub(crate) key_pem: String,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Certificates {
    /// Makes them for `localhost`, both loopback addresses, and `address`.
    pub(crate) fn generate(address: IpAddr) -> Result<Self, Failure> {
        Self::make(address)
            .map_err(|e| Failure::Run(format!("cannot make the backend's certificate: {e}")))
    }

    fn make(address: IpAddr) -> Result<Self, rcgen::Error> {
        let authority_key = KeyPair::generate()?;
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        authority
            .distinguished_name
            .push(DnType::CommonName, "stress backend authority");
        let authority_pem = authority.self_signed(&authority_key)?.pem();
        let issuer = Issuer::new(authority, authority_key);

        let mut names = vec![
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
            "::1".to_owned(),
        ];
        let bound = address.to_string();
        if !address.is_unspecified() && !names.contains(&bound) {
            names.push(bound);
        }
        let key = KeyPair::generate()?;
        let mut server = CertificateParams::new(names)?;
        server
            .distinguished_name
            .push(DnType::CommonName, "stress backend");
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = server.signed_by(&key, &issuer)?;
        Ok(Self {
            authority_pem,
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            certificate: certificate.into(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        })
    }

    /// A TLS 1.3 and 1.2 configuration that offers HTTP/1.1 and hands out session tickets.
    pub(crate) fn server_config(self) -> Result<Arc<ServerConfig>, Failure> {
        let broken = |e: rustls::Error| Failure::Run(format!("cannot set up TLS: {e}"));
        let mut config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(broken)?
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate], self.key)
            .map_err(broken)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(broken)?;
        Ok(Arc::new(config))
    }
}

/// Who signs the certificates that clients show.
pub(crate) struct ClientAuthority {
    /// Its own, for servers to trust, in PEM.
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A client's certificate and its key, both in PEM.
pub(crate) struct Credentials {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl ClientAuthority {
    /// Makes one.
    pub(crate) fn generate() -> Result<Self, Failure> {
        Self::make().map_err(|e| Failure::Run(format!("cannot make clients' authority: {e}")))
    }

    fn make() -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        authority
            .distinguished_name
            .push(DnType::CommonName, "stress client authority");
        let pem = authority.self_signed(&key)?.pem();
        let issuer = Issuer::new(authority, key);
        Ok(Self { pem, issuer })
    }

    /// A certificate with this serial number, and a key of its own.
    pub(crate) fn sign(&self, serial: u64) -> Result<Credentials, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut client = CertificateParams::default();
        client.serial_number = Some(serial.into());
        client
            .distinguished_name
            .push(DnType::CommonName, "stress client");
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        Ok(Credentials {
            certificate: client.signed_by(&key, &self.issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }
}
