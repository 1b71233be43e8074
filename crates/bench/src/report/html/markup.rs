//! The page as it is written, and text made safe for it.

use std::fmt::{self, Write as _};

/// A page in the making.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    /// Appends markup. What comes from a file goes through [`Text`].
    pub(super) fn put(&mut self, markup: fmt::Arguments<'_>) {
        self.0
            .write_fmt(markup)
            .expect("a string takes everything, and Display of our values does not fail");
    }

    /// Appends a paragraph of plain text.
    pub(super) fn paragraph(&mut self, text: &str) {
        self.put(format_args!("<p>{}</p>\n", Text(text)));
    }

    /// The whole page.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// Text, escaped for element content and for quoted attributes alike.
///
/// Characters that HTML does not know, and those that would reorder the line they stand in, become
/// U+FFFD: labels come from files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' | '\t' => f.write_char(char)?,
                '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FFFE}' | '\u{FFFF}' => {
                    f.write_char(char::REPLACEMENT_CHARACTER)?;
                }
                char if char.is_control() => f.write_char(char::REPLACEMENT_CHARACTER)?,
                char => f.write_char(char)?,
            }
        }
        Ok(())
    }
}
