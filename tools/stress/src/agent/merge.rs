//! The results of several agents as one.
//!
//! Owns what is added up, and how intervals meet. Histograms are added count by count, so that percentiles are those of all
//! requests together. Never: averages.

use crate::load::{Carried, LoadResult};
use crate::measure;
use crate::series::{PoolState, Sample, Series};

/// All of them together; `None` of none. Each agent's reasons for not counting are told with its name.
pub(super) fn all(parts: &[(String, LoadResult)]) -> Option<LoadResult> {
    let (_, first) = parts.first()?;
    let mut sum = LoadResult {
        seed: first.seed,
        began: parts.iter().filter_map(|(_, part)| part.began).min(),
        ..LoadResult::default()
    };
    let mut carried = parts.iter().map(|(_, part)| part.carried);
    sum.carried = carried.try_fold(Carried::default(), |sum, one| Some(sum.plus(one?)));
    for (name, part) in parts {
        for (sum, part) in [
            (&mut sum.latency, &part.latency),
            (&mut sum.service, &part.service),
            (&mut sum.lag, &part.lag),
        ] {
            let added = sum.add(part);
            debug_assert!(added.is_ok(), "all histograms have the same bounds");
        }
        for (kind, count) in &part.failed {
            *sum.failed.entry(kind.clone()).or_default() += count;
        }
        sum.ok += part.ok;
        sum.elapsed = sum.elapsed.max(part.elapsed);
        sum.cpu.user += part.cpu.user;
        sum.cpu.system += part.cpu.system;
        sum.hits += part.hits;
        sum.misses += part.misses;
        sum.dials += part.dials;
        sum.waits += part.waits;
        sum.evictions += part.evictions;
        sum.steals += part.steals;
        sum.forwarded += part.forwarded;
        sum.handshakes_full += part.handshakes_full;
        sum.handshakes_resumed += part.handshakes_resumed;
        sum.handshake_seconds_avoided += part.handshake_seconds_avoided;
        sum.connections_opened += part.connections_opened;
        sum.contacts.add(&part.contacts);
        sum.interrupted |= part.interrupted;
        let named = part.invalid.iter().map(|why| format!("{name}: {why}"));
        sum.invalid.extend(named);
    }
    let series: Vec<&Series> = parts.iter().map(|(_, part)| &part.series).collect();
    sum.series = over_time(&series);
    Some(sum)
}

/// Intervals by their number: each began as its agent's window opened. How far apart that was the conductor knows.
fn over_time(parts: &[&Series]) -> Series {
    let count = parts.iter().map(|part| part.samples.len()).max();
    let samples = (0..count.unwrap_or(0)).map(|number| {
        let all = parts.iter().filter_map(|part| part.samples.get(number));
        together(&all.collect::<Vec<_>>())
    });
    let late: Option<Vec<&Sample>> = parts.iter().map(|part| part.late.as_ref()).collect();
    Series {
        interval: parts
            .iter()
            .map(|part| part.interval)
            .max()
            .unwrap_or_default(),
        samples: samples.collect(),
        late: late.map(|late| together(&late)),
    }
}

fn together(parts: &[&Sample]) -> Sample {
    let mut sum = Sample {
        start: parts
            .iter()
            .map(|part| part.start)
            .min()
            .unwrap_or_default(),
        length: parts
            .iter()
            .map(|part| part.length)
            .max()
            .unwrap_or_default(),
        pool: parts
            .iter()
            .map(|part| part.pool)
            .try_fold(PoolState::default(), |sum, part| Some(plus(sum, part?))),
        ..Sample::default()
    };
    let mut latency = measure::latencies();
    for part in parts {
        sum.ok += part.ok;
        for (kind, count) in &part.failed {
            *sum.failed.entry(kind.clone()).or_default() += count;
        }
        part.latency.add_to(&mut latency);
        sum.counters = sum.counters.plus(part.counters);
        sum.cpu.user += part.cpu.user;
        sum.cpu.system += part.cpu.system;
    }
    sum.latency = crate::packed::Packed::of(&latency);
    sum
}

fn plus(one: PoolState, other: PoolState) -> PoolState {
    PoolState {
        idle: one.idle + other.idle,
        leased: one.leased + other.leased,
        dialing: one.dialing + other.dialing,
        waiters: one.waiters + other.waiters,
        connections: one.connections + other.connections,
        sockets: one.sockets + other.sockets,
        missing: one.missing + other.missing,
        down: one.down + other.down,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed;
    use crate::report::tests::busy;

    #[test]
    fn what_is_merged_is_exactly_what_all_have_measured() {
        let parts = [("a", 5), ("b", 6)].map(|(name, n)| (name.to_owned(), busy(n).result));
        let sum = all(&parts).unwrap();
        let mut expected = measure::latencies();
        for (_, part) in &parts {
            expected.add(&part.latency).unwrap();
        }
        assert_eq!(packed::to_text(&sum.latency), packed::to_text(&expected));
        assert_eq!(sum.ok, parts[0].1.ok + parts[1].1.ok);
        assert_eq!(
            sum.failed_total(),
            parts[0].1.failed_total() + parts[1].1.failed_total()
        );
        assert_eq!(sum.series.samples.len(), 6, "as many as the longer has");
        let mut by_samples = measure::latencies();
        for sample in sum.series.with_late() {
            sample.latency.add_to(&mut by_samples);
        }
        assert_eq!(by_samples, expected);
        assert_eq!(
            sum.series.samples[1].pool, None,
            "one of them was not asked"
        );
        assert_eq!(
            sum.series.samples[2].pool.map(|pool| pool.connections),
            Some(124)
        );
        assert!(all(&[]).is_none());
    }

    #[test]
    fn a_part_that_does_not_count_is_named() {
        let mut part = busy(2).result;
        part.invalid.push("it was late".to_owned());
        let sum = all(&[("h:1".to_owned(), part)]).unwrap();
        assert_eq!(sum.invalid, ["h:1: it was late"]);
    }
}
