//! tokio's unbounded channel, on shuttle's lock and condition.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shuttle::sync::{Condvar, Mutex, MutexGuard};

use super::{Flaw, makes, unpoisoned};

#[derive(Debug)]
struct Channel<T> {
    queue: Mutex<Queue<T>>,
    changed: Condvar,
    /// How many are in it. Apart, so that looking is no point at which others may go on: how often
    /// the writer looks before it sleeps is a matter of time, and a schedule must not be.
    len: AtomicUsize,
}

#[derive(Debug)]
struct Queue<T> {
    values: VecDeque<T>,
    senders: usize,
    closed: bool,
}

#[derive(Debug)]
pub(crate) struct UnboundedSender<T>(Arc<Channel<T>>);

#[derive(Debug)]
pub(crate) struct UnboundedReceiver<T>(Arc<Channel<T>>);

/// The receiver takes nothing more.
#[derive(Debug)]
pub(crate) struct SendError;

/// There is nothing now.
#[derive(Debug)]
pub(crate) struct TryRecvError;

pub(crate) fn unbounded_channel<T>() -> (UnboundedSender<T>, UnboundedReceiver<T>) {
    let channel = Arc::new(Channel {
        queue: Mutex::new(Queue {
            values: VecDeque::new(),
            senders: 1,
            closed: false,
        }),
        changed: Condvar::new(),
        len: AtomicUsize::new(0),
    });
    (
        UnboundedSender(Arc::clone(&channel)),
        UnboundedReceiver(channel),
    )
}

impl<T> Channel<T> {
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        unpoisoned(self.queue.lock())
    }

    /// What there is, up to `limit`.
    fn take(&self, queue: &mut Queue<T>, limit: usize) -> Vec<T> {
        let count = limit.min(queue.values.len());
        self.len.fetch_sub(count, Ordering::Relaxed);
        queue.values.drain(..count).collect()
    }
}

impl<T> Queue<T> {
    fn is_over(&self) -> bool {
        let drained = self.values.is_empty() || makes(Flaw::EndWithoutDraining);
        (self.closed || self.senders == 0) && drained
    }
}

impl<T> UnboundedSender<T> {
    pub(crate) fn send(&self, value: T) -> Result<(), SendError> {
        let mut queue = self.0.lock();
        let refused = queue.closed;
        if refused && !makes(Flaw::RefusedAndTaken) {
            return Err(SendError);
        }
        queue.values.push_back(value);
        self.0.len.fetch_add(1, Ordering::Relaxed);
        drop(queue);
        self.0.changed.notify_one();
        if refused { Err(SendError) } else { Ok(()) }
    }
}

impl<T> Clone for UnboundedSender<T> {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for UnboundedSender<T> {
    fn drop(&mut self) {
        self.0.lock().senders -= 1;
        self.0.changed.notify_one();
    }
}

impl<T> UnboundedReceiver<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len.load(Ordering::Relaxed)
    }

    pub(crate) fn close(&mut self) {
        self.0.lock().closed = true;
    }

    pub(crate) fn blocking_recv_many(&mut self, buffer: &mut Vec<T>, limit: usize) -> usize {
        let mut queue = self.0.lock();
        loop {
            if queue.is_over() {
                return 0;
            }
            if !queue.values.is_empty() {
                let before = buffer.len();
                buffer.extend(self.0.take(&mut queue, limit));
                return buffer.len() - before;
            }
            if makes(Flaw::LostWakeUp) {
                drop(queue);
                queue = self.0.lock();
            }
            queue = unpoisoned(self.0.changed.wait(queue));
        }
    }

    pub(crate) fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let mut queue = self.0.lock();
        self.0.take(&mut queue, 1).pop().ok_or(TryRecvError)
    }
}

/// What nobody will receive any more goes away with the receiver.
impl<T> Drop for UnboundedReceiver<T> {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.closed = true;
        let left = self.0.take(&mut queue, usize::MAX);
        drop(queue);
        drop(left);
    }
}
