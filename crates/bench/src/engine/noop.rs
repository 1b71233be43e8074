//! An engine that answers at once and stores nothing: what is then measured is the tester.

use async_trait::async_trait;

use super::{BoxError, CallError, Description, Engine, Execution, Read, ReadSession, Session};
use crate::operations::Operation;

/// Stores nothing.
#[derive(Debug, Clone, Copy)]
pub struct Noop;

#[async_trait]
impl Engine for Noop {
    fn execution(&self) -> Execution {
        Execution::Tasks
    }

    async fn session(&self) -> Result<Box<dyn Session>, BoxError> {
        Ok(Box::new(*self))
    }

    async fn reader(&self) -> Result<Box<dyn ReadSession>, BoxError> {
        Ok(Box::new(*self))
    }

    async fn describe(&self) -> Result<Description, BoxError> {
        Ok(Description::default())
    }

    async fn close(self: Box<Self>) -> Result<(), BoxError> {
        Ok(())
    }
}

#[async_trait]
impl Session for Noop {
    async fn write(&mut self, operations: &[Operation]) -> Result<(), CallError> {
        std::hint::black_box(operations);
        Ok(())
    }
}

#[async_trait]
impl ReadSession for Noop {
    async fn read(&mut self, read: Read) -> Result<(), CallError> {
        std::hint::black_box(read);
        Ok(())
    }
}
