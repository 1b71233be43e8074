//! What runs in a component's own task: its start with all attempts, and its stop.

use std::sync::Arc;

use tokio::time::{self, Instant};
use tracing::{info, warn};

use super::component::ComponentSpec;
use super::error::{ComponentFailure, bounded_result};
use super::report::{StartStatus, StopStatus};

/// What such a task came to, for the component at this position.
#[derive(Debug)]
pub(super) enum TaskOutcome {
    /// The component started or failed.
    Start(usize, StartStatus),
    /// The component stopped or failed to.
    Stop(usize, StopStatus),
}

/// Starts a component, with as many attempts as its spec allows.
pub(super) async fn bring_up(position: usize, spec: Arc<ComponentSpec>) -> TaskOutcome {
    let begun = Instant::now();
    let name = &spec.name;
    let mut delays = spec.retries.delays();
    let mut attempts = 1;
    loop {
        // The block, because even the call that makes the future may panic.
        let start = async { spec.component.start().await };
        let Err(error) = bounded_result(spec.start_timeout, start).await else {
            let elapsed = begun.elapsed();
            info!(
                component = name,
                attempts,
                elapsed_ms = elapsed.as_millis(),
                "started"
            );
            return TaskOutcome::Start(position, StartStatus::Started { attempts, elapsed });
        };
        if !matches!(error, ComponentFailure::Returned(_)) {
            clean_up(&spec).await;
        }
        let error_text = error.with_causes();
        let Some(delay) = delays.next() else {
            warn!(
                component = name,
                attempts,
                error = error_text,
                "failed to start"
            );
            return TaskOutcome::Start(position, StartStatus::Failed { attempts, error });
        };
        let delay_ms = delay.as_millis();
        warn!(
            component = name,
            attempts,
            error = error_text,
            delay_ms,
            "will try again to start"
        );
        time::sleep(delay).await;
        attempts += 1;
    }
}

/// Stops a component whose start had no chance to clean up after itself.
async fn clean_up(spec: &ComponentSpec) {
    let stop = async { spec.component.stop().await };
    if let Err(error) = bounded_result(spec.stop_timeout, stop).await {
        let error = error.with_causes();
        warn!(
            component = spec.name,
            error, "failed to stop after an interrupted start"
        );
    }
}

/// Stops a component.
pub(super) async fn put_down(position: usize, spec: Arc<ComponentSpec>) -> TaskOutcome {
    let begun = Instant::now();
    let stop = async { spec.component.stop().await };
    let outcome = bounded_result(spec.stop_timeout, stop).await;
    let elapsed = begun.elapsed();
    let status = match outcome {
        Ok(()) => {
            info!(
                component = spec.name,
                elapsed_ms = elapsed.as_millis(),
                "stopped"
            );
            StopStatus::Stopped { elapsed }
        }
        Err(error) => {
            warn!(
                component = spec.name,
                error = error.with_causes(),
                "failed to stop"
            );
            StopStatus::Failed { error }
        }
    };
    TaskOutcome::Stop(position, status)
}
