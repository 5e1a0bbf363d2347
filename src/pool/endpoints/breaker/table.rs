//! Every state of a breaker × every event.
//!
//! Owns: the table, which is compared as text: whoever changes a transition changes it here.
//!
//! With `failures_max` and `trials_max` 2. Counts: Closed (faults in a row, failed dials in a row); Unreachable
//! (faults in a row); HalfOpen (older, on trial, older with a verdict, successes).

use super::*;
use crate::diagram::Diagram;

const SECOND: Duration = Duration::from_secs(1);

fn config() -> BreakerConfig {
    BreakerConfig {
        failures_max: 2,
        trials_max: 2,
        ..BreakerConfig::default()
    }
}

fn now() -> Time {
    Time::ZERO + 1000 * SECOND
}

fn name(breaker: &Breaker) -> String {
    match &breaker.state {
        State::Closed => format!(
            "Closed {}{}",
            breaker.faults_in_row, breaker.dials_failed_in_row
        ),
        State::Unreachable(dial) => {
            let dial = match dial {
                Redial::DueAt(at) if *at <= now() => "due",
                Redial::DueAt(_) => "waiting",
                Redial::UnderWay => "dialling",
            };
            format!("Unreachable {dial} {}", breaker.faults_in_row)
        }
        State::Ejected { .. } => "Ejected".into(),
        State::HalfOpen(trials) => {
            let [older, running, older_judged, successes] = trials.counts();
            format!("HalfOpen {older}{running}{older_judged}{successes}")
        }
    }
}

fn in_state(state: State) -> Breaker {
    Breaker {
        state,
        back_since: now(),
        ..Breaker::default()
    }
}

fn half_open(older: u32, older_judged: u32, began: u32, succeeded: u32) -> Breaker {
    let mut trials = Trials::new(now(), older, older_judged);
    for _ in 0..began {
        trials.began(now());
    }
    for _ in 0..succeeded {
        trials.succeeded();
    }
    in_state(State::HalfOpen(trials))
}

fn states() -> Vec<Breaker> {
    let waiting = |at| in_state(State::Unreachable(Redial::DueAt(at)));
    let mut brink = Breaker::default();
    (brink.faults_in_row, brink.dials_failed_in_row) = (1, 1);
    brink.back_since = now();
    let mut failing = in_state(State::Unreachable(Redial::UnderWay));
    failing.faults_in_row = 1;
    vec![
        in_state(State::Closed),
        brink,
        waiting(now()),
        waiting(now() + SECOND),
        failing,
        in_state(State::Ejected {
            until: now() + SECOND,
        }),
        half_open(0, 0, 0, 0),
        half_open(0, 0, 2, 0),
        half_open(0, 0, 2, 1),
        half_open(1, 1, 1, 0),
        half_open(1, 0, 0, 0),
    ]
}

type Event = fn(&mut Breaker, &mut Random) -> Change;

fn events() -> [(&'static str, Event); 14] {
    [
        ("began", |b, _| {
            b.began(now());
            Change::None
        }),
        ("ended", |b, _| {
            b.ended(false);
            Change::None
        }),
        ("ended, judged", |b, _| {
            b.ended(true);
            Change::None
        }),
        ("served", |b, _| b.served(now(), &config())),
        ("faulted", |b, r| b.faulted(now(), true, &config(), r)),
        ("faulted, too many ejected", |b, r| {
            b.faulted(now(), false, &config(), r)
        }),
        ("recanted", |b, r| b.recanted(now(), true, &config(), r)),
        ("connected", |b, _| b.connected()),
        ("connect_failed", |b, r| {
            b.connect_failed(now(), &config(), SECOND, r)
        }),
        ("take_dial", |b, _| {
            b.take_dial(now());
            Change::None
        }),
        ("dial_abandoned", |b, r| {
            b.dial_abandoned(now(), SECOND, r);
            Change::None
        }),
        ("forgive", |b, _| {
            b.forgive();
            Change::None
        }),
        ("end_ejection", |b, _| {
            if b.ejected_until().is_some() {
                b.end_ejection(now(), 1, 0);
            }
            Change::None
        }),
        ("switched off, served", |b, _| {
            let config = BreakerConfig {
                enabled: false,
                ..config()
            };
            b.served(now(), &config)
        }),
    ]
}

#[test]
fn every_state_and_event() {
    let mut table = String::new();
    for (event, apply) in events() {
        table += &format!("{event}\n");
        for mut breaker in states() {
            let before = name(&breaker);
            let change = apply(&mut breaker, &mut Random::new(1));
            let after = name(&breaker);
            if (before != after) || change != Change::None {
                table += &format!("  {before} -> {after}");
                table += &match change {
                    Change::None => "\n".to_owned(),
                    Change::Ejected | Change::Restored | Change::Lost => {
                        format!(": {change:?}\n")
                    }
                };
            }
        }
    }
    assert!(table == TABLE, "the table is now\n{table}");
}

#[test]
fn the_diagram_is_up_to_date() {
    let mut diagram = Diagram::from("Closed");
    // An event's name goes up to the comma: what else has to be so is not drawn.
    for (event, apply) in events() {
        let (event, _) = event.split_once(',').unwrap_or((event, ""));
        for mut breaker in states() {
            let before = name(&breaker);
            apply(&mut breaker, &mut Random::new(1));
            let after = name(&breaker);
            diagram.add(kind(&before), kind(&after), event);
        }
    }
    diagram.check("breaker");
}

/// A state without what is counted in it.
fn kind(name: &str) -> &str {
    name.split_once(' ').map_or(name, |(kind, _)| kind)
}

#[test]
fn what_is_allowed_in_each_state() {
    let allowed: Vec<_> = states()
        .iter()
        .map(|b| {
            let config = config();
            let (serve, dial) = (b.may_serve(now(), &config), b.may_dial(now(), &config));
            (name(b), serve, dial, b.next().is_some())
        })
        .collect();
    let expected = [
        ("Closed 00", true, true, false),
        ("Closed 11", true, true, false),
        ("Unreachable due 0", true, false, true),
        ("Unreachable waiting 0", true, false, true),
        ("Unreachable dialling 1", true, false, false),
        ("Ejected", false, false, true),
        ("HalfOpen 0000", true, true, false),
        ("HalfOpen 0200", false, false, false),
        ("HalfOpen 0101", true, true, false),
        ("HalfOpen 1110", true, true, false),
        ("HalfOpen 1000", true, true, false),
    ]
    .map(|(name, serve, dial, timer)| (name.to_owned(), serve, dial, timer));
    assert_eq!(allowed, expected);
    let off = BreakerConfig {
        enabled: false,
        ..config()
    };
    let all = states();
    assert!(
        all.iter()
            .all(|b| b.may_serve(now(), &off) && b.may_dial(now(), &off))
    );
}

/// Pairs that are not listed change nothing.
const TABLE: &str = "\
began
  HalfOpen 0000 -> HalfOpen 0100
  HalfOpen 0200 -> HalfOpen 0300
  HalfOpen 0101 -> HalfOpen 0201
  HalfOpen 1110 -> HalfOpen 1210
  HalfOpen 1000 -> HalfOpen 1100
ended
  HalfOpen 0200 -> HalfOpen 0100
  HalfOpen 0101 -> HalfOpen 0001
  HalfOpen 1110 -> HalfOpen 1010
  HalfOpen 1000 -> HalfOpen 0000
ended, judged
  HalfOpen 1110 -> HalfOpen 1100
served
  Closed 11 -> Closed 01
  Unreachable dialling 1 -> Unreachable dialling 0
  HalfOpen 0200 -> HalfOpen 0101
  HalfOpen 0101 -> Closed 00: Restored
  HalfOpen 1110 -> HalfOpen 1011
  HalfOpen 1000 -> HalfOpen 0000
faulted
  Closed 00 -> Closed 10
  Closed 11 -> Ejected: Ejected
  Unreachable due 0 -> Unreachable due 1
  Unreachable waiting 0 -> Unreachable waiting 1
  Unreachable dialling 1 -> Ejected: Ejected
  HalfOpen 0200 -> Ejected: Ejected
  HalfOpen 0101 -> Ejected: Ejected
  HalfOpen 1110 -> HalfOpen 0110
  HalfOpen 1000 -> HalfOpen 0000
faulted, too many ejected
  Closed 00 -> Closed 10
  Closed 11 -> Closed 21
  Unreachable due 0 -> Unreachable due 1
  Unreachable waiting 0 -> Unreachable waiting 1
  Unreachable dialling 1 -> Unreachable dialling 2
  HalfOpen 0200 -> HalfOpen 0100
  HalfOpen 0101 -> HalfOpen 0000
  HalfOpen 1110 -> HalfOpen 0110
  HalfOpen 1000 -> HalfOpen 0000
recanted
  Closed 00 -> Closed 10
  Closed 11 -> Ejected: Ejected
  Unreachable due 0 -> Unreachable due 1
  Unreachable waiting 0 -> Unreachable waiting 1
  Unreachable dialling 1 -> Ejected: Ejected
  HalfOpen 0000 -> Ejected: Ejected
  HalfOpen 0200 -> Ejected: Ejected
  HalfOpen 0101 -> Ejected: Ejected
  HalfOpen 1000 -> Ejected: Ejected
connected
  Closed 11 -> Closed 10
  Unreachable due 0 -> Closed 00: Restored
  Unreachable waiting 0 -> Closed 00: Restored
  Unreachable dialling 1 -> Closed 10: Restored
connect_failed
  Closed 00 -> Closed 01
  Closed 11 -> Unreachable waiting 1: Lost
  Unreachable dialling 1 -> Unreachable waiting 1
  HalfOpen 0000 -> Unreachable waiting 0: Lost
  HalfOpen 0200 -> Unreachable waiting 0: Lost
  HalfOpen 0101 -> Unreachable waiting 0: Lost
  HalfOpen 1110 -> Unreachable waiting 0: Lost
  HalfOpen 1000 -> Unreachable waiting 0: Lost
take_dial
  Unreachable due 0 -> Unreachable dialling 0
dial_abandoned
  Unreachable dialling 1 -> Unreachable waiting 1
forgive
  Unreachable due 0 -> Closed 00
  Unreachable waiting 0 -> Closed 00
end_ejection
  Ejected -> HalfOpen 1000
switched off, served
  Unreachable due 0 -> Closed 00: Restored
  Unreachable waiting 0 -> Closed 00: Restored
  Unreachable dialling 1 -> Closed 00: Restored
  Ejected -> Closed 00: Restored
  HalfOpen 0000 -> Closed 00: Restored
  HalfOpen 0200 -> Closed 00: Restored
  HalfOpen 0101 -> Closed 00: Restored
  HalfOpen 1110 -> Closed 00: Restored
  HalfOpen 1000 -> Closed 00: Restored
";
