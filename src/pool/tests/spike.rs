//! Load in virtual time: callers, dials and holds as discrete events.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Dialed(usize),
    Released(usize),
    Arrive(u32),
}

struct World {
    rig: Rig,
    events: BinaryHeap<Reverse<(Time, u64, Event)>>,
    scheduled: u64,
    dial: Duration,
    hold: Duration,
    /// Checkouts that each caller still makes after the present one.
    rounds: Vec<u32>,
    /// Who holds each member.
    holders: Vec<u32>,
    served: u32,
    dialing_peak: u32,
}

impl World {
    fn new(rig: Rig, dial: Duration, hold: Duration) -> World {
        World {
            rig,
            events: BinaryHeap::new(),
            scheduled: 0,
            dial,
            hold,
            rounds: Vec::new(),
            holders: vec![0; 2000],
            served: 0,
            dialing_peak: 0,
        }
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.scheduled += 1;
        let at = self.rig.now + after;
        self.events.push(Reverse((at, self.scheduled, event)));
    }

    fn follow(&mut self, did: Vec<Did>) {
        for did in did {
            match did {
                Did::Dial(member) => self.schedule(self.dial, Event::Dialed(member)),
                Did::Grant(caller, member, _) => self.hold(caller, member),
                Did::Starving(_) => {}
                Did::Fail(..) | Did::Close(..) => panic!("nothing fails here: {did:?}"),
            }
        }
        self.dialing_peak = self.dialing_peak.max(self.rig.pool.census().dialing);
    }

    fn hold(&mut self, caller: u32, member: usize) {
        self.served += 1;
        self.holders[member] = caller;
        self.schedule(self.hold, Event::Released(member));
    }

    fn step(&mut self, event: Event) {
        let did = match event {
            Event::Dialed(member) => self.rig.dialed(member),
            Event::Arrive(caller) => match self.rig.checkout() {
                Some(member) => return self.hold(caller, member),
                None => self.rig.enqueue(caller),
            },
            Event::Released(member) => {
                let caller = self.holders[member];
                if let Some(left) = self.rounds[caller as usize].checked_sub(1) {
                    self.rounds[caller as usize] = left;
                    self.schedule(Duration::ZERO, Event::Arrive(caller));
                }
                self.rig.released(member)
            }
        };
        self.follow(did);
    }

    /// `callers` arrive together and make `rounds` checkouts each. How long until all are served.
    fn run(&mut self, callers: u32, rounds: u32) -> Duration {
        let start = self.rig.now;
        self.rounds = vec![rounds - 1; callers as usize];
        for caller in 0..callers {
            self.schedule(Duration::ZERO, Event::Arrive(caller));
        }
        loop {
            let event = self.events.peek().map(|Reverse((at, ..))| *at);
            let tick = self.rig.pool.deadline();
            match (event, tick) {
                (Some(event), tick) if tick.is_none_or(|tick| event <= tick) => {
                    let Reverse((at, _, event)) = self.events.pop().expect("just seen");
                    self.rig.now = at;
                    self.step(event);
                }
                (_, Some(tick)) => {
                    self.rig.now = self.rig.now.max(tick);
                    let did = self.rig.tick();
                    self.follow(did);
                }
                (Some(_), None) => unreachable!("the first arm"),
                (None, None) => break,
            }
        }
        assert_eq!(self.served, callers * rounds);
        assert_eq!(self.rig.pool.census().waiters, 0);
        self.rig.now.since(start)
    }

    fn opened(&self) -> u64 {
        self.rig.pool.counters().dials
    }
}

/// A pool that was warmed before anyone came, so that no hold time is known.
fn warmed(idle_min: u32, connections_max: u32, dial: Duration, hold: Duration) -> World {
    let limits = Limits {
        idle_min,
        ..roomy()
    };
    let mut world = World::new(Rig::new(connections_max, limits), dial, hold);
    let did = world.rig.tick();
    world.follow(did);
    world.run(0, 1);
    assert_eq!(world.rig.pool.census().idle, idle_min);
    world
}

#[test]
fn a_spike_of_50_on_5_idle_opens_at_most_one_more() {
    let mut world = warmed(5, 50, 150 * MS, 2 * MS);
    let took = world.run(50, 1);
    assert!(world.opened() <= 6, "{} opened", world.opened());
    // The 45 who wait share five connections for 2 ms each; the dial is not waited for.
    assert_eq!(world.rig.pool.counters().waits_reused, 45);
    assert!(took <= 150 * MS, "{took:?}");
}

#[test]
fn where_it_is_asked_for_each_waiter_has_a_dial_and_whatever_comes_first_serves_it() {
    let limits = Limits {
        idle_min: 5,
        dials_max: 40,
        dials_eager: true,
        ..roomy()
    };
    let mut world = World::new(Rig::new(50, limits), 150 * MS, 2 * MS);
    let did = world.rig.tick();
    world.follow(did);
    world.run(0, 1);
    let took = world.run(50, 1);
    assert_eq!((world.opened(), world.dialing_peak), (45, 40));
    assert_eq!(world.rig.pool.counters().waits_reused, 45, "none by a dial");
    assert_eq!(took, 150 * MS, "when the last of the dials is done");
}

#[test]
fn a_spike_on_a_pool_that_knows_its_hold_time_opens_none() {
    let mut world = warmed(5, 50, 150 * MS, 2 * MS);
    world.run(5, 10);
    world.served = 0;
    let took = world.run(50, 1);
    assert_eq!(world.opened(), 5);
    assert_eq!(took, 20 * MS);
}

#[test]
fn a_crowd_on_an_empty_pool_doubles_its_way_to_the_cap() {
    let mut world = World::new(Rig::new(64, roomy()), 10 * MS, 10 * MS);
    let took = world.run(1000, 10);
    assert_eq!(world.opened(), 64);
    // At the cap throughout, 10,000 holds take 157 rounds of 10 ms; ramping up adds a few.
    assert!(took <= 157 * 10 * MS + 60 * MS, "{took:?}");
}

#[test]
fn a_crowd_with_long_holds_is_served_promptly_within_the_dial_cap() {
    let limits = Limits {
        dials_max: 32,
        ..roomy()
    };
    let mut world = World::new(Rig::new(1000, limits), 10 * MS, 60_000 * MS);
    world.run(1000, 1);
    assert_eq!(world.opened(), 1000, "no connection comes back in time");
    assert_eq!(world.dialing_peak, 32);
    // 1,000 dials at 32 a time take 32 rounds of 10 ms; doubling up to that adds five.
    let last_grant = world.rig.now.since(Time::ZERO) - 60_000 * MS;
    assert!(last_grant <= 40 * 10 * MS, "{last_grant:?}");
}

#[test]
fn a_crowd_under_a_slow_dial_is_served_within_a_few_dial_times() {
    // The spike's configuration, on an empty pool: the rule must not win by never dialling.
    let mut world = World::new(Rig::new(1000, roomy()), 150 * MS, 2 * MS);
    let took = world.run(1000, 1);
    assert!(took <= 3 * 150 * MS, "{took:?}");
    assert!(world.opened() <= 40, "{} opened", world.opened());
}

#[test]
fn as_many_callers_as_warm_connections_open_no_more_than_that() {
    for connections in [1, 7, 64] {
        let mut world = warmed(connections, connections, MS, MS);
        world.run(connections, 100);
        assert_eq!(world.opened(), u64::from(connections));
        assert_eq!(world.rig.pool.counters().misses, 0);
    }
}

#[test]
fn callers_who_come_before_the_warmth_open_no_more_than_the_cap() {
    let limits = Limits {
        idle_min: 16,
        ..roomy()
    };
    let mut world = World::new(Rig::new(16, limits), 5 * MS, MS);
    world.run(16, 50);
    assert_eq!(world.opened(), 16);
}
