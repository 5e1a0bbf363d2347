//! Clients that are programs of their own: how they are run and what the kernel says about them.
//!
//! They cannot be stopped after a warm-up: their figures are of the whole process, start and end included, which
//! take a thousandth of a second or two.

use crate::process::{self, CpuTime};
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// What a program did.
pub(super) struct Ran {
    pub(super) output: String,
    pub(super) cpu: CpuTime,
    pub(super) peak_rss_bytes: u64,
}

/// How often its memory is looked at: after its end nothing is there to be seen.
const LOOK: Duration = Duration::from_millis(20);

/// Why it cannot be used; `None`: it is there.
pub(super) fn missing(program: &str, package: &str) -> Option<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    (!found).then(|| format!("`{program}` is not installed (Debian's package {package})"))
}

/// Runs it to its end. The process has no other children.
pub(super) fn run(command: &mut Command) -> Result<Ran, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |why: std::io::Error| format!("cannot run {program}: {why}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(failed)?;
    let mut stdout = child.stdout.take().ok_or("no output")?;
    let (id, ended) = (child.id().to_string(), AtomicBool::new(false));
    thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut peak = 0;
            while !ended.load(Ordering::Relaxed) {
                peak = process::peak_rss_bytes(&id).unwrap_or(0).max(peak);
                thread::sleep(LOOK);
            }
            peak
        });
        let mut output = String::new();
        let read = stdout.read_to_string(&mut output);
        let status = child.wait();
        ended.store(true, Ordering::Relaxed);
        let peak_rss_bytes = looking.join().map_err(|_| "a look at its memory failed")?;
        read.map_err(failed)?;
        let status = status.map_err(failed)?;
        if !status.success() {
            return Err(format!("{program} ended with {status}: {output}"));
        }
        Ok(Ran {
            output,
            cpu: CpuTime::of_children(),
            peak_rss_bytes,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_run_and_its_output_read() {
        let ran = run(Command::new("echo").arg("hello")).unwrap();
        assert_eq!(ran.output, "hello\n");
        assert!(run(&mut Command::new("false")).is_err());
        assert!(run(&mut Command::new("no-such-program")).is_err());
    }

    #[test]
    fn what_is_not_installed_is_said_with_its_package() {
        assert_eq!(missing("sh", "dash"), None);
        let said = missing("no-such-program", "nothing").unwrap();
        assert!(said.contains("package nothing"), "{said}");
    }
}
