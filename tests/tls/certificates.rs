//! Certificates that must be refused.

use super::*;

/// Certificates that must be refused, and what the refusal has to be.
fn bad_certificates(authority: &Authority) -> [(Certificate, TlsFailure, &'static str); 4] {
    let here = ["127.0.0.1"];
    [
        (
            Authority::new().sign(),
            TlsFailure::UnknownIssuer,
            "unknown issuer",
        ),
        (
            authority.sign_for(&["elsewhere.test", "127.0.0.2"], Validity::Now),
            TlsFailure::WrongName,
            "another name",
        ),
        (
            authority.sign_for(&here, Validity::Past),
            TlsFailure::Expired,
            "expired",
        ),
        (
            authority.sign_for(&here, Validity::Future),
            TlsFailure::NotYetValid,
            "not yet valid",
        ),
    ]
}

#[test]
fn nginx_with_a_bad_certificate_is_refused_by_name() {
    let authority = Authority::new();
    for (certificate, expected, words) in bad_certificates(&authority) {
        let Some(nginx) = nginx(&certificate, "location / { return 200; }") else {
            return;
        };
        let error = failure(backend(&nginx.url("https"), &authority));
        assert_eq!(error.kind(), ErrorKind::Tls(expected), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(!error.is_retryable(), "a certificate does not mend itself");
        assert!(std::error::Error::source(&error).is_some());
    }
}

#[test]
fn s_server_with_a_bad_certificate_is_refused_by_name() {
    let authority = Authority::new();
    for (certificate, expected, words) in bad_certificates(&authority) {
        for version in ["-tls1_2", "-tls1_3"] {
            let Some(server) = OpensslServer::start(&certificate, &["-www", version]) else {
                return;
            };
            let error = failure(backend(&server.url("https"), &authority));
            assert_eq!(error.kind(), ErrorKind::Tls(expected), "{error:?}");
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
