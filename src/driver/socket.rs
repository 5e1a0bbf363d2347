//! What is set on every socket, through socket2.

use crate::endpoint::Endpoint;
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};
use std::io;
use std::time::Duration;

/// Options of one socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketOptions {
    /// The kernel's own probes of an idle connection; `None` sends none.
    pub keepalive: Option<Keepalive>,
    /// TCP_USER_TIMEOUT (RFC 5482): how long sent bytes may stay unacknowledged, or the peer's
    /// window closed, before the kernel gives the connection up. `None` leaves the kernel's
    /// retransmission limit, about 15 minutes.
    pub user_timeout: Option<Duration>,
}

/// When the kernel probes an idle TCP connection (tcp(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe (TCP_KEEPIDLE).
    pub idle: Duration,
    /// Between probes (TCP_KEEPINTVL).
    pub interval: Duration,
    /// Unanswered probes that end the connection (TCP_KEEPCNT).
    pub count: u32,
}

/// A new stream socket for `endpoint`, close-on-exec, with `options` set, and the endpoint's address
/// as the kernel wants it. TCP sockets get TCP_NODELAY: every send is a whole message or a whole
/// piece, and Nagle's algorithm would only make it wait for the peer's delayed acknowledgement.
pub(crate) fn stream(
    endpoint: &Endpoint,
    options: &SocketOptions,
) -> io::Result<(Socket, SockAddr)> {
    match endpoint {
        Endpoint::Inet(address) => {
            let socket = Socket::new(
                Domain::for_address(*address),
                Type::STREAM,
                Some(Protocol::TCP),
            )?;
            socket.set_tcp_nodelay(true)?;
            if let Some(keepalive) = options.keepalive {
                let parameters = TcpKeepalive::new()
                    .with_time(keepalive.idle)
                    .with_interval(keepalive.interval)
                    .with_retries(keepalive.count);
                socket.set_tcp_keepalive(&parameters)?;
            }
            if options.user_timeout.is_some() {
                socket.set_tcp_user_timeout(options.user_timeout)?;
            }
            Ok((socket, SockAddr::from(*address)))
        }
        Endpoint::Unix(path) => {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            Ok((socket, SockAddr::unix(path)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

    #[test]
    fn options_arrive_in_the_kernel() {
        let options = SocketOptions {
            keepalive: Some(Keepalive {
                idle: Duration::from_secs(120),
                interval: Duration::from_secs(30),
                count: 3,
            }),
            user_timeout: Some(Duration::from_secs(30)),
        };
        for address in [
            SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            SocketAddr::from((Ipv6Addr::LOCALHOST, 1)),
        ] {
            let (socket, _) = stream(&Endpoint::Inet(address), &options).unwrap();
            assert!(socket.tcp_nodelay().unwrap());
            assert!(socket.keepalive().unwrap());
            assert_eq!(
                socket.tcp_keepalive_time().unwrap(),
                Duration::from_secs(120)
            );
            assert_eq!(
                socket.tcp_keepalive_interval().unwrap(),
                Duration::from_secs(30)
            );
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
            assert_eq!(
                socket.tcp_user_timeout().unwrap(),
                Some(Duration::from_secs(30))
            );
        }
    }

    #[test]
    fn a_unix_path_too_long_is_an_error() {
        let path = "/".repeat(200);
        let endpoint = Endpoint::Unix(std::path::Path::new(&path).into());
        assert!(stream(&endpoint, &SocketOptions::default()).is_err());
    }
}
