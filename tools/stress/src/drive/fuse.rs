//! Callers that lose patience: futures that are dropped at random moments.
//!
//! Owns the moments. Never: knows what the call is.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use ringpool::on_shard::Shard;

/// One call in so many is dropped by its caller, if it lives that long.
const DROPPED_ONE_IN: u64 = 16;
/// The most turns of the shard that such a call is given: it is being offered then, and taken.
const TURNS_MAX: u64 = 24;
/// Or the most time, which is more than most calls take: whatever happens to it then.
const TIME_MAX: Duration = Duration::from_millis(8);
/// Or the most turns from the response's head on.
const BODY_TURNS_MAX: u64 = 8;

/// When a call's caller loses patience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fuse {
    None,
    Turns(u64),
    BodyTurns(u64),
    Time(Duration),
}

impl Fuse {
    /// What a call comes to; `None` if it is dropped before.
    pub(super) async fn burn<F: Future>(
        self,
        call: F,
        shard: &Shard,
        in_body: &Cell<bool>,
    ) -> Option<F::Output> {
        match self {
            Fuse::None => Some(call.await),
            Fuse::Turns(turns) => within(call, turns, || true).await,
            Fuse::BodyTurns(turns) => within(call, turns, || in_body.get()).await,
            Fuse::Time(time) => {
                let (mut call, mut over) = (pin!(call), pin!(shard.sleep(time)));
                poll_fn(|cx| match call.as_mut().poll(cx) {
                    Poll::Ready(output) => Poll::Ready(Some(output)),
                    Poll::Pending => over.as_mut().poll(cx).map(|()| None),
                })
                .await
            }
        }
    }
}

/// What a future comes to; `None` if it is dropped because it has not ended after so many turns of the shard, which
/// are counted while `counts`.
pub(super) async fn within<F: Future>(
    future: F,
    turns: u64,
    counts: impl Fn() -> bool,
) -> Option<F::Output> {
    let (mut future, mut left) = (pin!(future), turns);
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        if !counts() {
            return Poll::Pending;
        }
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

/// SplitMix64.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    /// When the next call is dropped, whose response's body comes `apart` or not.
    pub(super) fn fuse(&mut self, apart: bool) -> Fuse {
        let number = self.next();
        let pick = |bound: u64| (number >> 32) % bound;
        if !number.is_multiple_of(DROPPED_ONE_IN) {
            Fuse::None
        } else if apart {
            Fuse::BodyTurns(pick(BODY_TURNS_MAX + 1))
        } else if number & DROPPED_ONE_IN == 0 {
            Fuse::Turns(pick(TURNS_MAX + 1))
        } else {
            Fuse::Time(Duration::from_micros(pick(TIME_MAX.as_micros() as u64)))
        }
    }

    /// A number below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 32) % bound
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringpool::block_on;

    #[test]
    fn a_call_is_dropped_after_its_turns_and_not_before() {
        let looked = |needed: u64, turns, from: u64| {
            let looks = Cell::new(0);
            let future = poll_fn(|cx| {
                looks.set(looks.get() + 1);
                cx.waker().wake_by_ref();
                match looks.get() > needed {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            });
            block_on(within(future, turns, || looks.get() > from))
        };
        assert_eq!(looked(3, 2, 0), None);
        assert_eq!(looked(3, 3, 0), Some(()));
        assert_eq!(looked(0, 0, 0), Some(()));
        assert_eq!(looked(3, 0, 3), Some(()), "none is counted before");
        assert_eq!(looked(3, 0, 2), None);
    }

    #[test]
    fn about_as_many_are_dropped_as_is_said_in_every_way() {
        let mut chance = Chance(7);
        let fuses: Vec<Fuse> = (0..16_000).map(|nth| chance.fuse(nth % 8 == 0)).collect();
        let dropped = fuses.iter().filter(|fuse| **fuse != Fuse::None).count();
        assert!((900..1_100).contains(&dropped), "{dropped}");
        for fuse in [0, TURNS_MAX].map(Fuse::Turns) {
            assert!(fuses.contains(&fuse), "{fuse:?}");
        }
        for fuse in [0, BODY_TURNS_MAX].map(Fuse::BodyTurns) {
            assert!(fuses.contains(&fuse), "{fuse:?}");
        }
        assert!(fuses.iter().any(|fuse| matches!(fuse, Fuse::Time(_))));
    }
}
