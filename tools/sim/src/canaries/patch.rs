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
    file: String,
    /// The place is in the item that begins with a line that has this.
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
        let mut file = None;
        for line in lines {
            if let Some(path) = line.strip_prefix("--- ") {
                file = Some(path.trim().to_owned());
            } else if let Some(within) = line.strip_prefix("@@ ") {
                let Some(file) = file.clone() else {
                    return Err(canary.misfit(format!("no file is named before {line:?}")));
                };
                canary.edits.push(Edit {
                    file,
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

    /// The files that it changes, changed. `read` gives a file as it is.
    ///
    /// # Errors
    /// Where it does not fit.
    pub fn apply(
        &self,
        read: impl Fn(&str) -> std::io::Result<String>,
    ) -> Result<BTreeMap<String, String>, Misfit> {
        let mut changed = BTreeMap::new();
        for edit in &self.edits {
            let Edit { file, .. } = edit;
            if !file.starts_with("src/") {
                return Err(self.misfit(format!("{file} is not the product's code")));
            }
            let text = match changed.remove(file) {
                Some(text) => text,
                None => read(file).map_err(|error| self.misfit(format!("{file}: {error}")))?,
            };
            let text = edit.apply(&text);
            let text = text.map_err(|what| self.misfit(format!("{file}: {what}")))?;
            changed.insert(file.clone(), text);
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
    fn apply(&self, text: &str) -> Result<String, String> {
        let lines: Vec<&str> = text.lines().collect();
        let (begin, end) = self.item(&lines)?;
        let len = self.before.len();
        let fits = |at: &usize| {
            let there = &lines[*at..*at + len];
            there
                .iter()
                .zip(&self.before)
                .all(|(line, wanted)| line.trim() == wanted.trim())
        };
        let mut places = (begin..=(end + 1).saturating_sub(len)).filter(fits);
        let first = self.before.first().map_or("", |line| line.trim());
        let at = match (places.next(), places.next()) {
            (Some(at), None) if len > 0 => at,
            (None, _) => return Err(format!("nothing like {first:?} in {:?}", self.within)),
            (Some(_), _) => return Err(format!("{first:?} fits twice in {:?}", self.within)),
        };
        let after = self.after.iter().map(String::as_str);
        let whole = lines[..at].iter().copied().chain(after);
        let whole = whole.chain(lines[at + len..].iter().copied());
        Ok(whole.map(|line| format!("{line}\n")).collect())
    }

    /// The first and the last line of the item that it is in: up to the brace that closes it.
    fn item(&self, lines: &[&str]) -> Result<(usize, usize), String> {
        let mut named = (0..lines.len()).filter(|&at| lines[at].contains(&self.within));
        let begin = match (named.next(), named.next()) {
            (Some(begin), None) => begin,
            (None, _) => return Err(format!("there is no {:?}", self.within)),
            (Some(_), Some(_)) => return Err(format!("there are two of {:?}", self.within)),
        };
        let indent = |line: &str| line.len() - line.trim_start().len();
        let own = indent(lines[begin]);
        let closes = |&at: &usize| {
            let line: &str = lines[at];
            indent(line) == own && line.trim_start().starts_with('}')
        };
        let end = (begin + 1..lines.len()).find(closes);
        Ok((begin, end.unwrap_or(lines.len() - 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "fn one() {\n    keep();\n    count += 1;\n}\n\nfn two() {\n    if a {\n        count += 1;\n    }\n}\n";

    fn applied(patch: &str) -> Result<String, String> {
        let canary = Canary::parse("it", patch).map_err(|misfit| misfit.to_string())?;
        let changed = canary.apply(|_| Ok(CODE.to_owned()));
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
        let patch = "It drifts.\n--- src/a.rs\n@@ fn one(\n-keep();\n@@ fn one(\n-count += 1;\n";
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
            "It is in two places.\n--- src/a.rs\n@@ fn\n-keep();\n",
            "It adds only.\n--- src/a.rs\n@@ fn one(\n+keep();\n",
            "It is odd.\n--- src/a.rs\n@@ fn one(\n*keep();\n",
            "It is elsewhere.\n--- tools/a.rs\n@@ fn one(\n-keep();\n",
        ] {
            let misfit = applied(patch).expect_err(patch);
            assert!(misfit.starts_with("canary it: "), "{misfit}");
        }
    }
}
