//! How a pool comes by connections: dials, and what to do when no permit is free.
//!
//! Owns: carrying out what the dial rule wants. Never: holds a permit; each leaves with its `Dial`.

use super::Pool;
use super::dialing::{Purpose, View};
use super::message::{Action, CloseReason};
use super::permit::{Exhausted, Tier};
use crate::time::Time;

impl Pool {
    /// Begins the dials that are wanted, and notes when to think again. Follows every input that
    /// changed what is open, under way or waited for.
    pub(super) fn supply(&mut self, now: Time, actions: &mut Vec<Action>) {
        if self.draining {
            self.ask_again_at = None;
            return;
        }
        // Ends: each round raises the dials in flight, which have a cap, or breaks.
        while let Some(purpose) = self.dialing.wanted(now, self.view(), &self.limits) {
            match self.permits.try_acquire(Tier::Open) {
                Ok(permit) => {
                    self.counters.dials += 1;
                    match purpose {
                        Purpose::Warmth => self.counters.dials_warm += 1,
                        Purpose::Fresh | Purpose::Queue => {
                            self.dialing.began_for_queue(now);
                            self.room_made = self.room_made.saturating_sub(1);
                        }
                    }
                    let member = self.members.dial(now, purpose == Purpose::Fresh);
                    actions.push(Action::Dial {
                        member,
                        permit,
                        endpoint: None,
                    });
                }
                Err(exhausted) => {
                    self.dialing.no_permit(now, &self.limits);
                    self.go_without(purpose, exhausted, actions);
                    break;
                }
            }
        }
        let view = self.view();
        if view.uncovered() == 0 {
            self.dialing.starving = false;
            self.room_made = 0;
        }
        self.ask_again_at = self.dialing.ask_again_at(now, view, &self.limits);
    }

    /// Whether a connection just released has to go, so that its permit serves the waiter who has
    /// waited longest, is fresh, and found no permit. Without this, a fresh waiter would
    /// starve at the cap while later plain ones are served for ever.
    pub(super) fn release_must_make_room(&self) -> bool {
        self.dialing.starving && self.queue.oldest_is_fresh() && self.fresh_without_room() > 0
    }

    /// A picture for the dial rule.
    pub(super) fn view(&self) -> View {
        View {
            live: self.members.live(),
            flying: self.members.dialing(),
            flying_fresh: self.members.dialing_fresh(),
            fresh: self.queue.fresh_len(),
            plain: self.queue.plain_len(),
        }
    }

    /// No permit: a fresh waiter's is made by closing a connection that idles here, if one does.
    /// (Where plain waiters wait, none idles.) Otherwise the shard has to ask its siblings.
    fn go_without(&mut self, purpose: Purpose, exhausted: Exhausted, actions: &mut Vec<Action>) {
        let content = match purpose {
            Purpose::Warmth => true,
            Purpose::Queue => false,
            Purpose::Fresh => {
                while self.fresh_without_room() > 0
                    && let Some((member, _)) = self.members.oldest_idle()
                {
                    self.room_made += 1;
                    self.close(member, CloseReason::Capacity, actions);
                }
                self.fresh_without_room() == 0
            }
        };
        if !content && !self.dialing.starving {
            self.dialing.starving = true;
            actions.push(Action::Starving(exhausted));
        }
    }

    /// Fresh waiters with neither a dial in flight nor a permit on its way back.
    fn fresh_without_room(&self) -> u32 {
        self.view().uncovered_fresh().saturating_sub(self.room_made)
    }
}
