//! A client's connection, as its requests share it.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::task::AbortHandle;

use crate::headers::Peer;
use crate::lazy_timeout::ReusableTimer;
use crate::response_timer::StreamTask;

/// A client's connection, as its requests share it.
pub struct ClientConnection {
    /// The peer at its other end.
    pub peer: Peer,
    /// Bounds the wait for a response's head.
    pub(super) response_timer: ReusableTimer,
    /// The request that hyper is about to make a task for: HTTP/2 only.
    next_stream: RefCell<Option<StreamTask>>,
    /// The authority that the last request named, found valid. The next request will name the same.
    authority: RefCell<Rc<str>>,
}

impl ClientConnection {
    /// A new connection of this peer.
    pub fn new(peer: Peer) -> ClientConnection {
        ClientConnection {
            peer,
            response_timer: ReusableTimer::default(),
            next_stream: RefCell::new(None),
            authority: RefCell::new(Rc::from("")),
        }
    }

    /// A request of HTTP/2 has come: the next task that is made is the one that answers it.
    pub fn expect_stream(&self) -> StreamTask {
        let stream = StreamTask::default();
        *self.next_stream.borrow_mut() = Some(Rc::clone(&stream));
        stream
    }

    /// The task was spawned.
    pub fn stream_began(&self, task: AbortHandle) {
        if let Some(stream) = self.next_stream.take() {
            stream.set(Some(task));
        }
    }

    /// The authority in `host`, if it is the one of the last request.
    pub(super) fn known_authority(&self, host: &[u8]) -> Option<Rc<str>> {
        let authority = self.authority.borrow();
        (!authority.is_empty() && authority.as_bytes() == host).then(|| Rc::clone(&authority))
    }

    /// Keeps a valid authority for the next request.
    pub(super) fn remember_authority(&self, authority: &str) -> Rc<str> {
        let authority: Rc<str> = Rc::from(authority);
        *self.authority.borrow_mut() = Rc::clone(&authority);
        authority
    }
}
