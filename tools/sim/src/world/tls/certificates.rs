//! Certificates: of the authority that the engine trusts, of one that it does not, and of servers.
//!
//! Owns: their keys, which are the same in every run, so that the bytes are too.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_ED25519,
    date_time_ymd,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use std::sync::OnceLock;

/// What a server shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certificate {
    /// Its own, in order.
    Good,
    /// One that nobody signed whom the engine trusts.
    UnknownIssuer,
    /// One for other names.
    WrongName,
    /// One whose time is over.
    Expired,
}

/// The certificate of the trusted authority, in PEM.
pub fn roots() -> &'static str {
    static ROOTS: OnceLock<String> = OnceLock::new();
    ROOTS.get_or_init(|| authority(TRUSTED).pem())
}

/// What a server of these names shows, and the key to it.
pub fn certified(
    certificate: Certificate,
    names: &[String],
    provider: &CryptoProvider,
) -> CertifiedKey {
    let issuer = match certificate {
        Certificate::Good | Certificate::WrongName | Certificate::Expired => authority(TRUSTED),
        Certificate::UnknownIssuer => authority(STRANGER),
    };
    let names = match certificate {
        Certificate::Good | Certificate::UnknownIssuer | Certificate::Expired => names.to_vec(),
        Certificate::WrongName => vec!["elsewhere.test".to_owned()],
    };
    let mut params = CertificateParams::new(names).expect("these are names");
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = match certificate {
        Certificate::Good | Certificate::UnknownIssuer | Certificate::WrongName => {
            date_time_ymd(2100, 1, 1)
        }
        Certificate::Expired => date_time_ymd(2024, 12, 31),
    };
    let signed = params.signed_by(&key(SERVER), &issuer);
    let chain: Vec<CertificateDer<'static>> = vec![signed.expect("keys sign").into()];
    CertifiedKey::from_der(chain, pkcs8(SERVER).into(), provider).expect("the key is its own")
}

/// Whose key it is: a byte that the whole key is made of.
const TRUSTED: u8 = 0x11;
const STRANGER: u8 = 0x22;
const SERVER: u8 = 0x33;

fn authority(owner: u8) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("no name is no bad name");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let name = format!("authority {owner:x}");
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, key(owner)).expect("keys sign")
}

fn key(owner: u8) -> KeyPair {
    KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8(owner), &PKCS_ED25519).expect("it is Ed25519")
}

/// RFC 8410, section 7.
fn pkcs8(owner: u8) -> PrivatePkcs8KeyDer<'static> {
    let mut der = vec![
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    der.extend_from_slice(&[owner; 32]);
    der.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::crypto::aws_lc_rs;

    #[test]
    fn certificates_are_the_same_every_time() {
        let provider = aws_lc_rs::default_provider();
        let show = |certificate| certified(certificate, &["a.test".into()], &provider).cert;
        assert_eq!(show(Certificate::Good), show(Certificate::Good));
        assert_ne!(show(Certificate::Good), show(Certificate::Expired));
        assert!(roots().contains("BEGIN CERTIFICATE"));
        assert_eq!(authority(TRUSTED).der(), authority(TRUSTED).der());
    }
}
