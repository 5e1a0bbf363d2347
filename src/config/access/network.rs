//! A network: an address and how many of its bits count.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// All addresses that begin with the same bits (RFC 4632 §3.1, RFC 4291 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Network {
    ip: IpAddr,
    bits: u32,
}

impl Network {
    pub(super) const fn v4(octets: [u8; 4], bits: u32) -> Network {
        let [a, b, c, d] = octets;
        Network {
            ip: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            bits,
        }
    }

    /// `first`: the segments that are not 0.
    pub(super) const fn v6<const N: usize>(first: [u16; N], bits: u32) -> Network {
        let mut segments = [0; 8];
        let mut at = 0;
        while at < N {
            segments[at] = first[at];
            at += 1;
        }
        let [a, b, c, d, e, f, g, h] = segments;
        Network {
            ip: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)),
            bits,
        }
    }

    pub(super) fn has(self, ip: IpAddr) -> bool {
        match (self.ip, ip) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => {
                prefix(own.to_bits().into(), 32, self.bits)
                    == prefix(ip.to_bits().into(), 32, self.bits)
            }
            (IpAddr::V6(own), IpAddr::V6(ip)) => {
                prefix(own.to_bits(), 128, self.bits) == prefix(ip.to_bits(), 128, self.bits)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// The first `bits` of a word that has `width`.
fn prefix(word: u128, width: u32, bits: u32) -> u128 {
    word.checked_shr(width - bits).unwrap_or(0)
}

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Network, &'static str> {
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip, Some(bits)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| "has no valid address")?;
        let width = if ip.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => width,
            Some(bits) => bits
                .parse()
                .ok()
                .filter(|bits| *bits <= width)
                .ok_or("has no valid prefix length")?,
        };
        let word = match ip {
            IpAddr::V4(ip) => ip.to_bits().into(),
            IpAddr::V6(ip) => ip.to_bits(),
        };
        let rest = prefix(word, width, bits)
            .checked_shl(width - bits)
            .unwrap_or(0);
        if rest != word {
            return Err("has bits set behind its prefix");
        }
        // A mapped IPv4 network is that network: addresses are looked at in that form.
        Ok(match ip {
            IpAddr::V6(ip)
                if bits >= 96
                    && let Some(ip) = ip.to_ipv4_mapped() =>
            {
                Network {
                    ip: ip.into(),
                    bits: bits - 96,
                }
            }
            ip => Network { ip, bits },
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.bits;
        match self.ip {
            IpAddr::V4(ip) if bits == 32 => write!(f, "{ip}"),
            IpAddr::V4(ip) => write!(f, "{ip}/{bits}"),
            IpAddr::V6(ip) if bits == 128 => write!(f, "[{ip}]"),
            IpAddr::V6(ip) => write!(f, "[{ip}]/{bits}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(network: &str, ip: &str) -> bool {
        let network: Network = network.parse().expect("a network");
        network.has(ip.parse().expect("an address"))
    }

    #[test]
    fn the_first_bits_decide() {
        assert!(has("10.0.0.0/8", "10.255.0.1") && !has("10.0.0.0/8", "11.0.0.0"));
        assert!(has("10.1.2.3", "10.1.2.3") && !has("10.1.2.3", "10.1.2.2"));
        assert!(has("192.0.2.128/25", "192.0.2.128") && !has("192.0.2.128/25", "192.0.2.127"));
        assert!(has("0.0.0.0/0", "255.1.2.3") && !has("0.0.0.0/0", "::1"));
        assert!(has("::/0", "2001:db8::1") && !has("::/0", "1.2.3.4"));
        assert!(
            has("2001:db8::/33", "2001:db8:7fff::1") && !has("2001:db8::/33", "2001:db8:8000::")
        );
        assert!(
            has("::ffff:10.0.0.0/104", "10.2.3.4"),
            "it is the IPv4 network"
        );
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "::1/129",
            "10.0.0/8",
            "10.0.0.0/",
            "a/8",
            "10.0.0.0/-1",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
