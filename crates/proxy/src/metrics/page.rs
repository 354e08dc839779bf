//! All counters in use, and the metrics page.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::catalog::{Kind, METRICS, Metric, Scope, Value};
use super::{PoolMetrics, ProxyMetrics, ServerMetrics};

/// The page's content type.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Pool and server.
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

/// The numbers under this name, or new ones. Those that nothing holds any more are forgotten.
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
        for build in METRICS.iter().filter(|metric| matches!(metric.series, Scope::Build)) {
            let labels = vec![("version", version.to_owned()), ("commit", commit.to_owned())];
            // The registry ends a help with a full stop of its own.
            registry.register(build.name, build.help.trim_end_matches('.'), Info::new(labels));
        }
        registry.register_collector(Box::new(Page(inner.clone())));
        Metrics { inner, registry }
    }

    /// The numbers of the proxy as a whole.
    pub(crate) fn proxy(&self) -> Arc<ProxyMetrics> {
        self.inner.proxy.clone()
    }

    /// The numbers of a pool: those that live, or new ones. They are on the page as long as something holds them.
    pub fn pool(&self, pool: &str) -> Arc<PoolMetrics> {
        held(&self.inner.pools, pool.to_owned(), PoolMetrics::new)
    }

    /// The numbers of a server: those that live, or new ones. They are on the page as long as something holds them.
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

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        fn alive<K: Clone, T>(map: &Mutex<BTreeMap<K, Weak<T>>>) -> Vec<(K, Arc<T>)> {
            lock(map).iter().filter_map(|(name, numbers)| Some((name.clone(), numbers.upgrade()?))).collect()
        }
        let (pools, servers) = (alive(&self.0.pools), alive(&self.0.servers));
        for metric in METRICS {
            if matches!(metric.series, Scope::Build) {
                continue;
            }
            let unit = (metric.kind == Kind::Histogram).then_some(Unit::Seconds);
            let kind = metric.kind.to_open_metrics();
            let mut family = Family(metric, encoder.encode_descriptor(metric.name, metric.help, unit.as_ref(), kind)?);
            match metric.series {
                Scope::Server(series) => {
                    for ((pool, server), numbers) in &servers {
                        let labels = [("pool", pool.as_str()), ("server", server.as_str())];
                        series(numbers, &mut |word, value| family.add(&labels, word, &value))?;
                    }
                }
                Scope::Pool(series) => {
                    for (pool, numbers) in &pools {
                        series(numbers, &mut |word, value| family.add(&[("pool", pool)], word, &value))?;
                    }
                }
                Scope::Replies(series) => {
                    let pools = pools.iter().map(|(pool, numbers)| (pool.as_str(), &numbers.local_replies));
                    for (pool, numbers) in pools.chain([("", &self.0.proxy.local_replies)]) {
                        series(numbers, &mut |word, value| family.add(&[("pool", pool)], word, &value))?;
                    }
                }
                Scope::Proxy(series) => series(&self.0.proxy, &mut |word, value| family.add(&[], word, &value))?,
                Scope::Build => {}
            }
        }
        Ok(())
    }
}

/// A metric on the page.
struct Family<'a>(&'a Metric, MetricEncoder<'a>);

impl Family<'_> {
    /// Writes one series: labels of the scope, the value of the metric's own label, the number.
    fn add(&mut self, scope: &[(&str, &str)], word: &str, value: &Value<'_>) -> fmt::Result {
        let Family(metric, encoder) = self;
        let mut labels = scope.to_vec();
        labels.extend(metric.own_label(word));
        value.encode(encoder.encode_family(&labels)?)
    }
}

impl Value<'_> {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        match self {
            Value::Counter(counter) => ConstCounter::new(counter.get()).encode(encoder),
            Value::Gauge(gauge) => ConstGauge::new(gauge.get()).encode(encoder),
            Value::Histogram(histogram) => histogram.encode(encoder),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::reference;
    use crate::termination::Reason;
    use evenkeel_core::policy::outlier;
    use evenkeel_core::policy::retry::Failure;
    use evenkeel_core::units::Nanos;

    /// A small OpenMetrics parser that checks the format's guarantees: types before samples, families in one piece, suffixes
    /// and units by type, buckets that add up, no series twice, and the end marked.
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
                // prometheus-client writes `le` first, and the count before the buckets.
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
        pool.local_reply(Reason::QueueFull);
        pool.selector_decision.observe(Nanos(60));
        metrics.proxy().local_reply(Reason::NoRoute);
        metrics.proxy().access_log_lines_dropped.add(4);
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
            ("evenkeel_local_replies_total{pool=\"web\",reason=\"queue_full\"}".to_owned(), 1.0),
            ("evenkeel_local_replies_total{pool=\"\",reason=\"no_route\"}".to_owned(), 1.0),
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
        // The reference names what the page has, with the same type and help.
        let reference = reference();
        let heads = |prefix: &str| {
            page.lines().filter_map(|line| line.strip_prefix(prefix)?.split_once(' ')).collect::<Vec<_>>()
        };
        let (types, helps) = (heads("# TYPE "), heads("# HELP "));
        assert_eq!((types.len(), helps.len()), (METRICS.len(), METRICS.len()));
        for ((metric, (name, kind)), (_, help)) in METRICS.iter().zip(types).zip(helps) {
            assert!(metric.full_name().starts_with(name), "{name}");
            assert_eq!((metric.type_name(), metric.help()), (kind, help), "{name}");
            let row = format!("| `{}` | {kind} | {} | {help} |\n", metric.full_name(), metric.labels());
            assert!(reference.contains(&row), "{row} is not in {reference}");
            let series = samples.keys().find(|series| series.starts_with(name)).expect(name);
            for label in metric.labels().split(", ").filter(|label| !label.is_empty()) {
                assert!(series.contains(&format!("{label}=\"")), "{series} has no {label}");
            }
        }
    }

    #[test]
    fn series_live_as_long_as_they_are_held() {
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
        assert_eq!(metrics.server("web", "a").requests(Some(200)).get(), 0, "a server that comes back starts at 0");
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
