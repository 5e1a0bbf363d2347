//! User instructions per request, counted on the real ring, and where they are.
//!
//! Owns: the subcommand `instructions`. A client runs as in any round; its threads are stepped through one instruction at a time
//! (ptrace(2)) for so many requests of its steady state. Tools that emulate a processor know no io_uring, and virtual machines
//! seldom have counters; this needs neither. Never: measures time, which passes a thousand times too fast for a client that
//! is stepped: what it does by the clock weighs more here than it should.
//!
//! | module | concept |
//! |---|---|
//! | `marks` | the client's side: where counting begins and ends |
//! | `tracer` | the client, one instruction at a time |
//! | `modules` | which file an address belongs to, and which function of it |
//! | `profile` | instructions added up by function, symbol, line |
//! | `report` | for people and for programs |

mod marks;
mod modules;
mod profile;
mod report;
mod tracer;

pub(crate) use marks::{Marks, begin};
pub(crate) use report::json;

use crate::cli::{By, InstructionsOptions};
use crate::failure::Failure;
use crate::peers::Peer;
use crate::process;
use crate::rounds::{Backend, Plan, client, lacks_descriptors};
use crate::scenario::Scenario;
use modules::Modules;
use profile::Profile;
use tracer::{Steps, Traced};

/// How long a client may run: it ends at its last mark, long before.
pub(crate) const SECONDS: u64 = 3600;

/// What came of one client in one scenario.
#[derive(Debug)]
pub(crate) struct Counted {
    scenario: &'static Scenario,
    peer: &'static Peer,
    pub(crate) outcome: Result<Count, String>,
}

/// Everything per request.
#[derive(Debug)]
pub(crate) struct Count {
    requests: u64,
    /// Threads that executed any of it.
    threads: usize,
    instructions: f64,
    system_calls: f64,
    /// Atomic read-modify-writes: with a lock prefix, or `xchg` with memory.
    locked: f64,
    /// Iterations of string instructions beyond their first; not among the instructions.
    repeats: f64,
    profile: Profile,
}

/// Counts all that was asked for; shows each as it comes.
pub(crate) fn count(
    plan: &Plan,
    options: &InstructionsOptions,
    mut show: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<Vec<Counted>, Failure> {
    // The tracer and the traced take turns: on one core that is a switch, on two a wake-up.
    process::pin(plan.client_core)?;
    let mut all = Vec::new();
    for scenario in &options.scenarios {
        for peer in &options.peers {
            let mut backend = Backend::start(plan)?;
            let refused = peer
                .lacks(scenario)
                .or_else(|| lacks_descriptors(scenario, backend.listening.descriptors));
            let outcome = match refused {
                Some(why) => Err(why),
                None => one(plan, options, scenario, peer, &mut backend)?,
            };
            let counted = Counted {
                scenario,
                peer,
                outcome,
            };
            show(&report::text(&counted, options))?;
            all.push(counted);
        }
    }
    Ok(all)
}

/// `Err` inside: the client failed, in its own words.
fn one(
    plan: &Plan,
    options: &InstructionsOptions,
    scenario: &'static Scenario,
    peer: &'static Peer,
    backend: &mut Backend,
) -> Result<Result<Count, String>, Failure> {
    let mut command = client(plan, scenario, peer, &backend.listening)?;
    command.args(["--marked", &options.requests.to_string()]);
    let requests = marks::counted(options.requests, scenario);
    let counted = Traced::start(command).and_then(|mut traced| {
        let steps = traced.count()?;
        let modules = Modules::of(traced.process())?;
        Ok(summed(&steps, &modules, requests, options.by))
    });
    let answered = backend.counts()?.answered;
    Ok(counted.and_then(|count| match answered >= requests {
        true => Ok(count),
        false => Err(format!("the backend answered {answered} requests alone")),
    }))
}

fn summed(steps: &Steps, modules: &Modules, requests: u64, by: By) -> Count {
    let per_request = |count: u64| count as f64 / requests as f64;
    let of_kind = |is: fn(&[u8; 16]) -> bool| {
        let of_kind = steps.at.iter().filter(|(address, _)| {
            let bytes = modules.bytes_at(**address);
            bytes.is_some_and(|bytes| is(&bytes))
        });
        per_request(of_kind.map(|(_, count)| count).sum())
    };
    Count {
        requests,
        threads: steps.threads,
        instructions: per_request(steps.at.values().sum()),
        system_calls: of_kind(modules::is_system_call),
        locked: of_kind(modules::is_locked),
        repeats: per_request(steps.repeats),
        profile: Profile::of(steps, modules, requests, by),
    }
}
