//! Members, the events that change their scores, and the rule that applies an event to a member.

use crate::id::{EventId, GuildId, UserId};
use crate::score::{Score, ScoreDelta, ScoreRules};
use crate::time::UnixSeconds;

/// A member: one user in one guild. The key of everything that the meter stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberKey {
    /// The guild.
    pub guild: GuildId,
    /// The user.
    pub user: UserId,
}

/// One message, as the meter counts it. Its content is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActivityEvent {
    /// The message's id. An id counts once; events without an id always count.
    pub id: Option<EventId>,
    /// Who wrote it, and in which guild.
    pub member: MemberKey,
    /// When it was written. Events may arrive late and out of order.
    pub at: UnixSeconds,
}

/// Whether a Discord message of this `type` was written by its author.
///
/// Default messages (0) and replies (19) were. Discord or an application writes all other types in
/// a member's name: joins (7), boosts (8 to 11), pins (6), thread starters (21), poll results (46),
/// and auto-moderation alerts (24), whose author is the member whose message was blocked. Types
/// that Discord adds later do not count until they are listed here.
///
/// Source: <https://discord.com/developers/docs/resources/message#message-object-message-types>.
#[must_use]
pub const fn counts_as_message(message_type: u64) -> bool {
    matches!(message_type, 0 | 19)
}

/// The stored state of a member.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ActivityRecord {
    /// The member.
    pub member: MemberKey,
    /// The score at its last change; [`ScoreRules::decayed`] gives it at a later time.
    pub score: Score,
    /// When the score last rose, or the time of a later adjustment.
    pub last_message_at: UnixSeconds,
    /// Messages counted in total.
    pub messages: u64,
}

impl ActivityRecord {
    /// Applies `event` to the member's record. Returns the new record, and what the event did. The
    /// event's id is ignored: the repository checks for duplicates before it calls this.
    ///
    /// The rule: the message is counted. If nothing was stored, the score becomes min(max, gain).
    /// Otherwise let `idle` be the seconds since the last message that scored. If `idle` is
    /// negative or below the cooldown, the score does not change. If not, it becomes min(max,
    /// max(0, score − `decay_per_hour`/3600 · max(0, idle − `decay_after`)) + gain).
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

    /// Applies an adjustment to the member's record. The delta is added to the stored score without
    /// decay, and the result is clamped to 0 and the guild's maximum. A member without a record
    /// gets one. The last time becomes `at` if that is later, which cancels pending decay and
    /// starts a cooldown. No message is counted.
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

/// What recording an event changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EventOutcome {
    /// The message was counted and the score raised. Holds the new record.
    Scored(ActivityRecord),
    /// The message was counted, but the score did not change: it arrived within the cooldown, or
    /// late. Holds the new record.
    CoolingDown(ActivityRecord),
    /// An event with this id was recorded before; nothing changed.
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
