//! System calls of a shard's loop under load, counted: one `io_uring_enter` a turn at most, sleeping included, but for work
//! that the kernel has deferred (SQ_TASKRUN): what is left over at the end of a turn, and what a checkout meets within one.
//! That such exchanges allocate nothing is counted in `allocations.rs`.

mod common;

use common::conversation::{config, in_time};
use common::scripted::Scripted;
use ringpool::on_shard::{Head, Shard, Upstream};
use ringpool::{DriverFigures, Engine};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// In all; each task makes as many as any other.
const REQUESTS: u64 = 19_200;

async fn exchange(upstream: &Upstream) {
    let head = Head::get("/whole/100/7");
    let mut exchange = upstream.exchange(head).await.expect("answered");
    assert_eq!(exchange.status(), 200);
    while exchange.chunk().await.expect("the body").is_some() {}
}

/// What the driver counted while so many tasks on one shard made their exchanges over warm connections.
fn under_load(tasks: u64) -> DriverFigures {
    let peer = Scripted::start(false);
    let mut config = config(&peer, false);
    let upstream = config.upstreams.get_mut("peer").expect("it is there");
    upstream.connections_max = tasks as u32;
    upstream.idle_min = tasks as u32;
    upstream.dials_max = tasks as u32;
    let engine = Engine::start(config).expect("an engine");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let load = move |shard: Shard| async move {
        let upstream = shard.upstream("peer").expect("it is configured");
        let left = Rc::new(Cell::new(tasks));
        let (all_done, done) = futures_channel::oneshot::channel();
        let all_done = Rc::new(Cell::new(Some(all_done)));
        for _ in 0..tasks {
            let (upstream, left, all_done) = (upstream.clone(), left.clone(), all_done.clone());
            shard.spawn(async move {
                for _ in 0..REQUESTS / tasks {
                    exchange(&upstream).await;
                }
                left.set(left.get() - 1);
                if left.get() == 0 {
                    let all_done = all_done.take().expect("the last one comes once");
                    all_done.send(()).expect("somebody waits");
                }
            });
        }
        done.await.expect("all tasks end");
    };
    let (before, after) = runtime.block_on(in_time("the load", async {
        engine.ready(Duration::from_secs(10)).await.expect("ready");
        let before = engine.snapshot().await.expect("it runs");
        engine
            .spawn_on_each(load)
            .await
            .remove(0)
            .expect("no panic");
        (before, engine.snapshot().await.expect("it runs"))
    }));
    assert_eq!(after.connections_opened, tasks, "over warm connections");
    let (before, after) = (before.driver, after.driver);
    let mut during = after;
    during.turns -= before.turns;
    during.enters -= before.enters;
    during.enters_extra -= before.enters_extra;
    during.looks -= before.looks;
    during.submissions -= before.submissions;
    during.completions -= before.completions;
    during
}

#[test]
fn a_turn_is_one_system_call_but_for_deferred_work() {
    for tasks in [1, 64] {
        let seen = under_load(tasks);
        println!("{tasks} tasks, {REQUESTS} exchanges: {seen:?}");
        let deferred = seen.enters_extra + seen.looks;
        assert!(seen.enters <= seen.turns + deferred, "{seen:?}");
        assert!(seen.looks <= seen.turns, "{seen:?}");
        // It was load: each exchange is sent and received, many of them in one turn.
        assert!(
            seen.submissions >= REQUESTS && seen.completions >= 2 * REQUESTS,
            "{seen:?}"
        );
        assert!(tasks == 1 || seen.turns < REQUESTS, "{seen:?}");
    }
}
