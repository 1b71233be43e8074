//! Members, the events that score them, and the rule that makes one of the other.

use crate::id::{EventId, GuildId, UserId};
use crate::score::{Score, ScoreDelta, ScoreRules};
use crate::time::UnixSeconds;

/// A member: one user in one guild. The key of everything the meter keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberKey {
    /// The guild.
    pub guild: GuildId,
    /// The user.
    pub user: UserId,
}

/// One message, as the meter counts it. Nothing of its content is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActivityEvent {
    /// The message's id. The same id counts once; without one, every event counts.
    pub id: Option<EventId>,
    /// Who wrote it, and where.
    pub member: MemberKey,
    /// When it was written. Events may come late and out of order.
    pub at: UnixSeconds,
}

/// Whether a Discord message of this `type` is one that its author wrote.
///
/// Default messages (0) and replies (19) are. All other types are written by Discord or an
/// application, in the name of a member all the same: joins (7), boosts (8 to 11), pins (6), thread
/// starters (21), poll results (46), and alerts of auto-moderation (24), whose author is the one whose
/// message was blocked. So are types that Discord adds later, until they are listed here.
///
/// Source: <https://discord.com/developers/docs/resources/message#message-object-message-types>.
#[must_use]
pub const fn counts_as_message(message_type: u64) -> bool {
    matches!(message_type, 0 | 19)
}

/// What is stored of a member.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ActivityRecord {
    /// The member.
    pub member: MemberKey,
    /// The score as it was when it last changed; [`ScoreRules::decayed`] brings it to a later time.
    pub score: Score,
    /// When the score last rose, or a later time that an adjustment named.
    pub last_message_at: UnixSeconds,
    /// Messages counted in all.
    pub messages: u64,
}

impl ActivityRecord {
    /// The member's record after `event`, and what the event did to it. The event's id is not
    /// looked at: whether it is a duplicate is for the repository to say, beforehand.
    ///
    /// The rule: the message is counted. Where nothing was stored, it sets the score to
    /// min(max, gain). A later one, `idle` seconds after the last that scored, leaves the score
    /// where `idle` is negative or below the cooldown, and otherwise sets it to
    /// min(max, max(0, score − `decay_per_hour`/3600 · max(0, idle − `decay_after`)) + gain).
    #[must_use]
    pub fn after_event(
        before: Option<Self>,
        event: &ActivityEvent,
        rules: &ScoreRules,
    ) -> (Self, EventOutcome) {
        let Some(before) = before else {
            let after = Self {
                member: event.member,
                score: rules.first_score(),
                last_message_at: event.at,
                messages: 1,
            };
            return (after, EventOutcome::Scored(after));
        };
        let counted = Self {
            messages: before.messages + 1,
            ..before
        };
        if rules.cools_down(event.at.since(before.last_message_at)) {
            return (counted, EventOutcome::CoolingDown(counted));
        }
        let after = Self {
            score: rules.raised(before.score, before.last_message_at, event.at),
            last_message_at: event.at,
            ..counted
        };
        (after, EventOutcome::Scored(after))
    }

    /// The member's record after an adjustment: inserted or added to, held within 0 and the
    /// guild's maximum, the last time never earlier than before. No message is counted and no
    /// decay is applied: a later `at` ends what decay was pending, and begins a cooldown.
    #[must_use]
    pub fn after_adjustment(
        before: Option<Self>,
        member: MemberKey,
        delta: ScoreDelta,
        at: UnixSeconds,
        rules: &ScoreRules,
    ) -> Self {
        let before = before.unwrap_or(Self {
            member,
            score: Score::ZERO,
            last_message_at: at,
            messages: 0,
        });
        Self {
            score: rules.adjusted(before.score, delta),
            last_message_at: before.last_message_at.max(at),
            ..before
        }
    }
}

/// What recording an event did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EventOutcome {
    /// The message was counted and the score renewed. The record as it is now.
    Scored(ActivityRecord),
    /// The message was counted, but the score stays: it came within the cooldown, or late. The
    /// record as it is now.
    CoolingDown(ActivityRecord),
    /// An event of this id was recorded before; nothing changed.
    Duplicate,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seconds: i64) -> ActivityEvent {
        let member = MemberKey {
            guild: GuildId::new(1).unwrap(),
            user: UserId::new(2).unwrap(),
        };
        ActivityEvent {
            id: None,
            member,
            at: UnixSeconds::new(seconds).unwrap(),
        }
    }

    fn run(times: &[i64]) -> (ActivityRecord, EventOutcome) {
        let rules = ScoreRules::default();
        let mut state = None;
        let mut last = None;
        for &time in times {
            let (record, outcome) = ActivityRecord::after_event(state, &event(time), &rules);
            (state, last) = (Some(record), Some(outcome));
        }
        (state.unwrap(), last.unwrap())
    }

    #[test]
    fn the_first_message_scores_the_gain() {
        let (record, outcome) = run(&[1_000]);
        assert_eq!(record.score, Score::new(1.0).unwrap());
        assert_eq!(outcome, EventOutcome::Scored(record));
    }

    #[test]
    fn a_message_within_the_cooldown_is_counted_only() {
        let (record, outcome) = run(&[1_000, 1_059]);
        assert_eq!((record.score.get(), record.messages), (1.0, 2));
        assert_eq!(record.last_message_at.get(), 1_000);
        assert_eq!(outcome, EventOutcome::CoolingDown(record));
    }

    #[test]
    fn a_late_message_is_counted_and_never_moves_time_back() {
        let (record, outcome) = run(&[10_000, 1_000]);
        assert_eq!((record.score.get(), record.messages), (1.0, 2));
        assert_eq!(record.last_message_at.get(), 10_000);
        assert_eq!(outcome, EventOutcome::CoolingDown(record));
    }

    #[test]
    fn a_message_after_a_pause_pays_the_decay_first() {
        // 1.0, and 2.0 after the cooldown; then 600 s idle, of which 300 s at 6 per hour cost 0.5.
        let (record, _) = run(&[0, 60, 660]);
        assert!((record.score.get() - 2.5).abs() < 1e-12, "{record:?}");
    }

    #[test]
    fn an_adjustment_counts_no_message_and_keeps_the_later_time() {
        let rules = ScoreRules::default();
        let delta = ScoreDelta::new(7.0).unwrap();
        let at = |seconds| UnixSeconds::new(seconds).unwrap();
        let member = event(0).member;
        let new = ActivityRecord::after_adjustment(None, member, delta, at(500), &rules);
        assert_eq!(
            (new.score.get(), new.last_message_at.get(), new.messages),
            (7.0, 500, 0)
        );
        let later = ActivityRecord::after_adjustment(Some(new), member, delta, at(400), &rules);
        assert_eq!(
            (later.score.get(), later.last_message_at.get()),
            (14.0, 500)
        );
    }
}
