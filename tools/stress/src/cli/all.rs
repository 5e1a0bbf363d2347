//! The options of all scenarios at once.

use clap::Args;

/// `stress scenario --all`.
#[derive(Debug, Default, Args)]
pub(crate) struct AllOptions {
    /// Run every scenario that ships, each as a process of its own, and show a table of verdicts
    #[arg(long, conflicts_with_all = ["name", "file", "json", "report", "csv", "hlog", "duration", "rounds", "calls"])]
    pub(crate) all: bool,
    /// Of all only these
    #[arg(long, value_name = "NAME,NAME", value_parser = names, requires = "all")]
    pub(crate) only: Option<Box<[String]>>, // A Vec would mean several values to clap.
    /// Show the table in Markdown: what is expected, what was measured, the verdict
    #[arg(long, requires = "all")]
    pub(crate) markdown: bool,
}

fn names(text: &str) -> Result<Box<[String]>, String> {
    Ok(text.split(',').map(|name| name.trim().to_owned()).collect())
}
