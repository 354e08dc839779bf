//! A server as one shard reaches it: its addresses and the connections kept open to it.
//!
//! HTTP/1.1 connections are kept in a stack, the one used last on top, so that those that are not needed grow old and go.
//! HTTP/2 (h2c) connections are shared by all requests of the shard. A request that upgrades has a connection to itself.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::body::UpBody;
use super::metrics::ServerMetrics;
use super::orca;
use super::pieces;
use crate::config::proxy::Protocol;

/// A server's connections and what is known of how to reach it.
pub struct Upstream {
    /// Its name in the pool.
    pub name: String,
    /// What it is counted under.
    pub metrics: Arc<ServerMetrics>,
    /// The load report of its last answer.
    pub last_report: RefCell<orca::Last>,
    addresses: RefCell<Arc<[SocketAddr]>>,
    turn: Cell<usize>,
    idle: RefCell<Vec<Idle>>,
    shared: RefCell<Option<http2::SendRequest<UpBody>>>,
    manner: RefCell<Manner>,
    /// Connections from before are not used again.
    age: Cell<u32>,
    open: Arc<AtomicU32>,
}

/// How a server is spoken to.
#[derive(Clone)]
pub struct Manner {
    /// HTTP/1.1 or HTTP/2.
    pub protocol: Protocol,
    /// TLS and the name the server must prove, if any.
    pub tls: Option<(Arc<rustls::ClientConfig>, rustls::pki_types::ServerName<'static>)>,
    /// For TCP and TLS together.
    pub connect: Duration,
    /// An idle connection older than this is not used any more.
    pub keep_alive: Duration,
    /// Idle connections kept.
    pub most_idle: usize,
    /// Bytes of an answer's head.
    pub header_bytes: usize,
    /// Fields of an answer's head.
    pub headers: usize,
}

/// Fields that an answer's head may have in any case, however few a request may have.
pub const ANSWER_HEADERS: usize = 256;

/// How often an HTTP/2 connection with requests in it is asked whether the other side lives, and how long it may take to say.
const PING: Duration = Duration::from_secs(10);

/// So much of an answer is read at once. The library would read up to six times this, and many connections with long answers
/// keep as much in memory each, for no gain in speed.
const READ_AHEAD: usize = 64 * 1024;

struct Idle {
    sender: http1::SendRequest<UpBody>,
    since: Instant,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address (yet).
    #[error("the server's name has no address")]
    NoAddress,
    /// Refused, unreachable, or TLS failed.
    #[error("cannot connect: {0}")]
    Failed(#[from] io::Error),
    /// The other side does not speak HTTP.
    #[error("cannot connect: {0}")]
    Handshake(#[from] hyper::Error),
    /// It took too long.
    #[error("cannot connect in time")]
    TimedOut,
}

/// A connection on which one request can be sent.
pub enum Connection {
    /// Nobody else uses it.
    Http1 {
        /// Sends.
        sender: http1::SendRequest<UpBody>,
        /// It served requests before: the server may have closed it a moment ago.
        reused: bool,
        /// How old its server's connections are.
        age: u32,
    },
    /// Shared.
    Http2 {
        /// Sends.
        sender: http2::SendRequest<UpBody>,
        /// It was open before.
        reused: bool,
    },
}

/// An HTTP/1.1 connection that a request has to itself, to be given back.
pub struct Loan {
    sender: http1::SendRequest<UpBody>,
    age: u32,
}

/// Why no answer's head came.
#[derive(Debug)]
pub struct SendError {
    /// What happened.
    pub error: hyper::Error,
    /// Nothing of the request can have been acted on: it did not go out, or the server said so.
    pub unsent: bool,
}

impl Upstream {
    /// A server without connections.
    pub fn new(name: &str, addresses: Arc<[SocketAddr]>, manner: Manner, metrics: Arc<ServerMetrics>) -> Upstream {
        Upstream {
            name: name.to_owned(),
            metrics,
            last_report: RefCell::default(),
            addresses: RefCell::new(addresses),
            turn: Cell::new(0),
            idle: RefCell::new(Vec::new()),
            shared: RefCell::new(None),
            manner: RefCell::new(manner),
            age: Cell::new(0),
            open: Arc::new(AtomicU32::new(0)),
        }
    }

    /// Its addresses changed. Connections to addresses that are gone are not used again.
    pub fn set_addresses(&self, addresses: Arc<[SocketAddr]>) {
        let gone = self.addresses.borrow().iter().any(|old| !addresses.contains(old));
        *self.addresses.borrow_mut() = addresses;
        if gone {
            self.forget();
        }
    }

    /// It is spoken to differently from now on.
    pub fn set_manner(&self, manner: &Manner) {
        let old = self.manner.replace(manner.clone());
        // Certificates are read again at each reload; connections that stood on the old ones go.
        if old.protocol != manner.protocol || old.tls.is_some() || manner.tls.is_some() {
            self.forget();
        }
    }

    /// Lets go of all connections: idle ones now, the others when their request is over.
    pub fn forget(&self) {
        self.age.set(self.age.get().wrapping_add(1));
        self.idle.borrow_mut().clear();
        self.shared.borrow_mut().take();
    }

    /// Where it is, the address whose turn it is first.
    pub fn address(&self) -> Option<SocketAddr> {
        let addresses = self.addresses.borrow();
        addresses.get(self.turn.get() % addresses.len().max(1)).copied()
    }

    /// How it is spoken to.
    pub fn manner(&self) -> Manner {
        self.manner.borrow().clone()
    }

    /// Open connections.
    pub fn open(&self) -> u32 {
        self.open.load(Relaxed)
    }

    /// Closes connections that have been idle for too long.
    pub fn sweep(&self, now: Instant) {
        let keep_alive = self.manner.borrow().keep_alive;
        let mut idle = self.idle.borrow_mut();
        // Ascending by age of use: the stack's bottom is the oldest.
        let stale = idle.partition_point(|one| now.duration_since(one.since) > keep_alive);
        idle.drain(..stale);
        idle.retain(|one| !one.sender.is_closed());
    }

    /// A connection that is open already.
    pub fn reuse(&self) -> Option<Connection> {
        if let Some(shared) = &*self.shared.borrow()
            && !shared.is_closed()
        {
            return Some(Connection::Http2 { sender: shared.clone(), reused: true });
        }
        let (keep_alive, age) = (self.manner.borrow().keep_alive, self.age.get());
        loop {
            let Idle { sender, since } = self.idle.borrow_mut().pop()?;
            // One that is not ready still has a request to write that its server does not read: nobody should wait for it.
            if sender.is_ready() && since.elapsed() <= keep_alive {
                self.metrics.reused();
                return Some(Connection::Http1 { sender, reused: true, age });
            }
        }
    }

    /// A new connection. One that is to be upgraded belongs to its request alone and is HTTP/1.1.
    pub async fn connect(&self, upgrade: bool) -> Result<Connection, ConnectError> {
        let (manner, age) = (self.manner(), self.age.get());
        let dial = async {
            let stream = self.dial().await?;
            match &manner.tls {
                None => self.shake_hands(stream, &manner, age, upgrade).await,
                Some((config, name)) => {
                    let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
                    let stream = connector.connect(name.clone(), stream).await?;
                    self.shake_hands(stream, &manner, age, upgrade).await
                }
            }
        };
        timeout(manner.connect, dial).await.unwrap_or(Err(ConnectError::TimedOut))
    }

    async fn dial(&self) -> Result<TcpStream, ConnectError> {
        let addresses = Arc::clone(&self.addresses.borrow());
        let first = self.turn.get();
        self.turn.set(first.wrapping_add(1));
        let mut last = ConnectError::NoAddress;
        for i in 0..addresses.len() {
            match TcpStream::connect(addresses[first.wrapping_add(i) % addresses.len()]).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }

    async fn shake_hands<T>(
        &self,
        stream: T,
        manner: &Manner,
        age: u32,
        upgrade: bool,
    ) -> Result<Connection, ConnectError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(Counted::new(stream, Arc::clone(&self.open), Arc::clone(&self.metrics)));
        if manner.protocol == Protocol::H2c && !upgrade {
            let (sender, connection) = http2::Builder::new(LocalExecutor)
                // A server that has vanished would keep its connection, and fail every request, until the kernel gives up.
                .timer(TokioTimer::new())
                .keep_alive_interval(PING)
                .keep_alive_timeout(PING)
                .max_header_list_size(u32::try_from(manner.header_bytes).unwrap_or(u32::MAX))
                .handshake(io)
                .await?;
            tokio::task::spawn_local(async move {
                let _ = connection.await;
            });
            if age == self.age.get() {
                *self.shared.borrow_mut() = Some(sender.clone());
            }
            return Ok(Connection::Http2 { sender, reused: false });
        }
        let (sender, connection) = http1::Builder::new()
            .max_header_size(manner.header_bytes)
            .max_headers(manner.headers)
            .max_buf_size(READ_AHEAD.max(manner.header_bytes))
            .handshake(io)
            .await?;
        if upgrade {
            tokio::task::spawn_local(async move {
                let _ = connection.with_upgrades().await;
            });
        } else {
            tokio::task::spawn_local(async move {
                let _ = connection.await;
            });
        }
        Ok(Connection::Http1 { sender, reused: false, age })
    }

    /// Takes back a connection whose answer is complete.
    pub fn give_back(&self, Loan { sender, age }: Loan) {
        let mut idle = self.idle.borrow_mut();
        if age == self.age.get() && !sender.is_closed() && idle.len() < self.manner.borrow().most_idle {
            idle.push(Idle { sender, since: Instant::now() });
        }
    }
}

impl Connection {
    /// Sends a request and waits for the head of the answer.
    pub async fn send(&mut self, request: Request<UpBody>) -> Result<Response<Incoming>, SendError> {
        match self {
            Connection::Http1 { sender, .. } => match sender.try_send_request(request).await {
                Ok(response) => Ok(response),
                Err(mut failed) => {
                    let unsent = failed.take_message().is_some();
                    Err(SendError { error: failed.into_error(), unsent })
                }
            },
            Connection::Http2 { sender, .. } => {
                if let Err(error) = poll_fn(|cx| sender.poll_ready(cx)).await {
                    return Err(SendError { error, unsent: true });
                }
                match sender.try_send_request(request).await {
                    Ok(response) => Ok(response),
                    Err(mut failed) => {
                        let unsent = failed.take_message().is_some();
                        let error = failed.into_error();
                        let unsent = unsent || refused(&error);
                        Err(SendError { error, unsent })
                    }
                }
            }
        }
    }

    /// It served requests before.
    pub fn is_reused(&self) -> bool {
        matches!(self, Connection::Http1 { reused: true, .. } | Connection::Http2 { reused: true, .. })
    }

    /// What is to be given back when the answer is over.
    pub fn loan(self) -> Option<Loan> {
        match self {
            Connection::Http1 { sender, age, .. } => Some(Loan { sender, age }),
            Connection::Http2 { .. } => None,
        }
    }
}

/// The server said that it did nothing (RFC 9113, 8.7): a refused stream, or one above a GOAWAY's last.
fn refused(error: &hyper::Error) -> bool {
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = source {
        if let Some(h2) = error.downcast_ref::<h2::Error>() {
            return h2.reason() == Some(h2::Reason::REFUSED_STREAM) || h2.is_go_away() && h2.is_remote();
        }
        source = error.source();
    }
    false
}

/// Spawns on this thread.
#[derive(Clone, Copy, Debug)]
pub struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future<Output: 'static> + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// A connection that is counted while it is open.
struct Counted<T> {
    inner: T,
    open: Arc<AtomicU32>,
    metrics: Arc<ServerMetrics>,
}

impl<T> Counted<T> {
    fn new(inner: T, open: Arc<AtomicU32>, metrics: Arc<ServerMetrics>) -> Counted<T> {
        open.fetch_add(1, Relaxed);
        metrics.opened();
        Counted { inner, open, metrics }
    }
}

impl<T> Drop for Counted<T> {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Relaxed);
        self.metrics.closed();
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        pieces::poll_write(Pin::new(&mut self.inner), cx, bufs)
    }
    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
