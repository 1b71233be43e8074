//! What a module of the bot registers: the [`Component`] itself and its [`ComponentSpec`].

use std::fmt;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::error::ComponentError;

/// A part of the process with a life of its own.
///
/// The manager makes at most one call of `start` or `stop` to a component at a time, and may call
/// `health` at any time between a successful `start` and the next `stop`, also while an earlier
/// `health` runs.
///
/// An implementation MUST NOT block its thread for long: time limits and cancellation act at await
/// points, so work that blocks belongs into `tokio::task::spawn_blocking`. A call that does not
/// come to an await point within a second of its cancellation is left behind.
///
/// To keep a handle on a component after it was registered, register a clone of its [`Arc`].
#[async_trait]
pub trait Component: Send + Sync {
    /// Brings the component up and returns as soon as its dependants may use it. Long-lived work
    /// goes into a task that the component owns and that [`stop`](Self::stop) ends.
    ///
    /// MUST be callable again after it failed and after `stop`. Where it returns an error it MUST
    /// have released what it took: `stop` does not follow.
    ///
    /// # Errors
    ///
    /// Whatever kept the component from coming up. It is retried as the spec's [`StartRetries`]
    /// say, whatever its kind.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when the attempt's time is up, when another component's failure ends
    /// the start, and when the caller drops [`StartupManager::start`]. At every await point the
    /// implementation MUST therefore either own what it has acquired so far in values that release
    /// it when dropped, or have stored it in `self`, where `stop` finds it. `stop` is called after
    /// an attempt that was dropped or that panicked, and before the next attempt.
    ///
    /// [`StartupManager::start`]: super::StartupManager::start
    async fn start(&self) -> Result<(), ComponentError>;

    /// Takes the component down and returns when it no longer uses its dependencies.
    ///
    /// MUST be harmless where the component is not up or only half up, since a cancelled `start`
    /// leaves that open.
    ///
    /// # Errors
    ///
    /// Whatever kept the component from ending in order. It is reported, and the shutdown goes on.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when `stop_timeout` or the shutdown's deadline has passed. In the
    /// latter case another shutdown calls `stop` again, so it MUST be callable again.
    async fn stop(&self) -> Result<(), ComponentError> {
        Ok(())
    }

    /// Says how the component is doing. It SHOULD be cheap, and MUST have no effect.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped after `health_timeout`, which counts as [`Health::Unhealthy`].
    async fn health(&self) -> Health {
        Health::Healthy
    }
}

#[async_trait]
impl<C: Component + ?Sized> Component for Arc<C> {
    async fn start(&self) -> Result<(), ComponentError> {
        C::start(self).await
    }

    async fn stop(&self) -> Result<(), ComponentError> {
        C::stop(self).await
    }

    async fn health(&self) -> Health {
        C::health(self).await
    }
}

/// How a component, or the process as a whole, is doing; the text says why, for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does all that it is there for.
    Healthy,
    /// It works, but less well or not in full.
    Degraded(String),
    /// It does not work.
    Unhealthy(String),
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Healthy => f.write_str("healthy"),
            Self::Degraded(reason) => write!(f, "degraded: {reason}"),
            Self::Unhealthy(reason) => write!(f, "unhealthy: {reason}"),
        }
    }
}

/// What the failure of a component means for the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Criticality {
    /// The process cannot run without it: its failure fails the start.
    #[default]
    Critical,
    /// The process runs without it, and without whatever depends on it, unless a critical
    /// component is among those.
    Optional,
}

/// How often a failing start is repeated, and how long the manager waits in between.
///
/// The waits grow exponentially up to a bound. There is no jitter: a process waits here for its own
/// component, so there is no crowd to scatter. The default is a single attempt, with waits from
/// 200 ms × 2 up to 5 s for those who raise `attempts` alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StartRetries {
    /// Attempts in all, with the first. 0 counts as 1.
    pub attempts: u32,
    /// The wait between the first attempt and the second.
    pub initial_delay: Duration,
    /// What each further wait is multiplied by. Below 1, or not a number, counts as 1.
    pub factor: f64,
    /// The longest wait.
    pub max_delay: Duration,
}

impl Default for StartRetries {
    fn default() -> Self {
        Self {
            attempts: 1,
            initial_delay: Duration::from_millis(200),
            factor: 2.0,
            max_delay: Duration::from_secs(5),
        }
    }
}

impl StartRetries {
    /// The waits between the attempts: one fewer than there are attempts.
    pub fn delays(&self) -> impl Iterator<Item = Duration> + use<> {
        let Self {
            attempts,
            initial_delay,
            factor,
            max_delay,
        } = *self;
        // `max` also turns NaN into 1; an overflow, and an infinite factor, end at the bound.
        let factor = factor.max(1.0);
        let grow = move |delay: &Duration| {
            let grown = Duration::try_from_secs_f64(delay.as_secs_f64() * factor);
            Some(grown.map_or(max_delay, |grown| grown.min(max_delay)))
        };
        let retries = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        iter::successors(Some(initial_delay.min(max_delay)), grow).take(retries)
    }
}

/// A component as it is registered: its name, what it needs, and its limits.
#[derive(Clone)]
pub struct ComponentSpec {
    pub(super) name: String,
    pub(super) component: Arc<dyn Component>,
    pub(super) dependencies: Vec<String>,
    pub(super) criticality: Criticality,
    pub(super) start_timeout: Duration,
    pub(super) stop_timeout: Duration,
    pub(super) health_timeout: Duration,
    pub(super) retries: StartRetries,
}

impl ComponentSpec {
    /// A critical component without dependencies, with 30 s for one attempt to start, 10 s to stop,
    /// 5 s to answer for its health, and without retries.
    ///
    /// The name is what others depend on and what reports and log lines say; it must be unique
    /// within one manager, and not blank.
    pub fn new(name: impl Into<String>, component: impl Component + 'static) -> Self {
        Self {
            name: name.into(),
            component: Arc::new(component),
            dependencies: Vec::new(),
            criticality: Criticality::default(),
            start_timeout: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(10),
            health_timeout: Duration::from_secs(5),
            retries: StartRetries::default(),
        }
    }

    /// Adds names of components that must be up before this one starts, and that stop after it.
    #[must_use]
    pub fn depends_on<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.dependencies.extend(names.into_iter().map(Into::into));
        self
    }

    /// Says what this component's failure means for the process.
    #[must_use]
    pub fn criticality(mut self, criticality: Criticality) -> Self {
        self.criticality = criticality;
        self
    }

    /// Sets the time that one attempt to start may take.
    #[must_use]
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.start_timeout = limit;
        self
    }

    /// Sets the time that stopping may take.
    #[must_use]
    pub fn stop_timeout(mut self, limit: Duration) -> Self {
        self.stop_timeout = limit;
        self
    }

    /// Sets the time within which the component must answer for its health.
    #[must_use]
    pub fn health_timeout(mut self, limit: Duration) -> Self {
        self.health_timeout = limit;
        self
    }

    /// Sets how often a failing start is repeated.
    #[must_use]
    pub fn retries(mut self, retries: StartRetries) -> Self {
        self.retries = retries;
        self
    }
}

impl fmt::Debug for ComponentSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComponentSpec")
            .field("name", &self.name)
            .field("dependencies", &self.dependencies)
            .field("criticality", &self.criticality)
            .field("start_timeout", &self.start_timeout)
            .field("stop_timeout", &self.stop_timeout)
            .field("health_timeout", &self.health_timeout)
            .field("retries", &self.retries)
            .finish_non_exhaustive()
    }
}
