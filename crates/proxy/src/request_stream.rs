//! The body of a request on its way from the front that reads it to the request that takes it. At most one piece is held, and
//! the client is read no faster than pieces are taken.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// What both ends share.
#[derive(Default)]
struct Inner {
    piece: Bytes,
    trailers: Option<HeaderMap>,
    /// Nothing follows `piece` and `trailers`.
    ended: bool,
    failed: bool,
    /// A piece is waited for.
    wanted: bool,
    reader: Option<Waker>,
    feeder: Option<Waker>,
    /// How long it is, where that is known.
    length: Option<u64>,
}

/// The end that takes the body.
pub struct RequestStream(Rc<RefCell<Inner>>);

/// The end that reads it from the client.
pub struct Feed(Rc<RefCell<Inner>>);

/// The body broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// Both ends of a body that is not empty. `length` is `None` in chunks.
pub fn new(length: Option<u64>) -> (Feed, RequestStream) {
    let inner = Rc::new(RefCell::new(Inner { length, ..Inner::default() }));
    (Feed(Rc::clone(&inner)), RequestStream(inner))
}

impl Feed {
    /// Whether a piece is waited for. If not, the task is woken when one is.
    pub fn is_wanted(&self, cx: &mut Context<'_>) -> bool {
        let inner = &mut *self.0.borrow_mut();
        if inner.wanted {
            inner.feeder = None;
        } else {
            inner.feeder = Some(cx.waker().clone());
        }
        inner.wanted
    }

    /// Hands on a piece, and with `over` says that it is the last.
    pub fn push(&self, piece: Bytes, over: bool) {
        let inner = &mut *self.0.borrow_mut();
        inner.piece = piece;
        inner.ended = over;
        inner.wake();
    }

    /// Says that the body is over, with these trailers.
    pub fn end(&self, trailers: Option<HeaderMap>) {
        let inner = &mut *self.0.borrow_mut();
        inner.trailers = trailers;
        inner.ended = true;
        inner.wake();
    }

    /// Says that nothing more will come.
    pub fn fail(&self) {
        let inner = &mut *self.0.borrow_mut();
        inner.failed = true;
        inner.wake();
    }
}

impl Inner {
    fn wake(&mut self) {
        self.wanted = false;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl Body for RequestStream {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let inner = &mut *self.0.borrow_mut();
        if !inner.piece.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut inner.piece)))));
        }
        if inner.failed {
            return Poll::Ready(Some(Err(Broken)));
        }
        if inner.ended {
            return Poll::Ready(inner.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
        }
        inner.wanted = true;
        match &mut inner.reader {
            Some(known) => known.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        if let Some(feeder) = inner.feeder.take() {
            feeder.wake();
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        let inner = self.0.borrow();
        inner.ended && inner.piece.is_empty() && inner.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.borrow().length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// A client's body, whichever front reads it.
pub enum ClientBody {
    /// hyper's.
    Hyper(Incoming),
    /// The proxy's own.
    Own(RequestStream),
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut *self {
            ClientBody::Hyper(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(|_| Broken)))
            }
            ClientBody::Own(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ClientBody::Hyper(body) => body.is_end_stream(),
            ClientBody::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ClientBody::Hyper(body) => body.size_hint(),
            ClientBody::Own(body) => body.size_hint(),
        }
    }
}
