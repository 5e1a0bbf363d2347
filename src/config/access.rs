//! Where an engine may connect to.
//!
//! Owns: the rules, and what they say of a host, an address or a path. Never: resolves a name; what a name came to
//! is judged by itself, so that a name cannot lead where its addresses may not (DNS rebinding).

mod destination;
mod network;
mod special;

pub use destination::{Destination, DestinationError};

use crate::config::{EndpointAddress, UpstreamConfig, UpstreamUrl};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// Where an engine may connect to: against destinations that come from outside, in URLs that users gave, say, and lead to
/// what only this machine should reach (CWE-918, server-side request forgery).
///
/// A destination is refused if a rule of `deny` has it; or if its address is special while `special` is false, unless a
/// *network* in `allow` has the address; or if there are rules in `allow` and none has it. Rules on names go by the name
/// as it is configured or written in the URL, rules on networks by the address that is dialled, which for a name is
/// what it resolves to, each time anew. IPv4 addresses within IPv6 ones (RFC 4291 §2.5.5.2, RFC 6052, RFC 3056) count as both.
///
/// What is refused by its name, literal address or path is so at once: a named upstream makes the configuration wrong,
/// an absolute URL fails its call with [`Forbidden`](crate::ErrorKind::Forbidden). Of what a name resolves to, refused addresses are
/// left out; if none is left, calls fail in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessConfig {
    /// What may be connected to. Empty, the default, is everything: who configures upstreams by name has
    /// chosen them already. With rules, absolute URLs lead nowhere else; fewer or narrower ones refuse calls that were
    /// meant to be made, and say so.
    pub allow: Vec<Destination>,
    /// What may not, whatever `allow` says. Empty, the default, takes nothing away: what a service must not reach is
    /// what its operator knows. More rules leave names fewer addresses to resolve to.
    pub deny: Vec<Destination>,
    /// Whether addresses for special use may be connected to: private, shared, loopback, link-local (with the metadata
    /// services of clouds), multicast, and whatever else is not globally reachable (RFC 6890). Default true: most
    /// upstreams of a service are in its own network. Turn it off where URLs come from outside; what is needed all the
    /// same is then named as a network in `allow`.
    pub special: bool,
}

impl Default for AccessConfig {
    fn default() -> AccessConfig {
        AccessConfig {
            allow: Vec::new(),
            deny: Vec::new(),
            special: true,
        }
    }
}

/// Why a destination is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// A rule of `deny` has it.
    ByRule { what: String, rule: String },
    /// Its address is for special use.
    Special(IpAddr),
    /// No rule of `allow` has it.
    NotAllowed(String),
    /// A path that does not say where it leads.
    Winding(String),
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Denied::ByRule { what, rule } => {
                write!(f, "{what} is refused by {rule} in access.deny")
            }
            Denied::Special(ip) => write!(
                f,
                "{ip} is an address for special use, which access.special refuses"
            ),
            Denied::NotAllowed(what) => write!(f, "{what} is not among what access.allow has"),
            Denied::Winding(path) => {
                write!(f, "{path} has \"..\" in it, which access rules refuse")
            }
        }
    }
}

impl AccessConfig {
    /// Whether everything may be connected to.
    pub(crate) fn is_open(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty() && self.special
    }

    /// What can be said of an upstream before any name is resolved: all that is refused.
    pub(crate) fn judge_upstream(&self, settings: &UpstreamConfig) -> Vec<Denied> {
        if settings.endpoints.is_empty() {
            return self.judge_url(&settings.url).err().into_iter().collect();
        }
        let judged = settings.endpoints.iter().map(|endpoint| match endpoint {
            EndpointAddress::Host { host, port } => self.judge_host(host, *port),
            EndpointAddress::Path(path) => self.judge_path(path),
        });
        judged.filter_map(Result::err).collect()
    }

    /// What can be said of a URL before its name is resolved.
    pub(crate) fn judge_url(&self, url: &UpstreamUrl) -> Result<(), Denied> {
        match (url.path(), url.host(), url.port()) {
            (Some(path), _, _) => self.judge_path(path),
            (None, Some(host), Some(port)) => self.judge_host(host, port),
            (None, _, _) => Ok(()),
        }
    }

    /// A literal address is judged whole; of a name it may be known already that no address of it can be allowed.
    fn judge_host(&self, host: &str, port: u16) -> Result<(), Denied> {
        if let Ok(ip) = host.parse() {
            return self.judge_address(host, SocketAddr::new(ip, port));
        }
        if let Some(rule) = self.deny.iter().find(|rule| rule.has_name(host, port)) {
            return Err(by_rule(format!("{host}:{port}"), rule));
        }
        let may_be = |rule: &Destination| rule.has_name(host, port) || rule.is_network_at(port);
        if self.allow.is_empty() || self.allow.iter().any(may_be) {
            return Ok(());
        }
        Err(Denied::NotAllowed(format!("{host}:{port}")))
    }

    /// Judges an address that `host` stands for, be it itself or a name that resolved to it.
    pub(crate) fn judge_address(&self, host: &str, at: SocketAddr) -> Result<(), Denied> {
        let (port, reached) = (at.port(), special::reached(at.ip()));
        let has = |rule: &&Destination| {
            rule.has_name(host, port) || reached.iter().any(|ip| rule.has_address(*ip, port))
        };
        if let Some(rule) = self.deny.iter().find(has) {
            return Err(by_rule(at.to_string(), rule));
        }
        // An address within another one has to be allowed as well: both are where it leads.
        let in_network = |ip: &IpAddr| self.allow.iter().any(|rule| rule.has_address(*ip, port));
        let special = reached
            .iter()
            .find(|ip| special::is_special(**ip) && !in_network(ip));
        if let (false, Some(ip)) = (self.special, special) {
            return Err(Denied::Special(*ip));
        }
        let by_name = self.allow.iter().any(|rule| rule.has_name(host, port));
        if self.allow.is_empty() || by_name || reached.iter().any(in_network) {
            return Ok(());
        }
        Err(Denied::NotAllowed(at.to_string()))
    }

    fn judge_path(&self, path: &Path) -> Result<(), Denied> {
        let winding = path.components().any(|part| part.as_os_str() == "..");
        if winding && !(self.allow.is_empty() && self.deny.is_empty()) {
            return Err(Denied::Winding(path.display().to_string()));
        }
        let what = || format!("unix:{}", path.display());
        if let Some(rule) = self.deny.iter().find(|rule| rule.has_path(path)) {
            return Err(by_rule(what(), rule));
        }
        if self.allow.is_empty() || self.allow.iter().any(|rule| rule.has_path(path)) {
            return Ok(());
        }
        Err(Denied::NotAllowed(what()))
    }
}

#[cfg(test)]
impl AccessConfig {
    pub(crate) fn of(allow: &[&str], deny: &[&str], special: bool) -> AccessConfig {
        let rules = |all: &[&str]| all.iter().map(|text| text.parse().expect(text)).collect();
        AccessConfig {
            allow: rules(allow),
            deny: rules(deny),
            special,
        }
    }
}

fn by_rule(what: String, rule: &Destination) -> Denied {
    Denied::ByRule {
        what,
        rule: rule.to_string(),
    }
}

#[cfg(test)]
mod tests;
