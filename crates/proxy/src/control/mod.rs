//! The control thread: reads the config, again when it changes, opens sockets, checks servers, looks names up, and ends
//! everything in good order.
//!
//! A reload is read and checked in full before anything of it happens; a config that is wrong changes nothing. Clients'
//! connections, tunnels among them, are not touched by it, and pools that choose as before keep what they have learnt.

mod config;
mod health;
mod listeners;
mod names;
mod shards;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::access;
use crate::clock::{Clock, duration};
use crate::descriptors;
use crate::metrics::Metrics;
use crate::pool::ServerSnapshot;
use crate::record::Tape;
use crate::shard::{self, Command, ShardConfig, ShardInit};
pub use config::{ProxyError, check_files, read};
use config::{parse, read_source, redacted, shard_config, warn_of_restart};
use evenkeel_config::proxy::{AccessFormat, ProxyConfig};
use evenkeel_core::rng::Rng;
use health::Checks;
pub use health::LastCheck;
use listeners::{Listeners, Sockets};
use names::Names;
use shards::Shards;

/// How a proxy is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where the config is read from, at the start and at each reload.
    pub file: PathBuf,
    /// Whether the config is read again when the file's content changes. Default: `false`.
    pub watch: bool,
    /// Where all calls of selectors are recorded; `None` records nothing.
    pub record: Option<PathBuf>,
    /// Seed of all random streams; `None` takes it from the machine's entropy.
    pub seed: Option<u64>,
    /// The commit that the program was built from, for the metric `evenkeel_build_info`; `None` where it is not known.
    pub commit: Option<&'static str>,
}

/// What the control thread knows and does.
pub struct Control {
    options: Options,
    metrics: Arc<Metrics>,
    shards: Rc<Shards>,
    /// The config in force, as the shards use it.
    shard_config: RefCell<ShardConfig>,
    /// The text of the config in force.
    source: RefCell<String>,
    /// The file as it was last read, valid or not.
    seen: RefCell<String>,
    ready: Cell<bool>,
    listeners: Listeners,
    admin: AdminSocket,
    /// Checks and look-ups by the config in force.
    tasks: RefCell<Vec<AbortHandle>>,
    names: Rc<Names>,
    checks: Rc<Checks>,
    log: Option<Arc<access::Log>>,
    tape: Option<Tape>,
    /// One reload at a time.
    reloading: tokio::sync::Mutex<()>,
}

/// Hands the socket of the admin listener to the task that serves it.
struct AdminSocket {
    address: Cell<Option<SocketAddr>>,
    server: mpsc::UnboundedSender<Option<TcpListener>>,
}

impl AdminSocket {
    /// Opens the admin listener of a config, in place of the one before.
    async fn open(&self, config: &ProxyConfig) -> Result<(), ProxyError> {
        let socket = match &config.admin {
            None => None,
            Some(admin) => {
                let fail = |error| ProxyError::Listen { address: admin.address, error };
                Some(TcpListener::bind(admin.address).await.map_err(fail)?)
            }
        };
        self.address.set(socket.as_ref().and_then(|socket| socket.local_addr().ok()));
        let _ = self.server.send(socket);
        Ok(())
    }
}

impl Control {
    /// Starts the shards. The sockets of the admin listener are handed to `admin`: the present one, `None` when there is
    /// none any more. Must be called within a `LocalSet`.
    pub(crate) async fn start(
        options: Options,
        source: String,
        config: ProxyConfig,
        admin: mpsc::UnboundedSender<Option<TcpListener>>,
    ) -> Result<(Rc<Control>, Vec<JoinHandle<io::Result<()>>>), ProxyError> {
        let seed = seed(&options)?;
        let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"), options.commit.unwrap_or("unknown")));
        let count = config.shards.unwrap_or_else(|| {
            std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1))
        });
        let log = open_log(&config, &metrics)?;
        let tape = match &options.record {
            None => None,
            Some(file) => Some(Tape::create(file).map_err(|error| other(file.display(), error))?),
        };
        let names = Names::default();
        let known = names.look_up(&config).await?;
        let shard_config = shard_config(&metrics, config, None, &known)?;
        names.set(known);
        let control = Rc::new(Control {
            options,
            metrics,
            shards: Rc::default(),
            shard_config: RefCell::new(shard_config.clone()),
            seen: RefCell::new(source.clone()),
            source: RefCell::new(source),
            ready: Cell::new(false),
            listeners: Listeners::default(),
            admin: AdminSocket { address: Cell::new(None), server: admin },
            tasks: RefCell::new(Vec::new()),
            names: Rc::new(names),
            checks: Rc::new(Checks::new(Rng::stream(seed, "control", 0))),
            log,
            tape,
            reloading: tokio::sync::Mutex::new(()),
        });
        let (sockets, addresses) = control.listeners.open(&shard_config.config, &[], count)?;
        control.listeners.set_addresses(addresses);
        control.admin.open(&shard_config.config).await?;
        let threads = control.spawn_shards(count, seed, sockets, &shard_config)?;
        control.run_tasks();
        control.ready.set(true);
        if control.options.watch {
            let watching = Rc::clone(&control);
            tokio::task::spawn_local(async move { watching.watch_file().await });
        }
        Ok((control, threads))
    }

    /// Starts a thread for each shard.
    fn spawn_shards(
        &self,
        count: u32,
        seed: u64,
        sockets: Sockets,
        shard_config: &ShardConfig,
    ) -> Result<Vec<JoinHandle<io::Result<()>>>, ProxyError> {
        let clock = Clock::new();
        let connections = Arc::new(AtomicU32::new(0));
        let most_connections = descriptors::clients(&shard_config.config, count);
        let mut threads = Vec::new();
        for (number, sockets) in (0..count).zip(sockets) {
            let (tell, told) = mpsc::unbounded_channel();
            let init = ShardInit {
                number,
                of: count,
                clock,
                seed,
                metrics: self.metrics.proxy(),
                connections: Arc::clone(&connections),
                most_connections,
                log: self.log.clone(),
                tape: self.tape.clone(),
            };
            let shard_config = shard_config.clone();
            let thread = std::thread::Builder::new()
                .name(format!("shard-{number}"))
                .spawn(move || shard::run(init, &shard_config, sockets, told))
                .map_err(|error| other("thread", error))?;
            threads.push(thread);
            self.shards.push(tell);
        }
        Ok(threads)
    }

    /// Whether the proxy accepts requests: `false` once it drains.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.get()
    }

    /// The metrics of the proxy.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The addresses of its listeners, in the order of the config.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.addresses()
    }

    /// The address of its admin listener; `None` without one.
    pub(crate) fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.address.get()
    }

    /// The token that changes by the admin listener need; `None` if they need none.
    pub(crate) fn admin_token(&self) -> Option<String> {
        self.config().admin.as_ref().and_then(|admin| admin.token.clone())
    }

    /// The config in force.
    pub(crate) fn config(&self) -> Arc<ProxyConfig> {
        Arc::clone(&self.shard_config.borrow().config)
    }

    /// The text of the config in force, without secrets.
    pub(crate) fn redacted_config(&self) -> String {
        redacted(&self.source.borrow())
    }

    /// A server's last active check; `None` if there was none.
    pub(crate) fn last_check(&self, pool: &str, server: &str) -> Option<LastCheck> {
        self.checks.last(pool, server)
    }

    /// Sends a command to every shard.
    pub(crate) fn tell_all(&self, command: impl FnMut() -> Command) {
        self.shards.tell_all(command);
    }

    /// The servers of each pool as each shard sees them.
    pub(crate) fn snapshots(&self) -> impl Future<Output = Vec<Vec<(String, Vec<ServerSnapshot>)>>> + use<> {
        self.shards.ask_all(Command::Snapshots)
    }

    /// Flushes the recording and the access log.
    pub fn flush(&self) {
        if let Some(tape) = &self.tape {
            tape.flush();
        }
        if let Some(log) = &self.log {
            log.flush(Duration::from_secs(1));
        }
    }

    /// Reopens the access log's file, after log rotation.
    pub fn reopen_log(&self) {
        if let Some(log) = &self.log {
            log.reopen();
        }
    }

    /// Reads the config again and puts it into force. If it is invalid, nothing changes.
    pub async fn reload(&self) -> Result<(), ProxyError> {
        let done = self.try_reload().await;
        self.metrics.proxy().reloaded(done.is_ok());
        match &done {
            Ok(()) => tracing::info!("the config was reloaded"),
            Err(error) => tracing::error!(%error, "the config was not reloaded; the old one stays in force"),
        }
        done
    }

    async fn try_reload(&self) -> Result<(), ProxyError> {
        let _alone = self.reloading.lock().await;
        if !self.ready.get() {
            return Err(ProxyError::Other("the proxy is about to end".to_owned()));
        }
        let (source, config) = {
            let (name, source) = read_source(&self.options.file)?;
            self.seen.borrow_mut().clone_from(&source);
            parse(name, source)?
        };
        let old = self.config();
        let known = self.names.look_up(&config).await?;
        let shard_config = shard_config(&self.metrics, config, Some(&self.shard_config.borrow()), &known)?;
        let shards = u32::try_from(self.shards.len()).unwrap_or(1);
        let listening: Vec<SocketAddr> = old.listeners.iter().map(|listener| listener.address).collect();
        let (sockets, addresses) = self.listeners.open(&shard_config.config, &listening, shards)?;
        if old.admin.as_ref().map(|a| a.address) != shard_config.config.admin.as_ref().map(|a| a.address) {
            self.admin.open(&shard_config.config).await?;
        }
        let command = |sockets| Command::Reconfigure(Box::new(shard_config.clone()), sockets);
        self.shards.tell_each(sockets.into_iter().map(command));
        warn_of_restart(&old, &shard_config.config);
        self.listeners.set_addresses(addresses);
        self.names.set(known);
        *self.shard_config.borrow_mut() = shard_config;
        *self.source.borrow_mut() = source;
        self.run_tasks();
        Ok(())
    }

    /// Checks servers and looks names up, by the config in force.
    fn run_tasks(&self) {
        self.stop_tasks();
        let ShardConfig { config, upstream_settings, .. } = self.shard_config.borrow().clone();
        self.checks.retain(&config);
        let mut tasks = Vec::new();
        for (pool, settings) in config.pools.iter().zip(&*upstream_settings) {
            if pool.rules.health.is_some() {
                for server in 0..pool.servers.len() {
                    let (pool, settings) = (pool.clone(), settings.clone());
                    let (checks, names, shards) =
                        (Rc::clone(&self.checks), Rc::clone(&self.names), Rc::clone(&self.shards));
                    let checking = async move { checks.run(&pool, server, &settings, &names, &shards).await };
                    tasks.push(tokio::task::spawn_local(checking).abort_handle());
                }
            }
        }
        for (name, port) in names::of(&config) {
            let (names, shards) = (Rc::clone(&self.names), Rc::clone(&self.shards));
            let watching = async move { names.watch(&name, port, &shards).await };
            tasks.push(tokio::task::spawn_local(watching).abort_handle());
        }
        *self.tasks.borrow_mut() = tasks;
    }

    fn stop_tasks(&self) {
        self.tasks.take().iter().for_each(AbortHandle::abort);
    }

    /// Reloads when the file's content changes. Content is compared, not times: what replaces a file may be older, and may
    /// be a link that now leads elsewhere.
    async fn watch_file(&self) {
        const EVERY: Duration = Duration::from_secs(1);
        loop {
            sleep(EVERY).await;
            let Ok(now) = std::fs::read_to_string(&self.options.file) else { continue };
            // What another reload has read, or refused, is not read again.
            if now != *self.seen.borrow() {
                // The file may still be being written: its content must be the same twice.
                sleep(Duration::from_millis(100)).await;
                if std::fs::read_to_string(&self.options.file).is_ok_and(|again| again == now) {
                    let _ = self.reload().await;
                }
            }
        }
    }

    /// Drains: reports not ready, takes requests for `delay` longer, then waits for open requests, at most as long as the
    /// config allows. Returns whether everything has ended.
    pub(crate) async fn drain(&self, delay: Duration) -> bool {
        self.ready.set(false);
        self.tell_all(|| Command::Leave);
        sleep(delay).await;
        let ended = self.shards.ask_all(Command::Drained);
        // The listeners close, and another proxy may take their place.
        self.listeners.release();
        timeout(duration(self.config().timeouts.drain), ended).await.is_ok()
    }

    /// Stops everything now. Returns how many requests were cut off.
    pub(crate) async fn cut(&self) -> u32 {
        let cut = self.shards.ask_all(Command::Cut).await;
        self.stop_tasks();
        self.shards.end();
        cut.into_iter().sum()
    }
}

/// The seed that was asked for, or one from the machine's entropy.
fn seed(options: &Options) -> Result<u64, ProxyError> {
    match options.seed {
        Some(seed) => Ok(seed),
        None => {
            let mut bytes = [0; 8];
            getrandom::fill(&mut bytes).map_err(|error| other("no entropy", error))?;
            Ok(u64::from_le_bytes(bytes))
        }
    }
}

fn open_log(config: &ProxyConfig, metrics: &Metrics) -> Result<Option<Arc<access::Log>>, ProxyError> {
    let format = match config.log.access {
        AccessFormat::None => return Ok(None),
        AccessFormat::Json => access::Format::Json,
        AccessFormat::Combined => access::Format::Combined,
    };
    let target = config.log.file.clone().map_or(access::Target::Stdout, access::Target::File);
    let share = 1.0 / f64::from(config.log.sample.as_ref().map_or(1, |sample| *sample.get_ref()).max(1));
    let settings = access::Settings { format, query: config.log.query, share };
    let log = access::Log::open(target, settings, Arc::clone(&metrics.proxy().access_log_lines_dropped));
    log.map(|log| Some(Arc::new(log))).map_err(|error| other("access log", error))
}

fn other(what: impl std::fmt::Display, error: impl std::fmt::Display) -> ProxyError {
    ProxyError::Other(format!("{what}: {error}"))
}
