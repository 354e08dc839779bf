//! The result of a load.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::connections::{Answer, Trouble};
use evenkeel_core::units::human_seconds;

/// The quantiles of a latency distribution that are reported, by name.
pub const PERCENTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

/// The result of a load. Requests of the warm-up are not part of it.
#[derive(Clone, Debug)]
pub struct LoadSummary {
    /// Requests whose intended time was in the measured span.
    pub requests: u64,
    /// Requests answered with a status below 400.
    pub ok: u64,
    /// Other requests by cause: `refused`, `unreachable`, `reset`, `protocol`, `timed_out`, or a status such as `503`.
    pub errors: BTreeMap<String, u64>,
    /// The full message of one of these errors; `None` without any.
    pub example: Option<String>,
    /// Responses by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests that had not ended when the load did.
    pub unfinished: u64,
    /// Nanoseconds from a request's intended time to its end, for requests that were answered without an error and for those
    /// that timed out (at their timeout). As in the simulator, requests that failed at once are left out.
    pub latency: Histogram<u64>,
    /// Send delay: nanoseconds from a request's intended time to the moment at which the generator started it.
    pub late: Histogram<u64>,
    /// Nanoseconds that a request then waited for a connection.
    pub waited: Histogram<u64>,
    /// Responses by server (`x-server`).
    pub servers: BTreeMap<String, u64>,
    /// Responses from a test server's cache (`x-cache: hit`).
    pub hits: u64,
    /// Responses that missed the cache (`x-cache: miss`).
    pub misses: u64,
    /// Bytes of bodies received.
    pub bytes: u64,
    /// Connections opened.
    pub connections: u64,
    /// Time from the start of the measured span to the end of the last request.
    pub span: Duration,
    /// Hash of the workload; equal to the simulator's for the same requests.
    pub workload_hash: u64,
    /// Whether the loop was closed: clients waited for responses before they sent again.
    pub closed: bool,
    last: Option<Instant>,
}

fn histogram() -> Histogram<u64> {
    // From a nanosecond to an hour: these bounds are always valid.
    Histogram::new_with_bounds(1, 3_600_000_000_000, 3).expect("sound bounds")
}

fn record(into: &mut Histogram<u64>, span: Duration) {
    into.saturating_record(span.as_nanos() as u64);
}

impl LoadSummary {
    pub(super) fn new(closed: bool) -> LoadSummary {
        LoadSummary {
            requests: 0,
            ok: 0,
            errors: BTreeMap::new(),
            example: None,
            statuses: BTreeMap::new(),
            unfinished: 0,
            latency: histogram(),
            late: histogram(),
            waited: histogram(),
            servers: BTreeMap::new(),
            hits: 0,
            misses: 0,
            bytes: 0,
            connections: 0,
            span: Duration::ZERO,
            workload_hash: 0,
            closed,
            last: None,
        }
    }

    pub(super) fn late(&mut self, by: Duration) {
        record(&mut self.late, by);
    }

    pub(super) fn waited(&mut self, span: Duration) {
        record(&mut self.waited, span);
    }

    pub(super) fn ended(
        &mut self,
        result: &Result<Answer, Trouble>,
        now: Instant,
        latency: Duration,
        timeout: Option<Duration>,
        cache_is_warm: bool,
    ) {
        self.last = Some(now);
        match result {
            Ok(answer) => {
                *self.statuses.entry(answer.status).or_default() += 1;
                self.bytes += answer.bytes;
                if let Some(Ok(server)) = answer.server.as_ref().map(|name| name.to_str()) {
                    match self.servers.get_mut(server) {
                        Some(count) => *count += 1,
                        None => _ = self.servers.insert(server.to_owned(), 1),
                    }
                }
                if let Some(hit) = answer.hit.filter(|_| cache_is_warm) {
                    self.hits += u64::from(hit);
                    self.misses += u64::from(!hit);
                }
                if answer.status < 400 {
                    self.ok += 1;
                    record(&mut self.latency, latency);
                } else {
                    *self.errors.entry(answer.status.to_string()).or_default() += 1;
                }
            }
            Err(trouble) => {
                if let (Trouble::TimedOut, Some(timeout)) = (trouble, timeout) {
                    record(&mut self.latency, timeout);
                }
                *self.errors.entry(trouble.as_str().to_owned()).or_default() += 1;
                self.example.get_or_insert_with(|| trouble.describe());
            }
        }
    }

    pub(super) fn close(&mut self, measured_from: Instant) {
        self.span = self.last.map_or(Duration::ZERO, |last| last.saturating_duration_since(measured_from));
    }

    /// Requests without a response of status below 400.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Responses with a status below 400 per second.
    pub fn throughput(&self) -> f64 {
        let seconds = self.span.as_secs_f64();
        if seconds > 0.0 { self.ok as f64 / seconds } else { 0.0 }
    }

    /// Share of cache look-ups that hit, 0 to 1; `None` where no server has a cache.
    pub fn hit_ratio(&self) -> Option<f64> {
        let lookups = self.hits + self.misses;
        (lookups > 0).then(|| self.hits as f64 / lookups as f64)
    }

    /// Warnings that make the numbers doubtful, such as a late generator.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        // A send delay matters where it is a considerable part of the reported latency, at the median or in the tail.
        let matters = |of: &Histogram<u64>| {
            [0.5, 0.99].into_iter().find_map(|quantile| {
                let (delay, latency) = (of.value_at_quantile(quantile), self.latency.value_at_quantile(quantile));
                (delay > 500_000 && latency > 0 && delay > latency / 10).then(|| {
                    let many = if quantile == 0.5 { "half of the requests" } else { "one request in a hundred" };
                    format!("{many} by {} or more, which is in the latencies", human_seconds(delay as f64 / 1e9))
                })
            })
        };
        if let Some(how) = matters(&self.late) {
            warnings
                .push(format!("the generator itself was late: {how}; lower the rate, or give it a machine of its own"));
        }
        if let Some(how) = matters(&self.waited).filter(|_| !self.closed) {
            warnings.push(format!("requests had to wait for a connection: {how}"));
        }
        if self.unfinished > 0 {
            warnings.push(format!("{} requests had no answer when the waiting ended", self.unfinished));
        }
        warnings
    }

    /// As JSON; times in seconds.
    pub fn to_json(&self) -> serde_json::Value {
        let times = |of: &Histogram<u64>| {
            let mut map: serde_json::Map<String, serde_json::Value> = PERCENTILES
                .iter()
                .map(|&(name, quantile)| (name.to_owned(), (of.value_at_quantile(quantile) as f64 / 1e9).into()))
                .collect();
            map.insert("mean".to_owned(), (of.mean() / 1e9).into());
            map.insert("count".to_owned(), of.len().into());
            map
        };
        serde_json::json!({
            "schema_version": 1,
            "requests": self.requests, "ok": self.ok, "failed": self.failed(), "unfinished": self.unfinished,
            "errors": self.errors, "example": self.example, "statuses": self.statuses,
            "throughput": self.throughput(), "seconds": self.span.as_secs_f64(), "bytes": self.bytes,
            "latency": times(&self.latency), "late": times(&self.late), "waited": times(&self.waited),
            "servers": self.servers, "hits": self.hits, "misses": self.misses, "hit_ratio": self.hit_ratio(),
            "connections": self.connections, "closed": self.closed,
            "workload_hash": format!("{:016x}", self.workload_hash), "warnings": self.warnings(),
        })
    }
}
