//! The thread that writes lines, and the queue before it.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::{Entry, Settings};
use crate::metrics::Counter;
use evenkeel_config::terminal::is_stdout;
use evenkeel_core::rng::Rng;

/// Where the log's lines are written.
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
    /// Bytes in the queue.
    queued: AtomicUsize,
    /// Lines in the queue or at the writer.
    unwritten: AtomicUsize,
    dropped: Arc<Counter>,
}

/// The log, shared by all shards. When it is dropped, the writer finishes the queue in the background; [`Log::flush`] waits.
pub struct Log {
    settings: Settings,
    queue: SyncSender<Vec<u8>>,
    shared: Arc<Shared>,
}

type Open = Box<dyn FnMut() -> io::Result<Box<dyn Write + Send>> + Send>;

impl Log {
    /// Opens the log and starts its writer. `dropped` counts lines that were lost: the queue was full, or the write failed.
    pub fn open(target: Target, settings: Settings, dropped: Arc<Counter>) -> io::Result<Log> {
        Log::start(Box::new(move || target.open()), settings, dropped, QUEUE_LINES)
    }

    fn start(mut open: Open, settings: Settings, dropped: Arc<Counter>, lines: usize) -> io::Result<Log> {
        let sink = open()?;
        let shared = Arc::new(Shared { dropped, ..Shared::default() });
        let (queue, waiting) = sync_channel(lines);
        let writer = Writer { open, sink, shared: shared.clone(), broken: false };
        thread::Builder::new().name("access-log".to_owned()).spawn(move || writer.run(&waiting))?;
        Ok(Log { settings, queue, shared })
    }

    /// Queues a request's line if it is sampled. Never blocks.
    pub fn write(&self, entry: &Entry<'_>, rng: &mut Rng) {
        if self.settings.wants(entry.status, rng) {
            self.push(self.settings.line(entry));
        }
    }

    fn push(&self, line: Vec<u8>) {
        let bytes = line.len();
        self.shared.unwritten.fetch_add(1, Relaxed);
        let fits = self.shared.queued.fetch_add(bytes, Relaxed) + bytes <= QUEUE_BYTES;
        if !fits || self.queue.try_send(line).is_err() {
            self.shared.queued.fetch_sub(bytes, Relaxed);
            self.shared.unwritten.fetch_sub(1, Relaxed);
            self.shared.dropped.inc();
        }
    }

    /// Makes the writer close and reopen its file, for log rotation.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Relaxed);
        // Wakes a writer that waits; one that does not, as the queue is full, looks by itself.
        let _ = self.queue.try_send(Vec::new());
    }

    /// Waits until what was logged so far is written or lost, at most for `longest`. Gives whether it is.
    #[allow(clippy::disallowed_methods, reason = "the caller waits for a thread, in real time")]
    pub fn flush(&self, longest: Duration) -> bool {
        let until = Instant::now() + longest;
        while self.shared.unwritten.load(Acquire) > 0 {
            if Instant::now() >= until {
                return false;
            }
            thread::yield_now();
        }
        true
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
            let mut lines = 0_usize;
            let mut next = Some(first);
            while let Some(line) = next {
                lines += usize::from(!line.is_empty());
                self.shared.queued.fetch_sub(line.len(), Relaxed);
                gathered.extend_from_slice(&line);
                next = if gathered.len() < GATHER { waiting.try_recv().ok() } else { None };
            }
            self.write(&gathered, lines as u64);
            gathered.clear();
            self.shared.unwritten.fetch_sub(lines, Release);
        }
    }

    fn write(&mut self, gathered: &[u8], lines: u64) {
        if self.shared.reopen.swap(false, Relaxed) {
            match (self.open)() {
                Ok(sink) => self.sink = sink,
                Err(error) => {
                    tracing::error!(%error, "the access log cannot be reopened; it continues in the old file")
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
                self.shared.dropped.add(lines);
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
    use crate::access::entry::tests::entry;

    const COMBINED: Settings = Settings { format: crate::access::Format::Combined, query: false, share: 1.0 };

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
        let log = Log::start(open, COMBINED, Arc::default(), 10).unwrap();
        let mut rng = Rng::stream(1, "test", 0);
        log.write(&entry(), &mut rng);
        while log.shared.queued.load(Relaxed) > 0 {
            thread::yield_now();
        }
        // The writer has the first line and sticks: ten wait, all others go.
        for _ in 0..999 {
            log.write(&entry(), &mut rng);
        }
        assert_eq!(log.shared.dropped.get(), 989);
        // Its write fails, and the line is lost too. What waits is written behind a line end.
        go.send(false).unwrap();
        drop(go);
        let shared = log.shared.clone();
        assert!(log.flush(Duration::from_secs(60)));
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
        let log = Log::start(open, COMBINED, Arc::default(), 1000).unwrap();
        for _ in 0..40 {
            log.push(vec![b'x'; 1 << 20]);
        }
        assert!((20..=24).contains(&log.shared.dropped.get()), "{}", log.shared.dropped.get());
    }

    #[test]
    fn a_log_is_reopened_after_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
        let log = Log::open(Target::File(path.clone()), COMBINED, Arc::default()).unwrap();
        let mut rng = Rng::stream(1, "test", 0);
        log.write(&entry(), &mut rng);
        std::fs::rename(&path, &old).unwrap();
        log.reopen();
        // The writer has opened the new file when that is there.
        while !path.exists() {
            thread::yield_now();
        }
        log.write(&Entry { path: "/new", ..entry() }, &mut rng);
        assert!(log.flush(Duration::from_secs(60)));
        let (new, old) = (std::fs::read_to_string(&path).unwrap(), std::fs::read_to_string(&old).unwrap());
        assert!(new.contains("/new") && (new + &old).lines().count() == 2);
        assert!(Log::open(Target::File(folder.path().join("no/such")), COMBINED, Arc::default()).is_err());
    }
}
