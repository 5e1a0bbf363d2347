//! Certificates made for one test: an authority, and what it signs.

use aws_lc_rs::digest;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, date_time_ymd,
};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Who signs.
pub struct Authority {
    /// Its certificate, for clients to trust.
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
pub struct Certificate {
    pub pem: String,
    pub key_pem: String,
    /// The key's public half.
    pub public_key_pem: String,
    der: Vec<u8>,
    pub serial: u64,
}

/// When a certificate is good.
#[derive(Clone, Copy)]
pub enum Validity {
    Now,
    Past,
    Future,
}

impl Certificate {
    /// Its SHA-256, in hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        let digest = digest::digest(&digest::SHA256, &self.der);
        digest
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

impl Authority {
    pub fn new() -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // A name of its own: an issuer is looked for by name.
        static MADE: AtomicU32 = AtomicU32::new(0);
        let nth = MADE.fetch_add(1, Ordering::Relaxed);
        params
            .distinguished_name
            .push(DnType::CommonName, format!("test authority {nth}"));
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);
        Authority { pem, issuer }
    }

    /// For the loopback address and for `backend.test`, good now.
    pub fn sign(&self) -> Certificate {
        self.sign_for(&["127.0.0.1", "backend.test"], Validity::Now)
    }

    /// For a client, with this serial number, good now.
    pub fn sign_client(&self, serial: u64) -> Certificate {
        let params = CertificateParams::new(vec!["client.test".to_owned()]);
        let mut params = params.expect("a name");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.made(params, serial)
    }

    pub fn sign_for(&self, names: &[&str], validity: Validity) -> Certificate {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        let years = match validity {
            Validity::Now => (2001, 3000),
            Validity::Past => (2001, 2002),
            Validity::Future => (2999, 3000),
        };
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        static MADE: AtomicU64 = AtomicU64::new(1);
        self.made(params, MADE.fetch_add(1, Ordering::Relaxed))
    }

    /// A list, good now, of those that it took back.
    pub fn revoked(&self, serials: &[u64]) -> String {
        let revoked = serials.iter().map(|&serial| RevokedCertParams {
            serial_number: serial.into(),
            revocation_time: date_time_ymd(2002, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2002, 1, 1),
            next_update: date_time_ymd(3000, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).expect("a signature");
        list.pem().expect("a list")
    }

    fn made(&self, mut params: CertificateParams, serial: u64) -> Certificate {
        params.serial_number = Some(serial.into());
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.issuer).expect("a signature");
        Certificate {
            pem: signed.pem(),
            key_pem: key.serialize_pem(),
            public_key_pem: key.public_key_pem(),
            der: signed.der().to_vec(),
            serial,
        }
    }
}
