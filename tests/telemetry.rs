//! What an engine tells of itself: its figures add up, and others can read them.

mod common;

#[path = "telemetry/conventions.rs"]
mod conventions;
#[path = "telemetry/exposition.rs"]
mod exposition;
#[path = "telemetry/figures.rs"]
mod figures;
#[path = "telemetry/lifecycle.rs"]
mod lifecycle;
#[path = "telemetry/outcomes.rs"]
mod outcomes;
#[path = "telemetry/page.rs"]
mod page;
#[path = "telemetry/propagation.rs"]
mod propagation;
