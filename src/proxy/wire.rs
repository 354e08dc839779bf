//! A client's connection below HTTP: time-outs while nothing or half a head is there or the client does not read, a strict
//! look at heads that the HTTP library is lenient about, bytes counted, and interim answers (1xx) put on the wire.
//!
//! The library (hyper) parses; this only watches the bytes go by. What it refuses although RFC 9112 would let a server
//! guess: a head with both Content-Length and Transfer-Encoding (section 6.1: the connection must be closed, since this is
//! how requests are smuggled), Content-Length more than once (6.3), a line that ends without CR (2.2), a folded line (5.2),
//! white space before a colon (5.1). The library reads on, and the request is answered with 400 and the connection closed.
//! A head that comes behind a body in the same piece is not looked at; the library then reads it as the RFC wants: it
//! believes Transfer-Encoding, drops the rest, and closes.
//!
//! The library's own refusals of heads say not why; they are given the proxy's reason header on their way out.
//!
//! A connection that ends with a request half read is not closed before the client has seen the answer: the kernel would
//! send a reset, which may overtake it (RFC 9112, 9.6).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::patience::{Silence, Timer};
use super::pieces;
use super::reason::Reason;

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
    /// The final answers so far: what is interim to one of them is nothing any more.
    answers: AtomicU32,
    /// The rest of a request is on its way and shall be read before the socket is closed.
    lingers: AtomicBool,
    /// Why the last head was refused without a request: one more than the reason's number.
    refused: AtomicU8,
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
    /// While it does not read what is sent to it.
    pub stall: Duration,
}

/// What can be wrong with a head that the library lets pass.
const FAULTS: [&str; 7] =
    ["bare_lf", "bare_cr", "nul", "space_before_colon", "folded_line", "content_length_repeated", "length_and_chunked"];

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
            answers: AtomicU32::new(0),
            lingers: AtomicBool::new(false),
            refused: AtomicU8::new(0),
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

    /// Whether it speaks HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.http2.load(Relaxed)
    }

    /// The number of the answer that is being made.
    pub fn answer(&self) -> u32 {
        self.answers.load(Relaxed)
    }

    /// Has an interim answer written before the final one of this number, if that has not begun. Nothing on HTTP/2, whose
    /// library cannot.
    pub fn interim(&self, answer: u32, head: &[u8]) {
        /// A server that floods its client with these is not indulged.
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

    /// Whether an interim answer waits to be written.
    pub fn has_interim(&self) -> bool {
        self.has_interim.load(Relaxed)
    }

    /// The final answer begins: what was to come before it and was not written is forgotten, and nothing more is taken.
    pub fn begin_answer(&self) {
        if self.is_http2() {
            return;
        }
        self.answers.store(self.answer().wrapping_add(1), Relaxed);
        if self.has_interim.swap(false, Relaxed) {
            self.interim.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    /// When the connection ends, what the client still sends is read for a moment.
    pub fn linger(&self) {
        self.lingers.store(true, Relaxed);
    }

    /// Why a head was refused without becoming a request, if one was.
    pub fn refused(&self) -> Option<Reason> {
        let number = self.refused.load(Relaxed);
        Reason::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    fn refuse(&self, reason: Reason) {
        self.refused.store(u8::try_from(reason as usize + 1).unwrap_or(0), Relaxed);
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
    timer: Timer,
    /// Bytes of our own that go before anything else.
    out: Vec<u8>,
    /// The library has nothing written that is not out: between answers, or before one begins.
    clean: bool,
    /// While the client does not read.
    stall: Silence,
    /// Runs after our side was shut.
    lingering: Option<Pin<Box<Sleep>>>,
}

/// After our side was shut, how long to read what the client still sends.
const LINGER: Duration = Duration::from_secs(1);

impl<T> Wire<T> {
    /// Watches `inner`.
    pub fn new(inner: T, state: Arc<WireState>, patience: Patience) -> Wire<T> {
        Wire {
            inner,
            state,
            patience,
            scan: Scan::default(),
            timer: Timer::default(),
            out: Vec::new(),
            clean: true,
            stall: Silence::default(),
            lingering: None,
        }
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
        match self.deadline() {
            Some(deadline) => self.timer.poll(deadline, cx),
            None => Poll::Pending,
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    /// What was written, or whether the client has not read for too long.
    fn patient<V>(&mut self, written: Poll<io::Result<V>>, cx: &mut Context<'_>) -> Poll<io::Result<V>> {
        if written.is_pending() {
            let most = self.patience.stall;
            ready!(self.stall.poll(most, cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.stall.broken();
        written
    }

    /// Writes what is our own.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let written = Pin::new(&mut self.inner).poll_write(cx, &self.out);
            let n = ready!(self.patient(written, cx))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.drain(..n);
            self.state.sent.fetch_add(n as u64, Relaxed);
        }
        Poll::Ready(Ok(()))
    }

    /// Whether the library refuses a head: it does so by itself, without a request, and in bytes of which this knows the
    /// look. Then the same with the reason goes out.
    fn explain(&mut self, bytes: &[u8]) -> bool {
        if !self.state.in_head.load(Relaxed) || !self.state.is_idle() || self.state.is_http2() {
            return false;
        }
        let Some(reason) = refusal(bytes) else { return false };
        self.out.extend_from_slice(&bytes[..bytes.len() - 2]);
        self.out.extend_from_slice(format!("x-evenkeel-reason: {}\r\n\r\n", reason.word()).as_bytes());
        self.state.refuse(reason);
        self.state.linger();
        true
    }
}

/// The reason for an answer of the library's own: a status line, `connection: close`, `content-length: 0`, a date, no more.
fn refusal(bytes: &[u8]) -> Option<Reason> {
    let text = std::str::from_utf8(bytes).ok()?.strip_prefix("HTTP/1.1 4")?.strip_suffix("\r\n\r\n")?;
    let mut lines = text.split("\r\n");
    let status = lines.next()?;
    let (mut closes, mut empty) = (false, false);
    for line in lines {
        match line {
            "connection: close" => closes = true,
            "content-length: 0" => empty = true,
            date if date.starts_with("date: ") => {}
            _ => return None,
        }
    }
    match status.get(..2)? {
        _ if !closes || !empty => None,
        "00" => Some(Reason::BadRequest),
        "14" => Some(Reason::UriTooLong),
        "31" => Some(Reason::HeaderTooLarge),
        _ => None,
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                let fresh = &buf.filled()[before..];
                let state = &this.state;
                state.received.fetch_add(fresh.len() as u64, Relaxed);
                if !fresh.is_empty() && !state.is_http2() && state.is_idle() {
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
                if this.state.in_head.load(Relaxed) && !this.state.is_http2() {
                    this.state.refuse(Reason::HeaderTimeout);
                    if this.clean && this.out.is_empty() {
                        // The library would close without a word.
                        const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\
                            content-length: 0\r\nx-evenkeel-reason: header_timeout\r\n\r\n";
                        let _ = Pin::new(&mut this.inner).poll_write(cx, TOO_SLOW);
                        let _ = Pin::new(&mut this.inner).poll_flush(cx);
                    }
                }
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.poll_out(cx))?;
        if this.explain(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        this.clean = false;
        let written = Pin::new(&mut this.inner).poll_write(cx, buf);
        let n = ready!(this.patient(written, cx))?;
        this.state.sent.fetch_add(n as u64, Relaxed);
        Poll::Ready(Ok(n))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.poll_out(cx))?;
        if let [only] = bufs
            && this.explain(only)
        {
            return Poll::Ready(Ok(only.len()));
        }
        this.clean = false;
        let written = pieces::poll_write(Pin::new(&mut this.inner), cx, bufs);
        let n = ready!(this.patient(written, cx))?;
        this.state.sent.fetch_add(n as u64, Relaxed);
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    /// The library asks for this only when it has written all it had. That is the one moment at which an interim answer
    /// cannot land in the middle of another.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.clean = true;
        if this.state.has_interim.load(Relaxed) {
            this.out.append(&mut this.state.interim.lock().unwrap_or_else(PoisonError::into_inner));
            this.state.has_interim.store(false, Relaxed);
        }
        ready!(this.poll_out(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.poll_out(cx))?;
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
            if !this.state.lingers.load(Relaxed) {
                return Poll::Ready(Ok(()));
            }
        }
        let lingering = this.lingering.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut rubbish = [0; 4096];
        // Some at a time: others want their turn.
        for _ in 0..16 {
            let mut buf = ReadBuf::new(&mut rubbish);
            match Pin::new(&mut this.inner).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    ready!(lingering.as_mut().poll(cx));
                    return Poll::Ready(Ok(()));
                }
            }
        }
        if lingering.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
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
#[derive(Debug, Default)]
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

impl Scan {
    fn feed(&mut self, mut bytes: &[u8]) -> Scanned {
        let mut found = Scanned::Nothing;
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.over {
                break;
            }
            bytes = rest;
            if byte == b'\n' {
                // The first byte of all may be the other half of an end of line that came with what was before.
                if !self.cr && (self.len > 0 || self.lines > 0) {
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
    fn the_librarys_refusals_are_known_by_their_look() {
        let date = "date: Sun, 06 Nov 1994 08:49:37 GMT";
        let answer = |status: &str, more: &str| {
            format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n{more}{date}\r\n\r\n")
        };
        let of = |text: String| refusal(text.as_bytes());
        assert_eq!(of(answer("400 Bad Request", "")), Some(Reason::BadRequest));
        assert_eq!(of(answer("414 URI Too Long", "")), Some(Reason::UriTooLong));
        assert_eq!(of(answer("431 Request Header Fields Too Large", "")), Some(Reason::HeaderTooLarge));
        assert_eq!(of(answer("404 Not Found", "")), None);
        assert_eq!(of(answer("400 Bad Request", "via: 1.1 evenkeel\r\n")), None, "a server's");
        assert_eq!(of(answer("400 Bad Request", "") + "x"), None);
    }

    #[test]
    fn a_second_head_in_the_same_piece_is_seen_when_no_body_lies_between() {
        let two =
            "GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: x\r\n\r\n";
        assert_eq!(scan(two), Scanned::Fault("length_and_chunked"));
        let body = "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\na: b\nc:\rd";
        assert_eq!(scan(body), Scanned::Nothing, "a body is nobody's business");
        assert_eq!(scan("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0"), Scanned::Http2);
    }
}
