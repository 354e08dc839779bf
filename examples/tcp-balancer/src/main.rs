//! A TCP load balancer around [`evenkeel_core::Picker`]: accepts connections, sends each to a server that the strategy
//! picks, and tries another server when one refuses.
//!
//! ```text
//! cargo run -p tcp-balancer -- 127.0.0.1:8000 p2c 127.0.0.1:8081 127.0.0.1:8082 127.0.0.1:8083
//! ```

#![allow(clippy::disallowed_methods, reason = "a program reads the clock; what is pure is given the time")]

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use evenkeel_core::select::Request;
use evenkeel_core::select::catalog::StrategyConfig;
use evenkeel_core::units::Nanos;
use evenkeel_core::{NoServer, PickGuard, Picker};

/// A picker that threads share, and the clock of its times.
struct Balancer {
    picker: Mutex<Picker>,
    start: Instant,
}

impl Balancer {
    fn new(strategy: &str, servers: &[String]) -> Result<Balancer, Box<dyn std::error::Error>> {
        let strategy: StrategyConfig = strategy.parse()?;
        let mut picker = Picker::new(strategy, u64::from(std::process::id()))?;
        picker.add_all(servers.iter().map(|address| (address.as_str(), 1)));
        Ok(Balancer { picker: Mutex::new(picker), start: Instant::now() })
    }

    fn now(&self) -> Nanos {
        self.start.elapsed().into()
    }

    fn pick(&self, request: &Request<'_>) -> Result<PickGuard, NoServer> {
        // The picker is locked for the pick only; guards end without it.
        self.picker.lock().unwrap_or_else(PoisonError::into_inner).pick(request, self.now())
    }

    /// Serves one connection; gives the server that did.
    fn serve(&self, client: &TcpStream, address: SocketAddr) -> io::Result<String> {
        let mut excluded = Vec::new();
        loop {
            let request = Request { client: address.ip(), excluded: &excluded, ..Request::default() };
            let guard = self.pick(&request).map_err(|none| io::Error::other(none.to_string()))?;
            let connected = guard
                .name()
                .parse()
                .map_err(io::Error::other)
                .and_then(|server: SocketAddr| TcpStream::connect_timeout(&server, Duration::from_secs(2)));
            match connected {
                Ok(server) => {
                    let name = guard.name().to_owned();
                    match relay(client, &server) {
                        Ok(()) => guard.ok(self.now()),
                        Err(_) => guard.failed(self.now()),
                    }
                    return Ok(name);
                }
                Err(error) => {
                    eprintln!("{}: {error}", guard.name());
                    excluded.push(guard.server().slot);
                    guard.failed(self.now());
                }
            }
        }
    }
}

/// Copies both directions until both are closed.
fn relay(client: &TcpStream, server: &TcpStream) -> io::Result<()> {
    let copy = |mut from: &TcpStream, mut to: &TcpStream| {
        let copied = io::copy(&mut from, &mut to).map(drop);
        to.shutdown(Shutdown::Write).ok();
        copied
    };
    thread::scope(|scope| {
        let upload = scope.spawn(|| copy(client, server));
        let download = copy(server, client);
        upload.join().unwrap_or_else(|_| Err(io::Error::other("the upload panicked"))).and(download)
    })
}

fn run(listener: &TcpListener, balancer: &Balancer) {
    thread::scope(|scope| {
        for client in listener.incoming() {
            let Ok(client) = client else { continue };
            scope.spawn(move || {
                let served = client.peer_addr().and_then(|address| balancer.serve(&client, address));
                if let Err(error) = served {
                    eprintln!("not served: {error}");
                }
            });
        }
    });
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, strategy, servers @ ..] = arguments.as_slice() else {
        return Err("usage: tcp-balancer LISTEN STRATEGY SERVER...".into());
    };
    let balancer = Balancer::new(strategy, servers)?;
    let listener = TcpListener::bind(listen)?;
    println!("listening on {}", listener.local_addr()?);
    run(&listener, &balancer);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    /// A server that answers each connection with its own address, and how many it had.
    fn server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let mut question = String::new();
                client.read_to_string(&mut question).unwrap();
                client.write_all(format!("{question} {address}").as_bytes()).unwrap();
            }
        });
        address
    }

    #[test]
    fn connections_are_spread_and_a_dead_server_is_skipped() {
        let servers = [server(), server()];
        // A port that no one listens on any more.
        let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let names: Vec<String> = servers.iter().chain([&dead]).map(ToString::to_string).collect();
        let balancer = Balancer::new("round_robin", &names).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || run(&listener, &balancer));
        let mut answers: Vec<String> = (0..12)
            .map(|n| {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(format!("{n}").as_bytes()).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                let (number, server) = answer.split_once(' ').unwrap();
                assert_eq!(number, n.to_string());
                server.to_owned()
            })
            .collect();
        answers.sort();
        answers.dedup();
        let mut expected: Vec<String> = servers.iter().map(ToString::to_string).collect();
        expected.sort();
        assert_eq!(answers, expected, "both servers that live, and no other");
    }

    #[test]
    fn invalid_arguments_are_reported() {
        let message = |strategy: &str| Balancer::new(strategy, &[]).err().unwrap().to_string();
        assert!(message("p3c").contains("p3c") && message("oracle_least_work").contains("simulator"));
    }
}
