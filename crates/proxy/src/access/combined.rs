//! A line in Apache's combined log format with fields of our own behind it.

use std::io::{self, Write};

use super::entry::{Entry, protocol};
use super::{MAX_FIELD, MAX_TARGET, cut, cut_text};

/// Writes the entry without a line end.
pub(super) fn write(line: &mut Vec<u8>, entry: &Entry<'_>, query: bool) -> io::Result<()> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let time = jiff::tz::Offset::UTC.to_datetime(entry.time);
    let month = MONTHS[time.month().clamp(1, 12) as usize - 1];
    write!(line, "{} - - [{:02}/{month}/{:04}:", entry.client_ip, time.day(), time.year())?;
    write!(line, "{:02}:{:02}:{:02} +0000] \"", time.hour(), time.minute(), time.second())?;
    word(line, cut_text(entry.method, MAX_FIELD));
    line.push(b' ');
    word(line, cut_text(entry.path, MAX_TARGET));
    if let Some(query) = entry.query.filter(|_| query) {
        line.push(b'?');
        escape(line, cut_text(query, MAX_TARGET).as_bytes(), b' ');
    }
    write!(line, " {}\" {:03} {} ", protocol(entry.protocol), entry.status.unwrap_or(0), entry.bytes_out)?;
    for field in [entry.referer, entry.user_agent] {
        line.push(b'"');
        escape(line, cut(field.unwrap_or(b"-"), MAX_FIELD), b'"');
        line.extend_from_slice(b"\" ");
    }
    match entry.upstream {
        Some(address) => write!(line, "\"{address}\" {} ", entry.attempts)?,
        None => write!(line, "\"-\" {} ", entry.attempts)?,
    }
    word(line, cut_text(entry.strategy, MAX_FIELD));
    let micros = entry.duration.0 / 1000;
    write!(line, " {} {}.{:06}", entry.reason.as_str(), micros / 1_000_000, micros % 1_000_000)
}

/// A field that ends at a space: `-` if there is nothing in it.
fn word(line: &mut Vec<u8>, text: &str) {
    escape(line, if text.is_empty() { b"-" } else { text.as_bytes() }, b' ');
}

/// Printable ASCII as it is; quote and backslash behind a backslash; the rest, and `also`, as `\xhh`.
fn escape(line: &mut Vec<u8>, bytes: &[u8], also: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => line.extend_from_slice(&[b'\\', byte]),
            b' '..=b'~' if byte != also => line.push(byte),
            _ => {
                let (high, low) = (DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]);
                line.extend_from_slice(&[b'\\', b'x', high, low]);
            }
        }
    }
}
