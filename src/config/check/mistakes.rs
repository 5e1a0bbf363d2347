//! A list of mistakes, each with the field that it is in.
//!
//! Owns: how one is said. Never: stops at the first.

use crate::error::{Error, ErrorKind};
use std::time::Duration;

/// What was found so far.
#[derive(Default)]
pub(super) struct Mistakes {
    /// Of the fields that are looked at: `upstreams.users.`.
    pub(super) prefix: String,
    found: Vec<String>,
}

impl Mistakes {
    pub(super) fn add(&mut self, field: &str, what: String) {
        self.found.push(format!("{}{field} {what}", self.prefix));
    }

    pub(super) fn not_zero(&mut self, fields: &[(&str, Option<Duration>)]) {
        for (field, value) in fields {
            if *value == Some(Duration::ZERO) {
                self.add(field, "is 0".into());
            }
        }
    }

    pub(super) fn range(&mut self, field: &str, value: u64, least: u64, most: u64) {
        if value < least || value > most {
            self.add(field, format!("is {value}, outside of {least} to {most}"));
        }
    }

    pub(super) fn share(&mut self, field: &str, value: f64, least: f64, most: f64) {
        if !(least..=most).contains(&value) {
            self.add(field, format!("is {value}, outside of {least} to {most}"));
        }
    }

    pub(super) fn into_result(self) -> Result<(), Error> {
        if self.found.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Config, self.found.join("; ")))
    }
}
