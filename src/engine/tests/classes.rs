//! Who is served first, and who is sent away, by what callers say of themselves.

use super::rig::{Call, Rig};
use super::{SECOND, config};
use crate::config::{CallOptions, Class};
use crate::error::{Error, ErrorKind};

fn of_class(path: &str, class: Class) -> http::Request<()> {
    let request = http::Request::get(path).extension(class).body(());
    request.expect("a path")
}

/// One connection, and whoever holds it.
fn busy(change: impl Fn(&mut crate::config::UpstreamConfig)) -> (Rig, Call) {
    let mut rig = Rig::new(config(1, |upstream| {
        upstream.connections_max = 1;
        change(upstream);
    }));
    rig.web.serve(1, 1);
    let first = rig.call(0, "a", "/hold/first");
    rig.settle();
    (rig, first)
}

#[test]
fn those_who_wait_are_served_by_class() {
    let (mut rig, _first) = busy(|upstream| upstream.class = Class::Sheddable);
    let critical = CallOptions {
        class: Some(Class::Critical),
        ..CallOptions::default()
    };
    let said = http::Request::get("/said").extension(critical).body(());
    let mut calls = [
        rig.call(0, "a", "/default"),
        rig.call_with(0, "a", of_class("/normal", Class::Normal)),
        rig.call_with(0, "a", of_class("/critical", Class::Critical)),
        rig.call_with(0, "a", said.expect("a path")),
    ];
    rig.settle();
    rig.web.let_go();
    rig.finish(&mut calls);
    assert_eq!(
        rig.web.asked(),
        ["/hold/first", "/critical", "/said", "/normal", "/default"]
    );
    rig.stop();
}

/// A checkout by a handle of a class waits in that class, on the shard.
#[test]
fn a_handle_lends_its_class() {
    let (mut rig, _first) = busy(|_| {});
    let local = rig.shards[0].local().clone();
    let handle = CallOptions {
        class: Some(Class::Critical),
        ..CallOptions::default()
    };
    let upstream = local.upstream(rig.upstream("a")).with_options(handle);
    let mut calls = [rig.call(0, "a", "/normal")];
    rig.settle();
    local.spawn(async move {
        let head = crate::protocol::http1::Head::get("/critical");
        let mut exchange = crate::shard::forward::exchange(&upstream, &head, None)
            .await
            .expect("answered");
        while exchange.chunk().await.expect("the body").is_some() {}
    });
    rig.settle();
    rig.web.let_go();
    rig.finish(&mut calls);
    assert_eq!(rig.web.asked(), ["/hold/first", "/critical", "/normal"]);
    drop(local);
    rig.stop();
}

#[test]
fn in_a_full_queue_who_matters_less_makes_room() {
    let (mut rig, _first) = busy(|upstream| upstream.waiters_max = 1);
    let mut less = rig.call_with(0, "a", of_class("/less", Class::Sheddable));
    rig.settle();
    let mut more = rig.call(0, "a", "/more");
    rig.settle();
    let error = less.error().expect("it made room");
    assert_eq!(error.kind(), ErrorKind::Shed);
    assert!(error.retry_after().is_some());
    assert_eq!((error.attempts(), error.history().len()), (0, 0));
    let mut late = rig.call(0, "a", "/late");
    rig.settle();
    let kind = late.error().map(Error::kind);
    assert_eq!(kind, Some(ErrorKind::Shed), "nobody there matters less");
    rig.web.let_go();
    rig.pass(SECOND);
    assert!(more.body().starts_with("more@"));
    rig.stop();
}
