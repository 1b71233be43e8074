//! Writes as values, so that one sequence can be applied to a repository and to the model.

use crate::activity::{ActivityEvent, ActivityRecord, EventOutcome, MemberKey};
use crate::error::RepositoryError;
use crate::id::GuildId;
use crate::repository::ActivityRepository;
use crate::score::{GuildRules, ScoreDelta};
use crate::testing::Model;
use crate::time::UnixSeconds;

/// One write of the port.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// [`ActivityRepository::record`].
    Record(ActivityEvent),
    /// [`ActivityRepository::record_many`].
    RecordMany(Vec<ActivityEvent>),
    /// [`ActivityRepository::adjust_score`].
    Adjust {
        /// The member whose score changes.
        member: MemberKey,
        /// The change.
        delta: ScoreDelta,
        /// The time of the adjustment.
        at: UnixSeconds,
    },
    /// [`ActivityRepository::set_guild_rules`].
    SetRules {
        /// The guild whose rules are set.
        guild: GuildId,
        /// The new rules.
        rules: GuildRules,
    },
}

/// What an [`Operation`] returned.
#[derive(Debug, Clone, PartialEq)]
pub enum OperationOutput {
    /// For [`Operation::Record`].
    Recorded(EventOutcome),
    /// For [`Operation::RecordMany`].
    RecordedMany(Vec<EventOutcome>),
    /// For [`Operation::Adjust`].
    Adjusted(ActivityRecord),
    /// For [`Operation::SetRules`].
    RulesSet,
}

impl Operation {
    /// Calls this operation on `repository`.
    ///
    /// # Errors
    ///
    /// The error of the repository.
    ///
    /// # Cancel safety
    ///
    /// That of the port's operation: it is applied once, in full, or not at all.
    pub async fn perform(
        &self,
        repository: &dyn ActivityRepository,
    ) -> Result<OperationOutput, RepositoryError> {
        match self {
            Self::Record(event) => repository
                .record(*event)
                .await
                .map(OperationOutput::Recorded),
            Self::RecordMany(events) => repository
                .record_many(events.clone())
                .await
                .map(OperationOutput::RecordedMany),
            Self::Adjust { member, delta, at } => repository
                .adjust_score(*member, *delta, *at)
                .await
                .map(OperationOutput::Adjusted),
            Self::SetRules { guild, rules } => repository
                .set_guild_rules(*guild, rules.clone())
                .await
                .map(|()| OperationOutput::RulesSet),
        }
    }

    /// Applies this operation to `model`.
    ///
    /// # Errors
    ///
    /// If the port refuses it: a batch of more than
    /// [`MAX_EVENTS_PER_CALL`](crate::MAX_EVENTS_PER_CALL) events.
    pub fn apply(&self, model: &mut Model) -> Result<OperationOutput, RepositoryError> {
        Ok(match self {
            Self::Record(event) => OperationOutput::Recorded(model.record(event)),
            Self::RecordMany(events) => OperationOutput::RecordedMany(model.record_many(events)?),
            Self::Adjust { member, delta, at } => {
                OperationOutput::Adjusted(model.adjust_score(*member, *delta, *at))
            }
            Self::SetRules { guild, rules } => {
                model.set_guild_rules(*guild, rules.clone());
                OperationOutput::RulesSet
            }
        })
    }

    /// The events that it records, in order.
    #[must_use]
    pub fn events(&self) -> &[ActivityEvent] {
        match self {
            Self::Record(event) => std::slice::from_ref(event),
            Self::RecordMany(events) => events,
            Self::Adjust { .. } | Self::SetRules { .. } => &[],
        }
    }
}
