//! The one line that says where an upstream is and what is spoken there.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where an upstream is: `https://users.internal:8443`, `http://10.0.0.7`, `tcp://redis:6379`,
/// `tls://mq:5671`, `unix:/run/app.sock`, `http+unix:/run/app.sock`.
///
/// It names a destination, not a resource: no user, path, query or fragment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamUrl {
    scheme: Scheme,
    place: Place,
}

/// What is spoken, and over what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// HTTP over TCP; port 80 if none is given.
    Http,
    /// HTTP over TLS; port 443 if none is given.
    Https,
    /// A raw byte stream over TCP.
    Tcp,
    /// A raw byte stream over TLS.
    Tls,
    /// A raw byte stream over a Unix socket.
    Unix,
    /// HTTP over a Unix socket.
    HttpUnix,
    /// The simulator's multiplexing protocol over TCP.
    #[cfg(any(test, feature = "simulation"))]
    Mux,
    /// The simulator's multiplexing protocol over TLS.
    #[cfg(any(test, feature = "simulation"))]
    Muxs,
}

impl Scheme {
    /// As it is written in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Tcp => "tcp",
            Scheme::Tls => "tls",
            Scheme::Unix => "unix",
            Scheme::HttpUnix => "http+unix",
            #[cfg(any(test, feature = "simulation"))]
            Scheme::Mux => "mux",
            #[cfg(any(test, feature = "simulation"))]
            Scheme::Muxs => "muxs",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    Host { host: String, port: u16 },
    Path(PathBuf),
}

/// Why a text names no upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlError {
    text: String,
    why: &'static str,
}

impl UpstreamUrl {
    /// An `http` or `https` destination.
    ///
    /// # Errors
    /// If `host` is no host name or IP address.
    pub fn http(secure: bool, host: &str, port: u16) -> Result<UpstreamUrl, UrlError> {
        let scheme = if secure { Scheme::Https } else { Scheme::Http };
        let host = bare_host(host).ok_or_else(|| UrlError::new(host, "is no host"))?;
        Ok(UpstreamUrl {
            scheme,
            place: Place::Host {
                host: host.to_ascii_lowercase(),
                port,
            },
        })
    }

    /// What is spoken, and over what.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        match self.scheme {
            Scheme::Https | Scheme::Tls => true,
            Scheme::Http | Scheme::Tcp | Scheme::Unix | Scheme::HttpUnix => false,
            #[cfg(any(test, feature = "simulation"))]
            Scheme::Mux => false,
            #[cfg(any(test, feature = "simulation"))]
            Scheme::Muxs => true,
        }
    }

    /// Whether HTTP is spoken (and `call` works).
    pub fn is_http(&self) -> bool {
        matches!(self.scheme, Scheme::Http | Scheme::Https | Scheme::HttpUnix)
    }

    /// Whether one connection carries many streams.
    pub fn is_multiplexed(&self) -> bool {
        match self.scheme {
            Scheme::Http | Scheme::Https | Scheme::HttpUnix => false,
            Scheme::Tcp | Scheme::Tls | Scheme::Unix => false,
            #[cfg(any(test, feature = "simulation"))]
            Scheme::Mux | Scheme::Muxs => true,
        }
    }

    /// Host name or address, without brackets; `None` for a Unix socket.
    pub fn host(&self) -> Option<&str> {
        match &self.place {
            Place::Host { host, .. } => Some(host),
            Place::Path(_) => None,
        }
    }

    /// TCP port; `None` for a Unix socket.
    pub fn port(&self) -> Option<u16> {
        match &self.place {
            Place::Host { port, .. } => Some(*port),
            Place::Path(_) => None,
        }
    }

    /// The Unix socket's path.
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::Host { .. } => None,
            Place::Path(path) => Some(path),
        }
    }

    /// What the Host header says (RFC 9110 §7.2): the port only where it is not the scheme's own;
    /// `localhost` for a Unix socket, which has no name.
    pub fn authority(&self) -> String {
        match &self.place {
            Place::Path(_) => "localhost".to_owned(),
            Place::Host { host, port } => {
                let host = bracketed(host);
                match default_port(self.scheme) {
                    Some(default) if default == *port => host,
                    _ => format!("{host}:{port}"),
                }
            }
        }
    }
}

impl FromStr for UpstreamUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<UpstreamUrl, UrlError> {
        let error = |why| Err(UrlError::new(text, why));
        let Some((scheme, rest)) = text.split_once(':') else {
            return error("has no scheme such as https:");
        };
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "tcp" => Scheme::Tcp,
            "tls" => Scheme::Tls,
            "unix" => Scheme::Unix,
            "http+unix" => Scheme::HttpUnix,
            #[cfg(any(test, feature = "simulation"))]
            "mux" => Scheme::Mux,
            #[cfg(any(test, feature = "simulation"))]
            "muxs" => Scheme::Muxs,
            _ => {
                return error(
                    "has an unknown scheme; known are http, https, tcp, tls, unix, http+unix",
                );
            }
        };
        if matches!(scheme, Scheme::Unix | Scheme::HttpUnix) {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if !path.starts_with('/') || path.contains('\0') {
                return error("needs the absolute path of a socket");
            }
            // sockaddr_un has 108 bytes, the last a NUL.
            if path.len() > 107 {
                return error("has a path over 107 bytes, which no Unix socket can have");
            }
            return Ok(UpstreamUrl {
                scheme,
                place: Place::Path(path.into()),
            });
        }
        let Some(authority) = rest.strip_prefix("//") else {
            return error("has no // after its scheme");
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        if authority.contains(['/', '?', '#']) {
            return error("names a path, query or fragment; an upstream is a destination only");
        }
        if authority.contains('@') {
            return error("has user information, which never belongs in a URL");
        }
        let (host, port) = split_port(authority);
        let port = match (port, default_port(scheme)) {
            (Some(port), _) => match port.parse::<u16>() {
                Ok(port) if port != 0 => port,
                _ => return error("has a port that is not 1 to 65535"),
            },
            (None, Some(port)) => port,
            (None, None) => return error("needs a port"),
        };
        match bare_host(host) {
            Some(host) => {
                let host = host.to_ascii_lowercase();
                Ok(UpstreamUrl {
                    scheme,
                    place: Place::Host { host, port },
                })
            }
            None => error("has no valid host"),
        }
    }
}

/// Splits `host:port`, leaving the colons of an IPv6 literal alone.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// The host without brackets, if it is an IPv6 literal, an IPv4 address or a plausible name.
pub(super) fn bare_host(host: &str) -> Option<&str> {
    if let Some(literal) = host.strip_prefix('[') {
        let literal = literal.strip_suffix(']')?;
        return literal.parse::<std::net::Ipv6Addr>().ok().map(|_| literal);
    }
    if host.parse::<std::net::Ipv6Addr>().is_ok() {
        return Some(host);
    }
    let plausible = !host.is_empty()
        && host.len() <= 253
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    plausible.then_some(host)
}

fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

fn default_port(scheme: Scheme) -> Option<u16> {
    match scheme {
        Scheme::Http => Some(80),
        Scheme::Https => Some(443),
        Scheme::Tcp | Scheme::Tls | Scheme::Unix | Scheme::HttpUnix => None,
        #[cfg(any(test, feature = "simulation"))]
        Scheme::Mux | Scheme::Muxs => None,
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.scheme.as_str();
        match &self.place {
            Place::Host { .. } => write!(f, "{scheme}://{}", self.authority()),
            Place::Path(path) => write!(f, "{scheme}:{}", path.display()),
        }
    }
}

impl UrlError {
    pub(super) fn new(text: &str, why: &'static str) -> UrlError {
        UrlError {
            text: text.to_owned(),
            why,
        }
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.text, self.why)
    }
}

impl std::error::Error for UrlError {}

impl Serialize for UpstreamUrl {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UpstreamUrl {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<UpstreamUrl, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_urls_come_back_as_written() {
        for (text, authority) in [
            ("https://users.internal:8443", "users.internal:8443"),
            ("https://users.internal", "users.internal"),
            ("http://[::1]:8080", "[::1]:8080"),
            ("http://10.0.0.7", "10.0.0.7"),
            ("tcp://redis:6379", "redis:6379"),
            ("unix:/run/app.sock", "localhost"),
            ("http+unix:/run/app.sock", "localhost"),
            ("mux://10.0.0.7:7000", "10.0.0.7:7000"),
            ("muxs://users.internal:7001", "users.internal:7001"),
        ] {
            let url: UpstreamUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), text);
            assert_eq!(url.authority(), authority);
        }
        assert_eq!(
            "HTTP://Users:80/"
                .parse::<UpstreamUrl>()
                .unwrap()
                .to_string(),
            "http://users"
        );
    }

    #[test]
    fn bad_urls_are_refused() {
        for text in [
            "",
            "users",
            "users:80",
            "http:/users",
            "http://",
            "http://:80",
            "http://users:0",
            "http://users:65536",
            "http://users:x",
            "http://a@users",
            "http://users/path",
            "http://users?q",
            "http://us ers",
            "tcp://redis",
            "mux://redis",
            "ftp://x",
            "unix:run",
            "http://[::1",
            "http://[zz]",
        ] {
            assert!(text.parse::<UpstreamUrl>().is_err(), "{text}");
        }
        assert!(
            format!("unix:/{}", "x".repeat(107))
                .parse::<UpstreamUrl>()
                .is_err()
        );
    }
}
