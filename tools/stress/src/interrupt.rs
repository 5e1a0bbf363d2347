//! Ctrl-C: the first asks the run to end with its report, the second ends the process at once.
//!
//! Owns the exit code of what was ended so: 128 and the signal's number, as a shell has it, whatever else there would be to say; so a
//! script does not take half a run for a whole one. SIGTERM counts as Ctrl-C. The backend child sits in a process group of its own, so that a
//! terminal's Ctrl-C does not take it away from under the run.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::failure::Failure;

/// What a shell adds to the number of the signal that ended a process.
const EXIT_SIGNAL: i32 = 128;

/// Whether the user asked for the end.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    requested: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
}

impl Interrupt {
    /// Takes over SIGINT and SIGTERM of this process.
    pub(crate) fn install() -> Result<Self, Failure> {
        let interrupt = Self::by_hand();
        let Self { requested, signal } = &interrupt;
        for number in [SIGINT, SIGTERM] {
            // The order matters: what exits looks at the flag before the last sets it, and whoever sees that knows the signal.
            flag::register_conditional_shutdown(
                number,
                EXIT_SIGNAL + number,
                Arc::clone(requested),
            )
            .and_then(|_| flag::register_usize(number, Arc::clone(signal), number as usize))
            .and_then(|_| flag::register(number, Arc::clone(requested)))
            .map_err(|e| Failure::Run(format!("cannot watch for Ctrl-C: {e}")))?;
        }
        Ok(interrupt)
    }

    /// One that no signal sets, but [`request`](Self::request).
    pub(crate) fn by_hand() -> Self {
        Self {
            requested: Arc::default(),
            signal: Arc::new(AtomicUsize::new(SIGINT as usize)),
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

    /// `code`, unless the user asked for the end.
    pub(crate) fn exit_or(&self, code: ExitCode) -> ExitCode {
        if !self.requested() {
            return code;
        }
        let signal = self.signal.load(Ordering::SeqCst);
        u8::try_from(EXIT_SIGNAL as usize + signal).map_or(code, ExitCode::from)
    }
}
