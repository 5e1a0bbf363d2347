//! New settings for an upstream while it is in use.
//!
//! Owns: what may change, and the order in which everyone learns of it. Never: waits for a shard, or
//! touches what is open; each shard's pool decides about that.

use super::{EngineShared, reserved};
use crate::config::UpstreamConfig;
use crate::driver::Driver;
use crate::error::{Error, ErrorKind};
use crate::shard::mailbox::{Control, Mailbox};
use crate::shard::upstream::UpstreamShared;
use crate::tls::ClientTls;
use futures_channel::oneshot;
use std::sync::{Arc, PoisonError};

impl<D: Driver> EngineShared<D> {
    /// Puts `settings` in force for a named upstream. Caps hold from now on; each shard answers when it
    /// decides by the new settings.
    ///
    /// # Errors
    /// All that is wrong with them. Nothing has changed then.
    pub(crate) fn reconfigure(
        &self,
        upstream: &Arc<UpstreamShared>,
        settings: UpstreamConfig,
    ) -> Result<Vec<oneshot::Receiver<()>>, Error> {
        let one_at_a_time = self.reconfiguring.lock();
        // What it guards is not a value but an order.
        let _one_at_a_time = one_at_a_time.unwrap_or_else(PoisonError::into_inner);
        let mut config = self.config.clone();
        for (name, upstream) in self.directory.iter() {
            let settings = upstream.settings();
            config
                .upstreams
                .insert(name.to_string(), (*settings).clone());
        }
        let name = upstream.name.to_string();
        config.upstreams.insert(name, settings.clone());
        check_identity(&upstream.settings(), &settings, config.validate().err())?;
        let tls = self.client_tls(&upstream.name, &settings)?;
        let unreserved = config.connections_max - reserved(config.upstreams.values());
        self.unreserved.set_max(unreserved);
        Ok(self.put_in_force(upstream, Arc::new(settings), tls))
    }

    /// Reads the files that the upstream's TLS settings name anew. Where they say what they said before, nothing changes,
    /// and no shard is asked.
    ///
    /// # Errors
    /// What is wrong with the files: what was read before stays in force.
    pub(crate) fn reload(
        &self,
        upstream: &Arc<UpstreamShared>,
    ) -> Result<Vec<oneshot::Receiver<()>>, Error> {
        let one_at_a_time = self.reconfiguring.lock();
        let _one_at_a_time = one_at_a_time.unwrap_or_else(PoisonError::into_inner);
        let settings = upstream.settings();
        let tls = self.client_tls(&upstream.name, &settings);
        let tls = tls.inspect_err(|error| upstream.reloads.failed(error))?;
        let before = upstream.tls();
        let news = before.is_some_and(|before| !is_same(&before, tls.as_ref()));
        upstream.reloads.succeeded(news);
        match news {
            true => Ok(self.put_in_force(upstream, settings, tls)),
            false => Ok(Vec::new()),
        }
    }

    /// What each shard answers when it has taken it up is returned.
    fn put_in_force(
        &self,
        upstream: &Arc<UpstreamShared>,
        settings: Arc<UpstreamConfig>,
        tls: Option<ClientTls>,
    ) -> Vec<oneshot::Receiver<()>> {
        let before = upstream.replace_settings(&settings, tls.clone());
        if let Some(before) = before.filter(|before| !is_same(before, tls.as_ref())) {
            self.tickets.forget(&before);
        }
        let tell = |mailbox: &Arc<Mailbox<D>>| {
            let (done, answer) = oneshot::channel();
            mailbox.control(Control::Configure(upstream.clone(), settings.clone(), done));
            answer
        };
        self.mailboxes.iter().map(tell).collect()
    }
}

fn is_same(before: &ClientTls, after: Option<&ClientTls>) -> bool {
    after.is_some_and(|after| before.identity() == after.identity())
}

/// What makes an upstream's connections interchangeable has to stay as it is: a handle that reached one
/// server must not reach another one under the same name.
fn check_identity(
    before: &UpstreamConfig,
    after: &UpstreamConfig,
    mistakes: Option<Error>,
) -> Result<(), Error> {
    let mut all: Vec<String> = mistakes.iter().map(Error::to_string).collect();
    let (tls_before, tls_after) = (&before.tls, &after.tls);
    let changed = [
        ("url", before.url != after.url),
        (
            "tls.server_name",
            tls_before.server_name != tls_after.server_name,
        ),
        ("tls.alpn", tls_before.alpn != tls_after.alpn),
    ];
    for (field, _) in changed.iter().filter(|(_, changed)| *changed) {
        all.push(format!(
            "{field} cannot change while the engine runs: it says what an upstream is, and calls under \
             way would not go where they were sent; `endpoints` says where its servers are"
        ));
    }
    if all.is_empty() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Config, all.join("; ")))
}
