//! A component that does as it is told and notes what is done to it.

use std::collections::VecDeque;
use std::error::Error;
use std::future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use roas_app::startup::{Component, ComponentError, ComponentSpec, Criticality, Health};
use tokio::time::{self, Instant};

/// What one call does.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Succeed,
    Take(Duration),
    Fail,
    Panic,
    Hang,
}

impl Act {
    async fn play(&self) -> Result<(), ComponentError> {
        match self {
            Self::Succeed => Ok(()),
            Self::Take(duration) => {
                time::sleep(*duration).await;
                Ok(())
            }
            Self::Fail => Err(Box::new(Refused(Cause))),
            Self::Panic => panic!("as told"),
            Self::Hang => future::pending().await,
        }
    }
}

/// An error with a cause, to see chains kept.
#[derive(Debug, thiserror::Error)]
#[error("connection refused")]
pub(crate) struct Refused(#[source] pub(crate) Cause);

/// The cause.
#[derive(Debug, thiserror::Error)]
#[error("no route to host")]
pub(crate) struct Cause;

/// What was done, in order: `start a`, `started a`, `stop a`, with the time since the journal began.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    begun: Instant,
    entries: Arc<Mutex<Vec<(Duration, String)>>>,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            entries: Arc::default(),
        }
    }

    pub(crate) fn note(&self, verb: &str, name: &str) {
        let entry = (self.begun.elapsed(), format!("{verb} {name}"));
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(entry);
    }

    /// The names that `verb` was noted for, in order.
    pub(crate) fn names(&self, verb: &str) -> Vec<String> {
        let prefix = format!("{verb} ");
        let lines = self.lines().into_iter();
        lines
            .filter_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
            .collect()
    }

    /// When `verb` was noted for `name`.
    pub(crate) fn times(&self, verb: &str, name: &str) -> Vec<Duration> {
        let line = format!("{verb} {name}");
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries
            .iter()
            .filter(|entry| entry.1 == line)
            .map(|entry| entry.0)
            .collect()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().map(|entry| entry.1.clone()).collect()
    }
}

/// The component. Without instructions it succeeds at once.
pub(crate) struct Scripted {
    name: String,
    journal: Journal,
    /// One for each attempt; the last one holds for all further attempts.
    starts: Mutex<VecDeque<Act>>,
    stop: Act,
    health: Option<Health>,
}

impl Scripted {
    pub(crate) fn new(name: &str, journal: &Journal) -> Self {
        Self {
            name: name.to_owned(),
            journal: journal.clone(),
            starts: Mutex::new(VecDeque::from([Act::Succeed])),
            stop: Act::Succeed,
            health: Some(Health::Healthy),
        }
    }

    pub(crate) fn starts(self, acts: impl IntoIterator<Item = Act>) -> Self {
        Self {
            starts: Mutex::new(acts.into_iter().collect()),
            ..self
        }
    }

    pub(crate) fn stop(self, act: Act) -> Self {
        Self { stop: act, ..self }
    }

    /// What it answers for its health; nothing, where it is to hang.
    pub(crate) fn health(self, health: Option<Health>) -> Self {
        Self { health, ..self }
    }

    /// Registers it under its name.
    pub(crate) fn spec(self) -> ComponentSpec {
        ComponentSpec::new(self.name.clone(), self)
    }

    pub(crate) fn optional(self) -> ComponentSpec {
        self.spec().criticality(Criticality::Optional)
    }
}

#[async_trait]
impl Component for Scripted {
    async fn start(&self) -> Result<(), ComponentError> {
        self.journal.note("start", &self.name);
        let act = {
            let mut acts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
            let next = if acts.len() > 1 {
                acts.pop_front()
            } else {
                acts.front().cloned()
            };
            next.unwrap_or(Act::Succeed)
        };
        act.play().await?;
        self.journal.note("started", &self.name);
        Ok(())
    }

    async fn stop(&self) -> Result<(), ComponentError> {
        self.journal.note("stop", &self.name);
        self.stop.play().await?;
        self.journal.note("stopped", &self.name);
        Ok(())
    }

    async fn health(&self) -> Health {
        match &self.health {
            Some(health) => health.clone(),
            None => future::pending().await,
        }
    }
}

/// An error and its causes, outermost first.
pub(crate) fn chain(error: &dyn Error) -> Vec<String> {
    let mut chain = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        chain.push(cause.to_string());
        next = cause.source();
    }
    chain
}
