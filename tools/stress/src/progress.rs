//! What is shown while a load runs, on standard error.
//!
//! On a terminal one line that is drawn over and over; elsewhere a line now and then. It reads
//! counters that the load adds to in batches; it must never slow the load.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::packed::Packed;
use crate::report::grouped;
use crate::series::{Counters, PoolState};

/// How often the line on a terminal is drawn.
const TERMINAL_PERIOD: Duration = Duration::from_millis(200);
/// How often a line is written elsewhere.
const PLAIN_PERIOD: Duration = Duration::from_secs(2);

/// Where the load counts, and how that is shown. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    counts: Arc<Counts>,
    terminal: bool,
    colour: bool,
}

#[derive(Debug, Default)]
struct Counts {
    ok: AtomicU64,
    failed: AtomicU64,
}

impl Progress {
    /// Shows on standard error, in the way that suits it.
    pub(crate) fn on_stderr() -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let terminal = std::io::stderr().is_terminal() && !dumb;
        Self {
            counts: Arc::default(),
            terminal,
            colour: terminal && colour_wanted(),
        }
    }

    /// Counts finished requests. Call it in batches (some hundreds, or every few milliseconds):
    /// the counters are shared by all threads.
    pub(crate) fn add(&self, ok: u64, failed: u64) {
        self.counts.ok.fetch_add(ok, Ordering::Relaxed);
        self.counts.failed.fetch_add(failed, Ordering::Relaxed);
    }

    /// Shows how the pool stands, and what it counted since the last time. Call it every 100 ms at most.
    pub(crate) fn pool(&self, _pool: PoolState, _since: Counters) {}

    /// Shows the latencies of an interval. Call it once for each interval and thread.
    pub(crate) fn tell(&self, _latencies: Packed) {}

    /// Shows the phase `label`, expected to last `total`, until the guard drops.
    pub(crate) fn phase(&self, label: &str, total: Duration) -> PhaseShown {
        let (end, ended) = mpsc::channel();
        let ticker = Ticker {
            label: label.to_owned(),
            total,
            began: Instant::now(),
            counts: Arc::clone(&self.counts),
            terminal: self.terminal,
            colour: self.colour,
        };
        self.counts.ok.store(0, Ordering::Relaxed);
        self.counts.failed.store(0, Ordering::Relaxed);
        let thread = thread::Builder::new()
            .name("progress".to_owned())
            .spawn(move || ticker.run(&ended))
            .ok(); // Without the thread nothing is shown, which hurts no measurement.
        PhaseShown {
            end: Some(end),
            thread,
        }
    }
}

/// Whether colour may be used where there is a terminal: NO_COLOR, set and not empty, forbids it.
pub(crate) fn colour_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Shows a phase while it lives; dropping it clears the line.
#[derive(Debug)]
pub(crate) struct PhaseShown {
    end: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for PhaseShown {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Ticker {
    label: String,
    total: Duration,
    began: Instant,
    counts: Arc<Counts>,
    terminal: bool,
    colour: bool,
}

impl Ticker {
    fn run(&self, ended: &mpsc::Receiver<()>) {
        let period = if self.terminal {
            TERMINAL_PERIOD
        } else {
            PLAIN_PERIOD
        };
        let mut shown_at = self.began;
        let mut shown_ok = 0;
        while ended.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
            let now = Instant::now();
            let ok = self.counts.ok.load(Ordering::Relaxed);
            let since = now.duration_since(shown_at).as_secs_f64().max(1e-6);
            let line = Line {
                label: &self.label,
                elapsed: now.duration_since(self.began),
                total: self.total,
                rate: ok.saturating_sub(shown_ok) as f64 / since,
                failed: self.counts.failed.load(Ordering::Relaxed),
            };
            self.draw(&line);
            (shown_at, shown_ok) = (now, ok);
        }
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }

    /// Errors are ignored: a closed standard error must not end the run.
    fn draw(&self, line: &Line<'_>) {
        let mut stderr = std::io::stderr().lock();
        let _ = match (self.terminal, self.colour) {
            (true, true) => write!(stderr, "\r\x1b[2K\x1b[36m{line}\x1b[0m"),
            (true, false) => write!(stderr, "\r\x1b[2K{line}"),
            (false, _) => writeln!(stderr, "{line}"),
        };
        let _ = stderr.flush();
    }
}

/// One state of the live line.
struct Line<'a> {
    label: &'a str,
    elapsed: Duration,
    total: Duration,
    rate: f64,
    failed: u64,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (elapsed, total) = (self.elapsed.as_secs_f64(), self.total.as_secs_f64());
        let rate = grouped(self.rate.round() as u64);
        write!(
            f,
            "{}  {elapsed:.1} s of {total:.1} s  {rate} requests/s",
            self.label
        )?;
        if self.failed > 0 {
            write!(f, "  {} failed", grouped(self.failed))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_rate_time_and_failures() {
        let mut line = Line {
            label: "TLS, reuse",
            elapsed: Duration::from_millis(1240),
            total: Duration::from_millis(3500),
            rate: 98_765.4,
            failed: 0,
        };
        assert_eq!(
            line.to_string(),
            "TLS, reuse  1.2 s of 3.5 s  98,765 requests/s"
        );
        line.failed = 1200;
        assert!(line.to_string().ends_with("requests/s  1,200 failed"));
    }

    #[test]
    fn a_phase_ends_promptly_and_the_next_counts_from_zero() {
        let progress = Progress {
            counts: Arc::default(),
            terminal: false,
            colour: false,
        };
        drop(progress.phase("first", Duration::from_secs(3600)));
        progress.add(5, 1);
        let second = progress.phase("second", Duration::from_secs(1));
        assert_eq!(progress.counts.ok.load(Ordering::Relaxed), 0);
        progress.add(7, 0);
        drop(second);
        assert_eq!(progress.counts.ok.load(Ordering::Relaxed), 7);
    }
}
