//! hyper-util's legacy client on a tokio current-thread runtime, with hyper-rustls for TLS.

use super::hyper_unix::UnixConnector;
use super::ringpool::UPLOAD;
use super::{Peer, expect, tokio_runtime};
use crate::caller::{Caller, Callers};
use crate::certificate::{self, NAME};
use crate::cli::ClientOptions;
use crate::measure::Outcome;
use crate::scenario::{Scenario, Transport};
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

pub(super) const PEER: Peer = Peer {
    name: "hyper-util",
    about: "the legacy pooled client on a tokio current-thread runtime",
    refuses: |_| None,
    run,
};

fn run(options: &ClientOptions) -> Result<Outcome, String> {
    match options.scenario.transport {
        Transport::Tcp => drive(options, tcp(), format!("http://{}", options.tcp)),
        Transport::Tls => {
            let config = certificate::client_config(&options.authority, false)?;
            let mut tcp = tcp();
            tcp.enforce_http(false);
            let https = HttpsConnectorBuilder::new()
                .with_tls_config(config)
                .https_only()
                .enable_http1()
                .wrap_connector(tcp);
            drive(
                options,
                https,
                format!("https://{NAME}:{}", options.tls.port()),
            )
        }
        Transport::Unix => {
            let path = Arc::new(options.unix.clone());
            drive(options, UnixConnector::new(path), format!("http://{NAME}"))
        }
    }
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp
}

fn drive<C>(options: &ClientOptions, connector: C, base: String) -> Result<Outcome, String>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let scenario = options.scenario;
    let uri = |path: &str| {
        format!("{base}{path}")
            .parse::<Uri>()
            .map_err(|why| why.to_string())
    };
    tokio_runtime::new()?.block_on(async {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(None)
            .pool_max_idle_per_host(usize::MAX)
            .build(connector);
        let caller = |scenario: &'static Scenario, uri: Uri| Hyper {
            scenario,
            client: client.clone(),
            uri,
        };
        if scenario.idle > 0 {
            // As many connections as requests that are held until all have come; then all idle.
            let connections = scenario.connections();
            let held = uri(&format!("/hold/{connections}"))?;
            let opening = (0..connections).map(|_| {
                let mut caller = caller(scenario, held.clone());
                async move {
                    // What fails here is missing where connections are counted.
                    let _ = caller.call().await;
                }
            });
            tokio_runtime::join(opening).await?;
        }
        let uri = uri(scenario.work.path())?;
        let callers = Callers::begin(scenario, options.seconds);
        let all = (0..scenario.callers).map(|_| callers.run(caller(scenario, uri.clone())));
        tokio_runtime::join(all).await?;
        callers.outcome()
    })
}

struct Hyper<C> {
    scenario: &'static Scenario,
    client: Client<C, Full<Bytes>>,
    uri: Uri,
}

impl<C: Connect + Clone + Send + Sync + 'static> Caller for Hyper<C> {
    async fn call(&mut self) -> Result<(), String> {
        let work = self.scenario.work;
        let request = Request::builder()
            .method(work.method())
            .uri(self.uri.clone());
        let body = Full::new(Bytes::from_static(&UPLOAD[..work.request_body()]));
        let request = request.body(body).map_err(|why| why.to_string())?;
        let called = self.client.request(request).await;
        let (head, mut frames) = called.map_err(chain)?.into_parts();
        let mut body = 0;
        while let Some(frame) = frames.frame().await {
            let frame = frame.map_err(chain)?;
            body += frame.data_ref().map_or(0, Bytes::len);
        }
        expect(self.scenario, head.status.as_u16(), body)
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> {
        tokio::time::sleep(time)
    }
}

/// An error with its causes.
fn chain(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
