//! An engine in the making.

use super::engine::Engine;
use crate::audit::{AuditFile, AuditSink, AuditWriter, Trail};
use crate::config::Config;
use crate::engine::resolver::SystemResolver;
use crate::engine::{EngineShared, cores};
use crate::error::{Error, ErrorKind};
use crate::lifecycle::LifecycleSubscriber;
use crate::time::clock::Clock;
use crate::tls::TicketStore;
use std::fmt;
use std::sync::Arc;

/// What an engine is started with: its configuration, and what cannot be written in one. See [`Engine::builder`].
pub struct EngineBuilder {
    config: Config,
    sinks: Vec<Box<dyn AuditSink>>,
    subscriber: Option<Arc<dyn LifecycleSubscriber>>,
}

impl EngineBuilder {
    pub(super) fn new(config: Config) -> EngineBuilder {
        EngineBuilder {
            config,
            sinks: Vec::new(),
            subscriber: None,
        }
    }

    /// Has audit events given to `sink`, beside the file that `audit` in the configuration may name, and beside other sinks. They come
    /// on one thread, in the order in which they were told; stopping the engine waits until all are recorded.
    pub fn audit_sink(mut self, sink: impl AuditSink) -> EngineBuilder {
        self.sinks.push(Box::new(sink));
        self
    }

    /// Has `subscriber` told of every connection that is opened, leased, given back, stolen, retired and closed, by the shards' own
    /// threads at the moment when it happens: see [`LifecycleSubscriber`] for what it may do. Without one a connection costs a
    /// comparison where it is leased and where it is given back. There is one at most: the last one that was named.
    pub fn lifecycle(mut self, subscriber: impl LifecycleSubscriber) -> EngineBuilder {
        self.subscriber = Some(Arc::new(subscriber));
        self
    }

    /// Starts the engine.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub fn start(self) -> Result<Engine, Error> {
        let EngineBuilder {
            config,
            mut sinks,
            subscriber,
        } = self;
        config.validate()?;
        if let Some(path) = &config.audit.file {
            let file = AuditFile::open(path).map_err(|error| {
                let what = format!("audit.file {} cannot be written: {error}", path.display());
                Error::new(ErrorKind::Config, what).caused_by(error)
            })?;
            sinks.push(Box::new(file));
        }
        let shards = cores::shards(&config);
        let (room, clock) = (config.audit.queue_max, Clock::system());
        let resolver = Arc::new(SystemResolver::new());
        let tickets = TicketStore::new();
        let mut shared = EngineShared::new(config, shards, clock.clone(), resolver, tickets)?;
        shared.subscriber = subscriber;
        if sinks.is_empty() {
            return Engine::of(Arc::new(shared), None);
        }
        let trail = Arc::new(Trail::new(room));
        shared.trail = Some(trail.clone());
        let writer = AuditWriter::start(trail, clock, sinks).map_err(|error| {
            let what = format!("cannot start a thread: {error}");
            Error::new(ErrorKind::Unsupported, what).caused_by(error)
        })?;
        Engine::of(Arc::new(shared), Some(writer))
    }
}

impl fmt::Debug for EngineBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineBuilder")
            .field("config", &self.config)
            .field("sinks", &self.sinks.len())
            .field("lifecycle", &self.subscriber.is_some())
            .finish()
    }
}
