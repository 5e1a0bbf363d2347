//! The architecture, held to: which module may know which, where `unsafe` and clocks may be, and what a
//! file must have. Reads the sources as text; test code may import what it likes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers, top to bottom. A module may use those of the lines below its own, and those of the base
/// one another; neighbours on a line do not know each other.
/// `simulation` stands above the rest of the face: it drives the very code of `client` that services
/// use, over another driver. So does `bench`, which opens parts from anywhere to be measured.
const LAYERS: &[&[&str]] = &[
    &["simulation", "bench"],
    &["telemetry"],
    &["client", "adapt"],
    &["engine"],
    &["shard"],
    &["pool", "protocol", "tls"],
    &["driver"],
    BASE,
];

const BASE: &[&str] = &[
    "audit",
    "block_on",
    "config",
    "diagram",
    "endpoint",
    "error",
    "lifecycle",
    "random",
    "slab",
    "stats",
    "sync",
    "time",
    "trace",
    "trip",
];

/// One file of the library.
struct Source {
    /// Below `src`.
    path: PathBuf,
    text: String,
}

impl Source {
    fn all() -> Vec<Source> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut sources = Vec::new();
        let mut directories = vec![root.clone()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(&directory).expect("a directory") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    directories.push(path);
                } else if path.extension().is_some_and(|e| e == "rs") {
                    let text = fs::read_to_string(&path).expect("text");
                    let path = path.strip_prefix(&root).expect("below src").to_owned();
                    sources.push(Source { path, text });
                }
            }
        }
        assert!(sources.len() > 50, "where are the sources?");
        sources
    }

    /// The top module that it belongs to; `lib` for the crate's root.
    fn module(&self) -> &str {
        let first = self.path.iter().next().expect("a path").to_str();
        first.expect("UTF-8").trim_end_matches(".rs")
    }

    /// How many modules deep it is: 1 for `src/engine/mod.rs`, 2 for `src/engine/cores.rs`.
    fn depth(&self) -> usize {
        let parts = self.path.iter().count();
        if self.path.ends_with("mod.rs") {
            parts - 1
        } else {
            parts
        }
    }

    /// Whether it is compiled for tests only: a test module's file, or the simulated driver.
    fn is_for_tests(&self) -> bool {
        let name = self
            .path
            .file_name()
            .and_then(|n| n.to_str())
            .expect("a name");
        name == "tests.rs"
            || name.ends_with("_tests.rs")
            || self.path.iter().any(|part| part == "tests")
            || self.path.starts_with("driver/sim")
    }

    /// Its code as it is shipped.
    fn shipped(&self) -> String {
        without_tests(&code(&self.text))
    }
}

/// `text` without comments, and with nothing left between quotes.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |at| at + 2)
        } else if let Some(hashes) = raw_string(rest, &code) {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = 2 + hashes;
            rest[start..]
                .find(&end)
                .map_or(rest.len(), |at| start + at + end.len())
        } else if first == '"' {
            closing_quote(rest)
        } else if let Some(len) = character(rest) {
            len
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        code.push(' ');
        rest = &rest[skipped..];
    }
    code
}

/// How many `#` begin a raw string here, if one begins.
fn raw_string(rest: &str, before: &str) -> Option<usize> {
    let in_a_word = before.ends_with(|c: char| c.is_alphanumeric() && c != 'b');
    let hashes = rest.strip_prefix('r')?;
    let quoted = hashes.trim_start_matches('#');
    (!in_a_word && quoted.starts_with('"')).then(|| hashes.len() - quoted.len())
}

/// The length of the string that begins here.
fn closing_quote(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    rest.len()
}

/// The length of the character literal that begins here; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    let first = inside.chars().next()?;
    if first == '\\' {
        // What is escaped may be a quote itself.
        return inside[2..].find('\'').map(|at| at + 4);
    }
    inside[first.len_utf8()..]
        .starts_with('\'')
        .then(|| first.len_utf8() + 2)
}

/// `code` without the items that are marked `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        kept.push_str(&rest[..at]);
        rest = &rest[at + MARK.len()..];
        rest = &rest[item_len(rest)..];
    }
    kept + rest
}

/// The length of the item, field or match arm that begins here.
fn item_len(rest: &str) -> usize {
    let mut depth = 0;
    for (at, c) in rest.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => {
                depth -= 1;
                if depth < 0 {
                    return at;
                }
                if depth == 0 && c == '}' {
                    return at + 1;
                }
            }
            ';' | ',' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether `word` stands in `code` by itself.
fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        !code[..at].ends_with(is_word) && !code[at + word.len()..].starts_with(is_word)
    })
}

/// The names that follow `crate::` in `code`.
fn named_from_root(code: &str) -> Vec<&str> {
    let mentions = code.match_indices("crate::");
    mentions
        .filter(|(at, _)| !code[..*at].ends_with(is_word))
        .map(|(at, path)| {
            let name = &code[at + path.len()..];
            assert!(!name.starts_with('{'), "one `use crate::` for each module");
            &name[..name.find(|c| !is_word(c)).unwrap_or(name.len())]
        })
        .collect()
}

/// Where the names come from that the crate's root gives out.
fn given_out_by_root(lib: &str) -> BTreeMap<String, String> {
    let mut given_out = BTreeMap::new();
    for line in lib.split(';').map(str::trim) {
        let Some(path) = line.strip_prefix("pub use ") else {
            continue;
        };
        let module = path.split("::").next().expect("a path");
        let last = path.rsplit("::").next().expect("a path");
        for name in last.trim_matches(['{', '}']).split(',') {
            given_out.insert(name.trim().to_owned(), module.to_owned());
        }
    }
    given_out
}

fn layer(module: &str) -> usize {
    let found = LAYERS.iter().position(|layer| layer.contains(&module));
    found.unwrap_or_else(|| panic!("src/{module}: which layer is it in? Say so in this test"))
}

fn may_use(user: &str, used: &str) -> bool {
    user == used || layer(used) > layer(user) || (BASE.contains(&user) && BASE.contains(&used))
}

#[test]
fn imports_point_down() {
    let sources = Source::all();
    let lib = sources.iter().find(|source| source.module() == "lib");
    let given_out = given_out_by_root(&lib.expect("src/lib.rs").shipped());
    let mut wrong = Vec::new();
    let mut checked = 0;
    for source in sources.iter().filter(|source| !source.is_for_tests()) {
        if source.module() == "lib" {
            continue;
        }
        let code = source.shipped();
        for name in named_from_root(&code) {
            let used = given_out.get(name).map_or(name, String::as_str);
            checked += 1;
            if !may_use(source.module(), used) {
                wrong.push(format!("{}: crate::{name}", source.path.display()));
            }
        }
        let climb = "super::".repeat(source.depth());
        if code.contains(&climb) {
            wrong.push(format!(
                "{}: {climb} is the crate's root",
                source.path.display()
            ));
        }
    }
    assert!(checked > 100, "only {checked} imports found");
    assert!(
        wrong.is_empty(),
        "imports that point up or sideways: {wrong:#?}"
    );
}

#[test]
fn unsafe_stays_in_the_driver() {
    for source in Source::all() {
        let allowed = source.path.starts_with("driver/uring");
        assert!(
            allowed || !has_word(&code(&source.text), "unsafe"),
            "{}: unsafe",
            source.path.display()
        );
    }
}

#[test]
fn one_file_reads_the_clock() {
    const READINGS: [&str; 5] = [
        "Instant::now",
        "SystemTime::now",
        "UNIX_EPOCH",
        "clock_gettime",
        ".elapsed()",
    ];
    let mut readers = Vec::new();
    for source in Source::all().iter().filter(|source| !source.is_for_tests()) {
        let code = source.shipped();
        if READINGS.iter().any(|reading| code.contains(reading)) {
            readers.push(source.path.clone());
        }
    }
    assert_eq!(readers, [Path::new("time/clock.rs")]);
}

#[test]
fn every_file_says_what_it_owns() {
    for source in Source::all() {
        assert!(
            source.text.starts_with("//! "),
            "{} has no header",
            source.path.display()
        );
    }
}

#[test]
fn names_say_something() {
    const EMPTY: [&str; 6] = ["inner", "manager", "handler", "util", "utils", "helpers"];
    for source in Source::all() {
        for part in source.path.iter().filter_map(|part| part.to_str()) {
            let part = part.trim_end_matches(".rs");
            let says_nothing = part.split('_').any(|word| EMPTY.contains(&word));
            assert!(!says_nothing, "{}: names nothing", source.path.display());
        }
        let code = code(&source.text);
        for kind in ["struct", "enum", "trait", "mod"] {
            for name in ["Inner", "Manager", "Handler", "Context", "util"] {
                assert!(
                    !has_word(&code, &format!("{kind} {name}")),
                    "{}: {kind} {name}",
                    source.path.display()
                );
            }
        }
    }
}

/// What the tests above see, and what they pass over: they would fail where they should.
#[test]
fn the_reader_reads() {
    let text = r##"
        //! crate::client in a comment
        use crate::pool::Pool;
        use crate::tls::{Session, TlsError};
        pub(crate) fn quoted() -> char { let _ = "unsafe crate::x \" //"; '"' }
        fn raw<'a>(s: &'a str) { r#"unsafe " crate::y"#; b'\''; /* unsafe */ }
        struct S { #[cfg(test)] seen: crate::client::X, kept: crate::error::Error }
        #[cfg(test)]
        mod tests { use crate::engine::Z; fn f() { } }
        fn after() { unsafe_looking(); Instant::now() }
    "##;
    let shipped = without_tests(&code(text));
    assert_eq!(named_from_root(&shipped), ["pool", "tls", "error"]);
    assert!(!has_word(&code(text), "unsafe") && has_word(&code(text), "Instant"));
    assert!(shipped.contains("Instant::now"));
    assert!(may_use("shard", "pool") && may_use("config", "error"));
    assert!(!may_use("pool", "shard") && !may_use("pool", "tls") && !may_use("time", "driver"));
}
