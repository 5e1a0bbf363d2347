use super::*;
use serde_json::json;

const GOOD: &str = r#"
about = "all that can be said"
expects = "that it is read"
seed = 7
shards = 2
from = "anywhere"
callers = 100
think = "exp:1ms"
warmup = "100ms"
tls = true

[[backend]]
service = "exp:5ms"
fault = ["reset:0.1%", "stall@1s..2s"]

[[backend]]
handshake_delay = "20ms"
body = "1KiB"
threads = 2

[pool]
connections_max = 8
shed = { sojourn_target = "off" }

[[upstream]]
name = "other"
url = "http://127.0.0.1:1"
pool.idle_min = 3

[[call]]
name = "read"
weight = 9
size = "exp:4KiB"
class = "critical"

[[call]]
name = "write"
upstream = "other"
upload = "1KiB"
close = "1%"

[[phase]]
name = "up"
lasts = "1s"
rate = [10, 100.5]
arrivals = "poisson"

[[phase]]
name = "there"
lasts = "2s"
rate = 100

[sweep]
key = "connections_max"
values = [4, 8]

[[expect]]
metric = "p99"
phase = "there"
call = "read"
at = 8
at_most = "2x up"
why = "because"

[[expect]]
metric = "dials"
at_least = 1
at_most = 8
"#;

fn known(key: &str, value: &Value) -> Result<(), String> {
    crate::drive::check_setting(key, value)
}

fn mistakes(text: &str) -> Vec<String> {
    let mistakes = read(text, &known).expect_err("it is wrong");
    mistakes.iter().map(Mistake::to_string).collect()
}

#[test]
fn all_that_a_file_says_is_in_the_plan() {
    let plan = read(GOOD, &known).unwrap();
    assert_eq!((plan.seed, plan.shards, plan.callers), (7, 2, 100));
    assert_eq!(plan.way, WayIn::Anywhere);
    let Place::Backends {
        tls: true,
        backends,
    } = &plan.upstreams[0].place
    else {
        panic!("{:?}", plan.upstreams[0]);
    };
    assert_eq!(
        backends[0].options,
        [
            "--service=exp:5ms",
            "--fault=reset:0.1%",
            "--fault=stall@1s..2s"
        ]
    );
    assert_eq!(backends[1].handshake_delay, Duration::from_millis(20));
    assert_eq!(plan.upstreams[0].pool["shed"]["sojourn_target"], "off");
    assert_eq!(plan.upstreams[1].pool["idle_min"], 3);
    assert_eq!((plan.calls[0].weight, plan.calls[1].upstream), (9.0, 1));
    let load = PhaseLoad::Rate(10.0, 100.5, Arrivals::Poisson);
    assert_eq!(plan.phases[0].load, load);
    assert_eq!(plan.lasts(), Duration::from_secs(3));
    let sweep = plan.sweep.as_ref().unwrap();
    assert_eq!(sweep.values, [json!(4), json!(8)]);
    let first = &plan.expectations[0];
    assert_eq!(
        (first.phase, first.call, first.at),
        (Some(1), Some(0), Some(1))
    );
    assert_eq!(plan.expectations.len(), 2);
}

#[test]
fn every_mistake_is_told_with_its_line() {
    let text = r#"seed = "x"
colour = "red"

[backend]
service = "normal:5ms"
fault = ["dance", "reset:1%", "outage"]
bodies = 3

[pool]
connection_max = 8
idle_min = "many"
shed = { sojourn_target = "off", sojourn = 1 }

[[phase]]
name = "a b"
lasts = "0s"
rate = 5
callers = 5

[[phase]]
name = "b"

[[call]]
name = "c"
upstream = "nowhere"
class = "urgent"

[[expect]]
metric = "speed"
at_most = "5ms"

[[expect]]
metric = "p99"
phase = "c"
at_most = 5
atleast = 3
"#;
    let found = mistakes(text);
    let lines: Vec<usize> = found
        .iter()
        .map(|one| one.split(':').next().unwrap().parse().unwrap())
        .collect();
    let expected = [
        1, 1, 2, 5, 6, 6, 7, 10, 11, 12, 14, 15, 16, 20, 20, 25, 26, 29, 34, 35, 36,
    ];
    assert_eq!(lines, expected, "{found:#?}");
    for part in [
        "unknown key `colour`",
        "unknown key `bodies` in [backend]",
        "connection_max",
        "`sojourn`",
        "no upstream `nowhere`",
        "unknown key `atleast`",
    ] {
        assert!(
            found.iter().any(|one| one.contains(part)),
            "{part}: {found:#?}"
        );
    }
}

#[test]
fn a_file_that_is_no_toml_is_told_where() {
    let found = mistakes("seed = 1\nphase = [\n[[expect]]\nmetric = p99\n");
    assert!(
        found
            .iter()
            .any(|one| one.starts_with("2:") || one.starts_with("3:")),
        "{found:#?}"
    );
    assert!(found.iter().any(|one| one.starts_with("4:")), "{found:#?}");
    assert!(
        !mistakes("").is_empty(),
        "nothing is loaded, and nothing expected"
    );
}

#[test]
fn what_could_never_fail_or_never_hold_is_a_mistake() {
    let text = r#"url = "http://127.0.0.1:1/"
tls = true

[[phase]]
name = "a"
lasts = "1s"
rate = 5

[sweep]
key = "endpoints"
values = ["127.0.0.1:2"]

[[expect]]
metric = "p99"
phase = "a"
at_most = "2x a"

[[expect]]
metric = "dials"
at_least = 9
at_most = 8

[[expect]]
metric = "failed.timeuot"
at_most = 0
"#;
    let found = mistakes(text);
    for (line, part) in [
        (2, "`tls` is for backends"),
        (11, "`endpoints` is made of"),
        (13, "compared with itself"),
        (18, "nothing is `at_least` more"),
        (24, "nothing fails by `timeuot`"),
    ] {
        let is_it = |one: &String| one.starts_with(&format!("{line}:")) && one.contains(part);
        assert!(found.iter().any(is_it), "{line} {part}: {found:#?}");
    }
    assert_eq!(found.len(), 5, "{found:#?}");
}
