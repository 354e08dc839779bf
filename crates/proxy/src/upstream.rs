//! A server as one shard reaches it: its addresses and the connections kept open to it.
//!
//! HTTP/1.1 connections are kept in a stack, the one used last on top, so that those that are not needed become idle
//! and are closed. A connection is closed when its request ends before the connection could serve another one. HTTP/2
//! (h2c) connections are shared ([`super::http2_pool`]). A request that upgrades has an HTTP/1.1 connection to itself.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use hyper::client::conn::http1;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::body::UpBody;
use super::http1_client::{self, Additions, Answer, Lead, RequestHead};
use super::http2_pool::{Dial, Http2Pool, Step, StreamGuard};
use super::metrics::ServerMetrics;
use super::orca;
use super::server_body::ServerBody;
use super::socket::{Counted, Socket};
use super::upstream_error::{ConnectError, SendError};
use evenkeel_config::proxy::Protocol;

/// A server's connections and what is known of how to reach it.
pub struct Upstream {
    /// Its name in the pool.
    pub name: String,
    /// Its metrics.
    pub metrics: Arc<ServerMetrics>,
    /// The load report of its last response.
    pub last_report: RefCell<orca::Last>,
    addresses: RefCell<Arc<[SocketAddr]>>,
    turn: Cell<usize>,
    idle: RefCell<Vec<Idle>>,
    http2: Rc<Http2Pool>,
    settings: RefCell<UpstreamSettings>,
    /// Its responses may have more fields than hyper's default limit, which is faster.
    many_fields: Cell<bool>,
    /// Connections from before are not used again.
    age: Cell<u32>,
    open: Arc<AtomicU32>,
}

/// How to connect to the servers of a pool.
#[derive(Clone)]
pub struct UpstreamSettings {
    /// The protocol: HTTP/1.1 or HTTP/2 (h2c).
    pub protocol: Protocol,
    /// TLS and the name that the server's certificate must be for; `None` on plain text.
    pub tls: Option<(Arc<rustls::ClientConfig>, rustls::pki_types::ServerName<'static>)>,
    /// Longest time to connect, TCP and TLS together: `timeouts.connect`.
    pub connect: Duration,
    /// An idle connection older than this is not used any more: `timeouts.upstream_keep_alive`.
    pub keep_alive: Duration,
    /// Idle connections kept for each server, by each shard: `limits.idle_connections`.
    pub most_idle: usize,
    /// Most bytes of a response's head.
    pub header_bytes: usize,
    /// Most fields of a response's head, at least `RESPONSE_HEADERS`.
    pub headers: usize,
    /// HTTP/1.1 by the proxy's own client side; hyper's otherwise, and where a request upgrades.
    pub own_http1: bool,
}

/// Fields that a response's head may have in any case, however few a request may have.
pub const RESPONSE_HEADERS: usize = 256;

/// So much of a response is read at once. hyper would read up to six times this, and many connections with long responses
/// keep as much in memory each, for no gain in speed.
const READ_AHEAD: usize = 64 * 1024;

struct Idle {
    client: Client,
    since: Instant,
}

/// A connection with what speaks HTTP/1.1 on it. Dropping this closes it.
enum Client {
    Hyper { sender: http1::SendRequest<UpBody>, task: ConnectionTask },
    Own { connection: Rc<http1_client::Connection<Socket>>, upload: ConnectionTask },
}

impl Client {
    /// Whether it may be sent a request. One of hyper's that is not ready still has a request to write that its server does
    /// not read.
    fn is_ready(&self) -> bool {
        match self {
            Client::Hyper { sender, .. } => sender.is_ready(),
            Client::Own { connection, .. } => connection.is_open(),
        }
    }

    /// Whether it is known to be closed.
    fn is_closed(&self) -> bool {
        match self {
            Client::Hyper { sender, .. } => sender.is_closed(),
            Client::Own { connection, .. } => !connection.is_open(),
        }
    }

    /// Whether it may be kept for another request.
    fn is_reusable(&self) -> bool {
        match self {
            Client::Hyper { sender, .. } => !sender.is_closed(),
            Client::Own { connection, .. } => connection.is_reusable(),
        }
    }

    /// Closes it. With a request in it that its server does not read, one of hyper's would never close by itself.
    fn close(self) {
        if let Client::Hyper { sender, mut task } = self
            && sender.is_ready()
        {
            task.detach();
        }
    }
}

impl Idle {
    fn close(self) {
        self.client.close();
    }
}

/// The task of an HTTP/1.1 connection, if it has one. Dropping this ends the task and closes the connection.
struct ConnectionTask(Option<AbortHandle>);

impl ConnectionTask {
    fn spawn(connection: impl Future<Output: 'static> + 'static) -> ConnectionTask {
        ConnectionTask(Some(tokio::task::spawn_local(connection).abort_handle()))
    }

    /// The task ends by itself.
    fn detach(&mut self) {
        self.0 = None;
    }
}

impl Drop for ConnectionTask {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// A connection on which one request can be sent. Dropping it ends the request: an HTTP/1.1 connection is closed, an HTTP/2
/// stream is reset.
pub enum Connection {
    /// No other request uses it.
    Http1(Http1Connection),
    /// Shared.
    Http2 {
        /// Its place on a connection.
        stream: StreamGuard,
        /// It was open before.
        reused: bool,
    },
}

/// An HTTP/1.1 connection that a request has to itself.
pub struct Http1Connection {
    client: Client,
    /// It served requests before: the server may have closed it a moment ago.
    reused: bool,
    /// It was made for a request that upgrades, and serves no other.
    upgrade: bool,
    /// [`Upstream::age`] when it was made.
    age: u32,
}

/// A connection while its response is read. Given back when the response is complete; dropping it closes or resets as dropping a
/// [`Connection`] does.
pub struct PooledConnection(Connection);

impl Upstream {
    /// A server without connections.
    pub fn new(
        name: &str,
        addresses: Arc<[SocketAddr]>,
        settings: UpstreamSettings,
        metrics: Arc<ServerMetrics>,
    ) -> Upstream {
        let http2 = Http2Pool::new(settings.keep_alive, settings.most_idle);
        let many_fields = Cell::new(settings.headers > RESPONSE_HEADERS);
        Upstream {
            name: name.to_owned(),
            metrics,
            last_report: RefCell::default(),
            addresses: RefCell::new(addresses),
            turn: Cell::new(0),
            idle: RefCell::new(Vec::new()),
            http2,
            settings: RefCell::new(settings),
            many_fields,
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

    /// Replaces the settings of its connections.
    pub fn set_manner(&self, settings: &UpstreamSettings) {
        let old = self.settings.replace(settings.clone());
        self.http2.set_limits(settings.keep_alive, settings.most_idle);
        // Certificates are read again at each reload; connections made with the old ones are closed.
        if old.protocol != settings.protocol || old.tls.is_some() || settings.tls.is_some() {
            self.forget();
        }
    }

    /// Closes all connections: idle ones now, the others when their request is over.
    pub fn forget(&self) {
        self.age.set(self.age.get().wrapping_add(1));
        self.idle.take().into_iter().for_each(Idle::close);
        self.http2.forget();
    }

    /// Closes idle connections. Returns whether there were any.
    pub fn close_idle(&self) -> bool {
        let idle = self.idle.take();
        let any = !idle.is_empty();
        idle.into_iter().for_each(Idle::close);
        any
    }

    /// The address to connect to next; `None` while its name has none.
    pub fn address(&self) -> Option<SocketAddr> {
        let addresses = self.addresses.borrow();
        addresses.get(self.turn.get() % addresses.len().max(1)).copied()
    }

    /// The settings of its connections.
    pub fn settings(&self) -> UpstreamSettings {
        self.settings.borrow().clone()
    }

    /// Number of open connections.
    pub fn open(&self) -> u32 {
        self.open.load(Relaxed)
    }

    /// A response had more fields, or more bytes, than its connection reads. If that was hyper's own limit of fields,
    /// connections from now on read as many as the config allows; `true` if they did not before.
    pub fn expect_many_fields(&self) -> bool {
        let first = !self.many_fields.replace(true);
        if first {
            self.forget();
        }
        first
    }

    /// A connection that was open before has failed a request that another one may serve. Over HTTP/1.1 the other idle
    /// ones are as old and are closed, too; over HTTP/2 the failure already says what it means for the connection.
    pub fn discard(&self, connection: &Connection) {
        if let Connection::Http1(_) = connection {
            self.forget();
        }
    }

    /// Closes connections that have been idle for too long.
    pub fn sweep(&self, now: Instant) {
        let keep_alive = self.settings.borrow().keep_alive;
        let mut idle = self.idle.borrow_mut();
        // Ascending by age of use: the stack's bottom is the oldest.
        let stale = idle.partition_point(|one| now.duration_since(one.since) > keep_alive);
        idle.drain(..stale).for_each(Idle::close);
        idle.retain(|one| !one.client.is_closed());
        self.http2.sweep(now);
    }

    /// A connection that is open already.
    pub fn reuse(&self) -> Option<Connection> {
        if let Some(stream) = self.http2.take() {
            return Some(Connection::Http2 { stream, reused: true });
        }
        let (keep_alive, age) = (self.settings.borrow().keep_alive, self.age.get());
        loop {
            let idle = self.idle.borrow_mut().pop()?;
            if idle.client.is_ready() && idle.since.elapsed() <= keep_alive {
                self.metrics.reused();
                let Idle { client, .. } = idle;
                return Some(Connection::Http1(Http1Connection { client, reused: true, upgrade: false, age }));
            }
            idle.close();
        }
    }

    /// A new connection, or a stream of one that has become free meanwhile. A connection that is to be upgraded belongs to its
    /// request alone and is HTTP/1.1.
    pub async fn connect(&self, upgrade: bool) -> Result<Connection, ConnectError> {
        let settings = self.settings();
        if settings.protocol == Protocol::H2c && !upgrade {
            let stream = self.stream(&settings).await?;
            return Ok(Connection::Http2 { stream, reused: false });
        }
        let age = self.age.get();
        let open = async {
            let client = match self.dial(&settings).await? {
                socket if settings.own_http1 && !upgrade => {
                    let limits =
                        http1_client::Limits { header_bytes: settings.header_bytes, headers: settings.headers };
                    let connection = http1_client::Connection::new(socket, limits);
                    Client::Own { connection, upload: ConnectionTask(None) }
                }
                Socket::Plain(socket) => shake_hands(socket, &settings, self.many_fields.get(), upgrade).await?,
                Socket::Tls(socket) => shake_hands(socket, &settings, self.many_fields.get(), upgrade).await?,
            };
            Ok(Connection::Http1(Http1Connection { client, reused: false, upgrade, age }))
        };
        timeout(settings.connect, open).await.unwrap_or(Err(ConnectError::TimedOut))
    }

    /// A stream of an HTTP/2 connection: a free one, or one of a connection that is opened for this request or another.
    async fn stream(&self, settings: &UpstreamSettings) -> Result<StreamGuard, ConnectError> {
        let ticket = self.http2.wait();
        let until = Instant::now() + settings.connect;
        loop {
            let changed = self.http2.changed();
            match self.http2.step(&ticket) {
                Step::Send(stream) => return Ok(stream),
                Step::Wait => timeout_at(until, changed).await.map_err(|_| ConnectError::TimedOut)?,
                Step::Fail(error) => return Err(error),
                Step::Dial(dial) => {
                    let opened = timeout(settings.connect, self.open_http2(settings, dial)).await;
                    return opened.unwrap_or(Err(ConnectError::TimedOut)).inspect_err(|error| self.http2.failed(error));
                }
            }
        }
    }

    async fn open_http2(&self, settings: &UpstreamSettings, dial: Dial) -> Result<StreamGuard, ConnectError> {
        let age = self.age.get();
        let share = || age == self.age.get();
        match self.dial(settings).await? {
            Socket::Plain(socket) => self.http2.open(socket, settings.header_bytes, dial, share).await,
            Socket::Tls(socket) => self.http2.open(socket, settings.header_bytes, dial, share).await,
        }
    }

    /// A socket, counted as long as it is open, with TLS where that is spoken.
    async fn dial(&self, settings: &UpstreamSettings) -> Result<Socket, ConnectError> {
        let stream = self.dial_tcp().await?;
        Ok(match &settings.tls {
            None => Socket::Plain(self.counted(stream)),
            Some((config, name)) => {
                let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
                Socket::Tls(Box::new(self.counted(connector.connect(name.clone(), stream).await?)))
            }
        })
    }

    fn counted<T>(&self, stream: T) -> Counted<T> {
        Counted::new(stream, Arc::clone(&self.open), Arc::clone(&self.metrics))
    }

    async fn dial_tcp(&self) -> Result<TcpStream, ConnectError> {
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

    /// Takes back a connection whose response is complete.
    pub fn give_back(&self, PooledConnection(connection): PooledConnection) {
        let Http1Connection { client, upgrade, age, .. } = match connection {
            Connection::Http1(connection) => connection,
            Connection::Http2 { stream, .. } => return self.http2.give_back(stream),
        };
        let mut idle = self.idle.borrow_mut();
        if age == self.age.get() && !upgrade && client.is_reusable() && idle.len() < self.settings.borrow().most_idle {
            idle.push(Idle { client, since: Instant::now() });
        }
    }
}

async fn shake_hands<T>(
    socket: T,
    settings: &UpstreamSettings,
    many_fields: bool,
    upgrade: bool,
) -> Result<Client, ConnectError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_header_size(settings.header_bytes).max_buf_size(READ_AHEAD.max(settings.header_bytes));
    if many_fields {
        builder.max_headers(settings.headers);
    }
    let (sender, connection) = builder.handshake(TokioIo::new(socket)).await?;
    let task =
        if upgrade { ConnectionTask::spawn(connection.with_upgrades()) } else { ConnectionTask::spawn(connection) };
    Ok(Client::Hyper { sender, task })
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.forget();
    }
}

impl Connection {
    /// Sends a request and waits for the head of the response. Interim responses are passed over where hyper does not have
    /// them handled.
    pub async fn send(&mut self, request: Request<UpBody>) -> Result<Response<ServerBody>, SendError> {
        match self {
            Connection::Http1(connection) => match &mut connection.client {
                Client::Own { .. } => {
                    let (parts, body) = request.into_parts();
                    let (method, target, headers) = (&parts.method, &parts.uri, &parts.headers);
                    let head = RequestHead { method, target, headers, additions: Additions::default() };
                    match connection.send_own(Lead::Head(&head), body, false, |_, _| {}).await? {
                        Answer::Fields(response) => Ok(*response),
                        Answer::Plain(..) => {
                            let error = http1_client::Error::Malformed("not asked for").into();
                            Err(SendError { error, unsent: false })
                        }
                    }
                }
                Client::Hyper { sender, task } => match sender.try_send_request(request).await {
                    Ok(response) => {
                        if connection.upgrade && response.status() == StatusCode::SWITCHING_PROTOCOLS {
                            // The task hands the socket over to the tunnel, which closes it.
                            task.detach();
                        }
                        Ok(response.map(ServerBody::Hyper))
                    }
                    Err(mut failed) => {
                        let unsent = failed.take_message().is_some();
                        Err(SendError { error: failed.into_error().into(), unsent })
                    }
                },
            },
            // Boxed: what only HTTP/2 needs would lie in the future of every request.
            Connection::Http2 { stream, .. } => {
                Box::pin(stream.send(request)).await.map(|response| response.map(ServerBody::Hyper))
            }
        }
    }

    /// The connection, if the proxy's own client side serves it.
    pub fn own(&mut self) -> Option<&mut Http1Connection> {
        match self {
            Connection::Http1(connection) if matches!(connection.client, Client::Own { .. }) => Some(connection),
            _ => None,
        }
    }

    /// It served requests before.
    pub fn is_reused(&self) -> bool {
        match self {
            Connection::Http1(connection) => connection.reused,
            Connection::Http2 { reused, .. } => *reused,
        }
    }

    /// What is to be given back when the response is over.
    pub fn pooled(self) -> PooledConnection {
        PooledConnection(self)
    }
}

impl Http1Connection {
    /// Sends a request over a connection of [`Connection::own`] and waits for the head of the response, in the form
    /// [`Answer::Plain`] where that is wanted and can be. `interim` gets the interim responses before it.
    pub async fn send_own(
        &mut self,
        lead: Lead<'_>,
        body: UpBody,
        plain: bool,
        interim: impl FnMut(StatusCode, &HeaderMap),
    ) -> Result<Answer<ServerBody>, SendError> {
        let Client::Own { connection, upload } = &mut self.client else {
            let error = http1_client::Error::Closed.into();
            return Err(SendError { error, unsent: true });
        };
        let answer = connection.send(lead, body, plain, interim).await;
        let answer = answer.map_err(|(error, unsent)| SendError { error: error.into(), unsent })?;
        if connection.is_uploading() {
            *upload = ConnectionTask::spawn(Rc::clone(connection).upload());
        }
        Ok(answer.map(ServerBody::Own))
    }
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
