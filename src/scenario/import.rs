//! Access logs to workloads: the *common* and *combined* formats of Apache and nginx.
//!
//! `host ident user [17/May/2015:10:05:03 +0000] "GET /path HTTP/1.1" 200 203023 "referer" "agent"`
//!
//! These logs are written when a request ends, have stamps of one second and no durations. So: lines are put in order of
//! their stamps; requests with the same stamp are spread inside their second at random (by a fixed seed, in the order of
//! the log), as independent arrivals would lie; service times are left to the scenario, since a log's would contain the
//! queues of the balancer that wrote it. A line that cannot be read is counted and reported, never dropped in silence.

use jiff::fmt::strtime;

use super::workload_file::Line;
use crate::rng::{Rng, Source};

/// How many bad lines are shown.
const SHOWN: usize = 5;

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
    /// Seconds that hold more than one request: these were spread.
    pub shared_seconds: u64,
}

/// Reads a log. Queries are cut from paths unless `keep_query`.
pub fn import(log: &[u8], keep_query: bool) -> Imported {
    let mut imported = Imported::default();
    let mut entries: Vec<(i64, Line)> = Vec::new();
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
        match parse_line(text, keep_query) {
            Ok((second, line)) => {
                imported.out_of_order += u64::from(second < last);
                last = second;
                entries.push((second, line));
            }
            Err(reason) => {
                imported.malformed += 1;
                if imported.examples.len() < SHOWN {
                    imported.examples.push((i as u64 + 1, reason));
                }
            }
        }
    }
    entries.sort_by_key(|entry| entry.0);
    spread(&mut entries, &mut imported);
    imported
}

/// Gives each request a place inside its second.
fn spread(entries: &mut Vec<(i64, Line)>, imported: &mut Imported) {
    let Some(first) = entries.first().map(|entry| entry.0) else { return };
    let mut rng = Rng::stream(1, "import", 0);
    let mut rest = std::mem::take(entries).into_iter().peekable();
    while let Some((second, line)) = rest.next() {
        let mut group = vec![line];
        while let Some((_, line)) = rest.next_if(|next| next.0 == second) {
            group.push(line);
        }
        imported.shared_seconds += u64::from(group.len() > 1);
        let mut places: Vec<u64> = group.iter().map(|_| rng.below(1_000_000)).collect();
        places.sort_unstable();
        for (mut line, place) in group.into_iter().zip(places) {
            line.arrival = (second - first) as f64 + place as f64 / 1e6;
            imported.lines.push(line);
        }
    }
}

/// A line of the common or combined format: its stamp in seconds and the request.
fn parse_line(text: &str, keep_query: bool) -> Result<(i64, Line), String> {
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
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_alphabetic()) || target.is_empty() {
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
    let path = if keep_query { target } else { target.split(['?', '#']).next().unwrap_or(target) };
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    Ok((second, Line { arrival: 0.0, client: client.to_owned(), path: path.to_owned(), bytes }))
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
        let imported = import(LOG.as_bytes(), false);
        let got: Vec<_> = imported.lines.iter().map(|l| (l.client.as_str(), l.path.as_str(), l.bytes)).collect();
        assert_eq!(got, [("::1", "/late", 7), ("10.0.0.1", "/a", 5), ("10.0.0.2", "/b\\\"c", 0)]);
        let at: Vec<f64> = imported.lines.iter().map(|l| l.arrival).collect();
        assert!((0.0..1.0).contains(&at[0]) && (1.0..2.0).contains(&at[1]) && at[1] <= at[2] && at[2] < 2.0, "{at:?}");
        assert_eq!((imported.malformed, imported.blank, imported.out_of_order, imported.shared_seconds), (3, 1, 1, 1));
        let lines: Vec<u64> = imported.examples.iter().map(|e| e.0).collect();
        assert_eq!(lines, [3, 6, 7]);
        assert_eq!(import(LOG.as_bytes(), true).lines[1].path, "/a?x=1");
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
        let imported = import(&log, false);
        assert_eq!(imported.lines.len() as u64 + imported.malformed + imported.blank, 2000);
    }
}
