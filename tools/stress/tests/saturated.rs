//! A tool that has no time left says so. Alone in its program: it takes all that it gets while it runs.

mod common;

use common::{Served, json, run, words};

#[test]
fn a_thread_without_time_to_spare_is_the_limit_and_says_so() {
    // More threads than the one that loads, so that it never waits for them, but for a core at most.
    let served = Served::start("--threads 4");
    let line = "--rate 1000000 --connections 256 --shards 1 --duration 1s --warmup 200ms --json -";
    let output = run(&format!("run http://{}/ {line}", served.plain));
    let report = json(&output);
    let whys = report["invalid"].as_array().expect("reasons");
    let is_it = |why: &serde_json::Value| {
        why.as_str()
            .is_some_and(|why| why.contains("the tool was saturated"))
    };
    assert!(whys.iter().any(is_it), "{whys:?}");
    assert_eq!(output.status.code(), Some(3), "{}", words(&output));

    // And so does what is found by such loads: more than one thread sends, and no limit that the server could exceed.
    let line = "--connections 256 --shards 1 --slo p50<50s,errors<99% --start 400000 --precision 50% --duration 400ms --warmup 100ms";
    let output = run(&format!("find-max http://{}/ {line}", served.plain));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}{}", words(&output));
    assert!(said.contains("the tool was the limit"), "{said}");
}
