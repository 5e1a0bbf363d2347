//! One rule: a name, those below a name, a network or a path; and ports.

use super::network::Network;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Destinations that an access rule is about.
///
/// | written | has |
/// |---|---|
/// | `users.internal` | that name, as configured or written in a URL |
/// | `*.internal` | every name below that one, and not the name itself |
/// | `10.0.0.0/8`, `192.0.2.7`, `2001:db8::/32` | addresses, whatever name they were reached by |
/// | `*` | everything that has a port |
/// | `unix:/run/app.sock`, `unix:/run` | that socket; or every path below a directory |
///
/// A port or a range of them may follow all but paths: `*.internal:443`, `10.0.0.0/8:8000-8999`, `[2001:db8::]/32:443`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    place: Place,
    /// The first and the last; all, if there are none.
    ports: Option<(u16, u16)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    Any,
    Name(String),
    Below(String),
    Network(Network),
    Path(PathBuf),
}

/// Why a text is no [`Destination`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationError {
    text: String,
    why: &'static str,
}

impl fmt::Display for DestinationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.text, self.why)
    }
}

impl std::error::Error for DestinationError {}

impl Destination {
    pub(super) fn has_name(&self, host: &str, port: u16) -> bool {
        // The dot of a name that is complete (RFC 1034 §3.1) makes it no other name.
        let host = host.strip_suffix('.').unwrap_or(host);
        let has = match &self.place {
            Place::Any => true,
            Place::Name(name) => name.eq_ignore_ascii_case(host),
            Place::Below(name) => is_below(host, name),
            Place::Network(_) | Place::Path(_) => false,
        };
        has && self.has_port(port)
    }

    /// `ip` in its canonical form.
    pub(super) fn has_address(&self, ip: IpAddr, port: u16) -> bool {
        match &self.place {
            Place::Network(network) => network.has(ip) && self.has_port(port),
            Place::Any | Place::Name(_) | Place::Below(_) | Place::Path(_) => false,
        }
    }

    pub(super) fn has_path(&self, path: &Path) -> bool {
        match &self.place {
            // Part by part: /run/app is not below /run/a.
            Place::Path(own) => path.starts_with(own),
            Place::Any | Place::Name(_) | Place::Below(_) | Place::Network(_) => false,
        }
    }

    /// Whether it has addresses with this port.
    pub(super) fn is_network_at(&self, port: u16) -> bool {
        matches!(self.place, Place::Network(_)) && self.has_port(port)
    }

    fn has_port(&self, port: u16) -> bool {
        self.ports
            .is_none_or(|(first, last)| (first..=last).contains(&port))
    }
}

fn is_below(host: &str, name: &str) -> bool {
    let Some(at) = host.len().checked_sub(name.len()) else {
        return false;
    };
    let (Some(labels), Some(tail)) = (host.get(..at), host.get(at..)) else {
        return false;
    };
    tail.eq_ignore_ascii_case(name) && labels.len() > 1 && labels.ends_with('.')
}

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Destination, DestinationError> {
        let parsed = parse(text);
        parsed.map_err(|why| DestinationError {
            text: text.to_owned(),
            why,
        })
    }
}

fn parse(text: &str) -> Result<Destination, &'static str> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = PathBuf::from(path);
        let winding = path.components().any(|part| part.as_os_str() == "..");
        if !path.is_absolute() || winding {
            return Err("is no absolute path without \"..\"");
        }
        return Ok(Destination {
            place: Place::Path(path),
            ports: None,
        });
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (ip, rest) = rest.split_once(']').ok_or("has no closing bracket")?;
        let (bits, ports) = split_ports(rest);
        if !bits.is_empty() && !bits.starts_with('/') {
            return Err("has something else than a prefix length or a port behind its bracket");
        }
        let network = format!("{ip}{bits}").parse()?;
        return made(Place::Network(network), ports);
    }
    // An IPv6 address without brackets has no port behind it.
    if text.matches(':').count() > 1 {
        return made(Place::Network(text.parse()?), None);
    }
    let (place, ports) = split_ports(text);
    made(parse_place(place)?, ports)
}

fn split_ports(text: &str) -> (&str, Option<&str>) {
    match text.split_once(':') {
        Some((place, ports)) => (place, Some(ports)),
        None => (text, None),
    }
}

fn parse_place(text: &str) -> Result<Place, &'static str> {
    if text == "*" {
        return Ok(Place::Any);
    }
    if text.contains('/') || text.parse::<IpAddr>().is_ok() {
        return text.parse().map(Place::Network);
    }
    let (name, below) = match text.strip_prefix("*.") {
        Some(name) => (name, true),
        None => (text, false),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_name = !name.is_empty()
        && name.split('.').all(|label| {
            let mut bytes = label.bytes();
            !label.is_empty()
                && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        });
    if !is_name {
        return Err("is neither a name, nor a network, nor \"*\" before a name");
    }
    let name = name.to_ascii_lowercase();
    Ok(if below {
        Place::Below(name)
    } else {
        Place::Name(name)
    })
}

fn made(place: Place, ports: Option<&str>) -> Result<Destination, &'static str> {
    let port = |text: &str| text.parse().ok().filter(|port: &u16| *port > 0);
    let ports = match ports {
        None => None,
        Some(ports) => {
            let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
            let range = port(first)
                .zip(port(last))
                .filter(|(first, last)| first <= last);
            Some(range.ok_or("has no port from 1 to 65535, or range of them, behind its colon")?)
        }
    };
    Ok(Destination { place, ports })
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Any => write!(f, "*")?,
            Place::Name(name) => write!(f, "{name}")?,
            Place::Below(name) => write!(f, "*.{name}")?,
            Place::Network(network) => write!(f, "{network}")?,
            Place::Path(path) => write!(f, "unix:{}", path.display())?,
        }
        match self.ports {
            None => Ok(()),
            Some((first, last)) if first == last => write!(f, ":{first}"),
            Some((first, last)) => write!(f, ":{first}-{last}"),
        }
    }
}

impl Serialize for Destination {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Destination {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Destination, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Destination {
        text.parse().expect(text)
    }

    #[test]
    fn rules_come_back_as_written() {
        for text in [
            "users.internal",
            "*.internal:443",
            "10.0.0.0/8",
            "10.0.0.0/8:8000-8999",
            "192.0.2.7:80",
            "[2001:db8::]/32",
            "[2001:db8::]/32:443",
            "[::1]:80",
            "*",
            "*:443",
            "unix:/run/app.sock",
            "a_b-c.d",
        ] {
            assert_eq!(rule(text).to_string(), text);
            assert_eq!(rule(&rule(text).to_string()), rule(text));
        }
        assert_eq!(rule("2001:db8::/32"), rule("[2001:db8::]/32"));
        assert_eq!(rule("Users.Internal."), rule("users.internal"));
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for text in [
            "",
            "*.",
            "a..b",
            "a.*.b",
            "**",
            "http://a",
            "a:0",
            "a:65536",
            "a:2-1",
            "a:",
            "a:b",
            "10.0.0.1/8",
            "[::1",
            "[::1]80",
            "unix:run",
            "unix:/a/../b",
            "a b",
            "*a.b",
            "[a]:80",
        ] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_compared_whole_and_without_case() {
        assert!(rule("a.test").has_name("A.Test.", 1));
        assert!(!rule("a.test").has_name("b.a.test", 1) && !rule("a.test").has_name("aa.test", 1));
        let below = rule("*.a.test");
        assert!(below.has_name("b.a.test", 1) && below.has_name("c.b.A.test", 1));
        assert!(
            !below.has_name("a.test", 1)
                && !below.has_name("ba.test", 1)
                && !below.has_name(".a.test", 1)
        );
        let ports = rule("a.test:80-90");
        assert!(ports.has_name("a.test", 80) && ports.has_name("a.test", 90));
        assert!(!ports.has_name("a.test", 79) && !ports.has_name("a.test", 91));
    }

    #[test]
    fn paths_are_compared_part_by_part() {
        let below = rule("unix:/run/app");
        assert!(
            below.has_path(Path::new("/run/app")) && below.has_path(Path::new("/run/app/a.sock"))
        );
        assert!(
            !below.has_path(Path::new("/run/application")) && !below.has_path(Path::new("/run"))
        );
    }
}
