//! The evidence that `stress compare` is neither blind nor nervous: trials of one build against itself, and against a backend
//! that is 10 % slower. Bounded, told as they come, and written as Markdown.

mod common;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{Served, json, run, words};
use serde_json::Value;

/// Whatever happens, it is over by then.
const WITHIN: Duration = Duration::from_secs(24 * 60);
/// Runs that the tool itself calls INVALID are made again, so many in all.
const SPARE: usize = 60;
/// Of each run. Shorter ones are too few blocks of too little to find a tenth in.
const LASTS: &str = "6s";
/// Of a hundred trials of one build against itself so many may be called different.
const ALARMS_MAX: f64 = 0.04;

/// The trials so far.
struct Trials {
    files: PathBuf,
    began: Instant,
    usual: Served,
    slow: Served,
    spare: usize,
    log: Vec<String>,
}

/// Why there are no more.
struct Over(&'static str);

impl Trials {
    fn new() -> Self {
        let files = std::env::temp_dir().join(format!("stress-trials-{}", std::process::id()));
        std::fs::create_dir_all(&files).expect("a directory");
        Self {
            files,
            began: Instant::now(),
            usual: Served::start("--service fixed:10ms"),
            slow: Served::start("--service fixed:11ms"),
            spare: SPARE,
            log: Vec::new(),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.join(name)
    }

    /// Makes a run that counts.
    fn load(&mut self, slow: bool, file: &Path) -> Result<(), Over> {
        let served = if slow { &self.slow } else { &self.usual };
        let line = format!(
            "run http://{}/ --connections 64 --duration {LASTS} --warmup 100ms --json {}",
            served.plain,
            file.display()
        );
        loop {
            if self.began.elapsed() > WITHIN {
                return Err(Over("the time was over"));
            }
            let output = run(&line);
            match output.status.code() {
                Some(0) => return Ok(()),
                Some(3) if self.spare > 0 => self.spare -= 1,
                Some(3) => {
                    return Err(Over("too many runs did not count: the machine is too busy"));
                }
                _ => panic!("{}", words(&output)),
            }
        }
    }

    /// What differs, by the tool's own word.
    fn compare(&self, before: &Path, after: &Path) -> Vec<String> {
        let line = format!("compare {} {} --json", before.display(), after.display());
        let said = json(&run(&line));
        let metrics = said["metrics"].as_object().expect("metrics").iter();
        let different = metrics.filter(|(_, one)| one["judgement"] != "same");
        different.map(|(name, one)| told(name, one)).collect()
    }

    /// Says it at once, and keeps it.
    fn say(&mut self, line: String) {
        let minutes = self.began.elapsed().as_secs_f64() / 60.0;
        eprintln!("{minutes:5.1} min  {line}");
        self.log.push(line);
    }
}

impl Drop for Trials {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.files);
    }
}

fn told(name: &str, one: &Value) -> String {
    let change = one["change"].as_f64().expect("a number") * 100.0;
    let end = |nth: usize| one["interval"][nth].as_f64().expect("a number") * 100.0;
    format!("{name} {change:+.1} % ({:+.1} to {:+.1})", end(0), end(1))
}

/// Trials of each kind, and those in which something was called different.
#[derive(Default)]
struct Count {
    made: usize,
    different: usize,
}

/// STRESS_TRIALS of one build against itself (100), each run with the one before, and STRESS_SLOW against the slower backend (20), spread
/// among them. STRESS_TRIALS_MD names the file for the result, else it is `compare-trials.md` among the target's temporary files.
#[test]
#[ignore = "fourteen minutes: run it by name, on a machine that does nothing else"]
fn trials() {
    let number = |name, default: usize| {
        std::env::var(name).map_or(default, |number| number.parse().expect("a number"))
    };
    let (wanted, wanted_slow) = (number("STRESS_TRIALS", 100), number("STRESS_SLOW", 20));
    let mut trials = Trials::new();
    let (mut itself, mut slower) = (Count::default(), Count::default());
    let over = all(
        &mut trials,
        (wanted, wanted_slow),
        (&mut itself, &mut slower),
    )
    .err();
    let text = markdown(&trials, &itself, &slower, over.as_ref());
    let named = std::env::var_os("STRESS_TRIALS_MD").map(PathBuf::from);
    let target = || Path::new(env!("CARGO_TARGET_TMPDIR")).join("compare-trials.md");
    let file = named.unwrap_or_else(target);
    std::fs::write(&file, &text).expect("a file");
    eprintln!("{text}\nwritten to {}", file.display());
    assert!(over.is_none(), "{}", over.map_or("", |over| over.0));
    let alarms = itself.different as f64 / itself.made.max(25) as f64;
    assert!(
        alarms <= ALARMS_MAX,
        "{} false alarms of {}",
        itself.different,
        itself.made
    );
    assert_eq!(
        slower.different, slower.made,
        "those that are slower and were found"
    );
}

fn all(
    trials: &mut Trials,
    (wanted, wanted_slow): (usize, usize),
    (itself, slower): (&mut Count, &mut Count),
) -> Result<(), Over> {
    let (mut before, mut after) = (trials.file("a.json"), trials.file("b.json"));
    let slow = trials.file("slow.json");
    let every = (wanted / wanted_slow.max(1)).max(1);
    trials.load(false, &before)?;
    for nth in 0..wanted {
        trials.load(false, &after)?;
        let different = trials.compare(&before, &after);
        itself.made += 1;
        itself.different += usize::from(!different.is_empty());
        trials.say(format!("{}: itself: {}", nth + 1, list(&different)));
        if nth % every == 0 && slower.made < wanted_slow {
            trials.load(true, &slow)?;
            let different = trials.compare(&after, &slow);
            slower.made += 1;
            slower.different += usize::from(different.iter().any(|one| one.starts_with("p50 +")));
            trials.say(format!("{}: slower: {}", nth + 1, list(&different)));
        }
        std::mem::swap(&mut before, &mut after);
    }
    Ok(())
}

fn list(different: &[String]) -> String {
    match different.is_empty() {
        true => "no difference".to_owned(),
        false => different.join(", "),
    }
}

fn markdown(trials: &Trials, itself: &Count, slower: &Count, over: Option<&Over>) -> String {
    let minutes = trials.began.elapsed().as_secs_f64() / 60.0;
    let mut text = format!(
        "| trials | of | called different |\n|---|---|---|\n\
         | one build against itself, each run with the one before | {} | {} |\n\
         | against a backend that takes 11 ms instead of 10 ms, found by p50 | {} | {} |\n\n\
         Runs of {LASTS} at 64 connections, {} of which did not count and were made again; {minutes:.1} minutes.\n",
        itself.made,
        itself.different,
        slower.made,
        slower.different,
        SPARE - trials.spare,
    );
    if let Some(Over(why)) = over {
        let _ = writeln!(text, "\n**Incomplete**: {why}.");
    }
    text += "\n";
    let told = |line: &&String| !line.ends_with("itself: no difference");
    for line in trials.log.iter().filter(told) {
        let _ = writeln!(text, "- {line}");
    }
    text
}
