//! Invariant 8: caps hold at every instant, counted in open sockets.

/// A cap, and what is open under it.
#[derive(Clone, Debug)]
pub struct Cap {
    /// Whose it is.
    pub name: String,
    /// How many may be open.
    pub max: usize,
    /// How many are open, as the network counts.
    pub open: usize,
    /// How many permits are in use, as the engine counts.
    pub permits: usize,
    /// How many connections there are, as the shards show.
    pub connections: usize,
    /// How many may be open for now: more than `max` if it was lowered below what was open.
    pub allowed: usize,
}

impl Cap {
    /// A cap under which nothing is open yet.
    pub fn new(name: String, max: usize) -> Cap {
        Cap {
            name,
            max,
            open: 0,
            permits: 0,
            connections: 0,
            allowed: max,
        }
    }

    /// It is another one from now on, with so many `permits` out.
    pub fn set(&mut self, max: usize, permits: usize) {
        self.max = max;
        self.allowed = max.max(permits);
    }

    /// Whether it holds. One that was lowered holds if what is over it only falls.
    pub fn check(&mut self) -> Result<(), String> {
        let Cap {
            name,
            max,
            open,
            permits,
            connections,
            allowed,
        } = self;
        let most = *allowed;
        *allowed = (*max).max((*permits).min(most));
        if *open > most {
            return Err(format!("{name}: {open} sockets are open, {most} may be"));
        }
        if *permits > most {
            return Err(format!("{name}: {permits} permits are out, {most} may be"));
        }
        if permits != connections {
            return Err(format!(
                "{name}: {permits} permits are out for {connections} connections"
            ));
        }
        if *open > *permits {
            return Err(format!(
                "{name}: {open} sockets are open with {permits} permits"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cap(max: usize, open: usize) -> Cap {
        Cap {
            open,
            permits: open,
            connections: open,
            ..Cap::new("up0".into(), max)
        }
    }

    #[test]
    fn what_is_over_a_cap_is_seen() {
        assert!(cap(2, 2).check().is_ok());
        assert!(cap(2, 3).check().is_err());
        let leaked = Cap {
            permits: 2,
            ..cap(2, 1)
        };
        assert!(leaked.clone().check().is_err());
        let bare = Cap {
            open: 2,
            ..cap(2, 1)
        };
        assert!(bare.clone().check().is_err());
    }

    #[test]
    fn a_lowered_cap_lets_go_and_takes_none() {
        let mut lowered = cap(5, 5);
        assert!(lowered.check().is_ok());
        lowered.set(2, 5);
        let mut set = |open: usize| {
            (lowered.open, lowered.permits, lowered.connections) = (open, open, open);
            lowered.check().is_ok()
        };
        assert!(set(5) && set(4) && set(4));
        assert!(!set(5));
    }
}
