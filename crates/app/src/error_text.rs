//! Errors as text.

use std::error::Error;

/// An error and its sources, joined by `: `. A source that the error before it has already spelled
/// out is left away.
#[must_use]
pub fn one_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let text = source.to_string();
        if !text.is_empty() && !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        next = source.source();
    }
    // An error of another crate may hold line breaks; one line is promised.
    line.split(['\r', '\n'])
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use roas_domain::{RepositoryError, RepositoryErrorKind};

    use super::*;

    #[test]
    fn sources_are_joined_in_one_line_and_not_repeated() {
        let cause = io::Error::other("disk\n  on fire");
        let error =
            RepositoryError::with_source(RepositoryErrorKind::Internal, "cannot write", cause);
        assert_eq!(one_line(&error), "cannot write: disk on fire");

        let gone = io::Error::other("gone");
        let repeated = RepositoryError::with_source(
            RepositoryErrorKind::Internal,
            "cannot read a: gone",
            gone,
        );
        assert_eq!(one_line(&repeated), "cannot read a: gone");
    }
}
