//! What can go wrong with TLS, told apart where the difference tells a person what to mend.
//!
//! Owns: the sorting of rustls' errors. Never: decides what may be tried again.

use rustls::{AlertDescription, CertificateError, PeerMisbehaved};
use std::error::Error;
use std::fmt;

/// Why a connection's TLS, or its set-up, failed. A [`Session`](super::Session) that failed once
/// fails in the same way ever after.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TlsError {
    /// The server's certificate is not good enough.
    Certificate(CertificateProblem, rustls::Error),
    /// The server gave up, and sent this fatal alert (RFC 8446, section 6.2).
    Alert(AlertDescription),
    /// What answered does not speak TLS: its first bytes begin no TLS record.
    NotTls(rustls::Error),
    /// The server broke the protocol, or shares no version or cipher suite with us.
    Protocol(rustls::Error),
    /// The server kept sending records that carry nothing (tickets, key updates, requests to negotiate anew).
    Flood,
    /// The connection's keys have protected as many records as they may (TLS 1.2 only; TLS 1.3
    /// changes keys by itself). It has said good-bye and cannot send; open another.
    KeysExhausted,
    /// Something was to be encrypted before the handshake ended, or after `close_notify` was sent.
    NotOpen,
    /// The trusted roots that were given are of no use.
    Roots(RootsProblem),
    /// The pinned keys that were given are of no use.
    Pins(PinsProblem),
    /// The revocation lists that were given are of no use.
    Revocation(RevocationProblem),
    /// The certificate and key that were given for ourselves are of no use.
    Credentials(CredentialsProblem),
    /// This is neither a DNS name nor an IP address.
    ServerName(String),
    /// A protocol's name in the ALPN list is empty or longer than 255 bytes (RFC 7301, section 3.1).
    Alpn,
}

/// What is wrong with a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CertificateProblem {
    /// None of the trusted roots vouches for it.
    UnknownIssuer,
    /// Its time is over, by our clock.
    Expired,
    /// Its time has not come, by our clock.
    NotYetValid,
    /// It is for other names.
    WrongName,
    /// Its issuer took it back.
    Revoked,
    /// Whether its issuer took it back is not known: there is no list of that issuer, or it is out of date.
    RevocationUnknown,
    /// It is good, but its key is none of the pinned ones.
    NotPinned,
    /// Something else: missing, malformed, badly signed, made for another purpose.
    Other,
}

/// What is wrong with a PEM of trusted roots.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RootsProblem {
    /// There is no certificate in it.
    Empty,
    /// It is not PEM (RFC 7468), from this certificate on (counted from 0).
    Pem(usize, String),
    /// This one (counted from 0) is not a certificate.
    Certificate(usize, String),
}

/// What is wrong with a PEM of pinned keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PinsProblem {
    /// There is no public key in it.
    Empty,
    /// It is not PEM (RFC 7468), from this key on (counted from 0).
    Pem(usize, String),
}

/// What is wrong with revocation lists.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RevocationProblem {
    /// There is no list in this PEM (counted from 0).
    Empty(usize),
    /// This one (counted from 0) is not PEM (RFC 7468).
    Pem(usize, String),
    /// One of the lists is none, or of a kind that cannot be used.
    List(String),
}

/// What is wrong with a certificate and key of our own.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum CredentialsProblem {
    /// There is no certificate in the chain's PEM.
    NoCertificate,
    /// It is not PEM (RFC 7468), from this certificate on (counted from 0).
    Pem(usize, String),
    /// There is no private key in the key's PEM, in PKCS #8, PKCS #1 or SEC 1, that is not encrypted.
    NoKey,
    /// They do not go together, or are of a kind that cannot be used.
    Unusable(rustls::Error),
}

impl TlsError {
    /// What is wrong with the server's certificate, if that is the trouble.
    #[cfg(test)]
    pub fn certificate_problem(&self) -> Option<CertificateProblem> {
        match self {
            TlsError::Certificate(problem, _) => Some(*problem),
            _ => None,
        }
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> TlsError {
        match error {
            rustls::Error::InvalidCertificate(ref certificate) => {
                TlsError::Certificate(problem(certificate), error)
            }
            rustls::Error::NoCertificatesPresented => {
                TlsError::Certificate(CertificateProblem::Other, error)
            }
            rustls::Error::AlertReceived(description) => TlsError::Alert(description),
            rustls::Error::PeerMisbehaved(
                PeerMisbehaved::TooManyKeyUpdateRequests
                | PeerMisbehaved::TooManyEmptyFragments
                | PeerMisbehaved::TooManyRenegotiationRequests
                | PeerMisbehaved::TooManyWarningAlertsReceived,
            ) => TlsError::Flood,
            other => TlsError::Protocol(other),
        }
    }
}

fn problem(error: &CertificateError) -> CertificateProblem {
    match error {
        CertificateError::UnknownIssuer => CertificateProblem::UnknownIssuer,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            CertificateProblem::Expired
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            CertificateProblem::NotYetValid
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            CertificateProblem::WrongName
        }
        CertificateError::Revoked => CertificateProblem::Revoked,
        CertificateError::UnknownRevocationStatus
        | CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => {
            CertificateProblem::RevocationUnknown
        }
        // Said by our own verifier alone.
        CertificateError::ApplicationVerificationFailure => CertificateProblem::NotPinned,
        // rustls may add more at any time.
        _ => CertificateProblem::Other,
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::Certificate(problem, _) => write!(f, "server certificate refused: {problem}"),
            TlsError::Alert(description) => match description.as_str() {
                Some(name) => write!(f, "server sent the TLS alert {name}"),
                None => write!(f, "server sent TLS alert {}", u8::from(*description)),
            },
            TlsError::NotTls(_) => f.write_str("the server does not speak TLS on this port"),
            TlsError::Protocol(_) => f.write_str("TLS protocol failure"),
            TlsError::Flood => {
                f.write_str("the server floods the connection with records that carry nothing")
            }
            TlsError::KeysExhausted => f.write_str("the connection's TLS keys are used up"),
            TlsError::NotOpen => f.write_str("TLS is not open for sending"),
            TlsError::Roots(problem) => write!(f, "trusted roots unusable: {problem}"),
            TlsError::Pins(problem) => write!(f, "pinned keys unusable: {problem}"),
            TlsError::Revocation(problem) => write!(f, "revocation lists unusable: {problem}"),
            TlsError::Credentials(problem) => write!(f, "client certificate unusable: {problem}"),
            TlsError::ServerName(name) => {
                write!(f, "neither a DNS name nor an IP address: {name:?}")
            }
            TlsError::Alpn => f.write_str("an ALPN protocol name needs 1 to 255 bytes"),
        }
    }
}

impl fmt::Display for CertificateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CertificateProblem::UnknownIssuer => "unknown issuer",
            CertificateProblem::Expired => "expired",
            CertificateProblem::NotYetValid => "not yet valid",
            CertificateProblem::WrongName => "issued for another name",
            CertificateProblem::Revoked => "revoked",
            CertificateProblem::RevocationUnknown => "no current revocation list of its issuer",
            CertificateProblem::NotPinned => "its key is none of the pinned ones",
            CertificateProblem::Other => "invalid",
        })
    }
}

impl fmt::Display for RootsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RootsProblem::Empty => f.write_str("no certificate in the PEM"),
            RootsProblem::Pem(nth, why) => write!(f, "malformed PEM at certificate {nth}: {why}"),
            RootsProblem::Certificate(nth, why) => write!(f, "certificate {nth}: {why}"),
        }
    }
}

impl fmt::Display for PinsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PinsProblem::Empty => f.write_str("no public key in the PEM"),
            PinsProblem::Pem(nth, why) => write!(f, "malformed PEM at key {nth}: {why}"),
        }
    }
}

impl fmt::Display for RevocationProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RevocationProblem::Empty(nth) => write!(f, "no list in the PEM of number {nth}"),
            RevocationProblem::Pem(nth, why) => write!(f, "malformed PEM in number {nth}: {why}"),
            RevocationProblem::List(why) => write!(f, "a list cannot be used: {why}"),
        }
    }
}

impl fmt::Display for CredentialsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CredentialsProblem::NoCertificate => f.write_str("no certificate in the PEM"),
            CredentialsProblem::Pem(nth, why) => {
                write!(f, "malformed PEM at certificate {nth}: {why}")
            }
            CredentialsProblem::NoKey => {
                f.write_str("no private key in the PEM, or one that is encrypted")
            }
            CredentialsProblem::Unusable(rustls::Error::InconsistentKeys(_)) => {
                f.write_str("the key is not the certificate's")
            }
            CredentialsProblem::Unusable(error) => write!(f, "{error}"),
        }
    }
}

impl Error for TlsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            TlsError::Certificate(_, error)
            | TlsError::NotTls(error)
            | TlsError::Protocol(error)
            | TlsError::Credentials(CredentialsProblem::Unusable(error)) => Some(error),
            TlsError::Alert(_)
            | TlsError::Flood
            | TlsError::KeysExhausted
            | TlsError::NotOpen
            | TlsError::Roots(_)
            | TlsError::Pins(_)
            | TlsError::Revocation(_)
            | TlsError::Credentials(_)
            | TlsError::ServerName(_)
            | TlsError::Alpn => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_problems_are_told_apart_and_keep_their_source() {
        let cases = [
            (
                CertificateError::UnknownIssuer,
                CertificateProblem::UnknownIssuer,
            ),
            (CertificateError::Expired, CertificateProblem::Expired),
            (
                CertificateError::NotValidYet,
                CertificateProblem::NotYetValid,
            ),
            (
                CertificateError::NotValidForName,
                CertificateProblem::WrongName,
            ),
            (CertificateError::Revoked, CertificateProblem::Revoked),
            (
                CertificateError::UnknownRevocationStatus,
                CertificateProblem::RevocationUnknown,
            ),
            (
                CertificateError::ApplicationVerificationFailure,
                CertificateProblem::NotPinned,
            ),
            (CertificateError::BadSignature, CertificateProblem::Other),
        ];
        for (from, to) in cases {
            let error = TlsError::from(rustls::Error::InvalidCertificate(from.clone()));
            assert_eq!(error.certificate_problem(), Some(to));
            let source = error.source().unwrap().downcast_ref::<rustls::Error>();
            assert_eq!(source, Some(&rustls::Error::InvalidCertificate(from)));
        }
    }

    #[test]
    fn every_message_is_one_line() {
        let errors = [
            TlsError::from(rustls::Error::NoCertificatesPresented),
            TlsError::Alert(AlertDescription::HandshakeFailure),
            TlsError::Alert(AlertDescription::Unknown(250)),
            TlsError::NotTls(rustls::Error::DecryptError),
            TlsError::Roots(RootsProblem::Pem(3, "odd".into())),
            TlsError::ServerName("two\nlines".into()),
        ];
        for error in errors {
            let message = error.to_string();
            assert!(!message.is_empty() && !message.contains('\n'), "{message}");
        }
        assert_eq!(
            TlsError::Alert(AlertDescription::HandshakeFailure).to_string(),
            "server sent the TLS alert HandshakeFailure"
        );
    }
}
