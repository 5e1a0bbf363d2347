use std::time::Duration;

use super::*;
use crate::measure::{self, CpuTime};
use crate::packed::Packed;
use crate::series::{Sample, Series};

/// Pseudo-random numbers, from 0 to 1 (SplitMix64).
pub(super) struct Dice(pub(super) u64);

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
pub(super) fn run(dice: &mut Dice, pace: f64, kinship: f64) -> LoadResult {
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
    result.series.late = Some(Sample::default());
    result.ok = result.series.samples.iter().map(|one| one.ok).sum();
    result.elapsed = interval * 100;
    for sample in &result.series.samples {
        sample.latency.add_to(&mut result.latency);
    }
    result
}

fn different(comparison: &Comparison) -> Vec<&'static str> {
    let changes = comparison.changes.iter();
    let different = changes.filter(|change| change.judgement() != Judgement::Same);
    different.map(|change| change.metric.key()).collect()
}

/// Ten blocks of ten intervals, of a run that wanders.
fn blocks(dice: &mut Dice, kinship: f64) -> Vec<f64> {
    let mut mood = dice.normal();
    let mut interval = || {
        mood = kinship * mood + (1.0 - kinship * kinship).sqrt() * dice.normal();
        12.0 + 0.05 * mood
    };
    (0..BLOCKS)
        .map(|_| ((0..10).map(|_| interval()).sum::<f64>() / 10.0).exp())
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
                let error = ERROR / metrics.len() as f64;
                let grain = metric.grain(true);
                let change = Change::of(*metric, &sides, (error, false, grain)).unwrap();
                change.judgement() != Judgement::Same
            };
            metrics.iter().any(&mut differs)
        };
        let alarms = (0..2000).filter(|_| alarm()).count();
        assert!(alarms <= 40, "{alarms} of 2000 with kinship {kinship}");
    }
}

#[test]
fn a_limit_on_what_was_nothing_before_is_not_taken_for_kept() {
    let mut dice = Dice(3);
    let mut idle = run(&mut dice, 1.0, 0.0);
    for sample in &mut idle.series.samples {
        sample.cpu = CpuTime::default();
    }
    let busy = run(&mut dice, 1.0, 0.0);
    let comparison = Comparison::of(&[&idle; 4], &[&busy; 4], false).unwrap();
    let limits = Limit::all("p50:+50%,cpu:+5%").unwrap();
    assert!(comparison.exceeded(&limits).is_empty());
    let unseen = comparison.unseen(&limits);
    assert_eq!(unseen, Some((Metric::Cpu, "it was nothing before")));
}

#[test]
fn ten_percent_is_always_found_and_named() {
    let mut dice = Dice(11);
    for _ in 0..20 {
        let (a, b) = (run(&mut dice, 1.0, 0.5), run(&mut dice, 1.1, 0.5));
        let comparison = Comparison::of(&[&a], &[&b], false).unwrap();
        for change in &comparison.changes[..2] {
            assert_eq!(change.judgement(), Judgement::Worse, "{change:?}");
        }
        let limits = Limit::all("p50:+1%,throughput:-1%,p90:+50%").unwrap();
        assert_eq!(comparison.exceeded(&limits).len(), 2);
        let back = Comparison::of(&[&b], &[&a], false).unwrap();
        assert_eq!(back.changes[1].judgement(), Judgement::Better);
        assert!(back.exceeded(&limits).is_empty());
    }
}

#[test]
fn a_percentile_without_enough_requests_is_not_compared() {
    let mut dice = Dice(3);
    let (a, b) = (run(&mut dice, 1.0, 0.0), run(&mut dice, 1.0, 0.0));
    let comparison = Comparison::of(&[&a], &[&b], false).unwrap();
    let omitted: Vec<_> = comparison.omitted.iter().map(|(m, _)| m.key()).collect();
    assert_eq!(omitted, ["p999", "cpu"], "a block has 2,000 requests");
    let short = LoadResult {
        series: Series {
            interval: a.series.interval,
            samples: a.series.samples[..3].to_vec(),
            late: a.series.late.clone(),
        },
        ..LoadResult::default()
    };
    assert_eq!(
        Comparison::of(&[&a], &[&short], false).unwrap_err(),
        Incomparable::TooShort
    );
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
    let comparison = Comparison::of(&[&a], &[&b], false).unwrap();
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
    let none = failed(&Comparison::of(&[&a], &[&b.clone()], false).unwrap());
    assert_eq!((none.change, none.judgement()), (0.0, Judgement::Same));
    b.series.samples[3].failed.insert("closed".into(), 40);
    let once = failed(&Comparison::of(&[&a], &[&b], false).unwrap());
    assert_eq!(
        once.judgement(),
        Judgement::Same,
        "one bad moment is no habit"
    );
    for (nth, sample) in b.series.samples.iter_mut().enumerate() {
        sample.failed.insert("closed".into(), 20 + nth as u64 % 3);
    }
    let always = failed(&Comparison::of(&[&a], &[&b], false).unwrap());
    assert_eq!(always.judgement(), Judgement::Worse);
    let limits = Limit::all("errors:+1%").unwrap();
    assert_eq!(
        Comparison::of(&[&a], &[&b], false)
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
    let together = Comparison::of(&a, &b, false).unwrap();
    assert_eq!(together.blocks, [5, 5]);
    let last = together.changes.last().map(|change| change.metric.key());
    assert_eq!(last, Some("cpu"), "it can be compared now");
    assert!(different(&together).is_empty(), "{together:?}");
}

#[test]
fn the_table_and_the_json_tell_the_same() {
    let mut dice = Dice(17);
    let (a, b) = (run(&mut dice, 1.0, 0.0), run(&mut dice, 1.25, 0.0));
    let comparison = Comparison::of(&[&a], &[&b], false).unwrap();
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

fn change_of(comparison: &Comparison, key: &str) -> Change {
    let found = comparison.changes.iter().find(|c| c.metric.key() == key);
    *found.unwrap_or_else(|| panic!("{key} is not compared: {:?}", comparison.omitted))
}

/// Takes the answers from these samples.
fn silence(run: &mut LoadResult, samples: std::ops::Range<usize>) {
    for sample in &mut run.series.samples[samples] {
        sample.ok = 0;
        sample.latency = Packed::default();
    }
}

#[test]
fn blocks_without_an_answer_are_worse_and_told() {
    let mut dice = Dice(19);
    let (a, mut b) = (run(&mut dice, 1.0, 0.0), run(&mut dice, 1.0, 0.0));
    silence(&mut b, 30..90);
    let comparison = Comparison::of(&[&a], &[&b], false).unwrap();
    assert_eq!(comparison.silent, [0, 6]);
    let limits = Limit::all("throughput:-5%,p50:+5%").unwrap();
    assert!(comparison.fell_silent(&limits), "whatever the means say");
    assert!(!comparison.fell_silent(&Limit::all("errors:+1%").unwrap()));
    let text = table(&comparison, &[], false);
    assert!(text.contains("none in 6 of 10 blocks after"), "{text}");
    silence(&mut b, 0..95);
    let dead = Comparison::of(&[&a], &[&b], false).unwrap();
    for key in ["throughput", "p50"] {
        assert_eq!(
            change_of(&dead, key).judgement(),
            Judgement::Worse,
            "{dead:?}"
        );
    }
    let notes = comparison.undecidable(&limits);
    assert!(
        notes.iter().any(|note| note.contains("as its length")),
        "{notes:?}"
    );
    // One such block is one bad moment, and no habit.
    let mut once = run(&mut dice, 1.0, 0.0);
    silence(&mut once, 30..40);
    let comparison = Comparison::of(&[&a], &[&once], false).unwrap();
    assert!(different(&comparison).is_empty(), "{comparison:?}");
    assert!(comparison.fell_silent(&limits), "but it is told");
    let back = Comparison::of(&[&once], &[&a], false).unwrap();
    assert!(!back.fell_silent(&limits), "it was before");
}

#[test]
fn a_run_without_any_answer_is_the_worst_and_no_reference() {
    let mut dice = Dice(23);
    let (a, mut none) = (run(&mut dice, 1.0, 0.0), run(&mut dice, 1.0, 0.0));
    silence(&mut none, 0..100);
    (none.ok, none.latency) = (0, measure::latencies());
    for sample in &mut none.series.samples {
        sample.failed.insert("refused".into(), 100);
    }
    none.failed.insert("refused".into(), 10_000);
    let comparison = Comparison::of(&[&a], &[&none], false).unwrap();
    let throughput = change_of(&comparison, "throughput");
    assert_eq!((throughput.change, throughput.values[1]), (-1.0, Some(0.0)));
    for key in ["throughput", "p50", "errors"] {
        assert_eq!(change_of(&comparison, key).judgement(), Judgement::Worse);
    }
    let text = table(&comparison, &[], false);
    assert!(text.contains("none") && text.contains("-100.0 %"), "{text}");
    let back = Comparison::of(&[&none], &[&a], false).unwrap();
    let why = back.omitted.iter().find(|(m, _)| m.key() == "p50");
    assert!(why.is_some_and(|(_, why)| why.contains("nothing was answered before")));
    assert_eq!(different(&back), ["errors"]);
}

#[test]
fn what_is_printed_of_a_run_is_its_own_percentile_and_not_a_mean_of_blocks() {
    let mut dice = Dice(29);
    let a = run(&mut dice, 1.0, 0.0);
    let mut b = run(&mut dice, 1.0, 0.0);
    // A third of the run is ten times as slow.
    let slow = run(&mut dice, 10.0, 0.0);
    b.series.samples[..30].clone_from_slice(&slow.series.samples[..30]);
    b.latency = measure::latencies();
    for sample in &b.series.samples {
        sample.latency.add_to(&mut b.latency);
    }
    let comparison = Comparison::of(&[&a], &[&b], false).unwrap();
    let p90 = change_of(&comparison, "p90");
    let own = |run: &LoadResult| Some(run.latency.value_at_quantile(0.9) as f64);
    assert_eq!(p90.values, [own(&a), own(&b)]);
    let [_, after] = p90.means;
    assert!(
        (after / p90.values[1].unwrap() - 1.0).abs() > 0.2,
        "{p90:?}"
    );
    let text = table(&comparison, &[], false);
    let shown = Metric::Latency("p90", 0.9).show(own(&b));
    assert!(text.contains(&shown), "{text}");
    assert!(
        text.contains("ratio of the means of 10 and 10 blocks"),
        "{text}"
    );
}

#[test]
fn what_came_late_is_in_no_block_but_in_the_percentiles_of_the_run() {
    let mut dice = Dice(31);
    let a = run(&mut dice, 1.0, 0.0);
    let mut b = a.clone();
    let mut late = measure::latencies();
    late.record_n(5_000_000_000, 9000).unwrap();
    b.latency.add(&late).unwrap();
    b.series.late = Some(Sample {
        ok: 9000,
        latency: Packed::of(&late),
        ..Sample::default()
    });
    let comparison = Comparison::of(&[&a], &[&b], false).unwrap();
    assert!(different(&comparison).is_empty());
    let [before, after] = change_of(&comparison, "p90").values;
    assert!(after > before.map(|value| value * 1000.0));
    // Older records have it in their last sample, which is left out then.
    let mut old = a.clone();
    old.series.late = None;
    let last = old.series.samples.last_mut().unwrap();
    (last.ok, last.latency) = (9000, Packed::of(&late));
    let comparison = Comparison::of(&[&a], &[&old], false).unwrap();
    assert!(different(&comparison).is_empty(), "{comparison:?}");
}

#[test]
fn two_runs_a_side_tell_how_little_they_know() {
    let mut dice = Dice(37);
    let runs: Vec<LoadResult> = [1.0, 1.03, 1.1, 1.13]
        .map(|pace| run(&mut dice, pace, 0.0))
        .into();
    let [a, b] = [&runs[..2], &runs[2..]].map(|side| side.iter().collect::<Vec<_>>());
    let comparison = Comparison::of(&a, &b, false).unwrap();
    assert_eq!((comparison.by, comparison.runs), (By::Parts, [2, 2]));
    let p50 = change_of(&comparison, "p50");
    let [low, high] = p50.by_runs.expect("two runs have a spread");
    assert!(low < -0.5 && high > 1.0, "{p50:?}");
    let limits = Limit::all("p50:+1%").unwrap();
    let notes = comparison.undecidable(&limits).join("\n");
    assert!(notes.contains("with 2 runs on a side"), "{notes}");
    assert!(notes.contains("p50:+1.0 % is finer"), "{notes}");
    assert!(table(&comparison, &[], false).contains("by runs"));
    let one = Comparison::of(&a[..1], &b[..1], false).unwrap();
    assert!(one.changes.iter().all(|change| change.by_runs.is_none()));
    assert!(one.undecidable(&[])[0].starts_with("with one run on a side"));
}

#[test]
fn a_limit_finer_than_runs_of_one_build_differ_is_not_exceeded_by_that() {
    let mut dice = Dice(41);
    let (a, b) = (run(&mut dice, 1.0, 0.0), run(&mut dice, 1.06, 0.0));
    let comparison = Comparison::of(&[&a], &[&b], false).unwrap();
    let limits = |text: &str| comparison.exceeded(&Limit::all(text).unwrap()).len();
    assert_eq!(limits("p50:+0.5%"), 1);
    assert_eq!(limits("p99:+0.5%"), 0, "{comparison:?}");
}

#[test]
fn pairs_see_what_a_drift_hides() {
    let mut dice = Dice(43);
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for nth in 0..6 {
        let drift = 1.0 + 0.08 * f64::from(nth);
        a.push(run(&mut dice, drift, 0.0));
        b.push(run(&mut dice, drift * 1.06, 0.0));
    }
    let [a, b] = [&a, &b].map(|side| side.iter().collect::<Vec<_>>());
    let apart = Comparison::of(&a, &b, false).unwrap();
    assert!(!different(&apart).contains(&"p50"), "{apart:?}");
    let pairs = Comparison::of(&a, &b, true).unwrap();
    assert_eq!(change_of(&pairs, "p50").judgement(), Judgement::Worse);
    for (before, after) in [(&a[..5], &b[..6]), (&a[..3], &b[..3])] {
        let error = Comparison::of(before, after, true).unwrap_err();
        assert_eq!(error, Incomparable::NoPairs);
    }
}
