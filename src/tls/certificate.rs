//! What a certificate says of itself that rustls does not tell.
//!
//! Owns: reading the end of its validity (RFC 5280 §4.1.2.5), and its fingerprint. Never: judges whether it may be believed.

use aws_lc_rs::digest;
use der::asn1::{AnyRef, GeneralizedTime, UtcTime};
use der::{Decode, Reader, SliceReader, Tag};
use rustls_pki_types::{CertificateDer, UnixTime};

/// The context-specific tag of a certificate's version, which old ones leave out.
const VERSION: u8 = 0xa0;

/// The SHA-256 of `certificate`.
pub(super) fn fingerprint(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    let digest = digest::digest(&digest::SHA256, certificate);
    digest.as_ref().try_into().ok()
}

/// The last moment at which `certificate` is valid; `None` if it is no certificate.
pub(super) fn not_after(certificate: &CertificateDer<'_>) -> Option<UnixTime> {
    read(certificate.as_ref())
        .ok()
        .map(UnixTime::since_unix_epoch)
}

fn read(certificate: &[u8]) -> der::Result<std::time::Duration> {
    let certificate = AnyRef::from_der(certificate)?;
    let body: AnyRef<'_> = SliceReader::new(certificate.value())?.decode()?;
    let mut fields = SliceReader::new(body.value())?;
    if fields.peek_byte() == Some(VERSION) {
        fields.tlv_bytes()?;
    }
    // The serial number, the signature's algorithm and the issuer.
    for _ in 0..3 {
        fields.tlv_bytes()?;
    }
    let validity: AnyRef<'_> = fields.decode()?;
    let mut validity = SliceReader::new(validity.value())?;
    // Not before.
    validity.tlv_bytes()?;
    match Tag::peek(&validity)? {
        Tag::UtcTime => Ok(UtcTime::decode(&mut validity)?.to_unix_duration()),
        _ => Ok(GeneralizedTime::decode(&mut validity)?.to_unix_duration()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    fn until(year: i32) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 6, 15);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        certificate.der().clone()
    }

    #[test]
    fn both_forms_of_time_are_read() {
        // As UTCTime up to 2049, as GeneralizedTime from then on (RFC 5280 §4.1.2.5).
        for year in [2000, 2049, 2050, 4000] {
            let expected = date_time_ymd(year, 6, 15).unix_timestamp() as u64;
            assert_eq!(not_after(&until(year)).unwrap().as_secs(), expected);
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let whole = until(2030);
        for len in 0..whole.len() {
            assert_eq!(not_after(&CertificateDer::from(&whole[..len])), None);
        }
        for byte in 0..=255 {
            let mut broken = whole.to_vec();
            // The tag of the tbsCertificate.
            broken[4] = byte;
            let _either = not_after(&CertificateDer::from(broken));
        }
    }
}
