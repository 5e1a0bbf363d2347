//! Every state of a connection × every event.
//!
//! Owns: the table, which is compared as text: whoever changes a transition changes it here. The diagram in
//! ARCHITECTURE.md is made from the same code.

use super::Event::{self, *};
use super::State::{self, *};
use crate::diagram::Diagram;

const STATES: [State; 6] = [Dialing, Handshaking, Idle, Leased, Draining, Closing];

const EVENTS: [Event; 12] = [
    Connected,
    ConnectFailed,
    Established,
    Granted,
    Released,
    Received,
    Sent,
    Cancelled,
    Cut,
    Condemned,
    Drained,
    Closed,
];

#[test]
fn every_state_and_event() {
    let mut table = format!("{:14}", "event");
    for state in STATES {
        table += &format!(" {:11}", format!("{state:?}"));
    }
    for event in EVENTS {
        table += &format!("\n{:14}", format!("{event:?}"));
        for state in STATES {
            let next = match state.after(event) {
                None => "-".to_owned(),
                Some(next) if next == state => "stays".to_owned(),
                Some(next) => format!("{next:?}"),
            };
            table += &format!(" {next:11}");
        }
    }
    let table: Vec<&str> = table.lines().map(str::trim_end).collect();
    let table = table.join("\n");
    assert!(table == TABLE, "the table is now\n{table}");
}

#[test]
fn the_diagram_is_up_to_date() {
    let mut diagram = Diagram::from("Dialing");
    for from in STATES {
        for event in EVENTS {
            if let Some(to) = from.after(event) {
                diagram.add(
                    &format!("{from:?}"),
                    &format!("{to:?}"),
                    &format!("{event:?}"),
                );
            }
        }
    }
    diagram.ends("Closing", "Closed");
    diagram.check("connection");
}

#[test]
fn every_state_is_reached_and_left() {
    for state in STATES {
        let reached = STATES
            .into_iter()
            .filter(|&from| from != state)
            .any(|from| EVENTS.iter().any(|&event| from.after(event) == Some(state)));
        assert_eq!(reached, state != Dialing, "{state:?}");
        let left = EVENTS
            .iter()
            .any(|&event| state.after(event).is_some_and(|next| next != state));
        assert_eq!(left, state != Closing, "{state:?}");
    }
}

#[test]
#[should_panic(expected = "Granted cannot happen to a connection that is Leased")]
fn what_cannot_happen_panics() {
    Leased.next(Granted);
}

/// `-`: that cannot happen.
const TABLE: &str = "\
event          Dialing     Handshaking Idle        Leased      Draining    Closing
Connected      Handshaking -           -           -           stays       -
ConnectFailed  stays       -           -           -           stays       -
Established    -           Idle        -           -           -           -
Granted        -           -           Leased      -           -           -
Released       -           -           -           Idle        -           -
Received       -           stays       stays       stays       stays       -
Sent           -           stays       stays       stays       stays       -
Cancelled      -           stays       stays       stays       stays       -
Cut            -           -           -           stays       -           -
Condemned      Draining    Draining    Draining    Draining    -           -
Drained        -           -           -           -           Closing     -
Closed         stays       -           -           stays       Closing     stays";
