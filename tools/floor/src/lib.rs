//! The floor: HTTP requests in a bare io_uring loop.
//!
//! Owns: a ring for each thread, some connections, one request that is sent over and over. Never: parses, pools,
//! schedules, shares or allocates while it runs. Each connection sends the request, counts bytes until the
//! response must be complete, and sends it again: what this costs, the kernel costs, and no client
//! built on the same calls can cost less. The yardstick for everything that does more.

mod compare;
mod exchange;
mod memory;
mod registered;
mod ring;
mod timing;
mod variant;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::panic::resume_unwind;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use ring::Loop;
use timing::Timing;

pub use compare::{Comparison, Row, compare};
pub use variant::{Memory, NAMES, Names, Receive, Send, Variant, Wait};

/// What to run.
#[derive(Clone, Debug)]
pub struct FloorRun {
    /// The server.
    pub address: SocketAddr,
    /// Connections of each thread, each with one request in flight at all times.
    pub connections: usize,
    /// One whole request, as bytes.
    pub request: Vec<u8>,
    /// Bytes of each response, head and body. `None`: learned from a first exchange, which must have
    /// a Content-Length. All responses must be equally long.
    pub response_len: Option<usize>,
    /// How long to run before anything counts.
    pub warmup: Duration,
    /// When to stop.
    pub until: Until,
    /// The core to pin the thread to for the run; of several threads the first, the others to those that follow. It
    /// stays pinned.
    pub core: Option<usize>,
    /// How to use the ring.
    pub variant: Variant,
}

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// After this time, looked at about every thousand requests.
    Elapsed(Duration),
    /// After this many requests.
    Requests(u64),
}

/// What a run took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FloorReport {
    /// Responses received whole.
    pub requests: u64,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// This thread's user time in microseconds, as the kernel samples it.
    pub cpu_user_us: u64,
    /// This thread's system time in microseconds.
    pub cpu_system_us: u64,
    /// `io_uring_enter` calls.
    pub enters: u64,
}

impl FloorReport {
    /// The figures of threads that ran side by side, as one.
    pub fn sum(reports: &[FloorReport]) -> FloorReport {
        let sum = |figure: fn(&FloorReport) -> u64| reports.iter().map(figure).sum();
        FloorReport {
            requests: sum(|one| one.requests),
            seconds: reports.iter().map(|one| one.seconds).fold(0.0, f64::max),
            cpu_user_us: sum(|one| one.cpu_user_us),
            cpu_system_us: sum(|one| one.cpu_system_us),
            enters: sum(|one| one.enters),
        }
    }
}

/// Runs on the calling thread until done.
///
/// # Errors
/// If the server cannot be reached, closes a connection, or sends more than one response for a
/// request; or if io_uring refuses.
pub fn run(run: FloorRun) -> io::Result<FloorReport> {
    run_observed(run, 0, |_| {})
}

/// As [`run`]; beside that one request in `every` is timed, from when it is queued until its response is complete,
/// and told to `observe`, which costs two readings of the clock and whatever it does. 0: none.
///
/// # Errors
/// As there.
pub fn run_observed(
    run: FloorRun,
    every: u64,
    mut observe: impl FnMut(Duration),
) -> io::Result<FloorReport> {
    Prepared::new(run)?.run(every, &mut observe)
}

/// Runs on so many threads at once, each with a ring and connections of its own, and reports each. They begin
/// together, when all are connected, and share nothing.
///
/// # Errors
/// The first of theirs, as [`run`] has them.
pub fn run_on_threads(plan: &FloorRun, threads: usize) -> io::Result<Vec<FloorReport>> {
    let all_connected = Barrier::new(threads);
    let one = |nth: usize| {
        let mut plan = plan.clone();
        plan.core = plan.core.map(|first| first + nth);
        let prepared = Prepared::new(plan);
        // Whoever failed comes as well: the others wait for it.
        all_connected.wait();
        prepared?.run(0, &mut |_| {})
    };
    thread::scope(|scope| {
        let one = &one;
        let running: Vec<_> = (0..threads)
            .map(|nth| scope.spawn(move || one(nth)))
            .collect();
        let ended = running.into_iter().map(|thread| thread.join());
        ended
            .map(|report| report.unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

/// A run whose connections are up.
struct Prepared {
    run: FloorRun,
    ring: Loop,
    // Behind the loop, so that they outlive what is in flight there.
    _sockets: Vec<TcpStream>,
}

impl Prepared {
    fn new(run: FloorRun) -> io::Result<Prepared> {
        if run.connections == 0 || run.request.is_empty() {
            let complaint = "at least one connection and one byte of request";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, complaint));
        }
        if let Some(core) = run.core {
            pin(core)?;
        }
        let response_len = match run.response_len {
            Some(len) => len,
            None => exchange::response_len(run.address, &run.request)?,
        };
        let sockets = (0..run.connections).map(|_| {
            let socket = TcpStream::connect(run.address)?;
            socket.set_nodelay(true)?;
            Ok(socket)
        });
        let sockets = sockets.collect::<io::Result<Vec<TcpStream>>>()?;
        let descriptors = sockets.iter().map(|socket| socket.as_raw_fd()).collect();
        let ring = Loop::new(descriptors, run.request.clone(), response_len, run.variant)?;
        Ok(Prepared {
            run,
            ring,
            _sockets: sockets,
        })
    }

    fn run(mut self, every: u64, observe: &mut dyn FnMut(Duration)) -> io::Result<FloorReport> {
        self.ring.begin();
        let connections = self.run.connections;
        if !self.run.warmup.is_zero() {
            let warm = Until::Elapsed(self.run.warmup);
            let mut unseen = |_| {};
            let mut timing = Timing::new(0, connections, &mut unseen);
            self.ring.run(warm, Instant::now(), &mut timing)?;
        }
        let mut timing = Timing::new(every, connections, observe);
        let (before, enters) = (usage()?, self.ring.enters());
        let begin = Instant::now();
        let requests = self.ring.run(self.run.until, begin, &mut timing)?;
        let seconds = begin.elapsed().as_secs_f64();
        let after = usage()?;
        Ok(FloorReport {
            requests,
            seconds,
            cpu_user_us: after.0 - before.0,
            cpu_system_us: after.1 - before.1,
            enters: self.ring.enters() - enters,
        })
    }
}

/// User and system time of this thread in microseconds.
fn usage() -> io::Result<(u64, u64)> {
    // SAFETY: all zeroes is a valid `rusage`, and the call fills it in.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        if libc::getrusage(libc::RUSAGE_THREAD, &mut usage) != 0 {
            return Err(io::Error::last_os_error());
        }
        usage
    };
    let micros = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    Ok((micros(usage.ru_utime), micros(usage.ru_stime)))
}

fn pin(core: usize) -> io::Result<()> {
    if core >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no such core"));
    }
    // SAFETY: all zeroes is an empty set, `core` is within it, and the call reads it.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    /// Answers each request on each connection with `response`.
    fn serve(response: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = socket.unwrap();
                std::thread::spawn(move || {
                    let mut request = [0; REQUEST.len()];
                    while socket.read_exact(&mut request).is_ok() {
                        if socket.write_all(response).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        address
    }

    fn plan(address: SocketAddr, variant: Variant) -> FloorRun {
        FloorRun {
            address,
            connections: 8,
            request: REQUEST.to_vec(),
            response_len: None,
            warmup: Duration::ZERO,
            until: Until::Requests(1_000),
            core: None,
            variant,
        }
    }

    #[test]
    fn every_variant_counts_whole_responses() {
        for (name, ..) in NAMES {
            let report = run(plan(serve(RESPONSE), name.parse().unwrap())).unwrap();
            assert!(
                (1_000..1_008).contains(&report.requests),
                "{name}: {report:?}"
            );
            assert!(report.enters > 0);
        }
    }

    #[test]
    fn every_variant_counts_large_responses_whole() {
        let body = "x".repeat(100_000);
        let response = format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{body}");
        let address = serve(response.into_bytes().leak());
        for (name, ..) in NAMES {
            let report = run(plan(address, name.parse().unwrap())).unwrap();
            assert!(
                (1_000..1_008).contains(&report.requests),
                "{name}: {report:?}"
            );
        }
    }

    #[test]
    fn some_requests_are_timed() {
        let mut timed = 0;
        let report = run_observed(plan(serve(RESPONSE), Variant::default()), 10, |latency| {
            assert!(!latency.is_zero());
            timed += 1;
        });
        let requests = report.unwrap().requests;
        // Those of the last turn are under way.
        assert!(
            (requests / 10 - 8..=requests / 10).contains(&timed),
            "{timed} of {requests}"
        );
    }

    #[test]
    fn threads_run_side_by_side_and_each_is_reported() {
        let mut plan = plan(serve(RESPONSE), Variant::default());
        plan.warmup = Duration::from_millis(1);
        let reports = run_on_threads(&plan, 2).unwrap();
        assert_eq!(reports.len(), 2);
        for report in reports {
            assert!((1_000..1_008).contains(&report.requests), "{report:?}");
        }
    }

    #[test]
    fn a_thread_that_cannot_begin_keeps_no_other_waiting() {
        let mut plan = plan(serve(RESPONSE), Variant::default());
        plan.core = Some(libc::CPU_SETSIZE as usize - 1);
        assert!(run_on_threads(&plan, 2).is_err());
    }

    #[test]
    fn a_response_that_is_too_long_ends_the_run() {
        let mut plan = plan(serve(RESPONSE), Variant::default());
        plan.response_len = Some(RESPONSE.len() - 1);
        assert_eq!(run(plan).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_plan_for_nothing_is_refused() {
        let mut plan = plan(SocketAddr::from(([127, 0, 0, 1], 1)), Variant::default());
        plan.connections = 0;
        assert_eq!(run(plan).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
