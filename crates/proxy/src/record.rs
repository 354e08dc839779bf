//! `--record`: every call of a selector, one JSON line each, for `evenkeel replay`.
//!
//! A line is `[desk, call]`; a selector's first line is `[desk, { "opening": … }]`. All shards write into one file through
//! one buffered writer; the order within a desk is the order in which it happened, which is all that a replay needs.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use evenkeel_config::proxy::PoolConfig;
use evenkeel_config::terminal::is_stdout;
use evenkeel_core::policy::recording::{HostEvent, RecordingHeader, VERSION};

/// A recording that is being written.
#[derive(Clone)]
pub struct Tape {
    out: Arc<Mutex<Out>>,
}

struct Out {
    writer: BufWriter<Box<dyn Write + Send>>,
    desks: u32,
    failed: bool,
}

impl Tape {
    /// Begins a recording. `-` is standard output; links lead to their targets, and FIFOs are written to.
    pub fn create(path: &Path) -> std::io::Result<Tape> {
        let sink: Box<dyn Write + Send> =
            if is_stdout(path) { Box::new(std::io::stdout()) } else { Box::new(File::create(path)?) };
        let writer = BufWriter::with_capacity(1 << 16, sink);
        Ok(Tape { out: Arc::new(Mutex::new(Out { writer, desks: 0, failed: false })) })
    }

    /// Records the start of a selector.
    pub fn open(&self, pool: &PoolConfig, seed: u64, stream: u64) -> Recorder {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let desk = out.desks;
        out.desks += 1;
        let (narrows, strategy) = (pool.rules.narrows(), pool.strategy.clone());
        let opening =
            RecordingHeader { version: VERSION, desk, pool: pool.name.clone(), strategy, seed, stream, narrows };
        out.line(&(desk, serde_json::json!({ "opening": opening })));
        Recorder { tape: self.clone(), desk }
    }

    /// Writes out what is buffered.
    pub fn flush(&self) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        if out.writer.flush().is_err() {
            out.fail();
        }
    }
}

impl Out {
    fn line<T: serde::Serialize>(&mut self, value: &T) {
        if self.failed {
            return;
        }
        let written = serde_json::to_writer(&mut self.writer, value).is_ok() && self.writer.write_all(b"\n").is_ok();
        if !written {
            self.fail();
        }
    }

    fn fail(&mut self) {
        if !std::mem::replace(&mut self.failed, true) {
            tracing::error!("the recording cannot be written any more; it ends here");
        }
    }
}

/// One selector's part of a recording.
pub struct Recorder {
    tape: Tape,
    desk: u32,
}

impl Recorder {
    /// Writes a selector call.
    pub fn write(&mut self, call: &HostEvent) {
        self.tape.out.lock().unwrap_or_else(PoisonError::into_inner).line(&(self.desk, call));
    }

    /// Writes out what is buffered.
    pub fn flush(&mut self) {
        self.tape.flush();
    }
}
