//! The outermost fields of a payload that is too long to be kept.

use super::{GatewayLine, IgnoredReason, LineError, parse_line};

/// What is kept of one long line at most: its outermost object with every nested object and array
/// emptied, and every run of spaces shortened to one. Of a real payload that is some 60 bytes.
const MAX_KEPT_BYTES: usize = 4 << 10;

/// Reads a payload of any length in bounded memory, part by part, and decides whether it is an event
/// that the meter ignores.
///
/// Discord sends `t` before `d`, most libraries write it behind, and a payload's size is nearly all in
/// `d`. So what lies within nested brackets is dropped as it comes, neither kept nor checked, and the
/// rest is read as any other payload.
#[derive(Debug, Default)]
pub(crate) struct Skim {
    kept: Vec<u8>,
    depth: u64,
    in_string: bool,
    escaped: bool,
    overflowed: bool,
}

impl Skim {
    /// Reads the next part of the line.
    pub(crate) fn push(&mut self, part: &[u8]) {
        for &byte in part {
            let outermost = self.depth <= 1;
            if !self.in_string
                && byte.is_ascii_whitespace()
                && self.kept.last().is_some_and(u8::is_ascii_whitespace)
            {
                continue;
            }
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
            } else {
                match byte {
                    b'"' => self.in_string = true,
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                    _ => {}
                }
            }
            // A nested bracket is kept, at its beginning and at its end: `"d":{}` is left of `d`.
            if (outermost || self.depth <= 1) && !self.overflowed {
                self.overflowed = self.kept.len() == MAX_KEPT_BYTES;
                self.kept.push(byte);
            }
        }
    }

    /// Decides, at the end of the line.
    ///
    /// # Errors
    ///
    /// [`LineError::TooLong`] for anything but an event that is ignored.
    pub(crate) fn finish(self) -> Result<GatewayLine, LineError> {
        let other_event = GatewayLine::Ignored(IgnoredReason::OtherEvent);
        if !self.overflowed && parse_line(&self.kept) == Ok(other_event) {
            Ok(other_event)
        } else {
            Err(LineError::TooLong)
        }
    }

    #[cfg(test)]
    pub(crate) fn kept_bytes(&self) -> usize {
        self.kept.capacity()
    }
}
