//! Access logs to workloads.
//!
//! Each format of log is an [`Importer`] in a file of this folder. To add one: a file with a unit struct that implements the
//! trait, and one row in [`importers!`](self) below, before the last one. `evenkeel import --format`, its help and the detection
//! of formats follow from the row, and a test holds every row to its example line.
//!
//! A server logs a request when it ends, so lines are sorted by their stamps. Where stamps are whole seconds, requests of
//! the same second are spread over it at random (with a fixed seed, in the order of the log), like independent arrivals.
//! Exact stamps are kept. Service times come from the scenario, because those of a log include the queues of the balancer
//! that wrote it. A line that cannot be read is counted and reported with its line, column and reason.
//!
//! Prefixes of other programs are removed: syslog (RFC 3164, RFC 5424), Docker's JSON files, CRI, Compose and `kubectl logs
//! --prefix`. A log is read once; each line takes 32 bytes, and each client and path is stored once.

mod client;
mod collect;
mod lines;
mod prefix;
mod summary;
mod text;

use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufRead};

use collect::Collector;
use lines::Splitter;
pub use summary::{BadLine, Imported, Request};

/// A format of access logs.
pub trait Importer: Sync {
    /// Its name, the value of `--format`: lower-case letters, digits and hyphens.
    fn name(&self) -> &'static str;

    /// The programs that write such logs, in one line for `--help`.
    fn logs(&self) -> &'static str;

    /// An example line that this importer reads and that no other detects.
    fn example(&self) -> &'static str;

    /// Whether a line looks like one of this format. Called for every line, so it should look only at the start of the line;
    /// prefixes of other programs have been removed.
    fn detects(&self, line: &str) -> bool;

    /// Reads a line.
    ///
    /// # Errors
    /// The part of the line that cannot be read, and why.
    fn parse<'a>(&self, line: &'a str, options: &Options) -> Result<Entry, Refused<'a>>;
}

/// Declares the modules of all importers and the catalogue.
macro_rules! importers {
    ($($module:ident::$importer:ident,)*) => {
        $(mod $module;)*

        /// All importers. Without a given format, a line is read by the first importer that detects it, or else by the last
        /// one, whose error is shown.
        pub static CATALOGUE: &[&dyn Importer] = &[$(&$module::$importer,)*];
    };
}

importers! {
    json::Json,
    combined::Combined,
}

impl fmt::Debug for dyn Importer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The importer of this name.
pub fn find(name: &str) -> Option<&'static dyn Importer> {
    CATALOGUE.iter().copied().find(|importer| importer.name() == name)
}

/// The importer that reads a line of unknown format.
pub fn detect(line: &str) -> &'static dyn Importer {
    let (last, others) = CATALOGUE.split_last().expect("the catalogue has rows");
    others.iter().find(|importer| importer.detects(line)).copied().unwrap_or(*last)
}

/// Options of an import.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The format of its lines; `None` detects it for each line.
    pub format: Option<&'static dyn Importer>,
    /// Whether queries are kept in paths; default false.
    pub keep_query: bool,
    /// Which word of a common or combined line is the client, from 1. `None` detects it, and refuses a line where two words
    /// could be the client.
    pub client: Option<usize>,
    /// Whether to keep the few requests that are far in time from all others; default false.
    pub keep_outliers: bool,
}

/// The request of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Time of its arrival or its end.
    pub stamp: Stamp,
    /// Address or name of the client.
    pub client: String,
    /// Path, without scheme and host.
    pub path: String,
    /// Bytes of the response.
    pub bytes: u64,
}

/// A line's time, since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// Known to the second; the request is placed at random within it.
    Second(i64),
    /// Known to the microsecond.
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

/// Why a line is refused, with the position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused<'a> {
    /// The part of the line that cannot be read; only its position is used.
    pub at: &'a str,
    /// The kind of reason, for counting.
    pub kind: &'static str,
    /// The reason.
    pub reason: String,
}

impl<'a> Refused<'a> {
    /// A reason without a quotation.
    pub fn new(at: &'a str, kind: &'static str) -> Refused<'a> {
        Refused { at, kind, reason: kind.to_owned() }
    }

    /// A reason that quotes the part: `kind` completes "`part` …".
    pub fn quoting(part: &'a str, kind: &'static str) -> Refused<'a> {
        Refused { at: part, kind, reason: format!("`{}` {kind}", text::shorten(part)) }
    }

    /// The same reason at another position.
    fn moved<'b>(self, at: &'b str) -> Refused<'b> {
        Refused { at, kind: self.kind, reason: self.reason }
    }

    /// The column of its position in the line, in characters from 1; 1 if it is not part of the line.
    fn column(&self, line: &str) -> usize {
        let offset = (self.at.as_ptr() as usize).checked_sub(line.as_ptr() as usize);
        1 + offset.and_then(|offset| line.get(..offset)).map_or(0, |before| before.chars().count())
    }
}

/// Reads a log that is in memory.
pub fn import(log: &[u8], format: Option<&'static dyn Importer>, keep_query: bool) -> Imported {
    let options = Options { format, keep_query, ..Options::default() };
    // Reading from memory does not fail.
    read(log, &options, &mut |_| {}).unwrap_or_default()
}

/// Reads a log. `progress` is called periodically with the number of lines.
///
/// Lines end with LF, CRLF or CR. NULs, which a crash leaves behind in files, end a line as well.
///
/// # Errors
/// Only those of the reader.
pub fn read(mut log: impl BufRead, options: &Options, progress: &mut dyn FnMut(u64)) -> io::Result<Imported> {
    let mut collector = Collector::new(options);
    let mut splitter = Splitter::default();
    let mut take = |number: u64, line: lines::Line<'_>| match line {
        lines::Line::Text(bytes) => collect_line(&mut collector, number, bytes, options),
        lines::Line::TooLong => collector.refuse(number, 1, "the line is longer than 1 MiB", None),
    };
    loop {
        let piece = match log.fill_buf() {
            Ok([]) => break,
            Ok(piece) => piece,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let length = piece.len();
        splitter.split(piece, &mut take, progress);
        log.consume(length);
    }
    splitter.finish(&mut take);
    Ok(collector.finish())
}

fn collect_line(collector: &mut Collector<'_>, number: u64, bytes: &[u8], options: &Options) {
    if bytes.trim_ascii().is_empty() {
        return collector.blank();
    }
    let line: Cow<'_, str> = text::decoded(bytes);
    match parse(&line, options) {
        Ok(entry) => collector.take(number, &entry),
        Err(refused) => {
            let column = refused.column(&line);
            collector.refuse(number, column, refused.kind, Some(refused.reason));
        }
    }
}

/// Parses a line of any format, possibly wrapped by other programs.
fn parse<'a>(line: &'a str, options: &Options) -> Result<Entry, Refused<'a>> {
    let text = prefix::without_prefixes(line)?;
    match prefix::from_docker(text)? {
        // The unescaped text is not part of the line: an error is reported for the whole object.
        Some(inner) => prefix::without_prefixes(&inner)
            .and_then(|inner| parse_bare(inner, options))
            .map_err(|refused| refused.moved(text)),
        None => parse_bare(text, options),
    }
}

/// The line without prefixes of other programs.
fn parse_bare<'a>(text: &'a str, options: &Options) -> Result<Entry, Refused<'a>> {
    options.format.unwrap_or_else(|| detect(text)).parse(text, options)
}

#[cfg(test)]
mod tests;
