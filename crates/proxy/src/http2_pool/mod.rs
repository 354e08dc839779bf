//! HTTP/2 connections to one server, shared by the requests of one shard.
//!
//! hyper multiplexes; this module chooses the connection of each request and keeps the streams of a connection from stopping
//! each other:
//!
//! * A connection carries at most [`STREAMS`] requests at once, fewer where the server says so
//!   (`SETTINGS_MAX_CONCURRENT_STREAMS`). When all connections are full, another one is opened, up to [`CONNECTIONS`]; when
//!   that bound is reached, the request is refused at once.
//! * The server may always send [`STREAM_WINDOW`] bytes on each of them, whatever the others have not taken: the window of the
//!   connection is larger than those of its streams together (RFC 9113, 5.2). A response that its client does not take holds
//!   that much at most, and a connection `STREAMS * STREAM_WINDOW` bytes.
//! * An upload that the server does not take may have used up the server's window for the connection, which all uploads share.
//!   Requests go to another connection while an upload has been waiting for longer than `STALL`.
//! * One dial serves all requests that wait for it: a new connection counts for as many streams as the last one had.

mod monitor;
mod upload;

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::client::conn::http2;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use crate::body::UpBody;
use crate::upstream_error::{ConnectError, SendError};
use monitor::{Monitor, Peer, Spawner, UNKNOWN};
use upload::{Upload, UploadState};

/// Requests at once on a connection. RFC 9113, 6.5.2, advises servers to allow no fewer than this.
pub const STREAMS: usize = 100;

/// Connections to one server that a shard gives requests to. With [`STREAMS`] on each: 10,000 requests at once.
pub const CONNECTIONS: usize = 100;

/// Bytes of a response that the server may send ahead of the client.
pub const STREAM_WINDOW: u32 = 128 * 1024;

/// The receive window of a connection. The windows of its streams, 12.5 MiB, are what bounds the content that is held. hyper
/// allows half of this value for the overhead of small frames (256 bytes each) and ends the connection beyond that, so
/// a value of just 12.5 MiB would let a few clients that do not take responses in small pieces end it for all others.
const CONNECTION_WINDOW: u32 = 128 * 1024 * 1024;
const _: () = assert!(CONNECTION_WINDOW as usize >= STREAMS * STREAM_WINDOW as usize);

/// Bytes of an upload that are held for the socket, for each stream. hyper's default is 1 MiB.
const SEND_BUFFER: usize = 64 * 1024;

/// How often a connection with requests is pinged, and how long the server may take to acknowledge.
const PING: Duration = Duration::from_secs(10);

/// An upload that the server has not taken for so long may have used up the window of its connection.
const STALL: Duration = Duration::from_millis(500);

/// The connections to a server.
pub struct Http2Pool {
    /// In the order in which they were opened. The first with a free stream is used, so that the last ones become idle.
    connections: RefCell<Vec<Rc<Http2Connection>>>,
    /// Streams whose response is over and whose upload is not, with the time of the response's end.
    unfinished: RefCell<Vec<(StreamGuard, Instant)>>,
    /// Connections being opened: from the dial to the server's SETTINGS.
    dials: Cell<usize>,
    /// Requests that wait for a stream.
    waiting: Cell<usize>,
    /// Streams of the connection whose SETTINGS came last, at most [`STREAMS`].
    expected: Cell<usize>,
    /// Dials that failed, and why the last one did.
    failures: Cell<u64>,
    failure: RefCell<Option<ConnectError>>,
    /// A stream has become free, or a dial is over.
    changed: Notify,
    keep_alive: Cell<Duration>,
    most_idle: Cell<usize>,
}

struct Http2Connection {
    sender: http2::SendRequest<Upload>,
    monitor: Rc<Monitor>,
    pool: Weak<Http2Pool>,
    /// Requests on it.
    streams: Cell<usize>,
    /// Lowered while the server refuses more than this.
    cap: Cell<usize>,
    idle_since: Cell<Instant>,
}

/// One stream of a connection, counted until this is dropped. Dropping it ends what is left of the upload.
pub struct StreamGuard {
    connection: Rc<Http2Connection>,
    upload: Option<Rc<UploadState>>,
    refused: bool,
}

/// A request that waits for a stream.
pub struct Ticket<'a> {
    pool: &'a Http2Pool,
    failures: u64,
}

/// A connection that is being opened.
pub struct Dial(Weak<Http2Pool>);

/// What a request that needs a stream should do.
pub enum Step {
    /// Use this stream.
    Send(StreamGuard),
    /// Open a connection.
    Dial(Dial),
    /// Wait until a stream is free or a dial has ended.
    Wait,
    /// Fail with this error.
    Fail(ConnectError),
}

impl Http2Pool {
    /// A pool without connections. `keep_alive` is how long an idle connection is kept, `most_idle` how many of them.
    pub fn new(keep_alive: Duration, most_idle: usize) -> Rc<Http2Pool> {
        Rc::new(Http2Pool {
            connections: RefCell::default(),
            unfinished: RefCell::default(),
            dials: Cell::new(0),
            waiting: Cell::new(0),
            expected: Cell::new(STREAMS),
            failures: Cell::new(0),
            failure: RefCell::default(),
            changed: Notify::new(),
            keep_alive: Cell::new(keep_alive),
            most_idle: Cell::new(most_idle),
        })
    }

    /// Replaces the settings that [`Http2Pool::new`] takes.
    pub fn set_limits(&self, keep_alive: Duration, most_idle: usize) {
        self.keep_alive.set(keep_alive);
        self.most_idle.set(most_idle);
    }

    /// Gives no more requests to the present connections. Each closes when its last request is over.
    pub fn forget(&self) {
        drop(self.connections.take());
    }

    /// Closes connections that have been idle, and uploads that have been left unfinished, for longer than `keep_alive`.
    pub fn sweep(&self, now: Instant) {
        let keep_alive = self.keep_alive.get();
        let unfinished = &mut *self.unfinished.borrow_mut();
        unfinished.retain(|(stream, since)| stream.is_uploading() && now.duration_since(*since) <= keep_alive);
        self.connections.borrow_mut().retain(|one| {
            let idle = one.streams.get() == 0 && now.duration_since(one.idle_since.get()) > keep_alive;
            !one.is_closed() && !idle
        });
    }

    /// A free stream of an open connection on which no upload is stalled.
    pub fn take(&self) -> Option<StreamGuard> {
        self.find(|one| !one.is_stalled())
    }

    fn find(&self, suits: impl Fn(&Http2Connection) -> bool) -> Option<StreamGuard> {
        let connections = self.connections.borrow();
        let keep_alive = self.keep_alive.get();
        let found = connections.iter().find(|one| one.is_free(keep_alive) && suits(one))?;
        Some(StreamGuard::new(found))
    }

    /// Counts a request as waiting.
    pub fn wait(&self) -> Ticket<'_> {
        self.waiting.set(self.waiting.get() + 1);
        Ticket { pool: self, failures: self.failures.get() }
    }

    /// Ready at the next change after this call.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// What a waiting request should do now.
    pub fn step(self: &Rc<Self>, ticket: &Ticket<'_>) -> Step {
        if let Some(stream) = self.take() {
            return Step::Send(stream);
        }
        let dials = self.dials.get();
        let failed = ticket.failures != self.failures.get();
        if !failed && self.waiting.get() > dials * self.expected.get() {
            let open = {
                let mut connections = self.connections.borrow_mut();
                connections.retain(|one| !one.is_closed());
                connections.len()
            };
            if open + dials < CONNECTIONS {
                self.dials.set(dials + 1);
                return Step::Dial(Dial(Rc::downgrade(self)));
            }
        }
        if dials > 0 {
            return Step::Wait;
        }
        if let Some(stream) = self.find(|_| true) {
            return Step::Send(stream);
        }
        match &*self.failure.borrow() {
            Some(error) if failed => Step::Fail(error.copy()),
            _ => Step::Fail(ConnectError::NoStream),
        }
    }

    /// A dial failed: requests that waited for it fail, too.
    pub fn failed(&self, error: &ConnectError) {
        *self.failure.borrow_mut() = Some(error.copy());
        self.failures.set(self.failures.get() + 1);
        self.changed.notify_waiters();
    }

    /// Speaks HTTP/2 on this socket and takes the first stream. With `share` other requests may use the connection.
    pub async fn open<T>(
        self: &Rc<Self>,
        socket: T,
        header_bytes: usize,
        dial: Dial,
        share: impl FnOnce() -> bool,
    ) -> Result<StreamGuard, ConnectError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let monitor = Rc::new(Monitor::new(Rc::downgrade(self), dial));
        let (sender, connection) = http2::Builder::new(Spawner(Rc::clone(&monitor)))
            .timer(TokioTimer::new())
            // Without pings, a connection to a vanished server would stay open and fail every request until the kernel gives
            // up.
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .initial_max_send_streams(UNKNOWN)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(u32::try_from(header_bytes).unwrap_or(u32::MAX))
            .handshake(TokioIo::new(socket))
            .await?;
        let connection = Rc::new(RefCell::new(connection));
        let peer: Rc<dyn Peer> = connection.clone();
        let _ = monitor.peer.set(Rc::downgrade(&peer));
        drop(peer);
        tokio::task::spawn_local(std::future::poll_fn(move |cx| {
            Pin::new(&mut *connection.borrow_mut()).poll(cx).map(|_| ())
        }));
        let opened = Rc::new(Http2Connection {
            sender,
            monitor,
            pool: Rc::downgrade(self),
            streams: Cell::new(0),
            cap: Cell::new(usize::MAX),
            idle_since: Cell::new(Instant::now()),
        });
        let stream = StreamGuard::new(&opened);
        if share() {
            self.connections.borrow_mut().push(opened);
        }
        Ok(stream)
    }

    /// Takes back the stream of a response that is complete. If the server has not taken all of the upload, it has
    /// `keep_alive` to do so.
    pub fn give_back(&self, stream: StreamGuard) {
        if stream.is_uploading() {
            self.unfinished.borrow_mut().push((stream, Instant::now()));
        }
    }

    /// Gives no more requests to this connection.
    fn retire(&self, connection: &Rc<Http2Connection>) {
        let mut connections = self.connections.borrow_mut();
        if let Some(at) = connections.iter().position(|one| Rc::ptr_eq(one, connection)) {
            connections.remove(at);
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.pool.waiting.set(self.pool.waiting.get() - 1);
    }
}

impl Drop for Dial {
    fn drop(&mut self) {
        if let Some(pool) = self.0.upgrade() {
            pool.dials.set(pool.dials.get() - 1);
            pool.changed.notify_waiters();
        }
    }
}

impl Http2Connection {
    fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Whether it can take one more request.
    fn is_free(&self, keep_alive: Duration) -> bool {
        let streams = self.streams.get();
        !self.is_closed()
            && streams < self.cap.get().min(self.monitor.streams())
            && (streams > 0 || self.idle_since.get().elapsed() <= keep_alive)
    }

    fn is_stalled(&self) -> bool {
        let uploads = self.monitor.uploads.borrow();
        uploads.iter().any(|upload| upload.offered.get().is_some_and(|since| since.elapsed() > STALL))
    }
}

impl Drop for Http2Connection {
    fn drop(&mut self) {
        self.monitor.close();
    }
}

impl StreamGuard {
    fn new(connection: &Rc<Http2Connection>) -> StreamGuard {
        connection.streams.set(connection.streams.get() + 1);
        StreamGuard { connection: Rc::clone(connection), upload: None, refused: false }
    }

    /// Sends a request and waits for the head of the response.
    pub async fn send(&mut self, request: Request<UpBody>) -> Result<Response<Incoming>, SendError> {
        let monitor = &self.connection.monitor;
        let upload = if request.body().is_end_stream() { None } else { Some(monitor.upload()) };
        self.upload.clone_from(&upload);
        let meter = upload.map(|state| (state, Rc::clone(monitor)));
        let request = request.map(|inner| Upload::new(inner, meter));
        let mut sender = self.connection.sender.clone();
        match sender.try_send_request(request).await {
            Ok(response) => Ok(response),
            Err(mut failed) => {
                let unsent = failed.take_message().is_some();
                let error = failed.into_error();
                let (refused, leaving) = refusal(&error);
                if let Some(pool) = self.connection.pool.upgrade() {
                    // What the server allows is unknown, but it allows no more than the others that are there now.
                    let others = self.connection.streams.get() - 1;
                    if unsent || leaving || refused && others == 0 {
                        pool.retire(&self.connection);
                    } else if refused {
                        self.connection.cap.set(others);
                        self.refused = true;
                    }
                }
                Err(SendError { error: error.into(), unsent: unsent || refused || leaving })
            }
        }
    }

    /// Whether some of the request's body has not been taken yet.
    fn is_uploading(&self) -> bool {
        self.upload.as_ref().is_some_and(|upload| !upload.over.get())
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        if let Some(upload) = &self.upload {
            upload.abort();
        }
        let connection = &self.connection;
        let left = connection.streams.get() - 1;
        connection.streams.set(left);
        if !self.refused {
            connection.cap.set(usize::MAX);
        }
        let Some(pool) = connection.pool.upgrade() else { return };
        if left == 0 {
            connection.idle_since.set(Instant::now());
            let idle = pool.connections.borrow().iter().filter(|one| one.streams.get() == 0).count();
            // A server that has not sent its SETTINGS in all that time is not there.
            if idle > pool.most_idle.get() || connection.monitor.said() == UNKNOWN {
                pool.retire(connection);
            }
        }
        if pool.waiting.get() > 0 {
            pool.changed.notify_waiters();
        }
    }
}

/// Whether the server reported that it did not process the request (RFC 9113, 8.7): by refusing the stream, or by a GOAWAY
/// below it.
fn refusal(error: &hyper::Error) -> (bool, bool) {
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = source {
        if let Some(h2) = error.downcast_ref::<h2::Error>() {
            return (h2.reason() == Some(h2::Reason::REFUSED_STREAM), h2.is_go_away() && h2.is_remote());
        }
        source = error.source();
    }
    (false, false)
}
