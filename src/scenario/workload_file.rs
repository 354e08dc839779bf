//! Workload files: recorded requests as CSV, a line each: `arrival,client,path,bytes`. Arrival in seconds since the first,
//! client an address or a name, bytes of the answer. `evenkeel import` writes them, `arrivals = { replay = … }` reads them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::units::Nanos;

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Seconds since the first.
    pub arrival: f64,
    /// Address or name.
    pub client: String,
    /// Path of the URL.
    pub path: String,
    /// Size of the answer.
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
pub fn read(text: &str) -> Result<Recording, String> {
    let mut recording = Recording::default();
    let (mut clients, mut paths) = (BTreeMap::new(), BTreeMap::new());
    let number = |map: &mut BTreeMap<String, u32>, names: &mut Vec<String>, name: String| {
        *map.entry(name).or_insert_with_key(|name| {
            names.push(name.clone());
            names.len() as u32 - 1
        })
    };
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(text.as_bytes());
    for (i, line) in reader.deserialize::<Line>().enumerate() {
        let line = line.map_err(|error| match error.position() {
            Some(position) => format!("line {}: {error}", position.line()),
            None => error.to_string(),
        })?;
        if !(line.arrival >= 0.0 && line.arrival < 3e9) {
            return Err(format!("request {}: `{}` is not an arrival in seconds", i + 1, line.arrival));
        }
        let client = number(&mut clients, &mut recording.clients, line.client);
        let path = number(&mut paths, &mut recording.paths, line.path);
        recording.entries.push((Nanos::from_secs_f64(line.arrival), client, path, line.bytes));
    }
    if recording.entries.is_empty() {
        return Err("there are no requests in it".to_owned());
    }
    recording.entries.sort_by_key(|entry| entry.0);
    Ok(recording)
}

/// The file's text.
pub fn write(lines: &[Line]) -> Result<String, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for line in lines {
        writer.serialize(line)?;
    }
    let bytes = writer.into_inner().map_err(|error| error.into_error())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let line =
            |arrival, client: &str, path: &str| Line { arrival, client: client.into(), path: path.into(), bytes: 7 };
        let text = write(&[line(0.5, "10.0.0.1", "/a,b"), line(0.25, "host \"x\"", "/a,b")]).unwrap();
        let recording = read(&text).unwrap();
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
}
