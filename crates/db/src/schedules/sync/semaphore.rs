//! tokio's semaphore, on shuttle's.

use shuttle::future::batch_semaphore::{self, BatchSemaphore, Fairness};

use super::{Flaw, makes};

#[derive(Debug)]
pub(crate) struct Semaphore(BatchSemaphore);

#[derive(Debug)]
pub(crate) struct SemaphorePermit<'s>(Option<&'s BatchSemaphore>);

#[derive(Debug)]
pub(crate) struct AcquireError;

#[derive(Debug)]
pub(crate) enum TryAcquireError {
    Closed,
    NoPermits,
}

impl Semaphore {
    pub(crate) fn new(permits: usize) -> Self {
        Self(BatchSemaphore::new(permits, Fairness::StrictlyFair))
    }

    pub(crate) async fn acquire(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.0.acquire(1).await.map_err(|_| AcquireError)?;
        let permit = SemaphorePermit(Some(&self.0));
        // tokio's is closed for those, too, to whom a permit was granted before.
        if self.0.is_closed() {
            return Err(AcquireError);
        }
        Ok(permit)
    }

    pub(crate) fn blocking_acquire(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        shuttle::future::block_on(self.acquire())
    }

    pub(crate) fn try_acquire(&self) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        match self.0.try_acquire(1) {
            Ok(()) => Ok(SemaphorePermit(Some(&self.0))),
            Err(batch_semaphore::TryAcquireError::Closed) => Err(TryAcquireError::Closed),
            Err(batch_semaphore::TryAcquireError::NoPermits) => Err(TryAcquireError::NoPermits),
        }
    }

    pub(crate) fn add_permits(&self, count: usize) {
        if !makes(Flaw::LostRoom) {
            self.0.release(count);
        }
    }

    pub(crate) fn close(&self) {
        self.0.close();
    }

    pub(crate) fn available_permits(&self) -> usize {
        self.0.available_permits()
    }
}

impl SemaphorePermit<'_> {
    pub(crate) fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for SemaphorePermit<'_> {
    fn drop(&mut self) {
        if let Some(semaphore) = self.0 {
            semaphore.release(1);
        }
    }
}
