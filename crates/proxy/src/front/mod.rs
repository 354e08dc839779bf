//! The proxy's own HTTP/1.1 towards clients, for requests that are plain ([`crate::plain`]): in the task of the connection,
//! without a map of fields where none is needed, and without a buffer while the connection is idle.
//!
//! A connection begins here. At the first head that is not plain, or not complete in time, it is handed over to hyper for good,
//! with the bytes that were read in front: refusals, upgrades, expectations, HTTP/1.0 and HTTP/2 are hyper's, and behave
//! as if it had served the connection from its beginning. `EVENKEEL_HTTP1_FRONT=hyper` gives it all connections.
//!
//! Held for a connection are at most [`READ`] bytes of requests, and of a response one piece. Waiting for a head is bounded
//! by `timeouts.header` and `timeouts.keep_alive`, for the client to read by `timeouts.idle`.

mod body;
mod write;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::client_io::{ClientIoState, ClientTimeouts};
use crate::encode::Outgoing;
use crate::forward::{self, Begun, ClientConnection};
use crate::lazy_timeout::{IdleTimer, Timer};
use crate::plain::{self, Found, Limits};
use crate::state::ShardState;
use body::{Read, Reading};
use write::Out;

/// The most that is read at once, bytes.
const READ: usize = 16 * 1024;

thread_local! {
    /// Where all connections of a thread read.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// How a connection leaves.
pub enum Left<T> {
    /// It goes on with hyper, which is given these bytes first.
    HandedOver(T, Vec<u8>),
    /// It is to be shut in good order.
    Shut(T),
    /// It is over.
    Over,
}

/// What comes next on a connection.
enum Next {
    Request(Box<Begun>),
    HandOver,
    Shut,
    Over,
}

/// What all requests of a connection share.
pub struct Shared<'a> {
    /// The shard.
    pub shard: &'a Rc<ShardState>,
    /// The connection's state.
    pub client_io: &'a Arc<ClientIoState>,
    /// The connection as requests see it.
    pub client_connection: &'a ClientConnection,
    /// Its time-outs.
    pub timeouts: ClientTimeouts,
}

/// A client's connection.
struct Front<'a, T> {
    io: T,
    shared: Shared<'a>,
    /// Bytes that were read and not used: a part of a head, or further requests.
    rest: Vec<u8>,
    /// `rest` was looked at, and a head in it is not complete.
    partial: bool,
    timer: Timer,
    stall: IdleTimer,
    out: Out,
    /// The body of the present request, until it is read to its end.
    body: Option<Reading>,
}

/// What came of a look at the client's side while a response is under way.
enum Input {
    /// Some of the request's body was read.
    Read,
    /// The client is gone.
    Gone,
}

/// Serves a connection until it ends or is to be handed over.
pub async fn serve<T: AsyncRead + AsyncWrite + Unpin>(io: T, shared: Shared<'_>) -> Left<T> {
    let mut front = Front {
        io,
        shared,
        rest: Vec::new(),
        partial: false,
        timer: Timer::default(),
        stall: IdleTimer::default(),
        out: Out::default(),
        body: None,
    };
    loop {
        let begun = match poll_fn(|cx| front.poll_next(cx)).await {
            Next::Request(begun) => begun,
            Next::HandOver => return Left::HandedOver(front.io, front.rest),
            Next::Shut => return Left::Shut(front.io),
            Next::Over => return Left::Over,
        };
        let outgoing = {
            let client_connection = front.shared.client_connection;
            let mut answer = pin!(begun.answer(client_connection));
            let answered = poll_fn(|cx| {
                loop {
                    if let Poll::Ready(outgoing) = answer.as_mut().poll(cx) {
                        return Poll::Ready(Some(outgoing));
                    }
                    if let Input::Gone = ready!(front.poll_meanwhile(cx)) {
                        return Poll::Ready(None);
                    }
                }
            });
            match answered.await {
                Some(outgoing) => outgoing,
                None => return Left::Over,
            }
        };
        let Outgoing { head, content, mut body, closes } = outgoing;
        front.out.take(head, content);
        if poll_fn(|cx| front.poll_send(&mut body, cx)).await.is_err() {
            return Left::Over;
        }
        drop(body);
        // What is left of a request's body is not read as the next request.
        if closes || front.body.is_some() {
            return Left::Shut(front.io);
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Front<'_, T> {
    /// Waits for the next head.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if self.shared.client_io.is_cut() {
            return Poll::Ready(Next::Over);
        }
        if self.shared.client_io.is_closing() {
            return Poll::Ready(Next::Shut);
        }
        if !self.rest.is_empty() && !self.partial {
            let rest = std::mem::take(&mut self.rest);
            if let Some(next) = self.look(&rest) {
                return Poll::Ready(next);
            }
        }
        loop {
            let polled = SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                ready!(self.poll_read(&mut buffer, cx))?;
                let fresh = buffer.filled();
                Poll::Ready(Ok::<_, io::Error>(if fresh.is_empty() {
                    Some(if self.rest.is_empty() { Next::Shut } else { Next::HandOver })
                } else if self.rest.is_empty() {
                    self.look(fresh)
                } else {
                    let mut rest = std::mem::take(&mut self.rest);
                    rest.extend_from_slice(fresh);
                    self.look(&rest)
                }))
            });
            match polled {
                Poll::Ready(Ok(Some(next))) => return Poll::Ready(next),
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Next::Over),
                Poll::Pending => {
                    ready!(self.poll_deadline(cx));
                    // A head that is too slow is refused there.
                    return Poll::Ready(if self.rest.is_empty() { Next::Over } else { Next::HandOver });
                }
            }
        }
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timeouts = &self.shared.timeouts;
        let most = if self.rest.is_empty() { timeouts.keep_alive } else { timeouts.header };
        self.timer.poll(self.shared.client_io.quiet_since() + most, cx)
    }

    fn poll_read(&mut self, buffer: &mut ReadBuf<'_>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        self.shared.client_io.count_received(buffer.filled().len());
        Poll::Ready(Ok(()))
    }

    /// What the bytes begin with; `None` if that is a head without its end. Keeps what is not used of them.
    fn look(&mut self, bytes: &[u8]) -> Option<Next> {
        let Shared { shard, client_io, client_connection, .. } = &self.shared;
        let limits = &shard.active_config().config.limits;
        let limits = Limits { bytes: limits.header_bytes as usize, fields: limits.headers as usize };
        let begin = |head: &plain::PlainRequest<'_>| {
            let (begun, feed) = forward::begin(shard, client_io, client_connection, head)?;
            Some((begun, feed.map(|feed| Reading::new(feed, head.content, limits.fields))))
        };
        let (next, used) = match plain::read(bytes, limits, begin) {
            Found::Plain((begun, body), used) => {
                self.body = body;
                (Some(Next::Request(begun)), used)
            }
            Found::Partial => (None, 0),
            Found::Other => (Some(Next::HandOver), 0),
        };
        if !matches!(next, Some(Next::Request(_))) && !std::mem::replace(&mut self.partial, true) {
            // The head begins with these bytes.
            client_io.silent_since(Instant::now());
        }
        self.partial = next.is_none();
        // What has come of the body goes out together with the head.
        self.take_in(&bytes[used..]);
        next
    }

    /// What a connection does while a response is awaited: interim responses go out, the rest of the request comes in, and a
    /// client that is gone is noticed.
    fn poll_meanwhile(&mut self, cx: &mut Context<'_>) -> Poll<Input> {
        let client_io = self.shared.client_io;
        if client_io.is_cut() {
            return Poll::Ready(Input::Gone);
        }
        if client_io.has_interim() {
            client_io.take_interim(self.out.own());
        }
        if !self.out.is_empty() && matches!(self.poll_write(cx), Poll::Ready(Err(_))) {
            return Poll::Ready(Input::Gone);
        }
        self.poll_input(cx)
    }

    /// Reads on in the request's body as far as that is wanted, or else looks whether the client is gone; then further requests
    /// are kept, no more than one buffer of them.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Input> {
        if let Some(body) = &self.body
            && !body.feed().is_wanted(cx)
        {
            return Poll::Pending;
        }
        if !self.rest.is_empty() {
            if self.body.is_none() {
                return Poll::Pending;
            }
            let rest = std::mem::take(&mut self.rest);
            self.take_in(&rest);
            return Poll::Ready(Input::Read);
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            let read = ready!(self.poll_read(&mut buffer, cx));
            let fresh = buffer.filled();
            if read.is_ok() && !fresh.is_empty() {
                let reads = self.body.is_some();
                self.take_in(fresh);
                return if reads { Poll::Ready(Input::Read) } else { Poll::Pending };
            }
            match &self.body {
                None => Poll::Ready(Input::Gone),
                Some(body) => {
                    // The request ends with that, and is answered.
                    body.feed().fail();
                    Poll::Ready(Input::Read)
                }
            }
        })
    }

    /// Takes in bytes that belong to the request's body, and perhaps to further requests.
    fn take_in(&mut self, bytes: &[u8]) {
        let mut used = 0;
        if let Some(body) = &mut self.body
            && !bytes.is_empty()
        {
            let read;
            (used, read) = body.take(bytes);
            match read {
                Read::On => {}
                Read::Over => self.body = None,
                // It stays, so that nothing behind it is read.
                Read::Broken => body.feed().fail(),
            }
        }
        self.rest.extend_from_slice(&bytes[used..]);
    }
}
