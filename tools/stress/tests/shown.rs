//! What is told beside a run: doctor, review, and a run that is shown again.

mod common;

use common::{Served, json, run, words};
use serde_json::Value;

#[test]
fn the_doctor_names_what_it_looked_at_and_a_remedy_for_what_is_not_good() {
    let output = run("doctor --json");
    let told = json(&output);
    let findings = told["findings"].as_array().expect("findings");
    let engine = &findings[0];
    assert_eq!(engine["what"], "engine");
    let is_bad = findings.iter().any(|one| one["health"] == "bad");
    assert_eq!(output.status.code(), Some(if is_bad { 3 } else { 0 }));
    for one in findings {
        let has_remedy = one["remedy"].as_str() != Some("");
        assert_eq!(has_remedy, one["health"] != "good", "{one}");
    }
    assert!(told["host"]["kernel"].is_string());
    let text = run("doctor --connections 1000000");
    assert_eq!(text.status.code(), Some(3), "no host has as many ports");
    assert!(String::from_utf8_lossy(&text.stdout).contains("ip_local_port_range"));
}

#[test]
fn a_run_that_was_kept_is_shown_again_and_reviewed() {
    let served = Served::start("--delay 5ms");
    let file = |kind: &str| {
        std::env::temp_dir().join(format!("stress-shown-{}.{kind}", std::process::id()))
    };
    let (kept, first, again) = (file("json"), file("csv"), file("again.csv"));
    let output = run(&format!(
        "run http://{}/ --connections 64 --rate 400 --duration 1s --warmup 100ms --json {} --csv {}",
        served.plain,
        kept.display(),
        first.display()
    ));
    assert!(
        kept.metadata().is_ok_and(|file| file.len() > 0),
        "{}",
        words(&output)
    );
    let shown = run(&format!(
        "show {} --csv {}",
        kept.display(),
        again.display()
    ));
    assert_eq!(shown.status.code(), Some(0), "{}", words(&shown));
    assert!(String::from_utf8_lossy(&shown.stdout).contains("share of requests"));
    let [first_text, again_text] =
        [&first, &again].map(|path| std::fs::read_to_string(path).expect("a file"));
    assert_eq!(first_text, again_text);
    let review = run(&format!("review {} --json", kept.display()));
    let advice = json(&review);
    let advice = advice["advice"].as_array().expect("advice");
    // Which advice is the machine's affair, too.
    let has = |one: &Value, key: &str| one[key].as_str().is_some_and(|text| !text.is_empty());
    assert!(
        advice
            .iter()
            .all(|one| has(one, "rule") && has(one, "reason"))
    );
    for path in [kept, first, again] {
        std::fs::remove_file(path).expect("it is there");
    }
}
