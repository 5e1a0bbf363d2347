//! Histograms packed small, so that a run can keep many: exact, and as other tools read them.
//!
//! Owns: HdrHistogram's V2 encoding, packed in memory, and compressed in base64 in files. Never: trusts a text
//! that it reads; what does not have the tool's own bounds is refused before room is made for it.

use std::fmt;
use std::io::Read;
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer, V2Serializer};

use crate::measure;

/// The cookie of a compressed V2 histogram; a length follows it, then a zlib stream.
const COMPRESSED: [u8; 4] = 0x1c84_9314_u32.to_be_bytes();
/// What comes before a plain V2 histogram's counts.
const HEADER: usize = 40;
/// No histogram of ours takes more, packed: nine bytes for each of its counts, and the header.
const PACKED_MAX: u64 = 512 << 10;

/// A histogram of latencies in nanoseconds, exact, in some bytes per value that occurs.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Packed(Arc<[u8]>);

/// A text that is no histogram of this tool.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotAHistogram(&'static str);

impl Packed {
    /// Packs `histogram`.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let mut bytes = Vec::new();
        V2Serializer::new()
            .serialize(histogram, &mut bytes)
            .expect("a histogram with our bounds fits into memory");
        Self(bytes.into())
    }

    /// The histogram.
    pub(crate) fn unpack(&self) -> Histogram<u64> {
        unpack(&self.0).expect("it was packed here, or checked as it was read")
    }

    /// Adds it to `sum`, which has the tool's bounds.
    pub(crate) fn add_to(&self, sum: &mut Histogram<u64>) {
        let added = sum.add(self.unpack());
        debug_assert!(added.is_ok(), "all histograms have the same bounds");
    }

    /// As it stands in files: compressed, in base64.
    pub(crate) fn to_text(&self) -> String {
        to_text(&self.unpack())
    }

    /// Reads what [`to_text`] wrote.
    pub(crate) fn from_text(text: &str) -> Result<Self, NotAHistogram> {
        let bytes = STANDARD
            .decode(text)
            .map_err(|_| NotAHistogram("it is no base64"))?;
        let Some((cookie, rest)) = bytes.split_first_chunk::<4>() else {
            return Err(NotAHistogram("it is cut short"));
        };
        if *cookie != COMPRESSED || rest.len() < 4 {
            return Err(NotAHistogram("it is no compressed histogram of version 2"));
        }
        let mut plain = Vec::new();
        ZlibDecoder::new(&rest[4..])
            .take(PACKED_MAX)
            .read_to_end(&mut plain)
            .map_err(|_| NotAHistogram("it cannot be decompressed"))?;
        unpack(&plain)?;
        Ok(Self(plain.into()))
    }
}

impl Default for Packed {
    fn default() -> Self {
        static EMPTY: OnceLock<Packed> = OnceLock::new();
        EMPTY
            .get_or_init(|| Self::of(&measure::latencies()))
            .clone()
    }
}

/// `histogram` as it stands in files: compressed, in base64.
pub(crate) fn to_text(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .expect("a histogram with our bounds fits into memory");
    STANDARD.encode(bytes)
}

/// Reads what [`to_text`] wrote.
pub(crate) fn from_text(text: &str) -> Result<Histogram<u64>, NotAHistogram> {
    Packed::from_text(text).map(|packed| packed.unpack())
}

fn unpack(plain: &[u8]) -> Result<Histogram<u64>, NotAHistogram> {
    let (header, counts) = plain
        .split_at_checked(HEADER)
        .ok_or(NotAHistogram("it is cut short"))?;
    let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("four"));
    let long = |at: usize| u64::from_be_bytes(header[at..at + 8].try_into().expect("eight"));
    if number(4) as usize != counts.len() {
        return Err(NotAHistogram("it is cut short"));
    }
    let ours = measure::latencies();
    let (low, high) = (long(16), long(24));
    if (number(12), low, high) != (u32::from(ours.sigfig()), ours.low(), ours.high()) {
        return Err(NotAHistogram("its range or precision is not this tool's"));
    }
    Deserializer::new()
        .deserialize(&mut &*plain)
        .map_err(|_| NotAHistogram("its counts cannot be read"))
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packed({} bytes)", self.0.len())
    }
}

impl fmt::Display for NotAHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no histogram: {}", self.0)
    }
}

impl std::error::Error for NotAHistogram {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn some() -> Histogram<u64> {
        let mut histogram = measure::latencies();
        for i in 0..50_000_u64 {
            measure::record(&mut histogram, Duration::from_nanos(i * i % 7_000_000_007));
        }
        measure::record(&mut histogram, Duration::from_secs(100));
        histogram
    }

    #[test]
    fn what_is_packed_comes_back_exactly() {
        for histogram in [some(), measure::latencies()] {
            let packed = Packed::of(&histogram);
            assert_eq!(packed.unpack(), histogram);
            assert_eq!(Packed::from_text(&packed.to_text()), Ok(packed));
            assert_eq!(from_text(&to_text(&histogram)).as_ref(), Ok(&histogram));
        }
    }

    #[test]
    fn packed_ones_add_up_exactly() {
        let mut twice = some();
        Packed::of(&some()).add_to(&mut twice);
        let mut expected = some();
        expected.add(some()).unwrap();
        assert_eq!(twice, expected);
    }

    #[test]
    fn what_is_none_is_refused() {
        let good = to_text(&some());
        let mut others = Histogram::<u64>::new_with_bounds(1, u64::MAX / 2, 5).unwrap();
        others.record(5).unwrap();
        let cut = STANDARD.decode(&good).unwrap();
        let cut = STANDARD.encode(&cut[..cut.len() / 2]);
        for bad in ["", "!", "AAAA", "HISTFAAA", &to_text(&others), &cut] {
            assert!(Packed::from_text(bad).is_err(), "{bad}");
        }
    }
}
