//! A running test server as its tasks share it: what it does, and what others can see of it.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::header::HeaderValue;
use socket2::Socket;
use tokio::sync::{Notify, watch};

use super::server_model::ServerModel;
use super::spec::Spec;
use evenkeel_config::fault::TimedFault;
use evenkeel_core::rng::Rng;
use evenkeel_core::units::Nanos;

/// How a server appears to its clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Life {
    /// How often it has crashed: a connection of before a crash is reset.
    pub deaths: u64,
    pub up: bool,
    /// While it is down: whether it accepts connections and answers nothing, instead of refusing them.
    pub silent: bool,
    /// It is being stopped for good.
    pub stopping: bool,
}

impl Life {
    pub(super) fn listens(self) -> bool {
        (self.up || self.silent) && !self.stopping
    }
}

/// What changes while it runs.
pub(super) struct State {
    pub server_model: ServerModel,
    pub rng: Rng,
    /// The load report as it was last written, and when.
    pub report: Option<(Nanos, HeaderValue)>,
    /// When the driver wakes by itself; `None` for never.
    pub wakes: Option<Nanos>,
}

/// What a client can observe.
#[derive(Default)]
pub(super) struct Gauge {
    pub listening: bool,
    pub connections: usize,
}

/// One server, as its tasks share it.
pub(super) struct Shared {
    pub spec: Spec,
    /// The name as a header's value.
    pub name: HeaderValue,
    pub address: SocketAddr,
    /// Where it takes faults even while it is down; `None` where it takes none.
    pub control: Option<SocketAddr>,
    /// Zero of the server's clock.
    pub epoch: Instant,
    state: Mutex<State>,
    /// Wakes the driver.
    pub bell: Notify,
    pub life: watch::Sender<Life>,
    /// As in `life`, for a connection that is dropped.
    pub deaths: AtomicU64,
    gauge: Mutex<Gauge>,
    seen: Condvar,
    /// Bound and never listening: while the server is down, no other process gets its port.
    _port: Socket,
}

/// The lock, also after a panic elsewhere: the numbers behind it are still right.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// A server that listens at `address` and, where it takes faults, at `control`. `port` holds its port.
    pub(super) fn new(
        spec: Spec,
        address: SocketAddr,
        control: Option<SocketAddr>,
        port: Socket,
    ) -> io::Result<Shared> {
        let name = HeaderValue::from_str(&spec.server.name)
            .map_err(|_| io::Error::other(format!("`{}` cannot stand in a header", spec.server.name)))?;
        let server_model = ServerModel::new(&spec.server, spec.faults.clone(), spec.cancel);
        let rng = Rng::stream(spec.seed, &spec.server.name, 0);
        Ok(Shared {
            name,
            address,
            control,
            epoch: Instant::now(),
            state: Mutex::new(State { server_model, rng, report: None, wakes: None }),
            bell: Notify::new(),
            life: watch::Sender::new(Life { up: true, ..Life::default() }),
            deaths: AtomicU64::new(0),
            gauge: Mutex::new(Gauge { listening: true, connections: 0 }),
            seen: Condvar::new(),
            _port: port,
            spec,
        })
    }

    /// Time since the server's start.
    pub(super) fn now(&self) -> Nanos {
        Nanos(self.epoch.elapsed().as_nanos() as u64)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn watch(&self) -> watch::Receiver<Life> {
        self.life.subscribe()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.life.borrow().stopping
    }

    /// Faults whose times count from now.
    pub(super) fn inject_faults(&self, faults: impl IntoIterator<Item = TimedFault>) {
        self.state().server_model.inject_faults(self.now(), faults);
        self.bell.notify_one();
    }

    /// Ends the faults that are active now.
    pub(super) fn heal(&self) {
        self.state().server_model.heal(self.now());
        self.bell.notify_one();
    }

    /// Wakes the driver if something now happens sooner than it expects.
    pub(super) fn wake_driver(&self, state: &State) {
        if state.server_model.next().is_some_and(|next| state.wakes.is_none_or(|wakes| next < wakes)) {
            self.bell.notify_one();
        }
    }

    /// Lets everything happen that is due, and shows it to connections and listeners. When the next thing happens.
    pub(super) fn catch_up(&self) -> Option<Nanos> {
        let mut state = self.state();
        state.server_model.advance(self.now());
        let (condition, deaths) = (state.server_model.condition(), state.server_model.deaths());
        self.deaths.store(deaths, Ordering::Relaxed);
        self.life.send_if_modified(|life| {
            let new = Life { deaths, up: condition.up, silent: condition.silent, ..*life };
            std::mem::replace(life, new) != new
        });
        state.wakes = state.server_model.next();
        state.wakes
    }

    pub(super) fn show(&self, change: impl FnOnce(&mut Gauge)) {
        change(&mut lock(&self.gauge));
        self.seen.notify_all();
    }

    pub(super) fn connections(&self) -> usize {
        lock(&self.gauge).connections
    }

    /// Waits until clients can observe what was done, at most two seconds.
    pub(super) fn wait(&self, until: impl Fn(&Gauge) -> bool) {
        let gauge = lock(&self.gauge);
        let _ = self.seen.wait_timeout_while(gauge, Duration::from_secs(2), |gauge| !until(gauge));
    }
}
