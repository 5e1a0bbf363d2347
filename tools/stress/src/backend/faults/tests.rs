use super::*;

fn faults(texts: &[&str]) -> Faults {
    Faults::new(
        texts
            .iter()
            .map(|text| Fault::parse(text).unwrap())
            .collect(),
    )
}

fn ms(time: u64) -> Duration {
    Duration::from_millis(time)
}

#[test]
fn what_is_written_is_read_and_written_again() {
    for text in [
        "reset:0.1%",
        "stall:1s@10s..11s",
        "stall@10s..11s",
        "stall:5ms:10%@1s..2s/5s",
        "slow:4096",
        "limit:64",
        "outage@3s..5s",
        "restart@1s..2s/4s",
        "hole:50%@0s..1s",
    ] {
        let fault = Fault::parse(text).unwrap();
        assert_eq!(fault.to_string(), text);
        assert_eq!(Fault::parse(&fault.to_string()), Ok(fault), "{text}");
    }
    for bad in [
        "",
        "dance",
        "reset:5ms",
        "stall",
        "slow",
        "slow:0",
        "limit",
        "limit:x",
        "outage",
        "outage:5%@1s..2s",
        "reset@2s..1s",
        "reset@1s",
        "reset@1s..3s/2s",
        "reset:1%:2%",
        "reset:101%",
    ] {
        assert!(Fault::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn windows_open_close_and_come_again() {
    let faults = faults(&["stall@1s..2s/5s"]);
    let strikes = |at| faults.on_request(ms(at), &mut Chance::new(0));
    for (at, until) in [(1000, 2000), (1999, 2000), (6000, 7000), (11_500, 12_000)] {
        assert_eq!(
            strikes(at).and_then(|struck| struck.until),
            Some(ms(until)),
            "{at}"
        );
    }
    for at in [0, 999, 2000, 5999, 7000] {
        assert_eq!(strikes(at), None, "{at}");
    }
}

#[test]
fn a_share_strikes_as_often_as_it_says_and_a_seed_repeats_it() {
    let faults = faults(&["reset:10%", "fin:50%"]);
    let run = |seed| -> Vec<Option<FaultKind>> {
        let mut chance = Chance::new(seed);
        let strike = || {
            faults
                .on_request(ms(1), &mut chance)
                .map(|struck| struck.kind)
        };
        std::iter::repeat_with(strike).take(20_000).collect()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    let count = |kind| {
        run(1)
            .iter()
            .filter(|struck| **struck == Some(kind))
            .count()
    };
    assert!((1_850..2_150).contains(&count(FaultKind::Reset)));
    assert!(
        (8_700..9_300).contains(&count(FaultKind::Fin)),
        "half of those left"
    );
}

#[test]
fn faults_of_connections_and_of_the_whole_strike_no_request() {
    let all = faults(&["refuse", "limit:5", "outage@1s..2s", "limit:3@1s..2s"]);
    let chance = &mut Chance::new(0);
    assert_eq!(all.on_request(ms(1500), chance), None);
    let struck = all.on_connection(ms(0), chance).map(|struck| struck.kind);
    assert_eq!(struck, Some(FaultKind::Refuse));
    let limits = [0, 1500].map(|at| all.connections_max(ms(at)));
    assert_eq!(limits, [Some(5), Some(3)]);
    assert_eq!(all.away(ms(999)), None);
    assert_eq!(all.away(ms(1000)), Some((FaultKind::Outage, ms(2000))));
    let changes = [0, 1000, 2000].map(|at| all.next_change(ms(at)));
    assert_eq!(changes, [Some(ms(1000)), Some(ms(2000)), None]);
    let again = faults(&["outage@1s..2s/3s"]);
    assert_eq!(again.next_change(ms(2000)), Some(ms(4000)));
}
