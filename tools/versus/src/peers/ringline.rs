//! ringline-http: an `H1Conn` for each caller, on one ringline worker. Its pool lends one connection at a
//! time, so that callers at once need connections of their own; and `HttpClient` is an `H1Conn` whose limits
//! cannot be set.

use super::ringpool::UPLOAD;
use super::{Peer, expect, refuses_tokio};
use crate::caller::{Caller, Callers};
use crate::certificate::{self, NAME};
use crate::cli::ClientOptions;
use crate::measure::Outcome;
use crate::scenario::{LARGE, Scenario, Transport};
use ringline::{AsyncEventHandler, ConfigBuilder, ConnCtx, RinglineBuilder, TlsClientConfig};
use ringline_http::{H1Conn, HttpError};
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

pub(super) const PEER: Peer = Peer {
    name: "ringline-http",
    about: "a connection for each caller, no pool",
    refuses,
    run,
};

/// What its worker, which it makes itself, is to do; and what came of it.
static OPTIONS: OnceLock<ClientOptions> = OnceLock::new();
static OUTCOME: Mutex<Option<Result<Outcome, String>>> = Mutex::new(None);

fn refuses(scenario: &Scenario) -> Option<String> {
    let unix = scenario.transport == Transport::Unix;
    refuses_tokio(scenario).or_else(|| unix.then(|| "connects to IP addresses only".to_owned()))
}

fn run(options: &ClientOptions) -> Result<Outcome, String> {
    let scenario = options.scenario;
    let tasks = (2 * scenario.callers).next_power_of_two().max(256) as u32;
    let mut config = ConfigBuilder::new()
        .workers(1)
        // The process is pinned already.
        .pin_to_core(false)
        .sq_entries(tasks.max(256))
        .standalone_task_capacity(tasks)
        .timer_slots(tasks)
        // A whole request has to fit a slot.
        .send_pool(1024, (scenario.work.request_body() + (16 << 10)) as u32);
    if scenario.transport == Transport::Tls {
        let tls = certificate::client_config(&options.authority, true)?;
        config = config.tls_client(TlsClientConfig::new(Arc::new(tls)));
    }
    let config = config.build().map_err(|why| why.to_string())?;
    OPTIONS.set(options.clone()).map_err(|_| "it ran before")?;
    let launched = RinglineBuilder::new(config).launch::<Client>();
    let (_shutdown, workers) = launched.map_err(|why| why.to_string())?;
    for worker in workers {
        let ended = worker.join().map_err(|_| "its worker panicked")?;
        ended.map_err(|why| why.to_string())?;
    }
    let outcome = OUTCOME
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    outcome.ok_or("its worker ended early")?
}

struct Client;

impl AsyncEventHandler for Client {
    fn create_for_worker(_: usize) -> Client {
        Client
    }

    fn on_accept(&self, _: ConnCtx) -> impl Future<Output = ()> + 'static {
        ready(())
    }

    fn on_start(&self) -> Option<Pin<Box<dyn Future<Output = ()> + 'static>>> {
        let options = OPTIONS.get()?;
        Some(Box::pin(async {
            let outcome = drive(options).await;
            *OUTCOME.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
            // Fails only outside of a worker.
            let _ = ringline::request_shutdown();
        }))
    }
}

async fn drive(options: &'static ClientOptions) -> Result<Outcome, String> {
    let scenario = options.scenario;
    let mut idle = Vec::with_capacity(scenario.idle);
    for _ in 0..scenario.idle {
        idle.push(connect(options).await.map_err(|why| why.to_string())?);
    }
    let callers = Callers::begin(scenario, options.seconds);
    let (running, mut all_ended) = mpsc::channel::<()>(1);
    for _ in 0..scenario.callers {
        let running = running.clone();
        let caller = Ringline {
            options,
            connection: None,
        };
        let spawned = ringline::spawn(async move {
            callers.run(caller).await;
            drop(running);
        });
        spawned.map_err(|why| why.to_string())?;
    }
    drop(running);
    all_ended.recv().await;
    callers.outcome()
}

async fn connect(options: &ClientOptions) -> Result<H1Conn, HttpError> {
    let mut connection = match options.scenario.transport {
        Transport::Tls => H1Conn::connect_tls(options.tls, NAME).await?,
        Transport::Tcp | Transport::Unix => H1Conn::connect_plain(options.tcp, NAME).await?,
    };
    // Of 64 KiB by default, which it compares with whatever has come, body and all (0.6.0).
    connection.set_max_header_section(2 * LARGE);
    Ok(connection)
}

struct Ringline {
    options: &'static ClientOptions,
    connection: Option<H1Conn>,
}

impl Caller for Ringline {
    async fn call(&mut self) -> Result<(), String> {
        let scenario = self.options.scenario;
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(self.options).await.map_err(|why| why.to_string())?,
        };
        let (work, upload) = (scenario.work, &UPLOAD[..scenario.work.request_body()]);
        let body = (!upload.is_empty()).then_some(upload);
        let sent = connection.send_request(work.method(), work.path(), &[], body);
        let response = sent.await.map_err(|why| why.to_string())?;
        if connection.peer_will_close() {
            connection.close();
        } else {
            self.connection = Some(connection);
        }
        expect(scenario, response.status(), response.body().len())
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> {
        ringline::sleep(time)
    }
}
