//! One level of the plan, up and down, and the end of the calls that were cancelled.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time;
use tracing::{Instrument, warn};

use super::component::Criticality;
use super::error::ComponentFailure;
use super::manager::StartupManager;
use super::report::{StartStatus, StopStatus, StoppedComponent};
use super::state::{State, lost_call, missing_dependency};
use super::task::{TaskOutcome, bring_up, put_down};

/// How long cancelled calls may take to come to an await point. Those that do are gone in
/// microseconds; one that blocks its thread must not hold up the others' shutdown for ever.
pub(super) const CANCELLATION_GRACE: Duration = Duration::from_secs(1);

/// A critical component that is not to be had: what becomes a `StartupError` after the rollback.
pub(super) struct CriticalFailure {
    pub(super) failed: usize,
    /// The critical component that needs it, where it is optional itself.
    pub(super) needed_by: Option<usize>,
    pub(super) attempts: u32,
    pub(super) error: ComponentFailure,
}

impl StartupManager {
    /// Starts one level, and returns when all of it has settled or a critical component is lost.
    pub(super) async fn start_level(&mut self, level: usize) -> Result<(), CriticalFailure> {
        let Self {
            specs,
            plan,
            states,
            calls,
            ..
        } = self;
        let mut calls = CancelOnDrop(calls);
        for &component in &plan.levels[level] {
            let spec = &specs[component];
            if let Some(because_of) =
                missing_dependency(&plan.dependencies[component], specs, states)
            {
                warn!(component = spec.name, because_of, "skipped");
                states[component] = State::Settled(StartStatus::Skipped { because_of });
            } else {
                states[component] = State::Starting;
                calls.spawn(bring_up(component, Arc::clone(spec)).in_current_span());
            }
        }
        loop {
            let (component, status) = match calls.join_next().await {
                Some(Ok(TaskOutcome::Start(component, status))) => (component, status),
                Some(_) => continue,
                None => {
                    // Panics are caught inside the task, so losing an answer takes one that
                    // escapes, such as that of a panic's payload when it is dropped.
                    let mut level = plan.levels[level].iter().copied();
                    match level.find(|&member| states[member].is_starting()) {
                        Some(lost) => (lost, lost_call()),
                        None => return Ok(()),
                    }
                }
            };
            states[component] = State::Settled(status.clone());
            if let StartStatus::Failed { attempts, error } = status {
                let is_critical =
                    |other: &usize| specs[*other].criticality == Criticality::Critical;
                let mut needed_by = None;
                if !is_critical(&component) {
                    needed_by = plan.dependants_of(component).into_iter().find(is_critical);
                    if needed_by.is_none() {
                        continue;
                    }
                }
                return Err(CriticalFailure {
                    failed: component,
                    needed_by,
                    attempts,
                    error,
                });
            }
        }
    }

    /// Stops what needs it in one level. Where nothing remains of the deadline, nothing is called.
    pub(super) async fn stop_level(
        &mut self,
        level: usize,
        remaining: Duration,
    ) -> Vec<StoppedComponent> {
        let Self {
            specs,
            plan,
            states,
            calls,
            ..
        } = self;
        let to_stop = plan.levels[level].iter().rev().copied();
        let to_stop: Vec<usize> = to_stop
            .filter(|&component| states[component].needs_stop())
            .collect();
        let called = !remaining.is_zero();
        let mut statuses = vec![StopStatus::NotStopped { called }; specs.len()];
        if called {
            let mut calls = CancelOnDrop(calls);
            for &component in &to_stop {
                calls.spawn(put_down(component, Arc::clone(&specs[component])).in_current_span());
            }
            let all_answers = async {
                while let Some(joined) = calls.join_next().await {
                    let Ok(TaskOutcome::Stop(component, status)) = joined else {
                        continue;
                    };
                    states[component] = State::Down;
                    statuses[component] = status;
                }
            };
            // What has not answered by then keeps the status that it began with.
            let _ = time::timeout(remaining, all_answers).await;
        }
        let report = |component: usize| StoppedComponent {
            name: specs[component].name.clone(),
            status: statuses[component].clone(),
        };
        let report: Vec<_> = to_stop.into_iter().map(report).collect();
        for StoppedComponent { name, status } in &report {
            if matches!(status, StopStatus::NotStopped { .. }) {
                warn!(component = name, "{status}");
            }
        }
        report
    }

    /// Waits until the cancelled calls are gone that a dropped `start` or `shutdown`, a failed start
    /// or a passed deadline left behind. What they came to in the end is not lost.
    pub(super) async fn settle(&mut self, limit: Duration) {
        let Self { states, calls, .. } = self;
        let all_gone = async {
            while let Some(joined) = calls.join_next().await {
                match joined {
                    Ok(TaskOutcome::Start(component, status)) => {
                        states[component] = State::Settled(status);
                    }
                    Ok(TaskOutcome::Stop(component, _)) => states[component] = State::Down,
                    Err(_cancelled) => {}
                }
            }
        };
        // Where the limit is a shutdown's own deadline, the next shutdown waits for them again.
        let gone = time::timeout(limit, all_gone).await.is_ok();
        if !gone && limit == CANCELLATION_GRACE {
            warn!(
                calls = calls.len(),
                "cancelled calls block their threads and are left behind"
            );
            calls.detach_all();
        }
    }
}

/// Cancels the calls when the future that waits for them is dropped, or goes on without them.
struct CancelOnDrop<'a>(&'a mut JoinSet<TaskOutcome>);

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        self.0.abort_all();
    }
}

impl Deref for CancelOnDrop<'_> {
    type Target = JoinSet<TaskOutcome>;

    fn deref(&self) -> &Self::Target {
        self.0
    }
}

impl DerefMut for CancelOnDrop<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.0
    }
}
