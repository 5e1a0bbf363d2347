//! From an upstream's TLS settings to what its connections prove and ask for.
//!
//! Owns: the reading of the files that settings name. Never: keeps what it read anywhere but in the identity.

use super::EngineShared;
use crate::config::{Pem, TrustRoots, UpstreamConfig};
use crate::driver::Driver;
use crate::error::{Error, ErrorKind};
use crate::tls::{ClientTls, Credentials, Identity, Roots};
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
    let tls = &settings.tls;
    let roots = match &tls.roots {
        TrustRoots::WebPki => Roots::WebPki,
        TrustRoots::Pem(text) => Roots::Pem(text.as_bytes().into()),
        TrustRoots::PemFile(path) => Roots::Pem(read("roots", path)?),
    };
    let credentials = match &tls.client_certificate {
        None => None,
        Some(certificate) => Some(Credentials {
            chain: pem("client certificate", &certificate.chain)?,
            key: pem("client certificate's key", &certificate.key)?,
        }),
    };
    let server_name = match tls.server_name.as_str() {
        "" => settings.url.host().unwrap_or_default().to_owned(),
        name => name.to_owned(),
    };
    let alpn = if tls.alpn.is_empty() && settings.url.is_http() {
        vec![b"http/1.1".to_vec()]
    } else {
        let names = tls.alpn.iter();
        names.map(|name| name.clone().into_bytes()).collect()
    };
    Ok(Identity {
        server_name,
        alpn,
        roots,
        credentials,
        resumption: tls.resumption,
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
