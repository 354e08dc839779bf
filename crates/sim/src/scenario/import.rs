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
//!
//! What other programs put before a line is taken off: syslog (RFC 3164, RFC 5424), Docker's JSON files, CRI, Compose and
//! `kubectl logs --prefix`. The client is an address, or the name of a host where only that can
//! be meant, or the line is refused. The log is read once, and
//! what is kept of a line is 32 bytes; clients and paths are kept once each.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::hash::BuildHasherDefault;
use std::io::{self, BufRead};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::fmt::strtime;
use serde::Deserialize;
use twox_hash::XxHash64;

use super::workload_file::Line;
use evenkeel_config::terminal::one_line;
use evenkeel_core::rng::{Rng, Source};

/// How many bad lines are shown.
const SHOWN: usize = 5;

/// The longest line that is read, bytes. Servers refuse requests that would make a longer one.
const LONGEST: usize = 1 << 20;

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

/// What to make of a log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// How its lines look.
    pub format: Format,
    /// Keep queries in paths; they are cut otherwise.
    pub keep_query: bool,
    /// Which word of a common or combined line is the client, from 1. `None` finds out, and refuses a line where two could be.
    pub client: Option<usize>,
    /// Keep the few requests that are far in time from all others.
    pub keep_outliers: bool,
}

/// A request of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Microseconds since the start: the first stamp of the log.
    pub arrival: i64,
    /// Index into the clients.
    pub client: u32,
    /// Index into the paths.
    pub path: u32,
    /// Size of the answer.
    pub bytes: u32,
}

/// What came of a log.
#[derive(Clone, Debug, Default)]
pub struct Imported {
    /// Requests, in order of arrival.
    pub requests: Vec<Request>,
    /// Clients, in order of appearance.
    pub clients: Vec<Arc<str>>,
    /// Paths, in order of appearance.
    pub paths: Vec<Arc<str>>,
    /// Lines that were read; where NULs stand between two, they count as two.
    pub read: u64,
    /// Lines that could not be understood.
    pub malformed: u64,
    /// The first few of them: line number and reason.
    pub examples: Vec<(u64, String)>,
    /// All of them by the kind of reason.
    pub reasons: BTreeMap<&'static str, u64>,
    /// Empty lines.
    pub blank: u64,
    /// Lines with a stamp before the one above them.
    pub out_of_order: u64,
    /// The greatest step back in time from one line to the next, seconds, and the line after it.
    pub greatest_step_back: (i64, u64),
    /// Requests whose stamp was a whole second: these were spread.
    pub whole_seconds: u64,
    /// Seconds that hold more than one of them.
    pub shared_seconds: u64,
    /// Requests that were left out as they are far in time from all others: line number and stamp of the first few, and how
    /// many there are.
    pub outliers: (Vec<(u64, Timestamp)>, u64),
    /// The longest time without a request, seconds, and the stamp after it.
    pub longest_gap: (i64, Timestamp),
    /// Answers longer than a workload can say (4 GiB), which were shortened to that.
    pub capped: u64,
}

impl Imported {
    /// As lines of a workload file.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.requests.iter().map(|request| Line {
            arrival: (request.arrival / MICROS) as f64 + (request.arrival % MICROS) as f64 / 1e6,
            client: Cow::Borrowed(&*self.clients[request.client as usize]),
            path: Cow::Borrowed(&*self.paths[request.path as usize]),
            bytes: request.bytes,
        })
    }

    /// Seconds from the start to the last request.
    pub fn span(&self) -> f64 {
        self.requests.last().map_or(0.0, |request| request.arrival as f64 / 1e6)
    }
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

/// Why a line was refused: a kind, for counting, and what stands in the line.
struct Refused {
    kind: &'static str,
    text: String,
}

impl Refused {
    fn new(kind: &'static str) -> Refused {
        Refused { kind, text: kind.to_owned() }
    }

    /// `kind` completes "`text` …".
    fn at(text: &str, kind: &'static str) -> Refused {
        Refused { kind, text: format!("`{}` {kind}", shorten(text)) }
    }
}

/// What a line says.
struct Parsed {
    stamp: Stamp,
    client: String,
    path: String,
    bytes: u64,
}

/// A request while the log is read.
struct Entry {
    micros: i64,
    line: u64,
    client: u32,
    path: u32,
    bytes: u32,
    whole_second: bool,
}

/// Texts by number, each kept once.
#[derive(Default)]
struct Names {
    /// Looked up, never walked through.
    numbers: HashMap<Arc<str>, u32, BuildHasherDefault<XxHash64>>,
    all: Vec<Arc<str>>,
}

impl Names {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let (number, name): (u32, Arc<str>) = (self.all.len() as u32, name.into());
        self.all.push(Arc::clone(&name));
        self.numbers.insert(name, number);
        number
    }

    /// Only those that are used, in the order in which they appeared.
    fn keep(self, entries: &mut [Entry], of: fn(&mut Entry) -> &mut u32) -> Vec<Arc<str>> {
        let mut used = vec![false; self.all.len()];
        entries.iter_mut().for_each(|entry| used[*of(entry) as usize] = true);
        if used.iter().all(|used| *used) {
            return self.all;
        }
        let mut numbers = vec![0; self.all.len()];
        let mut kept = Vec::new();
        for (number, name) in self.all.into_iter().enumerate().filter(|(number, _)| used[*number]) {
            numbers[number] = kept.len() as u32;
            kept.push(name);
        }
        entries.iter_mut().for_each(|entry| *of(entry) = numbers[*of(entry) as usize]);
        kept
    }
}

/// Reads a log that is in memory.
pub fn import(log: &[u8], format: Format, keep_query: bool) -> Imported {
    let options = Options { format, keep_query, ..Options::default() };
    // Reading from memory does not fail.
    read(log, &options, &mut |_| {}).unwrap_or_default()
}

/// Reads a log. `progress` is called with the number of lines now and then.
///
/// Lines end with LF, CRLF or CR. NULs, which a crash leaves behind in files, end a line as well.
///
/// # Errors
/// Only those of the reader.
pub fn read(mut log: impl BufRead, options: &Options, progress: &mut dyn FnMut(u64)) -> io::Result<Imported> {
    let mut reading = Reading::new(options);
    // The begin of a line whose end is in a later piece of the log.
    let mut begun: Vec<u8> = Vec::new();
    let mut too_long = false;
    // The last byte was CR: an LF belongs to it.
    let mut after_cr = false;
    // Something stood in this line before a NUL.
    let mut torn = false;
    let mut number = 1;
    loop {
        let piece = match log.fill_buf() {
            Ok(piece) => piece,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if piece.is_empty() {
            break;
        }
        let length = piece.len();
        let mut rest = piece;
        if std::mem::take(&mut after_cr) && rest[0] == b'\n' {
            rest = &rest[1..];
        }
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
            let (text, by) = (&rest[..end], rest[end]);
            rest = &rest[end + 1..];
            let fits = !too_long && begun.len() + text.len() <= LONGEST;
            if by != 0 || !fits || !text.is_empty() || !begun.is_empty() {
                match (fits, begun.is_empty()) {
                    (false, _) => reading.refuse(number, Refused::new("the line is longer than 1 MiB")),
                    (true, _) if by != 0 && torn && text.is_empty() && begun.is_empty() => {}
                    (true, true) => reading.line(number, text),
                    (true, false) => {
                        begun.extend_from_slice(text);
                        reading.line(number, &begun);
                    }
                }
                (torn, too_long) = (true, false);
                begun.clear();
            }
            if by != 0 {
                torn = false;
                number += 1;
                if by == b'\r' {
                    match rest.first() {
                        Some(b'\n') => rest = &rest[1..],
                        Some(_) => {}
                        None => after_cr = true,
                    }
                }
                if number.is_multiple_of(8192) {
                    progress(number);
                }
            }
        }
        if !too_long && begun.len() + rest.len() <= LONGEST {
            begun.extend_from_slice(rest);
        } else if !rest.is_empty() {
            too_long = true;
            begun.clear();
        }
        log.consume(length);
    }
    if too_long {
        reading.refuse(number, Refused::new("the line is longer than 1 MiB"));
    } else if !begun.is_empty() {
        reading.line(number, &begun);
    }
    Ok(reading.finish())
}

/// What has been read so far.
struct Reading<'a> {
    options: &'a Options,
    imported: Imported,
    entries: Vec<Entry>,
    clients: Names,
    paths: Names,
    /// The stamp of the last line, microseconds.
    last: i64,
}

impl<'a> Reading<'a> {
    fn new(options: &'a Options) -> Reading<'a> {
        let (clients, paths) = Default::default();
        Reading { options, imported: Imported::default(), entries: Vec::new(), clients, paths, last: i64::MIN }
    }

    fn refuse(&mut self, number: u64, refused: Refused) {
        let imported = &mut self.imported;
        imported.read += 1;
        imported.malformed += 1;
        *imported.reasons.entry(refused.kind).or_default() += 1;
        if imported.examples.len() < SHOWN {
            imported.examples.push((number, refused.text));
        }
    }

    fn line(&mut self, number: u64, bytes: &[u8]) {
        if bytes.trim_ascii().is_empty() {
            self.imported.read += 1;
            self.imported.blank += 1;
            return;
        }
        let text = decoded(bytes);
        match parse(&text, self.options) {
            Ok(parsed) => self.take(number, &parsed),
            Err(refused) => self.refuse(number, refused),
        }
    }

    fn take(&mut self, line: u64, parsed: &Parsed) {
        let micros = parsed.stamp.micros();
        if micros < self.last {
            self.imported.out_of_order += 1;
            let back = (self.last - micros) / MICROS;
            if back > self.imported.greatest_step_back.0 {
                self.imported.greatest_step_back = (back, line);
            }
        }
        self.last = micros;
        self.imported.read += 1;
        self.imported.capped += u64::from(parsed.bytes > u64::from(u32::MAX));
        self.entries.push(Entry {
            micros,
            line,
            client: self.clients.number(&parsed.client),
            path: self.paths.number(&parsed.path),
            bytes: u32::try_from(parsed.bytes).unwrap_or(u32::MAX),
            whole_second: matches!(parsed.stamp, Stamp::Second(_)),
        });
    }

    fn finish(self) -> Imported {
        let Reading { options, mut imported, mut entries, clients, paths, .. } = self;
        // Of requests with the same stamp those of whole seconds come first: they are spread together.
        entries.sort_unstable_by_key(|entry| (entry.micros, !entry.whole_second, entry.line));
        if !options.keep_outliers {
            leave_out_outliers(&mut entries, &mut imported);
        }
        let gaps = entries.windows(2).map(|pair| (pair[1].micros - pair[0].micros, pair[1].micros));
        if let Some((gap, after)) = gaps.max_by_key(|gap| gap.0) {
            imported.longest_gap = (gap / MICROS, Timestamp::from_microsecond(after).unwrap_or_default());
        }
        imported.clients = clients.keep(&mut entries, |entry| &mut entry.client);
        imported.paths = paths.keep(&mut entries, |entry| &mut entry.path);
        place(&mut entries, &mut imported);
        imported
    }
}

/// The gap that makes a request an outlier, microseconds: thirty days.
const FAR: i64 = 30 * 86_400 * MICROS;

/// Leaves out the few requests that are far in time from all others, before or after them: a clock that was not set (1970), a
/// line of another year. Far is more than thirty days, and five times as long as the others last; few is one in a hundred, and
/// in short logs one in twenty, but always one.
fn leave_out_outliers(entries: &mut Vec<Entry>, imported: &mut Imported) {
    let count = entries.len();
    let few = (count / 20).clamp(1, (count / 100).max(5)).min(count / 2);
    let gap = |at: usize| entries[at].micros - entries[at - 1].micros;
    // Where the others may begin, and where they may end.
    let begin = (1..=few).rev().find(|&at| gap(at) > FAR);
    let end = (count - few..count).find(|&at| at > 0 && gap(at) > FAR);
    let apart = |from: usize, to: usize| {
        let last = to.checked_sub(2).filter(|&last| last >= from)? + 1;
        let long = entries[last].micros - entries[from].micros;
        let far = |at: usize| gap(at) / 5 > long;
        ((from == 0 || far(from)) && (to == count || far(to))).then_some((from, to))
    };
    let found = begin.and_then(|from| apart(from, count));
    let found = found.or_else(|| apart(0, end?));
    let Some((from, to)) = found.or_else(|| apart(begin?, end?)) else { return };
    let left_out = entries[..from].iter().chain(&entries[to..]);
    let stamp = |micros| Timestamp::from_microsecond(micros).unwrap_or_default();
    imported.outliers.0.extend(left_out.clone().take(SHOWN).map(|entry| (entry.line, stamp(entry.micros))));
    imported.outliers.1 = left_out.count() as u64;
    entries.truncate(to);
    entries.drain(..from);
}

/// Gives each request its time of arrival: as stamped, or a place inside its second.
fn place(entries: &mut [Entry], imported: &mut Imported) {
    let Some(start) = entries.first().map(|entry| entry.micros) else { return };
    let mut rng = Rng::stream(1, "import", 0);
    let mut places = Vec::new();
    let mut at = 0;
    while at < entries.len() {
        let micros = entries[at].micros;
        let same = |entry: &&Entry| entry.whole_second && entry.micros == micros;
        let group = entries[at..].iter().take_while(same).count();
        imported.whole_seconds += group as u64;
        imported.shared_seconds += u64::from(group > 1);
        places.clear();
        places.extend((0..group).map(|_| rng.below(MICROS as u64) as i64));
        places.sort_unstable();
        for (entry, place) in entries[at..].iter_mut().zip(&places) {
            entry.micros += place;
        }
        at += group.max(1);
    }
    if imported.whole_seconds > 0 {
        entries.sort_unstable_by_key(|entry| (entry.micros, !entry.whole_second, entry.line));
    }
    imported.requests = entries
        .iter()
        .map(|&Entry { micros, client, path, bytes, .. }| Request { arrival: micros - start, client, path, bytes })
        .collect();
}

/// Bytes as text. What is not UTF-8 (a path in latin-1) is percent-encoded, as browsers send it: two such paths stay two.
fn decoded(bytes: &[u8]) -> Cow<'_, str> {
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

fn percent(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(text, "%{byte:02X}");
    }
}

/// A line of any kind: its stamp and the request.
fn parse(line: &str, options: &Options) -> Result<Parsed, Refused> {
    let text = bare(line)?;
    match docker(text)? {
        Some(inner) => parse_bare(bare(&inner)?, options),
        None => parse_bare(text, options),
    }
}

/// A line without what other programs put before it.
fn parse_bare(text: &str, options: &Options) -> Result<Parsed, Refused> {
    let is_json = text.starts_with('{');
    match options.format {
        Format::Json if !is_json => Err(Refused::new("not an entry in JSON: no `{` at its begin")),
        Format::Json => parse_json(text, options.keep_query),
        Format::Auto if is_json => parse_json(text, options.keep_query),
        Format::Auto | Format::Combined => parse_line(text, options),
    }
}

/// What Docker's `json-file` driver has put around a line, taken off.
fn docker(text: &str) -> Result<Option<String>, Refused> {
    /// What a line becomes there; others write more fields beside it.
    #[derive(Deserialize)]
    struct Wrapped {
        log: String,
    }
    /// Docker cuts lines into pieces of so many bytes; only the last ends with LF.
    const PIECE: usize = 16 << 10;
    if !text.starts_with('{') || !text.contains("\"log\"") {
        return Ok(None);
    }
    match serde_json::from_str::<Wrapped>(text) {
        Ok(Wrapped { log }) if log.len() >= PIECE && !log.ends_with('\n') => {
            Err(Refused::new("a piece of a line that Docker has cut"))
        }
        Ok(Wrapped { log }) => Ok(Some(log)),
        Err(_) => Ok(None),
    }
}

/// A line without blanks, marks and prefixes before it.
fn bare(line: &str) -> Result<&str, Refused> {
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

/// The first word, up to a blank or tab, and what follows it.
fn word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    (word, rest.trim_start_matches([' ', '\t']))
}

/// The text behind one prefix; `None` where there is none that is known.
fn without_prefix(text: &str) -> Result<Option<&str>, Refused> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (first, rest) = word(text);
    if text.starts_with('{') || address(first).is_some() {
        return Ok(None);
    }
    // A colour, as Compose has it.
    if let Some(parameters) = text.strip_prefix("\u{1b}[") {
        let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';').unwrap_or(parameters.len());
        return Ok(parameters[end..].strip_prefix('m'));
    }
    // A priority: syslog on the wire.
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
    // RFC 3164: May 17 10:05:03 host program[7]:
    if MONTHS.contains(&first) {
        let (day, mut rest) = word(rest);
        let (mut time, mut after) = word(rest);
        if time.len() == 4 && is_number(time) {
            rest = after;
            (time, after) = word(rest);
        }
        let is_date = day.len() <= 2 && is_number(day) && is_time(time);
        return Ok(is_date.then(|| behind_tag(after).unwrap_or(after)));
    }
    // A stamp of ISO 8601: CRI, `docker logs -t`, rsyslog.
    let bytes = first.as_bytes();
    let is_day = |day: &[u8]| {
        day.len() == 10
            && day
                .iter()
                .enumerate()
                .all(|(i, byte)| if i == 4 || i == 7 { *byte == b'-' } else { byte.is_ascii_digit() })
    };
    let after = if bytes.len() >= 19 && is_day(&bytes[..10]) && bytes[10] == b'T' && bytes[13] == b':' {
        Some(rest)
    } else if is_day(bytes) && is_time(word(rest).0) {
        Some(word(rest).1)
    } else {
        None
    };
    if let Some(after) = after {
        let (stream, behind) = word(after);
        let (tag, line) = word(behind);
        let tag = tag.split(':').next().unwrap_or("");
        return match (stream, tag) {
            ("stdout" | "stderr", "F") => Ok(Some(line)),
            ("stdout" | "stderr", "P") => Err(Refused::new("a piece of a line that the container runtime has cut")),
            _ => Ok(Some(behind_tag(after).unwrap_or(after))),
        };
    }
    // Compose: name  |
    let name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match text.split_once('|') {
        Some((before, line)) if !before.trim_end().is_empty() && before.trim_end().chars().all(name) => Ok(Some(line)),
        _ => Ok(None),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
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
fn behind_rfc5424(header: &str) -> Result<&str, Refused> {
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
    Err(Refused::new("its begin is not a header of RFC 5424"))
}

/// An address as logs write it: with a port, in brackets, with a zone, or IPv4 as IPv6 has it. Always the same text for the
/// same client, so without port and zone.
fn address(text: &str) -> Option<IpAddr> {
    if !text.contains(['.', ':']) {
        return None;
    }
    let is_port = |port: &str| is_number(port) && port.parse::<u16>().is_ok();
    let v6 = |text: &str| {
        let (address, zone) = text.split_once('%').unwrap_or((text, "-"));
        address.parse::<Ipv6Addr>().ok().filter(|_| !zone.is_empty()).map(IpAddr::V6)
    };
    let plain = || text.parse::<IpAddr>().ok();
    let with_port = || {
        let (address, port) = text.rsplit_once(':')?;
        address.parse::<Ipv4Addr>().ok().filter(|_| is_port(port)).map(IpAddr::V4)
    };
    let in_brackets = || {
        let (inside, rest) = text.strip_prefix('[')?.split_once(']')?;
        let ends = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
        v6(inside).filter(|_| ends)
    };
    plain().or_else(with_port).or_else(in_brackets).or_else(|| v6(text)).map(|address| address.to_canonical())
}

/// Whether a word can be the name of a host: letters, digits, `-`, `_` and dots, and the last part no number.
fn is_name(text: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let parts: Vec<&str> = text.strip_suffix('.').unwrap_or(text).split('.').collect();
    text.len() <= 253
        && parts.iter().all(|part| !part.is_empty() && part.chars().all(known))
        && parts.last().is_some_and(|last| last.contains(|c: char| c.is_ascii_alphabetic()))
        && !text.starts_with('-')
        && !text.eq_ignore_ascii_case("unknown")
}

/// Whether a word can be a virtual host, perhaps with a port: a name, `_`, `-`, `*.example.org`.
fn is_virtual_host(text: &str) -> bool {
    let host = text.rsplit_once(':').filter(|(_, port)| is_number(port)).map_or(text, |(host, _)| host);
    matches!(host, "-" | "_" | "*") || is_name(host.strip_prefix("*.").unwrap_or(host))
}

/// A word before the time stamp. Of a list (`X-Forwarded-For`) it is the first element, the client as the first proxy saw it.
struct Word<'a> {
    text: &'a str,
    is_list: bool,
}

fn words(mut rest: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        if rest.is_empty() {
            return words;
        }
        let whole = match rest.strip_prefix('"').and_then(|inside| inside.split_once('"')) {
            Some((inside, after)) => {
                rest = after;
                inside
            }
            None => {
                let (mut last, mut after) = word(rest);
                let mut length = last.len();
                // "192.0.2.1, 10.0.0.1" is one.
                while last.ends_with(',') && !after.is_empty() {
                    let begin = rest.len() - after.len();
                    (last, after) = word(after);
                    length = begin + last.len();
                }
                let whole = &rest[..length];
                rest = after;
                whole
            }
        };
        let text = whole.split(',').next().unwrap_or(whole).trim();
        words.push(Word { text, is_list: whole.contains(',') });
    }
}

/// The client, of the words before the time stamp.
///
/// In the common format three words stand there: client, identity, user. The client is an address; or the name of a host
/// where nothing else can be meant, as public logs have it. A virtual host before an address is passed over. Where two
/// addresses stand side by side, either may be the client, and the line is refused unless `which` says.
fn client(before: &str, which: Option<usize>) -> Result<String, Refused> {
    let words = words(before);
    if let Some(which) = which {
        let Some(word) = which.checked_sub(1).and_then(|at| words.get(at)) else {
            return Err(Refused::new("fewer words stand before the time stamp than --client says"));
        };
        return match address(word.text) {
            Some(address) => Ok(address.to_string()),
            None if is_name(word.text) && !word.is_list => Ok(word.text.to_owned()),
            None => Err(Refused::at(word.text, "is neither an address nor the name of a host")),
        };
    }
    let Some(first) = words.first() else { return Err(Refused::new("no client before the time stamp")) };
    match (address(first.text), words.get(1).and_then(|second| address(second.text))) {
        (Some(first_address), Some(second)) if first_address != second && !first.is_list => Err(Refused::new(
            "two addresses before the time stamp: say which is the client's with --client 1 or --client 2",
        )),
        (Some(address), _) => Ok(address.to_string()),
        (None, Some(address)) if is_virtual_host(first.text) => Ok(address.to_string()),
        (None, None) if is_name(first.text) && !first.is_list && words.len() >= 3 => {
            // With more words, a virtual host and a client's name look the same, unless the identity is missing as always.
            if words.len() == 3 || words[1].text == "-" {
                Ok(first.text.to_owned())
            } else {
                Err(Refused::at(
                    first.text,
                    "may be a virtual host or the client: say which word is the client, with --client",
                ))
            }
        }
        _ => Err(Refused::at(first.text, "is not a client's address")),
    }
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
fn parse_json(text: &str, keep_query: bool) -> Result<Parsed, Refused> {
    let object: Object<'_> = serde_json::from_str(text).map_err(|error| {
        let kind = "not an entry in JSON as the proxy writes it";
        Refused { kind, text: format!("{kind}: {}", cut(&error.to_string(), 120)) }
    })?;
    let time: Timestamp = object
        .time
        .parse()
        .map_err(|_| Refused::at(&object.time, "is not a time such as 2015-05-17T10:05:03.000250Z"))?;
    let client =
        address(&object.client_ip).ok_or_else(|| Refused::at(&object.client_ip, "is not a client's address"))?;
    let mut path = target(&object.path, keep_query);
    if let Some(query) = object.query.filter(|_| keep_query) {
        path.push('?');
        push_encoded(&mut path, &query);
    }
    let stamp = Stamp::Micros(time.as_microsecond());
    Ok(Parsed { stamp, client: client.to_string(), path, bytes: object.bytes_out })
}

/// The path of a request's target, which may be a whole URL, with control characters percent-encoded.
fn target(target: &str, keep_query: bool) -> String {
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

fn push_encoded(encoded: &mut String, text: &str) {
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

/// The first time stamp in brackets that a quoted request follows: what stands before it, its second, and the text behind
/// the quote. A user's name may have brackets of its own, but no bare quote.
fn stamp(text: &str) -> Result<(&str, i64, &str), Refused> {
    /// Longer than any stamp.
    const LONG: usize = 64;
    let mut refused = Refused::new("no `[` before a time stamp");
    let mut first = true;
    for (open, _) in text.match_indices('[') {
        let inside = &text[open + 1..];
        let near = inside.bytes().take(LONG).position(|byte| byte == b']');
        let Some(close) = near else {
            if std::mem::take(&mut first) {
                refused = Refused::new("no `]` after the time stamp");
            }
            continue;
        };
        let (stamp, behind) = (&inside[..close], inside[close + 1..].trim_start_matches([' ', '\t']));
        match (second_of(stamp), behind.strip_prefix('"')) {
            (Some(second), Some(request)) => return Ok((&text[..open], second, request)),
            (Some(_), None) => {
                refused = Refused::new("no quoted request after the time stamp");
                first = false;
            }
            (None, _) if std::mem::take(&mut first) => {
                refused = Refused::at(stamp, "is not a time such as 17/May/2015:10:05:03 +0000");
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

/// A line of the common or combined format: its stamp and the request.
fn parse_line(text: &str, options: &Options) -> Result<Parsed, Refused> {
    let (before, second, rest) = stamp(text)?;
    let client = client(before, options.client)?;
    let (request, rest) = quoted(rest).ok_or(Refused::new("the request's quote is not closed"))?;
    let path = path_of(request)?;
    let mut numbers = rest.split_ascii_whitespace();
    let status = numbers.next().unwrap_or("");
    if status.len() != 3 || !is_number(status) {
        return Err(Refused::at(status, "is not a status"));
    }
    let bytes = match numbers.next() {
        Some("-") => 0,
        Some(text) => text.parse::<u64>().map_err(|_| Refused::at(text, "is not a size"))?,
        None => return Err(Refused::new("no size after the status")),
    };
    let path = target(&decoded(&unescaped(path)), options.keep_query);
    Ok(Parsed { stamp: Stamp::Second(second), client, path, bytes })
}

/// The target of a request line: what stands between the method and the protocol, which HTTP/0.9 has none of. Clients that
/// do not encode blanks are logged as they are.
fn path_of(request: &str) -> Result<&str, Refused> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let (method, rest) = word(request.trim_start_matches([' ', '\t']));
    let rest = rest.trim_end_matches([' ', '\t']);
    let path = match rest.rsplit_once([' ', '\t']) {
        Some((path, protocol)) if protocol.starts_with("HTTP/") => path.trim_end_matches([' ', '\t']),
        None if rest.starts_with("HTTP/") => "",
        _ => rest,
    };
    if method.is_empty() || !method.bytes().all(is_token) || path.is_empty() {
        return Err(Refused::at(request, "is not a request line"));
    }
    Ok(path)
}

/// Undoes what logs do to quotes and odd bytes: `\"`, `\\`, `\xhh`, and the letters that Apache uses.
fn unescaped(text: &str) -> Cow<'_, [u8]> {
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

/// The begin of other people's text, which a terminal may show.
fn shorten(text: &str) -> String {
    cut(text, 40)
}

fn cut(text: &str, most: usize) -> String {
    let end = text.char_indices().nth(most).map_or(text.len(), |(at, _)| at);
    let dots = if end < text.len() { "…" } else { "" };
    format!("{}{dots}", one_line(&text[..end]))
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

    fn arrivals(imported: &Imported) -> Vec<f64> {
        imported.lines().map(|line| line.arrival).collect()
    }

    /// Client, path and bytes of each line.
    fn requests(imported: &Imported) -> Vec<(String, String, u32)> {
        imported.lines().map(|line| (line.client.into_owned(), line.path.into_owned(), line.bytes)).collect()
    }

    fn clients(log: &str) -> Vec<String> {
        requests(&import(log.as_bytes(), Format::Auto, false)).into_iter().map(|request| request.0).collect()
    }

    /// The client of a line with this before its time stamp; `None` where it is refused.
    fn client_of(before: &str) -> Option<String> {
        clients(&format!("{before} [17/May/2015:10:05:03 +0000] \"GET /a HTTP/1.1\" 200 5\n")).pop()
    }

    /// The path of a request line.
    fn path(request: &[u8]) -> Option<String> {
        let line = [b"10.0.0.1 - - [17/May/2015:10:05:03 +0000] \"", request, b"\" 200 5 \"-\" \"-\"\n"].concat();
        requests(&import(&line, Format::Auto, false)).pop().map(|request| request.1)
    }

    #[test]
    fn reads_both_formats_orders_spreads_and_counts() {
        let imported = import(LOG.as_bytes(), Format::Auto, false);
        let expected = [("::1", "/late", 7), ("10.0.0.1", "/a", 5), ("10.0.0.2", "/b\"c", 0)];
        let expected = expected.map(|(client, path, bytes)| (client.to_owned(), path.to_owned(), bytes));
        assert_eq!(requests(&imported), expected);
        let at = arrivals(&imported);
        assert!((0.0..1.0).contains(&at[0]) && (1.0..2.0).contains(&at[1]) && at[1] <= at[2] && at[2] < 2.0, "{at:?}");
        assert_eq!((imported.malformed, imported.blank, imported.out_of_order, imported.shared_seconds), (3, 1, 1, 1));
        assert_eq!(imported.whole_seconds, 3);
        let lines: Vec<u64> = imported.examples.iter().map(|e| e.0).collect();
        assert_eq!(lines, [3, 6, 7]);
        assert_eq!(imported.reasons.values().sum::<u64>(), 3);
        assert_eq!(requests(&import(LOG.as_bytes(), Format::Auto, true))[1].1, "/a?x=1");
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
            json("2015-05-17T12:05:04+02:00", "http://zone.example/zone"),
            json("2015-05-17", "/no"),
            json("2015-05-17T10:05:03Z", "/").replace("2001:db8::1", "www.example.org"),
            "{\"time\":1}\n".to_owned(),
        ]
        .concat();
        let imported = import(log.as_bytes(), Format::Auto, false);
        assert_eq!(arrivals(&imported), [0.0, 1e-6, 0.75]);
        let expected = ["/ä", "/late", "/zone"].map(|path| ("2001:db8::1".to_owned(), path.to_owned(), 9));
        assert_eq!(requests(&imported), expected);
        assert_eq!((imported.malformed, imported.whole_seconds, imported.out_of_order), (3, 0, 1));
        assert_eq!(import(log.as_bytes(), Format::Combined, false).malformed, 6);
        assert_eq!(import(LOG.as_bytes(), Format::Json, false).requests, []);
        // Both in one: all are ordered.
        let both = import(format!("{LOG}{log}").as_bytes(), Format::Auto, false);
        assert_eq!(both.requests.len(), 6);
        assert!(both.requests.windows(2).all(|pair| pair[0].arrival <= pair[1].arrival));
    }

    #[test]
    fn a_client_is_an_address() {
        for (before, client) in [
            ("192.0.2.1 - -", "192.0.2.1"),
            ("192.0.2.1 - john doe", "192.0.2.1"),
            ("192.0.2.1 - \"a b\" [x]", "192.0.2.1"),
            ("192.0.2.1 - [192.0.2.1] - -", "192.0.2.1"),
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:50001 - -", "192.0.2.1"),
            ("[2001:db8::1]:443 - -", "2001:db8::1"),
            ("[2001:db8::1] - -", "2001:db8::1"),
            ("2001:DB8:0:0::1 - -", "2001:db8::1"),
            ("fe80::1%eth0 - -", "fe80::1"),
            ("[fe80::1%25eth0]:80 - -", "fe80::1"),
            ("::ffff:192.0.2.1 - -", "192.0.2.1"),
            ("[::ffff:c000:201]:80 - -", "192.0.2.1"),
            ("192.0.2.1, 10.0.0.1, 10.0.0.2 - -", "192.0.2.1"),
            ("192.0.2.1,10.0.0.1 - -", "192.0.2.1"),
            ("\"192.0.2.1, 10.0.0.1\" - -", "192.0.2.1"),
            ("192.0.2.1, 10.0.0.1 10.0.0.2 - -", "192.0.2.1"),
            ("192.0.2.1:4711, 10.0.0.1 - -", "192.0.2.1"),
            ("\t 192.0.2.1\t-\t-", "192.0.2.1"),
            // A virtual host, or nothing, before it.
            ("www.example.org:443 192.0.2.1 - -", "192.0.2.1"),
            ("www.example.org 192.0.2.1 - bob", "192.0.2.1"),
            ("localhost 192.0.2.1 - -", "192.0.2.1"),
            ("*.example.org:80 2001:db8::1 - -", "2001:db8::1"),
            ("_ 192.0.2.1 - -", "192.0.2.1"),
            ("- 192.0.2.1 - -", "192.0.2.1"),
            ("192.0.2.1 192.0.2.1 - -", "192.0.2.1"),
            // Names of hosts, as public logs have them.
            ("in24.inetnebr.com - -", "in24.inetnebr.com"),
            ("host_1 - user", "host_1"),
            ("ix-or10-06.ix.netcom.com - john doe", "ix-or10-06.ix.netcom.com"),
        ] {
            assert_eq!(client_of(before).as_deref(), Some(client), "{before}");
        }
        for before in [
            "",
            "- - -",
            "unknown - -",
            "unknown, 192.0.2.1 - -",
            "192.0.2.256 - -",
            "192.0.2 - -",
            "192.0.2.1:66000 - -",
            "192.0.2.1: - -",
            "[192.0.2.1 - -",
            "unix: - -",
            "www.example.org:443 - -",
            "www.example.org client.example.net - -",
            "www.example.org",
            "203.0.113.5:443 192.0.2.1 - -",
            "203.0.113.5 192.0.2.1 - -",
            "web 1 192.0.2.1 - -",
            "2001:db8::1%",
            "<b> 192.0.2.1 - -",
        ] {
            assert_eq!(client_of(before), None, "{before}");
        }
    }

    #[test]
    fn a_flag_says_which_word_is_the_client() {
        let line = b"203.0.113.5 192.0.2.1 - - [17/May/2015:10:05:03 +0000] \"GET /a HTTP/1.1\" 200 5\n";
        for (which, client) in [(1, Some("203.0.113.5")), (2, Some("192.0.2.1")), (3, None), (9, None)] {
            let options = Options { client: Some(which), ..Options::default() };
            let imported = read(&line[..], &options, &mut |_| {}).unwrap();
            assert_eq!(imported.clients.first().map(|client| &**client), client, "{which}");
            assert_eq!(imported.malformed, u64::from(client.is_none()));
        }
        assert!(import(line, Format::Auto, false).examples[0].1.contains("--client 2"));
    }

    #[test]
    fn what_other_programs_put_before_a_line_is_taken_off() {
        let line = "192.0.2.1 - - [17/May/2015:10:05:03 +0000] \"GET /a HTTP/1.1\" 200 5 \"-\" \"x|y: z\"";
        for before in [
            "\u{feff}",
            "  \t",
            "May 17 10:05:03 web1 nginx: ",
            "May  7 10:05:03 web1 nginx[77]: ",
            "May 17 2015 10:05:03.123 10.0.0.9 nginx: ",
            "May 17 10:05:03 nginx: ",
            "<190>May 17 10:05:03 web1 nginx: ",
            "<190>1 2015-05-17T10:05:03Z web1 nginx 7 - - ",
            "<190>1 2015-05-17T10:05:03.003Z 10.0.0.9 nginx - ID47 [a@1 b=\"c\\\"]d\"][e@2] \u{feff}",
            "2015-05-17T10:05:03.123456+00:00 web1 nginx[7]: ",
            "2015-05-17T10:05:03+0000 10.0.0.9 nginx: ",
            "2015-05-17T10:05:03.123456789Z stdout F ",
            "2015-05-17T10:05:03.123456789Z ",
            "2015-05-17 10:05:03.123 ",
            "web-1  | ",
            "web_1.a|",
            "\u{1b}[36mweb-1  |\u{1b}[0m ",
            "web-1  | 2015-05-17T10:05:03.123456789Z ",
            "[pod/web-5d/nginx] ",
            "[pod/web-5d/nginx] 2015-05-17T10:05:03.1Z ",
            "www.example.org:443 ",
        ] {
            assert_eq!(clients(&format!("{before}{line}\n")), ["192.0.2.1"], "{before}");
        }
        let docker = |text: &str| {
            serde_json::json!({ "log": text, "stream": "stdout", "time": "2015-05-17T10:05:03.1Z" }).to_string()
        };
        assert_eq!(clients(&docker(&format!("{line}\n"))), ["192.0.2.1"]);
        let json = "{\"time\":\"2015-05-17T10:05:03Z\",\"client_ip\":\"192.0.2.1\",\"path\":\"/a\",\"bytes_out\":5}";
        for line in [docker(json), format!("web | {json}"), format!("May 17 10:05:03 web1 proxy[7]: {json}")] {
            assert_eq!(clients(&line), ["192.0.2.1"], "{line}");
        }
        // Pieces of lines are none.
        let long = format!("{line}{}", "x".repeat(20_000));
        for line in [docker(&long), format!("2015-05-17T10:05:03.1Z stdout P {line}")] {
            let imported = import(line.as_bytes(), Format::Auto, false);
            assert!(imported.requests.is_empty() && imported.examples[0].1.contains("a piece of a line"), "{line}");
        }
    }

    #[test]
    fn other_formats_are_refused_and_not_misread() {
        for line in [
            "[2015-05-17T10:05:03.310Z] \"GET /a HTTP/2\" 200 - 0 539 14 9 \"192.0.2.1\" \"curl\" \"id\" \"host\" \"10.0.0.2:80\"",
            "May 17 10:05:03 lb haproxy[838]: 192.0.2.1:33317 [17/May/2015:10:05:03.655] http-in static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 \"GET /a HTTP/1.1\"",
            "h2 2015-05-17T10:05:03.186641Z app/lb/50dc 192.0.2.1:2817 10.0.0.1:80 0.000 0.177 0.000 200 200 34 366 \"GET https://x/a HTTP/2.0\" \"curl\"",
            "owner bucket [17/May/2015:10:05:03 +0000] 192.0.2.1 requester id REST.GET.OBJECT key \"GET /a HTTP/1.1\" 200 - 5",
            "192.0.2.1 - - [17/May/2015:10:05:03 +0000] 1234 \"GET /a HTTP/1.1\" 200 5",
            "192.0.2.1 - - [17/May/2015:10:05:03 +0000] \"GET /a HTTP/1.1\" 200 0.004 5",
            "192.0.2.1 - - [17/May/2015:10:05:03.123 +0000] \"GET /a HTTP/1.1\" 200",
            "{\"ts\":1431857103.127,\"request\":{\"remote_ip\":\"192.0.2.1\",\"uri\":\"/a\"},\"size\":5}",
            "#Fields: date time s-ip cs-method cs-uri-stem",
            "==> access.log <==",
        ] {
            let imported = import(line.as_bytes(), Format::Auto, false);
            assert_eq!((imported.requests.len(), imported.malformed), (0, 1), "{line}");
        }
    }

    #[test]
    fn a_path_is_what_stands_between_method_and_protocol() {
        for (request, expected) in [
            (&b"GET /a HTTP/1.1"[..], "/a"),
            (b"GET /a b  c HTTP/1.1", "/a b  c"),
            (b"GET /a b?q=1 2 HTTP/1.1", "/a b"),
            (b"GET /a HTTP/1.1 b HTTP/1.1", "/a HTTP/1.1 b"),
            (b"GET\t/a\tHTTP/1.1", "/a"),
            (b"GET /a", "/a"),
            (b"GET /a b", "/a b"),
            (b"GET / HTTP/V1.0", "/"),
            (b"GET http://www.example.org/x/y?z HTTP/1.1", "/x/y"),
            (b"GET https://www.example.org HTTP/1.1", "/"),
            (b"GET http://www.example.org?z=/1 HTTP/1.1", "/"),
            (b"GET /redirect?to=http://a/b HTTP/1.1", "/redirect"),
            (b"GET /r/http://a/b HTTP/1.1", "/r/http://a/b"),
            (b"OPTIONS * HTTP/1.1", "*"),
            (b"CONNECT example.org:443 HTTP/1.1", "example.org:443"),
            (b"GET ?x HTTP/1.1", "/"),
            // Bytes that are no UTF-8, raw or as servers escape them, stay what they are.
            (b"GET /caf\xe9 HTTP/1.1", "/caf%E9"),
            (b"GET /caf\\xe8 HTTP/1.1", "/caf%E8"),
            (b"GET /caf\xc3\xa9\xff HTTP/1.1", "/café%FF"),
            (b"GET /caf\\xC3\\xA9 HTTP/1.1", "/café"),
            // What a terminal would act on is encoded.
            (b"GET /\\x1b[31m\\n\\xc2\\x9b HTTP/1.1", "/%1B[31m%0A%C2%9B"),
            (b"GET /\x1b]0;x\x07 HTTP/1.1", "/%1B]0;x%07"),
        ] {
            assert_eq!(path(request).as_deref(), Some(expected), "{}", request.escape_ascii());
        }
        for request in [&b""[..], b"-", b"GET", b"GET ", b"GET HTTP/1.1", b"GET  HTTP/1.1", b"G\\x00T / HTTP/1.1"] {
            assert_eq!(path(request), None, "{}", request.escape_ascii());
        }
    }

    #[test]
    fn all_line_ends_end_lines() {
        let line = |n: u8| format!("10.0.0.{n} - - [17/May/2015:10:05:0{n} +0000] \"GET / HTTP/1.1\" 200 5");
        for end in ["\n", "\r\n", "\r"] {
            let log = [line(1), line(2), String::new(), line(3)].join(end);
            for log in [log.clone(), format!("{log}{end}")] {
                let imported = import(log.as_bytes(), Format::Auto, false);
                assert_eq!((imported.requests.len(), imported.blank, imported.read), (3, 1, 4), "{log:?}");
            }
            // However the pieces fall in which it is read.
            for size in [1, 2, 7, 75] {
                let reader = io::BufReader::with_capacity(size, log.as_bytes());
                let imported = read(reader, &Options::default(), &mut |_| {}).unwrap();
                assert_eq!((imported.requests.len(), imported.blank, imported.read), (3, 1, 4), "{size} {log:?}");
            }
        }
        // What a crash leaves: half a line, NULs, whole lines.
        let torn = format!("{}\0\0\0\0{}\n\0\0{}\0\n\0\0\n{}", &line(1)[..30], line(2), line(3), line(4));
        let imported = import(torn.as_bytes(), Format::Auto, false);
        assert_eq!(clients(&torn), ["10.0.0.2", "10.0.0.3", "10.0.0.4"]);
        assert_eq!((imported.malformed, imported.blank, imported.read), (1, 1, 5), "{:?}", imported.examples);
        assert_eq!(imported.examples[0].0, 1);
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        struct Endless(usize);
        impl io::Read for Endless {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                let length = into.len().min(self.0);
                into[..length].fill(b'x');
                self.0 -= length;
                Ok(length)
            }
        }
        let good: &[u8] = b"\n10.0.0.1 - - [17/May/2015:10:05:03 +0000] \"GET / HTTP/1.1\" 200 5\n";
        let log = io::BufReader::new(io::Read::chain(Endless(64 << 20), good));
        let imported = read(log, &Options::default(), &mut |_| {}).unwrap();
        assert_eq!((imported.requests.len(), imported.malformed, imported.read), (1, 1, 2));
        assert_eq!(imported.examples, [(1, "the line is longer than 1 MiB".to_owned())]);
        let log = io::BufReader::new(Endless(3 << 20));
        assert_eq!(read(log, &Options::default(), &mut |_| {}).unwrap().malformed, 1);
    }

    #[test]
    fn a_few_requests_far_away_are_left_out_and_said() {
        let line = |date: &str| format!("10.0.0.1 - - [{date}:10:05:03 +0000] \"GET /{date} HTTP/1.1\" 200 5\n");
        let of = |dates: &[&str]| dates.iter().map(|date| line(date)).collect::<String>();
        for (dates, kept, lines) in [
            (&["17/May/2015", "01/Jan/1970", "17/May/2015"][..], 2, &[2][..]),
            (&["17/May/2015", "18/May/2015", "17/May/2038"], 2, &[3]),
            (&["01/Jan/1970", "17/May/2015", "17/May/2015", "01/Jan/2038"], 2, &[1, 4]),
            // A quiet server: no request is far from all others, or there are too few to say.
            (&["01/Jan/2015", "01/Mar/2015", "01/May/2015"], 3, &[]),
            (&["01/Jan/1970", "17/May/2015"], 2, &[]),
            (&["17/May/2015", "17/May/2015", "20/May/2015"], 3, &[]),
        ] {
            let log = of(dates);
            let imported = import(log.as_bytes(), Format::Auto, false);
            assert_eq!(imported.requests.len(), kept, "{dates:?}");
            assert_eq!(imported.outliers.1, lines.len() as u64, "{dates:?}");
            assert!(imported.outliers.0.iter().map(|outlier| &outlier.0).eq(lines), "{dates:?}");
            // Their paths are gone with them.
            let used: std::collections::BTreeSet<u32> = imported.requests.iter().map(|request| request.path).collect();
            assert_eq!(used.len(), imported.paths.len(), "{dates:?}");
            let all = Options { keep_outliers: true, ..Options::default() };
            assert_eq!(read(log.as_bytes(), &all, &mut |_| {}).unwrap().requests.len(), dates.len());
        }
        let many = of(&["17/May/2015"; 1000]) + &of(&["01/Jan/1970"; 10]) + &of(&["17/May/2015"; 40]);
        let imported = import(many.as_bytes(), Format::Auto, false);
        assert_eq!((imported.requests.len(), imported.outliers.1, imported.outliers.0.len()), (1040, 10, SHOWN));
        // A tenth of a log is part of it.
        let split = of(&["17/May/2015"; 100]) + &of(&["01/Jan/1970"; 10]);
        let imported = import(split.as_bytes(), Format::Auto, false);
        assert_eq!((imported.requests.len(), imported.outliers.1), (110, 0));
        assert!(imported.longest_gap.0 > 45 * 365 * 86_400);
    }

    #[test]
    fn steps_back_in_time_are_measured() {
        let line = |hour: u32| format!("10.0.0.1 - - [17/May/2015:{hour:02}:05:03 +0000] \"GET / HTTP/1.1\" 200 5\n");
        let log: String = [10, 11, 8, 9, 10].map(line).concat();
        let imported = import(log.as_bytes(), Format::Auto, false);
        assert_eq!((imported.out_of_order, imported.greatest_step_back), (1, (3 * 3600, 3)));
    }

    #[test]
    fn escapes_are_undone() {
        for (escaped, plain) in
            [(r"/a", "/a"), (r#"/\"\\"#, r#"/"\"#), (r"/\x22\xc3\xa4\xC3", "/\"ä%C3"), (r"/\n\q\x2\", "/\n\\q\\x2\\")]
        {
            assert_eq!(decoded(&unescaped(escaped)), plain, "{escaped}");
        }
    }

    #[test]
    fn nothing_of_a_line_reaches_a_terminal() {
        let log = "\u{1b}[2J - - [\u{1b}]0;x\u{7}] \"GET\n10.0.0.1 - - [17/May/2015:10:05:03 +0000] \"\u{9b}2J / HTTP/1.1\" 200 5\n";
        let imported = import(log.as_bytes(), Format::Auto, false);
        assert_eq!(imported.malformed, 2);
        for (_, reason) in &imported.examples {
            assert!(!reason.contains(char::is_control), "{reason:?}");
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
        assert!(imported.read >= 2000);
        assert_eq!(imported.requests.len() as u64 + imported.malformed + imported.blank, imported.read);
    }
}
