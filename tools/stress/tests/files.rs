//! Scenario files, from the outside: those that are shipped, one of a user's own, and one that is wrong.

mod common;

use std::path::PathBuf;

use common::{json, run, words};

/// A file that is gone when this is.
struct Temporary(PathBuf);

impl Temporary {
    fn holding(name: &str, text: &str) -> Self {
        let name = format!("stress-{}-{name}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("it can be written");
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn all_that_is_wrong_with_a_file_is_told_with_its_lines() {
    let file = Temporary::holding(
        "wrong",
        "[pool]\nconnection_max = 4\n\n[[phase]]\nname = \"a\"\nrate = 10\n\n[[expect]]\nmetric = \"p99\"\nat_most = \"5\"\n",
    );
    let shown = file.0.display();
    let output = run(&format!("scenario --file {shown}"));
    assert_eq!(output.status.code(), Some(2));
    let said = words(&output);
    for part in [
        "3 mistakes".to_owned(),
        format!("{shown}:2: [pool]: unknown field `connection_max`"),
        format!("{shown}:4: phase `a` does not say how long it `lasts`"),
        format!("{shown}:10: `at_most`: `5` is no duration"),
    ] {
        assert!(said.contains(&part), "{part}\n{said}");
    }
}

#[test]
fn what_does_not_hold_is_exit_code_1_and_what_holds_is_told_as_well() {
    let file = Temporary::holding(
        "own",
        r#"
about = "one's own"
expects = "one thing that holds, and one that cannot"

[backend]
service = "fixed:10ms"
fault = "fin:20%"

[pool]
connections_max = 4
idle_min = 4
retry.attempts_max = 1

[[upstream]]
name = "sound"
pool = { connections_max = 2 }
backend = { body = "7" }

[[call]]
name = "elsewhere"
upstream = "sound"

[[call]]
name = "read"
weight = 3

[[call]]
name = "write"
upload = "1KiB"

[[phase]]
name = "one"
lasts = "500ms"
rate = 50

[[phase]]
name = "two"
lasts = "500ms"
rate = [50, 100]
arrivals = "poisson"

[[expect]]
metric = "errors"
at_most = "0%"

[[expect]]
metric = "errors"
call = "elsewhere"
at_most = "0%"

[[expect]]
metric = "sent.p50"
call = "read"
phase = "two"
at_least = "10ms"
"#,
    );
    let output = run(&format!("scenario --file {} --json -", file.0.display()));
    let report = json(&output);
    let criteria = report["criteria"].as_array().expect("criteria");
    let holds: Vec<_> = criteria.iter().map(|one| one["holds"].as_bool()).collect();
    assert_eq!(holds, [Some(false), Some(true), Some(true)], "{report:#}");
    assert_eq!(criteria[2]["key"], "sent.p50/read@two");
    let answered = &report["figures"]["answered_per_second"]["values"];
    assert!(answered["one"].as_f64() > Some(10.0) && answered["whole"].is_number());
    // How quick this machine is just now is not asked.
    let code = if report["outcome"] == "INVALID" { 3 } else { 1 };
    assert_eq!(output.status.code(), Some(code));
    assert!(
        words(&output).contains("one thing that holds"),
        "what is expected is said"
    );
}

#[test]
fn a_closed_loop_has_phases_and_a_sweep_has_columns() {
    let file = Temporary::holding(
        "closed",
        r#"
from = "anywhere"
think = "1ms"

[pool]
connections_max = 4

[sweep]
key = "idle_min"
values = [1, 4]

[[phase]]
name = "few"
lasts = "300ms"
callers = 1

[[phase]]
name = "more"
lasts = "300ms"
callers = 8

[[expect]]
metric = "opened"
at_most = 4

[[expect]]
metric = "opened"
at = 4
at_least = 4
"#,
    );
    let to = |kind: &str| Temporary(file.0.with_extension(kind));
    let (page, csv, hlog) = (to("html"), to("csv"), to("hlog"));
    let output = run(&format!(
        "scenario --file {} --json - --report {} --csv {} --hlog {}",
        file.0.display(),
        page.0.display(),
        csv.0.display(),
        hlog.0.display()
    ));
    let report = json(&output);
    let criteria = report["criteria"].as_array().expect("criteria");
    let keys: Vec<_> = criteria.iter().map(|one| one["key"].as_str()).collect();
    assert_eq!(keys, [Some("opened=1"), Some("opened=4"), Some("opened=4")]);
    assert!(
        criteria.iter().all(|one| one["holds"] == true),
        "{report:#}"
    );
    assert!(report["figures"]["answered_per_second"]["values"]["4"].as_f64() > Some(0.0));
    // Each value of the sweep is a run that is kept like any other, and can be shown by itself.
    let runs = report["phases"].as_object().expect("runs");
    let name = file.0.file_stem().expect("a name").to_string_lossy();
    let keys: Vec<&str> = runs.keys().map(String::as_str).collect();
    let expected = [1, 4].map(|value| format!("{name}_idle_min_{value}"));
    assert_eq!(keys, expected);
    let plan = &runs[keys[1]]["plan"];
    assert!(plan["settings"]["idle_min"] == 4 && plan["phases"][1]["callers"] == 8);
    let read = |of: &Temporary| std::fs::read_to_string(&of.0).expect("it was written");
    let html = read(&page);
    assert!(html.contains("What had to hold") && html.contains("id=\"run2-throughput\""));
    for key in keys {
        assert!(read(&csv).contains(&format!("\n{key},0.000000,")), "{key}");
        assert!(read(&hlog).contains(&format!("\nTag={key},")), "{key}");
    }
    let kept = to("json");
    std::fs::write(&kept.0, &output.stdout).expect("it can be written");
    let shown = run(&format!(
        "show {} --phase {}",
        kept.0.display(),
        expected[1]
    ));
    assert_eq!(shown.status.code(), Some(0), "{}", words(&shown));
}

#[test]
fn a_shipped_file_can_be_read_and_run() {
    let listed = run("scenario");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    for name in ["steady", "rolling-restart", "mixed-priorities"] {
        assert!(listed.contains(&format!("\n{name} ")), "{listed}");
    }
    let printed = run("scenario burst --print");
    let text = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(text.contains("arrivals = \"burst:200\""), "{text}");
    assert_eq!(run("scenario demo --print").status.code(), Some(2));
    let output = run("scenario burst --json -");
    let report = json(&output);
    let opened = report["criteria"]
        .as_array()
        .and_then(|all| all.iter().find(|one| one["key"] == "opened").cloned());
    assert_eq!(opened.map(|one| one["holds"].clone()), Some(true.into()));
}

#[test]
fn calls_without_a_timetable_are_sent_when_they_begin_in_every_part() {
    let file = Temporary::holding(
        "closed",
        r#"
[[call]]
name = "read"

[[phase]]
name = "one"
lasts = "200ms"
callers = 2

[[phase]]
name = "two"
lasts = "200ms"
callers = 1

[[expect]]
metric = "sent.p50"
at_most = "10s"

[[expect]]
metric = "sent.p50"
phase = "two"
at_most = "10s"

[[expect]]
metric = "sent.p50"
call = "read"
phase = "one"
at_most = "10s"
"#,
    );
    let output = run(&format!("scenario --file {} --json -", file.0.display()));
    let report = json(&output);
    let criteria = report["criteria"].as_array().expect("criteria");
    for one in criteria {
        assert_eq!(one["holds"], true, "{report:#}");
    }
}
