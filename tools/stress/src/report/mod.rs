//! What a run found, and where it goes: a table for people, JSON for programs, a page for a browser.
//!
//! Everything said here is computed from what was measured.
//!
//! | file | concept |
//! |---|---|
//! | `html` | the page, and its charts |
//! | `json` | the report for programs |
//! | `members` | agents, each beside the others |
//! | `outputs` | files that are to be kept |
//! | `over_time` | CSV, and HdrHistogram's log |
//! | `picture` | latencies as lines of text |
//! | `table` | figures as rows, phases as columns |

pub(crate) use html::{Beside, Row, Side};
pub(crate) use json::command;
pub(crate) use outputs::{OutputOptions, Outputs};
pub(crate) use table::times;

mod html;
mod json;
mod members;
mod outputs;
mod over_time;
mod picture;
mod table;

use std::io::{self, IsTerminal, Write};

use host::Host;
use scenarios::{Conclusion, Findings};
use serde_json::Value;

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::load::{LoadPlan, LoadResult};
use crate::progress::{Progress, colour_wanted};
use crate::record::Kept;

const INTERRUPTED: &str = "Interrupted: this covers what was measured until then.";

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

    /// What it all came to, one sentence a line.
    fn sentences(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        if let Some(findings) = &self.findings {
            sentences.push(findings.outcome().name().to_owned());
            sentences.extend(findings.invalid.iter().cloned());
        }
        sentences.extend(self.verdict.iter().flat_map(|v| v.sentences.clone()));
        let failed: u64 = self.phases.iter().map(|p| p.result.failed_total()).sum();
        if self.interrupted() {
            sentences.push(INTERRUPTED.to_owned());
        }
        if failed > 0 {
            sentences.push(format!("{} requests failed.", grouped(failed)));
        } else if sentences.is_empty() {
            sentences.push("Every request was answered.".to_owned());
        }
        sentences
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
        // Where there are criteria they say which calls may fail.
        (self.findings.is_some() || self.phases.iter().all(answered))
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

    /// The phase of a plan that `carry_out` carries out.
    pub(crate) fn of(
        subject: &'static str,
        plan: LoadPlan,
        carry_out: impl FnOnce(&LoadPlan) -> Result<LoadResult, Failure>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            subject,
            variant: "",
            result: carry_out(&plan)?,
            plan,
        })
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

/// A run as all ways to show it take it.
pub(crate) struct View<'a> {
    /// For people.
    pub(crate) title: String,
    /// For programs.
    pub(crate) key: String,
    /// What was asked for, as in JSON.
    pub(crate) plan: Value,
    pub(crate) result: &'a LoadResult,
}

impl Phase {
    fn view(&self) -> View<'_> {
        View {
            title: self.title(),
            key: self.key(),
            plan: json::plan(&self.plan),
            result: &self.result,
        }
    }
}

/// Shows the table, on standard output unless JSON goes there, and writes what is to be kept.
pub(crate) fn show(report: &Report, mut outputs: Outputs, host: &Host) -> Result<(), Failure> {
    let table = |terminal: bool| {
        let colour = terminal && colour_wanted();
        let mut text = table::render(report, colour);
        // Criteria are the whole of what a scenario has to say that has any.
        for phase in report.phases.iter().filter(|_| report.findings.is_none()) {
            text += &members::text(&phase.result.members);
            text += &picture::render(&phase.view(), colour);
        }
        text
    };
    if outputs.takes_stdout() {
        write(io::stderr(), &table(io::stderr().is_terminal()))?;
    } else {
        write(io::stdout(), &table(io::stdout().is_terminal()))?;
    }
    if let Some(target) = outputs.json.take() {
        target.write(json::render(report, host).as_bytes())?;
    }
    let command = json::command();
    let views: Vec<View<'_>> = report.phases.iter().map(Phase::view).collect();
    let page = html::Page {
        title: match (report.scenario, views.as_slice()) {
            (Some(scenario), _) => format!("stress scenario {scenario}"),
            (None, [view]) => title(view),
            (None, _) => "stress".to_owned(),
        },
        command: &command,
        verdict: Some(report.is_fine()),
        sentences: report.sentences(),
        findings: report.findings.as_ref(),
        host: &host.json(),
        runs: &views,
    };
    keep(&page, outputs)
}

/// The report as `--json` writes it.
pub(crate) fn json_of(report: &Report, host: &Host) -> String {
    json::render(report, host)
}

/// Shows a run that was kept.
pub(crate) fn show_kept(kept: &Kept, outputs: Outputs) -> Result<(), Failure> {
    let view = View {
        title: kept.title.clone(),
        key: kept.title.clone(),
        plan: kept.plan.clone(),
        result: &kept.result,
    };
    let terminal = io::stdout().is_terminal();
    let colour = terminal && colour_wanted();
    write(
        io::stdout(),
        &(reservations(&kept.result)
            + &members::text(&kept.result.members)
            + &picture::render(&view, colour)),
    )?;
    let page = html::Page {
        title: title(&view),
        command: &kept.command,
        verdict: None,
        sentences: Vec::new(),
        findings: None,
        host: &kept.host,
        runs: &[view],
    };
    keep(&page, outputs)
}

/// Why a run that was kept does not count, or not as a whole one, a line each.
fn reservations(result: &LoadResult) -> String {
    let invalid = result.invalid.iter().map(|why| format!("INVALID: {why}\n"));
    let interrupted = result.interrupted.then(|| format!("{INTERRUPTED}\n"));
    invalid.chain(interrupted).collect()
}

/// A run's name on its page.
fn title(view: &View<'_>) -> String {
    let url = view.plan["url"].as_str().unwrap_or_default();
    format!("stress {} {url}", view.title)
}

/// Writes the files that are for other programs than this.
fn keep(page: &html::Page<'_>, outputs: Outputs) -> Result<(), Failure> {
    if let Some(target) = outputs.csv {
        target.write(over_time::csv(page.runs).as_bytes())?;
    }
    if let Some(target) = outputs.hlog {
        target.write(&over_time::hlog(page.runs, page.command))?;
    }
    if let Some(target) = outputs.report {
        target.write(page.render().as_bytes())?;
    }
    Ok(())
}

/// Writes all of `text`. A reader that has gone away (`stress | head`) is no failure.
pub(crate) fn write(out: impl Write, text: &str) -> Result<(), Failure> {
    outputs::write(out, text.as_bytes())
}

/// A share in percent, cut and not rounded: 99.996 % is not all.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.2} %", (share * 1e4).floor() / 1e2)
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
    use crate::packed::Packed;
    use crate::series::{Counters, PoolState, Sample};
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

    /// A run of `samples` intervals of 100 ms, in each of which something else happens.
    pub(crate) fn busy(samples: u64) -> Phase {
        let mut phase = phase("run", "", 1000);
        let result = &mut phase.result;
        result.latency.reset();
        result.series.interval = Duration::from_millis(100);
        result.elapsed = result.series.interval * samples as u32;
        result.failed.insert("closed".into(), samples / 3);
        for nth in 0..samples {
            let mut latency = measure::latencies();
            for request in 0..50 {
                let time = Duration::from_micros(200 + 40 * nth + request * request * request);
                measure::record(&mut latency, time);
            }
            result.latency.add(&latency).expect("the same bounds");
            let failed = u64::from(nth % 3 == 2);
            result.series.samples.push(Sample {
                start: result.series.interval * nth as u32,
                length: result.series.interval,
                ok: 50,
                failed: (failed > 0)
                    .then(|| ("closed".to_owned(), 1))
                    .into_iter()
                    .collect(),
                latency: Packed::of(&latency),
                pool: (nth != 1).then(|| PoolState {
                    idle: nth % 5,
                    leased: 60 - nth % 5,
                    dialing: nth % 2,
                    waiters: nth % 4,
                    connections: 62,
                    sockets: 62,
                    ..PoolState::default()
                }),
                counters: Counters {
                    hits: 49,
                    misses: 1,
                    dials: nth % 3,
                    ..Counters::default()
                },
                cpu: CpuTime {
                    user: Duration::from_millis(20),
                    system: Duration::from_millis(30),
                },
            });
        }
        result.ok = 50 * samples;
        phase
    }

    pub(crate) fn view(phase: &Phase) -> View<'_> {
        phase.view()
    }

    #[test]
    fn a_run_that_does_not_count_says_so_when_it_is_shown_again() {
        let mut result = phase("run", "", 1).result;
        assert_eq!(reservations(&result), "");
        result.invalid.push("the tool was late".to_owned());
        result.interrupted = true;
        let told = reservations(&result);
        assert_eq!(told, format!("INVALID: the tool was late\n{INTERRUPTED}\n"));
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
