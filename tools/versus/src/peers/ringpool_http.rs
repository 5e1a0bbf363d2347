//! ringpool on the shard with `http` types: `call` instead of the low-level exchange.

use super::ringpool::{UPLOAD, on_shard};
use super::{Peer, expect};
use crate::caller::Caller;
use crate::cli::ClientOptions;
use crate::scenario::{Place, Scenario};
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::BodyExt;
use ringpool::on_shard::{Shard, Upstream};
use std::future::Future;
use std::time::Duration;

pub(super) const PEER: Peer = Peer {
    name: "ringpool-http",
    about: "tasks on the shard, calls with `http` types",
    refuses: |scenario| {
        (scenario.place == Place::Tokio).then(|| "is what `ringpool` is here".to_owned())
    },
    run: |options| on_shard(options, WithHttp::new),
};

struct WithHttp {
    scenario: &'static Scenario,
    shard: Shard,
    upstream: Upstream,
    uri: Uri,
}

impl WithHttp {
    fn new(options: &ClientOptions, shard: &Shard, upstream: &Upstream) -> WithHttp {
        WithHttp {
            scenario: options.scenario,
            shard: shard.clone(),
            upstream: upstream.clone(),
            uri: Uri::from_static(options.scenario.work.path()),
        }
    }
}

impl Caller for WithHttp {
    async fn call(&mut self) -> Result<(), String> {
        let work = self.scenario.work;
        let request = Request::builder()
            .method(work.method())
            .uri(self.uri.clone());
        let body = Bytes::from_static(&UPLOAD[..work.request_body()]);
        let request = request.body(body).map_err(|why| why.to_string())?;
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
        self.shard.sleep(time)
    }
}
