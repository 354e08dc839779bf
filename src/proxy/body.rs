//! Bodies on their way through: requests that can be sent again as long as they are short, answers that tell when they are
//! over. Both stream: a piece is handed on when it comes, and is asked for only when the other side takes it.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use super::expect::Gate;
use super::headers;
use super::patience::Silence;

/// Why a request's body cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// Longer than the limit.
    #[error("the request's body is too long")]
    TooLarge,
    /// The client sends nothing more.
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
    /// `None` when nobody wants the rest.
    inner: Option<Incoming>,
    /// Who waits for more.
    waiting: Option<Waker>,
    kept: Vec<Bytes>,
    kept_bytes: usize,
    most_kept: usize,
    /// Too long to be kept: it can be sent once.
    spilt: bool,
    ended: bool,
    trailers: Option<HeaderMap>,
    received: u64,
    most: Option<u64>,
    patience: Duration,
    silence: Silence,
    fault: Option<BodyFault>,
    /// Attempts made of it. Only the last may read on: an attempt that was given up may live for a moment longer, and would
    /// take pieces and wake-ups away from the one that counts.
    attempts: u32,
}

/// What is sent to a server as the body of a request.
pub struct UpBody {
    source: Option<Rc<RefCell<Source>>>,
    /// Kept pieces already given.
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
    /// Bytes kept for another attempt.
    pub kept: usize,
    /// Bytes in all.
    pub most: Option<u64>,
    /// From one piece to the next.
    pub patience: Duration,
}

impl RequestBody {
    /// Takes a client's body.
    pub fn new(inner: Incoming, bounds: BodyBounds) -> RequestBody {
        if inner.is_end_stream() {
            return RequestBody(None);
        }
        RequestBody(Some(Rc::new(RefCell::new(Source {
            inner: Some(inner),
            waiting: None,
            kept: Vec::new(),
            kept_bytes: 0,
            most_kept: bounds.kept,
            spilt: false,
            ended: false,
            trailers: None,
            received: 0,
            most: bounds.most,
            patience: bounds.patience,
            silence: Silence::default(),
            fault: None,
            attempts: 0,
        }))))
    }

    /// No body.
    pub fn none() -> RequestBody {
        RequestBody(None)
    }

    /// Whether there is none.
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

    /// Nobody wants the rest: the client need not send it, and a server that still waits for it is let go.
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
        self.0.as_ref().is_some_and(|source| source.borrow().silence.lasts())
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
        if let Some(piece) = self.kept.get(*at) {
            *at += 1;
            return Poll::Ready(Some(Ok(Frame::data(piece.clone()))));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        let Some(inner) = &mut self.inner else { return Poll::Ready(Some(Err(self.fail(BodyFault::Gone)))) };
        let frame = match Pin::new(&mut *inner).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                self.waiting = Some(cx.waker().clone());
                ready!(self.silence.poll(self.patience, cx));
                return Poll::Ready(Some(Err(self.fail(BodyFault::TooSlow))));
            }
        };
        self.silence.broken();
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
                if !self.spilt {
                    self.kept_bytes += data.len();
                    if self.kept_bytes > self.most_kept {
                        // Earlier pieces are let go: memory stays bounded however long the body is.
                        self.spilt = true;
                        self.kept = Vec::new();
                    } else {
                        self.kept.push(data.clone());
                        *at += 1;
                    }
                }
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
            // Before the first piece the client's own word; after that nobody asks.
            Some(source) => match &*source.borrow() {
                Source { inner: Some(inner), received: 0, .. } => inner.size_hint(),
                _ => SizeHint::default(),
            },
        }
    }
}

/// Is told once how an answer's body ended.
pub trait OnEnd {
    /// The end of the body.
    fn end(self: Box<Self>, end: End);

    /// So many bytes went on to the client.
    fn passed(&mut self, bytes: usize);
}

/// How an answer's body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All of it went on.
    Complete,
    /// The server broke it off.
    Cut,
    /// The server sent nothing more, or the request has lasted too long.
    Stalled,
    /// The client did not take the rest.
    ClientGone,
}

/// Why an answer's body broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerFault {
    /// The server closed, reset or wrote rubbish.
    #[error("the server broke its answer off")]
    Broken,
    /// The server sends nothing more, or the request has lasted too long.
    #[error("the server's answer does not go on")]
    TooSlow,
}

/// What is sent to a client as the body of an answer.
pub struct DownBody {
    inner: Inner,
    on_end: Option<Box<dyn OnEnd>>,
    patience: Duration,
    silence: Silence,
    until: Option<Pin<Box<Sleep>>>,
}

enum Inner {
    Own(Option<Bytes>),
    Server(Incoming),
}

impl DownBody {
    /// An answer of the proxy's own.
    pub fn own(text: Bytes, on_end: Option<Box<dyn OnEnd>>) -> DownBody {
        let text = Some(text).filter(|text| !text.is_empty());
        DownBody { inner: Inner::Own(text), on_end, patience: Duration::ZERO, silence: Silence::default(), until: None }
    }

    /// A server's answer. `patience` from one piece to the next, `until` for all of it.
    pub fn server(inner: Incoming, on_end: Box<dyn OnEnd>, patience: Duration, until: Option<Instant>) -> DownBody {
        let mut body = DownBody {
            inner: Inner::Server(inner),
            on_end: Some(on_end),
            patience,
            silence: Silence::default(),
            until: until.map(|until| Box::pin(tokio::time::sleep_until(until))),
        };
        if body.is_end_stream() {
            body.end(End::Complete);
        }
        body
    }

    fn end(&mut self, end: End) {
        if let Some(on_end) = self.on_end.take() {
            on_end.end(end);
        }
    }
}

impl Body for DownBody {
    type Data = Bytes;
    type Error = AnswerFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
        let this = &mut *self;
        let mut frame = match &mut this.inner {
            Inner::Own(text) => text.take().map(|text| Ok(Frame::data(text))),
            Inner::Server(inner) => {
                if this.until.as_mut().is_some_and(|until| until.as_mut().poll(cx).is_ready()) {
                    this.end(End::Stalled);
                    return Poll::Ready(Some(Err(AnswerFault::TooSlow)));
                }
                match Pin::new(inner).poll_frame(cx) {
                    Poll::Ready(frame) => frame.map(|frame| frame.map_err(|_| AnswerFault::Broken)),
                    Poll::Pending => {
                        ready!(this.silence.poll(this.patience, cx));
                        this.end(End::Stalled);
                        return Poll::Ready(Some(Err(AnswerFault::TooSlow)));
                    }
                }
            }
        };
        this.silence.broken();
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
        match &self.inner {
            Inner::Own(text) => text.is_none(),
            Inner::Server(inner) => inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Own(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Inner::Server(inner) => inner.size_hint(),
        }
    }
}

impl Drop for DownBody {
    fn drop(&mut self) {
        let end = if self.is_end_stream() { End::Complete } else { End::ClientGone };
        self.end(end);
    }
}
