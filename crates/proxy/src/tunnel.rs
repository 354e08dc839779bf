//! What a connection becomes when both sides have agreed to leave HTTP (RFC 9110, 7.8): bytes both ways until one side
//! closes, nothing has moved for too long, or the shard is cut off.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::time::sleep;

use super::state::ShardState;

/// Copies bytes in both directions. Returns the bytes sent to the client and whether the tunnel was closed cleanly.
pub async fn run(client: OnUpgrade, server: OnUpgrade, idle: Duration, shard: &ShardState) -> (u64, bool) {
    let (client, server) = match tokio::try_join!(client, server) {
        Ok(both) => both,
        Err(_) => return (0, false),
    };
    let moved = Arc::new(AtomicU64::new(0));
    let mut client = Moving { inner: TokioIo::new(client), moved: Arc::clone(&moved) };
    let mut server = TokioIo::new(server);
    let _open = shard.tunnel();
    let copied = {
        let copy = copy_bidirectional(&mut client, &mut server);
        let still = async {
            let mut before = moved.load(Relaxed);
            loop {
                sleep(idle).await;
                let now = moved.load(Relaxed);
                if now == before {
                    return;
                }
                before = now;
            }
        };
        tokio::select! {
            copied = copy => copied.ok(),
            () = still => None,
            () = shard.cut_off() => None,
        }
    };
    match copied {
        Some((_, sent)) => (sent, true),
        None => (0, false),
    }
}

/// Counts bytes on the client's side, in both directions.
struct Moving<T> {
    inner: T,
    moved: Arc<AtomicU64>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Moving<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.moved.fetch_add((buf.filled().len() - before) as u64, Relaxed);
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Moving<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        if let Poll::Ready(Ok(n)) = written {
            self.moved.fetch_add(n as u64, Relaxed);
        }
        written
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
