//! A client's connection: counted while it is open, and reset if its server dies.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::shared::Shared;

/// Counts a connection for as long as it is open.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.show(|gauge| gauge.connections -= 1);
    }
}

/// A connection's socket. It ends with a reset if its server has crashed meanwhile.
pub(super) struct ClientConnection {
    stream: TcpStream,
    deaths: u64,
    /// Declared after the socket: fields are dropped in order, and the count must include the connection until it is closed.
    open: Open,
}

impl ClientConnection {
    pub(super) fn new(stream: TcpStream, server: Arc<Shared>) -> ClientConnection {
        server.show(|gauge| gauge.connections += 1);
        let deaths = server.life.borrow().deaths;
        ClientConnection { stream, deaths, open: Open(server) }
    }

    /// The server that has accepted it.
    pub(super) fn server(&self) -> Arc<Shared> {
        self.open.0.clone()
    }

    /// Number of crashes of that server when it accepted the connection.
    pub(super) fn deaths(&self) -> u64 {
        self.deaths
    }
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        if self.open.0.deaths.load(Ordering::Relaxed) != self.deaths {
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

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
