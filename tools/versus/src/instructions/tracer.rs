//! Runs a client one instruction at a time.
//!
//! Owns: the client's process while it is traced; it ends with this value. Never: knows symbols. Code of the kernel is
//! not stepped: a system call is one instruction.

use super::marks::SIGNAL;
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::mem::offset_of;
use std::process::{Child, Command, Stdio};

/// What was counted between the marks.
#[derive(Clone, Debug, Default)]
pub(super) struct Steps {
    /// How often the instruction at each address was executed, all threads.
    pub(super) at: HashMap<u64, u64>,
    /// Iterations of string instructions after their first, which count for nothing: with `rep` one instruction is one.
    pub(super) repeats: u64,
    /// Threads that executed any.
    pub(super) threads: usize,
}

/// A client that is being traced.
pub(super) struct Traced {
    child: Child,
    threads: HashMap<Pid, Thread>,
    is_stepping: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Thread {
    /// Where it was after its last step; 0: nowhere yet.
    at: u64,
    /// Counted since the second mark.
    steps: u64,
}

impl Traced {
    /// Starts it, and has it wait for nothing any more.
    pub(super) fn start(mut command: Command) -> Result<Traced, String> {
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|why| format!("cannot start: {why}"))?;
        let pid = Pid::from_raw(child.id() as i32);
        let mut traced = Traced {
            child,
            threads: HashMap::from([(pid, Thread::default())]),
            is_stepping: false,
        };
        // Threads that it starts are traced with it.
        let options = Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_EXITKILL;
        ptrace::seize(pid, options).map_err(|why| format!("cannot be traced: {why}"))?;
        let go = traced.child.stdin.take();
        let mut go = go.expect("it is piped");
        go.write_all(b"\n")
            .map_err(|why| format!("does not begin: {why}"))?;
        Ok(traced)
    }

    pub(super) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Steps through what is between the second mark and the third. The client stands still afterwards.
    pub(super) fn count(&mut self) -> Result<Steps, String> {
        let (mut steps, mut marks) = (Steps::default(), 0);
        loop {
            let status = waitpid(None::<Pid>, Some(WaitPidFlag::__WALL));
            let stop = match status {
                Ok(stop) => stop,
                Err(Errno::EINTR) => continue,
                Err(why) => return Err(format!("cannot be waited for: {why}")),
            };
            match stop {
                WaitStatus::Stopped(thread, Signal::SIGTRAP) if self.is_stepping => {
                    self.step(thread, (marks == 2).then_some(&mut steps));
                    self.resume(thread, None);
                }
                WaitStatus::Stopped(thread, signal) if signal == SIGNAL => {
                    marks += 1;
                    match marks {
                        1 => self.begin_stepping(thread),
                        2 => {}
                        _ => {
                            steps.threads = self.threads.values().filter(|t| t.steps > 0).count();
                            return Ok(steps);
                        }
                    }
                    self.resume(thread, None);
                }
                WaitStatus::Stopped(thread, signal) => self.resume(thread, Some(signal)),
                // A new thread's first stop, an interrupt, or whoever started one.
                WaitStatus::PtraceEvent(thread, _, _) => {
                    self.threads.entry(thread).or_default();
                    self.resume(thread, None);
                }
                WaitStatus::Exited(thread, _) | WaitStatus::Signaled(thread, _, _) => {
                    self.threads.remove(&thread);
                    if thread.as_raw() as u32 == self.child.id() {
                        return Err(self.last_words());
                    }
                }
                WaitStatus::PtraceSyscall(_)
                | WaitStatus::Continued(_)
                | WaitStatus::StillAlive => {}
            }
        }
    }

    fn begin_stepping(&mut self, marked: Pid) {
        self.is_stepping = true;
        for thread in self.threads.keys().filter(|thread| **thread != marked) {
            // It may have ended meanwhile.
            let _ = ptrace::interrupt(*thread);
        }
    }

    fn step(&mut self, thread: Pid, steps: Option<&mut Steps>) {
        let known = self.threads.entry(thread).or_default();
        let Ok(at) = instruction_pointer(thread) else {
            return;
        };
        // What was executed is where it stood before.
        if let (Some(steps), before @ 1..) = (steps, known.at) {
            if before == at {
                steps.repeats += 1;
            } else {
                *steps.at.entry(before).or_default() += 1;
                known.steps += 1;
            }
        }
        known.at = at;
    }

    fn resume(&self, thread: Pid, signal: Option<Signal>) {
        // Fails where the thread has ended meanwhile: its end comes next.
        let _ = match self.is_stepping {
            true => ptrace::step(thread, signal),
            false => ptrace::cont(thread, signal),
        };
    }

    fn last_words(&mut self) -> String {
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut said);
        }
        match said.trim().trim_start_matches("versus: ") {
            "" => "ended before its instructions were counted".to_owned(),
            said => said.to_owned(),
        }
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // Fails where it has ended already.
        let _ = self.child.kill();
        // Its threads first: as long as one is left its own end is not told.
        while let Ok(stop) = waitpid(None::<Pid>, Some(WaitPidFlag::__WALL)) {
            let is_over = matches!(stop, WaitStatus::Exited(..) | WaitStatus::Signaled(..));
            if is_over && stop.pid().map(Pid::as_raw) == Some(self.child.id() as i32) {
                break;
            }
        }
    }
}

fn instruction_pointer(thread: Pid) -> nix::Result<u64> {
    let place = offset_of!(nix::libc::user_regs_struct, rip);
    let at = ptrace::read_user(thread, std::ptr::without_provenance_mut(place))?;
    Ok(at as u64)
}
