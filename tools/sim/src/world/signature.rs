//! What a response says of its own origin, so that whoever gets it can tell whose it is.

use std::time::Duration;

/// What the answer has to say of its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Which call is answered.
    pub nonce: u64,
    /// The upstream that the server belongs to.
    pub upstream: usize,
    /// Which of its servers it is.
    pub server: usize,
    /// Which of the connections that the world ever had.
    pub connection: u64,
    /// Which arrival of the call it was.
    pub arrival: usize,
}

impl Signature {
    /// As one line.
    pub fn write(&self) -> String {
        format!(
            "{} {} {} {} {}",
            self.nonce, self.upstream, self.server, self.connection, self.arrival
        )
    }

    /// From that line.
    pub fn read(line: &str) -> Option<Signature> {
        let mut numbers = line.split(' ').map(str::parse::<u64>);
        let mut next = || numbers.next()?.ok();
        Some(Signature {
            nonce: next()?,
            upstream: next()? as usize,
            server: next()? as usize,
            connection: next()?,
            arrival: next()? as usize,
        })
    }
}

/// An answer to nothing, as it tells itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stray {
    /// The upstream that the server belongs to.
    pub upstream: usize,
    /// Which of its servers it is.
    pub server: usize,
    /// When it was sent.
    pub at: Duration,
}

impl Stray {
    /// As one line.
    pub fn write(upstream: usize, server: usize, at: Duration) -> String {
        format!("stray {upstream} {server} {}", at.as_nanos())
    }

    /// From that line.
    pub fn read(line: &str) -> Option<Stray> {
        let mut numbers = line.strip_prefix("stray ")?.split(' ');
        let mut next = || numbers.next()?.parse::<u64>().ok();
        Some(Stray {
            upstream: next()? as usize,
            server: next()? as usize,
            at: Duration::from_nanos(next()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_comes_back_as_written() {
        let signature = Signature {
            nonce: 9,
            upstream: 1,
            server: 2,
            connection: 77,
            arrival: 3,
        };
        assert_eq!(Signature::read(&signature.write()), Some(signature));
        assert_eq!(Signature::read("1 2 3"), None);
        let line = Stray::write(1, 2, Duration::from_nanos(5));
        assert_eq!(Signature::read(&line), None);
        assert_eq!(Stray::read(&line).map(|stray| stray.server), Some(2));
    }
}
