//! What the program says: results on standard output, everything about them on standard error.

use std::fmt;
use std::io::{self, Write};

/// Writes text to standard output. A reader who has gone away is no error.
pub(super) fn result(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Writes a line to standard error.
pub(super) fn note(line: impl fmt::Display) {
    // Where even this fails there is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "{line}");
}
