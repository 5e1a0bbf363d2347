//! What judges the certificates of one identity's servers.
//!
//! Owns: the order of the checks: the chain, the name, the time and revocation first, by webpki; then the pinned
//! keys. What it finds good, it notes down with the identity's tickets: how long that counts. Never: is shared between
//! identities. rustls resumes a session only with the very verifier that judged it first, and asks no verifier then.

use super::tickets::IdentityTickets;
use super::x509::not_after;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use std::sync::Arc;
use std::time::Duration;

/// See above.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) web_pki: Arc<WebPkiServerVerifier>,
    /// One of these, if there are any, has to be the server's.
    pub(super) pinned_keys: Vec<SubjectPublicKeyInfoDer<'static>>,
    pub(super) verified_max: Option<Duration>,
    pub(super) tickets: Option<Arc<IdentityTickets>>,
}

/// Until when a certificate counts as checked that was found good at `now`; `None` for ever.
pub(super) fn good_until(
    certificate: &CertificateDer<'_>,
    verified_max: Option<Duration>,
    now: UnixTime,
) -> Option<UnixTime> {
    let expires = not_after(certificate);
    let aged = verified_max.map(|max| {
        let seconds = now.as_secs().saturating_add(max.as_secs());
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    });
    expires.into_iter().chain(aged).min()
}

impl Verifier {
    fn check_pins(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        if self.pinned_keys.is_empty() {
            return Ok(());
        }
        let key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
        if self.pinned_keys.contains(&key) {
            return Ok(());
        }
        // webpki itself never says so: it stands for this alone.
        Err(CertificateError::ApplicationVerificationFailure.into())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.web_pki.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )?;
        self.check_pins(end_entity)?;
        // Before the first ticket of this session can come.
        if let Some(tickets) = &self.tickets {
            tickets.proven(now, good_until(end_entity, self.verified_max, now));
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.web_pki
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.web_pki
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.web_pki.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.web_pki.requires_raw_public_keys()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.web_pki.root_hint_subjects()
    }
}
