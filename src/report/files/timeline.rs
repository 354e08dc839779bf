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

/// Unpacked, the file has at most so many bytes. 40 strategies with a thousand servers each have a tenth of it.
const MOST_BYTES: u64 = 1 << 30;

/// Reads the file: label and timeline of each strategy.
///
/// # Errors
/// A file that is not one of timelines, or is larger than 1 GiB unpacked.
pub fn read(file: impl Read) -> io::Result<Vec<(String, Timeline)>> {
    read_up_to(MOST_BYTES, file)
}

fn read_up_to(most: u64, file: impl Read) -> io::Result<Vec<(String, Timeline)>> {
    let mut unpacked = BufReader::new(MultiGzDecoder::new(file)).take(most);
    let found = Timeline::read(&mut unpacked);
    match unpacked.limit() {
        0 => Err(io::Error::new(io::ErrorKind::InvalidData, format!("more than {most} bytes unpacked"))),
        _ => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_unpacks_to_too_much_is_refused() {
        let line = Line { strategy: "p2c".to_owned(), timeline: Timeline::default() };
        let mut text = serde_json::to_vec(&line).unwrap();
        text.push(b'\n');
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&text.repeat(10)).unwrap();
        let packed = gzip.finish().unwrap();
        assert_eq!(read(&packed[..]).unwrap().len(), 10);
        // A line that is cut off is not the problem that is named.
        let error = read_up_to(text.len() as u64 * 9 + 5, &packed[..]).unwrap_err();
        assert!(error.to_string().contains("unpacked"), "{error}");
    }
}
