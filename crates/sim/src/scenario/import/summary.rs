//! The result of an import.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::MICROS;
use crate::scenario::workload_file::Line;

/// A request of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Microseconds since the first stamp of the log.
    pub arrival: i64,
    /// Index into the clients.
    pub client: u32,
    /// Index into the paths.
    pub path: u32,
    /// Bytes of the response.
    pub bytes: u32,
}

/// A line that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// From 1.
    pub line: u64,
    /// Column of the error, in characters from 1. Bytes that are not UTF-8 count as three.
    pub column: usize,
    /// The reason.
    pub reason: String,
}

/// The result of an import.
#[derive(Clone, Debug, Default)]
pub struct Imported {
    /// Requests, in order of arrival.
    pub requests: Vec<Request>,
    /// Clients, in order of appearance.
    pub clients: Vec<Arc<str>>,
    /// Paths, in order of appearance.
    pub paths: Vec<Arc<str>>,
    /// Lines that were read, blank and malformed ones included; text before and after NULs counts as two.
    pub read: u64,
    /// Lines that could not be read.
    pub malformed: u64,
    /// The first few of them.
    pub examples: Vec<BadLine>,
    /// Number of unreadable lines, by the kind of reason.
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
    /// Requests left out because they are far in time from all others: line number and stamp of the first few, and their
    /// number.
    pub outliers: (Vec<(u64, Timestamp)>, u64),
    /// The longest time without a request, seconds, and the stamp after it.
    pub longest_gap: (i64, Timestamp),
    /// Responses of more than 4 GiB, the maximum of a workload, which count as 4 GiB.
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
