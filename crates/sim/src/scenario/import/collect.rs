//! Collects the requests of a log: their order, their times, and outliers that are left out.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use jiff::Timestamp;
use twox_hash::XxHash64;

use super::summary::{BadLine, Imported, Request};
use super::{Entry, MICROS, Options, Stamp};
use evenkeel_core::rng::{Rng, Source};

/// How many bad lines are kept as examples.
pub(super) const SHOWN: usize = 5;

/// A request while the log is read.
struct Kept {
    micros: i64,
    line: u64,
    client: u32,
    path: u32,
    bytes: u32,
    whole_second: bool,
}

/// Interned texts: each text is stored once and has a number.
#[derive(Default)]
struct Names {
    /// For look-ups only: its iteration order is not defined.
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
    fn keep(self, entries: &mut [Kept], of: fn(&mut Kept) -> &mut u32) -> Vec<Arc<str>> {
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

/// The lines read so far.
pub(super) struct Collector<'a> {
    options: &'a Options,
    imported: Imported,
    entries: Vec<Kept>,
    clients: Names,
    paths: Names,
    /// The stamp of the last line, microseconds.
    last: i64,
}

impl<'a> Collector<'a> {
    pub(super) fn new(options: &'a Options) -> Collector<'a> {
        let (clients, paths) = Default::default();
        Collector { options, imported: Imported::default(), entries: Vec::new(), clients, paths, last: i64::MIN }
    }

    /// Counts a line that cannot be read. `reason` is more specific than its kind.
    pub(super) fn refuse(&mut self, line: u64, column: usize, kind: &'static str, reason: Option<String>) {
        let imported = &mut self.imported;
        imported.read += 1;
        imported.malformed += 1;
        *imported.reasons.entry(kind).or_default() += 1;
        if imported.examples.len() < SHOWN {
            let reason = reason.unwrap_or_else(|| kind.to_owned());
            imported.examples.push(BadLine { line, column, reason });
        }
    }

    /// A blank line.
    pub(super) fn blank(&mut self) {
        self.imported.read += 1;
        self.imported.blank += 1;
    }

    /// A line with a request.
    pub(super) fn take(&mut self, line: u64, entry: &Entry) {
        let micros = entry.stamp.micros();
        if micros < self.last {
            self.imported.out_of_order += 1;
            let back = (self.last - micros) / MICROS;
            if back > self.imported.greatest_step_back.0 {
                self.imported.greatest_step_back = (back, line);
            }
        }
        self.last = micros;
        self.imported.read += 1;
        self.imported.capped += u64::from(entry.bytes > u64::from(u32::MAX));
        self.entries.push(Kept {
            micros,
            line,
            client: self.clients.number(&entry.client),
            path: self.paths.number(&entry.path),
            bytes: u32::try_from(entry.bytes).unwrap_or(u32::MAX),
            whole_second: matches!(entry.stamp, Stamp::Second(_)),
        });
    }

    /// Orders the requests and gives each its time of arrival.
    pub(super) fn finish(self) -> Imported {
        let Collector { options, mut imported, mut entries, clients, paths, .. } = self;
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

/// Leaves out the few requests that are far in time from all others, before or after them: a clock that was not set (1970),
/// a line of another year. Far means more than thirty days, and five times the duration of the others; few means at most one
/// in a hundred, in short logs one in twenty, and at least one.
fn leave_out_outliers(entries: &mut Vec<Kept>, imported: &mut Imported) {
    let count = entries.len();
    let few = (count / 20).clamp(1, (count / 100).max(5)).min(count / 2);
    let gap = |at: usize| entries[at].micros - entries[at - 1].micros;
    // Candidates for the start and the end of the remaining requests.
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

/// Gives each request its arrival time: as stamped, or at a random offset within its second.
fn place(entries: &mut [Kept], imported: &mut Imported) {
    let Some(start) = entries.first().map(|entry| entry.micros) else { return };
    let mut rng = Rng::stream(1, "import", 0);
    let mut places = Vec::new();
    let mut at = 0;
    while at < entries.len() {
        let micros = entries[at].micros;
        let same = |entry: &&Kept| entry.whole_second && entry.micros == micros;
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
        .map(|&Kept { micros, client, path, bytes, .. }| Request { arrival: micros - start, client, path, bytes })
        .collect();
}
