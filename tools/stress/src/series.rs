//! A run over time: equal intervals, each with what ended in it and how the pool stood at its end.
//!
//! Owns: how long an interval is, so that their number is bounded; and how the parts of a sample come together. Never: measures.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::measure::CpuTime;
use crate::packed::Packed;

/// An interval is at least this long: a sample costs each shard some tens of microseconds.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// A run has no more samples than this, and one.
pub(crate) const SAMPLES_MAX: usize = 240;

/// The intervals of a measured window, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Series {
    /// How long each is; the last may be up to half shorter or longer.
    pub(crate) interval: Duration,
    /// They follow one another without a gap.
    pub(crate) samples: Vec<Sample>,
    /// Requests of the window that ended after it: of no length, from its end. `None` in records of an older version, where the
    /// last sample has them.
    pub(crate) late: Option<Sample>,
}

/// The number of what came after the window, in place of an interval's.
pub(crate) const LATE: usize = usize::MAX;

/// What one interval saw.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    /// When it began, from the opening of the window.
    pub(crate) start: Duration,
    /// How long it was.
    pub(crate) length: Duration,
    /// Requests of the window that ended in it, well.
    pub(crate) ok: u64,
    /// Those that failed, by kind of error.
    pub(crate) failed: BTreeMap<String, u64>,
    /// Latencies of those that ended well.
    pub(crate) latency: Packed,
    /// How the pool stood at its end, if that could be asked in time.
    pub(crate) pool: Option<PoolState>,
    /// What the engine counted in it.
    pub(crate) counters: Counters,
    /// CPU time of this process in it.
    pub(crate) cpu: CpuTime,
}

/// How the pool stands at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PoolState {
    /// Connections that nobody uses.
    pub(crate) idle: u64,
    /// Connections in use.
    pub(crate) leased: u64,
    /// Connections being dialled, handshakes included.
    pub(crate) dialing: u64,
    /// Callers that wait for a connection.
    pub(crate) waiters: u64,
    /// Connections in any state, those that are being closed included.
    pub(crate) connections: u64,
    /// Open sockets.
    pub(crate) sockets: u64,
    /// Shards that did not tell theirs in time: what they told last is in these figures. Older records do not say.
    #[serde(default)]
    pub(crate) missing: u64,
    /// Shards that were lost too often, and are not started again.
    #[serde(default)]
    pub(crate) down: u64,
}

impl PoolState {
    /// Shards of which these figures are not what they are at this moment.
    pub(crate) fn unseen(&self) -> u64 {
        self.missing + self.down
    }
}

/// What the engine counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counters {
    /// Checkouts served by an idle connection.
    pub(crate) hits: u64,
    /// Checkouts that found none.
    pub(crate) misses: u64,
    /// Checkouts that had to queue.
    pub(crate) waits: u64,
    /// Dials begun.
    pub(crate) dials: u64,
    /// Dials that failed.
    pub(crate) dials_failed: u64,
    /// Connections made.
    pub(crate) opened: u64,
    /// Full TLS handshakes.
    pub(crate) handshakes_full: u64,
    /// Resumed TLS handshakes.
    pub(crate) handshakes_resumed: u64,
    /// Idle connections that were closed.
    pub(crate) evictions: u64,
}

impl Counters {
    /// What was counted since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        self.with(earlier, u64::saturating_sub)
    }

    /// Both, added up.
    pub(crate) fn plus(self, other: Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    fn with(self, other: Self, join: fn(u64, u64) -> u64) -> Self {
        Self {
            hits: join(self.hits, other.hits),
            misses: join(self.misses, other.misses),
            waits: join(self.waits, other.waits),
            dials: join(self.dials, other.dials),
            dials_failed: join(self.dials_failed, other.dials_failed),
            opened: join(self.opened, other.opened),
            handshakes_full: join(self.handshakes_full, other.handshakes_full),
            handshakes_resumed: join(self.handshakes_resumed, other.handshakes_resumed),
            evictions: join(self.evictions, other.evictions),
        }
    }
}

/// The length of the intervals of a window that is to last `window`.
pub(crate) fn interval(window: Duration) -> Duration {
    let least = window.div_f64(SAMPLES_MAX as f64).as_millis() as u64 + 1;
    Duration::from_millis(least).max(INTERVAL_MIN)
}

/// What one thread, or the engine, saw of one interval.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// Requests that ended.
    Requests {
        ok: u64,
        failed: BTreeMap<&'static str, u64>,
        latency: Packed,
    },
    /// The engine at the end of the interval: what it counted since the one before, CPU time likewise.
    Engine {
        pool: PoolState,
        counters: Counters,
        cpu: CpuTime,
    },
}

impl Series {
    /// Puts together what was `seen` in which interval of a window of `elapsed`. What lies beyond the last belongs to it, unless
    /// it is [`LATE`].
    pub(crate) fn assemble(interval: Duration, elapsed: Duration, seen: &[(usize, Seen)]) -> Self {
        if interval.is_zero() || elapsed.is_zero() {
            return Self::default();
        }
        let whole = elapsed.div_duration_f64(interval).round() as usize;
        let count = whole.clamp(1, SAMPLES_MAX + 1);
        let start = |number: usize| interval * number as u32;
        let mut samples: Vec<Sample> = (0..count)
            .map(|number| Sample {
                start: start(number),
                length: if number + 1 == count {
                    elapsed.saturating_sub(start(number))
                } else {
                    interval
                },
                ..Sample::default()
            })
            .collect();
        samples.push(Sample {
            start: elapsed,
            ..Sample::default()
        });
        let mut latencies = vec![None; count + 1];
        for (number, seen) in seen {
            let number = match *number {
                LATE => count,
                number => number.min(count - 1),
            };
            match seen {
                Seen::Requests {
                    ok,
                    failed,
                    latency,
                } => {
                    samples[number].ended(*ok, failed);
                    latency.add_to(latencies[number].get_or_insert_with(crate::measure::latencies));
                }
                Seen::Engine {
                    pool,
                    counters,
                    cpu,
                } => samples[number].engine(*pool, *counters, *cpu),
            }
        }
        for (sample, latency) in samples.iter_mut().zip(latencies) {
            sample.latency = latency.as_ref().map_or_else(Packed::default, Packed::of);
        }
        let late = samples.pop();
        Self {
            interval,
            samples,
            late,
        }
    }

    /// The samples, and behind them what came late, if anything did.
    pub(crate) fn with_late(&self) -> impl Iterator<Item = &Sample> {
        let late = self.late.iter();
        let any = late.filter(|late| late.ended_total() > 0);
        self.samples.iter().chain(any)
    }
}

impl Sample {
    fn ended(&mut self, ok: u64, failed: &BTreeMap<&'static str, u64>) {
        self.ok += ok;
        for (kind, count) in failed {
            *self.failed.entry((*kind).to_owned()).or_default() += count;
        }
    }

    /// Requests that ended, well or not.
    pub(crate) fn ended_total(&self) -> u64 {
        self.ok + self.failed.values().sum::<u64>()
    }

    fn engine(&mut self, pool: PoolState, counters: Counters, cpu: CpuTime) {
        self.pool = Some(pool);
        self.counters = self.counters.plus(counters);
        self.cpu.user += cpu.user;
        self.cpu.system += cpu.system;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure;

    fn requests(ok: u64, failed: u64) -> Seen {
        let mut latency = measure::latencies();
        latency.record_n(1000, ok).unwrap();
        Seen::Requests {
            ok,
            failed: BTreeMap::from([("closed", failed)]),
            latency: Packed::of(&latency),
        }
    }

    #[test]
    fn intervals_are_bounded_in_number_and_not_too_short() {
        let seconds = Duration::from_secs;
        for window in [seconds(1), seconds(24), seconds(60), seconds(7 * 86_400)] {
            let interval = interval(window);
            assert!(interval >= INTERVAL_MIN);
            assert!(window.div_duration_f64(interval) <= SAMPLES_MAX as f64);
        }
        assert_eq!(interval(seconds(10)), INTERVAL_MIN);
        assert_eq!(interval(seconds(60)), Duration::from_millis(251));
    }

    #[test]
    fn what_threads_saw_adds_up_and_what_came_late_is_apart() {
        let ms = Duration::from_millis;
        let counters = |hits| Counters {
            hits,
            ..Counters::default()
        };
        let engine = |hits| Seen::Engine {
            pool: PoolState {
                idle: hits,
                ..PoolState::default()
            },
            counters: counters(hits),
            cpu: CpuTime::default(),
        };
        let seen = [
            (0, requests(5, 1)),
            (1, requests(7, 0)),
            (0, requests(2, 2)),
            (9, requests(1, 0)),
            (LATE, requests(3, 1)),
            (0, engine(3)),
            (2, engine(4)),
        ];
        let series = Series::assemble(ms(100), ms(290), &seen);
        let ok: Vec<u64> = series.samples.iter().map(|s| s.ok).collect();
        assert_eq!(ok, [7, 7, 1]);
        assert_eq!(series.samples[0].failed["closed"], 3);
        assert_eq!(series.samples[0].latency.unpack().len(), 7);
        assert_eq!(series.samples[2].length, ms(90));
        assert_eq!(series.samples[1].pool, None, "nobody asked");
        assert_eq!(series.samples[2].counters, counters(4));
        assert_eq!(series.samples[2].pool.map(|pool| pool.idle), Some(4));
        let late = series.late.as_ref().expect("it is told");
        assert_eq!((late.start, late.length), (ms(290), Duration::ZERO));
        assert_eq!((late.ok, late.ended_total()), (3, 4));
        assert_eq!(series.with_late().count(), 4);
    }

    #[test]
    fn a_short_rest_belongs_to_the_last_interval() {
        let ms = Duration::from_millis;
        let lengths = |elapsed| {
            let series = Series::assemble(ms(100), elapsed, &[]);
            let lengths = series.samples.iter().map(|s| s.length);
            lengths.collect::<Vec<_>>()
        };
        assert_eq!(lengths(ms(240)), [ms(100), ms(140)]);
        assert_eq!(lengths(ms(30)), [ms(30)]);
        assert!(lengths(Duration::ZERO).is_empty());
    }
}
