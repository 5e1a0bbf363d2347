//! Shards, and the engine as a whole.
//!
//! Owns: which figure is which. Never: looks into an upstream.

use super::{Out, each_shard, of_drivers, of_shards};
use crate::client::snapshot::Snapshot;

pub(in crate::telemetry) fn up(all: &Snapshot, out: &mut Out<'_>) {
    of_shards(all, out, |shard| shard.is_up().into());
}

pub(in crate::telemetry) fn age(all: &Snapshot, out: &mut Out<'_>) {
    each_shard(all, |name, shard| out.seconds(&[name], shard.age));
}

pub(in crate::telemetry) fn losses(all: &Snapshot, out: &mut Out<'_>) {
    of_shards(all, out, |shard| shard.losses);
}

pub(in crate::telemetry) fn lag(all: &Snapshot, out: &mut Out<'_>) {
    each_shard(all, |name, shard| out.seconds(&[name], shard.lag));
}

pub(in crate::telemetry) fn depth(all: &Snapshot, out: &mut Out<'_>) {
    of_shards(all, out, |shard| shard.depth);
}

pub(in crate::telemetry) fn turns(all: &Snapshot, out: &mut Out<'_>) {
    of_drivers(all, out, |driver| driver.turns);
}

pub(in crate::telemetry) fn enters(all: &Snapshot, out: &mut Out<'_>) {
    of_drivers(all, out, |driver| driver.enters);
}

pub(in crate::telemetry) fn submissions(all: &Snapshot, out: &mut Out<'_>) {
    of_drivers(all, out, |driver| driver.submissions);
}

pub(in crate::telemetry) fn completions(all: &Snapshot, out: &mut Out<'_>) {
    of_drivers(all, out, |driver| driver.completions);
}

pub(in crate::telemetry) fn shortages(all: &Snapshot, out: &mut Out<'_>) {
    of_drivers(all, out, |driver| driver.out_of_buffers);
}

pub(in crate::telemetry) fn buffers(all: &Snapshot, out: &mut Out<'_>) {
    each_shard(all, |name, shard| {
        out.count(&[name, "held"], shard.buffers_held);
        out.count(&[name, "free"], shard.buffers_free);
    });
}

pub(in crate::telemetry) fn steals(all: &Snapshot, out: &mut Out<'_>) {
    of_shards(all, out, |shard| shard.steals);
}

pub(in crate::telemetry) fn offers(all: &Snapshot, out: &mut Out<'_>) {
    of_shards(all, out, |shard| shard.offers);
}

pub(in crate::telemetry) fn refused_calls(all: &Snapshot, out: &mut Out<'_>) {
    each_shard(all, |name, shard| {
        out.count(&[name, "full"], shard.refused_full);
        out.count(&[name, "draining"], shard.refused_draining);
    });
}

pub(in crate::telemetry) fn panics(all: &Snapshot, out: &mut Out<'_>) {
    of_shards(all, out, |shard| shard.task_panics);
}

// The engine.

pub(in crate::telemetry) fn sockets(all: &Snapshot, out: &mut Out<'_>) {
    out.count(&[], all.now.sockets);
}

pub(in crate::telemetry) fn tasks(all: &Snapshot, out: &mut Out<'_>) {
    out.count(&[], all.now.tasks);
}

pub(in crate::telemetry) fn timers(all: &Snapshot, out: &mut Out<'_>) {
    out.count(&[], all.now.timers);
}

pub(in crate::telemetry) fn pauses(all: &Snapshot, out: &mut Out<'_>) {
    out.count(&[], all.receive_pauses);
}

pub(in crate::telemetry) fn early(all: &Snapshot, out: &mut Out<'_>) {
    out.count(&["accepted"], all.early_taken);
    out.count(&["refused"], all.early_refused);
}

pub(in crate::telemetry) fn audit(all: &Snapshot, out: &mut Out<'_>) {
    let audit = &all.audit;
    for (result, count) in [
        ("recorded", audit.recorded),
        ("dropped", audit.dropped),
        ("failed", audit.failed),
    ] {
        out.count(&[result], count);
    }
}
