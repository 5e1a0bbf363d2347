//! A run over time, interval by interval.
//!
//! Owns the charts whose axis is time. Never: draws what came after the window, which has no time.

use hdrhistogram::Histogram;

use super::{line, per_second, points};
use crate::load::LoadResult;
use crate::report::html::chart::{Axis, Band, Chart, Line, Shape};
use crate::report::html::scale::{Scale, count, seconds, time};
use crate::series::Sample;

/// Kinds of errors with a line of their own; the others share one.
const KINDS_MAX: usize = 5;

/// A state's name, its colour, and how many connections are in it, if that was asked.
type State = (&'static str, usize, fn(&Sample) -> Option<u64>);

/// Charts over time.
pub(super) struct Over<'a> {
    prefix: &'a str,
    samples: &'a [Sample],
    length: f64,
}

impl<'a> Over<'a> {
    pub(super) fn new(prefix: &'a str, result: &'a LoadResult) -> Self {
        Self {
            prefix,
            samples: &result.series.samples,
            length: result.elapsed.as_secs_f64(),
        }
    }

    fn chart(&self, id: &str, title: &'static str, about: &str, lines: Vec<Line>) -> Chart {
        let values = lines.iter().flat_map(|line| &line.points);
        let max = values.filter_map(|(_, y)| *y).fold(0.0, f64::max);
        Chart {
            id: format!("{}{id}", self.prefix),
            title,
            about: about.to_owned(),
            x: Axis {
                scale: Scale::Linear(self.length.max(1e-3)),
                name: seconds,
            },
            y: Axis {
                scale: Scale::up_to(max),
                name: count,
            },
            bands: self.bands(&lines, count),
            lines,
            ..Chart::default()
        }
    }

    /// What the lines are at, sample by sample.
    fn bands(&self, lines: &[Line], name: fn(f64) -> String) -> Vec<Band> {
        let band = |(nth, sample): (usize, &Sample)| {
            let value = |line: &Line| {
                let value = line.points.get(nth)?.1?;
                Some(format!("{}: {}", line.name, name(value)))
            };
            let says = lines.iter().filter_map(value).collect::<Vec<_>>();
            let from = sample.start.as_secs_f64();
            Band {
                from,
                to: from + sample.length.as_secs_f64(),
                says: format!("{}\n{}", seconds(from), says.join("\n")),
            }
        };
        self.samples.iter().enumerate().map(band).collect()
    }

    /// One value for each sample, in its middle.
    fn values(&self, value: impl Fn(&Sample) -> Option<f64>) -> Vec<(f64, Option<f64>)> {
        points(self.samples, value)
    }

    /// A count for each sample, as a rate.
    fn rate(&self, name: &str, colour: usize, count: impl Fn(&Sample) -> u64) -> Line {
        let rate = |sample: &Sample| per_second(sample, count(sample) as f64);
        line(name, colour, Shape::Line, self.values(rate))
    }

    /// `rate` is what was asked for, if the load went by the clock.
    pub(super) fn throughput(&self, rate: Option<f64>) -> Chart {
        let failed = |sample: &Sample| sample.failed.values().sum();
        let mut lines = vec![self.rate("answered", 1, |sample| sample.ok)];
        if self.samples.iter().any(|sample| failed(sample) > 0) {
            lines.push(self.rate("failed", 4, failed));
        }
        if let Some(rate) = rate.filter(|_| !self.samples.is_empty()) {
            let asked = self.values(|_| Some(rate));
            lines.push(line("asked for", 6, Shape::Limit, asked));
        }
        self.chart("throughput", "Throughput", "requests per second", lines)
    }

    pub(super) fn latency(&self) -> Chart {
        let histograms: Vec<_> = self.samples.iter().map(|s| s.latency.unpack()).collect();
        let at = |name: &str, colour, quantile: f64| {
            let mut values = self.values(|_| None);
            for (point, histogram) in values.iter_mut().zip(&histograms) {
                let value = histogram.value_at_quantile(quantile);
                point.1 = (!histogram.is_empty()).then_some(value as f64);
            }
            line(name, colour, Shape::Line, values)
        };
        let lines = vec![at("max", 4, 1.0), at("p99", 2, 0.99), at("p50", 1, 0.5)];
        let any = histograms.iter().filter(|h| !h.is_empty());
        let min = any.clone().map(|h| h.value_at_quantile(0.5)).min();
        let max = any.map(Histogram::max).max();
        let mut chart = self.chart(
            "latency",
            "Latency over time",
            "by when answers came; logarithmic",
            lines,
        );
        chart.y = Axis {
            scale: Scale::around(min.unwrap_or(1) as f64, max.unwrap_or(1) as f64),
            name: time,
        };
        chart.bands = self.bands(&chart.lines, time);
        chart
    }

    /// Stacked: each state stands on those beneath it.
    pub(super) fn states(&self) -> Chart {
        let states: [State; 4] = [
            ("closing or other", 5, |s| {
                let pool = s.pool?;
                let known = pool.leased + pool.idle + pool.dialing;
                Some(pool.connections.saturating_sub(known))
            }),
            ("dialing", 3, |s| s.pool.map(|pool| pool.dialing)),
            ("idle", 2, |s| s.pool.map(|pool| pool.idle)),
            ("leased", 1, |s| s.pool.map(|pool| pool.leased)),
        ];
        let stacked = |from: usize| {
            self.values(move |sample| {
                let values = states[from..].iter().map(|(_, _, state)| state(sample));
                values.sum::<Option<u64>>().map(|sum| sum as f64)
            })
        };
        let lines = states.iter().enumerate();
        let lines: Vec<Line> = lines
            .map(|(nth, (name, colour, _))| line(name, *colour, Shape::Area, stacked(nth)))
            .collect();
        let plain: Vec<Line> = states
            .iter()
            .map(|(name, colour, state)| {
                let values = self.values(|sample| state(sample).map(|n| n as f64));
                line(name, *colour, Shape::Area, values)
            })
            .collect();
        let about = "at the end of each interval, stacked";
        let mut chart = self.chart("states", "Connections by state", about, lines);
        chart.bands = self.bands(&plain, count);
        chart
    }

    pub(super) fn occupancy(&self, connections_max: Option<f64>) -> Chart {
        let pool = |value: fn(&crate::series::PoolState) -> u64| {
            self.values(move |sample| sample.pool.as_ref().map(|pool| value(pool) as f64))
        };
        let mut lines = vec![
            line("leased", 1, Shape::Line, pool(|pool| pool.leased)),
            line("callers waiting", 4, Shape::Line, pool(|pool| pool.waiters)),
        ];
        if let Some(most) = connections_max {
            let limit = self.values(|_| Some(most));
            let recorded = self.samples.iter().any(|sample| sample.pool.is_some());
            if recorded {
                lines.push(line("connections_max", 6, Shape::Limit, limit));
            }
        }
        let about = "connections in use, and callers that wait for one";
        self.chart("occupancy", "Pool occupancy", about, lines)
    }

    pub(super) fn handshakes(&self) -> Chart {
        let lines = vec![
            self.rate("dials", 6, |sample| sample.counters.dials),
            self.rate("dials failed", 4, |sample| sample.counters.dials_failed),
            self.rate("TLS, full", 2, |sample| sample.counters.handshakes_full),
            self.rate("TLS, resumed", 3, |sample| {
                sample.counters.handshakes_resumed
            }),
            self.rate("evictions", 5, |sample| sample.counters.evictions),
        ];
        let about = "per second, in the measured window";
        self.chart(
            "handshakes",
            "Dials, handshakes and evictions",
            about,
            lines,
        )
    }

    pub(super) fn errors(&self) -> Chart {
        let mut kinds = std::collections::BTreeMap::<&str, u64>::new();
        for (kind, count) in self.samples.iter().flat_map(|sample| &sample.failed) {
            *kinds.entry(kind).or_default() += count;
        }
        let mut kinds: Vec<(&str, u64)> = kinds.into_iter().collect();
        kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let (named, rest) = kinds.split_at(kinds.len().min(KINDS_MAX));
        let colours = [4, 2, 3, 5, 1];
        let mut lines: Vec<Line> = named
            .iter()
            .zip(colours)
            .map(|((kind, _), colour)| {
                self.rate(kind, colour, |s| s.failed.get(*kind).copied().unwrap_or(0))
            })
            .collect();
        if !rest.is_empty() {
            let others = |s: &Sample| {
                let count = |(kind, _): &(&str, u64)| s.failed.get(*kind).copied().unwrap_or(0);
                rest.iter().map(count).sum()
            };
            lines.push(self.rate("others", 6, others));
        }
        let about = "failed requests per second, by kind";
        let mut chart = self.chart("errors", "Errors", about, lines);
        if !self.samples.is_empty() {
            chart.empty = "No request failed.";
        }
        chart
    }

    pub(super) fn cpu(&self) -> Chart {
        let cores = |part: fn(&Sample) -> std::time::Duration| {
            self.values(move |sample| per_second(sample, part(sample).as_secs_f64()))
        };
        let lines = vec![
            line("all", 1, Shape::Area, cores(|s| s.cpu.user + s.cpu.system)),
            line("in the kernel", 2, Shape::Area, cores(|s| s.cpu.system)),
        ];
        self.chart("cpu", "Client CPU", "cores that this process used", lines)
    }
}
