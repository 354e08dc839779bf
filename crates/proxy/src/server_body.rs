//! The body of a server's response, whichever client side reads it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::body::ResponseFault;
use super::http1_client::ResponseBody;
use super::socket::Socket;

/// The body of a server's response, as the client side that was used gives it.
pub enum ServerBody {
    /// hyper's.
    Hyper(Incoming),
    /// The proxy's own.
    Own(ResponseBody<Socket>),
}

impl ServerBody {
    /// All of it, if it has come: see [`ResponseBody::take_whole`].
    pub fn take_whole(&mut self) -> Option<(Bytes, bool)> {
        match self {
            ServerBody::Own(body) => body.take_whole(),
            ServerBody::Hyper(_) => None,
        }
    }
}

impl Body for ServerBody {
    type Data = Bytes;
    type Error = ResponseFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseFault>>> {
        match &mut *self {
            ServerBody::Hyper(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(|_| ResponseFault::Broken)))
            }
            ServerBody::Own(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(|_| ResponseFault::Broken)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ServerBody::Hyper(body) => body.is_end_stream(),
            ServerBody::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ServerBody::Hyper(body) => body.size_hint(),
            ServerBody::Own(body) => body.size_hint(),
        }
    }
}
