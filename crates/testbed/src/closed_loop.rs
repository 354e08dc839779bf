//! A low-overhead closed-loop load generator, for benchmarks of proxies.
//!
//! Every connection sends a request as soon as it has the response to the previous one. Requests are prepared once as bytes;
//! `httparse` parses the head of a response, and the bytes of its body are counted. Every response must be a 200 of the
//! expected length, otherwise the benchmark fails: fast errors must not count as throughput.
//!
//! [`super::load`] measures latency as users see it, in an open loop: here a slow response delays the next request.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::LocalSet;

/// Number of different paths, for strategies that hash them.
const PATHS: u64 = 64;
/// Number of different client addresses, for strategies that hash them. On Linux all of 127.0.0.0/8 is this machine.
const CLIENTS: u64 = 64;
/// Time without a response after which the benchmark fails.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Size of one read, as much as the longest body of the benchmark.
const SCRATCH: usize = 64 * 1024;
/// Maximum length of a response head, bytes.
const LONGEST_HEAD: usize = 16 * 1024;

/// The request to send, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct ClosedLoop {
    /// The target. With an IPv4 loopback address, connections come from different addresses of 127.0.0.0/8.
    pub target: SocketAddrV4,
    /// Connections, each with one request at a time.
    pub connections: u64,
    /// Length of every response's body, bytes.
    pub bytes: u64,
    /// Warm-up at the start, which is not measured.
    pub warmup: Duration,
    /// Measured time after the warm-up.
    pub span: Duration,
}

/// The result of a closed loop.
#[derive(Clone, Debug)]
pub struct LoadResult {
    /// Responses in the measured span.
    pub measured: u64,
    /// All responses, warm-up included.
    pub answers: u64,
    /// Length of the measured span.
    pub span: Duration,
    /// Nanoseconds from sending a request to the last byte of its response, in the measured span.
    pub latency: Histogram<u64>,
}

/// State that the connections share.
struct Shared {
    closed_loop: ClosedLoop,
    requests: Vec<Vec<u8>>,
    scratch: RefCell<Vec<u8>>,
    latency: RefCell<Histogram<u64>>,
    measuring: Cell<bool>,
    stopping: Cell<bool>,
    measured: Cell<u64>,
    answers: Cell<u64>,
}

/// Sends requests as fast as responses arrive. `edge` is called on this thread at the start and at the end of the measured
/// span; `stopped` ends everything early. Connections end only when their response is complete, so that the server's counts
/// agree.
///
/// # Errors
/// The mismatch in a response.
pub fn closed_loop(
    closed_loop: ClosedLoop,
    mut edge: impl FnMut(),
    stopped: impl Fn() -> bool,
) -> io::Result<LoadResult> {
    let host = closed_loop.target;
    let request = |i| format!("GET /item/{i} HTTP/1.1\r\nhost: {host}\r\nuser-agent: evenkeel\r\naccept: */*\r\n\r\n");
    let latency = Histogram::new_with_bounds(1, 60_000_000_000, 3).map_err(io::Error::other)?;
    let shared = Rc::new(Shared {
        closed_loop,
        requests: (0..PATHS).map(|i| request(i).into_bytes()).collect(),
        scratch: RefCell::new(vec![0; SCRATCH]),
        latency: RefCell::new(latency),
        measuring: Cell::new(false),
        stopping: Cell::new(false),
        measured: Cell::new(0),
        answers: Cell::new(0),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let span = LocalSet::new().block_on(&runtime, async {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..closed_loop.connections {
            tasks.spawn_local(Rc::clone(&shared).run(number));
        }
        // Completes when a connection ends; an early end is an error.
        let wait = async |tasks: &mut tokio::task::JoinSet<io::Result<()>>, span: Duration| {
            let until = Instant::now() + span;
            while Instant::now() < until && !stopped() {
                let step = (Instant::now() + Duration::from_millis(50)).min(until);
                tokio::select! {
                    () = tokio::time::sleep_until(step.into()) => {}
                    Some(ended) = tasks.join_next() => ended.map_err(io::Error::other)??,
                }
            }
            io::Result::Ok(())
        };
        wait(&mut tasks, closed_loop.warmup).await?;
        edge();
        let start = Instant::now();
        shared.measuring.set(true);
        wait(&mut tasks, closed_loop.span).await?;
        shared.measuring.set(false);
        let span = start.elapsed();
        edge();
        shared.stopping.set(true);
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(io::Error::other)??;
        }
        io::Result::Ok(span)
    })?;
    let latency = shared.latency.borrow().clone();
    Ok(LoadResult { measured: shared.measured.get(), answers: shared.answers.get(), span, latency })
}

impl Shared {
    async fn run(self: Rc<Shared>, number: u64) -> io::Result<()> {
        let socket = TcpSocket::new_v4()?;
        let from = Ipv4Addr::new(127, 0, 1, (number % CLIENTS) as u8 + 1);
        socket.bind(SocketAddr::from((from, 0)))?;
        let stream = socket.connect(self.closed_loop.target.into()).await?;
        stream.set_nodelay(true)?;
        let mut head = Vec::new();
        let mut turn = number;
        while !self.stopping.get() {
            let request = &self.requests[(turn % PATHS) as usize];
            turn += 1;
            let start = Instant::now();
            write(&stream, request).await?;
            self.answer(&stream, &mut head).await?;
            self.answers.set(self.answers.get() + 1);
            if self.measuring.get() {
                self.measured.set(self.measured.get() + 1);
                self.latency.borrow_mut().saturating_record(start.elapsed().as_nanos() as u64);
            }
        }
        Ok(())
    }

    /// Reads a response; fails unless it is the expected one.
    async fn answer(&self, stream: &TcpStream, head: &mut Vec<u8>) -> io::Result<()> {
        head.clear();
        let mut left = None;
        loop {
            let read = stream.try_read(&mut self.scratch.borrow_mut());
            let n = match read {
                Ok(0) => return Err(wrong("the connection was closed before its answer was complete")),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let ready = tokio::time::timeout(ANSWER_TIMEOUT, stream.readable()).await;
                    ready.map_err(|_| wrong("no answer in ten seconds"))??;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let scratch = self.scratch.borrow();
            let fresh = &scratch[..n];
            let body = match left {
                Some(left) => left,
                None => {
                    // A head nearly always arrives in one piece and is parsed in place.
                    let before = head.len();
                    let found = if before == 0 {
                        self.head(fresh)?
                    } else {
                        head.extend_from_slice(fresh);
                        self.head(head)?
                    };
                    match found {
                        // This piece and the rest that follows.
                        Some(length) => length + self.closed_loop.bytes - before as u64,
                        None if before + n > LONGEST_HEAD => return Err(wrong("its head does not end")),
                        None => {
                            if before == 0 {
                                head.extend_from_slice(fresh);
                            }
                            continue;
                        }
                    }
                }
            };
            match body.checked_sub(n as u64) {
                Some(0) => return Ok(()),
                more @ Some(_) => left = more,
                None => return Err(wrong("more came than its length says")),
            }
        }
    }

    /// The length of the head, if it is complete and as expected.
    fn head(&self, bytes: &[u8]) -> io::Result<Option<u64>> {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut answer = httparse::Response::new(&mut fields);
        let length = match answer.parse(bytes) {
            Ok(httparse::Status::Partial) => return Ok(None),
            Ok(httparse::Status::Complete(length)) => length as u64,
            Err(error) => return Err(wrong(format!("it is not HTTP ({error})"))),
        };
        if answer.code != Some(200) {
            let reason = answer.reason.unwrap_or_default();
            return Err(wrong(format!("its status is {} {reason}", answer.code.unwrap_or(0))));
        }
        let field = answer.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
        let told = field.and_then(|field| std::str::from_utf8(field.value).ok()?.parse::<u64>().ok());
        match told {
            Some(told) if told == self.closed_loop.bytes => Ok(Some(length)),
            Some(told) => {
                Err(wrong(format!("its body has {told} bytes where the origin sends {}", self.closed_loop.bytes)))
            }
            None => Err(wrong("it does not say its length, which the origin does")),
        }
    }
}

fn wrong(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a wrong answer: {}", what.into()))
}

async fn write(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backend, Spec};

    fn against(bytes: u64, expected: u64) -> (io::Result<LoadResult>, u64) {
        let server = Backend::start(Spec { bytes, ..Spec::new("a") }).unwrap();
        let SocketAddr::V4(target) = server.address() else { panic!("IPv4") };
        let (warmup, span) = (Duration::from_millis(20), Duration::from_millis(300));
        let mut edges = 0;
        let came =
            closed_loop(ClosedLoop { target, connections: 3, bytes: expected, warmup, span }, || edges += 1, || false);
        assert!(edges == 2 || came.is_err());
        (came, server.stop().requests)
    }

    #[test]
    fn what_is_counted_here_is_what_the_server_counts() {
        for bytes in [0, 200, 64 * 1024, 300_000] {
            let (came, counted) = against(bytes, bytes);
            let came = came.unwrap();
            assert_eq!(came.answers, counted, "{bytes}");
            assert!(came.measured > 0 && came.measured <= came.answers, "{bytes}");
            assert_eq!(came.latency.len(), came.measured, "{bytes}");
        }
    }

    #[test]
    fn wrong_answers_end_it() {
        let (came, _) = against(7, 8);
        assert!(came.unwrap_err().to_string().contains("7 bytes where the origin sends 8"));
    }
}
