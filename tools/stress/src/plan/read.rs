//! From the text of a scenario file to a plan, or to all that is wrong with it.
//!
//! Owns: the keys of each table, their defaults and their limits. Never: gives up before the end.

mod expected;

use std::time::Duration;

use serde_json::{Map, Value};
use toml::de::DeTable;

use super::keys::{Book, Keys, Mistake};
use super::{BackendPlan, Place, Plan, Upstream};
use crate::arrivals::Arrivals;
use crate::backend::Fault;
use crate::load::WayIn;
use crate::traffic::{self, CallClass, CallPlan, PhaseLoad, PhasePlan};
use crate::words::{self, Spread};
use expected::Named;

/// What names may be written with, so that they can stand in a table's head.
const NAME_MAX: usize = 13;
/// The most phases, calls, upstreams, backends of one, and values of a sweep.
const PARTS_MAX: usize = 32;
const RATE_MAX: f64 = 1e8;
const CALLERS_MAX: usize = 1 << 16;
/// Callers of a load that goes by the clock, where the file says nothing: never the limit of a scenario that fits on one host.
const CALLERS: usize = 1024;

/// Judges a setting of an upstream.
pub(crate) type Check<'a> = &'a dyn Fn(&str, &Value) -> Result<(), String>;

/// Reads a scenario file; `check` knows the engine's settings.
pub(crate) fn read(text: &str, check: Check<'_>) -> Result<Plan, Vec<Mistake>> {
    let book = Book::new(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        book.wrong(error.span().unwrap_or(0..0), error.message());
    }
    let span = table.span();
    let reader = Reader { book: &book, check };
    let plan = reader.plan(Keys::new(
        &book,
        table.get_ref(),
        span.start..span.start,
        "the file",
    ));
    match book.mistakes() {
        mistakes if mistakes.is_empty() => Ok(plan),
        mistakes => Err(mistakes),
    }
}

struct Reader<'a> {
    book: &'a Book<'a>,
    check: Check<'a>,
}

impl<'a> Reader<'a> {
    fn plan(&self, mut keys: Keys<'a>) -> Plan {
        let mut upstreams = vec![self.first_upstream(&mut keys)];
        for keys in keys.tables("upstream", "[[upstream]]") {
            upstreams.push(self.upstream(keys, &upstreams));
        }
        let mut calls = Vec::new();
        for keys in keys.tables("call", "[[call]]") {
            calls.push(self.call(keys, &calls, &upstreams));
        }
        let mut phases = Vec::new();
        for keys in keys.tables("phase", "[[phase]]") {
            phases.push(self.phase(keys, &phases));
        }
        let sweep = keys
            .table("sweep", "[sweep]")
            .and_then(|keys| self.sweep(keys));
        let named = Named {
            phases: &phases,
            calls: &calls,
            sweep: sweep.as_ref(),
        };
        let expected = keys.tables("expect", "[[expect]]").into_iter();
        let expectations: Vec<_> = expected
            .filter_map(|keys| self.expect(keys, &named))
            .collect();
        let plan = Plan {
            about: keys.text("about", some).unwrap_or_default(),
            expects: keys.text("expects", some).unwrap_or_default(),
            seed: keys.number("seed", (0, i64::MAX as u64)).unwrap_or(1),
            shards: keys.number("shards", (1, 1024)).unwrap_or(1),
            way: keys.text("from", way).unwrap_or_default(),
            callers: keys.number("callers", (1, CALLERS_MAX)).unwrap_or(CALLERS),
            think: keys
                .text("think", Spread::of_durations)
                .unwrap_or(Spread::ZERO),
            warmup: keys
                .text("warmup", words::duration)
                .unwrap_or(Duration::ZERO),
            cold: keys.flag("cold").unwrap_or(false),
            upstreams,
            calls,
            phases,
            sweep,
            expectations,
        };
        self.check_whole(&plan, &mut keys);
        keys.finish();
        plan
    }

    /// What no part can see by itself.
    fn check_whole(&self, plan: &Plan, keys: &mut Keys<'a>) {
        if plan.phases.is_empty() && !keys.has("phase") {
            keys.wrong("there is no [[phase]]: nothing would be loaded");
        }
        let closed = |phase: &&PhasePlan| matches!(phase.load, PhaseLoad::Callers(_));
        let count = plan.phases.iter().filter(closed).count();
        if count > 0 && count < plan.phases.len() {
            keys.wrong("some phases have `callers` and others a `rate`: a load is of one kind");
        }
        if plan.expectations.is_empty() && !keys.has("expect") {
            keys.wrong("there is no [[expect]]: nothing could hold or fail");
        }
        for (name, count) in [
            ("upstream", plan.upstreams.len()),
            ("call", plan.calls.len()),
            ("phase", plan.phases.len()),
            ("expect", plan.expectations.len()),
        ] {
            if count > PARTS_MAX {
                self.book
                    .wrong(keys.span(), format!("more than {PARTS_MAX} of [[{name}]]"));
            }
        }
        if !plan.calls.is_empty() && plan.calls.iter().all(|call| call.weight == 0.0) {
            keys.wrong("all calls weigh nothing");
        }
    }

    /// The one of calls that name none, from tables of their own.
    fn first_upstream(&self, keys: &mut Keys<'a>) -> Upstream {
        let tls = keys.flag("tls").unwrap_or(false);
        Upstream {
            name: "target".to_owned(),
            place: self.place(keys, tls),
            pool: self.pool(keys),
        }
    }

    fn upstream(&self, mut keys: Keys<'a>, before: &[Upstream]) -> Upstream {
        let taken = |name: &str| before.iter().any(|other| other.name == name);
        let name = self.name(&mut keys, "name", taken);
        let tls = keys.flag("tls").unwrap_or(false);
        let upstream = Upstream {
            name,
            place: self.place(&mut keys, tls),
            pool: self.pool(&mut keys),
        };
        keys.finish();
        upstream
    }

    fn place(&self, keys: &mut Keys<'a>, tls: bool) -> Place {
        let both = keys.has("url") && keys.has("backend");
        if both {
            let span = keys.span_of("url");
            self.book
                .wrong(span, "`url` and `backend`: it is in one place only");
        }
        if keys.has("url") && keys.has("tls") {
            let span = keys.span_of("tls");
            self.book
                .wrong(span, "`tls` is for backends: a `url` says https itself");
        }
        if let Some(url) = keys.text("url", crate::cli::url) {
            return Place::Url(url);
        }
        let backends = keys.tables("backend", "[backend]").into_iter();
        let mut backends: Vec<BackendPlan> = backends.map(|keys| self.backend(keys)).collect();
        if backends.len() > PARTS_MAX {
            keys.wrong(format!("more than {PARTS_MAX} backends"));
        }
        if backends.is_empty() {
            backends.push(BackendPlan::default());
        }
        Place::Backends { tls, backends }
    }

    fn backend(&self, mut keys: Keys<'a>) -> BackendPlan {
        let mut options = Vec::new();
        // Checked here, and understood once more by the backend itself: as it is written.
        let service = |text: &str| Spread::of_durations(text).map(|_| text.to_owned());
        if let Some(service) = keys.text("service", service) {
            options.push(format!("--service={service}"));
        }
        for fault in keys.texts("fault", Fault::parse) {
            options.push(format!("--fault={fault}"));
        }
        if let Some(body) = keys.word("body", words::size) {
            options.push(format!("--body={body}"));
        }
        if let Some(threads) = keys.number("threads", (1, 64)) {
            let threads: u32 = threads;
            options.push(format!("--threads={threads}"));
        }
        if let Some(most) = keys.number("connections_max", (1, 1 << 20)) {
            let most: u32 = most;
            options.push(format!("--connections-max={most}"));
        }
        if let Some(seed) = keys.number("seed", (0, i64::MAX as u64)) {
            options.push(format!("--seed={seed}"));
        }
        let plan = BackendPlan {
            options,
            handshake_delay: keys
                .text("handshake_delay", words::duration)
                .unwrap_or_default(),
        };
        keys.finish();
        plan
    }

    fn pool(&self, keys: &mut Keys<'a>) -> Map<String, Value> {
        let Some(pool) = keys.table("pool", "[pool]") else {
            return Map::new();
        };
        pool.settings(|key, value| self.setting(key, value))
    }

    /// Judges a setting of an upstream, of `[pool]` or of `[sweep]`.
    fn setting(&self, key: &str, value: &Value) -> Result<(), String> {
        match key {
            "url" | "endpoints" => Err(format!("`{key}` is made of `url` and `backend`")),
            _ => (self.check)(key, value),
        }
    }

    fn call(&self, mut keys: Keys<'a>, before: &[CallPlan], upstreams: &[Upstream]) -> CallPlan {
        let taken = |name: &str| before.iter().any(|other| other.name == name);
        let plain = CallPlan::get("/");
        let upstream = |name: &str| {
            let found = upstreams.iter().position(|upstream| upstream.name == name);
            found.ok_or_else(|| format!("there is no upstream `{name}`"))
        };
        let call = CallPlan {
            name: self.name(&mut keys, "name", taken),
            upstream: keys.text("upstream", upstream).unwrap_or(plain.upstream),
            weight: keys.number("weight", (0.0, 1e9)).unwrap_or(plain.weight),
            path: keys.text("path", path).unwrap_or(plain.path),
            size: keys.word("size", Spread::of_sizes),
            upload: keys.word("upload", traffic::upload),
            close: keys.text("close", words::share).unwrap_or(plain.close),
            class: keys.text("class", CallClass::parse).unwrap_or(plain.class),
        };
        keys.finish();
        call
    }

    fn phase(&self, mut keys: Keys<'a>, before: &[PhasePlan]) -> PhasePlan {
        let taken = |name: &str| before.iter().any(|other| other.name == name);
        let name = self.name(&mut keys, "name", taken);
        let lasts = keys.text("lasts", some_time);
        if lasts.is_none() && !keys.has("lasts") {
            keys.wrong(format!("phase `{name}` does not say how long it `lasts`"));
        }
        let (both, neither) = (keys.has("rate"), keys.has("callers"));
        if both == neither {
            keys.wrong(format!("phase `{name}` has either a `rate` or `callers`"));
        }
        let arrivals = keys.text("arrivals", Arrivals::parse);
        if arrivals.is_some() && keys.has("callers") {
            keys.wrong(format!("phase `{name}`: `arrivals` are those of a `rate`"));
        }
        let callers = keys.number("callers", (0, CALLERS_MAX));
        let rate = keys.one_or_two("rate", (0.0, RATE_MAX));
        let load = match (rate, callers) {
            (Some((first, last)), _) => PhaseLoad::Rate(first, last, arrivals.unwrap_or_default()),
            (None, callers) => PhaseLoad::Callers(callers.unwrap_or(1)),
        };
        keys.finish();
        PhasePlan {
            name,
            lasts: lasts.unwrap_or(Duration::from_secs(1)),
            load,
        }
    }

    /// A name that no other has.
    fn name(&self, keys: &mut Keys<'a>, key: &'static str, taken: impl Fn(&str) -> bool) -> String {
        let name = keys.text(key, |name| {
            let letter = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(letter) {
                return Err(format!(
                    "`{name}` is no name: up to {NAME_MAX} of a-z A-Z 0-9 - _ ."
                ));
            }
            if taken(name) || ["target", "whole"].contains(&name) {
                return Err(format!("there is a `{name}` already"));
            }
            Ok(name.to_owned())
        });
        if name.is_none() && !keys.has(key) {
            keys.wrong("it has no `name`");
        }
        name.unwrap_or_default()
    }
}

fn some(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it is empty".to_owned()),
        text => Ok(text.to_owned()),
    }
}

fn some_time(text: &str) -> Result<Duration, String> {
    match words::duration(text)? {
        Duration::ZERO => Err("it must be longer than nothing".to_owned()),
        time => Ok(time),
    }
}

fn way(text: &str) -> Result<WayIn, String> {
    match text {
        "shards" => Ok(WayIn::Shards),
        "anywhere" => Ok(WayIn::Anywhere),
        _ => Err(format!("`{text}` is none of shards, anywhere")),
    }
}

fn path(text: &str) -> Result<String, String> {
    let uri: http::Uri = text.parse().map_err(|e| format!("`{text}`: {e}"))?;
    match uri.authority() {
        None if text.starts_with('/') => Ok(text.to_owned()),
        _ => Err(format!("`{text}` is no path such as /a?b=c")),
    }
}

#[cfg(test)]
mod tests;
