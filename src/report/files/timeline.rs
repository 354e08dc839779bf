//! `timeline.jsonl.gz`: the first replication of every strategy over time, a line of JSON each. The types in
//! [`evenkeel_sim::sim::timeline`] are its format.

use std::io::{self, BufReader, Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::report::Outcome;
use evenkeel_sim::sim::timeline::{Line, Timeline};

/// Name of the file.
pub const NAME: &str = "timeline.jsonl.gz";

/// `timeline.jsonl.gz`; `None` where no run was watched. The same timelines give the same bytes: the gzip header has no time.
pub fn timeline(outcomes: &[Outcome<'_>]) -> csv::Result<Option<Vec<u8>>> {
    let [outcome] = outcomes else { return Ok(None) };
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    let mut lines = 0;
    for summary in &outcome.summaries {
        let Some(timeline) = &summary.timeline else { continue };
        let line = Line { strategy: summary.label.clone(), timeline: timeline.clone() };
        // As a whole: the compressor is slow with the small pieces that a serializer writes.
        let mut text = serde_json::to_vec(&line).map_err(io::Error::from)?;
        text.push(b'\n');
        gzip.write_all(&text)?;
        lines += 1;
    }
    let packed = gzip.finish()?;
    Ok((lines > 0).then_some(packed))
}

/// Reads the file: label and timeline of each strategy.
///
/// # Errors
/// A file that is not one of timelines.
pub fn read(file: impl Read) -> io::Result<Vec<(String, Timeline)>> {
    Timeline::read(BufReader::new(MultiGzDecoder::new(file)))
}
