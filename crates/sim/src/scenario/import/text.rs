//! The text of log lines: words, quotes, escapes, paths.

use std::borrow::Cow;
use std::fmt::Write;

use evenkeel_config::terminal::one_line;

/// The first word, up to a blank or tab, and the text after it.
pub(super) fn word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    (word, rest.trim_start_matches([' ', '\t']))
}

/// Whether a text is made of digits.
pub(super) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Bytes as text. What is not UTF-8 (a path in latin-1) is percent-encoded, as browsers send it: two such paths stay two.
pub(super) fn decoded(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        percent(&mut text, chunk.invalid());
    }
    Cow::Owned(text)
}

/// Appends bytes percent-encoded.
fn percent(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(text, "%{byte:02X}");
    }
}

/// The path of a request's target, which may be a whole URL, with control characters percent-encoded.
pub(super) fn target(target: &str, keep_query: bool) -> String {
    let target = match target.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => rest.find(['/', '?', '#']).map_or("/", |at| &rest[at..]),
        _ => target,
    };
    let end = if keep_query { None } else { target.find(['?', '#']) };
    let path = &target[..end.unwrap_or(target.len())];
    let mut encoded = String::with_capacity(path.len());
    if !path.starts_with(|c: char| !"?#".contains(c)) {
        encoded.push('/');
    }
    push_encoded(&mut encoded, path);
    encoded
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Appends text with its control characters percent-encoded.
pub(super) fn push_encoded(encoded: &mut String, text: &str) {
    if !text.contains(char::is_control) {
        return encoded.push_str(text);
    }
    for c in text.chars() {
        if c.is_control() {
            percent(encoded, c.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            encoded.push(c);
        }
    }
}

/// Undoes the escapes of log writers: `\"`, `\\`, `\xhh`, and the letters that Apache uses.
pub(super) fn unescaped(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('\\') {
        return Cow::Borrowed(text.as_bytes());
    }
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = |at: usize| bytes.get(at).and_then(|&digit| char::from(digit).to_digit(16));
        let (byte, length) = match (bytes[i], bytes.get(i + 1)) {
            (b'\\', Some(&byte @ (b'"' | b'\\'))) => (byte, 2),
            (b'\\', Some(b'n')) => (b'\n', 2),
            (b'\\', Some(b'r')) => (b'\r', 2),
            (b'\\', Some(b't')) => (b'\t', 2),
            (b'\\', Some(b'b')) => (8, 2),
            (b'\\', Some(b'v')) => (11, 2),
            (b'\\', Some(b'f')) => (12, 2),
            (b'\\', Some(b'x')) => match (hex(i + 2), hex(i + 3)) {
                (Some(high), Some(low)) => ((high * 16 + low) as u8, 4),
                _ => (b'\\', 1),
            },
            (byte, _) => (byte, 1),
        };
        plain.push(byte);
        i += length;
    }
    Cow::Owned(plain)
}

/// The text up to the closing quote, past escaped ones, and the text after it.
pub(super) fn quoted(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (i, c) in text.char_indices() {
        match c {
            '"' if !escaped => return Some((&text[..i], &text[i + 1..])),
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    None
}

/// The start of a log's text, safe to show on a terminal.
pub(super) fn shorten(text: &str) -> String {
    cut(text, 40)
}

/// At most this many characters of a text, safe to show on a terminal.
pub(super) fn cut(text: &str, most: usize) -> String {
    let end = text.char_indices().nth(most).map_or(text.len(), |(at, _)| at);
    let dots = if end < text.len() { "…" } else { "" };
    format!("{}{dots}", one_line(&text[..end]))
}
