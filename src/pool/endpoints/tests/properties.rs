//! Random events, in an order that makes sense and in any other.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Began(u32),
    Served(u32),
    Faulted(u32),
    Ended(u32),
    /// So many calls, each from its beginning to its end.
    Calls(u32, bool, u32),
    Connected(u32),
    ConnectFailed(u32),
    Abandoned(u32),
    Wait(u32),
    WaitForNext,
    Set(u32),
}

fn op() -> impl Strategy<Value = Op> {
    let id = 0u32..7;
    prop_oneof![
        3 => id.clone().prop_map(Op::Began),
        1 => id.clone().prop_map(Op::Served),
        3 => id.clone().prop_map(Op::Faulted),
        3 => id.clone().prop_map(Op::Ended),
        6 => (id.clone(), prop::bool::weighted(0.3), 1u32..8)
            .prop_map(|(id, good, count)| Op::Calls(id, good, count)),
        1 => id.clone().prop_map(Op::Connected),
        4 => id.clone().prop_map(Op::ConnectFailed),
        1 => id.prop_map(Op::Abandoned),
        2 => (0u32..4_000).prop_map(Op::Wait),
        3 => Just(Op::WaitForNext),
        1 => (0u32..7).prop_map(Op::Set),
    ]
}

/// A rig, and the background dials under way.
struct Driver {
    rig: Rig,
    dials: BTreeSet<u32>,
}

impl Driver {
    fn new(count: u32, ejected_share_max: f64, trials_max: u32) -> Driver {
        let mut rig = Rig::new(count);
        rig.config.failures_max = 3;
        rig.config.ejection_max = 20 * SECOND;
        (rig.config.ejected_share_max, rig.config.trials_max) = (ejected_share_max, trials_max);
        let dials = BTreeSet::new();
        Driver { rig, dials }
    }

    fn apply(&mut self, op: &Op) {
        let rig = &mut self.rig;
        match *op {
            Op::Began(id) => rig.began(id),
            Op::Served(id) => {
                rig.served(id, MS);
            }
            Op::Faulted(id) => {
                rig.faulted(id);
            }
            Op::Ended(id) => rig.ended(id),
            Op::Calls(id, good, count) => {
                for _ in 0..count {
                    rig.call(id, good);
                }
            }
            Op::Connected(id) => {
                rig.connected(id);
                self.dials.remove(&id);
            }
            Op::ConnectFailed(id) => {
                rig.connect_failed(id);
                self.dials.remove(&id);
            }
            Op::Abandoned(id) => {
                rig.trial_abandoned(id);
                self.dials.remove(&id);
            }
            Op::Wait(millis) => rig.now = rig.now + MS * millis,
            Op::WaitForNext => rig.now = rig.endpoints.next().unwrap_or(rig.now).max(rig.now),
            Op::Set(count) => drop(rig.set(count)),
        }
        self.settle();
    }

    /// Does what is due, and looks whether all is well.
    fn settle(&mut self) {
        let rig = &mut self.rig;
        rig.tick();
        while let Some(id) = rig.endpoints.trial_due(rig.now) {
            self.dials.insert(id.0);
        }
        let next = rig.endpoints.next();
        assert!(next.is_none_or(|next| next > rig.now), "it would spin");
        let share = rig.config.ejected_share_max * rig.endpoints.len() as f64;
        let ejected = rig.endpoints.ejected();
        assert!(ejected <= (share as u32).max(1));
        let census = rig.endpoints.present();
        let census = census.filter(|end| end.breaker.ejected_until().is_some());
        assert_eq!(census.count(), ejected as usize);
        let open = rig.endpoints.is_open(rig.now, &rig.config);
        assert_eq!(
            open,
            rig.endpoints.is_known() && rig.choose_dial(&[]).is_none()
        );
        if open {
            assert!(rig.endpoints.retry_after(rig.now) > Duration::ZERO);
        }
        if let Some(id) = rig.choose_grant(|_| true) {
            assert!(rig.may_serve(id));
        }
    }

    /// From now on all goes well; how long until every endpoint is closed. Work under way stays so.
    fn recover(&mut self) -> Duration {
        let from = self.rig.now;
        while self.rig.now.since(from) < 1000 * SECOND {
            for id in std::mem::take(&mut self.dials) {
                self.rig.connected(id);
            }
            for id in 0..7 {
                if self.rig.may_serve(id) {
                    self.rig.call(id, true);
                }
            }
            self.settle();
            if self.dials.is_empty() && self.rig.endpoints.present().all(|end| end.is_closed()) {
                return self.rig.now.since(from);
            }
            self.rig.now = self.rig.now + 100 * MS;
        }
        panic!("some never came back: {:?}", self.rig.endpoints);
    }
}

impl Endpoint {
    /// As only a closed one: of use now, and with nothing to come.
    fn is_closed(&self) -> bool {
        self.breaker.retry_after(Time::ZERO).is_zero() && self.breaker.next().is_none()
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_limits_hold_and_all_come_back(
        count in 1u32..7,
        share in 0.0f64..1.0,
        trials_max in 1u32..4,
        ops in prop::collection::vec(op(), 1..200),
    ) {
        let mut driver = Driver::new(count, share, trials_max);
        for op in &ops {
            driver.apply(op);
        }
        let took = driver.recover();
        // The longest ejection; then trials, each after a pause if all the places are held for ever.
        prop_assert!(took <= 20 * SECOND + trials_max * 5 * SECOND + SECOND, "{took:?}");
        prop_assert_eq!(driver.rig.endpoints.next(), None);
    }
}
