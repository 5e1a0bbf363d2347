//! A ring where memory is short.
//!
//! Owns: how often it is tried, with what pauses, and how small a ring may be. Never: judges why memory is short.
//!
//! Each queue is one block of physical memory. The kernel does not wait until it has one, and up to 7.1 at least its
//! way out, to gather single pages, ends after the first where they are charged to a cgroup: a machine whose memory lies
//! in pieces, or is full of cached files, refuses rings with ENOMEM for a while. A pause helps, or a smaller block.

use super::Settings;
use super::refusal::{Cause, Refusal};
use std::thread;
use std::time::Duration;

/// How long to wait before each further attempt with the same size.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(1),
    Duration::from_millis(4),
    Duration::from_millis(16),
];

/// The smallest queues that are tried: a page for submissions (of 64 bytes), one for completions (of 16). A driver gets
/// on with any size, by more calls: what does not fit waits on its side, and on the kernel's.
const ENTRIES_MIN: u32 = 64;
const COMPLETIONS_MIN: u32 = 256;

/// Makes a driver by `settings`; where memory is short, again, and then with queues of half the size, and half of that.
///
/// # Errors
/// The last refusal; at once, if it is not for want of memory.
pub(super) fn patiently<T>(
    settings: &Settings,
    mut make: impl FnMut(&Settings) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let mut settings = *settings;
    let mut pauses = PAUSES.iter();
    loop {
        let refusal = match make(&settings) {
            Ok(made) => return Ok(made),
            Err(refusal) => refusal,
        };
        if !matches!(refusal.cause, Cause::Memory | Cause::Memlock) {
            return Err(refusal);
        }
        match pauses.next() {
            Some(pause) => thread::sleep(*pause),
            None => settings = smaller(&settings).ok_or(refusal)?,
        }
    }
}

fn smaller(settings: &Settings) -> Option<Settings> {
    let halved = |size: u32, min: u32| {
        if size > min {
            (size / 2).max(min)
        } else {
            size
        }
    };
    let less = Settings {
        entries: halved(settings.entries, ENTRIES_MIN),
        completions: halved(settings.completions, COMPLETIONS_MIN),
        ..*settings
    };
    (less.entries < settings.entries || less.completions < settings.completions).then_some(less)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn refusal(errno: i32) -> Refusal {
        Refusal::of(io::Error::from_raw_os_error(errno))
    }

    #[test]
    fn the_same_size_is_tried_again_before_a_smaller_one() {
        let mut left = PAUSES.len();
        let made = patiently(&Settings::default(), |settings| {
            if left == 0 {
                return Ok((settings.entries, settings.completions));
            }
            left -= 1;
            Err(refusal(libc::ENOMEM))
        });
        assert_eq!(made.unwrap(), (1024, 4096));
    }

    #[test]
    fn sizes_halve_to_a_floor_and_then_it_is_over() {
        let mut tried = Vec::new();
        let made: Result<(), _> = patiently(&Settings::default(), |settings| {
            tried.push((settings.entries, settings.completions));
            Err(refusal(libc::ENOMEM))
        });
        assert!(matches!(
            made.unwrap_err().cause,
            Cause::Memory | Cause::Memlock
        ));
        let smaller = [(512, 2048), (256, 1024), (128, 512), (64, 256)];
        assert_eq!(tried[PAUSES.len() + 1..], smaller);
    }

    #[test]
    fn a_ring_that_is_small_already_stays_as_it_is() {
        let settings = Settings {
            entries: 8,
            completions: 8,
            ..Settings::default()
        };
        assert!(smaller(&settings).is_none());
    }

    #[test]
    fn other_refusals_are_final() {
        let mut tried = 0;
        let made: Result<(), _> = patiently(&Settings::default(), |_| {
            tried += 1;
            Err(refusal(libc::EMFILE))
        });
        assert!(made.is_err());
        assert_eq!(tried, 1);
    }
}
