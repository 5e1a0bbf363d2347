//! A known bug as a small patch, and finding the place where it goes.
//!
//! Owns: the format, told in `tools/sim/canaries/README.md`. Never: guesses. What fits nowhere, or in two
//! places, is a mistake that names the canary.

use std::collections::BTreeMap;
use std::fmt;

/// A known bug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    /// The name of its file.
    pub name: String,
    /// What it does.
    pub about: String,
    edits: Vec<Edit>,
}

/// One change in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Edit {
    /// The place is in this file, or in one of those below this directory.
    below: String,
    /// It is in an item that begins with a line that has this.
    within: String,
    before: Vec<String>,
    after: Vec<String>,
}

/// Why a canary is of no use as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Which.
    pub canary: String,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "canary {}: {}", self.canary, self.what)
    }
}

impl std::error::Error for Misfit {}

impl Canary {
    /// From the text of its file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(name: &str, text: &str) -> Result<Canary, Misfit> {
        let mut canary = Canary {
            name: name.to_owned(),
            about: String::new(),
            edits: Vec::new(),
        };
        let mut lines = text.lines();
        canary.about = lines.next().unwrap_or_default().trim().to_owned();
        if canary.about.is_empty() {
            return Err(canary.misfit("its first line does not say what it is".into()));
        }
        let mut below = None;
        for line in lines {
            if let Some(path) = line.strip_prefix("--- ") {
                below = Some(path.trim().to_owned());
            } else if let Some(within) = line.strip_prefix("@@ ") {
                let Some(below) = below.clone() else {
                    return Err(canary.misfit(format!("no place is named before {line:?}")));
                };
                canary.edits.push(Edit {
                    below,
                    within: within.trim().to_owned(),
                    before: Vec::new(),
                    after: Vec::new(),
                });
            } else if !line.trim().is_empty() {
                canary.take(line)?;
            }
        }
        if canary.edits.is_empty() {
            return Err(canary.misfit("it changes nothing".into()));
        }
        Ok(canary)
    }

    /// One line of an edit.
    fn take(&mut self, line: &str) -> Result<(), Misfit> {
        let mut marks = line.chars();
        let (mark, rest) = (marks.next(), marks.as_str().to_owned());
        let edit = self.edits.last_mut();
        match (mark, edit) {
            (Some('-'), Some(edit)) => edit.before.push(rest),
            (Some('+'), Some(edit)) => edit.after.push(rest),
            (Some(' '), Some(edit)) => {
                edit.before.push(rest.clone());
                edit.after.push(rest);
            }
            (Some(_) | None, _) => return Err(self.misfit(format!("{line:?} makes no sense"))),
        }
        Ok(())
    }

    /// Those of the product's files that it changes, changed.
    ///
    /// # Errors
    /// Where it does not fit.
    pub fn apply(
        &self,
        files: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, Misfit> {
        let mut changed = BTreeMap::new();
        for edit in &self.edits {
            let below = files.iter().filter(|(name, _)| edit.reaches(name));
            let now = below.map(|(name, text)| (name, changed.get(name).unwrap_or(text)));
            let (name, text) = edit.apply(now).map_err(|what| self.misfit(what))?;
            changed.insert(name, text);
        }
        Ok(changed)
    }

    fn misfit(&self, what: String) -> Misfit {
        Misfit {
            canary: self.name.clone(),
            what,
        }
    }
}

impl Edit {
    fn reaches(&self, file: &str) -> bool {
        let rest = file.strip_prefix(self.below.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The one file that has its place, with the change made.
    fn apply<'a>(
        &self,
        files: impl Iterator<Item = (&'a String, &'a String)>,
    ) -> Result<(String, String), String> {
        let Edit { below, within, .. } = self;
        let mut places = Vec::new();
        for (name, text) in files {
            let lines: Vec<&str> = text.lines().collect();
            places.extend(self.places(&lines).into_iter().map(|at| (name, text, at)));
        }
        let first = self.before.first().map_or("", |line| line.trim());
        match places[..] {
            [(name, text, at)] => Ok((name.clone(), self.change(text, at))),
            [] => Err(format!("no {within:?} below {below} has {first:?}")),
            [(one, ..), (other, ..), ..] => Err(format!(
                "{first:?} in {within:?} is in two places, in {one} and {other}"
            )),
        }
    }

    /// The lines at which what is there before begins.
    fn places(&self, lines: &[&str]) -> Vec<usize> {
        let len = self.before.len();
        let fits = |&at: &usize| {
            let there = lines[at..].iter().map(|line| line.trim());
            let wanted = self.before.iter().map(|line| line.trim());
            len > 0 && there.take(len).eq(wanted)
        };
        let named = (0..lines.len()).filter(|&at| lines[at].contains(&self.within));
        let mut places: Vec<usize> = named
            .flat_map(|begin| (begin..end_of_item(lines, begin)).filter(fits))
            .collect();
        // An item may be within one that is named as well.
        places.sort_unstable();
        places.dedup();
        places
    }

    fn change(&self, text: &str, at: usize) -> String {
        let before = text.lines().take(at);
        let after = text.lines().skip(at + self.before.len());
        let lines = before.chain(self.after.iter().map(String::as_str));
        lines.chain(after).map(|line| format!("{line}\n")).collect()
    }
}

/// The line after the brace that closes the item which begins here: it is no further in.
fn end_of_item(lines: &[&str], begin: usize) -> usize {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let own = indent(lines[begin]);
    let closes = |line: &&str| indent(line) == own && line.trim_start().starts_with('}');
    let inside = lines[begin + 1..].iter().position(closes);
    inside.map_or(lines.len(), |inside| begin + 2 + inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "fn one() {\n    keep();\n    count += 1;\n}\n\nfn two() {\n    if a {\n        count += 1;\n    }\n}\n";

    fn applied(patch: &str) -> Result<String, String> {
        let canary = Canary::parse("it", patch).map_err(|misfit| misfit.to_string())?;
        let files = [
            ("src/a.rs", CODE),
            ("src/b/c.rs", "fn four() {\n    skip();\n}\n"),
        ];
        let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let changed = canary.apply(&files.into_iter().collect());
        let changed = changed.map_err(|misfit| misfit.to_string())?;
        Ok(changed["src/a.rs"].clone())
    }

    #[test]
    fn an_edit_finds_its_place_within_its_item() {
        let patch =
            "It drifts.\n\n--- src/a.rs\n@@ fn two(\n if a {\n-    count += 1;\n+    skip();\n";
        let expected = CODE.replace("        count += 1;", "    skip();");
        assert_eq!(applied(patch), Ok(expected.replace("    if a {", "if a {")));
    }

    #[test]
    fn edits_of_one_file_add_up() {
        let patch = "It drifts.\n--- src\n@@ fn one(\n-keep();\n@@ fn one(\n-count += 1;\n";
        let gone = CODE.replacen("    keep();\n    count += 1;\n", "", 1);
        assert_eq!(applied(patch), Ok(gone));
    }

    #[test]
    fn what_does_not_fit_is_told_with_the_canarys_name() {
        for patch in [
            "",
            "It does nothing.\n",
            "It floats.\n@@ fn one(\n-keep();\n",
            "It is lost.\n--- src/a.rs\n@@ fn three(\n-keep();\n",
            "It is lost.\n--- src/a.rs\n@@ fn two(\n-keep();\n",
            "It is in two places.\n--- src\n@@ fn\n-count += 1;\n",
            "It is elsewhere.\n--- src/b\n@@ fn one(\n-keep();\n",
            "It adds only.\n--- src/a.rs\n@@ fn one(\n+keep();\n",
            "It is odd.\n--- src/a.rs\n@@ fn one(\n*keep();\n",
        ] {
            let misfit = applied(patch).expect_err(patch);
            assert!(misfit.starts_with("canary it: "), "{misfit}");
        }
    }
}
