//! `docs/observability.md`, held to: its table has every metric, as the catalogue has it.
//!
//! To write the table anew: `RINGPOOL_WRITE_METRICS=1 cargo test --test telemetry`

use ringpool::telemetry::METRICS;
use std::fs;
use std::path::Path;

const WRITE: &str = "RINGPOOL_WRITE_METRICS";
const BEGIN: &str = "<!-- metrics -->\n";
const END: &str = "<!-- end of metrics -->\n";

fn table() -> String {
    let mut table = String::from(
        "| OpenTelemetry | Prometheus | kind, unit | labels | what it says |\n|---|---|---|---|---|\n",
    );
    for metric in METRICS {
        let labels: Vec<String> = metric
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        table.push_str(&format!(
            "| `{}` | `{}` | {}, `{}` | {} | {} |\n",
            metric.name,
            metric.prometheus_name(),
            metric.kind.name(),
            metric.unit,
            labels.join(", "),
            metric.help
        ));
    }
    table
}

#[test]
fn the_page_has_the_catalogue() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/observability.md");
    let page = fs::read_to_string(&path).expect("docs/observability.md");
    let (before, rest) = page.split_once(BEGIN).expect("where the table begins");
    let (_, after) = rest.split_once(END).expect("where it ends");
    let wanted = format!("{before}{BEGIN}{}{END}{after}", table());
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, &wanted).expect("docs/observability.md can be written");
        return;
    }
    assert!(
        page == wanted,
        "docs/observability.md is out of date. Write it anew: {WRITE}=1 cargo test --test telemetry"
    );
}
