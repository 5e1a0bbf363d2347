//! A client's certificate replaced again and again, under calls from anywhere and on the shards.
//!
//! Owns the engine of such a run, its callers, and when each replacement was. It must never judge.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ringpool::config::{ClientCertificate, Config, Pem, UpstreamConfig};
use ringpool::{Engine, block_on};

use super::caller::{Job, Starts};
use super::course::Course;
use super::pace::Pace;
use super::{UPSTREAM, anywhere, on_shard, reach, refused, upstream_at, wait};
use crate::arrivals::Timetable;
use crate::certificates::{ClientAuthority, Credentials};
use crate::interrupt::Interrupt;
use crate::load::DriveError;
use crate::progress::Progress;

/// From anywhere, and as many on the shards.
const CALLERS: usize = 8;
/// Of all of them, a second.
const RATE: f64 = 2000.0;

/// One run.
#[derive(Clone, Copy)]
pub(crate) struct Rotating<'a> {
    pub(crate) url: &'a str,
    /// Who signs the server's certificate, in PEM.
    pub(crate) ca: &'a [u8],
    /// Who signs ours.
    pub(crate) clients: &'a ClientAuthority,
    pub(crate) shards: usize,
    /// So many, all warm.
    pub(crate) connections: u32,
    pub(crate) drain_timeout: Duration,
    pub(crate) rotations: usize,
    /// From one to the next.
    pub(crate) every: Duration,
    pub(crate) by: By<'a>,
}

/// How a certificate is replaced.
#[derive(Clone, Copy)]
pub(crate) enum By<'a> {
    /// `Engine::reconfigure`, with settings that hold it.
    Settings,
    /// Files in this directory, and `Engine::reload`.
    Files(&'a Path),
}

/// One replacement. Times count from the epoch: the server's are compared with them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Replaced {
    /// The serial number from now on; the one before was one less.
    pub(crate) serial: u64,
    /// When it was asked for.
    pub(crate) begun: Duration,
    /// When every shard went by it.
    pub(crate) done: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rotated {
    pub(crate) replaced: Vec<Replaced>,
    pub(crate) answered: u64,
    pub(crate) failed: BTreeMap<&'static str, u64>,
    pub(crate) handshakes_full: u64,
    pub(crate) handshakes_resumed: u64,
}

/// Carries it out. The first certificate has serial number 1.
pub(crate) fn rotate(
    plan: &Rotating<'_>,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<Rotated, DriveError> {
    let config = Config {
        shards: plan.shards,
        ..Config::with_upstream(UPSTREAM, plan.settings(1)?)
    };
    let engine = Engine::start(config).map_err(refused)?;
    reach(&engine, interrupt)?;
    let course = Arc::new(Course::default());
    let pace = Pace::start(Timetable::steady(RATE), Instant::now(), &course)
        .map_err(DriveError::broken)?;
    let starts = Starts::Paced(pace.starts());
    let interval = crate::series::interval(plan.every * plan.rotations as u32);
    let job = Job::gets("/", starts, Arc::clone(&course), interval, progress.clone());
    let outside = anywhere::start(&engine, CALLERS, &job)?;
    let on_shards = on_shard::start(&engine, CALLERS, &job);
    let begun = Instant::now();
    course.open(begun);
    let replaced = replace_all(plan, &engine, begun, interrupt);
    course.close(Instant::now(), interrupt.requested());
    let missed = pace.end();
    let mut tally = on_shard::join(on_shards, &job)?;
    tally.add(anywhere::join(outside)?);
    tally.not_started(missed, Instant::now(), &job);
    let seen = super::snapshot(&engine)?;
    Ok(Rotated {
        replaced: replaced?,
        answered: tally.ok,
        failed: tally.failed,
        handshakes_full: seen.handshakes_full,
        handshakes_resumed: seen.handshakes_resumed,
    })
}

/// One replacement after the other, at fixed times; returns when the last has had its time, too.
fn replace_all(
    plan: &Rotating<'_>,
    engine: &Engine,
    begun: Instant,
    interrupt: &Interrupt,
) -> Result<Vec<Replaced>, DriveError> {
    let mut replaced = Vec::new();
    for (nth, serial) in (2..).take(plan.rotations).enumerate() {
        let due = plan.every * (nth as u32 + 1);
        wait(due.saturating_sub(begun.elapsed()), interrupt);
        if interrupt.requested() {
            break;
        }
        let settings = plan.settings(serial)?;
        let begun = now()?;
        match plan.by {
            By::Settings => block_on(engine.reconfigure(UPSTREAM, settings)),
            By::Files(_) => block_on(engine.reload(UPSTREAM)),
        }
        .map_err(DriveError::broken)?;
        replaced.push(Replaced {
            serial,
            begun,
            done: now()?,
        });
    }
    wait(plan.every, interrupt);
    Ok(replaced)
}

impl Rotating<'_> {
    /// With the certificate of this serial number. If it is in files, they are in place then.
    fn settings(&self, serial: u64) -> Result<UpstreamConfig, DriveError> {
        let made = self.clients.sign(serial).map_err(DriveError::broken)?;
        let certificate = match self.by {
            By::Settings => ClientCertificate {
                chain: Pem::Pem(made.certificate),
                key: Pem::Pem(made.key),
            },
            By::Files(directory) => {
                let path = put(directory, &made).map_err(DriveError::broken)?;
                ClientCertificate {
                    chain: Pem::PemFile(path.clone()),
                    key: Pem::PemFile(path),
                }
            }
        };
        let mut settings = UpstreamConfig {
            drain_timeout: self.drain_timeout,
            connections_max: self.connections,
            idle_min: self.connections,
            ..upstream_at(self.url, Some(self.ca))?
        };
        settings.tls.client_certificate = Some(certificate);
        Ok(settings)
    }
}

/// Puts certificate and key in place at once, in one file.
fn put(directory: &Path, made: &Credentials) -> std::io::Result<PathBuf> {
    let (new, path) = (directory.join("client.new"), directory.join("client.pem"));
    fs::write(&new, format!("{}{}", made.certificate, made.key))?;
    fs::rename(new, &path)?;
    Ok(path)
}

fn now() -> Result<Duration, DriveError> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_err(DriveError::broken)
}
