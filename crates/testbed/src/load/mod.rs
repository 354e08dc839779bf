//! A load generator: a model's requests, sent to a real server.
//!
//! [`play`] sends the same [`Workload`] as the simulator: the same arrivals, clients, paths, keys and work, from the same
//! seed. It is an open loop unless the model is a closed one: each request is sent at its intended time, whether earlier
//! ones have ended or not, and latency counts from that time. A generator that waits for responses before it sends the next
//! request omits exactly the requests that a stall delays (coordinated omission, a term of Gil Tene).
//!
//! ```
//! use evenkeel_testbed::load::{Options, Target, play};
//! use evenkeel_testbed::{Backend, Spec};
//!
//! let server = Backend::start(Spec::new("a")).unwrap();
//! let target: Target = server.url().parse().unwrap();
//! let source = r#"
//!     title = "A moment"
//!     question = "Does it answer?"
//!     duration = "100ms"
//!     arrivals = { poisson = { rate = "1000/s" } }
//!     service = { constant = { value = "0s" } }
//!     [[pools]]
//!     name = "web"
//!     [[pools.servers]]
//!     name = "web"
//! "#;
//! let scenario = evenkeel_sim::scenario::Scenario::parse("moment", source, &|_| unreachable!()).unwrap();
//! let report = play(&scenario.model, 1, &target, &Options::default(), |_| true).unwrap();
//! assert_eq!(report.ok, report.requests);
//! ```

mod connections;
mod report;

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use tokio::sync::Notify;

use super::payload::Payload;
use super::precise_timer::PreciseTimer;
use connections::{Connections, Trouble};
use evenkeel_core::rng::Keyed;
use evenkeel_core::units::Nanos;
use evenkeel_sim::sim::model::{Arrivals, Model};
use evenkeel_sim::sim::workload::{Draft, Origin, Workload};
pub use report::{LoadSummary, PERCENTILES};

/// The target: `http://host:port`, and a path if all requests have the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Host and port.
    pub authority: String,
    /// Path and query of every request; `None` takes the path of each request in the model.
    pub path: Option<String>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        let help = "write it as http://127.0.0.1:8080 or http://127.0.0.1:8080/path";
        let uri: Uri = text.parse().map_err(|error| format!("`{text}` is not a URL ({error}): {help}"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some(other) => return Err(format!("`{other}` is not spoken here, only `http` is: {help}")),
            None => return Err(format!("`{text}` does not say `http://`: {help}")),
        }
        let authority = uri.authority().ok_or_else(|| format!("`{text}` names no host: {help}"))?;
        if authority.as_str().contains('@') {
            return Err(format!("`{text}` holds a user, which is not sent: {help}"));
        }
        let authority = match authority.port_u16() {
            Some(_) => authority.as_str().to_owned(),
            None if authority.as_str() == authority.host() => format!("{authority}:80"),
            None => return Err(format!("`{authority}` ends in no port that can be: {help}")),
        };
        let path = uri.path_and_query().map(|path| path.as_str().to_owned()).filter(|path| path != "/");
        Ok(Target { authority, path })
    }
}

impl Target {
    fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let found: Vec<SocketAddr> = self.authority.to_socket_addrs()?.collect();
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("`{}` has no address", self.authority)));
        }
        Ok(found)
    }
}

/// Options of a load.
#[derive(Clone, Debug)]
pub struct Options {
    /// Method of every request; default GET.
    pub method: Method,
    /// Further header fields of every request; default none.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Bytes of every request's body; default 0.
    pub body_bytes: u64,
    /// HTTP/2 with prior knowledge, without TLS; default false.
    pub http2: bool,
    /// Maximum number of open connections; by default HTTP/1.1 opens as many as it needs, HTTP/2 one.
    pub connections: Option<usize>,
    /// Timeout of a request, from its intended time; `None` uses the model's.
    pub timeout: Option<Duration>,
    /// Maximum number of requests; `None` for no limit but the model's duration.
    pub requests: Option<u64>,
    /// Whether requests carry their client's address (`x-forwarded-for`).
    pub tell_client: bool,
    /// Whether requests carry their key for caches and hashing (`x-key`, 16 hexadecimal digits).
    pub tell_key: bool,
    /// Whether requests carry their work (`x-demand`, nanoseconds), which a test server uses instead of its own distribution.
    pub tell_demand: bool,
}

impl Default for Options {
    /// Sends everything that a test server needs to behave like the simulated one.
    fn default() -> Options {
        Options {
            method: Method::GET,
            headers: Vec::new(),
            body_bytes: 0,
            http2: false,
            connections: None,
            timeout: None,
            requests: None,
            tell_client: true,
            tell_key: true,
            tell_demand: true,
        }
    }
}

/// Progress of a load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Requests sent, those of the warm-up included.
    pub sent: u64,
    /// Requests with a response without an error.
    pub ok: u64,
    /// Requests with any other outcome.
    pub failed: u64,
    /// Share that is done, 0 to 1: of the time, or of the requests where their number is limited.
    pub share: f64,
}

const CLIENT: HeaderName = HeaderName::from_static("x-forwarded-for");
const KEY: HeaderName = HeaderName::from_static("x-key");
const DEMAND: HeaderName = HeaderName::from_static("x-demand");

/// Sends the model's requests, and waits for the last responses for at most the model's `drain`. `watch` is called with the
/// progress every 100 ms and ends the load by returning false. Blocks the calling thread.
///
/// # Errors
/// Only if nothing could be sent: a host without an address, or no resources.
pub fn play(
    model: &Model,
    seed: u64,
    target: &Target,
    options: &Options,
    mut watch: impl FnMut(Progress) -> bool,
) -> io::Result<LoadSummary> {
    play_watched(model, seed, target, options, |progress, _| watch(progress))
}

/// The same, with access to the summary as it grows.
pub fn play_watched(
    model: &Model,
    seed: u64,
    target: &Target,
    options: &Options,
    mut watch: impl FnMut(Progress, &LoadSummary) -> bool,
) -> io::Result<LoadSummary> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let player = Arc::new(Player::new(model, target, options)?);
    let measured_from = player.start + nanos(model.warmup);
    runtime.block_on(async {
        let timer = PreciseTimer::new()?;
        let looks_on = async {
            loop {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let progress = player.progress();
                if !watch(progress, &player.report()) {
                    break;
                }
            }
        };
        tokio::select! {
            () = player.run(model, seed, timer) => {}
            () = looks_on => {}
        }
        io::Result::Ok(())
    })?;
    let mut report = player.report().clone();
    report.connections = player.connections.opened();
    report.unfinished = report.requests - report.ok - report.failed();
    report.close(measured_from);
    Ok(report)
}

fn nanos(span: Nanos) -> Duration {
    Duration::from_nanos(span.0)
}

/// State that the tasks of a load share.
struct Player {
    connections: Connections,
    options: Options,
    authority: String,
    path: Option<String>,
    /// Header fields of all requests.
    headers: HeaderMap,
    start: Instant,
    /// Time from which no request is sent.
    end: Instant,
    span: Duration,
    warmup: Nanos,
    cache_warmup: Nanos,
    drain: Duration,
    timeout: Option<Duration>,
    sent: AtomicU64,
    ended: AtomicU64,
    /// Notified when a request ends.
    bell: Notify,
    report: Mutex<LoadSummary>,
}

/// The times of one request.
#[derive(Clone, Copy)]
struct Moment {
    /// Its intended time, since the start.
    at: Nanos,
    intended: Instant,
    /// Timeout, from its intended time.
    timeout: Option<Duration>,
}

impl Player {
    fn new(model: &Model, target: &Target, options: &Options) -> io::Result<Player> {
        let closed = matches!(model.arrivals, Arrivals::Closed { .. });
        let mut headers = HeaderMap::new();
        if !options.http2 {
            let host = HeaderValue::from_str(&target.authority).map_err(io::Error::other)?;
            headers.insert(HOST, host);
        }
        for (name, value) in &options.headers {
            if *name == HOST {
                headers.insert(name, value.clone());
            } else {
                headers.append(name, value.clone());
            }
        }
        let connections = Connections::new(target.resolve()?, options.http2, options.connections);
        let start = Instant::now();
        let span = nanos(model.warmup + model.duration);
        Ok(Player {
            connections,
            options: options.clone(),
            authority: target.authority.clone(),
            path: target.path.clone(),
            headers,
            start,
            end: start + span,
            span,
            warmup: model.warmup,
            cache_warmup: model.cache_warmup,
            drain: nanos(model.drain),
            timeout: options.timeout,
            sent: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            bell: Notify::new(),
            report: Mutex::new(LoadSummary::new(closed)),
        })
    }

    fn report(&self) -> MutexGuard<'_, LoadSummary> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress(&self) -> Progress {
        let report = self.report();
        let sent = self.sent.load(Ordering::Relaxed);
        let by_time = self.start.elapsed().as_secs_f64() / self.span.as_secs_f64();
        let by_count = self.options.requests.map_or(0.0, |most| sent as f64 / most as f64);
        Progress { sent, ok: report.ok, failed: report.failed(), share: by_time.max(by_count).min(1.0) }
    }

    /// Whether one more request may be sent; if so, it is counted.
    fn may_send(&self) -> bool {
        let sent = self.sent.fetch_add(1, Ordering::Relaxed);
        let may = self.options.requests.is_none_or(|most| sent < most);
        if !may {
            self.sent.fetch_sub(1, Ordering::Relaxed);
        }
        may
    }

    async fn run(self: &Arc<Player>, model: &Model, seed: u64, timer: PreciseTimer) {
        match &model.arrivals {
            Arrivals::Closed { .. } => self.closed(model, seed).await,
            _ => self.open(model, seed, timer).await,
        }
        let last = Instant::now() + self.drain;
        while self.ended.load(Ordering::Relaxed) < self.sent.load(Ordering::Relaxed) {
            tokio::select! {
                () = self.bell.notified() => {}
                () = tokio::time::sleep_until(last.into()) => break,
            }
        }
    }

    /// Open loop: every request at its intended time.
    async fn open(self: &Arc<Player>, model: &Model, seed: u64, mut timer: PreciseTimer) {
        let mut workload = Workload::new(model, seed);
        while let Some((at, origin)) = workload.next_arrival() {
            let intended = self.start + nanos(at);
            if intended >= self.end || !self.may_send() {
                break;
            }
            let draft = workload.draft(origin, at);
            let request = self.request(model, &workload, &draft);
            if intended > Instant::now() {
                timer.until(intended).await;
            } else {
                // When the generator is late, it yields so that requests in flight still progress.
                tokio::task::yield_now().await;
            }
            let player = self.clone();
            let timeout = self.timeout.or(draft.timeout.map(nanos));
            tokio::spawn(async move { player.send(request, Moment { at, intended, timeout }).await });
        }
        self.report().workload_hash = workload.hash;
    }

    /// Closed loop: every client sends, waits for the response, thinks, and sends again.
    async fn closed(self: &Arc<Player>, model: &Model, seed: u64) {
        let model = Arc::new(model.clone());
        let clients: Vec<_> = (0..model.clients.addresses.len() as u32)
            .map(|client| tokio::spawn(self.clone().client(client, model.clone(), seed)))
            .collect();
        for client in clients {
            let _ = client.await;
        }
    }

    async fn client(self: Arc<Player>, client: u32, model: Arc<Model>, seed: u64) {
        let Arrivals::Closed { think } = &model.arrivals else { return };
        let mut workload = Workload::new(&model, seed);
        let thinking = Keyed::new(seed, "think");
        let mut sent = 0;
        loop {
            let pause = think.sample(&mut thinking.at(u64::from(client) << 32 | sent));
            if pause > Nanos::ZERO {
                tokio::time::sleep(nanos(pause)).await;
            }
            let intended = Instant::now();
            if intended >= self.end || !self.may_send() {
                break;
            }
            let at = Nanos((intended - self.start).as_nanos() as u64);
            let draft = workload.draft(Origin::Client(client, sent), at);
            sent += 1;
            let request = self.request(&model, &workload, &draft);
            let timeout = self.timeout.or(draft.timeout.map(nanos));
            self.send(request, Moment { at, intended, timeout }).await;
        }
    }

    fn request(&self, model: &Model, workload: &Workload<'_>, draft: &Draft) -> Request<Payload> {
        let own = || model.paths[draft.path as usize].path.as_str();
        let path = self.path.as_deref().unwrap_or_else(own);
        let uri = if self.options.http2 {
            Uri::builder().scheme("http").authority(self.authority.as_str()).path_and_query(path).build()
        } else {
            Uri::builder().path_and_query(path).build()
        };
        let mut request = Request::new(Payload::filling(self.options.body_bytes));
        *request.method_mut() = self.options.method.clone();
        // A recorded path may be invalid, for example from a bot.
        *request.uri_mut() = uri.unwrap_or_else(|_| Uri::from_static("/"));
        let mut headers = self.headers.clone();
        if self.options.tell_client
            && let Ok(client) = HeaderValue::from_str(&workload.address(draft.client).to_string())
        {
            headers.insert(CLIENT, client);
        }
        if self.options.tell_key
            && let Ok(key) = HeaderValue::from_str(&format!("{:016x}", draft.key))
        {
            headers.insert(KEY, key);
        }
        if self.options.tell_demand {
            headers.insert(DEMAND, HeaderValue::from(draft.demand.0));
        }
        *request.headers_mut() = headers;
        request
    }

    /// Sends a request and records its outcome.
    async fn send(&self, request: Request<Payload>, moment: Moment) {
        let begun = Instant::now();
        let measured = moment.at >= self.warmup;
        if measured {
            let mut report = self.report();
            report.requests += 1;
            report.late(begun - moment.intended);
        }
        let mut got_connection = None;
        let exchange = self.connections.exchange(request, &mut got_connection);
        let result = match moment.timeout {
            None => exchange.await,
            Some(timeout) => {
                let deadline = moment.intended + timeout;
                tokio::time::timeout_at(deadline.into(), exchange).await.unwrap_or(Err(Trouble::TimedOut))
            }
        };
        let now = Instant::now();
        if measured {
            let mut report = self.report();
            report.waited(got_connection.unwrap_or(now) - begun);
            report.ended(&result, now, now - moment.intended, moment.timeout, moment.at >= self.cache_warmup);
        }
        self.ended.fetch_add(1, Ordering::Relaxed);
        self.bell.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_urls_without_tls() {
        let target: Target = "http://localhost:8080".parse().unwrap();
        assert_eq!(target, Target { authority: "localhost:8080".to_owned(), path: None });
        let target: Target = "http://10.0.0.1/a?b=c".parse().unwrap();
        assert_eq!(target, Target { authority: "10.0.0.1:80".to_owned(), path: Some("/a?b=c".to_owned()) });
        assert_eq!("http://[::1]:80/".parse::<Target>().unwrap().authority, "[::1]:80");
        for (bad, what) in [
            ("localhost:8080", "http://"),
            ("https://a/", "`https` is not spoken"),
            ("http://", "not a URL"),
            ("/path", "does not say `http://`"),
            ("http://a:99999/", "no port"),
            ("http://a:/", "no port"),
            ("http://me@a/", "a user"),
            ("http://a b/", "not a URL"),
        ] {
            let message = bad.parse::<Target>().unwrap_err();
            assert!(message.contains(what) && message.contains("write it as"), "{bad}: {message}");
        }
    }
}
