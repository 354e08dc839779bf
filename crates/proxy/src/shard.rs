//! A shard: one thread with its own runtime, listeners, selectors and connections. Shards share nothing but counters, so a
//! request never waits for another shard; what each knows of the servers is what it has seen itself, as a simulated shard.
//!
//! Each shard has a listener of its own at every address (`SO_REUSEPORT`): the kernel deals the connections.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use http::Version;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::LocalOptions;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::access;
use super::answer_timer::{self, AnswerTimers};
use super::client_io::{ClientIo, ClientIoState, ClientTimeouts, Refused};
use super::clock::{Clock, duration};
use super::forward::{self, ClientConnection};
use super::headers::{Peer, Trust};
use super::metrics::{PoolMetrics, ProxyMetrics, ServerMetrics};
use super::pool::{PoolSetup, SelectorInit, ServerSnapshot, ShardPool};
use super::record::Tape;
use super::tls;
use super::upstream::{UpstreamSettings, is_shortage};
use evenkeel_config::proxy::{AccessFormat, ProxyConfig};
use evenkeel_core::policy::pool::ShardId;
use evenkeel_core::rng::Rng;
use evenkeel_core::select::LoadReport;
use evenkeel_core::units::Nanos;

/// So many fields the library reads unless told otherwise, and then faster, into a place made ready by the compiler. Fewer
/// than these are counted when the head is checked.
const LIBRARY_HEADERS: usize = 100;

/// From one message about a lack of descriptors to the next.
const SHORTAGE: Duration = Duration::from_secs(10);
/// Bytes of uploads that an HTTP/2 connection of a client may have under way at once, if its streams get no less than
/// [`LEAST_WINDOW`] each by that.
const UPLOADS: u32 = 8 * 1024 * 1024;

/// A stream's window, whatever the number of streams. What Envoy advises for clients that are not trusted.
const LEAST_WINDOW: u32 = 64 * 1024;

/// A stream's window, however few there are. The library's own choice.
const MOST_WINDOW: u32 = 1024 * 1024;

/// Bytes of an answer that are held for the socket, for each stream of an HTTP/2 connection. The library's default is 400 KiB.
const SEND_BUFFER: usize = 64 * 1024;

/// The windows of a stream and of its connection, in bytes. All streams together never use up that of the connection: an
/// upload that its server does not take leaves the others alone (RFC 9113, 5.2).
fn windows(streams: u32) -> (u32, u32) {
    let stream = (UPLOADS / streams).clamp(LEAST_WINDOW, MOST_WINDOW);
    (stream, stream * streams)
}

/// Addresses that names were last found to have, by host and port.
pub type Addresses = BTreeMap<(String, u16), Arc<[SocketAddr]>>;

/// What all shards are given to work by.
#[derive(Clone)]
pub struct ShardConfig {
    /// The config.
    pub config: Arc<ProxyConfig>,
    /// Whose word about clients is taken.
    pub trust: Arc<Trust>,
    /// Known addresses of names.
    pub addresses: Arc<Addresses>,
    /// How to speak to the servers of each pool.
    pub upstream_settings: Arc<[UpstreamSettings]>,
    /// Where each pool, and each server of it, is counted.
    pub counters: Arc<[Arc<PoolCounters>]>,
    /// TLS for each listener.
    pub acceptors: Arc<[Option<TlsAcceptor>]>,
}

/// Where a pool is counted.
pub struct PoolCounters {
    /// The pool.
    pub pool: Arc<PoolMetrics>,
    /// Its servers by name.
    pub servers: BTreeMap<String, Arc<ServerMetrics>>,
}

/// What a shard is told.
pub enum Command {
    /// Work by these from now on; listeners of this shard for each listener of the config, where they are new.
    Reconfigure(Box<ShardConfig>, Vec<Option<std::net::TcpListener>>),
    /// An active check's result.
    Checked {
        /// The pool's name.
        pool: String,
        /// The server's name.
        server: String,
        /// Why it failed, if it did.
        failure: Option<Arc<str>>,
        /// The load report that came with it.
        load: Option<LoadReport>,
    },
    /// A name's addresses.
    Addresses(String, u16, Arc<[SocketAddr]>),
    /// Drain a server, or take it back.
    Drain {
        /// The pool's name.
        pool: String,
        /// The server's name.
        server: String,
        /// Whether it gets nothing new.
        draining: bool,
    },
    /// Change a server's weight.
    Weight {
        /// The pool's name.
        pool: String,
        /// The server's name.
        server: String,
        /// The weight.
        weight: u32,
    },
    /// How do the servers stand?
    Snapshots(oneshot::Sender<Vec<(String, Vec<ServerSnapshot>)>>),
    /// Tell clients to go elsewhere, but still take what comes.
    Leave,
    /// Take nothing new, end what is there; answer when nothing is left.
    Drained(oneshot::Sender<()>),
    /// End everything; tells how many requests and tunnels were cut.
    Cut(oneshot::Sender<u32>),
}

/// What a shard works by at present.
pub struct ActiveConfig {
    /// The config.
    pub config: Arc<ProxyConfig>,
    /// Whose word about clients is taken.
    pub trust: Arc<Trust>,
    /// A host for each pool.
    pub pools: Vec<Rc<ShardPool>>,
}

impl ActiveConfig {
    /// Whether there is an access log.
    pub fn logs(&self) -> bool {
        self.config.log.access != AccessFormat::None
    }
}

/// What a shard is born with.
pub struct ShardInit {
    /// From 0.
    pub number: u32,
    /// How many shards there are.
    pub of: u32,
    /// The proxy's clock.
    pub clock: Clock,
    /// Seed of all randomness.
    pub seed: u64,
    /// Counters of the proxy.
    pub metrics: Arc<ProxyMetrics>,
    /// Client connections over all shards.
    pub connections: Arc<AtomicU32>,
    /// So many of them have room beside those to servers, whatever the config says.
    pub most_connections: u32,
    /// The access log, if there is one.
    pub log: Option<Arc<access::Log>>,
    /// The recording, if there is one.
    pub tape: Option<Tape>,
}

/// A shard at work.
pub struct Shard {
    init: ShardInit,
    active_config: RefCell<Rc<ActiveConfig>>,
    rng: RefCell<Rng>,
    draining: Cell<bool>,
    /// Nothing new is taken any more.
    leaving: Cell<bool>,
    active: Cell<u32>,
    tunnels: Cell<u32>,
    cut: Notify,
    client_ios: RefCell<BTreeMap<u64, Arc<ClientIoState>>>,
    next_client_io: Cell<u64>,
    listeners: RefCell<Vec<Listener>>,
    acceptors: RefCell<Vec<Option<TlsAcceptor>>>,
    answers: Rc<AnswerTimers>,
    /// When a lack of descriptors was last logged.
    shortage: Cell<Option<Instant>>,
    streams: Cell<u64>,
    me: Weak<Shard>,
}

/// A listener at work.
struct Listener {
    address: SocketAddr,
    accepting: AbortHandle,
    /// Its place in the config, which a reload may change.
    place: Rc<Cell<usize>>,
}

/// A client's connection while it is open, tunnel or not.
struct ConnectionPermit {
    connections: Arc<AtomicU32>,
    metrics: Arc<ProxyMetrics>,
}

impl ConnectionPermit {
    /// Lets one more in, if there may be one more.
    fn enter(init: &ShardInit, most: u32) -> Option<ConnectionPermit> {
        if init.connections.fetch_add(1, Relaxed) >= most {
            init.connections.fetch_sub(1, Relaxed);
            init.metrics.connection_refused();
            return None;
        }
        init.metrics.connection_opened();
        Some(ConnectionPermit { connections: Arc::clone(&init.connections), metrics: Arc::clone(&init.metrics) })
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Relaxed);
        self.metrics.connection_closed();
    }
}

impl Shard {
    /// What it works by at present.
    pub fn active_config(&self) -> Rc<ActiveConfig> {
        Rc::clone(&self.active_config.borrow())
    }

    /// Counters of the proxy.
    pub fn metrics(&self) -> &ProxyMetrics {
        &self.init.metrics
    }

    /// The answers that are on their way.
    pub fn answers(&self) -> &Rc<AnswerTimers> {
        &self.answers
    }

    /// Closes idle connections to all servers. Whether there were any.
    pub fn close_idle(&self) -> bool {
        self.active_config().pools.iter().filter(|shard_pool| shard_pool.close_idle()).count() > 0
    }

    /// Logs that this machine lacks what a connection needs, not more often than every `SHORTAGE`.
    pub fn shortage(&self, error: &dyn std::fmt::Display) {
        let now = Instant::now();
        if self.shortage.get().is_none_or(|last| now - last >= SHORTAGE) {
            self.shortage.set(Some(now));
            tracing::error!(%error, "out of descriptors, ports or memory: raise the limit (`ulimit -n`) or lower limits.connections");
        }
    }

    /// Whether it tells clients to go elsewhere.
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Draws from the shard's own stream.
    pub fn with_rng<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.rng.borrow_mut())
    }

    /// A request begins.
    pub fn began(&self) {
        self.active.set(self.active.get() + 1);
    }

    /// A request is over.
    pub fn ended(&self) {
        self.active.set(self.active.get() - 1);
    }

    /// Writes to the access log.
    pub fn log(&self, entry: &access::Entry<'_>) {
        if let Some(log) = &self.init.log {
            log.write(entry, &mut self.rng.borrow_mut());
        }
    }

    /// A tunnel is open while this is held.
    pub fn tunnel(&self) -> Tunnel {
        self.tunnels.set(self.tunnels.get() + 1);
        Tunnel(self.me.clone())
    }

    /// Ready when everything is cut off.
    pub async fn cut_off(&self) {
        self.cut.notified().await;
    }

    // ---- Clients ----

    async fn accept(self: Rc<Self>, listener: TcpListener, place: Rc<Cell<usize>>) {
        let port = listener.local_addr().map_or(0, |address| address.port());
        loop {
            match listener.accept().await {
                Ok((stream, address)) => self.welcome(stream, address, port, place.get()),
                Err(error) if is_shortage(&error) => {
                    self.shortage(&error);
                    sleep(Duration::from_millis(20)).await;
                }
                // The client went away.
                Err(error) => tracing::debug!(%error, "accept"),
            }
        }
    }

    fn welcome(self: &Rc<Self>, stream: TcpStream, address: SocketAddr, port: u16, listener: usize) {
        let active_config = self.active_config();
        let Some(permit) = ConnectionPermit::enter(
            &self.init,
            active_config.config.limits.connections.min(self.init.most_connections),
        ) else {
            return;
        };
        let shard = Rc::clone(self);
        let acceptor = self.acceptor(listener);
        let _ = stream.set_nodelay(true);
        tokio::task::spawn_local(async move {
            let client_connection = |tls| Rc::new(ClientConnection::new(Peer::new(address.ip(), port, tls)));
            let http2 = active_config.config.listeners.get(listener).is_none_or(|listener| listener.http2);
            let handshake = duration(active_config.config.timeouts.handshake);
            drop(active_config);
            match acceptor {
                None => shard.serve(stream, client_connection(None), http2, permit).await,
                Some(acceptor) => match timeout(handshake, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        let version = tls::version_name(stream.get_ref().1.protocol_version());
                        shard.serve(stream, client_connection(Some(version)), http2, permit).await;
                    }
                    Ok(Err(error)) => tracing::debug!(%error, client = %address, "TLS handshake"),
                    Err(_) => tracing::debug!(client = %address, "TLS handshake took too long"),
                },
            }
        });
    }

    fn acceptor(&self, listener: usize) -> Option<TlsAcceptor> {
        self.acceptors.borrow().get(listener).cloned().flatten()
    }

    async fn serve<T>(
        self: &Rc<Self>,
        stream: T,
        client_connection: Rc<ClientConnection>,
        http2: bool,
        permit: ConnectionPermit,
    ) where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let active_config = self.active_config();
        let (timeouts, limits) = (active_config.config.timeouts, active_config.config.limits);
        drop(active_config);
        let timeouts = ClientTimeouts {
            header: duration(timeouts.header),
            keep_alive: duration(timeouts.keep_alive),
            stall: duration(timeouts.idle),
        };
        // The state lives as long as anybody uses the socket: a tunnel's request holds on to it.
        let state = ClientIoState::new(Instant::now(), Box::new(permit));
        if self.leaving.get() {
            state.close();
        }
        let client_io = ClientIo::new(stream, Arc::clone(&state), timeouts, http2);
        let id = self.next_client_io.get();
        self.next_client_io.set(id + 1);
        self.client_ios.borrow_mut().insert(id, Arc::clone(&state));
        let mut builder = auto::Builder::new(ClientExecutor(Rc::clone(&client_connection)));
        builder
            .http1()
            .timer(TokioTimer::new())
            // The wire has time-outs of its own, which tell an idle connection from a slow head.
            .header_read_timeout(None)
            .half_close(false)
            // No `pipeline_flush`: with the first bytes of another request in, it holds answers, and refusals, back.
            .max_buf_size((limits.header_bytes as usize).max(8192));
        if limits.headers as usize > LIBRARY_HEADERS {
            builder.http1().max_headers(limits.headers as usize);
        }
        let (stream_window, connection_window) = windows(limits.streams);
        builder
            .http2()
            .timer(TokioTimer::new())
            .initial_stream_window_size(stream_window)
            .initial_connection_window_size(connection_window)
            .max_send_buf_size(SEND_BUFFER)
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(limits.header_bytes)
            .max_pending_accept_reset_streams(20)
            .keep_alive_interval(Some(Duration::from_secs(20)))
            .keep_alive_timeout(Duration::from_secs(20));
        if !http2 {
            builder = builder.http1_only();
        }
        let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
            let stream = (request.version() == hyper::Version::HTTP_2).then(|| client_connection.expect_stream());
            forward::serve(Rc::clone(self), Arc::clone(&state), Rc::clone(&client_connection), stream, request)
        });
        let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(client_io), service));
        let (mut known, mut closing) = (false, false);
        let ended = std::future::poll_fn(|cx| {
            if !std::mem::replace(&mut known, true) {
                state.remember(cx.waker());
            }
            if state.is_cut() {
                return Poll::Ready(Ok(()));
            }
            if state.is_closing() && !std::mem::replace(&mut closing, true) {
                connection.as_mut().graceful_shutdown();
            }
            let polled = connection.as_mut().poll(cx);
            if let Some(refused) = state.take_refused() {
                self.refused(&refused, &client_connection.peer);
            }
            polled
        })
        .await;
        self.client_ios.borrow_mut().remove(&id);
        if let Err(error) = ended {
            tracing::debug!(error = &*error, client = %client_connection.peer.address(), "connection");
        }
    }

    /// Counts and logs a head that was refused without becoming a request.
    fn refused(&self, refused: &Refused, peer: &Peer) {
        self.init.metrics.own_answer(refused.reason);
        if !self.active_config().logs() {
            return;
        }
        let took = refused.since.elapsed();
        let (method, path, query) = refused.request();
        self.log(&access::Entry {
            time: Timestamp::now() - took,
            request_id: "",
            client_ip: peer.address(),
            method: &method,
            host: b"",
            path: &path,
            query: query.as_deref(),
            protocol: Version::HTTP_11,
            status: Some(refused.reason.status().as_u16()),
            bytes_in: 0,
            bytes_out: 0,
            duration: Nanos(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)),
            upstream: None,
            server: None,
            pool: None,
            connect_time: None,
            first_byte_time: None,
            upstream_time: None,
            attempts: 0,
            strategy: "",
            reason: refused.reason,
            user_agent: None,
            referer: None,
            tls: peer.tls_version(),
        });
    }

    // ---- Orders ----

    fn take(self: &Rc<Self>, shard_config: &ShardConfig, sockets: Vec<Option<std::net::TcpListener>>) {
        let old = self.active_config();
        let mut pools = Vec::with_capacity(shard_config.config.pools.len());
        for (i, pool) in shard_config.config.pools.iter().enumerate() {
            let counters = &shard_config.counters[i];
            let metrics_of = |name: &str| Arc::clone(&counters.servers[name]);
            let setup = PoolSetup {
                config: Arc::new(pool.clone()),
                addresses: &shard_config.addresses,
                shard_id: ShardId {
                    number: shard_config.config.instance.index.saturating_mul(self.init.of) + self.init.number,
                    of: shard_config.config.instance.count.saturating_mul(self.init.of),
                    zone: shard_config.config.zone.clone(),
                    seed: self.init.seed,
                },
                settings: &shard_config.upstream_settings[i],
                metrics: &metrics_of,
            };
            let start = || {
                let ShardInit { seed, tape, number, .. } = &self.init;
                let (seed, number) = (*seed, u64::from(*number) << 32 | self.streams.get());
                self.streams.set(self.streams.get() + 1);
                let recorder = tape.as_ref().map(|tape| tape.open(pool, seed, number));
                SelectorInit { seed, number, recorder }
            };
            // A pool of the same name keeps all that is known of its servers.
            pools.push(match old.pools.iter().find(|shard_pool| shard_pool.config().name == pool.name) {
                Some(shard_pool) => {
                    shard_pool.reconfigure(&setup, start);
                    Rc::clone(shard_pool)
                }
                None => ShardPool::new(&setup, Arc::clone(&counters.pool), self.init.clock, start()),
            });
        }
        let active_config =
            ActiveConfig { config: Arc::clone(&shard_config.config), trust: Arc::clone(&shard_config.trust), pools };
        *self.active_config.borrow_mut() = Rc::new(active_config);
        *self.acceptors.borrow_mut() = shard_config.acceptors.to_vec();
        self.listen(&shard_config.config, sockets);
    }

    /// Opens listeners that are new and closes those that are gone; connections stay.
    fn listen(self: &Rc<Self>, new: &ProxyConfig, sockets: Vec<Option<std::net::TcpListener>>) {
        let mut before = self.listeners.take();
        let mut open_listeners = Vec::new();
        for ((i, listener), socket) in new.listeners.iter().enumerate().zip(sockets) {
            let opened = socket.and_then(|socket| match TcpListener::from_std(socket) {
                Ok(listener) => Some(listener),
                Err(error) => {
                    tracing::error!(%error, "listener");
                    None
                }
            });
            let address = listener.address;
            match opened {
                Some(opened) => {
                    let place = Rc::new(Cell::new(i));
                    let accepting = Rc::clone(self).accept(opened, Rc::clone(&place));
                    let accepting = tokio::task::spawn_local(accepting).abort_handle();
                    open_listeners.push(Listener { address, accepting, place });
                }
                None => {
                    if let Some(at) = before.iter().position(|open_listener| open_listener.address == address) {
                        let open_listener = before.remove(at);
                        open_listener.place.set(i);
                        open_listeners.push(open_listener);
                    }
                }
            }
        }
        before.into_iter().for_each(|gone| gone.accepting.abort());
        *self.listeners.borrow_mut() = open_listeners;
    }

    fn execute(self: &Rc<Self>, command: Command) {
        let pools = self.active_config().pools.clone();
        let find_pool = |name: &str| pools.iter().find(|shard_pool| shard_pool.config().name == name);
        match command {
            Command::Reconfigure(shard_config, sockets) => self.take(&shard_config, sockets),
            Command::Checked { pool, server, failure, load } => {
                if let Some(shard_pool) = find_pool(&pool) {
                    shard_pool.checked(&server, failure.as_deref(), load.as_ref());
                }
            }
            Command::Addresses(name, port, addresses) => {
                pools.iter().for_each(|shard_pool| shard_pool.set_addresses(&name, port, &addresses));
            }
            Command::Drain { pool, server, draining } => {
                if let Some(shard_pool) = find_pool(&pool) {
                    shard_pool.set_draining(&server, draining);
                }
            }
            Command::Weight { pool, server, weight } => {
                if let Some(shard_pool) = find_pool(&pool) {
                    shard_pool.set_weight(&server, weight);
                }
            }
            Command::Snapshots(tell) => {
                let snapshots =
                    pools.iter().map(|shard_pool| (shard_pool.config().name.clone(), shard_pool.snapshots())).collect();
                let _ = tell.send(snapshots);
            }
            Command::Leave => self.draining.set(true),
            Command::Drained(tell) => {
                self.draining.set(true);
                self.leaving.set(true);
                self.listeners.take().iter().for_each(|open_listener| open_listener.accepting.abort());
                self.client_ios.borrow().values().for_each(|client_io| client_io.close());
                let shard = Rc::clone(self);
                tokio::task::spawn_local(async move {
                    while shard.active.get() > 0 || shard.tunnels.get() > 0 || !shard.client_ios.borrow().is_empty() {
                        sleep(Duration::from_millis(5)).await;
                    }
                    let _ = tell.send(());
                });
            }
            Command::Cut(tell) => {
                let _ = tell.send(self.active.get());
                self.client_ios.borrow().values().for_each(|client_io| client_io.cut());
                self.cut.notify_waiters();
                pools.iter().for_each(|shard_pool| shard_pool.flush_recording());
            }
        }
    }
}

/// Spawns the tasks of a client's connection on this thread: one for each request of HTTP/2, made right after the service
/// was called with it.
#[derive(Clone)]
struct ClientExecutor(Rc<ClientConnection>);

impl<F> hyper::rt::Executor<F> for ClientExecutor
where
    F: Future<Output: 'static> + 'static,
{
    fn execute(&self, future: F) {
        self.0.stream_began(tokio::task::spawn_local(future).abort_handle());
    }
}

/// An open tunnel.
pub struct Tunnel(Weak<Shard>);

impl Drop for Tunnel {
    fn drop(&mut self) {
        if let Some(shard) = self.0.upgrade() {
            shard.tunnels.set(shard.tunnels.get() - 1);
        }
    }
}

/// Runs a shard on the present thread until its commands end.
pub fn run(
    init: ShardInit,
    shard_config: &ShardConfig,
    sockets: Vec<Option<std::net::TcpListener>>,
    commands: mpsc::UnboundedReceiver<Command>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let rng = Rng::stream(init.seed, "shard", u64::from(init.number));
    let nothing = ProxyConfig { listeners: Vec::new(), pools: Vec::new(), ..(*shard_config.config).clone() };
    runtime.block_on(async move {
        let active_config =
            ActiveConfig { config: Arc::new(nothing), trust: Arc::clone(&shard_config.trust), pools: Vec::new() };
        let shard = Rc::new_cyclic(|me| Shard {
            init,
            active_config: RefCell::new(Rc::new(active_config)),
            rng: RefCell::new(rng),
            draining: Cell::new(false),
            leaving: Cell::new(false),
            active: Cell::new(0),
            tunnels: Cell::new(0),
            cut: Notify::new(),
            client_ios: RefCell::new(BTreeMap::new()),
            next_client_io: Cell::new(0),
            listeners: RefCell::new(Vec::new()),
            acceptors: RefCell::new(Vec::new()),
            answers: AnswerTimers::new(Instant::now()),
            shortage: Cell::new(None),
            streams: Cell::new(0),
            me: me.clone(),
        });
        shard.take(shard_config, sockets);
        let ticking = tokio::task::spawn_local(tick(Rc::clone(&shard)));
        let mut commands = commands;
        while let Some(command) = commands.recv().await {
            shard.execute(command);
        }
        ticking.abort();
        shard.active_config().pools.iter().for_each(|shard_pool| shard_pool.flush_recording());
    });
    Ok(())
}

/// A shard's part in the number of tasks.
struct Tasks {
    metrics: Arc<ProxyMetrics>,
    count: i64,
}

impl Tasks {
    fn show(&mut self, alive: usize) {
        let alive = i64::try_from(alive).unwrap_or(i64::MAX);
        self.metrics.tasks.add(alive - self.count);
        self.count = alive;
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.show(0);
    }
}

/// What time brings to the hosts.
async fn tick(shard: Rc<Shard>) {
    /// Finer than any time-out that is in the hosts' hands needs.
    const EVERY: Duration = Duration::from_millis(20);
    /// Ticks from one look at idle connections to the next.
    const SWEEP: u32 = 50;
    /// Ticks from one look at open answers to the next.
    const ANSWERS: u32 = (answer_timer::SWEEP.as_millis() / EVERY.as_millis()) as u32;
    let mut ticks = 0_u32;
    let mut shown = Tasks { metrics: Arc::clone(&shard.init.metrics), count: 0 };
    loop {
        sleep(EVERY).await;
        ticks = ticks.wrapping_add(1);
        if ticks.is_multiple_of(SWEEP) {
            shown.show(tokio::runtime::Handle::current().metrics().num_alive_tasks());
        }
        if ticks.is_multiple_of(ANSWERS) {
            shard.answers.sweep(Instant::now());
        }
        for shard_pool in &shard.active_config().pools {
            shard_pool.tick();
            if ticks.is_multiple_of(SWEEP) {
                shard_pool.sweep();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_config::proxy::MOST_STREAMS;

    #[test]
    fn streams_together_never_use_up_the_window_of_their_connection() {
        for (streams, stream, connection) in [
            (1, 1 << 20, 1 << 20),
            (8, 1 << 20, 8 << 20),
            (100, 83_886, 8_388_600),
            (128, 64 << 10, 8 << 20),
            (1000, 64 << 10, 65_536_000),
            (MOST_STREAMS, 64 << 10, 0x7fff_0000),
        ] {
            assert_eq!(windows(streams), (stream, connection), "{streams}");
        }
    }
}
