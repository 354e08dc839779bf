//! A JSON object per line, as `evenkeel proxy` writes it. Stamps are exact.
//!
//! `{"time":"2015-05-17T10:05:03.000250Z","client_ip":"192.0.2.1","path":"/path","bytes_out":203023,…}`

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;

use super::client::address;
use super::text::{cut, push_encoded, target};
use super::{Entry, Importer, Options, Refused, Stamp};

/// The JSON format; see the module's documentation.
pub(super) struct Json;

/// The required fields; others are ignored.
#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    client_ip: Cow<'a, str>,
    #[serde(borrow)]
    path: Cow<'a, str>,
    query: Option<Cow<'a, str>>,
    bytes_out: u64,
}

impl Importer for Json {
    fn name(&self) -> &'static str {
        "json"
    }
    fn logs(&self) -> &'static str {
        "A JSON object per line, as `evenkeel proxy` writes it"
    }
    fn example(&self) -> &'static str {
        r#"{"time":"2015-05-17T10:05:03.00025Z","client_ip":"192.0.2.1","path":"/a","bytes_out":203023}"#
    }
    fn detects(&self, line: &str) -> bool {
        line.starts_with('{')
    }
    fn parse<'a>(&self, line: &'a str, options: &Options) -> Result<Entry, Refused<'a>> {
        if !self.detects(line) {
            return Err(Refused::new(line, "not an entry in JSON: no `{` at its begin"));
        }
        let object: Object<'a> = serde_json::from_str(line).map_err(|error| {
            let kind = "not an entry in JSON as the proxy writes it";
            let at = line.get(error.column().saturating_sub(1)..).unwrap_or(line);
            Refused { at, kind, reason: format!("{kind}: {}", cut(&error.to_string(), 120)) }
        })?;
        let time: Timestamp = object.time.parse().map_err(|_| {
            Refused::quoting(&object.time, "is not a time such as 2015-05-17T10:05:03.000250Z")
                .moved(place(&object.time, line))
        })?;
        let client = address(&object.client_ip).ok_or_else(|| {
            Refused::quoting(&object.client_ip, "is not a client's address").moved(place(&object.client_ip, line))
        })?;
        let mut path = target(&object.path, options.keep_query);
        if let Some(query) = object.query.filter(|_| options.keep_query) {
            path.push('?');
            push_encoded(&mut path, &query);
        }
        let stamp = Stamp::Micros(time.as_microsecond());
        Ok(Entry { stamp, client: client.to_string(), path, bytes: object.bytes_out })
    }
}

/// The position of a field's text; the whole line where the text has escapes.
fn place<'a>(field: &Cow<'a, str>, line: &'a str) -> &'a str {
    match *field {
        Cow::Borrowed(part) => part,
        Cow::Owned(_) => line,
    }
}
