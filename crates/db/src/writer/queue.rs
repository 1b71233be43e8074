//! The queue between callers and worker. It is bounded, and ends when it is closed and empty.
//!
//! A semaphore bounds an unbounded channel. tokio's bounded channel counts a granted permit as a message
//! that is still to come: its receiver would not see the end for as long as a caller keeps such a permit
//! without polling.

use std::sync::Arc;

use super::sync::{
    Semaphore, SemaphorePermit, TryAcquireError, UnboundedReceiver, UnboundedSender,
    unbounded_channel,
};

/// The callers' half.
#[derive(Debug)]
pub(super) struct Sender<T> {
    room: Arc<Semaphore>,
    channel: UnboundedSender<T>,
}

/// The worker's half.
#[derive(Debug)]
pub(super) struct Receiver<T> {
    room: Arc<Semaphore>,
    channel: UnboundedReceiver<T>,
}

/// A permit to queue one request.
#[derive(Debug)]
pub(super) struct QueuePermit<'s, T> {
    sender: &'s Sender<T>,
    permit: SemaphorePermit<'s>,
}

/// The queue is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closed;

/// A queue with room for `capacity` requests.
pub(super) fn queue<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let room = Arc::new(Semaphore::new(capacity));
    let (sender, receiver) = unbounded_channel();
    (
        Sender {
            room: Arc::clone(&room),
            channel: sender,
        },
        Receiver {
            room,
            channel: receiver,
        },
    )
}

impl<T> Sender<T> {
    /// Waits for room, in order of arrival. Cancel safe.
    pub(super) async fn permit(&self) -> Result<QueuePermit<'_, T>, Closed> {
        let permit = self.room.acquire().await.map_err(|_| Closed)?;
        Ok(self.with(permit))
    }

    /// As [`Self::place`], for threads outside the runtime.
    pub(super) fn blocking_permit(&self) -> Result<QueuePermit<'_, T>, Closed> {
        let permit = self.room.blocking_acquire().map_err(|_| Closed)?;
        Ok(self.with(permit))
    }

    /// A permit, where there is room now.
    pub(super) fn try_permit(&self) -> Result<Option<QueuePermit<'_, T>>, Closed> {
        match self.room.try_acquire() {
            Ok(permit) => Ok(Some(self.with(permit))),
            Err(TryAcquireError::NoPermits) => Ok(None),
            Err(TryAcquireError::Closed) => Err(Closed),
        }
    }

    fn with<'s>(&'s self, permit: SemaphorePermit<'s>) -> QueuePermit<'s, T> {
        QueuePermit {
            sender: self,
            permit,
        }
    }

    /// Closes the semaphore and sends `last` without a permit. (The receiver still adds a permit for it, which
    /// no longer matters.)
    pub(super) fn close(&self, last: T) {
        self.room.close();
        // A worker that has closed its half needs no wake-up.
        let _ = self.channel.send(last);
    }

    /// For how many more requests there is room.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.room.available_permits()
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            room: Arc::clone(&self.room),
            channel: self.channel.clone(),
        }
    }
}

impl<T> QueuePermit<'_, T> {
    /// Queues the request; fails where the queue was closed after the permit was granted.
    pub(super) fn send(self, request: T) -> Result<(), Closed> {
        self.sender.channel.send(request).map_err(|_| Closed)?;
        // The receiver gives the permit back.
        self.permit.forget();
        Ok(())
    }
}

impl<T> Receiver<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.channel.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.channel.len()
    }

    /// Closes the queue. What is in it can still be received.
    pub(super) fn close(&mut self) {
        self.room.close();
        self.channel.close();
    }

    /// Waits for requests and receives those that are queued, up to `limit`; none where the queue is closed
    /// and empty.
    pub(super) fn receive(&mut self, limit: usize) -> Vec<T> {
        let mut requests = Vec::new();
        let count = self.channel.blocking_recv_many(&mut requests, limit);
        self.room.add_permits(count);
        requests
    }

    /// The next request, where one is queued.
    pub(super) fn try_receive(&mut self) -> Option<T> {
        let request = self.channel.try_recv().ok()?;
        self.room.add_permits(1);
        Some(request)
    }
}
