//! Servers that respond at once with a pattern of bytes, as a part of the loop that sends the load.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use slab::Slab;

use super::pattern::{PATHS, Pattern};

/// A response up to this length, head included, lies ready in one piece.
const READY: u64 = 4096;
/// Longest request head, bytes.
const LONGEST_HEAD: usize = 16 * 1024;
/// The report of the servers that send one with each response: constant, so that strategies which weigh by it stay even.
const REPORT: &str =
    "endpoint-load-metrics: TEXT cpu_utilization=0.5, rps_fractional=1000, named_metrics.in_flight=1\r\n";

/// The servers and their connections.
pub(super) struct Origin {
    servers: Vec<(TcpListener, Kind)>,
    connections: Slab<Connection>,
    plain: Responses,
    reporting: Responses,
    /// Requests answered.
    pub(super) requests: u64,
}

/// What a server's responses carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Reporting,
}

struct Responses {
    head: Vec<u8>,
    /// Whole responses by item; empty where they are long.
    ready: Vec<Vec<u8>>,
}

struct Connection {
    stream: TcpStream,
    kind: Kind,
    /// The part of a request's head that has arrived without its end.
    part: Vec<u8>,
    /// A response that is not written to its end: its item and the bytes written, head included.
    writing: Option<(u64, u64)>,
}

impl Responses {
    fn new(bytes: u64, report: &str, pattern: &Pattern) -> Responses {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ndate: Mon, 30 Nov 2026 12:00:00 GMT\r\n{report}content-length: {bytes}\r\n\r\n"
        )
        .into_bytes();
        let mut ready = Vec::new();
        if head.len() as u64 + bytes <= READY {
            ready.extend((0..PATHS).map(|item| [&head, pattern.part(item, 0, bytes)].concat()));
        }
        Responses { head, ready }
    }
}

impl Origin {
    /// So many servers that send no load report, then so many that do, on free ports of this machine. Their tokens are their
    /// numbers.
    pub(super) fn start(
        registry: &Registry,
        bytes: u64,
        plain: usize,
        reporting: usize,
        pattern: &Pattern,
    ) -> io::Result<Origin> {
        let mut servers = Vec::new();
        for number in 0..plain + reporting {
            let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
            registry.register(&mut listener, Token(number), Interest::READABLE)?;
            servers.push((listener, if number < plain { Kind::Plain } else { Kind::Reporting }));
        }
        Ok(Origin {
            servers,
            connections: Slab::new(),
            plain: Responses::new(bytes, "", pattern),
            reporting: Responses::new(bytes, REPORT, pattern),
            requests: 0,
        })
    }

    pub(super) fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.servers.iter().map(|(listener, _)| listener.local_addr()).collect()
    }

    /// Accepts what waits at a server; `token` names the connections.
    pub(super) fn accept(
        &mut self,
        registry: &Registry,
        server: usize,
        token: impl Fn(usize) -> Token,
    ) -> io::Result<()> {
        let (listener, kind) = &self.servers[server];
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let entry = self.connections.vacant_entry();
            registry.register(&mut stream, token(entry.key()), Interest::READABLE | Interest::WRITABLE)?;
            entry.insert(Connection { stream, kind: *kind, part: Vec::new(), writing: None });
        }
    }

    /// Reads and answers what a connection has for it. A connection that fails is closed: what its proxy says of it to its
    /// client is judged there.
    pub(super) fn ready(&mut self, number: usize, bytes: u64, pattern: &Pattern, scratch: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(number) else { return };
        let responses = match connection.kind {
            Kind::Plain => &self.plain,
            Kind::Reporting => &self.reporting,
        };
        match connection.go_on(responses, bytes, pattern, scratch) {
            Ok(answered) => self.requests += answered,
            Err(_) => drop(self.connections.remove(number)),
        }
    }
}

impl Connection {
    /// Writes what is left of a response, then reads requests as long as there are any. Returns how many were read.
    fn go_on(&mut self, responses: &Responses, bytes: u64, pattern: &Pattern, scratch: &mut [u8]) -> io::Result<u64> {
        let mut answered = 0;
        loop {
            if let Some((item, written)) = self.writing {
                self.writing = self.write(item, written, responses, bytes, pattern)?;
                if self.writing.is_some() {
                    return Ok(answered);
                }
            }
            let n = match self.stream.read(scratch) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(answered),
                Err(error) => return Err(error),
            };
            // Proxies do not pipeline: a request's end is the end of what came.
            let item = if self.part.is_empty() && scratch[..n].ends_with(b"\r\n\r\n") {
                item(&scratch[..n])
            } else {
                self.part.extend_from_slice(&scratch[..n]);
                if self.part.len() > LONGEST_HEAD {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                if !self.part.ends_with(b"\r\n\r\n") {
                    continue;
                }
                let item = item(&self.part);
                self.part.clear();
                item
            };
            answered += 1;
            self.writing = self.write(item, 0, responses, bytes, pattern)?;
            // A short read has emptied the socket; more comes with an event of its own.
            if self.writing.is_some() || n < scratch.len() {
                return Ok(answered);
            }
        }
    }

    /// Writes on from a place; gives the place that was reached, `None` when all is written.
    fn write(
        &mut self,
        item: u64,
        mut written: u64,
        responses: &Responses,
        bytes: u64,
        pattern: &Pattern,
    ) -> io::Result<Option<(u64, u64)>> {
        let (head, end) = (responses.head.len() as u64, responses.head.len() as u64 + bytes);
        while written < end {
            let wrote = match responses.ready.get(item as usize) {
                Some(whole) => self.stream.write(&whole[written as usize..]),
                None => {
                    let front = &responses.head[written.min(head) as usize..];
                    let at = written.saturating_sub(head);
                    let back = pattern.part(item, at, bytes - at);
                    self.stream.write_vectored(&[IoSlice::new(front), IoSlice::new(back)])
                }
            };
            match wrote {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => written += n as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Some((item, written))),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

/// The item that a request asks for; 0 for any other path, which is that of a probe.
fn item(request: &[u8]) -> u64 {
    let Some(rest) = request.strip_prefix(b"GET /item/") else { return 0 };
    let digits = rest.iter().take(3).take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')) % PATHS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_its_item() {
        assert_eq!(item(b"GET /item/7 HTTP/1.1\r\n\r\n"), 7);
        assert_eq!(item(b"GET /item/63 HTTP/1.1\r\n\r\n"), 63);
        assert_eq!(item(b"GET /health HTTP/1.1\r\n\r\n"), 0);
    }
}
