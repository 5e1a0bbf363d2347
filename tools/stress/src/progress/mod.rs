//! What is shown while a load runs, on standard error.
//!
//! On a terminal a few lines that are drawn over and over; elsewhere a line a second. It reads what the load adds in
//! batches; it must never slow the load: what finds the way full is not shown.

mod view;

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::packed::Packed;
use crate::series::{Counters, PoolState};
use view::{News, View};

/// How often the lines on a terminal are drawn.
const TERMINAL_PERIOD: Duration = Duration::from_millis(200);
/// How often a line is written elsewhere.
const PLAIN_PERIOD: Duration = Duration::from_secs(1);
/// Histograms that may wait to be shown.
const LATENCIES_MAX: usize = 1024;

/// Where the load counts, and how that is shown. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    counts: Arc<Counts>,
    terminal: bool,
    colour: bool,
    silent: bool,
}

#[derive(Debug, Default)]
struct Counts {
    ok: AtomicU64,
    failed: AtomicU64,
    /// What comes once an interval.
    seldom: Mutex<Seldom>,
}

#[derive(Debug, Default)]
struct Seldom {
    latencies: Vec<Packed>,
    pool: Option<PoolState>,
    counters: Counters,
}

impl Counts {
    /// All that was counted since it was last asked.
    fn take(&self) -> News {
        let seldom = std::mem::take(&mut *self.seldom());
        News {
            ok: self.ok.swap(0, Ordering::Relaxed),
            failed: self.failed.swap(0, Ordering::Relaxed),
            latencies: seldom.latencies,
            pool: seldom.pool,
            counters: seldom.counters,
        }
    }

    fn seldom(&self) -> std::sync::MutexGuard<'_, Seldom> {
        self.seldom.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
            silent: false,
        }
    }

    /// Shows nothing; what is counted can be taken.
    pub(crate) fn silent() -> Self {
        Self {
            counts: Arc::default(),
            terminal: false,
            colour: false,
            silent: true,
        }
    }

    /// Answers and failures since it was last asked, where nothing is shown.
    pub(crate) fn take(&self) -> (u64, u64) {
        let news = self.counts.take();
        (news.ok, news.failed)
    }

    /// Counts finished requests. Call it in batches (some hundreds, or every few milliseconds):
    /// the counters are shared by all threads.
    pub(crate) fn add(&self, ok: u64, failed: u64) {
        self.counts.ok.fetch_add(ok, Ordering::Relaxed);
        self.counts.failed.fetch_add(failed, Ordering::Relaxed);
    }

    /// Shows how the pool stands, and what it counted since the last time. Call it every 100 ms at most.
    pub(crate) fn pool(&self, pool: PoolState, since: Counters) {
        let mut seldom = self.counts.seldom();
        seldom.pool = Some(pool);
        seldom.counters = seldom.counters.plus(since);
    }

    /// Shows the latencies of an interval. Call it once for each interval and thread.
    pub(crate) fn tell(&self, latencies: Packed) {
        let mut seldom = self.counts.seldom();
        if seldom.latencies.len() < LATENCIES_MAX {
            seldom.latencies.push(latencies);
        }
    }

    /// Shows the phase `label`, expected to last `total`, until the guard drops.
    pub(crate) fn phase(&self, label: &str, total: Duration) -> PhaseShown {
        let (end, ended) = mpsc::channel();
        self.counts.take();
        if self.silent {
            return PhaseShown {
                end: None,
                thread: None,
            };
        }
        let ticker = Ticker {
            view: View::of(label, total),
            began: Instant::now(),
            counts: Arc::clone(&self.counts),
            terminal: self.terminal,
            colour: self.colour,
            drawn: 0,
        };
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

/// Shows a phase while it lives; dropping it clears the lines.
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
    view: View,
    began: Instant,
    counts: Arc<Counts>,
    terminal: bool,
    colour: bool,
    /// Lines that stand on the terminal.
    drawn: usize,
}

impl Ticker {
    fn run(mut self, ended: &mpsc::Receiver<()>) {
        let period = if self.terminal {
            TERMINAL_PERIOD
        } else {
            PLAIN_PERIOD
        };
        while ended.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
            self.view.add(self.began.elapsed(), self.counts.take());
            self.draw();
        }
        // Errors are ignored, here and below: a closed standard error must not end the run.
        let _ = std::io::stderr().write_all(self.erase().as_bytes());
    }

    fn draw(&mut self) {
        let text = if self.terminal {
            let lines = self.view.lines(self.colour);
            // Lines that are too long for the terminal are cut by it, so that their number is known.
            let text = format!("{}\x1b[?7l{}\n\x1b[?7h", self.erase(), lines.join("\n"));
            self.drawn = lines.len();
            text
        } else {
            format!("{}\n", self.view.line())
        };
        let mut stderr = std::io::stderr().lock();
        let _ = stderr.write_all(text.as_bytes());
        let _ = stderr.flush();
    }

    /// What takes away the lines that were drawn.
    fn erase(&self) -> String {
        match self.drawn {
            0 => String::new(),
            lines => format!("\x1b[{lines}F\x1b[J"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress() -> Progress {
        Progress {
            counts: Arc::default(),
            terminal: false,
            colour: false,
            silent: false,
        }
    }

    #[test]
    fn a_phase_ends_promptly_and_the_next_counts_from_zero() {
        let progress = progress();
        drop(progress.phase("first", Duration::from_secs(3600)));
        progress.add(5, 1);
        progress.tell(Packed::default());
        let second = progress.phase("second", Duration::from_secs(1));
        assert_eq!(progress.counts.ok.load(Ordering::Relaxed), 0);
        assert!(progress.counts.seldom().latencies.is_empty());
        drop(second);
    }

    #[test]
    fn what_waits_to_be_shown_is_bounded() {
        let progress = progress();
        for _ in 0..LATENCIES_MAX + 5 {
            progress.tell(Packed::default());
        }
        let hits = |hits| Counters {
            hits,
            ..Counters::default()
        };
        progress.pool(PoolState::default(), hits(2));
        progress.pool(PoolState::default(), hits(3));
        let news = progress.counts.take();
        assert_eq!(news.latencies.len(), LATENCIES_MAX);
        assert_eq!(news.counters, hits(5));
    }
}
