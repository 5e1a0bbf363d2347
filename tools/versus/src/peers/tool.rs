//! Clients that are programs of their own: how they are run and what the kernel says about them.
//!
//! They cannot be stopped after a warm-up: their figures are of the whole process, start and end included, which
//! take a thousandth of a second or two.

use crate::process::{self, CpuTime};
use std::io;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What a program did.
pub(super) struct Ran {
    pub(super) output: String,
    pub(super) cpu: CpuTime,
    pub(super) peak_rss_bytes: u64,
}

/// How often its memory is looked at: after its end nothing is there to be seen.
const LOOK: Duration = Duration::from_millis(50);

/// Why it cannot be used; `None`: it is there.
pub(super) fn missing(program: &str, package: &str) -> Option<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    (!found).then(|| format!("`{program}` is not installed (Debian's package {package})"))
}

/// Runs it to its end, for `within` at most. The process has no other children.
pub(super) fn run(command: &mut Command, within: Duration) -> Result<Ran, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |why: io::Error| format!("cannot run {program}: {why}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(failed)?;
    let stdout = child.stdout.take().ok_or("no output")?;
    let reading = thread::spawn(move || io::read_to_string(stdout));
    let (id, until, mut peak_rss_bytes) = (child.id().to_string(), Instant::now() + within, 0);
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if Instant::now() >= until {
            child.kill().and_then(|()| child.wait()).map_err(failed)?;
            return Err(format!("{program} did not end within {within:?}"));
        }
        peak_rss_bytes = process::peak_rss_bytes(&id)
            .unwrap_or(0)
            .max(peak_rss_bytes);
        thread::sleep(LOOK);
    };
    let output = reading.join().map_err(|_| "its output was lost")?;
    let output = output.map_err(failed)?;
    if !status.success() {
        return Err(format!("{program} ended with {status}: {output}"));
    }
    Ok(Ran {
        output,
        cpu: CpuTime::of_children(),
        peak_rss_bytes,
    })
}

/// Of a time with its unit, such as `1.20ms`.
pub(super) fn microseconds(time: &str) -> Option<f64> {
    let unit = time.find(|letter: char| letter.is_ascii_alphabetic())?;
    let scale = match &time[unit..] {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 60e6,
        _ => return None,
    };
    Some(time[..unit].parse::<f64>().ok()? * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_run_and_its_output_read() {
        let long = Duration::from_secs(60);
        let ran = run(Command::new("echo").arg("hello"), long).unwrap();
        assert_eq!(ran.output, "hello\n");
        assert!(run(&mut Command::new("false"), long).is_err());
        assert!(run(&mut Command::new("no-such-program"), long).is_err());
        assert!(run(Command::new("sleep").arg("60"), Duration::ZERO).is_err());
    }

    #[test]
    fn times_are_read_with_their_units() {
        assert_eq!(microseconds("514.00us"), Some(514.0));
        assert_eq!(microseconds("1.20ms"), Some(1200.0));
        assert_eq!(microseconds("2s"), Some(2e6));
        assert_eq!(microseconds("7"), None);
    }

    #[test]
    fn what_is_not_installed_is_said_with_its_package() {
        assert_eq!(missing("sh", "dash"), None);
        let said = missing("no-such-program", "nothing").unwrap();
        assert!(said.contains("package nothing"), "{said}");
    }
}
