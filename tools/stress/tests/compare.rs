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

fn load(served: &Served, options: &str, file: &Path) {
    let output = run(&format!(
        "run http://{}/ {options} --json {}",
        served.plain,
        file.display()
    ));
    let code = output.status.code();
    assert!(code == Some(0) || code == Some(3), "{}", words(&output));
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
    load(&quick, options, &a);
    load(&slow, options, &b);
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
    let nothing = run(&format!("compare {} /dev/null", a.display()));
    assert_eq!(nothing.status.code(), Some(2), "{}", words(&nothing));
}

/// Trials of one build against itself, STRESS_TRIALS of them (100), and against a backend that is 10 % slower, STRESS_SLOW of them (20).
/// `docs/stress-report.md` tells what came of it.
#[test]
#[ignore = "minutes: run it by name, on a machine that does nothing else"]
fn trials() {
    let number = |name, default| {
        std::env::var(name).map_or(default, |number| number.parse().expect("a number"))
    };
    let (trials, slow_trials) = (number("STRESS_TRIALS", 100), number("STRESS_SLOW", 20));
    let options = "--connections 64 --duration 2s --warmup 100ms";
    let runs = Runs::new("trials");
    let (usual, slow) = (Served::start("--delay 10ms"), Served::start("--delay 11ms"));
    let files = ["a.json", "b.json", "slow.json"].map(|name| runs.file(name));
    let (mut alarms, mut found) = (0_usize, 0_usize);
    for trial in 0..trials {
        load(&usual, options, &files[0]);
        load(&usual, options, &files[1]);
        let alarm = different(&files[0], &files[1]);
        alarms += usize::from(!alarm.is_empty());
        eprintln!("{trial}: itself {alarm:?}");
        if trial < slow_trials {
            load(&slow, options, &files[2]);
            let change = different(&files[1], &files[2]);
            let is_named = |name: &&str| change.iter().any(|one| one.starts_with(*name));
            found += usize::from(["p50", "throughput"].iter().all(is_named));
            eprintln!("{trial}: slower {change:?}");
        }
    }
    eprintln!("false alarms: {alarms} of {trials}; 10 % slower found: {found} of {slow_trials}");
    assert!(
        alarms * 25 <= trials.max(25),
        "{alarms} false alarms of {trials}"
    );
    assert_eq!(found, slow_trials, "those that are slower and were found");
}
