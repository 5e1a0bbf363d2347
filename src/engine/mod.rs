//! The whole: shards, the upstreams that they share, and how a call finds its shard.
//!
//! Owns: what is made once, at start. Never: stands on the path of a call that a shard makes itself.

mod access;
pub(crate) mod alarms;
pub(crate) mod cores;
mod ends;
mod identity;

mod reconfigure;
pub(crate) mod registry;
pub(crate) mod resolver;
pub(crate) mod restart;
pub(crate) mod standing;
pub(crate) mod threads;
pub(crate) mod told;
pub(crate) mod watch;

#[cfg(test)]
mod tests;

use crate::audit::Trail;
use crate::config::{Config, UpstreamConfig, UpstreamUrl};
use crate::driver::Driver;
use crate::error::{Error, ErrorKind};
use crate::lifecycle::LifecycleSubscriber;
use crate::pool::{Counter, Permits};
use crate::random::Random;
use crate::shard::Parts;
use crate::shard::core::CoreSettings;
use crate::shard::desk::Desk;
use crate::shard::figures::Tally;
use crate::shard::local::{Directory, named};
use crate::shard::lookup::Resolver;
use crate::shard::mailbox::{Control, Errand, Gate, Mailbox, Work};
use crate::shard::sharing::movable::Movable;
use crate::shard::upstream::{UpstreamId, UpstreamShared, quota};
use crate::time::clock::Clock;
use crate::tls::TicketStore;
use alarms::Alarms;
use registry::Registry;
use standing::Standing;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use told::Told;

/// What every handle and every shard of an engine refers to.
pub(crate) struct EngineShared<D: Driver> {
    pub(crate) config: Config,
    pub(crate) mailboxes: Arc<[Arc<Mailbox<D>>]>,
    /// The named upstreams.
    pub(crate) directory: Directory,
    /// Those made on the fly.
    registry: Registry,
    /// All connections.
    connections: Arc<Counter>,
    /// Those of them that no upstream has reserved for itself.
    unreserved: Arc<Counter>,
    /// One reconfiguration at a time: every shard learns of them in the same order.
    reconfiguring: Mutex<()>,
    tickets: TicketStore,
    /// Where connections are told of, if anywhere.
    pub(crate) trail: Option<Arc<Trail>>,
    /// Who is told what happens to them, if anybody.
    pub(crate) subscriber: Option<Arc<dyn LifecycleSubscriber>>,
    next_id: AtomicU64,
    choices: AtomicU64,
    clock: Clock,
    resolver: Resolver,
    /// The shards' reports of a drain.
    desk: Arc<Desk>,
    /// Tasks that run on every shard.
    pub(crate) standing: Standing<D>,
    /// What each shard told of its figures last.
    pub(crate) told: Told,
    /// For those who wait for figures.
    pub(crate) alarms: Alarms,
    /// No shard is started again.
    stopping: AtomicBool,
}

impl<D: Driver> EngineShared<D> {
    /// Checks the configuration and makes everything but the shards. Tickets are kept in `tickets`,
    /// which also says where TLS takes its keys and the time from.
    ///
    /// # Errors
    /// What is wrong with the configuration, files it names included.
    pub(crate) fn new(
        config: Config,
        shards: usize,
        clock: Clock,
        resolver: Resolver,
        tickets: TicketStore,
    ) -> Result<EngineShared<D>, Error> {
        config.validate()?;
        let mailboxes = (0..shards)
            .map(|index| Arc::new(Mailbox::new(index, config.mailbox_max)))
            .collect();
        let mut shared = EngineShared {
            mailboxes,
            directory: Directory::default(),
            registry: Registry::new(config.upstreams_max),
            connections: Arc::new(Counter::new(config.connections_max)),
            unreserved: Arc::new(Counter::new(
                config.connections_max - reserved(config.upstreams.values()),
            )),
            reconfiguring: Mutex::default(),
            tickets,
            trail: None,
            subscriber: None,
            next_id: AtomicU64::new(1),
            choices: AtomicU64::new(0),
            told: Told::new(shards),
            alarms: Alarms::new(clock.clone()),
            clock,
            resolver: access::judged(&config.access, resolver),
            desk: Arc::new(Desk::new(shards)),
            standing: Standing::default(),
            stopping: AtomicBool::new(false),
            config,
        };
        let named: Result<_, Error> = shared
            .config
            .upstreams
            .iter()
            .map(|(name, settings)| {
                let name: Arc<str> = name.as_str().into();
                let upstream = shared.make_upstream(name.clone(), settings.clone())?;
                Ok((name, upstream))
            })
            .collect();
        shared.directory = Arc::new(named?);
        for upstream in shared.directory.values() {
            shared.warm(upstream);
        }
        Ok(shared)
    }

    /// What shard `index` is made of.
    pub(crate) fn parts(&self, index: usize, driver: D) -> Parts<D> {
        let config = &self.config;
        let per_connection = u32::from(config.receive_buffers_per_connection);
        Parts {
            driver,
            clock: self.clock.clone(),
            index,
            seed: index as u64 + 1,
            settings: CoreSettings {
                buffers_per_connection: per_connection,
                unread_max: per_connection as usize * config.receive_buffer_size as usize,
                buffers_low: (u32::from(config.receive_buffers) / 8).max(1),
            },
            resolver: self.resolver.clone(),
            directory: self.directory.clone(),
            mailboxes: self.mailboxes.clone(),
            desk: self.desk.clone(),
            tally: Tally::default(),
            trail: self.trail.clone(),
            subscriber: self.subscriber.clone(),
        }
    }

    /// A named upstream.
    ///
    /// # Errors
    /// As [`named`].
    pub(crate) fn named(&self, name: &str) -> Result<Arc<UpstreamShared>, Error> {
        named(&self.directory, name)
    }

    /// All upstreams that there are, by id.
    pub(crate) fn upstreams(&self) -> BTreeMap<UpstreamId, Arc<UpstreamShared>> {
        let named = self.directory.values().cloned();
        let all = named.chain(self.registry.all());
        all.map(|upstream| (upstream.id, upstream)).collect()
    }

    /// The upstream of an absolute URL, made now if there is none yet; in use until the guard that
    /// `begin` makes of it is dropped.
    ///
    /// # Errors
    /// [`Forbidden`](ErrorKind::Forbidden) if the engine may not connect there; [`Refused`](ErrorKind::Refused) if
    /// there are too many and all are in use.
    pub(crate) fn by_url<G>(
        &self,
        url: &UpstreamUrl,
        begin: impl Fn(&Arc<UpstreamShared>) -> G,
    ) -> Result<(Arc<UpstreamShared>, G), Error> {
        if let Some(found) = self.registry.find(url, &begin) {
            return Ok(found);
        }
        // Away from the registry's lock: it may read a file.
        let settings = UpstreamConfig {
            url: url.clone(),
            ..self.config.defaults.clone()
        };
        let judged = self.config.access.judge_url(url);
        judged.map_err(|denied| Error::new(ErrorKind::Forbidden, denied.to_string()))?;
        identity::check_name(&settings)?;
        let made = self.make_upstream(url.to_string().into(), settings)?;
        let (upstream, guard, given_up) = self.registry.find_or_add(url, made, &begin)?;
        if let Some(id) = given_up {
            for mailbox in self.mailboxes.iter() {
                mailbox.control(Control::Forget(id));
            }
        }
        Ok((upstream, guard))
    }

    /// The shard for a call from outside: one of the upstream's homes.
    pub(crate) fn shard_for(&self, upstream: &UpstreamShared) -> usize {
        let random = || Random::new(self.choices.fetch_add(1, Ordering::Relaxed));
        let home = upstream.homes.pick(random, |home| {
            self.is_up(home).then(|| self.mailboxes[home].depth())
        });
        home.unwrap_or_else(|| self.instead_of_homes(upstream))
    }

    /// Where calls go while a home of theirs is lost: to one that is up, of the others by preference, and
    /// if none is to the preferred one, to wait for it.
    fn instead_of_homes(&self, upstream: &UpstreamShared) -> usize {
        let homes = &upstream.homes;
        let up = |shard: &usize| self.is_up(*shard);
        let order = || homes.order().iter().copied().filter(up);
        let left: Vec<usize> = order().filter(|&shard| homes.contains(shard)).collect();
        let next = self.choices.fetch_add(1, Ordering::Relaxed);
        match left.as_slice() {
            [] => order().next().unwrap_or(homes.first()),
            left => left[next as usize % left.len()],
        }
    }

    fn is_up(&self, shard: usize) -> bool {
        match self.mailboxes[shard].gate() {
            Gate::Open | Gate::Draining => true,
            Gate::Lost | Gate::Closed => false,
        }
    }

    /// Queues work on a shard.
    ///
    /// # Errors
    /// See [`Mailbox::submit`].
    pub(crate) fn submit(&self, shard: usize, errand: Errand<D>) -> Result<(), Error> {
        self.mailboxes[shard].submit(Work::Run(errand))
    }

    /// Queues a call on a shard.
    ///
    /// # Errors
    /// See [`Mailbox::submit`].
    pub(crate) fn submit_call(&self, shard: usize, call: Movable) -> Result<(), Error> {
        self.mailboxes[shard].submit(Work::Call(Box::new(call)))
    }

    /// Tells every shard to end.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        for mailbox in self.mailboxes.iter() {
            mailbox.control(Control::Stop);
        }
    }

    fn warm(&self, upstream: &Arc<UpstreamShared>) {
        for (shard, mailbox) in self.mailboxes.iter().enumerate() {
            if upstream.warm_on(shard, &upstream.settings()) > 0 {
                mailbox.control(Control::Warm(upstream.clone()));
            }
        }
    }

    fn make_upstream(
        &self,
        name: Arc<str>,
        settings: UpstreamConfig,
    ) -> Result<Arc<UpstreamShared>, Error> {
        let tls = self.client_tls(&name, &settings)?;
        let id = UpstreamId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let shards = self.mailboxes.len();
        let (all, unreserved) = (self.connections.clone(), self.unreserved.clone());
        let permits = Permits::with_quota(all, unreserved, quota(&settings));
        let upstream = UpstreamShared::new(id, name, settings, tls, permits, shards);
        Ok(Arc::new(upstream))
    }
}

/// How many connections these upstreams have reserved for themselves. A valid configuration has no
/// more than the engine's cap.
fn reserved<'a>(upstreams: impl IntoIterator<Item = &'a UpstreamConfig>) -> u32 {
    let each = upstreams.into_iter();
    each.map(|upstream| upstream.connections_reserved).sum()
}
