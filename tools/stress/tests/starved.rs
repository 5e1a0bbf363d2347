//! A run in which the tool was the limit does not count. Alone in its program: it takes every core while it runs.

mod common;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::{Served, json, words};

/// Threads that never rest, as long as this lives.
struct Spinners {
    end: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Spinners {
    fn on_each_core() -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let spin = |end: Arc<AtomicBool>| move || while !end.load(Ordering::Relaxed) {};
        let threads = (0..2 * cores).map(|_| thread::spawn(spin(Arc::clone(&end))));
        Self {
            threads: threads.collect(),
            end,
        }
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[test]
fn a_tool_that_is_starved_says_that_its_figures_do_not_count() {
    let served = Served::start("");
    let url = format!("http://{}/", served.plain);
    let spinners = Spinners::on_each_core();
    let line = format!("run {url} --rate 5000 --connections 8 --duration 1s --warmup 0s --json -");
    // The least that the scheduler gives anybody, beside threads that take all that they get.
    let output = Command::new("nice")
        .args(["-n", "19", env!("CARGO_BIN_EXE_stress")])
        .args(line.split_whitespace())
        .output()
        .expect("nice is everywhere");
    drop(spinners);
    let report = json(&output);
    let invalid = report["invalid"].as_array().expect("reasons");
    assert!(!invalid.is_empty(), "{report}");
    assert_eq!(output.status.code(), Some(3), "{}", words(&output));
}
