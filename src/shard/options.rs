//! What an upstream's settings mean for the kernel: the options of its sockets.
//!
//! Never: sets them; the driver does.

use crate::config::UpstreamConfig;
use crate::driver::socket::{Keepalive, SocketOptions};

/// What the policy means for the kernel.
pub(super) fn socket_options(config: &UpstreamConfig) -> SocketOptions {
    let keepalive = config.keepalive.idle.and_then(|idle| {
        // Where we close idle connections before the first probe, the kernel need not be asked.
        let probes_come = config.idle_timeout.is_none_or(|timeout| timeout > idle);
        probes_come.then_some(Keepalive {
            idle,
            interval: config.keepalive.interval,
            count: config.keepalive.count,
        })
    });
    SocketOptions {
        keepalive,
        user_timeout: config.user_timeout,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn no_kernel_probes_where_they_would_never_start() {
        let mut config = UpstreamConfig::default();
        assert_eq!(socket_options(&config).keepalive, None);
        config.idle_timeout = Some(Duration::from_secs(600));
        let keepalive = socket_options(&config)
            .keepalive
            .expect("idle connections outlive the first probe");
        assert_eq!(keepalive.idle, Duration::from_secs(120));
        config.idle_timeout = None;
        assert!(socket_options(&config).keepalive.is_some());
        config.keepalive.idle = None;
        assert_eq!(socket_options(&config).keepalive, None);
    }
}
