//! Time-outs of responses that are on their way to a client.
//!
//! They cannot run inside the body. The HTTP library polls a body only while its client takes data, so a client that takes
//! nothing would hold a server's connection, and its place below the server's limit, for as long as it likes. Each shard
//! keeps its open responses in one table and looks at all of them every [`SWEEP`]: a time-out costs a request one entry in a
//! table and no timer, and fires at most [`SWEEP`] late.
//!
//! A response waits either for the server (the body was polled and had nothing) or for the client (the last piece has not
//! been taken). `timeouts.idle` limits each wait, `timeouts.total` all of them together. Which of the two it was decides
//! whose fault the time-out is: only the server's counts against the server.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use slab::Slab;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::body::RequestBody;
use super::client_io::ClientIoState;

/// From one look at the open responses to the next.
pub const SWEEP: Duration = Duration::from_millis(100);

/// How long a body may take to end itself after its time-out before its stream or connection is ended for it.
const GRACE: Duration = Duration::from_secs(1);

/// The side that a response waited for when it timed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The server sent nothing.
    Server,
    /// The client took nothing, or had not sent its request to the end.
    Client,
}

/// The task that answers one HTTP/2 request. hyper makes it; ending it resets the stream and leaves the others alone.
pub type StreamTask = Rc<Cell<Option<AbortHandle>>>;

/// What the time-outs of one response need to know.
pub struct ResponseTimer {
    /// When the head was passed on.
    began: Instant,
    idle: Duration,
    until: Option<Instant>,
    client_io: Arc<ClientIoState>,
    /// `None` on HTTP/1.1, where the whole connection ends.
    stream: Option<StreamTask>,
    request: RequestBody,
    waits_for: Cell<Side>,
    /// When the present wait began, or was last seen to make progress.
    since: Cell<Instant>,
    /// Time spent waiting for the server so far, the present wait not included.
    server_time: Cell<Duration>,
    /// Bytes of the request's body and bytes on the client's connection at the last sweep.
    seen: Cell<(u64, u64)>,
    waker: RefCell<Option<Waker>>,
    expired: Cell<Option<(Side, Instant)>>,
}

/// The open responses of a shard.
pub struct ResponseTimers {
    open: RefCell<Slab<Rc<ResponseTimer>>>,
    /// The time of the last look: close enough for waits that are limited to within [`SWEEP`].
    now: Cell<Instant>,
}

/// A response's place in the table, left when this is dropped.
pub struct Timed {
    timer: Rc<ResponseTimer>,
    timers: Rc<ResponseTimers>,
    key: usize,
}

/// What a response's time-outs are made of.
pub struct Limits {
    /// `timeouts.idle`: the longest wait for either side.
    pub idle: Duration,
    /// From `timeouts.total`: when the whole response must be over.
    pub until: Option<Instant>,
}

impl ResponseTimers {
    /// No responses yet.
    pub fn new(now: Instant) -> Rc<ResponseTimers> {
        Rc::new(ResponseTimers { open: RefCell::default(), now: Cell::new(now) })
    }

    /// Enters a response. It counts as waiting for the client until a poll of its body is pending.
    pub fn enter(
        self: &Rc<Self>,
        limits: Limits,
        client_io: Arc<ClientIoState>,
        stream: Option<StreamTask>,
        request: RequestBody,
    ) -> Timed {
        let now = self.now.get();
        let timer = Rc::new(ResponseTimer {
            began: now,
            idle: limits.idle,
            until: limits.until,
            seen: Cell::new((request.received(), client_io.bytes().1)),
            client_io,
            stream,
            request,
            waits_for: Cell::new(Side::Client),
            since: Cell::new(now),
            server_time: Cell::default(),
            waker: RefCell::default(),
            expired: Cell::new(None),
        });
        let key = self.open.borrow_mut().insert(Rc::clone(&timer));
        Timed { timer, timers: Rc::clone(self), key }
    }

    /// Looks at all open responses and ends those whose time is up.
    pub fn sweep(&self, now: Instant) {
        self.now.set(now);
        for (_, timer) in &*self.open.borrow() {
            timer.look(now);
        }
    }
}

impl Timed {
    /// The body was polled and the server had nothing for it.
    pub fn waits_for_server(&self, waker: &Waker) {
        let timer = &self.timer;
        if timer.waits_for.replace(Side::Server) == Side::Client {
            timer.since.set(self.timers.now.get());
        }
        match &mut *timer.waker.borrow_mut() {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// A piece goes on to the client.
    pub fn waits_for_client(&self) {
        let (timer, now) = (&self.timer, self.timers.now.get());
        if timer.waits_for.replace(Side::Client) == Side::Server {
            timer.server_time.set(timer.server_time.get() + now.saturating_duration_since(timer.since.get()));
        }
        timer.since.set(now);
    }

    /// The side that caused the time-out; `None` if there is none yet.
    pub fn expired(&self) -> Option<Side> {
        self.timer.expired.get().map(|(side, _)| side)
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        self.timers.open.borrow_mut().remove(self.key);
    }
}

impl ResponseTimer {
    fn look(&self, now: Instant) {
        if let Some((_, at)) = self.expired.get() {
            // The body was woken and has not ended: hyper waits for room to write.
            if now.saturating_duration_since(at) >= GRACE {
                self.end();
            }
            return;
        }
        let Some(side) = self.verdict(now) else { return };
        self.expired.set(Some((side, now)));
        match self.waits_for.get() {
            // What the server has sent goes out; then the body fails.
            Side::Server => {
                if let Some(waker) = self.waker.take() {
                    waker.wake();
                }
            }
            Side::Client => self.end(),
        }
    }

    /// The side whose wait has timed out.
    fn verdict(&self, now: Instant) -> Option<Side> {
        let waits_for = self.waits_for.get();
        let (received, sent) = (self.request.received(), self.client_io.bytes().1);
        let (received_before, sent_before) = self.seen.replace((received, sent));
        // On HTTP/2 the connection's bytes may belong to another stream; there a piece is small, and taking one is
        // progress.
        let moved = match waits_for {
            Side::Server => received != received_before,
            Side::Client => self.stream.is_none() && sent != sent_before,
        };
        if moved {
            if waits_for == Side::Server {
                self.server_time.set(self.server_time.get() + now.saturating_duration_since(self.since.get()));
            }
            self.since.set(now);
        }
        let waited = now.saturating_duration_since(self.since.get());
        // A server may wait for the rest of the request before it goes on.
        let of_server = waits_for == Side::Server && self.request.is_over();
        if self.until.is_some_and(|until| until <= now) {
            let server_time = self.server_time.get() + waited;
            let mostly = server_time * 2 >= now.saturating_duration_since(self.began);
            return Some(if of_server && mostly { Side::Server } else { Side::Client });
        }
        // `since` may be a sweep older than what it stands for: never early.
        (waited >= self.idle + SWEEP / 2).then_some(if of_server { Side::Server } else { Side::Client })
    }

    /// Ends the stream, or the connection where that is all there is.
    fn end(&self) {
        match &self.stream {
            None => self.client_io.cut(),
            Some(task) => {
                if let Some(task) = task.take() {
                    task.abort();
                }
            }
        }
    }
}
