//! What an input that is no stream of gateway payloads looks like, and how to make one of it.

use std::io::{self, BufRead, Read};
use std::sync::{Arc, OnceLock};

/// How much of an input's beginning is looked at.
const HEAD_BYTES: usize = 4 << 10;

/// A kind of input that can be told by its beginning, and what to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Format {
    #[error("it looks like {looks}; {advice}")]
    Known {
        looks: &'static str,
        advice: &'static str,
    },
    #[error("expected one JSON object a line, as `roas ingest --help` shows it")]
    Unknown,
}

const fn format(looks: &'static str, advice: &'static str) -> Format {
    Format::Known { looks, advice }
}

const ARRAY: Format = format(
    "one JSON array",
    "`jq -c '.[]' FILE | roas ingest -` reads one of payloads",
);
const CHAT_EXPORT: Format = format(
    "a chat export of DiscordChatExporter",
    "`jq -c '.guild.id as $g | .messages[] | select(.type == \"Default\" or .type == \"Reply\") | \
     {op: 0, t: \"MESSAGE_CREATE\", d: {id, guild_id: $g, timestamp, \
     author: {id: .author.id, bot: .author.isBot}}}' FILE | roas ingest -` reads it",
);
const MESSAGES: Format = format(
    "messages without the gateway's envelope",
    "`jq -c '{op: 0, t: \"MESSAGE_CREATE\", d: (. + {guild_id: \"GUILD\"})}' FILE | roas ingest -` \
     reads them, with the guild's id for GUILD",
);
const MESSAGE_ARRAY: Format = format(
    "one JSON array of messages without the gateway's envelope",
    "`jq -c '.[] | {op: 0, t: \"MESSAGE_CREATE\", d: (. + {guild_id: \"GUILD\"})}' FILE | \
     roas ingest -` reads them, with the guild's id for GUILD",
);
const SPREAD: Format = format(
    "JSON spread over several lines",
    "`jq -c . FILE | roas ingest -` writes each payload on a line",
);
const UTF_16: Format = format(
    "text in UTF-16",
    "`iconv -f UTF-16 -t UTF-8 FILE | roas ingest -` reads it",
);
const MARKUP: Format = format("HTML or XML", "export it as JSON");
const TABLE: Format = format("a table such as CSV", "export it as JSON");

/// Formats that begin with bytes that no line of JSON begins with.
const BINARY: [(&[u8], Format); 8] = [
    (
        b"\x1F\x8B",
        format("gzip", "`gzip -dc FILE | roas ingest -` reads it"),
    ),
    (
        b"\x28\xB5\x2F\xFD",
        format("zstd", "`zstd -dc FILE | roas ingest -` reads it"),
    ),
    (
        b"\xFD7zXZ\0",
        format("xz", "`xz -dc FILE | roas ingest -` reads it"),
    ),
    (
        b"BZh",
        format("bzip2", "`bzip2 -dc FILE | roas ingest -` reads it"),
    ),
    (
        b"PK\x03\x04",
        format("a zip archive", "`unzip -p FILE | roas ingest -` reads it"),
    ),
    (
        b"SQLite format 3\0",
        format(
            "a SQLite database",
            "`roas --db FILE audit` says what is in it, and `roas --db FILE migrate` takes over one of \
             the original bot",
        ),
    ),
    (b"\xFF\xFE", UTF_16),
    (b"\xFE\xFF", UTF_16),
];

impl Format {
    /// The format of an input that begins so and cannot hold one good line.
    pub(crate) fn binary(head: &[u8]) -> Option<Self> {
        let known = BINARY.iter().find(|(magic, _)| head.starts_with(magic));
        known.map(|(_, format)| *format)
    }

    /// The format of an input that begins so and of which every line was rejected.
    pub(crate) fn of_rejected(head: &[u8]) -> Self {
        if let Some(binary) = Self::binary(head) {
            return binary;
        }
        if head.contains(&0) {
            // Half of the bytes of ASCII text in UTF-16 are 0.
            let zeros = head.split(|byte| *byte == 0).count() - 1;
            return UTF_16.when(3 * zeros > head.len());
        }
        let text = String::from_utf8_lossy(head);
        let text = text.trim_start_matches('\u{feff}').trim_ascii_start();
        let first_line = text.lines().next().unwrap_or_default().trim_ascii();
        let has = |keys: &[&str]| keys.iter().all(|key| text.contains(&format!("\"{key}\"")));
        let is_message = has(&["author", "timestamp"]) && !has(&["op"]);
        match text.as_bytes() {
            [b'{', ..] if has(&["guild", "channel"]) && !has(&["op"]) => CHAT_EXPORT,
            [b'{', ..] if serde_json::from_str::<serde::de::IgnoredAny>(first_line).is_err() => {
                SPREAD
            }
            [b'{', ..] => MESSAGES.when(is_message),
            [b'[', ..] if is_message => MESSAGE_ARRAY,
            [b'[', ..] => ARRAY,
            [b'<', ..] => MARKUP,
            _ => TABLE.when(first_line.matches([',', ';', '\t']).count() >= 2),
        }
    }

    const fn when(self, certain: bool) -> Self {
        if certain { self } else { Self::Unknown }
    }
}

/// The beginning of an input, once it has been read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Head(Arc<OnceLock<Vec<u8>>>);

impl Head {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.get().map_or(&[], Vec::as_slice)
    }
}

/// An input that fails with [`Format`] where its beginning shows that it holds no good line.
#[derive(Debug)]
pub(crate) struct Checked<R> {
    input: R,
    head: Head,
}

impl<R: BufRead> Checked<R> {
    pub(crate) fn new(input: R) -> (Self, Head) {
        let head = Head::default();
        let checked = Self {
            input,
            head: head.clone(),
        };
        (checked, head)
    }
}

impl<R: BufRead> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Checked<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let buffer = self.input.fill_buf()?;
        let mut first = false;
        let head = self.head.0.get_or_init(|| {
            first = true;
            buffer[..buffer.len().min(HEAD_BYTES)].to_vec()
        });
        match Format::binary(head).filter(|_| first) {
            Some(format) => Err(io::Error::new(io::ErrorKind::InvalidData, format)),
            None => Ok(buffer),
        }
    }

    fn consume(&mut self, amount: usize) {
        self.input.consume(amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_beginning() {
        for (head, expected) in [
            (&b"\x1F\x8B\x08\0"[..], BINARY[0].1),
            (b"SQLite format 3\0\x10", BINARY[5].1),
            (b"\xFF\xFE{\0", UTF_16),
            (b"{\0\"\0o\0p\0", UTF_16),
            (b"\0\x01\x02\x03", Format::Unknown),
            (b"[\n  {\"op\": 0, \"t\": \"MESSAGE_CREATE\", \"d\": {\"author\": {}, \"timestamp\"", ARRAY),
            (b"[]", ARRAY),
            (b"\xEF\xBB\xBF [{\"id\":\"1\",\"author\":{\"id\":\"2\"},\"timestamp\":\"x\"}]", MESSAGE_ARRAY),
            (b"{\"id\":\"1\",\"author\":{\"id\":\"2\"},\"timestamp\":\"x\"}\n", MESSAGES),
            (b"{\n  \"guild\": {\"id\": \"1\"},\n  \"channel\": {\"id\": \"2\"},", CHAT_EXPORT),
            (b"{\"guild\":{\"id\":\"1\"},\"channel\":{\"id\":\"2\"},\"messages\":[", CHAT_EXPORT),
            (b"{\n  \"op\": 0,\n  \"t\": \"MESSAGE_CREATE\"", SPREAD),
            (b"{\"event\":\"message\"}\n", Format::Unknown),
            (b"<!DOCTYPE html>\n<html>", MARKUP),
            (b"AuthorID,Author,Date,Content\n", TABLE),
            (b"hello\n", Format::Unknown),
            (b"", Format::Unknown),
        ] {
            let shown = String::from_utf8_lossy(head);
            assert_eq!(Format::of_rejected(head), expected, "{shown}");
        }
    }

    #[test]
    fn an_input_that_is_no_text_ends_at_its_beginning_and_any_other_comes_as_it_is() {
        let (mut checked, head) = Checked::new(&b"\x1F\x8B\x08\n"[..]);
        let error = checked.fill_buf().unwrap_err();
        let format = error
            .get_ref()
            .and_then(|error| error.downcast_ref::<Format>());
        assert_eq!(format, Some(&BINARY[0].1));
        assert_eq!(head.bytes(), b"\x1F\x8B\x08\n");

        let text = "{\"op\":11}\n".repeat(1_000);
        let (mut checked, head) = Checked::new(io::BufReader::with_capacity(16, text.as_bytes()));
        let mut read = String::new();
        checked.read_to_string(&mut read).unwrap();
        assert_eq!(read, text);
        assert_eq!(head.bytes(), &text.as_bytes()[..16]);
    }
}
