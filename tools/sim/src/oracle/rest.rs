//! Invariants 9 and 10 at the end: all gauges zero, no timer armed, nothing leaked, no buffer held.

/// What is left when load has stopped, and then when the engine has.
#[derive(Clone, Debug, Default)]
pub struct Remains {
    /// When: for the story.
    pub when: &'static str,
    /// What should be zero, by name.
    pub gauges: Vec<(String, u64)>,
    /// What the engine itself says is left.
    pub leftovers: Vec<String>,
}

/// Whether nothing is left.
pub(super) fn check(remains: &Remains) -> Result<(), String> {
    if let Some((name, left)) = remains.gauges.iter().find(|(_, left)| *left > 0) {
        return Err(format!("{}: {left} {name} left", remains.when));
    }
    match remains.leftovers.first() {
        Some(first) => Err(format!("{}: {first}", remains.when)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_left_is_seen() {
        let mut remains = Remains {
            gauges: vec![("waiters".into(), 0)],
            ..Remains::default()
        };
        assert!(check(&remains).is_ok());
        remains.leftovers.push("a task".into());
        assert!(check(&remains).is_err());
        remains.leftovers.clear();
        remains.gauges[0].1 = 1;
        assert!(check(&remains).is_err());
    }
}
