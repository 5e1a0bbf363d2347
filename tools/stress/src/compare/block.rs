//! A stretch of a run: neighbouring intervals put together.
//!
//! Owns how a run is cut. What came after the window is in no block: answers that trickle in after the load are none of a stretch of
//! it. Never: estimates.

use hdrhistogram::Histogram;

use crate::load::LoadResult;
use crate::measure;
use crate::series::Sample;

/// Neighbouring intervals of one run.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) ok: u64,
    pub(super) failed: u64,
    pub(super) seconds: f64,
    pub(super) latency: Histogram<u64>,
    /// In seconds.
    pub(super) cpu: f64,
}

impl Block {
    /// All of these samples together.
    fn of<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Self {
        let mut block = Self {
            ok: 0,
            failed: 0,
            seconds: 0.0,
            latency: measure::latencies(),
            cpu: 0.0,
        };
        for sample in samples {
            block.ok += sample.ok;
            block.failed += sample.failed.values().sum::<u64>();
            block.seconds += sample.length.as_secs_f64();
            sample.latency.add_to(&mut block.latency);
            block.cpu += (sample.cpu.user + sample.cpu.system).as_secs_f64();
        }
        block
    }

    /// `count` blocks of a run, as equal as may be; fewer if it has not as many samples.
    pub(super) fn split(result: &LoadResult, count: usize) -> Vec<Self> {
        let series = &result.series;
        // Older records have what came late in the last sample: it is left out.
        let whole = match series.late {
            Some(_) => series.samples.len(),
            None => series.samples.len().saturating_sub(1),
        };
        let samples = &series.samples[..whole];
        let count = count.min(whole);
        let edge = |nth: usize| nth * whole / count;
        (0..count)
            .map(|nth| Self::of(&samples[edge(nth)..edge(nth + 1)]))
            .collect()
    }

    /// Whether nothing was answered in it.
    pub(super) fn is_silent(&self) -> bool {
        self.ok == 0
    }
}
