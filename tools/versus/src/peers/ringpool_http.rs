//! ringpool on the shard with `http` types: `call` instead of the low-level exchange.

use super::ringpool::{InTurn, UPLOAD, on_shard};
use super::{Peer, expect};
use crate::caller::Caller;
use crate::cli::ClientOptions;
use crate::scenario::{Place, Scenario};
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::BodyExt;
use ringpool::on_shard::Shard;
use std::future::Future;
use std::rc::Rc;
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
    upstreams: Rc<InTurn>,
    uri: Uri,
}

impl WithHttp {
    fn new(options: &ClientOptions, shard: &Shard, upstreams: &Rc<InTurn>) -> WithHttp {
        WithHttp {
            scenario: options.scenario,
            shard: shard.clone(),
            upstreams: upstreams.clone(),
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
        let called = self.upstreams.take().call(request).await;
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
