//! What is known of the host: a figure without it cannot be judged.
//!
//! Owns: which cores were whose. The host's own facts are `tools/host`'s.

use serde::Serialize;

/// The facts that every report carries; what cannot be read is null.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Host {
    #[serde(flatten)]
    facts: host::Host,
    pub(crate) client_core: usize,
    pub(crate) backend_core: usize,
}

impl Host {
    pub(crate) fn look(client_core: usize, backend_core: usize) -> Host {
        Host {
            facts: host::Host::look(),
            client_core,
            backend_core,
        }
    }

    /// One line for the table.
    pub(crate) fn summary(&self) -> String {
        let known = |fact: &Option<String>| fact.clone().unwrap_or_else(|| "unknown".to_owned());
        let facts = &self.facts;
        format!(
            "Linux {}, {}{}, governor {}, {} cores; client on core {}, backend on core {}; {}",
            known(&facts.kernel.kernel),
            known(&facts.cpus.cpu),
            match facts.cpus.is_virtual {
                Some(true) => " (virtual)",
                Some(false) | None => "",
            },
            known(&facts.power.governor),
            known(&facts.cpus.cores.map(|cores| cores.to_string())),
            self.client_core,
            self.backend_core,
            facts.date,
        )
    }
}
