//! A request's body whose every step the test decides on, and counts.

use bytes::Bytes;
use futures_channel::oneshot;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Poll};

/// A body made of steps.
pub struct Steps {
    steps: VecDeque<Step>,
    length: Option<u64>,
    polled: Arc<AtomicUsize>,
}

enum Step {
    Frame(Frame<Bytes>),
    /// Nothing comes before the test says so.
    Gate(oneshot::Receiver<()>),
    Fail,
}

impl Steps {
    /// A body of unknown length.
    pub fn chunked() -> Steps {
        Steps {
            steps: VecDeque::new(),
            length: None,
            polled: Arc::default(),
        }
    }

    /// A body that promises to be so long.
    pub fn promising(length: usize) -> Steps {
        Steps {
            length: Some(length as u64),
            ..Steps::chunked()
        }
    }

    pub fn data(mut self, data: impl Into<Bytes>) -> Steps {
        self.steps.push_back(Step::Frame(Frame::data(data.into())));
        self
    }

    pub fn trailer(mut self, name: &'static str, value: &'static str) -> Steps {
        let mut trailers = HeaderMap::new();
        trailers.insert(name, value.parse().unwrap());
        self.steps.push_back(Step::Frame(Frame::trailers(trailers)));
        self
    }

    /// Waits here until the sender is used or dropped.
    pub fn gate(mut self) -> (Steps, oneshot::Sender<()>) {
        let (open, gate) = oneshot::channel();
        self.steps.push_back(Step::Gate(gate));
        (self, open)
    }

    /// Ends by an error.
    pub fn fail(mut self) -> Steps {
        self.steps.push_back(Step::Fail);
        self
    }

    /// Counts the bytes that were asked for.
    pub fn polled(&self) -> Arc<AtomicUsize> {
        self.polled.clone()
    }
}

impl Body for Steps {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(Step::Gate(gate)) = self.steps.front_mut() {
            if Pin::new(gate).poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.steps.pop_front();
        }
        match self.steps.pop_front() {
            None => Poll::Ready(None),
            Some(Step::Frame(frame)) => {
                let len = frame.data_ref().map_or(0, Bytes::len);
                self.polled.fetch_add(len, Ordering::SeqCst);
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Step::Gate(_)) => unreachable!("two gates in a row are one"),
            Some(Step::Fail) => Poll::Ready(Some(Err(std::io::Error::other("out of paper")))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.length
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
