//! The agents of a run, each beside the others: for people, and on the page.
//!
//! Owns the rows. Never: what all of them amount to.

use super::grouped;
use crate::member::Member;

/// The columns.
pub(super) const HEAD: [&str; 9] = [
    "agent",
    "requests/s",
    "failed",
    "p50",
    "p99",
    "p99.9",
    "longest",
    "began late by",
    "clock known to",
];

/// One agent, in the order of the columns. One that was lost has no figures.
pub(super) fn row(member: &Member) -> [String; 9] {
    let none = || "-".to_owned();
    let time = |us: Option<f64>| us.map_or_else(none, |us| format!("{:.2} ms", us / 1e3));
    let rate = member.throughput_rps;
    let failed = match &member.lost {
        Some(_) => "lost".to_owned(),
        None => grouped(member.requests.failed),
    };
    let latency = member.latency_us;
    [
        member.agent.clone(),
        rate.map_or_else(none, |rate| grouped(rate.round() as u64)),
        failed,
        time(latency.p50),
        time(latency.p99),
        time(latency.p999),
        time(latency.max),
        time(member.late_us),
        time(member.clock_error_us),
    ]
}

/// All of them as lines of text; nothing of none.
pub(super) fn text(members: &[Member]) -> String {
    if members.is_empty() {
        return String::new();
    }
    let head = HEAD.map(str::to_owned);
    let rows: Vec<_> = std::iter::once(head)
        .chain(members.iter().map(row))
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let mut text = String::from("\n");
    for row in &rows {
        let first = format!("{:<1$}", row[0], width(0));
        let others = (1..row.len()).map(|column| format!("  {:>1$}", row[column], width(column)));
        text += &format!("{first}{}\n", others.collect::<String>());
    }
    text + &Member::together(members) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::Latency;

    #[test]
    fn each_agent_has_its_line_and_one_that_was_lost_no_figures() {
        let members = [
            Member {
                agent: "10.0.0.5:7007".to_owned(),
                throughput_rps: Some(25_000.0),
                latency_us: Latency {
                    p99: Some(2_500.0),
                    ..Latency::default()
                },
                late_us: Some(-40.0),
                ..Member::default()
            },
            Member::lost("h:1".to_owned(), "it went away".to_owned()),
        ];
        let text = text(&members);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert!(lines[1].contains("25,000") && lines[1].contains("2.50 ms"));
        assert!(lines[1].contains("-0.04 ms"), "{text}");
        assert_eq!(lines[2].split_whitespace().nth(2), Some("lost"));
        let widths: Vec<usize> = lines[..3].iter().map(|line| line.len()).collect();
        assert_eq!(widths, [widths[0]; 3], "{text}");
        assert!(lines[3].starts_with("2 agents"));
        assert_eq!(super::text(&[]), "");
    }
}
