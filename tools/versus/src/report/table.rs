//! The report for people.

use super::{figures, ratios};
use crate::host::Host;
use crate::rounds::{Compared, Plan};
use crate::stats::Spread;
use std::fmt::Write;

/// What holds for all tables.
pub(crate) fn heading(host: &Host, plan: &Plan) -> String {
    let (rounds, seconds) = (plan.rounds, plan.seconds);
    format!(
        "{}\n{rounds} rounds of {seconds} s; medians, and in brackets the lowest and highest round. Times in µs, \
         CPU per request.\n",
        host.summary()
    )
}

/// One scenario.
pub(crate) fn render(compared: &Compared) -> String {
    let scenario = compared.scenario;
    let mut text = format!("\n{}: {}\n", scenario.name, scenario.about);
    let head = [
        "",
        "CPU",
        "",
        "user",
        "system",
        "requests/s",
        "p50",
        "p99",
        "opened",
        "peak MiB",
        "ringpool ÷",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    let figures = figures(compared);
    let ratios = ratios(&figures, |one| one.total);
    for (name, one) in &figures {
        let ratio = ratios.iter().find(|(peer, _)| peer == name);
        let mib = one.peak_rss.map(|peak| peak.median / f64::from(1 << 20));
        rows.push([
            (*name).to_owned(),
            number(median(one.total), 2),
            range(one.total),
            number(median(one.user), 2),
            number(median(one.system), 2),
            number(median(one.rps), 0),
            number(median(one.p50), 1),
            number(median(one.p99), 1),
            number(median(one.connections), 0),
            number(mib, 1),
            number(ratio.map(|(_, ratio)| *ratio), 2),
        ]);
    }
    align(&mut text, &rows);
    for (peer, why) in &compared.skipped {
        let _ = writeln!(text, "  {} left out: {why}", peer.name);
    }
    for (peer, why) in &compared.failed {
        let _ = writeln!(text, "  {} FAILED: {why}", peer.name);
    }
    text
}

fn median(spread: Option<Spread>) -> Option<f64> {
    spread.map(|spread| spread.median)
}

fn number(figure: Option<f64>, digits: usize) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.digits$}"))
}

fn range(spread: Option<Spread>) -> String {
    spread.map_or_else(String::new, |spread| {
        format!("[{:.2} {:.2}]", spread.min, spread.max)
    })
}

/// The first column to the left, the others to the right.
fn align<const N: usize>(text: &mut String, rows: &[[String; N]]) {
    let wide = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| wide(column).unwrap_or(0));
    for row in rows {
        let mut line = String::from(" ");
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let _ = match column {
                0 => write!(line, " {cell:<width$}"),
                _ => write!(line, "  {cell:>width$}"),
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::compared;
    use super::*;

    #[test]
    fn everybody_has_a_row_or_a_reason() {
        let text = render(&compared());
        let line = |word: &str| text.lines().find(|line| line.contains(word)).unwrap();
        assert!(line("ringpool ").contains("requests/s") || text.contains("  ringpool"));
        assert!(line("floor").trim_end().ends_with("1.20"), "{text}");
        assert!(line("wrk").ends_with("left out: is not installed"));
        assert!(line("h2load").ends_with("FAILED: was refused"));
        assert!(text.contains("[5.00 9.00]"), "{text}");
    }
}
