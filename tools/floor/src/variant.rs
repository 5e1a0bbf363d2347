//! What a loop may do otherwise than the plain one: an instrument for what io_uring offers.
//!
//! Owns: the names, and what each stands for. Never: says which is better; `docs/performance.md` does.

use std::fmt;
use std::str::FromStr;

/// How a loop uses its ring. The default is the plain loop, which does what the production driver does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Variant {
    /// How to receive.
    pub receive: Receive,
    /// How to send.
    pub send: Send,
    /// When to go on.
    pub wait: Wait,
    /// What is received into, for multishot receives.
    pub memory: Memory,
    /// Sockets are registered with the ring: no reference is taken for each operation.
    pub fixed_files: bool,
    /// The ring itself is registered with its thread: no look-up for each system call.
    pub registered_ring: bool,
}

/// How to receive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Receive {
    /// One multishot receive for each connection, from a ring of provided buffers.
    #[default]
    Multishot,
    /// The same, of which one completion may fill several buffers.
    Bundle,
    /// A receive for each response, to the connection's own buffer.
    Single,
    /// The same, queued behind its request, and not tried before the socket is readable.
    SinglePolled,
}

/// How to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Send {
    /// One operation, copied by the kernel, with a completion.
    #[default]
    Copied,
    /// The same, with a completion only if it fails.
    Quiet,
    /// As two operations, one linked to the other: what a head and a body cost that are not put together.
    InTwo,
    /// From the program's memory.
    ZeroCopy,
    /// From memory that is registered with the ring.
    ZeroCopyFixed,
}

/// When to go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wait {
    /// When there is a completion.
    #[default]
    One,
    /// When there is one beside those of the sends that are handed over.
    BesideSends,
    /// When there are so many, or one after so many microseconds.
    Many(u32, u32),
    /// When there is one, which is not slept for before so many looks at shared memory.
    Spin(u32),
    /// When there is one, with a time-out of so many microseconds on each sleep.
    TimeOut(u32),
    /// When there is one; a timer of the ring goes off every so many microseconds.
    Tick(u32),
}

/// What is received into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Memory {
    /// Buffers of 4 KiB, or 16 KiB where a response does not fit.
    #[default]
    Pages,
    /// The same, in huge pages where the kernel has some.
    HugePages,
    /// A sixteenth as many.
    Few,
    /// A quarter as many.
    Fewer,
    /// Buffers of 64 KiB that the kernel fills piece by piece (6.12).
    Incremental,
}

type Change = fn(&mut Variant);

/// Every name that there is, with what it means.
pub const NAMES: &[(&str, &str, Change)] = &[
    ("plain", "as the production driver", |_| {}),
    ("single", "a receive for each response", |v| {
        v.receive = Receive::Single;
    }),
    (
        "polled",
        "the same, behind its request and polled first",
        |v| {
            v.receive = Receive::SinglePolled;
        },
    ),
    ("bundle", "receives that fill several buffers", |v| {
        v.receive = Receive::Bundle;
    }),
    ("quiet", "no completions of sends", |v| v.send = Send::Quiet),
    ("in-two", "each request in two sends", |v| {
        v.send = Send::InTwo
    }),
    ("zc", "zero-copy sends", |v| v.send = Send::ZeroCopy),
    ("zc-fixed", "the same, from registered memory", |v| {
        v.send = Send::ZeroCopyFixed;
    }),
    ("files", "registered sockets", |v| v.fixed_files = true),
    ("ring", "a registered ring", |v| v.registered_ring = true),
    (
        "beside-sends",
        "waits for a completion beside those of sends",
        |v| {
            v.wait = Wait::BesideSends;
        },
    ),
    ("many", "waits for 16 completions, 50 µs at most", |v| {
        v.wait = Wait::Many(16, 50);
    }),
    (
        "many-long",
        "waits for 64 completions, 200 µs at most",
        |v| {
            v.wait = Wait::Many(64, 200);
        },
    ),
    ("spin", "looks 20,000 times before it sleeps", |v| {
        v.wait = Wait::Spin(20_000);
    }),
    ("spin-short", "looks 1,000 times before it sleeps", |v| {
        v.wait = Wait::Spin(1_000);
    }),
    ("time-out", "each sleep with a time-out of a second", |v| {
        v.wait = Wait::TimeOut(1_000_000);
    }),
    (
        "time-out-short",
        "each sleep with a time-out of 1 ms",
        |v| {
            v.wait = Wait::TimeOut(1_000);
        },
    ),
    ("tick", "a timer of the ring each millisecond", |v| {
        v.wait = Wait::Tick(1_000);
    }),
    ("huge", "huge pages to receive into", |v| {
        v.memory = Memory::HugePages;
    }),
    ("few", "a sixteenth of the buffers", |v| {
        v.memory = Memory::Few
    }),
    ("fewer", "a quarter of the buffers", |v| {
        v.memory = Memory::Fewer
    }),
    ("incremental", "buffers filled piece by piece", |v| {
        v.memory = Memory::Incremental;
    }),
];

impl FromStr for Variant {
    type Err = String;

    /// One name, or several with `+` between them.
    fn from_str(names: &str) -> Result<Variant, String> {
        let mut variant = Variant::default();
        for name in names.split('+') {
            let found = NAMES.iter().find(|(known, ..)| *known == name);
            let (.., change) = found.ok_or_else(|| format!("no variant is named {name}"))?;
            change(&mut variant);
        }
        Ok(variant)
    }
}

/// All names, a line each.
pub struct Names;

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        NAMES
            .iter()
            .try_for_each(|(name, about, _)| writeln!(f, "{name:<15} {about}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_add_up() {
        let both: Variant = "files+quiet".parse().unwrap();
        assert!(both.fixed_files && both.send == Send::Quiet && !both.registered_ring);
        assert_eq!("plain".parse(), Ok(Variant::default()));
        assert!("files+bogus".parse::<Variant>().is_err());
    }
}
