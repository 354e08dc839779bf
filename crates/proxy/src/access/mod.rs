//! The access log: a line for every request, written by a thread of its own so that a slow disk slows no request.
//!
//! Two formats. `combined` is Apache's combined log format with five fields after it; see [`COMBINED`]. `json` has an object
//! per line with all of [`FIELDS`]. The time is that of the arrival, so that a log can be replayed: `evenkeel import` reads
//! both.
//!
//! **No client can forge a line.** In `combined` quotes and backslashes are escaped, and what is not printable ASCII is
//! written as `\xhh`, as Apache does since 2.0.49; in `json` all but printable ASCII is `\uhhhh`, bytes that are no UTF-8
//! become U+FFFD. Neither holds a raw control character, so nor does a terminal that shows it. Long fields are cut.
//!
//! **The data path never waits.** A line goes into a bounded queue or is dropped and counted; the bound is in lines and in
//! bytes, because clients choose how long lines are.

mod combined;
mod entry;
mod log;

pub use entry::{Entry, FIELDS};
pub(crate) use log::{Log, Target};

use evenkeel_core::rng::{Rng, Source};

/// A line of the format `combined`. `upstream` is the server's address, or `-` if none was reached.
pub const COMBINED: &str = "client_ip - - [day/Mon/year:h:m:s +0000] \"method path protocol\" status bytes_out \"referer\" \
                            \"user_agent\" \"upstream\" attempts strategy reason duration";

/// Longest path or query in a line, in bytes before escaping.
const MAX_TARGET: usize = 8192;
/// Longest other field in a line, in bytes before escaping.
const MAX_FIELD: usize = 1024;

/// The format of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Apache's combined format and five more fields, as in [`COMBINED`].
    Combined,
    /// A JSON object per line, with all of [`FIELDS`].
    Json,
}

/// Which requests are logged, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The format of a line.
    pub format: Format,
    /// Whether queries are written. They often hold secrets.
    pub query: bool,
    /// Share of requests that are written, 0 to 1. Failures (no response, or a status of 500 and more) always are.
    pub share: f64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { format: Format::Combined, query: false, share: 1.0 }
    }
}

impl Settings {
    /// Whether this request is to be written.
    pub fn wants(&self, status: Option<u16>, rng: &mut Rng) -> bool {
        self.share >= 1.0 || status.is_none_or(|status| status >= 500) || rng.unit() < self.share
    }

    /// The entry's line, with its end.
    pub fn line(&self, entry: &Entry<'_>) -> Vec<u8> {
        let mut line = Vec::with_capacity(512);
        let written = match self.format {
            Format::Combined => combined::write(&mut line, entry, self.query),
            Format::Json => entry::write_json(&mut line, entry, self.query),
        };
        debug_assert!(written.is_ok(), "writing to memory does not fail");
        line.push(b'\n');
        line
    }
}

fn cut(bytes: &[u8], longest: usize) -> &[u8] {
    &bytes[..bytes.len().min(longest)]
}

fn cut_text(text: &str, longest: usize) -> &str {
    let mut end = text.len().min(longest);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The fields of a line of JSON as a table in Markdown, for the reference of the proxy.
pub fn reference() -> String {
    let mut text = String::from("| field | meaning |\n|---|---|\n");
    for (name, doc) in FIELDS {
        text += &format!("| `{name}` | {} |\n", doc.trim());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::termination::Reason;
    use entry::tests::entry;

    fn text(settings: &Settings, entry: &Entry<'_>) -> String {
        String::from_utf8(settings.line(entry)).unwrap()
    }

    const JSON: Settings = Settings { format: Format::Json, query: false, share: 1.0 };
    const COMBINED: Settings = Settings { format: Format::Combined, query: false, share: 1.0 };

    #[test]
    fn lines_are_as_documented() {
        assert_eq!(
            text(&COMBINED, &entry()),
            "2001:db8::1 - - [04/Mar/2026:05:06:07 +0000] \"GET /a/b HTTP/1.1\" 200 1234 \"-\" \"curl/8\" \
             \"127.0.0.1:9001\" 2 p2c ok 1.234567\n"
        );
        assert_eq!(
            text(&JSON, &entry()),
            "{\"time\":\"2026-03-04T05:06:07.000089Z\",\"request_id\":\"0af7\",\"client_ip\":\"2001:db8::1\",\
             \"method\":\"GET\",\"host\":\"example.org\",\"path\":\"/a/b\",\"protocol\":\"HTTP/1.1\",\"status\":200,\
             \"bytes_in\":0,\"bytes_out\":1234,\"duration\":1.234567,\"upstream\":\"127.0.0.1:9001\",\"server\":\"web-1\",\
             \"pool\":\"web\",\"connect_time\":null,\"first_byte_time\":0.003,\"upstream_time\":0.004,\"attempts\":2,\
             \"strategy\":\"p2c\",\"reason\":\"ok\",\"user_agent\":\"curl/8\",\"referer\":null,\"tls\":\"TLSv1.3\"}\n"
        );
        let with_query = text(&Settings { query: true, ..COMBINED }, &entry());
        assert!(with_query.contains("\"GET /a/b?token=secret HTTP/1.1\""), "{with_query}");
        assert!(text(&Settings { query: true, ..JSON }, &entry()).contains("\"query\":\"token=secret\""));
        let none = Entry { status: None, upstream: None, strategy: "", reason: Reason::ClientGone, ..entry() };
        assert!(text(&COMBINED, &none).contains("HTTP/1.1\" 000 1234 \"-\" \"curl/8\" \"-\" 2 - client_gone 1.234567"));
    }

    /// Whatever a client sends, a line is one line of printable ASCII, and its fields are where they belong.
    #[test]
    fn no_line_can_be_forged() {
        let mut rng = Rng::stream(1, "test", 0);
        let rubbish =
            |rng: &mut Rng| -> Vec<u8> {
                let length = rng.below(30) as usize;
                let some = b"\"\\\n\r\t\x00\x1b\x7f\x9b\xc2\xff ,{}[]=&?%";
                (0..length)
                    .map(|_| {
                        if rng.below(2) == 0 {
                            some[rng.below(some.len() as u64) as usize]
                        } else {
                            rng.below(256) as u8
                        }
                    })
                    .collect()
            };
        for _ in 0..3000 {
            let (agent, referer, host) = (rubbish(&mut rng), rubbish(&mut rng), rubbish(&mut rng));
            let path = format!("/{}\u{9b}\u{202e}", String::from_utf8_lossy(&rubbish(&mut rng)));
            let mut entry = Entry { user_agent: Some(&agent), referer: Some(&referer), host: &host, ..entry() };
            entry.path = &path;
            for settings in [COMBINED, JSON] {
                let line = text(&settings, &entry);
                let inside = line.strip_suffix('\n').unwrap();
                assert!(inside.bytes().all(|b| (b' '..=b'~').contains(&b)), "{line:?}");
            }
            let object: serde_json::Value = serde_json::from_str(&text(&JSON, &entry)).unwrap();
            assert_eq!(object["path"], path);
            assert_eq!(object["user_agent"], String::from_utf8_lossy(&agent).as_ref());
            let line = text(&COMBINED, &entry);
            let mut escaped = false;
            let quotes = line.chars().filter(|&c| {
                let counts = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                counts
            });
            assert_eq!(quotes.count(), 8, "{line}");
            assert!(line.ends_with("\"127.0.0.1:9001\" 2 p2c ok 1.234567\n"), "{line}");
        }
    }

    #[test]
    fn long_fields_are_cut_at_characters() {
        let (agent, path) = (vec![b'x'; 1 << 20], "/ä".repeat(1 << 20));
        let line = text(&JSON, &Entry { user_agent: Some(&agent), path: &path, ..entry() });
        assert!(line.len() < 8 * MAX_TARGET, "{}", line.len());
        serde_json::from_str::<serde_json::Value>(&line).unwrap();
    }

    #[test]
    fn sampling_keeps_its_share_and_every_failure() {
        let settings = Settings { share: 0.25, ..COMBINED };
        let mut rng = Rng::stream(1, "test", 0);
        let kept = (0..10_000).filter(|_| settings.wants(Some(200), &mut rng)).count();
        // Standard deviation 43.
        assert!((2330..2670).contains(&kept), "{kept}");
        assert!((0..100).all(|_| settings.wants(Some(503), &mut rng) && settings.wants(None, &mut rng)));
    }

    #[test]
    fn the_reference_has_every_field_of_a_line() {
        let settings = Settings { query: true, ..JSON };
        let line: serde_json::Value = serde_json::from_str(&text(&settings, &entry())).unwrap();
        let reference = reference();
        for (name, doc) in FIELDS {
            assert!(line.get(name).is_some(), "{name}");
            assert!(reference.contains(&format!("| `{name}` | {} |", doc.trim())), "{name}");
        }
        assert_eq!(line.as_object().unwrap().len(), FIELDS.len());
    }
}
