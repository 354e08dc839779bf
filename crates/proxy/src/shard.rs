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
use super::clock::{Clock, duration};
use super::forward::{self, Caller};
use super::headers::{Peer, Trust};
use super::host::{Furniture, Host, ServerStanding, Start};
use super::metrics::{PoolMetrics, ProxyMetrics, ServerMetrics};
use super::record::Tape;
use super::tls;
use super::upstream::{Manner, is_shortage};
use super::wire::{Patience, Refused, Wire, WireState};
use evenkeel_config::proxy::{AccessFormat, ProxyConfig};
use evenkeel_core::policy::watch::Seat;
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
pub struct Orders {
    /// The config.
    pub config: Arc<ProxyConfig>,
    /// Whose word about clients is taken.
    pub trust: Arc<Trust>,
    /// Known addresses of names.
    pub addresses: Arc<Addresses>,
    /// How to speak to the servers of each pool.
    pub manners: Arc<[Manner]>,
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
    Orders(Box<Orders>, Vec<Option<std::net::TcpListener>>),
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
    Standings(oneshot::Sender<Vec<(String, Vec<ServerStanding>)>>),
    /// Tell clients to go elsewhere, but still take what comes.
    Leave,
    /// Take nothing new, end what is there; answer when nothing is left.
    Drained(oneshot::Sender<()>),
    /// End everything; tells how many requests and tunnels were cut.
    Cut(oneshot::Sender<u32>),
}

/// What a shard works by at present.
pub struct Plan {
    /// The config.
    pub config: Arc<ProxyConfig>,
    /// Whose word about clients is taken.
    pub trust: Arc<Trust>,
    /// A host for each pool.
    pub hosts: Vec<Rc<Host>>,
}

impl Plan {
    /// Whether there is an access log.
    pub fn logs(&self) -> bool {
        self.config.log.access != AccessFormat::None
    }
}

/// What a shard is born with.
pub struct Birth {
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
    birth: Birth,
    plan: RefCell<Rc<Plan>>,
    rng: RefCell<Rng>,
    draining: Cell<bool>,
    /// Nothing new is taken any more.
    leaving: Cell<bool>,
    active: Cell<u32>,
    tunnels: Cell<u32>,
    cut: Notify,
    wires: RefCell<BTreeMap<u64, Arc<WireState>>>,
    next_wire: Cell<u64>,
    listeners: RefCell<Vec<Door>>,
    acceptors: RefCell<Vec<Option<TlsAcceptor>>>,
    answers: Rc<AnswerTimers>,
    /// When a lack of descriptors was last logged.
    shortage: Cell<Option<Instant>>,
    streams: Cell<u64>,
    me: Weak<Shard>,
}

/// A listener at work.
struct Door {
    address: SocketAddr,
    accepting: AbortHandle,
    /// Its place in the config, which a reload may change.
    place: Rc<Cell<usize>>,
}

/// A client's connection while it is open, tunnel or not.
struct Guest {
    connections: Arc<AtomicU32>,
    metrics: Arc<ProxyMetrics>,
}

impl Guest {
    /// Lets one more in, if there may be one more.
    fn enter(birth: &Birth, most: u32) -> Option<Guest> {
        if birth.connections.fetch_add(1, Relaxed) >= most {
            birth.connections.fetch_sub(1, Relaxed);
            birth.metrics.connection_refused();
            return None;
        }
        birth.metrics.connection_opened();
        Some(Guest { connections: Arc::clone(&birth.connections), metrics: Arc::clone(&birth.metrics) })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Relaxed);
        self.metrics.connection_closed();
    }
}

impl Shard {
    /// What it works by at present.
    pub fn plan(&self) -> Rc<Plan> {
        Rc::clone(&self.plan.borrow())
    }

    /// Counters of the proxy.
    pub fn metrics(&self) -> &ProxyMetrics {
        &self.birth.metrics
    }

    /// The answers that are on their way.
    pub fn answers(&self) -> &Rc<AnswerTimers> {
        &self.answers
    }

    /// Closes idle connections to all servers. Whether there were any.
    pub fn close_idle(&self) -> bool {
        self.plan().hosts.iter().filter(|host| host.close_idle()).count() > 0
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
        if let Some(log) = &self.birth.log {
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
        let plan = self.plan();
        let Some(guest) = Guest::enter(&self.birth, plan.config.limits.connections.min(self.birth.most_connections))
        else {
            return;
        };
        let shard = Rc::clone(self);
        let acceptor = self.acceptor(listener);
        let _ = stream.set_nodelay(true);
        tokio::task::spawn_local(async move {
            let caller = |tls| Rc::new(Caller::new(Peer::new(address.ip(), port, tls)));
            let http2 = plan.config.listeners.get(listener).is_none_or(|listener| listener.http2);
            let handshake = duration(plan.config.timeouts.handshake);
            drop(plan);
            match acceptor {
                None => shard.serve(stream, caller(None), http2, guest).await,
                Some(acceptor) => match timeout(handshake, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        let version = tls::version_name(stream.get_ref().1.protocol_version());
                        shard.serve(stream, caller(Some(version)), http2, guest).await;
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

    async fn serve<T>(self: &Rc<Self>, stream: T, caller: Rc<Caller>, http2: bool, guest: Guest)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let plan = self.plan();
        let (timeouts, limits) = (plan.config.timeouts, plan.config.limits);
        drop(plan);
        let patience = Patience {
            header: duration(timeouts.header),
            keep_alive: duration(timeouts.keep_alive),
            stall: duration(timeouts.idle),
        };
        // The state lives as long as anybody uses the socket: a tunnel's request holds on to it.
        let state = WireState::new(Instant::now(), Box::new(guest));
        if self.leaving.get() {
            state.close();
        }
        let wire = Wire::new(stream, Arc::clone(&state), patience, http2);
        let id = self.next_wire.get();
        self.next_wire.set(id + 1);
        self.wires.borrow_mut().insert(id, Arc::clone(&state));
        let mut builder = auto::Builder::new(ClientExecutor(Rc::clone(&caller)));
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
            let stream = (request.version() == hyper::Version::HTTP_2).then(|| caller.expect_stream());
            forward::serve(Rc::clone(self), Arc::clone(&state), Rc::clone(&caller), stream, request)
        });
        let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(wire), service));
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
                self.refused(&refused, &caller.peer);
            }
            polled
        })
        .await;
        self.wires.borrow_mut().remove(&id);
        if let Err(error) = ended {
            tracing::debug!(error = &*error, client = %caller.peer.address(), "connection");
        }
    }

    /// Counts and logs a head that was refused without becoming a request.
    fn refused(&self, refused: &Refused, peer: &Peer) {
        self.birth.metrics.own_answer(refused.reason);
        if !self.plan().logs() {
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

    fn take(self: &Rc<Self>, orders: &Orders, sockets: Vec<Option<std::net::TcpListener>>) {
        let old = self.plan();
        let mut hosts = Vec::with_capacity(orders.config.pools.len());
        for (i, pool) in orders.config.pools.iter().enumerate() {
            let counters = &orders.counters[i];
            let metrics_of = |name: &str| Arc::clone(&counters.servers[name]);
            let furniture = Furniture {
                config: Arc::new(pool.clone()),
                addresses: &orders.addresses,
                seat: Seat {
                    number: orders.config.instance.number.saturating_mul(self.birth.of) + self.birth.number,
                    of: orders.config.instance.of.saturating_mul(self.birth.of),
                    zone: orders.config.zone.clone(),
                    seed: self.birth.seed,
                },
                manner: &orders.manners[i],
                metrics: &metrics_of,
            };
            let start = || {
                let Birth { seed, tape, number, .. } = &self.birth;
                let (seed, number) = (*seed, u64::from(*number) << 32 | self.streams.get());
                self.streams.set(self.streams.get() + 1);
                let recorder = tape.as_ref().map(|tape| tape.open(pool, seed, number));
                Start { seed, number, recorder }
            };
            // A pool of the same name keeps all that is known of its servers.
            hosts.push(match old.hosts.iter().find(|host| host.config().name == pool.name) {
                Some(host) => {
                    host.reconfigure(&furniture, start);
                    Rc::clone(host)
                }
                None => Host::new(&furniture, Arc::clone(&counters.pool), self.birth.clock, start()),
            });
        }
        let plan = Plan { config: Arc::clone(&orders.config), trust: Arc::clone(&orders.trust), hosts };
        *self.plan.borrow_mut() = Rc::new(plan);
        *self.acceptors.borrow_mut() = orders.acceptors.to_vec();
        self.listen(&orders.config, sockets);
    }

    /// Opens listeners that are new and closes those that are gone; connections stay.
    fn listen(self: &Rc<Self>, new: &ProxyConfig, sockets: Vec<Option<std::net::TcpListener>>) {
        let mut before = self.listeners.take();
        let mut doors = Vec::new();
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
                    doors.push(Door { address, accepting, place });
                }
                None => {
                    if let Some(at) = before.iter().position(|door| door.address == address) {
                        let door = before.remove(at);
                        door.place.set(i);
                        doors.push(door);
                    }
                }
            }
        }
        before.into_iter().for_each(|gone| gone.accepting.abort());
        *self.listeners.borrow_mut() = doors;
    }

    fn obey(self: &Rc<Self>, command: Command) {
        let hosts = self.plan().hosts.clone();
        let host = |name: &str| hosts.iter().find(|host| host.config().name == name);
        match command {
            Command::Orders(orders, sockets) => self.take(&orders, sockets),
            Command::Checked { pool, server, failure, load } => {
                if let Some(host) = host(&pool) {
                    host.checked(&server, failure.as_deref(), load.as_ref());
                }
            }
            Command::Addresses(name, port, addresses) => {
                hosts.iter().for_each(|host| host.set_addresses(&name, port, &addresses));
            }
            Command::Drain { pool, server, draining } => {
                if let Some(host) = host(&pool) {
                    host.set_draining(&server, draining);
                }
            }
            Command::Weight { pool, server, weight } => {
                if let Some(host) = host(&pool) {
                    host.set_weight(&server, weight);
                }
            }
            Command::Standings(tell) => {
                let standings = hosts.iter().map(|host| (host.config().name.clone(), host.standings())).collect();
                let _ = tell.send(standings);
            }
            Command::Leave => self.draining.set(true),
            Command::Drained(tell) => {
                self.draining.set(true);
                self.leaving.set(true);
                self.listeners.take().iter().for_each(|door| door.accepting.abort());
                self.wires.borrow().values().for_each(|wire| wire.close());
                let shard = Rc::clone(self);
                tokio::task::spawn_local(async move {
                    while shard.active.get() > 0 || shard.tunnels.get() > 0 || !shard.wires.borrow().is_empty() {
                        sleep(Duration::from_millis(5)).await;
                    }
                    let _ = tell.send(());
                });
            }
            Command::Cut(tell) => {
                let _ = tell.send(self.active.get());
                self.wires.borrow().values().for_each(|wire| wire.cut());
                self.cut.notify_waiters();
                hosts.iter().for_each(|host| host.flush_recording());
            }
        }
    }
}

/// Spawns the tasks of a client's connection on this thread: one for each request of HTTP/2, made right after the service
/// was called with it.
#[derive(Clone)]
struct ClientExecutor(Rc<Caller>);

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
    birth: Birth,
    orders: &Orders,
    sockets: Vec<Option<std::net::TcpListener>>,
    commands: mpsc::UnboundedReceiver<Command>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let rng = Rng::stream(birth.seed, "shard", u64::from(birth.number));
    let nothing = ProxyConfig { listeners: Vec::new(), pools: Vec::new(), ..(*orders.config).clone() };
    runtime.block_on(async move {
        let plan = Plan { config: Arc::new(nothing), trust: Arc::clone(&orders.trust), hosts: Vec::new() };
        let shard = Rc::new_cyclic(|me| Shard {
            birth,
            plan: RefCell::new(Rc::new(plan)),
            rng: RefCell::new(rng),
            draining: Cell::new(false),
            leaving: Cell::new(false),
            active: Cell::new(0),
            tunnels: Cell::new(0),
            cut: Notify::new(),
            wires: RefCell::new(BTreeMap::new()),
            next_wire: Cell::new(0),
            listeners: RefCell::new(Vec::new()),
            acceptors: RefCell::new(Vec::new()),
            answers: AnswerTimers::new(Instant::now()),
            shortage: Cell::new(None),
            streams: Cell::new(0),
            me: me.clone(),
        });
        shard.take(orders, sockets);
        let ticking = tokio::task::spawn_local(tick(Rc::clone(&shard)));
        let mut commands = commands;
        while let Some(command) = commands.recv().await {
            shard.obey(command);
        }
        ticking.abort();
        shard.plan().hosts.iter().for_each(|host| host.flush_recording());
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
    let mut shown = Tasks { metrics: Arc::clone(&shard.birth.metrics), count: 0 };
    loop {
        sleep(EVERY).await;
        ticks = ticks.wrapping_add(1);
        if ticks.is_multiple_of(SWEEP) {
            shown.show(tokio::runtime::Handle::current().metrics().num_alive_tasks());
        }
        if ticks.is_multiple_of(ANSWERS) {
            shard.answers.sweep(Instant::now());
        }
        for host in &shard.plan().hosts {
            host.tick();
            if ticks.is_multiple_of(SWEEP) {
                host.sweep();
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
