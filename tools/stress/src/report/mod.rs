//! What a run found, and where it goes: a table for people, JSON for programs.
//!
//! Everything said here is computed from what was measured.

pub(crate) use table::times;

mod json;
mod table;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use host::Host;
use scenarios::{Conclusion, Findings};

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::load::{LoadPlan, LoadResult};
use crate::progress::{Progress, colour_wanted};

/// A whole run: one phase, or those of a scenario.
#[derive(Debug)]
pub(crate) struct Report {
    /// The scenario's name, if it was one.
    pub(crate) scenario: Option<&'static str>,
    /// In the order in which they ran; the interrupted one last.
    pub(crate) phases: Vec<Phase>,
    /// What it all means, if the scenario has an opinion.
    pub(crate) verdict: Option<Verdict>,
    /// What the scenario found, if it is judged by criteria.
    pub(crate) findings: Option<Findings>,
}

/// One load and its result.
#[derive(Debug)]
pub(crate) struct Phase {
    /// What is loaded, such as `TLS`. Neighbours of one subject stand under one heading, and
    /// two of them are compared: the first with the second.
    pub(crate) subject: &'static str,
    /// What sets it apart within its subject, such as `no reuse`; empty if nothing does.
    pub(crate) variant: &'static str,
    /// What was asked for.
    pub(crate) plan: LoadPlan,
    /// What came back.
    pub(crate) result: LoadResult,
}

/// A scenario's conclusion.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// Whether what the scenario expects came true; if not, the exit code is 1.
    pub(crate) held: bool,
    /// In words, one sentence a line.
    pub(crate) sentences: Vec<String>,
    /// The figures behind the words.
    pub(crate) factors: Vec<(String, f64)>,
}

impl Report {
    /// The report of a single load.
    pub(crate) fn of_run(phase: Phase) -> Self {
        Self {
            scenario: None,
            phases: vec![phase],
            verdict: None,
            findings: None,
        }
    }

    /// The report of a scenario that is judged by criteria.
    pub(crate) fn of_findings(scenario: &'static str, findings: Findings) -> Self {
        Self {
            scenario: Some(scenario),
            phases: Vec::new(),
            verdict: None,
            findings: Some(findings),
        }
    }

    /// Whether the tool itself, or the machine as it was, kept anything from being found.
    pub(crate) fn is_invalid(&self) -> bool {
        let conclusion = self.findings.as_ref().map(Findings::outcome);
        conclusion == Some(Conclusion::Invalid)
            || self.phases.iter().any(|p| !p.result.invalid.is_empty())
    }

    /// Whether any phase was ended early by the user.
    pub(crate) fn interrupted(&self) -> bool {
        self.phases.iter().any(|phase| phase.result.interrupted)
    }

    /// Whether requests were answered and none failed, and the verdict and all criteria held. A run that the user
    /// ended before anything was answered is fine too.
    pub(crate) fn is_fine(&self) -> bool {
        let answered =
            |p: &Phase| p.result.failed_total() == 0 && (p.result.ok > 0 || p.result.interrupted);
        let passed = |findings: &Findings| findings.outcome() == Conclusion::Pass;
        self.phases.iter().all(answered)
            && self.verdict.as_ref().is_none_or(|v| v.held)
            && self.findings.as_ref().is_none_or(passed)
    }
}

impl Phase {
    /// Carries out `plan`, showing its progress.
    pub(crate) fn measure(
        subject: &'static str,
        plan: LoadPlan,
        progress: &Progress,
        interrupt: &Interrupt,
    ) -> Result<Self, Failure> {
        Self::measure_variant(subject, "", plan, progress, interrupt)
    }

    /// Carries out `plan` as one variant of `subject`, showing its progress.
    pub(crate) fn measure_variant(
        subject: &'static str,
        variant: &'static str,
        plan: LoadPlan,
        progress: &Progress,
        interrupt: &Interrupt,
    ) -> Result<Self, Failure> {
        let mut phase = Self {
            subject,
            variant,
            plan,
            result: LoadResult::default(),
        };
        let shown = progress.phase(&phase.title(), phase.plan.warmup + phase.plan.duration);
        phase.result = crate::drive::run(&phase.plan, progress, interrupt)?;
        drop(shown);
        Ok(phase)
    }

    /// Subject and variant, for a heading.
    pub(crate) fn title(&self) -> String {
        match self.variant {
            "" => self.subject.to_owned(),
            variant => format!("{}, {variant}", self.subject),
        }
    }

    /// The title as a key: lower case, words joined by underscores.
    pub(crate) fn key(&self) -> String {
        let words = self.title().to_lowercase().replace(',', "");
        words.split_whitespace().collect::<Vec<_>>().join("_")
    }
}

/// Where `--json` sends the report.
#[derive(Debug)]
pub(crate) enum JsonTarget {
    /// Standard output, which then carries nothing else.
    Stdout,
    /// A file, created before the run: better to learn now that it cannot be.
    File(PathBuf, File),
}

impl JsonTarget {
    /// Understands `-` and creates anything else.
    pub(crate) fn open(path: PathBuf) -> Result<Self, Failure> {
        if path.as_os_str() == "-" {
            return Ok(Self::Stdout);
        }
        match File::create(&path) {
            Ok(file) => Ok(Self::File(path, file)),
            Err(e) => Err(Failure::Usage(format!(
                "cannot write {}: {e}",
                path.display()
            ))),
        }
    }
}

/// Shows the table, on standard output unless JSON goes there, and writes the JSON.
pub(crate) fn show(report: &Report, json: Option<JsonTarget>, host: &Host) -> Result<(), Failure> {
    let table = |terminal: bool| table::render(report, terminal && colour_wanted());
    match json {
        None => write(io::stdout(), &table(io::stdout().is_terminal())),
        Some(JsonTarget::Stdout) => {
            write(io::stderr(), &table(io::stderr().is_terminal()))?;
            write(io::stdout(), &json::render(report, host))
        }
        Some(JsonTarget::File(path, mut file)) => {
            write(io::stdout(), &table(io::stdout().is_terminal()))?;
            file.write_all(json::render(report, host).as_bytes())
                .map_err(|e| Failure::Run(format!("cannot write {}: {e}", path.display())))
        }
    }
}

/// Says a line at once: on standard output, unless JSON goes there. A reader that has gone away is no failure.
pub(crate) fn teller(json: Option<&JsonTarget>) -> impl Fn(&str) + use<> {
    let aside = matches!(json, Some(JsonTarget::Stdout));
    move |line: &str| {
        let line = format!("{line}\n");
        let _ = if aside {
            write(io::stderr(), &line)
        } else {
            write(io::stdout(), &line)
        };
    }
}

/// Writes what is not a whole report.
pub(crate) fn write_json(to: Option<JsonTarget>, json: &serde_json::Value) -> Result<(), Failure> {
    let text = format!("{json:#}\n");
    match to {
        None => Ok(()),
        Some(JsonTarget::Stdout) => write(io::stdout(), &text),
        Some(JsonTarget::File(_, file)) => write(file, &text),
    }
}

/// Writes all of `text`. A reader that has gone away (`stress | head`) is no failure.
pub(crate) fn write(mut out: impl Write, text: &str) -> Result<(), Failure> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Run(format!("cannot write the output: {e}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A whole number with its thousands set apart: `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::load::WayIn;
    use crate::measure::{self, CpuTime};
    use crate::traffic::Traffic;
    use std::time::Duration;

    /// A phase with figures that are easy to follow.
    pub(crate) fn phase(subject: &'static str, variant: &'static str, ok: u64) -> Phase {
        let mut result = LoadResult {
            ok,
            elapsed: Duration::from_secs(2),
            cpu: CpuTime {
                user: Duration::from_micros(ok),
                system: Duration::from_micros(4 * ok),
            },
            hits: ok,
            connections_opened: 64,
            handshakes_full: 1,
            handshakes_resumed: 63,
            handshake_seconds_avoided: 1.5,
            ..LoadResult::default()
        };
        for _ in 0..ok {
            measure::record(&mut result.latency, Duration::from_micros(100_000 / ok));
        }
        let plan = LoadPlan {
            url: "http://127.0.0.1:1/".to_owned(),
            connections: 64,
            shards: 1,
            duration: Duration::from_secs(2),
            warmup: Duration::ZERO,
            reuse: variant != "no reuse",
            warm: true,
            resume: true,
            rate: None,
            ca: None,
            way: WayIn::Shards,
            traffic: Traffic::default(),
        };
        Phase {
            subject,
            variant,
            plan,
            result,
        }
    }

    #[test]
    fn numbers_are_grouped_in_thousands() {
        let grouped = [0, 7, 999, 1000, 65_536, 1_234_567].map(grouped);
        assert_eq!(grouped, ["0", "7", "999", "1,000", "65,536", "1,234,567"]);
    }

    #[test]
    fn a_run_is_fine_only_if_all_was_answered() {
        let mut report = Report::of_run(phase("run", "", 10));
        assert!(report.is_fine());
        report.phases[0].result.failed.insert("reset".into(), 1);
        assert!(!report.is_fine());
        report.phases[0] = phase("run", "", 10);
        report.phases[0].result.ok = 0;
        assert!(!report.is_fine(), "nothing answered");
        report.phases[0].result.interrupted = true;
        assert!(report.is_fine(), "the user ended it");
        report.verdict = Some(Verdict {
            held: false,
            sentences: vec![],
            factors: vec![],
        });
        assert!(!report.is_fine(), "the verdict did not hold");
    }

    #[test]
    fn keys_are_made_of_titles() {
        assert_eq!(
            phase("plain HTTP", "no reuse", 1).key(),
            "plain_http_no_reuse"
        );
        assert_eq!(phase("run", "", 1).key(), "run");
    }
}
