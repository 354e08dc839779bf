//! A shard: one thread with its own runtime, listeners, selectors and connections. Shards share nothing but counters,
//! so a request never waits for another shard; each knows only what it has observed itself, like a simulated shard.
//!
//! Each shard has a listener of its own at every address (`SO_REUSEPORT`): the kernel distributes the connections.

mod clients;
mod command;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::LocalOptions;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use crate::clock::Clock;
use crate::metrics::ProxyMetrics;
use crate::pool::{PoolSetup, SelectorInit, ShardPool};
use crate::record::Tape;
use crate::response_timer;
use crate::state::{ActiveConfig, ShardState};
use clients::Clients;
pub use command::{Addresses, Command, PoolCounters, ShardConfig, ShardInit};
use evenkeel_config::proxy::{PoolConfig, ProxyConfig};
use evenkeel_core::policy::pool::ShardId;
use evenkeel_core::rng::Rng;

/// A running shard.
struct Shard {
    state: Rc<ShardState>,
    clients: Rc<Clients>,
    number: u32,
    of: u32,
    clock: Clock,
    seed: u64,
    tape: Option<Tape>,
    listeners: RefCell<Vec<Listener>>,
    /// Selectors made so far: each has a random stream of its own.
    streams: Cell<u64>,
}

/// An open listener.
struct Listener {
    address: SocketAddr,
    accepting: AbortHandle,
    /// Its place in the config, which a reload may change.
    place: Rc<Cell<usize>>,
}

impl Shard {
    fn new(init: ShardInit, shard_config: &ShardConfig) -> Shard {
        let nothing = ProxyConfig { listeners: Vec::new(), pools: Vec::new(), ..(*shard_config.config).clone() };
        let active_config =
            ActiveConfig { config: Arc::new(nothing), trust: Arc::clone(&shard_config.trust), pools: Vec::new() };
        let rng = Rng::stream(init.seed, "shard", u64::from(init.number));
        let state = Rc::new(ShardState::new(active_config, init.metrics, init.log, rng));
        Shard {
            clients: Rc::new(Clients::new(Rc::clone(&state), init.connections, init.most_connections)),
            state,
            number: init.number,
            of: init.of,
            clock: init.clock,
            seed: init.seed,
            tape: init.tape,
            listeners: RefCell::new(Vec::new()),
            streams: Cell::new(0),
        }
    }

    /// Puts another config into force. A pool whose name stays keeps the state of its servers.
    fn reconfigure(&self, shard_config: &ShardConfig, sockets: Vec<Option<std::net::TcpListener>>) {
        let old = self.state.active_config();
        let mut pools = Vec::with_capacity(shard_config.config.pools.len());
        for (i, pool) in shard_config.config.pools.iter().enumerate() {
            let counters = &shard_config.counters[i];
            let metrics_of = |name: &str| Arc::clone(&counters.servers[name]);
            let setup = PoolSetup {
                config: Arc::new(pool.clone()),
                addresses: &shard_config.addresses,
                shard_id: ShardId {
                    number: shard_config.config.instance.index.saturating_mul(self.of) + self.number,
                    of: shard_config.config.instance.count.saturating_mul(self.of),
                    zone: shard_config.config.zone.clone(),
                    seed: self.seed,
                },
                settings: &shard_config.upstream_settings[i],
                metrics: &metrics_of,
            };
            let start = || self.selector_init(pool);
            pools.push(match old.pools.iter().find(|shard_pool| shard_pool.config().name == pool.name) {
                Some(shard_pool) => {
                    shard_pool.reconfigure(&setup, start);
                    Rc::clone(shard_pool)
                }
                None => ShardPool::new(&setup, Arc::clone(&counters.pool), self.clock, start()),
            });
        }
        self.state.set_active_config(ActiveConfig {
            config: Arc::clone(&shard_config.config),
            trust: Arc::clone(&shard_config.trust),
            pools,
        });
        self.clients.set_acceptors(&shard_config.acceptors);
        self.listen(&shard_config.config, sockets);
    }

    /// The random stream and the recording of a selector that is made now.
    fn selector_init(&self, pool: &PoolConfig) -> SelectorInit {
        let number = u64::from(self.number) << 32 | self.streams.get();
        self.streams.set(self.streams.get() + 1);
        let recorder = self.tape.as_ref().map(|tape| tape.open(pool, self.seed, number));
        SelectorInit { seed: self.seed, number, recorder }
    }

    /// Opens listeners that are new and closes those that are gone; connections stay.
    fn listen(&self, new: &ProxyConfig, sockets: Vec<Option<std::net::TcpListener>>) {
        let mut before = self.listeners.take();
        let mut open_listeners = Vec::new();
        for ((i, listener), socket) in new.listeners.iter().enumerate().zip(sockets) {
            let opened = socket.and_then(|socket| match TcpListener::from_std(socket) {
                Ok(listener) => Some(listener),
                Err(error) => {
                    tracing::error!(%error, "listener");
                    None
                }
            });
            let address = listener.address;
            match opened {
                Some(opened) => {
                    let place = Rc::new(Cell::new(i));
                    let accepting = Rc::clone(&self.clients).accept(opened, Rc::clone(&place));
                    let accepting = tokio::task::spawn_local(accepting).abort_handle();
                    open_listeners.push(Listener { address, accepting, place });
                }
                None => {
                    if let Some(at) = before.iter().position(|open_listener| open_listener.address == address) {
                        let open_listener = before.remove(at);
                        open_listener.place.set(i);
                        open_listeners.push(open_listener);
                    }
                }
            }
        }
        before.into_iter().for_each(|gone| gone.accepting.abort());
        *self.listeners.borrow_mut() = open_listeners;
    }

    fn execute(&self, command: Command) {
        let pools = self.state.active_config().pools.clone();
        let find_pool = |name: &str| pools.iter().find(|shard_pool| shard_pool.config().name == name);
        match command {
            Command::Reconfigure(shard_config, sockets) => self.reconfigure(&shard_config, sockets),
            Command::Checked { pool, server, failure, load } => {
                if let Some(shard_pool) = find_pool(&pool) {
                    shard_pool.checked(&server, failure.as_deref(), load.as_ref());
                }
            }
            Command::Addresses(name, port, addresses) => {
                pools.iter().for_each(|shard_pool| shard_pool.set_addresses(&name, port, &addresses));
            }
            Command::Drain { pool, server, draining } => {
                if let Some(shard_pool) = find_pool(&pool) {
                    shard_pool.set_draining(&server, draining);
                }
            }
            Command::Weight { pool, server, weight } => {
                if let Some(shard_pool) = find_pool(&pool) {
                    shard_pool.set_weight(&server, weight);
                }
            }
            Command::Snapshots(tell) => {
                let snapshots =
                    pools.iter().map(|shard_pool| (shard_pool.config().name.clone(), shard_pool.snapshots())).collect();
                let _ = tell.send(snapshots);
            }
            Command::Leave => self.state.drain(),
            Command::Drained(tell) => self.drain(tell),
            Command::Cut(tell) => {
                let _ = tell.send(self.state.active());
                self.clients.cut();
                self.state.cut();
                pools.iter().for_each(|shard_pool| shard_pool.flush_recording());
            }
        }
    }

    /// Stops accepting, and responds when nothing is left.
    fn drain(&self, tell: oneshot::Sender<()>) {
        self.state.drain();
        self.listeners.take().iter().for_each(|open_listener| open_listener.accepting.abort());
        self.clients.close();
        let (state, clients) = (Rc::clone(&self.state), Rc::clone(&self.clients));
        tokio::task::spawn_local(async move {
            while !state.is_idle() || !clients.is_empty() {
                sleep(Duration::from_millis(5)).await;
            }
            let _ = tell.send(());
        });
    }
}

/// Runs a shard on the present thread until its commands end.
pub fn run(
    init: ShardInit,
    shard_config: &ShardConfig,
    sockets: Vec<Option<std::net::TcpListener>>,
    mut commands: mpsc::UnboundedReceiver<Command>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async move {
        let shard = Shard::new(init, shard_config);
        shard.reconfigure(shard_config, sockets);
        let ticking = tokio::task::spawn_local(tick(Rc::clone(&shard.state)));
        while let Some(command) = commands.recv().await {
            shard.execute(command);
        }
        ticking.abort();
        shard.state.active_config().pools.iter().for_each(|shard_pool| shard_pool.flush_recording());
    });
    Ok(())
}

/// A shard's part in the number of tasks.
struct Tasks {
    metrics: Arc<ProxyMetrics>,
    count: i64,
}

impl Tasks {
    fn show(&mut self, alive: usize) {
        let alive = i64::try_from(alive).unwrap_or(i64::MAX);
        self.metrics.tasks.add(alive - self.count);
        self.count = alive;
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.show(0);
    }
}

/// Runs the periodic work: queue time-outs, back-ends' ramps, idle connections, stalled responses.
async fn tick(state: Rc<ShardState>) {
    /// Finer than any time-out that the pools keep needs.
    const EVERY: Duration = Duration::from_millis(20);
    /// Ticks from one look at idle connections to the next.
    const SWEEP: u32 = 50;
    /// Ticks from one look at open responses to the next.
    const RESPONSES: u32 = (response_timer::SWEEP.as_millis() / EVERY.as_millis()) as u32;
    let mut ticks = 0_u32;
    let mut shown = Tasks { metrics: Arc::clone(state.metrics()), count: 0 };
    loop {
        sleep(EVERY).await;
        ticks = ticks.wrapping_add(1);
        if ticks.is_multiple_of(SWEEP) {
            shown.show(tokio::runtime::Handle::current().metrics().num_alive_tasks());
        }
        if ticks.is_multiple_of(RESPONSES) {
            state.response_timers().sweep(Instant::now());
        }
        for shard_pool in &state.active_config().pools {
            shard_pool.tick();
            if ticks.is_multiple_of(SWEEP) {
                shard_pool.sweep();
            }
        }
    }
}
