//! Snowflakes: the 64-bit ids that Discord assigns to guilds, users and messages.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::num::NonZeroU64;
use std::str::FromStr;

use thiserror::Error;

/// What a [`Snowflake`] identifies. Sealed: only the three kinds below exist.
pub trait Kind: sealed::Sealed + 'static {
    /// The kind's name as it appears in error messages.
    const NAME: &'static str;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        #[non_exhaustive]
        pub struct $kind;
        impl sealed::Sealed for $kind {}
        impl Kind for $kind {
            const NAME: &'static str = $name;
        }
    )*};
}

kinds! {
    /// Marks the id of a guild (a Discord server).
    Guild = "guild id";
    /// Marks the id of a user.
    User = "user id";
    /// Marks the id of an event: a message's own id.
    Event = "event id";
}

/// A guild's id.
pub type GuildId = Snowflake<Guild>;
/// A user's id.
pub type UserId = Snowflake<User>;
/// An event's id: the message's snowflake. An id counts once.
pub type EventId = Snowflake<Event>;

/// A typed, non-zero id of at most 63 bits.
///
/// Discord's ids are unsigned 64-bit numbers whose top bit stays zero until the year 2084, so
/// stores with signed 64-bit integers can hold them. Both bounds are checked here, once.
///
/// ```
/// use roas_domain::GuildId;
///
/// let guild: GuildId = "743430870758460727".parse()?;
/// assert_eq!(guild.get(), 743_430_870_758_460_727);
/// assert!("0".parse::<GuildId>().is_err());
/// assert!("9223372036854775808".parse::<GuildId>().is_err());
/// # Ok::<(), roas_domain::InvalidId>(())
/// ```
pub struct Snowflake<K> {
    value: NonZeroU64,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind> Snowflake<K> {
    /// The largest id: 2^63 − 1.
    pub const MAX: u64 = i64::MAX as u64;

    /// Checks and wraps an id.
    ///
    /// # Errors
    ///
    /// [`InvalidId`] for 0 and for values above [`Self::MAX`].
    pub fn new(value: u64) -> Result<Self, InvalidId> {
        match NonZeroU64::new(value) {
            Some(value) if value.get() <= Self::MAX => Ok(Self {
                value,
                kind: PhantomData,
            }),
            _ => Err(InvalidId::of::<K>(&value)),
        }
    }

    /// The id as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.value.get()
    }

    /// The id as a signed number, as stores keep it. Never negative.
    #[must_use]
    pub const fn to_i64(self) -> i64 {
        self.value.get().cast_signed()
    }
}

impl<K: Kind> TryFrom<u64> for Snowflake<K> {
    type Error = InvalidId;

    fn try_from(value: u64) -> Result<Self, InvalidId> {
        Self::new(value)
    }
}

impl<K: Kind> TryFrom<i64> for Snowflake<K> {
    type Error = InvalidId;

    fn try_from(value: i64) -> Result<Self, InvalidId> {
        u64::try_from(value)
            .ok()
            .and_then(|value| Self::new(value).ok())
            .ok_or_else(|| InvalidId::of::<K>(&value))
    }
}

impl<K: Kind> FromStr for Snowflake<K> {
    type Err = InvalidId;

    /// Parses decimal digits, without sign or spaces.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits
            .then(|| text.parse::<u64>().ok())
            .flatten()
            .and_then(|value| Self::new(value).ok())
            .ok_or_else(|| InvalidId::of::<K>(&text))
    }
}

// Written by hand, because a derive would require the same traits of the marker type.
impl<K> Clone for Snowflake<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Snowflake<K> {}
impl<K> PartialEq for Snowflake<K> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}
impl<K> Eq for Snowflake<K> {}
impl<K> PartialOrd for Snowflake<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Snowflake<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.value.cmp(&other.value)
    }
}
impl<K> Hash for Snowflake<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.value.hash(state);
    }
}
impl<K> fmt::Display for Snowflake<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}
impl<K: Kind> fmt::Debug for Snowflake<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", K::NAME, self.value)
    }
}

/// The input is not a snowflake: not a number, 0, or above 2^63 − 1.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{}` is not a valid {kind}: expected a whole number from 1 to 9223372036854775807", input.escape_debug())]
pub struct InvalidId {
    kind: &'static str,
    input: String,
}

impl InvalidId {
    fn of<K: Kind>(input: &dyn fmt::Display) -> Self {
        // An id has at most 19 digits; longer input is truncated in the message.
        const SHOWN: usize = 40;
        let mut input = input.to_string();
        if let Some((end, _)) = input.char_indices().nth(SHOWN) {
            input.truncate(end);
            input.push('…');
        }
        Self {
            kind: K::NAME,
            input,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_escapes_control_characters() {
        let error = "7434\u{18}3\n".parse::<EventId>().unwrap_err().to_string();
        assert!(error.starts_with(r"`7434\u{18}3\n` is not"), "{error}");
    }

    #[test]
    fn ids_range_from_one_to_the_largest_signed_number() {
        assert_eq!(GuildId::new(1).unwrap().get(), 1);
        assert_eq!(GuildId::new(GuildId::MAX).unwrap().to_i64(), i64::MAX);
        assert!(GuildId::new(0).is_err());
        assert!(GuildId::new(GuildId::MAX + 1).is_err());
        assert!(GuildId::try_from(-1_i64).is_err());
        assert!(GuildId::try_from(0_i64).is_err());
        assert_eq!(
            UserId::try_from(7_i64).unwrap(),
            UserId::try_from(7_u64).unwrap()
        );
    }

    #[test]
    fn text_must_be_digits_only() {
        for bad in [
            "",
            " 1",
            "+1",
            "-1",
            "1.0",
            "abc",
            "１",
            "18446744073709551616",
        ] {
            assert!(bad.parse::<EventId>().is_err(), "{bad:?}");
        }
        assert_eq!("42".parse::<EventId>().unwrap().to_string(), "42");
    }

    #[test]
    fn the_error_names_kind_and_input_and_is_short() {
        let error = "abc".parse::<UserId>().unwrap_err().to_string();
        assert!(error.starts_with("`abc` is not a valid user id"), "{error}");
        let error = "小"
            .repeat(5_000)
            .parse::<UserId>()
            .unwrap_err()
            .to_string();
        assert!(error.chars().count() < 150, "{error}");
    }

    #[test]
    fn debug_and_order() {
        let (one, two) = (UserId::new(1).unwrap(), UserId::new(2).unwrap());
        assert!(one < two);
        assert_eq!(format!("{one:?}"), "user id 1");
    }
}
