//! A bounded one-way channel between one shard and one caller, for the pieces of a body.
//!
//! Owns: a few pieces under way, and the wakers of both ends. Never: blocks, locks, or grows. When
//! either end is dropped the other one learns it.

use atomic_waker::AtomicWaker;
use crossbeam::queue::ArrayQueue;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as TaskContext, Poll};

/// Makes a channel that holds up to `room` pieces, and a last word beside them.
pub(crate) fn pipe<T>(room: usize) -> (PipeSender<T>, PipeReceiver<T>) {
    let shared = Arc::new(Shared {
        pieces: ArrayQueue::new(room + 1),
        room,
        sender: AtomicWaker::new(),
        receiver: AtomicWaker::new(),
        sender_gone: AtomicBool::new(false),
        finished: AtomicBool::new(false),
        receiver_gone: AtomicBool::new(false),
        dropped_unread: AtomicBool::new(false),
    });
    (PipeSender(shared.clone()), PipeReceiver(shared))
}

/// Puts pieces in. [`finish`](PipeSender::finish) ends the channel; dropping it without is a cut, so
/// that a body which was given up half-way can never pass for a whole one.
pub(crate) struct PipeSender<T>(Arc<Shared<T>>);

/// Takes pieces out.
pub(crate) struct PipeReceiver<T>(Arc<Shared<T>>);

struct Shared<T> {
    pieces: ArrayQueue<T>,
    room: usize,
    sender: AtomicWaker,
    receiver: AtomicWaker,
    sender_gone: AtomicBool,
    finished: AtomicBool,
    receiver_gone: AtomicBool,
    /// The receiver went with pieces in the queue.
    dropped_unread: AtomicBool,
}

/// The sender went without finishing: what came is not all.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cut;

/// The receiver is gone: nobody will take another piece.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gone;

impl<T> PipeSender<T> {
    /// Waits until there is room for a piece.
    pub(crate) fn poll_room(&self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Gone>> {
        if let Some(known) = self.room() {
            return Poll::Ready(known);
        }
        self.0.sender.register(cx.waker());
        // Between the first look and the registration the receiver may have made room.
        match self.room() {
            Some(known) => Poll::Ready(known),
            None => Poll::Pending,
        }
    }

    /// Waits until the receiver is gone.
    pub(crate) fn poll_gone(&self, cx: &mut TaskContext<'_>) -> Poll<()> {
        self.0.sender.register(cx.waker());
        match self.0.receiver_gone.load(Ordering::Acquire) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Puts a piece in, after [`poll_room`](PipeSender::poll_room) said that there is room.
    ///
    /// # Panics
    /// If there is none.
    pub(crate) fn send(&mut self, piece: T) {
        debug_assert!(
            self.0.pieces.len() < self.0.room,
            "the last place is for the last word"
        );
        assert!(
            self.0.pieces.push(piece).is_ok(),
            "sent without waiting for room"
        );
        self.0.receiver.wake();
    }

    /// Puts a piece in that is the last one, whether there is room or not.
    pub(crate) fn send_last(self, piece: T) {
        let sent = self.0.pieces.push(piece);
        assert!(sent.is_ok(), "there is a place for the last one");
        self.finish();
    }

    /// Everything was sent.
    pub(crate) fn finish(self) {
        self.0.finished.store(true, Ordering::Relaxed);
    }

    /// Whether everything sent has been read, not merely thrown away with the receiver.
    pub(crate) fn all_read(&self) -> bool {
        // In this order: a receiver that goes sets the flag before it empties the queue.
        self.0.pieces.is_empty() && !self.0.dropped_unread.load(Ordering::Acquire)
    }

    fn room(&self) -> Option<Result<(), Gone>> {
        if self.0.receiver_gone.load(Ordering::Acquire) {
            return Some(Err(Gone));
        }
        (self.0.pieces.len() < self.0.room).then_some(Ok(()))
    }
}

impl<T> PipeReceiver<T> {
    /// Waits for the next piece; `None` when the sender has finished and everything was taken.
    pub(crate) fn poll_next(&mut self, cx: &mut TaskContext<'_>) -> Poll<Option<Result<T, Cut>>> {
        if let Some(known) = self.next() {
            return Poll::Ready(known);
        }
        self.0.receiver.register(cx.waker());
        match self.next() {
            Some(known) => Poll::Ready(known),
            None => Poll::Pending,
        }
    }

    /// Waits until the sender is gone, whatever is still in the channel.
    pub(crate) fn poll_closed(&self, cx: &mut TaskContext<'_>) -> Poll<()> {
        self.0.receiver.register(cx.waker());
        match self.0.sender_gone.load(Ordering::Acquire) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    fn next(&mut self) -> Option<Option<Result<T, Cut>>> {
        // Read before the queue: a sender sets it after its last piece.
        let gone = self.0.sender_gone.load(Ordering::Acquire);
        if let Some(piece) = self.0.pieces.pop() {
            self.0.sender.wake();
            return Some(Some(Ok(piece)));
        }
        match (gone, self.0.finished.load(Ordering::Relaxed)) {
            (false, _) => None,
            (true, true) => Some(None),
            (true, false) => Some(Some(Err(Cut))),
        }
    }
}

impl<T> Drop for PipeSender<T> {
    fn drop(&mut self) {
        self.0.sender_gone.store(true, Ordering::Release);
        self.0.receiver.wake();
    }
}

impl<T> Drop for PipeReceiver<T> {
    fn drop(&mut self) {
        self.0.receiver_gone.store(true, Ordering::Release);
        // What is still in it is nobody's any more; that there was something, the sender may ask.
        while !self.0.pieces.is_empty() {
            self.0.dropped_unread.store(true, Ordering::Release);
            self.0.pieces.pop();
        }
        self.0.sender.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    #[test]
    fn pieces_come_in_order_and_room_is_limited() {
        let mut cx = TaskContext::from_waker(Waker::noop());
        let (mut sender, mut receiver) = pipe(2);
        for n in 0..2 {
            assert_eq!(sender.poll_room(&mut cx), Poll::Ready(Ok(())));
            sender.send(n);
        }
        assert_eq!(sender.poll_room(&mut cx), Poll::Pending);
        assert_eq!(receiver.poll_next(&mut cx), Poll::Ready(Some(Ok(0))));
        assert_eq!(sender.poll_room(&mut cx), Poll::Ready(Ok(())));
        sender.finish();
        assert_eq!(receiver.poll_next(&mut cx), Poll::Ready(Some(Ok(1))));
        assert_eq!(receiver.poll_next(&mut cx), Poll::Ready(None));
    }

    #[test]
    fn a_sender_learns_that_the_receiver_is_gone() {
        let mut cx = TaskContext::from_waker(Waker::noop());
        let (sender, receiver) = pipe::<u8>(1);
        assert_eq!(sender.poll_gone(&mut cx), Poll::Pending);
        drop(receiver);
        assert_eq!(sender.poll_gone(&mut cx), Poll::Ready(()));
        assert_eq!(sender.poll_room(&mut cx), Poll::Ready(Err(Gone)));
    }

    #[test]
    fn what_goes_with_its_receiver_was_not_read() {
        let mut cx = TaskContext::from_waker(Waker::noop());
        let (mut sender, mut receiver) = pipe(2);
        sender.send(1);
        assert!(!sender.all_read());
        assert_eq!(receiver.poll_next(&mut cx), Poll::Ready(Some(Ok(1))));
        assert!(sender.all_read());
        sender.send(2);
        drop(receiver);
        assert!(!sender.all_read());
    }

    #[test]
    fn a_sender_that_goes_without_finishing_leaves_a_cut() {
        let mut cx = TaskContext::from_waker(Waker::noop());
        let (mut sender, mut receiver) = pipe(2);
        sender.send(1);
        drop(sender);
        assert_eq!(receiver.poll_next(&mut cx), Poll::Ready(Some(Ok(1))));
        assert_eq!(receiver.poll_next(&mut cx), Poll::Ready(Some(Err(Cut))));
    }

    #[test]
    fn a_last_word_has_a_place_of_its_own() {
        let mut cx = TaskContext::from_waker(Waker::noop());
        let (mut sender, mut receiver) = pipe(1);
        sender.send(1);
        assert_eq!(sender.poll_room(&mut cx), Poll::Pending);
        sender.send_last(2);
        assert_eq!(receiver.poll_next(&mut cx), Poll::Ready(Some(Ok(1))));
        assert_eq!(receiver.poll_next(&mut cx), Poll::Ready(Some(Ok(2))));
        assert_eq!(receiver.poll_next(&mut cx), Poll::Ready(None));
    }

    #[test]
    fn everything_crosses_threads() {
        let (mut sender, mut receiver) = pipe(3);
        let thread = std::thread::spawn(move || {
            for n in 0..10_000u32 {
                crate::block_on(std::future::poll_fn(|cx| sender.poll_room(cx))).unwrap();
                sender.send(n);
            }
            sender.finish();
        });
        for n in 0..10_000u32 {
            let got = crate::block_on(std::future::poll_fn(|cx| receiver.poll_next(cx)));
            assert_eq!(got, Some(Ok(n)));
        }
        assert_eq!(
            crate::block_on(std::future::poll_fn(|cx| receiver.poll_next(cx))),
            None
        );
        thread.join().unwrap();
    }
}
