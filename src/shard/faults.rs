//! Puts what the layers below report into the crate's one error type.

use super::bytes_in::End;
use crate::error::{Error, ErrorKind, TlsFailure};
use crate::protocol::http1::ProtocolError;
use crate::tls::{CertificateProblem, TlsError};
use std::io;

pub(super) fn tls(error: TlsError) -> Error {
    Error::new(ErrorKind::Tls(failure(&error)), error.to_string()).caused_by(error)
}

pub(super) fn protocol(error: ProtocolError) -> Error {
    let kind = if error.is_limit() {
        ErrorKind::Limit
    } else {
        ErrorKind::Protocol
    };
    Error::new(kind, error.to_string()).caused_by(error)
}

pub(super) fn dial(error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::TimedOut => {
            return Error::new(ErrorKind::Dial, "the kernel gave up connecting").caused_by(error);
        }
        _ if is_exhaustion(&error) => ErrorKind::Refused,
        _ => ErrorKind::Dial,
    };
    Error::new(kind, format!("cannot connect: {error}")).caused_by(error)
}

/// Whether no socket can be made, wherever it is to go.
pub(super) fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}

/// Whether the process or the machine has run out of descriptors or ports.
fn is_exhaustion(error: &io::Error) -> bool {
    is_out_of_descriptors(error) || error.raw_os_error() == Some(libc::EADDRNOTAVAIL)
}

/// The connection ended where more was expected.
pub(super) fn ended(end: End) -> Error {
    match end {
        End::Clean => Error::new(ErrorKind::Closed, "the peer closed the connection"),
        End::Truncated => Error::new(
            ErrorKind::Tls(TlsFailure::Truncated),
            "the connection ended without close_notify: what came may have been cut short",
        ),
        End::Failed(kind) => {
            Error::new(ErrorKind::Closed, format!("the connection failed: {kind}"))
                .caused_by(io::Error::from(kind))
        }
    }
}

fn failure(error: &TlsError) -> TlsFailure {
    match error {
        TlsError::Certificate(problem, _) => match problem {
            CertificateProblem::UnknownIssuer => TlsFailure::UnknownIssuer,
            CertificateProblem::Expired => TlsFailure::Expired,
            CertificateProblem::NotYetValid => TlsFailure::NotYetValid,
            CertificateProblem::WrongName => TlsFailure::WrongName,
            CertificateProblem::Revoked => TlsFailure::Revoked,
            CertificateProblem::RevocationUnknown => TlsFailure::RevocationUnknown,
            CertificateProblem::NotPinned => TlsFailure::NotPinned,
            CertificateProblem::Other => TlsFailure::Certificate,
        },
        TlsError::Alert(_) => TlsFailure::Alert,
        TlsError::NotTls(_) => TlsFailure::NotTls,
        TlsError::Flood => TlsFailure::Flood,
        TlsError::Protocol(_)
        | TlsError::KeysExhausted
        | TlsError::NotOpen
        | TlsError::Roots(_)
        | TlsError::Pins(_)
        | TlsError::Revocation(_)
        | TlsError::Credentials(_)
        | TlsError::ServerName(_)
        | TlsError::Alpn => TlsFailure::Protocol,
    }
}
