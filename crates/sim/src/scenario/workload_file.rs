//! Workload files: recorded requests as CSV, a line each: `arrival,client,path,bytes`. Arrival in seconds since the first,
//! client an address or a name, bytes of the answer. `evenkeel import` writes them, `arrivals = { replay = … }` reads them.
//!
//! The four columns may come in any order, and there are no others: a column that would be ignored is an error. Arrivals that
//! begin far from zero, such as seconds since 1970, count from the first; see [`read`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;

use serde::{Deserialize, Serialize};

use evenkeel_config::diagnostic::foreign;
use evenkeel_config::terminal::one_line;
use evenkeel_core::units::Nanos;

/// The columns of the file.
pub const COLUMNS: [&str; 4] = ["arrival", "client", "path", "bytes"];

/// Arrivals count from the first if it is later than this (seconds) and later than the recording's length.
const FAR: f64 = 60.0;

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line<'a> {
    /// Seconds since the first.
    pub arrival: f64,
    /// Address or name.
    pub client: Cow<'a, str>,
    /// Path of the URL.
    pub path: Cow<'a, str>,
    /// Bytes of the response.
    pub bytes: u32,
}

/// A file's content, with names replaced by numbers.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// Distinct clients, in order of appearance.
    pub clients: Vec<String>,
    /// Distinct paths, in order of appearance.
    pub paths: Vec<String>,
    /// (arrival, client, path, bytes), in order of arrival.
    pub entries: Vec<(Nanos, u32, u32, u32)>,
}

/// Reads a workload file; the error names the line.
///
/// Arrivals are seconds since the start of the recording. Where the first is later than a minute and than the rest is long
/// (seconds since 1970, or a stretch from the middle of a day), they count from the first instead.
pub fn read(text: &str) -> Result<Recording, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut recording = Recording::default();
    let (mut clients, mut paths) = (BTreeMap::new(), BTreeMap::new());
    let number = |map: &mut BTreeMap<String, u32>, names: &mut Vec<String>, name: String| {
        *map.entry(name).or_insert_with_key(|name| {
            names.push(name.clone());
            names.len() as u32 - 1
        })
    };
    let mut builder = csv::ReaderBuilder::new();
    let mut reader = builder.comment(Some(b'#')).trim(csv::Trim::Headers).from_reader(text.as_bytes());
    columns(reader.headers().map_err(|error| error.to_string())?, text)?;
    // Seconds as written: as nanoseconds since 1970 they would lose precision below a microsecond.
    let mut arrivals = Vec::new();
    for (i, line) in reader.deserialize::<Line<'static>>().enumerate() {
        let line = line.map_err(|error| match error.position() {
            Some(position) => format!("line {}: {error}", position.line()),
            None => error.to_string(),
        })?;
        if !(line.arrival >= 0.0 && line.arrival < 3e9) {
            let hint = if (1e12..3e18).contains(&line.arrival) { ": milliseconds, or finer?" } else { "" };
            return Err(format!("request {}: `{}` is not an arrival in seconds{hint}", i + 1, line.arrival));
        }
        let client = number(&mut clients, &mut recording.clients, line.client.into_owned());
        let path = number(&mut paths, &mut recording.paths, line.path.into_owned());
        arrivals.push(line.arrival);
        recording.entries.push((Nanos::ZERO, client, path, line.bytes));
    }
    if recording.entries.is_empty() {
        return Err("there are no requests in it".to_owned());
    }
    let first = arrivals.iter().copied().fold(f64::INFINITY, f64::min);
    let span = arrivals.iter().copied().fold(0.0, f64::max) - first;
    let start = if first > FAR.max(span) { first } else { 0.0 };
    for (entry, arrival) in recording.entries.iter_mut().zip(arrivals) {
        entry.0 = Nanos::from_secs_f64(arrival - start);
    }
    recording.entries.sort_by_key(|entry| entry.0);
    Ok(recording)
}

/// Whether the header has the four columns and no others.
fn columns(header: &csv::StringRecord, text: &str) -> Result<(), String> {
    let has = |name: &str| header.iter().filter(|column| *column == name).count();
    if let Some(missing) = COLUMNS.iter().find(|name| has(name) == 0) {
        let looks = foreign(text).map(|format| format!(" (it looks like {format})")).unwrap_or_default();
        let columns = COLUMNS.join(",");
        return Err(format!(
            "line 1: there is no column `{missing}`; a workload is CSV with the header {columns}{looks}"
        ));
    }
    if let Some(unknown) = header.iter().find(|column| !COLUMNS.contains(column)) {
        let known = COLUMNS.join(", ");
        let what = match unknown {
            "" => "a column has no name".to_owned(),
            unknown => format!("unknown column `{}`", one_line(unknown)),
        };
        let help = "service times are for the scenario's `service` to say";
        return Err(format!("line 1: {what}; the columns are {known}, and {help}"));
    }
    match COLUMNS.iter().find(|name| has(name) > 1) {
        Some(twice) => Err(format!("line 1: there are two columns `{twice}`")),
        None => Ok(()),
    }
}

/// Writes a file.
pub fn write<'a>(lines: impl IntoIterator<Item = Line<'a>>, to: impl Write) -> csv::Result<()> {
    let mut writer = csv::Writer::from_writer(to);
    for line in lines {
        writer.serialize(line)?;
    }
    writer.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Vec<f64> {
        read(text).unwrap().entries.iter().map(|entry| entry.0.as_secs_f64()).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let line = |arrival, client: &'static str, path: &'static str| Line {
            arrival,
            client: client.into(),
            path: path.into(),
            bytes: 7,
        };
        let mut text = Vec::new();
        write([line(0.5, "10.0.0.1", "/a,b"), line(0.25, "host \"x\"", "/a,b")], &mut text).unwrap();
        let recording = read(std::str::from_utf8(&text).unwrap()).unwrap();
        assert_eq!(recording.paths, ["/a,b"]);
        assert_eq!(recording.clients, ["10.0.0.1", "host \"x\""]);
        assert_eq!(recording.entries[0], (Nanos::from_millis(250), 1, 0, 7), "sorted by arrival");
    }

    #[test]
    fn errors_name_the_line() {
        let error = read("arrival,client,path,bytes\n0,a,/,1\nsoon,a,/,1\n").unwrap_err();
        assert!(error.contains("line 3"), "{error}");
        assert!(read("arrival,client,path,bytes\n").unwrap_err().contains("no requests"));
    }

    #[test]
    fn unknown_columns_are_refused() {
        for (header, words) in [
            ("arrival,client,path,bytes,service", "unknown column `service`"),
            ("arrival,client,path,bytes,", "a column has no name"),
            ("arrival,client,path,byte", "no column `bytes`"),
            ("arrival,client,path,bytes,bytes", "two columns `bytes`"),
            ("{\"arrival\": 0}", "it looks like JSON"),
        ] {
            let error = read(&format!("{header}\n0,a,/,1,2\n")).unwrap_err();
            assert!(error.starts_with("line 1: ") && error.contains(words), "{header}: {error}");
        }
        // Any order, blanks in the header, a byte order mark.
        assert_eq!(seconds("\u{feff}path, client ,bytes,arrival\n/,a,1,0.5\n"), [0.5]);
    }

    #[test]
    fn arrivals_far_from_zero_count_from_the_first() {
        let file = |arrivals: &[&str]| {
            let lines: String = arrivals.iter().map(|arrival| format!("{arrival},a,/,1\n")).collect();
            format!("arrival,client,path,bytes\n{lines}")
        };
        assert_eq!(seconds(&file(&["1700000001.5", "1700000000.25", "1700000002"])), [0.0, 1.25, 1.75]);
        assert_eq!(seconds(&file(&["43200.5", "43260.5"])), [0.0, 60.0]);
        // A recording that begins with a pause keeps it.
        assert_eq!(seconds(&file(&["0.125", "3"])), [0.125, 3.0]);
        assert_eq!(seconds(&file(&["59"])), [59.0]);
        assert_eq!(seconds(&file(&["100", "300"])), [100.0, 300.0]);
        let error = read(&file(&["1700000000000"])).unwrap_err();
        assert!(error.contains("milliseconds"), "{error}");
    }
}
