//! How a command fails: one line on stderr, and an exit code.

use std::io;
use std::process::ExitCode;

use roas_app::one_line;
use roas_db::{InvalidRow, OpenError};
use roas_domain::{GuildId, RepositoryError, UserId};

use crate::ingest::REJECTED;
use crate::input_format::Format;
use crate::settings::ConfigError;
use roas_app::ingest::IngestError;

/// Why a command could not be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What was asked for contradicts itself, in a way that only shows once files are looked at.
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    #[error(transparent)]
    Ingest(#[from] IngestError),
    #[error("{what}")]
    Io { what: String, source: io::Error },
    /// An input to ingest of which nothing was accepted.
    #[error("no line of {name} is a gateway payload: {format}")]
    NotPayloads { name: String, format: Format },
    #[error("no record of user {user} in guild {guild}")]
    UnknownMember { guild: GuildId, user: UserId },
    /// A signal ended an operation on the whole file.
    #[error("{source}")]
    Interrupted { code: u8, source: OpenError },
    #[error("{0}")]
    Other(String),
}

impl CliError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Config(_) | Self::Usage(_) => 2,
            Self::NotPayloads { .. } => REJECTED,
            Self::Interrupted { code, .. } => *code,
            _ => 1,
        })
    }
}

fn sources_of<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'e (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// An error and its sources in one line, with what to do about it at a terminal.
pub(crate) fn with_advice(error: &(dyn std::error::Error + 'static)) -> String {
    let line = one_line(error);
    // A transparent variant is not among its own sources.
    let first: &(dyn std::error::Error + 'static) = match error.downcast_ref() {
        Some(CliError::Open(error)) => error,
        _ => error,
    };
    match sources_of(first).find_map(advice) {
        Some(advice) => format!("{line}; {advice}"),
        None => line,
    }
}

/// The command or option that helps with an error of the library, which knows of neither.
fn advice(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(row) = error.downcast_ref::<InvalidRow>() {
        row.readable_rules()?;
        let sets: Vec<_> = row.columns().map(|key| format!(" --set {key}=…")).collect();
        return Some(format!(
            "`roas rules --guild {}{}` corrects it",
            row.guild(),
            sets.concat()
        ));
    }
    Some(match error.downcast_ref::<OpenError>()? {
        OpenError::Exists { .. } => "`--force` replaces it".to_owned(),
        OpenError::Missing { .. } | OpenError::NotInitialized { .. } => {
            "`roas migrate` or the first write creates it".to_owned()
        }
        OpenError::Legacy { .. } => {
            "`roas migrate` takes it over, `roas audit` shows what that would do".to_owned()
        }
        OpenError::SchemaTooOld { .. } => "run `roas migrate`".to_owned(),
        OpenError::HalfMigrated { .. } => "run `roas repair`".to_owned(),
        OpenError::MigratesDown { wanted, .. } => {
            format!("`roas rollback --to {wanted}` goes back to it")
        }
        OpenError::RollsBackUp { wanted, .. } => {
            format!("`roas migrate --to {wanted}` goes up to it")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_adds_commands_to_the_errors_of_the_library() {
        let path = || std::path::PathBuf::from("a.db");
        let advised = |error: OpenError| {
            let plain = error.to_string();
            assert!(!plain.contains("roas"), "{plain}");
            let line = with_advice(&CliError::from(error));
            line.strip_prefix(&plain).unwrap().to_owned()
        };
        for (error, expected) in [
            (
                OpenError::Exists { path: path() },
                "; `--force` replaces it",
            ),
            (
                OpenError::Missing { path: path() },
                "; `roas migrate` or the first write creates it",
            ),
            (
                OpenError::SchemaTooOld {
                    path: path(),
                    found: 1,
                    known: 2,
                },
                "; run `roas migrate`",
            ),
            (
                OpenError::HalfMigrated {
                    path: path(),
                    reason: "no table".to_owned(),
                },
                "; run `roas repair`",
            ),
            (
                OpenError::MigratesDown {
                    path: path(),
                    wanted: 1,
                    found: 2,
                },
                "; `roas rollback --to 1` goes back to it",
            ),
            (
                OpenError::RollsBackUp {
                    path: path(),
                    wanted: 2,
                    found: 1,
                },
                "; `roas migrate --to 2` goes up to it",
            ),
            (OpenError::NoPath, ""),
        ] {
            assert_eq!(advised(error), expected);
        }
    }

    #[test]
    fn only_wrong_usage_is_2() {
        let code = |failure: CliError| format!("{:?}", failure.exit_code());
        assert_eq!(
            code(CliError::Usage(String::new())),
            format!("{:?}", ExitCode::from(2))
        );
        assert_eq!(
            code(CliError::Other(String::new())),
            format!("{:?}", ExitCode::from(1))
        );
    }
}
