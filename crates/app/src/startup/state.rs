//! What the manager knows of a component from one call to the next.

use std::sync::Arc;

use super::component::{ComponentSpec, Criticality, Health};
use super::error::ComponentFailure;
use super::report::StartStatus;

/// What the manager knows of a component.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// Not called since it was registered or last stopped.
    Down,
    /// Its start has begun, and has not been heard of.
    Starting,
    /// Its start has ended so, or was skipped.
    Settled(StartStatus),
}

impl State {
    pub(super) fn is_starting(&self) -> bool {
        matches!(self, Self::Starting)
    }

    /// Whether the component is up, or may be half up.
    pub(super) fn needs_stop(&self) -> bool {
        matches!(
            self,
            Self::Starting | Self::Settled(StartStatus::Started { .. })
        )
    }
}

/// The failed component for which one with these dependencies is to be skipped, if any.
pub(super) fn missing_dependency(
    dependencies: &[usize],
    specs: &[Arc<ComponentSpec>],
    states: &[State],
) -> Option<String> {
    dependencies
        .iter()
        .find_map(|&needed| match &states[needed] {
            State::Settled(StartStatus::Failed { .. }) => Some(specs[needed].name.clone()),
            State::Settled(StartStatus::Skipped { because_of }) => Some(because_of.clone()),
            _ => None,
        })
}

/// What becomes of a component whose task ended without an answer.
pub(super) fn lost_call() -> StartStatus {
    let message = "its task ended without an answer".to_owned();
    StartStatus::Failed {
        attempts: 1,
        error: ComponentFailure::Panicked { message },
    }
}

/// What is known of a component's health before it is asked, or where it cannot be.
pub(super) fn health_without_asking(state: &State, criticality: Criticality) -> Health {
    match state {
        State::Down => Health::Unhealthy("not up".to_owned()),
        State::Starting => Health::Unhealthy("its start was not completed".to_owned()),
        State::Settled(StartStatus::Started { .. }) => {
            Health::Unhealthy("the question was lost".to_owned())
        }
        State::Settled(StartStatus::Failed { error, .. }) => {
            let reason = format!("did not start: {}", error.with_causes());
            match criticality {
                // Only to be seen where a failed start was dropped during its rollback.
                Criticality::Critical => Health::Unhealthy(reason),
                Criticality::Optional => Health::Degraded(reason),
            }
        }
        State::Settled(StartStatus::Skipped { because_of }) => {
            Health::Degraded(format!("skipped: `{because_of}` did not start"))
        }
    }
}
