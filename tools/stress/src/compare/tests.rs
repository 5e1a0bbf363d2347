use std::time::Duration;

use super::*;
use crate::measure::{self, CpuTime};
use crate::packed::Packed;
use crate::series::{Sample, Series};

/// Pseudo-random numbers, from 0 to 1 (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// About normal, with variance 1.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.roll()).sum::<f64>() - 6.0
    }
}

/// A run of 100 intervals whose speed wanders: each interval's is `kinship` of the one before, and a new part. `pace`
/// is what all latencies are multiplied by.
fn run(dice: &mut Dice, pace: f64, kinship: f64) -> LoadResult {
    let mut result = LoadResult::default();
    let interval = Duration::from_millis(100);
    let mut mood = dice.normal();
    for nth in 0..100_u32 {
        mood = kinship * mood + (1.0 - kinship * kinship).sqrt() * dice.normal();
        let factor = pace * (0.03 * mood).exp();
        let mut latency = measure::latencies();
        let ok = (200.0 / factor) as u64;
        for _ in 0..ok {
            let one = 200e3 * factor * (0.3 * dice.normal()).exp();
            latency.record(one as u64).unwrap();
        }
        result.series.samples.push(Sample {
            start: interval * nth,
            length: interval,
            ok,
            latency: Packed::of(&latency),
            cpu: CpuTime {
                user: interval.mul_f64(0.4 * (0.05 * dice.normal()).exp()),
                system: Duration::ZERO,
            },
            ..Sample::default()
        });
    }
    result.series.interval = interval;
    result
}

fn different(comparison: &Comparison) -> Vec<&'static str> {
    let changes = comparison.changes.iter();
    let different = changes.filter(|change| change.judgement() != Judgement::Same);
    different.map(|change| change.metric.key()).collect()
}

/// The logarithms of ten blocks of ten intervals, of a run that wanders.
fn blocks(dice: &mut Dice, kinship: f64) -> Vec<f64> {
    let mut mood = dice.normal();
    let mut interval = || {
        mood = kinship * mood + (1.0 - kinship * kinship).sqrt() * dice.normal();
        12.0 + 0.05 * mood
    };
    (0..BLOCKS)
        .map(|_| (0..10).map(|_| interval()).sum::<f64>() / 10.0)
        .collect()
}

#[test]
fn a_run_against_its_like_is_seldom_called_different_however_it_wanders() {
    let metrics = &METRICS[..5];
    for kinship in [0.0, 0.5, 0.8] {
        let mut dice = Dice(7);
        let mut alarm = || {
            let mut differs = |metric: &Metric| {
                let sides = [blocks(&mut dice, kinship), blocks(&mut dice, kinship)];
                let change = Change::of(*metric, &sides, ERROR / metrics.len() as f64);
                change.judgement() != Judgement::Same
            };
            metrics.iter().any(&mut differs)
        };
        let alarms = (0..2000).filter(|_| alarm()).count();
        assert!(alarms <= 40, "{alarms} of 2000 with kinship {kinship}");
    }
}

#[test]
fn ten_percent_is_always_found_and_named() {
    let mut dice = Dice(11);
    for _ in 0..20 {
        let (a, b) = (run(&mut dice, 1.0, 0.5), run(&mut dice, 1.1, 0.5));
        let comparison = Comparison::of(&[&a], &[&b]).unwrap();
        for change in &comparison.changes[..2] {
            assert_eq!(change.judgement(), Judgement::Worse, "{change:?}");
        }
        let limits = Limit::all("p50:+1%,throughput:-1%,p90:+50%").unwrap();
        assert_eq!(comparison.exceeded(&limits).len(), 2);
        let back = Comparison::of(&[&b], &[&a]).unwrap();
        assert_eq!(back.changes[1].judgement(), Judgement::Better);
        assert!(back.exceeded(&limits).is_empty());
    }
}

#[test]
fn a_percentile_without_enough_requests_is_not_compared() {
    let mut dice = Dice(3);
    let (a, b) = (run(&mut dice, 1.0, 0.0), run(&mut dice, 1.0, 0.0));
    let comparison = Comparison::of(&[&a], &[&b]).unwrap();
    let omitted: Vec<_> = comparison.omitted.iter().map(|(m, _)| m.key()).collect();
    assert_eq!(omitted, ["p999", "cpu"], "a block has 2,000 requests");
    let short = LoadResult {
        series: Series {
            interval: a.series.interval,
            samples: a.series.samples[..3].to_vec(),
        },
        ..LoadResult::default()
    };
    assert_eq!(Comparison::of(&[&a], &[&short]).unwrap_err(), TooShort);
}

#[test]
fn what_is_the_same_in_every_block_is_not_different_by_its_grain() {
    let mut a = run(&mut Dice(5), 1.0, 0.0);
    let mut b = run(&mut Dice(6), 1.0, 0.0);
    for (run, ok) in [(&mut a, 1000), (&mut b, 1001)] {
        for sample in &mut run.series.samples {
            sample.ok = ok;
        }
    }
    let comparison = Comparison::of(&[&a], &[&b]).unwrap();
    assert_eq!(comparison.changes[0].judgement(), Judgement::Same);
}

#[test]
fn failures_are_compared_as_shares() {
    let a = run(&mut Dice(5), 1.0, 0.0);
    let mut b = run(&mut Dice(6), 1.0, 0.0);
    let failed = |comparison: &Comparison| {
        let change = comparison
            .changes
            .iter()
            .find(|c| c.metric.key() == "errors");
        *change.expect("it is compared")
    };
    let none = failed(&Comparison::of(&[&a], &[&b.clone()]).unwrap());
    assert_eq!((none.change, none.judgement()), (0.0, Judgement::Same));
    b.series.samples[3].failed.insert("closed".into(), 40);
    let once = failed(&Comparison::of(&[&a], &[&b]).unwrap());
    assert_eq!(
        once.judgement(),
        Judgement::Same,
        "one bad moment is no habit"
    );
    for (nth, sample) in b.series.samples.iter_mut().enumerate() {
        sample.failed.insert("closed".into(), 20 + nth as u64 % 3);
    }
    let always = failed(&Comparison::of(&[&a], &[&b]).unwrap());
    assert_eq!(always.judgement(), Judgement::Worse);
    let limits = Limit::all("errors:+1%").unwrap();
    assert_eq!(
        Comparison::of(&[&a], &[&b])
            .unwrap()
            .exceeded(&limits)
            .len(),
        1
    );
}

#[test]
fn several_runs_are_blocks_of_their_own() {
    let mut dice = Dice(13);
    // Each run has a speed of its own, as after a restart: what one run cannot know of.
    let mut runs = |pace: f64| -> Vec<LoadResult> {
        let each = (0..5).map(|_| pace * (0.05 * dice.normal()).exp());
        let paces: Vec<f64> = each.collect();
        paces
            .iter()
            .map(|pace| run(&mut dice, *pace, 0.0))
            .collect()
    };
    let (a, b) = (runs(1.0), runs(1.0));
    let [a, b] = [&a, &b].map(|runs| runs.iter().collect::<Vec<_>>());
    let together = Comparison::of(&a, &b).unwrap();
    assert_eq!(together.blocks, [5, 5]);
    let last = together.changes.last().map(|change| change.metric.key());
    assert_eq!(last, Some("cpu"), "it can be compared now");
    assert!(different(&together).is_empty(), "{together:?}");
}

#[test]
fn the_table_and_the_json_tell_the_same() {
    let mut dice = Dice(17);
    let (a, b) = (run(&mut dice, 1.0, 0.0), run(&mut dice, 1.25, 0.0));
    let comparison = Comparison::of(&[&a], &[&b]).unwrap();
    let limits = Limit::all("p50:+5%").unwrap();
    let exceeded = comparison.exceeded(&limits);
    let text = table(&comparison, &exceeded, false);
    let told = json(&comparison, &exceeded, &["note".to_owned()]);
    assert_eq!(told["metrics"]["p50"]["judgement"], "worse");
    assert_eq!(told["exceeded"][0], "p50");
    let p50 = text
        .lines()
        .find(|line| line.starts_with("latency p50"))
        .unwrap();
    assert!(p50.ends_with("worse"), "{text}");
    assert!(text.contains("FAIL: p50 changed by +2") && text.contains("latency p99.9"));
}
