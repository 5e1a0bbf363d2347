//! Whose part a call is, in its header.

use crate::common::bounded::{engine, run};
use crate::common::peer::{OK, Peer};
use ringpool::config::{TraceParent, UpstreamConfig};
use std::thread;

const TEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The `traceparent` of a request, made by `change` of a plain one, as the peer gets it.
fn sent(
    on_shard: bool,
    change: impl Fn(&mut http::Request<()>) + Send + Sync + Clone + 'static,
) -> Option<String> {
    let peer = Peer::start();
    let engine = engine(1, UpstreamConfig::at(&peer.http()).unwrap());
    thread::scope(|scope| {
        let call = scope.spawn(|| {
            let request = |change: &dyn Fn(&mut http::Request<()>)| {
                let mut request = http::Request::get("/").body(()).unwrap();
                change(&mut request);
                request
            };
            if on_shard {
                let change = change.clone();
                let task = engine.spawn_on_each(move |shard| {
                    let request = request(&change);
                    async move {
                        let upstream = shard.upstream("backend").unwrap();
                        upstream.call(request).await.unwrap().status()
                    }
                });
                run(task)[0].as_ref().unwrap();
            } else {
                let upstream = engine.upstream("backend").unwrap();
                run(upstream.call(request(&change))).unwrap();
            }
        });
        let mut conn = peer.accept();
        let request = conn.request();
        conn.send(OK);
        call.join().unwrap();
        request.header("traceparent").map(str::to_owned)
    })
}

#[test]
fn the_callers_own_word_goes_out() {
    let parent: TraceParent = TEXT.parse().unwrap();
    for on_shard in [false, true] {
        assert_eq!(sent(on_shard, |_| ()), None);
        let said = sent(on_shard, move |request| {
            request.extensions_mut().insert(parent);
        });
        assert_eq!(said.as_deref(), Some(TEXT));
        let header = sent(on_shard, move |request| {
            request.extensions_mut().insert(parent);
            let headers = request.headers_mut();
            headers.insert("traceparent", "00-mine".parse().unwrap());
        });
        assert_eq!(header.as_deref(), Some("00-mine"), "what is there stays");
    }
}
