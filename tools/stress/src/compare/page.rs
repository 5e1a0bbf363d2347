//! A comparison as a page.
//!
//! Owns what the page says first. Never: judges, or lays out.

use super::{Change, Comparison, Judgement, Limit, show};
use crate::record::Kept;
use crate::report::{self, Beside, Row, Side};

/// The page of runs before and after, of which neither are none.
pub(super) fn page<'a>(
    comparison: &Comparison,
    exceeded: &[(Limit, Change)],
    notes: &[String],
    sides: [&'a [Kept]; 2],
) -> Beside<'a> {
    let head = show::head(comparison);
    let row = |change: &Change| {
        let judgement = change.judgement();
        Row {
            cells: show::cells(change).into_iter().take(head.len()).collect(),
            word: (judgement != Judgement::Same)
                .then(|| (judgement.name(), judgement == Judgement::Worse)),
        }
    };
    let omitted = comparison.omitted.iter();
    let omitted = omitted.map(|(metric, why)| format!("{} is not compared: {why}", metric.name()));
    let side = |runs: &'a [Kept]| Side {
        runs: runs.iter().map(|run| &run.result).collect(),
        command: &runs[0].command,
        plan: &runs[0].plan,
        host: &runs[0].host,
    };
    Beside {
        command: report::command(),
        sentences: sentences(comparison, exceeded, sides),
        rows: comparison.changes.iter().map(row).collect(),
        legend: show::legend(comparison),
        notes: omitted.chain(notes.iter().cloned()).collect(),
        sides: sides.map(side),
        head,
    }
}

/// What it came to, each with whether it is bad.
fn sentences(
    comparison: &Comparison,
    exceeded: &[(Limit, Change)],
    sides: [&[Kept]; 2],
) -> Vec<(bool, String)> {
    let is_invalid = |run: &&Kept| !run.result.invalid.is_empty();
    let invalid = sides.into_iter().flatten().filter(is_invalid).count();
    let runs = comparison.runs[0] + comparison.runs[1];
    let mut sentences = Vec::new();
    if invalid > 0 {
        sentences.push((
            true,
            format!("INVALID: {invalid} of {runs} runs, see below"),
        ));
    }
    let alarms = show::alarms(comparison, exceeded);
    sentences.extend(alarms.into_iter().map(|alarm| (true, alarm)));
    let all = comparison.changes.iter();
    let found = all.filter(|change| change.judgement() != Judgement::Same);
    let found = found.map(|change| {
        let judgement = change.judgement();
        let [name, _, _, changed, interval, ..] = show::cells(change);
        let word = judgement.name();
        let sentence = format!("{name} is {word}: {changed}, surely within {interval}");
        (judgement == Judgement::Worse, sentence)
    });
    let before = sentences.len();
    sentences.extend(found);
    if sentences.len() == before {
        sentences.push((false, "No difference is sure.".to_owned()));
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Dice, run};
    use super::*;
    use serde_json::json;

    fn kept(pace: f64) -> Kept {
        Kept {
            title: "run".to_owned(),
            result: run(&mut Dice(7), pace, 0.2),
            plan: json!({ "rate": null }),
            command: format!("stress run {pace}"),
            host: json!({ "kernel": "6.1" }),
        }
    }

    #[test]
    fn what_is_sure_stands_first_and_in_the_table() {
        let (before, after) = ([kept(1.0)], [kept(1.5)]);
        let comparison =
            Comparison::of(&[&before[0].result], &[&after[0].result], false).expect("long enough");
        let limit = Limit {
            metric: comparison.changes[0].metric,
            change: -0.1,
        };
        let exceeded = comparison.exceeded(&[limit]);
        let notes = ["a note".to_owned()];
        let page = page(&comparison, &exceeded, &notes, [&before, &after]);
        let (is_bad, first) = &page.sentences[0];
        assert!(*is_bad && first.starts_with("FAIL: throughput"), "{first}");
        let is_told =
            |(bad, said): &(bool, String)| *bad && said.starts_with("latency p50 is worse: +");
        assert!(page.sentences.iter().any(is_told), "{:?}", page.sentences);
        assert_eq!(page.rows.len(), comparison.changes.len());
        assert!(
            page.rows
                .iter()
                .all(|row| row.cells.len() == page.head.len())
        );
        assert_eq!(page.rows[0].word, Some(("worse", true)));
        assert_eq!(page.notes.len(), comparison.omitted.len() + 1);
        assert_eq!(page.sides[1].command, "stress run 1.5");
    }

    #[test]
    fn a_run_that_does_not_count_is_said_first_and_nothing_is_made_of_chance() {
        let (before, mut after) = ([kept(1.0)], [kept(1.0)]);
        after[0].result.invalid.push("the tool was late".to_owned());
        let comparison =
            Comparison::of(&[&before[0].result], &[&after[0].result], false).expect("long enough");
        let page = page(&comparison, &[], &[], [&before, &after]);
        let said = [
            (true, "INVALID: 1 of 2 runs, see below".to_owned()),
            (false, "No difference is sure.".to_owned()),
        ];
        assert_eq!(page.sentences, said);
        assert!(page.rows.iter().all(|row| row.word.is_none()));
    }
}
