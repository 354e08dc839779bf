//! `Expect: 100-continue` (RFC 9110, 10.1.1): a client that sends it waits with the body until it is invited. The expectation
//! goes on to the server, and the client is invited when the server says `100 Continue`, so that a refusal (401, 413, 417)
//! comes before the body and not behind it. Servers that do not know the expectation say nothing: then the client is invited
//! after [`WAIT`], as clients themselves do.
//!
//! HAProxy passes the expectation on as well; nginx and (by default) Envoy invite at once and hide the expectation.
//!
//! hyper invites by itself when the body is asked for, so all that is needed is not to ask before: see [`Gate`].

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{HeaderMap, header};
use tokio::time::{Sleep, sleep};

/// The longest wait for the server's `100 Continue`: what curl waits by itself.
pub const WAIT: Duration = Duration::from_secs(1);

/// Whether a request expects `100 Continue`.
pub fn is_expected(headers: &HeaderMap) -> bool {
    headers.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Opens when the server has invited, or after a while.
pub struct Gate {
    shared: Arc<Shared>,
    timer: Pin<Box<Sleep>>,
}

/// Opens a [`Gate`] from elsewhere.
#[derive(Clone)]
pub struct Key(Arc<Shared>);

#[derive(Default)]
struct Shared {
    open: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Gate {
    /// A gate that opens by itself after `longest`, and the key to it.
    pub fn new(longest: Duration) -> (Gate, Key) {
        let shared = Arc::new(Shared::default());
        (Gate { shared: Arc::clone(&shared), timer: Box::pin(sleep(longest)) }, Key(shared))
    }

    /// Ready when it is open.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.shared.open.load(Relaxed) {
            return Poll::Ready(());
        }
        *self.shared.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        self.timer.as_mut().poll(cx)
    }
}

impl Key {
    /// Opens the gate.
    pub fn open(&self) {
        self.0.open.store(true, Relaxed);
        if let Some(waker) = self.0.waker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waker.wake();
        }
    }
}
