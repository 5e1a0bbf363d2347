//! `stress compare` from the outside, and the evidence that it is neither blind nor nervous.

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

/// What differs, by the tool's own word.
fn different(before: &Path, after: &Path) -> Vec<String> {
    let output = run(&format!(
        "compare {} {} --json",
        before.display(),
        after.display()
    ));
    let said = json(&output);
    let metrics = said["metrics"].as_object().expect("metrics").iter();
    metrics
        .filter(|(_, one)| one["judgement"] != "same")
        .map(|(name, one)| format!("{name} {:+.1} %", 100.0 * one["change"].as_f64().unwrap()))
        .collect()
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
    let blind = compare(&a, &b, "p999:+5%");
    assert_eq!(
        blind.status.code(),
        Some(2),
        "it cannot tell: {}",
        words(&blind)
    );
    judge(&b, serde_json::json!(["the tool was late"]));
    let void = compare(&a, &b, "p50:+5%");
    assert_eq!(void.status.code(), Some(3), "it does not count");
    let nothing = run(&format!("compare {} /dev/null", a.display()));
    assert_eq!(nothing.status.code(), Some(2), "{}", words(&nothing));
}

/// Trials of one build against itself, STRESS_TRIALS of them (100), and against a backend that is 10 % slower, STRESS_SLOW of them (20).
/// Each run is compared with the one before it. A run that the tool itself calls INVALID is made again, ten times in all.
/// `docs/stress-report.md` tells what came of it.
#[test]
#[ignore = "a quarter of an hour: run it by name, on a machine that does nothing else"]
fn trials() {
    let number = |name, default: usize| {
        std::env::var(name).map_or(default, |number| number.parse().expect("a number"))
    };
    let (trials, slow_trials) = (number("STRESS_TRIALS", 100), number("STRESS_SLOW", 20));
    let options = "--connections 64 --duration 6s --warmup 100ms";
    let runs = Runs::new("trials");
    let (usual, slow) = (Served::start("--delay 10ms"), Served::start("--delay 11ms"));
    let mut spare = 10_usize;
    let mut valid = |served: &Served, file: &Path| {
        while !load(served, options, file) {
            spare = spare.checked_sub(1).expect("the machine is too busy");
        }
    };
    let [mut before, mut after, other] =
        ["a.json", "b.json", "slow.json"].map(|name| runs.file(name));
    valid(&usual, &before);
    let (mut alarms, mut found) = (0_usize, 0_usize);
    for trial in 0..trials {
        valid(&usual, &after);
        let alarm = different(&before, &after);
        alarms += usize::from(!alarm.is_empty());
        eprintln!("{trial}: itself {alarm:?}");
        if trial < slow_trials {
            valid(&slow, &other);
            let change = different(&after, &other);
            found += usize::from(change.iter().any(|one| one.starts_with("p50")));
            eprintln!("{trial}: slower {change:?}");
        }
        std::mem::swap(&mut before, &mut after);
    }
    eprintln!("false alarms: {alarms} of {trials}; 10 % slower found: {found} of {slow_trials}");
    assert!(
        alarms * 25 <= trials.max(25),
        "{alarms} false alarms of {trials}"
    );
    assert_eq!(found, slow_trials, "those that are slower and were found");
}
