//! Reading tables of a TOML file so that nothing wrong goes untold: every mistake with its line, every key known or refused.
//!
//! Owns: the mistakes of a text, and the keys that were asked for. Never: stops at the first mistake, or knows what a key means.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Something wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mistake {
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) says: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.says)
    }
}

/// A text, and what is wrong with it.
pub(super) struct Book<'a> {
    text: &'a str,
    mistakes: RefCell<Vec<Mistake>>,
}

impl<'a> Book<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            mistakes: RefCell::default(),
        }
    }

    pub(super) fn wrong(&self, at: Range<usize>, says: impl Into<String>) {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        let says = says.into();
        self.mistakes.borrow_mut().push(Mistake {
            line: before.matches('\n').count() + 1,
            says: says.trim().replace('\n', " "),
        });
    }

    /// All of them, in the order of their lines, each once.
    pub(super) fn mistakes(self) -> Vec<Mistake> {
        let mut mistakes = self.mistakes.into_inner();
        mistakes.sort();
        mistakes.dedup();
        mistakes
    }
}

/// A table whose keys are asked for one by one.
pub(super) struct Keys<'a> {
    book: &'a Book<'a>,
    table: &'a DeTable<'a>,
    span: Range<usize>,
    /// How it is called in messages, such as `[pool]`.
    name: &'static str,
    asked: Vec<&'static str>,
}

impl<'a> Keys<'a> {
    pub(super) fn new(
        book: &'a Book<'a>,
        table: &'a DeTable<'a>,
        span: Range<usize>,
        name: &'static str,
    ) -> Self {
        Self {
            book,
            table,
            span,
            name,
            asked: Vec::new(),
        }
    }

    /// Where it is.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    pub(super) fn wrong(&self, says: impl Into<String>) {
        self.book.wrong(self.span(), says);
    }

    fn value(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.push(key);
        let mut found = self.table.iter().filter(|(name, _)| name.get_ref() == key);
        found.next().map(|(_, value)| value)
    }

    /// Whether the key is there.
    pub(super) fn has(&mut self, key: &'static str) -> bool {
        self.value(key).is_some()
    }

    /// Where the value of a key is, or else the table.
    pub(super) fn span_of(&mut self, key: &'static str) -> Range<usize> {
        self.value(key).map_or(self.span(), |value| value.span())
    }

    /// A text that `parse` understands.
    pub(super) fn text<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.value(key)?;
        let text = match value.get_ref() {
            DeValue::String(text) => text,
            other => {
                let kind = other.type_str();
                self.book
                    .wrong(value.span(), format!("`{key}` is a text, not {kind}"));
                return None;
            }
        };
        self.checked(key, value.span(), parse(text))
    }

    /// A text, or a list of texts.
    pub(super) fn texts<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let one = |value: &Spanned<DeValue<'_>>| match value.get_ref() {
            DeValue::String(text) => self.checked(key, value.span(), parse(text)),
            other => {
                let kind = other.type_str();
                self.book
                    .wrong(value.span(), format!("`{key}` has texts, not {kind}"));
                None
            }
        };
        match value.get_ref() {
            DeValue::Array(values) => values.iter().filter_map(one).collect(),
            _ => one(value).into_iter().collect(),
        }
    }

    /// A text or a number, as it is written.
    pub(super) fn word<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.value(key)?;
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            other => {
                let kind = other.type_str();
                self.book.wrong(
                    value.span(),
                    format!("`{key}` is a text or a number, not {kind}"),
                );
                return None;
            }
        };
        self.checked(key, value.span(), parse(&text))
    }

    fn checked<T>(&self, key: &str, span: Range<usize>, parsed: Result<T, String>) -> Option<T> {
        parsed
            .map_err(|error| self.book.wrong(span, format!("`{key}`: {error}")))
            .ok()
    }

    /// A number between two others.
    pub(super) fn number<T: FromStr + PartialOrd + fmt::Display>(
        &mut self,
        key: &'static str,
        (least, most): (T, T),
    ) -> Option<T> {
        let value = self.value(key)?;
        let number = number(value.get_ref()).filter(|number| (&least..=&most).contains(&number));
        if number.is_none() {
            let says = format!("`{key}` is a number from {least} to {most}");
            self.book.wrong(value.span(), says);
        }
        number
    }

    /// A number, or two of them in a list.
    pub(super) fn one_or_two(
        &mut self,
        key: &'static str,
        (least, most): (f64, f64),
    ) -> Option<(f64, f64)> {
        let value = self.value(key)?;
        let within = |value: &DeValue<'_>| {
            number::<f64>(value).filter(|number| (least..=most).contains(number))
        };
        let pair = match value.get_ref() {
            DeValue::Array(values) => match (values.first(), values.get(1), values.len()) {
                (Some(first), Some(last), 2) => within(first.get_ref()).zip(within(last.get_ref())),
                _ => None,
            },
            value => within(value).map(|one| (one, one)),
        };
        if pair.is_none() {
            let says = format!(
                "`{key}` is a number from {least} to {most}, or two of them: [first, last]"
            );
            self.book.wrong(value.span(), says);
        }
        pair
    }

    /// True or false.
    pub(super) fn flag(&mut self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            _ => {
                self.book
                    .wrong(value.span(), format!("`{key}` is true or false"));
                None
            }
        }
    }

    /// A list of anything, each with its place.
    pub(super) fn list(&mut self, key: &'static str) -> Vec<(Range<usize>, Value)> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        match value.get_ref() {
            DeValue::Array(values) => values
                .iter()
                .map(|one| (one.span(), json(one.get_ref())))
                .collect(),
            _ => {
                self.book.wrong(value.span(), format!("`{key}` is a list"));
                Vec::new()
            }
        }
    }

    /// A table within this one.
    pub(super) fn table(&mut self, key: &'static str, name: &'static str) -> Option<Keys<'a>> {
        self.tables(key, name).into_iter().next()
    }

    /// A table within this one, or several.
    pub(super) fn tables(&mut self, key: &'static str, name: &'static str) -> Vec<Keys<'a>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let one = |value: &'a Spanned<DeValue<'a>>| match value.get_ref() {
            DeValue::Table(table) => Some(Keys::new(self.book, table, value.span(), name)),
            _ => {
                self.book
                    .wrong(value.span(), format!("`{key}` is a table: {name}"));
                None
            }
        };
        match value.get_ref() {
            DeValue::Array(values) => values.iter().filter_map(one).collect(),
            _ => one(value).into_iter().collect(),
        }
    }

    /// All keys of the table, each judged by `check` with all that is below it; what is refused is a mistake of its own.
    pub(super) fn settings(
        self,
        check: impl Fn(&str, &Value) -> Result<(), String>,
    ) -> Map<String, Value> {
        for (key, value) in self.table.iter() {
            let name = key.get_ref();
            self.judge(key.span(), value, &|value| check(name, &value));
        }
        object(self.table)
    }

    /// Judges the parts of a table one by one, so that each mistake has its own line.
    fn judge(
        &self,
        at: Range<usize>,
        value: &Spanned<DeValue<'_>>,
        check: &dyn Fn(Value) -> Result<(), String>,
    ) {
        match value.get_ref() {
            DeValue::Table(table) if !table.is_empty() => {
                for (key, below) in table.iter() {
                    let name = key.get_ref();
                    self.judge(key.span(), below, &|value| {
                        check(Value::Object(Map::from_iter([(name.to_string(), value)])))
                    });
                }
            }
            value => {
                if let Err(error) = check(json(value)) {
                    self.book.wrong(at, format!("{}: {error}", self.name));
                }
            }
        }
    }

    /// All keys have been asked for: those that are left are unknown.
    pub(super) fn finish(self) {
        for (key, _) in self.table.iter() {
            let name = key.get_ref();
            if !self.asked.iter().any(|asked| name == asked) {
                let mut known = self.asked.clone();
                known.sort_unstable();
                known.dedup();
                let says = format!(
                    "unknown key `{name}` in {}; known are {}",
                    self.name,
                    known.join(", ")
                );
                self.book.wrong(key.span(), says);
            }
        }
    }
}

fn number<T: FromStr>(value: &DeValue<'_>) -> Option<T> {
    match value {
        DeValue::Integer(number) => number.to_string().parse().ok(),
        DeValue::Float(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

fn object(table: &DeTable<'_>) -> Map<String, Value> {
    let entries = table.iter();
    entries
        .map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref())))
        .collect()
}

fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.to_string()),
        DeValue::Integer(number) => number
            .to_string()
            .parse::<i64>()
            .map_or(Value::Null, Value::from),
        DeValue::Float(number) => number
            .to_string()
            .parse::<f64>()
            .map_or(Value::Null, Value::from),
        DeValue::Boolean(flag) => Value::from(*flag),
        DeValue::Datetime(time) => Value::from(time.to_string()),
        DeValue::Array(values) => values.iter().map(|one| json(one.get_ref())).collect(),
        DeValue::Table(table) => Value::Object(object(table)),
    }
}
