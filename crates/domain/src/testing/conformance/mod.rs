//! The contract of [`ActivityRepository`] as tests.
//!
//! A scenario takes an empty repository, calls it, and asserts what it returns; it panics if that
//! breaks the port's contract. Scenarios do not depend on the implementation: an adapter's crate
//! provides the executor and the repository, and runs all scenarios with
//! [`conformance_suite!`](crate::conformance_suite):
//!
//! ```
//! use std::future::Future;
//! use std::pin::pin;
//! use std::sync::Arc;
//! use std::task::{Context, Poll, Waker};
//!
//! use roas_domain::testing::MemoryRepository;
//! use roas_domain::testing::conformance::Scenario;
//!
//! /// Runs one scenario on a repository of its own.
//! fn run(scenario: Scenario) {
//!     let mut scenario = scenario(Arc::new(MemoryRepository::new()));
//!     // The in-memory repository never waits, so one poll completes the future.
//!     let mut context = Context::from_waker(Waker::noop());
//!     assert!(scenario.as_mut().poll(&mut context).is_ready());
//! }
//!
//! roas_domain::conformance_suite!(run);
//! # run(|repository| {
//! #     Box::pin(roas_domain::testing::conformance::a_first_message_scores_the_gain(repository))
//! # });
//! ```
//!
//! Two more take values that a property test draws from the
//! [`strategies`](crate::testing::strategies): [`agrees_with_the_model`] and
//! [`lanes_end_as_the_model`]. An adapter calls them from a property test of its own, with an empty
//! repository for every case.
//!
//! [`times_too_far_ahead_are_refused`] also takes a clock. All other scenarios require a repository
//! that accepts times however far ahead.
//!
//! An implementation that forgets event ids after some time must remember them until the end of the
//! scenario. It should measure that time by its own clock, from when it recorded the id: the
//! suite's events have times from 1970 to 5138, and no id may be forgotten because of the time of
//! an event.
//!
//! # Adding a scenario
//!
//! Write it as a `pub async fn` that takes only the repository, with a sentence as its name, and
//! add its name to the list in [`conformance_suite!`](crate::conformance_suite). A test of this
//! crate compares the two.

#![expect(clippy::missing_panics_doc, reason = "a scenario fails by panicking")]

mod adjusting;
mod calendar;
mod concurrency;
mod leaderboards;
mod model;
mod recording;
mod rules;
mod skew;

use std::pin::Pin;
use std::sync::Arc;

pub use adjusting::*;
pub use calendar::*;
pub use concurrency::*;
pub use leaderboards::*;
pub use model::{agrees_with_the_model, lanes_end_as_the_model};
pub use recording::*;
pub use rules::*;
pub use skew::times_too_far_ahead_are_refused;

use crate::activity::{ActivityEvent, ActivityRecord, EventOutcome, MemberKey};
use crate::repository::ActivityRepository;
use crate::score::{GuildRules, ScoreRules};
use crate::testing::fixtures::guild;

/// A scenario: it panics unless the given empty repository keeps the contract.
pub type Scenario = fn(Arc<dyn ActivityRepository>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Generates a `#[test]` for every scenario in
/// [`testing::conformance`](crate::testing::conformance),
/// under the scenario's name.
///
/// `$run` is the path of a `fn(Scenario)`. Each test calls it once. It creates an empty repository,
/// passes it to the [`Scenario`](crate::testing::conformance::Scenario), and blocks until the
/// future completes.
#[macro_export]
macro_rules! conformance_suite {
    ($run:path) => {
        $crate::conformance_suite! { @each $run;
            a_first_message_scores_the_gain
            a_message_within_the_cooldown_is_counted_only
            a_late_message_is_counted_and_never_moves_time_back
            a_message_after_a_pause_pays_the_decay_first
            the_maximum_holds
            events_without_an_id_always_count
            the_same_id_counts_once
            the_same_id_counts_once_for_any_member_and_time
            the_same_id_counts_once_within_a_batch
            try_record_records_as_record_does
            a_batch_returns_outcomes_in_order
            an_empty_batch_changes_nothing
            a_batch_of_the_largest_size_is_recorded
            a_batch_that_is_too_large_is_refused_and_changes_nothing
            nothing_is_known_of_an_unknown_member
            the_smallest_and_largest_ids_are_stored_unchanged
            the_first_and_last_times_are_stored_unchanged
            an_adjustment_inserts_an_unknown_member
            adjustments_add_up_within_zero_and_the_maximum
            an_adjustment_keeps_the_later_time
            the_next_event_sees_an_adjustment
            a_member_created_by_an_adjustment_has_no_first_message
            a_leaderboard_ranks_by_the_score_at_the_time_asked_for
            equal_scores_rank_by_user_id
            a_leaderboard_stops_at_its_limit
            a_leaderboard_shows_its_own_guild_only
            members_at_zero_are_ranked
            every_rank_agrees_with_the_leaderboard
            messages_count_for_the_day_in_the_guilds_time_zone
            days_follow_daylight_saving_time
            a_month_is_the_sum_of_its_days
            a_late_message_counts_for_its_own_day
            a_leaderboard_by_messages_ranks_by_count_and_then_by_user_id
            a_new_time_zone_holds_for_later_messages_only
            rules_are_the_defaults_until_they_are_set
            rules_are_read_back_as_they_were_set
            rules_of_zero_apply
            rules_of_one_guild_leave_the_others_alone
            new_rules_hold_from_the_next_event
            a_lowered_maximum_holds_from_the_next_event
            counts_cover_all_guilds
            concurrent_messages_of_one_member_all_count
            concurrent_events_of_one_id_count_once
            concurrent_adjustments_all_add_up
            concurrent_batches_are_not_mixed
        }
    };
    (@each $run:path; $($scenario:ident)+) => {
        $(
            #[test]
            fn $scenario() {
                $run(|repository| {
                    ::std::boxed::Box::pin($crate::testing::conformance::$scenario(repository))
                });
            }
        )+
    };
}

/// Records `events` one after the other, and returns the outcomes.
async fn record_all(
    repository: &dyn ActivityRepository,
    events: impl IntoIterator<Item = ActivityEvent>,
) -> Vec<EventOutcome> {
    let mut outcomes = Vec::new();
    for event in events {
        outcomes.push(
            repository
                .record(event)
                .await
                .expect("an event is recorded"),
        );
    }
    outcomes
}

/// The record of a member who is known.
async fn known(repository: &dyn ActivityRepository, member: MemberKey) -> ActivityRecord {
    let found = repository
        .find_member(member)
        .await
        .expect("a member is looked up");
    found.unwrap_or_else(|| panic!("{member:?} is not known"))
}

/// Sets the score rules of a guild, in UTC.
async fn set_score_rules(repository: &dyn ActivityRepository, guild_id: u64, score: ScoreRules) {
    let rules = GuildRules {
        score,
        ..GuildRules::default()
    };
    repository
        .set_guild_rules(guild(guild_id), rules)
        .await
        .expect("rules are set");
}

/// The record in an outcome.
fn shown(outcome: EventOutcome) -> ActivityRecord {
    match outcome {
        EventOutcome::Scored(record) | EventOutcome::CoolingDown(record) => record,
        EventOutcome::Duplicate => panic!("the event was reported as a duplicate"),
    }
}
