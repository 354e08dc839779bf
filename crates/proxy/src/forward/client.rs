//! A client's connection, as its requests share it.

use std::cell::RefCell;
use std::rc::Rc;

use http::HeaderValue;
use tokio::task::AbortHandle;

use crate::answer_timer::StreamTask;
use crate::headers::Peer;
use crate::lazy_timeout::ReusableTimer;

/// A client's connection, as its requests share it.
pub struct ClientConnection {
    /// Who is at its other end.
    pub peer: Peer,
    /// The timer that bounds the wait for an answer.
    pub(super) reusable: ReusableTimer,
    /// The request that the library is about to make a task for: HTTP/2 only.
    pub(super) next_stream: RefCell<Option<StreamTask>>,
    /// The authority that its last request named, found sound. The next one will name the same.
    pub(super) named: RefCell<Rc<str>>,
}

impl ClientConnection {
    /// A new connection of this peer's.
    pub fn new(peer: Peer) -> ClientConnection {
        ClientConnection {
            peer,
            reusable: ReusableTimer::default(),
            next_stream: RefCell::new(None),
            named: RefCell::new(Rc::from("")),
        }
    }

    /// A request of HTTP/2 has come: the next task that is made is the one that answers it.
    pub fn expect_stream(&self) -> StreamTask {
        let stream = StreamTask::default();
        *self.next_stream.borrow_mut() = Some(Rc::clone(&stream));
        stream
    }

    /// The task was made.
    pub fn stream_began(&self, task: AbortHandle) {
        if let Some(stream) = self.next_stream.take() {
            stream.set(Some(task));
        }
    }

    /// The authority, if it is the one of the last request.
    pub(super) fn known(&self, host: &HeaderValue) -> Option<Rc<str>> {
        let named = self.named.borrow();
        (!named.is_empty() && named.as_bytes() == host.as_bytes()).then(|| Rc::clone(&named))
    }
}
