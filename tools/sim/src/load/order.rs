//! One call as it is ordered: by whom, how, with what, and for how long.

use crate::dice::Dice;
use crate::knobs::Knobs;
use crate::oracle::CallFacts;
use ringpool::config::{Class, UpstreamConfig};
use std::time::Duration;

/// What is to be called, and how the caller behaves.
#[derive(Clone, Debug)]
pub struct Order {
    /// Which upstream.
    pub upstream: usize,
    /// From where.
    pub way: Way,
    /// Its method; `LINE` for a raw checkout.
    pub method: &'static str,
    /// How much response body it asks for.
    pub wants: usize,
    /// How much request body it has, and how that comes.
    pub brings: usize,
    /// See `brings`.
    pub upload: Upload,
    /// Whether it asks for an interim response first.
    pub expects: bool,
    /// Whether it gives a raw connection back without waiting for anything, from a task on a shard.
    pub hasty: bool,
    /// How much it matters, if it says so.
    pub class: Option<Class>,
    /// After this long the caller has had enough.
    pub patience: Option<Duration>,
    /// For so long the caller does not read.
    pub pause: Option<Duration>,
}

/// From where a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From outside, on the shard that the engine picks or on this one.
    Outside(Option<usize>),
    /// From a task on this shard.
    Call(usize),
    /// As the low-level exchange, from a task on this shard.
    Exchange(usize),
    /// As the low-level exchange with a target that cannot be written, which has to be refused.
    Malformed(usize),
}

/// How a request's body comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upload {
    /// In one piece, that can be sent again.
    Whole,
    /// Piece by piece of this size; with its length told, or not.
    Drip(usize, bool),
    /// Piece by piece, and it fails half-way.
    Fails(usize),
}

const METHODS: [&str; 6] = ["GET", "GET", "GET", "HEAD", "POST", "DELETE"];
const METHODS_WITH_BODY: [&str; 3] = ["POST", "PUT", "POST"];

impl Order {
    /// What a caller wants while things go wrong.
    pub fn wild(dice: &mut Dice, knobs: &Knobs) -> Order {
        let load = &knobs.load;
        let mut order = Order::plain(dice, knobs);
        if dice.chance(load.on_shard) {
            let shard = dice.below(knobs.shards as u64) as usize;
            order.way = *dice.pick(&[Way::Call(shard), Way::Exchange(shard)]);
        }
        order.wants = dice.magnitude(0, load.body_max) as usize;
        if knobs.upstreams[order.upstream].raw {
            order.method = "LINE";
            let on_shard = !matches!(order.way, Way::Outside(_));
            order.hasty = on_shard && dice.one_in(8);
        } else if dice.chance(load.uploads) {
            order.method = *dice.pick(&METHODS_WITH_BODY);
            order.brings = dice.magnitude(1, load.body_max) as usize;
            order.expects = dice.one_in(6);
            let piece = order.brings / dice.within(1, 8) as usize + 1;
            order.upload = match dice.below(8) {
                0..4 => Upload::Whole,
                4..6 => Upload::Drip(piece, true),
                6 => Upload::Drip(piece, false),
                _ => Upload::Fails(piece),
            };
            if let Way::Exchange(shard) = order.way {
                order.way = Way::Call(shard);
            }
        }
        if dice.one_in(64) {
            order.refused(dice, knobs);
        }
        order.class = match dice.weighed(&load.classes) {
            0 => Some(Class::Critical),
            1 => None,
            _ => Some(Class::Sheddable),
        };
        let call_timeout = knobs.settings(order.upstream).call_timeout;
        let some = |dice: &mut Dice| call_timeout.mul_f64(dice.below(1024) as f64 / 4096.0);
        // Half of those who go do so about when a connection is made or comes free.
        let soon = knobs.weather.latency_max * 4;
        order.patience = dice.chance(load.cancels).then(|| match dice.one_in(2) {
            true => soon.mul_f64(dice.below(1024) as f64 / 1024.0),
            false => some(dice),
        });
        order.pause = dice.chance(load.slow_readers).then(|| some(dice));
        order
    }

    /// What no engine may send: HTTP to a stream of bytes, or a target with a space in it.
    fn refused(&mut self, dice: &mut Dice, knobs: &Knobs) {
        if self.method == "LINE" {
            self.method = "GET";
        } else if self.brings == 0 {
            self.way = Way::Malformed(dice.below(knobs.shards as u64) as usize);
        }
    }

    /// What a caller wants once faults have stopped.
    pub fn plain(dice: &mut Dice, knobs: &Knobs) -> Order {
        let upstream = dice.below(knobs.upstreams.len() as u64) as usize;
        let shard = dice
            .one_in(4)
            .then(|| dice.below(knobs.shards as u64) as usize);
        Order {
            upstream,
            way: Way::Outside(shard),
            method: match knobs.upstreams[upstream].raw {
                true => "LINE",
                false => METHODS[dice.below(METHODS.len() as u64) as usize],
            },
            wants: dice.magnitude(0, 500) as usize,
            brings: 0,
            upload: Upload::Whole,
            expects: false,
            hasty: false,
            class: None,
            patience: None,
            pause: None,
        }
    }

    /// What the oracle is told of it.
    pub fn facts(&self, knobs: &Knobs, now: Duration, must_succeed: bool) -> CallFacts {
        CallFacts {
            upstream: self.upstream,
            home: knobs.upstreams[self.upstream].home,
            method: self.method,
            wants: self.wants,
            brings: self.brings,
            begun: now,
            bound: now + self.lasts_at_most(knobs),
            arrives_by: now + self.arrives_within(knobs),
            must_succeed,
            in_task: !matches!(self.way, Way::Outside(_)),
        }
    }

    /// One deadline over all attempts until the response's head.
    fn arrives_within(&self, knobs: &Knobs) -> Duration {
        if self.method == "LINE" {
            return self.lasts_at_most(knobs);
        }
        let limit = knobs.most(self.upstream, |settings| settings.call_timeout);
        limit + self.pause.unwrap_or_default() + Duration::from_millis(30)
    }

    /// Until the head: one deadline, whatever is tried. Then the body has to move: a server may pause in
    /// it, be cut off, and fall silent, one after the other.
    fn lasts_at_most(&self, knobs: &Knobs) -> Duration {
        let most = |of: fn(&UpstreamConfig) -> Duration| knobs.most(self.upstream, of);
        let limit = match self.method {
            "LINE" => most(|settings| settings.wait_timeout) + TALK_MAX,
            _ => most(|settings| settings.call_timeout) * 2,
        };
        limit
            + knobs.mischief.slow_max * 3
            + knobs.trouble.lasts_max
            + knobs.news()
            + self.pause.unwrap_or_default()
            + Duration::from_millis(30)
    }
}

/// How long the holder of a raw lease waits for his line.
pub const TALK_MAX: Duration = Duration::from_millis(400);
