//! A client's connection below HTTP: time-outs while nothing or half a head is there or the client does not read, a strict
//! reading of every head, chunk and trailer section, bytes counted, and interim answers (1xx) put on the wire.
//!
//! The library (hyper) parses; [`Framing`] reads the same bytes first, and no byte behind the first that it refuses reaches
//! the library:
//!
//! * In a head, the library gets `POISON` instead, which makes it refuse that head when its turn comes: requests before it
//!   on the same connection are answered first, then 400, then the connection ends.
//! * In a chunk or a trailer section, the library gets an error when it has used up what came before. The body breaks off,
//!   the server never sees its end, and the connection ends.
//! * Behind a request that asks to leave HTTP (`Upgrade`), bytes are held back until its answer shows what they are.
//!
//! The library's own refusals of heads do not say why; they are given the proxy's reason header on their way out, and are
//! counted and logged like other answers of the proxy.
//!
//! A connection that ends with a request half read is not closed before the client has seen the answer: the kernel would
//! send a reset, which may overtake it (RFC 9112, 9.6).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::coalesced_write;
use super::framing::{Fault, Found, Framing};
use super::lazy_timeout::{IdleTimer, Timer};
use super::termination::Reason;

/// What a connection's wire, its task and its requests share. All of them run on one thread; the atomics are here because
/// a connection that leaves HTTP (Upgrade) must be `Send` for the library, and cost nothing more than cells.
pub struct ClientIoState {
    base: Instant,
    /// Requests that are being answered.
    active: AtomicU32,
    /// When the present silence, or the present head, began: nanoseconds from `base`.
    since: AtomicU64,
    /// It speaks HTTP/2.
    http2: AtomicBool,
    /// It has left HTTP.
    tunnel: AtomicBool,
    /// Requests that have begun, and bytes are held back until it is known what they are.
    begun: AtomicU32,
    /// How many had begun when the last final answer did: that is its request's number, from 1.
    answered: AtomicU32,
    holds: AtomicBool,
    /// Numbers of requests to come that are OPTIONS with a URI without path and query, and whether there were any.
    wholes: Mutex<Vec<u32>>,
    has_wholes: AtomicBool,
    /// Interim answers that wait to be written, and whether there are any.
    interim: Mutex<Vec<u8>>,
    has_interim: AtomicBool,
    /// The final answers so far: what is interim to one of them is nothing any more.
    answers: AtomicU32,
    /// The rest of a request is on its way and shall be read before the socket is closed.
    lingers: AtomicBool,
    /// A head that was refused without a request and is not counted and logged yet.
    refused: Mutex<Option<Refused>>,
    has_refused: AtomicBool,
    /// The task that drives the connection.
    waker: Mutex<Option<Waker>>,
    /// It shall end in good order.
    closing: AtomicBool,
    /// It shall end now.
    cut: AtomicBool,
    received: AtomicU64,
    sent: AtomicU64,
    /// Dropped when nobody uses the connection any more, be it a tunnel by then.
    _permit: Box<dyn Send + Sync>,
}

/// Bounds of a client's silence.
#[derive(Clone, Copy, Debug)]
pub struct ClientTimeouts {
    /// From a head's first byte to its last.
    pub header: Duration,
    /// Without a request.
    pub keep_alive: Duration,
    /// While it does not read what is sent to it.
    pub stall: Duration,
}

/// A head that was refused without becoming a request.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Why.
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

/// What the library is given in place of the rest of a head that is refused. No parser takes it, wherever in a head it stands,
/// and its last bytes make the library look at the head at once.
const POISON: &[u8] = b"\0\r\n\r\n";

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
            wholes: Mutex::new(Vec::new()),
            has_wholes: AtomicBool::new(false),
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
        self.has_wholes.load(Relaxed) && {
            let mut wholes = self.wholes.lock().unwrap_or_else(PoisonError::into_inner);
            let at = wholes.iter().position(|&whole| whole == number);
            at.map(|at| wholes.remove(at)).is_some()
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

    /// The connection leaves HTTP with the answer that begins: what the client sends from here on is not read as requests.
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

    fn refuse(&self, reason: Reason, line: &[u8]) {
        let since = self.base + Duration::from_nanos(self.since.load(Relaxed));
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
pub struct ClientIo<T> {
    inner: T,
    state: Arc<ClientIoState>,
    timeouts: ClientTimeouts,
    framing: Framing,
    /// What was wrong with the bytes, if anything: no more of them are read.
    fault: Option<Fault>,
    /// How much of [`POISON`] the library has.
    poisoned: usize,
    /// Bytes held back behind a request that asks to leave HTTP.
    held: Vec<u8>,
    timer: Timer,
    /// Bytes of our own that go before anything else.
    out: Vec<u8>,
    /// The library has nothing written that is not out: between answers, or before one begins.
    clean: bool,
    /// While the client does not read.
    stall: IdleTimer,
    /// Runs after our side was shut.
    lingering: Option<Pin<Box<Sleep>>>,
}

/// After our side was shut, how long to read what the client still sends.
const LINGER: Duration = Duration::from_secs(1);

impl<T> ClientIo<T> {
    /// Watches `inner`, which may speak HTTP/2 only with `http2`.
    pub fn new(inner: T, state: Arc<ClientIoState>, timeouts: ClientTimeouts, http2: bool) -> ClientIo<T> {
        ClientIo {
            inner,
            state,
            timeouts,
            framing: Framing::new(http2),
            fault: None,
            poisoned: 0,
            held: Vec::new(),
            timer: Timer::default(),
            out: Vec::new(),
            clean: true,
            stall: IdleTimer::default(),
            lingering: None,
        }
    }

    /// How long the present silence may last, and what it is called when it has lasted too long.
    fn deadline(&self) -> Option<Instant> {
        let state = &self.state;
        if !state.is_idle() {
            return None;
        }
        let timeouts = if self.framing.in_head() { self.timeouts.header } else { self.timeouts.keep_alive };
        Some(state.base + Duration::from_nanos(state.since.load(Relaxed)) + timeouts)
    }

    /// Ready when the client has been silent for too long.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.deadline() {
            Some(deadline) => self.timer.poll(deadline, cx),
            None => Poll::Pending,
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> ClientIo<T> {
    /// What was written, or whether the client has not read for too long.
    fn patient<V>(&mut self, written: Poll<io::Result<V>>, cx: &mut Context<'_>) -> Poll<io::Result<V>> {
        if written.is_pending() {
            let most = self.timeouts.stall;
            ready!(self.stall.poll(most, cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.stall.reset();
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
        let state = &self.state;
        let waits = self.fault.is_some() || self.framing.in_head() || self.framing.heads() != state.begun.load(Relaxed);
        if !waits || !state.is_idle() || state.is_http2() {
            return false;
        }
        let Some(look) = refusal(bytes) else { return false };
        let reason = if self.fault == Some(Fault::AmbiguousLength) { Reason::AmbiguousLength } else { look };
        self.out.extend_from_slice(&bytes[..bytes.len() - 2]);
        self.out.extend_from_slice(format!("x-evenkeel-reason: {}\r\n\r\n", reason.as_str()).as_bytes());
        state.refuse(reason, self.framing.line());
        state.linger();
        true
    }

    /// Reads what comes next as HTTP/1.1, strictly. What is sound of it stays in `buf`, from `before` on.
    fn judge(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        let state = &self.state;
        let (was_in_head, heads) = (self.framing.in_head(), self.framing.heads());
        let found = self.framing.feed(&buf.filled()[before..]);
        let wholes = self.framing.take_wholes();
        if !wholes.is_empty() {
            state.wholes.lock().unwrap_or_else(PoisonError::into_inner).extend(wholes);
            state.has_wholes.store(true, Relaxed);
        }
        let begins = heads != self.framing.heads() || !was_in_head && self.framing.in_head();
        if state.is_idle() && (begins || !was_in_head && matches!(found, Found::Fault(..))) {
            state.silent_since(Instant::now());
        }
        match found {
            Found::Nothing => {}
            Found::Http2 => state.http2.store(true, Relaxed),
            Found::Undecided(sound) => {
                // Before what was held back already, of which these may be a part.
                self.held.splice(0..0, buf.filled()[before + sound..].iter().copied());
                state.holds.store(true, Relaxed);
                buf.set_filled(before + sound);
            }
            Found::Fault(sound, fault) => {
                tracing::debug!(?fault, "refused by its framing");
                self.fault = Some(fault);
                buf.set_filled(before + sound);
                if fault != Fault::Body {
                    self.poison(buf);
                } else if sound == 0 {
                    return Err(io::ErrorKind::InvalidData.into());
                }
            }
        }
        Ok(())
    }

    /// Gives the library the rest of [`POISON`], as far as there is room.
    fn poison(&mut self, buf: &mut ReadBuf<'_>) {
        let rest = &POISON[self.poisoned..];
        let part = &rest[..rest.len().min(buf.remaining())];
        buf.put_slice(part);
        self.poisoned += part.len();
    }

    /// Reads while it is not known what the bytes are. Ready when it is, or at the end.
    fn poll_hold(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        /// More than this stays in the socket.
        const MOST: usize = 16 * 1024;
        loop {
            let state = &self.state;
            if state.tunnel.load(Relaxed) {
                self.framing.stop();
            } else if state.answered.load(Relaxed) == self.framing.heads() {
                self.framing.resume();
            }
            state.holds.store(self.framing.is_undecided(), Relaxed);
            if !self.framing.is_undecided() {
                return Poll::Ready(Ok(()));
            }
            if self.held.len() >= MOST {
                // The answer's beginning wakes the connection.
                return Poll::Pending;
            }
            let mut room = [0; 2048];
            let mut buf = ReadBuf::new(&mut room);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                // The client is gone, or takes nothing for an answer: the same as without anything held back.
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            state.received.fetch_add(buf.filled().len() as u64, Relaxed);
            self.held.extend_from_slice(buf.filled());
        }
    }
}

/// The reason for an answer of the library's own: a status line, `connection: close`, `content-length: 0`, a date, no more.
fn refusal(bytes: &[u8]) -> Option<Reason> {
    let text = bytes.strip_prefix(b"HTTP/1.1 4")?.strip_suffix(b"\r\n\r\n")?;
    let text = std::str::from_utf8(text).ok()?;
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

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for ClientIo<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        if let Some(fault) = this.fault {
            if fault == Fault::Body {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            if this.poisoned < POISON.len() {
                this.poison(buf);
                return Poll::Ready(Ok(()));
            }
            ready!(this.poll_deadline(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if this.framing.is_undecided() {
            ready!(this.poll_hold(cx))?;
        }
        if !this.held.is_empty() {
            let part = this.held.len().min(buf.remaining());
            buf.put_slice(&this.held[..part]);
            this.held.drain(..part);
            return Poll::Ready(this.judge(buf, before));
        }
        match Pin::new(&mut this.inner).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                let fresh = buf.filled().len() - before;
                this.state.received.fetch_add(fresh as u64, Relaxed);
                if fresh > 0 && !this.state.is_http2() {
                    this.judge(buf, before)?;
                    if buf.filled().len() == before {
                        // All of it is held back; nothing would be the end.
                        return self.poll_read(cx, buf);
                    }
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                ready!(this.poll_deadline(cx));
                if this.framing.in_head() {
                    this.state.refuse(Reason::HeaderTimeout, this.framing.line());
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

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientIo<T> {
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
        let written = coalesced_write::poll_write(Pin::new(&mut this.inner), cx, bufs);
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
