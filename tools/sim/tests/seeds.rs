//! A fast slice of the seeds, and that a seed tells the same story twice.

use sim::knobs::speaks_tls;
use sim::scenario::SCENARIOS;
use sim::trace::Trace;
use std::cell::RefCell;
use std::rc::Rc;

#[test]
fn a_slice_of_the_seeds_finds_nothing() {
    sim::panics::keep();
    let mut events = 0;
    let with_tls = (0..).filter(|&seed| speaks_tls(seed));
    for seed in (0..40).chain(with_tls.take(4)) {
        let outcome = (SCENARIOS[0].run)(seed, Trace::none());
        if let Some(violation) = outcome.violation {
            panic!("seed {seed}: {violation}");
        }
        events += outcome.events;
    }
    assert!(events > 40 * 1000, "only {events} events");
}

/// Seeds that found something, as long as they tell the same story: what it was stands beside each.
const FOUND: [(u64, &str); 4] = [
    (
        3978,
        "a need told before a shard had anything to give up was not looked at when it had",
    ),
    (5763, "the same, among three shards"),
    (
        1_218_244,
        "a slow reader's receive was armed anew, and had told of a part when the connection was released",
    ),
    (
        1_444_897,
        "the same: the next call was answered by the rest",
    ),
];

#[test]
fn what_was_found_stays_found() {
    sim::panics::keep();
    for (seed, what) in FOUND {
        let outcome = (SCENARIOS[0].run)(seed, Trace::none());
        if let Some(violation) = outcome.violation {
            panic!("seed {seed} ({what}): {violation}");
        }
    }
}

#[test]
fn a_seed_tells_the_same_story_twice() {
    // TLS is spoken in the last one: the story has every byte of it.
    assert!(speaks_tls(600));
    for seed in [3, 11, 42, 600] {
        let tell = || {
            let told = Rc::new(RefCell::new(String::new()));
            let heard = told.clone();
            let trace = Trace::to(move |line| {
                let mut heard = heard.borrow_mut();
                heard.push_str(line);
                heard.push('\n');
            });
            let outcome = (SCENARIOS[0].run)(seed, trace);
            let story = told.borrow().clone();
            (story, outcome.events)
        };
        let (first, second) = (tell(), tell());
        assert!(first.0.len() > 10_000, "a story that says something");
        assert!(first == second, "seed {seed} told two stories");
    }
}

#[test]
fn the_named_scenarios_pass() {
    sim::panics::keep();
    for scenario in &SCENARIOS[1..] {
        let outcome = (scenario.run)(1, Trace::none());
        if let Some(violation) = outcome.violation {
            panic!("{}: {violation}", scenario.name);
        }
        let findings = outcome.findings.expect("a named scenario finds something");
        assert_eq!(findings.outcome(), scenarios::Conclusion::Pass);
        assert!(!findings.criteria.is_empty() && !findings.figures.is_empty());
    }
}
