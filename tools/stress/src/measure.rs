//! What is measured about this process: time, CPU, latencies.
//!
//! CPU time is this process's alone: the backend runs as another process, so that its work never
//! shows in the client's figures. Histograms are not concurrent: one per thread, merged after.

use std::collections::HashMap;
use std::ffi::OsString;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};

/// Latencies above this are recorded as this.
const LATENCY_MAX: Duration = Duration::from_secs(60);

/// Refuses a limit on latencies that none could be seen to exceed.
pub(crate) fn limit_of_latency(limit: Duration) -> Result<Duration, String> {
    match limit < LATENCY_MAX {
        true => Ok(limit),
        false => Err(format!(
            "latencies are known up to {}: what is allowed has to be less",
            humantime::format_duration(LATENCY_MAX)
        )),
    }
}

/// An empty histogram of latencies in nanoseconds, three digits up to 60 s (about 220 KiB).
pub(crate) fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX.as_nanos() as u64, 3)
        .expect("the bounds are constants that hdrhistogram accepts")
}

/// Records one latency; what exceeds 60 s counts as 60 s.
pub(crate) fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    let nanoseconds = latency.min(LATENCY_MAX).as_nanos() as u64;
    histogram.saturating_record(nanoseconds);
}

/// CPU time in user space and in the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuTime {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

impl CpuTime {
    /// What this process, all threads, has used so far.
    pub(crate) fn of_process() -> Self {
        let usage = getrusage(UsageWho::RUSAGE_SELF)
            .expect("RUSAGE_SELF is always valid, and nothing else can fail");
        let duration = |time: nix::sys::time::TimeVal| {
            Duration::from_secs(time.tv_sec() as u64) + Duration::from_micros(time.tv_usec() as u64)
        };
        Self {
            user: duration(usage.user_time()),
            system: duration(usage.system_time()),
        }
    }

    /// What was used since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }
}

/// How long this process ran, and how long it could have but for want of a core, over all of its threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Patience {
    pub(crate) ran: Duration,
    pub(crate) waited: Duration,
    /// How often a thread came to run.
    pub(crate) turns: u64,
}

impl Patience {
    /// What came to it since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            ran: self.ran.saturating_sub(earlier.ran),
            waited: self.waited.saturating_sub(earlier.waited),
            turns: self.turns.saturating_sub(earlier.turns),
        }
    }

    /// How long a thread waited for a core each time, on average.
    pub(crate) fn wait(self) -> Duration {
        self.waited.div_f64(self.turns.max(1) as f64)
    }

    /// How long it wanted a core, whether or not it had one.
    pub(crate) fn wanted(self) -> Duration {
        self.ran + self.waited
    }

    /// The share of the time in which it wanted a core that it had none; 0 if it never wanted one.
    pub(crate) fn starved(self) -> f64 {
        let wanted = self.wanted().as_secs_f64();
        if wanted > 0.0 {
            self.waited.as_secs_f64() / wanted
        } else {
            0.0
        }
    }
}

/// The threads of this process, by their numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Threads(HashMap<OsString, Patience>);

impl Threads {
    /// Those that there are now (/proc/self/task/*/schedstat); none where the kernel does not tell.
    pub(crate) fn look() -> Self {
        let threads = std::fs::read_dir("/proc/self/task");
        let threads = threads.into_iter().flatten().flatten();
        let told = threads.filter_map(|thread| {
            let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            let mut numbers = text.split_whitespace().map(str::parse);
            let mut next = || numbers.next()?.ok();
            let patience = Patience {
                ran: Duration::from_nanos(next()?),
                waited: Duration::from_nanos(next()?),
                turns: next()?,
            };
            Some((thread.file_name(), patience))
        });
        Self(told.collect())
    }

    /// What came to all of them since `earlier`, and to the one that had the least time to spare.
    pub(crate) fn since(&self, earlier: &Self) -> (Patience, Patience) {
        let each = self.0.iter().map(|(number, now)| {
            let before = earlier.0.get(number).copied().unwrap_or_default();
            now.since(before)
        });
        each.fold(<(Patience, Patience)>::default(), |(sum, most), one| {
            let sum = Patience {
                ran: sum.ran + one.ran,
                waited: sum.waited + one.waited,
                turns: sum.turns + one.turns,
            };
            let is_busier = one.wanted() > most.wanted();
            (sum, if is_busier { one } else { most })
        })
    }
}

/// The measured window: opened when the warm-up ends, closed when the load ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) opened: Instant,
    cpu: CpuTime,
}

impl Window {
    /// Begins to measure now.
    pub(crate) fn open() -> Self {
        Self {
            opened: Instant::now(),
            cpu: CpuTime::of_process(),
        }
    }

    /// Ends it now: when that was, and the CPU time used in it.
    pub(crate) fn close(&self) -> (Instant, CpuTime) {
        (Instant::now(), CpuTime::of_process().since(self.cpu))
    }
}

/// Raises the soft limit on descriptors to the hard one: a thousand connections should not need
/// an `ulimit` first. Where it is refused, the limit shows in the errors of the run.
pub(crate) fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Cores that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Half of the cores, at least one: a server on the same host needs the other half.
pub(crate) fn shards_default() -> usize {
    (cores() / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_keep_three_digits_and_saturate() {
        let mut histogram = latencies();
        record(&mut histogram, Duration::from_nanos(123_456));
        let seen = histogram.max();
        assert!(seen.abs_diff(123_456) <= 124, "{seen}");
        record(&mut histogram, Duration::from_secs(3600));
        assert_eq!(histogram.len(), 2);
        let longest = Duration::from_nanos(histogram.max());
        assert!(
            longest >= LATENCY_MAX && longest < Duration::from_secs(61),
            "{longest:?}"
        );
    }

    #[test]
    fn the_busiest_thread_is_the_one_that_wanted_a_core_longest() {
        let of = |threads: &[(&str, u64, u64)]| {
            let all = threads.iter().map(|(number, ran, waited)| {
                let patience = Patience {
                    ran: Duration::from_millis(*ran),
                    waited: Duration::from_millis(*waited),
                    ..Patience::default()
                };
                (OsString::from(number), patience)
            });
            Threads(all.collect())
        };
        // One ended, and one began.
        let (sum, most) = of(&[("1", 900, 80), ("2", 50, 3), ("4", 7, 0)]).since(&of(&[
            ("1", 890, 10),
            ("2", 10, 0),
            ("3", 70, 0),
        ]));
        assert_eq!(sum.ran, Duration::from_millis(57));
        assert_eq!(most.ran, Duration::from_millis(10));
        assert_eq!(most.wanted(), Duration::from_millis(80));
    }

    #[test]
    fn cpu_time_grows_with_work_and_never_goes_negative() {
        let before = CpuTime::of_process();
        let mut sum = 0_u64;
        for _ in 0..1_000_000_000_u64 {
            sum = std::hint::black_box(sum.wrapping_add(1));
            if sum.is_multiple_of(1_000_000) && CpuTime::of_process() != before {
                break;
            }
        }
        let used = CpuTime::of_process().since(before);
        assert!(used.user + used.system > Duration::ZERO);
        assert_eq!(before.since(CpuTime::of_process()), CpuTime::default());
    }
}
