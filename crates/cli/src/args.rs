//! The command line as it is typed: names, help, and values that are checked while they are read.
//!
//! Whatever can be refused without looking at a database is refused here, as wrong usage.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};
use roas_domain::{
    GuildId, GuildRules, LeaderboardLimit, MAX_SCORE_LIMIT, ScoreDelta, UnixSeconds, UserId,
};

use roas_db::migration::Strategy;

use crate::settings::{Layer, LogLevel};
use roas_app::rules::apply_rule;
use roas_app::service::Ranking;

/// The heading under which the options that every command takes are listed.
const EVERYWHERE: &str = "Options for every command";

#[derive(Debug, Parser)]
#[command(
    name = "roas",
    version,
    about = "An activity meter for Discord bots that never says \"database is locked\"",
    long_about = "An activity meter for Discord bots that never says \"database is locked\".\n\n\
        It scores the members of guilds by their messages, in one SQLite file that several \
        processes may write to at once.\n\n\
        Examples:\n  \
        roas demo                                    see it work, in about six seconds\n  \
        roas ingest messages.ndjson                  record what the gateway sent\n  \
        roas leaderboard --guild 743430870758460727  who is active?\n  \
        roas member --guild 743430870758460727 --user 626234859576321882",
    after_long_help = "Configuration: roas.toml in the current folder (or --config, or \
        ROAS_CONFIG), above it the environment, above that the flags. Keys: db, retry, \
        synchronous, readers, queue_capacity, remember_events_days, wal_limit_mib, \
        max_clock_skew_seconds, allow_aliases, json, log; as variables ROAS_DB, ROAS_RETRY and so on.\n\n\
        Exit codes: 0 done, 1 failed (one line on stderr says why), 2 wrong usage, 3 every \
        line was rejected, or any with --strict (ingest), 4 something was found (audit, check), 130 interrupted.",
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Accepted before the command's name and after it.
#[expect(
    clippy::doc_markdown,
    reason = "the comments are the help text, which is no markdown"
)]
#[derive(Debug, Args)]
pub(crate) struct GlobalArgs {
    /// The database file [env: ROAS_DB] [default: roas.db]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath,
          help_heading = EVERYWHERE)]
    pub(crate) db: Option<PathBuf>,

    /// Answer with one JSON object on stdout [env: ROAS_JSON]
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    json: bool,

    /// The configuration file [env: ROAS_CONFIG] [default: roas.toml, where there is one]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath,
          help_heading = EVERYWHERE)]
    pub(crate) config: Option<PathBuf>,

    /// Tell more on stderr; -vv and -vvv tell still more [env: ROAS_LOG] [default: warn]
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = EVERYWHERE)]
    verbose: u8,

    /// Refuse a database of an older schema instead of bringing it to the current one
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(crate) no_migrate: bool,
}

impl GlobalArgs {
    /// What the flags say about the settings.
    pub(crate) fn layer(&self) -> Layer {
        Layer {
            db: self.db.clone(),
            // There is no flag for "no JSON": what is not said is left to the layers below.
            json: self.json.then_some(true),
            log: LogLevel::from_verbosity(self.verbose),
            ..Layer::default()
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Look at a database before it is migrated; changes nothing
    #[command(
        long_about = "Reads a database file and tells what is in it and what `roas migrate` would \
        do: the shape and version found, rows, members with several rows and what each strategy \
        would keep of them, rows without a usable key, times in milliseconds, scores out of range, \
        settings that are not what they say, views, triggers and foreign keys of other modules and \
        whether they will work, size, integrity, and the disk space a migration needs. \
        For the ten largest guilds it compares the top ten as the original shows them with the top \
        ten after a migration, ten minutes after the last message, and says whose score differs \
        and why.\n\n\
        Changes nothing. Exit code 0: clean; 4: a migration would have to merge or quarantine rows, \
        the file is damaged or empty, an object of another module cannot be checked, does not work or \
        is in the way, or the original bot has gone on writing to a file that was taken over.\n\n\
        Examples:\n  \
        roas audit --db old-bot.db\n  \
        roas audit --db old-bot.db --json"
    )]
    Audit,

    /// Bring the database to the current schema, and take over one of the original bot
    #[command(
        long_about = "Brings the database to the current schema, creating it where there \
        is none, and says what it did. A database of the original bot (2.3, 2.4.0, 2.4.1 and later) \
        is taken over: first a copy is written beside it, checked and synced; then everything \
        happens in one transaction and is checked before it is committed. Stop the bot first.\n\n\
        Rows that are merged into another are kept in `legacy_merged`, rows without a usable key in \
        `legacy_quarantined`, and the original's tables stay as they were; `roas rollback` gives \
        them back. On any failure the file is as it was.\n\n\
        The commands that write do the same by themselves; this one is for those who want to do \
        it beforehand, or to look first.\n\n\
        Examples:\n  \
        roas migrate --status              what is in the file?\n  \
        roas migrate --dry-run             do it on a copy, and delete that\n  \
        roas --db bot.db migrate           do it\n  \
        roas migrate --strategy latest     of several rows of a member keep the latest"
    )]
    Migrate(MigrateArgs),

    /// Bring the database back to an older schema
    #[command(
        long_about = "Undoes migrations, the latest first, down to a version; 0 is what was there \
        before any. What was taken over from the original bot goes back into its tables, \
        duplicates and unusable rows included, and what was recorded since is kept: scores, times \
        and the days' messages. Rules and remembered events have no place at version 0.\n\n\
        One transaction, after a copy was written beside the file. Stop the bot first.\n\n\
        Examples:\n  \
        roas rollback --to 0               back to the original bot\n  \
        roas rollback --to 1 --json"
    )]
    Rollback(RollbackArgs),

    /// Mend a file whose history of migrations says otherwise than its tables
    #[command(
        long_about = "Mends a half-migrated file: a version whose tables are there gets its row in \
        the history, a row in the history without its tables is removed (`roas migrate` then runs \
        that version), a missing index is created. Where tables were lost it says which, and \
        changes nothing.\n\n\
        Example:\n  \
        roas --db bot.db repair"
    )]
    Repair,

    /// Write a copy of the database, beside running writers
    #[command(
        long_about = "Copies the database to FILE while others go on writing, and checks the copy. \
        It is one committed state in a single file for its owner alone, and gets its name only when \
        it is whole and synced. A file that is there already is left alone, unless --force says \
        otherwise.\n\n\
        Examples:\n  \
        roas backup /backups/roas-2026-11-24.db\n  \
        roas --db bot.db backup --force latest.db --json"
    )]
    Backup(BackupArgs),

    /// Put a copy in the place of the database
    #[command(
        long_about = "Checks FILE and puts a copy of it in the place of the database. A database \
        that is there already is left alone, unless --force says otherwise; its write-ahead log and \
        shared memory go with it. Until the copy has the name, the old one is untouched. Stop the \
        bot first.\n\n\
        Examples:\n  \
        roas restore /backups/roas-2026-11-24.db\n  \
        roas --db bot.db restore --force latest.db"
    )]
    Restore(BackupArgs),

    /// Check the database: every page, the references, the history
    #[command(
        long_about = "Checks every page and index, references between tables, and the history of \
        migrations against the tables; beside running writers, changing nothing. A fault in a table \
        of another module is a finding about that table.\n\n\
        Exit code 0: all is well; 4: something is wrong, and named: also a file that is cut off, \
        empty or no database, and a schema newer than this program.\n\n\
        Example:\n  \
        roas --db bot.db check --json"
    )]
    Check,

    /// Record the messages of Discord Gateway payloads, one JSON a line
    #[command(
        long_about = "Reads Discord Gateway payloads, one JSON object a line, and records \
        each MESSAGE_CREATE of type 0 (a message) or 19 (a reply), or without a type.\n\n\
        Ignored: other events, whatever their size; messages of bots and webhooks; direct messages; \
        and messages of any other type, which Discord writes in a member's name: joins, boosts, pins, \
        threads, polls, auto-moderation alerts.\n\n\
        A malformed line is rejected on stderr with its number and the reason, and the rest goes on; so \
        is a message whose time lies more than ten minutes ahead of this host's clock \
        (max_clock_skew_seconds in roas.toml). A message that was recorded before is a duplicate and \
        changes nothing, so that an input can safely be read again. Where a guild's settings or a \
        member's row cannot be read, its messages fail, those of others go on.\n\n\
        Exit code 3: every line was rejected, or any with --strict; one line says what the input looks \
        like. 1: messages failed, or the rest could not be read or recorded.\n\n\
        Examples:\n  \
        roas ingest messages.ndjson\n  \
        roas ingest messages.ndjson --ack done.txt --strict\n  \
        journalctl -u bot -o cat | roas ingest - --json\n\n\
        A line looks like this, shortened:\n  \
        {\"op\":0,\"t\":\"MESSAGE_CREATE\",\"d\":{\"id\":\"1408239251753531324\",\
        \"guild_id\":\"743430870758460727\",\"author\":{\"id\":\"626234859576321882\",\
        \"global_name\":\"小明\"},\"timestamp\":\"2025-08-22T00:00:01.438000+00:00\"}}"
    )]
    Ingest(IngestArgs),

    /// Show a member: score, rank, messages
    #[command(
        long_about = "Shows a member of a guild: the score at a time, the stored score, the \
        last message, messages in all, of that day and of that month, and the rank.\n\n\
        Examples:\n  \
        roas member --guild 743430870758460727 --user 626234859576321882\n  \
        roas member --guild 743430870758460727 --user 626234859576321882 --at 2025-08-22T20:00:00+08:00"
    )]
    Member(MemberArgs),

    /// Show who is most active in a guild
    #[command(
        long_about = "Shows the members of a guild with the greatest scores, or with the \
        most messages of a day or a month.\n\n\
        Scores are decayed to the time that is asked for. Days and months are those of the \
        guild's time zone.\n\n\
        Examples:\n  \
        roas leaderboard --guild 743430870758460727\n  \
        roas leaderboard --guild 743430870758460727 --by month --limit 25\n  \
        roas leaderboard --guild 743430870758460727 --by day --at 2025-08-22T00:00:00Z --json"
    )]
    Leaderboard(LeaderboardArgs),

    /// Raise or lower a member's score
    #[command(
        long_about = "Moves a member's score by a number, held within 0 and the guild's \
        maximum, and shows the outcome. A member not yet known is added.\n\n\
        No message is counted and no decay is applied. The time of the last message becomes the \
        given one where that is later.\n\n\
        Examples:\n  \
        roas adjust --guild 743430870758460727 --user 626234859576321882 --delta 5 --at 1755820801\n  \
        roas adjust --guild 743430870758460727 --user 626234859576321882 --delta -2.5 \
        --at 2025-08-22T00:00:01Z"
    )]
    Adjust(AdjustArgs),

    /// Show or set a guild's rules and time zone
    #[command(long_about = "Shows a guild's rules, or sets some of them.\n\n\
        Keys, with their defaults:\n  \
        max_score=100            the greatest score\n  \
        gain_per_message=1       what a message that scores adds\n  \
        cooldown_seconds=60      for how long further messages do not score\n  \
        decay_after_seconds=300  after how long without a message the score falls\n  \
        decay_per_hour=6         how fast it falls\n  \
        time_zone=UTC            whose calendar days are counted\n\n\
        A change holds for messages recorded after it. Rules that cannot be read, as after an edit by \
        hand, are named; setting each of them corrects the row.\n\n\
        Examples:\n  \
        roas rules --guild 743430870758460727\n  \
        roas rules --guild 743430870758460727 --set time_zone=Asia/Taipei --set cooldown_seconds=30")]
    Rules(RulesArgs),

    /// Show how much the database holds and how it is run
    #[command(
        long_about = "Shows members, guilds and messages, the sizes of the database and its \
        write-ahead log, the SQLite version, the modes it runs in, which other processes have it open and \
        which holds the write lock: what can be seen from outside. What a running bot's queue does, \
        its own metrics tell.\n\n\
        Example:\n  \
        roas --db bot.db stats --json"
    )]
    Stats,

    /// Watch a simulated community at full speed, then read what it left
    #[command(
        long_about = "Simulates a busy community: five guilds, 1,000 members, 256 concurrent \
        tasks in this process and a second process, all writing to one database in a fresh \
        folder. A day of theirs passes in a few seconds.\n\n\
        Then shows the leaderboard of the busiest guild, whether every message was counted \
        exactly once, how long the callers waited, and how many met a locked database (none). The \
        database is kept, and the commands to explore it are shown.\n\n\
        With --db the database is made there; it must not exist yet.\n\n\
        Examples:\n  \
        roas demo\n  \
        roas demo --seconds 20 --db /var/tmp/小鎮.db"
    )]
    Demo(DemoArgs),

    /// The demo's second process
    #[command(hide = true)]
    DemoWorker(DemoWorkerArgs),
}

impl Command {
    /// Whether it works on the database's file as a whole, and leaves it as it was when interrupted.
    pub(crate) const fn works_on_the_whole_file(&self) -> bool {
        matches!(
            self,
            Self::Audit
                | Self::Migrate(_)
                | Self::Rollback(_)
                | Self::Repair
                | Self::Backup(_)
                | Self::Restore(_)
                | Self::Check
        )
    }
}

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// Show what is in the file and which migrations it has; change nothing
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) status: bool,

    /// Do it on a copy beside the database, show the outcome, and delete the copy
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// What a member's score becomes where the original has several rows: max, sum or latest
    #[arg(long, value_name = "STRATEGY", default_value = "max")]
    pub(crate) strategy: Strategy,

    /// Stop at this version of the schema [default: the latest]
    #[arg(long, value_name = "N")]
    pub(crate) to: Option<i32>,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The version of the schema to go back to; 0 is before any migration
    #[arg(long, value_name = "N")]
    pub(crate) to: i32,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The copy
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,

    /// Replace what is there already
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct IngestArgs {
    /// The file to read; `-` reads stdin
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) input: PathBuf,

    /// How many events may be under way at once; a member's own stay in order
    #[arg(long, value_name = "N", default_value = "1024", value_parser = in_flight)]
    pub(crate) in_flight: NonZeroUsize,

    /// Append each event id to FILE, one a line, once its event is committed
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ack: Option<PathBuf>,

    /// Exit with 3 where lines were rejected, after all the work is done
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MemberArgs {
    /// The guild's id
    #[arg(long, value_name = "ID", allow_negative_numbers = true)]
    pub(crate) guild: GuildId,

    /// The user's id
    #[arg(long, value_name = "ID", allow_negative_numbers = true)]
    pub(crate) user: UserId,

    /// The time to show: Unix seconds or RFC 3339 [default: now]
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    pub(crate) at: Option<UnixSeconds>,
}

/// What a leaderboard ranks by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// The score, decayed to the time
    Score,
    /// Messages of the day
    Day,
    /// Messages of the month
    Month,
}

impl By {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Score => "score",
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

impl From<By> for Ranking {
    fn from(by: By) -> Self {
        match by {
            By::Score => Self::Score,
            By::Day => Self::Day,
            By::Month => Self::Month,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct LeaderboardArgs {
    /// The guild's id
    #[arg(long, value_name = "ID", allow_negative_numbers = true)]
    pub(crate) guild: GuildId,

    /// What to rank by
    #[arg(long, value_enum, default_value_t = By::Score)]
    pub(crate) by: By,

    /// How many places to show, 1 to 1000
    #[arg(long, value_name = "N", default_value = "10", value_parser = limit,
          allow_negative_numbers = true)]
    pub(crate) limit: LeaderboardLimit,

    /// The time to show: Unix seconds or RFC 3339 [default: now]
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    pub(crate) at: Option<UnixSeconds>,
}

#[derive(Debug, Args)]
pub(crate) struct AdjustArgs {
    /// The guild's id
    #[arg(long, value_name = "ID", allow_negative_numbers = true)]
    pub(crate) guild: GuildId,

    /// The user's id
    #[arg(long, value_name = "ID", allow_negative_numbers = true)]
    pub(crate) user: UserId,

    /// What to add to the score; may be negative
    #[arg(long, value_name = "NUMBER", value_parser = delta, allow_hyphen_values = true)]
    pub(crate) delta: ScoreDelta,

    /// When it happens: Unix seconds or RFC 3339
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    pub(crate) at: UnixSeconds,
}

#[derive(Debug, Args)]
pub(crate) struct RulesArgs {
    /// The guild's id
    #[arg(long, value_name = "ID", allow_negative_numbers = true)]
    pub(crate) guild: GuildId,

    /// Set a rule; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    pub(crate) set: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// For how long the community writes, 1 to 600 seconds
    #[arg(long, value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..=600))]
    pub(crate) seconds: u32,
}

#[derive(Debug, Args)]
pub(crate) struct DemoWorkerArgs {
    /// For how long to write
    #[arg(long)]
    pub(crate) seconds: u32,

    /// The simulated time at which the day begins
    #[arg(long)]
    pub(crate) begin: UnixSeconds,
}

fn in_flight(text: &str) -> Result<NonZeroUsize, String> {
    /// More than this only takes memory: the writer's queue is far shorter.
    const MAX: usize = 65_536;
    text.parse()
        .ok()
        .filter(|number: &NonZeroUsize| number.get() <= MAX)
        .ok_or_else(|| format!("expected a whole number from 1 to {MAX}"))
}

fn limit(text: &str) -> Result<LeaderboardLimit, String> {
    text.parse()
        .ok()
        .and_then(|number| LeaderboardLimit::new(number).ok())
        .ok_or_else(|| {
            format!(
                "expected a whole number from 1 to {}",
                LeaderboardLimit::MAX
            )
        })
}

fn delta(text: &str) -> Result<ScoreDelta, String> {
    text.parse()
        .ok()
        .and_then(|number| ScoreDelta::new(number).ok())
        .ok_or_else(|| format!("expected a number from -{MAX_SCORE_LIMIT} to {MAX_SCORE_LIMIT}"))
}

/// Each rule is checked by itself, so that trying it on the defaults tells whether it is allowed.
fn assignment(text: &str) -> Result<String, roas_app::rules::RuleError> {
    apply_rule(GuildRules::default(), text).map(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, String> {
        Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_teaches_by_example() {
        for command in Cli::command()
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
        {
            let help = command
                .get_long_about()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(help.contains("Example"), "{}", command.get_name());
        }
    }

    #[test]
    fn global_options_stand_before_and_after() {
        let before = parse("roas --db a.db --json -v --config c --no-migrate stats").unwrap();
        let after = parse("roas stats --db a.db --json -v --config c --no-migrate").unwrap();
        for cli in [before, after] {
            let layer = cli.global.layer();
            assert_eq!(layer.db, Some("a.db".into()));
            assert_eq!(layer.json, Some(true));
            assert_eq!(layer.log, Some(LogLevel::Info));
            assert_eq!(cli.global.config, Some("c".into()));
            assert!(cli.global.no_migrate);
        }
        assert_eq!(
            parse("roas stats").unwrap().global.layer(),
            Layer::default()
        );
    }

    #[test]
    fn deltas_may_be_negative_and_must_be_finite_and_in_range() {
        let adjust = |delta: &str| {
            parse(&format!(
                "roas adjust --guild 1 --user 2 --at 3 --delta {delta}"
            ))
        };
        let Command::Adjust(args) = adjust("-2.5").unwrap().command else {
            panic!()
        };
        assert!((args.delta.get() + 2.5).abs() < f64::EPSILON);
        for bad in ["NaN", "inf", "-inf", "1e300", "-1e300", "x"] {
            let error = adjust(bad).unwrap_err();
            assert!(
                error.contains("expected a number from -1000000000 to 1000000000"),
                "{error}"
            );
        }
    }

    #[test]
    fn ids_and_times_are_refused_in_the_domains_words() {
        for (line, expected) in [
            ("roas member --guild 0 --user 1", "not a valid guild id"),
            ("roas member --guild -1 --user 1", "not a valid guild id"),
            (
                "roas member --guild 1 --user 9223372036854775808",
                "not a valid user id",
            ),
            (
                "roas member --guild 1 --user 1 --at 1755820801000",
                "milliseconds",
            ),
            ("roas member --guild 1 --user 1 --at -5", "before 1970"),
            ("roas leaderboard --guild 1 --at yesterday", "RFC 3339"),
            ("roas leaderboard --guild 1 --limit 0", "1 to 1000"),
            ("roas leaderboard --guild 1 --limit 1001", "1 to 1000"),
            ("roas ingest - --in-flight 0", "1 to 65536"),
            (
                "roas rules --guild 1 --set cooldown_seconds=-1",
                "cooldown_seconds",
            ),
            (
                "roas rules --guild 1 --set time_zone=Mars/Olympus",
                "Mars/Olympus",
            ),
            ("roas migrate --status --dry-run", "cannot be used with"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
