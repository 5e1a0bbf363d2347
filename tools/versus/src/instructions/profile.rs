//! Instructions added up.
//!
//! Owns: which function an instruction counts for. What the standard library does counts for the function that has it inlined:
//! nobody can make `Option::map` faster, but its caller may do without.

use super::modules::{Frame, Modules, Place};
use super::tracer::Steps;
use crate::cli::By;
use std::collections::HashMap;

/// Everything per request, the most first.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) rows: Vec<Row>,
    /// By crate or library.
    pub(super) crates: Vec<(String, f64)>,
}

/// One function, symbol or line.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) instructions: f64,
    /// How often it was called, where rows are symbols.
    pub(super) calls: Option<f64>,
}

impl Profile {
    pub(super) fn of(steps: &Steps, modules: &Modules, requests: u64, by: By) -> Profile {
        let (mut rows, mut crates) = (HashMap::<_, Row>::new(), HashMap::<_, f64>::new());
        for (address, count) in &steps.at {
            let place = modules.place(*address);
            let instructions = *count as f64 / requests as f64;
            *crates.entry(crate_of(&place)).or_default() += instructions;
            let name = match by {
                By::Function => function(&place),
                By::Symbol => place.symbol.clone(),
                By::Line => line(&place),
                By::Instruction => format!("{}+{:#x}", place.symbol, place.offset),
            };
            let row = rows.entry(name.clone()).or_insert_with(|| Row {
                name,
                instructions: 0.0,
                calls: (by == By::Symbol).then_some(0.0),
            });
            row.instructions += instructions;
            if let (Some(calls), true) = (&mut row.calls, place.offset == 0) {
                *calls += instructions;
            }
        }
        let mut rows: Vec<_> = rows.into_values().collect();
        rows.sort_by(|a, b| {
            b.instructions
                .total_cmp(&a.instructions)
                .then(a.name.cmp(&b.name))
        });
        let mut crates: Vec<_> = crates.into_iter().collect();
        crates.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        Profile { rows, crates }
    }
}

/// The innermost function that is not the standard library's, or the one as compiled.
fn own(place: &Place) -> Option<&Frame> {
    place.frames.iter().find(|frame| !is_of_std(frame))
}

fn is_of_std(frame: &Frame) -> bool {
    let file = frame.file.as_deref().unwrap_or_default();
    file.contains("/rustc/") && file.contains("/library/")
}

fn function(place: &Place) -> String {
    own(place).map_or_else(|| place.symbol.clone(), |frame| frame.function.clone())
}

fn line(place: &Place) -> String {
    let at = own(place).and_then(|frame| {
        let file = short(frame.file.as_deref()?);
        Some(format!("{file}:{}", frame.line?))
    });
    at.unwrap_or_else(|| place.symbol.clone())
}

/// From the crate's directory on.
fn short(path: &str) -> &str {
    let from_registry = path.split_once("/registry/src/");
    let from_registry = from_registry.and_then(|(_, rest)| Some(rest.split_once('/')?.1));
    let of_workspace = || {
        path.rfind("/tools/")
            .or(path.rfind("/src/"))
            .map(|at| &path[at + 1..])
    };
    from_registry.or_else(of_workspace).unwrap_or(path)
}

/// The crate of a function, the file of one whose crate is not known.
fn crate_of(place: &Place) -> String {
    let Some(frame) = own(place) else {
        return match place.is_program {
            true => crate_in(&place.symbol).unwrap_or("other").to_owned(),
            false => place.module.clone(),
        };
    };
    let path = frame.file.as_deref().unwrap_or_default();
    let from_registry = path.split_once("/registry/src/").and_then(|(_, rest)| {
        let directory = rest.split('/').nth(1)?;
        Some(directory.rsplit_once('-')?.0)
    });
    let named = from_registry.or_else(|| crate_in(&frame.function));
    named.unwrap_or(&place.module).to_owned()
}

/// The first name of a path, which may be in brackets.
fn crate_in(function: &str) -> Option<&str> {
    let path = function.trim_start_matches(['<', '&', '*']);
    let path = path.strip_prefix("mut ").unwrap_or(path);
    let (name, _) = path.split_once("::")?;
    let is_name = name
        .bytes()
        .all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
    is_name.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: &str, file: &str) -> Frame {
        Frame {
            function: function.to_owned(),
            file: Some(file.to_owned()),
            line: Some(7),
        }
    }

    fn place(frames: Vec<Frame>) -> Place {
        Place {
            symbol: "compiled".to_owned(),
            offset: 8,
            frames,
            module: "versus".to_owned(),
            is_program: true,
        }
    }

    #[test]
    fn what_is_of_the_standard_library_counts_for_its_caller() {
        let place = place(vec![
            frame(
                "core::option::Option<T>::map",
                "/rustc/abc/library/core/src/option.rs",
            ),
            frame(
                "<ringpool::pool::Pool as X>::checkout",
                "/home/x/src/pool/mod.rs",
            ),
            frame("ringpool::shard::turn", "/home/x/src/shard/mod.rs"),
        ]);
        assert_eq!(function(&place), "<ringpool::pool::Pool as X>::checkout");
        assert_eq!(line(&place), "src/pool/mod.rs:7");
        assert_eq!(crate_of(&place), "ringpool");
    }

    #[test]
    fn crates_of_the_registry_go_by_their_directory() {
        let path = "/home/x/.cargo/registry/src/index-1/http-body-1.0.1/src/frame.rs";
        let place = place(vec![frame("<T as http_body::Body>::poll", path)]);
        assert_eq!(crate_of(&place), "http-body");
        assert_eq!(line(&place), "http-body-1.0.1/src/frame.rs:7");
    }

    #[test]
    fn without_debug_information_there_is_the_symbol() {
        let mut place = place(Vec::new());
        assert_eq!(function(&place), "compiled");
        place.is_program = false;
        place.module = "libc.so.6".to_owned();
        assert_eq!(crate_of(&place), "libc.so.6");
    }
}
