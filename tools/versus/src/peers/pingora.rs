//! pingora-core's HTTP client on a tokio current-thread runtime.

use super::ringpool::UPLOAD;
use super::{Peer, expect, tokio_runtime};
use crate::caller::{Caller, Callers};
use crate::certificate::NAME;
use crate::cli::ClientOptions;
use crate::measure::Outcome;
use crate::scenario::{Scenario, Transport};
use bytes::Bytes;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::Connector;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::RequestHeader;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

pub(super) const PEER: Peer = Peer {
    name: "pingora",
    about: "pingora-core's HTTP client on a tokio current-thread runtime",
    refuses: |_| None,
    run,
};

fn run(options: &ClientOptions) -> Result<Outcome, String> {
    let scenario = options.scenario;
    let mut settings = ConnectorOptions::new(scenario.connections());
    settings.ca_file = Some(options.authority.to_string_lossy().into_owned());
    tokio_runtime::new()?.block_on(async {
        let connector = Arc::new(Connector::new(Some(settings)));
        let peer = Arc::new(peer(options)?);
        let caller = |path: &str| Pingora {
            scenario,
            connector: connector.clone(),
            peer: peer.clone(),
            path: path.into(),
        };
        if scenario.idle > 0 {
            // As many connections as requests that are held until all have come; then all idle.
            let connections = scenario.connections();
            let held = format!("/hold/{connections}");
            let opening = (0..connections).map(|_| {
                let mut caller = caller(&held);
                async move {
                    // What fails here is missing where connections are counted.
                    let _ = caller.call().await;
                }
            });
            tokio_runtime::join(opening).await?;
        }
        let callers = Callers::begin(scenario, options.seconds);
        let all = (0..scenario.callers).map(|_| callers.run(caller(scenario.work.path())));
        tokio_runtime::join(all).await?;
        callers.outcome()
    })
}

fn peer(options: &ClientOptions) -> Result<HttpPeer, String> {
    let mut peer = match options.scenario.transport {
        Transport::Tcp => HttpPeer::new(options.tcp, false, String::new()),
        Transport::Tls => HttpPeer::new(options.tls, true, NAME.to_owned()),
        Transport::Unix => {
            let path = options.unix.to_string_lossy();
            HttpPeer::new_uds(&path, false, String::new()).map_err(|why| why.to_string())?
        }
    };
    peer.options.set_http_version(1, 1);
    Ok(peer)
}

struct Pingora {
    scenario: &'static Scenario,
    connector: Arc<Connector>,
    peer: Arc<HttpPeer>,
    path: Arc<str>,
}

impl Pingora {
    async fn exchange(&self) -> pingora_core::Result<(u16, usize)> {
        let work = self.scenario.work;
        let (mut session, _reused) = self.connector.get_http_session(&*self.peer).await?;
        let path = self.path.as_bytes();
        let mut head = RequestHeader::build_no_case(work.method(), path, Some(2))?;
        head.insert_header("Host", NAME)?;
        let upload = work.request_body();
        if upload > 0 {
            head.insert_header("Content-Length", upload)?;
        }
        session.write_request_header(Box::new(head)).await?;
        if upload > 0 {
            let body = Bytes::from_static(&UPLOAD[..upload]);
            session.write_request_body(body, true).await?;
        }
        session.finish_request_body().await?;
        session.read_response_header().await?;
        let status = session
            .response_header()
            .map_or(0, |head| head.status.as_u16());
        let mut body = 0;
        while let Some(piece) = session.read_response_body().await? {
            body += piece.len();
        }
        self.connector
            .release_http_session(session, &*self.peer, None)
            .await;
        Ok((status, body))
    }
}

impl Caller for Pingora {
    async fn call(&mut self) -> Result<(), String> {
        let (status, body) = self.exchange().await.map_err(|why| why.to_string())?;
        expect(self.scenario, status, body)
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> {
        tokio::time::sleep(time)
    }
}
