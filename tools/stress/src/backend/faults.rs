//! What goes wrong at the backend on purpose: by chance, or by the clock.
//!
//! Owns: the grammar of a fault, and which one strikes. Never: carries one out, or reads a clock.
//!
//! A fault is `KIND[:VALUE][:SHARE%][@FROM..TO[/EVERY]]`. Times count from when the backend is ready, or is told to
//! begin anew; `/EVERY` repeats the window. Of several that could strike at once the first does.

use std::fmt;
use std::time::Duration;

use crate::chance::Chance;
use crate::words;

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    /// How often it strikes where it could, as a fraction of 1.
    share: f64,
    window: Option<Window>,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum FaultKind {
    /// Instead of an answer, the connection is reset.
    Reset,
    /// Instead of an answer, the connection is closed.
    Fin,
    /// The connection is closed in the middle of the body.
    Half,
    /// The answer waits so much longer; without a time, until the window is over.
    Stall(Option<Duration>),
    /// The body comes with so many bytes a second.
    Slow(u64),
    /// The answer is no HTTP, and the connection is closed.
    Garbage,
    /// There is never an answer; what is sent is taken.
    Hole,
    /// The ClientHello is answered by a fatal alert; says nothing to plain connections.
    Alert,
    /// A connection is reset as soon as it is accepted.
    Refuse,
    /// Connections above so many are closed as they come.
    Limit(usize),
    /// Nobody listens, and connections are reset: a process that was killed.
    Outage,
    /// Nobody listens, and connections are closed when nothing is asked on them: a process that ends well.
    Restart,
}

/// When it goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Window {
    from: Duration,
    to: Duration,
    every: Option<Duration>,
}

impl Fault {
    /// The one grammar, of the command line and of scenario files.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (what, when) = match text.split_once('@') {
            Some((what, when)) => (what, Some(Window::parse(when)?)),
            None => (text, None),
        };
        let mut parts = what.split(':').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let (mut value, mut share) = (None, None);
        for part in parts {
            let twice = match part.ends_with('%') {
                true => share.replace(words::share(part)?).is_some(),
                false => value.replace(part).is_some(),
            };
            if twice {
                return Err(format!("`{part}` is one value too many"));
            }
        }
        let fault = Self {
            kind: FaultKind::parse(kind, value, when.is_some())?,
            share: share.unwrap_or(1.0),
            window: when,
        };
        if share.is_some() && fault.kind.is_of_the_whole() {
            return Err(format!(
                "`{kind}` strikes the whole backend: it has no share"
            ));
        }
        Ok(fault)
    }

    /// Whether it may strike at this time, and when it is over, if it ever is.
    fn lasts(&self, at: Duration) -> Option<Option<Duration>> {
        match self.window {
            None => Some(None),
            Some(window) => window.end(at).map(Some),
        }
    }
}

impl FaultKind {
    fn parse(kind: &str, value: Option<&str>, timed: bool) -> Result<Self, String> {
        let plain = match kind {
            "reset" => Self::Reset,
            "fin" => Self::Fin,
            "half" => Self::Half,
            "garbage" => Self::Garbage,
            "hole" => Self::Hole,
            "alert" => Self::Alert,
            "refuse" => Self::Refuse,
            "outage" | "restart" if !timed => {
                return Err(format!("`{kind}` needs a window, such as {kind}@3s..5s"));
            }
            "outage" => Self::Outage,
            "restart" => Self::Restart,
            "stall" => {
                return match value {
                    Some(value) => words::duration(value).map(|time| Self::Stall(Some(time))),
                    None if timed => Ok(Self::Stall(None)),
                    None => {
                        Err("`stall` needs a time or a window: stall:1s, stall@3s..4s".to_owned())
                    }
                };
            }
            "slow" => {
                let rate = value.ok_or("`slow` needs bytes a second, such as slow:4KiB")?;
                return match words::size(rate)? {
                    0 => Err("`slow` needs one byte a second at least".to_owned()),
                    rate => Ok(Self::Slow(rate)),
                };
            }
            "limit" => {
                let most = value.and_then(|value| value.parse().ok());
                return most
                    .map(Self::Limit)
                    .ok_or_else(|| "`limit` needs a number of connections: limit:64".to_owned());
            }
            _ => {
                return Err(format!(
                    "`{kind}` is no fault: reset, fin, half, stall, slow, garbage, hole, alert, refuse, limit, \
                     outage, restart"
                ));
            }
        };
        match value {
            None => Ok(plain),
            Some(value) => Err(format!("`{kind}` has no value, but `{value}` is given")),
        }
    }

    /// Whether it is no matter of chance.
    fn is_of_the_whole(self) -> bool {
        matches!(self, Self::Limit(_) | Self::Outage | Self::Restart)
    }

    fn is_of_connections(self) -> bool {
        matches!(self, Self::Alert | Self::Refuse)
    }
}

impl Window {
    fn parse(text: &str) -> Result<Self, String> {
        let (times, every) = match text.split_once('/') {
            Some((times, every)) => (times, Some(words::duration(every)?)),
            None => (text, None),
        };
        let (from, to) = times
            .split_once("..")
            .ok_or_else(|| format!("`{text}` is no window such as 3s..5s"))?;
        let window = Self {
            from: words::duration(from)?,
            to: words::duration(to)?,
            every,
        };
        if window.from >= window.to {
            return Err(format!("the window `{text}` ends before it begins"));
        }
        if every.is_some_and(|every| every < window.to) {
            return Err(format!(
                "the window `{text}` is over only after it comes again"
            ));
        }
        Ok(window)
    }

    /// When the window that this time lies in is over.
    fn end(&self, at: Duration) -> Option<Duration> {
        let begun = match self.every {
            None => Duration::ZERO,
            Some(every) => {
                let turns = at.as_nanos() / every.as_nanos();
                every.saturating_mul(u32::try_from(turns).unwrap_or(u32::MAX))
            }
        };
        let within = at.saturating_sub(begun);
        (self.from..self.to)
            .contains(&within)
            .then(|| begun + self.to)
    }

    /// When it begins or ends next after this time.
    fn next_change(&self, at: Duration) -> Option<Duration> {
        let turn = |begun: Duration| [begun + self.from, begun + self.to];
        let every = self.every.unwrap_or_default();
        let turns = at.as_nanos().checked_div(every.as_nanos()).unwrap_or(0);
        let begun = every.saturating_mul(u32::try_from(turns).unwrap_or(u32::MAX));
        let near = turn(begun).into_iter().chain(turn(begun + every));
        near.into_iter().find(|change| *change > at)
    }
}

/// All that goes wrong at one backend.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Faults(Vec<Fault>);

/// What strikes, and when its window is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Struck {
    pub(crate) kind: FaultKind,
    pub(crate) until: Option<Duration>,
}

impl Faults {
    pub(crate) fn new(faults: Vec<Fault>) -> Self {
        Self(faults)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What strikes a request that is read at this time.
    pub(crate) fn on_request(&self, at: Duration, chance: &mut Chance) -> Option<Struck> {
        let of_requests =
            |fault: &&Fault| !fault.kind.is_of_the_whole() && !fault.kind.is_of_connections();
        self.strike(at, chance, of_requests)
    }

    /// What strikes a connection that is accepted at this time.
    pub(crate) fn on_connection(&self, at: Duration, chance: &mut Chance) -> Option<Struck> {
        self.strike(at, chance, |fault| fault.kind.is_of_connections())
    }

    fn strike(
        &self,
        at: Duration,
        chance: &mut Chance,
        filter: impl Fn(&&Fault) -> bool,
    ) -> Option<Struck> {
        self.0.iter().filter(filter).find_map(|fault| {
            let until = fault.lasts(at)?;
            // Drawn only for what could strike, so that a window elsewhere shifts no draw.
            let strikes = fault.share >= 1.0 || chance.strikes(fault.share);
            strikes.then_some(Struck {
                kind: fault.kind,
                until,
            })
        })
    }

    /// How many connections are held at once at this time.
    pub(crate) fn connections_max(&self, at: Duration) -> Option<usize> {
        let limits = self.0.iter().filter_map(|fault| match fault.kind {
            FaultKind::Limit(most) => fault.lasts(at).map(|_| most),
            _ => None,
        });
        limits.min()
    }

    /// How the whole backend is away at this time, and until when.
    pub(crate) fn away(&self, at: Duration) -> Option<(FaultKind, Duration)> {
        self.0
            .iter()
            .filter(|fault| fault.kind.is_absence())
            .find_map(|fault| {
                let until = fault.lasts(at)??;
                Some((fault.kind, until))
            })
    }

    /// When it comes or goes next.
    pub(crate) fn next_change(&self, at: Duration) -> Option<Duration> {
        let absences = self.0.iter().filter(|fault| fault.kind.is_absence());
        absences
            .filter_map(|fault| fault.window?.next_change(at))
            .min()
    }

    /// Whether the whole backend is away at times.
    pub(crate) fn have_absences(&self) -> bool {
        self.0.iter().any(|fault| fault.kind.is_absence())
    }
}

impl FaultKind {
    fn is_absence(self) -> bool {
        matches!(self, Self::Outage | Self::Restart)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |time: Duration| humantime::format_duration(time);
        match self.kind {
            FaultKind::Reset => f.write_str("reset"),
            FaultKind::Fin => f.write_str("fin"),
            FaultKind::Half => f.write_str("half"),
            FaultKind::Stall(None) => f.write_str("stall"),
            FaultKind::Stall(Some(longer)) => write!(f, "stall:{}", time(longer)),
            FaultKind::Slow(rate) => write!(f, "slow:{rate}"),
            FaultKind::Garbage => f.write_str("garbage"),
            FaultKind::Hole => f.write_str("hole"),
            FaultKind::Alert => f.write_str("alert"),
            FaultKind::Refuse => f.write_str("refuse"),
            FaultKind::Limit(most) => write!(f, "limit:{most}"),
            FaultKind::Outage => f.write_str("outage"),
            FaultKind::Restart => f.write_str("restart"),
        }?;
        if self.share < 1.0 {
            write!(f, ":{}%", self.share * 100.0)?;
        }
        if let Some(window) = self.window {
            write!(f, "@{}..{}", time(window.from), time(window.to))?;
            if let Some(every) = window.every {
                write!(f, "/{}", time(every))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
