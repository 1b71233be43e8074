//! Halves of surrogate pairs that JSON's escapes can write.

/// `text` with every escape of a lone surrogate (`\ud800`) replaced by one of U+FFFD, of the same
/// length; `None` where there is none.
pub(super) fn replace_lone(text: &str) -> Option<String> {
    let mut replaced = None::<String>;
    let mut at = 0;
    while let Some(found) = text[at..].find('\\') {
        at += found;
        match escaped_unit(text, at) {
            Some(0xD800..=0xDBFF)
                if matches!(escaped_unit(text, at + ESCAPE), Some(0xDC00..=0xDFFF)) =>
            {
                at += 2 * ESCAPE;
            }
            Some(0xD800..=0xDFFF) => {
                let replaced = replaced.get_or_insert_with(|| text.to_owned());
                replaced.replace_range(at..at + ESCAPE, "\\ufffd");
                at += ESCAPE;
            }
            Some(_) => at += ESCAPE,
            // The escaped character may be a backslash itself, or none that is escaped so.
            None => {
                at += 1;
                at += text[at..].chars().next().map_or(0, char::len_utf8);
            }
        }
    }
    replaced
}

/// The length of `\u` and four hexadecimal digits.
const ESCAPE: usize = 6;

/// The UTF-16 code unit that is escaped at `at`.
fn escaped_unit(text: &str, at: usize) -> Option<u16> {
    let digits = text.get(at..at + ESCAPE)?.strip_prefix("\\u")?;
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_replaced_and_pairs_and_backslashes_are_left() {
        for (text, expected) in [
            (r"\ud800", r"\ufffd"),
            (r"\uDFFFx", r"\ufffdx"),
            (r"\udc00\ud800", r"\ufffd\ufffd"),
            (r"\ud800\ud83d\ude00", r"\ufffd\ud83d\ude00"),
            (r"\\\ud800", r"\\\ufffd"),
            (r"\ud800\u0041", r"\ufffd\u0041"),
            (r"小\ud800明", r"小\ufffd明"),
        ] {
            assert_eq!(replace_lone(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "",
            r"\",
            r"\小",
            r"\u",
            r"\ud8",
            r"\u+800",
            r"\\ud800",
            r"\ud83d\ude00",
            r"\n\u0041",
            "\\ud8小",
        ] {
            assert_eq!(replace_lone(text), None, "{text}");
        }
    }
}
