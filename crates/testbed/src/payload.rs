//! The bodies of a test server's responses.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

/// Long bodies repeat this block.
const BLOCK: usize = 64 * 1024;

fn block() -> &'static Bytes {
    static BYTES: OnceLock<Bytes> = OnceLock::new();
    // Printable, and without runs of one byte, which an intermediary might compress to nothing.
    BYTES.get_or_init(|| (0..BLOCK).map(|i| b"evenkeel test server "[i % 21]).collect::<Vec<u8>>().into())
}

/// The body of a response.
pub(super) enum Payload {
    /// The whole body in one frame.
    Once(Option<Bytes>),
    /// Number of filler bytes left to send.
    Filling(u64),
    /// Frames of unknown number, which are chunks in HTTP/1.1.
    Pieces(VecDeque<Frame<Bytes>>),
    /// Server-sent events: their number, how many have been sent, and the interval.
    Events { count: u64, sent: u64, every: Duration, timer: Pin<Box<Sleep>> },
}

impl Payload {
    /// A body of this many filler bytes.
    pub(super) fn filling(bytes: u64) -> Payload {
        match usize::try_from(bytes) {
            Ok(0) => Payload::Once(None),
            Ok(length) if length <= BLOCK => Payload::Once(Some(block().slice(..length))),
            _ => Payload::Filling(bytes),
        }
    }

    /// A body with this text.
    pub(super) fn text(text: impl Into<String>) -> Payload {
        Payload::Once(Some(Bytes::from(text.into())))
    }

    /// Server-sent events at equal intervals, the first one at once.
    pub(super) fn events(count: u64, every: Duration) -> Payload {
        Payload::Events { count, sent: 0, every, timer: Box::pin(tokio::time::sleep(Duration::ZERO)) }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(match self.get_mut() {
            Payload::Once(bytes) => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
            Payload::Filling(0) => None,
            Payload::Filling(left) => {
                let length = (*left).min(BLOCK as u64);
                *left -= length;
                Some(Ok(Frame::data(block().slice(..length as usize))))
            }
            Payload::Pieces(pieces) => pieces.pop_front().map(Ok),
            Payload::Events { count, sent, .. } if sent == count => None,
            Payload::Events { sent, every, timer, .. } => {
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                *sent += 1;
                let next = timer.deadline() + *every;
                timer.as_mut().reset(next);
                Some(Ok(Frame::data(Bytes::from(format!("id: {sent}\ndata: event {sent}\n\n")))))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Payload::Once(None) | Payload::Filling(0))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Payload::Once(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Payload::Filling(left) => SizeHint::with_exact(*left),
            Payload::Pieces(_) | Payload::Events { .. } => SizeHint::default(),
        }
    }
}
