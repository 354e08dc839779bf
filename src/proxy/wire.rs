//! A client's connection below HTTP: time-outs while nothing or half a head is there, a strict look at heads that the HTTP
//! library is lenient about, bytes counted, and interim answers (1xx) put on the wire.
//!
//! The library (hyper) parses; this only watches the bytes go by. What it refuses although RFC 9112 would let a server
//! guess: a head with both Content-Length and Transfer-Encoding (section 6.1: the connection must be closed, since this is
//! how requests are smuggled), Content-Length more than once (6.3), a line that ends without CR (2.2), a folded line (5.2),
//! white space before a colon (5.1). The library reads on, and the request is answered with 400 and the connection closed.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// What a connection's wire, its task and its requests share. All of them run on one thread; the atomics are here because
/// a connection that leaves HTTP (Upgrade) must be `Send` for the library, and cost nothing more than cells.
pub struct WireState {
    base: Instant,
    /// Requests that are being answered.
    active: AtomicU32,
    /// When the present silence, or the present head, began: nanoseconds from `base`.
    since: AtomicU64,
    /// Bytes of a head are in, and the head is not complete.
    in_head: AtomicBool,
    /// It speaks HTTP/2.
    http2: AtomicBool,
    /// What was wrong with a head, for the request that comes of it: one more than its place in [`FAULTS`].
    fault: AtomicU8,
    /// Interim answers that wait to be written, and whether there are any.
    interim: Mutex<Vec<u8>>,
    has_interim: AtomicBool,
    /// The task that drives the connection.
    waker: Mutex<Option<Waker>>,
    /// It shall end in good order.
    closing: AtomicBool,
    /// It shall end now.
    cut: AtomicBool,
    received: AtomicU64,
    sent: AtomicU64,
    /// Dropped when nobody uses the connection any more, be it a tunnel by then.
    _guest: Box<dyn Send + Sync>,
}

/// Bounds of a client's silence.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From a head's first byte to its last.
    pub header: Duration,
    /// Without a request.
    pub keep_alive: Duration,
}

/// What can be wrong with a head that the library lets pass.
const FAULTS: [&str; 7] = [
    "bare_lf",
    "bare_cr",
    "nul",
    "space_before_colon",
    "folded_line",
    "content_length_repeated",
    "length_and_chunked",
];

impl WireState {
    /// Of a new connection. `base` is the present, `guest` is dropped when the connection is over.
    pub fn new(base: Instant, guest: Box<dyn Send + Sync>) -> Arc<WireState> {
        Arc::new(WireState {
            base,
            active: AtomicU32::new(0),
            since: AtomicU64::new(0),
            in_head: AtomicBool::new(false),
            http2: AtomicBool::new(false),
            fault: AtomicU8::new(0),
            interim: Mutex::new(Vec::new()),
            has_interim: AtomicBool::new(false),
            waker: Mutex::new(None),
            closing: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            _guest: guest,
        })
    }

    /// A head is complete and its request begins. Gives what was wrong with the head.
    pub fn begin(&self, http2: bool) -> Option<&'static str> {
        self.active.store(self.active.load(Relaxed) + 1, Relaxed);
        self.in_head.store(false, Relaxed);
        if http2 {
            self.http2.store(true, Relaxed);
            return None;
        }
        match self.fault.load(Relaxed) {
            0 => None,
            fault => {
                self.fault.store(0, Relaxed);
                FAULTS.get(usize::from(fault) - 1).copied()
            }
        }
    }

    /// A request is over.
    pub fn finish(&self, now: Instant) {
        self.active.store(self.active.load(Relaxed).saturating_sub(1), Relaxed);
        self.silent_since(now);
    }

    fn silent_since(&self, now: Instant) {
        self.since.store(u64::try_from((now - self.base).as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Whether it has no request.
    pub fn is_idle(&self) -> bool {
        self.active.load(Relaxed) == 0
    }

    /// Bytes read and written.
    pub fn bytes(&self) -> (u64, u64) {
        (self.received.load(Relaxed), self.sent.load(Relaxed))
    }

    /// Has an interim answer written before the final one. Nothing on HTTP/2, whose library cannot.
    pub fn interim(&self, head: &[u8]) {
        /// A server that floods its client with these is not indulged.
        const MOST: usize = 16 * 1024;
        let mut waiting = self.interim.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.http2.load(Relaxed) && waiting.len() + head.len() <= MOST {
            waiting.extend_from_slice(head);
            self.has_interim.store(true, Relaxed);
            drop(waiting);
            self.wake();
        }
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

    /// Whether it shall end in good order.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Relaxed)
    }

    /// Whether it shall end now.
    pub fn is_cut(&self) -> bool {
        self.cut.load(Relaxed)
    }

    /// Remembers whom to wake: the task that polls the connection, whose waker does not change.
    pub fn remember(&self, waker: &Waker) {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.lock().unwrap_or_else(PoisonError::into_inner) {
            waker.wake_by_ref();
        }
    }
}

/// A connection that is watched.
pub struct Wire<T> {
    inner: T,
    state: Arc<WireState>,
    patience: Patience,
    scan: Scan,
    /// Made when first needed, moved on only when it fires.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<T> Wire<T> {
    /// Watches `inner`.
    pub fn new(inner: T, state: Arc<WireState>, patience: Patience) -> Wire<T> {
        Wire { inner, state, patience, scan: Scan::default(), timer: None }
    }

    /// How long the present silence may last, and what it is called when it has lasted too long.
    fn deadline(&self) -> Option<Instant> {
        let state = &self.state;
        if !state.is_idle() {
            return None;
        }
        let patience = if state.in_head.load(Relaxed) { self.patience.header } else { self.patience.keep_alive };
        Some(state.base + Duration::from_nanos(state.since.load(Relaxed)) + patience)
    }

    /// Ready when the client has been silent for too long.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(deadline) = self.deadline() else { return Poll::Pending };
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            // A timer that is set too early fires and is set anew; one that is set too late is moved.
            if timer.deadline() > deadline {
                timer.as_mut().reset(deadline);
            }
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.state.has_interim.load(Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let mut waiting = self.state.interim.lock().unwrap_or_else(PoisonError::into_inner);
        while !waiting.is_empty() {
            let n = ready!(Pin::new(&mut self.inner).poll_write(cx, &waiting))?;
            waiting.drain(..n);
        }
        self.state.has_interim.store(false, Relaxed);
        Pin::new(&mut self.inner).poll_flush(cx)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // Nothing else may be written before it; whether it went out at once does not matter to the reader.
        if let Poll::Ready(Err(error)) = this.poll_interim(cx) {
            return Poll::Ready(Err(error));
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                let fresh = &buf.filled()[before..];
                let state = &this.state;
                state.received.fetch_add(fresh.len() as u64, Relaxed);
                if !fresh.is_empty() && !state.http2.load(Relaxed) && state.is_idle() {
                    if !state.in_head.load(Relaxed) {
                        state.in_head.store(true, Relaxed);
                        state.silent_since(Instant::now());
                        this.scan = Scan::default();
                    }
                    match this.scan.feed(fresh) {
                        Scanned::Nothing => {}
                        Scanned::Http2 => {
                            state.http2.store(true, Relaxed);
                            state.in_head.store(false, Relaxed);
                        }
                        Scanned::Fault(fault) => {
                            let place = FAULTS.iter().position(|&known| known == fault).unwrap_or(0);
                            state.fault.store(place as u8 + 1, Relaxed);
                        }
                    }
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                ready!(this.poll_deadline(cx));
                if this.state.in_head.load(Relaxed) && !this.state.http2.load(Relaxed) {
                    // The library would close without a word.
                    const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\nx-evenkeel-reason: header_timeout\r\n\r\n";
                    let _ = Pin::new(&mut this.inner).poll_write(cx, TOO_SLOW);
                    let _ = Pin::new(&mut this.inner).poll_flush(cx);
                }
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.poll_interim(cx))?;
        let n = ready!(Pin::new(&mut this.inner).poll_write(cx, buf))?;
        this.state.sent.fetch_add(n as u64, Relaxed);
        Poll::Ready(Ok(n))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.poll_interim(cx))?;
        let n = ready!(Pin::new(&mut this.inner).poll_write_vectored(cx, bufs))?;
        this.state.sent.fetch_add(n as u64, Relaxed);
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_interim(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// What a look at some bytes of a head found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scanned {
    Nothing,
    /// The preface of HTTP/2: no lines to look at.
    Http2,
    Fault(&'static str),
}

/// Looks at heads as they come, in pieces of any size; allocates nothing and keeps the first bytes of a line only.
#[derive(Debug)]
struct Scan {
    /// The beginning of the present line, lower case: as much as the longest name of interest needs.
    start: [u8; 24],
    /// Bytes of the present line so far.
    len: usize,
    /// The last byte was a CR.
    cr: bool,
    /// Lines of the present head so far.
    lines: u32,
    /// A colon was seen in the present line.
    colon: bool,
    last: u8,
    content_length: u32,
    transfer_encoding: bool,
    /// The head had a body behind it, so that what comes next is not known to be a head.
    over: bool,
}

impl Default for Scan {
    fn default() -> Scan {
        Scan {
            start: [0; 24],
            len: 0,
            cr: false,
            lines: 0,
            colon: false,
            last: 0,
            content_length: 0,
            transfer_encoding: false,
            over: false,
        }
    }
}

impl Scan {
    fn feed(&mut self, mut bytes: &[u8]) -> Scanned {
        let mut found = Scanned::Nothing;
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.over {
                break;
            }
            bytes = rest;
            if byte == b'\n' {
                if !self.cr {
                    found = Scanned::Fault("bare_lf");
                }
                match self.line() {
                    Scanned::Nothing => {}
                    Scanned::Http2 => return Scanned::Http2,
                    fault => found = fault,
                }
                (self.len, self.cr, self.colon) = (0, false, false);
                continue;
            }
            if self.cr {
                found = Scanned::Fault("bare_cr");
            }
            self.cr = byte == b'\r';
            if self.cr {
                continue;
            }
            if byte == 0 {
                found = Scanned::Fault("nul");
            }
            if !self.colon && self.lines > 0 {
                if byte == b':' {
                    self.colon = true;
                    if matches!(self.last, b' ' | b'\t') {
                        found = Scanned::Fault("space_before_colon");
                    }
                }
                self.last = byte;
            }
            if self.len < self.start.len() {
                self.start[self.len] = byte.to_ascii_lowercase();
            }
            self.len += 1;
        }
        found
    }

    /// The end of a line.
    fn line(&mut self) -> Scanned {
        let start = &self.start[..self.len.min(self.start.len())];
        if self.len == 0 {
            if self.lines == 0 {
                // Empty lines before a request are skipped (RFC 9112, 2.2).
                return Scanned::Nothing;
            }
            // With a body, where the next head begins is the library's knowledge; without, it is here.
            self.over = self.transfer_encoding || self.content_length > 0;
            (self.lines, self.content_length, self.transfer_encoding) = (0, 0, false);
            return Scanned::Nothing;
        }
        self.lines += 1;
        if self.lines == 1 {
            return if start.starts_with(b"pri * http/2.0") { Scanned::Http2 } else { Scanned::Nothing };
        }
        if matches!(start[0], b' ' | b'\t') {
            return Scanned::Fault("folded_line");
        }
        if start.starts_with(b"content-length:") {
            self.content_length += 1;
            if self.content_length > 1 {
                return Scanned::Fault("content_length_repeated");
            }
        } else if start.starts_with(b"transfer-encoding:") {
            self.transfer_encoding = true;
        }
        if self.transfer_encoding && self.content_length > 0 {
            return Scanned::Fault("length_and_chunked");
        }
        Scanned::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same in one piece and byte by byte.
    fn scan(text: &str) -> Scanned {
        let whole = Scan::default().feed(text.as_bytes());
        let mut scan = Scan::default();
        let mut pieces = Scanned::Nothing;
        for byte in text.bytes() {
            match scan.feed(&[byte]) {
                Scanned::Nothing => {}
                Scanned::Http2 => return Scanned::Http2,
                fault => pieces = fault,
            }
        }
        assert_eq!(whole, pieces, "{text:?}");
        whole
    }

    #[test]
    fn heads_that_could_be_read_in_two_ways_are_found() {
        assert_eq!(scan("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"), Scanned::Nothing);
        for (head, fault) in [
            ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "length_and_chunked"),
            ("TRANSFER-ENCODING: chunked\r\nA: b\r\ncontent-length: 3\r\n", "length_and_chunked"),
            ("Content-Length: 3\r\nContent-Length: 3\r\n", "content_length_repeated"),
            ("A: b\n", "bare_lf"),
            ("A: b\r\n c\r\n", "folded_line"),
            ("A: b\rc\r\n", "bare_cr"),
            ("A: b\0c\r\n", "nul"),
            ("Content-Length : 3\r\n", "space_before_colon"),
        ] {
            let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{head}\r\n");
            assert_eq!(scan(&text), Scanned::Fault(fault), "{head:?}");
        }
    }

    #[test]
    fn a_second_head_in_the_same_piece_is_seen_when_no_body_lies_between() {
        let two = "GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: x\r\n\r\n";
        assert_eq!(scan(two), Scanned::Fault("length_and_chunked"));
        let body = "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\na: b\nc:\rd";
        assert_eq!(scan(body), Scanned::Nothing, "a body is nobody's business");
        assert_eq!(scan("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0"), Scanned::Http2);
    }
}
