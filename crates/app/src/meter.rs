//! The composition root: the one place that puts a database under the service.

use std::sync::Arc;

use async_trait::async_trait;
use roas_db::{Config, Database, OpenError};
use roas_domain::{GuildId, RepositoryError, SystemClock};
use tokio::sync::Mutex;

use crate::service::ActivityMeterService;
use crate::startup::{Component, ComponentError, Health};

/// An open database with the service over it.
#[derive(Debug)]
pub struct Meter {
    database: Database,
    service: ActivityMeterService,
}

impl Meter {
    /// Opens the database and puts the service, on the machine's clock, over it.
    ///
    /// # Errors
    ///
    /// The database's own.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing open.
    pub async fn open(config: Config) -> Result<Self, OpenError> {
        let database = Database::open(config).await?;
        let repository = Arc::new(database.repository());
        let service = ActivityMeterService::new(repository, Arc::new(SystemClock));
        Ok(Self { database, service })
    }

    /// The service. Its clones outlive the meter, but fail once that is closed.
    #[must_use]
    pub const fn service(&self) -> &ActivityMeterService {
        &self.service
    }

    /// The database beneath.
    #[must_use]
    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// Writes what is still queued, and closes the database.
    ///
    /// # Errors
    ///
    /// The database's own.
    pub async fn close(self) -> Result<(), RepositoryError> {
        self.database.close().await
    }
}

/// The meter as a component of a bot: opened at its start, closed at its end.
///
/// Clones are the same component, so that one can be registered and another kept.
#[derive(Debug, Clone)]
pub struct MeterComponent {
    config: Config,
    running: Arc<Mutex<Option<Meter>>>,
}

impl MeterComponent {
    /// A component over the database that `config` describes. Nothing is opened yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            running: Arc::default(),
        }
    }

    /// The service; `None` while the component is down.
    pub async fn service(&self) -> Option<ActivityMeterService> {
        self.running
            .lock()
            .await
            .as_ref()
            .map(|meter| meter.service().clone())
    }
}

#[async_trait]
impl Component for MeterComponent {
    async fn start(&self) -> Result<(), ComponentError> {
        let mut running = self.running.lock().await;
        if running.is_none() {
            *running = Some(Meter::open(self.config.clone()).await?);
        }
        Ok(())
    }

    async fn stop(&self) -> Result<(), ComponentError> {
        match self.running.lock().await.take() {
            Some(meter) => Ok(meter.close().await?),
            None => Ok(()),
        }
    }

    /// Healthy where the database answers a question that costs the same however much it holds.
    async fn health(&self) -> Health {
        let Some(service) = self.service().await else {
            return Health::Unhealthy("the database is not open".to_owned());
        };
        let any_guild = GuildId::new(GuildId::MAX).expect("within the bounds");
        match service.rules(any_guild).await {
            Ok(_) => Health::Healthy,
            Err(error) => Health::Unhealthy(crate::one_line(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use roas_domain::{ActivityEvent, MemberKey, RepositoryErrorKind, UnixSeconds};

    use super::*;

    #[tokio::test]
    async fn a_component_starts_answers_stops_and_starts_again() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::new(folder.path().join("meter.db"));
        let component = MeterComponent::new(config);
        assert!(component.service().await.is_none());
        assert!(matches!(component.health().await, Health::Unhealthy(_)));
        component.stop().await.unwrap();

        for messages in 1..=2 {
            component.start().await.unwrap();
            assert_eq!(component.health().await, Health::Healthy);
            let service = component.service().await.unwrap();
            let member = MemberKey {
                guild: "1".parse().unwrap(),
                user: "2".parse().unwrap(),
            };
            let event = ActivityEvent {
                id: None,
                member,
                at: UnixSeconds::MIN,
            };
            service.record(event).await.unwrap();
            assert_eq!(service.counts().await.unwrap().messages, messages);
            component.stop().await.unwrap();
            let error = service.record(event).await.unwrap_err();
            assert_eq!(error.kind(), RepositoryErrorKind::Closed);
        }
    }

    #[tokio::test]
    async fn a_component_that_cannot_open_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::new(folder.path());
        let error = MeterComponent::new(config).start().await.unwrap_err();
        assert!(error.to_string().contains("is a folder"), "{error}");
    }
}
