//! Addresses that are not globally reachable: what the registries of RFC 6890 list, and multicast.
//!
//! Owns: the lists, and where an address with another one inside leads. Never: a rule of an engine.

use super::network::Network;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Networks for special use.
const SPECIAL: [Network; 33] = [
    // This network, RFC 791; Linux takes 0.0.0.0 for this host.
    Network::v4([0, 0, 0, 0], 8),
    // Private, RFC 1918.
    Network::v4([10, 0, 0, 0], 8),
    Network::v4([172, 16, 0, 0], 12),
    Network::v4([192, 168, 0, 0], 16),
    // Shared by customers of a carrier, RFC 6598.
    Network::v4([100, 64, 0, 0], 10),
    // Loopback, RFC 1122.
    Network::v4([127, 0, 0, 0], 8),
    // Link-local, RFC 3927.
    Network::v4([169, 254, 0, 0], 16),
    // Of protocols, RFC 6890.
    Network::v4([192, 0, 0, 0], 24),
    // For documentation, RFC 5737.
    Network::v4([192, 0, 2, 0], 24),
    Network::v4([198, 51, 100, 0], 24),
    Network::v4([203, 0, 113, 0], 24),
    // Relays of 6to4, RFC 7526.
    Network::v4([192, 88, 99, 0], 24),
    // For benchmarks, RFC 2544.
    Network::v4([198, 18, 0, 0], 15),
    // Multicast, RFC 5771; reserved and broadcast, RFC 1112.
    Network::v4([224, 0, 0, 0], 4),
    Network::v4([240, 0, 0, 0], 4),
    // Unspecified and loopback, RFC 4291.
    Network::v6([0], 128),
    Network::v6([0, 0, 0, 0, 0, 0, 0, 1], 128),
    // IPv4-compatible, deprecated by RFC 4291.
    Network::v6([0], 96),
    // IPv4-translated, RFC 2765.
    Network::v6([0, 0, 0, 0, 0xffff, 0], 96),
    // Translated for local use, RFC 8215.
    Network::v6([0x64, 0xff9b, 1], 48),
    // Discard-only, RFC 6666, and dummy, RFC 9780.
    Network::v6([0x100], 64),
    Network::v6([0x100, 0, 0, 1], 64),
    // Of protocols, RFC 2928: Teredo and ORCHID among them.
    Network::v6([0x2001], 23),
    // For documentation, RFC 3849, RFC 9637.
    Network::v6([0x2001, 0xdb8], 32),
    Network::v6([0x3fff], 20),
    // Segment routing, RFC 9602.
    Network::v6([0x5f00], 16),
    // Unique local, RFC 4193.
    Network::v6([0xfc00], 7),
    // Link-local, RFC 4291, and site-local, deprecated by RFC 3879.
    Network::v6([0xfe80], 10),
    Network::v6([0xfec0], 10),
    // Multicast, RFC 4291.
    Network::v6([0xff00], 8),
    // Mapped IPv4 that was not taken out of its IPv6 form.
    Network::v6([0, 0, 0, 0, 0, 0xffff], 96),
    // AS112, RFC 7534 and RFC 7535: sinks of queries for private names.
    Network::v4([192, 31, 196, 0], 24),
    Network::v4([192, 175, 48, 0], 24),
];

pub(super) fn is_special(ip: IpAddr) -> bool {
    SPECIAL.iter().any(|network| network.has(ip))
}

/// Every address that is reached by dialling this one: itself, and the IPv4 address that a translator or a tunnel
/// takes out of it.
pub(super) fn reached(ip: IpAddr) -> Vec<IpAddr> {
    let ip = ip.to_canonical();
    let IpAddr::V6(outer) = ip else {
        return vec![ip];
    };
    let inner = inner(outer).map(IpAddr::V4);
    [Some(ip), inner].into_iter().flatten().collect()
}

fn inner(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = ip.octets();
    let at = |from: usize| {
        Ipv4Addr::from([
            octets[from],
            octets[from + 1],
            octets[from + 2],
            octets[from + 3],
        ])
    };
    match ip.segments() {
        // NAT64, RFC 6052 §2.1.
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(at(12)),
        // 6to4, RFC 3056 §2.
        [0x2002, ..] => Some(at(2)),
        // IPv4-compatible, RFC 4291 §2.5.5.1.
        [0, 0, 0, 0, 0, 0, high, _] if high > 0 => Some(at(12)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_for_everybody_is_special() {
        for ip in [
            "0.0.0.0",
            "10.1.2.3",
            "172.31.255.255",
            "192.168.0.1",
            "100.127.0.1",
            "127.0.0.53",
            "169.254.169.254",
            "192.0.2.1",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "64:ff9b:1::1",
        ] {
            assert!(is_special(ip.parse().expect("an address")), "{ip}");
        }
        for ip in [
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "9.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "64:ff9b::808:808",
        ] {
            assert!(!is_special(ip.parse().expect("an address")), "{ip}");
        }
    }

    #[test]
    fn an_address_within_an_address_is_reached_too() {
        let reached = |ip: &str| -> Vec<String> {
            let all = reached(ip.parse().expect("an address"));
            all.iter().map(ToString::to_string).collect()
        };
        assert_eq!(reached("1.2.3.4"), ["1.2.3.4"]);
        assert_eq!(reached("::ffff:10.0.0.1"), ["10.0.0.1"]);
        assert_eq!(reached("64:ff9b::a00:1"), ["64:ff9b::a00:1", "10.0.0.1"]);
        assert_eq!(reached("2002:a00:1::"), ["2002:a00:1::", "10.0.0.1"]);
        assert_eq!(reached("2606:4700::1111"), ["2606:4700::1111"]);
    }
}
