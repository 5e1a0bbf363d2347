//! Tests of shedding, in virtual time: one server that takes a millisecond a call, and a clock that jumps
//! from event to event.

use super::*;
use crate::pool::message::WaiterId;
use crate::pool::queue::Who;
use crate::random::Random;
use crate::slab::Key;

const MS: Duration = Duration::from_millis(1);
const SERVICE: Duration = MS;

fn ms(n: u32) -> Time {
    Time::ZERO + MS * n
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Served,
    Shed,
}

/// How one call ended.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    class: Class,
    came: Time,
    waited: Duration,
    end: End,
}

#[derive(Default)]
struct Server {
    config: ShedConfig,
    queue: Queue,
    shedder: Shedder,
    /// When the call being served ends.
    busy_until: Option<Time>,
    came: u32,
    outcomes: Vec<Outcome>,
}

impl Server {
    fn new(sojourn_target: Option<Duration>) -> Server {
        let config = ShedConfig {
            sojourn_target,
            sojourn_interval: 500 * MS,
        };
        Server {
            config,
            ..Server::default()
        }
    }

    /// Lives through `arrivals`, which are in order of time, and then until nobody waits.
    fn run(&mut self, arrivals: &[(Time, Class)]) {
        let mut arrivals = arrivals.iter().copied().peekable();
        loop {
            let tick = self.shedder.next(&self.queue, &self.config);
            let next_arrival = arrivals.peek().map(|(at, _)| *at);
            let events = [self.busy_until, next_arrival, tick];
            let Some(now) = events.into_iter().flatten().min() else {
                return;
            };
            if self.busy_until == Some(now) {
                self.busy_until = None;
                self.serve(now);
            } else if let Some((_, class)) = arrivals.next_if(|(at, _)| *at == now) {
                self.came += 1;
                let id = WaiterId(Key::from_parts(self.came, 1));
                self.queue.push(now, id, class, Time::NEVER, false);
                self.serve(now);
            } else {
                assert!(self.shed(now) > 0, "a tick at {now:?} for nothing");
            }
            self.shed(now);
        }
    }

    fn serve(&mut self, now: Time) {
        if self.busy_until.is_none()
            && let Some(left) = self.queue.pop_first()
        {
            self.shedder
                .served(now, left.class, left.since, &self.config);
            self.busy_until = Some(now + SERVICE);
            self.ended(now, left, End::Served);
        }
    }

    /// As the pool does it: not while nobody waits.
    fn shed(&mut self, now: Time) -> usize {
        let before = self.outcomes.len();
        while !self.queue.is_empty()
            && let Some(left) = self.shedder.shed(now, &mut self.queue, &self.config)
        {
            self.ended(now, left, End::Shed);
        }
        let next = self.shedder.next(&self.queue, &self.config);
        assert!(next.is_none_or(|next| next > now), "a tick that is past");
        self.outcomes.len() - before
    }

    fn ended(&mut self, now: Time, left: Left, end: End) {
        self.outcomes.push(Outcome {
            class: left.class,
            came: left.since,
            waited: now.since(left.since),
            end,
        });
    }

    /// Those of `class` that came from `from` on and ended so.
    fn ended_so(&self, class: Class, from: Time, end: End) -> Vec<Outcome> {
        let is_one = |o: &&Outcome| o.class == class && o.came >= from && o.end == end;
        self.outcomes.iter().filter(is_one).copied().collect()
    }

    fn shed_at_all(&self) -> usize {
        let shed = self.outcomes.iter().filter(|o| o.end == End::Shed);
        shed.count()
    }
}

/// Calls at random moments between `from` and `to`, `mean` apart. Of ten, two are critical, five normal and
/// three sheddable.
fn traffic(from: Time, to: Time, mean: Duration, random: &mut Random) -> Vec<(Time, Class)> {
    let twice = 2 * mean.as_nanos() as u64;
    let mut at = from;
    let mut arrivals = Vec::new();
    while at < to {
        arrivals.push(match random.below(10) {
            0..2 => (at, Class::Critical),
            2..7 => (at, Class::Normal),
            _ => (at, Class::Sheddable),
        });
        at = at + Duration::from_nanos(random.below(twice));
    }
    arrivals
}

fn crowd(at: Time, count: usize) -> Vec<(Time, Class)> {
    vec![(at, Class::Normal); count]
}

fn mean_wait(outcomes: &[Outcome]) -> Duration {
    let total: Duration = outcomes.iter().map(|o| o.waited).sum();
    total / outcomes.len() as u32
}

fn longest_wait(outcomes: &[Outcome]) -> Duration {
    let longest = outcomes.iter().map(|o| o.waited).max();
    longest.expect("there are some")
}

#[test]
fn at_twice_the_capacity_each_class_gets_what_it_is_worth() {
    for seed in 0..10 {
        let target = 100 * MS;
        let mut server = Server::new(Some(target));
        // Critical calls come to 0.4 of the capacity, normal ones to 1.0, sheddable ones to 0.6.
        let mut random = Random::new(seed);
        server.run(&traffic(ms(0), ms(10_000), MS / 2, &mut random));
        let settled = ms(2_000);

        let critical = server.ended_so(Class::Critical, ms(0), End::Served);
        assert!(longest_wait(&critical) < 10 * MS, "{seed}");
        assert_eq!(server.ended_so(Class::Critical, ms(0), End::Shed).len(), 0);

        let normal = server.ended_so(Class::Normal, settled, End::Served);
        assert!(longest_wait(&normal) <= target, "{seed}");
        // (The last ones come when the overload is over.)
        let mean = mean_wait(&normal);
        assert!(mean > target * 8 / 10, "{seed}: {mean:?}");
        // 8 s at 0.6 of the capacity, the rest goes.
        assert!((4600..5100).contains(&normal.len()), "{}", normal.len());
        let shed = server.ended_so(Class::Normal, settled, End::Shed);
        assert!(longest_wait(&shed) <= target + MS, "{seed}");

        let sheddable = |end| server.ended_so(Class::Sheddable, settled, end);
        let [served, shed] = [sheddable(End::Served), sheddable(End::Shed)];
        assert!(shed.len() > 15 * served.len(), "{seed}: {}", served.len());
        assert!(longest_wait(&shed) <= target + MS, "{seed}");
    }
}

#[test]
fn only_the_lowest_class_suffers_while_the_others_fit() {
    let mut server = Server::new(Some(100 * MS));
    // 0.26, 0.65 and 0.39 of the capacity.
    server.run(&traffic(
        ms(0),
        ms(10_000),
        MS * 10 / 13,
        &mut Random::new(3),
    ));
    assert_eq!(server.ended_so(Class::Critical, ms(0), End::Shed).len(), 0);
    assert_eq!(server.ended_so(Class::Normal, ms(0), End::Shed).len(), 0);
    let shed = server.ended_so(Class::Sheddable, ms(0), End::Shed);
    assert!(shed.len() > 2000, "{}", shed.len());
}

#[test]
fn a_burst_that_drains_within_the_interval_sheds_nobody() {
    // Waits are over the target for 300 ms, and again; in between the queue drains.
    let mut server = Server::new(Some(100 * MS));
    let bursts: Vec<_> = (0..10).flat_map(|n| crowd(ms(450 * n), 400)).collect();
    server.run(&bursts);
    assert_eq!(server.shed_at_all(), 0);
}

#[test]
fn a_crowd_that_does_not_drain_in_time_is_cut_when_the_interval_ends() {
    // Waits are over the target from 100 ms on, so at 600 ms the rest goes.
    let mut server = Server::new(Some(100 * MS));
    server.run(&crowd(ms(0), 800));
    let shed = server.ended_so(Class::Normal, ms(0), End::Shed);
    assert_eq!(shed.len(), 199);
    let cut = ms(600) + Duration::from_nanos(1);
    assert!(shed.iter().all(|o| o.came + o.waited == cut), "{shed:?}");
}

#[test]
fn who_waits_without_any_server_goes_when_the_interval_ends() {
    let mut server = Server::new(Some(100 * MS));
    server.busy_until = Some(ms(5_000));
    let steps = [(0, Class::Critical), (50, Class::Sheddable)];
    server.run(&steps.map(|(at, class)| (ms(at), class)));
    let shed = server.ended_so(Class::Sheddable, ms(0), End::Shed);
    assert_eq!(shed.len(), 1);
    assert_eq!(shed[0].waited, 600 * MS + Duration::from_nanos(1));
    let critical = server.ended_so(Class::Critical, ms(0), End::Served);
    assert_eq!(critical[0].waited, 5_000 * MS);
}

#[test]
fn when_the_overload_is_over_so_is_shedding() {
    let mut random = Random::new(11);
    let mut arrivals = traffic(ms(0), ms(3_000), MS / 2, &mut random);
    arrivals.extend(traffic(ms(3_000), ms(6_000), MS * 2, &mut random));
    // As large as a burst may be, though the overload was not long ago.
    arrivals.extend(crowd(ms(6_000), 400));
    let mut server = Server::new(Some(100 * MS));
    server.run(&arrivals);
    assert!(server.shed_at_all() > 1000);
    // Whatever still came together with the overload's last ones has 200 ms to go.
    let is_late = |o: &&Outcome| o.came >= ms(3_200) && o.end == End::Shed;
    assert_eq!(server.outcomes.iter().filter(is_late).count(), 0);
    assert_eq!(
        server.outcomes.len(),
        arrivals.len(),
        "everyone ends exactly once"
    );
}

#[test]
fn off_means_that_nobody_is_shed() {
    let mut server = Server::new(None);
    server.run(&crowd(ms(0), 3_000));
    assert_eq!(server.shed_at_all(), 0);
}

/// A class with one who came at zero and one at `second`, seen so far as `waits`.
fn scene(second: Time, waits: Waits) -> (Queue, Shedder) {
    let mut queue = Queue::default();
    for (n, at) in [(1, ms(0)), (2, second)] {
        let id = WaiterId(Key::from_parts(n, 1));
        queue.push(at, id, Class::Normal, Time::NEVER, false);
    }
    let mut shedder = Shedder::default();
    shedder.waits[Class::Normal as usize] = waits;
    (queue, shedder)
}

#[test]
fn a_short_wait_among_those_served_begins_the_interval_anew() {
    let config = ShedConfig {
        sojourn_target: Some(100 * MS),
        sojourn_interval: 500 * MS,
    };
    let (mut queue, mut shedder) = scene(ms(300), Waits::default());
    assert_eq!(shedder.shed(ms(350), &mut queue, &config), None);
    // The second one leaves first, as a fresh one may.
    shedder.served(ms(390), Class::Normal, ms(300), &config);
    assert_eq!(shedder.shed(ms(390), &mut queue, &config), None);
    assert_eq!(shedder.next(&queue, &config), Some(ms(890)));
    // One that waited longer than the target changes nothing.
    shedder.served(ms(450), Class::Normal, ms(300), &config);
    assert_eq!(shedder.shed(ms(450), &mut queue, &config), None);
    assert_eq!(shedder.next(&queue, &config), Some(ms(890)));
    assert_eq!(shedder.shed(ms(889), &mut queue, &config), None);
    assert!(shedder.shed(ms(890), &mut queue, &config).is_some());
}

#[test]
fn an_overload_lasts_until_a_wait_is_under_half_of_the_target() {
    let config = ShedConfig {
        sojourn_target: Some(100 * MS),
        sojourn_interval: 500 * MS,
    };
    for (came, stays) in [(140, true), (160, false)] {
        let (mut queue, mut shedder) = scene(ms(came), Waits::Overloaded);
        let now = ms(200);
        let first = shedder.shed(now, &mut queue, &config);
        assert_eq!(first.map(|left| left.since), Some(ms(0)));
        assert_eq!(shedder.shed(now, &mut queue, &config), None);
        let waits = shedder.waits[Class::Normal as usize];
        assert_eq!(waits == Waits::Overloaded, stays, "{waits:?}");
    }
    // When it is empty too, though that is seen only as the next one comes.
    let (mut queue, mut shedder) = scene(ms(50), Waits::Overloaded);
    assert!(queue.pop_plain(Who::Anyone).is_some());
    assert!(queue.pop_plain(Who::Anyone).is_some());
    let id = WaiterId(Key::from_parts(3, 1));
    queue.push(ms(120), id, Class::Normal, Time::NEVER, false);
    assert_eq!(shedder.shed(ms(120), &mut queue, &config), None);
    let seen = ms(120);
    assert_eq!(shedder.waits[Class::Normal as usize], Waits::Short { seen });
}

#[test]
fn switched_off_and_on_again_it_begins_anew() {
    let mut config = ShedConfig::default();
    let (mut queue, mut shedder) = scene(ms(1), Waits::Overloaded);
    config.sojourn_target = None;
    assert_eq!(shedder.shed(ms(400), &mut queue, &config), None);
    assert_eq!(shedder.next(&queue, &config), None);
    config = ShedConfig::default();
    assert_eq!(shedder.shed(ms(400), &mut queue, &config), None);
    assert!(shedder.next(&queue, &config).is_some_and(|at| at > ms(400)));
}
