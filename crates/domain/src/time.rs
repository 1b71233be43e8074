//! Time as the meter counts it: whole Unix seconds, and calendar days in a guild's time zone.

use std::fmt;
use std::str::FromStr;
use std::time::UNIX_EPOCH;

use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan};
use thiserror::Error;

/// A source of the current time. Passed in as a parameter, so that tests and load runs can be
/// repeated.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The current time.
    fn now(&self) -> UnixSeconds;
}

/// The machine's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    /// A wall clock before 1970 or after [`UnixSeconds::MAX`] is clamped to the nearest bound.
    fn now(&self) -> UnixSeconds {
        #[expect(clippy::disallowed_methods, reason = "this is the clock")]
        let now = std::time::SystemTime::now();
        let seconds = now
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_secs());
        UnixSeconds(
            i64::try_from(seconds).map_or(UnixSeconds::MAX.0, |s| s.min(UnixSeconds::MAX.0)),
        )
    }
}

/// A point in time: whole seconds since 1970-01-01T00:00:00Z, from 0 to 99,999,999,999.
///
/// The upper bound (the year 5138) detects milliseconds: every count of milliseconds since March
/// 1973 is above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(i64);

impl UnixSeconds {
    /// The earliest time.
    pub const MIN: Self = Self(0);
    /// The latest time.
    pub const MAX: Self = Self(99_999_999_999);

    /// Checks and wraps a number of seconds.
    ///
    /// # Errors
    ///
    /// [`InvalidTime`] outside of [`Self::MIN`]..=[`Self::MAX`]; its text says so if the number
    /// looks like milliseconds.
    pub fn new(seconds: i64) -> Result<Self, InvalidTime> {
        match seconds {
            0..=99_999_999_999 => Ok(Self(seconds)),
            100_000_000_000.. => Err(InvalidTime::Milliseconds { input: seconds }),
            _ => Err(InvalidTime::Negative { input: seconds }),
        }
    }

    /// The number of seconds.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Seconds from `earlier` to `self`; negative if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// This time plus `seconds`, clamped to the bounds.
    #[must_use]
    pub fn saturating_add(self, seconds: i64) -> Self {
        Self(
            self.0
                .saturating_add(seconds)
                .clamp(Self::MIN.0, Self::MAX.0),
        )
    }

    fn timestamp(self) -> Timestamp {
        Timestamp::from_second(self.0).expect("the bounds lie within jiff's")
    }
}

impl TryFrom<i64> for UnixSeconds {
    type Error = InvalidTime;

    fn try_from(seconds: i64) -> Result<Self, InvalidTime> {
        Self::new(seconds)
    }
}

/// Formats as RFC 3339 in UTC.
impl fmt::Display for UnixSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.timestamp().fmt(f)
    }
}

/// Parses a number of Unix seconds, or an RFC 3339 time such as `2025-08-22T00:00:01.438+00:00`,
/// whose fraction of a second is dropped.
impl FromStr for UnixSeconds {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        if let Ok(seconds) = text.parse::<i64>() {
            return Self::new(seconds);
        }
        let timestamp: Timestamp = text.parse().map_err(|_| InvalidTime::Unreadable {
            input: shortened(text),
        })?;
        Self::new(timestamp.as_millisecond().div_euclid(1_000))
    }
}

/// The input is not a time that the meter accepts.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidTime {
    /// Too large for seconds: probably milliseconds or finer.
    #[error("{input} looks like milliseconds: expected Unix seconds, at most 99999999999")]
    Milliseconds {
        /// The input.
        input: i64,
    },
    /// Before 1970.
    #[error("{input} is before 1970: expected Unix seconds from 0 to 99999999999")]
    Negative {
        /// The input.
        input: i64,
    },
    /// Neither a number nor an RFC 3339 time.
    #[error("`{}` is not a time: expected Unix seconds or RFC 3339 (2025-08-22T00:00:01Z)", input.escape_debug())]
    Unreadable {
        /// The input, truncated if long.
        input: String,
    },
}

/// A calendar day in a guild's time zone. Formatted as `20250822`, as the tables of the meter store
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(Date);

impl Day {
    /// The month of the day.
    #[must_use]
    pub fn month(self) -> Month {
        Month(self.0.first_of_month())
    }
}

/// `YYYYMMDD`.
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:04}{:02}{:02}",
            self.0.year(),
            self.0.month(),
            self.0.day()
        )
    }
}

/// Parses `YYYYMMDD` or `YYYY-MM-DD`.
impl FromStr for Day {
    type Err = InvalidPeriod;

    fn from_str(text: &str) -> Result<Self, InvalidPeriod> {
        let invalid = || InvalidPeriod {
            expected: "a day as YYYYMMDD",
            input: shortened(text),
        };
        let [year, month, day] = digits(text, [4, 2, 2]).ok_or_else(invalid)?;
        date(year, month, day).map(Self).ok_or_else(invalid)
    }
}

/// A calendar month in a guild's time zone. Formatted as `202508`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(Date);

impl Month {
    /// The days of the month, in order.
    pub fn days(self) -> impl Iterator<Item = Day> {
        self.0
            .series(1.day())
            .take_while(move |day| day.month() == self.0.month())
            .map(Day)
    }
}

/// `YYYYMM`.
impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}{:02}", self.0.year(), self.0.month())
    }
}

/// Parses `YYYYMM` or `YYYY-MM`.
impl FromStr for Month {
    type Err = InvalidPeriod;

    fn from_str(text: &str) -> Result<Self, InvalidPeriod> {
        let invalid = || InvalidPeriod {
            expected: "a month as YYYYMM",
            input: shortened(text),
        };
        let [year, month] = digits(text, [4, 2]).ok_or_else(invalid)?;
        date(year, month, 1).map(Self).ok_or_else(invalid)
    }
}

/// Splits `text` into numbers of the given widths, with or without dashes between all of them.
fn digits<const N: usize>(text: &str, widths: [usize; N]) -> Option<[u16; N]> {
    let compact = widths.iter().sum::<usize>();
    let dashed = compact + N - 1;
    let gap = match text.len() {
        len if len == compact => 0,
        len if len == dashed => 1,
        _ => return None,
    };
    let mut parts = [0; N];
    let mut at = 0;
    for (index, width) in widths.into_iter().enumerate() {
        if index > 0 && gap == 1 {
            (text.as_bytes()[at] == b'-').then_some(())?;
            at += 1;
        }
        let part = text.get(at..at + width)?;
        part.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then_some(())?;
        parts[index] = part.parse().ok()?;
        at += width;
    }
    Some(parts)
}

fn date(year: u16, month: u16, day: u16) -> Option<Date> {
    Date::new(
        year.try_into().ok()?,
        month.try_into().ok()?,
        day.try_into().ok()?,
    )
    .ok()
}

/// The input is not a calendar day or month.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{}` is not {expected}", input.escape_debug())]
pub struct InvalidPeriod {
    expected: &'static str,
    input: String,
}

/// A guild's time zone: an IANA name such as `Asia/Taipei`, from the embedded time zone database.
/// It decides the calendar day on which a message counts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct GuildTimeZone {
    zone: TimeZone,
}

impl GuildTimeZone {
    /// Looks up an IANA name, ignoring case.
    ///
    /// # Errors
    ///
    /// [`UnknownTimeZone`] if the database does not have the name.
    pub fn new(name: &str) -> Result<Self, UnknownTimeZone> {
        TimeZoneDatabase::bundled()
            .get(name)
            .ok()
            .filter(|zone| zone.iana_name().is_some())
            .map(|zone| Self { zone })
            .ok_or_else(|| UnknownTimeZone {
                input: shortened(name),
            })
    }

    /// The zone's IANA name in its canonical spelling.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "a zone always has a name")]
    pub fn name(&self) -> &str {
        self.zone.iana_name().expect("checked at construction")
    }

    /// The calendar day at `time` in this zone.
    #[must_use]
    pub fn day_of(&self, time: UnixSeconds) -> Day {
        Day(self.zone.to_datetime(time.timestamp()).date())
    }
}

/// UTC.
impl Default for GuildTimeZone {
    fn default() -> Self {
        Self {
            zone: TimeZone::UTC,
        }
    }
}

impl PartialEq for GuildTimeZone {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}
impl Eq for GuildTimeZone {}

impl fmt::Display for GuildTimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for GuildTimeZone {
    type Err = UnknownTimeZone;

    fn from_str(name: &str) -> Result<Self, UnknownTimeZone> {
        Self::new(name)
    }
}

/// The embedded time zone database does not have a zone with this name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{}` is not a known time zone: expected an IANA name such as `Asia/Taipei` or `UTC`", input.escape_debug())]
pub struct UnknownTimeZone {
    input: String,
}

/// At most 60 characters of `text`, for error messages.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> UnixSeconds {
        UnixSeconds::new(seconds).unwrap()
    }

    #[test]
    fn milliseconds_and_negative_times_are_refused() {
        let error = UnixSeconds::new(1_755_820_801_000).unwrap_err();
        assert!(error.to_string().contains("milliseconds"), "{error}");
        assert!(
            UnixSeconds::new(-1)
                .unwrap_err()
                .to_string()
                .contains("1970")
        );
        assert_eq!(UnixSeconds::new(0).unwrap(), UnixSeconds::MIN);
        assert_eq!(UnixSeconds::new(99_999_999_999).unwrap(), UnixSeconds::MAX);
    }

    #[test]
    fn text_is_seconds_or_rfc_3339_with_the_fraction_cut_off() {
        for (text, seconds) in [
            ("1755820801", 1_755_820_801),
            ("2025-08-22T00:00:01.999999+00:00", 1_755_820_801),
            ("2025-08-22T08:00:01+08:00", 1_755_820_801),
            ("1970-01-01T00:00:00Z", 0),
        ] {
            assert_eq!(text.parse::<UnixSeconds>().unwrap(), at(seconds), "{text}");
        }
        for text in [
            "yesterday",
            "",
            "2025-08-22",
            "1969-12-31T23:59:59.9Z",
            "1755820801000",
        ] {
            assert!(text.parse::<UnixSeconds>().is_err(), "{text}");
        }
        assert_eq!(at(1_755_820_801).to_string(), "2025-08-22T00:00:01Z");
    }

    #[test]
    fn arithmetic_stays_within_the_bounds() {
        assert_eq!(at(5).since(at(8)), -3);
        assert_eq!(at(5).saturating_add(-9), UnixSeconds::MIN);
        assert_eq!(at(5).saturating_add(i64::MAX), UnixSeconds::MAX);
    }

    #[test]
    fn a_guilds_zone_decides_the_day() {
        let midnight_in_utc = at(1_755_820_800);
        let day = |zone| {
            GuildTimeZone::new(zone)
                .unwrap()
                .day_of(midnight_in_utc)
                .to_string()
        };
        assert_eq!(day("UTC"), "20250822");
        assert_eq!(day("Asia/Taipei"), "20250822");
        assert_eq!(day("America/New_York"), "20250821");
        assert_eq!(
            GuildTimeZone::default().day_of(midnight_in_utc).to_string(),
            "20250822"
        );
    }

    #[test]
    fn zones_are_found_by_name_ignoring_case() {
        assert_eq!(
            GuildTimeZone::new("asia/taipei").unwrap().name(),
            "Asia/Taipei"
        );
        assert_eq!(GuildTimeZone::new("utc").unwrap(), GuildTimeZone::default());
        for bad in [
            "",
            "Mars/Olympus",
            "+08:00",
            "../etc/passwd",
            "unknown",
            "Etc/Unknown",
        ] {
            assert!(GuildTimeZone::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn days_and_months_parse_what_they_format() {
        let day: Day = "20240229".parse().unwrap();
        assert_eq!(day.to_string(), "20240229");
        assert_eq!("2024-02-29".parse::<Day>().unwrap(), day);
        assert_eq!(day.month(), "2024-02".parse().unwrap());
        assert_eq!(day.month().to_string(), "202402");
        assert_eq!(day.month().days().count(), 29);
        assert_eq!("202402".parse::<Month>().unwrap().days().last(), Some(day));
        for bad in [
            "20250229",
            "2024022",
            "2024-0229",
            "202402-29",
            "２０２４",
            "+0240229",
            "",
        ] {
            assert!(bad.parse::<Day>().is_err(), "{bad:?}");
        }
        for bad in ["202413", "2024", "2024/01", "20240101"] {
            assert!(bad.parse::<Month>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_system_clock_returns_a_time_of_this_century() {
        assert!(SystemClock.now() > at(1_700_000_000));
    }
}
