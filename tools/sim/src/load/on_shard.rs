//! Calls from tasks on the shards' own threads.

use super::order::{Order, Way};
use super::{answer_of, raw, request};
use crate::oracle::{Answer, Ending, Failure};
use bytes::Bytes;
use ringpool::on_shard::Head;
use ringpool::simulation::Shard;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::mpsc::Sender;
use std::task::Poll;
use std::time::Duration;

/// How a task's call ended; `None`: it was given up.
pub type News = (u64, Option<Ending>);

/// Makes the call and tells how it ended. A task that is dropped with its shard tells nothing.
pub async fn run(shard: Shard, upstream: String, order: Order, nonce: u64, news: Sender<News>) {
    let ending = match order.patience {
        Some(patience) => {
            let made = within(&shard, patience, make(&shard, &upstream, &order, nonce)).await;
            made.flatten()
        }
        None => make(&shard, &upstream, &order, nonce).await,
    };
    // Nobody listens any more when the run is over.
    let _ = news.send((nonce, ending));
}

async fn make(shard: &Shard, upstream: &str, order: &Order, nonce: u64) -> Option<Ending> {
    if order.method == "LINE" && order.hasty {
        return blurt(shard, upstream, nonce).await;
    }
    if order.method == "LINE" {
        return Some(talk(shard, upstream, nonce).await);
    }
    let made = match order.way {
        Way::Exchange(_) | Way::Malformed(_) => {
            let space = if matches!(order.way, Way::Malformed(_)) {
                " "
            } else {
                ""
            };
            let target = format!("/n/{nonce}/{}{space}", order.wants);
            let head = Head::new(order.method, &target);
            shard
                .exchange(upstream, head)
                .await
                .map(|(status, body)| Answer {
                    status,
                    said: None,
                    body,
                    trip: None,
                })
        }
        Way::Call(_) | Way::Outside(_) => {
            let response = shard.call(upstream, request(order, nonce)).await;
            response.map(answer_of)
        }
    };
    Some(match made {
        Ok(answer) => Ending::Answered(answer),
        Err(error) => Ending::Failed(Failure::of(&error)),
    })
}

/// Says a line and gives the connection back before that can be out: nobody may get it after that.
async fn blurt(shard: &Shard, upstream: &str, nonce: u64) -> Option<Ending> {
    let mut lease = match shard.checkout(upstream).await {
        Ok(lease) => lease,
        Err(error) => return Some(Ending::Failed(Failure::of(&error))),
    };
    let line = Bytes::from(format!("{nonce} {upstream}\n"));
    if let Err(error) = lease.write(line).await {
        return Some(raw::cut(error.to_string()));
    }
    lease.release();
    None
}

async fn talk(shard: &Shard, upstream: &str, nonce: u64) -> Ending {
    let mut lease = match shard.checkout(upstream).await {
        Ok(lease) => lease,
        Err(error) => return Ending::Failed(Failure::of(&error)),
    };
    if let Err(error) = lease
        .write(Bytes::from(format!("{nonce} {upstream}\n")))
        .await
    {
        return raw::cut(error.to_string());
    }
    let mut line = Vec::new();
    loop {
        match within(shard, super::TALK_MAX, lease.read()).await {
            Some(Ok(Some(bytes))) => line.extend_from_slice(&bytes),
            Some(Ok(None)) => return raw::cut("the server closed the connection".into()),
            Some(Err(error)) => return raw::cut(error.to_string()),
            None => return raw::cut("the server said nothing".into()),
        }
        if line.contains(&b'\n') {
            lease.release();
            return raw::heard(&line);
        }
    }
}

/// What comes of it within this time.
async fn within<T>(shard: &Shard, time: Duration, what: impl Future<Output = T>) -> Option<T> {
    let mut what = pin!(what);
    let mut sleep = pin!(shard.sleep(time));
    poll_fn(|cx| {
        if let Poll::Ready(done) = what.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        sleep.as_mut().poll(cx).map(|()| None)
    })
    .await
}
