//! The conductor beside agents that are not as they should be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::wire::tests::pair;
use super::*;

/// As short as a test can wait, so that what hangs is given up soon.
fn limits() -> Limits {
    Limits {
        beat: Duration::from_millis(10),
        grace: Duration::from_millis(200),
        prepare: Duration::from_millis(200),
        ..LIMITS
    }
}

/// One agent, and its end of the connection.
fn one() -> (Orchestra, TcpStream) {
    let (stream, agent) = pair();
    let names = ["h:1".to_owned()];
    (
        Orchestra::new(&names, vec![stream], limits()).unwrap(),
        agent,
    )
}

/// Beats for ever, and does nothing else.
struct Lively {
    end: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Lively {
    fn on(stream: TcpStream) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&end);
        let thread = thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let _ = wire::send(&stream, &Answer::Beat { ok: 1, failed: 0 }, LIMITS.beat);
                thread::sleep(limits().beat);
            }
        });
        Self {
            end,
            thread: Some(thread),
        }
    }
}

impl Drop for Lively {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

fn why(orchestra: &mut Orchestra) -> String {
    let outcome = orchestra.players[0].outcome.take();
    outcome.expect("it ended").err().expect("it was lost")
}

#[test]
fn an_agent_that_beats_and_never_reports_is_lost_when_the_run_should_have_ended() {
    let (mut orchestra, agent) = one();
    let lively = Lively::on(agent);
    let (progress, interrupt) = (Progress::silent(), Interrupt::by_hand());
    orchestra.listen(Instant::now(), &progress, &interrupt);
    let why = why(&mut orchestra);
    assert!(
        why.contains("200ms after the end that was planned"),
        "{why}"
    );
    assert!(progress.take().0 > 0, "it was heard meanwhile");
    drop(lively);
}

#[test]
fn an_agent_that_does_not_stop_is_lost_long_before_the_planned_end() {
    let (mut orchestra, agent) = one();
    let lively = Lively::on(agent);
    let interrupt = Interrupt::by_hand();
    interrupt.request();
    let end = Instant::now() + Duration::from_secs(3600);
    orchestra.listen(end, &Progress::silent(), &interrupt);
    let why = why(&mut orchestra);
    assert!(why.contains("after it was stopped"), "{why}");
    drop(lively);
}

#[test]
fn an_agent_that_beats_and_is_never_ready_is_not_waited_for() {
    let (mut orchestra, agent) = one();
    let lively = Lively::on(agent);
    let why = orchestra.begin(&Interrupt::by_hand()).unwrap_err();
    assert_eq!(why, "agent h:1: to prepare took longer than 200ms");
    drop(lively);
}

#[test]
fn an_agent_is_told_that_the_conductor_is_there() {
    let (mut orchestra, agent) = one();
    let heard = thread::spawn(move || {
        for _ in 0..3 {
            let order: Order = wire::receive(&agent, wire::ORDER_MAX, LIMITS.silence).unwrap();
            assert!(matches!(order, Order::Beat));
        }
    });
    orchestra.listen(Instant::now(), &Progress::silent(), &Interrupt::by_hand());
    heard.join().unwrap();
}
