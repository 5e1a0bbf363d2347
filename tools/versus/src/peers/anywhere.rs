//! ringpool from a tokio current-thread runtime, with its one shard on the same core.

use super::ringpool::{BACKEND, engine};
use super::{expect, tokio_runtime};
use crate::caller::{Caller, Callers};
use crate::cli::ClientOptions;
use crate::measure::Outcome;
use crate::scenario::Scenario;
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::BodyExt;
use ringpool::Upstream;
use std::future::Future;
use std::time::Duration;

pub(super) fn run(options: &ClientOptions) -> Result<Outcome, String> {
    let engine = engine(options)?;
    let upstream = engine.upstream(BACKEND).map_err(|why| why.to_string())?;
    let scenario = options.scenario;
    let caller = || Anywhere {
        scenario,
        upstream: upstream.clone(),
        uri: Uri::from_static(scenario.work.path()),
    };
    tokio_runtime::new()?.block_on(async {
        let callers = Callers::begin(scenario, options.seconds);
        tokio_runtime::join((0..scenario.callers).map(|_| callers.run(caller()))).await?;
        callers.outcome()
    })
}

struct Anywhere {
    scenario: &'static Scenario,
    upstream: Upstream,
    uri: Uri,
}

impl Caller for Anywhere {
    async fn call(&mut self) -> Result<(), String> {
        let request = Request::get(self.uri.clone()).body(());
        let request = request.map_err(|why| why.to_string())?;
        let called = self.upstream.call(request).await;
        let (head, mut frames) = called.map_err(|why| why.to_string())?.into_parts();
        let mut body = 0;
        while let Some(frame) = frames.frame().await {
            let frame = frame.map_err(|why| why.to_string())?;
            body += frame.data_ref().map_or(0, Bytes::len);
        }
        expect(self.scenario, head.status.as_u16(), body)
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> {
        tokio::time::sleep(time)
    }
}
