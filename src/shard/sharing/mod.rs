//! Calls that wait on one shard and run on another one.
//!
//! | file | concept |
//! |---|---|
//! | `movable` | a call that has not begun |
//! | `claim`, `offer`, `offers` | who runs an offered call; the call; those of one upstream, from all shards |
//! | `room` | how many calls of others a shard could begin |
//! | `moving` | the checkout of a call that may go elsewhere while it waits |
//! | `stake` | where a waiter's call is; its way to the siblings and back |
//! | `share` | one shard's part in it, upstream by upstream |
//! | `taking` | calls of siblings that begin here |
//! | `turns` | whose turn it is where callers wait on several shards |
//!
//! Never: moves a connection, or anything of a call that has begun.

pub(crate) mod claim;
pub(crate) mod movable;
pub(crate) mod moving;
pub(crate) mod offer;
pub(crate) mod offers;
pub(crate) mod room;
pub(crate) mod share;
pub(crate) mod stake;
pub(crate) mod taking;
pub(crate) mod turns;
