//! A check that a page is well-formed, which a browser would forgive.

/// Walks the tags of a page. Every tag is closed in order, no id appears twice, references inside
/// the page have their aim, and `&` and `<` stand for themselves nowhere.
///
/// # Errors
///
/// The first thing that is wrong.
pub(super) fn well_formed(page: &str) -> Result<(), String> {
    let mut rest = page.strip_prefix("<!DOCTYPE html>").ok_or("no doctype")?;
    let mut open: Vec<&str> = Vec::new();
    let mut ids = Vec::new();
    let mut aims = Vec::new();
    while let Some(start) = rest.find('<') {
        text(&rest[..start])?;
        rest = &rest[start + 1..];
        let end = rest.find('>').ok_or("a tag without an end")?;
        let tag = &rest[..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            let last = open.pop();
            if last != Some(name) {
                return Err(format!("</{name}> closes {last:?}"));
            }
            continue;
        }
        let (tag, closed) = match tag.strip_suffix('/') {
            Some(tag) => (tag, true),
            None => (tag, false),
        };
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        for (key, value) in parse(attributes)? {
            text(value)?;
            match key {
                "id" if ids.contains(&value) => return Err(format!("id {value} twice")),
                "id" => ids.push(value),
                "aria-labelledby" => aims.extend(value.split(' ')),
                "href" => aims.push(value.strip_prefix('#').ok_or("a reference outside")?),
                _ => {}
            }
        }
        if name == "style" {
            let end = rest.find("</style>").ok_or("a style without an end")?;
            rest = &rest[end + "</style>".len()..];
        } else if !closed {
            open.push(name);
        }
    }
    text(rest)?;
    match aims.iter().find(|aim| !ids.contains(aim)) {
        Some(aim) => Err(format!("nothing has the id {aim}")),
        None if open.is_empty() => Ok(()),
        None => Err(format!("never closed: {open:?}")),
    }
}

/// Attributes of a tag: `key="value"`, apart by spaces.
fn parse(mut rest: &str) -> Result<Vec<(&str, &str)>, String> {
    let mut attributes: Vec<(&str, &str)> = Vec::new();
    while !rest.trim().is_empty() {
        let (key, value) = rest.split_once("=\"").ok_or(format!("no value: {rest}"))?;
        let (value, more) = value.split_once('"').ok_or(format!("no quote: {rest}"))?;
        let key = key.trim();
        if attributes.iter().any(|(known, _)| *known == key) {
            return Err(format!("{key} twice in one tag"));
        }
        attributes.push((key, value));
        rest = more;
    }
    Ok(attributes)
}

/// Text in which every `&` begins a reference that we write.
fn text(text: &str) -> Result<(), String> {
    for (at, _) in text.match_indices('&') {
        let known = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"];
        if !known.iter().any(|known| text[at..].starts_with(known)) {
            return Err(format!("a bare &: {text}"));
        }
    }
    if text.contains("NaN") || text.contains("inf ") {
        return Err(format!("a figure that is none: {text}"));
    }
    Ok(())
}

#[test]
fn the_check_finds_what_is_wrong() {
    let page = |body: &str| well_formed(&format!("<!DOCTYPE html>{body}"));
    assert_eq!(page("<p id=\"a\">x &amp; y<br/></p>"), Ok(()));
    for wrong in [
        "<p>",
        "<p></b></p>",
        "<p>a & b</p>",
        "<p id=\"a\"></p><p id=\"a\"></p>",
        "<a href=\"#b\"></a>",
        "<a href=\"https://example.org/\"></a>",
        "<path d=\"M0 NaN\"/>",
        "<p class=x></p>",
    ] {
        assert!(page(wrong).is_err(), "{wrong}");
    }
}
