//! Resolves names with the system's resolver, on threads of its own: getaddrinfo(3) blocks, and may
//! block for long.

use crate::shard::lookup::{Lookup, Resolve, Resolved};
use crossbeam::channel::{Receiver, Sender, unbounded};
use std::io;
use std::net::ToSocketAddrs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// The most look-ups at once. Each name of an upstream has at most one under way per shard, so the queue
/// behind them is bounded by that.
const THREADS_MAX: usize = 4;

/// The system's resolver.
pub(crate) struct SystemResolver {
    /// Gone when nobody asks any more, and with it the threads: at once, or with their last look-up.
    lookups: Mutex<Option<Sender<Lookup>>>,
    waiting: Receiver<Lookup>,
    /// Threads there are, and those of them with nothing to do.
    threads: AtomicUsize,
    idle: Arc<AtomicUsize>,
}

impl SystemResolver {
    /// A resolver without threads; the first look-up starts one.
    pub(crate) fn new() -> SystemResolver {
        let (lookups, waiting) = unbounded();
        SystemResolver {
            lookups: Mutex::new(Some(lookups)),
            waiting,
            threads: AtomicUsize::new(0),
            idle: Arc::new(AtomicUsize::new(0)),
        }
    }

    fn lookups(&self) -> MutexGuard<'_, Option<Sender<Lookup>>> {
        // It is a single store that is locked.
        self.lookups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_thread(&self) -> io::Result<()> {
        let waiting = self.waiting.clone();
        let idle = self.idle.clone();
        thread::Builder::new()
            .name("ringpool-dns".into())
            .spawn(move || {
                loop {
                    idle.fetch_add(1, Ordering::Relaxed);
                    let lookup = waiting.recv();
                    idle.fetch_sub(1, Ordering::Relaxed);
                    match lookup {
                        Ok(lookup) => look_up(lookup),
                        // The engine is gone.
                        Err(_) => return,
                    }
                }
            })?;
        Ok(())
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, lookup: Lookup) {
        if self.idle.load(Ordering::Relaxed) == 0
            && self.threads.load(Ordering::Relaxed) < THREADS_MAX
        {
            match self.start_thread() {
                Ok(()) => {
                    self.threads.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) if self.threads.load(Ordering::Relaxed) == 0 => {
                    (lookup.deliver)(Resolved {
                        upstream: lookup.upstream,
                        result: Err(error),
                    });
                    return;
                }
                // Those that run will get to it.
                Err(_) => {}
            }
        }
        if let Some(lookups) = &*self.lookups() {
            // Cannot fail: this resolver holds a receiver as well.
            let _ = lookups.send(lookup);
        }
    }

    fn end(&self) {
        *self.lookups() = None;
    }
}

fn look_up(lookup: Lookup) {
    let result = (lookup.host.as_str(), lookup.port)
        .to_socket_addrs()
        .map(Iterator::collect);
    (lookup.deliver)(Resolved {
        upstream: lookup.upstream,
        result,
    });
}
