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
//! The behaviour of a server is documented at [`Spec`]. A crash closes every connection with a reset and stops listening,
//! but keeps the port, so that no other process gets it meanwhile; a silent crash still accepts connections and answers
//! nothing. Fault requests that end a crash are accepted at a separate address ([`Backend::control_address`]), which no
//! crash closes.
//!
//! Limitations: no early hints (103), which hyper's server does not send; and during a silent crash the kernel still accepts
//! connections.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use socket2::{Domain, Protocol, Socket, Type};

use super::connection::ClientConnection;
use super::handler;
use super::precise_timer::PreciseTimer;
pub use super::server_model::Counters;
use super::shared::{Shared, lock};
pub use super::spec::Spec;
pub use evenkeel_config::fault::TimedFault;
use evenkeel_config::fault::{self, Crash, FaultKind};
use evenkeel_core::units::Nanos;

/// Time that a stopped server waits for responses in progress.
const GRACE: Duration = Duration::from_millis(500);

/// A running test server. It stops when dropped.
pub struct Backend {
    shared: Arc<Shared>,
    thread: Arc<Thread>,
}

/// The thread on which one or more servers run. Dropping the last of them waits for its end.
struct Thread(Mutex<Option<JoinHandle<()>>>);

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(thread) = lock(&self.0).take() {
            let _ = thread.join();
        }
    }
}

impl Backend {
    /// Starts a server on a thread of its own. It accepts connections when this returns.
    pub fn start(spec: Spec) -> io::Result<Backend> {
        let mut all = Backend::start_all(vec![spec])?;
        all.pop().ok_or_else(|| io::Error::other("no server was started"))
    }

    /// Starts several servers on one thread. If one fails to start, none runs.
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
            let control_address = control.as_ref().map(TcpListener::local_addr).transpose()?;
            let shared = Arc::new(Shared::new(spec, address, control_address, port)?);
            let timer = {
                let _inside = runtime.enter();
                PreciseTimer::new()?
            };
            servers.push((shared, listener, control, timer));
        }
        let all: Vec<Arc<Shared>> = servers.iter().map(|(shared, ..)| shared.clone()).collect();
        let run = move || {
            runtime.block_on(async {
                let mut tasks = Vec::new();
                for (shared, listener, control, timer) in servers {
                    tokio::spawn(drive(shared.clone(), timer));
                    if let Some(control) = control {
                        tokio::spawn(serve_control(shared.clone(), control));
                    }
                    tasks.push(tokio::spawn(listen(shared, listener)));
                }
                for task in tasks {
                    let _ = task.await;
                }
            });
            // Tasks that still run are dropped, and their connections with them.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("test servers".to_owned()).spawn(run)?;
        let thread = Arc::new(Thread(Mutex::new(Some(thread))));
        Ok(all.into_iter().map(|shared| Backend { shared, thread: thread.clone() }).collect())
    }

    /// Its listen address.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Its address for fault requests, served even while it is down; `None` unless [`Spec::control`] is set.
    pub fn control_address(&self) -> Option<SocketAddr> {
        self.shared.control
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.shared.spec.server.name
    }

    /// `http://127.0.0.1:9001`
    pub fn url(&self) -> String {
        format!("http://{}", self.shared.address)
    }

    /// Its counters so far.
    pub fn counters(&self) -> Counters {
        let mut state = self.shared.state();
        state.server_model.advance(self.shared.now());
        state.server_model.counters
    }

    /// Starts a fault, for a given time or until [`Backend::heal`]. When this returns, clients can observe it: a crashed
    /// server has no connections left and refuses new ones.
    pub fn inject_fault(&self, kind: impl Into<FaultKind>, lasts: Option<Duration>) {
        let kind = kind.into();
        let lasts = lasts.map(|lasts| Nanos(lasts.as_nanos() as u64));
        self.shared.inject_faults(fault::timed(kind, Nanos::ZERO, lasts).into_iter().map(|(fault, _)| fault));
        let condition = kind.condition();
        if !condition.up && !condition.silent && lasts.is_none() {
            self.shared.wait(|gauge| !gauge.listening && gauge.connections == 0);
        }
    }

    /// Ends all faults that are active. When this returns the server accepts connections again.
    pub fn heal(&self) {
        self.shared.heal();
        self.shared.wait(|gauge| gauge.listening);
    }

    /// Drops all connections at once and refuses new ones, until [`Backend::heal`].
    pub fn kill(&self) {
        self.inject_fault(Crash { silent: false }, None);
    }

    /// Stops permanently: no new connections, and half a second for responses in progress.
    pub fn stop(self) -> Counters {
        self.end();
        self.counters()
    }

    fn end(&self) {
        self.shared.life.send_modify(|life| life.stopping = true);
        self.shared.bell.notify_one();
        self.shared.wait(|gauge| !gauge.listening && gauge.connections == 0);
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if !self.shared.is_stopping() {
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

/// The driver task: runs a server's scheduled events when they are due.
async fn drive(shared: Arc<Shared>, mut timer: PreciseTimer) {
    loop {
        match shared.catch_up() {
            Some(next) => {
                let at = shared.epoch + Duration::from_nanos(next.0);
                tokio::select! {
                    () = timer.until(at) => {}
                    () = shared.bell.notified() => {}
                }
            }
            None => shared.bell.notified().await,
        }
    }
}

/// Accepts connections while the server is up, until it is stopped.
async fn listen(shared: Arc<Shared>, first: TcpListener) {
    let mut listening = tokio::net::TcpListener::from_std(first).ok();
    let mut life = shared.watch();
    loop {
        let now = *life.borrow_and_update();
        if !now.listens() {
            listening = None;
        } else if listening.is_none() {
            listening = listener(shared.address).and_then(tokio::net::TcpListener::from_std).ok();
        }
        shared.show(|gauge| gauge.listening = listening.is_some());
        if now.stopping {
            break;
        }
        let Some(socket) = &listening else {
            // If the port is not free although the server is up, another process uses it for a moment.
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
                    shared.state().server_model.counters.connections += 1;
                    tokio::spawn(serve(ClientConnection::new(stream, shared.clone())));
                }
                // For example, out of file descriptors.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
        }
    }
    let _ = tokio::time::timeout(GRACE, async {
        while shared.connections() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// Serves `/_fault` alone, also while the server is down.
async fn serve_control(shared: Arc<Shared>, listener: TcpListener) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let mut life = shared.watch();
    while !life.borrow_and_update().stopping {
        tokio::select! {
            _ = life.changed() => {}
            taken = listener.accept() => match taken {
                Ok((stream, _)) => {
                    let shared = shared.clone();
                    tokio::spawn(async move {
                        let service = service_fn(|request| handler::control(shared.clone(), request));
                        let builder = auto::Builder::new(TokioExecutor::new());
                        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                    });
                }
                // For example, out of file descriptors.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
        }
    }
}

/// Serves one connection, until it ends, or the server crashes or stops.
async fn serve(connection: ClientConnection) {
    let shared = connection.server();
    let mut life = shared.watch();
    let deaths = connection.deaths();
    let service = service_fn(|request| handler::handle(shared.clone(), request));
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
