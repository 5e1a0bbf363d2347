//! From an upstream's TLS settings to what its connections prove and ask for.
//!
//! Owns: the reading of the files that settings name. Never: keeps what it read anywhere but in the identity.

use super::EngineShared;
use crate::config::{Pem, RevocationConfig, TlsConfig, TrustRoots, UpstreamConfig};
use crate::driver::Driver;
use crate::error::{Error, ErrorKind};
use crate::tls::{ClientTls, Credentials, Identity, PinnedKeys, Revocation, Roots, Trust};
use std::path::Path;
use std::sync::Arc;

impl<D: Driver> EngineShared<D> {
    /// What connects to the upstream by TLS, if that is spoken there. Reads files: not for a shard's thread.
    ///
    /// # Errors
    /// What is wrong with the settings or the files.
    pub(super) fn client_tls(
        &self,
        name: &Arc<str>,
        settings: &UpstreamConfig,
    ) -> Result<Option<ClientTls>, Error> {
        if !settings.url.is_tls() {
            return Ok(None);
        }
        let identity = identity(settings).map_err(|error| error.at_upstream(name))?;
        let made = ClientTls::new(identity, &self.tickets);
        made.map(Some).map_err(|error| {
            let what = format!("its TLS settings are of no use: {error}");
            let error = Error::new(ErrorKind::Config, what).caused_by(error);
            error.at_upstream(name)
        })
    }
}

fn identity(settings: &UpstreamConfig) -> Result<Identity, Error> {
    // All of it: a setting more says here what it has to do with the identity.
    let TlsConfig {
        roots,
        pinned_keys,
        revocation,
        verified_max,
        client_certificate,
        server_name,
        alpn,
        resumption,
        ticket_lifetime_max,
        early_data,
        key_log,
    } = &settings.tls;
    let roots = match roots {
        TrustRoots::WebPki => Roots::WebPki,
        TrustRoots::Pem(text) => Roots::Pem(text.as_bytes().into()),
        TrustRoots::PemFile(path) => Roots::Pem(read("roots", path)?),
    };
    let credentials = match client_certificate {
        None => None,
        Some(certificate) => Some(Credentials {
            chain: pem("client certificate", &certificate.chain)?,
            key: pem("client certificate's key", &certificate.key)?,
        }),
    };
    let pinned_keys = match pinned_keys {
        None => None,
        Some(keys) => Some(PinnedKeys(pem("pinned keys", keys)?)),
    };
    let RevocationConfig {
        lists,
        unknown_allowed,
        stale_allowed,
    } = revocation;
    let lists: Vec<Arc<[u8]>> = lists
        .iter()
        .map(|list| pem("revocation list", list))
        .collect::<Result<_, _>>()?;
    let revocation = (!lists.is_empty()).then_some(Revocation {
        lists,
        unknown_allowed: *unknown_allowed,
        stale_allowed: *stale_allowed,
    });
    let server_name = match server_name.as_str() {
        "" => settings.url.host().unwrap_or_default().to_owned(),
        name => name.to_owned(),
    };
    let alpn = if alpn.is_empty() && settings.url.is_http() {
        vec![b"http/1.1".to_vec()]
    } else {
        alpn.iter().map(|name| name.clone().into_bytes()).collect()
    };
    Ok(Identity {
        server_name,
        alpn,
        trust: Trust {
            roots,
            pinned_keys,
            revocation,
            verified_max: *verified_max,
        },
        credentials,
        resumption: resumption.then_some(*ticket_lifetime_max),
        early_data: *early_data,
        key_log: *key_log,
    })
}

fn pem(what: &str, pem: &Pem) -> Result<Arc<[u8]>, Error> {
    match pem {
        Pem::Pem(text) => Ok(text.as_bytes().into()),
        Pem::PemFile(path) => read(what, path),
    }
}

fn read(what: &str, path: &Path) -> Result<Arc<[u8]>, Error> {
    let read = std::fs::read(path);
    read.map(Into::into).map_err(|error| {
        let what = format!("cannot read the {what} in {}: {error}", path.display());
        Error::new(ErrorKind::Config, what).caused_by(error)
    })
}

/// The URL's host is the caller's own word: where TLS has no use for it, the request is wrong, not the
/// configuration.
pub(super) fn check_name(settings: &UpstreamConfig) -> Result<(), Error> {
    let host = settings.url.host().unwrap_or_default();
    let is_name = !settings.url.is_tls() || !settings.tls.server_name.is_empty();
    if is_name || crate::tls::is_server_name(host) {
        return Ok(());
    }
    let what = format!("TLS takes no {host:?} for a server's name");
    Err(Error::new(ErrorKind::Request, what))
}
