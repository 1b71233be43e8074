//! tokio's one-shot channel, on shuttle's lock.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use shuttle::sync::Mutex;

use super::{Flaw, makes, unpoisoned};

#[derive(Debug)]
enum Slot<T> {
    Empty(Option<Waker>),
    Full(T),
    /// One of the two has gone.
    Forsaken,
}

#[derive(Debug)]
pub(crate) struct Sender<T>(Arc<Mutex<Slot<T>>>);

#[derive(Debug)]
pub(crate) struct Receiver<T>(Arc<Mutex<Slot<T>>>);

/// The sender has gone without a word.
#[derive(Debug)]
pub(crate) struct RecvError;

pub(crate) fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let slot = Arc::new(Mutex::new(Slot::Empty(None)));
    (Sender(Arc::clone(&slot)), Receiver(slot))
}

impl<T> Sender<T> {
    pub(crate) fn send(self, value: T) -> Result<(), T> {
        if makes(Flaw::LostAnswer) {
            return Ok(());
        }
        let mut slot = unpoisoned(self.0.lock());
        if matches!(*slot, Slot::Forsaken) {
            return Err(value);
        }
        let before = std::mem::replace(&mut *slot, Slot::Full(value));
        drop(slot);
        wake(before);
        Ok(())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut slot = unpoisoned(self.0.lock());
        if matches!(*slot, Slot::Empty(_)) {
            let before = std::mem::replace(&mut *slot, Slot::Forsaken);
            drop(slot);
            wake(before);
        }
    }
}

fn wake<T>(slot: Slot<T>) {
    if let Slot::Empty(Some(waker)) = slot {
        waker.wake();
    }
}

impl<T> Receiver<T> {
    /// Whether the answer is not there yet. Said to be there, so that looking ends at once: how often a
    /// caller looks before it sleeps is a matter of time, and a schedule must not be.
    #[expect(clippy::unused_self, reason = "as tokio's")]
    pub(crate) const fn is_empty(&self) -> bool {
        false
    }

    pub(crate) fn blocking_recv(self) -> Result<T, RecvError> {
        shuttle::future::block_on(self)
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = unpoisoned(self.0.lock());
        if let Slot::Empty(waker) = &mut *slot {
            *waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        match std::mem::replace(&mut *slot, Slot::Forsaken) {
            Slot::Full(value) => Poll::Ready(Ok(value)),
            _ => Poll::Ready(Err(RecvError)),
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        *unpoisoned(self.0.lock()) = Slot::Forsaken;
    }
}
