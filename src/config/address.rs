//! One place where an upstream's servers are.

use super::url::UrlError;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where servers of an upstream are: `10.0.0.7:8080`, `[::1]:80`, `users-1.internal:8443` (each address
/// that the name resolves to is an endpoint), `unix:/run/app.sock`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EndpointAddress {
    /// A host name or IP address (without brackets), and a port.
    Host {
        /// The name or address.
        host: String,
        /// The TCP port.
        port: u16,
    },
    /// A Unix stream socket.
    Path(PathBuf),
}

impl FromStr for EndpointAddress {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<EndpointAddress, UrlError> {
        if let Some(path) = text.strip_prefix("unix:") {
            if !path.starts_with('/') {
                return Err(UrlError::new(text, "is no absolute path"));
            }
            return Ok(EndpointAddress::Path(path.into()));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(UrlError::new(text, "has no port"));
        };
        let port = port.parse().ok().filter(|&port: &u16| port > 0);
        let port = port.ok_or_else(|| UrlError::new(text, "has no port from 1 to 65535"))?;
        let host = super::url::bare_host(host)
            .ok_or_else(|| UrlError::new(text, "has no valid host"))?
            .to_ascii_lowercase();
        Ok(EndpointAddress::Host { host, port })
    }
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndpointAddress::Host { host, port } if host.contains(':') => {
                write!(f, "[{host}]:{port}")
            }
            EndpointAddress::Host { host, port } => write!(f, "{host}:{port}"),
            EndpointAddress::Path(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Serialize for EndpointAddress {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EndpointAddress {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<EndpointAddress, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_as_written() {
        for text in [
            "10.0.0.7:8080",
            "[::1]:80",
            "users-1.internal:8443",
            "unix:/run/a.sock",
        ] {
            let address: EndpointAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
        for text in [
            "",
            "10.0.0.7",
            "10.0.0.7:0",
            "10.0.0.7:65536",
            ":80",
            "unix:run",
            "a b:1",
        ] {
            assert!(text.parse::<EndpointAddress>().is_err(), "{text}");
        }
    }
}
