//! The *common* and *combined* formats of Apache and nginx, and the proxy's own text format, which is combined with more fields
//! at the end:
//!
//! `host ident user [17/May/2015:10:05:03 +0000] "GET /path HTTP/1.1" 200 203023 "referer" "agent"`
//!
//! Stamps are whole seconds.

use jiff::fmt::strtime;

use super::client::client;
use super::text::{decoded, is_number, quoted, target, unescaped, word};
use super::{Entry, Importer, Options, Refused, Stamp};

/// The common and combined formats; see the module's documentation.
pub(super) struct Combined;

/// The first time stamp in brackets that a quoted request follows: what stands before it, its second, and the text behind
/// the quote. A user's name may have brackets of its own, but no bare quote.
fn stamp(text: &str) -> Result<(&str, i64, &str), Refused<'_>> {
    /// Longer than any stamp.
    const LONG: usize = 64;
    let mut refused = Refused::new(text, "no `[` before a time stamp");
    let mut first = true;
    for (open, _) in text.match_indices('[') {
        let inside = &text[open + 1..];
        let near = inside.bytes().take(LONG).position(|byte| byte == b']');
        let Some(close) = near else {
            if std::mem::take(&mut first) {
                refused = Refused::new(inside, "no `]` after the time stamp");
            }
            continue;
        };
        let (stamp, behind) = (&inside[..close], inside[close + 1..].trim_start_matches([' ', '\t']));
        match (second_of(stamp), behind.strip_prefix('"')) {
            (Some(second), Some(request)) => return Ok((&text[..open], second, request)),
            (Some(_), None) => {
                refused = Refused::new(behind, "no quoted request after the time stamp");
                first = false;
            }
            (None, _) if std::mem::take(&mut first) => {
                refused = Refused::quoting(stamp, "is not a time such as 17/May/2015:10:05:03 +0000");
            }
            (None, _) => {}
        }
    }
    Err(refused)
}

fn second_of(stamp: &str) -> Option<i64> {
    let bytes = stamp.as_bytes();
    if bytes.len() != 26 || bytes[2] != b'/' || bytes[6] != b'/' {
        return None;
    }
    let time = strtime::parse("%d/%b/%Y:%H:%M:%S %z", stamp).and_then(|time| time.to_timestamp()).ok()?;
    Some(time.as_second())
}

impl Importer for Combined {
    fn name(&self) -> &'static str {
        "combined"
    }
    fn logs(&self) -> &'static str {
        "Common or combined format of Apache and nginx, with any fields after it"
    }
    fn example(&self) -> &'static str {
        r#"192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 203023 "-" "curl/8.5.0""#
    }
    fn detects(&self, line: &str) -> bool {
        stamp(line).is_ok()
    }
    fn parse<'a>(&self, line: &'a str, options: &Options) -> Result<Entry, Refused<'a>> {
        let (before, second, request) = stamp(line)?;
        let client = client(before, options.client)?;
        let (request, rest) = quoted(request).ok_or(Refused::new(request, "the request's quote is not closed"))?;
        let path = path_of(request)?;
        let (status, rest) = field(rest);
        if status.len() != 3 || !is_number(status) {
            return Err(Refused::quoting(status, "is not a status"));
        }
        let bytes = match field(rest).0 {
            "" => return Err(Refused::new(rest, "no size after the status")),
            "-" => 0,
            text => text.parse::<u64>().map_err(|_| Refused::quoting(text, "is not a size"))?,
        };
        let path = target(&decoded(&unescaped(path)), options.keep_query);
        Ok(Entry { stamp: Stamp::Second(second), client, path, bytes })
    }
}

/// The next field, up to ASCII white space, and the text after it.
fn field(text: &str) -> (&str, &str) {
    let text = text.trim_ascii_start();
    text.split_at(text.find(|c: char| c.is_ascii_whitespace()).unwrap_or(text.len()))
}

/// The target of a request line: the text between method and protocol. HTTP/0.9 has no protocol. Targets with unencoded
/// blanks are kept as they are.
fn path_of(request: &str) -> Result<&str, Refused<'_>> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let (method, rest) = word(request.trim_start_matches([' ', '\t']));
    let rest = rest.trim_end_matches([' ', '\t']);
    let path = match rest.rsplit_once([' ', '\t']) {
        Some((path, protocol)) if protocol.starts_with("HTTP/") => path.trim_end_matches([' ', '\t']),
        None if rest.starts_with("HTTP/") => "",
        _ => rest,
    };
    if method.is_empty() || !method.bytes().all(is_token) || path.is_empty() {
        return Err(Refused::quoting(request, "is not a request line"));
    }
    Ok(path)
}
