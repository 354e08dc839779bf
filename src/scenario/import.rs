//! Access logs to workloads: the *common* and *combined* formats of Apache and nginx, and what the proxy writes, which is
//! combined with more fields at the end, or JSON.
//!
//! `host ident user [17/May/2015:10:05:03 +0000] "GET /path HTTP/1.1" 200 203023 "referer" "agent"`
//!
//! `{"time":"2015-05-17T10:05:03.000250Z","client_ip":"192.0.2.1","path":"/path","bytes_out":203023,…}`
//!
//! The first are written when a request ends, have stamps of one second and no durations. So: lines are put in order of
//! their stamps; requests with the same stamp are spread inside their second at random (by a fixed seed, in the order of
//! the log), as independent arrivals would lie. Stamps in JSON are exact and stay. Service times are left to the scenario,
//! since a log's would contain the queues of the balancer that wrote it. A line that cannot be read is counted and
//! reported, never dropped in silence.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::fmt::strtime;
use serde::Deserialize;

use super::workload_file::Line;
use crate::rng::{Rng, Source};

/// How many bad lines are shown.
const SHOWN: usize = 5;

/// How a log's lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Found out for each line: JSON begins with a brace, which no address does.
    #[default]
    Auto,
    /// Common or combined.
    Combined,
    /// A JSON object per line, as the proxy writes it.
    Json,
}

/// What came of a log.
#[derive(Clone, Debug, Default)]
pub struct Imported {
    /// Requests, in order of arrival.
    pub lines: Vec<Line>,
    /// Lines that could not be read.
    pub malformed: u64,
    /// The first few of them: line number and reason.
    pub examples: Vec<(u64, String)>,
    /// Empty lines.
    pub blank: u64,
    /// Lines with a stamp before the one above them.
    pub out_of_order: u64,
    /// Requests whose stamp was a whole second: these were spread.
    pub whole_seconds: u64,
    /// Seconds that hold more than one of them.
    pub shared_seconds: u64,
}

/// When a request came, microseconds since 1970, or its second where no more is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stamp {
    Second(i64),
    Micros(i64),
}

const MICROS: i64 = 1_000_000;

impl Stamp {
    fn micros(self) -> i64 {
        match self {
            Stamp::Second(second) => second * MICROS,
            Stamp::Micros(micros) => micros,
        }
    }
}

/// Reads a log. Queries are cut from paths unless `keep_query`.
pub fn import(log: &[u8], format: Format, keep_query: bool) -> Imported {
    let mut imported = Imported::default();
    let mut entries: Vec<(Stamp, Line)> = Vec::new();
    let mut last = i64::MIN;
    let mut lines: Vec<&[u8]> = log.split(|&byte| byte == b'\n').collect();
    if lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    for (i, raw) in lines.iter().enumerate() {
        // Logs hold whatever clients sent; what is not UTF-8 is replaced, as every viewer does.
        let text = String::from_utf8_lossy(raw);
        let text = text.trim_end_matches('\r');
        if text.trim().is_empty() {
            imported.blank += 1;
            continue;
        }
        let is_json = format == Format::Json || format == Format::Auto && text.trim_start().starts_with('{');
        let parsed = if is_json { parse_json(text, keep_query) } else { parse_line(text, keep_query) };
        match parsed {
            Ok((stamp, line)) => {
                imported.out_of_order += u64::from(stamp.micros() < last);
                last = stamp.micros();
                entries.push((stamp, line));
            }
            Err(reason) => {
                imported.malformed += 1;
                if imported.examples.len() < SHOWN {
                    imported.examples.push((i as u64 + 1, reason));
                }
            }
        }
    }
    entries.sort_by_key(|entry| entry.0.micros());
    place(entries, &mut imported);
    imported
}

/// Gives each request its time of arrival: as stamped, or a place inside its second.
fn place(entries: Vec<(Stamp, Line)>, imported: &mut Imported) {
    let Some(first) = entries.first().map(|entry| entry.0.micros()) else { return };
    let (coarse, exact): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|(stamp, _)| matches!(stamp, Stamp::Second(_)));
    let mut placed: Vec<(i64, Line)> = Vec::with_capacity(coarse.len() + exact.len());
    imported.whole_seconds = coarse.len() as u64;
    let mut rng = Rng::stream(1, "import", 0);
    let mut rest = coarse.into_iter().peekable();
    while let Some((second, line)) = rest.next() {
        let mut group = vec![line];
        while let Some((_, line)) = rest.next_if(|next| next.0 == second) {
            group.push(line);
        }
        imported.shared_seconds += u64::from(group.len() > 1);
        let mut places: Vec<i64> = group.iter().map(|_| rng.below(MICROS as u64) as i64).collect();
        places.sort_unstable();
        placed.extend(places.into_iter().map(|place| second.micros() + place).zip(group));
    }
    let none_coarse = placed.is_empty();
    placed.extend(exact.into_iter().map(|(stamp, line)| (stamp.micros(), line)));
    if !none_coarse {
        placed.sort_by_key(|entry| entry.0);
    }
    imported.lines.extend(placed.into_iter().map(|(at, line)| {
        let since = at - first;
        Line { arrival: (since / MICROS) as f64 + (since % MICROS) as f64 / 1e6, ..line }
    }));
}

/// What is needed of an object that the proxy's log has written.
#[derive(Deserialize)]
struct Object<'a> {
    time: Cow<'a, str>,
    #[serde(borrow)]
    client_ip: Cow<'a, str>,
    #[serde(borrow)]
    path: Cow<'a, str>,
    query: Option<Cow<'a, str>>,
    bytes_out: u64,
}

/// A line of JSON: its stamp and the request.
fn parse_json(text: &str, keep_query: bool) -> Result<(Stamp, Line), String> {
    let object: Object<'_> = serde_json::from_str(text).map_err(|error| format!("not an entry in JSON: {error}"))?;
    let time: Timestamp = object
        .time
        .parse()
        .map_err(|_| format!("`{}` is not a time such as 2015-05-17T10:05:03.000250Z", shorten(&object.time)))?;
    let mut path = target(&object.path, keep_query).to_owned();
    if let Some(query) = object.query.filter(|_| keep_query) {
        path = format!("{path}?{query}");
    }
    let bytes = u32::try_from(object.bytes_out).unwrap_or(u32::MAX);
    let line = Line { arrival: 0.0, client: object.client_ip.into_owned(), path, bytes };
    Ok((Stamp::Micros(time.as_microsecond()), line))
}

fn target(target: &str, keep_query: bool) -> &str {
    if keep_query { target } else { target.split(['?', '#']).next().unwrap_or(target) }
}

/// A line of the common or combined format: its stamp and the request.
fn parse_line(text: &str, keep_query: bool) -> Result<(Stamp, Line), String> {
    let (client, rest) = text.split_once(' ').ok_or("there is but one word")?;
    let (_, rest) = rest.split_once('[').ok_or("no `[` before a time stamp")?;
    let (stamp, rest) = rest.split_once(']').ok_or("no `]` after the time stamp")?;
    let second = strtime::parse("%d/%b/%Y:%H:%M:%S %z", stamp)
        .and_then(|time| time.to_timestamp())
        .map_err(|_| format!("`{}` is not a time such as 17/May/2015:10:05:03 +0000", shorten(stamp)))?
        .as_second();
    let rest = rest.trim_start().strip_prefix('"').ok_or("no quoted request after the time stamp")?;
    let (request, rest) = quoted(rest).ok_or("the request's quote is not closed")?;
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if method.is_empty() || !method.bytes().all(is_token) || path.is_empty() {
        return Err(format!("`{}` is not a request line", shorten(request)));
    }
    let mut numbers = rest.split_ascii_whitespace();
    let status = numbers.next().unwrap_or("");
    if status.len() != 3 || !status.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("`{}` is not a status", shorten(status)));
    }
    let bytes = match numbers.next() {
        Some("-") => 0,
        Some(text) => text.parse::<u64>().map_err(|_| format!("`{}` is not a size", shorten(text)))?,
        None => return Err("no size after the status".to_owned()),
    };
    let path = target(&unescape(path), keep_query).to_owned();
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    Ok((Stamp::Second(second), Line { arrival: 0.0, client: client.to_owned(), path, bytes }))
}

/// Undoes what logs do to quotes and odd bytes: `\"`, `\\`, `\xhh`, and the letters that Apache uses.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
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
    Cow::Owned(String::from_utf8_lossy(&plain).into_owned())
}

/// Up to the closing quote, past escaped ones; and what follows.
fn quoted(text: &str) -> Option<(&str, &str)> {
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

fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(40).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
10.0.0.1 - - [17/May/2015:10:05:03 +0000] \"GET /a?x=1 HTTP/1.1\" 200 5 \"-\" \"curl\"
10.0.0.2 - bob [17/May/2015:12:05:03 +0200] \"GET /b\\\"c HTTP/1.0\" 304 -
not a log line

::1 - - [17/May/2015:10:05:02 +0000] \"POST /late HTTP/1.1\" 200 7
10.0.0.3 - - [17/May/2015:10:05:04 +0000] \"\\x16\\x03\\x01\" 400 226
10.0.0.3 - - [47/May/2015:10:05:04 +0000] \"GET / HTTP/1.1\" 200 226
";

    #[test]
    fn reads_both_formats_orders_spreads_and_counts() {
        let imported = import(LOG.as_bytes(), Format::Auto, false);
        let got: Vec<_> = imported.lines.iter().map(|l| (l.client.as_str(), l.path.as_str(), l.bytes)).collect();
        assert_eq!(got, [("::1", "/late", 7), ("10.0.0.1", "/a", 5), ("10.0.0.2", "/b\"c", 0)]);
        let at: Vec<f64> = imported.lines.iter().map(|l| l.arrival).collect();
        assert!((0.0..1.0).contains(&at[0]) && (1.0..2.0).contains(&at[1]) && at[1] <= at[2] && at[2] < 2.0, "{at:?}");
        assert_eq!((imported.malformed, imported.blank, imported.out_of_order, imported.shared_seconds), (3, 1, 1, 1));
        assert_eq!(imported.whole_seconds, 3);
        let lines: Vec<u64> = imported.examples.iter().map(|e| e.0).collect();
        assert_eq!(lines, [3, 6, 7]);
        assert_eq!(import(LOG.as_bytes(), Format::Auto, true).lines[1].path, "/a?x=1");
    }

    #[test]
    fn json_is_found_out_and_keeps_its_stamps() {
        let json = |time: &str, path: &str| {
            format!(
                "{{\"client_ip\":\"2001:db8::1\",\"bytes_out\":9,\"time\":\"{time}\",\"path\":\"{path}\",\"x\":[1]}}\n"
            )
        };
        let log = [
            json("2015-05-17T10:05:03.250001Z", "/late"),
            json("2015-05-17T10:05:03.25Z", "/\\u00e4?x=1"),
            json("2015-05-17T12:05:04+02:00", "/zone"),
            json("2015-05-17", "/no"),
            "{\"time\":1}\n".to_owned(),
        ]
        .concat();
        let imported = import(log.as_bytes(), Format::Auto, false);
        let got: Vec<_> =
            imported.lines.iter().map(|l| (l.arrival, l.client.as_str(), l.path.as_str(), l.bytes)).collect();
        let client = "2001:db8::1";
        assert_eq!(got, [(0.0, client, "/ä", 9), (1e-6, client, "/late", 9), (0.75, client, "/zone", 9)]);
        assert_eq!((imported.malformed, imported.whole_seconds, imported.out_of_order), (2, 0, 1));
        assert_eq!(import(log.as_bytes(), Format::Combined, false).malformed, 5);
        assert_eq!(import(LOG.as_bytes(), Format::Json, false).lines, []);
        // Both in one: all are ordered.
        let both = import(format!("{LOG}{log}").as_bytes(), Format::Auto, false);
        assert_eq!(both.lines.len(), 6);
        assert!(both.lines.windows(2).all(|pair| pair[0].arrival <= pair[1].arrival));
    }

    #[test]
    fn escapes_are_undone() {
        for (escaped, plain) in [
            (r"/a", "/a"),
            (r#"/\"\\"#, r#"/"\"#),
            (r"/\x22\xc3\xa4\xC3", "/\"ä\u{fffd}"),
            (r"/\n\q\x2\", "/\n\\q\\x2\\"),
        ] {
            assert_eq!(unescape(escaped), plain, "{escaped}");
        }
    }

    #[test]
    fn rubbish_is_counted_and_never_panics() {
        let mut rng = Rng::stream(1, "test", 0);
        let mut log = Vec::new();
        for _ in 0..2000 {
            let mut line = LOG.lines().next().unwrap().as_bytes().to_vec();
            for _ in 0..rng.below(4) {
                let at = rng.below(line.len() as u64) as usize;
                line[at] = rng.below(256) as u8;
            }
            line.truncate(1 + rng.below(line.len() as u64) as usize);
            log.extend(line.iter().filter(|&&byte| byte != b'\n'));
            log.push(b'\n');
        }
        let imported = import(&log, Format::Auto, false);
        assert_eq!(imported.lines.len() as u64 + imported.malformed + imported.blank, 2000);
    }
}
