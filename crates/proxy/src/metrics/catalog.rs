//! Every metric of the proxy: one row with its name, type, labels, help and series. The page is written from these rows, and
//! so is the reference.

use std::fmt;

use prometheus_client::metrics::MetricType;

use super::{Counter, Gauge, Histogram};
use super::{LocalReplies, PoolMetrics, ProxyMetrics, STATUS_CLASSES, ServerMetrics};
use crate::termination::Reason;
use evenkeel_core::policy::outlier;
use evenkeel_core::policy::retry::FAILURES;

/// A metric of the catalogue.
pub struct Metric {
    /// Without the prefix `evenkeel_`, the unit, and the suffix of its type.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The label beside those of its scope; empty if there is none.
    label: &'static str,
    /// The metric's help: one sentence.
    pub(super) help: &'static str,
    pub(super) series: Scope,
}

/// The type of a metric (OpenMetrics 1.0, 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number that only grows.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// Times in seconds, counted in buckets.
    Histogram,
    /// Always 1; what it says is in its labels.
    Info,
}

/// A value of a series.
pub(super) enum Value<'a> {
    Counter(&'a Counter),
    Gauge(&'a Gauge),
    Histogram(&'a Histogram),
}

/// Adds a series: the value of the metric's own label (empty if it has none), and the number.
pub(super) type Add<'a> = &'a mut dyn FnMut(&str, Value<'_>) -> fmt::Result;

/// What a metric is counted for, which gives its first labels; and its series.
pub(super) enum Scope {
    /// For each server of each pool.
    Server(fn(&ServerMetrics, Add<'_>) -> fmt::Result),
    /// For each pool.
    Pool(fn(&PoolMetrics, Add<'_>) -> fmt::Result),
    /// For each pool, and under an empty name for requests that have not come to a pool.
    Replies(fn(&LocalReplies, Add<'_>) -> fmt::Result),
    /// For the proxy.
    Proxy(fn(&ProxyMetrics, Add<'_>) -> fmt::Result),
    /// For the program, when it starts.
    Build,
}

use Kind::{Counter as C, Gauge as G, Histogram as H, Info};

const fn row(name: &'static str, kind: Kind, label: &'static str, help: &'static str, series: Scope) -> Metric {
    Metric { name, kind, label, help, series }
}

/// Every metric, in the order of the page.
pub const METRICS: &[Metric] = &[
    row("build", Info, "version, commit", "Version and commit of the running program.", Scope::Build),
    row(
        "requests",
        C,
        "code_class",
        "Completed requests, by class of status code.",
        Scope::Server(|server, add| {
            STATUS_CLASSES.iter().zip(&server.requests).try_for_each(|(class, n)| add(class, Value::Counter(n)))
        }),
    ),
    row(
        "retries",
        C,
        "reason",
        "Requests retried after this server failed them, by failure.",
        Scope::Server(|server, add| {
            FAILURES.iter().zip(&server.retries).try_for_each(|((_, word), n)| add(word, Value::Counter(n)))
        }),
    ),
    row(
        "hedges",
        C,
        "",
        "Hedged requests sent to the server.",
        Scope::Server(|server, add| add("", Value::Counter(&server.hedges))),
    ),
    row(
        "probes",
        C,
        "outcome",
        "Probes sent to the server by the strategy, by outcome.",
        Scope::Server(|server, add| {
            ["reported", "silent"].iter().zip(&server.probes).try_for_each(|(word, n)| add(word, Value::Counter(n)))
        }),
    ),
    row(
        "ejections",
        C,
        "reason",
        "Outlier ejections of the server.",
        Scope::Server(|server, add| {
            let reasons = outlier::Reason::ALL.iter().zip(&server.ejections);
            reasons.into_iter().try_for_each(|(reason, n)| add(reason.as_str(), Value::Counter(n)))
        }),
    ),
    row(
        "bytes",
        C,
        "direction",
        "Body bytes sent to (in) and received from (out) the server.",
        Scope::Server(|server, add| {
            add("in", Value::Counter(&server.bytes_in))?;
            add("out", Value::Counter(&server.bytes_out))
        }),
    ),
    row(
        "request_duration",
        H,
        "",
        "Time from a request's arrival to the last byte of its response.",
        Scope::Server(|server, add| add("", Value::Histogram(&server.request_duration))),
    ),
    row(
        "upstream_duration",
        H,
        "",
        "Time from the pick to the response header.",
        Scope::Server(|server, add| add("", Value::Histogram(&server.upstream_duration))),
    ),
    row(
        "in_flight",
        G,
        "",
        "Requests in flight at the server.",
        Scope::Server(|server, add| add("", Value::Gauge(&server.in_flight))),
    ),
    row(
        "healthy",
        G,
        "",
        "1 if the server is eligible for requests, else 0.",
        Scope::Server(|server, add| add("", Value::Gauge(&server.healthy))),
    ),
    row(
        "connections_open",
        G,
        "",
        "Open connections to the server.",
        Scope::Server(|server, add| add("", Value::Gauge(&server.connections_open))),
    ),
    row(
        "connections_opened",
        C,
        "",
        "Connections opened to the server.",
        Scope::Server(|server, add| add("", Value::Counter(&server.connections_opened))),
    ),
    row(
        "connections_reused",
        C,
        "",
        "Requests sent on a reused connection.",
        Scope::Server(|server, add| add("", Value::Counter(&server.connections_reused))),
    ),
    row(
        "queue_depth",
        G,
        "",
        "Requests waiting in the balancer queue.",
        Scope::Pool(|pool, add| add("", Value::Gauge(&pool.queue_depth))),
    ),
    row(
        "selector_decision",
        H,
        "",
        "Time of one pick by the selector.",
        Scope::Pool(|pool, add| add("", Value::Histogram(&pool.selector_decision))),
    ),
    row(
        "local_replies",
        C,
        "reason",
        "Requests answered by the proxy itself, by reason; the pool label is empty before routing.",
        // Most reasons are rare: a series begins with the first.
        Scope::Replies(|replies, add| {
            let mut seen = Reason::ALL.iter().zip(&replies.0).filter(|(_, n)| n.get() > 0);
            seen.try_for_each(|(reason, n)| add(reason.as_str(), Value::Counter(n)))
        }),
    ),
    row(
        "config_reloads",
        C,
        "",
        "Configuration reloads, successful or not.",
        Scope::Proxy(|proxy, add| add("", Value::Counter(&proxy.config_reloads))),
    ),
    row(
        "config_reload_failures",
        C,
        "",
        "Configuration reloads that were rejected.",
        Scope::Proxy(|proxy, add| add("", Value::Counter(&proxy.config_reload_failures))),
    ),
    row(
        "access_log_lines_dropped",
        C,
        "",
        "Access log lines dropped because the writer was too slow or could not write.",
        Scope::Proxy(|proxy, add| add("", Value::Counter(&proxy.access_log_lines_dropped))),
    ),
    row(
        "client_connections_accepted",
        C,
        "",
        "Client connections accepted.",
        Scope::Proxy(|proxy, add| add("", Value::Counter(&proxy.client_connections_accepted))),
    ),
    row(
        "client_connections_refused",
        C,
        "",
        "Client connections closed at once because the limit was reached.",
        Scope::Proxy(|proxy, add| add("", Value::Counter(&proxy.client_connections_refused))),
    ),
    row(
        "config_last_reload_successful",
        G,
        "",
        "1 if the last reload succeeded, else 0.",
        Scope::Proxy(|proxy, add| add("", Value::Gauge(&proxy.config_last_reload_successful))),
    ),
    row(
        "client_connections_open",
        G,
        "",
        "Open client connections.",
        Scope::Proxy(|proxy, add| add("", Value::Gauge(&proxy.client_connections_open))),
    ),
    row(
        "tasks",
        G,
        "",
        "Running tasks of the async runtime, all shards together.",
        Scope::Proxy(|proxy, add| add("", Value::Gauge(&proxy.tasks))),
    ),
];

impl Kind {
    pub(super) fn to_open_metrics(self) -> MetricType {
        match self {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
            Kind::Info => MetricType::Info,
        }
    }
}

impl Metric {
    /// The name that a query asks for. Of a histogram the name of the whole family, whose series end in `_bucket`, `_sum`
    /// and `_count`.
    pub fn full_name(&self) -> String {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge => "",
            Kind::Histogram => "_seconds",
            Kind::Info => "_info",
        };
        format!("evenkeel_{}{suffix}", self.name)
    }

    /// The type: `counter`, `gauge`, `histogram` or `info`.
    pub fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Info => "info",
        }
    }

    /// The labels, separated by commas; empty if there are none.
    pub fn labels(&self) -> String {
        let scope = match self.series {
            Scope::Server(_) => "pool, server",
            Scope::Pool(_) | Scope::Replies(_) => "pool",
            Scope::Proxy(_) | Scope::Build => "",
        };
        let separator = if scope.is_empty() || self.label.is_empty() { "" } else { ", " };
        format!("{scope}{separator}{}", self.label)
    }

    /// The label beside those of its scope, and its value.
    pub(super) fn own_label<'a>(&self, value: &'a str) -> Option<(&'static str, &'a str)> {
        (!self.label.is_empty()).then_some((self.label, value))
    }

    /// What it says, in one sentence.
    pub fn help(&self) -> &'static str {
        self.help
    }
}

/// All metrics as a table in Markdown, for the reference of the proxy.
pub fn reference() -> String {
    let mut text = String::from("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for metric in METRICS {
        let (name, kind, labels) = (metric.full_name(), metric.type_name(), metric.labels());
        text += &format!("| `{name}` | {kind} | {labels} | {} |\n", metric.help);
    }
    text
}
