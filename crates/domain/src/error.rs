//! The error type of the port.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Why a request to a repository failed.
///
/// Cheap to clone: if one cause fails several callers, each gets the full error, with its source.
#[derive(Debug, Clone)]
pub struct RepositoryError {
    kind: RepositoryErrorKind,
    message: Arc<str>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl fmt::Display for RepositoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

// Written by hand, so that the source is the shared error itself, which callers can downcast, and
// not the `Arc` around it.
impl Error for RepositoryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// The kinds of [`RepositoryError`], by what a caller can do about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RepositoryErrorKind {
    /// Another connection held the store for longer than the adapter's deadline. Try again later.
    Busy {
        /// How long the adapter waited.
        waited: Duration,
        /// How many attempts it made.
        attempts: u32,
    },
    /// The adapter's queue is full; only operations that must not wait return this. Try again
    /// later.
    Overloaded,
    /// The request breaks a rule of the port. Trying again does not help.
    InvalidRequest,
    /// The store has no space left. Try again after some is freed.
    StorageFull,
    /// The store cannot be written to.
    ReadOnly,
    /// The stored data of this guild or member is not valid in the domain, for example after a
    /// manual edit. Others are not affected. Retrying does not help: the error says what to
    /// correct. Setting a guild's rules corrects them.
    InvalidData,
    /// The store is damaged. An operator has to repair or restore it.
    Corrupt,
    /// The write was submitted, and it is not known whether it took effect. Recording the same
    /// event again is safe if it has an id.
    OutcomeUnknown,
    /// The repository was closed before it accepted the request.
    Closed,
    /// The store cannot be used (an I/O error, a missing file, a panic in the adapter).
    Unavailable,
    /// A bug in the adapter.
    Internal,
}

/// What a failed write did to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Nothing was applied.
    NotApplied,
    /// It was either applied in full or not at all.
    Unknown,
}

impl RepositoryError {
    /// Creates an error without a source.
    pub fn new(kind: RepositoryErrorKind, message: impl Into<Arc<str>>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// Creates an error with the source that caused it.
    pub fn with_source(
        kind: RepositoryErrorKind,
        message: impl Into<Arc<str>>,
        source: impl Error + Send + Sync + 'static,
    ) -> Self {
        Self {
            kind,
            message: message.into(),
            source: Some(Arc::new(source)),
        }
    }

    /// The kind of this error.
    #[must_use]
    pub const fn kind(&self) -> RepositoryErrorKind {
        self.kind
    }

    /// Whether the same request may succeed later without intervention.
    ///
    /// `false` for [`RepositoryErrorKind::OutcomeUnknown`]: retrying that is safe only for events
    /// that have an id, so the caller decides.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self.kind,
            RepositoryErrorKind::Busy { .. } | RepositoryErrorKind::Overloaded
        )
    }

    /// What the failed request did to the store.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        match self.kind {
            RepositoryErrorKind::OutcomeUnknown => Effect::Unknown,
            _ => Effect::NotApplied,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_keep_kind_message_and_source() {
        let cause = std::io::Error::other("disk on fire");
        let error =
            RepositoryError::with_source(RepositoryErrorKind::Unavailable, "cannot write", cause);
        let clone = error.clone();
        assert_eq!(clone.kind(), RepositoryErrorKind::Unavailable);
        assert_eq!(clone.to_string(), "cannot write");
        assert_eq!(clone.source().unwrap().to_string(), "disk on fire");
    }

    #[test]
    fn kinds_decide_retryability_and_effect() {
        let of = |kind| RepositoryError::new(kind, "");
        let busy = RepositoryErrorKind::Busy {
            waited: Duration::from_secs(1),
            attempts: 3,
        };
        assert!(of(busy).is_retryable());
        assert!(of(RepositoryErrorKind::Overloaded).is_retryable());
        assert!(!of(RepositoryErrorKind::OutcomeUnknown).is_retryable());
        assert_eq!(
            of(RepositoryErrorKind::OutcomeUnknown).effect(),
            Effect::Unknown
        );
        assert_eq!(
            of(RepositoryErrorKind::Corrupt).effect(),
            Effect::NotApplied
        );
    }
}
