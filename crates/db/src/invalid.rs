//! Rows that hold values which the domain does not allow, named so that they can be corrected.

use std::fmt;

use roas_domain::{Day, GuildId, GuildRules, MemberKey};
use rusqlite::types::{Type, ValueRef};
use rusqlite::{Error, Row};

/// A row that cannot be read, because another program wrote a value that the meter does not accept. It
/// is the source of errors of the kind [`InvalidData`](roas_domain::RepositoryErrorKind::InvalidData).
#[derive(Debug, Clone, PartialEq)]
pub struct InvalidRow {
    table: &'static str,
    owner: Owner,
    values: Vec<InvalidValue>,
    rules: Option<GuildRules>,
}

/// Whose row it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    Guild(GuildId),
    Member(MemberKey),
    MemberOn(Day, MemberKey),
}

/// A column of a row, and what is wrong with its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct InvalidValue {
    column: String,
    reason: String,
}

impl fmt::Display for InvalidRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the row of {} in `{}` is invalid",
            self.owner, self.table
        )?;
        let mut before = ": ";
        for InvalidValue { column, reason } in &self.values {
            write!(f, "{before}column `{column}`: {reason}")?;
            before = "; ";
        }
        Ok(())
    }
}

impl std::error::Error for InvalidRow {}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guild(guild) => write!(f, "guild {guild}"),
            Self::Member(MemberKey { guild, user }) => write!(f, "user {user} of guild {guild}"),
            Self::MemberOn(day, MemberKey { guild, user }) => {
                write!(f, "user {user} of guild {guild} on {day}")
            }
        }
    }
}

impl InvalidRow {
    /// The table that the row is in.
    #[must_use]
    pub const fn table(&self) -> &'static str {
        self.table
    }

    /// The guild whose row it is, or whose member's.
    #[must_use]
    pub const fn guild(&self) -> GuildId {
        match self.owner {
            Owner::Guild(guild)
            | Owner::Member(MemberKey { guild, .. })
            | Owner::MemberOn(_, MemberKey { guild, .. }) => guild,
        }
    }

    /// The columns that hold such values, in the order of the table: all of them where it is a guild's
    /// rules, else the first.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(|value| value.column.as_str())
    }

    /// Where the row holds a guild's rules: these, with the default for each of
    /// [`columns`](Self::columns). Setting them corrects the row.
    #[must_use]
    pub const fn readable_rules(&self) -> Option<&GuildRules> {
        self.rules.as_ref()
    }

    /// The error for a guild's rules, of which `rules` could be read.
    pub(crate) fn of_rules(guild: GuildId, values: Vec<InvalidValue>, rules: GuildRules) -> Error {
        Self {
            table: "activity_settings",
            owner: Owner::Guild(guild),
            values,
            rules: Some(rules),
        }
        .into()
    }

    /// The row that `error` is about, or `error` where it is about none.
    pub(crate) fn take_from(error: Error) -> Result<Self, Error> {
        match error {
            Error::FromSqlConversionFailure(column, kind, source) => source
                .downcast()
                .map(|row| *row)
                .map_err(|source| Error::FromSqlConversionFailure(column, kind, source)),
            error => Err(error),
        }
    }
}

/// The driver's own kind of error for such values, so that it comes through its interfaces.
impl From<InvalidRow> for Error {
    fn from(row: InvalidRow) -> Self {
        Self::FromSqlConversionFailure(0, Type::Null, Box::new(row))
    }
}

/// What `read` makes of a row. An error that is about one of its values names the row and the column.
pub(crate) fn read_row<T>(
    row: &Row<'_>,
    table: &'static str,
    owner: Owner,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    read(row).map_err(|error| match InvalidValue::of(row, error) {
        Ok(value) => InvalidRow {
            table,
            owner,
            values: vec![value],
            rules: None,
        }
        .into(),
        Err(error) => error,
    })
}

impl InvalidValue {
    /// The value of `row` that `error` is about, or `error` where it is about none.
    pub(crate) fn of(row: &Row<'_>, error: Error) -> Result<Self, Error> {
        let (column, reason) = match &error {
            Error::FromSqlConversionFailure(column, _, source) => (*column, source.to_string()),
            Error::InvalidColumnType(column, ..)
            | Error::IntegralValueOutOfRange(column, _)
            | Error::Utf8Error(column, _) => {
                let value = row.get_ref(*column)?;
                (
                    *column,
                    format!("{} is not of the column's type", shown(value)),
                )
            }
            _ => return Err(error),
        };
        Ok(Self {
            column: row.as_ref().column_name(column)?.to_owned(),
            reason,
        })
    }
}

fn shown(value: ValueRef<'_>) -> String {
    const SHOWN: usize = 40;
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(value) => value.to_string(),
        ValueRef::Real(value) => value.to_string(),
        ValueRef::Text(text) => {
            let text = String::from_utf8_lossy(text);
            let shown: String = text.chars().take(SHOWN).collect();
            format!("`{}`", shown.escape_debug())
        }
        ValueRef::Blob(bytes) => format!("a blob of {} bytes", bytes.len()),
    }
}
