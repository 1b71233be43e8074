//! Bad input: what reads bytes of unknown origin, as functions of bytes, for the fuzzer and for the
//! test that runs the kept corpus through them.
//!
//! Each takes anything, and panics where a promise is broken: an input is read, or refused with an
//! error of one line without control characters; what is written is read back as it was.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::Path;
use std::sync::LazyLock;

use roas_app::{GatewayLine, apply_rule, parse_line, rule_values};
use roas_cli::settings::{Layer, Settings};
use roas_db::{Access, Config, Database, OnOldSchema, RetryPolicy};
use roas_domain::testing::fixtures::{MIDNIGHT, at, guild, member};
use roas_domain::{
    ActivityRepository, EventId, GuildId, GuildRules, LeaderboardLimit, UnixSeconds, UserId,
};

/// A target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets, by the names of their corpora.
pub const TARGETS: [Target; 5] = [
    ("gateway", gateway),
    ("config", config),
    ("rules", rules),
    ("ids", ids),
    ("database", database),
];

/// The greatest length of an error's text: what an error repeats of its input is cut short.
const LONGEST_ERROR: usize = 1_000;

fn is_one_line(error: &dyn Display) {
    let text = error.to_string();
    assert!(
        !text.chars().any(char::is_control) && text.chars().count() <= LONGEST_ERROR,
        "{text:?}"
    );
}

/// A line of the gateway. A message that is read can be written again, and is then read as the same.
///
/// # Panics
///
/// Where a promise is broken.
pub fn gateway(input: &[u8]) {
    match parse_line(input) {
        Ok(GatewayLine::Message(event)) => {
            let id = event.id.map(|id| id.to_string());
            let again = serde_json::json!({
                "op": 0, "t": "MESSAGE_CREATE",
                "d": {
                    "id": id, "guild_id": event.member.guild.to_string(),
                    "author": {"id": event.member.user.to_string()},
                    "timestamp": event.at.to_string(),
                    "content": String::from_utf8_lossy(input),
                }
            });
            let again = parse_line(again.to_string().as_bytes());
            assert_eq!(again, Ok(GatewayLine::Message(event)));
        }
        Ok(GatewayLine::Ignored(_)) => {}
        Err(error) => is_one_line(&error),
    }
}

/// A configuration file, and the same text as the value of every variable.
///
/// # Panics
///
/// Where a promise is broken.
pub fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    match Layer::from_toml(text, Path::new("roas.toml")) {
        Ok(layer) => {
            let settings = Settings::resolve(layer);
            assert!(settings.readers > 0 && settings.queue_capacity > 0);
        }
        // It names the line, which may be long; it is one line all the same.
        Err(error) => assert_eq!(error.to_string().lines().count(), 1, "{error:?}"),
    }
    for variable in ["ROAS_RETRY", "ROAS_READERS", "ROAS_JSON", "ROAS_LOG"] {
        let lookup = |name: &str| (name == variable).then(|| OsString::from(text));
        let _ = Layer::from_environment(&lookup);
    }
}

/// Assignments to rules, one a line. What results can be listed, and read again as the same.
///
/// # Panics
///
/// Where a promise is broken.
pub fn rules(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let mut rules = GuildRules::default();
    for line in text.split('\n').take(20) {
        match apply_rule(rules.clone(), line) {
            Ok(applied) => rules = applied,
            Err(error) => is_one_line(&error),
        }
    }
    let mut again = GuildRules::default();
    for (key, value) in rule_values(&rules) {
        match apply_rule(again.clone(), &format!("{key}={value}")) {
            Ok(applied) => again = applied,
            // A maximum below the gain before it, or the like: the order in which they are listed
            // leads there as well.
            Err(error) => panic!("{key}={value}, as it was listed: {error}"),
        }
    }
    assert_eq!(again, rules);
}

/// Ids and times as text, and ids as numbers.
///
/// # Panics
///
/// Where a promise is broken.
pub fn ids(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        match text.parse::<EventId>() {
            Ok(id) => {
                assert_eq!(id.to_string().parse(), Ok(id));
                assert_eq!(EventId::new(id.get()), Ok(id));
                assert_eq!(EventId::try_from(id.to_i64()), Ok(id));
            }
            Err(error) => is_one_line(&error),
        }
        assert_eq!(
            text.parse::<GuildId>().map(GuildId::get).ok(),
            text.parse::<UserId>().map(UserId::get).ok()
        );
        match text.parse::<UnixSeconds>() {
            Ok(time) => assert_eq!(time.to_string().parse(), Ok(time)),
            Err(error) => is_one_line(&error),
        }
    }
    if let Some(number) = input.first_chunk::<8>() {
        let number = u64::from_le_bytes(*number);
        assert_eq!(
            EventId::new(number).is_ok(),
            (1..=EventId::MAX).contains(&number)
        );
        let time = UnixSeconds::new(number.cast_signed());
        assert_eq!(time.map(UnixSeconds::get).unwrap_or_default(), {
            let range = UnixSeconds::MIN.get()..=UnixSeconds::MAX.get();
            let kept = range.contains(&number.cast_signed());
            if kept { number.cast_signed() } else { 0 }
        });
    }
}

/// A database file: looked at, read, migrated, written to.
///
/// # Panics
///
/// Where a promise is broken.
pub fn database(input: &[u8]) {
    static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(crate::runtime);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("roas.db");
    std::fs::write(&path, input).expect("a file");
    if let Err(error) = roas_db::migration::migration_status(&path) {
        is_one_line(&error);
    }
    let config = Config::new(&path)
        .retry(RetryPolicy::aggressive().with_deadline(std::time::Duration::ZERO))
        .readers(1);
    for config in [
        config.clone().access(Access::ReadOnly),
        config.clone().on_old_schema(OnOldSchema::Refuse),
        config,
    ] {
        RUNTIME.block_on(async {
            match Database::open(config).await {
                Ok(database) => {
                    use_it(&database).await;
                    // An error is one of the file's.
                    let _ = database.close().await;
                }
                Err(error) => is_one_line(&error),
            }
        });
    }
}

/// Every question of the port; whatever it answers, it answers.
async fn use_it(database: &Database) {
    let repository = database.repository();
    let (member, now) = (member(1, 2), at(MIDNIGHT));
    let answers = [
        repository.find_member(member).await.map(drop),
        repository
            .top_scores(guild(1), now, LeaderboardLimit::default())
            .await
            .map(drop),
        repository.score_rank(member, now).await.map(drop),
        repository.guild_rules(guild(1)).await.map(drop),
        repository.counts().await.map(drop),
        repository
            .record(crate::processes::event(1))
            .await
            .map(drop),
        database.maintain().await.map(drop),
    ];
    for error in answers.into_iter().filter_map(Result::err) {
        is_one_line(&error);
    }
}
