//! The state that the tasks of a test server share.

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

/// The state of a server that its clients can observe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Life {
    /// Number of crashes: a connection from before a crash is reset.
    pub deaths: u64,
    pub up: bool,
    /// While it is down: whether it accepts connections without answering, instead of refusing them.
    pub silent: bool,
    /// It is being stopped permanently.
    pub stopping: bool,
}

impl Life {
    pub(super) fn listens(self) -> bool {
        (self.up || self.silent) && !self.stopping
    }
}

/// The mutable state of a server.
pub(super) struct State {
    pub server_model: ServerModel,
    pub rng: Rng,
    /// The last load report as text, and its time.
    pub report: Option<(Nanos, HeaderValue)>,
    /// Next time at which the driver wakes; `None` for never.
    pub wakes: Option<Nanos>,
}

/// The state that clients can observe.
#[derive(Default)]
pub(super) struct Gauge {
    pub listening: bool,
    pub connections: usize,
}

/// One server, as its tasks share it.
pub(super) struct Shared {
    pub spec: Spec,
    /// The name as a header value.
    pub name: HeaderValue,
    pub address: SocketAddr,
    /// Address for fault requests, served even while the server is down; `None` without one.
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
    /// Bound but not listening: while the server is down, no other process gets its port.
    _port: Socket,
}

/// Locks the state, also after a panic elsewhere: its numbers are still valid.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// A server that listens at `address` and, for fault requests, at `control`. `port` holds its port.
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

    /// Wakes the driver if the next event is sooner than it expects.
    pub(super) fn wake_driver(&self, state: &State) {
        if state.server_model.next().is_some_and(|next| state.wakes.is_none_or(|wakes| next < wakes)) {
            self.bell.notify_one();
        }
    }

    /// Processes all events that are due, and publishes the state to connections and listeners. Returns the time of the next
    /// event.
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

    /// Waits until clients can observe the change, at most two seconds.
    pub(super) fn wait(&self, until: impl Fn(&Gauge) -> bool) {
        let gauge = lock(&self.gauge);
        let _ = self.seen.wait_timeout_while(gauge, Duration::from_secs(2), |gauge| !until(gauge));
    }
}
