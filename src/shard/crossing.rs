//! What a caller holds of a call that runs on another thread's shard: its ends of both bodies.
//!
//! Owns: the request's body, polled by the caller's own future, and the response's pieces as they come.
//! Never: knows what runs the call.

use super::answer::Answered;
use super::doorbell::Place;
use super::entrance::Entrance;
use super::pipe::{Cut, PipeReceiver, PipeSender, pipe};
use super::serve::PIPE_ROOM;
use super::upload::{BoxedBody, Source, body_failed};
use super::upstream::UpstreamShared;
use crate::error::{Error, RequestSent};
use bytes::Bytes;
use futures_channel::oneshot;
use http_body::{Body as HttpBody, Frame};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

impl Source {
    /// For a shard on another thread: what crosses, and what this thread has to feed it with.
    pub(crate) fn split(self) -> (Source, Option<RemoteUpload>) {
        match self {
            Source::Stream(body) => {
                let (sender, receiver) = pipe(PIPE_ROOM);
                let length = body.size_hint().exact();
                let upload = RemoteUpload {
                    body,
                    pipe: Some(sender),
                };
                (Source::Pipe(receiver, length), Some(upload))
            }
            whole @ (Source::Empty | Source::Full(_) | Source::Pipe(..)) => (whole, None),
        }
    }
}

/// The answer to a call, while it is awaited.
pub(crate) struct Answer {
    answer: oneshot::Receiver<Result<Answered, Error>>,
    place: Place,
    /// The call's body, as far as it has not been sent.
    upload: Option<RemoteUpload>,
}

impl Answer {
    pub(crate) fn new(answer: oneshot::Receiver<Result<Answered, Error>>) -> Answer {
        Answer {
            answer,
            place: Place::default(),
            upload: None,
        }
    }

    /// With the call's body.
    pub(crate) fn with(self, upload: Option<RemoteUpload>) -> Answer {
        Answer { upload, ..self }
    }

    /// Feeds the call its body, and waits for the response's head. Polled where it is, by `poll_fn`: futures of its own
    /// would be copied at each layer on their way.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut TaskContext<'_>,
        upstream: &UpstreamShared,
    ) -> Poll<Result<Answered, Error>> {
        let upload = self.upload.as_mut();
        if upload.is_some_and(|upload| upload.poll(cx).is_ready()) {
            self.upload = None;
        }
        let answer = &mut self.answer;
        match self.place.poll(cx, |cx| Pin::new(answer).poll(cx)) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(answer)) => Poll::Ready(answer),
            // The shard broke down in the middle of the call, and cannot say any more how far it got.
            Poll::Ready(Err(oneshot::Canceled)) => {
                let error = Error::draining().after_sending(RequestSent::Whole, false);
                Poll::Ready(Err(error.at_upstream(&upstream.name)))
            }
        }
    }

    /// What is left of the call's body: a peer may answer before it has all of it.
    pub(crate) fn into_upload(self) -> Option<RemoteUpload> {
        self.upload
    }

    /// The answer, if it is there.
    #[cfg(test)]
    pub(crate) fn try_head(&mut self) -> Option<Result<Answered, Error>> {
        match self.answer.try_recv() {
            Ok(answer) => answer,
            Err(oneshot::Canceled) => Some(Err(Error::draining())),
        }
    }
}

/// A request's body on its way to a shard, polled by the caller.
pub(crate) struct RemoteUpload {
    body: BoxedBody,
    /// Gone when everything is sent, or nobody wants it.
    pipe: Option<PipeSender<Result<Frame<Bytes>, Error>>>,
}

impl RemoteUpload {
    /// The body, for a call that has not been begun elsewhere and will not be.
    pub(super) fn into_source(self) -> Source {
        Source::Stream(self.body)
    }

    /// Carries pieces over while there is room. Ready when there is nothing left to do.
    pub(crate) fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        loop {
            let Some(pipe) = &mut self.pipe else {
                return Poll::Ready(());
            };
            match pipe.poll_room(cx) {
                Poll::Pending => return Poll::Pending,
                // The shard has stopped taking: it has the answer already, or an error.
                Poll::Ready(Err(_)) => {
                    self.pipe = None;
                    return Poll::Ready(());
                }
                Poll::Ready(Ok(())) => {}
            }
            match self.body.as_mut().poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) => pipe.send(Ok(frame)),
                Poll::Ready(Some(Err(error))) => {
                    pipe.send(Err(body_failed(error)));
                    self.pipe = None;
                }
                Poll::Ready(None) => {
                    if let Some(pipe) = self.pipe.take() {
                        pipe.finish();
                    }
                }
            }
        }
    }
}

/// The rest of a response, and of the request if the peer answered before it had all of it.
pub(crate) struct Incoming {
    pieces: PipeReceiver<Result<Frame<Bytes>, Error>>,
    /// Bytes still to come, where that is known.
    left: Option<u64>,
    /// Of the shard that sends them: it knows why it does not any more.
    from: Arc<Entrance>,
    upload: Option<RemoteUpload>,
    ended: bool,
}

impl Incoming {
    pub(crate) fn new(
        pieces: PipeReceiver<Result<Frame<Bytes>, Error>>,
        left: Option<u64>,
        from: Arc<Entrance>,
        upload: Option<RemoteUpload>,
    ) -> Incoming {
        Incoming {
            pieces,
            left,
            from,
            upload,
            ended: false,
        }
    }

    /// Bytes still to come, where that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        self.left
    }

    /// Whether the end of it was read, or an error.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(upload) = &mut self.upload
            && upload.poll(cx).is_ready()
        {
            self.upload = None;
        }
        let piece = match self.pieces.poll_next(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(piece) => piece,
        };
        let frame = match piece {
            None => None,
            Some(Ok(frame)) => Some(frame),
            // The shard broke down while the response was being read.
            Some(Err(Cut)) => {
                let error = self.from.refusal();
                Some(Err(error.after_sending(RequestSent::Whole, false)))
            }
        };
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(left), Some(data)) = (&mut self.left, frame.data_ref()) {
                    *left = left.saturating_sub(data.len() as u64);
                }
            }
            Some(Err(_)) | None => {
                self.ended = true;
                self.upload = None;
            }
        }
        Poll::Ready(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::shard::lost::lost;
    use crate::shard::parker::Parker;
    use std::task::Waker;

    /// What a response's body says that its shard did not bring to an end.
    fn cut_after(what: impl FnOnce(&Entrance)) -> Error {
        let entrance = Arc::new(Entrance::new(3, Arc::new(Parker::default())));
        let (mut sender, receiver) = pipe(2);
        let mut incoming = Incoming::new(receiver, Some(8), entrance.clone(), None);
        let mut cx = TaskContext::from_waker(Waker::noop());
        sender.send(Ok(Frame::data(Bytes::from_static(b"half"))));
        let frame = incoming.poll_frame(&mut cx);
        assert!(matches!(frame, Poll::Ready(Some(Ok(_)))));
        what(&entrance);
        drop(sender);
        match incoming.poll_frame(&mut cx) {
            Poll::Ready(Some(Err(error))) => error,
            other => panic!("not a cut: {}", other.is_pending()),
        }
    }

    #[test]
    fn a_body_that_is_cut_tells_what_its_shard_failed_by() {
        let fault = lost(3, "a test");
        let error = cut_after(|entrance| entrance.lose(&fault));
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert!(error.to_string().contains("shard 3 was lost"), "{error}");
        assert_eq!(error.request_sent(), RequestSent::Whole);
        assert!(!error.is_retryable());
        // Also when another shard has taken its place meanwhile.
        let error = cut_after(|entrance| {
            entrance.lose(&fault);
            entrance.reopen();
        });
        assert!(error.to_string().contains("shard 3 was lost"), "{error}");
        let error = cut_after(|entrance| assert!(entrance.close()));
        assert_eq!(error.kind(), ErrorKind::Draining);
    }
}
