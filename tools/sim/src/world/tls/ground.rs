//! What the TLS servers of a run share: keys, the time, sessions, and one configuration for each face that
//! a server shows.

use super::certificates::{Certificate, certified};
use super::sessions::{Sessions, Shelf};
use crate::knobs::{Knobs, UpstreamTls};
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What the TLS servers of a run share.
pub struct Ground {
    provider: Arc<CryptoProvider>,
    wall_clock: Arc<dyn TimeProvider>,
    sessions: Arc<Sessions>,
    configs: RefCell<BTreeMap<(usize, usize, Certificate), Arc<ServerConfig>>>,
}

impl Ground {
    /// The ground of a run that takes its keys from `provider` and the time from `wall_clock`.
    pub fn new(provider: CryptoProvider, wall_clock: Arc<dyn TimeProvider>) -> Ground {
        Ground {
            provider: Arc::new(provider),
            wall_clock,
            sessions: Arc::default(),
            configs: RefCell::default(),
        }
    }

    /// What clients did with tickets that they must not.
    pub fn finding(&self) -> Option<String> {
        self.sessions.finding()
    }

    /// A server's side of a new connection.
    pub(super) fn accept(
        &self,
        (upstream, server): (usize, usize),
        tls: &UpstreamTls,
        certificate: Certificate,
    ) -> ServerConnection {
        let configs = &mut self.configs.borrow_mut();
        let config = configs
            .entry((upstream, server, certificate))
            .or_insert_with(|| Arc::new(self.config((upstream, server), tls, certificate)));
        ServerConnection::new(config.clone()).expect("the dice do not run out")
    }

    fn config(
        &self,
        (upstream, server): (usize, usize),
        tls: &UpstreamTls,
        certificate: Certificate,
    ) -> ServerConfig {
        let names = [tls.server_name.clone()];
        let certified: CertifiedKey = certified(certificate, &names, &self.provider);
        let versions = match tls.only_tls12 {
            true => vec![&TLS12],
            false => vec![&TLS13, &TLS12],
        };
        let builder =
            ServerConfig::builder_with_details(self.provider.clone(), self.wall_clock.clone());
        let mut config = builder
            .with_protocol_versions(&versions)
            .expect("both versions have suites")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.max_fragment_size = tls.record_max;
        config.send_tls13_tickets = tls.tickets;
        if tls.alpn {
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        config.session_storage = match certificate {
            Certificate::Good => Arc::new(Shelf {
                sessions: self.sessions.clone(),
                upstream,
                server,
                shared: tls.shared_sessions,
            }),
            // Who resumes is not shown a certificate.
            Certificate::UnknownIssuer | Certificate::WrongName | Certificate::Expired => {
                Arc::new(NoServerSessionStorage {})
            }
        };
        config
    }
}

/// What a server shows at this time.
pub(super) fn shown(knobs: &Knobs, upstream: usize, server: usize, now: Duration) -> Certificate {
    let impostures = knobs.tls.iter().flat_map(|tls| &tls.impostures);
    let mut here = impostures.filter(|one| one.upstream == upstream && one.server == server);
    here.find(|one| (one.from..one.until).contains(&now))
        .map_or(Certificate::Good, |one| one.certificate)
}
