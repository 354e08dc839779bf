//! What the tasks of a connection report, and the spawning of these tasks.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::Future;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use hyper::client::conn::http2;
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::upload::{Upload, UploadState};
use super::{Dial, Http2Pool, STREAMS};
use crate::lazy_timeout::IdleTimer;
use crate::upstream_error::ConnectError;

/// How long a connection without requests may take to send GOAWAY and to close.
const CLOSE: Duration = Duration::from_secs(5);

/// The stream limit that hyper is given before the server's SETTINGS have come. No SETTINGS can hold it, so any other value
/// means that they have come.
pub(super) const UNKNOWN: usize = usize::MAX - 1;

/// State that a connection's tasks report.
pub(super) struct Monitor {
    pool: Weak<Http2Pool>,
    /// `None` when the server's SETTINGS have come, or the connection has ended.
    dial: RefCell<Option<Dial>>,
    pub(super) peer: OnceCell<Weak<dyn Peer>>,
    /// The task of the socket has been spawned.
    started: Cell<bool>,
    /// No more requests: the socket has [`CLOSE`] to close.
    closing: Cell<bool>,
    /// Wakes the task of the socket.
    waker: RefCell<Option<Waker>>,
    /// Uploads on it.
    pub(super) uploads: RefCell<Vec<Rc<UploadState>>>,
    /// An upload that was polled for the first time just now.
    pub(super) begun: RefCell<Option<Rc<UploadState>>>,
}

impl Monitor {
    pub(super) fn new(pool: Weak<Http2Pool>, dial: Dial) -> Monitor {
        Monitor {
            pool,
            dial: RefCell::new(Some(dial)),
            peer: OnceCell::new(),
            started: Cell::new(false),
            closing: Cell::new(false),
            waker: RefCell::default(),
            uploads: RefCell::default(),
            begun: RefCell::default(),
        }
    }

    /// The server's limit; `UNKNOWN` before its SETTINGS.
    pub(super) fn said(&self) -> usize {
        self.peer.get().and_then(Weak::upgrade).map_or(UNKNOWN, |peer| peer.max_streams())
    }

    /// Requests that the connection may carry. Before the server's SETTINGS, only the one that opened it is on it.
    pub(super) fn streams(&self) -> usize {
        match self.said() {
            UNKNOWN => 0,
            said => said.min(STREAMS),
        }
    }

    /// The socket has made progress. Returns whether the connection can be used.
    fn moved(&self) -> bool {
        if self.dial.borrow().is_none() || self.said() == UNKNOWN {
            return true;
        }
        let streams = self.streams();
        if streams == 0 {
            // Its first request would wait for a stream until it times out.
            self.fail(&ConnectError::NoStream);
            return false;
        }
        if let Some(pool) = self.pool.upgrade() {
            pool.expected.set(streams);
        }
        drop(self.dial.take());
        true
    }

    fn fail(&self, error: &ConnectError) {
        if let Some(dial) = self.dial.take() {
            drop(dial);
            if let Some(pool) = self.pool.upgrade() {
                pool.failed(error);
            }
        }
    }

    pub(super) fn close(&self) {
        self.closing.set(true);
        drop(self.dial.take());
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    pub(super) fn upload(&self) -> Rc<UploadState> {
        let state = Rc::new(UploadState::default());
        self.uploads.borrow_mut().push(Rc::clone(&state));
        state
    }

    /// Runs the task of the socket.
    async fn run(self: Rc<Self>, socket: impl Future<Output: 'static>) {
        let mut socket = pin!(socket);
        let mut closing = IdleTimer::default();
        std::future::poll_fn(|cx| {
            if socket.as_mut().poll(cx).is_ready() || !self.moved() {
                return Poll::Ready(());
            }
            if self.closing.get() {
                return closing.poll(CLOSE, cx);
            }
            let mut waker = self.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
        let error = std::io::Error::new(std::io::ErrorKind::ConnectionAborted, "closed before SETTINGS");
        self.fail(&ConnectError::Failed(error));
    }
}

/// What hyper knows of the server.
pub(super) trait Peer {
    fn max_streams(&self) -> usize;
}

impl<T> Peer for RefCell<http2::Connection<TokioIo<T>, Upload, Spawner>>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn max_streams(&self) -> usize {
        // The task that holds it is not the one of the socket and never asks.
        self.try_borrow().map_or(UNKNOWN, |connection| connection.current_max_send_streams())
    }
}

/// Spawns the tasks of one connection on this thread.
#[derive(Clone)]
pub(super) struct Spawner(pub(super) Rc<Monitor>);

impl<F> Executor<F> for Spawner
where
    F: Future<Output: 'static> + 'static,
{
    fn execute(&self, future: F) {
        let monitor = &self.0;
        // The first task of a connection is that of its socket.
        if !monitor.started.replace(true) {
            tokio::task::spawn_local(Rc::clone(monitor).run(future));
            return;
        }
        let task = tokio::task::spawn_local(future);
        // An upload is polled once and, if it is not over by then, gets a task of its own.
        if let Some(upload) = monitor.begun.take() {
            upload.run_by(task.abort_handle());
        }
    }
}
