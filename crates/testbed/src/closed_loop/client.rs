//! The connections that send the load, and the check of every response.

use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Socket, Type};

use super::pattern::{PATHS, Pattern};
use super::{ClosedLoop, wrong};

/// Number of different client addresses, for strategies that hash them. On Linux all of 127.0.0.0/8 is this machine.
const CLIENTS: u64 = 64;
/// Maximum length of a response head, bytes.
const LONGEST_HEAD: usize = 16 * 1024;
const FIELDS: usize = 64;

/// All connections of a run.
pub(super) struct Clients {
    clients: Vec<Client>,
    requests: Vec<Vec<u8>>,
    /// Length of every response's body.
    bytes: u64,
    measuring: bool,
    stopping: bool,
    /// Connections with a request whose response is not complete.
    open: usize,
    /// Responses while measuring.
    pub(super) measured: u64,
    /// All responses.
    pub(super) answers: u64,
    /// Nanoseconds to a response's last byte, while measuring.
    pub(super) latency: Histogram<u64>,
}

struct Client {
    stream: TcpStream,
    /// Counts up with each request.
    turn: u64,
    /// When the present request was sent; `None` when there is none any more.
    since: Option<Instant>,
    /// Bytes of the request that are written.
    written: usize,
    /// The part of a head that has arrived without its end.
    part: Vec<u8>,
    /// Bytes of the body that have arrived; `None` before the end of the head.
    body: Option<u64>,
}

impl Clients {
    /// Connects all and sends the first requests; `token` names the connections.
    pub(super) fn open(
        plan: &ClosedLoop,
        bytes: u64,
        registry: &Registry,
        token: impl Fn(usize) -> Token,
    ) -> io::Result<Clients> {
        let host = plan.target;
        let request =
            |i| format!("GET /item/{i} HTTP/1.1\r\nhost: {host}\r\nuser-agent: evenkeel\r\naccept: */*\r\n\r\n");
        let requests: Vec<Vec<u8>> = (0..PATHS).map(|i| request(i).into_bytes()).collect();
        let latency = Histogram::new_with_bounds(1, 60_000_000_000, 3).map_err(io::Error::other)?;
        let mut clients = Vec::new();
        for number in 0..plan.connections {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            let from = Ipv4Addr::new(127, 0, 1, (number % CLIENTS) as u8 + 1);
            socket.bind(&SocketAddr::from((from, 0)).into())?;
            socket.connect(&SocketAddr::from(plan.target).into())?;
            socket.set_tcp_nodelay(true)?;
            socket.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(socket.into());
            let place = clients.len();
            registry.register(&mut stream, token(place), Interest::READABLE | Interest::WRITABLE)?;
            clients.push(Client { stream, turn: number, since: None, written: 0, part: Vec::new(), body: None });
        }
        for client in &mut clients {
            client.send(&requests, Instant::now())?;
        }
        let open = clients.len();
        let (measuring, stopping) = (false, false);
        Ok(Clients { clients, requests, bytes, measuring, stopping, open, measured: 0, answers: 0, latency })
    }

    /// Whether no response is outstanding and no request will follow.
    pub(super) fn are_done(&self) -> bool {
        self.open == 0
    }

    pub(super) fn measure(&mut self, on: bool) {
        self.measuring = on;
    }

    pub(super) fn is_measuring(&self) -> bool {
        self.measuring
    }

    /// No further request is sent.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
    }

    /// Fails where a response has been outstanding for too long.
    pub(super) fn look(&self, now: Instant, most: Duration) -> io::Result<()> {
        let late = |client: &Client| client.since.is_some_and(|since| now.saturating_duration_since(since) > most);
        if self.clients.iter().any(late) { Err(wrong("no answer in ten seconds")) } else { Ok(()) }
    }

    /// Reads what a connection has; a complete response is checked and followed by the next request.
    pub(super) fn ready(&mut self, number: usize, pattern: &Pattern, scratch: &mut [u8]) -> io::Result<()> {
        let client = &mut self.clients[number];
        let Some(since) = client.since else { return Ok(()) };
        if client.written < client.request(&self.requests).len() {
            client.write(&self.requests)?;
        }
        if !client.read(self.bytes, pattern, scratch)? {
            return Ok(());
        }
        let now = Instant::now();
        self.answers += 1;
        if self.measuring {
            self.measured += 1;
            self.latency.saturating_record((now - since).as_nanos() as u64);
        }
        if self.stopping {
            client.since = None;
            self.open -= 1;
            return Ok(());
        }
        client.turn += 1;
        client.send(&self.requests, now)
    }
}

impl Client {
    fn item(&self) -> u64 {
        self.turn % PATHS
    }

    fn request<'a>(&self, requests: &'a [Vec<u8>]) -> &'a [u8] {
        &requests[self.item() as usize]
    }

    fn send(&mut self, requests: &[Vec<u8>], now: Instant) -> io::Result<()> {
        (self.since, self.written, self.body) = (Some(now), 0, None);
        self.part.clear();
        self.write(requests)
    }

    fn write(&mut self, requests: &[Vec<u8>]) -> io::Result<()> {
        let request = self.request(requests);
        while self.written < request.len() {
            match self.stream.write(&request[self.written..]) {
                Ok(n) => self.written += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads on; `true` when the response is complete. Fails unless it is the expected one.
    fn read(&mut self, bytes: u64, pattern: &Pattern, scratch: &mut [u8]) -> io::Result<bool> {
        loop {
            let n = match self.stream.read(scratch) {
                Ok(0) => return Err(wrong("the connection was closed before its answer was complete")),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            };
            let fresh = &scratch[..n];
            match self.body {
                Some(_) => self.check(fresh, bytes, pattern)?,
                // A head nearly always arrives in one piece and is parsed in place.
                None if self.part.is_empty() => match head(fresh, bytes)? {
                    Some(length) => self.check(&fresh[length..], bytes, pattern)?,
                    None => self.part.extend_from_slice(fresh),
                },
                None => {
                    self.part.extend_from_slice(fresh);
                    if let Some(length) = head(&self.part, bytes)? {
                        let part = std::mem::take(&mut self.part);
                        self.check(&part[length..], bytes, pattern)?;
                    }
                }
            }
            if self.body == Some(bytes) {
                return Ok(true);
            }
            // A short read has emptied the socket; more comes with an event of its own.
            if n < scratch.len() {
                return Ok(false);
            }
        }
    }

    /// Compares a piece of the body with what the origin has written for this request.
    fn check(&mut self, mut piece: &[u8], bytes: u64, pattern: &Pattern) -> io::Result<()> {
        let mut at = self.body.unwrap_or(0);
        if at + piece.len() as u64 > bytes {
            return Err(wrong("more came than its length says"));
        }
        while !piece.is_empty() {
            let expected = pattern.part(self.item(), at, piece.len() as u64);
            if piece[..expected.len()] != *expected {
                return Err(wrong("its body is not the origin's for this request"));
            }
            at += expected.len() as u64;
            piece = &piece[expected.len()..];
        }
        self.body = Some(at);
        Ok(())
    }
}

/// The length of the head, if it is complete and as expected.
fn head(part: &[u8], bytes: u64) -> io::Result<Option<usize>> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS];
    let mut answer = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut answer, part, &mut fields) {
        Ok(httparse::Status::Partial) if part.len() > LONGEST_HEAD => return Err(wrong("its head does not end")),
        Ok(httparse::Status::Partial) => return Ok(None),
        Ok(httparse::Status::Complete(length)) => length,
        Err(error) => return Err(wrong(format!("it is not HTTP ({error})"))),
    };
    if answer.code != Some(200) {
        let reason = answer.reason.unwrap_or_default();
        return Err(wrong(format!("its status is {} {reason}", answer.code.unwrap_or(0))));
    }
    let field = answer.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let told = field.and_then(|field| std::str::from_utf8(field.value).ok()?.parse::<u64>().ok());
    match told {
        Some(told) if told == bytes => Ok(Some(length)),
        Some(told) => Err(wrong(format!("its body has {told} bytes where the origin sends {bytes}"))),
        None => Err(wrong("it does not say its length, which the origin does")),
    }
}
