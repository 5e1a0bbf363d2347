//! The engine's spans, as a subscriber sees them. One test: a process has one subscriber.

mod common;

use common::answering::Answering;
use common::bounded::{engine, run, until};
use common::certificates::Authority;
use common::tls_peer;
use ringpool::config::{TlsConfig, TrustRoots, UpstreamConfig};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// What became of one span.
#[derive(Clone, Debug)]
struct Seen {
    target: &'static str,
    name: &'static str,
    level: Level,
    parent: Option<u64>,
    follows: Vec<u64>,
    fields: BTreeMap<&'static str, String>,
    events: usize,
    closed: bool,
}

#[derive(Clone, Default)]
struct Watch(Arc<Mutex<BTreeMap<u64, Seen>>>);

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl Watch {
    fn change(&self, id: u64, change: impl FnOnce(&mut Seen)) {
        if let Some(seen) = self.0.lock().unwrap().get_mut(&id) {
            change(seen);
        }
    }

    /// The engine's own above TRACE, by name.
    fn above_trace(&self) -> Vec<&'static str> {
        let all = self.0.lock().unwrap();
        let ours = all
            .values()
            .filter(|seen| seen.target.starts_with("ringpool::") && seen.level < Level::TRACE);
        let mut names: Vec<_> = ours.map(|seen| seen.name).collect();
        names.sort_unstable();
        names
    }

    fn named(&self, name: &str) -> Vec<(u64, Seen)> {
        let all = self.0.lock().unwrap();
        let named = all.iter().filter(|(_, seen)| seen.name == name);
        named.map(|(id, seen)| (*id, seen.clone())).collect()
    }
}

/// Ids are used again after a span's end: its number is its own.
struct Number(u64);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Watch {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let number_of = |span: &tracing_subscriber::registry::SpanRef<'_, S>| {
            span.extensions().get::<Number>().map(|number| number.0)
        };
        let parent = span.parent().and_then(|parent| number_of(&parent));
        let mut all = self.0.lock().unwrap();
        let number = all.len() as u64 + 1;
        span.extensions_mut().insert(Number(number));
        let mut fields = BTreeMap::new();
        attributes.record(&mut Fields(&mut fields));
        let metadata = attributes.metadata();
        let seen = Seen {
            target: metadata.target(),
            name: metadata.name(),
            level: *metadata.level(),
            parent,
            follows: Vec::new(),
            fields,
            events: 0,
            closed: false,
        };
        all.insert(number, seen);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let number = context
            .span(id)
            .unwrap()
            .extensions()
            .get::<Number>()
            .unwrap()
            .0;
        self.change(number, |seen| values.record(&mut Fields(&mut seen.fields)));
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, context: Context<'_, S>) {
        let number = |id| {
            context
                .span(id)
                .unwrap()
                .extensions()
                .get::<Number>()
                .unwrap()
                .0
        };
        let follows = number(follows);
        self.change(number(id), |seen| seen.follows.push(follows));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if let Some(span) = context.event_span(event) {
            let number = span.extensions().get::<Number>().unwrap().0;
            self.change(number, |seen| seen.events += 1);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let number = context
            .span(&id)
            .unwrap()
            .extensions()
            .get::<Number>()
            .unwrap()
            .0;
        self.change(number, |seen| seen.closed = true);
    }
}

#[test]
fn requests_follow_from_the_connections_that_they_go_over() {
    let watch = Watch::default();
    let subscriber = tracing_subscriber::registry().with(watch.clone());
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let server = Answering::start();
    let url = format!("http://localhost:{}", server.port());
    let engine = engine(1, UpstreamConfig::at(&url).unwrap());
    let call = || {
        let mine = tracing::info_span!(target: "test", "mine").entered();
        let upstream = engine.upstream("backend").unwrap();
        let request = http::Request::get("/").body(()).unwrap();
        let response = run(upstream.call(request)).unwrap();
        run(http_body_util::BodyExt::collect(response.into_body())).unwrap();
        drop(mine);
    };
    call();
    call();
    let on_shard = engine.spawn_on_each(|shard| async move {
        let upstream = shard.upstream("backend").unwrap();
        let head = ringpool::on_shard::Head::get("/");
        upstream
            .exchange(head)
            .await
            .unwrap()
            .chunk()
            .await
            .unwrap();
    });
    run(on_shard)[0].as_ref().unwrap();
    until(&engine, "rest", |told| told.now.tasks == 0);

    let [(connection, made)] = &watch.named("connection")[..] else {
        panic!("{:?}", watch.named("connection"));
    };
    assert_eq!(
        (made.target, made.level),
        ("ringpool::connection", Level::DEBUG)
    );
    assert_eq!((made.parent, made.events, made.closed), (None, 1, false));
    assert_eq!(made.fields["upstream"], "\"backend\"");
    assert!(made.fields["network.peer.address"].starts_with("127.0.0.1:"));
    let (_, connect) = &watch.named("connect")[0];
    assert_eq!((connect.parent, connect.closed), (Some(*connection), true));
    let (_, lookup) = &watch.named("lookup")[0];
    assert_eq!((lookup.target, lookup.closed), ("ringpool::dns", true));
    assert_eq!(lookup.fields["dns.question.name"], "\"localhost\"");
    let requests = watch.named("request");
    assert_eq!(requests.len(), 3, "{requests:#?}");
    let mine = watch.named("mine");
    for (nth, (_, request)) in requests.iter().enumerate() {
        assert_eq!(
            (request.target, request.level),
            ("ringpool::request", Level::TRACE)
        );
        assert_eq!(
            (&request.follows[..], request.closed),
            (&[*connection][..], true)
        );
        assert_eq!(request.parent, mine.get(nth).map(|(id, _)| *id));
        assert_eq!(request.fields["http.request.method"], "\"GET\"");
        assert_eq!(request.fields["http.response.status_code"], "200");
    }
    let waits = watch.named("wait_for_connection");
    assert_eq!(waits.len(), 1, "the others found one free");
    assert_eq!(
        (waits[0].1.parent, waits[0].1.closed),
        (Some(requests[0].0), true)
    );
    // Nothing that comes with every request.
    assert_eq!(watch.above_trace(), ["connect", "connection", "lookup"]);
    drop(engine);
    let (_, made) = &watch.named("connection")[0];
    assert!(made.closed && made.fields["reason"] == "\"stopped\"" && made.fields["uses"] == "3");
    handshakes_are_told_within_their_connection(&watch);
}

/// Two connections over TLS, one call each.
fn handshakes_are_told_within_their_connection(watch: &Watch) {
    watch.0.lock().unwrap().clear();
    let authority = Authority::new();
    let config = Arc::new(tls_peer::config(&authority.sign()));
    let peer = tls_peer::Peer::tls(config, |mut stream| {
        if tls_peer::read_head(&mut stream).is_some() {
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let mut settings = UpstreamConfig::at(&peer.url("https")).unwrap();
    settings.tls = TlsConfig {
        roots: TrustRoots::Pem(authority.pem.clone()),
        ..TlsConfig::default()
    };
    let engine = engine(1, settings);
    for _ in 0..2 {
        let upstream = engine.upstream("backend").unwrap();
        let request = http::Request::get("/").body(()).unwrap();
        assert_eq!(run(upstream.call(request)).unwrap().status(), 200);
    }
    let handshakes = watch.named("handshake");
    let connections = watch.named("connection");
    assert_eq!((handshakes.len(), connections.len()), (2, 2));
    for (nth, (_, handshake)) in handshakes.iter().enumerate() {
        assert_eq!(
            (handshake.target, handshake.level, handshake.closed),
            ("ringpool::tls", Level::DEBUG, true)
        );
        assert_eq!(handshake.parent, Some(connections[nth].0));
        assert_eq!(handshake.fields["tls.resumed"], (nth > 0).to_string());
    }
}
