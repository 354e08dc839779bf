//! What all requests of a shard share: the config in force, counters, the shard's random stream, whether it drains.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::access;
use super::headers::Trust;
use super::metrics::ProxyMetrics;
use super::pool::ShardPool;
use super::response_timer::ResponseTimers;
use evenkeel_config::proxy::{AccessFormat, ProxyConfig};
use evenkeel_core::rng::Rng;

/// The least time between two messages about a lack of descriptors.
const SHORTAGE: Duration = Duration::from_secs(10);

/// The config that a shard currently uses. A reload makes a new one; requests keep the one that they began with.
pub struct ActiveConfig {
    /// The config as it was read.
    pub config: Arc<ProxyConfig>,
    /// The networks of trusted proxies, whose `X-Forwarded-*` headers are used.
    pub trust: Arc<Trust>,
    /// The pools, in the order of the config.
    pub pools: Vec<Rc<ShardPool>>,
}

impl ActiveConfig {
    /// Whether there is an access log.
    pub fn logs(&self) -> bool {
        self.config.log.access != AccessFormat::None
    }
}

/// What all requests of a shard share.
pub struct ShardState {
    active_config: RefCell<Rc<ActiveConfig>>,
    metrics: Arc<ProxyMetrics>,
    log: Option<Arc<access::Log>>,
    rng: RefCell<Rng>,
    draining: Cell<bool>,
    /// Requests under way.
    active: Cell<u32>,
    /// Open tunnels.
    tunnels: Cell<u32>,
    cut: Notify,
    response_timers: Rc<ResponseTimers>,
    /// When a lack of descriptors was last logged.
    shortage: Cell<Option<Instant>>,
}

impl ShardState {
    /// A shard without requests.
    pub fn new(
        active_config: ActiveConfig,
        metrics: Arc<ProxyMetrics>,
        log: Option<Arc<access::Log>>,
        rng: Rng,
    ) -> ShardState {
        ShardState {
            active_config: RefCell::new(Rc::new(active_config)),
            metrics,
            log,
            rng: RefCell::new(rng),
            draining: Cell::new(false),
            active: Cell::new(0),
            tunnels: Cell::new(0),
            cut: Notify::new(),
            response_timers: ResponseTimers::new(Instant::now()),
            shortage: Cell::new(None),
        }
    }

    /// The config in force.
    pub fn active_config(&self) -> Rc<ActiveConfig> {
        Rc::clone(&self.active_config.borrow())
    }

    /// Puts a config into force.
    pub fn set_active_config(&self, active_config: ActiveConfig) {
        *self.active_config.borrow_mut() = Rc::new(active_config);
    }

    /// Counters of the proxy.
    pub fn metrics(&self) -> &Arc<ProxyMetrics> {
        &self.metrics
    }

    /// The time-outs of responses that are on their way.
    pub fn response_timers(&self) -> &Rc<ResponseTimers> {
        &self.response_timers
    }

    /// Closes idle connections to all servers. Returns whether there were any.
    pub fn close_idle(&self) -> bool {
        self.active_config().pools.iter().filter(|shard_pool| shard_pool.close_idle()).count() > 0
    }

    /// Logs that this machine lacks what a connection needs, at most once in 10 seconds.
    pub fn shortage(&self, error: &dyn Display) {
        let now = Instant::now();
        if self.shortage.get().is_none_or(|last| now - last >= SHORTAGE) {
            self.shortage.set(Some(now));
            tracing::error!(%error, "out of descriptors, ports or memory: raise the limit (`ulimit -n`) or lower limits.connections");
        }
    }

    /// Whether the shard drains: clients are told to close their connections.
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Starts draining: from now on clients are told to close their connections.
    pub fn drain(&self) {
        self.draining.set(true);
    }

    /// Draws from the shard's own random stream.
    pub fn with_rng<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.rng.borrow_mut())
    }

    /// A request begins.
    pub fn began(&self) {
        self.active.set(self.active.get() + 1);
    }

    /// A request is over.
    pub fn ended(&self) {
        self.active.set(self.active.get() - 1);
    }

    /// Requests under way, tunnels among them.
    pub fn active(&self) -> u32 {
        self.active.get()
    }

    /// Whether no request and no tunnel is left.
    pub fn is_idle(&self) -> bool {
        self.active.get() == 0 && self.tunnels.get() == 0
    }

    /// Writes to the access log.
    pub fn log(&self, entry: &access::Entry<'_>) {
        if let Some(log) = &self.log {
            log.write(entry, &mut self.rng.borrow_mut());
        }
    }

    /// A tunnel is open while this is held.
    pub fn tunnel(&self) -> Tunnel<'_> {
        self.tunnels.set(self.tunnels.get() + 1);
        Tunnel(self)
    }

    /// Ends everything that waits for [`ShardState::cut_off`].
    pub fn cut(&self) {
        self.cut.notify_waiters();
    }

    /// Ready when everything is cut off.
    pub async fn cut_off(&self) {
        self.cut.notified().await;
    }
}

/// An open tunnel.
pub struct Tunnel<'a>(&'a ShardState);

impl Drop for Tunnel<'_> {
    fn drop(&mut self) {
        self.0.tunnels.set(self.0.tunnels.get() - 1);
    }
}
