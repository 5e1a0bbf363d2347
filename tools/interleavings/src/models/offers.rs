//! Offered calls: who gets one, and that a shard with room does not sleep beside one.

use super::{Bed, in_every_order};
use crate::claim::{Claim, Claimant};
use crate::config::Class;
use crate::room::{Free, Room};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use loom::thread;

/// Its own shard and two siblings want it at once: one gets it, and finds in it what was put there before.
pub fn an_offer_is_claimed_once() {
    in_every_order(|| {
        let offer = Arc::new((Claim::new(), AtomicU32::new(0)));
        offer.1.store(7, Ordering::Relaxed);
        let claim = |claimant| {
            let offer = offer.clone();
            thread::spawn(move || {
                let won = offer.0.take(claimant);
                // What the winner takes out nobody has taken out before.
                won && offer.1.swap(0, Ordering::Relaxed) == 7
            })
        };
        let thieves = [claim(Claimant::Thief), claim(Claimant::Thief)];
        let won = offer.0.take(Claimant::Local);
        let local = won && offer.1.swap(0, Ordering::Relaxed) == 7;
        let won = thieves.map(|thief| thief.join().unwrap());
        let winners = won.iter().filter(|&&won| won).count() + usize::from(local);
        assert_eq!(winners, 1);
        assert!(!offer.0.is_open());
    });
}

/// A call is offered while a sibling's connection comes free: whichever comes first, it is taken.
pub fn who_has_room_does_not_sleep_beside_an_offer() {
    in_every_order(|| {
        // The thief, the calls that are offered, and its mail.
        let thief = Arc::new((
            Bed::new(),
            Room::new(),
            AtomicU32::new(0),
            AtomicBool::new(false),
        ));
        let offering = {
            let thief = thief.clone();
            thread::spawn(move || {
                let (bed, room, offers, mail) = &*thief;
                offers.store(1, Ordering::Release);
                Room::offered();
                if room.free().for_class(Class::Normal) && room.tell() {
                    mail.store(true, Ordering::Release);
                    bed.parker.wake();
                }
            })
        };
        let (bed, room, offers, mail) = &*thief;
        room.announce(Free {
            open: 1,
            reserved: 0,
        });
        while offers.load(Ordering::Acquire) == 0 {
            bed.sleep_unless(|| mail.load(Ordering::Acquire));
            mail.store(false, Ordering::Relaxed);
            room.hear();
        }
        offering.join().unwrap();
    });
}
