//! The named scenarios: what each asks of the engine, with which settings, and when it has passed.
//!
//! Two stages play them, `sim` in virtual time and `stress` on this machine. Both take the same settings
//! and the same load from here, bring back the same [`Evidence`], and are judged by the same criteria;
//! they differ in how finely they can tell time, which is an argument. Nothing here runs anything.
//!
//! | module | concept |
//! |---|---|
//! | `spike` | 50 callers at once on 5 connections; 1,000 on none |
//! | `outage` | a backend that is gone for ten seconds |
//! | `overload` | twice the capacity, in three classes |
//! | `skew_cpu` | more calls on one shard than its thread can do; in virtual time alone |
//! | `evidence` | what was seen |
//! | `findings` | what it amounts to: figures, series, criteria |

#![warn(missing_docs)]

mod evidence;
mod findings;
pub mod outage;
pub mod overload;
pub mod skew_cpu;
pub mod spike;

pub use evidence::{Evidence, Outcome, Sample, Shot, quantile};
pub use findings::{Bound, Conclusion, Criterion, Figure, Findings, Series, Unit};

/// A scenario by name; where and how it is played is the stage's affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    /// What is typed.
    pub name: &'static str,
    /// One line for a list.
    pub about: &'static str,
}
