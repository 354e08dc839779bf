//! What the proxy counts, in Prometheus' text format (OpenMetrics 1.0). [`METRICS`] is the catalogue.
//!
//! Everything is labelled by pool and server and by words from short fixed lists, never by path or client, which would let
//! clients decide how many series there are. What serves requests holds an [`Arc`] of a server's or a pool's numbers, made
//! when the config is read: counting touches atomics and nothing else, no lock and no map. The page is put together when it
//! is asked for, from the numbers that are still held: when a removed server's last request is over, its series are gone.
//!
//! `prometheus-client` writes the page. Its `Family` is not used, because it keeps series until they are removed explicitly,
//! in no order; nor its histogram, because that takes a lock for each value.

mod catalog;
mod page;
mod value;

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::termination::Reason;
pub use catalog::{METRICS, Metric, reference};
use evenkeel_core::policy::outlier;
use evenkeel_core::policy::retry::{FAILURES, Failure};
use evenkeel_core::units::Nanos;
pub use page::{CONTENT_TYPE, Metrics};
pub use value::{Counter, Gauge, Histogram};

/// Classes of status: none (there was no response), 1xx to 5xx.
const STATUS_CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Metrics of one server. Each is described in [`METRICS`], under the same name.
#[derive(Debug)]
pub struct ServerMetrics {
    requests: [Counter; STATUS_CLASSES.len()],
    retries: [Counter; FAILURES.len()],
    hedges: Counter,
    /// Answered with a load report, and not.
    probes: [Counter; 2],
    ejections: [Counter; outlier::Reason::ALL.len()],
    request_duration: Histogram,
    upstream_duration: Histogram,
    in_flight: Gauge,
    healthy: Gauge,
    connections_open: Gauge,
    connections_opened: Counter,
    connections_reused: Counter,
    bytes_in: Counter,
    bytes_out: Counter,
}

impl ServerMetrics {
    fn new() -> ServerMetrics {
        ServerMetrics {
            requests: Default::default(),
            retries: Default::default(),
            hedges: Counter::default(),
            probes: Default::default(),
            ejections: Default::default(),
            request_duration: Histogram::new(value::REQUEST_BUCKETS),
            upstream_duration: Histogram::new(value::REQUEST_BUCKETS),
            in_flight: Gauge::default(),
            healthy: Gauge::default(),
            connections_open: Gauge::default(),
            connections_opened: Counter::default(),
            connections_reused: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
        }
    }

    /// The counter of requests that ended with this status, or without one.
    fn requests(&self, status: Option<u16>) -> &Counter {
        let class = usize::from(status.unwrap_or(0) / 100);
        &self.requests[if class < STATUS_CLASSES.len() { class } else { 0 }]
    }

    /// A connection was opened.
    pub fn opened(&self) {
        self.connections_opened.inc();
        self.connections_open.inc();
    }

    /// A connection was closed.
    pub fn closed(&self) {
        self.connections_open.dec();
    }

    /// A request found an open connection.
    pub fn reused(&self) {
        self.connections_reused.inc();
    }

    /// An attempt begins.
    pub fn started(&self) {
        self.in_flight.inc();
    }

    /// An attempt is over.
    pub fn ended(&self) {
        self.in_flight.dec();
    }

    /// The head of a response came so long after the pick.
    pub fn answered(&self, after: Nanos) {
        self.upstream_duration.observe(after);
    }

    /// A request whose response came from this server is over. The bytes are those of bodies.
    pub fn request(&self, status: StatusCode, took: Duration, bytes_in: u64, bytes_out: u64) {
        self.requests(Some(status.as_u16())).inc();
        self.request_duration.observe(Nanos(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)));
        self.bytes_in.add(bytes_in);
        self.bytes_out.add(bytes_out);
    }

    /// A request is retried, perhaps on another server, after this server failed for this reason.
    pub fn retried(&self, failure: Failure) {
        if let Some(at) = FAILURES.iter().position(|(known, _)| *known == failure) {
            self.retries[at].inc();
        }
    }

    /// A hedge was sent here.
    pub fn hedged(&self) {
        self.hedges.inc();
    }

    /// A strategy has probed it, and it has answered with a load report or not.
    pub fn probed(&self, answered: bool) {
        self.probes[usize::from(!answered)].inc();
    }

    /// Sets whether the server gets requests. Each shard sets it; the last write counts.
    pub fn eligible(&self, eligible: bool) {
        self.healthy.set(i64::from(eligible));
    }

    /// Outlier detection has ejected it.
    pub fn ejected(&self, reason: outlier::Reason) {
        self.ejections[reason as usize].inc();
    }
}

/// Requests that the proxy answered itself, by reason.
#[derive(Debug)]
struct LocalReplies([Counter; Reason::ALL.len()]);

impl Default for LocalReplies {
    fn default() -> LocalReplies {
        LocalReplies(std::array::from_fn(|_| Counter::default()))
    }
}

/// Metrics of one pool. Each is described in [`METRICS`], under the same name.
#[derive(Debug)]
pub struct PoolMetrics {
    local_replies: LocalReplies,
    queue_depth: Gauge,
    /// Filled by the caller that times the picks.
    pub selector_decision: Histogram,
}

impl PoolMetrics {
    fn new() -> PoolMetrics {
        PoolMetrics {
            local_replies: LocalReplies::default(),
            queue_depth: Gauge::default(),
            selector_decision: Histogram::new(value::PICK_BUCKETS),
        }
    }

    /// Updates the queue length by this shard's change from `before`.
    pub fn queued(&self, waiting: usize, before: usize) {
        self.queue_depth.add(waiting as i64 - before as i64);
    }

    /// The proxy answered a request of this pool itself.
    pub fn local_reply(&self, reason: Reason) {
        self.local_replies.0[reason as usize].inc();
    }
}

/// Metrics of the proxy as a whole. Each is described in [`METRICS`], under the same name.
#[derive(Debug)]
pub struct ProxyMetrics {
    local_replies: LocalReplies,
    config_reloads: Counter,
    config_reload_failures: Counter,
    config_last_reload_successful: Gauge,
    /// The log's writer holds a clone.
    pub access_log_lines_dropped: Arc<Counter>,
    client_connections_accepted: Counter,
    client_connections_open: Gauge,
    client_connections_refused: Counter,
    /// Each shard adds its own.
    pub tasks: Gauge,
}

impl ProxyMetrics {
    fn new() -> ProxyMetrics {
        let metrics = ProxyMetrics {
            local_replies: LocalReplies::default(),
            config_reloads: Counter::default(),
            config_reload_failures: Counter::default(),
            config_last_reload_successful: Gauge::default(),
            access_log_lines_dropped: Arc::default(),
            client_connections_accepted: Counter::default(),
            client_connections_open: Gauge::default(),
            client_connections_refused: Counter::default(),
            tasks: Gauge::default(),
        };
        // The proxy runs, so its config was read successfully.
        metrics.config_last_reload_successful.set(1);
        metrics
    }

    /// The config was read again, with this result.
    pub fn reloaded(&self, success: bool) {
        self.config_reloads.inc();
        if !success {
            self.config_reload_failures.inc();
        }
        self.config_last_reload_successful.set(i64::from(success));
    }

    /// A client's connection was accepted.
    pub fn connection_opened(&self) {
        self.client_connections_accepted.inc();
        self.client_connections_open.inc();
    }

    /// A client's connection was closed.
    pub fn connection_closed(&self) {
        self.client_connections_open.dec();
    }

    /// A client's connection was closed at once, because there were too many.
    pub fn connection_refused(&self) {
        self.client_connections_refused.inc();
    }

    /// The proxy answered a request itself before it came to a pool.
    pub fn local_reply(&self, reason: Reason) {
        self.local_replies.0[reason as usize].inc();
    }
}
