//! Reads settings and their doc comments out of source text, and judges the comments.

use std::collections::BTreeMap;

use serde_json::Value;

/// Words of which the reason for a default has one: what a different value would do.
const TRADE_OFF: [&str; 18] = [
    "more", "fewer", "less", "larger", "smaller", "longer", "shorter", "sooner", "later", "higher",
    "lower", "raise", "set", "turn", "without", "costs", "rather", "off",
];

/// What an empty line of a doc comment becomes. In a table it is a space.
pub(crate) const PARAGRAPH: &str = "\n\n";

/// A reason takes so many words at least.
const REASON_WORDS: usize = 8;

/// A struct of settings, as it stands in the sources.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Settings {
    pub(crate) doc: String,
    pub(crate) fields: Vec<Field>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) doc: String,
}

impl Field {
    /// What it is, and from the sentence on that names the default, why it is so.
    pub(crate) fn parts(&self) -> Option<(&str, &str)> {
        let at = default_word(&self.doc)?;
        let sentence = self.doc[..at].rfind(". ").map_or(0, |end| end + 2);
        Some((self.doc[..sentence].trim(), &self.doc[sentence..]))
    }

    /// What is wrong with the doc comment of a field whose default is `value`.
    pub(crate) fn fault(&self, value: &Value) -> Option<String> {
        let Some((what, why)) = self.parts() else {
            return Some("names no default".into());
        };
        if what.is_empty() {
            return Some("does not say what it is before it names the default".into());
        }
        let said = said_value(why);
        if said
            .as_ref()
            .is_some_and(|said| !is_same(said, &plain(value)))
        {
            return Some(format!("says {said:?}, but the default is {value}"));
        }
        let words: Vec<&str> = why
            .split(|c: char| !c.is_alphanumeric() && c != '\'')
            .filter(|word| word.starts_with(char::is_alphabetic))
            .collect();
        if words.len() < REASON_WORDS {
            return Some("gives no reason for the default".into());
        }
        let compares = |word: &&str| TRADE_OFF.contains(&word.to_lowercase().as_str());
        if !words.iter().any(compares) {
            return Some(format!(
                "does not say what another value would do (one of: {})",
                TRADE_OFF.join(", ")
            ));
        }
        None
    }
}

/// Where the word is that names the default.
fn default_word(doc: &str) -> Option<usize> {
    let named = ["Default ", "Default: ", ", the default,"];
    named.iter().filter_map(|words| doc.find(words)).min()
}

/// The value that a doc comment names, written as in a file; `None` where it is put in words.
fn said_value(why: &str) -> Option<String> {
    let said = match why.split_once(", the default,") {
        Some((before, _)) => before,
        None => why.strip_prefix("Default ")?,
    };
    let end = said.find([':', ';', ',', '(']).unwrap_or(said.len());
    let end = said[..end].find(". ").unwrap_or(end);
    let said = said[..end].trim().trim_end_matches('.');
    let said = said.trim_matches(['`', '"']);
    if let Some(kib) = said.strip_suffix(" KiB") {
        return Some((kib.parse::<u64>().ok()? * 1024).to_string());
    }
    let is_value = said.starts_with(char::is_numeric)
        || ["true", "false", "off", "Empty", "normal"].contains(&said);
    is_value.then(|| said.replace(' ', ""))
}

/// A default, written as `said_value` writes it.
fn plain(value: &Value) -> String {
    let is_empty = match value {
        Value::String(text) => text.is_empty(),
        Value::Array(all) => all.is_empty(),
        Value::Object(all) => all.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    };
    match value {
        _ if is_empty => "Empty".into(),
        Value::String(text) => text.replace(' ', ""),
        Value::Number(number) => number.to_string().trim_end_matches(".0").to_owned(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// Whether two values are the same, as durations if they are some: a minute is 60 s.
fn is_same(said: &str, value: &str) -> bool {
    let durations = (
        humantime::parse_duration(said),
        humantime::parse_duration(value),
    );
    match durations {
        (Ok(said), Ok(value)) => said == value,
        (Ok(_), Err(_)) | (Err(_), Ok(_)) | (Err(_), Err(_)) => said == value,
    }
}

/// All public structs in a source file.
pub(crate) fn structs(text: &str) -> BTreeMap<String, Settings> {
    let mut found: BTreeMap<String, Settings> = BTreeMap::new();
    let mut doc = String::new();
    let mut inside: Option<String> = None;
    for line in text.lines() {
        let code = line.trim();
        if let Some(words) = code.strip_prefix("///") {
            match words.trim() {
                "" => doc.push_str(PARAGRAPH),
                words => doc.extend([words, " "]),
            }
        } else if let Some(name) = code.strip_prefix("pub struct ") {
            let name: String = name.chars().take_while(|c| c.is_alphanumeric()).collect();
            let doc = std::mem::take(&mut doc).trim().to_owned();
            let settings = Settings {
                doc,
                fields: Vec::new(),
            };
            found.insert(name.clone(), settings);
            inside = code.ends_with('{').then_some(name);
        } else if line.starts_with('}') {
            inside = None;
            doc.clear();
        } else if let (Some(name), Some((field, kind))) = (&inside, code.split_once(": ")) {
            let settings = found.get_mut(name).expect("a struct that has begun");
            settings.fields.push(Field {
                name: field.trim_start_matches("pub ").to_owned(),
                kind: kind.trim_end_matches(',').to_owned(),
                doc: std::mem::take(&mut doc).trim().to_owned(),
            });
        } else if code.is_empty() {
            doc.clear();
        }
    }
    found
}

/// Markdown that stands by itself, without links into the code.
pub(crate) fn unlinked(doc: &str) -> String {
    let mut text = String::new();
    let mut rest = doc;
    while let Some((before, link)) = rest.split_once("[`") {
        let (name, after) = link.split_once("`]").expect("a link ends");
        text.push_str(&format!("{before}`{name}`"));
        rest = match after.strip_prefix('(') {
            Some(target) => target.split_once(')').expect("a target ends").1,
            None => after,
        };
    }
    text.push_str(rest);
    text
}

/// Faults are found where they are.
#[test]
fn the_reader_reads() {
    let text = "
/// Some limits.
///
/// In two paragraphs.
#[derive(Clone)]
pub struct Limits {
    /// The most of [`Them`](crate::Them). Default 8 KiB: what fits
    /// into a cache; more is slower, and fewer would be a bottleneck.
    #[serde(default)]
    pub most: usize,
    pub least: Option<Vec<u8>>,
}
";
    let found = &structs(text)["Limits"];
    assert_eq!(found.doc, "Some limits. \n\nIn two paragraphs.");
    let [most, least] = &found.fields[..] else {
        panic!("{found:?}");
    };
    assert_eq!(
        (most.kind.as_str(), least.kind.as_str()),
        ("usize", "Option<Vec<u8>>")
    );
    let (what, why) = most.parts().expect("a default");
    assert_eq!(unlinked(what), "The most of `Them`.");
    assert!(why.starts_with("Default 8 KiB: what fits into"));
    assert_eq!(most.fault(&8192.into()), None);
    let fault = |doc: &str, value: Value| {
        let (name, kind, doc) = (String::new(), String::new(), doc.to_owned());
        Field { name, kind, doc }.fault(&value).unwrap_or_default()
    };
    assert!(
        most.fault(&8193.into())
            .is_some_and(|fault| fault.contains("says"))
    );
    assert!(
        least
            .fault(&Value::Null)
            .is_some_and(|fault| fault.contains("names no"))
    );
    let reason = "as people have had it for years and years, more or less.";
    assert_eq!(
        fault(&format!("A time. Default 1 h, {reason}"), "1h".into()),
        ""
    );
    assert!(fault(&format!("A time. Default 1 h, {reason}"), "1m".into()).contains("says"));
    assert_eq!(
        fault(&format!("A time. Default 60 s, {reason}"), "1m".into()),
        ""
    );
    assert_eq!(
        fault(&format!("A. Empty, the default, is {reason}"), "".into()),
        ""
    );
    assert!(fault(&format!("A. 0, the default, is {reason}"), 1.into()).contains("says"));
    assert!(fault(&format!("Default 1: {reason}"), 1.into()).contains("what it is"));
    assert!(fault("A time. Default 1 s.", "1s".into()).contains("no reason"));
    let no_other = "A time. Default 1 s: that is what everybody in the field has.";
    assert!(fault(no_other, "1s".into()).contains("another value"));
}
