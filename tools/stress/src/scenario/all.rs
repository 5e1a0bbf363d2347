//! All scenarios, one after the other, as one table.
//!
//! Owns the table: what each expects, what was measured, its verdict. Each runs as a process of its own, so that it begins as it does
//! alone, and none takes the others with it; it is read by its JSON. Never: judges.

use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::AllOptions;
use crate::failure::{EXIT_MACHINE, EXIT_REQUESTS_FAILED, Failure};
use crate::interrupt::Interrupt;
use crate::report;

/// The longest that ships takes some two minutes.
const LASTS_MAX: Duration = Duration::from_secs(900);
/// How long one may take to end once the user wants that.
const GRACE: Duration = Duration::from_secs(10);
/// How often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(50);
/// A report takes a few megabytes for each of its runs.
const REPORT_MAX: u64 = 256 << 20;

/// What came of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Pass,
    Fail,
    Invalid,
    /// It could not be run.
    Missing,
}

/// One line of the table.
#[derive(Debug, PartialEq)]
struct Told {
    name: String,
    verdict: Verdict,
    /// What was expected, and what was found, side by side.
    lines: Vec<(String, String)>,
    /// Why it does not count, or was not run.
    whys: Vec<String>,
}

/// Runs those that were asked for, and shows each as soon as it has ended.
pub(crate) fn run(options: &AllOptions) -> Result<ExitCode, Failure> {
    let known = super::names();
    let only = options.only.as_deref();
    if let Some(name) = only.and_then(|only| {
        only.iter()
            .find(|name| !known.iter().any(|(known, _)| known == *name))
    }) {
        return Err(super::unknown(name));
    }
    let wanted = known
        .iter()
        .filter(|(name, _)| only.is_none_or(|only| only.iter().any(|one| one == name)));
    let interrupt = Interrupt::install()?;
    let say = |text: &str| report::write(io::stdout(), text);
    if options.markdown {
        say("| scenario | expected | measured | verdict |\n|---|---|---|---|\n")?;
    }
    let mut worst = Verdict::Pass;
    for (name, about) in wanted {
        if interrupt.requested() {
            worst = worst.or(Verdict::Missing);
            break;
        }
        let told = one(name, about, &interrupt)?;
        worst = worst.or(told.verdict);
        say(&match options.markdown {
            true => told.markdown(),
            false => told.text(),
        })?;
    }
    Ok(interrupt.exit_or(match worst {
        Verdict::Pass => ExitCode::SUCCESS,
        Verdict::Fail => ExitCode::from(EXIT_REQUESTS_FAILED),
        Verdict::Invalid | Verdict::Missing => ExitCode::from(EXIT_MACHINE),
    }))
}

/// Runs one to its end.
fn one(name: &str, about: &str, interrupt: &Interrupt) -> Result<Told, Failure> {
    let broken = |e: io::Error| Failure::Run(format!("cannot run {name}: {e}"));
    let mut child = Command::new(std::env::current_exe().map_err(broken)?)
        .args(["scenario", name, "--json", "-"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(broken)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let report = thread::spawn(move || {
        let mut text = String::new();
        let read = stdout.map(|out| out.take(REPORT_MAX).read_to_string(&mut text));
        read.is_some_and(|read| read.is_ok()).then_some(text)
    });
    let said = thread::spawn(move || stderr.and_then(forward));
    let in_time = await_end(&mut child, interrupt).map_err(broken)?;
    let (report, said) = (joined(report), joined(said));
    let report: Option<Value> = report.and_then(|text| serde_json::from_str(&text).ok());
    Ok(match report {
        Some(report) if in_time => Told::of(name, about, &report),
        Some(_) | None => {
            let late = || (!in_time).then(|| format!("it had not ended after {LASTS_MAX:?}"));
            Told {
                name: name.to_owned(),
                verdict: Verdict::Missing,
                lines: vec![(about.to_owned(), String::new())],
                whys: late().or(said).into_iter().collect(),
            }
        }
    })
}

fn joined<T>(thread: JoinHandle<Option<T>>) -> Option<T> {
    thread.join().unwrap_or_default()
}

/// Says again what it says on standard error; of that, why it stopped.
fn forward(from: impl Read) -> Option<String> {
    let mut why = None;
    for line in BufReader::new(from).lines() {
        let Ok(line) = line else { break };
        let _ = writeln!(io::stderr(), "{line}");
        if let Some(said) = line.strip_prefix("stress: ") {
            why = Some(said.to_owned());
        }
    }
    why
}

/// Waits for its end; whether it came by itself.
fn await_end(child: &mut Child, interrupt: &Interrupt) -> io::Result<bool> {
    let begun = Instant::now();
    let mut wanted: Option<Instant> = None;
    while child.try_wait()?.is_none() {
        // A terminal's Ctrl-C has reached it as well.
        if interrupt.requested() {
            wanted.get_or_insert_with(Instant::now);
        }
        let is_late = begun.elapsed() > LASTS_MAX;
        if is_late || wanted.is_some_and(|wanted| wanted.elapsed() > GRACE) {
            child.kill()?;
            child.wait()?;
            return Ok(!is_late);
        }
        thread::sleep(LOOK);
    }
    Ok(true)
}

impl Verdict {
    /// The worse of both.
    fn or(self, other: Self) -> Self {
        let rank = |verdict: Self| match verdict {
            Self::Pass => 0,
            Self::Missing => 1,
            Self::Invalid => 2,
            Self::Fail => 3,
        };
        if rank(other) > rank(self) {
            other
        } else {
            self
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Invalid => "INVALID",
            Self::Missing => "not run",
        }
    }
}

impl Told {
    /// What a scenario's report says, whose line in the list is `about`.
    fn of(name: &str, about: &str, report: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let texts = |value: &Value| -> Vec<String> {
            let all = value.as_array().into_iter().flatten();
            all.map(text).collect()
        };
        let mut whys = texts(&report["invalid"]);
        let phases = report["phases"].as_object().into_iter().flatten();
        for why in phases.flat_map(|(_, phase)| texts(&phase["invalid"])) {
            if !whys.iter().any(|known| known.contains(&why)) {
                whys.push(why);
            }
        }
        let criteria = report["criteria"].as_array().into_iter().flatten();
        let mut lines: Vec<_> = criteria
            .map(|one| {
                let expected = format!("{}: {}", text(&one["says"]), text(&one["bound_text"]));
                let mark = if one["holds"] == true { "" } else { " (FAIL)" };
                (expected, format!("{}{mark}", text(&one["value_text"])))
            })
            .collect();
        if lines.is_empty() {
            lines.push((about.to_owned(), text(&report["verdict"]["text"])));
        }
        let has_held = report["outcome"] == "PASS" || report["verdict"]["held"] == true;
        let verdict = match (whys.is_empty(), has_held) {
            (false, _) => Verdict::Invalid,
            (true, true) => Verdict::Pass,
            (true, false) => Verdict::Fail,
        };
        Self {
            name: name.to_owned(),
            verdict,
            lines,
            whys,
        }
    }

    fn markdown(&self) -> String {
        let cell = |text: &str| text.replace('|', "\\|");
        let column = |of: fn(&(String, String)) -> &String| {
            let cells: Vec<String> = self.lines.iter().map(|line| cell(of(line))).collect();
            cells.join("<br>")
        };
        let mut verdict = self.verdict.name().to_owned();
        for why in &self.whys {
            verdict += &format!("<br>{}", cell(why));
        }
        format!(
            "| `{}` | {} | {} | {verdict} |\n",
            self.name,
            column(|line| &line.0),
            column(|line| &line.1)
        )
    }

    fn text(&self) -> String {
        let mut text = format!("{:<19} {}\n", self.name, self.verdict.name());
        for (expected, measured) in &self.lines {
            text += &format!("{:<19} {expected}: {measured}\n", "");
        }
        for why in &self.whys {
            text += &format!("{:<19} {why}\n", "");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scenarios::{Bound, Findings, Unit};
    use serde_json::json;

    fn findings() -> Findings {
        let mut findings = Findings::new(&["all"]);
        findings.must(
            "opened",
            "opened | all",
            Unit::Count,
            6.0,
            Bound::AtMost(6.0),
        );
        findings.must("p50", "p50", Unit::Millis, 7.5, Bound::AtMost(5.0));
        findings
    }

    #[test]
    fn criteria_stand_beside_what_was_measured() {
        let told = Told::of("burst", "bursts", &findings().json());
        assert_eq!(
            told.markdown(),
            "| `burst` | opened \\| all: at most 6<br>p50: at most 5.00 ms | 6<br>7.50 ms (FAIL) | FAIL |\n"
        );
    }

    #[test]
    fn what_does_not_count_says_why_once() {
        let mut report = findings().json();
        report["invalid"] = json!(["2: the tool was late"]);
        report["phases"] = json!({ "a": { "invalid": ["the tool was late"] } });
        let told = Told::of("burst", "bursts", &report);
        assert_eq!(told.verdict, Verdict::Invalid);
        assert_eq!(told.whys, ["2: the tool was late"]);
    }

    #[test]
    fn one_with_a_verdict_in_words_tells_those() {
        let mut report = json!({ "verdict": { "held": true, "text": "Good." }, "phases": {} });
        let told = Told::of("demo", "with reuse and without", &report);
        assert_eq!(told.verdict, Verdict::Pass);
        assert_eq!(
            told.lines[0],
            ("with reuse and without".to_owned(), "Good.".to_owned())
        );
        report["phases"] = json!({ "a": { "invalid": ["the tool was late"] } });
        let told = Told::of("demo", "", &report);
        assert_eq!(told.verdict, Verdict::Invalid);
    }

    #[test]
    fn a_failure_is_worse_than_anything() {
        use Verdict::{Fail, Invalid, Missing, Pass};
        assert_eq!(Pass.or(Missing).or(Invalid).or(Fail).or(Pass), Fail);
        assert_eq!(Pass.or(Pass), Pass);
    }
}
