//! What the proxy counts, as Prometheus and its kin read it (OpenMetrics 1.0 text).
//!
//! Everything is labelled by pool and server and by words from short fixed lists, never by path or client, which would let
//! clients decide how many series there are. Who serves requests holds an [`Arc`] of a server's or a pool's numbers, made
//! when the configuration is read: counting touches atomics it holds and nothing else, no lock and no map. The page is put
//! together when somebody asks for it, from the numbers that are still held by somebody: when a removed server's last
//! request is over, its series are gone.
//!
//! `prometheus-client` writes the page. Its `Family` is not used, because it keeps series until told otherwise, in no
//! order; nor its histogram, because that takes a lock for each value.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{self, ConstCounter};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::termination::Reason;
use evenkeel_core::policy::outlier;
use evenkeel_core::policy::retry::{FAILURES, Failure};
use evenkeel_core::units::Nanos;

/// The page's content type.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn inc(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    /// So far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// So much more, or less.
    pub fn add(&self, more: i64) {
        self.0.fetch_add(more, Relaxed);
    }

    /// One more.
    pub fn inc(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// One less.
    pub fn dec(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    /// So it is.
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    /// At the moment.
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Upper ends of the buckets for what people wait for: 100 µs to a minute.
const WAITS: &[u64] = &[
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];
/// Upper ends of the buckets for what a selector takes: 50 ns to a millisecond.
const DECISIONS: &[u64] = &[50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 1_000_000];

/// Times, counted in buckets.
#[derive(Debug)]
pub struct Histogram {
    ends: &'static [u64],
    /// One more than there are ends.
    counts: Box<[AtomicU64]>,
    nanos: AtomicU64,
}

impl Histogram {
    fn new(ends: &'static [u64]) -> Histogram {
        Histogram { ends, counts: (0..=ends.len()).map(|_| AtomicU64::new(0)).collect(), nanos: AtomicU64::new(0) }
    }

    /// Takes in a time.
    pub fn observe(&self, time: Nanos) {
        // Less or equal, as the label says.
        let bucket = self.ends.partition_point(|&end| end < time.0);
        self.counts[bucket].fetch_add(1, Relaxed);
        self.nanos.fetch_add(time.0, Relaxed);
    }

    /// How many so far.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Relaxed)).sum()
    }

    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let ends = self.ends.iter().map(|&end| end as f64 / 1e9).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = ends.zip(self.counts.iter().map(|count| count.load(Relaxed))).collect();
        // The count is the buckets' sum, so that the page agrees with itself while others count on.
        let count = buckets.iter().map(|bucket| bucket.1).sum();
        encoder.encode_histogram::<NoLabelSet>(self.nanos.load(Relaxed) as f64 / 1e9, count, &buckets, None)
    }
}

/// Classes of status: none (there was no answer), 1xx to 5xx.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// The numbers of one server.
#[derive(Debug)]
pub struct ServerMetrics {
    requests: [Counter; CLASSES.len()],
    retries: [Counter; FAILURES.len()],
    hedges: Counter,
    /// Answered with a load report, and not.
    probes: [Counter; 2],
    ejections: [Counter; outlier::Reason::ALL.len()],
    /// From a request's arrival to the last byte of its answer.
    pub request_duration: Histogram,
    /// From the pick to the head of the answer.
    pub upstream_duration: Histogram,
    /// Requests that are at the server.
    pub in_flight: Gauge,
    /// 1 if it gets requests, else 0.
    pub healthy: Gauge,
    /// Connections to it that are open.
    pub connections_open: Gauge,
    /// Connections that were made to it.
    pub connections_created: Counter,
    /// Requests that found an open connection.
    pub connections_reused: Counter,
    /// Bytes of bodies that it was sent.
    pub bytes_in: Counter,
    /// Bytes of bodies that it sent.
    pub bytes_out: Counter,
}

impl ServerMetrics {
    fn new() -> ServerMetrics {
        ServerMetrics {
            requests: Default::default(),
            retries: Default::default(),
            hedges: Counter::default(),
            probes: Default::default(),
            ejections: Default::default(),
            request_duration: Histogram::new(WAITS),
            upstream_duration: Histogram::new(WAITS),
            in_flight: Gauge::default(),
            healthy: Gauge::default(),
            connections_open: Gauge::default(),
            connections_created: Counter::default(),
            connections_reused: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
        }
    }

    /// The counter of requests that ended with such a status, or without one.
    pub fn requests(&self, status: Option<u16>) -> &Counter {
        let class = usize::from(status.unwrap_or(0) / 100);
        &self.requests[if class < CLASSES.len() { class } else { 0 }]
    }

    /// A connection was made.
    pub fn opened(&self) {
        self.connections_created.inc();
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

    /// The head of an answer came so long after the pick.
    pub fn answered(&self, after: Nanos) {
        self.upstream_duration.observe(after);
    }

    /// A request that this server answered is over.
    pub fn request(&self, status: StatusCode, took: Duration, bytes_in: u64, bytes_out: u64) {
        self.requests(Some(status.as_u16())).inc();
        self.request_duration.observe(Nanos(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)));
        self.bytes_in.add(bytes_in);
        self.bytes_out.add(bytes_out);
    }

    /// A request is tried again, elsewhere, after this server failed it so.
    pub fn retried(&self, failure: Failure) {
        if let Some(at) = FAILURES.iter().position(|(known, _)| *known == failure) {
            self.retries[at].inc();
        }
    }

    /// A second copy of a request was sent here.
    pub fn hedged(&self) {
        self.hedges.inc();
    }

    /// A strategy has asked it for its load, and it has answered with one or not.
    pub fn probed(&self, answered: bool) {
        self.probes[usize::from(!answered)].inc();
    }

    /// Whether it gets requests. Each shard says so for itself; the last word counts.
    pub fn eligible(&self, eligible: bool) {
        self.healthy.set(i64::from(eligible));
    }

    /// It was taken out by what its requests met.
    pub fn ejected(&self, reason: outlier::Reason) {
        self.ejections[reason as usize].inc();
    }
}

/// The numbers of one pool.
#[derive(Debug)]
pub struct PoolMetrics {
    own_answers: [Counter; Reason::ALL.len()],
    /// Requests that wait for a server with room.
    pub queue_depth: Gauge,
    /// What the selector takes for a pick.
    pub selector_decision: Histogram,
}

impl PoolMetrics {
    fn new() -> PoolMetrics {
        PoolMetrics {
            own_answers: std::array::from_fn(|_| Counter::default()),
            queue_depth: Gauge::default(),
            selector_decision: Histogram::new(DECISIONS),
        }
    }

    /// So many requests wait in this shard, which had said so many before.
    pub fn queued(&self, waiting: usize, before: usize) {
        self.queue_depth.add(waiting as i64 - before as i64);
    }

    /// The proxy answered by itself.
    pub fn own_answer(&self, reason: Reason) {
        self.own_answers(reason).inc();
    }

    /// The counter of requests that the proxy answered itself, for this reason.
    pub fn own_answers(&self, reason: Reason) -> &Counter {
        &self.own_answers[reason as usize]
    }
}

/// The numbers of the proxy as a whole.
#[derive(Debug)]
pub struct ProxyMetrics {
    own_answers: [Counter; Reason::ALL.len()],
    config_reloads: Counter,
    config_reload_failures: Counter,
    config_last_reload_success: Gauge,
    /// Lines the access log has lost; its writer holds a clone.
    pub log_dropped: counter::Counter,
    /// Connections of clients that were taken.
    pub connections_accepted: Counter,
    /// Connections of clients that are open.
    pub connections_open: Gauge,
    /// Connections of clients that were closed at once, since there were too many.
    pub connections_refused: Counter,
    /// Tasks that run.
    pub tasks: Gauge,
}

impl ProxyMetrics {
    fn new() -> ProxyMetrics {
        let metrics = ProxyMetrics {
            own_answers: std::array::from_fn(|_| Counter::default()),
            config_reloads: Counter::default(),
            config_reload_failures: Counter::default(),
            config_last_reload_success: Gauge::default(),
            log_dropped: counter::Counter::default(),
            connections_accepted: Counter::default(),
            connections_open: Gauge::default(),
            connections_refused: Counter::default(),
            tasks: Gauge::default(),
        };
        // It runs, so its configuration was read.
        metrics.config_last_reload_success.set(1);
        metrics
    }

    /// The configuration was read again, with this result.
    pub fn reloaded(&self, success: bool) {
        self.config_reloads.inc();
        if !success {
            self.config_reload_failures.inc();
        }
        self.config_last_reload_success.set(i64::from(success));
    }

    /// A client's connection was taken.
    pub fn connection_opened(&self) {
        self.connections_accepted.inc();
        self.connections_open.inc();
    }

    /// A client's connection was closed.
    pub fn connection_closed(&self) {
        self.connections_open.dec();
    }

    /// A client's connection was closed at once.
    pub fn connection_refused(&self) {
        self.connections_refused.inc();
    }

    /// The proxy answered before it came to a pool.
    pub fn own_answer(&self, reason: Reason) {
        self.own_answers(reason).inc();
    }

    /// The counter of requests that were answered before they came to a pool, for this reason.
    pub fn own_answers(&self, reason: Reason) -> &Counter {
        &self.own_answers[reason as usize]
    }
}

type ServerName = (String, String);

#[derive(Debug)]
struct Inner {
    proxy: Arc<ProxyMetrics>,
    pools: Mutex<BTreeMap<String, Weak<PoolMetrics>>>,
    servers: Mutex<BTreeMap<ServerName, Weak<ServerMetrics>>>,
}

/// All numbers, and the page of them.
#[derive(Debug)]
pub struct Metrics {
    inner: Arc<Inner>,
    registry: Registry,
}

/// No code that holds one of these locks can panic halfway through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What lives under this name, or what is made for it. What nobody holds any more is forgotten.
fn held<K: Ord, T>(map: &Mutex<BTreeMap<K, Weak<T>>>, name: K, make: fn() -> T) -> Arc<T> {
    let mut map = lock(map);
    map.retain(|_, numbers| numbers.strong_count() > 0);
    if let Some(numbers) = map.get(&name).and_then(Weak::upgrade) {
        return numbers;
    }
    let numbers = Arc::new(make());
    map.insert(name, Arc::downgrade(&numbers));
    numbers
}

impl Metrics {
    /// Nothing counted yet. Version and commit are what `evenkeel_build_info` says.
    pub fn new(version: &str, commit: &str) -> Metrics {
        let inner = Arc::new(Inner {
            proxy: Arc::new(ProxyMetrics::new()),
            pools: Mutex::default(),
            servers: Mutex::default(),
        });
        let mut registry = Registry::with_prefix("evenkeel");
        let labels = vec![("version", version.to_owned()), ("commit", commit.to_owned())];
        registry.register("build", "Version and commit of the running program", Info::new(labels));
        registry.register_collector(Box::new(Page(inner.clone())));
        Metrics { inner, registry }
    }

    /// The proxy's own numbers.
    pub fn proxy(&self) -> Arc<ProxyMetrics> {
        self.inner.proxy.clone()
    }

    /// The numbers of a pool: those that live, or new ones. They are on the page as long as somebody holds them.
    pub fn pool(&self, pool: &str) -> Arc<PoolMetrics> {
        held(&self.inner.pools, pool.to_owned(), PoolMetrics::new)
    }

    /// The numbers of a server: those that live, or new ones. They are on the page as long as somebody holds them.
    pub fn server(&self, pool: &str, server: &str) -> Arc<ServerMetrics> {
        held(&self.inner.servers, (pool.to_owned(), server.to_owned()), ServerMetrics::new)
    }

    /// The page, to be sent as [`CONTENT_TYPE`].
    pub fn encode(&self) -> String {
        let mut page = String::new();
        let written = encode(&mut page, &self.registry);
        debug_assert!(written.is_ok(), "writing to a string does not fail");
        page
    }
}

#[derive(Debug)]
struct Page(Arc<Inner>);

type Servers = [(ServerName, Arc<ServerMetrics>)];
type Pools = [(String, Arc<PoolMetrics>)];

impl Collector for Page {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        fn alive<K: Clone, T>(map: &Mutex<BTreeMap<K, Weak<T>>>) -> Vec<(K, Arc<T>)> {
            lock(map).iter().filter_map(|(name, numbers)| Some((name.clone(), numbers.upgrade()?))).collect()
        }
        let mut writer = Writer(encoder);
        let (pools, servers) = (alive(&self.0.pools), alive(&self.0.servers));
        writer.servers(&servers)?;
        writer.pools(&pools, &self.0.proxy)?;
        writer.proxy(&self.0.proxy)
    }
}

struct Writer<'a>(DescriptorEncoder<'a>);

fn encode_count(count: &Counter, encoder: MetricEncoder<'_>) -> fmt::Result {
    ConstCounter::new(count.get()).encode(encoder)
}

fn encode_gauge(gauge: &Gauge, encoder: MetricEncoder<'_>) -> fmt::Result {
    ConstGauge::new(gauge.get()).encode(encoder)
}

impl Writer<'_> {
    fn family(&mut self, name: &str, help: &str, unit: Option<Unit>, kind: MetricType, fill: Fill<'_>) -> fmt::Result {
        fill(self.0.encode_descriptor(name, help, unit.as_ref(), kind)?)
    }

    /// A family with a series for each server, or several that differ in one more label.
    fn by_server(
        &mut self,
        (name, help, kind): (&str, &str, MetricType),
        servers: &Servers,
        series: impl Fn(&ServerMetrics, &mut Series<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let unit = (kind == MetricType::Histogram).then_some(Unit::Seconds);
        self.family(name, help, unit, kind, &mut |mut encoder| {
            servers.iter().try_for_each(|((pool, server), numbers)| {
                series(numbers, &mut |label, encode| match label {
                    None => encode(encoder.encode_family(&[("pool", pool.as_str()), ("server", server)])?),
                    Some((key, value)) => {
                        encode(encoder.encode_family(&[("pool", pool.as_str()), ("server", server), (key, value)])?)
                    }
                })
            })
        })
    }

    fn servers(&mut self, servers: &Servers) -> fmt::Result {
        use MetricType::{Counter, Gauge, Histogram};
        self.by_server(
            ("requests", "Completed requests, by class of status code.", Counter),
            servers,
            |numbers, series| {
                CLASSES
                    .iter()
                    .zip(&numbers.requests)
                    .try_for_each(|(class, count)| series(Some(("code_class", class)), &mut |e| encode_count(count, e)))
            },
        )?;
        let help = "Requests retried after this server failed them, by failure.";
        self.by_server(("retries", help, Counter), servers, |numbers, series| {
            FAILURES
                .iter()
                .zip(&numbers.retries)
                .try_for_each(|((_, word), count)| series(Some(("reason", word)), &mut |e| encode_count(count, e)))
        })?;
        self.by_server(("hedges", "Hedged requests sent to the server.", Counter), servers, |numbers, series| {
            series(None, &mut |e| encode_count(&numbers.hedges, e))
        })?;
        let help = "Probes sent to the server by the strategy, by outcome.";
        self.by_server(("probes", help, Counter), servers, |numbers, series| {
            ["reported", "silent"]
                .iter()
                .zip(&numbers.probes)
                .try_for_each(|(outcome, count)| series(Some(("outcome", outcome)), &mut |e| encode_count(count, e)))
        })?;
        let help = "Outlier ejections of the server.";
        self.by_server(("ejections", help, Counter), servers, |numbers, series| {
            outlier::Reason::ALL.iter().zip(&numbers.ejections).try_for_each(|(reason, count)| {
                series(Some(("reason", reason.as_str())), &mut |e| encode_count(count, e))
            })
        })?;
        let help = "Body bytes sent to (in) and received from (out) the server.";
        self.by_server(("bytes", help, Counter), servers, |numbers, series| {
            series(Some(("direction", "in")), &mut |e| encode_count(&numbers.bytes_in, e))?;
            series(Some(("direction", "out")), &mut |e| encode_count(&numbers.bytes_out, e))
        })?;
        let help = "Time from a request's arrival to the last byte of its response.";
        self.by_server(("request_duration", help, Histogram), servers, |numbers, series| {
            series(None, &mut |e| numbers.request_duration.encode(e))
        })?;
        let help = "Time from the pick to the response header.";
        self.by_server(("upstream_duration", help, Histogram), servers, |numbers, series| {
            series(None, &mut |e| numbers.upstream_duration.encode(e))
        })?;
        self.by_server(("in_flight", "Requests in flight at the server.", Gauge), servers, |numbers, series| {
            series(None, &mut |e| encode_gauge(&numbers.in_flight, e))
        })?;
        self.by_server(
            ("healthy", "1 if the server is eligible for requests, else 0.", Gauge),
            servers,
            |numbers, series| series(None, &mut |e| encode_gauge(&numbers.healthy, e)),
        )?;
        self.by_server(("connections_open", "Open connections to the server.", Gauge), servers, |numbers, series| {
            series(None, &mut |e| encode_gauge(&numbers.connections_open, e))
        })?;
        self.by_server(
            ("connections_opened", "Connections opened to the server.", Counter),
            servers,
            |numbers, series| series(None, &mut |e| encode_count(&numbers.connections_created, e)),
        )?;
        let help = "Requests sent on a reused connection.";
        self.by_server(("connections_reused", help, Counter), servers, |numbers, series| {
            series(None, &mut |e| encode_count(&numbers.connections_reused, e))
        })
    }

    fn pools(&mut self, pools: &Pools, proxy: &ProxyMetrics) -> fmt::Result {
        self.family(
            "queue_depth",
            "Requests waiting in the balancer queue.",
            None,
            MetricType::Gauge,
            &mut |mut e| {
                pools.iter().try_for_each(|(pool, numbers)| {
                    encode_gauge(&numbers.queue_depth, e.encode_family(&[("pool", pool.as_str())])?)
                })
            },
        )?;
        let (help, unit) = ("Time of one pick by the selector.", Some(Unit::Seconds));
        self.family("selector_decision", help, unit, MetricType::Histogram, &mut |mut e| {
            pools.iter().try_for_each(|(pool, numbers)| {
                numbers.selector_decision.encode(e.encode_family(&[("pool", pool.as_str())])?)
            })
        })?;
        let help = "Requests answered by the proxy itself, by reason; no pool label before routing.";
        self.family("own_answers", help, None, MetricType::Counter, &mut |mut e| {
            let pools = pools.iter().map(|(pool, numbers)| (pool.as_str(), &numbers.own_answers));
            for (pool, counts) in pools.chain([("", &proxy.own_answers)]) {
                // Most reasons are rare: a series begins with the first.
                for (reason, count) in Reason::ALL.iter().zip(counts).filter(|(_, count)| count.get() > 0) {
                    encode_count(count, e.encode_family(&[("pool", pool), ("reason", reason.as_str())])?)?;
                }
            }
            Ok(())
        })
    }

    fn proxy(&mut self, proxy: &ProxyMetrics) -> fmt::Result {
        let dropped = Counter(AtomicU64::new(proxy.log_dropped.get()));
        for (name, help, count) in [
            ("config_reloads", "Configuration reloads, successful or not.", &proxy.config_reloads),
            ("config_reload_failures", "Configuration reloads that were rejected.", &proxy.config_reload_failures),
            ("access_log_lines_dropped", "Access log lines dropped because the writer was too slow.", &dropped),
            ("client_connections_accepted", "Client connections accepted.", &proxy.connections_accepted),
            (
                "client_connections_refused",
                "Client connections closed at once because the limit was reached.",
                &proxy.connections_refused,
            ),
        ] {
            self.family(name, help, None, MetricType::Counter, &mut |e| encode_count(count, e))?;
        }
        for (name, help, gauge) in [
            (
                "config_last_reload_successful",
                "1 if the last reload succeeded, else 0.",
                &proxy.config_last_reload_success,
            ),
            ("client_connections_open", "Open client connections.", &proxy.connections_open),
            ("tasks", "Running tasks.", &proxy.tasks),
        ] {
            self.family(name, help, None, MetricType::Gauge, &mut |e| encode_gauge(gauge, e))?;
        }
        Ok(())
    }
}

/// Fills a family.
type Fill<'a> = &'a mut dyn FnMut(MetricEncoder<'_>) -> fmt::Result;
/// Writes one series of a server: one more label, and the value.
type Series<'a> = dyn FnMut(Option<(&str, &str)>, Fill<'_>) -> fmt::Result + 'a;

#[cfg(test)]
mod tests {
    use super::*;

    /// A small reader of OpenMetrics text that knows what is promised of it: types before samples, families in one piece,
    /// suffixes and units by type, buckets that add up, no series twice, and the end marked.
    fn check(page: &str) -> BTreeMap<String, f64> {
        let (mut samples, mut kinds) = (BTreeMap::new(), BTreeMap::new());
        let (mut family, mut bucket) = (String::new(), (String::new(), 0.0));
        let body = page.strip_suffix("# EOF\n").expect("the end is marked");
        for line in body.lines() {
            if let Some(rest) = line.strip_prefix("# ") {
                let mut words = rest.splitn(3, ' ');
                let (what, name, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or(""));
                assert!(name.starts_with("evenkeel_"), "{line}");
                match what {
                    "HELP" => assert!(rest.ends_with('.') && !rest.ends_with(".."), "{line}"),
                    "TYPE" => {
                        assert!(
                            kinds.insert(name.to_owned(), rest.to_owned()).is_none(),
                            "a family in two pieces: {line}"
                        );
                        assert!(!name.ends_with("_total"), "{line}");
                        name.clone_into(&mut family);
                    }
                    "UNIT" => assert!(name.ends_with(&format!("_{rest}")), "{line}"),
                    _ => panic!("{line}"),
                }
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap();
            let value: f64 = value.parse().unwrap();
            let name = series.split('{').next().unwrap();
            let suffix = name.strip_prefix(family.as_str()).unwrap_or_else(|| panic!("{line} is not of {family}"));
            match (kinds[&family].as_str(), suffix) {
                ("counter", "_total") | ("gauge", "") | ("info", "_info") => {}
                ("histogram", "_sum" | "_count" | "_bucket") => assert!(family.ends_with("_seconds")),
                other => panic!("{line}: {other:?}"),
            }
            if suffix == "_bucket" {
                // The library writes `le` first, and the count before the buckets.
                let (start, rest) = series.split_once("{le=\"").unwrap();
                let (end, labels) = rest.split_once('"').unwrap();
                let labels = labels.trim_start_matches(',');
                let count = format!("{}{{{labels}", start.replace("_bucket", "_count"));
                assert!(count != bucket.0 || value >= bucket.1, "buckets grow: {line}");
                if end == "+Inf" {
                    assert_eq!(samples.get(&count), Some(&value), "{count} in {page}");
                }
                bucket = (count, value);
            }
            assert!(samples.insert(series.to_owned(), value).is_none(), "twice: {line}");
        }
        let of = |part: &str| samples.keys().filter(|series| series.contains(part)).count();
        assert_eq!(of("_seconds_count"), of("le=\"+Inf\""), "every histogram ends: {page}");
        samples
    }

    #[test]
    fn the_page_says_what_was_counted() {
        let metrics = Metrics::new("1.2.3", "abc");
        let (pool, server) = (metrics.pool("web"), metrics.server("web", "a\"\\\n"));
        let _other = metrics.server("web", "b");
        server.requests(Some(200)).inc();
        server.requests(Some(503)).add(2);
        server.requests(None).inc();
        server.requests(Some(999)).inc();
        server.request_duration.observe(Nanos(100_000));
        server.request_duration.observe(Nanos(100_001));
        server.request_duration.observe(Nanos::from_secs(3600));
        server.retried(Failure::Reset);
        server.ejected(outlier::Reason::Latency);
        server.bytes_out.add(7);
        server.healthy.set(1);
        server.in_flight.inc();
        server.in_flight.inc();
        server.in_flight.dec();
        pool.own_answers(Reason::QueueFull).inc();
        pool.selector_decision.observe(Nanos(60));
        metrics.proxy().own_answers(Reason::NoRoute).inc();
        metrics.proxy().log_dropped.inc_by(4);
        metrics.proxy().reloaded(true);
        metrics.proxy().reloaded(false);
        let page = metrics.encode();
        let samples = check(&page);
        let a = r#"pool="web",server="a\"\\\n""#;
        for (series, value) in [
            ("evenkeel_build_info{version=\"1.2.3\",commit=\"abc\"}".to_owned(), 1.0),
            (format!("evenkeel_requests_total{{{a},code_class=\"2xx\"}}"), 1.0),
            (format!("evenkeel_requests_total{{{a},code_class=\"5xx\"}}"), 2.0),
            (format!("evenkeel_requests_total{{{a},code_class=\"none\"}}"), 2.0),
            ("evenkeel_requests_total{pool=\"web\",server=\"b\",code_class=\"2xx\"}".to_owned(), 0.0),
            (format!("evenkeel_retries_total{{{a},reason=\"reset\"}}"), 1.0),
            (format!("evenkeel_ejections_total{{{a},reason=\"latency\"}}"), 1.0),
            (format!("evenkeel_bytes_total{{{a},direction=\"out\"}}"), 7.0),
            (format!("evenkeel_healthy{{{a}}}"), 1.0),
            (format!("evenkeel_in_flight{{{a}}}"), 1.0),
            (format!("evenkeel_request_duration_seconds_count{{{a}}}"), 3.0),
            (format!("evenkeel_request_duration_seconds_sum{{{a}}}"), 3600.000200001),
            ("evenkeel_selector_decision_seconds_count{pool=\"web\"}".to_owned(), 1.0),
            ("evenkeel_own_answers_total{pool=\"web\",reason=\"queue_full\"}".to_owned(), 1.0),
            ("evenkeel_own_answers_total{pool=\"\",reason=\"no_route\"}".to_owned(), 1.0),
            ("evenkeel_access_log_lines_dropped_total".to_owned(), 4.0),
            ("evenkeel_config_reloads_total".to_owned(), 2.0),
            ("evenkeel_config_reload_failures_total".to_owned(), 1.0),
            ("evenkeel_config_last_reload_successful".to_owned(), 0.0),
            ("evenkeel_tasks".to_owned(), 0.0),
        ] {
            assert_eq!(samples.get(&series), Some(&value), "{series} in {page}");
        }
        let bucket = |le: &str| samples[&format!("evenkeel_request_duration_seconds_bucket{{le=\"{le}\",{a}}}")];
        assert_eq!(
            (bucket("0.0001"), bucket("0.00025"), bucket("60.0"), bucket("+Inf")),
            (1.0, 2.0, 2.0, 3.0),
            "{page}"
        );
        assert_eq!(page, metrics.encode(), "the order is always the same");
    }

    #[test]
    fn series_live_as_long_as_somebody_holds_them() {
        let metrics = Metrics::new("1", "");
        let first = metrics.server("web", "a");
        first.requests(Some(200)).inc();
        // A reload asks again and counts on.
        let second = metrics.server("web", "a");
        assert!(Arc::ptr_eq(&first, &second));
        drop(first);
        assert!(metrics.encode().contains("server=\"a\""));
        drop(second);
        let page = metrics.encode();
        assert!(!page.contains("server=\"a\""), "{page}");
        check(&page);
        assert_eq!(metrics.server("web", "a").requests(Some(200)).get(), 0, "who comes back begins anew");
        let pool = metrics.pool("web");
        assert!(metrics.encode().contains("queue_depth{pool=\"web\"}"));
        drop(pool);
        assert!(!metrics.encode().contains("pool=\"web\""));
    }

    #[test]
    fn words_and_numbers_agree() {
        let number = |all: Vec<usize>| assert!(all.iter().enumerate().all(|(i, &n)| i == n));
        number(Reason::ALL.iter().map(|&r| r as usize).collect());
        number(outlier::Reason::ALL.iter().map(|&r| r as usize).collect());
    }
}
