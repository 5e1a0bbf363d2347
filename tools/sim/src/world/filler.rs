//! The bytes of bodies: different for every call, and known to both ends.

use std::sync::OnceLock;

/// A prime, so that two calls' bytes are in step only if they are the same.
const PERIOD: usize = 4093;

fn table() -> &'static [u8; 2 * PERIOD] {
    static TABLE: OnceLock<Box<[u8; 2 * PERIOD]>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut bytes = Box::new([0; 2 * PERIOD]);
        let mut state = 1u64;
        for index in 0..PERIOD {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            bytes[index] = b'a' + (state >> 40) as u8 % 26;
            bytes[index + PERIOD] = bytes[index];
        }
        bytes
    })
}

fn at(nonce: u64, offset: usize) -> usize {
    ((nonce.wrapping_mul(31) % PERIOD as u64) as usize + offset) % PERIOD
}

/// Adds the first `len` bytes of the body of `nonce`.
pub fn fill(out: &mut Vec<u8>, nonce: u64, len: usize) {
    let mut done = 0;
    while done < len {
        let begin = at(nonce, done);
        let take = (len - done).min(PERIOD);
        out.extend_from_slice(&table()[begin..begin + take]);
        done += take;
    }
}

/// Whether `bytes` are those of the body of `nonce` from `offset` on.
pub fn matches(bytes: &[u8], nonce: u64, offset: usize) -> bool {
    let mut done = 0;
    while done < bytes.len() {
        let begin = at(nonce, offset + done);
        let take = (bytes.len() - done).min(PERIOD);
        if bytes[done..done + take] != table()[begin..begin + take] {
            return false;
        }
        done += take;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_its_own_and_nobody_elses() {
        let mut body = Vec::new();
        fill(&mut body, 5, 10_000);
        assert_eq!(body.len(), 10_000);
        assert!(matches(&body, 5, 0) && matches(&body[700..], 5, 700));
        assert!(!matches(&body, 6, 0) && !matches(&body[1..], 5, 0));
        body[9999] ^= 1;
        assert!(!matches(&body, 5, 0));
    }
}
