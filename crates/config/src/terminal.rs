//! Escapes text for a terminal. Logs, request lines, headers and files from others may contain escape sequences that move
//! the cursor, retitle the window or hide text; such text is made printable before it is shown.

use std::borrow::Cow;
use std::fmt::Write;
use std::path::Path;

/// Whether a terminal may interpret this character instead of showing it: control characters of both sets (ESC, and CSI as
/// U+009B) and those that reorder text (Unicode's bidirectional controls).
fn acts(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

fn escaped<'a>(text: &'a str, keep: impl Fn(char) -> bool, styles: bool) -> Cow<'a, str> {
    let Some(first) = text.find(|c| acts(c) && !keep(c)) else { return Cow::Borrowed(text) };
    let mut shown = String::with_capacity(text.len() + 16);
    let (before, mut rest) = text.split_at(first);
    shown.push_str(before);
    while let Some(c) = rest.chars().next() {
        let length = if styles { style(rest) } else { 0 };
        if length > 0 {
            shown.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        if acts(c) && !keep(c) {
            // As in JSON, so that the meaning of a JSON text does not change.
            let _ = write!(shown, "\\u{:04x}", u32::from(c));
        } else {
            shown.push(c);
        }
        rest = &rest[c.len_utf8()..];
    }
    Cow::Owned(shown)
}

/// The length of the colour or weight sequence (`ESC [ 1 ; 31 m`) at the start of a text; 0 if there is none.
fn style(text: &str) -> usize {
    let Some(parameters) = text.strip_prefix("\u{1b}[") else { return 0 };
    let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';').unwrap_or(parameters.len());
    if parameters[end..].starts_with('m') { 2 + end + 1 } else { 0 }
}

/// The text with every control character except line ends and tabs as `\u001b`.
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |c| matches!(c, '\n' | '\t'), false)
}

/// The same for a part of one line, such as a name: line ends and tabs are escaped as well.
pub fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false, false)
}

/// As [`printable`], for text that was coloured by this program: colours and weights are kept.
pub fn printable_styled(text: &str) -> Cow<'_, str> {
    escaped(text, |c| matches!(c, '\n' | '\t'), true)
}

/// Whether a path means standard output: `-`, or one of the system's names for it.
pub fn is_stdout(path: &Path) -> bool {
    ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"].iter().any(|name| path == Path::new(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable("a\u{1b}]0;x\u{7}b\n\tc\r"), "a\\u001b]0;x\\u0007b\n\tc\\u000d");
        assert_eq!(printable("\u{9b}2J \u{202e}x \u{7f}"), "\\u009b2J \\u202ex \\u007f");
        assert_eq!(one_line("a\nb\tc"), "a\\u000ab\\u0009c");
        for plain in ["", "GET /café ü 日本 …", "a\n b"] {
            assert!(matches!(printable(plain), Cow::Borrowed(same) if same == plain));
        }
    }

    #[test]
    fn only_own_colours_and_weights_are_kept() {
        let text = "\u{1b}[1;31merror\u{1b}[0m \u{1b}[2J\u{1b}[m\u{1b}[31";
        assert_eq!(printable_styled(text), "\u{1b}[1;31merror\u{1b}[0m \\u001b[2J\u{1b}[m\\u001b[31");
        assert!(!printable(text).contains('\u{1b}'));
    }

    #[test]
    fn json_keeps_its_meaning() {
        let text = serde_json::json!({ "a": "\u{9b}\u{7f}\u{202e}ä" }).to_string();
        let shown = printable(&text);
        assert!(shown.is_ascii() || !shown.contains('\u{9b}'));
        let (before, after): (serde_json::Value, serde_json::Value) =
            (serde_json::from_str(&text).unwrap(), serde_json::from_str(&shown).unwrap());
        assert_eq!(before, after);
    }

    #[test]
    fn names_of_standard_output() {
        for (path, is) in [("-", true), ("/dev/stdout", true), ("/dev/fd/1", true), ("./-", false), ("out", false)] {
            assert_eq!(is_stdout(Path::new(path)), is, "{path}");
        }
    }
}
