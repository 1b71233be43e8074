//! The queue between callers and worker: bounded, and over when it is closed and empty.
//!
//! The room is a semaphore's, and the channel behind it knows no bounds. tokio's bounded channel
//! takes room that was granted to a call for a message that is still to come: its receiver would not
//! see the end for as long as somebody keeps such a call and does not poll it.

use std::sync::Arc;

use super::sync::{
    Semaphore, SemaphorePermit, TryAcquireError, UnboundedReceiver, UnboundedSender,
    unbounded_channel,
};

/// The callers' end.
#[derive(Debug)]
pub(super) struct Sender<T> {
    room: Arc<Semaphore>,
    channel: UnboundedSender<T>,
}

/// The worker's end.
#[derive(Debug)]
pub(super) struct Receiver<T> {
    room: Arc<Semaphore>,
    channel: UnboundedReceiver<T>,
}

/// Room for one request.
#[derive(Debug)]
pub(super) struct QueuePermit<'s, T> {
    sender: &'s Sender<T>,
    permit: SemaphorePermit<'s>,
}

/// The queue takes nothing more.
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
    /// Waits for room, first come, first served. Cancel safe.
    pub(super) async fn permit(&self) -> Result<QueuePermit<'_, T>, Closed> {
        let permit = self.room.acquire().await.map_err(|_| Closed)?;
        Ok(self.with(permit))
    }

    /// As [`Self::place`], for threads outside the runtime.
    pub(super) fn blocking_permit(&self) -> Result<QueuePermit<'_, T>, Closed> {
        let permit = self.room.blocking_acquire().map_err(|_| Closed)?;
        Ok(self.with(permit))
    }

    /// Room, where there is some now.
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

    /// Grants no more room, and sends `last`, which takes none. (That it gives back room at the other
    /// end does not matter any more.)
    pub(super) fn close(&self, last: T) {
        self.room.close();
        // Where the worker has closed its end, it needs no telling.
        let _ = self.channel.send(last);
    }

    /// How many more requests there is room for.
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
    /// Takes the place. Where the queue was closed meanwhile, the request comes to nothing.
    pub(super) fn take(self, request: T) -> Result<(), Closed> {
        self.sender.channel.send(request).map_err(|_| Closed)?;
        // The receiver gives the room back.
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

    /// Takes nothing more in. What is in the queue can still be received.
    pub(super) fn close(&mut self) {
        self.room.close();
        self.channel.close();
    }

    /// Waits for requests, and takes what there is, up to `limit`. Nothing where the queue is closed
    /// and empty.
    pub(super) fn receive(&mut self, limit: usize) -> Vec<T> {
        let mut requests = Vec::new();
        let count = self.channel.blocking_recv_many(&mut requests, limit);
        self.room.add_permits(count);
        requests
    }

    /// The next request, where there is one now.
    pub(super) fn try_receive(&mut self) -> Option<T> {
        let request = self.channel.try_recv().ok()?;
        self.room.add_permits(1);
        Some(request)
    }
}
