//! A resolver that leaves out what the engine may not connect to.
//!
//! Owns: the judgement of resolved addresses, away from shard threads and each time anew: a name that was good may come
//! to lead elsewhere. Never: lets a shard see an address that is refused.

use crate::config::AccessConfig;
use crate::shard::lookup::{Forbidden, Lookup, Resolve, Resolved, Resolver};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// Asks another resolver.
struct Judged {
    access: Arc<AccessConfig>,
    inner: Resolver,
}

/// `inner`, with its answers judged by `access`.
pub(super) fn judged(access: &AccessConfig, inner: Resolver) -> Resolver {
    if access.is_open() {
        return inner;
    }
    let access = Arc::new(access.clone());
    Arc::new(Judged { access, inner })
}

impl Resolve for Judged {
    fn resolve(&self, lookup: Lookup) {
        let (access, host) = (self.access.clone(), lookup.host.clone());
        let deliver = lookup.deliver;
        self.inner.resolve(Lookup {
            deliver: Box::new(move |resolved| {
                let result = resolved.result;
                deliver(Resolved {
                    result: result.and_then(|addresses| judge(&access, &host, addresses)),
                    ..resolved
                });
            }),
            ..lookup
        });
    }

    fn end(&self) {
        self.inner.end();
    }
}

fn judge(
    access: &AccessConfig,
    host: &str,
    addresses: Vec<SocketAddr>,
) -> io::Result<Vec<SocketAddr>> {
    let (mut allowed, mut denied) = (Vec::new(), None);
    for address in addresses {
        match access.judge_address(host, address) {
            Ok(()) => allowed.push(address),
            Err(why) => denied = Some(why),
        }
    }
    match denied {
        Some(why) if allowed.is_empty() => Err(io::Error::other(Forbidden(why.to_string()))),
        Some(_) | None => Ok(allowed),
    }
}
