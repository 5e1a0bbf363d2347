//! The scenario files that the program carries, so that each can be run by its name and printed as an example.

/// Their names and texts, in the order in which they are listed.
pub(super) const FILES: &[(&str, &str)] = &[
    ("steady", include_str!("files/steady.toml")),
    ("cold-start", include_str!("files/cold-start.toml")),
    ("burst", include_str!("files/burst.toml")),
    (
        "under-provisioned",
        include_str!("files/under-provisioned.toml"),
    ),
    (
        "over-provisioned",
        include_str!("files/over-provisioned.toml"),
    ),
    ("sweep", include_str!("files/sweep.toml")),
    (
        "outage-and-recovery",
        include_str!("files/outage-and-recovery.toml"),
    ),
    ("flapping", include_str!("files/flapping.toml")),
    ("slow-backend", include_str!("files/slow-backend.toml")),
    (
        "rolling-restart",
        include_str!("files/rolling-restart.toml"),
    ),
    ("expiry-storm", include_str!("files/expiry-storm.toml")),
    (
        "mixed-priorities",
        include_str!("files/mixed-priorities.toml"),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_is_understood_is_short_and_says_what_it_expects() {
        for (name, text) in FILES {
            let plan = crate::plan::read(text, &crate::drive::check_setting)
                .unwrap_or_else(|mistakes| panic!("{name}: {mistakes:#?}"));
            assert!(!plan.about.is_empty() && !plan.expects.is_empty(), "{name}");
            let runs = plan.sweep.as_ref().map_or(1, |sweep| sweep.values.len()) as u32;
            let lasts = (plan.lasts() + plan.warmup) * runs;
            assert!(lasts <= Duration::from_secs(15), "{name}: {lasts:?}");
        }
    }
}
