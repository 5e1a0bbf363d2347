//! Callers as tasks on the shards, with the low-level exchange: the fast way.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use ringpool::on_shard::{Exchange, Head, Shard, Upstream};
use ringpool::{Engine, Error, OnEach, block_on};

use super::caller::{self, Job, Share, Way};
use super::calls::Message;
use super::tally::Tally;
use crate::load::DriveError;

/// The callers of all shards.
pub(super) type Callers = OnEach<Result<Tally, Error>>;

#[derive(Clone)]
struct OnShard {
    shard: Shard,
    /// The plan's own, then the others.
    upstreams: Rc<[Upstream]>,
}

impl Way for OnShard {
    async fn get(&self, path: &str) -> Result<u16, Error> {
        finish(self.upstreams[0].exchange(Head::get(path)).await?).await
    }

    async fn send(&self, message: Message<'_>) -> Result<u16, Error> {
        let upstream = &self.upstreams[message.upstream];
        let classed = message.class.map(|class| upstream.with_class(class));
        let upstream = classed.as_ref().unwrap_or(upstream);
        let mut head = match message.body {
            None => Head::get(&message.target),
            Some(_) => Head::post(&message.target),
        };
        if message.close {
            head = head.header("connection", "close");
        }
        finish(match message.body {
            None => upstream.exchange(head).await?,
            Some(body) => upstream.exchange_with(head, body).await?,
        })
        .await
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> {
        self.shard.sleep(time)
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.shard.spawn(task);
    }
}

/// Reads the response to its end; its status.
async fn finish(mut exchange: Exchange) -> Result<u16, Error> {
    let status = exchange.status();
    while exchange.chunk().await?.is_some() {}
    Ok(status)
}

/// Starts `callers` callers, as many on one shard as on the next.
pub(super) fn start(engine: &Engine, callers: usize, job: &Job) -> Callers {
    let (job, shards) = (job.clone(), engine.shards());
    engine.spawn_on_each(move |shard| {
        let job = job.clone();
        let share = Share {
            callers: share(callers, shards, shard.index()),
            first: shard.index(),
            step: shards,
        };
        async move {
            let named = job.upstreams.iter().map(|name| shard.upstream(name));
            let upstreams = named.collect::<Result<_, _>>()?;
            Ok(caller::run(OnShard { shard, upstreams }, share, job).await)
        }
    })
}

/// Waits for all of them.
pub(super) fn join(callers: Callers, job: &Job) -> Result<Tally, DriveError> {
    let mut sum = Tally::new(0, job.interval);
    for tally in block_on(callers) {
        let tally = tally.and_then(|tally| tally);
        sum.add(tally.map_err(DriveError::broken)?);
    }
    Ok(sum)
}

/// The first shards take what does not divide, as the engine does with `idle_min`.
fn share(callers: usize, shards: usize, shard: usize) -> usize {
    callers / shards + usize::from(shard < callers % shards)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_shared_out_evenly_and_completely() {
        for (callers, shards) in [(64, 1), (64, 2), (65, 2), (3, 4), (7, 3)] {
            let shares: Vec<_> = (0..shards).map(|s| share(callers, shards, s)).collect();
            assert_eq!(shares.iter().sum::<usize>(), callers);
            let (most, least) = (shares.iter().max(), shares.iter().min());
            assert!(most.unwrap() - least.unwrap() <= 1, "{shares:?}");
        }
    }
}
