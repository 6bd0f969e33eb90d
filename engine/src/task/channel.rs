//! The queue between two subtasks: first in first out, bounded in bytes, one sender, one receiver.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::Message;
use crate::{Error, Result};

/// What a message costs that carries no rows, in bytes, so that these are bounded too.
const CONTROL_BYTES: usize = 64;

/// Makes a channel that takes messages while fewer than `capacity_bytes` are queued; the last one
/// taken may go over it, so that a batch of any size passes.
#[must_use]
pub fn channel(capacity_bytes: usize) -> (Sender, Receiver) {
    let queue = Arc::new(Mutex::new(Queue { capacity_bytes, ..Queue::default() }));
    (Sender { queue: Arc::clone(&queue), leaves: false }, Receiver { queue })
}

/// The sending end of a channel. Dropping it without [`Message::End`] means that the sender failed.
#[derive(Debug)]
pub struct Sender {
    queue: Arc<Mutex<Queue>>,
    /// Whether what is queued goes to another process.
    leaves: bool,
}

/// The receiving end of a channel.
#[derive(Debug)]
pub struct Receiver {
    queue: Arc<Mutex<Queue>>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Each with what it costs.
    messages: VecDeque<(Message, usize)>,
    bytes: usize,
    capacity_bytes: usize,
    sender_gone: bool,
    receiver_gone: bool,
    sender_waker: Option<Waker>,
    receiver_waker: Option<Waker>,
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    // Nothing panics while the lock is held, and a queue is whole between any two statements.
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cost(message: &Message) -> usize {
    match message {
        Message::Data(batch) => batch.memory_bytes().max(CONTROL_BYTES),
        _ => CONTROL_BYTES,
    }
}

impl Sender {
    /// Sends a message, waiting while the queue is full.
    ///
    /// # Errors
    /// `Closed` where the receiver is gone.
    pub async fn send(&mut self, message: Message) -> Result<()> {
        poll_fn(|context| self.poll_ready(context)).await?;
        let cost = cost(&message);
        let waker = {
            let mut queue = lock(&self.queue);
            queue.bytes += cost;
            queue.messages.push_back((message, cost));
            queue.receiver_waker.take()
        };
        wake(waker);
        Ok(())
    }

    /// Notes that what is queued goes to another process.
    pub(super) fn leave(&mut self) {
        self.leaves = true;
    }

    /// Returns the bytes that are queued and go to another process.
    pub(crate) fn leaving_bytes(&self) -> usize {
        if self.leaves { lock(&self.queue).bytes } else { 0 }
    }

    /// Tells whether the receiver has taken everything and waits for more.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        lock(&self.queue).messages.is_empty()
    }

    fn poll_ready(&self, context: &Context<'_>) -> Poll<Result<()>> {
        let mut queue = lock(&self.queue);
        if queue.receiver_gone {
            Poll::Ready(Err(Error::Closed))
        } else if queue.bytes < queue.capacity_bytes {
            Poll::Ready(Ok(()))
        } else {
            queue.sender_waker = Some(context.waker().clone());
            Poll::Pending
        }
    }
}

impl Receiver {
    /// Returns the bytes that are queued.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        lock(&self.queue).bytes
    }

    /// Receives the next message; `None` where the sender is gone and nothing is left.
    pub async fn recv(&mut self) -> Option<Message> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// Polls for the next message; `None` where the sender is gone and nothing is left.
    pub fn poll_recv(&mut self, context: &Context<'_>) -> Poll<Option<Message>> {
        let (message, waker) = {
            let mut queue = lock(&self.queue);
            match queue.messages.pop_front() {
                Some((message, cost)) => {
                    queue.bytes -= cost;
                    (message, queue.sender_waker.take())
                }
                None if queue.sender_gone => return Poll::Ready(None),
                None => {
                    queue.receiver_waker = Some(context.waker().clone());
                    return Poll::Pending;
                }
            }
        };
        wake(waker);
        Poll::Ready(Some(message))
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let waker = {
            let mut queue = lock(&self.queue);
            queue.sender_gone = true;
            queue.receiver_waker.take()
        };
        wake(waker);
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let waker = {
            let mut queue = lock(&self.queue);
            queue.receiver_gone = true;
            queue.messages.clear();
            queue.sender_waker.take()
        };
        wake(waker);
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
