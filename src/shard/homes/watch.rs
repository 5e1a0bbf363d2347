//! What a shard should be to an upstream, by what it has seen of it lately.
//!
//! Owns: counts of calls, and how long things have been as they are. Never: knows a clock, a queue or the
//! other shards; it is told, and answers. Nothing here needs a timer: it is looked at when a call begins
//! and the last look is long enough ago, and what no call was made for can stay as it is.
//!
//! ```text
//! Guest ── demand of its own, for half a second ──→ Home        (also when another home invites it)
//! Home  ── saturated, for half a second ──────────→ Home, and invites the next shard
//! Home  ── calm, for three seconds ───────────────→ Guest       (but for those that always are homes)
//! ```

use crate::time::Time;
use std::time::Duration;

/// How long a look covers at least: a hundred dials' time in a data centre and long beside a burst of calls,
/// short beside the second after which steady load has to be where it belongs.
const WINDOW: Duration = Duration::from_millis(100);

/// So many looks in a row have to say the same before something changes: half a second, which bursts
/// and the ramp after a cold start are over in.
const LOOKS: u32 = 5;

/// With so many calls a second of its own a shard becomes a home. A call that is forwarded costs both
/// shards some 10 µs more than one that is not, 0.2 % of a core here: less than this is not worth
/// another connection to a backend that may have thousands of clients.
const DEMAND: f64 = 200.0;

/// With fewer than so many it ceases to be one: a quarter, so that load around the limit above changes nothing.
const DEMAND_OVER: f64 = DEMAND / 4.0;

/// How long a home has to be calm before it leaves: longer than the pauses within one piece of work, and
/// short beside the 50 s for which its idle connections stay open.
const CALM: Duration = Duration::from_secs(3);

/// A home leaves only if those that stay would then be busy to this share of what they can do at most.
const SHARE: f64 = 0.6;

/// What a look counts for beside those before it. 1/4: three windows make up half of the average.
const WEIGHT: f64 = 0.25;

/// What a shard is to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Calls of its own tasks go to a home, unless a connection is free here.
    Guest,
    /// They stay; calls from elsewhere come here too if it is among the [`Homes`](super::Homes).
    Home,
    /// A home that stays one.
    Always,
}

/// What there is to see at a look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) standing: Standing,
    /// More is asked of the shard than it can do.
    pub(crate) saturated: bool,
    /// How many homes there are.
    pub(crate) homes: usize,
    /// How many calls a second one of them can do, as far as is known.
    pub(crate) capacity: Option<u32>,
}

/// What is to be done after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Stay,
    /// Become a home.
    Join,
    /// Make another shard one: this one does so many calls a second and can do no more.
    Invite(u32),
    /// Be a home no more.
    Leave,
}

/// One upstream, watched by one shard.
#[derive(Debug)]
pub(crate) struct Watch {
    /// The last look.
    looked: Time,
    /// Calls since then: of tasks here, and all that are served here.
    own: u32,
    served: u32,
    /// Averages, in calls a second.
    own_rate: f64,
    served_rate: f64,
    /// So many looks in a row have found demand, or saturation.
    demanded: u32,
    saturated: u32,
    calm_since: Option<Time>,
}

impl Watch {
    /// Nothing has been seen yet. Also when a shard has just been invited: what was before does not say
    /// whether it is needed.
    pub(crate) fn new(now: Time) -> Watch {
        Watch {
            looked: now,
            own: 0,
            served: 0,
            own_rate: 0.0,
            served_rate: 0.0,
            demanded: 0,
            saturated: 0,
            calm_since: None,
        }
    }

    /// A task of this shard makes a call.
    #[inline]
    pub(crate) fn note_own(&mut self) {
        self.own += 1;
    }

    /// This shard serves a call, whoever made it.
    #[inline]
    pub(crate) fn note_served(&mut self) {
        self.served += 1;
    }

    /// Whether it is time for a look.
    #[inline]
    pub(crate) fn is_due(&self, now: Time) -> bool {
        now.since(self.looked) >= WINDOW
    }

    pub(crate) fn look(&mut self, now: Time, seen: Seen) -> Step {
        let since = std::mem::replace(&mut self.looked, now);
        let elapsed = now.since(since);
        let seconds = elapsed.as_secs_f64();
        let kept = (1.0 - WEIGHT).powf(seconds / WINDOW.as_secs_f64());
        let average = |rate: &mut f64, sample: f64| *rate = *rate * kept + sample * (1.0 - kept);
        let own = f64::from(std::mem::take(&mut self.own)) / seconds;
        let served = f64::from(std::mem::take(&mut self.served)) / seconds;
        average(&mut self.own_rate, own);
        average(&mut self.served_rate, served);
        // After a gap nothing is in a row any more.
        let in_a_row = elapsed < WINDOW * 2;
        // The average alone would remember one burst for as long as is asked for here.
        let demand = self.own_rate >= DEMAND && own >= DEMAND / 2.0;
        count_on(&mut self.demanded, in_a_row, demand);
        count_on(&mut self.saturated, in_a_row, seen.saturated);
        if self.is_calm(seen) {
            self.calm_since.get_or_insert(since);
        } else {
            self.calm_since = None;
        }
        self.step(now, seen)
    }

    fn step(&mut self, now: Time, seen: Seen) -> Step {
        let calm = self.calm_since.map_or(Duration::ZERO, |at| now.since(at));
        match seen.standing {
            Standing::Guest if self.demanded >= LOOKS => Step::Join,
            Standing::Guest => Step::Stay,
            Standing::Home if calm >= CALM => Step::Leave,
            Standing::Home | Standing::Always if self.saturated >= LOOKS => {
                // What this changes has to show before there is another one.
                self.saturated = 0;
                Step::Invite(self.served_rate as u32)
            }
            Standing::Home | Standing::Always => Step::Stay,
        }
    }

    /// Whether nobody would miss this home.
    fn is_calm(&self, seen: Seen) -> bool {
        let few = self.served_rate < DEMAND_OVER;
        let others = seen.homes.saturating_sub(1).max(1) as f64;
        let all = self.served_rate * seen.homes as f64;
        let bearable = seen
            .capacity
            .is_none_or(|capacity| all / others < SHARE * f64::from(capacity));
        !seen.saturated && self.own_rate < DEMAND_OVER && (few || bearable)
    }
}

/// Counts looks in a row.
fn count_on(count: &mut u32, in_a_row: bool, found: bool) {
    if !in_a_row || !found {
        *count = 0;
    }
    *count += u32::from(found);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A watch, and the time.
    struct Course(Watch, Time, Seen);

    impl Course {
        fn of(standing: Standing) -> Course {
            let seen = Seen {
                standing,
                saturated: false,
                homes: 2,
                capacity: None,
            };
            let now = Time::ZERO + Duration::from_secs(100);
            Course(Watch::new(now), now, seen)
        }

        /// Calls at a steady rate until something is to be done, for `seconds` at most: what, and after
        /// how many looks.
        fn run(&mut self, seconds: u32, own: u32, others: u32) -> Option<(Step, u32)> {
            for look in 1..=seconds * 10 {
                for _ in 0..own / 10 {
                    self.0.note_own();
                    self.0.note_served();
                }
                for _ in 0..others / 10 {
                    self.0.note_served();
                }
                self.1 = self.1 + WINDOW;
                assert!(self.0.is_due(self.1));
                match self.0.look(self.1, self.2) {
                    Step::Stay => {}
                    step => return Some((step, look)),
                }
            }
            None
        }
    }

    #[test]
    fn sustained_demand_makes_a_home_within_a_second() {
        let mut course = Course::of(Standing::Guest);
        assert_eq!(course.run(10, 2000, 0), Some((Step::Join, LOOKS)));
        let mut course = Course::of(Standing::Guest);
        let (step, looks) = course.run(10, 300, 0).expect("that is enough");
        assert_eq!(step, Step::Join);
        assert!(looks <= 9, "{looks}");
    }

    #[test]
    fn a_little_demand_or_a_burst_does_not() {
        let mut course = Course::of(Standing::Guest);
        assert_eq!(course.run(60, 100, 0), None);
        for _ in 0..20 {
            for _ in 0..1000 {
                course.0.note_own();
            }
            assert_eq!(course.run(1, 50, 0), None);
        }
        // What others send does not count: it would go to another home as well.
        assert_eq!(course.run(60, 100, 5000), None);
    }

    #[test]
    fn looks_with_a_gap_between_are_not_in_a_row() {
        let mut course = Course::of(Standing::Always);
        course.2.saturated = true;
        for _ in 0..20 {
            course.1 = course.1 + WINDOW * 2;
            assert_eq!(course.0.look(course.1, course.2), Step::Stay);
        }
        assert_eq!(course.run(1, 0, 1000), Some((Step::Invite(683), LOOKS - 1)));
    }

    #[test]
    fn load_around_the_limit_changes_nothing() {
        let mut course = Course::of(Standing::Guest);
        assert!(course.run(10, 220, 0).is_some());
        course.2.standing = Standing::Home;
        assert_eq!(course.run(60, 180, 0), None);
        assert_eq!(course.run(60, 60, 0), None);
        let (step, looks) = course.run(60, 20, 0).expect("calm");
        assert_eq!(step, Step::Leave);
        assert!((30..40).contains(&looks), "{looks}");
    }

    #[test]
    fn a_saturated_home_invites_one_after_the_other() {
        let mut course = Course::of(Standing::Home);
        course.2.saturated = true;
        let Some((Step::Invite(capacity), LOOKS)) = course.run(1, 0, 10_000) else {
            panic!("nobody was invited");
        };
        assert!((7000..=10_000).contains(&capacity), "{capacity}");
        let again = course.run(1, 0, 10_000);
        assert!(matches!(again, Some((Step::Invite(_), LOOKS))), "{again:?}");
    }

    #[test]
    fn a_home_leaves_only_what_the_others_can_bear() {
        let mut course = Course::of(Standing::Home);
        course.2.capacity = Some(10_000);
        // Both do 4000: one alone would be at 80 %.
        assert_eq!(course.run(60, 0, 4000), None);
        let left = course.run(60, 0, 2500);
        assert!(matches!(left, Some((Step::Leave, 30..40))), "{left:?}");
        // Of three homes one is missed less.
        let mut course = Course::of(Standing::Home);
        course.2.capacity = Some(10_000);
        course.2.homes = 3;
        let left = course.run(60, 0, 3900);
        assert!(matches!(left, Some((Step::Leave, 30))), "{left:?}");
    }

    #[test]
    fn one_that_always_is_a_home_stays() {
        let mut course = Course::of(Standing::Always);
        assert_eq!(course.run(60, 0, 0), None);
    }

    /// The last calls of a burst, and the next one long after: one look, and it has been calm.
    #[test]
    fn silence_is_calm() {
        let mut course = Course::of(Standing::Home);
        assert_eq!(course.run(2, 1000, 1000), None);
        course.1 = course.1 + Duration::from_secs(10);
        course.0.note_served();
        assert_eq!(course.0.look(course.1, course.2), Step::Leave);
    }
}
