//! The command line: what may be asked for, and the defaults. Nothing here acts.

use clap::{Parser, ValueEnum};
use std::path::PathBuf;

/// Run the engine on a simulated network and clock, seed by seed, and check its invariants.
#[derive(Clone, Debug, Parser)]
#[command(name = "sim", version)]
pub struct Arguments {
    /// How many seeds [default: 1000 of storm, 20 of any other scenario]
    #[arg(long, value_name = "N")]
    pub seeds: Option<u64>,
    /// The first of them
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub from: u64,
    /// This one seed only
    #[arg(long, value_name = "S", conflicts_with_all = ["seeds", "from"])]
    pub seed: Option<u64>,
    /// Tell its story, line by line
    #[arg(long, requires = "seed")]
    pub trace: bool,
    /// Which of the seeds to run, by whether TLS is spoken in them
    #[arg(long, value_enum, value_name = "WHICH", default_value_t = Tls::Share)]
    pub tls: Tls,
    /// Which scenario
    #[arg(long, value_name = "NAME", default_value = "storm")]
    pub scenario: String,
    /// How many threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub threads: u64,
    /// Print what was met, and fail if anything never was
    #[arg(long)]
    pub coverage: bool,
    /// Go on after a seed that fails, up to this many
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub failures_max: u64,
    /// Write the figures to this file, as JSON
    #[arg(long, value_name = "PATH")]
    pub json: Option<PathBuf>,
    /// Build known bugs, all or the one of this name, and see how many seeds find each
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["seed", "seeds", "from", "coverage"])]
    pub canaries: Option<String>,
    /// See only whether they apply and compile
    #[arg(long, requires = "canaries")]
    pub check: bool,
    /// In how many windows of seeds each is looked for
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u64).range(1..))]
    pub windows: u64,
}

/// Which seeds are run, by whether TLS is spoken in them. A seed is the same whatever is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Tls {
    /// All: TLS is spoken in its share of them
    Share,
    /// Those without it alone: what only TLS brings is then never met
    Never,
    /// Those with it alone
    Only,
}

impl Tls {
    /// Whether to run a seed in which TLS is spoken, or not.
    pub fn wants(self, spoken: bool) -> bool {
        match self {
            Tls::Share => true,
            Tls::Never => !spoken,
            Tls::Only => spoken,
        }
    }
}
