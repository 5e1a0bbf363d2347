//! Figures of a shard that knows many upstreams: copied a slice a turn, each upstream once.

use super::rig::Rig;
use crate::config::{Config, UpstreamConfig};
use crate::shard::figures::ShardFigures;
use crate::shard::mailbox::Control;
use futures_channel::oneshot;

const UPSTREAMS: usize = 100;

/// A shard that has met `UPSTREAMS` upstreams, and has dialled for each.
fn rig() -> Rig {
    let mut config = Config::default();
    for nth in 0..UPSTREAMS {
        let mut settings = UpstreamConfig::at(&format!("http://10.0.0.{nth}")).unwrap();
        settings.retry.attempts_max = 1;
        settings.idle_min = 1;
        config.upstreams.insert(format!("u{nth}"), settings);
    }
    let mut rig = Rig::of(1, config);
    // They are warm, or have tried to be.
    for _ in 0..5 {
        rig.shards[0].turn(false).unwrap();
    }
    rig
}

fn ask(rig: &Rig) -> oneshot::Receiver<ShardFigures> {
    let (reply, answer) = oneshot::channel();
    rig.shared.mailboxes[0].control(Control::Figures(reply));
    answer
}

#[test]
fn a_turn_copies_a_slice_and_all_of_it_comes() {
    let mut rig = rig();
    let (mut first, mut second) = (ask(&rig), ask(&rig));
    let (mut turns, mut told) = (0, Vec::new());
    while told.len() < 2 {
        rig.shards[0].turn(true).unwrap();
        turns += 1;
        for answer in [&mut first, &mut second] {
            if let Ok(Some(figures)) = answer.try_recv() {
                told.push((turns, figures));
            }
        }
        assert!(turns < 20, "it does not end");
    }
    // Some 32 a turn; the first slice of the first copy comes with the question.
    assert!(
        told[0].0 >= 2 && told[1].0 >= told[0].0 + 2,
        "{} {}",
        told[0].0,
        told[1].0
    );
    for (_, figures) in told {
        assert_eq!(figures.upstreams.len(), UPSTREAMS);
        let dials: u64 = figures
            .upstreams
            .values()
            .map(|part| part.counters.dials)
            .sum();
        assert!(dials > 0);
        assert_eq!(figures.totals.dials, dials);
    }
}

#[test]
fn a_turn_copies_so_many_endpoints_and_no_more() {
    const ENDPOINTS: usize = 64;
    let mut config = Config::default();
    for nth in 0..8 {
        let mut settings = UpstreamConfig::at("http://10.0.0.1").unwrap();
        let address = |at| format!("10.0.{nth}.{at}:80").parse().unwrap();
        settings.endpoints = (0..ENDPOINTS).map(address).collect();
        settings.idle_min = 1;
        config.upstreams.insert(format!("u{nth}"), settings);
    }
    let mut rig = Rig::of(1, config);
    for _ in 0..5 {
        rig.shards[0].turn(false).unwrap();
    }
    let mut answer = ask(&rig);
    let mut turns = 0;
    let told = loop {
        rig.shards[0].turn(true).unwrap();
        turns += 1;
        if let Some(told) = answer.try_recv().unwrap() {
            break told;
        }
        assert!(turns < 20, "it does not end");
    };
    assert_eq!(told.upstreams.len(), 8);
    for part in told.upstreams.values() {
        assert_eq!(part.endpoints.len(), ENDPOINTS);
    }
    // 512 endpoints are more than three slices, where eight upstreams are less than one.
    assert!(turns >= 3, "{turns}");
}

#[test]
fn an_upstream_that_goes_meanwhile_is_counted_once() {
    // The last one has not been copied when it goes; the first one has.
    for gone in [UPSTREAMS - 1, 0] {
        let mut rig = rig();
        let before = {
            let mut all = ask(&rig);
            for _ in 0..10 {
                rig.shards[0].turn(true).unwrap();
            }
            all.try_recv().unwrap().unwrap().totals.dials
        };
        let mut answer = ask(&rig);
        rig.shards[0].turn(true).unwrap();
        let mut names: Vec<_> = rig.shared.directory.keys().cloned().collect();
        names.sort();
        let upstream = rig.shared.directory[&names[gone]].clone();
        rig.shared.mailboxes[0].control(Control::Forget(upstream.id));
        let mut steps = 0..50;
        let told: ShardFigures = loop {
            steps.next().expect("it comes");
            rig.step();
            if let Some(told) = answer.try_recv().unwrap() {
                break told;
            }
        };
        assert!(
            told.totals.dials >= before,
            "{} < {before}",
            told.totals.dials
        );
        let all: u64 = told
            .upstreams
            .values()
            .map(|part| part.counters.dials)
            .sum();
        assert!(told.totals.dials >= all);
    }
}

/// How long a slice takes. `cargo test --release --lib copying -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn what_a_slice_costs() {
    let mut rig = rig();
    let mut longest = std::time::Duration::ZERO;
    for _ in 0..100 {
        let mut answer = ask(&rig);
        loop {
            let began = std::time::Instant::now();
            rig.shards[0].turn(false).unwrap();
            longest = longest.max(began.elapsed());
            if let Ok(Some(_)) = answer.try_recv() {
                break;
            }
        }
    }
    println!("longest turn with a slice: {longest:?}");
}
