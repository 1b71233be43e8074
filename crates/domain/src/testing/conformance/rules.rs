//! Rules of guilds, and totals over all guilds.

use std::sync::Arc;

use super::{known, record_all, set_score_rules, shown};
use crate::activity::EventOutcome;
use crate::query::{ActivityCounts, LeaderboardLimit};
use crate::repository::ActivityRepository;
use crate::score::{GuildRules, MAX_RULE_SECONDS, MAX_SCORE_LIMIT, Score, ScoreRules};
use crate::testing::fixtures::{MIDNIGHT, at, delta, guild, member, message, score, zone};

async fn rules_of(repository: &dyn ActivityRepository, guild_id: u64) -> GuildRules {
    repository
        .guild_rules(guild(guild_id))
        .await
        .expect("rules are read")
}

/// Rules with zero wherever zero is legal.
fn zero_rules() -> ScoreRules {
    ScoreRules::default()
        .with_gain_per_message(0.0)
        .and_then(|rules| rules.with_cooldown_seconds(0))
        .and_then(|rules| rules.with_decay_after_seconds(0))
        .and_then(|rules| rules.with_decay_per_hour(0.0))
        .expect("legal rules")
}

/// A guild has the default rules until others are set, with or without members.
pub async fn rules_are_the_defaults_until_they_are_set(repository: Arc<dyn ActivityRepository>) {
    assert_eq!(rules_of(&*repository, 1).await, GuildRules::default());
    record_all(&*repository, [message(member(1, 1), MIDNIGHT)]).await;
    assert_eq!(rules_of(&*repository, 1).await, GuildRules::default());
}

/// Rules are read back to the bit, zeros and bounds included, and can be set again. A guild with
/// rules and without members is not counted.
pub async fn rules_are_read_back_as_they_were_set(repository: Arc<dyn ActivityRepository>) {
    let greatest = ScoreRules::default()
        .with_max_score(MAX_SCORE_LIMIT)
        .and_then(|rules| rules.with_gain_per_message(MAX_SCORE_LIMIT))
        .and_then(|rules| rules.with_cooldown_seconds(MAX_RULE_SECONDS))
        .and_then(|rules| rules.with_decay_after_seconds(MAX_RULE_SECONDS))
        .and_then(|rules| rules.with_decay_per_hour(MAX_SCORE_LIMIT))
        .expect("legal rules");
    let odd = ScoreRules::default()
        .with_max_score(0.1 + 0.2)
        .and_then(|rules| rules.with_gain_per_message(1.0 / 3.0))
        .and_then(|rules| rules.with_decay_per_hour(f64::MIN_POSITIVE))
        .expect("legal rules");
    for (score, name) in [
        (zero_rules(), "Asia/Taipei"),
        (greatest, "America/Argentina/Buenos_Aires"),
        (odd, "UTC"),
        (ScoreRules::default(), "Europe/Berlin"),
    ] {
        let rules = GuildRules {
            score,
            time_zone: zone(name),
        };
        let set = repository.set_guild_rules(guild(1), rules.clone()).await;
        set.expect("rules are set");
        assert_eq!(rules_of(&*repository, 1).await, rules);
    }
    let counts = repository.counts().await.expect("a repository counts");
    assert_eq!(counts, ActivityCounts::default());
}

/// Zero is a rule, not the absence of one.
pub async fn rules_of_zero_apply(repository: Arc<dyn ActivityRepository>) {
    set_score_rules(&*repository, 1, zero_rules()).await;
    let member = member(1, 1);
    let outcomes = record_all(&*repository, [message(member, MIDNIGHT)]).await;
    assert_eq!(
        shown(outcomes[0]).score,
        Score::ZERO,
        "without a gain there is no score"
    );

    let adjusted = repository
        .adjust_score(member, delta(50.0), at(MIDNIGHT))
        .await;
    assert_eq!(adjusted.expect("a score is adjusted").score, score(50.0));
    let year = 365 * 86_400;
    let entries = repository
        .top_scores(guild(1), at(MIDNIGHT + year), LeaderboardLimit::default())
        .await
        .expect("a leaderboard");
    assert_eq!(
        entries[0].score,
        score(50.0),
        "without a decay there is no loss"
    );

    let with_gain = zero_rules()
        .with_gain_per_message(1.0)
        .expect("legal rules");
    set_score_rules(&*repository, 1, with_gain).await;
    let outcomes = record_all(&*repository, [message(member, MIDNIGHT); 2]).await;
    let scores: Vec<_> = outcomes
        .into_iter()
        .map(|outcome| shown(outcome).score)
        .collect();
    assert_eq!(
        scores,
        [score(51.0), score(52.0)],
        "without a cooldown every message scores"
    );

    let with_decay = with_gain.with_decay_per_hour(6.0).expect("legal rules");
    set_score_rules(&*repository, 1, with_decay).await;
    let outcomes = record_all(&*repository, [message(member, MIDNIGHT + 3_600)]).await;
    assert_eq!(
        shown(outcomes[0]).score,
        score(47.0),
        "without a grace decay begins at once"
    );
}

/// Rules apply only to the guild they were set for.
pub async fn rules_of_one_guild_leave_the_others_alone(repository: Arc<dyn ActivityRepository>) {
    let generous = ScoreRules::default()
        .with_gain_per_message(5.0)
        .expect("legal rules");
    let rules = GuildRules {
        score: generous,
        time_zone: zone("Asia/Taipei"),
    };
    repository
        .set_guild_rules(guild(2), rules.clone())
        .await
        .expect("rules are set");
    assert_eq!(rules_of(&*repository, 1).await, GuildRules::default());
    assert_eq!(rules_of(&*repository, 2).await, rules);
    // One batch over both guilds, so that rules must be looked up for each event's guild.
    let batch = [1, 2, 1, 2].map(|id| message(member(id, 1), MIDNIGHT));
    let outcomes = repository
        .record_many(batch.to_vec())
        .await
        .expect("a batch is recorded");
    let scores: Vec<_> = outcomes
        .into_iter()
        .map(|outcome| shown(outcome).score.get())
        .collect();
    assert_eq!(scores, [1.0, 5.0, 1.0, 5.0]);
}

/// New rules apply to every event recorded after they were set, and do not change stored scores.
/// The leaderboard uses them for decay immediately.
pub async fn new_rules_hold_from_the_next_event(repository: Arc<dyn ActivityRepository>) {
    let member = member(1, 1);
    record_all(&*repository, [message(member, MIDNIGHT)]).await;
    let before = known(&*repository, member).await;
    let strict = ScoreRules::default()
        .with_cooldown_seconds(600)
        .and_then(|rules| rules.with_gain_per_message(3.0))
        .and_then(|rules| rules.with_decay_after_seconds(0))
        .and_then(|rules| rules.with_decay_per_hour(3.0))
        .expect("legal rules");
    set_score_rules(&*repository, 1, strict).await;
    assert_eq!(known(&*repository, member).await, before);

    let entries = repository
        .top_scores(guild(1), at(MIDNIGHT + 600), LeaderboardLimit::default())
        .await
        .expect("a leaderboard");
    assert_eq!(entries[0].score, score(0.5));
    let messages = [599, 600].map(|after| message(member, MIDNIGHT + after));
    let outcomes = record_all(&*repository, messages).await;
    assert!(
        matches!(outcomes[0], EventOutcome::CoolingDown(_)),
        "{outcomes:?}"
    );
    assert_eq!(shown(outcomes[1]).score, score(3.5));
}

/// A stored score above a lowered maximum stays until its next change.
pub async fn a_lowered_maximum_holds_from_the_next_event(repository: Arc<dyn ActivityRepository>) {
    let (one, two) = (member(1, 1), member(1, 2));
    for member in [one, two] {
        let adjusted = repository
            .adjust_score(member, delta(80.0), at(MIDNIGHT))
            .await;
        adjusted.expect("a score is adjusted");
    }
    let rules = ScoreRules::default()
        .with_max_score(10.0)
        .expect("legal rules");
    set_score_rules(&*repository, 1, rules).await;
    assert_eq!(known(&*repository, one).await.score, score(80.0));

    let messages = [30, 60].map(|after| message(one, MIDNIGHT + after));
    let outcomes = record_all(&*repository, messages).await;
    assert_eq!(
        shown(outcomes[0]).score,
        score(80.0),
        "within the cooldown nothing changes"
    );
    assert_eq!(shown(outcomes[1]).score, score(10.0));
    let adjusted = repository.adjust_score(two, delta(0.0), at(MIDNIGHT)).await;
    assert_eq!(adjusted.expect("a score is adjusted").score, score(10.0));
}

/// Members, guilds with members and messages are counted over all guilds; duplicates and
/// adjustments are not messages.
pub async fn counts_cover_all_guilds(repository: Arc<dyn ActivityRepository>) {
    let counts = repository.counts().await.expect("a repository counts");
    assert_eq!(counts, ActivityCounts::default());
    let members = [(1, 1), (1, 2), (2, 1), (1, 1), (3, 9), (1, 1)];
    record_all(
        &*repository,
        members.map(|(guild, user)| message(member(guild, user), MIDNIGHT)),
    )
    .await;
    let adjusted = repository
        .adjust_score(member(4, 1), delta(1.0), at(MIDNIGHT))
        .await;
    adjusted.expect("a score is adjusted");
    let counts = repository.counts().await.expect("a repository counts");
    assert_eq!(
        counts,
        ActivityCounts {
            members: 5,
            guilds: 4,
            messages: 6
        }
    );
}
