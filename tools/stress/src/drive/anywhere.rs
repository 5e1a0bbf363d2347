//! Callers on a thread of their own, under tokio, which call through the engine's handle: the way in
//! from anywhere, with its queue and its wake-ups.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use http_body::Body as _;
use ringpool::{Body, Engine, Error, Upstream};
use tokio::task::LocalSet;

use super::caller::{self, Job, Share, Way};
use super::calls::Message;
use super::tally::Tally;
use crate::load::DriveError;

/// The thread of the callers.
pub(super) type Callers = JoinHandle<Tally>;

#[derive(Clone)]
struct Anywhere {
    /// The plan's own, then the others.
    upstreams: Arc<[Upstream]>,
    uri: http::Uri,
}

impl Way for Anywhere {
    async fn get(&self, _path: &str) -> Result<u16, Error> {
        let mut request = http::Request::new(Body::empty());
        *request.uri_mut() = self.uri.clone();
        finish(self.upstreams[0].call(request).await?).await
    }

    async fn send(&self, message: Message<'_>) -> Result<u16, Error> {
        let body = message.body.map_or_else(Body::empty, Body::from);
        let mut request = http::Request::new(body);
        if message.body.is_some() {
            *request.method_mut() = http::Method::POST;
        }
        // Paths are checked where plans are made; sizes are digits.
        *request.uri_mut() = message.target.parse().unwrap_or_default();
        if message.close {
            let close = http::HeaderValue::from_static("close");
            request
                .headers_mut()
                .insert(http::header::CONNECTION, close);
        }
        if let Some(class) = message.class {
            request.extensions_mut().insert(class);
        }
        finish(self.upstreams[message.upstream].call(request).await?).await
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> {
        tokio::time::sleep(time)
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        tokio::task::spawn_local(task);
    }
}

/// Reads the response to its end; its status.
async fn finish(mut response: http::Response<Body>) -> Result<u16, Error> {
    let body = response.body_mut();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        frame?;
    }
    Ok(response.status().as_u16())
}

/// Starts `callers` callers.
pub(super) fn start(engine: &Engine, callers: usize, job: &Job) -> Result<Callers, DriveError> {
    let named = job.upstreams.iter().map(|name| engine.upstream(name));
    let way = Anywhere {
        upstreams: named
            .collect::<Result<_, _>>()
            .map_err(DriveError::broken)?,
        uri: job
            .path
            .as_deref()
            .unwrap_or("/")
            .parse()
            .map_err(DriveError::broken)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(DriveError::broken)?;
    let job = job.clone();
    let share = Share {
        callers,
        first: 0,
        step: 1,
    };
    thread::Builder::new()
        .name("callers".to_owned())
        .spawn(move || LocalSet::new().block_on(&runtime, caller::run(way, share, job)))
        .map_err(DriveError::broken)
}

/// Waits for all of them.
pub(super) fn join(callers: Callers) -> Result<Tally, DriveError> {
    callers
        .join()
        .map_err(|_| DriveError::broken("the callers' thread panicked"))
}
