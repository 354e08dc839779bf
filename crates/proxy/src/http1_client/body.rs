//! The content of a response.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite};

use super::chunked::Chunked;
use super::head::ResponseHead;
use super::{Connection, Error, LONG, Received, piece};

/// Lengths beyond this are refused.
const LONGEST: u64 = u64::MAX >> 1;

/// How the end of the content is told.
#[derive(Debug)]
pub(super) enum Decoder {
    /// There is no more.
    Done,
    /// So many bytes are left.
    Length(u64),
    Chunked(Box<Chunked>),
    /// The server closes the connection.
    Close,
    /// What came with the head is wrong.
    Broken(Error),
}

impl Decoder {
    /// What the head says (RFC 9112, 6.3).
    pub(super) fn new(head: &ResponseHead, is_head: bool) -> Result<Decoder, Error> {
        let status = head.status;
        if is_head || status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            return Ok(Decoder::Done);
        }
        if let Some(plain) = &head.plain {
            return Ok(match plain.length {
                _ if plain.chunked => Decoder::Chunked(Box::default()),
                None => Decoder::Close,
                Some(0) => Decoder::Done,
                Some(length) => Decoder::Length(length),
            });
        }
        let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
        let mut lengths = head.headers.get_all(header::CONTENT_LENGTH).iter();
        if let Some(coding) = codings.next() {
            let plain = head.http11 && codings.next().is_none() && lengths.next().is_none();
            if plain && coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Ok(Decoder::Chunked(Box::default()));
            }
            return Err(Error::Malformed("its length can be read in two ways"));
        }
        let Some(first) = lengths.next() else { return Ok(Decoder::Close) };
        let length = one_length(first.as_bytes())?;
        for other in lengths {
            if one_length(other.as_bytes())? != length {
                return Err(Error::Malformed("its lengths differ"));
            }
        }
        Ok(if length == 0 { Decoder::Done } else { Decoder::Length(length) })
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self, Decoder::Done)
    }

    /// How much is to be read into a buffer that can be handed on; `None` where the buffer of the thread is better.
    pub(super) fn in_place(&self, long: bool) -> Option<usize> {
        match self {
            Decoder::Length(left) if *left > LONG => {
                Some(usize::try_from(*left).unwrap_or(usize::MAX).min(piece::size()))
            }
            Decoder::Close if long => Some(piece::size()),
            _ => None,
        }
    }

    /// Decodes into `content`, which is empty; gives how many bytes were read.
    pub(super) fn decode(
        &mut self,
        input: Received<'_>,
        content: &mut Bytes,
        trailers: &mut Option<HeaderMap>,
        most_trailers: usize,
    ) -> Result<usize, Error> {
        let all = input.bytes().len();
        match self {
            Decoder::Done | Decoder::Broken(_) => Ok(0),
            Decoder::Length(left) => {
                let n = usize::try_from(*left).unwrap_or(usize::MAX).min(all);
                *content = input.keep(n);
                *left -= n as u64;
                if *left == 0 {
                    *self = Decoder::Done;
                }
                Ok(n)
            }
            Decoder::Close => {
                *content = input.keep(all);
                Ok(all)
            }
            Decoder::Chunked(chunked) => {
                let mut decoded = Vec::with_capacity(all);
                let read = chunked.decode(input.bytes(), &mut decoded)?;
                // Framing is a few bytes, unless chunks are tiny.
                if decoded.len() < all / 2 {
                    decoded.shrink_to_fit();
                }
                *content = Bytes::from(decoded);
                if chunked.is_done() {
                    *trailers = chunked.trailers(most_trailers)?;
                    *self = Decoder::Done;
                }
                Ok(read)
            }
        }
    }

    /// The server has closed the connection.
    pub(super) fn end(&mut self) -> Result<(), Error> {
        match self {
            Decoder::Done | Decoder::Close => {
                *self = Decoder::Done;
                Ok(())
            }
            Decoder::Length(_) | Decoder::Chunked(_) | Decoder::Broken(_) => Err(Error::Closed),
        }
    }

    /// Bytes that are left, where that is known.
    pub(super) fn left(&self) -> Option<u64> {
        match self {
            Decoder::Done => Some(0),
            Decoder::Length(left) => Some(*left),
            Decoder::Chunked(_) | Decoder::Close | Decoder::Broken(_) => None,
        }
    }
}

/// A length; a list of equal ones is one (RFC 9110, 8.6).
fn one_length(value: &[u8]) -> Result<u64, Error> {
    let malformed = Error::Malformed("its length is no number");
    let mut one = None;
    for part in value.split(|&byte| byte == b',') {
        let part = part.trim_ascii();
        let digits = !part.is_empty() && part.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(part).ok().filter(|_| digits).and_then(|text| text.parse().ok());
        let Some(number) = number.filter(|&number: &u64| number <= LONGEST) else { return Err(malformed) };
        if one.is_some_and(|one| one != number) {
            return Err(Error::Malformed("its lengths differ"));
        }
        one = Some(number);
    }
    one.ok_or(malformed)
}

/// The content of a response, read as it is asked for. When its end has come, the connection may be used again; dropped before,
/// it must not be.
pub struct ResponseBody<T>(State<T>);

enum State<T> {
    /// All of it.
    Whole {
        content: Bytes,
        trailers: Option<HeaderMap>,
        exact: bool,
    },
    Streamed(Rc<Connection<T>>),
}

impl<T> ResponseBody<T> {
    /// All of it, come with the head, which says how long it is if this is `exact`.
    pub(super) fn whole(content: Bytes, trailers: Option<HeaderMap>, exact: bool) -> ResponseBody<T> {
        ResponseBody(State::Whole { content, trailers, exact })
    }

    /// All of its content, if that has come, and whether its length may be said; else it goes on in one chunk. `None` if some of
    /// it is still to come.
    pub fn take_whole(&mut self) -> Option<(Bytes, bool)> {
        match &mut self.0 {
            State::Whole { content, exact, .. } => Some((std::mem::take(content), *exact)),
            State::Streamed(_) => None,
        }
    }

    pub(super) fn streamed(connection: Rc<Connection<T>>) -> ResponseBody<T> {
        ResponseBody(State::Streamed(connection))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Body for ResponseBody<T> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = |content: Bytes, trailers: &mut Option<HeaderMap>| match content.is_empty() {
            false => Some(Ok(Frame::data(content))),
            true => trailers.take().map(|trailers| Ok(Frame::trailers(trailers))),
        };
        match &mut self.0 {
            State::Whole { content, trailers, .. } => Poll::Ready(frame(std::mem::take(content), trailers)),
            State::Streamed(connection) => {
                let exchange = &mut *connection.0.borrow_mut();
                if let Err(error) = ready!(exchange.poll_content(cx)) {
                    exchange.reusable = false;
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(frame(std::mem::take(&mut exchange.content), &mut exchange.trailers))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            State::Whole { content, trailers, .. } => content.is_empty() && trailers.is_none(),
            State::Streamed(connection) => {
                let exchange = connection.0.borrow();
                exchange.content.is_empty() && exchange.decoder.is_done() && exchange.trailers.is_none()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            // In chunks it came, in chunks it goes on: trailers need them.
            State::Whole { exact: false, .. } => SizeHint::default(),
            State::Whole { content, .. } => SizeHint::with_exact(content.len() as u64),
            State::Streamed(connection) => {
                let exchange = connection.0.borrow();
                let left = exchange.decoder.left().filter(|_| exchange.exact);
                let left = left.and_then(|left| left.checked_add(exchange.content.len() as u64));
                left.map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }
}
