//! What the shard tells a pool, and what a pool asks of its shard.
//!
//! Owns: the vocabulary. Never: holds a socket, a future or a waker; only names.

use super::limits::Limits;
use super::permit::{Exhausted, Permit};
use crate::slab::Key;
use crate::time::Time;

/// A pool's name for one of its connections, from [`Action::Dial`] until the pool forgets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MemberId(pub(super) Key);

/// The shard's name for a queued checkout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WaiterId(pub Key);

/// The right to use a connection until [`Input::Released`] or [`Input::Closed`] names its member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The pool's name for the connection.
    pub member: MemberId,
    /// The shard's own key, as given in [`Input::Dialed`].
    pub conn: Key,
    /// False only for a connection straight from its dial. One that was dialled ahead and has
    /// idled since counts as reused: its peer may have closed it meanwhile, too.
    pub reused: bool,
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
        /// When it fails with [`Refusal::Deadline`], at the latest.
        deadline: Time,
        /// Only a newly dialled connection will do: the retry after a stale reuse.
        fresh: bool,
    },
    /// The caller has gone before it was answered.
    Cancel {
        /// Who waited.
        waiter: WaiterId,
    },
    /// The dial of `member` succeeded, handshake included.
    Dialed {
        /// As named in [`Action::Dial`].
        member: MemberId,
        /// The shard's key of the connection, repeated in every `Grant` and `Close`.
        conn: Key,
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
    },
    /// The shard is closing `member`, discarded, failed or closed by the peer, and whether idle,
    /// leased or still being dialled. Its permit comes back later, announced by `Capacity`.
    Closed {
        /// The connection to forget.
        member: MemberId,
    },
    /// A permit may have come free.
    Capacity,
    /// A sibling starves for a permit: close one idle connection, if there is one.
    GiveUp,
    /// The moment told by [`Pool::deadline`](super::Pool::deadline) has come.
    Tick,
    /// New limits, in force at once.
    #[allow(
        dead_code,
        reason = "live reconfiguration is the pool's already, and not yet the engine's"
    )]
    Configure(Limits),
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
    },
    /// A waiter needs a dial, no permit is free, and the pool has no idle connection of its own
    /// to give up. Said once per need, and again when a `Capacity` turned out to be taken or nothing
    /// has moved for a while. The pool tries again by itself at each release, `Capacity` and `Tick`.
    Starving(Exhausted),
}

/// Why a waiter got nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// `waiters_max` callers wait already.
    QueueFull,
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
    /// Past new limits, but not past those before.
    Reconfigured,
}

impl CloseReason {
    /// All of them, each at the index of its discriminant.
    pub const ALL: [CloseReason; 6] = [
        CloseReason::IdleTimeout,
        CloseReason::Age,
        CloseReason::Uses,
        CloseReason::Capacity,
        CloseReason::Drained,
        CloseReason::Reconfigured,
    ];
}
