//! Request bodies of unknown length as chunks (RFC 9112 §7.1), appended to a buffer.
//!
//! Never: ends a body by accident, or lets a trailer change what the message means.

use super::encode::{push_header, push_number};
use super::request::HeadError;
use http::HeaderMap;

/// What follows the data of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// Appends what comes before `len` bytes of chunk data; [`CHUNK_END`] comes after them. Nothing for
/// zero, since an empty chunk would end the body.
pub fn encode_chunk_header(out: &mut Vec<u8>, len: usize) {
    if len > 0 {
        push_number(out, len as u64, 16);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends `data` as one chunk, or nothing if it is empty.
pub fn encode_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    encode_chunk_header(out, data.len());
    out.extend_from_slice(data);
    out.extend_from_slice(CHUNK_END);
}

/// Appends the end of a chunked body.
///
/// # Errors
/// [`HeadError::Trailer`] if a trailer frames or routes the message; `out` is as before.
pub fn encode_last_chunk(out: &mut Vec<u8>, trailers: Option<&HeaderMap>) -> Result<(), HeadError> {
    let forbidden = |map: &HeaderMap| map.keys().any(|name| is_forbidden_trailer(name.as_str()));
    if trailers.is_some_and(forbidden) {
        return Err(HeadError::Trailer);
    }
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        push_header(out, name.as_str().as_bytes(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Whether a trailer of this name could change what the message means (RFC 9110 §6.5.1).
pub(super) fn is_forbidden_trailer(name: &str) -> bool {
    const FORBIDDEN: [&str; 12] = [
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "expect",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    FORBIDDEN
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_encoded_to_the_byte() {
        let mut out = Vec::new();
        encode_chunk(&mut out, b"");
        encode_chunk_header(&mut out, 0);
        assert!(out.is_empty(), "an empty chunk would end the body");
        encode_chunk(&mut out, &[b'x'; 26]);
        encode_last_chunk(&mut out, None).unwrap();
        assert_eq!(out, b"1a\r\nxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n0\r\n\r\n");
        out.clear();
        let mut trailers = HeaderMap::new();
        trailers.append("x-sum", "1".parse().unwrap());
        encode_last_chunk(&mut out, Some(&trailers)).unwrap();
        assert_eq!(out, b"0\r\nx-sum: 1\r\n\r\n");
        trailers.append("content-length", "1".parse().unwrap());
        let result = encode_last_chunk(&mut out, Some(&trailers));
        assert_eq!(result, Err(HeadError::Trailer));
        assert_eq!(out, b"0\r\nx-sum: 1\r\n\r\n");
    }
}
