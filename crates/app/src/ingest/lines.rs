//! Lines of the input, read and parsed on a thread of their own.

use std::io::{self, BufRead};
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc;

use crate::gateway::{GatewayLine, LineError, MAX_LINE_BYTES, Skim, parse_line};

/// What became of one line.
pub(super) type Parsed = Result<GatewayLine, LineError>;

/// Lines in a batch, at most. Handing a batch over costs some 10 µs where it wakes the other side,
/// which is the parsing of ten lines. Measured on two cores with lines of 500 bytes: 0.55 million
/// lines/s in batches of 16 (an input buffer of 8 KiB), 0.9 million in batches of 130 (64 KiB).
const BATCH_LINES: usize = 256;

/// Batches that may wait between the thread and the runtime.
const QUEUED_BATCHES: usize = 4;

/// Some lines, in the order of the input.
#[derive(Debug, Default)]
pub(super) struct LineBatch {
    pub(super) lines: Vec<Parsed>,
    /// Bytes of the input read up to the end of this batch, from the start.
    pub(super) bytes: u64,
}

/// What the thread says.
#[derive(Debug)]
pub(super) enum Input {
    Lines(LineBatch),
    /// The last word: the end of the input, or what kept it from being read further.
    End(io::Result<()>),
}

/// Reads `input` in the background.
///
/// It is a thread of its own rather than one of the runtime's: a read of a terminal or a pipe may
/// never return, and the runtime waits for its own threads when it shuts down.
#[derive(Debug)]
pub(super) struct LineReader {
    batches: mpsc::Receiver<Input>,
    /// Taken when it is joined.
    thread: Option<JoinHandle<()>>,
}

impl LineReader {
    pub(super) fn spawn(input: impl BufRead + Send + 'static) -> io::Result<Self> {
        let (sender, batches) = mpsc::channel(QUEUED_BATCHES);
        let thread = thread::Builder::new()
            .name("roas-ingest".to_owned())
            .spawn(move || {
                // A receiver that is gone wants no more lines: there is nobody to tell.
                let _ = read(input, |message| {
                    sender.blocking_send(message).map_err(|_| Gone)
                });
            })?;
        Ok(Self {
            batches,
            thread: Some(thread),
        })
    }

    /// The next batch, or the end. Not to be called after the end.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Input {
        let end = match self.batches.recv().await {
            Some(Input::Lines(batch)) => return Input::Lines(batch),
            Some(Input::End(end)) => end,
            // Only a panic in the input's own code keeps the thread from its last word.
            None => Err(io::Error::other("reading the input panicked")),
        };
        if let Some(thread) = self.thread.take() {
            // It has nothing left to do but to drop the input, and a panic is reported already.
            let _ = thread.join();
        }
        Input::End(end)
    }
}

/// The receiver is gone.
struct Gone;

/// Hands every line of `input` to `send`, in batches, and then the end.
///
/// A batch is handed over before the input is asked for more, because that may block: lines typed
/// at a terminal are recorded as they are typed.
fn read(
    mut input: impl BufRead,
    mut send: impl FnMut(Input) -> Result<(), Gone>,
) -> Result<(), Gone> {
    let mut batch = LineBatch::default();
    let mut line = Line::default();
    loop {
        if !batch.lines.is_empty() {
            send(Input::Lines(batch.take()))?;
        }
        let buffer = match input.fill_buf() {
            Ok([]) => break,
            Ok(buffer) => buffer,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return send(Input::End(Err(error))),
        };
        let mut rest = buffer;
        while !rest.is_empty() {
            let part = split_line(&mut rest);
            batch.bytes += part.len() as u64;
            batch.lines.extend(line.append(part));
            if batch.lines.len() == BATCH_LINES {
                send(Input::Lines(batch.take()))?;
            }
        }
        let read = buffer.len();
        input.consume(read);
    }
    batch.lines.extend(line.finish());
    if !batch.lines.is_empty() {
        send(Input::Lines(batch.take()))?;
    }
    send(Input::End(Ok(())))
}

/// Splits off what comes before the next line, the line end included; all of it where there is no
/// line end.
fn split_line<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let all = *rest;
    // The standard library's fast search for a byte is to be had through `BufRead` alone, which a
    // slice implements without ever failing.
    let length = rest.skip_until(b'\n').unwrap_or(all.len());
    &all[..length]
}

impl LineBatch {
    /// The lines so far; the count of bytes goes on.
    fn take(&mut self) -> Self {
        Self {
            lines: std::mem::take(&mut self.lines),
            bytes: self.bytes,
        }
    }
}

/// The part of a line that has been read so far. It never grows beyond [`MAX_LINE_BYTES`] and a
/// line end.
#[derive(Debug, Default)]
struct Line {
    start: Vec<u8>,
    /// The line is longer than that: only its outermost fields are kept.
    long: Option<Skim>,
}

impl Line {
    /// Adds the next part of the input, up to and including a line end; returns the line where
    /// that completes it.
    fn append(&mut self, part: &[u8]) -> Option<Parsed> {
        const LINE_END: usize = b"\r\n".len();
        let complete = part.ends_with(b"\n");
        if complete && self.start.is_empty() && self.long.is_none() {
            // Nearly always: the line lies whole in the input's buffer and need not be copied.
            return Some(parse_line(part));
        }
        if self.long.is_none() && self.start.len() + part.len() > MAX_LINE_BYTES + LINE_END {
            let mut skim = Skim::default();
            skim.push(&std::mem::take(&mut self.start));
            self.long = Some(skim);
        }
        match &mut self.long {
            Some(skim) => skim.push(part),
            None => self.start.extend_from_slice(part),
        }
        complete.then(|| self.end())
    }

    /// The last line, where the input does not end with a line end.
    fn finish(&mut self) -> Option<Parsed> {
        (self.long.is_some() || !self.start.is_empty()).then(|| self.end())
    }

    fn end(&mut self) -> Parsed {
        let parsed = match self.long.take() {
            Some(skim) => skim.finish(),
            None => parse_line(&self.start),
        };
        self.start.clear();
        parsed
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};

    use crate::gateway::IgnoredReason;

    use super::*;

    /// What the thread would say, with the input's buffer of the given size.
    fn say(input: impl Read, buffer: usize) -> Vec<Input> {
        let mut said = Vec::new();
        let all = read(BufReader::with_capacity(buffer, input), |message| {
            said.push(message);
            Ok(())
        });
        assert!(all.is_ok());
        said
    }

    fn lines(input: &[u8], buffer: usize) -> Vec<Parsed> {
        let mut said = say(input, buffer);
        assert!(matches!(said.pop(), Some(Input::End(Ok(())))));
        let batches = said.into_iter().map(|message| match message {
            Input::Lines(batch) => batch,
            Input::End(end) => panic!("an end before the end: {end:?}"),
        });
        let batches: Vec<_> = batches.collect();
        assert!(
            batches
                .iter()
                .all(|batch| (1..=BATCH_LINES).contains(&batch.lines.len()))
        );
        assert_eq!(
            batches.last().map_or(0, |batch| batch.bytes),
            input.len() as u64
        );
        batches.into_iter().flat_map(|batch| batch.lines).collect()
    }

    const BLANK: Parsed = Ok(GatewayLine::Ignored(IgnoredReason::Blank));
    const OTHER: Parsed = Ok(GatewayLine::Ignored(IgnoredReason::OtherEvent));

    #[test]
    fn lines_are_the_same_whatever_the_buffer_holds() {
        let input = b"{\"op\":11}\n\r\n{\"op\":11}\r\n\n{\"op\":11}";
        for buffer in [1, 2, 3, 7, 10, 11, 12, 64] {
            assert_eq!(
                lines(input, buffer),
                [OTHER, BLANK, OTHER, BLANK, OTHER],
                "{buffer}"
            );
        }
    }

    #[test]
    fn a_last_line_end_begins_no_line() {
        assert_eq!(lines(b"", 64), []);
        assert_eq!(lines(b"\n", 64), [BLANK]);
        assert_eq!(lines(b"{\"op\":11}\n", 64), [OTHER]);
        assert_eq!(lines(b" ", 64), [BLANK]);
    }

    #[test]
    fn many_lines_come_in_bounded_batches() {
        assert_eq!(lines(&b"\n".repeat(1_000), 1 << 16).len(), 1_000);
    }

    /// A line of so many bytes, spaces included.
    fn padded(line: &str, length: usize) -> Vec<u8> {
        let mut line = line.as_bytes().to_vec();
        line.resize(length, b' ');
        line
    }

    #[test]
    fn a_long_line_is_ignored_or_refused_by_its_outermost_fields_and_the_next_one_read() {
        const DIRECT: &str = r#"{"op":0,"t":"MESSAGE_CREATE","d":{}}"#;
        let direct = Ok(GatewayLine::Ignored(IgnoredReason::DirectMessage));
        let too_long = Err(LineError::TooLong);
        for (line, length, expected) in [
            ("{\"op\":11}", MAX_LINE_BYTES, OTHER),
            ("{\"op\":11}", MAX_LINE_BYTES + 1, OTHER),
            (DIRECT, MAX_LINE_BYTES, direct),
            (DIRECT, MAX_LINE_BYTES + 1, too_long.clone()),
            (DIRECT, MAX_LINE_BYTES + 2, too_long.clone()),
            (DIRECT, MAX_LINE_BYTES + 3, too_long.clone()),
            (DIRECT, 3 * MAX_LINE_BYTES, too_long.clone()),
            ("x", 2 * MAX_LINE_BYTES, too_long),
        ] {
            let line = padded(line, length);
            for end in [&b"\n"[..], b"\r\n"] {
                let input = [&line, end, b"{\"op\":11}", end].concat();
                for buffer in [1_000, 1 << 16, 8 << 20] {
                    let read = lines(&input, buffer);
                    assert_eq!(read, [expected.clone(), OTHER], "{length} {end:?} {buffer}");
                }
            }
            assert_eq!(
                lines(&line, 1 << 16),
                [expected],
                "{length} without a line end"
            );
        }
    }

    #[test]
    fn of_a_line_of_64_mib_nearly_nothing_is_kept() {
        let member = br#"{"user":{"id":"33","name":"\"}]\\"},"roles":["7","8"],"nick":null},"#;
        let members = member.repeat((1 << 16) / member.len());
        let mut line = Line::default();
        assert!(
            line.append(br#"{"op":0,"d":{"guild_id":"22","members":["#)
                .is_none()
        );
        let mut bytes = 0;
        while bytes < 64 << 20 {
            bytes += members.len();
            assert!(line.append(&members).is_none());
            let kept = line.start.capacity() + line.long.as_ref().map_or(0, Skim::kept_bytes);
            assert!(
                kept <= 2 * MAX_LINE_BYTES + (8 << 10),
                "{kept} after {bytes}"
            );
        }
        assert_eq!(line.start.capacity(), 0);
        let end = b"{}]},\"s\":3,\"t\":\"GUILD_MEMBERS_CHUNK\"}\n";
        assert_eq!(line.append(end), Some(OTHER));
        assert_eq!(line.append(b"\n"), Some(BLANK));
    }

    #[test]
    fn an_endless_line_is_not_kept() {
        let part = vec![b'x'; 100_000];
        let mut line = Line::default();
        for _ in 0..100 {
            assert!(line.append(&part).is_none());
            assert!(line.start.capacity() <= 2 * MAX_LINE_BYTES);
        }
        let kept = line.start.capacity() + line.long.as_ref().map_or(0, Skim::kept_bytes);
        assert!(kept <= 8 << 10, "{kept}");
        assert_eq!(line.append(b"\n"), Some(Err(LineError::TooLong)));
        assert_eq!(line.append(b"\n"), Some(BLANK));
    }

    /// Answers what it is told to, one read after the other.
    struct Script(Vec<io::Result<&'static [u8]>>);

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let bytes = self.0.remove(0)?;
            buffer[..bytes.len()].copy_from_slice(bytes);
            Ok(bytes.len())
        }
    }

    #[test]
    fn whole_lines_are_handed_over_before_more_is_asked_for() {
        let said = say(Script(vec![Ok(b"\n\n{\"op\""), Ok(b":11}\n")]), 64);
        let counts = said.iter().map(|message| match message {
            Input::Lines(batch) => batch.lines.len(),
            Input::End(_) => 0,
        });
        assert!(counts.eq([2, 1, 0]), "{said:?}");
    }

    #[test]
    fn an_interrupted_read_is_repeated_and_any_other_error_is_the_end() {
        let interrupted = io::Error::from(io::ErrorKind::Interrupted);
        let broken = io::Error::other("unplugged");
        let said = say(
            Script(vec![Ok(b"\n"), Err(interrupted), Ok(b"\nxx"), Err(broken)]),
            64,
        );
        assert_eq!(said.len(), 3);
        assert!(matches!(&said[2], Input::End(Err(error)) if error.to_string() == "unplugged"));
    }

    #[test]
    fn nothing_more_is_read_once_nobody_listens() {
        let mut heard = 0;
        let input = b"\n".repeat(10 * BATCH_LINES);
        let all = read(&input[..], |_| {
            heard += 1;
            Err(Gone)
        });
        assert!(all.is_err());
        assert_eq!(heard, 1);
    }
}
