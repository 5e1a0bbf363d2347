//! Who gets how much.

use super::*;

/// Calls of `latency(endpoint)` for `lasts`, `rate` a second, as they would run side by side: how many each got.
fn spread(
    rig: &mut Rig,
    count: usize,
    rate: u32,
    lasts: Duration,
    latency: impl Fn(u32) -> Duration,
) -> Vec<u32> {
    let mut got = vec![0; count];
    let mut running: Vec<(Time, u32)> = Vec::new();
    let until = rig.now + lasts;
    while rig.now < until {
        rig.now = rig.now + SECOND / rate;
        let now = rig.now;
        let (over, on): (Vec<_>, Vec<_>) = running.into_iter().partition(|(end, _)| *end <= now);
        running = on;
        for (_, id) in over {
            assert_eq!(rig.served(id, latency(id)), Change::None);
            rig.ended(id);
        }
        let id = rig.choose_grant(|_| true).expect("all may serve");
        rig.began(id);
        got[id as usize] += 1;
        running.push((now + latency(id), id));
    }
    running.into_iter().for_each(|(_, id)| rig.ended(id));
    got
}

#[test]
fn equals_get_equal_shares() {
    for rate in [10, 1000] {
        let mut rig = Rig::new(4);
        let got = spread(&mut rig, 4, rate, 4000 * SECOND / rate, |_| 20 * MS);
        assert!(got.iter().all(|&n| (900..1100).contains(&n)), "{got:?}");
    }
}

#[test]
fn a_slow_endpoint_gets_less_but_is_not_forgotten() {
    let mut rig = Rig::new(3);
    let slow = |id| if id == 2 { 200 * MS } else { 5 * MS };
    let got = spread(&mut rig, 3, 500, 20 * SECOND, slow);
    assert!(got[2] > 0 && got[2] < got[0] / 10, "{got:?}");
    assert!(got[0].abs_diff(got[1]) < got[0] / 5, "{got:?}");
    // Quick again, it has its share back when the slow answers are forgotten.
    spread(&mut rig, 3, 500, 60 * SECOND, |_| 5 * MS);
    let got = spread(&mut rig, 3, 500, 10 * SECOND, |_| 5 * MS);
    assert!(got[2] > got[0] / 2, "{got:?}");
}

#[test]
fn outstanding_work_counts_before_any_latency_is_known() {
    let mut rig = Rig::new(2);
    rig.began(0);
    for _ in 0..20 {
        assert_eq!(rig.choose_grant(|_| true), Some(1));
        assert_eq!(rig.choose_dial(&[]), Some(1));
    }
}

#[test]
fn who_was_slow_long_ago_is_not_flooded() {
    let mut rig = Rig::new(2);
    rig.served(0, 500 * MS);
    rig.served(1, MS);
    rig.now = rig.now + 10_000 * SECOND;
    rig.served(1, MS);
    let mut began = [0; 2];
    for _ in 0..100 {
        let id = rig.choose_grant(|_| true).expect("both may serve");
        rig.began(id);
        began[id as usize] += 1;
    }
    assert!(began[0] <= 55, "{began:?}");
}

#[test]
fn a_newcomer_starts_slowly_at_any_rate() {
    for rate in [20, 1000] {
        let mut rig = Rig::new(1);
        rig.balance.slow_start = Some(50 * SECOND);
        spread(&mut rig, 1, rate, SECOND, |_| 40 * MS);
        rig.set(2);
        let shares: Vec<f64> = (0..5)
            .map(|_| {
                let got = spread(&mut rig, 2, rate, 10 * SECOND, |_| 40 * MS);
                f64::from(got[1]) / f64::from(got[0] + got[1])
            })
            .collect();
        assert!(shares[0] > 0.01 && shares[0] < 0.2, "{shares:?}");
        // Halfway at weights of 1 to 2, or at most that.
        assert!(shares[2] < 0.42, "{shares:?}");
        assert!(shares[0] < shares[2] && shares[2] < shares[4], "{shares:?}");
        let got = spread(&mut rig, 2, rate, 10 * SECOND, |_| 40 * MS);
        assert!(got[1] * 10 > (got[0] + got[1]) * 4, "{got:?}");
    }
}

#[test]
fn without_a_slow_start_and_in_a_first_set_all_are_equal_at_once() {
    let mut rig = Rig::new(1);
    rig.balance.slow_start = None;
    rig.set(2);
    let mut first = Rig::new(2);
    for rig in [&mut rig, &mut first] {
        let got = spread(rig, 2, 1000, SECOND, |_| MS / 2);
        assert!(got[1] > 400, "{got:?}");
    }
}

#[test]
fn one_endpoint_draws_no_random_number() {
    let mut rig = Rig::new(1);
    let before = rig.random.clone().next_u64();
    assert_eq!(rig.choose_grant(|_| true), Some(0));
    assert_eq!(rig.choose_grant(|_| false), None);
    assert_eq!(rig.choose_dial(&[]), Some(0));
    assert_eq!(rig.choose_dial(&[0]), None);
    assert_eq!(rig.random.next_u64(), before);
}

#[test]
fn whoever_fits_is_found_among_many_and_each_alike() {
    let mut rig = Rig::new(100);
    let mut got = [0u32; 100];
    for _ in 0..3000 {
        let id = rig.choose_grant(|id| [3, 4, 90].contains(&id));
        got[id.expect("three fit") as usize] += 1;
    }
    for id in [3, 4, 90] {
        assert!((900..1100).contains(&got[id]), "{got:?}");
    }
    assert_eq!(rig.choose_grant(|id| id == 99), Some(99));
    assert_eq!(rig.choose_grant(|_| false), None);
}
