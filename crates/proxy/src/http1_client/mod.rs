//! The proxy's own HTTP/1.1 towards servers, on `httparse`: no task, no channel and no buffer for each connection.
//!
//! A connection is polled by what waits for it: the request until the head of its response, then the body of the response.
//! Bytes are read into a buffer that all connections of a thread share, and what is kept of them is copied to its size; long
//! content is read in place. Only a request whose response begins before all of its body is sent gets a task, for the rest.
//!
//! Responses are read more strictly than hyper reads them: whatever is accepted here, hyper accepts with the same status,
//! fields and content (the fuzz target `http1_client` holds that). Refused are, beside what hyper refuses:
//!
//! * a line that ends in anything but CR LF, also in trailers (RFC 9112, 2.2), and empty lines before the status line;
//! * a `Transfer-Encoding` other than `chunked`, twice, together with `Content-Length`, or in HTTP/1.0 (RFC 9112, 6.1);
//! * a chunk size of more than 16 digits or with anything behind it that is no extension, or extensions of more than 4 KiB.
//!
//! Bounds, in bytes: a head, an interim one too, has `header_bytes`, a trailer section has [`MOST_TRAILERS`], and no more than
//! [`PIECE`] of content is held for each response, less while a thread holds much (`piece.rs`). Time is bounded by the caller.

mod body;
mod chunked;
mod head;
mod piece;
mod upload;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::body::{BodyFault, RequestBody, UpBody};
use body::Decoder;
pub use body::ResponseBody;
pub(crate) use chunked::Chunked;
pub use head::{Additions, Answer, Lead, PlainResponse, RequestHead};
use head::{Plain, ResponseHead};
use upload::{Upload, UploadError};

/// The longest trailer section, bytes.
pub const MOST_TRAILERS: usize = 16 * 1024;
/// The most content that is read at once, bytes.
pub const PIECE: usize = 64 * 1024;
/// Content that is longer is read in place, bytes: shorter pieces cost less to copy than a buffer of their own costs.
const LONG: u64 = 16 * 1024;

/// Bounds of a response's head.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes of the head.
    pub header_bytes: usize,
    /// Most fields.
    pub headers: usize,
}

/// Why there is no response, or no more of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// The server closed it too early.
    #[error("the server closed the connection before the end of its response")]
    Closed,
    /// Not valid HTTP/1.1, or valid in more than one way.
    #[error("malformed response: {0}")]
    Malformed(&'static str),
    /// Beyond a bound.
    #[error("the head or the trailer section of the response is too large")]
    TooLarge,
    /// The request's own body failed.
    #[error("the request's body failed: {0}")]
    Body(BodyFault),
    /// The request's body has another length than its head says.
    #[error("the request's body has another length than its head says")]
    Length,
}

impl Error {
    /// Whether the server has sent what cannot be read.
    pub fn is_parse(&self) -> bool {
        matches!(self, Error::Malformed(_) | Error::TooLarge)
    }
}

impl From<UploadError> for Error {
    fn from(error: UploadError) -> Error {
        match error {
            UploadError::Io(error) => Error::Io(error),
            UploadError::Body(fault) => Error::Body(fault),
            UploadError::Length => Error::Length,
        }
    }
}

/// A connection to a server. One request at a time.
pub struct Connection<T>(RefCell<Exchange<T>>);

/// A connection and what is on it.
struct Exchange<T> {
    io: T,
    limits: Limits,
    upload: Upload,
    /// The part of a head that has come without its end.
    part: Vec<u8>,
    /// Bytes of `part` at the last attempt to parse it.
    parsed: usize,
    /// The request is HEAD.
    is_head: bool,
    /// Plain heads are wanted as such.
    plain: bool,
    decoder: Decoder,
    /// Content that has come and was not handed on.
    content: Bytes,
    trailers: Option<HeaderMap>,
    /// Bytes of content so far.
    received: u64,
    /// The head says how long the content is.
    exact: bool,
    /// The present response had much content, and the next one is expected to.
    long: bool,
    /// A response was read to its end, and another request may follow.
    reusable: bool,
    /// The upload's task has found that the exchange cannot go on.
    failed: bool,
    /// Who waits for content while the upload has a task of its own.
    reader: Option<Waker>,
}

thread_local! {
    /// Where all connections of a thread read.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; PIECE].into_boxed_slice());
}

impl<T: AsyncRead + AsyncWrite + Unpin> Connection<T> {
    /// A connection that is open and has carried nothing yet.
    pub fn new(io: T, limits: Limits) -> Rc<Connection<T>> {
        Rc::new(Connection(RefCell::new(Exchange {
            io,
            limits,
            upload: Upload::default(),
            part: Vec::new(),
            parsed: 0,
            exact: true,
            is_head: false,
            plain: false,
            decoder: Decoder::Done,
            content: Bytes::new(),
            trailers: None,
            received: 0,
            long: false,
            reusable: true,
            failed: false,
            reader: None,
        })))
    }

    /// Sends a request and waits for the head of its response, which comes as [`Answer::Plain`] if it is plain and that is
    /// wanted. `interim` gets the interim responses before it. The flag of the error says that nothing of the request was sent.
    ///
    /// # Errors
    /// The connection is of no more use.
    pub async fn send(
        self: &Rc<Self>,
        lead: Lead<'_>,
        body: UpBody,
        plain: bool,
        mut interim: impl FnMut(StatusCode, &HeaderMap),
    ) -> Result<Answer<ResponseBody<T>>, (Error, bool)> {
        self.0.borrow_mut().begin(lead, body, plain).map_err(|error| (error, true))?;
        let found = poll_fn(|cx| self.0.borrow_mut().poll_head(cx, &mut interim)).await;
        let exchange = &mut *self.0.borrow_mut();
        let head = found.map_err(|error| (error, !exchange.upload.touched()))?;
        let body = if exchange.decoder.is_done() && exchange.upload.is_done() {
            ResponseBody::whole(std::mem::take(&mut exchange.content), exchange.trailers.take(), exchange.exact)
        } else {
            ResponseBody::streamed(Rc::clone(self))
        };
        Ok(head.into_answer(body))
    }

    /// Whether some of the request's body is still to be sent: see [`Connection::upload`].
    pub fn is_uploading(&self) -> bool {
        !self.0.borrow().upload.is_done()
    }

    /// Sends the rest of the request's body while the response is read.
    pub async fn upload(self: Rc<Self>) {
        poll_fn(|cx| self.0.borrow_mut().poll_upload(cx)).await;
    }

    /// Whether the exchange is over on both sides and the connection may serve another one. Writes the end of the request
    /// first, if it is there and was not written yet.
    pub fn is_reusable(&self) -> bool {
        let exchange = &mut *self.0.borrow_mut();
        if exchange.decoder.is_done() && exchange.reusable && !exchange.upload.is_done() {
            let _ = exchange.poll_upload(&mut Context::from_waker(Waker::noop()));
        }
        let over = exchange.decoder.is_done() && exchange.upload.is_done() && !exchange.upload.is_given_up();
        over && exchange.reusable && !exchange.failed
    }

    /// Whether an idle connection is still open and silent, as far as is known without asking the system.
    pub fn is_open(&self) -> bool {
        let mut byte = [0];
        let mut byte = ReadBuf::new(&mut byte);
        let exchange = &mut *self.0.borrow_mut();
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(&mut exchange.io).poll_read(&mut cx, &mut byte).is_pending()
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Exchange<T> {
    fn begin(&mut self, lead: Lead<'_>, body: UpBody, plain: bool) -> Result<(), Error> {
        (self.reusable, self.failed, self.reader) = (false, false, None);
        (self.parsed, self.received) = (0, 0);
        self.part.clear();
        (self.content, self.trailers) = (Bytes::new(), None);
        self.plain = plain;
        self.is_head = match lead {
            Lead::Head(head) => *head.method == Method::HEAD,
            Lead::Written { is_head, .. } => is_head,
        };
        self.upload.begin(lead, body).map_err(Error::from)
    }

    /// Sends, and reads to the end of the response's head.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        interim: &mut impl FnMut(StatusCode, &HeaderMap),
    ) -> Poll<Result<ResponseHead, Error>> {
        let sent = match self.upload.poll(&mut self.io, cx) {
            // A server may answer, and close, before it has read the request.
            Poll::Ready(Err(UploadError::Io(error))) => {
                self.upload.give_up();
                Some(error)
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
            Poll::Ready(Ok(())) | Poll::Pending => None,
        };
        let found = loop {
            match ready!(self.poll_read_head(cx, interim)) {
                Ok(None) => {}
                Ok(Some(head)) => break Ok(head),
                Err(error) => break Err(error),
            }
        };
        Poll::Ready(found.map_err(|error| match (error, sent) {
            (Error::Closed | Error::Io(_), Some(sent)) => Error::Io(sent),
            (error, _) => error,
        }))
    }

    /// Reads once.
    fn poll_read_head(
        &mut self,
        cx: &mut Context<'_>,
        interim: &mut impl FnMut(StatusCode, &HeaderMap),
    ) -> Poll<Result<Option<ResponseHead>, Error>> {
        if self.long {
            let mut buffer = BytesMut::with_capacity(piece::size() + 1024);
            if ready!(pin!(self.io.read_buf(&mut buffer)).poll(cx))? == 0 {
                return Poll::Ready(Err(Error::Closed));
            }
            return Poll::Ready(self.take_in(Received::Own(piece::content(buffer)), interim));
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Err(Error::Closed));
            }
            Poll::Ready(self.take_in(Received::Shared(buffer.filled()), interim))
        })
    }

    /// Takes in what was read before the end of the head.
    fn take_in(
        &mut self,
        fresh: Received<'_>,
        interim: &mut impl FnMut(StatusCode, &HeaderMap),
    ) -> Result<Option<ResponseHead>, Error> {
        if self.part.is_empty() {
            return self.heads(fresh, interim);
        }
        let before = self.part.len();
        self.part.extend_from_slice(fresh.bytes());
        // A head that comes in many small pieces is not parsed again with each.
        let ends = self.part[before.saturating_sub(3)..].windows(4).any(|four| four == b"\r\n\r\n");
        if !ends && self.part.len() < (2 * self.parsed).min(self.limits.header_bytes) {
            return Ok(None);
        }
        let part = std::mem::take(&mut self.part);
        self.heads(Received::Shared(&part), interim)
    }

    /// Parses heads: interim ones, and the final one if it is complete.
    fn heads(
        &mut self,
        fresh: Received<'_>,
        interim: &mut impl FnMut(StatusCode, &HeaderMap),
    ) -> Result<Option<ResponseHead>, Error> {
        let bytes = fresh.bytes();
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            let Some((head, length)) =
                head::parse(rest, self.limits, self.plain.then_some(Plain { is_head: self.is_head }))?
            else {
                self.part.extend_from_slice(rest);
                self.parsed = rest.len();
                return Ok(None);
            };
            at += length;
            if head.is_interim() {
                interim(head.status, &head.headers);
                continue;
            }
            self.decoder = Decoder::new(&head, self.is_head)?;
            let ends_connection =
                head.status == StatusCode::SWITCHING_PROTOCOLS || matches!(self.decoder, Decoder::Close);
            self.reusable = head.keeps_alive && !ends_connection;
            self.exact = self.decoder.left().is_some();
            // The head is good, whatever may be wrong behind it.
            if let Err(error) = self.decode(fresh.from(at)) {
                self.decoder = Decoder::Broken(error);
            }
            return Ok(Some(head));
        }
    }

    /// Decodes what was read behind the head.
    fn decode(&mut self, input: Received<'_>) -> Result<(), Error> {
        let length = input.bytes().len();
        let read = self.decoder.decode(input, &mut self.content, &mut self.trailers, self.limits.headers)?;
        self.received += self.content.len() as u64;
        if self.decoder.is_done() {
            self.long = self.received > LONG;
            // Bytes behind the end of a response belong to no request: the connection is not used again.
            self.reusable &= read == length;
        }
        Ok(())
    }

    /// Reads content until some is there or the response is over.
    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while self.content.is_empty() && !self.decoder.is_done() {
            if self.failed {
                return Poll::Ready(Err(Error::Closed));
            }
            if let Decoder::Broken(error) = &mut self.decoder {
                return Poll::Ready(Err(std::mem::replace(error, Error::Closed)));
            }
            match self.poll_read_content(cx) {
                Poll::Ready(read) => read?,
                Poll::Pending => {
                    if !self.upload.is_done() {
                        self.reader = Some(cx.waker().clone());
                    }
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads content once.
    fn poll_read_content(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if let Some(most) = self.decoder.in_place(self.long || self.received > LONG) {
            let mut buffer = BytesMut::with_capacity(most);
            if ready!(pin!(self.io.read_buf(&mut (&mut buffer).limit(most))).poll(cx))? == 0 {
                return Poll::Ready(self.decoder.end());
            }
            return Poll::Ready(self.decode(Received::Own(piece::content(buffer))));
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(self.decoder.end());
            }
            Poll::Ready(self.decode(Received::Shared(buffer.filled())))
        })
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match ready!(self.upload.poll(&mut self.io, cx)) {
            Ok(()) => {}
            Err(error) => {
                self.upload.give_up();
                // A server that reads no more may still answer; a client that sends no more has ended the exchange.
                self.failed = !matches!(error, UploadError::Io(_));
            }
        }
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(())
    }
}

/// Bytes that were read: in the buffer of the thread, or in one of their own that can be handed on.
enum Received<'a> {
    Shared(&'a [u8]),
    Own(Bytes),
}

impl Received<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Received::Shared(bytes) => bytes,
            Received::Own(bytes) => bytes,
        }
    }

    /// What is behind a place.
    fn from(&self, at: usize) -> Received<'_> {
        match self {
            Received::Shared(bytes) => Received::Shared(&bytes[at..]),
            Received::Own(bytes) => Received::Own(bytes.slice(at..)),
        }
    }

    /// The first bytes, to be kept.
    fn keep(&self, length: usize) -> Bytes {
        match self {
            Received::Shared(bytes) => Bytes::copy_from_slice(&bytes[..length]),
            Received::Own(bytes) => bytes.slice(..length),
        }
    }
}

/// A whole response, for tests that compare readers.
#[derive(Debug)]
pub struct Whole {
    /// The status.
    pub status: StatusCode,
    /// The fields of the head.
    pub headers: HeaderMap,
    /// The content, as far as it came.
    pub content: Vec<u8>,
    /// The fields behind the content.
    pub trailers: Option<HeaderMap>,
    /// Whether the content came to its end.
    pub complete: bool,
    /// Whether the connection may serve another request.
    pub reusable: bool,
    /// The head as it is written for a client, if it came so: see [`PlainResponse`].
    pub plain: Option<PlainResponse>,
}

/// Sends a request without a body and reads its response to the end, for tests that compare readers. With `plain`, a plain head
/// comes as such.
///
/// # Errors
/// No head came.
pub async fn fetch<T>(io: T, method: &Method, limits: Limits, plain: bool) -> Result<Whole, Error>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let connection = Connection::new(io, limits);
    let (target, headers) = (http::Uri::from_static("/"), HeaderMap::new());
    let head = RequestHead { method, target: &target, headers: &headers, additions: Additions::default() };
    let sent = connection.send(Lead::Head(&head), RequestBody::none().attempt(), plain, |_, _| {}).await;
    let answer = sent.map_err(|(error, _)| error)?;
    let status = answer.status();
    let (headers, plain, mut body) = match answer {
        Answer::Plain(head, body) => (HeaderMap::new(), Some(head), body),
        Answer::Fields(response) => {
            let (head, body) = response.into_parts();
            (head.headers, None, body)
        }
    };
    let (content, trailers, complete, reusable) = (Vec::new(), None, false, false);
    let mut whole = Whole { status, headers, content, trailers, complete, reusable, plain };
    loop {
        let frame = poll_fn(|cx| hyper::body::Body::poll_frame(Pin::new(&mut body), cx)).await;
        match frame.map(|frame| frame.map(hyper::body::Frame::into_data)) {
            None => {
                whole.complete = true;
                break;
            }
            Some(Err(_)) => break,
            Some(Ok(Ok(data))) => whole.content.extend_from_slice(&data),
            Some(Ok(Err(frame))) => whole.trailers = frame.into_trailers().ok(),
        }
    }
    whole.reusable = connection.is_reusable();
    Ok(whole)
}
