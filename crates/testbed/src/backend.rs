//! Test servers: HTTP/1.1 and HTTP/2 without TLS, on one thread of their own.
//!
//! ```
//! use evenkeel_testbed::{Backend, Spec};
//!
//! let server = Backend::start(Spec::new("a")).unwrap();
//! assert!(std::net::TcpStream::connect(server.address()).is_ok());
//! server.kill();
//! assert!(std::net::TcpStream::connect(server.address()).is_err());
//! ```
//!
//! What a server answers is in [`Spec`]'s text. A crash closes every connection with a reset and gives up listening, but
//! keeps the port, so that nobody else gets it meanwhile; a silent crash goes on taking connections and answers nothing.
//! What ends a crash is taken at an address of its own ([`Backend::control_address`]), which no crash closes.
//!
//! What it cannot do: early hints (103), which hyper's server does not send; and a silent crash cannot keep the kernel from
//! accepting connections.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};

use super::handler;
use super::precise_timer::PreciseTimer;
use super::server_model::ServerModel;
pub use super::server_model::{Counters, TimedFault};
use evenkeel_config::distribution::Sampler;
use evenkeel_core::rng::Rng;
use evenkeel_core::units::Nanos;
use evenkeel_sim::sim::model::{FaultKind, Server};

/// How long a server that is stopped waits for answers under way.
const GRACE: Duration = Duration::from_millis(500);

/// What a test server is.
///
/// It answers every path. A request waits its turn, takes the time of its work (from the header `x-demand`, in nanoseconds,
/// or drawn from the law of its path) and is answered with `x-server`, `x-cache` (`hit` or `miss`, where there is a cache;
/// the key is the header `x-key`, or else the path) and a load report (`endpoint-load-metrics`, as ORCA's text). A full
/// queue is a 503, a fault's error a 500. `/health` answers at once: 200, or 503 while a fault says so.
///
/// A query changes the answer: `bytes=N`, `status=N`, `delay=50ms` (on top of everything), `chunked=1`, `trailers=1`,
/// `sse=N` with `every=10ms`. The header `x-echo` asks for what was received, as JSON. A request with `upgrade` becomes a
/// tunnel that gives back every byte.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Where to listen; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// Name, speed, slots, queue, cache: the simulator's own.
    pub server: Server,
    /// Work of a request at speed 1; without one (and with no law for its path) it is answered at once.
    pub service: Option<Sampler>,
    /// Work by path, for paths that have a law of their own.
    pub paths: Vec<(String, Sampler)>,
    /// Bytes of an answer.
    pub bytes: u64,
    /// Work and luck are drawn from it, and from the name.
    pub seed: u64,
    /// What goes wrong by itself.
    pub faults: Vec<TimedFault>,
    /// Whether `POST /_fault` may make things go wrong.
    pub control: bool,
    /// Where `/_fault` is served as well with `control`, also while the server is dead; port 0 takes any that is free.
    pub control_listen: SocketAddr,
    /// Whether requests leave the queue when their client is gone.
    pub cancel: bool,
}

impl Spec {
    /// A server that answers at once, with no bytes, on some port of this machine.
    pub fn new(name: &str) -> Spec {
        Spec {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            server: Server::new(name),
            service: None,
            paths: Vec::new(),
            bytes: 0,
            seed: 1,
            faults: Vec::new(),
            control: false,
            control_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            cancel: false,
        }
    }

    /// The same with this law of work.
    pub fn service(self, law: Sampler) -> Spec {
        Spec { service: Some(law), ..self }
    }
}

/// How a server stands to the world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Life {
    pub deaths: u64,
    pub up: bool,
    pub silent: bool,
    pub stopping: bool,
}

impl Life {
    fn listens(self) -> bool {
        (self.up || self.silent) && !self.stopping
    }
}

/// What changes as it works.
pub(super) struct State {
    pub server_model: ServerModel,
    pub rng: Rng,
    /// The load report as it was last written, and when.
    pub report: Option<(Nanos, HeaderValue)>,
    /// When the driver will look by itself.
    pub wakes: Option<Nanos>,
}

/// What the world can see of it.
#[derive(Default)]
struct Gauge {
    listening: bool,
    connections: usize,
}

/// One server, as its tasks share it.
pub(super) struct Inner {
    pub spec: Spec,
    pub name: HeaderValue,
    address: SocketAddr,
    control: Option<SocketAddr>,
    epoch: Instant,
    state: Mutex<State>,
    /// Wakes the driver.
    pub bell: Notify,
    life: watch::Sender<Life>,
    deaths: AtomicU64,
    gauge: Mutex<Gauge>,
    seen: Condvar,
    /// Bound and never listening: while the server is dead, its port is nobody else's.
    _port: Socket,
}

/// A panic elsewhere does not make these numbers wrong.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    pub(super) fn now(&self) -> Nanos {
        Nanos(self.epoch.elapsed().as_nanos() as u64)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn watch(&self) -> watch::Receiver<Life> {
        self.life.subscribe()
    }

    fn is_stopping(&self) -> bool {
        self.life.borrow().stopping
    }

    /// Something may now happen sooner than the driver thinks.
    pub(super) fn wake_driver(&self, state: &State) {
        if state.server_model.next().is_some_and(|next| state.wakes.is_none_or(|wakes| next < wakes)) {
            self.bell.notify_one();
        }
    }

    fn show(&self, change: impl FnOnce(&mut Gauge)) {
        change(&mut lock(&self.gauge));
        self.seen.notify_all();
    }

    /// Waits, but not for ever, until the world can see what was done.
    fn wait(&self, until: impl Fn(&Gauge) -> bool) {
        let gauge = lock(&self.gauge);
        let _ = self.seen.wait_timeout_while(gauge, Duration::from_secs(2), |gauge| !until(gauge));
    }
}

/// A running test server. It stops when dropped.
pub struct Backend {
    inner: Arc<Inner>,
    thread: Arc<Thread>,
}

/// The thread on which one or more servers run; who drops the last of them waits for its end.
struct Thread(Mutex<Option<JoinHandle<()>>>);

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(thread) = lock(&self.0).take() {
            let _ = thread.join();
        }
    }
}

impl Backend {
    /// Starts a server on a thread of its own. It accepts connections from now on.
    pub fn start(spec: Spec) -> io::Result<Backend> {
        let mut all = Backend::start_all(vec![spec])?;
        all.pop().ok_or_else(|| io::Error::other("no server was started"))
    }

    /// Starts several servers on one thread. None runs if one cannot.
    pub fn start_all(specs: Vec<Spec>) -> io::Result<Vec<Backend>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut servers = Vec::new();
        for spec in specs {
            let listen = spec.listen;
            let wrong = |error: io::Error| io::Error::new(error.kind(), format!("{listen}: {error}"));
            let (port, listener) = reserve(spec.listen).map_err(wrong)?;
            let address = listener.local_addr()?;
            let control = match spec.control {
                false => None,
                true => Some(self::listener(spec.control_listen).map_err(wrong)?),
            };
            let name = HeaderValue::from_str(&spec.server.name)
                .map_err(|_| io::Error::other(format!("`{}` cannot stand in a header", spec.server.name)))?;
            let server_model = ServerModel::new(&spec.server, spec.faults.clone(), spec.cancel);
            let rng = Rng::stream(spec.seed, &spec.server.name, 0);
            let inner = Arc::new(Inner {
                name,
                address,
                control: control.as_ref().map(TcpListener::local_addr).transpose()?,
                epoch: Instant::now(),
                state: Mutex::new(State { server_model, rng, report: None, wakes: None }),
                bell: Notify::new(),
                life: watch::Sender::new(Life { up: true, ..Life::default() }),
                deaths: AtomicU64::new(0),
                gauge: Mutex::new(Gauge { listening: true, connections: 0 }),
                seen: Condvar::new(),
                _port: port,
                spec,
            });
            let timer = {
                let _inside = runtime.enter();
                PreciseTimer::new()?
            };
            servers.push((inner, listener, control, timer));
        }
        let inners: Vec<Arc<Inner>> = servers.iter().map(|(inner, ..)| inner.clone()).collect();
        let run = move || {
            runtime.block_on(async {
                let mut tasks = Vec::new();
                for (inner, listener, control, timer) in servers {
                    tokio::spawn(drive(inner.clone(), timer));
                    if let Some(control) = control {
                        tokio::spawn(take_orders(inner.clone(), control));
                    }
                    tasks.push(tokio::spawn(listen(inner, listener)));
                }
                for task in tasks {
                    let _ = task.await;
                }
            });
            // What still runs is dropped, and with it every connection.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("test servers".to_owned()).spawn(run)?;
        let thread = Arc::new(Thread(Mutex::new(Some(thread))));
        Ok(inners.into_iter().map(|inner| Backend { inner, thread: thread.clone() }).collect())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.inner.address
    }

    /// Where it takes orders even while it is dead, if it takes any.
    pub fn control_address(&self) -> Option<SocketAddr> {
        self.inner.control
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.inner.spec.server.name
    }

    /// `http://127.0.0.1:9001`
    pub fn url(&self) -> String {
        format!("http://{}", self.inner.address)
    }

    /// What it has done so far.
    pub fn counters(&self) -> Counters {
        let mut state = self.inner.state();
        state.server_model.advance(self.inner.now());
        state.server_model.counters
    }

    /// Something goes wrong from now on, for a while or until [`Backend::heal`]. When this returns the world can see it: a
    /// crashed server has no connections left and refuses new ones.
    pub fn inject_fault(&self, kind: FaultKind, lasts: Option<Duration>) {
        let until = lasts.map(|lasts| Nanos(lasts.as_nanos() as u64));
        self.inner.state().server_model.inject_fault(self.inner.now(), TimedFault { at: Nanos::ZERO, until, kind });
        self.inner.bell.notify_one();
        if kind == (FaultKind::Crash { silent: false }) && lasts.is_none() {
            self.inner.wait(|gauge| !gauge.listening && gauge.connections == 0);
        }
    }

    /// Ends what goes wrong now. When this returns the server takes connections again.
    pub fn heal(&self) {
        self.inner.state().server_model.heal(self.inner.now());
        self.inner.bell.notify_one();
        self.inner.wait(|gauge| gauge.listening);
    }

    /// Drops all connections at once and refuses new ones, until [`Backend::heal`].
    pub fn kill(&self) {
        self.inject_fault(FaultKind::Crash { silent: false }, None);
    }

    /// Stops for good: no new connections, and half a second for answers under way.
    pub fn stop(self) -> Counters {
        self.end();
        self.counters()
    }

    fn end(&self) {
        self.inner.life.send_modify(|life| life.stopping = true);
        self.inner.bell.notify_one();
        self.inner.wait(|gauge| !gauge.listening && gauge.connections == 0);
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if !self.inner.is_stopping() {
            self.end();
        }
    }
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Backend({} at {}, {:?})", self.name(), self.address(), self.thread.0)
    }
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    socket.set_nonblocking(true)?;
    socket.listen(1024)?;
    Ok(socket.into())
}

/// A socket that holds the port, and one that listens on it.
fn reserve(address: SocketAddr) -> io::Result<(Socket, TcpListener)> {
    let port = socket(address)?;
    let bound = port.local_addr()?.as_socket().unwrap_or(address);
    Ok((port, listener(bound)?))
}

/// Lets happen in a server what happens by itself, and says so to the rest.
async fn drive(inner: Arc<Inner>, mut timer: PreciseTimer) {
    loop {
        let next = {
            let mut state = inner.state();
            state.server_model.advance(inner.now());
            let (condition, deaths) = (state.server_model.condition(), state.server_model.deaths());
            inner.deaths.store(deaths, Ordering::Relaxed);
            inner.life.send_if_modified(|life| {
                let new = Life { deaths, up: condition.up, silent: condition.silent, ..*life };
                std::mem::replace(life, new) != new
            });
            state.wakes = state.server_model.next();
            state.wakes
        };
        match next {
            Some(next) => {
                let at = inner.epoch + Duration::from_nanos(next.0);
                tokio::select! {
                    () = timer.until(at) => {}
                    () = inner.bell.notified() => {}
                }
            }
            None => inner.bell.notified().await,
        }
    }
}

/// Takes connections while it lives, until it is stopped.
async fn listen(inner: Arc<Inner>, first: TcpListener) {
    let mut listening = tokio::net::TcpListener::from_std(first).ok();
    let mut life = inner.watch();
    loop {
        let now = *life.borrow_and_update();
        if !now.listens() {
            listening = None;
        } else if listening.is_none() {
            listening = listener(inner.address).and_then(tokio::net::TcpListener::from_std).ok();
        }
        inner.show(|gauge| gauge.listening = listening.is_some());
        if now.stopping {
            break;
        }
        let Some(socket) = &listening else {
            // If the port could not be had although the server lives, somebody else's hold on it will pass.
            let again = tokio::time::sleep(Duration::from_millis(if now.listens() { 10 } else { 3_600_000 }));
            tokio::select! {
                _ = life.changed() => {}
                () = again => {}
            }
            continue;
        };
        tokio::select! {
            _ = life.changed() => {}
            taken = socket.accept() => match taken {
                Ok((stream, _)) => {
                    let _ = stream.set_nodelay(true);
                    inner.state().server_model.counters.connections += 1;
                    tokio::spawn(serve(ClientConnection::new(stream, inner.clone())));
                }
                // Out of file descriptors, or the like.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
        }
    }
    let _ = tokio::time::timeout(GRACE, async {
        while lock(&inner.gauge).connections > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// Serves `/_fault` alone, whatever becomes of the server.
async fn take_orders(inner: Arc<Inner>, listener: TcpListener) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let mut life = inner.watch();
    while !life.borrow_and_update().stopping {
        tokio::select! {
            _ = life.changed() => {}
            taken = listener.accept() => match taken {
                Ok((stream, _)) => {
                    let inner = inner.clone();
                    tokio::spawn(async move {
                        let service = service_fn(|request| handler::order(inner.clone(), request));
                        let builder = auto::Builder::new(TokioExecutor::new());
                        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                    });
                }
                // Out of file descriptors, or the like.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
        }
    }
}

/// One connection, until it ends, the server dies or is stopped.
async fn serve(connection: ClientConnection) {
    let inner = connection.open.0.clone();
    let mut life = inner.watch();
    let deaths = connection.deaths;
    let service = service_fn(|request| handler::handle(inner.clone(), request));
    let builder = auto::Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(connection), service);
    tokio::pin!(connection);
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            changed = life.changed() => {
                let now = *life.borrow_and_update();
                if changed.is_err() || now.deaths != deaths && !now.silent {
                    return;
                }
                if now.stopping {
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// Counts a connection for as long as it is open.
struct Open(Arc<Inner>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.show(|gauge| gauge.connections -= 1);
    }
}

/// A connection's socket. If its server died meanwhile, it ends with a reset.
struct ClientConnection {
    stream: TcpStream,
    deaths: u64,
    /// After the socket: fields are dropped in order, and what is counted must still be open.
    open: Open,
}

impl ClientConnection {
    fn new(stream: TcpStream, inner: Arc<Inner>) -> ClientConnection {
        inner.show(|gauge| gauge.connections += 1);
        let deaths = inner.life.borrow().deaths;
        ClientConnection { stream, deaths, open: Open(inner) }
    }
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        if self.open.0.deaths.load(Ordering::Relaxed) != self.deaths {
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

mod plumbing {
    //! A [`ClientConnection`] reads and writes as its socket does.

    use std::pin::Pin;
    use std::task::{Context, Poll};

    use super::{AsyncRead, AsyncWrite, ClientConnection, ReadBuf, io};

    impl AsyncRead for ClientConnection {
        fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.get_mut().stream).poll_read(cx, into)
        }
    }

    impl AsyncWrite for ClientConnection {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.get_mut().stream).poll_write(cx, from)
        }
        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            from: &[io::IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, from)
        }
        fn is_write_vectored(&self) -> bool {
            self.stream.is_write_vectored()
        }
        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.get_mut().stream).poll_flush(cx)
        }
        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
        }
    }
}
