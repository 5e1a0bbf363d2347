//! Where the parts of a field line end, found eight bytes at a time.
//!
//! Owns: the search for the first byte that does not belong. Never: decides what that byte means, or reads past the end.

use super::syntax::is_token_byte;

/// One in each byte.
const ONES: u64 = u64::from_le_bytes([1; 8]);
/// The high bit of each byte.
const HIGHS: u64 = ONES << 7;

/// The index of the first byte from `at` on that no token may hold, or where `bytes` end.
#[inline]
pub(super) fn token_end(bytes: &[u8], mut at: usize) -> usize {
    loop {
        at = first_in(bytes, at, |word| !letters_and_hyphens(word) & HIGHS);
        match bytes.get(at) {
            Some(&b) if is_token_byte(b) => at += 1,
            Some(_) | None => return at,
        }
    }
}

/// The index of the first control character from `at` on, but for tabs, or where `bytes` end.
#[inline]
pub(super) fn text_end(bytes: &[u8], mut at: usize) -> usize {
    loop {
        at = first_in(bytes, at, controls);
        if bytes.get(at) != Some(&b'\t') {
            return at;
        }
        at += 1;
    }
}

/// The high bit of each byte that is an ASCII letter or a hyphen: what names are made of, nearly always.
#[inline]
const fn letters_and_hyphens(word: u64) -> u64 {
    // Sums of seven bits each: nothing is carried from one byte to the next.
    let low = word & !HIGHS;
    let folded = low | (ONES * 0x20);
    let from_a = folded + ONES * (0x80 - b'a' as u64);
    let past_z = folded + ONES * (0x80 - b'z' as u64 - 1);
    let not_hyphen = (low ^ (ONES * b'-' as u64)) + ONES * 0x7f;
    ((from_a & !past_z) | !not_hyphen) & !word & HIGHS
}

/// The lowest high bit that is set belongs to the first control character. Those above it may be
/// wrong: a difference borrows.
#[inline]
const fn controls(word: u64) -> u64 {
    let below = word.wrapping_sub(ONES * b' ' as u64);
    // Of ASCII, one alone becomes 0x80 by adding one.
    let delete = (word & !HIGHS) + ONES;
    (below | delete) & !word & HIGHS
}

/// The index of the first byte from `at` on that `mark` sets the high bit of, eight at a time.
#[inline]
fn first_in(bytes: &[u8], mut at: usize, mark: impl Fn(u64) -> u64) -> usize {
    loop {
        let marks = mark(word_at(bytes, at));
        if marks != 0 {
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
}

/// Eight bytes from `at` on, the first one lowest. What is missing at the end is zeros, which every search marks.
#[inline]
fn word_at(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..).and_then(<[u8]>::first_chunk) {
        Some(&word) => u64::from_le_bytes(word),
        None => last_word(bytes, at),
    }
}

/// The last eight bytes or less, from `at` on, with zeros behind them.
#[inline(never)]
fn last_word(bytes: &[u8], at: usize) -> u64 {
    let left = bytes.len().saturating_sub(at).min(7);
    match bytes.last_chunk() {
        Some(&word) => {
            let unwanted = 64 - 8 * left as u32;
            u64::from_le_bytes(word).checked_shr(unwanted).unwrap_or(0)
        }
        None => {
            let rest = bytes.get(at..).unwrap_or_default();
            let push = |word, &b: &u8| (word << 8) | u64::from(b);
            rest.iter().rev().fold(0, push)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_text(b: u8) -> bool {
        (b >= b' ' && b != 0x7f) || b == b'\t'
    }

    /// Every byte, at every place, behind what belongs, and before what may confuse.
    #[test]
    fn the_first_byte_that_does_not_belong_is_found() {
        for b in 0..=255u8 {
            for before in 0..20 {
                for after in [
                    &b""[..],
                    b"\0",
                    b"\x01\x7f\xff ",
                    b"bcdefghijk",
                    b"\x80\r\n:\x7e\x20",
                ] {
                    for fill in [b'a', b'Z', b'-', b'5', b'~'] {
                        let mut bytes = vec![fill; before];
                        bytes.push(b);
                        bytes.extend_from_slice(after);
                        for from in [0, before / 2, before] {
                            let not_token = |b: &u8| !is_token_byte(*b);
                            let not_text = |b: &u8| !is_text(*b);
                            let expected = |is_end: &dyn Fn(&u8) -> bool| {
                                let found = bytes[from..].iter().position(is_end);
                                found.map_or(bytes.len(), |n| from + n)
                            };
                            assert_eq!(token_end(&bytes, from), expected(&not_token), "{bytes:?}");
                            assert_eq!(text_end(&bytes, from), expected(&not_text), "{bytes:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn past_the_end_there_is_nothing() {
        for len in 0..20 {
            let bytes = vec![b'a'; len];
            for at in 0..24 {
                assert_eq!(token_end(&bytes, at), at.max(len));
                assert_eq!(text_end(&bytes, at), at.max(len));
            }
        }
    }
}
