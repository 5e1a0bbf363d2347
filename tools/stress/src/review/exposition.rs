//! What an engine's own metrics say of its upstreams: Prometheus' text format, as the engine's catalogue names them.
//!
//! Owns how lines are read, and which metric is which fact. What it does not know it passes over. Never: judges.

use std::collections::BTreeMap;

use super::facts::Facts;
use crate::contacts::Contacts;

/// Upstreams that are reviewed, at most.
const UPSTREAMS_MAX: usize = 256;

/// Shards that are looked at, at most.
const SHARDS_MAX: usize = 1024;

/// Why a text is no exposition.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoMetrics;

/// What a scrape says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Scrape {
    /// Of the engine, whatever the upstream.
    pub(super) engine: Facts,
    pub(super) upstreams: BTreeMap<String, Facts>,
}

/// The facts of the engine and of each upstream.
pub(super) fn read(text: &str) -> Result<Scrape, NoMetrics> {
    let mut upstreams = BTreeMap::<String, Facts>::new();
    let (mut up, mut ages) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        let Some((name, labels, value)) = sample(line) else {
            continue;
        };
        let label = |wanted: &str| {
            labels
                .iter()
                .find(|(name, _)| *name == wanted)
                .map(|(_, v)| v.as_str())
        };
        if let Some(shard) = label("shard").filter(|_| up.len() < SHARDS_MAX) {
            match name {
                "ringpool_shard_up" => drop(up.insert(shard.to_owned(), value)),
                "ringpool_shard_figures_age_seconds" => drop(ages.insert(shard.to_owned(), value)),
                _ => {}
            }
        }
        let Some(upstream) = label("upstream") else {
            continue;
        };
        let known = [
            "ringpool_pool_",
            "ringpool_endpoint_",
            "ringpool_dns_",
            "dns_",
        ];
        if !known.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        if upstreams.len() == UPSTREAMS_MAX && !upstreams.contains_key(upstream) {
            continue;
        }
        let facts = upstreams
            .entry(upstream.to_owned())
            .or_insert_with(|| Facts {
                reuse: true,
                ..Facts::default()
            });
        let count = value.max(0.0) as u64;
        match name {
            "ringpool_pool_acquires_total" => match label("outcome") {
                Some("hit") => (facts.hits, facts.answered) = (count, facts.answered + count),
                Some("waited") => {
                    facts.waits = count;
                    facts.misses += count;
                    facts.answered += count;
                }
                Some("stolen" | "created") => {
                    facts.misses += count;
                    facts.answered += count;
                }
                // Timed out, shed, refused: those that came to nothing.
                Some(other) if count > 0 => {
                    facts.failed.insert(other.to_owned(), count);
                }
                Some(_) | None => {}
            },
            "ringpool_pool_connections" if label("state") == Some("leased") => {
                facts.leased_most = Some(count);
            }
            "ringpool_pool_connection_max" => facts.connections_max = Some(count),
            "ringpool_pool_pending_requests" => {
                facts.waiting = Some(if count > 0 { 1.0 } else { 0.0 });
            }
            "ringpool_pool_dials_total" => facts.dials = count,
            "ringpool_pool_dial_failures_total" => facts.dials_failed = count,
            "ringpool_pool_connection_create_time_seconds_count" => facts.opened = count,
            "ringpool_pool_connection_phase_time_seconds_count" => match label("phase") {
                Some("tls_full") => facts.handshakes_full = count,
                Some("tls_resumed") => facts.handshakes_resumed = count,
                Some(_) | None => {}
            },
            "ringpool_pool_handshake_avoided_seconds_total" => {
                facts.seconds_avoided += value.max(0.0);
            }
            _ => contacts(&mut facts.contacts, name, &label, value.max(0.0)),
        }
    }
    if upstreams.is_empty() && up.is_empty() {
        return Err(NoMetrics);
    }
    let mut engine = Facts::default();
    for (shard, _) in up.into_iter().filter(|(_, up)| *up == 0.0) {
        let age = ages.get(&shard).copied().unwrap_or(0.0);
        engine.unseen.not_up.insert(shard, age);
    }
    Ok(Scrape { engine, upstreams })
}

/// What is told of look-ups, closes and endpoints.
fn contacts<'a>(
    contacts: &mut Contacts,
    name: &str,
    label: &impl Fn(&str) -> Option<&'a str>,
    value: f64,
) {
    let count = value as u64;
    match name {
        "dns_lookup_duration_seconds_count" => contacts.lookups.count += count,
        "dns_lookup_duration_seconds_sum" => contacts.lookups.seconds += value,
        "ringpool_dns_lookup_failures_total" => contacts.lookups_failed = count,
        "ringpool_pool_connection_closed_total" => {
            contacts.close(label("reason").unwrap_or_default(), count);
        }
        _ => {
            let at = label("endpoint").and_then(|address| contacts.endpoint(address));
            match (name, at) {
                ("ringpool_endpoint_dials_total", Some(at)) => at.dials = count,
                ("ringpool_endpoint_dial_failures_total", Some(at)) => at.dials_failed = count,
                ("ringpool_endpoint_use_time_seconds_count", Some(at)) => at.held.count = count,
                ("ringpool_endpoint_use_time_seconds_sum", Some(at)) => at.held.seconds = value,
                (_, _) => {}
            }
        }
    }
}

type Labels<'a> = Vec<(&'a str, String)>;

/// Name, labels and value of one line; comments and what cannot be read are `None`.
fn sample(line: &str) -> Option<(&str, Labels<'_>, f64)> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            rest = rest.trim_start_matches([',', ' ']);
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (label, value) = rest.split_once("=\"")?;
            let (value, after) = quoted(value)?;
            labels.push((label, value));
            rest = after;
        }
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some((name, labels, value))
}

/// A label's value up to its closing quote, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_upstream_has_its_facts() {
        let text = r#"
# HELP ringpool_pool_acquires_total What became of those who asked.
# TYPE ringpool_pool_acquires_total counter
ringpool_pool_acquires_total{upstream="a",outcome="hit"} 900
ringpool_pool_acquires_total{upstream="a",outcome="created"} 60
ringpool_pool_acquires_total{upstream="a",outcome="waited"} 40 1700000000
ringpool_pool_acquires_total{upstream="a",outcome="shed"} 7
ringpool_pool_acquires_total{upstream="q\"}, x",outcome="hit"} 5
ringpool_pool_connections{upstream="a",state="leased"} 64
ringpool_pool_connections{upstream="a",state="idle"} 3
ringpool_pool_connection_max{upstream="a"} 64
ringpool_pool_pending_requests{upstream="a"} 12
ringpool_pool_dials_total{upstream="a"} 60
ringpool_pool_connection_phase_time_seconds_count{upstream="a",phase="tls_full"} 58
ringpool_pool_handshake_avoided_seconds_total{upstream="a",by="reuse"} 1.5
ringpool_pool_handshake_avoided_seconds_total{upstream="a",by="resumption"} 0.25
dns_lookup_duration_seconds_sum{upstream="a",dns_question_name="h"} 3.5
dns_lookup_duration_seconds_count{upstream="a",dns_question_name="h"} 7
ringpool_pool_connection_closed_total{upstream="a",reason="uses"} 4
ringpool_endpoint_use_time_seconds_sum{upstream="a",endpoint="10.0.0.1:80"} 2
ringpool_endpoint_use_time_seconds_count{upstream="a",endpoint="10.0.0.1:80"} 8
ringpool_shard_turns_total{shard="0"} 5
ringpool_shard_up{shard="0"} 1
ringpool_shard_up{shard="1"} 0
ringpool_shard_figures_age_seconds{shard="0"} 0
ringpool_shard_figures_age_seconds{shard="1"} 3.5
half a line{
"#;
        let Scrape { engine, upstreams } = read(text).unwrap();
        assert_eq!(engine.unseen.not_up, [("1".to_owned(), 3.5)].into());
        assert_eq!(upstreams.keys().collect::<Vec<_>>(), ["a", "q\"}, x"]);
        let a = &upstreams["a"];
        assert_eq!(
            (a.hits, a.misses, a.waits, a.answered),
            (900, 100, 40, 1000)
        );
        assert_eq!((a.leased_most, a.connections_max), (Some(64), Some(64)));
        assert_eq!((a.waiting, a.dials, a.handshakes_full), (Some(1.0), 60, 58));
        assert_eq!((a.failed["shed"], a.seconds_avoided), (7, 1.75));
        assert_eq!(a.contacts.lookups.mean(), Some(0.5));
        assert_eq!(a.contacts.closed["uses"], 4);
        assert_eq!(a.contacts.endpoints["10.0.0.1:80"].held.mean(), Some(0.25));
    }

    #[test]
    fn what_has_no_upstream_is_none() {
        for bad in [
            "",
            "hello",
            "up 1",
            "# ringpool_pool_dials_total{upstream=\"a\"} 1",
        ] {
            assert_eq!(read(bad), Err(NoMetrics), "{bad}");
        }
    }
}
