//! What Discord's gateway sends, read one line at a time.
//!
//! A line is one gateway payload as JSON. Of a `MESSAGE_CREATE` only four things are kept: the
//! message's id, its guild, its author and its time. What people write is never kept, and no error
//! repeats it: an error quotes only the field it names, and that shortened.
//!
//! The rest of a payload is none of the meter's business, so nothing in it rejects a line: fields
//! of any other name may hold anything that is JSON, and any string may hold half of a surrogate
//! pair (`"\ud800"`), which JSON can write and Unicode has no character for. Where a payload says the
//! same field twice, the last one holds, as it does for most readers of JSON.
//!
//! Of messages those count that a member wrote: see [`IgnoredReason`] for the others.

mod node;
mod skim;
mod surrogates;

use std::str::FromStr;

use roas_domain::{
    ActivityEvent, EventId, GuildId, InvalidId, MemberKey, UnixSeconds, UserId, counts_as_message,
};
use serde::de::MapAccess;
use thiserror::Error;

use node::{Fields, Node, skip};
pub(crate) use skim::Skim;

/// The longest line that is kept in memory, in bytes, its line end not counted: 1 MiB.
///
/// A message is far below. Other events are not: Discord documents no limit for them, and the
/// `GUILD_CREATE` of a large guild has several MiB. Of a longer line only the outermost fields are read,
/// which is enough to ignore such an event.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// What a line holds that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatewayLine {
    /// A member's message, to be recorded.
    Message(ActivityEvent),
    /// Nothing that the meter counts.
    Ignored(IgnoredReason),
}

/// Why a line is passed over. None of these is a fault of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IgnoredReason {
    /// Nothing but white space.
    Blank,
    /// A payload other than a `MESSAGE_CREATE`.
    OtherEvent,
    /// A message that a webhook sent.
    Webhook,
    /// A message that a bot wrote.
    Bot,
    /// A message outside any guild.
    DirectMessage,
    /// A message that Discord wrote in a member's name, such as a join, a boost, a pin or an
    /// auto-moderation alert: its `type` [does not count](counts_as_message).
    System,
}

/// Why a line cannot be read. Its text is one line without control characters, whatever the input
/// held.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LineError {
    /// The line is longer than [`MAX_LINE_BYTES`], and no event that could be ignored.
    #[error("the line is longer than {MAX_LINE_BYTES} bytes")]
    TooLong,
    /// The line is not text.
    #[error("not UTF-8 at byte {column}")]
    NotUtf8 {
        /// The first byte that is none of UTF-8, from 1.
        column: usize,
    },
    /// The line is text, but not JSON.
    #[error("not JSON at byte {column}: {reason}")]
    NotJson {
        /// The byte at which reading ended, from 1; 0 where nothing was read.
        column: usize,
        /// What the parser found wrong. It never quotes the line.
        reason: String,
    },
    /// The line is JSON, but no gateway payload.
    #[error("not a gateway payload: {found} instead of an object")]
    NotAnObject {
        /// What kind of value it is.
        found: &'static str,
    },
    /// A field that is needed does not hold what it should.
    #[error("`{field}` is {found}: expected {expected}")]
    Field {
        /// The field's path, such as `d.guild_id`.
        field: &'static str,
        /// What it holds, shortened and escaped; `missing` where it is not there.
        found: String,
        /// What it should hold.
        expected: &'static str,
    },
}

/// Reads one line, with or without its line end.
///
/// A byte order mark at the start is passed over. A `MESSAGE_CREATE` from a webhook, from a bot or
/// outside a guild is ignored before anything else in it is looked at, and one whose `type` does not
/// count before the rest, so that an odd field in such a message is no error. Without a `type`, or where
/// it is null, a message counts: captures of older programs lack it.
///
/// Ids are strings, as Discord writes them, or numbers written out in digits, of which each digit
/// counts.
///
/// ```
/// use roas_app::gateway::{GatewayLine, IgnoredReason, parse_line};
///
/// let line = br#"{"op":0,"t":"MESSAGE_CREATE","d":{"id":"1408239251753531324",
///     "guild_id":"743430870758460727","author":{"id":"626234859576321882"},
///     "timestamp":"2025-08-22T00:00:01.438000+00:00","content":"hello"}}"#;
/// let GatewayLine::Message(event) = parse_line(line)? else { panic!("a message") };
/// assert_eq!(event.at.get(), 1_755_820_801);
///
/// assert_eq!(parse_line(br#"{"op":11}"#)?, GatewayLine::Ignored(IgnoredReason::OtherEvent));
/// assert!(parse_line(b"hello").is_err());
/// # Ok::<(), roas_app::gateway::LineError>(())
/// ```
///
/// # Errors
///
/// [`LineError`] where the line is no payload, or a message without what the meter needs of it. A line
/// longer than [`MAX_LINE_BYTES`] is ignored or an error by its outermost fields alone; whether the rest
/// of it is JSON is not checked.
pub fn parse_line(line: &[u8]) -> Result<GatewayLine, LineError> {
    let line = match line.strip_suffix(b"\n") {
        Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
        None => line,
    };
    if line.len() > MAX_LINE_BYTES {
        let mut skim = Skim::default();
        skim.push(line);
        return skim.finish();
    }
    let marked = line.strip_prefix(b"\xEF\xBB\xBF");
    let skipped = if marked.is_some() { 3 } else { 0 };
    // The parser does not look at the bytes of strings that it skips, so the text is checked first.
    let text = std::str::from_utf8(marked.unwrap_or(line)).map_err(|error| LineError::NotUtf8 {
        column: skipped + error.valid_up_to() + 1,
    })?;
    if text.trim_ascii().is_empty() {
        return Ok(GatewayLine::Ignored(IgnoredReason::Blank));
    }
    match serde_json::from_str(text) {
        Ok(payload) => read_payload(payload),
        // The parser refuses half of a surrogate pair, wherever it has to keep the string.
        Err(error) => match surrogates::replace_lone(text) {
            Some(text) => serde_json::from_str(&text)
                .map_err(|error| not_json(&error, skipped))
                .and_then(read_payload),
            None => Err(not_json(&error, skipped)),
        },
    }
}

fn not_json(error: &serde_json::Error, skipped: usize) -> LineError {
    let text = error.to_string();
    // The parser adds where it stopped, in the words of a file with many lines.
    let place = format!(" at line {} column {}", error.line(), error.column());
    let reason = text
        .strip_suffix(place.as_str())
        .unwrap_or(&text)
        .to_owned();
    LineError::NotJson {
        column: skipped + error.column(),
        reason,
    }
}

fn read_payload(payload: Node<'_, Payload<'_>>) -> Result<GatewayLine, LineError> {
    let payload = match payload {
        Node::Object(payload) => payload,
        other => {
            return Err(LineError::NotAnObject {
                found: other.kind(),
            });
        }
    };
    let op = match payload.op {
        Node::Unsigned(op) => Some(op),
        Node::Signed(_) => None,
        other => return Err(other.refused("op", "a whole number")),
    };
    if op != Some(0) || payload.t.text() != Some("MESSAGE_CREATE") {
        return Ok(GatewayLine::Ignored(IgnoredReason::OtherEvent));
    }
    let message = match payload.d {
        Node::Object(message) => message,
        other => return Err(other.refused("d", "an object")),
    };

    let ignored = |reason| Ok(GatewayLine::Ignored(reason));
    if !message.webhook_id.is_absent() {
        return ignored(IgnoredReason::Webhook);
    }
    if matches!(
        &message.author,
        Node::Object(Author {
            bot: Node::Bool(true),
            ..
        })
    ) {
        return ignored(IgnoredReason::Bot);
    }
    if message.guild_id.is_absent() {
        return ignored(IgnoredReason::DirectMessage);
    }
    match message.kind {
        Node::Missing | Node::Null => {}
        Node::Unsigned(kind) if counts_as_message(kind) => {}
        Node::Unsigned(_) => return ignored(IgnoredReason::System),
        other => return Err(other.refused("d.type", "a whole number from 0")),
    }

    let id: EventId = snowflake(&message.id, "d.id")?;
    let guild: GuildId = snowflake(&message.guild_id, "d.guild_id")?;
    let author = match message.author {
        Node::Object(author) => author,
        other => return Err(other.refused("d.author", "an object")),
    };
    let user: UserId = snowflake(&author.id, "d.author.id")?;
    let at = time(&message.timestamp, "d.timestamp")?;
    Ok(GatewayLine::Message(ActivityEvent {
        id: Some(id),
        member: MemberKey { guild, user },
        at,
    }))
}

fn snowflake<T>(value: &Node<'_>, field: &'static str) -> Result<T, LineError>
where
    T: FromStr<Err = InvalidId>,
{
    let id = match value {
        Node::Text(text) => text.parse().ok(),
        // Exact: the parser reads a number with a fraction or an exponent as a float.
        Node::Unsigned(number) => number.to_string().parse().ok(),
        _ => None,
    };
    id.ok_or_else(|| {
        value.refused(
            field,
            "a whole number from 1 to 9223372036854775807, as a string or in digits",
        )
    })
}

fn time(value: &Node<'_>, field: &'static str) -> Result<UnixSeconds, LineError> {
    value
        .text()
        .filter(|text| is_rfc_3339(text))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| {
            value.refused(
                field,
                "a time as RFC 3339 writes it (2025-08-22T00:00:01Z), from 1970 on",
            )
        })
}

/// The outline of RFC 3339, without its numbers. `UnixSeconds` reads more than that (plain seconds,
/// times without separators, zone names in brackets), none of which Discord sends, so that in a
/// payload it would more likely be a mistake.
fn is_rfc_3339(text: &str) -> bool {
    let separators = [
        (4, b"--"),
        (7, b"--"),
        (10, b"Tt"),
        (13, b"::"),
        (16, b"::"),
    ];
    let bytes = text.as_bytes();
    separators
        .iter()
        .all(|(at, either)| bytes.get(*at).is_some_and(|byte| either.contains(byte)))
        && !text.ends_with(']')
}

/// A payload's fields that matter.
#[derive(Default)]
struct Payload<'a> {
    op: Node<'a>,
    t: Node<'a>,
    d: Node<'a, Message<'a>>,
}

#[derive(Default)]
struct Message<'a> {
    id: Node<'a>,
    guild_id: Node<'a>,
    author: Node<'a, Author<'a>>,
    timestamp: Node<'a>,
    webhook_id: Node<'a>,
    kind: Node<'a>,
}

#[derive(Default)]
struct Author<'a> {
    id: Node<'a>,
    bot: Node<'a>,
}

impl<'de> Fields<'de> for Payload<'de> {
    fn read<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "op" => self.op = map.next_value()?,
            "t" => self.t = map.next_value()?,
            "d" => self.d = map.next_value()?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

impl<'de> Fields<'de> for Message<'de> {
    fn read<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "id" => self.id = map.next_value()?,
            "guild_id" => self.guild_id = map.next_value()?,
            "author" => self.author = map.next_value()?,
            "timestamp" => self.timestamp = map.next_value()?,
            "webhook_id" => self.webhook_id = map.next_value()?,
            "type" => self.kind = map.next_value()?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

impl<'de> Fields<'de> for Author<'de> {
    fn read<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "id" => self.id = map.next_value()?,
            "bot" => self.bot = map.next_value()?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
