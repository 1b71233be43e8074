//! The [`StartupManager`] itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{Instrument, info, warn};

use super::component::{ComponentSpec, Health};
use super::error::{StartupError, bounded};
use super::level::{CANCELLATION_GRACE, CriticalFailure};
use super::plan::{Plan, PlanError};
use super::report::{
    ComponentHealth, HealthReport, ShutdownReport, StartStatus, StartedComponent, StartupReport,
};
use super::state::{State, health_without_asking};
use super::task::TaskOutcome;

/// Starts, watches and stops a fixed set of components. The [module](super) tells the rules.
///
/// Dropping it cancels what is under way and stops nothing, since stopping takes time: it only
/// leaves a warning in the log where components were still up.
#[derive(Debug)]
pub struct StartupManager {
    pub(super) specs: Vec<Arc<ComponentSpec>>,
    pub(super) plan: Plan,
    /// One for each component, in the order of registration.
    pub(super) states: Vec<State>,
    /// Whether a start has begun that no shutdown has completed since.
    in_use: bool,
    /// The calls under way. They are here, and not in the futures of `start` and `shutdown`, so
    /// that a call cancelled with such a future is waited for before the component is called again.
    pub(super) calls: JoinSet<TaskOutcome>,
}

impl StartupManager {
    /// Orders the components. Nothing is started yet.
    ///
    /// # Errors
    ///
    /// [`PlanError`] where a name is blank or taken, a dependency is not registered, or components
    /// depend on each other in a cycle.
    pub fn new(specs: impl IntoIterator<Item = ComponentSpec>) -> Result<Self, PlanError> {
        let specs: Vec<_> = specs.into_iter().collect();
        let plan = Plan::resolve(&specs)?;
        Ok(Self {
            plan,
            states: vec![State::Down; specs.len()],
            specs: specs.into_iter().map(Arc::new).collect(),
            in_use: false,
            calls: JoinSet::new(),
        })
    }

    /// The names by level, in the order in which they start. Within a level, which starts
    /// concurrently, they are in the order of registration.
    #[must_use]
    pub fn plan(&self) -> Vec<Vec<&str>> {
        let name = |&component: &usize| self.specs[component].name.as_str();
        self.plan
            .levels
            .iter()
            .map(|level| level.iter().map(name).collect())
            .collect()
    }

    /// Starts the components, level by level. After a shutdown it may be called again.
    ///
    /// It takes no longer than the slowest component of each level, with all its attempts, the waits
    /// between, and a `stop` after each attempt that ran out of time or panicked. A rollback adds
    /// at most the longest `stop_timeout` of each level.
    ///
    /// # Errors
    ///
    /// - [`StartupError::AlreadyStarted`], where no shutdown has completed since the last start.
    /// - [`StartupError::ComponentFailed`] and [`StartupError::DependencyFailed`], where a critical
    ///   component cannot be had. Everything has been stopped again, and another start is possible.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the calls under way at their next await point. The components
    /// that are up by then stay up, and the manager still knows them and those that are half up:
    /// [`shutdown`](Self::shutdown) stops them all, and must come before another start.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with its timer enabled.
    pub async fn start(&mut self) -> Result<StartupReport, StartupError> {
        if self.in_use {
            return Err(StartupError::AlreadyStarted);
        }
        self.in_use = true;
        let begun = Instant::now();
        for level in 0..self.plan.levels.len() {
            if let Err(failure) = self.start_level(level).await {
                warn!(
                    component = self.specs[failure.failed].name,
                    "start failed, stopping what was started"
                );
                let rollback = Box::new(self.shutdown(Duration::MAX).await);
                return Err(self.startup_error(failure, rollback));
            }
        }
        let report = self.startup_report(begun.elapsed());
        info!(components = report.components.len(), "start complete");
        Ok(report)
    }

    /// Asks all components that are up, concurrently, how they are doing.
    ///
    /// One that does not answer within its `health_timeout`, or panics, is unhealthy. An optional
    /// component that failed or was skipped at the start counts as degraded, one that was never
    /// started, or was stopped, as unhealthy.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the questions.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with its timer enabled.
    pub async fn health(&self) -> HealthReport {
        let known = self.states.iter().zip(&self.specs);
        let known = known.map(|(state, spec)| health_without_asking(state, spec.criticality));
        let mut answers: Vec<Health> = known.collect();
        let mut questions = JoinSet::new();
        for (component, state) in self.states.iter().enumerate() {
            if matches!(state, State::Settled(StartStatus::Started { .. })) {
                let spec = Arc::clone(&self.specs[component]);
                let question = async move {
                    let asked = async { spec.component.health().await };
                    let answer = bounded(spec.health_timeout, asked).await;
                    (
                        component,
                        answer.unwrap_or_else(|error| Health::Unhealthy(error.to_string())),
                    )
                };
                questions.spawn(question.in_current_span());
            }
        }
        while let Some(joined) = questions.join_next().await {
            if let Ok((component, health)) = joined {
                answers[component] = health;
            }
        }
        let components = self.in_order().map(|(_, component)| ComponentHealth {
            name: self.specs[component].name.clone(),
            health: answers[component].clone(),
        });
        HealthReport {
            components: components.collect(),
        }
    }

    /// Stops what is up, or half up after a start that was dropped, in reverse order: level by
    /// level, the components of a level concurrently, each within its `stop_timeout`, and all
    /// within `deadline`, counted from now.
    ///
    /// When the deadline passes, calls under way are cancelled and the remaining components are not
    /// called: stopping a dependency while its dependants may still be at work would do more harm
    /// than leaving it to the end of the process. They stay known, so that another shutdown with a
    /// new deadline goes on where this one ended. Once all are down, another shutdown does nothing
    /// and gives an empty report.
    ///
    /// Nothing that a component does makes this fail: errors, panics and late calls are in the
    /// report.
    ///
    /// # Cancel safety
    ///
    /// As for a deadline that passes: another shutdown goes on where this one ended.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with its timer enabled.
    pub async fn shutdown(&mut self, deadline: Duration) -> ShutdownReport {
        let begun = Instant::now();
        self.settle(deadline.min(CANCELLATION_GRACE)).await;
        let mut components = Vec::new();
        for level in (0..self.plan.levels.len()).rev() {
            // Durations, not instants: a deadline of `Duration::MAX` has no instant.
            let remaining = deadline.saturating_sub(begun.elapsed());
            components.extend(self.stop_level(level, remaining).await);
        }
        self.in_use = self.states.iter().any(State::needs_stop);
        if !self.in_use {
            self.states.fill(State::Down);
        }
        ShutdownReport {
            components,
            elapsed: begun.elapsed(),
        }
    }

    /// The components in the order of the plan, each with its level.
    fn in_order(&self) -> impl Iterator<Item = (usize, usize)> {
        let levels = self.plan.levels.iter().enumerate();
        levels.flat_map(|(level, members)| members.iter().map(move |&component| (level, component)))
    }

    fn startup_report(&self, elapsed: Duration) -> StartupReport {
        let components = self.in_order().filter_map(|(level, component)| {
            let name = self.specs[component].name.clone();
            let State::Settled(status) = self.states[component].clone() else {
                return None;
            };
            Some(StartedComponent {
                name,
                level,
                status,
            })
        });
        StartupReport {
            components: components.collect(),
            elapsed,
        }
    }

    fn startup_error(
        &self,
        failure: CriticalFailure,
        rollback: Box<ShutdownReport>,
    ) -> StartupError {
        let CriticalFailure {
            failed,
            needed_by,
            attempts,
            error: failure,
        } = failure;
        let failed = self.specs[failed].name.clone();
        match needed_by {
            None => StartupError::ComponentFailed {
                component: failed,
                attempts,
                failure,
                rollback,
            },
            Some(needed_by) => StartupError::DependencyFailed {
                component: self.specs[needed_by].name.clone(),
                dependency: failed,
                attempts,
                failure,
                rollback,
            },
        }
    }
}

impl Drop for StartupManager {
    fn drop(&mut self) {
        for (spec, state) in self.specs.iter().zip(&self.states) {
            if state.needs_stop() {
                warn!(
                    component = spec.name,
                    "the manager was dropped before a shutdown"
                );
            }
        }
    }
}
