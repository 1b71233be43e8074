//! What every implementation of [`ActivityRepository`] has to show.
//!
//! A scenario is given an empty repository, tells it something, and asserts what it answers; it
//! panics where the answer breaks the port's contract. The scenarios know nothing of the
//! implementation: an adapter's own crate brings the executor and the repository, and runs all of
//! them with [`conformance_suite!`](crate::conformance_suite):
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
//!     // The repository in memory never waits, so one poll is all it takes.
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
//! Two more take what a property test draws from the [`strategies`](crate::testing::strategies):
//! [`agrees_with_the_model`] and [`lanes_end_as_the_model`]. An adapter calls them from a property
//! test of its own, with an empty repository for every case.
//!
//! One more takes a clock beside the repository: [`times_too_far_ahead_are_refused`]. All others expect
//! a repository that takes times however far ahead.
//!
//! An implementation that forgets event ids after a while must, when it is under test, remember
//! them to the end of the scenario. It should measure that while by its own clock, from when it
//! saw the id: the suite's events carry any time from 1970 to 5138, and an id must not be
//! forgotten, nor others with it, because of the time that an event claims.
//!
//! # Adding a scenario
//!
//! Write it as a `pub async fn` that takes the repository alone, named as a sentence, and add its
//! name to the list in [`conformance_suite!`](crate::conformance_suite); a test of this crate
//! compares the two.

#![expect(
    clippy::missing_panics_doc,
    reason = "a panic is how a scenario says no"
)]

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

/// A scenario: given an empty repository, it panics unless the repository keeps the contract.
pub type Scenario = fn(Arc<dyn ActivityRepository>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes a `#[test]` of every scenario in [`testing::conformance`](crate::testing::conformance),
/// under the scenario's name.
///
/// `$run` is the path of a `fn(Scenario)`. It is called once for each test; it makes an empty
/// repository, gives it to the [`Scenario`](crate::testing::conformance::Scenario), and blocks
/// until the future has come to its end.
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
            the_same_id_counts_once_whoever_and_whenever
            the_same_id_counts_once_within_a_batch
            try_record_records_as_record_does
            a_batch_is_answered_in_order
            an_empty_batch_answers_nothing
            a_batch_of_the_greatest_size_is_taken
            a_batch_that_is_too_large_is_refused_and_changes_nothing
            nothing_is_known_of_an_unknown_member
            the_greatest_and_the_least_ids_come_back
            the_greatest_and_the_least_times_come_back
            an_adjustment_inserts_an_unknown_member
            adjustments_add_up_within_zero_and_the_maximum
            an_adjustment_keeps_the_later_time
            the_next_event_sees_an_adjustment
            a_member_made_by_an_adjustment_has_no_first_message
            a_leaderboard_ranks_by_the_score_at_the_time_asked_for
            equal_scores_rank_by_user_id
            a_leaderboard_stops_at_its_limit
            a_leaderboard_shows_its_own_guild_only
            members_at_zero_are_members_all_the_same
            every_rank_agrees_with_the_leaderboard
            messages_count_for_the_day_in_the_guilds_time_zone
            days_follow_daylight_saving_time
            a_month_is_the_sum_of_its_days
            a_late_message_counts_for_its_own_day
            a_leaderboard_by_messages_ranks_by_count_and_then_by_user_id
            a_new_time_zone_holds_for_later_messages_only
            rules_are_the_defaults_until_they_are_set
            rules_come_back_as_they_were_set
            rules_of_zero_are_kept_to
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

/// Records `events` one after the other, and answers what each did.
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

/// The record that an outcome shows.
fn shown(outcome: EventOutcome) -> ActivityRecord {
    match outcome {
        EventOutcome::Scored(record) | EventOutcome::CoolingDown(record) => record,
        EventOutcome::Duplicate => panic!("the event was taken for a duplicate"),
    }
}
