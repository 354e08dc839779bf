//! A proxy for tests, in this process or as a child; clients and load for it. Ports are the kernel's choice everywhere.

#![allow(clippy::disallowed_methods, reason = "what talks to real sockets reads the clock")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use evenkeel::proxy::{Options, Proxy};
use evenkeel::testbed::{Backend, Spec};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc as channel;
use tokio::task::LocalSet;

use crate::support::Folder;

/// The time-out of all waits, in seconds: longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Test servers that answer at once, and serve many at once where work is asked for.
pub fn backends(names: &[&str]) -> Vec<Backend> {
    names.iter().map(|name| backend(name, 1.0)).collect()
}

/// A test server that works at this speed.
pub fn backend(name: &str, speed: f64) -> Backend {
    let mut spec = Spec::new(name);
    (spec.server.concurrency, spec.server.speed) = (256, speed);
    Backend::start(spec).unwrap()
}

/// `[[pools.servers]]` for these.
pub fn servers<'a>(backends: impl IntoIterator<Item = &'a Backend>) -> String {
    let mut text = String::new();
    for backend in backends {
        write!(text, "[[pools.servers]]\nname = {:?}\naddress = \"{}\"\n", backend.name(), backend.address()).unwrap();
    }
    text
}

/// A config: what comes before the pools, what stands in the only pool, and its servers.
pub fn config(top: &str, pool: &str, servers: &str) -> String {
    format!(
        "{top}\n[[listeners]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [headers]\nupstream = true\n[[pools]]\nname = \"web\"\n{pool}\n{servers}"
    )
}

/// Waits until the condition holds, by polling: it depends on other threads.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "still not: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

// ---- In this process ----

enum Ask {
    Reload(mpsc::Sender<Result<(), String>>),
    Drain(Duration, mpsc::Sender<u32>),
    Stop(mpsc::Sender<u32>),
}

/// A proxy on a thread of this process. It stops when dropped.
pub struct Front {
    asks: channel::UnboundedSender<Ask>,
    thread: Option<JoinHandle<()>>,
    addresses: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
    pub folder: Folder,
    file: PathBuf,
}

impl Front {
    pub fn start(config: &str) -> Front {
        Front::with(config, Options { seed: Some(7), ..Options::default() })
    }

    /// With these options; the file is written here.
    pub fn with(config: &str, options: Options) -> Front {
        let folder = Folder::new();
        let file = folder.file("proxy.toml", config);
        let options = Options { file: file.clone(), ..options };
        let (asks, mut asked) = channel::unbounded_channel();
        let (tell, told) = mpsc::channel();
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            LocalSet::new().block_on(&runtime, async move {
                let proxy = match Proxy::start(options).await {
                    Ok(proxy) => proxy,
                    Err(error) => panic!("{error}"),
                };
                tell.send((proxy.addresses(), proxy.admin_address())).unwrap();
                while let Some(ask) = asked.recv().await {
                    match ask {
                        Ask::Reload(tell) => {
                            let control = proxy.control().clone();
                            tokio::task::spawn_local(async move {
                                let _ = tell.send(control.reload().await.map_err(|error| error.to_string()));
                            });
                        }
                        Ask::Drain(delay, tell) => {
                            let _ = tell.send(proxy.drain(delay).await);
                            return;
                        }
                        Ask::Stop(tell) => {
                            let _ = tell.send(proxy.stop().await);
                            return;
                        }
                    }
                }
                proxy.stop().await;
            });
        };
        let thread = std::thread::Builder::new().name("proxy".to_owned()).spawn(run).unwrap();
        let (addresses, admin) = told.recv_timeout(PATIENCE).expect("the proxy starts");
        Front { asks, thread: Some(thread), addresses, admin, folder, file }
    }

    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    pub fn admin(&self) -> SocketAddr {
        self.admin.unwrap()
    }

    pub fn write(&self, config: &str) {
        std::fs::write(&self.file, config).unwrap();
    }

    /// Writes another config and has it read.
    pub fn reload(&self, config: &str) -> Result<(), String> {
        self.write(config);
        let (tell, told) = mpsc::channel();
        self.asks.send(Ask::Reload(tell)).ok().unwrap();
        told.recv_timeout(PATIENCE).expect("an answer to a reload")
    }

    /// Begins to drain; the number of requests cut off comes when it is done.
    pub fn begin_drain(&self, delay: Duration) -> mpsc::Receiver<u32> {
        let (tell, told) = mpsc::channel();
        self.asks.send(Ask::Drain(delay, tell)).ok().unwrap();
        told
    }

    /// Stops it and gives its folder.
    pub fn stop(mut self) -> Folder {
        let (tell, told) = mpsc::channel();
        let _ = self.asks.send(Ask::Stop(tell));
        let _ = told.recv_timeout(PATIENCE);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        std::mem::replace(&mut self.folder, Folder::new())
    }

    /// The answer of the admin listener.
    pub fn ask(&self, method: &str, path: &str) -> Answer {
        request(self.admin(), method, path, &[])
    }

    /// The state of a server.
    pub fn server(&self, pool: &str, name: &str) -> serde_json::Value {
        server(self.admin(), pool, name)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let (tell, told) = mpsc::channel();
        if self.asks.send(Ask::Stop(tell)).is_ok() {
            let _ = told.recv_timeout(PATIENCE);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The sum of a metric's samples whose labels begin so.
pub fn metric(admin: SocketAddr, start: &str) -> f64 {
    let text = request(admin, "GET", "/metrics", &[]).body;
    let samples = text.lines().filter(|line| line.starts_with(start));
    let values: Vec<f64> = samples.map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect();
    assert!(!values.is_empty(), "{start} is not in {text}");
    values.iter().sum()
}

/// The state of a server, from an admin listener.
pub fn server(admin: SocketAddr, pool: &str, name: &str) -> serde_json::Value {
    let answer = request(admin, "GET", "/servers", &[]);
    let all: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let named = |list: &serde_json::Value, name: &str| {
        list.as_array().unwrap().iter().find(|one| one["name"] == name).cloned().unwrap_or_default()
    };
    named(&named(&all["pools"], pool)["servers"], name)
}

// ---- As a child ----

/// A proxy, or another command of ours, as a process of its own. Killed when dropped.
pub struct Process {
    child: Child,
    out: Arc<Mutex<Vec<String>>>,
    err: Arc<Mutex<String>>,
}

impl Process {
    pub fn start(arguments: &[&str]) -> Process {
        Process::of(std::process::Command::new(env!("CARGO_BIN_EXE_evenkeel")).args(arguments))
    }

    /// The same with a variable in its environment.
    pub fn with_variable((name, value): (&str, &str), arguments: &[&str]) -> Process {
        Process::of(std::process::Command::new(env!("CARGO_BIN_EXE_evenkeel")).args(arguments).env(name, value))
    }

    /// The same with so few descriptors.
    pub fn with_descriptors(limit: u32, arguments: &[&str]) -> Process {
        let script = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
        let shell = ["-c", &script, env!("CARGO_BIN_EXE_evenkeel")];
        Process::of(std::process::Command::new("sh").args(shell).args(arguments))
    }

    fn of(command: &mut std::process::Command) -> Process {
        let mut child = command
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (out, err) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(String::new())));
        let (lines, said) = (BufReader::new(child.stdout.take().unwrap()), out.clone());
        std::thread::spawn(move || {
            lines.lines().map_while(Result::ok).for_each(|line| said.lock().unwrap().push(line))
        });
        let (lines, said) = (BufReader::new(child.stderr.take().unwrap()), err.clone());
        std::thread::spawn(move || {
            lines.lines().map_while(Result::ok).for_each(|line| *said.lock().unwrap() += &(line + "\n"));
        });
        Process { child, out, err }
    }

    /// What follows `before` in a line of its standard output.
    pub fn told(&mut self, before: &str) -> String {
        let mut found = None;
        eventually(before, || {
            let out = self.out.lock().unwrap();
            found = out.iter().find_map(|line| line.split_once(before)).map(|(_, rest)| rest.to_owned());
            let over = found.is_none() && self.child.try_wait().unwrap().is_some();
            assert!(!over, "it ended: {out:?} {}", self.err.lock().unwrap());
            found.is_some()
        });
        found.unwrap()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its standard error so far.
    pub fn said(&self) -> String {
        self.err.lock().unwrap().clone()
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap();
        assert!(sent.success());
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Its exit code, when it ends by itself.
    pub fn ended(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("the end of a process", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// ---- A request by hand ----

/// An answer, read to the end of its connection.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// One request on a connection of its own.
pub fn request(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    try_request(address, method, path, headers).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

pub fn try_request(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
    headers.iter().for_each(|(name, value)| write!(head, "{name}: {value}\r\n").unwrap());
    stream.write_all((head + "\r\n").as_bytes())?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let wrong = || std::io::Error::other(format!("no answer: {text:?}"));
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(wrong)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(wrong)?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

// ---- Clients ----

/// A client with one keep-alive connection at a time.
pub struct Client {
    address: SocketAddr,
    sender: Option<http1::SendRequest<Full<Bytes>>>,
    /// Connections it has opened.
    pub opened: u64,
}

impl Client {
    pub fn new(address: SocketAddr) -> Client {
        Client { address, sender: None, opened: 0 }
    }

    /// A GET: status, headers and body, or what went wrong.
    pub async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Result<(u16, HeaderMap, Bytes), String> {
        let mut request = Request::get(path).header("host", "test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Full::default()).unwrap()).await
    }

    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<(u16, HeaderMap, Bytes), String> {
        if self.sender.as_ref().is_some_and(http1::SendRequest::is_closed) {
            self.sender = None;
        }
        let mut sender = match self.sender.take() {
            Some(sender) => sender,
            None => {
                let stream = tokio::net::TcpStream::connect(self.address).await.map_err(|e| format!("connect: {e}"))?;
                let _ = stream.set_nodelay(true);
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
                tokio::spawn(connection);
                self.opened += 1;
                sender
            }
        };
        if let Err(error) = sender.ready().await {
            return Err(format!("ready: {error}"));
        }
        let response = sender.send_request(request).await.map_err(|error| format!("answer: {error}"))?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| format!("body: {error}"))?.to_bytes();
        let closes = parts.headers.get("connection").is_some_and(|value| value == "close");
        self.sender = (!closes).then_some(sender);
        Ok((parts.status.as_u16(), parts.headers, body))
    }
}

/// The result of a load.
#[derive(Debug, Default)]
pub struct Tally {
    pub ok: u64,
    /// By status, reason or error.
    pub failed: BTreeMap<String, u64>,
    /// By the server that answered.
    pub by_server: BTreeMap<String, u64>,
}

impl Tally {
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }
}

/// A steady load of GETs, each client sending its next request when the last is answered.
pub struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    thread: JoinHandle<Tally>,
}

impl Load {
    pub fn start(address: SocketAddr, clients: usize, path: &str) -> Load {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let failed = Arc::new(AtomicU64::new(0));
        let (stopped, counted, path, wrong) = (stop.clone(), done.clone(), path.to_owned(), failed.clone());
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let tally = Arc::new(Mutex::new(Tally::default()));
                let mut tasks = Vec::new();
                for n in 0..clients {
                    let (stopped, counted, tally) = (stopped.clone(), counted.clone(), tally.clone());
                    let wrong = wrong.clone();
                    let path = format!("{path}{}c={n}", if path.contains('?') { '&' } else { '?' });
                    tasks.push(tokio::spawn(async move {
                        let mut client = Client::new(address);
                        while !stopped.load(Relaxed) {
                            let answer = client.get(&path, &[]).await;
                            let mut tally = tally.lock().unwrap();
                            if !matches!(answer, Ok((200, ..))) {
                                wrong.fetch_add(1, Relaxed);
                            }
                            match answer {
                                Ok((200, headers, _)) => {
                                    tally.ok += 1;
                                    let server = headers.get("x-server").map_or("", |name| name.to_str().unwrap());
                                    *tally.by_server.entry(server.to_owned()).or_default() += 1;
                                }
                                Ok((status, headers, _)) => {
                                    let reason =
                                        headers.get("x-evenkeel-reason").map(|reason| reason.to_str().unwrap());
                                    let what = reason.map_or_else(|| status.to_string(), str::to_owned);
                                    *tally.failed.entry(what).or_default() += 1;
                                }
                                Err(error) => *tally.failed.entry(error).or_default() += 1,
                            }
                            counted.fetch_add(1, Relaxed);
                        }
                    }));
                }
                for task in tasks {
                    task.await.unwrap();
                }
                std::mem::take(&mut *tally.lock().unwrap())
            })
        };
        Load { stop, done, failed, thread: std::thread::spawn(run) }
    }

    /// Waits until so many more requests are over.
    pub fn passes(&self, more: u64) {
        let until = self.done.load(Relaxed) + more;
        eventually("requests to pass", || self.done.load(Relaxed) >= until || self.thread.is_finished());
        assert!(!self.thread.is_finished(), "the load ended");
    }

    /// Requests that failed so far.
    pub fn failures(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    pub fn stop(self) -> Tally {
        self.stop.store(true, Relaxed);
        self.thread.join().unwrap()
    }
}

/// An echo tunnel through the proxy, as a WebSocket begins one.
pub struct Tunnel(TcpStream);

impl Tunnel {
    pub fn open(address: SocketAddr, path: &str) -> Tunnel {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&answer)));
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
        Tunnel(stream)
    }

    /// Whether what is sent comes back.
    pub fn echoes(&mut self, text: &str) -> bool {
        let mut back = vec![0; text.len()];
        let done = self.0.write_all(text.as_bytes()).and_then(|()| self.0.read_exact(&mut back));
        done.is_ok() && back == text.as_bytes()
    }

    /// Whether the other side has closed it; waits for that.
    pub fn is_cut(&mut self) -> bool {
        !matches!(self.0.read(&mut [0; 16]), Ok(n) if n > 0)
    }
}
