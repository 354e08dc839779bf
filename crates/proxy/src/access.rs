//! The access log: a line for every request, written by a thread of its own so that a slow disk slows no request.
//!
//! Two formats. `combined` is Apache's combined log format with five fields after it:
//!
//! `client - - [day/Mon/year:h:m:s +0000] "METHOD path HTTP/1.1" status bytes "referer" "agent" "upstream" attempts strategy
//! reason duration`
//!
//! where `upstream` is the server's address (`-` if none was reached), `attempts` counts servers asked, `reason` is a word of
//! [`Reason`] and `duration` is in seconds. `json` has an object per line with all that an [`Entry`] has, times in seconds.
//! The time is that of the arrival, so that a log can be replayed: `evenkeel import` reads both.
//!
//! **No client can forge a line.** In `combined` quotes and backslashes are escaped, and what is not printable ASCII is
//! written as `\xhh`, as Apache does since 2.0.49; in `json` all but printable ASCII is `\uhhhh`, bytes that are no UTF-8
//! become U+FFFD. Neither holds a raw control character, so nor does a terminal that shows it. Long fields are cut.
//!
//! **The data path never waits.** A line goes into a bounded queue or is dropped and counted; the bound is in lines and in
//! bytes, because clients choose how long lines are.

use std::borrow::Cow;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use http::Version;
use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use super::termination::Reason;
use evenkeel_config::terminal::is_stdout;
use evenkeel_core::rng::{Rng, Source};
use evenkeel_core::units::Nanos;

/// What is known of a request when it has ended.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// When it arrived.
    pub time: Timestamp,
    /// Its name.
    pub request_id: &'a str,
    /// The client, as far as proxies before this one are trusted.
    pub client_ip: IpAddr,
    /// The method.
    pub method: &'a str,
    /// `Host` or `:authority`.
    pub host: &'a [u8],
    /// The path without query.
    pub path: &'a str,
    /// The query without `?`; written only where the settings say so.
    pub query: Option<&'a str>,
    /// The client's version of HTTP.
    pub protocol: Version,
    /// The answer's status, if there was one.
    pub status: Option<u16>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body that were passed on.
    pub bytes_out: u64,
    /// From the arrival to the last byte.
    pub duration: Nanos,
    /// The server that answered, or was asked last.
    pub upstream: Option<SocketAddr>,
    /// Its name in the pool.
    pub server: Option<&'a str>,
    /// The pool.
    pub pool: Option<&'a str>,
    /// Time to connect to the server; `None` on a connection that was open.
    pub connect_time: Option<Nanos>,
    /// Time from the last attempt's begin to the first byte of its answer.
    pub first_byte_time: Option<Nanos>,
    /// Time from the last attempt's begin to the end of its answer.
    pub upstream_time: Option<Nanos>,
    /// Servers that were asked.
    pub attempts: u32,
    /// The pool's strategy.
    pub strategy: &'a str,
    /// Why it ended.
    pub reason: Reason,
    /// `User-Agent`.
    pub user_agent: Option<&'a [u8]>,
    /// `Referer`.
    pub referer: Option<&'a [u8]>,
    /// The version of TLS, such as `TLSv1.3`, if any.
    pub tls: Option<&'a str>,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Apache's combined format and five more fields. See the module's text.
    Combined,
    /// A JSON object per line.
    Json,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// How a line looks.
    pub format: Format,
    /// With queries, which often hold secrets.
    pub query: bool,
    /// Share of requests that are written, 0 to 1. Failures (no answer, or a status of 500 and more) always are.
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
            Format::Combined => combined(&mut line, entry, self.query),
            Format::Json => json(&mut line, entry, self.query),
        };
        debug_assert!(written.is_ok(), "writing to memory does not fail");
        line.push(b'\n');
        line
    }
}

/// Longest path or query in a line, and longest other field; bytes before escaping.
const LONGEST_TARGET: usize = 8192;
const LONGEST: usize = 1024;

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

/// The version as it stands in a request line.
fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

fn combined(line: &mut Vec<u8>, entry: &Entry<'_>, query: bool) -> io::Result<()> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let time = jiff::tz::Offset::UTC.to_datetime(entry.time);
    let month = MONTHS[time.month().clamp(1, 12) as usize - 1];
    write!(line, "{} - - [{:02}/{month}/{:04}:", entry.client_ip, time.day(), time.year())?;
    write!(line, "{:02}:{:02}:{:02} +0000] \"", time.hour(), time.minute(), time.second())?;
    word(line, cut_text(entry.method, LONGEST));
    line.push(b' ');
    word(line, cut_text(entry.path, LONGEST_TARGET));
    if let Some(query) = entry.query.filter(|_| query) {
        line.push(b'?');
        escape(line, cut_text(query, LONGEST_TARGET).as_bytes(), b' ');
    }
    write!(line, " {}\" {:03} {} ", protocol(entry.protocol), entry.status.unwrap_or(0), entry.bytes_out)?;
    for field in [entry.referer, entry.user_agent] {
        line.push(b'"');
        escape(line, cut(field.unwrap_or(b"-"), LONGEST), b'"');
        line.extend_from_slice(b"\" ");
    }
    match entry.upstream {
        Some(address) => write!(line, "\"{address}\" {} ", entry.attempts)?,
        None => write!(line, "\"-\" {} ", entry.attempts)?,
    }
    word(line, cut_text(entry.strategy, LONGEST));
    let micros = entry.duration.0 / 1000;
    write!(line, " {} {}.{:06}", entry.reason.as_str(), micros / 1_000_000, micros % 1_000_000)
}

/// A field that ends at a space: `-` if there is nothing in it.
fn word(line: &mut Vec<u8>, text: &str) {
    escape(line, if text.is_empty() { b"-" } else { text.as_bytes() }, b' ');
}

/// Printable ASCII as it is; quote and backslash behind a backslash; the rest, and `also`, as `\xhh`.
fn escape(line: &mut Vec<u8>, bytes: &[u8], also: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => line.extend_from_slice(&[b'\\', byte]),
            b' '..=b'~' if byte != also => line.push(byte),
            _ => {
                let (high, low) = (DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]);
                line.extend_from_slice(&[b'\\', b'x', high, low]);
            }
        }
    }
}

/// An [`Entry`] as the object in a line of JSON.
#[derive(Serialize)]
struct Object<'a> {
    time: String,
    request_id: &'a str,
    client_ip: IpAddr,
    method: &'a str,
    host: Cow<'a, str>,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<&'a str>,
    protocol: &'static str,
    status: Option<u16>,
    bytes_in: u64,
    bytes_out: u64,
    duration: f64,
    upstream: Option<SocketAddr>,
    server: Option<&'a str>,
    pool: Option<&'a str>,
    connect_time: Option<f64>,
    first_byte_time: Option<f64>,
    upstream_time: Option<f64>,
    attempts: u32,
    strategy: &'a str,
    reason: &'static str,
    user_agent: Option<Cow<'a, str>>,
    referer: Option<Cow<'a, str>>,
    tls: Option<&'a str>,
}

fn json(line: &mut Vec<u8>, entry: &Entry<'_>, query: bool) -> io::Result<()> {
    let seconds = |time: Nanos| (time.0 / 1000) as f64 / 1e6;
    let text = |bytes| String::from_utf8_lossy(cut(bytes, LONGEST));
    let object = Object {
        time: format!("{:.6}", entry.time),
        request_id: cut_text(entry.request_id, LONGEST),
        client_ip: entry.client_ip,
        method: cut_text(entry.method, LONGEST),
        host: text(entry.host),
        path: cut_text(entry.path, LONGEST_TARGET),
        query: entry.query.filter(|_| query).map(|query| cut_text(query, LONGEST_TARGET)),
        protocol: protocol(entry.protocol),
        status: entry.status,
        bytes_in: entry.bytes_in,
        bytes_out: entry.bytes_out,
        duration: seconds(entry.duration),
        upstream: entry.upstream,
        server: entry.server,
        pool: entry.pool,
        connect_time: entry.connect_time.map(seconds),
        first_byte_time: entry.first_byte_time.map(seconds),
        upstream_time: entry.upstream_time.map(seconds),
        attempts: entry.attempts,
        strategy: entry.strategy,
        reason: entry.reason.as_str(),
        user_agent: entry.user_agent.map(text),
        referer: entry.referer.map(text),
        tls: entry.tls,
    };
    Ok(object.serialize(&mut Serializer::with_formatter(line, Ascii))?)
}

/// Writes JSON in printable ASCII only. Control characters below space are escaped by the serializer itself.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if fragment.bytes().all(|byte| byte.is_ascii() && byte != 0x7f) {
            return writer.write_all(fragment.as_bytes());
        }
        for c in fragment.chars() {
            if c.is_ascii() && c != '\u{7f}' {
                writer.write_all(&[c as u8])?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Appended to a file, which is made if it is not there; also to a FIFO or a device.
    File(PathBuf),
    /// Standard output.
    Stdout,
}

impl Target {
    fn open(&self) -> io::Result<Box<dyn Write + Send>> {
        Ok(match self {
            // By any of its names: `/dev/stdout` cannot be opened where it is a socket.
            Target::File(path) if is_stdout(path) => Box::new(io::stdout()),
            Target::File(path) => Box::new(OpenOptions::new().append(true).create(true).open(path)?),
            Target::Stdout => Box::new(io::stdout()),
        })
    }
}

/// Lines and bytes that may wait to be written.
const QUEUE_LINES: usize = 8192;
const QUEUE_BYTES: usize = 16 << 20;
/// The writer gathers what waits, up to so much, for one write.
const GATHER: usize = 64 << 10;

#[derive(Default)]
struct Shared {
    reopen: AtomicBool,
    queued: AtomicUsize,
    dropped: Counter,
}

/// The log: shared by all who serve. Dropping it lets the writer finish what waits, in its own time; [`Log::close`] waits.
pub struct Log {
    settings: Settings,
    queue: SyncSender<Vec<u8>>,
    shared: Arc<Shared>,
    /// Disconnected when the writer is done.
    done: Mutex<Receiver<()>>,
}

type Open = Box<dyn FnMut() -> io::Result<Box<dyn Write + Send>> + Send>;

impl Log {
    /// Opens the log and starts its writer. `dropped` counts lines that were lost: the queue was full, or the write failed.
    pub fn open(target: Target, settings: Settings, dropped: Counter) -> io::Result<Log> {
        Log::start(Box::new(move || target.open()), settings, dropped, QUEUE_LINES)
    }

    fn start(mut open: Open, settings: Settings, dropped: Counter, lines: usize) -> io::Result<Log> {
        let sink = open()?;
        let shared = Arc::new(Shared { dropped, ..Shared::default() });
        let (queue, waiting) = sync_channel(lines);
        let (finished, done) = sync_channel(0);
        let writer = Writer { open, sink, shared: shared.clone(), broken: false };
        thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            writer.run(&waiting);
            drop(finished);
        })?;
        Ok(Log { settings, queue, shared, done: Mutex::new(done) })
    }

    /// Writes a request down, if the sampling wants it. Never waits.
    pub fn write(&self, entry: &Entry<'_>, rng: &mut Rng) {
        if self.settings.wants(entry.status, rng) {
            self.push(self.settings.line(entry));
        }
    }

    fn push(&self, line: Vec<u8>) {
        let bytes = line.len();
        let fits = self.shared.queued.fetch_add(bytes, Relaxed) + bytes <= QUEUE_BYTES;
        if !fits || self.queue.try_send(line).is_err() {
            self.shared.queued.fetch_sub(bytes, Relaxed);
            self.shared.dropped.inc();
        }
    }

    /// Has the writer close its file and open it anew, for log rotation.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Relaxed);
        // Wakes a writer that waits; one that does not, as the queue is full, looks by itself.
        let _ = self.queue.try_send(Vec::new());
    }

    /// Lines lost so far.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.get()
    }

    /// Waits until what was written so far is in the file, or for so long; whether it is.
    pub fn flush(&self, longest: Duration) -> bool {
        let until = tokio::time::Instant::now() + longest;
        while self.shared.queued.load(Relaxed) > 0 {
            if tokio::time::Instant::now() >= until {
                return false;
            }
            thread::yield_now();
        }
        true
    }

    /// Waits until all lines are written, or for so long; whether they are.
    pub fn close(self, longest: Duration) -> bool {
        let Log { queue, done, .. } = self;
        drop(queue);
        let done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        done.recv_timeout(longest) == Err(RecvTimeoutError::Disconnected)
    }
}

struct Writer {
    open: Open,
    sink: Box<dyn Write + Send>,
    shared: Arc<Shared>,
    /// The last write failed, perhaps inside a line.
    broken: bool,
}

impl Writer {
    fn run(mut self, waiting: &Receiver<Vec<u8>>) {
        let mut gathered = Vec::with_capacity(GATHER);
        while let Ok(first) = waiting.recv() {
            let mut lines = 0;
            let mut next = Some(first);
            while let Some(line) = next {
                lines += u64::from(!line.is_empty());
                self.shared.queued.fetch_sub(line.len(), Relaxed);
                gathered.extend_from_slice(&line);
                next = if gathered.len() < GATHER { waiting.try_recv().ok() } else { None };
            }
            self.write(&gathered, lines);
            gathered.clear();
        }
    }

    fn write(&mut self, gathered: &[u8], lines: u64) {
        if self.shared.reopen.swap(false, Relaxed) {
            match (self.open)() {
                Ok(sink) => self.sink = sink,
                Err(error) => {
                    tracing::error!(%error, "the access log cannot be opened anew and goes on in the old file")
                }
            }
        }
        if gathered.is_empty() {
            return;
        }
        let begun = if self.broken { self.sink.write_all(b"\n") } else { Ok(()) };
        match begun.and_then(|()| self.sink.write_all(gathered)).and_then(|()| self.sink.flush()) {
            Ok(()) => self.broken = false,
            Err(error) => {
                self.shared.dropped.inc_by(lines);
                if !std::mem::replace(&mut self.broken, true) {
                    tracing::error!(%error, "the access log cannot be written; lines are lost until it can");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    use super::*;

    fn entry() -> Entry<'static> {
        Entry {
            time: "2026-03-04T05:06:07.000089Z".parse().unwrap(),
            request_id: "0af7",
            client_ip: "2001:db8::1".parse().unwrap(),
            method: "GET",
            host: b"example.org",
            path: "/a/b",
            query: Some("token=secret"),
            protocol: Version::HTTP_11,
            status: Some(200),
            bytes_in: 0,
            bytes_out: 1234,
            duration: Nanos(1_234_567_890),
            upstream: Some("127.0.0.1:9001".parse().unwrap()),
            server: Some("web-1"),
            pool: Some("web"),
            connect_time: None,
            first_byte_time: Some(Nanos::from_millis(3)),
            upstream_time: Some(Nanos::from_millis(4)),
            attempts: 2,
            strategy: "p2c",
            reason: Reason::Ok,
            user_agent: Some(b"curl/8"),
            referer: None,
            tls: Some("TLSv1.3"),
        }
    }

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
        assert!(line.len() < 8 * LONGEST_TARGET, "{}", line.len());
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

    /// A disk that waits for the test before each write, and can fail.
    struct Disk {
        turn: Arc<Mutex<Receiver<bool>>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Without a test to wait for, everything is written.
            if self.turn.lock().unwrap().recv().unwrap_or(true) {
                self.written.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            } else {
                Err(io::Error::other("full"))
            }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_disk_costs_lines_and_no_time() {
        let (go, turn) = channel();
        let (turn, written) = (Arc::new(Mutex::new(turn)), Arc::new(Mutex::new(Vec::new())));
        let disk = {
            let written = written.clone();
            move || Box::new(Disk { turn: turn.clone(), written: written.clone() })
        };
        let open: Open = Box::new(move || Ok(disk()));
        let log = Log::start(open, COMBINED, Counter::default(), 10).unwrap();
        let mut rng = Rng::stream(1, "test", 0);
        log.write(&entry(), &mut rng);
        while log.shared.queued.load(Relaxed) > 0 {
            thread::yield_now();
        }
        // The writer has the first line and sticks: ten wait, all others go.
        for _ in 0..999 {
            log.write(&entry(), &mut rng);
        }
        assert_eq!(log.dropped(), 989);
        // Its write fails, and the line is lost too. What waits is written behind a line end.
        go.send(false).unwrap();
        drop(go);
        let shared = log.shared.clone();
        assert!(log.close(Duration::from_secs(60)));
        let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert!(written.starts_with('\n'), "{written:?}");
        assert_eq!((written.lines().filter(|line| !line.is_empty()).count(), shared.dropped.get()), (10, 990));
        assert_eq!(shared.queued.load(Relaxed), 0);
    }

    #[test]
    fn too_many_bytes_are_dropped_like_too_many_lines() {
        let (_go, turn) = channel();
        let turn = Arc::new(Mutex::new(turn));
        let open: Open = Box::new(move || Ok(Box::new(Disk { turn: turn.clone(), written: Arc::default() })));
        let log = Log::start(open, COMBINED, Counter::default(), 1000).unwrap();
        for _ in 0..40 {
            log.push(vec![b'x'; 1 << 20]);
        }
        assert!((20..=24).contains(&log.dropped()), "{}", log.dropped());
    }

    #[test]
    fn a_log_is_reopened_after_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
        let log = Log::open(Target::File(path.clone()), COMBINED, Counter::default()).unwrap();
        let mut rng = Rng::stream(1, "test", 0);
        log.write(&entry(), &mut rng);
        std::fs::rename(&path, &old).unwrap();
        log.reopen();
        // The writer has opened the new file when that is there.
        while !path.exists() {
            thread::yield_now();
        }
        log.write(&Entry { path: "/new", ..entry() }, &mut rng);
        assert!(log.close(Duration::from_secs(60)));
        let (new, old) = (std::fs::read_to_string(&path).unwrap(), std::fs::read_to_string(&old).unwrap());
        assert!(new.contains("/new") && (new + &old).lines().count() == 2);
        assert!(Log::open(Target::File(folder.path().join("no/such")), COMBINED, Counter::default()).is_err());
    }
}
