//! What a start, a shutdown and a round of health questions came to.
//!
//! Each report prints as a heading and one line for each component.

use std::fmt;
use std::iter;
use std::time::Duration;

use super::component::Health;
use super::error::ComponentFailure;

/// What a start came to. That there is one means that every critical component is up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StartupReport {
    /// Every registered component, by level, in the order of registration within a level.
    pub components: Vec<StartedComponent>,
    /// How long the start took as a whole.
    pub elapsed: Duration,
}

/// One component in a [`StartupReport`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StartedComponent {
    /// Its name.
    pub name: String,
    /// Its level, from 0.
    pub level: usize,
    /// What became of it.
    pub status: StartStatus,
}

/// What became of a component in a start.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StartStatus {
    /// It is up.
    Started {
        /// How many attempts it took, with the one that succeeded.
        attempts: u32,
        /// How long it took, with failed attempts and the waits between.
        elapsed: Duration,
    },
    /// It did not start; it is optional, and the process runs without it.
    Failed {
        /// How often it was tried.
        attempts: u32,
        /// How the last attempt failed.
        error: ComponentFailure,
    },
    /// It was not tried, because it depends on one that failed.
    Skipped {
        /// The component that failed, which need not be a direct dependency.
        because_of: String,
    },
}

impl StartupReport {
    /// Whether every component is up, the optional ones included.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.components
            .iter()
            .all(|component| component.status.is_started())
    }
}

impl StartStatus {
    /// Whether the component is up.
    #[must_use]
    pub fn is_started(&self) -> bool {
        matches!(self, Self::Started { .. })
    }
}

impl fmt::Display for StartupReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (up, all) = (self.components.iter(), self.components.len());
        let up = up.filter(|component| component.status.is_started()).count();
        write!(f, "{up} of {all} components up after {:.1?}", self.elapsed)?;
        let width = widest(self.components.iter().map(|component| &component.name));
        for StartedComponent {
            name,
            level,
            status,
        } in &self.components
        {
            write!(f, "\n  level {level}  {name:width$}  {status}")?;
        }
        Ok(())
    }
}

impl fmt::Display for StartStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started {
                attempts: 1,
                elapsed,
            } => write!(f, "started in {elapsed:.1?}"),
            Self::Started { attempts, elapsed } => {
                write!(f, "started in {elapsed:.1?}, at attempt {attempts}")
            }
            Self::Failed { attempts, error } => {
                write!(f, "failed (attempts: {attempts}): {}", error.with_causes())
            }
            Self::Skipped { because_of } => write!(f, "skipped: `{because_of}` did not start"),
        }
    }
}

/// What a shutdown, or the rollback of a failed start, came to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Every component that was up or half up, in the order of stopping: from the highest level
    /// down, and against the order of registration within a level. Empty where nothing was up.
    pub components: Vec<StoppedComponent>,
    /// How long the shutdown took as a whole.
    pub elapsed: Duration,
}

/// One component in a [`ShutdownReport`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoppedComponent {
    /// Its name.
    pub name: String,
    /// What became of it.
    pub status: StopStatus,
}

/// What became of a component in a shutdown.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StopStatus {
    /// It stopped in order.
    Stopped {
        /// How long that took.
        elapsed: Duration,
    },
    /// Its `stop` returned an error, panicked, or took longer than its `stop_timeout`. It counts as
    /// down: another shutdown does not call it again.
    Failed {
        /// What went wrong.
        error: ComponentFailure,
    },
    /// The shutdown's deadline passed first. Another shutdown calls `stop` (again).
    NotStopped {
        /// Whether `stop` had been called, and was cancelled before it returned.
        called: bool,
    },
}

impl ShutdownReport {
    /// Whether every component stopped in order.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.troubles().next().is_none()
    }

    /// The report in one line: how many stopped, and which did not.
    pub(super) fn summary(&self) -> String {
        let all = self.components.len();
        let stopped = format!("{} of {all} stopped", all - self.troubles().count());
        let troubles = self
            .troubles()
            .map(|StoppedComponent { name, status }| format!("`{name}` {status}"));
        iter::once(stopped)
            .chain(troubles)
            .collect::<Vec<_>>()
            .join(", ")
    }

    fn troubles(&self) -> impl Iterator<Item = &StoppedComponent> {
        let in_order = |status: &StopStatus| matches!(status, StopStatus::Stopped { .. });
        self.components
            .iter()
            .filter(move |component| !in_order(&component.status))
    }
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.components.len();
        let stopped = all - self.troubles().count();
        write!(
            f,
            "{stopped} of {all} components stopped after {:.1?}",
            self.elapsed
        )?;
        let width = widest(self.components.iter().map(|component| &component.name));
        for StoppedComponent { name, status } in &self.components {
            write!(f, "\n  {name:width$}  {status}")?;
        }
        Ok(())
    }
}

impl fmt::Display for StopStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped { elapsed } => write!(f, "stopped in {elapsed:.1?}"),
            Self::Failed { error } => write!(f, "failed to stop: {}", error.with_causes()),
            Self::NotStopped { called: true } => f.write_str("did not stop before the deadline"),
            Self::NotStopped { called: false } => {
                f.write_str("was not asked to stop: the deadline had passed")
            }
        }
    }
}

/// How the components are doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HealthReport {
    /// Every registered component, by level, in the order of registration within a level.
    pub components: Vec<ComponentHealth>,
}

/// One component in a [`HealthReport`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ComponentHealth {
    /// Its name.
    pub name: String,
    /// Its own answer, or what the manager knows of it where it has none to give.
    pub health: Health,
}

impl HealthReport {
    /// The worst of all answers, with the name of the first component that gave it. Without any
    /// component, all is well.
    #[must_use]
    pub fn overall(&self) -> Health {
        let mut overall = Health::Healthy;
        for ComponentHealth { name, health } in &self.components {
            overall = match (overall, health) {
                (Health::Healthy | Health::Degraded(_), Health::Unhealthy(reason)) => {
                    Health::Unhealthy(format!("`{name}`: {reason}"))
                }
                (Health::Healthy, Health::Degraded(reason)) => {
                    Health::Degraded(format!("`{name}`: {reason}"))
                }
                (worst_so_far, _) => worst_so_far,
            };
        }
        overall
    }
}

impl fmt::Display for HealthReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.overall())?;
        let width = widest(self.components.iter().map(|component| &component.name));
        for ComponentHealth { name, health } in &self.components {
            write!(f, "\n  {name:width$}  {health}")?;
        }
        Ok(())
    }
}

/// The width of a column that holds each of `names`, in characters.
fn widest<'a>(names: impl Iterator<Item = &'a String>) -> usize {
    names.map(|name| name.chars().count()).max().unwrap_or(0)
}
