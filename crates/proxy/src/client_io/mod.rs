//! A client's connection below HTTP: time-outs while nothing or half a head is there or the client does not read, a strict
//! reading of every head, chunk and trailer section, bytes counted, and interim responses (1xx) written.
//!
//! hyper parses; [`Framing`] reads the same bytes first, and no byte behind the first that it refuses reaches
//! hyper:
//!
//! * In a head, hyper gets `POISON` instead, which makes it refuse that head when its turn comes: requests before it
//!   on the same connection are answered first, then 400, then the connection ends.
//! * In a chunk or a trailer section, hyper gets an error when it has used up what came before. The body breaks off,
//!   the server never sees its end, and the connection ends.
//! * Behind a request that asks to leave HTTP (`Upgrade`), bytes are held back until its response shows what they are.
//!
//! hyper's own refusals of heads do not say why; they are given the proxy's reason header on their way out, and are
//! counted and logged like other responses of the proxy.
//!
//! A connection that ends with a request half read is not closed before the client has seen the response: the kernel would
//! send a reset, which may overtake it (RFC 9112, 9.6).

mod state;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::coalesced_write;
use crate::framing::{Fault, Found, Framing};
use crate::lazy_timeout::{IdleTimer, Timer};
use crate::termination::Reason;
pub use state::{ClientIoState, Refused};

/// Time-outs of a client's connection.
#[derive(Clone, Copy, Debug)]
pub struct ClientTimeouts {
    /// From a head's first byte to its last.
    pub header: Duration,
    /// Without a request.
    pub keep_alive: Duration,
    /// While it does not read what is sent to it.
    pub stall: Duration,
}

/// What hyper is given in place of the rest of a head that is refused. No parser takes it, wherever in a head it stands,
/// and its last bytes make hyper look at the head at once.
const POISON: &[u8] = b"\0\r\n\r\n";

/// A connection that is watched.
pub struct ClientIo<T> {
    inner: T,
    state: Arc<ClientIoState>,
    timeouts: ClientTimeouts,
    framing: Framing,
    /// What was wrong with the bytes, if anything: no more of them are read.
    fault: Option<Fault>,
    /// How many bytes of [`POISON`] hyper has.
    poisoned: usize,
    /// Bytes held back behind a request that asks to leave HTTP, or read before this was made.
    held: Vec<u8>,
    /// The first head in `held` has begun before this was made.
    resumed: bool,
    timer: Timer,
    /// Bytes of the proxy's own that are written before anything else.
    out: Vec<u8>,
    /// hyper has nothing written that is not out: between responses, or before one begins.
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
            resumed: false,
            timer: Timer::default(),
            out: Vec::new(),
            clean: true,
            stall: IdleTimer::default(),
            lingering: None,
        }
    }

    /// Goes on with a connection on which requests were served, or bytes read, before: these bytes come first.
    pub fn resume(
        inner: T,
        state: Arc<ClientIoState>,
        timeouts: ClientTimeouts,
        http2: bool,
        held: Vec<u8>,
    ) -> ClientIo<T> {
        let mut framing = Framing::new(http2);
        framing.count_heads(state.begun.load(Relaxed));
        let resumed = !held.is_empty();
        ClientIo { framing, held, resumed, ..ClientIo::new(inner, state, timeouts, http2) }
    }

    /// How long the present silence may last, and what it is called when it has lasted too long.
    fn deadline(&self) -> Option<Instant> {
        let state = &self.state;
        if !state.is_idle() {
            return None;
        }
        let timeouts = if self.framing.in_head() { self.timeouts.header } else { self.timeouts.keep_alive };
        Some(state.quiet_since() + timeouts)
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
    fn not_stalled<V>(&mut self, written: Poll<io::Result<V>>, cx: &mut Context<'_>) -> Poll<io::Result<V>> {
        if written.is_pending() {
            let most = self.timeouts.stall;
            ready!(self.stall.poll(most, cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.stall.reset();
        written
    }

    /// Writes the proxy's own bytes.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let written = Pin::new(&mut self.inner).poll_write(cx, &self.out);
            let n = ready!(self.not_stalled(written, cx))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.drain(..n);
            self.state.sent.fetch_add(n as u64, Relaxed);
        }
        Poll::Ready(Ok(()))
    }

    /// Whether hyper refuses a head: it does so by itself, without a request, and in bytes of which this knows the
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

    /// Reads what comes next as HTTP/1.1, strictly. What is valid of it stays in `buf`, from `before` on.
    fn judge(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        let state = &self.state;
        let (was_in_head, heads) = (self.framing.in_head(), self.framing.heads());
        let found = self.framing.feed(&buf.filled()[before..]);
        let asterisks = self.framing.take_asterisks();
        if !asterisks.is_empty() {
            state.asterisks.lock().unwrap_or_else(PoisonError::into_inner).extend(asterisks);
            state.has_asterisks.store(true, Relaxed);
        }
        let begins = heads != self.framing.heads() || !was_in_head && self.framing.in_head();
        let known = std::mem::take(&mut self.resumed);
        if !known && state.is_idle() && (begins || !was_in_head && matches!(found, Found::Fault(..))) {
            state.silent_since(Instant::now());
        }
        match found {
            Found::Nothing => {}
            Found::Http2 => state.http2.store(true, Relaxed),
            Found::Undecided(valid) => {
                // Before what was held back already, of which these may be a part.
                self.held.splice(0..0, buf.filled()[before + valid..].iter().copied());
                state.holds.store(true, Relaxed);
                buf.set_filled(before + valid);
            }
            Found::Fault(valid, fault) => {
                tracing::debug!(?fault, "refused by its framing");
                self.fault = Some(fault);
                buf.set_filled(before + valid);
                if fault != Fault::Body {
                    self.poison(buf);
                } else if valid == 0 {
                    return Err(io::ErrorKind::InvalidData.into());
                }
            }
        }
        Ok(())
    }

    /// Gives hyper the rest of [`POISON`], as far as there is room.
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
                // The response's beginning wakes the connection.
                return Poll::Pending;
            }
            let mut room = [0; 2048];
            let mut buf = ReadBuf::new(&mut room);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                // The client is gone, or takes nothing for a response: the same as without anything held back.
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            state.received.fetch_add(buf.filled().len() as u64, Relaxed);
            self.held.extend_from_slice(buf.filled());
        }
    }
}

/// The reason for a response of hyper's own: a status line, `connection: close`, `content-length: 0`, a date, no more.
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
                        // hyper would close without a response.
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
        let n = ready!(this.not_stalled(written, cx))?;
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
        let n = ready!(this.not_stalled(written, cx))?;
        this.state.sent.fetch_add(n as u64, Relaxed);
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    /// hyper asks for this only when it has written all it had. That is the one moment at which an interim response
    /// cannot land in the middle of another.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.clean = true;
        if this.state.has_interim.load(Relaxed) {
            this.state.take_interim(&mut this.out);
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
        // Bounded per poll, so that other tasks can run.
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
