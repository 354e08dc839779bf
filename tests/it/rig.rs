//! A proxy in this process with the servers behind it, and raw clients and servers without an HTTP library: the test
//! decides every byte that is sent.

#![allow(clippy::disallowed_methods, reason = "hostile clients take their time, and tests measure it")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use evenkeel::config::proxy::ProxyConfig;
use evenkeel::proxy::{Options, Proxy};
use evenkeel::testbed::{Backend, Spec};

/// Longer than anything in these tests takes.
pub const LONG: Duration = Duration::from_secs(10);

/// A proxy with one shard on a thread of its own. It stops when dropped.
pub struct Rig {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Rig {
    /// `top`: tables of the config such as `[timeouts]`; `pool`: keys of the pool; `servers`: addresses, with keys of their
    /// own behind a space if any.
    pub fn new(top: &str, pool: &str, servers: &[String]) -> Rig {
        let mut text = format!("shards = 1\n{top}\n[[listeners]]\naddress = \"127.0.0.1:0\"\n");
        text.push_str("[admin]\naddress = \"127.0.0.1:0\"\n[[pools]]\nname = \"web\"\n");
        if !pool.contains("strategy =") {
            text.push_str("strategy = \"round_robin\"\n");
        }
        text.push_str(pool);
        for (i, server) in servers.iter().enumerate() {
            let (address, more) = server.split_once(' ').unwrap_or((server, ""));
            text.push_str(&format!("\n[[pools.servers]]\nname = \"s{i}\"\naddress = \"{address}\"\n{more}\n"));
        }
        Rig::of(text)
    }

    /// From a whole config.
    pub fn of(text: String) -> Rig {
        let config = ProxyConfig::parse(&text, &|_| None).unwrap_or_else(|e| panic!("{text}\n{e:?}"));
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, async move {
                let options = Options { seed: Some(1), ..Options::default() };
                let proxy = Proxy::start_with(options, text, config).await.unwrap();
                tell.send((proxy.addresses()[0], proxy.admin_address().unwrap())).unwrap();
                let _ = stopped.await;
                proxy.stop().await;
            });
        });
        let (address, admin) = told.recv_timeout(LONG).unwrap();
        Rig { address, admin, stop: Some(stop), thread: Some(thread) }
    }

    /// A connection to it.
    pub fn client(&self) -> Client {
        Client::to(self.address)
    }

    /// Sends these bytes and reads until the proxy closes.
    pub fn talk(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut client = self.client();
        client.send(bytes);
        client.rest()
    }

    /// What the admin listener says of the only pool's servers.
    pub fn servers(&self) -> Vec<serde_json::Value> {
        let mut client = Client::to(self.admin);
        client.send("GET /servers HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = client.answer();
        let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        json["pools"][0]["servers"].as_array().unwrap().clone()
    }

    /// Requests in flight, as the proxy counts them.
    pub fn in_flight(&self) -> u64 {
        self.servers().iter().map(|server| server["in_flight"].as_u64().unwrap()).sum()
    }

    /// Waits until no request is in flight.
    pub fn settles(&self) {
        eventually("nothing in flight", || self.in_flight() == 0);
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))) || std::thread::panicking(), "the proxy's thread has panicked");
    }
}

/// Waits until it is so; fails if it never is.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Test servers that answer at once.
pub fn backends(count: usize) -> (Vec<Backend>, Vec<String>) {
    let servers: Vec<Backend> = (0..count).map(|i| Backend::start(Spec::new(&format!("b{i}"))).unwrap()).collect();
    let addresses = servers.iter().map(|server| server.address().to_string()).collect();
    (servers, addresses)
}

/// An answer as it came.
#[derive(Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub version: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

impl Answer {
    /// All lines of a field, joined.
    pub fn header(&self, name: &str) -> String {
        let of_name = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str());
        of_name.collect::<Vec<_>>().join(", ")
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What a test server says it has received.
    pub fn echo(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The status and the reason header.
    pub fn verdict(&self) -> (u16, String) {
        (self.status, self.header("x-evenkeel-reason"))
    }
}

/// All lines of a field of an echoed request.
pub fn echoed(echo: &serde_json::Value, name: &str) -> Vec<String> {
    let fields = echo["headers"].as_array().unwrap();
    let of_name = fields.iter().filter(|pair| pair[0] == name);
    of_name.map(|pair| pair[1].as_str().unwrap().to_owned()).collect()
}

/// The first answer in a text: status and reason header.
pub fn verdict(text: &str) -> (u16, String) {
    let status = text.get(9..12).and_then(|s| s.parse().ok()).unwrap_or(0);
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    let reason = head.lines().find_map(|line| line.strip_prefix("x-evenkeel-reason: "));
    (status, reason.unwrap_or_default().to_owned())
}

/// A raw client: a socket and a buffer.
pub struct Client {
    pub stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    pub fn to(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_write_timeout(Some(LONG)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, unread: Vec::new() }
    }

    /// Whether the other side took it is not this one's business: it may have closed.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    pub fn shut(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// More bytes; false at the end, which a reset is, too.
    pub fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(n) => {
                self.unread.extend_from_slice(&buffer[..n]);
                true
            }
            Err(e) if e.kind() == ErrorKind::ConnectionReset => false,
            Err(e) => panic!("{e}; so far: {}", String::from_utf8_lossy(&self.unread)),
        }
    }

    /// Everything up to the end of the connection.
    pub fn rest(&mut self) -> String {
        while self.more() {}
        String::from_utf8_lossy(&std::mem::take(&mut self.unread)).into_owned()
    }

    /// Exactly so many bytes; `None` at the end.
    pub fn try_exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.unread.len() < count {
            if !self.more() {
                return None;
            }
        }
        Some(self.unread.drain(..count).collect())
    }

    #[track_caller]
    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        self.try_exactly(count).unwrap()
    }

    fn line(&mut self) -> Result<String, String> {
        loop {
            if let Some(at) = self.unread.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..at + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if !self.more() {
                return Err(format!("the end in a line: {:?}", String::from_utf8_lossy(&self.unread)));
            }
        }
    }

    fn fields(&mut self) -> Result<Vec<(String, String)>, String> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(": ").or(line.split_once(':')) else {
                return if line.is_empty() { Ok(fields) } else { Err(format!("no field: {line:?}")) };
            };
            fields.push((name.to_owned(), value.to_owned()));
        }
    }

    /// A head, interim or final.
    pub fn head(&mut self) -> Result<Answer, String> {
        let line = self.line()?;
        let (version, rest) = line.split_once(' ').ok_or(format!("no status line: {line:?}"))?;
        let status = rest.get(..3).and_then(|s| s.parse().ok()).ok_or(format!("no status: {line:?}"))?;
        Ok(Answer { status, version: version.to_owned(), headers: self.fields()?, ..Answer::default() })
    }

    /// The next answer whole, as strictly as it can be read; an error where it breaks off.
    pub fn try_answer(&mut self, to_head: bool) -> Result<Answer, String> {
        let mut answer = self.head()?;
        if to_head || answer.status < 200 || matches!(answer.status, 204 | 304) {
            return Ok(answer);
        }
        if answer.header("transfer-encoding") == "chunked" {
            assert_eq!(answer.header("content-length"), "", "both lengths: {answer:?}");
            loop {
                let line = self.line()?;
                let size = usize::from_str_radix(&line, 16).map_err(|_| format!("no chunk size: {line:?}"))?;
                if size == 0 {
                    answer.trailers = self.fields()?;
                    return Ok(answer);
                }
                while self.unread.len() < size + 2 {
                    if !self.more() {
                        return Err("the end in a chunk".to_owned());
                    }
                }
                answer.body.extend(self.unread.drain(..size));
                assert_eq!(self.unread.drain(..2).as_slice(), b"\r\n");
            }
        }
        let length = answer.header("content-length");
        if length.is_empty() {
            // Delimited by the end.
            while self.more() {}
            answer.body = std::mem::take(&mut self.unread);
            return Ok(answer);
        }
        let length: usize = length.parse().map_err(|_| format!("no length: {length:?}"))?;
        while self.unread.len() < length {
            if !self.more() {
                return Err(format!("the end after {} of {length} bytes", self.unread.len()));
            }
        }
        answer.body = self.unread.drain(..length).collect();
        Ok(answer)
    }

    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        self.try_answer(false).unwrap()
    }

    /// Whether the other side has closed and sent nothing before.
    pub fn is_over(&mut self) -> bool {
        self.unread.is_empty() && !self.more()
    }
}

/// A scripted server: the test decides what it does with each connection; it keeps what it received.
pub struct Script {
    pub address: SocketAddr,
    seen: Arc<Seen>,
}

/// What a script has seen.
#[derive(Default)]
pub struct Seen {
    got: Mutex<Vec<u8>>,
    connections: AtomicUsize,
    closed: AtomicUsize,
    over: AtomicBool,
}

/// A connection of a script.
pub struct Visit {
    pub stream: TcpStream,
    seen: Arc<Seen>,
    /// From 0.
    pub number: usize,
    unread: Vec<u8>,
}

impl Script {
    pub fn new(act: impl Fn(&mut Visit) + Send + Sync + 'static) -> Script {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let (known, act) = (Arc::clone(&seen), Arc::new(act));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if known.over.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let _ = stream.set_read_timeout(Some(LONG));
                let _ = stream.set_nodelay(true);
                let number = known.connections.fetch_add(1, Ordering::Relaxed);
                let (seen, act) = (Arc::clone(&known), Arc::clone(&act));
                std::thread::spawn(move || {
                    let mut visit = Visit { stream, seen: Arc::clone(&seen), number, unread: Vec::new() };
                    act(&mut visit);
                    drop(visit);
                    seen.closed.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        Script { address, seen }
    }

    /// Answers each head with these bytes, over and over on the same connection.
    pub fn answering(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Script {
        Script::new(move |visit| {
            while visit.request().is_some() {
                visit.say(bytes.as_ref());
            }
        })
    }

    /// Answers the first head with these bytes and closes.
    pub fn answering_once(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Script {
        Script::new(move |visit| {
            if visit.request().is_some() {
                visit.say(bytes.as_ref());
            }
        })
    }

    pub fn server(&self) -> String {
        self.address.to_string()
    }

    /// All it got, over all connections.
    pub fn got(&self) -> String {
        String::from_utf8_lossy(&self.seen.got.lock().unwrap()).into_owned()
    }

    pub fn forget(&self) {
        self.seen.got.lock().unwrap().clear();
    }

    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }

    /// Connections that are over.
    pub fn closed(&self) -> usize {
        self.seen.closed.load(Ordering::Relaxed)
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.seen.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

impl Visit {
    /// Whether more came.
    pub fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(n) if n > 0 => {
                self.seen.got.lock().unwrap().extend_from_slice(&buffer[..n]);
                self.unread.extend_from_slice(&buffer[..n]);
                true
            }
            _ => false,
        }
    }

    /// Exactly so many bytes; `None` when the connection is over.
    pub fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.unread.len() < count {
            if !self.more() {
                return None;
            }
        }
        Some(self.unread.drain(..count).collect())
    }

    /// A head and, if it names a length, its body; `None` when the connection is over.
    pub fn request(&mut self) -> Option<String> {
        let head = self.until(b"\r\n\r\n")?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|l| l.parse().ok()).unwrap_or(0);
        let body = self.exactly(length)?;
        Some(head + &String::from_utf8_lossy(&body))
    }

    /// All up to these bytes.
    pub fn until(&mut self, end: &[u8]) -> Option<String> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|w| w == end) {
                let piece: Vec<u8> = self.unread.drain(..at + end.len()).collect();
                return Some(String::from_utf8_lossy(&piece).into_owned());
            }
            if !self.more() {
                return None;
            }
        }
    }

    pub fn say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Reads until the other side closes.
    pub fn wait_for_end(&mut self) {
        while self.more() {}
    }
}
