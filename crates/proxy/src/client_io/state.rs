//! What a client's connection, the task that drives it and its requests share.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use crate::termination::Reason;

/// What a connection's [`super::ClientIo`], its task and its requests share. All of them run on one thread; the atomics are here because
/// a connection that leaves HTTP (Upgrade) must be `Send` for hyper, and cost nothing more than cells.
pub struct ClientIoState {
    pub(super) base: Instant,
    /// Requests in progress.
    active: AtomicU32,
    /// When the present silence, or the present head, began: nanoseconds from `base`.
    pub(super) since: AtomicU64,
    /// It speaks HTTP/2.
    pub(super) http2: AtomicBool,
    /// It has left HTTP.
    pub(super) tunnel: AtomicBool,
    /// Requests that have begun, and bytes are held back until it is known what they are.
    pub(super) begun: AtomicU32,
    /// How many had begun when the last final response did: that is its request's number, from 1.
    pub(super) answered: AtomicU32,
    pub(super) holds: AtomicBool,
    /// Numbers of requests to come that are OPTIONS with a URI without path and query, and whether there were any.
    pub(super) asterisks: Mutex<Vec<u32>>,
    pub(super) has_asterisks: AtomicBool,
    /// Interim responses that wait to be written, and whether there are any.
    pub(super) interim: Mutex<Vec<u8>>,
    pub(super) has_interim: AtomicBool,
    /// The final responses so far: what is interim to one of them is nothing any more.
    answers: AtomicU32,
    /// The rest of a request is still arriving and is read before the socket is closed.
    pub(super) lingers: AtomicBool,
    /// A head that was refused without a request and is not counted and logged yet.
    refused: Mutex<Option<Refused>>,
    has_refused: AtomicBool,
    /// The task that drives the connection.
    waker: Mutex<Option<Waker>>,
    /// It is to end gracefully: no further requests, open ones are finished.
    closing: AtomicBool,
    /// It is to end at once.
    cut: AtomicBool,
    pub(super) received: AtomicU64,
    pub(super) sent: AtomicU64,
    /// Dropped when nothing uses the connection any more, also after it became a tunnel.
    _permit: Box<dyn Send + Sync>,
}

/// A head that was refused without becoming a request.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The reason that is reported.
    pub reason: Reason,
    /// When its first byte came.
    pub since: Instant,
    /// The method and the target with a space between, as far as they were read.
    line: Vec<u8>,
}

impl Refused {
    /// The method, the target's path and its query; each empty if it was not read.
    pub fn request(&self) -> (String, String, Option<String>) {
        let line = String::from_utf8_lossy(&self.line);
        let (method, target) = line.split_once(' ').unwrap_or((&*line, ""));
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        (method.to_owned(), path.to_owned(), query.map(str::to_owned))
    }
}

impl ClientIoState {
    /// Of a new connection. `base` is the present, `permit` is dropped when the connection is over.
    pub fn new(base: Instant, permit: Box<dyn Send + Sync>) -> Arc<ClientIoState> {
        Arc::new(ClientIoState {
            base,
            active: AtomicU32::new(0),
            since: AtomicU64::new(0),
            http2: AtomicBool::new(false),
            tunnel: AtomicBool::new(false),
            begun: AtomicU32::new(0),
            answered: AtomicU32::new(0),
            holds: AtomicBool::new(false),
            asterisks: Mutex::new(Vec::new()),
            has_asterisks: AtomicBool::new(false),
            interim: Mutex::new(Vec::new()),
            has_interim: AtomicBool::new(false),
            answers: AtomicU32::new(0),
            lingers: AtomicBool::new(false),
            refused: Mutex::new(None),
            has_refused: AtomicBool::new(false),
            waker: Mutex::new(None),
            closing: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            _permit: permit,
        })
    }

    /// A head is complete and its request begins. Gives whether it is OPTIONS with a URI without path and query.
    pub fn begin(&self, http2: bool) -> bool {
        self.active.store(self.active.load(Relaxed) + 1, Relaxed);
        let number = self.begun.load(Relaxed);
        self.begun.store(number.wrapping_add(1), Relaxed);
        if http2 {
            self.http2.store(true, Relaxed);
        }
        self.has_asterisks.load(Relaxed) && {
            let mut asterisks = self.asterisks.lock().unwrap_or_else(PoisonError::into_inner);
            let at = asterisks.iter().position(|&other| other == number);
            at.map(|at| asterisks.remove(at)).is_some()
        }
    }

    /// A request is over.
    pub fn finish(&self, now: Instant) {
        self.active.store(self.active.load(Relaxed).saturating_sub(1), Relaxed);
        self.silent_since(now);
    }

    /// The present silence, or the present head, began now.
    pub fn silent_since(&self, now: Instant) {
        self.since.store(u64::try_from((now - self.base).as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// When the present silence, or the present head, began.
    pub fn quiet_since(&self) -> Instant {
        self.base + Duration::from_nanos(self.since.load(Relaxed))
    }

    /// So many bytes were read.
    pub fn count_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
    }

    /// So many bytes were written.
    pub fn count_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
    }

    /// Whether a request has ever begun on it.
    pub fn has_begun(&self) -> bool {
        self.begun.load(Relaxed) > 0
    }

    /// Whether it has no request.
    pub fn is_idle(&self) -> bool {
        self.active.load(Relaxed) == 0
    }

    /// Bytes read and written.
    pub fn bytes(&self) -> (u64, u64) {
        (self.received.load(Relaxed), self.sent.load(Relaxed))
    }

    /// Whether it speaks HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.http2.load(Relaxed)
    }

    /// The number of the response that is being made.
    pub fn answer(&self) -> u32 {
        self.answers.load(Relaxed)
    }

    /// Has an interim response written before the final one of this number, if that has not begun. Nothing on HTTP/2, whose
    /// library cannot.
    pub fn interim(&self, answer: u32, head: &[u8]) {
        /// The number is bounded, so that a server cannot flood its client with them.
        const MOST: usize = 16 * 1024;
        if self.is_http2() || answer != self.answer() {
            return;
        }
        let mut waiting = self.interim.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() + head.len() <= MOST {
            waiting.extend_from_slice(head);
            self.has_interim.store(true, Relaxed);
            drop(waiting);
            self.wake();
        }
    }

    /// Whether an interim response waits to be written.
    pub fn has_interim(&self) -> bool {
        self.has_interim.load(Relaxed)
    }

    /// Appends the interim responses that wait to be written.
    pub fn take_interim(&self, out: &mut Vec<u8>) {
        out.append(&mut self.interim.lock().unwrap_or_else(PoisonError::into_inner));
        self.has_interim.store(false, Relaxed);
    }

    /// The final response begins: what was to come before it and was not written is forgotten, and nothing more is taken.
    pub fn begin_response(&self) {
        if self.is_http2() {
            return;
        }
        self.answers.store(self.answer().wrapping_add(1), Relaxed);
        self.answered.store(self.begun.load(Relaxed), Relaxed);
        if self.holds.load(Relaxed) {
            self.wake();
        }
        if self.has_interim.swap(false, Relaxed) {
            self.interim.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    /// When the connection ends, what the client still sends is read for a moment.
    pub fn linger(&self) {
        self.lingers.store(true, Relaxed);
    }

    /// The connection leaves HTTP with the response that begins: what the client sends from here on is not read as requests.
    pub fn leave(&self) {
        self.tunnel.store(true, Relaxed);
    }

    /// A head that was refused without becoming a request since the last call.
    pub fn take_refused(&self) -> Option<Refused> {
        if !self.has_refused.load(Relaxed) {
            return None;
        }
        self.has_refused.store(false, Relaxed);
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn refuse(&self, reason: Reason, line: &[u8]) {
        let since = self.quiet_since();
        let refused = Refused { reason, since, line: line.to_vec() };
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(refused);
        self.has_refused.store(true, Relaxed);
    }

    /// Ends the connection in good order: no further requests, the present ones are answered.
    pub fn close(&self) {
        self.closing.store(true, Relaxed);
        self.wake();
    }

    /// Ends it now.
    pub fn cut(&self) {
        self.cut.store(true, Relaxed);
        self.wake();
    }

    /// Whether it is to end gracefully.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Relaxed)
    }

    /// Whether it is to end at once.
    pub fn is_cut(&self) -> bool {
        self.cut.load(Relaxed)
    }

    /// Stores the waker of the task that polls the connection; it does not change.
    pub fn remember(&self, waker: &Waker) {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.lock().unwrap_or_else(PoisonError::into_inner) {
            waker.wake_by_ref();
        }
    }
}
