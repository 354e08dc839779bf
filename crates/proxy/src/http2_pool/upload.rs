//! The bodies of requests on their way to the server, watched so that one that stalls stops no others.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::monitor::Monitor;
use crate::body::{BodyFault, UpBody};

/// An upload of known length that is longer than this ends with a frame of one byte. hyper takes a piece as soon as the
/// server's window has room for a byte of it, and says nothing of the rest; a piece of one byte has left when it was taken.
const ONE_FRAME: usize = 4096;

/// The state of an upload.
#[derive(Default)]
pub(super) struct UploadState {
    /// When the piece was read that the server has not taken yet.
    pub(super) offered: Cell<Option<Instant>>,
    begun: Cell<bool>,
    pub(super) over: Cell<bool>,
    aborted: Cell<bool>,
    task: RefCell<Option<AbortHandle>>,
}

impl UploadState {
    pub(super) fn run_by(&self, task: AbortHandle) {
        if self.aborted.get() {
            task.abort();
        } else {
            *self.task.borrow_mut() = Some(task);
        }
    }

    /// Ends the upload, which resets its stream. hyper would wait for the server's window without end.
    pub(super) fn abort(&self) {
        self.aborted.set(true);
        if let Some(task) = self.task.take()
            && !self.over.get()
        {
            task.abort();
        }
    }
}

/// The body of a request.
pub(super) struct Upload {
    inner: UpBody,
    /// `None` if it has none.
    meter: Option<(Rc<UploadState>, Rc<Monitor>)>,
    length: usize,
    last_byte: Option<Bytes>,
}

impl Upload {
    /// The body of a request, watched if there is one.
    pub(super) fn new(inner: UpBody, meter: Option<(Rc<UploadState>, Rc<Monitor>)>) -> Upload {
        Upload { inner, meter, length: 0, last_byte: None }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let Upload { inner, meter, length, last_byte } = &mut *self;
        if let Some((state, monitor)) = meter {
            state.offered.set(None);
            if !state.begun.replace(true) {
                *monitor.begun.borrow_mut() = Some(Rc::clone(state));
            }
        }
        let mut frame = match last_byte.take() {
            Some(last) => Some(Ok(Frame::data(last))),
            None => ready!(Pin::new(&mut *inner).poll_frame(cx)),
        };
        if let (Some((state, _)), Some(Ok(frame))) = (meter, &mut frame)
            && let Some(data) = frame.data_mut()
        {
            state.offered.set(Some(Instant::now()));
            *length += data.len();
            if *length > ONE_FRAME && data.len() > 1 && inner.is_end_stream() {
                *last_byte = Some(data.split_off(data.len() - 1));
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.last_byte.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some((state, monitor)) = &self.meter else { return };
        state.over.set(true);
        state.task.take();
        monitor.uploads.borrow_mut().retain(|other| !Rc::ptr_eq(other, state));
        monitor.begun.borrow_mut().take_if(|begun| Rc::ptr_eq(begun, state));
    }
}
