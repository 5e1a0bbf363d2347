//! Random inputs, each answer judged by the model.

use proptest::prelude::*;

use super::model::{Model, Op};
use super::*;

fn limits() -> impl Strategy<Value = Limits> {
    let times = || prop_oneof![Just(None), (1u64..300).prop_map(|n| Some(MS * n as u32))];
    (
        0u32..5,
        times(),
        times(),
        prop_oneof![Just(None), (1u64..5).prop_map(Some)],
        0u32..12,
        1u32..6,
    )
        .prop_map(
            |(idle_min, idle_timeout, age_max, uses_max, waiters_max, dials_max)| Limits {
                idle_min,
                idle_timeout,
                age_max,
                uses_max,
                waiters_max,
                dials_max,
                ..roomy()
            },
        )
}

fn op() -> impl Strategy<Value = Op> {
    let nth = 0usize..8;
    prop_oneof![
        8 => (0u64..200, prop::bool::weighted(0.15))
            .prop_map(|(patience, fresh)| Op::Checkout { patience, fresh }),
        2 => nth.clone().prop_map(Op::Cancel),
        5 => (nth.clone(), prop::bool::weighted(0.8))
            .prop_map(|(nth, well)| Op::DialEnds { nth, well }),
        6 => (nth.clone(), prop::bool::weighted(0.8))
            .prop_map(|(nth, well)| Op::LeaseEnds { nth, well }),
        1 => nth.clone().prop_map(Op::PeerCloses),
        3 => nth.prop_map(Op::DescriptorCloses),
        1 => Just(Op::GiveUp),
        3 => (0u64..60).prop_map(Op::Wait),
        3 => Just(Op::WaitForTick),
        1 => limits().prop_map(Op::Configure),
        1 => (0u32..8).prop_map(Op::Cap),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_the_model_agrees_and_everyone_is_served_once_faults_stop(
        limits in limits(),
        max in 1u32..7,
        ops in prop::collection::vec(op(), 1..150),
    ) {
        let mut model = Model::new(limits, max);
        for op in &ops {
            model.apply(op);
        }
        // Faults stop: there are permits, and everybody waits until served or too late.
        model.apply(&Op::Cap(max));
        model.finish();
        prop_assert_eq!(model.rig.pool.census().waiters, 0);

        // Nothing is kept: all goes by itself.
        model.apply(&Op::Configure(Limits { idle_timeout: Some(MS), ..roomy() }));
        model.finish();
        model.settle(40);
        prop_assert_eq!(model.rig.census(), [0; 4]);
        prop_assert_eq!(model.rig.pool.deadline(), None);
        prop_assert!(model.rig.pool.is_vacant());
        prop_assert_eq!(model.rig.upstream.in_use(), 0);
    }

    #[test]
    fn a_drain_at_any_moment_ends_with_nothing(
        limits in limits(),
        max in 1u32..7,
        ops in prop::collection::vec(op(), 1..80),
        after in prop::collection::vec(op(), 0..30),
    ) {
        let mut model = Model::new(limits, max);
        for op in &ops {
            model.apply(op);
        }
        model.draining = true;
        let did = model.rig.handle(Input::Drain);
        model.judge(did, &Op::WaitForTick);
        for op in &after {
            model.apply(op);
        }
        model.finish();
        prop_assert_eq!(model.rig.census(), [0; 4]);
        prop_assert!(model.rig.pool.is_vacant());
        prop_assert_eq!(model.rig.upstream.in_use(), 0);
    }

    #[test]
    fn warmth_comes_back_after_any_trouble(
        limits in limits(),
        ops in prop::collection::vec(op(), 1..80),
    ) {
        let mut model = Model::new(limits, 6);
        for op in &ops {
            model.apply(op);
        }
        model.apply(&Op::Cap(6));
        model.apply(&Op::Configure(Limits { idle_min: 4, ..roomy() }));
        model.finish();
        model.settle(40);
        let census = model.rig.pool.census();
        prop_assert!(census.idle >= 4 && census.leased + census.dialing == 0, "{census:?}");
        prop_assert_eq!(model.rig.pool.deadline(), None);
    }
}
