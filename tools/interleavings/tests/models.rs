//! Runs every model. A failure prints how threads met; loom's `LOOM_LOG=trace` tells the whole story.

use interleavings::models::{offers, permits, sleep};

#[test]
fn nobody_sleeps_over_mail() {
    sleep::nobody_sleeps_over_mail();
}

#[test]
fn a_sleeper_is_signalled_once() {
    sleep::a_sleeper_is_signalled_once();
}

#[test]
fn an_offer_is_claimed_once() {
    offers::an_offer_is_claimed_once();
}

#[test]
fn who_has_room_does_not_sleep_beside_an_offer() {
    offers::who_has_room_does_not_sleep_beside_an_offer();
}

#[test]
fn a_cap_holds_at_every_instant() {
    permits::a_cap_holds_at_every_instant();
}

#[test]
fn who_starves_learns_of_a_permit() {
    permits::who_starves_learns_of_a_permit();
}

#[test]
fn a_need_is_answered_once_and_ends_with_who_had_it() {
    permits::a_need_is_answered_once_and_ends_with_who_had_it();
}
