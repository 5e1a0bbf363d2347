//! What befalls whole servers, in the course of a run: outages, flapping, partitions, storms.
//!
//! Owns: the timetable. Never: lasts beyond the time when faults stop.

use super::World;
use crate::dice::Dice;
use crate::knobs::Knobs;
use crate::stage::Stage;
use ringpool::simulation::Weather;
use std::time::Duration;

/// A timetable of troubles.
pub struct Troubles {
    dice: Dice,
    /// When what happens, the latest first.
    due: Vec<(Duration, u64, Trouble)>,
    orders: u64,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A server refuses connections; with its old ones cut, or not.
    Refuse(usize, bool),
    /// A server's connections hang.
    Swallow(usize),
    /// Nothing arrives at a server, or from it.
    Partition(usize),
    /// It is joined again.
    Rejoin(usize),
    /// It is in good health again.
    Recover(usize),
    /// All connections to a server are closed at once.
    Cut(usize, bool),
    /// All of an upstream's servers refuse, and their connections are gone.
    Outage(usize),
    /// They are back.
    Return(usize),
    /// Slow weather at a server.
    Slow(usize),
    /// A name resolves to nothing.
    Forget(usize),
    /// It resolves again.
    Know(usize),
    /// An upstream's settings are replaced: which of the seed's reloads.
    Reload(usize),
}

impl Trouble {
    fn name(self) -> &'static str {
        match self {
            Trouble::Refuse(..) => "refuse",
            Trouble::Swallow(_) => "swallow",
            Trouble::Partition(_) => "partition",
            Trouble::Rejoin(_) => "rejoin",
            Trouble::Recover(_) => "recover",
            Trouble::Cut(_, false) => "cut_end",
            Trouble::Cut(_, true) => "cut_reset",
            Trouble::Outage(_) => "outage",
            Trouble::Return(_) => "return",
            Trouble::Slow(_) => "slow_weather",
            Trouble::Forget(_) => "name_gone",
            Trouble::Know(_) => "name_back",
            Trouble::Reload(_) => "reconfigured",
        }
    }
}

impl Troubles {
    /// What a seed has in store, all of it over by `end`.
    pub fn new(knobs: &Knobs, world: &World, end: Duration) -> Troubles {
        let mut troubles = Troubles::given(knobs.seed, &[]);
        for _ in 0..knobs.trouble.count {
            let begin = end.mul_f64(troubles.dice.below(1024) as f64 / 1024.0);
            let most = knobs.trouble.lasts_max.as_millis() as u64;
            let lasts = troubles.dice.millis(1, most.max(1));
            troubles.plan(world, knobs, begin, (begin + lasts).min(end));
        }
        for (index, reload) in knobs.reloads.iter().enumerate() {
            let at = end.mul_f64(reload.at as f64 / 1024.0);
            troubles.at(at, Trouble::Reload(index));
        }
        troubles
    }

    /// Those that are given, and none by chance.
    pub fn given(seed: u64, troubles: &[(Duration, Trouble)]) -> Troubles {
        let mut given = Troubles {
            dice: Dice::new(seed, "troubles"),
            due: Vec::new(),
            orders: 0,
        };
        for &(at, trouble) in troubles {
            given.at(at, trouble);
        }
        given
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Duration> {
        self.due.last().map(|(at, ..)| *at)
    }

    /// Lets happen what is due; true if something was.
    pub fn happen(&mut self, stage: &Stage, world: &World) -> Option<Trouble> {
        if self.next()? > stage.now.get() {
            return None;
        }
        let (_, _, trouble) = self.due.pop()?;
        stage.tell(|| format!("trouble: {trouble:?}"));
        stage.coverage.borrow_mut().fault(trouble.name());
        let all = |upstream| {
            (0..world.servers()).filter(move |&server| world.upstream_of(server) == upstream)
        };
        match trouble {
            Trouble::Refuse(server, cut) => {
                world.refuse(server);
                if cut {
                    world.cut(server, self.dice.one_in(2));
                }
            }
            Trouble::Swallow(server) => world.swallow(server),
            Trouble::Partition(server) => world.partition(server, true),
            Trouble::Rejoin(server) => world.partition(server, false),
            Trouble::Recover(server) => {
                world.serve(server);
                world.weather(server, stage.knobs.weather);
            }
            Trouble::Cut(server, reset) => world.cut(server, reset),
            Trouble::Outage(upstream) => {
                let reset = self.dice.one_in(2);
                all(upstream).for_each(|server| {
                    world.refuse(server);
                    world.cut(server, reset);
                });
            }
            Trouble::Return(upstream) => all(upstream).for_each(|server| world.serve(server)),
            Trouble::Slow(server) => world.weather(
                server,
                Weather {
                    latency_max: stage.knobs.weather.latency_max * 4,
                    ..stage.knobs.weather
                },
            ),
            Trouble::Forget(upstream) => world.forget_name(upstream),
            Trouble::Know(upstream) => world.know_name(upstream),
            // The engine is not of this world: whoever has it does that.
            Trouble::Reload(_) => {}
        }
        Some(trouble)
    }

    fn plan(&mut self, world: &World, knobs: &Knobs, begin: Duration, end: Duration) {
        let server = self.dice.below(world.servers() as u64) as usize;
        let upstream = world.upstream_of(server);
        debug_assert!(upstream < knobs.upstreams.len());
        match self.dice.below(9) {
            0 => {
                let cut = self.dice.one_in(2);
                self.at(begin, Trouble::Refuse(server, cut));
                self.at(end, Trouble::Recover(server));
            }
            1 => {
                self.at(begin, Trouble::Swallow(server));
                self.at(end, Trouble::Recover(server));
            }
            2 => {
                self.at(begin, Trouble::Partition(server));
                self.at(end, Trouble::Rejoin(server));
            }
            3 => {
                let reset = self.dice.one_in(2);
                self.at(begin, Trouble::Cut(server, reset));
            }
            4 | 5 => {
                self.at(begin, Trouble::Outage(upstream));
                self.at(end, Trouble::Return(upstream));
            }
            6 => self.flap(server, begin, end),
            7 => {
                self.at(begin, Trouble::Slow(server));
                self.at(end, Trouble::Recover(server));
            }
            _ => {
                self.at(begin, Trouble::Forget(upstream));
                self.at(end, Trouble::Know(upstream));
            }
        }
    }

    fn flap(&mut self, server: usize, begin: Duration, end: Duration) {
        let times = self.dice.within(2, 6) as u32;
        let step = (end - begin) / (2 * times);
        for time in 0..times {
            let down = begin + step * (2 * time);
            let cut = self.dice.one_in(2);
            self.at(down, Trouble::Refuse(server, cut));
            self.at(down + step, Trouble::Recover(server));
        }
    }

    fn at(&mut self, at: Duration, trouble: Trouble) {
        self.due.push((at, self.orders, trouble));
        self.orders += 1;
        self.due
            .sort_by_key(|&(at, order, _)| std::cmp::Reverse((at, order)));
    }
}
