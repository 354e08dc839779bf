//! Request and response bodies. Short request bodies are kept and can be sent again; response bodies report their end. Both
//! stream: a chunk is passed on when it arrives, and is polled only when the other side can take it. The time-outs of
//! responses are kept outside, in [`super::response_timer`].

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};

use super::expect::Gate;
use super::headers;
use super::lazy_timeout::IdleTimer;
use super::request_stream::ClientBody;
use super::response_timer::{Side, Timed};
use super::server_body::ServerBody;

/// The largest piece that is handed on at once where pieces are made here: a frame of HTTP/2 is no larger unless asked for.
const PIECE: usize = 16 * 1024;

/// Why a request's body is not available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// It is longer than the limit, in bytes.
    #[error("the request's body is too long")]
    TooLarge,
    /// The client sent nothing for longer than the time-out.
    #[error("the request's body does not come")]
    TooSlow,
    /// Malformed, or the client went away.
    #[error("the request's body broke off")]
    Broken,
    /// It was sent before and is too long to be kept.
    #[error("the request's body is gone")]
    Gone,
}

/// A client's body with its beginning kept.
struct Source {
    /// `None` when the rest is not wanted.
    inner: Option<ClientBody>,
    /// The task to wake when more of the body can be read.
    waiting: Option<Waker>,
    /// The beginning, in one piece of its own: pieces as they come are small parts of buffers that are much larger, and
    /// would keep all of those.
    kept: Vec<u8>,
    most_kept: usize,
    /// Too long to be kept: it can be sent once.
    spilt: bool,
    ended: bool,
    trailers: Option<HeaderMap>,
    received: u64,
    most: Option<u64>,
    timeout: Duration,
    idle_timer: IdleTimer,
    fault: Option<BodyFault>,
    /// Attempts made of it. Only the last may read on: an attempt that was given up may live for a moment longer, and would
    /// take pieces and wake-ups away from the one that counts.
    attempts: u32,
}

/// What is sent to a server as the body of a request.
pub struct UpBody {
    source: Option<Rc<RefCell<Source>>>,
    /// Kept bytes already given.
    at: usize,
    attempt: u32,
    trailers_given: bool,
    /// Nothing is asked for before it opens.
    gate: Option<Gate>,
}

/// A client's body, of which attempts are made.
#[derive(Clone)]
pub struct RequestBody(Option<Rc<RefCell<Source>>>);

/// Bounds of a request's body.
#[derive(Clone, Copy, Debug)]
pub struct BodyBounds {
    /// Bytes kept for another attempt; a longer body can be sent once only.
    pub kept: usize,
    /// Longest body in bytes.
    pub most: Option<u64>,
    /// Longest time from one chunk to the next.
    pub timeout: Duration,
}

impl RequestBody {
    /// Takes a client's body.
    pub fn new(inner: ClientBody, bounds: BodyBounds) -> RequestBody {
        if inner.is_end_stream() {
            return RequestBody(None);
        }
        RequestBody(Some(Rc::new(RefCell::new(Source {
            inner: Some(inner),
            waiting: None,
            kept: Vec::new(),
            most_kept: bounds.kept,
            spilt: false,
            ended: false,
            trailers: None,
            received: 0,
            most: bounds.most,
            timeout: bounds.timeout,
            idle_timer: IdleTimer::default(),
            fault: None,
            attempts: 0,
        }))))
    }

    /// An empty body.
    pub fn none() -> RequestBody {
        RequestBody(None)
    }

    /// Whether the body is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The body for an attempt, from its beginning.
    pub fn attempt(&self) -> UpBody {
        let attempt = self.0.as_ref().map_or(0, |source| {
            let source = &mut *source.borrow_mut();
            source.attempts += 1;
            source.attempts
        });
        UpBody { source: self.0.clone(), at: 0, attempt, trailers_given: false, gate: None }
    }

    /// Whether another attempt can be given all of it.
    pub fn can_be_sent_again(&self) -> bool {
        self.0.as_ref().is_none_or(|source| !source.borrow().spilt)
    }

    /// Whether the client has sent all of it.
    pub fn is_complete(&self) -> bool {
        self.0.as_ref().is_none_or(|source| source.borrow().ended)
    }

    /// Whether nothing more of it is wanted: the client has sent all of it, or the rest was given up.
    pub fn is_over(&self) -> bool {
        self.0.as_ref().is_none_or(|source| source.borrow().ended || source.borrow().inner.is_none())
    }

    /// Abandons the rest: the client need not send it, and an attempt that still waits for it fails.
    pub fn abandon(&self) {
        let Some(source) = &self.0 else { return };
        let (rest, waiting) = {
            let source = &mut *source.borrow_mut();
            if source.ended {
                return;
            }
            source.fault.get_or_insert(BodyFault::Gone);
            (source.inner.take(), source.waiting.take())
        };
        drop(rest);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    /// What went wrong with it, if anything.
    pub fn fault(&self) -> Option<BodyFault> {
        self.0.as_ref().and_then(|source| source.borrow().fault)
    }

    /// Whether the proxy waits for the client to send more of it. The client's silence has a clock of its own.
    pub fn is_awaited(&self) -> bool {
        self.0.as_ref().is_some_and(|source| source.borrow().idle_timer.is_running())
    }

    /// Bytes of it that came.
    pub fn received(&self) -> u64 {
        self.0.as_ref().map_or(0, |source| source.borrow().received)
    }
}

impl Source {
    fn poll(&mut self, at: &mut usize, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        if let Some(fault) = self.fault {
            return Poll::Ready(Some(Err(fault)));
        }
        if let Some(rest) = self.kept.get(*at..).filter(|rest| !rest.is_empty()) {
            let piece = &rest[..rest.len().min(PIECE)];
            *at += piece.len();
            return Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(piece)))));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        let Some(inner) = &mut self.inner else { return Poll::Ready(Some(Err(self.fail(BodyFault::Gone)))) };
        let frame = match Pin::new(&mut *inner).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                self.waiting = Some(cx.waker().clone());
                ready!(self.idle_timer.poll(self.timeout, cx));
                return Poll::Ready(Some(Err(self.fail(BodyFault::TooSlow))));
            }
        };
        self.idle_timer.reset();
        let frame = match frame {
            None => {
                self.ended = true;
                return Poll::Ready(None);
            }
            Some(Err(_)) => return Poll::Ready(Some(Err(self.fail(BodyFault::Broken)))),
            Some(Ok(frame)) => frame,
        };
        match frame.into_data() {
            Ok(data) => {
                self.received += data.len() as u64;
                let over = inner.is_end_stream();
                if self.most.is_some_and(|most| self.received > most) {
                    return Poll::Ready(Some(Err(self.fail(BodyFault::TooLarge))));
                }
                self.ended = over;
                self.keep(&data);
                *at = self.kept.len();
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Err(frame) => {
                self.ended = true;
                if let Ok(mut trailers) = frame.into_trailers() {
                    headers::strip_trailers(&mut trailers);
                    self.trailers = Some(trailers);
                }
                Poll::Ready(None)
            }
        }
    }

    /// Keeps a piece for another attempt, if all so far may be kept. What is held is never more than the limit.
    fn keep(&mut self, data: &[u8]) {
        if self.spilt {
            return;
        }
        let needed = self.kept.len() + data.len();
        if needed > self.most_kept {
            // The kept bytes are dropped: memory stays bounded however long the body is.
            self.spilt = true;
            self.kept = Vec::new();
            return;
        }
        if needed > self.kept.capacity() {
            let capacity = needed.max(2 * self.kept.capacity()).min(self.most_kept);
            self.kept.reserve_exact(capacity - self.kept.len());
        }
        self.kept.extend_from_slice(data);
    }

    fn fail(&mut self, fault: BodyFault) -> BodyFault {
        self.fault = Some(fault);
        fault
    }
}

impl UpBody {
    /// Asks the client for nothing before this opens.
    pub fn wait_for(&mut self, gate: Gate) {
        self.gate = Some(gate);
    }
}

impl Body for UpBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = &mut *self;
        if let Some(gate) = &mut this.gate {
            ready!(gate.poll(cx));
            this.gate = None;
        }
        let Some(source) = &this.source else { return Poll::Ready(None) };
        let mut source = source.borrow_mut();
        if this.attempt != source.attempts || source.spilt && this.at == 0 && source.received > 0 {
            return Poll::Ready(Some(Err(BodyFault::Gone)));
        }
        let frame = ready!(source.poll(&mut this.at, cx));
        if source.spilt {
            // From here on places in `kept` mean nothing; this attempt reads on, and no other can begin.
            this.at = usize::MAX;
        }
        match frame {
            None => match source.trailers.clone() {
                Some(trailers) if !this.trailers_given => {
                    this.trailers_given = true;
                    Poll::Ready(Some(Ok(Frame::trailers(trailers))))
                }
                _ => Poll::Ready(None),
            },
            some => Poll::Ready(some),
        }
    }

    fn is_end_stream(&self) -> bool {
        let Some(source) = &self.source else { return true };
        let source = source.borrow();
        source.ended && self.at >= source.kept.len() && (source.trailers.is_none() || self.trailers_given)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            None => SizeHint::with_exact(0),
            // Before the first chunk this is the client's own size hint; later it is not used.
            Some(source) => match &*source.borrow() {
                Source { inner: Some(inner), received: 0, .. } => inner.size_hint(),
                _ => SizeHint::default(),
            },
        }
    }
}

/// Called once, with how a response's body ended.
pub trait OnEnd {
    /// The end of the body.
    fn end(self: Box<Self>, end: End);

    /// So many bytes went on to the client.
    fn passed(&mut self, bytes: usize);
}

/// How a response's body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All of it went on.
    Complete,
    /// The server broke it off.
    Cut,
    /// It timed out while waiting for this side.
    TimedOut(Side),
    /// The client went away.
    ClientGone,
}

/// Why a response's body broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseFault {
    /// The server closed, reset, or wrote what is not valid HTTP.
    #[error("the server broke off its response")]
    Broken,
    /// A time-out: the server sends nothing more, or the request has lasted too long.
    #[error("the answer does not go on")]
    TooSlow,
}

/// What is sent to a client as the body of a response.
pub struct DownBody {
    inner: Inner,
    /// What is left of a piece that is handed on in smaller ones.
    rest: Bytes,
    on_end: Option<Box<dyn OnEnd>>,
    /// Its time-outs; `None` where it cannot wait.
    timed: Option<Timed>,
    /// On HTTP/2 large pieces are cut, so that a client that takes them slowly is seen to take them, and the last one is
    /// timed until hyper lets this body go.
    cuts: bool,
}

enum Inner {
    Own(Option<Bytes>),
    Server(ServerBody),
}

impl DownBody {
    /// A response of the proxy's own.
    pub fn own(text: Bytes, on_end: Option<Box<dyn OnEnd>>, timed: Option<Timed>) -> DownBody {
        let text = Some(text).filter(|text| !text.is_empty());
        DownBody { inner: Inner::Own(text), rest: Bytes::new(), on_end, cuts: timed.is_some(), timed }
    }

    /// A server's response. `timed` is called where it has a body.
    pub fn server(inner: ServerBody, on_end: Box<dyn OnEnd>, http2: bool, timed: impl FnOnce() -> Timed) -> DownBody {
        let empty = inner.is_end_stream();
        let mut body = DownBody {
            inner: Inner::Server(inner),
            rest: Bytes::new(),
            on_end: Some(on_end),
            timed: (!empty).then(timed),
            cuts: http2,
        };
        if empty {
            body.end(End::Complete);
        }
        body
    }

    fn end(&mut self, end: End) {
        if let Some(on_end) = self.on_end.take() {
            on_end.end(end);
        }
        // On HTTP/2 the last piece waits for room in the client's window, inside hyper.
        if !self.cuts {
            self.timed = None;
        }
    }

    /// The next frame, where there is one.
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseFault>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(self.rest.len().min(PIECE))))));
        }
        let frame = match &mut self.inner {
            Inner::Own(text) => return Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Inner::Server(inner) => match Pin::new(inner).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    if let Some(timed) = &self.timed {
                        timed.waits_for_server(cx.waker());
                    }
                    return Poll::Pending;
                }
            },
        };
        if !self.cuts {
            return Poll::Ready(frame);
        }
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| match frame.into_data() {
                Ok(mut data) if data.len() > PIECE => {
                    self.rest = data.split_off(PIECE);
                    Frame::data(data)
                }
                Ok(data) => Frame::data(data),
                Err(other) => other,
            })
        }))
    }
}

impl Body for DownBody {
    type Data = Bytes;
    type Error = ResponseFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseFault>>> {
        let this = &mut *self;
        if let Some(side) = this.timed.as_ref().and_then(Timed::expired) {
            this.end(End::TimedOut(side));
            return Poll::Ready(Some(Err(ResponseFault::TooSlow)));
        }
        let mut frame = ready!(this.next(cx));
        if let Some(timed) = &this.timed {
            timed.waits_for_client();
        }
        match &mut frame {
            None => this.end(End::Complete),
            Some(Err(_)) => this.end(End::Cut),
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    headers::strip_trailers(trailers);
                }
                if let (Some(on_end), Some(data)) = (&mut this.on_end, frame.data_ref()) {
                    on_end.passed(data.len());
                }
                // A body of known length is not asked again after its last piece.
                if this.is_end_stream() {
                    this.end(End::Complete);
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
            && match &self.inner {
                Inner::Own(text) => text.is_none(),
                Inner::Server(inner) => inner.is_end_stream(),
            }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Own(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            // Asked for the head, before the first piece is cut.
            Inner::Server(inner) if self.rest.is_empty() => inner.size_hint(),
            Inner::Server(_) => SizeHint::default(),
        }
    }
}

impl Drop for DownBody {
    fn drop(&mut self) {
        let end = match self.timed.as_ref().and_then(Timed::expired) {
            Some(side) => End::TimedOut(side),
            None if self.is_end_stream() => End::Complete,
            None => End::ClientGone,
        };
        self.end(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(most_kept: usize) -> Source {
        Source {
            inner: None,
            waiting: None,
            kept: Vec::new(),
            most_kept,
            spilt: false,
            ended: false,
            trailers: None,
            received: 0,
            most: None,
            timeout: Duration::ZERO,
            idle_timer: IdleTimer::default(),
            fault: None,
            attempts: 0,
        }
    }

    /// However small the pieces are, no more is held than may be kept; one byte more, and nothing is.
    #[test]
    fn what_is_kept_is_counted_as_it_is_held() {
        for piece in [1, 7, 1000, 65_536] {
            let mut source = source(65_536);
            let all: Vec<u8> = (0..65_536_u32).map(|i| i as u8).collect();
            for part in all.chunks(piece) {
                // As they come: a small part of a buffer that is much larger.
                let mut buffer = vec![0; 4096];
                buffer.extend_from_slice(part);
                source.keep(&Bytes::from(buffer).slice(4096..));
                assert!(source.kept.capacity() <= 65_536, "{piece}: {}", source.kept.capacity());
            }
            assert!(source.kept == all && !source.spilt, "{piece}");
            source.keep(b"x");
            assert!(source.spilt && source.kept.capacity() == 0, "{piece}");
        }
        let mut nothing = source(0);
        nothing.keep(b"");
        assert!(!nothing.spilt);
        nothing.keep(b"x");
        assert!(nothing.spilt);
    }

    /// Another attempt gets what was kept, in pieces of a bounded size.
    #[test]
    fn what_is_kept_is_given_again() {
        let mut source = source(65_536);
        let all: Vec<u8> = (0..40_000_u32).map(|i| i as u8).collect();
        all.chunks(3).for_each(|part| source.keep(part));
        source.ended = true;
        let body = RequestBody(Some(Rc::new(RefCell::new(source))));
        for _ in 0..2 {
            let (mut attempt, mut got) = (body.attempt(), Vec::new());
            let mut cx = Context::from_waker(Waker::noop());
            while let Poll::Ready(Some(frame)) = Pin::new(&mut attempt).poll_frame(&mut cx) {
                let data = frame.unwrap().into_data().unwrap();
                assert!(data.len() <= PIECE);
                got.extend_from_slice(&data);
            }
            assert_eq!(got, all);
            assert!(attempt.is_end_stream());
        }
    }
}
