//! Where the audit trail goes.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The audit trail: one event for every connection that is opened, fails to be, or ends. See
/// [`AuditEvent`](crate::audit::AuditEvent).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// The file that events are appended to, as JSON, one a line. None, the default, writes none: who needs a trail has a place for
    /// it. It is made if need be, for its owner alone to read; moved or removed, it is begun anew, so that logs may be
    /// rotated. Set it where it must be known who was connected to, and when; a program may take events itself instead
    /// ([`Engine::builder`](crate::Engine::builder)).
    pub file: Option<PathBuf>,
    /// How many events wait to be recorded, at most; what comes beyond is dropped, and counted (`Snapshot::audit`). Default
    /// 4096: every connection of a sizeable pool may end at once. More outlasts a slower disk, at 200 to 400 bytes an
    /// event.
    pub queue_max: usize,
}

impl Default for AuditConfig {
    fn default() -> AuditConfig {
        AuditConfig {
            file: None,
            queue_max: 4096,
        }
    }
}
