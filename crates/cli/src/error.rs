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
pub(crate) enum Failure {
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

impl Failure {
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
    match sources_of(error).find_map(|source| source.downcast_ref::<InvalidRow>()) {
        Some(row) if row.readable_rules().is_some() => {
            let sets: Vec<_> = row.columns().map(|key| format!(" --set {key}=…")).collect();
            format!(
                "{line}; `roas rules --guild {}{}` corrects it",
                row.guild(),
                sets.concat()
            )
        }
        _ => match sources_of(error).find_map(|source| source.downcast_ref::<OpenError>()) {
            Some(OpenError::Exists { .. }) => format!("{line}; `--force` replaces it"),
            _ => line,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_wrong_usage_is_2() {
        let code = |failure: Failure| format!("{:?}", failure.exit_code());
        assert_eq!(
            code(Failure::Usage(String::new())),
            format!("{:?}", ExitCode::from(2))
        );
        assert_eq!(
            code(Failure::Other(String::new())),
            format!("{:?}", ExitCode::from(1))
        );
    }
}
