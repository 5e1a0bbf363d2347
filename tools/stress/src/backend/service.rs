//! How requests are served: how long an answer takes, what goes wrong, and what all connections share.
//!
//! Owns: what one thread of the backend knows. Never: reads or writes a socket.

use std::cell::RefCell;
use std::io;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use rustls::ServerConfig;

use super::faults::{Faults, Struck};
use super::naps::Naps;
use super::nonces::Nonces;
use super::trouble::{self, Epoch};
use crate::chance::Chance;
use crate::cli::ServeOptions;
use crate::words::Spread;

/// What all threads know.
#[derive(Clone)]
pub(super) struct Terms {
    /// Time that an answer takes.
    time: Spread,
    pub(super) handshake_delay: Duration,
    pub(super) body: u64,
    pub(super) tls: Arc<ServerConfig>,
    /// Connections open in the whole process.
    pub(super) open: Arc<AtomicUsize>,
    pub(super) connections_max: usize,
    /// Whether other threads listen at the same addresses.
    pub(super) shared_ports: bool,
    pub(super) nonces: Arc<Nonces>,
    pub(super) faults: Arc<Faults>,
    pub(super) epoch: Epoch,
    seed: u64,
}

/// What every connection of one thread needs to know: the terms, and what is the thread's own.
pub(super) struct Service {
    terms: Terms,
    pub(super) chance: RefCell<Chance>,
    naps: Naps,
}

impl Terms {
    pub(super) fn new(options: &ServeOptions, tls: Arc<ServerConfig>, epoch: Epoch) -> Self {
        let fixed = Spread::Fixed(options.delay.as_secs_f64());
        Self {
            time: options.service.unwrap_or(fixed),
            handshake_delay: options.handshake_delay,
            body: options.body,
            tls,
            open: Arc::default(),
            connections_max: options.connections_max,
            shared_ports: options.threads > 1,
            nonces: Arc::default(),
            faults: Arc::new(Faults::new(options.fault.clone())),
            epoch,
            seed: options.seed,
        }
    }
}

impl Deref for Service {
    type Target = Terms;

    fn deref(&self) -> &Terms {
        &self.terms
    }
}

impl Service {
    /// Within the runtime of the thread with this number, which has random numbers and a timer of its own.
    pub(super) fn start(terms: Terms, thread: usize) -> io::Result<Self> {
        Ok(Self {
            chance: RefCell::new(Chance::stream(terms.seed, thread as u64)),
            naps: Naps::start()?,
            terms,
        })
    }

    /// What the windows of faults go by.
    pub(super) fn now(&self) -> Duration {
        Instant::now().saturating_duration_since(*self.epoch.borrow())
    }

    /// What strikes the request that has just been read.
    pub(super) fn strike(&self) -> Option<Struck> {
        if self.faults.is_empty() {
            return None;
        }
        self.faults
            .on_request(self.now(), &mut self.chance.borrow_mut())
    }

    /// How long its answer takes.
    pub(super) fn takes(&self, struck: Option<Struck>) -> Duration {
        if self.time.is_zero() && struck.is_none() {
            return Duration::ZERO;
        }
        let time = self.time.draw_duration(&mut self.chance.borrow_mut());
        match struck {
            None => time,
            Some(_) => time + trouble::stall(struck, self.now()),
        }
    }

    pub(super) async fn nap(&self, time: Duration) {
        self.naps.nap(time).await;
    }
}
