//! The connections of a load generator. HTTP/1.1 uses an idle one, opens one, or waits at the limit; HTTP/2 shares a few
//! connections between all requests.

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

/// A response.
pub(super) struct Answer {
    pub status: u16,
    pub server: Option<HeaderValue>,
    pub hit: Option<bool>,
    /// Bytes of the body.
    pub bytes: u64,
}

/// Why a request has no response.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The connection was refused.
    Refused(io::Error),
    /// The target cannot be reached for another reason.
    Unreachable(io::Error),
    /// The connection was closed before the response.
    Reset(hyper::Error),
    /// The response was not HTTP.
    Protocol(hyper::Error),
    /// The request timed out.
    TimedOut,
}

impl Trouble {
    /// Its name, the same as that of the simulator's outcome.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Trouble::Refused(_) => "refused",
            Trouble::Unreachable(_) => "unreachable",
            Trouble::Reset(_) => "reset",
            Trouble::Protocol(_) => "protocol",
            Trouble::TimedOut => "timed_out",
        }
    }

    /// The full error message.
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
    /// HTTP/1.1: the idle connections, and the limit of open ones.
    idle: Mutex<Vec<One>>,
    permits: Semaphore,
    /// HTTP/2: all connections, used round robin. Empty for HTTP/1.1.
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

    /// Connections opened so far.
    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Sends a request and reads the whole response; `got_connection` is called when it has a connection. A request on an
    /// idle connection that the server closes at the same moment is sent again on another one, because the server did not
    /// receive it.
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

/// The request, if it returns unsent from a reused connection.
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
