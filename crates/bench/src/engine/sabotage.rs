//! Meters that are broken on purpose: a gate that lets them pass is no gate.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::{
    BoxError, CallError, CallErrorKind, Counters, Description, Engine, Execution, ReadSession,
    Session,
};
use crate::operations::Operation;
use crate::stats::{Latencies, Tally};

/// What is wrong with an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Defect {
    /// One message in 10,000 is acknowledged and not stored.
    Drops,
    /// One call in 50 takes 150 ms longer.
    Stalls,
    /// One call in 100 says that the database is locked.
    Locks,
}

impl Defect {
    pub(super) fn of(engine: &str) -> Option<Self> {
        match engine {
            "sabotage-drop" => Some(Self::Drops),
            "sabotage-stall" => Some(Self::Stalls),
            "sabotage-lock" => Some(Self::Locks),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Sabotaged {
    engine: Box<dyn Engine>,
    defect: Defect,
    calls: Arc<AtomicU64>,
}

impl Sabotaged {
    pub(super) fn new(engine: Box<dyn Engine>, defect: Defect) -> Self {
        Self {
            engine,
            defect,
            calls: Arc::default(),
        }
    }
}

#[async_trait]
impl Engine for Sabotaged {
    fn execution(&self) -> Execution {
        self.engine.execution()
    }

    async fn session(&self) -> Result<Box<dyn Session>, BoxError> {
        Ok(Box::new(SabotagedSession {
            session: self.engine.session().await?,
            defect: self.defect,
            calls: Arc::clone(&self.calls),
        }))
    }

    async fn reader(&self) -> Result<Box<dyn ReadSession>, BoxError> {
        self.engine.reader().await
    }

    fn counters(&self) -> Option<Counters> {
        self.engine.counters()
    }

    fn queue_waits(&self) -> Option<Latencies> {
        self.engine.queue_waits()
    }

    fn take_metrics(&self) -> BTreeMap<String, Tally> {
        self.engine.take_metrics()
    }

    async fn describe(&self) -> Result<Description, BoxError> {
        self.engine.describe().await
    }

    async fn close(self: Box<Self>) -> Result<(), BoxError> {
        self.engine.close().await
    }
}

struct SabotagedSession {
    session: Box<dyn Session>,
    defect: Defect,
    calls: Arc<AtomicU64>,
}

#[async_trait]
impl Session for SabotagedSession {
    async fn write(&mut self, operations: &[Operation]) -> Result<(), CallError> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        match self.defect {
            Defect::Drops if call.is_multiple_of(10_000) => return Ok(()),
            Defect::Stalls if call.is_multiple_of(50) => {
                tokio::time::sleep(Duration::from_millis(150)).await;
            }
            Defect::Locks if call.is_multiple_of(100) => {
                return Err(CallError::new(CallErrorKind::Locked, "database is locked"));
            }
            _ => {}
        }
        self.session.write(operations).await
    }
}
