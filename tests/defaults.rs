//! `docs/defaults.md`, held to: every setting with its default, the reason for it and what another value
//! would cost. Made from the doc comments in `src/config` and the defaults themselves.
//!
//! To write the file anew: `RINGPOOL_WRITE_DEFAULTS=1 cargo test --test defaults`

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ringpool::config::{Config, UpstreamConfig};
use serde_json::Value;
use sources::{PARAGRAPH, Settings, structs, unlinked};

#[path = "defaults/sources.rs"]
mod sources;

const WRITE: &str = "RINGPOOL_WRITE_DEFAULTS";

const INTRODUCTION: &str = "\
# Defaults

Every setting, its default, and why. The same text stands at the fields in `src/config`, from which this file is
made (`RINGPOOL_WRITE_DEFAULTS=1 cargo test --test defaults`); a test keeps the two alike.

A file need only name what differs. Durations are written `\"50s\"`, `\"1m 30s\"`, `\"10ms\"`; where a limit
may be absent, `\"off\"` says so. Unknown names are refused.
";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn all_structs() -> BTreeMap<String, Settings> {
    let files = fs::read_dir(root().join("src/config")).expect("src/config");
    // What is below has the types of values, and no settings.
    let paths = files.map(|file| file.expect("an entry").path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| path.is_file()).collect();
    paths.sort();
    let texts = paths
        .iter()
        .map(|path| fs::read_to_string(path).expect("text"));
    texts.flat_map(|text| structs(&text)).collect()
}

/// What is written, and what is wrong with its sources.
#[derive(Default)]
struct Page {
    text: String,
    faults: Vec<String>,
}

impl Page {
    fn generate() -> Page {
        let structs = all_structs();
        let engine = serde_json::to_value(Config::default()).expect("a configuration");
        let upstream = serde_json::to_value(UpstreamConfig::default()).expect("settings");
        assert_eq!(engine["defaults"], upstream, "one set of defaults");
        let mut page = Page {
            text: INTRODUCTION.to_owned(),
            faults: Vec::new(),
        };
        page.section(&structs, "Config", "The engine", "", &engine);
        let title = "An upstream: `upstreams.<name>.…`, and `defaults.…`";
        page.section(&structs, "UpstreamConfig", title, "", &upstream);
        page
    }

    /// A table of one struct, and after it one of each struct within it.
    fn section(
        &mut self,
        structs: &BTreeMap<String, Settings>,
        of: &str,
        title: &str,
        prefix: &str,
        values: &Value,
    ) {
        let settings = &structs[of];
        let doc = unlinked(&settings.doc).replace(" \n", "\n");
        self.text.push_str(&format!("\n## {title}\n\n{doc}\n\n"));
        self.text.push_str(
            "| setting | default | what it is | why, and what another value would do |\n",
        );
        self.text.push_str("|---|---|---|---|\n");
        let values = values.as_object().expect("a struct is a table");
        let mut written: Vec<&String> = values.keys().collect();
        let mut within = Vec::new();
        for field in &settings.fields {
            let dotted = format!("{prefix}{}", field.name);
            let Some(value) = values.get(&field.name) else {
                self.faults.push(format!("{of}.{dotted} is not written"));
                continue;
            };
            written.retain(|name| **name != field.name);
            if field.kind == "UpstreamConfig" {
                continue; // It has a section of its own.
            }
            if structs.contains_key(&field.kind) && value.is_object() {
                within.push((field, value));
                continue;
            }
            if let Some(fault) = field.fault(value) {
                self.faults.push(format!("{of}.{dotted} {fault}"));
            }
            let (what, why) = field.parts().unwrap_or((&field.doc, ""));
            let (what, why) = (in_table(what), in_table(why));
            self.text
                .push_str(&format!("| `{dotted}` | `{value}` | {what} | {why} |\n"));
        }
        for name in written {
            self.faults
                .push(format!("{of}: no field {name} in the sources"));
        }
        for (field, value) in within {
            let title = format!("`{prefix}{}`", field.name);
            let prefix = format!("{prefix}{}.", field.name);
            self.section(structs, &field.kind, &title, &prefix, value);
        }
    }
}

/// Markdown for one cell of a table.
fn in_table(doc: &str) -> String {
    unlinked(doc).replace(PARAGRAPH, "").replace('|', "\\|")
}

#[test]
fn every_default_has_a_reason() {
    let faults = Page::generate().faults;
    assert!(faults.is_empty(), "doc comments in src/config: {faults:#?}");
}

#[test]
fn the_page_is_what_the_sources_say() {
    let path = root().join("docs/defaults.md");
    let page = Page::generate().text;
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, &page).expect("docs/defaults.md can be written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let differs = page.lines().zip(written.lines()).find(|(a, b)| a != b);
    assert!(
        page == written,
        "docs/defaults.md is out of date (first difference: {differs:#?}). \
         Write it anew: {WRITE}=1 cargo test --test defaults"
    );
}
