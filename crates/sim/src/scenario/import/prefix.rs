//! Removes the prefixes and wrappers that other programs add to a log line.

use serde::Deserialize;

use super::Refused;
use super::client::address;
use super::text::{is_number, word};

/// The line inside an entry of Docker's `json-file` driver; `None` for any other text.
pub(super) fn from_docker(text: &str) -> Result<Option<String>, Refused<'_>> {
    /// The field that holds the line; other fields are ignored.
    #[derive(Deserialize)]
    struct Wrapped {
        log: String,
    }
    /// Docker splits long lines into pieces of fixed size; only the last one ends with LF.
    const PIECE: usize = 16 << 10;
    if !text.starts_with('{') || !text.contains("\"log\"") {
        return Ok(None);
    }
    match serde_json::from_str::<Wrapped>(text) {
        Ok(Wrapped { log }) if log.len() >= PIECE && !log.ends_with('\n') => {
            Err(Refused::new(text, "a piece of a line that Docker has cut"))
        }
        Ok(Wrapped { log }) => Ok(Some(log)),
        Err(_) => Ok(None),
    }
}

/// A line without blanks, marks and prefixes before it, and without blanks after it.
pub(super) fn without_prefixes(line: &str) -> Result<&str, Refused<'_>> {
    let mut text = line;
    // Programs stack: a container's line that goes through syslog and is shown by Compose.
    for _ in 0..8 {
        text = text.trim_start_matches(|c: char| c == '\u{feff}' || c.is_whitespace());
        match without_prefix(text)? {
            Some(rest) => text = rest,
            None => break,
        }
    }
    Ok(text.trim_end())
}

/// The text after one prefix; `None` without a known one.
fn without_prefix(text: &str) -> Result<Option<&str>, Refused<'_>> {
    let (first, rest) = word(text);
    if text.starts_with('{') || address(first).is_some() {
        return Ok(None);
    }
    // A colour escape, from Compose.
    if let Some(parameters) = text.strip_prefix("\u{1b}[") {
        let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';').unwrap_or(parameters.len());
        return Ok(parameters[end..].strip_prefix('m'));
    }
    // A syslog priority, in raw syslog.
    if let Some((number, rest)) = text.strip_prefix('<').and_then(|rest| rest.split_once('>'))
        && (1..=3).contains(&number.len())
        && number.bytes().all(|byte| byte.is_ascii_digit())
    {
        return match rest.strip_prefix("1 ") {
            Some(header) => behind_rfc5424(header).map(Some),
            None => Ok(Some(rest)),
        };
    }
    // kubectl logs --prefix
    if let Some((_, rest)) = text.strip_prefix("[pod/").and_then(|rest| rest.split_once("] ")) {
        return Ok(Some(rest));
    }
    if is_month(first) {
        return Ok(behind_rfc3164(rest));
    }
    if let Some(after) = behind_iso_stamp(first, rest) {
        return behind_stream(after).map(Some);
    }
    // Compose: name  |
    let name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match text.split_once('|') {
        Some((before, line)) if !before.trim_end().is_empty() && before.trim_end().chars().all(name) => Ok(Some(line)),
        _ => Ok(None),
    }
}

fn is_month(text: &str) -> bool {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    MONTHS.contains(&text)
}

/// Behind the rest of RFC 3164's `May 17 10:05:03 host program[7]:`, perhaps with a year.
fn behind_rfc3164(rest: &str) -> Option<&str> {
    let (day, mut rest) = word(rest);
    let (mut time, mut after) = word(rest);
    if time.len() == 4 && is_number(time) {
        rest = after;
        (time, after) = word(rest);
    }
    let is_date = day.len() <= 2 && is_number(day) && is_time(time);
    is_date.then(|| behind_tag(after).unwrap_or(after))
}

/// Behind a stamp of ISO 8601: CRI, `docker logs -t`, rsyslog. `first` is the first word of the line.
fn behind_iso_stamp<'a>(first: &str, rest: &'a str) -> Option<&'a str> {
    let bytes = first.as_bytes();
    let is_day = |day: &[u8]| {
        let is_part = |(i, byte): (usize, &u8)| if i == 4 || i == 7 { *byte == b'-' } else { byte.is_ascii_digit() };
        day.len() == 10 && day.iter().enumerate().all(is_part)
    };
    if bytes.len() >= 19 && is_day(&bytes[..10]) && bytes[10] == b'T' && bytes[13] == b':' {
        Some(rest)
    } else if is_day(bytes) && is_time(word(rest).0) {
        Some(word(rest).1)
    } else {
        None
    }
}

/// Behind CRI's stream and tag, or syslog's tag.
fn behind_stream(after: &str) -> Result<&str, Refused<'_>> {
    let (stream, behind) = word(after);
    let (tag, line) = word(behind);
    let tag = tag.split(':').next().unwrap_or("");
    match (stream, tag) {
        ("stdout" | "stderr", "F") => Ok(line),
        ("stdout" | "stderr", "P") => Err(Refused::new(behind, "a piece of a line that the container runtime has cut")),
        _ => Ok(behind_tag(after).unwrap_or(after)),
    }
}

/// `10:05:03`, perhaps with a fraction.
fn is_time(text: &str) -> bool {
    let whole = text.split(['.', ',']).next().unwrap_or("");
    whole.len() == 8 && whole.split(':').count() == 3 && whole.split(':').all(is_number)
}

/// Behind syslog's `host program[7]:` or `program:`.
fn behind_tag(text: &str) -> Option<&str> {
    let is_tag = |word: &str| word.ends_with(':') && address(word).is_none();
    let (first, rest) = word(text);
    if is_tag(first) {
        return Some(rest);
    }
    let (second, rest) = word(rest);
    is_tag(second).then_some(rest)
}

/// Behind RFC 5424's time, host, program, process, message and structured data.
fn behind_rfc5424(header: &str) -> Result<&str, Refused<'_>> {
    let mut rest = header;
    for _ in 0..5 {
        rest = word(rest).1;
    }
    if let Some(message) = rest.strip_prefix('-') {
        return Ok(message);
    }
    while rest.starts_with('[') {
        let (mut inside, mut escaped) = (false, false);
        let end = rest.find(|c| {
            let ends = c == ']' && !inside && !escaped;
            inside ^= c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let Some(end) = end else { break };
        rest = &rest[end + 1..];
        if !rest.starts_with('[') {
            return Ok(rest);
        }
    }
    Err(Refused::new(header, "its begin is not a header of RFC 5424"))
}
