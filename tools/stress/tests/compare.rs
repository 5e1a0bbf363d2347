//! `stress compare` from the outside. That it is neither blind nor nervous is `trials`'s.

mod common;

use std::path::{Path, PathBuf};

use common::{Served, json, run, words};

/// Files that are gone with their handle.
struct Runs(PathBuf);

impl Runs {
    fn new(name: &str) -> Self {
        let name = format!("stress-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Whether the run counts.
fn load(served: &Served, options: &str, file: &Path) -> bool {
    let output = run(&format!(
        "run http://{}/ {options} --json {}",
        served.plain,
        file.display()
    ));
    let code = output.status.code();
    assert!(code == Some(0) || code == Some(3), "{}", words(&output));
    code == Some(0)
}

/// Has the run that was kept count, or not.
fn judge(file: &Path, invalid: serde_json::Value) {
    let text = std::fs::read(file).expect("a file");
    let mut report: serde_json::Value = serde_json::from_slice(&text).expect("it is JSON");
    report["invalid"] = invalid;
    std::fs::write(file, report.to_string()).expect("a file");
}

#[test]
fn a_server_that_falls_silent_fails_a_limit_and_is_named() {
    let runs = Runs::new("silent");
    let (a, b) = (runs.file("a.json"), runs.file("b.json"));
    let (whole, hole) = (
        Served::start("--delay 2ms"),
        Served::start("--delay 2ms --fault stall@0s..1200ms/3s"),
    );
    for (served, file) in [(&whole, &a), (&hole, &b)] {
        load(served, "--connections 8 --duration 3s --warmup 0s", file);
        judge(file, serde_json::json!([]));
    }
    let output = run(&format!(
        "compare {} {} --fail-on throughput:-50%,p50:+1000%",
        a.display(),
        b.display()
    ));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}{}", words(&output));
    assert!(said.contains("ANSWERS: none in"), "{said}");
}

#[test]
fn a_limit_that_is_surely_exceeded_is_exit_code_1() {
    let runs = Runs::new("limit");
    let (quick, slow) = (Served::start("--delay 2ms"), Served::start("--delay 20ms"));
    let options = "--connections 32 --duration 2s --warmup 100ms";
    let (a, b) = (runs.file("a.json"), runs.file("b.json"));
    for (served, file) in [(&quick, &a), (&slow, &b)] {
        load(served, options, file);
        // How busy this machine is just now is not asked.
        judge(file, serde_json::json!([]));
    }
    let compare = |a: &Path, b: &Path, limits: &str| {
        run(&format!(
            "compare {} {} --fail-on {limits}",
            a.display(),
            b.display()
        ))
    };
    let exceeded = compare(&a, &b, "p50:+5%");
    let said = String::from_utf8_lossy(&exceeded.stdout).into_owned();
    assert_eq!(
        exceeded.status.code(),
        Some(1),
        "{said}{}",
        words(&exceeded)
    );
    assert!(said.contains("FAIL: p50"), "{said}");
    assert_eq!(compare(&a, &a, "p50:+5%").status.code(), Some(0), "itself");
    assert_eq!(
        compare(&b, &a, "p50:+5%").status.code(),
        Some(0),
        "it is better"
    );
    let blind = compare(&a, &a, "p999:+5%");
    assert_eq!(blind.status.code(), Some(2), "it cannot tell");
    let why = words(&blind);
    assert!(why.contains("p999 could not be compared: a block"), "{why}");
    let pattern = runs.file("[a]*.json");
    let pattern = run(&format!(
        "compare {} {} --json",
        pattern.display(),
        b.display()
    ));
    assert_eq!(json(&pattern)["runs"], serde_json::json!([1, 1]));
    let none = run(&format!("compare {}*.none {}", a.display(), b.display()));
    assert_eq!(none.status.code(), Some(2));
    let why = words(&none);
    assert!(why.contains("there is no such file"), "{why}");
    let pairs = run(&format!("compare {} {} --pairs", a.display(), b.display()));
    assert_eq!(pairs.status.code(), Some(2));
    let why = words(&pairs);
    assert!(why.contains("4 of each"), "{why}");
    let kept = std::fs::read(&b).expect("a file");
    let over = run(&format!(
        "compare {0} {1} --report {1}",
        a.display(),
        b.display()
    ));
    assert_eq!(over.status.code(), Some(2), "{}", words(&over));
    assert!(words(&over).contains("--report names the file that is read"));
    assert!(
        std::fs::read(&b).expect("a file") == kept,
        "it is as it was"
    );
    judge(&b, serde_json::json!(["the tool was late"]));
    let void = compare(&a, &b, "p50:+5%");
    assert_eq!(void.status.code(), Some(3), "it does not count");
    let nothing = run(&format!("compare {} /dev/null", a.display()));
    assert_eq!(nothing.status.code(), Some(2), "{}", words(&nothing));
}
