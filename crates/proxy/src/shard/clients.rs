//! Connections of clients: accepted, counted, handed to hyper, watched until they end.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use http::Version;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::access;
use crate::client_io::{ClientIo, ClientIoState, ClientTimeouts, Refused};
use crate::clock::duration;
use crate::forward::{self, ClientConnection};
use crate::front::{self, Left};
use crate::headers::Peer;
use crate::metrics::ProxyMetrics;
use crate::state::ShardState;
use crate::tls;
use crate::upstream_error::is_shortage;
use evenkeel_config::proxy::LimitsTable;
use evenkeel_core::units::Nanos;

/// hyper's default limit of fields. Up to it, hyper parses into an array on the stack, which is faster. Limits below it
/// are kept when the head is checked.
const DEFAULT_MAX_HEADERS: usize = 100;

/// Bytes of uploads that an HTTP/2 connection of a client may have under way at once, unless its streams would get less than
/// [`MIN_WINDOW`] each by that.
const UPLOADS: u32 = 8 * 1024 * 1024;

/// A stream's least window in bytes, whatever the number of streams: what Envoy advises for clients that are not trusted.
const MIN_WINDOW: u32 = 64 * 1024;

/// A stream's largest window in bytes, however few streams there are: hyper's own default.
const MAX_WINDOW: u32 = 1024 * 1024;

/// Bytes of a response that are held for the socket, for each stream of an HTTP/2 connection. hyper's default is 400 KiB.
const SEND_BUFFER: usize = 64 * 1024;

/// Whether plain requests of HTTP/1.1 are served by the proxy's own [`front`] or by hyper: `EVENKEEL_HTTP1_FRONT` is `own`, the
/// default, or `hyper`.
fn own_front() -> bool {
    std::env::var_os("EVENKEEL_HTTP1_FRONT").is_none_or(|front| front != "hyper")
}

/// The windows of a stream and of its connection, in bytes. All streams together never use up that of the connection: an
/// upload that its server does not take leaves the others alone (RFC 9113, 5.2).
fn windows(streams: u32) -> (u32, u32) {
    let stream = (UPLOADS / streams).clamp(MIN_WINDOW, MAX_WINDOW);
    (stream, stream * streams)
}

/// A client's connection while it is open, tunnel or not.
struct ConnectionPermit {
    connections: Arc<AtomicU32>,
    metrics: Arc<ProxyMetrics>,
}

impl ConnectionPermit {
    /// Takes a permit for one more connection; `None` at the limit.
    fn enter(connections: &Arc<AtomicU32>, metrics: &Arc<ProxyMetrics>, max: u32) -> Option<ConnectionPermit> {
        if connections.fetch_add(1, Relaxed) >= max {
            connections.fetch_sub(1, Relaxed);
            metrics.connection_refused();
            return None;
        }
        metrics.connection_opened();
        Some(ConnectionPermit { connections: Arc::clone(connections), metrics: Arc::clone(metrics) })
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Relaxed);
        self.metrics.connection_closed();
    }
}

/// The clients' connections of a shard.
pub(super) struct Clients {
    state: Rc<ShardState>,
    /// Client connections over all shards.
    connections: Arc<AtomicU32>,
    /// See [`super::ShardInit::most_connections`].
    most_connections: u32,
    /// TLS for each listener.
    acceptors: RefCell<Vec<Option<TlsAcceptor>>>,
    /// Connections that come from here on end after one request.
    leaving: Cell<bool>,
    /// Plain requests are served by [`front`], and not by hyper.
    own_front: bool,
    open: RefCell<BTreeMap<u64, Arc<ClientIoState>>>,
    next: Cell<u64>,
}

impl Clients {
    pub(super) fn new(state: Rc<ShardState>, connections: Arc<AtomicU32>, most_connections: u32) -> Clients {
        Clients {
            state,
            connections,
            most_connections,
            acceptors: RefCell::new(Vec::new()),
            leaving: Cell::new(false),
            own_front: own_front(),
            open: RefCell::new(BTreeMap::new()),
            next: Cell::new(0),
        }
    }

    /// TLS for each listener, from the next connection on.
    pub(super) fn set_acceptors(&self, acceptors: &[Option<TlsAcceptor>]) {
        *self.acceptors.borrow_mut() = acceptors.to_vec();
    }

    /// Closes each connection as soon as it has no request.
    pub(super) fn close(&self) {
        self.leaving.set(true);
        self.open.borrow().values().for_each(|client_io| client_io.close());
    }

    /// Ends each connection now.
    pub(super) fn cut(&self) {
        self.open.borrow().values().for_each(|client_io| client_io.cut());
    }

    /// Whether no connection is left.
    pub(super) fn is_empty(&self) -> bool {
        self.open.borrow().is_empty()
    }

    /// Accepts connections until the task is aborted. `place` is the listener's place in the config, which a reload may
    /// change.
    pub(super) async fn accept(self: Rc<Self>, listener: TcpListener, place: Rc<Cell<usize>>) {
        let port = listener.local_addr().map_or(0, |address| address.port());
        loop {
            match listener.accept().await {
                Ok((stream, address)) => self.accepted(stream, address, port, place.get()),
                Err(error) if is_shortage(&error) => {
                    self.state.shortage(&error);
                    sleep(Duration::from_millis(20)).await;
                }
                // The client went away.
                Err(error) => tracing::debug!(%error, "accept"),
            }
        }
    }

    fn accepted(self: &Rc<Self>, stream: TcpStream, address: SocketAddr, port: u16, listener: usize) {
        let active_config = self.state.active_config();
        let max = active_config.config.limits.connections.min(self.most_connections);
        let Some(permit) = ConnectionPermit::enter(&self.connections, self.state.metrics(), max) else {
            return;
        };
        let clients = Rc::clone(self);
        let acceptor = self.acceptors.borrow().get(listener).cloned().flatten();
        let _ = stream.set_nodelay(true);
        tokio::task::spawn_local(async move {
            let client_connection = |tls| Rc::new(ClientConnection::new(Peer::new(address.ip(), port, tls)));
            let http2 = active_config.config.listeners.get(listener).is_none_or(|listener| listener.http2);
            let handshake = duration(active_config.config.timeouts.handshake);
            drop(active_config);
            match acceptor {
                None => clients.serve(stream, client_connection(None), http2, permit).await,
                Some(acceptor) => match timeout(handshake, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        let version = tls::version_name(stream.get_ref().1.protocol_version());
                        clients.serve(stream, client_connection(Some(version)), http2, permit).await;
                    }
                    Ok(Err(error)) => tracing::debug!(%error, client = %address, "TLS handshake"),
                    Err(_) => tracing::debug!(client = %address, "TLS handshake took too long"),
                },
            }
        });
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
        let active_config = self.state.active_config();
        let (timeouts, limits) = (active_config.config.timeouts, active_config.config.limits);
        drop(active_config);
        let timeouts = ClientTimeouts {
            header: duration(timeouts.header),
            keep_alive: duration(timeouts.keep_alive),
            stall: duration(timeouts.idle),
        };
        // The state lives as long as anything uses the socket: a tunnel's request holds on to it.
        let client_io_state = ClientIoState::new(Instant::now(), Box::new(permit));
        if self.leaving.get() {
            client_io_state.close();
        }
        let id = self.next.get();
        self.next.set(id + 1);
        self.open.borrow_mut().insert(id, Arc::clone(&client_io_state));
        std::future::poll_fn(|cx| {
            client_io_state.remember(cx.waker());
            Poll::Ready(())
        })
        .await;
        let shared = front::Shared {
            shard: &self.state,
            client_io: &client_io_state,
            client_connection: &client_connection,
            timeouts,
        };
        let left =
            if self.own_front { front::serve(stream, shared).await } else { Left::HandedOver(stream, Vec::new()) };
        match left {
            Left::HandedOver(stream, bytes) => {
                // Only the first bytes of a connection can be those of HTTP/2.
                let http2 = http2 && !client_io_state.has_begun();
                let client_io = ClientIo::resume(stream, Arc::clone(&client_io_state), timeouts, http2, bytes);
                Box::pin(self.serve_by_hyper(client_io, &client_io_state, &client_connection, &limits, http2)).await;
            }
            Left::Shut(stream) => {
                let mut client_io = ClientIo::new(stream, Arc::clone(&client_io_state), timeouts, false);
                let mut shutdown = Box::pin(client_io.shutdown());
                // What the client still sends is read for a moment, but not behind the end of a drain.
                std::future::poll_fn(|cx| {
                    if client_io_state.is_cut() { Poll::Ready(()) } else { shutdown.as_mut().poll(cx).map(drop) }
                })
                .await;
            }
            Left::Over => {}
        }
        self.open.borrow_mut().remove(&id);
    }

    /// Serves a connection, or the rest of it, by hyper.
    async fn serve_by_hyper<T>(
        self: &Rc<Self>,
        client_io: ClientIo<T>,
        client_io_state: &Arc<ClientIoState>,
        client_connection: &Rc<ClientConnection>,
        limits: &LimitsTable,
        http2: bool,
    ) where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let builder = builder(client_connection, limits, http2);
        let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
            let stream = (request.version() == Version::HTTP_2).then(|| client_connection.expect_stream());
            let (state, client_io) = (Rc::clone(&self.state), Arc::clone(client_io_state));
            forward::serve(state, client_io, Rc::clone(client_connection), stream, request)
        });
        let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(client_io), service));
        let mut closing = false;
        let ended = std::future::poll_fn(|cx| {
            if client_io_state.is_cut() {
                return Poll::Ready(Ok(()));
            }
            if client_io_state.is_closing() && !std::mem::replace(&mut closing, true) {
                connection.as_mut().graceful_shutdown();
            }
            let polled = connection.as_mut().poll(cx);
            if let Some(refused) = client_io_state.take_refused() {
                self.refused(&refused, &client_connection.peer);
            }
            polled
        })
        .await;
        if let Err(error) = ended {
            tracing::debug!(error = &*error, client = %client_connection.peer.address(), "connection");
        }
    }

    /// Counts and logs a head that was refused without becoming a request.
    fn refused(&self, refused: &Refused, peer: &Peer) {
        self.state.metrics().local_reply(refused.reason);
        if !self.state.active_config().logs() {
            return;
        }
        let took = refused.since.elapsed();
        let (method, path, query) = refused.request();
        self.state.log(&access::Entry {
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
}

/// hyper's settings for a client's connection.
fn builder(
    client_connection: &Rc<ClientConnection>,
    limits: &LimitsTable,
    http2: bool,
) -> auto::Builder<ClientExecutor> {
    let mut builder = auto::Builder::new(ClientExecutor(Rc::clone(client_connection)));
    builder
        .http1()
        .timer(TokioTimer::new())
        // `ClientIo` has time-outs of its own, which tell an idle connection from a slow head.
        .header_read_timeout(None)
        .half_close(false)
        // No `pipeline_flush`: with the first bytes of another request in, it holds responses, and refusals, back.
        .max_buf_size((limits.header_bytes as usize).max(8192));
    if limits.headers as usize > DEFAULT_MAX_HEADERS {
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
    if http2 { builder } else { builder.http1_only() }
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
