//! The small pieces that header fields and start lines are made of (RFC 9110 §5).
//!
//! Never: repairs anything; a piece is well-formed or it is not.

/// Whether a header has this name, which is of lower-case letters and hyphens. `name` is a token: nothing else in one
/// becomes a letter or a hyphen by having the bit set that tells cases apart.
#[inline]
pub(super) fn is_named<const N: usize>(name: &[u8], lower: &[u8; N]) -> bool {
    <&[u8; N]>::try_from(name).is_ok_and(|name| {
        let pairs = name.iter().zip(lower);
        pairs.fold(0, |differing, (&a, &b)| differing | ((a | 0x20) ^ b)) == 0
    })
}

/// Whether a comma-separated list holds `token`, in any case.
pub(super) fn has_token(list: &[u8], token: &str) -> bool {
    list.split(|&b| b == b',')
        .any(|element| trim(element).eq_ignore_ascii_case(token.as_bytes()))
}

/// `value` without the spaces and tabs around it.
#[inline]
pub(super) fn trim(value: &[u8]) -> &[u8] {
    let mut value = value;
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// A number of digits and nothing else: no sign, no space, no overflow.
pub(super) fn parse_decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, &b| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// A token (RFC 9110 §5.6.2).
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| is_token_byte(b))
}

/// Whether a token may hold this byte.
#[inline]
pub(super) fn is_token_byte(b: u8) -> bool {
    TOKEN[usize::from(b)]
}

/// Which bytes a token may hold: visible ASCII but for delimiters. A table, since every byte of every
/// header name we send is looked up.
const TOKEN: [bool; 256] = visible_but(b"\"(),/:;<=>?@[\\]{}");

/// The bytes of visible ASCII but for `others`.
const fn visible_but(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut b = b'!';
    while b <= b'~' {
        table[b as usize] = true;
        b += 1;
    }
    let mut n = 0;
    while n < others.len() {
        table[others[n] as usize] = false;
        n += 1;
    }
    table
}

/// A request target, of whichever form: visible ASCII, and some of it.
pub(super) fn is_target(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes
            .iter()
            .fold(true, |good, b| good & b.is_ascii_graphic())
}

/// A field value (RFC 9110 §5.5): anything but control characters; tabs are fine. Without a branch,
/// so that the compiler can take many bytes at once.
pub(super) fn is_value(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |good, &b| {
        good & ((b >= b' ') | (b == b'\t')) & (b != 0x7f)
    })
}

/// What may stand in Host: `uri-host [":" port]` in outline, or nothing.
pub(super) fn is_host(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .fold(true, |good, &b| good & HOST[usize::from(b)])
}

/// Which bytes may stand in Host. A table, since each request has one.
const HOST: [bool; 256] = visible_but(b"/?#@\\,\"<>^`{|}");
