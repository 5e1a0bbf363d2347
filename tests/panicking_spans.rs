//! A subscriber of `tracing` that panics: whichever of its methods does, calls are answered and no shard is lost. One test: a process has
//! one subscriber.

mod common;

use common::answering::Answering;
use common::bounded::{engine, run, until};
use http_body_util::BodyExt;
use ringpool::config::UpstreamConfig;
use ringpool::on_shard::Head;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// The methods of a subscriber that the engine calls, directly or not.
const METHODS: [&str; 8] = [
    "new_span",
    "record",
    "follows_from",
    "event",
    "enter",
    "exit",
    "close",
    "enabled",
];

/// Panics in one method, for what is the engine's.
#[derive(Clone, Default)]
struct Broken(Arc<State>);

#[derive(Default)]
struct State {
    /// Which: a place in `METHODS`, or none.
    method: AtomicUsize,
    panics: AtomicUsize,
}

impl Broken {
    fn at(&self, method: &str, metadata: Option<&Metadata<'_>>) {
        let ours = metadata.is_none_or(|metadata| metadata.target().starts_with("ringpool::"));
        let broken = METHODS.get(self.0.method.load(Ordering::SeqCst));
        if ours && broken == Some(&method) {
            self.0.panics.fetch_add(1, Ordering::SeqCst);
            panic!("a subscriber panics, as the test wants: {method}");
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Broken {
    // Asked anew each time.
    fn register_callsite(&self, _: &'static Metadata<'static>) -> tracing::subscriber::Interest {
        tracing::subscriber::Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.at("enabled", Some(metadata));
        true
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        self.at("new_span", Some(attributes.metadata()));
    }

    fn on_record(&self, id: &Id, _: &Record<'_>, context: Context<'_, S>) {
        self.at("record", context.metadata(id));
    }

    fn on_follows_from(&self, id: &Id, _: &Id, context: Context<'_, S>) {
        self.at("follows_from", context.metadata(id));
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.at("event", Some(event.metadata()));
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.at("enter", context.metadata(id));
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.at("exit", context.metadata(id));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.at("close", context.metadata(&id));
    }
}

#[test]
fn whichever_method_panics_calls_are_answered() {
    let broken = Broken::default();
    let none = METHODS.len();
    broken.0.method.store(none, Ordering::SeqCst);
    let subscriber = tracing_subscriber::registry().with(broken.clone());
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let server = Answering::start();
    let url = format!("http://localhost:{}", server.port());
    for (at, method) in METHODS.iter().enumerate() {
        broken.0.method.store(at, Ordering::SeqCst);
        broken.0.panics.store(0, Ordering::SeqCst);
        let engine = engine(1, UpstreamConfig::at(&url).unwrap());
        for _ in 0..2 {
            let upstream = engine.upstream("backend").unwrap();
            let request = http::Request::get("/").body(()).unwrap();
            let response = run(upstream.call(request));
            let response = response.unwrap_or_else(|error| panic!("{method}: {error}"));
            run(response.into_body().collect()).unwrap();
        }
        let on_shard = engine.spawn_on_each(|shard| async move {
            let upstream = shard.upstream("backend").unwrap();
            let mut exchange = upstream.exchange(Head::get("/")).await.unwrap();
            exchange.chunk().await.unwrap();
        });
        let done = run(on_shard);
        assert!(done[0].is_ok(), "{method}: {:?}", done[0]);
        let told = until(&engine, "rest", |told| {
            told.now.tasks == 0 && told.upstreams["backend"].idle == 1
        });
        let shard = &told.by_shard[0];
        assert_eq!((shard.losses, shard.task_panics), (0, 0), "{method}");
        assert_eq!(told.upstreams["backend"].dials, 1, "{method}");
        drop(engine);
        let panics = broken.0.panics.load(Ordering::SeqCst);
        assert!(panics > 0, "{method} was never called");
    }
    broken.0.method.store(none, Ordering::SeqCst);
}
