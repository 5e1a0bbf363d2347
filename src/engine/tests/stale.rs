//! Idle connections that went bad: nobody gets one.

use super::config;
use super::rig::{Call, Rig};
use super::web::endpoint;
use crate::driver::sim::SimConnection;

/// What the peer does to an idle connection.
const HARMS: [fn(&SimConnection); 3] = [SimConnection::end, SimConnection::reset, |c| c.send("?")];

fn warmed() -> Rig {
    let mut rig = Rig::new(config(1, |_| {}));
    rig.web.serve(1, 128);
    let mut calls = [rig.call(0, "a", "/first")];
    rig.finish(&mut calls);
    assert_eq!(calls[0].body(), "first@0");
    rig
}

fn evicted(rig: &mut Rig) -> [u64; 2] {
    let tally = rig.figures(0).tally;
    [tally.evicted_peer_closed, tally.evicted_stray_bytes]
}

#[test]
fn it_is_evicted_before_anyone_asks() {
    for (nth, harm) in HARMS.into_iter().enumerate() {
        let mut rig = warmed();
        harm(&rig.network.connection(&endpoint(1), 0));
        rig.settle();
        assert_eq!(rig.web.open(), 0);
        let stray = u64::from(nth == 2);
        assert_eq!(evicted(&mut rig), [1 - stray, stray]);
        let mut calls = [rig.call(0, "a", "/second")];
        rig.finish(&mut calls);
        assert_eq!(calls[0].body(), "second@1");
        assert!(!calls[0].reused());
        assert_eq!(rig.web.asked(), ["/first", "/second"]);
        rig.stop();
    }
}

/// The news lies in the driver, unreaped, when the checkout comes: the checkout waits for it.
#[test]
fn news_that_waits_in_the_driver_counts() {
    for harm in HARMS {
        let mut rig = warmed();
        harm(&rig.network.connection(&endpoint(1), 0));
        assert!(rig.network.step(), "the news arrives at the socket");
        let mut calls = [rig.call(0, "a", "/second")];
        rig.finish(&mut calls);
        assert_eq!(calls[0].body(), "second@1");
        assert_eq!(
            rig.web.asked(),
            ["/first", "/second"],
            "nothing was repeated"
        );
        assert_eq!(rig.counts("a"), [0, 2, 2], "that was no hit");
        rig.stop();
    }
}

/// As above, with the news on its way at every number of hops before the call: it is sent on a dead
/// connection at worst, and then repeated, once, on a fresh one.
#[test]
fn whenever_the_news_comes_the_call_is_answered() {
    for harm in HARMS.into_iter().take(2) {
        for hops in 0..6 {
            let mut rig = warmed();
            let mut calls = [rig.call(0, "a", "/second")];
            for _ in 0..hops {
                rig.shards[0].turn(true).unwrap();
            }
            harm(&rig.network.connection(&endpoint(1), 0));
            rig.finish(&mut calls);
            let body = calls[0].body();
            assert!(body == "second@0" || body == "second@1", "{body}");
            rig.stop();
        }
    }
}

/// The peer's answer and its farewell arrive together while others wait for this very connection.
#[test]
fn a_released_connection_with_bad_news_goes_to_nobody() {
    for path in ["/bye/x", "/rst/x", "/stray/x"] {
        let mut rig = Rig::new(config(1, |upstream| upstream.connections_max = 1));
        rig.web.serve(1, 1);
        let mut calls = [
            rig.call(0, "a", path),
            rig.call(0, "a", "/y"),
            rig.call(0, "a", "/z"),
        ];
        rig.finish(&mut calls);
        assert_eq!(calls.each_mut().map(Call::body), ["x@0", "y@1", "z@1"]);
        let asked = rig.web.asked();
        assert_eq!(asked, [path, "/y", "/z"], "nothing was repeated");
        rig.stop();
    }
}

/// The answer is there, the farewell one hop behind: at the release it lies in the driver.
#[test]
fn a_release_looks_for_news_first_if_others_wait() {
    for harm in HARMS {
        let mut rig = Rig::new(config(1, |upstream| upstream.connections_max = 1));
        rig.web.serve(1, 1);
        let mut calls = [rig.call(0, "a", "/hold/x"), rig.call(0, "a", "/y")];
        rig.settle();
        assert_eq!(rig.web.let_go(), 1);
        let connection = rig.network.connection(&endpoint(1), 0);
        // The driver makes an event of the answer; the rest comes after that.
        rig.shards[0].turn(true).unwrap();
        harm(&connection);
        rig.network.step();
        rig.finish(&mut calls);
        assert_eq!(calls.each_mut().map(Call::body), ["x@0", "y@1"]);
        assert_eq!(rig.web.asked(), ["/hold/x", "/y"], "nothing was repeated");
        rig.stop();
    }
}
