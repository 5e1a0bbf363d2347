//! Callers on a thread of their own, under tokio, which call through the engine's handle: the way in
//! from anywhere, with its queue and its wake-ups.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use http_body::Body as _;
use ringpool::{Body, Engine, Error, Upstream};
use tokio::task::LocalSet;

use super::UPSTREAM;
use super::caller::{self, Job, Way};
use super::tally::Tally;
use crate::load::DriveError;

/// The thread of the callers.
pub(super) type Callers = JoinHandle<Tally>;

#[derive(Clone)]
struct Anywhere {
    upstream: Upstream,
    uri: http::Uri,
}

impl Way for Anywhere {
    async fn get(&self, _path: &str) -> Result<u16, Error> {
        let mut request = http::Request::new(Body::empty());
        *request.uri_mut() = self.uri.clone();
        let mut response = self.upstream.call(request).await?;
        let body = response.body_mut();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            frame?;
        }
        Ok(response.status().as_u16())
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> {
        tokio::time::sleep(time)
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        tokio::task::spawn_local(task);
    }
}

/// Starts `callers` callers.
pub(super) fn start(engine: &Engine, callers: usize, job: &Job) -> Result<Callers, DriveError> {
    let way = Anywhere {
        upstream: engine.upstream(UPSTREAM).map_err(DriveError::broken)?,
        uri: job.path.parse().map_err(DriveError::broken)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(DriveError::broken)?;
    let job = job.clone();
    thread::Builder::new()
        .name("callers".to_owned())
        .spawn(move || LocalSet::new().block_on(&runtime, caller::run(way, callers, job)))
        .map_err(DriveError::broken)
}

/// Waits for all of them.
pub(super) fn join(callers: Callers) -> Result<Tally, DriveError> {
    callers
        .join()
        .map_err(|_| DriveError::broken("the callers' thread panicked"))
}
