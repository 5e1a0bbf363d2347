//! Where a response's body ends, and whether the peer keeps the connection (RFC 9112 §6.3 and §9.3).
//!
//! Owns: the facts that a response head states about framing, and the decision made from them.
//! Never: looks at a body.

use super::error::ProtocolError;
use super::request::RequestFacts;
use super::syntax::{has_token, is_named, parse_decimal, trim};

/// What a response head says about framing; all that is kept of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) status: u16,
    /// The peer's version is 1.`minor`.
    pub(super) minor: u8,
    pub(super) content_length: Option<u64>,
    pub(super) chunked: bool,
    /// `Connection: close`.
    pub(super) close: bool,
    /// `Connection: keep-alive`.
    pub(super) keep_alive: bool,
}

/// How the end of a response is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// It ends with its head.
    Bodiless,
    /// After so many bytes, at least one.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
    /// It ends with its head, and what follows is not HTTP.
    Tunnel,
}

impl Facts {
    /// Of a head with this status line, and no headers so far.
    pub(super) const fn new(status: u16, minor: u8) -> Facts {
        Facts {
            status,
            minor,
            content_length: None,
            chunked: false,
            close: false,
            keep_alive: false,
        }
    }

    /// Takes a header in. `is_connect`: a 2xx answer to CONNECT has no framing, and its headers about it are
    /// ignored (RFC 9110 §9.3.6).
    #[inline]
    pub(super) fn note(
        &mut self,
        name: &[u8],
        value: &[u8],
        is_connect: bool,
    ) -> Result<(), ProtocolError> {
        // Most headers are told apart by their length alone.
        match name.len() {
            10 if is_named(name, b"connection") => self.add_connection(value),
            14 if is_named(name, b"content-length") && !self.is_tunnel(is_connect) => {
                return self.add_content_length(value);
            }
            17 if is_named(name, b"transfer-encoding") && !self.is_tunnel(is_connect) => {
                return self.add_transfer_encoding(value);
            }
            _ => {}
        }
        Ok(())
    }

    /// The facts of a whole head.
    #[inline]
    pub(super) const fn whole(self) -> Result<Facts, ProtocolError> {
        if self.chunked && self.content_length.is_some() {
            return Err(ProtocolError::ContentLengthWithTransferEncoding);
        }
        if self.chunked && self.minor == 0 {
            return Err(ProtocolError::TransferEncodingInHttp10);
        }
        Ok(self)
    }

    const fn is_tunnel(&self, is_connect: bool) -> bool {
        is_connect && is_success(self.status)
    }

    fn add_connection(&mut self, value: &[u8]) {
        self.close |= has_token(value, "close");
        self.keep_alive |= has_token(value, "keep-alive");
    }

    /// Repeated lengths are accepted while they agree, as several headers or as one list
    /// (RFC 9112 §6.3, rule 5).
    #[inline]
    fn add_content_length(&mut self, value: &[u8]) -> Result<(), ProtocolError> {
        if self.content_length.is_none() {
            self.content_length = parse_decimal(trim(value));
            if self.content_length.is_some() {
                return Ok(());
            }
        }
        self.add_content_lengths(value)
    }

    #[cold]
    fn add_content_lengths(&mut self, value: &[u8]) -> Result<(), ProtocolError> {
        for element in value.split(|&b| b == b',') {
            let length = parse_decimal(trim(element)).ok_or(ProtocolError::ContentLength)?;
            if self.content_length.is_some_and(|known| known != length) {
                return Err(ProtocolError::ContentLengthConflict);
            }
            self.content_length = Some(length);
        }
        Ok(())
    }

    /// Only `chunked`, once, without parameters: we never send TE, so nothing else may come.
    fn add_transfer_encoding(&mut self, value: &[u8]) -> Result<(), ProtocolError> {
        if self.chunked || !trim(value).eq_ignore_ascii_case(b"chunked") {
            return Err(ProtocolError::TransferEncoding);
        }
        self.chunked = true;
        Ok(())
    }

    /// How the end of this response, a final one or 101, is found (RFC 9112 §6.3).
    pub(super) fn framing(&self, request: &RequestFacts) -> Framing {
        if self.status == 101 || (request.is_connect && is_success(self.status)) {
            return Framing::Tunnel;
        }
        if request.is_head || matches!(self.status, 204 | 304) {
            return Framing::Bodiless;
        }
        if self.chunked {
            return Framing::Chunked;
        }
        match self.content_length {
            Some(0) => Framing::Bodiless,
            Some(length) => Framing::Length(length),
            None => Framing::UntilClose,
        }
    }

    /// Whether the peer keeps the connection open after this response (RFC 9112 §9.3).
    pub(super) fn persists(&self) -> bool {
        !self.close && (self.minor == 1 || self.keep_alive)
    }

    /// Whether it announces a body where there can be none whatever the request was: a peer that
    /// errs like this may well send that body, at any time.
    pub(super) fn announces_forbidden_body(&self) -> bool {
        let forbidden = self.status < 200 || self.status == 204;
        forbidden && (self.chunked || self.content_length.is_some_and(|length| length > 0))
    }
}

const fn is_success(status: u16) -> bool {
    matches!(status, 200..=299)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(status: u16, minor: u8, headers: &[(&str, &str)]) -> Result<Facts, ProtocolError> {
        facts_of(status, minor, headers, false)
    }

    fn facts_of(
        status: u16,
        minor: u8,
        headers: &[(&str, &str)],
        is_connect: bool,
    ) -> Result<Facts, ProtocolError> {
        let mut facts = Facts::new(status, minor);
        for (name, value) in headers {
            facts.note(name.as_bytes(), value.as_bytes(), is_connect)?;
        }
        facts.whole()
    }

    fn request(method: &str) -> RequestFacts {
        RequestFacts {
            is_head: method == "HEAD",
            is_connect: method == "CONNECT",
            ..RequestFacts::default()
        }
    }

    #[test]
    fn the_end_of_a_body_is_decided_as_the_rfc_says() {
        const CHUNKED: &[(&str, &str)] = &[("Transfer-Encoding", "Chunked")];
        const FIVE: &[(&str, &str)] = &[("CONTENT-LENGTH", "5")];
        const ZERO: &[(&str, &str)] = &[("content-length", "0")];
        for (method, status, headers, expected) in [
            ("GET", 200, FIVE, Framing::Length(5)),
            ("GET", 200, ZERO, Framing::Bodiless),
            ("GET", 200, CHUNKED, Framing::Chunked),
            ("GET", 200, &[][..], Framing::UntilClose),
            ("HEAD", 200, FIVE, Framing::Bodiless),
            ("HEAD", 200, CHUNKED, Framing::Bodiless),
            ("HEAD", 200, &[][..], Framing::Bodiless),
            ("GET", 204, FIVE, Framing::Bodiless),
            ("GET", 304, FIVE, Framing::Bodiless),
            ("GET", 304, CHUNKED, Framing::Bodiless),
            ("GET", 205, FIVE, Framing::Length(5)),
            ("GET", 599, FIVE, Framing::Length(5)),
            ("GET", 101, &[][..], Framing::Tunnel),
            ("CONNECT", 200, &[][..], Framing::Tunnel),
            ("CONNECT", 299, &[][..], Framing::Tunnel),
            ("CONNECT", 407, FIVE, Framing::Length(5)),
        ] {
            let facts = facts(status, 1, headers).unwrap();
            let framing = facts.framing(&request(method));
            assert_eq!(framing, expected, "{method} {status} {headers:?}");
        }
    }

    #[test]
    fn lengths_must_be_plain_numbers_that_agree() {
        use ProtocolError::{ContentLength, ContentLengthConflict};
        for (values, expected) in [
            (&["5"][..], Ok(Some(5))),
            (&["005"], Ok(Some(5))),
            (&["5", "5"], Ok(Some(5))),
            (&["5, 5"], Ok(Some(5))),
            (&["5,5\t,5", "5"], Ok(Some(5))),
            (&["18446744073709551615"], Ok(Some(u64::MAX))),
            (&["18446744073709551616"], Err(ContentLength)),
            (&["99999999999999999999999"], Err(ContentLength)),
            (&["5", "6"], Err(ContentLengthConflict)),
            (&["5, 6"], Err(ContentLengthConflict)),
            (&["+5"], Err(ContentLength)),
            (&["-5"], Err(ContentLength)),
            (&["5 5"], Err(ContentLength)),
            (&["0x5"], Err(ContentLength)),
            (&["5.0"], Err(ContentLength)),
            (&["5,"], Err(ContentLength)),
            (&[""], Err(ContentLength)),
            (&["\u{665}"], Err(ContentLength)),
        ] {
            let headers: Vec<(&str, &str)> =
                values.iter().map(|&v| ("Content-Length", v)).collect();
            let length = facts(200, 1, &headers).map(|f| f.content_length);
            assert_eq!(length, expected, "{values:?}");
        }
    }

    #[test]
    fn only_chunked_alone_is_accepted_as_transfer_encoding() {
        for values in [
            &["gzip"][..],
            &["gzip, chunked"],
            &["chunked, gzip"],
            &["chunked, chunked"],
            &["chunked", "chunked"],
            &["identity"],
            &["chunked;x=1"],
            &["xchunked"],
            &["chunked,"],
            &[""],
        ] {
            let headers: Vec<(&str, &str)> =
                values.iter().map(|&v| ("Transfer-Encoding", v)).collect();
            assert_eq!(
                facts(200, 1, &headers),
                Err(ProtocolError::TransferEncoding),
                "{values:?}"
            );
        }
        let both = [("transfer-encoding", "chunked"), ("content-length", "5")];
        assert_eq!(
            facts(200, 1, &both),
            Err(ProtocolError::ContentLengthWithTransferEncoding)
        );
        assert_eq!(
            facts(200, 0, &both[..1]),
            Err(ProtocolError::TransferEncodingInHttp10)
        );
    }

    #[test]
    fn a_tunnel_ignores_the_framing_headers() {
        let bad = [("content-length", "x")];
        assert!(facts_of(200, 1, &bad, true).is_ok());
        assert!(facts_of(407, 1, &bad, true).is_err());
    }

    #[test]
    fn persistence_follows_version_and_connection_options() {
        for (minor, options, persists) in [
            (1, &[][..], true),
            (1, &["keep-alive"], true),
            (1, &["close"], false),
            (1, &["CLOSE"], false),
            (1, &["foo ,\tClose, bar"], false),
            (1, &["foo", "close"], false),
            (1, &["closed"], true),
            (1, &["keep-alive, close"], false),
            (0, &[], false),
            (0, &["Keep-Alive"], true),
            (0, &["keep-alive", "close"], false),
        ] {
            let headers: Vec<(&str, &str)> = options.iter().map(|&v| ("Connection", v)).collect();
            let facts = facts(200, minor, &headers).unwrap();
            assert_eq!(facts.persists(), persists, "1.{minor} {options:?}");
        }
    }
}
