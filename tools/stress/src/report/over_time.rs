//! A run over time, for other programs: CSV, and an HdrHistogram log.
//!
//! Owns both formats. Columns of the CSV are a promise: they may be added to at the end, never renamed or moved.

use std::fmt::Write;
use std::time::SystemTime;

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use super::View;

const COLUMNS: &str = "phase,start_s,length_s,ok,failed,rate_rps,p50_us,p90_us,p99_us,p999_us,max_us,idle,leased,dialing,\
     waiters,connections,sockets,hits,misses,waits,dials,dials_failed,opened,handshakes_full,handshakes_resumed,evictions,\
     cpu_user_s,cpu_system_s,shards_missing,shards_down";

/// One line for each interval, and one of no length for what came after the window; a figure that is not known is empty.
pub(super) fn csv(views: &[View<'_>]) -> String {
    let mut text = format!("{COLUMNS}\n");
    for view in views {
        for sample in view.result.series.with_late() {
            let latency = sample.latency.unpack();
            let at = |quantile: f64| match latency.is_empty() {
                true => String::new(),
                false => format!("{:.3}", latency.value_at_quantile(quantile) as f64 / 1e3),
            };
            let length = sample.length.as_secs_f64();
            let failed: u64 = sample.failed.values().sum();
            let rate = if length > 0.0 {
                format!("{:.3}", sample.ok as f64 / length)
            } else {
                String::new()
            };
            let pool = sample.pool.map_or_else(
                || ",,,,,".to_owned(),
                |p| {
                    format!(
                        "{},{},{},{},{},{}",
                        p.idle, p.leased, p.dialing, p.waiters, p.connections, p.sockets
                    )
                },
            );
            let shards = sample
                .pool
                .map_or_else(|| ",".to_owned(), |p| format!("{},{}", p.missing, p.down));
            let c = sample.counters;
            let _ = writeln!(
                text,
                "{},{:.6},{length:.6},{},{failed},{rate},{},{},{},{},{},{pool},{},{},{},{},{},{},{},{},{},{:.6},{:.6},{shards}",
                view.key,
                sample.start.as_secs_f64(),
                sample.ok,
                at(0.5),
                at(0.9),
                at(0.99),
                at(0.999),
                at(1.0),
                c.hits,
                c.misses,
                c.waits,
                c.dials,
                c.dials_failed,
                c.opened,
                c.handshakes_full,
                c.handshakes_resumed,
                c.evictions,
                sample.cpu.user.as_secs_f64(),
                sample.cpu.system.as_secs_f64(),
            );
        }
    }
    text
}

/// Latencies in nanoseconds, interval by interval, tagged with the phase where there are several.
pub(super) fn hlog(views: &[View<'_>], command: &str) -> Vec<u8> {
    let mut log = Vec::new();
    let began = |view: &View<'_>| view.result.began.unwrap_or(SystemTime::UNIX_EPOCH);
    let start = views.iter().map(began).min();
    let mut serializer = V2DeflateSerializer::new();
    let mut writer = IntervalLogWriterBuilder::new()
        .add_comment("latencies in nanoseconds, from the intended start, by when answers came")
        .add_comment(command)
        .with_start_time(start.unwrap_or(SystemTime::UNIX_EPOCH))
        .with_base_time(start.unwrap_or(SystemTime::UNIX_EPOCH))
        .with_max_value_divisor(1e6)
        .begin_log_with(&mut log, &mut serializer)
        .expect("memory takes what is written");
    for view in views {
        let later = start.and_then(|start| began(view).duration_since(start).ok());
        let tag = if views.len() > 1 {
            Tag::new(&view.key)
        } else {
            None
        };
        for sample in view.result.series.with_late() {
            writer
                .write_histogram(
                    &sample.latency.unpack(),
                    later.unwrap_or_default() + sample.start,
                    sample.length,
                    tag,
                )
                .expect("memory takes what is written");
        }
    }
    log
}

#[cfg(test)]
mod tests {
    use super::super::tests::{busy, view};
    use super::*;
    use crate::packed::Packed;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    #[test]
    fn every_line_has_every_column() {
        let phase = busy(12);
        let text = csv(&[view(&phase)]);
        let columns = |line: &str| line.split(',').count();
        let all: Vec<usize> = text.lines().map(columns).collect();
        assert_eq!(all, vec![columns(COLUMNS); 13], "{text}");
        assert!(
            text.lines()
                .nth(1)
                .unwrap()
                .starts_with("run,0.000000,0.100000,")
        );
    }

    #[test]
    fn the_log_reads_back_exactly() {
        let phase = busy(5);
        let log = hlog(&[view(&phase)], "stress run");
        let mut sum = crate::measure::latencies();
        let mut starts = Vec::new();
        for entry in IntervalLogIterator::new(&log) {
            if let LogEntry::Interval(interval) = entry.expect("it is well formed") {
                Packed::from_text(interval.encoded_histogram())
                    .expect("it is a histogram")
                    .add_to(&mut sum);
                starts.push(interval.start_timestamp().as_millis());
            }
        }
        assert_eq!(starts, [0, 100, 200, 300, 400]);
        assert_eq!(sum, phase.result.latency);
    }
}
