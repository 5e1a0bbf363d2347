//! What certificates and revocation lists say of themselves that rustls does not tell.
//!
//! Owns: reading the end of a certificate's validity (RFC 5280 §4.1.2.5), its fingerprint, and when a list was issued. Never: judges whether it may be believed.

use aws_lc_rs::digest;
use der::asn1::{AnyRef, GeneralizedTime, UtcTime};
use der::{Decode, Reader, SliceReader, Tag};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};

/// The context-specific tag of a certificate's version, which old ones leave out.
const VERSION: u8 = 0xa0;

/// The SHA-256 of `certificate`.
pub(super) fn fingerprint(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    let digest = digest::digest(&digest::SHA256, certificate);
    digest.as_ref().try_into().ok()
}

/// The last moment at which `certificate` is valid; `None` if it is no certificate.
pub(super) fn not_after(certificate: &CertificateDer<'_>) -> Option<UnixTime> {
    read_not_after(certificate.as_ref()).ok()
}

/// When a list was issued (RFC 5280 §5.1.2.4); `None` if it is no list.
pub(super) fn this_update(list: &CertificateRevocationListDer<'_>) -> Option<UnixTime> {
    read_this_update(list.as_ref()).ok()
}

fn read_not_after(certificate: &[u8]) -> der::Result<UnixTime> {
    let mut fields = signed_fields(certificate)?;
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
    time(&mut validity)
}

fn read_this_update(list: &[u8]) -> der::Result<UnixTime> {
    let mut fields = signed_fields(list)?;
    if Tag::peek(&fields)? == Tag::Integer {
        // The version.
        fields.tlv_bytes()?;
    }
    // The signature's algorithm and the issuer.
    for _ in 0..2 {
        fields.tlv_bytes()?;
    }
    time(&mut fields)
}

/// The fields of what is signed.
fn signed_fields(signed: &[u8]) -> der::Result<SliceReader<'_>> {
    let signed = AnyRef::from_der(signed)?;
    let body: AnyRef<'_> = SliceReader::new(signed.value())?.decode()?;
    SliceReader::new(body.value())
}

fn time<'r>(reader: &mut impl Reader<'r>) -> der::Result<UnixTime> {
    let since = match Tag::peek(reader)? {
        Tag::UtcTime => UtcTime::decode(reader)?.to_unix_duration(),
        _ => GeneralizedTime::decode(reader)?.to_unix_duration(),
    };
    Ok(UnixTime::since_unix_epoch(since))
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
