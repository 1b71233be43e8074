//! What the program is told before it starts: a file, then the environment, then flags.
//!
//! Two stages, so that each can be looked at by itself. A [`Layer`] is what one source said, and
//! says nothing about what it left out. [`Settings`] is the outcome: every value decided, with
//! nothing left to default later.
//!
//! | key in `roas.toml` | variable | flag | default |
//! |---|---|---|---|
//! | | `ROAS_CONFIG` | `--config` | `roas.toml` in the current folder, where there is one |
//! | `db` | `ROAS_DB` | `--db` | `roas.db` |
//! | `json` | `ROAS_JSON` | `--json` | `false` |
//! | `log` | `ROAS_LOG` | `-v`, `-vv`, `-vvv` | `warn` |
//! | `retry` | `ROAS_RETRY` | | `balanced` |
//! | `synchronous` | `ROAS_SYNCHRONOUS` | | `full` |
//! | `readers` | `ROAS_READERS` | | 4 |
//! | `queue_capacity` | `ROAS_QUEUE_CAPACITY` | | 8192 |
//! | `wal_limit_mib` | `ROAS_WAL_LIMIT_MIB` | | 1024, or a tenth of the disk's free room |
//! | `remember_events_days` | `ROAS_REMEMBER_EVENTS_DAYS` | | 7 |
//! | `max_clock_skew_seconds` | `ROAS_MAX_CLOCK_SKEW_SECONDS` | | 600; `off` takes any time |
//! | `allow_aliases` | `ROAS_ALLOW_ALIASES` | | `false` |
//!
//! A relative `db` in the file is relative to the file's own folder: what a file means must not
//! depend on where the program was started. An empty variable counts as unset.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use roas_db::{Access, Config, Durability, OnOldSchema, RetryPolicy};
use roas_domain::DEFAULT_MAX_CLOCK_SKEW;
use serde::Deserialize;
use thiserror::Error;

const SECONDS_PER_DAY: u64 = 86_400;

/// The file that is read where none is named.
pub const DEFAULT_FILE: &str = "roas.toml";

/// A setting that is one of a few words.
macro_rules! words {
    (
        $(#[$doc:meta])*
        pub enum $name:ident { $($(#[$word_doc:meta])* $variant:ident = $word:literal,)+ }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
        #[serde(try_from = "String")]
        pub enum $name { $($(#[$word_doc])* $variant,)+ }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word,)+ })
            }
        }

        impl FromStr for $name {
            type Err = InvalidSetting;

            fn from_str(text: &str) -> Result<Self, InvalidSetting> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(InvalidSetting::new(text, [$($word),+].join(", "))),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidSetting;

            fn try_from(text: String) -> Result<Self, InvalidSetting> {
                text.parse()
            }
        }
    };
}

words! {
    /// How stubbornly a busy database is tried again.
    pub enum RetryPreset {
        /// Many tries, close together.
        Aggressive = "aggressive",
        /// A few tries, at growing distance.
        #[default]
        Balanced = "balanced",
        /// Few tries, far apart.
        Conservative = "conservative",
    }
}

words! {
    /// What an acknowledged write survives.
    pub enum Synchronous {
        /// A power cut.
        #[default]
        Full = "full",
        /// A crash of the program, but not always a power cut.
        Normal = "normal",
    }
}

words! {
    /// How much the program tells about itself on stderr.
    pub enum LogLevel {
        /// Nothing.
        Off = "off",
        /// What went wrong.
        Error = "error",
        /// And what may go wrong.
        #[default]
        Warn = "warn",
        /// And what it does.
        Info = "info",
        /// And how.
        Debug = "debug",
        /// And every step of it.
        Trace = "trace",
    }
}

impl LogLevel {
    /// The level that a number of `-v` asks for; `None` for no `-v` at all.
    #[must_use]
    pub const fn from_verbosity(verbosity: u8) -> Option<Self> {
        match verbosity {
            0 => None,
            1 => Some(Self::Info),
            2 => Some(Self::Debug),
            _ => Some(Self::Trace),
        }
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub struct Whole<const MIN: u32, const MAX: u32>(u32);

impl<const MIN: u32, const MAX: u32> Whole<MIN, MAX> {
    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    fn invalid(input: &dyn fmt::Display) -> InvalidSetting {
        InvalidSetting::new(input, format!("a whole number from {MIN} to {MAX}"))
    }
}

impl<const MIN: u32, const MAX: u32> TryFrom<i64> for Whole<MIN, MAX> {
    type Error = InvalidSetting;

    fn try_from(number: i64) -> Result<Self, InvalidSetting> {
        u32::try_from(number)
            .ok()
            .filter(|number| (MIN..=MAX).contains(number))
            .map(Self)
            .ok_or_else(|| Self::invalid(&number))
    }
}

impl<const MIN: u32, const MAX: u32> FromStr for Whole<MIN, MAX> {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, InvalidSetting> {
        text.parse::<i64>()
            .map_err(|_| Self::invalid(&text))?
            .try_into()
    }
}

/// How many connections read: more than a few only take memory.
pub type Readers = Whole<1, 64>;
/// How many events may wait for the writer. Each takes some 100 bytes.
pub type QueueCapacity = Whole<1, 1_048_576>;
/// How many MiB the WAL may take beside a reader that keeps it from starting over.
pub type WalLimit = Whole<1, 1_048_576>;
/// For how many days event ids are remembered. Each takes some 20 bytes of the file.
pub type RememberDays = Whole<1, 3_650>;

/// How far a time may lie ahead of the clock: seconds up to a day, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "NumberOrWord")]
pub enum MaxClockSkew {
    /// So many seconds.
    Seconds(Whole<0, 86_400>),
    /// Any time is taken.
    Off,
}

/// A value as TOML writes it.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a whole number or `off`")]
enum NumberOrWord {
    Number(i64),
    Word(String),
}

impl TryFrom<NumberOrWord> for MaxClockSkew {
    type Error = InvalidSetting;

    fn try_from(value: NumberOrWord) -> Result<Self, InvalidSetting> {
        match value {
            NumberOrWord::Number(number) => number.to_string().parse(),
            NumberOrWord::Word(word) => word.parse(),
        }
    }
}

impl FromStr for MaxClockSkew {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, InvalidSetting> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::Seconds).map_err(|_| {
            InvalidSetting::new(text, "a whole number of seconds from 0 to 86400, or `off`")
        })
    }
}

/// A value that a setting does not take.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{}` is not allowed: expected {expected}", input.escape_debug())]
pub struct InvalidSetting {
    input: String,
    expected: String,
}

impl InvalidSetting {
    fn new(input: impl fmt::Display, expected: impl Into<String>) -> Self {
        Self {
            input: input.to_string(),
            expected: expected.into(),
        }
    }
}

/// What one source says: a file, the environment, or the flags.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Layer {
    /// The database file.
    pub db: Option<PathBuf>,
    /// How stubbornly a busy database is tried again.
    pub retry: Option<RetryPreset>,
    /// What an acknowledged write survives.
    pub synchronous: Option<Synchronous>,
    /// How many connections read.
    pub readers: Option<Readers>,
    /// How many events may wait for the writer.
    pub queue_capacity: Option<QueueCapacity>,
    /// For how many days event ids are remembered.
    pub remember_events_days: Option<RememberDays>,
    /// The size of the WAL, in MiB, that writes are slowed down for while a reader keeps it from starting over.
    pub wal_limit_mib: Option<WalLimit>,
    /// How far a time may lie ahead of the clock.
    pub max_clock_skew_seconds: Option<MaxClockSkew>,
    /// Whether a database with several names, or mounted as a file, is opened.
    pub allow_aliases: Option<bool>,
    /// Whether the answer is one JSON object.
    pub json: Option<bool>,
    /// How much is told on stderr.
    pub log: Option<LogLevel>,
}

impl Layer {
    /// Reads a TOML file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] where the file cannot be read, is no TOML, or holds an unknown key or a
    /// value that its key does not take; it names the file, the line, and what stands there.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let mut layer = Self::from_toml(&text, path)?;
        if let (Some(db), Some(folder)) = (&layer.db, path.parent()) {
            layer.db = Some(folder.join(db));
        }
        Ok(layer)
    }

    /// Reads the text of a TOML file; `path` is what errors call it.
    ///
    /// # Errors
    ///
    /// As [`Self::from_file`], of which this is the part without the file.
    pub fn from_toml(text: &str, path: &Path) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start).min(text.len());
            let line = text.get(..start).unwrap_or(text).matches('\n').count();
            ConfigError::File {
                path: path.to_owned(),
                line: line + 1,
                content: text.lines().nth(line).unwrap_or_default().trim().to_owned(),
                reason: error.message().replace('\n', " "),
            }
        })
    }

    /// Reads the variables named `ROAS_…`, through `lookup` so that tests need not touch the
    /// process's own environment.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] where a variable holds a value that its setting does not take; it names the
    /// variable.
    pub fn from_environment(
        lookup: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            db: set(lookup, "ROAS_DB").map(PathBuf::from),
            retry: parsed(lookup, "ROAS_RETRY")?,
            synchronous: parsed(lookup, "ROAS_SYNCHRONOUS")?,
            readers: parsed(lookup, "ROAS_READERS")?,
            queue_capacity: parsed(lookup, "ROAS_QUEUE_CAPACITY")?,
            remember_events_days: parsed(lookup, "ROAS_REMEMBER_EVENTS_DAYS")?,
            wal_limit_mib: parsed(lookup, "ROAS_WAL_LIMIT_MIB")?,
            max_clock_skew_seconds: parsed(lookup, "ROAS_MAX_CLOCK_SKEW_SECONDS")?,
            allow_aliases: parsed::<Flag>(lookup, "ROAS_ALLOW_ALIASES")?.map(|Flag(allow)| allow),
            json: parsed::<Flag>(lookup, "ROAS_JSON")?.map(|Flag(json)| json),
            log: parsed(lookup, "ROAS_LOG")?,
        })
    }

    /// This layer above `lower`: what it says holds, what it leaves out is taken from `lower`.
    #[must_use]
    pub fn above(self, lower: Self) -> Self {
        Self {
            db: self.db.or(lower.db),
            retry: self.retry.or(lower.retry),
            synchronous: self.synchronous.or(lower.synchronous),
            readers: self.readers.or(lower.readers),
            queue_capacity: self.queue_capacity.or(lower.queue_capacity),
            remember_events_days: self.remember_events_days.or(lower.remember_events_days),
            wal_limit_mib: self.wal_limit_mib.or(lower.wal_limit_mib),
            max_clock_skew_seconds: self.max_clock_skew_seconds.or(lower.max_clock_skew_seconds),
            allow_aliases: self.allow_aliases.or(lower.allow_aliases),
            json: self.json.or(lower.json),
            log: self.log.or(lower.log),
        }
    }
}

/// A variable that is yes or no.
struct Flag(bool);

impl FromStr for Flag {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, InvalidSetting> {
        match text {
            "true" | "1" => Ok(Self(true)),
            "false" | "0" => Ok(Self(false)),
            _ => Err(InvalidSetting::new(text, "true, false, 1, 0")),
        }
    }
}

fn set(lookup: &dyn Fn(&str) -> Option<OsString>, variable: &str) -> Option<OsString> {
    lookup(variable).filter(|value| !value.is_empty())
}

fn parsed<T: FromStr<Err = InvalidSetting>>(
    lookup: &dyn Fn(&str) -> Option<OsString>,
    variable: &'static str,
) -> Result<Option<T>, ConfigError> {
    set(lookup, variable)
        .map(|value| value.to_string_lossy().parse())
        .transpose()
        .map_err(|source| ConfigError::Environment { variable, source })
}

/// Every setting, decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The database file.
    pub db: PathBuf,
    /// How stubbornly a busy database is tried again.
    pub retry: RetryPreset,
    /// What an acknowledged write survives.
    pub synchronous: Synchronous,
    /// How many connections read.
    pub readers: usize,
    /// How many events may wait for the writer.
    pub queue_capacity: usize,
    /// For how long event ids are remembered.
    pub remember_events: Duration,
    /// The size of the WAL that writes are slowed down for, in MiB; `None` for the default of the disk.
    pub wal_limit_mib: Option<u32>,
    /// How far a time may lie ahead of the clock; `None` takes any time.
    pub max_clock_skew: Option<Duration>,
    /// Whether a database with several names, or mounted as a file, is opened.
    pub allow_aliases: bool,
    /// Whether the answer is one JSON object.
    pub json: bool,
    /// How much is told on stderr.
    pub log: LogLevel,
}

impl Settings {
    /// Decides every setting: `flags` above the environment above the file.
    ///
    /// The file is `config`, else the one that `ROAS_CONFIG` names, else [`DEFAULT_FILE`] in the
    /// current folder, where there is one.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] where a source cannot be read, or says what is not allowed. A file that was
    /// named has to be there.
    pub fn load(
        config: Option<&Path>,
        flags: Layer,
        lookup: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ConfigError> {
        let environment = Layer::from_environment(lookup)?;
        let named = config
            .map(Path::to_owned)
            .or_else(|| set(lookup, "ROAS_CONFIG").map(PathBuf::from));
        let file = match named {
            Some(path) => Layer::from_file(&path)?,
            None => match Layer::from_file(Path::new(DEFAULT_FILE)) {
                Err(ConfigError::Unreadable { source, .. })
                    if source.kind() == io::ErrorKind::NotFound =>
                {
                    Layer::default()
                }
                other => other?,
            },
        };
        Ok(Self::resolve(flags.above(environment).above(file)))
    }

    /// The settings that a layer leads to, with defaults for what it leaves out.
    #[must_use]
    pub fn resolve(layer: Layer) -> Self {
        Self {
            db: layer.db.unwrap_or_else(|| PathBuf::from("roas.db")),
            retry: layer.retry.unwrap_or_default(),
            synchronous: layer.synchronous.unwrap_or_default(),
            readers: layer.readers.map_or(4, |readers| readers.get() as usize),
            queue_capacity: layer
                .queue_capacity
                .map_or(8_192, |capacity| capacity.get() as usize),
            remember_events: Duration::from_secs(
                SECONDS_PER_DAY
                    * layer
                        .remember_events_days
                        .map_or(7, |days| u64::from(days.get())),
            ),
            wal_limit_mib: layer.wal_limit_mib.map(Whole::get),
            max_clock_skew: match layer.max_clock_skew_seconds {
                None => Some(DEFAULT_MAX_CLOCK_SKEW),
                Some(MaxClockSkew::Seconds(seconds)) => {
                    Some(Duration::from_secs(seconds.get().into()))
                }
                Some(MaxClockSkew::Off) => None,
            },
            allow_aliases: layer.allow_aliases.unwrap_or(false),
            json: layer.json.unwrap_or(false),
            log: layer.log.unwrap_or_default(),
        }
    }

    /// The variables that lead another process to the same settings.
    pub(crate) fn environment(&self) -> [(&'static str, OsString); 11] {
        let days = self.remember_events.as_secs() / SECONDS_PER_DAY;
        let skew = self
            .max_clock_skew
            .map_or_else(|| "off".to_owned(), |skew| skew.as_secs().to_string());
        // An empty variable counts as unset.
        let limit = self
            .wal_limit_mib
            .map_or_else(String::new, |mib| mib.to_string());
        [
            ("ROAS_DB", self.db.clone().into()),
            ("ROAS_RETRY", self.retry.to_string().into()),
            ("ROAS_SYNCHRONOUS", self.synchronous.to_string().into()),
            ("ROAS_READERS", self.readers.to_string().into()),
            (
                "ROAS_QUEUE_CAPACITY",
                self.queue_capacity.to_string().into(),
            ),
            ("ROAS_REMEMBER_EVENTS_DAYS", days.to_string().into()),
            ("ROAS_WAL_LIMIT_MIB", limit.into()),
            ("ROAS_MAX_CLOCK_SKEW_SECONDS", skew.into()),
            ("ROAS_ALLOW_ALIASES", self.allow_aliases.to_string().into()),
            ("ROAS_JSON", self.json.to_string().into()),
            ("ROAS_LOG", self.log.to_string().into()),
        ]
    }
}

/// The configuration cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file holds what is not allowed.
    #[error("{}, line {line}: `{content}`: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What stands there.
        content: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A variable holds what is not allowed.
    #[error("environment variable {variable}")]
    Environment {
        /// The variable.
        variable: &'static str,
        /// What is wrong with it.
        source: InvalidSetting,
    },
}

/// What the settings say about the database.
#[must_use]
pub fn database_config(settings: &Settings, access: Access, on_old_schema: OnOldSchema) -> Config {
    let config = Config::new(&settings.db)
        .access(access)
        .on_old_schema(on_old_schema)
        .durability(match settings.synchronous {
            Synchronous::Full => Durability::Full,
            Synchronous::Normal => Durability::Normal,
        })
        .retry(match settings.retry {
            RetryPreset::Aggressive => RetryPolicy::aggressive(),
            RetryPreset::Balanced => RetryPolicy::balanced(),
            RetryPreset::Conservative => RetryPolicy::conservative(),
        })
        .readers(settings.readers)
        .queue_capacity(settings.queue_capacity)
        .remember_events_for(settings.remember_events)
        .max_clock_skew(settings.max_clock_skew)
        .allow_aliases(settings.allow_aliases);
    match settings.wal_limit_mib {
        Some(mib) => config.wal_limit(u64::from(mib) * 1024 * 1024),
        None => config,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment<'a>(
        variables: &'a [(&'a str, &'a str)],
    ) -> impl Fn(&str) -> Option<OsString> + 'a {
        move |name| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| OsString::from(value))
        }
    }

    fn toml(text: &str) -> Result<Layer, String> {
        Layer::from_toml(text, Path::new("roas.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_hold_where_nobody_says_anything() {
        let settings = Settings::resolve(Layer::default());
        assert_eq!(settings.db, Path::new("roas.db"));
        assert_eq!(settings.retry, RetryPreset::Balanced);
        assert_eq!(settings.synchronous, Synchronous::Full);
        assert_eq!((settings.readers, settings.queue_capacity), (4, 8_192));
        assert_eq!(settings.remember_events, Duration::from_hours(7 * 24));
        assert_eq!(settings.max_clock_skew, Some(Duration::from_mins(10)));
        assert!(!settings.allow_aliases && !settings.json);
        assert_eq!(settings.log, LogLevel::Warn);
    }

    #[test]
    fn a_file_may_say_everything() {
        let layer = toml(
            "db = 'a.db'\nretry = 'aggressive'\nsynchronous = 'normal'\nreaders = 2\n\
             queue_capacity = 16\nremember_events_days = 30\nallow_aliases = true\nmax_clock_skew_seconds = 0\n\
             wal_limit_mib = 256\njson = true\nlog = 'debug'\n",
        )
        .unwrap();
        let settings = Settings::resolve(layer);
        assert_eq!(settings.retry, RetryPreset::Aggressive);
        assert_eq!(settings.synchronous, Synchronous::Normal);
        assert_eq!((settings.readers, settings.queue_capacity), (2, 16));
        assert_eq!(settings.remember_events, Duration::from_hours(30 * 24));
        assert_eq!(settings.max_clock_skew, Some(Duration::ZERO));
        assert!(settings.allow_aliases && settings.json);
        assert_eq!(settings.wal_limit_mib, Some(256));
        assert_eq!(settings.log, LogLevel::Debug);
    }

    #[test]
    fn flags_are_above_the_environment_and_that_above_the_file() {
        let file = toml("db = 'file.db'\nreaders = 1\nlog = 'off'").unwrap();
        let lookup = environment(&[("ROAS_DB", "env.db"), ("ROAS_READERS", "2")]);
        let environment = Layer::from_environment(&lookup).unwrap();
        let flags = Layer {
            db: Some("flag.db".into()),
            ..Layer::default()
        };
        let settings = Settings::resolve(flags.above(environment).above(file));
        assert_eq!(settings.db, Path::new("flag.db"));
        assert_eq!(settings.readers, 2);
        assert_eq!(settings.log, LogLevel::Off);
    }

    #[test]
    fn a_bad_file_is_named_with_line_and_content() {
        for (text, expected) in [
            (
                "db = 'a'\n\nreader = 4",
                "roas.toml, line 3: `reader = 4`: unknown field `reader`",
            ),
            (
                "readers = 0",
                "line 1: `readers = 0`: `0` is not allowed: expected a whole number",
            ),
            ("readers = 'x'", "line 1: `readers = 'x'`: invalid type"),
            (
                "max_clock_skew_seconds = 86401",
                "`86401` is not allowed: expected a whole number of seconds from 0 to 86400, or `off`",
            ),
            (
                "max_clock_skew_seconds = true",
                "expected a whole number or `off`",
            ),
            (
                "\nretry = 'never'",
                "line 2: `retry = 'never'`: `never` is not allowed: expected agg",
            ),
            ("db = ", "line 1: `db =`"),
        ] {
            let error = toml(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_bad_variable_is_named() {
        for (name, value, expected) in [
            ("ROAS_RETRY", "never", "aggressive, balanced, conservative"),
            ("ROAS_SYNCHRONOUS", "FULL", "full, normal"),
            ("ROAS_READERS", "65", "1 to 64"),
            ("ROAS_QUEUE_CAPACITY", "many", "1 to 1048576"),
            ("ROAS_REMEMBER_EVENTS_DAYS", "-1", "1 to 3650"),
            (
                "ROAS_MAX_CLOCK_SKEW_SECONDS",
                "never",
                "0 to 86400, or `off`",
            ),
            ("ROAS_JSON", "yes", "true, false"),
            ("ROAS_LOG", "loud", "off, error"),
        ] {
            let variables = [(name, value)];
            let error = Layer::from_environment(&environment(&variables)).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(
                source.contains(expected) && source.contains(value),
                "{source}"
            );
        }
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let layer =
            Layer::from_environment(&environment(&[("ROAS_DB", ""), ("ROAS_LOG", "")])).unwrap();
        assert_eq!(layer, Layer::default());
    }

    #[test]
    fn a_relative_database_is_relative_to_the_files_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("my.toml");
        std::fs::write(&path, "db = 'data/a.db'").unwrap();
        let layer = Layer::from_file(&path).unwrap();
        assert_eq!(layer.db, Some(folder.path().join("data/a.db")));
        std::fs::write(&path, "db = '/srv/a.db'").unwrap();
        assert_eq!(
            Layer::from_file(&path).unwrap().db,
            Some("/srv/a.db".into())
        );
    }

    #[test]
    fn a_file_that_was_named_has_to_be_there() {
        let lookup = environment(&[("ROAS_CONFIG", "/nowhere/roas.toml")]);
        let error = Settings::load(None, Layer::default(), &lookup).unwrap_err();
        assert!(error.to_string().contains("/nowhere/roas.toml"), "{error}");
        let here = Path::new("/elsewhere/roas.toml");
        let error = Settings::load(Some(here), Layer::default(), &lookup).unwrap_err();
        assert!(
            error.to_string().contains("/elsewhere/roas.toml"),
            "{error}"
        );
    }

    #[test]
    fn another_process_can_be_led_to_the_same_settings() {
        let layer = toml(
            "db = '/a.db'\nretry = 'conservative'\nsynchronous = 'normal'\nreaders = 2\n\
             queue_capacity = 16\nremember_events_days = 30\nallow_aliases = true\nmax_clock_skew_seconds = 'off'\n\
             json = true\nlog = 'trace'\n",
        );
        let settings = Settings::resolve(layer.unwrap());
        let variables = settings.environment();
        let lookup = |name: &str| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.clone())
        };
        let layer = Layer::from_environment(&lookup).unwrap();
        assert_eq!(Settings::resolve(layer), settings);
    }

    #[test]
    fn each_v_tells_more() {
        assert_eq!(LogLevel::from_verbosity(0), None);
        assert_eq!(LogLevel::from_verbosity(1), Some(LogLevel::Info));
        assert_eq!(LogLevel::from_verbosity(9), Some(LogLevel::Trace));
        assert_eq!(LogLevel::Trace.to_string(), "trace");
    }
}
