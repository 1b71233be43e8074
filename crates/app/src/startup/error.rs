//! How a call to a component fails, and how a start as a whole does.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time;

use super::report::ShutdownReport;

/// What a component's `start` and `stop` return when they fail: any error that can cross threads.
pub type ComponentError = Box<dyn Error + Send + Sync>;

/// How one call to a component failed.
///
/// An error that the component returned is this error's [`source`](Error::source), with its own
/// chain beneath it, and can be downcast there.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ComponentFailure {
    /// The call returned an error.
    Returned(Arc<dyn Error + Send + Sync>),
    /// The call had not returned when its time was up, and was dropped.
    TimedOut {
        /// The time it had.
        limit: Duration,
    },
    /// The call panicked.
    Panicked {
        /// The panic's message, as far as it was text.
        message: String,
    },
}

impl fmt::Display for ComponentFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Returned(_) => f.write_str("it returned an error"),
            Self::TimedOut { limit } => write!(f, "no answer within {limit:?}"),
            Self::Panicked { message } => write!(f, "it panicked: {message}"),
        }
    }
}

impl Error for ComponentFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // Not the `Arc`, which is an error too: the chain is to hold the component's own type.
            Self::Returned(error) => Some(error.as_ref()),
            Self::TimedOut { .. } | Self::Panicked { .. } => None,
        }
    }
}

impl ComponentFailure {
    /// The failure in one line, causes included, for reports and log lines.
    pub(super) fn with_causes(&self) -> String {
        let mut line = String::new();
        let mut next: Option<&dyn Error> = match self {
            // Its own words say nothing that the cause does not.
            Self::Returned(error) => Some(error.as_ref()),
            _ => Some(self),
        };
        while let Some(error) = next {
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.push_str(&error.to_string());
            next = error.source();
        }
        line
    }
}

/// Why the components are not up.
///
/// Where a component failed, everything that had been started was stopped again before this error
/// was returned, and `rollback` says how that went. The failure itself is the error's source.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartupError {
    /// Components are up, or an earlier start was dropped midway, or an earlier shutdown ran into
    /// its deadline. Nothing was done; a shutdown comes first.
    #[error("components are up already: shut down before starting again")]
    AlreadyStarted,
    /// A critical component did not start.
    #[error("`{component}` did not start (attempts: {attempts}); rollback: {}", .rollback.summary())]
    ComponentFailed {
        /// The component.
        component: String,
        /// How often its start was tried.
        attempts: u32,
        /// How the last attempt failed.
        #[source]
        failure: ComponentFailure,
        /// How the others were stopped again.
        rollback: Box<ShutdownReport>,
    },
    /// An optional component did not start, and a critical one depends on it, directly or through
    /// others.
    #[error(
        "`{component}` cannot start, because it depends on `{dependency}`, which did not start \
         (attempts: {attempts}); rollback: {}",
        .rollback.summary()
    )]
    DependencyFailed {
        /// The critical component, the first in the order of the plan where there are several.
        component: String,
        /// The optional component that failed.
        dependency: String,
        /// How often the start of `dependency` was tried.
        attempts: u32,
        /// How the last attempt failed.
        #[source]
        failure: ComponentFailure,
        /// How the others were stopped again.
        rollback: Box<ShutdownReport>,
    },
}

/// Runs one call to a component to its end, its panic, or its limit, whichever comes first. When
/// this returns, the call's future has been dropped.
pub(super) async fn bounded<T>(
    limit: Duration,
    call: impl Future<Output = T>,
) -> Result<T, ComponentFailure> {
    // The timeout is inside what is caught: dropping a call that is late runs its destructors, and
    // those may panic as well. After a panic nothing here looks at the component's state again; the
    // component itself must cope with `stop`, which its contract says.
    let caught = AssertUnwindSafe(async move { time::timeout(limit, call).await }).catch_unwind();
    match caught.await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_elapsed)) => Err(ComponentFailure::TimedOut { limit }),
        Err(payload) => Err(ComponentFailure::Panicked {
            message: panic_message(&*payload),
        }),
    }
}

/// As [`bounded`], for calls that can return an error.
pub(super) async fn bounded_result(
    limit: Duration,
    call: impl Future<Output = Result<(), ComponentError>>,
) -> Result<(), ComponentFailure> {
    bounded(limit, call)
        .await?
        .map_err(|error| ComponentFailure::Returned(Arc::from(error)))
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&'static str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("the panic carries no text").to_owned()
}
