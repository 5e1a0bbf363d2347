//! Ctrl-C: the first asks the run to end with its report, the second ends the process at once.
//!
//! SIGTERM counts as Ctrl-C. The backend child sits in a process group of its own, so that a
//! terminal's Ctrl-C does not take it away from under the run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::failure::Failure;

/// The shell's code for a process ended by SIGINT.
const EXIT_INTERRUPTED: i32 = 130;

/// Whether the user asked for the end.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    requested: Arc<AtomicBool>,
}

impl Interrupt {
    /// Takes over SIGINT and SIGTERM of this process.
    pub(crate) fn install() -> Result<Self, Failure> {
        let requested = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // The order matters: what exits looks at the flag before the other sets it.
            flag::register_conditional_shutdown(signal, EXIT_INTERRUPTED, Arc::clone(&requested))
                .and_then(|_| flag::register(signal, Arc::clone(&requested)))
                .map_err(|e| Failure::Run(format!("cannot watch for Ctrl-C: {e}")))?;
        }
        Ok(Self { requested })
    }

    /// One that no signal sets, but [`request`](Self::request).
    pub(crate) fn by_hand() -> Self {
        Self {
            requested: Arc::default(),
        }
    }

    /// Asks for the end.
    pub(crate) fn request(&self) {
        self.requested.store(true, Ordering::Relaxed);
    }

    /// True from the first Ctrl-C on. Cheap: one relaxed load.
    pub(crate) fn requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }
}
