//! The connections of a load generator. HTTP/1.1 takes an idle one, or opens one, or waits where there may be no more;
//! HTTP/2 shares a few between all requests.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::header::HeaderValue;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::payload::Payload;

/// What an answer says.
pub(super) struct Answer {
    pub status: u16,
    pub server: Option<HeaderValue>,
    pub hit: Option<bool>,
    /// Of the body.
    pub bytes: u64,
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Nobody listens there.
    Refused(io::Error),
    /// It cannot be reached otherwise.
    Unreachable(io::Error),
    /// The connection ended before the answer did.
    Reset(hyper::Error),
    /// What came was not HTTP.
    Protocol(hyper::Error),
    /// It took too long.
    TimedOut,
}

impl Trouble {
    /// A word for it, as the simulator has.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Trouble::Refused(_) => "refused",
            Trouble::Unreachable(_) => "unreachable",
            Trouble::Reset(_) => "reset",
            Trouble::Protocol(_) => "protocol",
            Trouble::TimedOut => "timed_out",
        }
    }

    /// In full.
    pub(super) fn describe(&self) -> String {
        use std::error::Error;
        match self {
            Trouble::Refused(error) | Trouble::Unreachable(error) => error.to_string(),
            Trouble::Reset(error) | Trouble::Protocol(error) => {
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                format!("{error}{cause}")
            }
            Trouble::TimedOut => "no answer in time".to_owned(),
        }
    }

    fn connecting(error: io::Error) -> Trouble {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Trouble::Refused(error),
            _ => Trouble::Unreachable(error),
        }
    }

    fn exchanging(error: hyper::Error) -> Trouble {
        if error.is_parse() || error.is_user() { Trouble::Protocol(error) } else { Trouble::Reset(error) }
    }
}

type One = http1::SendRequest<Payload>;
type Many = http2::SendRequest<Payload>;

pub(super) struct Connections {
    addresses: Vec<SocketAddr>,
    /// HTTP/1.1: those that nobody uses at the moment, and how many may be used.
    idle: Mutex<Vec<One>>,
    permits: Semaphore,
    /// HTTP/2: all of them, and whose turn it is. Empty for HTTP/1.1.
    shared: Vec<tokio::sync::Mutex<Option<Many>>>,
    turn: AtomicUsize,
    opened: AtomicU64,
}

impl Connections {
    pub(super) fn new(addresses: Vec<SocketAddr>, http2: bool, most: Option<usize>) -> Connections {
        let shared = if http2 { most.unwrap_or(1).max(1) } else { 0 };
        Connections {
            addresses,
            idle: Mutex::new(Vec::new()),
            permits: Semaphore::new(most.unwrap_or(Semaphore::MAX_PERMITS).clamp(1, Semaphore::MAX_PERMITS)),
            shared: (0..shared).map(|_| tokio::sync::Mutex::new(None)).collect(),
            turn: AtomicUsize::new(0),
            opened: AtomicU64::new(0),
        }
    }

    /// How many have been opened.
    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Sends a request and reads the whole answer; `got_connection` is when it had a connection. A request that met an idle
    /// connection just as the other side closed it is sent again on another: it never was on the wire.
    pub(super) async fn exchange(
        &self,
        request: Request<Payload>,
        got_connection: &mut Option<Instant>,
    ) -> Result<Answer, Trouble> {
        if self.shared.is_empty() {
            self.alone(request, got_connection).await
        } else {
            self.among(request, got_connection).await
        }
    }

    async fn alone(&self, mut request: Request<Payload>, got: &mut Option<Instant>) -> Result<Answer, Trouble> {
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await;
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let (mut sender, is_new) = match idle {
                Some(sender) => (sender, false),
                None => (self.open().await?, true),
            };
            if sender.ready().await.is_err() && !is_new {
                continue;
            }
            *got = Some(Instant::now());
            match sender.try_send_request(request).await {
                Ok(answer) => {
                    let answer = read(answer).await?;
                    if !sender.is_closed() {
                        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
                    }
                    return Ok(answer);
                }
                Err(error) => request = again(error, is_new)?,
            }
        }
    }

    async fn among(&self, mut request: Request<Payload>, got: &mut Option<Instant>) -> Result<Answer, Trouble> {
        let place = self.turn.fetch_add(1, Ordering::Relaxed) % self.shared.len();
        loop {
            let (mut sender, is_new) = {
                let mut shared = self.shared[place].lock().await;
                match &*shared {
                    Some(sender) if !sender.is_closed() => (sender.clone(), false),
                    _ => {
                        let sender = self.open_many().await?;
                        *shared = Some(sender.clone());
                        (sender, true)
                    }
                }
            };
            if sender.ready().await.is_err() && !is_new {
                continue;
            }
            *got = Some(Instant::now());
            match sender.try_send_request(request).await {
                Ok(answer) => return read(answer).await,
                Err(error) => request = again(error, is_new)?,
            }
        }
    }

    async fn stream(&self) -> Result<TokioIo<TcpStream>, Trouble> {
        let stream = TcpStream::connect(&self.addresses[..]).await.map_err(Trouble::connecting)?;
        stream.set_nodelay(true).map_err(Trouble::connecting)?;
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(TokioIo::new(stream))
    }

    async fn open(&self) -> Result<One, Trouble> {
        let (sender, connection) = http1::handshake(self.stream().await?).await.map_err(Trouble::exchanging)?;
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn open_many(&self) -> Result<Many, Trouble> {
        let handshake = http2::Builder::new(TokioExecutor::new()).adaptive_window(true).handshake(self.stream().await?);
        let (sender, connection) = handshake.await.map_err(Trouble::exchanging)?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// The request, if it comes back unsent from a connection that had been used before.
fn again(mut error: TrySendError<Request<Payload>>, is_new: bool) -> Result<Request<Payload>, Trouble> {
    match error.take_message().filter(|_| !is_new) {
        Some(request) => Ok(request),
        None => Err(Trouble::exchanging(error.into_error())),
    }
}

async fn read(answer: Response<Incoming>) -> Result<Answer, Trouble> {
    let (head, mut body) = answer.into_parts();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame.map_err(Trouble::exchanging)?.data_ref() {
            bytes += data.len() as u64;
        }
    }
    let hit = head.headers.get("x-cache").and_then(|value| match value.as_bytes() {
        b"hit" => Some(true),
        b"miss" => Some(false),
        _ => None,
    });
    Ok(Answer { status: head.status.as_u16(), server: head.headers.get("x-server").cloned(), hit, bytes })
}
