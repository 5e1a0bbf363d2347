//! What the shard tells a pool, and what a pool asks of its shard.
//!
//! Owns: the vocabulary. Never: holds a socket, a future or a waker; only names.

use super::limits::Limits;
use super::permit::{Exhausted, Permit};
use crate::config::Class;
use crate::slab::Key;
use crate::time::Time;
use std::time::Duration;

/// A pool's name for one of its connections, from [`Action::Dial`] until the pool forgets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MemberId(pub(super) Key);

/// The shard's name for a queued checkout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WaiterId(pub Key);

/// The shard's name for one of the upstream's endpoints: small numbers. One is used for another address
/// only after the pool was told that the first has left, and when nothing is connected to that any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(pub u32);

/// The right to use a connection, or one slot (stream) of it, until [`Input::Released`] or [`Input::Closed`] names its member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The pool's name for the connection.
    pub member: MemberId,
    /// The shard's own key, as given in [`Opened`].
    pub conn: Key,
    /// New only straight from its dial. One that was dialled ahead and has
    /// idled since counts as used: its peer may have closed it meanwhile, too.
    pub before: Before,
}

/// What a connection was before it was granted. A whole word, as is all else of what is granted: it is handed on many times, and what was
/// just written in pieces cannot be read in one without waiting for the stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Before {
    /// Nobody has used it.
    New,
    /// It has carried something.
    Used,
}

impl Before {
    /// By whether somebody has used it.
    #[inline]
    pub fn of(reused: bool) -> Before {
        match reused {
            false => Before::New,
            true => Before::Used,
        }
    }

    /// Whether somebody has.
    #[inline]
    pub fn is_used(self) -> bool {
        self == Before::Used
    }
}

/// What a dial was begun for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The first of the fresh waiters, if one waits still.
    Fresh,
    /// The queue.
    Queue,
    /// Nobody yet: to be there when somebody comes.
    Warmth,
    /// To see whether an endpoint can be connected to again.
    Trial,
}

/// How a connection comes free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComesFree {
    /// Its lease ended cleanly.
    Released {
        /// How long it was held.
        held: Duration,
    },
    /// Its dial succeeded; it is for one at a time.
    Dialed(Opened),
}

/// What a dial brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The shard's key of the connection, repeated in every `Grant` and `Close`.
    pub conn: Key,
    /// How many may use it at once: 1, or as many streams as the peer allows. It may be zero
    /// for now.
    pub slots: u32,
    /// Until when what its peer has proven of itself counts.
    pub trusted_until: Time,
    /// The settings that it was made under were replaced meanwhile: it serves whoever waits, once.
    pub replaced: bool,
}

/// How many more could be served at once, by what is open and nobody waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Whoever they are.
    pub open: u32,
    /// Critical ones, beside those.
    pub reserved: u32,
}

/// What happened. A member that the pool has forgotten, or a waiter that does not wait, is ignored:
/// the pool's own `Close` or `Grant` may have crossed the news of it.
#[derive(Debug)]
pub enum Input {
    /// A checkout found nothing idle and waits until `deadline`. Answered by exactly one `Grant`
    /// or `Fail`, at once or later, unless cancelled first.
    Enqueue {
        /// The shard's name for it; not in use by another waiter of this pool.
        waiter: WaiterId,
        /// How much it matters.
        class: Class,
        /// When it fails with [`Refusal::Deadline`], at the latest.
        deadline: Time,
        /// Only a newly dialled connection will do: the retry after a stale reuse.
        fresh: bool,
        /// It is likely to be served elsewhere, and is reported `Moved` then: for a moment no dial is begun for
        /// it.
        elsewhere: bool,
    },
    /// The caller has gone before it was answered.
    Cancel {
        /// Who waited.
        waiter: WaiterId,
    },
    /// The waiter is served elsewhere.
    Moved {
        /// Who waited.
        waiter: WaiterId,
    },
    /// The dial of `member` succeeded, handshake included.
    Dialed {
        /// As named in [`Action::Dial`].
        member: MemberId,
        /// What it brought.
        opened: Opened,
    },
    /// The peer allows another number of streams. Below what is in use nothing is taken away.
    Slots {
        /// An open connection.
        member: MemberId,
        /// How many may use it at once.
        slots: u32,
    },
    /// Nobody is to be granted this connection any more (the peer has said that it will go); those who
    /// use it go on. The pool asks for its end with `Close` when the last of them has gone.
    Retire {
        /// An open connection.
        member: MemberId,
    },
    /// The upstream's endpoints are these from now on. Connections to others are retired.
    Endpoints(Vec<EndpointId>),
    /// What `member` was used for failed in a way that speaks against its endpoint. Its release or close
    /// follows.
    Faulted {
        /// A leased connection.
        member: MemberId,
        /// It had been [`served`](super::Pool::served) before: a good answer that broke off.
        served: bool,
    },
    /// The dial of `member` failed, and its permit has been dropped or soon will be.
    DialFailed {
        /// As named in [`Action::Dial`].
        member: MemberId,
    },
    /// The lease of `member` ended cleanly: it may be used again. A grant whose caller was gone
    /// comes back this way as well; it counts as a use all the same.
    #[allow(
        dead_code,
        reason = "the shard calls Pool::release, the same without a detour"
    )]
    Released {
        /// As named in the [`Grant`].
        member: MemberId,
        /// How long it was held.
        held: Duration,
    },
    /// The shard is closing `member`, discarded, failed or closed by the peer, and whether idle,
    /// leased or still being dialled. Its permit comes back later, announced by `Capacity`.
    Closed {
        /// The connection to forget.
        member: MemberId,
    },
    /// Somebody whose calls belong here was served elsewhere, for want of a connection here: one more is worth
    /// a dial, if none is under way and a permit is free.
    Grow,
    /// A permit may have come free.
    Capacity,
    /// A sibling starves for a permit: close one idle connection, if there is one.
    GiveUp,
    /// The moment told by [`Pool::deadline`](super::Pool::deadline) has come.
    Tick,
    /// New limits, in force at once.
    Configure {
        /// The new limits.
        limits: Box<Limits>,
        /// What is open was made under settings that have changed: it is retired, spread over this
        /// long.
        renew_within: Option<Duration>,
    },
    /// Serve those who wait and those who are still let in, and keep nothing for others: what is idle
    /// closes, at once and ever after, and nothing is dialled for warmth. Final.
    Finish,
    /// Serve nobody any more: refuse new waiters and queued ones, close what is idle, and what is
    /// leased at its release. Final.
    Drain,
}

/// What the shard has to do, in order.
#[derive(Debug)]
pub enum Action {
    /// Open a connection; answer with `Dialed` or `DialFailed` (or `Closed`, if given up).
    Dial {
        /// The new connection's name.
        member: MemberId,
        /// Its permit, to be kept until its descriptor is closed.
        permit: Permit,
        /// The endpoint to try, on trial, and no other. `None`: ask
        /// [`Pool::choose_endpoint`](super::Pool::choose_endpoint) when endpoints are known.
        endpoint: Option<EndpointId>,
    },
    /// `waiter` waits no more: it has a connection. If its caller has gone, release the member.
    Grant {
        /// Who waited.
        waiter: WaiterId,
        /// What it gets.
        grant: Grant,
    },
    /// `waiter` waits no more: it gets nothing.
    Fail {
        /// Who waited.
        waiter: WaiterId,
        /// Why.
        refusal: Refusal,
    },
    /// Close a connection that nobody uses. The pool has already forgotten it.
    Close {
        /// The name it had.
        member: MemberId,
        /// The shard's key.
        conn: Key,
        /// Why.
        reason: CloseReason,
        /// Its permit [leaves](super::Permit::leave).
        claimed: bool,
    },
    /// A waiter needs a dial, no permit is free, and the pool has no idle connection of its own
    /// to give up. Said once per need, and again when a `Capacity` turned out to be taken or nothing
    /// has moved for a while. The pool tries again by itself at each release, `Capacity` and `Tick`.
    Starving(Exhausted),
}

/// Why a waiter got nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// `waiters_max` callers wait already, and none of them matters less.
    QueueFull {
        /// When to come back.
        retry_after: Duration,
    },
    /// Everybody waits too long for too long, and this one mattered least.
    Overloaded {
        /// When to come back.
        retry_after: Duration,
    },
    /// No endpoint may be dialled or used.
    Breaker {
        /// When one will be tried again.
        retry_after: Duration,
    },
    /// Its deadline passed.
    Deadline,
    /// A dial failed, and nothing else open or under way could have served it.
    DialFailed,
    /// The pool is being drained.
    Draining,
}

/// Why the pool closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// Idle for `idle_timeout`.
    IdleTimeout,
    /// Older than its share of `age_max`.
    Age,
    /// Granted `uses_max` times.
    Uses,
    /// Given up so that its permit serves another need: a sibling's, or a fresh waiter's.
    Capacity,
    /// The pool is being drained.
    Drained,
    /// Past new limits, but not past those before; or made under settings that have been replaced.
    Reconfigured,
    /// More than the recent peak needed.
    Surplus,
    /// Its endpoint is ejected, or no longer among the upstream's.
    Endpoint,
    /// The peer said that it will close it.
    Retired,
    /// What its peer has proven of itself does not count for longer: its certificate ends, or was checked too long ago.
    Trust,
}

impl CloseReason {
    /// All of them, each at the index of its discriminant.
    pub const ALL: [CloseReason; 10] = [
        CloseReason::IdleTimeout,
        CloseReason::Age,
        CloseReason::Uses,
        CloseReason::Capacity,
        CloseReason::Drained,
        CloseReason::Reconfigured,
        CloseReason::Surplus,
        CloseReason::Endpoint,
        CloseReason::Retired,
        CloseReason::Trust,
    ];
}
