//! The thread that runs the shards: reads the config, again when it changes, opens sockets, checks servers, looks names up,
//! answers the admin listener, and ends everything in good order.
//!
//! A reload is read and checked in full before anything of it happens; a config that is wrong changes nothing. Clients'
//! connections, tunnels among them, are not touched by it, and pools that choose as before keep what they have learnt.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::access;
use super::admin;
use super::checks;
use super::clock::{Clock, duration};
use super::descriptors;
use super::dns::{Limits, Resolver, Target, Watched};
use super::headers::Trust;
use super::metrics::Metrics;
use super::record::Tape;
use super::shard::{self, Addresses, Command, PoolCounters, ShardConfig, ShardInit};
use super::tls::{self, Certificates, Files};
use super::upstream::{ANSWER_HEADERS, UpstreamSettings};
use evenkeel_config::diagnostic::Diagnostic;
use evenkeel_config::proxy::{AccessFormat, PoolConfig, Protocol, ProxyConfig};
use evenkeel_core::rng::Rng;

/// How a proxy is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where the config is read from, at the start and at each reload.
    pub file: PathBuf,
    /// Read again when the file's content changes.
    pub watch: bool,
    /// Where everything is recorded that selectors are told.
    pub record: Option<PathBuf>,
    /// Seed of all randomness; from the machine's entropy unless given.
    pub seed: Option<u64>,
    /// The commit that the program was built from, for the metric `evenkeel_build_info`; `None` where it is not known.
    pub commit: Option<&'static str>,
}

/// Why a proxy did not start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The config is wrong.
    #[error("{}", .0.plain())]
    Config(Box<Diagnostic>),
    /// The config cannot be read.
    #[error("{file}: {error}")]
    Read {
        /// The file.
        file: String,
        /// What is wrong.
        error: io::Error,
    },
    /// A socket cannot be opened.
    #[error("cannot listen at {address}: {error}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What is wrong.
        error: io::Error,
    },
    /// Certificates, log files, recordings.
    #[error("{0}")]
    Other(String),
}

/// A proxy that runs.
pub struct Proxy {
    control: Rc<Control>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

/// What the control thread knows.
pub struct Control {
    options: Options,
    clock: Clock,
    metrics: Arc<Metrics>,
    shards: RefCell<Vec<mpsc::UnboundedSender<Command>>>,
    shard_config: RefCell<ShardConfig>,
    source: RefCell<String>,
    ready: Cell<bool>,
    addresses: RefCell<Vec<SocketAddr>>,
    admin_address: Cell<Option<SocketAddr>>,
    tasks: RefCell<Vec<AbortHandle>>,
    admin: RefCell<Option<AbortHandle>>,
    /// Made when the first name is to be looked up: a machine without DNS settings can do without names.
    resolver: RefCell<Option<Resolver>>,
    log: Option<Arc<access::Log>>,
    rng: RefCell<Rng>,
    tape: Option<Tape>,
    names: RefCell<Addresses>,
    /// The file as it was last read, sound or not.
    seen: RefCell<String>,
    /// The last check of each server, by pool and server.
    checked: RefCell<BTreeMap<(String, String), LastCheck>>,
    /// Hold the addresses that it listens at against a second proxy.
    held: RefCell<Vec<(SocketAddr, Hold)>>,
    /// One reload at a time.
    reloading: tokio::sync::Mutex<()>,
}

/// A server's last active check.
#[derive(Clone, Debug)]
pub struct LastCheck {
    /// When it was over.
    pub time: jiff::Timestamp,
    /// Why it failed; `None` if it passed.
    pub failure: Option<Arc<str>>,
    /// How long it took.
    pub took: Duration,
}

/// Sockets for each shard, for each listener; none where it has one.
type Sockets = Vec<Vec<Option<std::net::TcpListener>>>;

/// Reads a config from a file.
pub fn read(file: &std::path::Path) -> Result<(String, ProxyConfig), ProxyError> {
    let (name, source) = read_source(file)?;
    parse(name, source)
}

fn read_source(file: &std::path::Path) -> Result<(String, String), ProxyError> {
    // The annotated example has less than a thousandth of that.
    const LONGEST: u64 = 16 << 20;
    let name = file.display().to_string();
    let mut source = String::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(LONGEST + 1).read_to_string(&mut source));
    match read {
        Ok(length) if length as u64 > LONGEST => {
            let error = io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 16 MiB");
            Err(ProxyError::Read { file: name, error })
        }
        Ok(_) => Ok((name, source)),
        Err(error) => Err(ProxyError::Read { file: name, error }),
    }
}

fn parse(name: String, source: String) -> Result<(String, ProxyConfig), ProxyError> {
    match ProxyConfig::parse(&source, &|variable| std::env::var(variable).ok()) {
        Ok(config) => Ok((source, config)),
        Err(problems) => Err(ProxyError::Config(Box::new(Diagnostic { file: name, source, problems }))),
    }
}

/// Everything of a config that is in files of its own: certificates. For `--check`.
pub fn check_files(config: &ProxyConfig) -> Result<(), ProxyError> {
    acceptors(config).map(|_| ())
}

fn acceptors(config: &ProxyConfig) -> Result<Arc<[Option<TlsAcceptor>]>, ProxyError> {
    let one = |listener: &evenkeel_config::proxy::Listener| {
        let Some(certificates) = &listener.tls else { return Ok(None) };
        let fail = |error: tls::Error| ProxyError::Other(format!("listener {}: {error}", listener.address));
        let files: Vec<Files> =
            certificates.iter().map(|pair| Files { certificate: pair.cert.clone(), key: pair.key.clone() }).collect();
        let (certificates, warnings) = Certificates::load(&files, jiff::Timestamp::now()).map_err(fail)?;
        warnings.iter().for_each(|warning| tracing::warn!("listener {}: {warning}", listener.address));
        let server = tls::server_config(certificates, listener.http2).map_err(fail)?;
        Ok(Some(TlsAcceptor::from(server)))
    };
    config.listeners.iter().map(one).collect()
}

impl Proxy {
    /// Starts a proxy. Must be called within a `LocalSet`; what runs beside the shards runs there.
    pub async fn start(options: Options) -> Result<Proxy, ProxyError> {
        let (source, config) = read(&options.file)?;
        Proxy::start_with(options, source, config).await
    }

    /// Starts a proxy with a config that has been read.
    pub async fn start_with(options: Options, source: String, config: ProxyConfig) -> Result<Proxy, ProxyError> {
        let seed = match options.seed {
            Some(seed) => seed,
            None => {
                let mut bytes = [0; 8];
                getrandom::fill(&mut bytes).map_err(|error| ProxyError::Other(format!("no entropy: {error}")))?;
                u64::from_le_bytes(bytes)
            }
        };
        let clock = Clock::new();
        let commit = options.commit.unwrap_or("unknown");
        let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"), commit));
        let shards = config.shards.unwrap_or_else(|| {
            std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1))
        });
        let other = |what: &str, error: &dyn std::fmt::Display| ProxyError::Other(format!("{what}: {error}"));
        let log = match config.log.access {
            AccessFormat::None => None,
            _ => Some(open_log(&config, &metrics).map_err(|e| other("access log", &e))?),
        };
        let tape = match &options.record {
            None => None,
            Some(file) => Some(Tape::create(file).map_err(|e| other(&file.display().to_string(), &e))?),
        };
        let resolver = RefCell::new(None);
        let names = look_up(&resolver, &config, &Addresses::new()).await?;
        let shard_config = shard_config(&metrics, config, None, &names)?;
        let control = Rc::new(Control {
            options,
            clock,
            metrics: Arc::clone(&metrics),
            shards: RefCell::new(Vec::new()),
            shard_config: RefCell::new(shard_config.clone()),
            seen: RefCell::new(source.clone()),
            source: RefCell::new(source),
            ready: Cell::new(false),
            addresses: RefCell::new(Vec::new()),
            admin_address: Cell::new(None),
            tasks: RefCell::new(Vec::new()),
            admin: RefCell::new(None),
            resolver,
            log: log.clone(),
            rng: RefCell::new(Rng::stream(seed, "control", 0)),
            tape: tape.clone(),
            names: RefCell::new(names),
            checked: RefCell::new(BTreeMap::new()),
            held: RefCell::new(Vec::new()),
            reloading: tokio::sync::Mutex::new(()),
        });
        let (sockets, addresses) = control.open_listeners(&shard_config.config, &[], shards)?;
        *control.addresses.borrow_mut() = addresses;
        control.listen_admin(&shard_config.config).await?;
        let connections = Arc::new(AtomicU32::new(0));
        let most_connections = descriptors::clients(&shard_config.config, shards);
        let mut threads = Vec::new();
        for (number, sockets) in (0..shards).zip(sockets) {
            let (tell, told) = mpsc::unbounded_channel();
            let init = ShardInit {
                number,
                of: shards,
                clock,
                seed,
                metrics: metrics.proxy(),
                connections: Arc::clone(&connections),
                most_connections,
                log: log.clone(),
                tape: tape.clone(),
            };
            let shard_config = shard_config.clone();
            let thread = std::thread::Builder::new()
                .name(format!("shard-{number}"))
                .spawn(move || shard::run(init, &shard_config, sockets, told))
                .map_err(|e| other("thread", &e))?;
            threads.push(thread);
            control.shards.borrow_mut().push(tell);
        }
        control.attend();
        control.ready.set(true);
        if control.options.watch {
            let watching = Rc::clone(&control);
            tokio::task::spawn_local(async move { watching.watch().await });
        }
        Ok(Proxy { control, threads })
    }

    /// Where it listens, in the order of the config.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.control.addresses.borrow().clone()
    }

    /// Where its admin listener is.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.control.admin_address.get()
    }

    /// What runs it.
    pub fn control(&self) -> &Rc<Control> {
        &self.control
    }

    /// How long requests are still taken when it is told to end.
    pub fn drain_delay(&self) -> Duration {
        duration(self.control.shard_config.borrow().config.timeouts.drain_delay)
    }

    /// Ends in good order: says that it is not ready, takes requests for `delay` longer, then lets what is there end, for as
    /// long as the config allows. Gives how many requests were cut off.
    pub async fn drain(self, delay: Duration) -> u32 {
        let control = &self.control;
        control.ready.set(false);
        control.tell_all(|| Command::Leave);
        sleep(delay).await;
        let mut answers = Vec::new();
        control.tell_all(|| {
            let (tell, told) = oneshot::channel();
            answers.push(told);
            Command::Drained(tell)
        });
        // The listeners close, and another proxy may take their place.
        control.held.borrow_mut().clear();
        let limit = duration(control.shard_config.borrow().config.timeouts.drain);
        let all = async {
            for answer in answers {
                let _ = answer.await;
            }
        };
        let ended = timeout(limit, all).await.is_ok();
        let cut = self.stop().await;
        if ended { 0 } else { cut }
    }

    /// Ends now. Gives how many requests were cut off.
    pub async fn stop(self) -> u32 {
        let control = &self.control;
        let mut answers = Vec::new();
        control.tell_all(|| {
            let (tell, told) = oneshot::channel();
            answers.push(told);
            Command::Cut(tell)
        });
        let mut cut = 0;
        for answer in answers {
            cut += answer.await.unwrap_or(0);
        }
        control.stop_tasks();
        control.shards.borrow_mut().clear();
        for thread in self.threads {
            // The shards have no more commands and end; a few milliseconds of their last words.
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "shard"),
                Err(_) => tracing::error!("a shard has panicked"),
            }
        }
        control.flush();
        cut
    }
}

impl Control {
    /// Whether it takes requests.
    pub fn is_ready(&self) -> bool {
        self.ready.get()
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What changes by the admin listener need.
    pub fn admin_token(&self) -> Option<String> {
        self.shard_config.borrow().config.admin.as_ref().and_then(|admin| admin.token.clone())
    }

    /// The config in force, without secrets.
    pub fn redacted_config(&self) -> String {
        redacted(&self.source.borrow())
    }

    /// Whether there is such a server.
    pub fn knows(&self, pool: &str, server: &str) -> bool {
        let shard_config = self.shard_config.borrow();
        let mut pools = shard_config.config.pools.iter();
        pools.any(|p| p.name == pool && p.servers.iter().any(|s| s.name == server))
    }

    /// The strategy of a pool.
    pub fn strategy_of(&self, pool: &str) -> Option<&'static str> {
        let shard_config = self.shard_config.borrow();
        shard_config.config.pools.iter().find(|p| p.name == pool).map(|p| p.strategy.name())
    }

    /// A server's last active check, if there was one.
    pub fn last_check(&self, pool: &str, server: &str) -> Option<LastCheck> {
        self.checked.borrow().get(&(pool.to_owned(), server.to_owned())).cloned()
    }

    /// Drains a server or takes it back, in all shards.
    pub fn drain(&self, pool: &str, server: &str, draining: bool) {
        self.tell_all(|| Command::Drain { pool: pool.to_owned(), server: server.to_owned(), draining });
    }

    /// Tells every shard.
    pub fn tell_all(&self, mut command: impl FnMut() -> Command) {
        for shard in &*self.shards.borrow() {
            let _ = shard.send(command());
        }
    }

    /// Writes out what is to be kept.
    pub fn flush(&self) {
        if let Some(tape) = &self.tape {
            tape.flush();
        }
        if let Some(log) = &self.log {
            log.flush(Duration::from_secs(1));
        }
    }

    /// Begins the access log's file anew, as after it was moved away.
    pub fn reopen_log(&self) {
        if let Some(log) = &self.log {
            log.reopen();
        }
    }

    /// Reads the config again and works by it. What is wrong with it changes nothing.
    pub async fn reload(self: &Rc<Self>) -> Result<(), ProxyError> {
        let done = self.try_reload().await;
        self.metrics.proxy().reloaded(done.is_ok());
        match &done {
            Ok(()) => tracing::info!("the config was reloaded"),
            Err(error) => tracing::error!(%error, "the config was not reloaded; the old one stays in force"),
        }
        done
    }

    async fn try_reload(self: &Rc<Self>) -> Result<(), ProxyError> {
        let _alone = self.reloading.lock().await;
        if !self.ready.get() {
            return Err(ProxyError::Other("the proxy is about to end".to_owned()));
        }
        let (source, config) = {
            let (name, source) = read_source(&self.options.file)?;
            self.seen.borrow_mut().clone_from(&source);
            parse(name, source)?
        };
        let old = Arc::clone(&self.shard_config.borrow().config);
        let known = self.names.borrow().clone();
        let names = look_up(&self.resolver, &config, &known).await?;
        let shard_config = {
            let before = self.shard_config.borrow();
            shard_config(&self.metrics, config, Some(&before), &names)?
        };
        let shards = self.shards.borrow().len();
        let known: Vec<SocketAddr> = old.listeners.iter().map(|listener| listener.address).collect();
        let (sockets, addresses) =
            self.open_listeners(&shard_config.config, &known, u32::try_from(shards).unwrap_or(1))?;
        if old.admin.as_ref().map(|a| a.address) != shard_config.config.admin.as_ref().map(|a| a.address) {
            self.listen_admin(&shard_config.config).await?;
        }
        for (shard, sockets) in self.shards.borrow().iter().zip(sockets) {
            let _ = shard.send(Command::Reconfigure(Box::new(shard_config.clone()), sockets));
        }
        restart_for(&old, &shard_config.config);
        *self.addresses.borrow_mut() = addresses;
        *self.names.borrow_mut() = names;
        *self.shard_config.borrow_mut() = shard_config;
        *self.source.borrow_mut() = source;
        self.attend();
        Ok(())
    }

    /// Sockets for each shard, for each listener that is not among `known`; and where all of them are.
    fn open_listeners(
        &self,
        config: &ProxyConfig,
        known: &[SocketAddr],
        shards: u32,
    ) -> Result<(Sockets, Vec<SocketAddr>), ProxyError> {
        let mut all: Vec<Vec<_>> = (0..shards).map(|_| Vec::new()).collect();
        let mut addresses = Vec::new();
        let mut holds = Vec::new();
        let mut before: Vec<_> = known.iter().copied().zip(self.addresses.borrow().iter().copied()).collect();
        for listener in &config.listeners {
            if let Some(at) = before.iter().position(|(address, _)| *address == listener.address) {
                all.iter_mut().for_each(|sockets| sockets.push(None));
                addresses.push(before.remove(at).1);
                continue;
            }
            let mut address = listener.address;
            // The kernel chooses a port that is free, and an address of our own is handed on.
            if address.port() != 0 && !known.iter().any(|own| own.port() == address.port()) {
                let hold = Hold::take(address).map_err(|error| ProxyError::Listen { address, error })?;
                holds.push((address, hold));
            }
            for sockets in &mut all {
                let socket = open(address).map_err(|error| ProxyError::Listen { address, error })?;
                // The first to open port 0 learns which it is.
                address = socket.local_addr().map_err(|error| ProxyError::Listen { address, error })?;
                sockets.push(Some(socket));
            }
            addresses.push(address);
        }
        let mut held = self.held.borrow_mut();
        held.retain(|(address, _)| config.listeners.iter().any(|listener| listener.address == *address));
        held.append(&mut holds);
        drop(held);
        Ok((all, addresses))
    }

    async fn listen_admin(self: &Rc<Self>, config: &ProxyConfig) -> Result<(), ProxyError> {
        let Some(admin) = &config.admin else {
            if let Some(old) = self.admin.take() {
                old.abort();
            }
            self.admin_address.set(None);
            return Ok(());
        };
        let fail = |error| ProxyError::Listen { address: admin.address, error };
        let listener = TcpListener::bind(admin.address).await.map_err(fail)?;
        self.admin_address.set(Some(listener.local_addr().map_err(fail)?));
        let serving = tokio::task::spawn_local(admin::serve(Rc::clone(self), listener)).abort_handle();
        if let Some(old) = self.admin.replace(Some(serving)) {
            old.abort();
        }
        Ok(())
    }

    fn stop_tasks(&self) {
        self.tasks.take().iter().for_each(AbortHandle::abort);
        if let Some(admin) = self.admin.take() {
            admin.abort();
        }
    }

    /// Checks servers and looks names up, by the config in force.
    fn attend(self: &Rc<Self>) {
        self.tasks.take().iter().for_each(AbortHandle::abort);
        let shard_config = self.shard_config.borrow().clone();
        self.checked.borrow_mut().retain(|(pool, server), _| {
            let pool = shard_config.config.pools.iter().find(|p| p.name == *pool && p.rules.health.is_some());
            pool.is_some_and(|pool| pool.servers.iter().any(|s| s.name == *server))
        });
        let mut tasks = Vec::new();
        for (i, pool) in shard_config.config.pools.iter().enumerate() {
            if pool.rules.health.is_some() {
                for server in 0..pool.servers.len() {
                    let (control, pool, settings) =
                        (Rc::clone(self), pool.clone(), shard_config.upstream_settings[i].clone());
                    let checking = async move { control.check(&pool, server, &settings).await };
                    tasks.push(tokio::task::spawn_local(checking).abort_handle());
                }
            }
        }
        for (name, port) in names_of(&shard_config.config) {
            let control = Rc::clone(self);
            let looking = async move { control.keep_looking_up(&name, port).await };
            tasks.push(tokio::task::spawn_local(looking).abort_handle());
        }
        *self.tasks.borrow_mut() = tasks;
    }

    async fn check(&self, pool: &PoolConfig, server: usize, settings: &UpstreamSettings) {
        let Some(rules) = &pool.rules.health else { return };
        let server = &pool.servers[server];
        // Checks of many servers do not all start at once.
        let mut wait = {
            use evenkeel_core::rng::Source;
            let share = self.rng.borrow_mut().unit();
            Duration::from_nanos((rules.interval.0.min(1_000_000_000) as f64 * 0.2 * share) as u64)
        };
        loop {
            sleep(wait).await;
            let address = match server.host.parse::<IpAddr>() {
                Ok(ip) => Some(SocketAddr::new(ip, server.port)),
                Err(_) => {
                    let names = self.names.borrow();
                    names.get(&(server.host.clone(), server.port)).and_then(|all| all.first().copied())
                }
            };
            let began = tokio::time::Instant::now();
            let result = match address {
                Some(address) => checks::check(address, settings, &pool.check, duration(rules.timeout)).await,
                None => Some(checks::Checked::failed("its name has no address")),
            };
            let Some(checks::Checked { failure, load }) = result else {
                wait = duration(rules.wait(&mut *self.rng.borrow_mut()));
                continue;
            };
            let last = LastCheck { time: jiff::Timestamp::now(), failure: failure.clone(), took: began.elapsed() };
            self.checked.borrow_mut().insert((pool.name.clone(), server.name.clone()), last);
            self.tell_all(|| Command::Checked {
                pool: pool.name.clone(),
                server: server.name.clone(),
                failure: failure.clone(),
                load,
            });
            wait = duration(rules.wait(&mut *self.rng.borrow_mut()));
        }
    }

    async fn keep_looking_up(&self, name: &str, port: u16) {
        let Some(resolver) = self.resolver.borrow().clone() else { return };
        let key = (name.to_owned(), port);
        let mut watched = Watched::new(Target::Name(name.to_owned(), port));
        loop {
            let refreshed = watched.refresh(&resolver).await;
            if let Some(error) = refreshed.error {
                tracing::warn!(%error, "a name; its last addresses stay in force");
            } else {
                let addresses: Arc<[SocketAddr]> = watched.addresses().into();
                let same = self.names.borrow().get(&key).is_some_and(|known| *known == addresses);
                if !same {
                    tracing::info!(name, ?addresses, "a name's addresses changed");
                    self.names.borrow_mut().insert(key.clone(), Arc::clone(&addresses));
                    self.tell_all(|| Command::Addresses(name.to_owned(), port, Arc::clone(&addresses)));
                }
            }
            let Some(again) = refreshed.again else { return };
            sleep(again).await;
        }
    }

    /// Reloads when the file's content changes. Content is compared, not times: what replaces a file may be older, and may
    /// be a link that now leads elsewhere.
    async fn watch(self: Rc<Self>) {
        const EVERY: Duration = Duration::from_secs(1);
        loop {
            sleep(EVERY).await;
            let Ok(now) = std::fs::read_to_string(&self.options.file) else { continue };
            // What another reload has read, or refused, is no news.
            if now != *self.seen.borrow() {
                // Whoever writes it may not be done: it must be the same twice.
                sleep(Duration::from_millis(100)).await;
                if std::fs::read_to_string(&self.options.file).is_ok_and(|again| again == now) {
                    let _ = self.reload().await;
                }
            }
        }
    }

    /// The proxy's clock.
    pub fn clock(&self) -> Clock {
        self.clock
    }
}

/// Holds an address against a second proxy: with `SO_REUSEPORT`, which the shards need, the kernel would deal connections to
/// both. Whether the address is free is tried without that option first; what two proxies that start at once could both find
/// is settled by a name in the kernel, which goes with the process.
struct Hold {
    #[cfg(target_os = "linux")]
    _name: std::os::unix::net::UnixListener,
}

impl Hold {
    fn take(address: SocketAddr) -> io::Result<Hold> {
        use socket2::{Domain, Protocol, Socket, Type};
        let explain = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => io::Error::new(
                io::ErrorKind::AddrInUse,
                "another process listens there already\n  help: stop it, or choose another `address` in [[listeners]]",
            ),
            _ => error,
        };
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into()).map_err(explain)?;
        socket.listen(1).map_err(explain)?;
        drop(socket);
        #[cfg(target_os = "linux")]
        {
            use std::os::linux::net::SocketAddrExt;
            use std::os::unix::net::{SocketAddr, UnixListener};
            let name = SocketAddr::from_abstract_name(format!("evenkeel/{address}"))?;
            Ok(Hold { _name: UnixListener::bind_addr(&name).map_err(explain)? })
        }
        #[cfg(not(target_os = "linux"))]
        Ok(Hold {})
    }
}

/// A listening socket that others may open, too: the kernel deals connections among them.
fn open(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

fn open_log(config: &ProxyConfig, metrics: &Metrics) -> io::Result<Arc<access::Log>> {
    let target = config.log.file.clone().map_or(access::Target::Stdout, access::Target::File);
    let format = if config.log.access == AccessFormat::Json { access::Format::Json } else { access::Format::Combined };
    let share = 1.0 / f64::from(config.log.sample.as_ref().map_or(1, |sample| *sample.get_ref()).max(1));
    let settings = access::Settings { format, query: config.log.query, share };
    access::Log::open(target, settings, metrics.proxy().access_log_lines_dropped.clone()).map(Arc::new)
}

/// A config without its secrets, otherwise as it is written. What was commented out may have been one, too.
fn redacted(source: &str) -> String {
    fn secrets(value: &toml::Spanned<toml::de::DeValue<'_>>, key: &str, found: &mut Vec<std::ops::Range<usize>>) {
        match value.get_ref() {
            _ if matches!(key, "token" | "secret") => found.push(value.span()),
            toml::de::DeValue::Table(table) => {
                table.iter().for_each(|(key, value)| secrets(value, key.get_ref(), found));
            }
            toml::de::DeValue::Array(values) => values.iter().for_each(|value| secrets(value, "", found)),
            _ => {}
        }
    }
    let Ok(table) = toml::de::DeTable::parse(source) else { return String::new() };
    let mut found = Vec::new();
    table.get_ref().iter().for_each(|(key, value)| secrets(value, key.get_ref(), &mut found));
    found.sort_by_key(|span| std::cmp::Reverse(span.start));
    let mut text = source.to_owned();
    for span in found {
        text.replace_range(span, "\"(a secret)\"");
    }
    let remark = |line: &str| {
        let remark = line.split_once('#').map_or("", |(_, remark)| remark);
        remark.contains("token") || remark.contains("secret")
    };
    text.lines()
        .map(|line| match line.split_once('#') {
            Some((before, _)) if remark(line) => format!("{}# (left out)\n", before),
            _ => format!("{line}\n"),
        })
        .collect()
}

/// Says what of a new config waits for a restart.
fn restart_for(old: &ProxyConfig, new: &ProxyConfig) {
    let log = |config: &ProxyConfig| {
        let log = &config.log;
        (log.access, log.file.clone(), log.query, log.sample.as_ref().map(|s| *s.get_ref()), log.messages)
    };
    for (what, differs) in
        [("shards", old.shards != new.shards), ("[log]", log(old) != log(new)), ("[dns]", old.dns != new.dns)]
    {
        if differs {
            tracing::warn!("what is new in `{what}` takes a restart");
        }
    }
}

fn names_of(config: &ProxyConfig) -> Vec<(String, u16)> {
    let servers = config.pools.iter().flat_map(|pool| &pool.servers);
    let named = servers.filter(|server| server.host.parse::<IpAddr>().is_err());
    let mut names: Vec<(String, u16)> = named.map(|server| (server.host.clone(), server.port)).collect();
    names.sort();
    names.dedup();
    names
}

async fn look_up(
    resolver: &RefCell<Option<Resolver>>,
    config: &ProxyConfig,
    known: &Addresses,
) -> Result<Addresses, ProxyError> {
    let mut found = Addresses::new();
    for (name, port) in names_of(config) {
        if resolver.borrow().is_none() {
            let limits = Limits { floor: duration(config.dns.min_ttl), ceiling: duration(config.dns.max_ttl) };
            let made = Resolver::system(limits).map_err(|error| ProxyError::Other(error.to_string()))?;
            *resolver.borrow_mut() = Some(made);
        }
        let Some(resolver) = resolver.borrow().clone() else { break };
        let key = (name, port);
        if let Some(known) = known.get(&key) {
            found.insert(key, Arc::clone(known));
            continue;
        }
        match resolver.look_up(&key.0).await {
            Ok((addresses, _)) => {
                let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect();
                found.insert(key, addresses);
            }
            Err(error) => tracing::warn!(%error, "no address is known yet"),
        }
    }
    Ok(found)
}

/// What shards need for a config, with counters carried over from `before`.
fn shard_config(
    metrics: &Metrics,
    config: ProxyConfig,
    before: Option<&ShardConfig>,
    names: &Addresses,
) -> Result<ShardConfig, ProxyError> {
    let acceptors = acceptors(&config)?;
    let networks =
        config.trusted_proxies.iter().filter_map(|network| ipnet::IpNet::new(network.address, network.bits).ok());
    let trust = Arc::new(Trust::new(networks));
    let mut upstream_settings = Vec::new();
    let mut counters = Vec::new();
    for pool in &config.pools {
        let tls = match &pool.tls {
            None => None,
            Some(tls) => {
                let client_files = tls.cert.clone().zip(tls.key.clone());
                let client = tls::client_config(&tls::Upstream {
                    ca: tls.ca.clone(),
                    client: client_files.map(|(certificate, key)| Files { certificate, key }),
                    http2: pool.protocol == Protocol::H2c,
                })
                .map_err(|error| ProxyError::Other(format!("pool {}: {error}", pool.name)))?;
                let name = tls
                    .name
                    .clone()
                    .unwrap_or_else(|| pool.servers.first().map_or_else(String::new, |s| s.host.clone()));
                let name = ServerName::try_from(name)
                    .map_err(|error| ProxyError::Other(format!("pool {}: tls name: {error}", pool.name)))?;
                Some((client, name))
            }
        };
        upstream_settings.push(UpstreamSettings {
            protocol: pool.protocol.clone(),
            tls,
            connect: duration(config.timeouts.connect),
            keep_alive: duration(config.timeouts.upstream_keep_alive),
            most_idle: config.limits.idle_connections as usize,
            header_bytes: (config.limits.header_bytes as usize).max(8192),
            headers: (config.limits.headers as usize).max(ANSWER_HEADERS),
        });
        let old = before.and_then(|before| {
            before.config.pools.iter().position(|p| p.name == pool.name).map(|at| &before.counters[at])
        });
        let mut servers = BTreeMap::new();
        for server in &pool.servers {
            let known = old.and_then(|old| old.servers.get(&server.name).cloned());
            let counter = known.unwrap_or_else(|| metrics.server(&pool.name, &server.name));
            servers.insert(server.name.clone(), counter);
        }
        let counter = old.map_or_else(|| metrics.pool(&pool.name), |old| Arc::clone(&old.pool));
        counters.push(Arc::new(PoolCounters { pool: counter, servers }));
    }
    Ok(ShardConfig {
        config: Arc::new(config),
        trust,
        addresses: Arc::new(names.clone()),
        upstream_settings: upstream_settings.into(),
        counters: counters.into(),
        acceptors,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_is_shown_without_its_secrets_however_they_are_written() {
        let source = "a = 1 # token = \"hush\"\n[admin]\naddress = \"127.0.0.1:0\" # here\n\"token\"=\"\"\"\nhush\"\"\"\n\
                      [[pools]]\nsticky={cookie=\"c\",secret=\"hush\"}\n[[pools]]\nsticky.secret = 'hush' # x\n";
        let shown = redacted(source);
        assert!(!shown.contains("hush"), "{shown}");
        for kept in ["a = 1", "address = \"127.0.0.1:0\" # here", "cookie=\"c\"", "# x"] {
            assert!(shown.contains(kept), "{kept} is not in {shown}");
        }
        assert!(toml::from_str::<toml::Table>(&shown).is_ok());
    }
}
