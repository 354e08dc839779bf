//! A low-overhead closed-loop load generator with its own servers, for benchmarks of proxies.
//!
//! Both ends are one thread that waits at one place (epoll on Linux, by mio), so that a proxy is saturated long before they
//! are: each response costs this thread two reads, two writes and a share of a wait. Every connection sends a request as
//! soon as it has the response to the previous one. Every response must be a 200 of the expected length with the bytes that
//! the server has written for this very request, otherwise the benchmark fails: fast errors must not count as throughput.
//!
//! [`super::load`] measures latency as users see it, in an open loop: here a slow response delays the next request.

mod client;
mod origin;
mod pattern;

use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::{Events, Poll, Token};

use client::Clients;
use origin::Origin;
use pattern::Pattern;

/// Time without a response after which the benchmark fails.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait: after it the clock and `stopped` are looked at in any case.
const STEP: Duration = Duration::from_millis(50);
/// Size of one read.
const SCRATCH: usize = 64 * 1024;

/// The request to send, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct ClosedLoop {
    /// The target. With an IPv4 loopback address, connections come from different addresses of 127.0.0.0/8.
    pub target: SocketAddrV4,
    /// Connections, each with one request at a time.
    pub connections: u64,
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
    /// Requests that reached the servers.
    pub reached: u64,
    /// Waits for events in the measured span. Far fewer than responses: the proxy is what all wait for.
    pub waits: u64,
    /// Length of the measured span.
    pub span: Duration,
    /// Nanoseconds from sending a request to the last byte of its response, in the measured span.
    pub latency: Histogram<u64>,
}

/// The servers, which live as long as this, and the place where all wait. The servers respond during [`Rig::run`] only.
pub struct Rig {
    poll: Poll,
    events: Events,
    origin: Origin,
    pattern: Pattern,
    scratch: Vec<u8>,
    /// Length of every response's body, bytes.
    bytes: u64,
    /// First token of connections; smaller ones are servers.
    connections: usize,
}

impl Rig {
    /// So many servers whose responses have no load report, then so many whose responses do; `bytes` in each response's body.
    ///
    /// # Errors
    /// No socket is to be had.
    pub fn start(bytes: u64, plain: usize, reporting: usize) -> io::Result<Rig> {
        let (poll, pattern) = (Poll::new()?, Pattern::new());
        let origin = Origin::start(poll.registry(), bytes, plain, reporting, &pattern)?;
        Ok(Rig {
            poll,
            events: Events::with_capacity(1024),
            origin,
            pattern,
            scratch: vec![0; SCRATCH],
            bytes,
            connections: plain + reporting,
        })
    }

    /// The servers' addresses, in order.
    ///
    /// # Errors
    /// The system does not say.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.origin.addresses()
    }

    /// Sends requests as fast as responses arrive. `edge` is called at the start and at the end of the measured span;
    /// `stopped` ends everything early. Connections end only when their response is complete, so that the servers' counts
    /// agree.
    ///
    /// # Errors
    /// The mismatch in a response.
    pub fn run(
        &mut self,
        plan: ClosedLoop,
        mut edge: impl FnMut(),
        stopped: impl Fn() -> bool,
    ) -> io::Result<LoadResult> {
        let before = self.origin.requests;
        let start = Instant::now();
        let base = self.connections;
        let mut clients = Clients::open(&plan, self.bytes, self.poll.registry(), |i| Token(base + 2 * i))?;
        let (mut waits, mut span, mut began) = (0, Duration::ZERO, None);
        let mut looked = start;
        while !clients.are_done() {
            self.poll.poll(&mut self.events, Some(STEP)).or_else(|error| match error.kind() {
                io::ErrorKind::Interrupted => Ok(()),
                _ => Err(error),
            })?;
            let now = Instant::now();
            match began {
                None if now >= start + plan.warmup => {
                    edge();
                    began = Some(Instant::now());
                    clients.measure(true);
                }
                Some(began)
                    if clients.is_measuring()
                    // However short the span is, or slow the proxy: something is measured.
                    && (now >= began + plan.span && clients.measured > 0 || stopped()) =>
                {
                    span = began.elapsed();
                    clients.measure(false);
                    edge();
                    clients.stop();
                }
                _ => {}
            }
            waits += u64::from(clients.is_measuring());
            if now - looked >= STEP {
                looked = now;
                clients.look(now, ANSWER_TIMEOUT)?;
                if stopped() {
                    clients.stop();
                }
            }
            for event in &self.events {
                let token = event.token().0;
                let Some(connection) = token.checked_sub(base) else {
                    self.origin.accept(self.poll.registry(), token, |i| Token(base + 2 * i + 1))?;
                    continue;
                };
                if connection % 2 == 1 {
                    self.origin.ready(connection / 2, self.bytes, &self.pattern, &mut self.scratch);
                } else {
                    clients.ready(connection / 2, &self.pattern, &mut self.scratch)?;
                }
            }
        }
        let Clients { measured, answers, latency, .. } = clients;
        Ok(LoadResult { measured, answers, reached: self.origin.requests - before, waits, span, latency })
    }
}

fn wrong(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a wrong answer: {}", what.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backend, Spec};

    fn plan(target: SocketAddr) -> ClosedLoop {
        let SocketAddr::V4(target) = target else { panic!("IPv4") };
        ClosedLoop { target, connections: 3, warmup: Duration::from_millis(20), span: Duration::from_millis(200) }
    }

    #[test]
    fn what_is_counted_here_is_what_the_servers_count() {
        for (bytes, server) in [(0, 0), (200, 1), (200, 0), (64 * 1024, 0), (300_000, 1)] {
            let mut rig = Rig::start(bytes, 1, 1).unwrap();
            let target = rig.addresses().unwrap()[server];
            for _ in 0..2 {
                let mut edges = 0;
                let came = rig.run(plan(target), || edges += 1, || false).unwrap();
                assert_eq!((came.answers, edges), (came.reached, 2), "{bytes}");
                assert!(came.measured > 0 && came.measured <= came.answers && came.waits > 0, "{bytes}");
                assert_eq!(came.latency.len(), came.measured, "{bytes}");
                assert!(came.span >= Duration::from_millis(200), "{bytes}");
            }
        }
    }

    #[test]
    fn wrong_answers_end_it() {
        for (bytes, why) in [(7, "7 bytes where the origin sends 8"), (8, "its body is not the origin's")] {
            let server = Backend::start(Spec { bytes, ..Spec::new("a") }).unwrap();
            let came = Rig::start(8, 1, 0).unwrap().run(plan(server.address()), || {}, || false);
            let said = came.unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn it_ends_when_it_is_told_to() {
        let mut rig = Rig::start(8, 1, 0).unwrap();
        let target = rig.addresses().unwrap()[0];
        let long = ClosedLoop { span: Duration::from_secs(3600), ..plan(target) };
        let start = Instant::now();
        let came = rig.run(long, || {}, || start.elapsed() > Duration::from_millis(100)).unwrap();
        assert_eq!(came.answers, came.reached);
    }
}
