//! The one error type of the port.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Why a repository could not do what it was asked.
///
/// Cheap to clone: where one cause fails several callers, each gets the whole of it, source
/// included.
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

// Written out, so that the source is the shared error itself, which callers can downcast, and not
// the `Arc` around it.
impl Error for RepositoryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// The kinds of [`RepositoryError`], by what a caller can do about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RepositoryErrorKind {
    /// Somebody else held the store for longer than the adapter's deadline. Try again later.
    Busy {
        /// How long was waited.
        waited: Duration,
        /// How often it was tried.
        attempts: u32,
    },
    /// The adapter's queue is full; only operations that must not wait say this. Try again later.
    Overloaded,
    /// The request breaks a rule of the port. Trying again does not help.
    InvalidRequest,
    /// The store has no room left. Try again when there is.
    StorageFull,
    /// The store cannot be written to.
    ReadOnly,
    /// What is stored of this guild or this member is nothing that the domain accepts, as after an edit
    /// by hand. Others are not affected, and trying again does not help: the error says what to correct.
    /// A guild's rules are corrected by setting them.
    InvalidData,
    /// The store is damaged. Its operator must look at it.
    Corrupt,
    /// The write was handed to the store, and whether it took effect cannot be known. Recording
    /// the same event again is safe where it carries an id.
    OutcomeUnknown,
    /// The repository was closed before it took the request.
    Closed,
    /// The store cannot be used (an I/O error, the file gone, a panic in the adapter).
    Unavailable,
    /// A defect in the adapter.
    Internal,
}

/// What a failed write did to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Nothing was applied.
    NotApplied,
    /// It may have been applied, whole, or not at all.
    Unknown,
}

impl RepositoryError {
    /// An error without a source.
    pub fn new(kind: RepositoryErrorKind, message: impl Into<Arc<str>>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// An error with the source that caused it.
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

    /// What kind of error this is.
    #[must_use]
    pub const fn kind(&self) -> RepositoryErrorKind {
        self.kind
    }

    /// Whether the same request may succeed later without anyone's help.
    ///
    /// A retry of [`RepositoryErrorKind::OutcomeUnknown`] is safe only for events that carry an id,
    /// and is left to the caller for that reason.
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
    fn kinds_say_what_a_caller_may_do() {
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
