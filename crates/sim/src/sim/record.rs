//! The result of a run: histograms and sums, no samples, so that memory does not grow with the number of requests.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::buckets::Buckets;
use super::timeline::Timeline;
use evenkeel_core::units::Nanos;

/// How a request ended for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestOutcome {
    /// Answered without an error.
    Ok,
    /// The server answered with an error.
    Error,
    /// The server's queue was full; or every server was at its limit and the balancer's queue was full or its timeout
    /// expired.
    Rejected,
    /// The balancer had no eligible server.
    NoServer,
    /// The server refused the connection, or reset it when it crashed.
    Reset,
    /// No response within the client's timeout, or no attempt was answered within its own timeout.
    TimedOut,
    /// The balancer's address did not answer.
    Unreachable,
}

/// Every outcome and its name in result files, in the order of [`ClassRecord::ends`].
pub const ENDS: [(RequestOutcome, &str); 7] = [
    (RequestOutcome::Ok, "ok"),
    (RequestOutcome::Error, "error"),
    (RequestOutcome::Rejected, "rejected"),
    (RequestOutcome::NoServer, "no_healthy_server"),
    (RequestOutcome::Reset, "reset"),
    (RequestOutcome::TimedOut, "timed_out"),
    (RequestOutcome::Unreachable, "unreachable"),
];

/// A histogram of nanoseconds with three significant digits, for a whole run.
pub fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are allowed")
}

/// Buckets as fine as those of this histogram.
const CLASS_BITS: u32 = 11;
/// Two significant digits, for the bins of a time series.
const BIN_BITS: u32 = 8;

/// A latency as it is recorded, nanoseconds: 2^60 of them are 36 years, far below the limit at which a histogram cannot grow any
/// more.
#[inline]
fn recorded(latency: u64) -> u64 {
    latency.clamp(1, 1 << 60)
}

/// Histograms in files: (highest value of the bucket, count), ascending, empty buckets left out.
mod sparse {
    use super::{Histogram, histogram};
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(histogram: &Histogram<u64>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(super::buckets(histogram))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Histogram<u64>, D::Error> {
        let mut filled = histogram();
        for (value, count) in Vec::<(u64, u64)>::deserialize(from)? {
            filled.record_n(value, count).map_err(serde::de::Error::custom)?;
        }
        Ok(filled)
    }
}

/// The buckets of a histogram that hold something: (highest value, count), ascending.
fn buckets(histogram: &Histogram<u64>) -> impl Iterator<Item = (u64, u64)> + '_ {
    histogram.iter_recorded().map(|v| (v.value_iterated_to(), v.count_since_last_iteration()))
}

/// A class of measured requests: all of them, or those of one pool.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClassRecord {
    /// Latency in nanoseconds, from intended arrival to end, of requests that were answered, timed out, or failed after they
    /// had been held for longer than the mean work of their path; unfinished requests count at their age. Requests that were
    /// refused or failed sooner are left out, because fast failures would lower the latency.
    #[serde(with = "sparse")]
    pub latency: Histogram<u64>,
    /// Latencies that are not in the histogram yet.
    #[serde(skip)]
    counted: Buckets<CLASS_BITS>,
    /// The exact sum of those latencies.
    pub latency_sum: u128,
    /// Number of requests by outcome, in the order of [`ENDS`].
    pub ends: [u64; ENDS.len()],
    /// Requests that had not ended when the run did.
    pub unfinished: u64,
    /// Cache look-ups that hit.
    pub hits: u64,
    /// Cache look-ups that missed.
    pub misses: u64,
}

impl Default for ClassRecord {
    fn default() -> ClassRecord {
        ClassRecord {
            latency: histogram(),
            counted: Buckets::default(),
            latency_sum: 0,
            ends: [0; ENDS.len()],
            unfinished: 0,
            hits: 0,
            misses: 0,
        }
    }
}

impl ClassRecord {
    /// A measured request ended; whether its latency `counts`.
    #[inline]
    pub(super) fn end(&mut self, end: RequestOutcome, latency: Nanos, counts: bool) {
        self.ends[end as usize] += 1;
        if counts {
            self.latency(latency);
        }
    }

    /// A measured request had not ended at this age.
    pub(super) fn unfinished(&mut self, age: Nanos) {
        self.unfinished += 1;
        self.latency(age);
    }

    /// Adds the requests of another span.
    fn add(&mut self, other: &ClassRecord) {
        self.latency.add(&other.latency).expect("histograms of one kind");
        self.latency_sum += other.latency_sum;
        self.ends.iter_mut().zip(other.ends).for_each(|(sum, more)| *sum += more);
        self.unfinished += other.unfinished;
        self.hits += other.hits;
        self.misses += other.misses;
    }

    #[inline]
    fn latency(&mut self, latency: Nanos) {
        self.latency_sum += u128::from(latency.0);
        self.counted.record(recorded(latency.0));
    }

    /// Adds to the histogram what has been counted.
    fn pour(&mut self) {
        for (latency, count) in self.counted.take() {
            self.latency.record_n(latency, count).expect("a histogram that resizes takes any value");
        }
    }

    /// All measured requests of the class.
    pub fn requests(&self) -> u64 {
        self.ends.iter().sum::<u64>() + self.unfinished
    }

    /// Measured requests that were answered without an error.
    pub fn ok(&self) -> u64 {
        self.ends[RequestOutcome::Ok as usize]
    }
}

/// What was measured in a span of a run: requests by class (a request belongs to the span it arrived in), servers and
/// balancers (as they were during the span).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Measured {
    /// All measured requests.
    pub all: ClassRecord,
    /// By pool, with empty records for second tiers; empty where there is only one entry pool.
    pub pools: Vec<ClassRecord>,
    /// By path, where there are from 2 to 16 of them and nothing is replayed.
    pub paths: Vec<ClassRecord>,
    /// By pool, then by server.
    pub servers: Vec<Vec<ServerRecord>>,
    /// Measured requests that came to each balancer.
    pub balancers: Vec<u64>,
    /// Server-nanoseconds of each pool with autoscaling, servers that boot included; else empty.
    #[serde(default)]
    pub server_time: Vec<u128>,
    /// What balancers did for measured requests beyond picking a server once.
    #[serde(default)]
    pub efforts: AttemptStats,
}

/// What balancers did beyond picking a server for each request once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptStats {
    /// Attempts that were sent to a server.
    pub attempts: u64,
    /// Retries among them.
    pub retries: u64,
    /// Hedges among them.
    pub hedges: u64,
    /// Hedges that answered first.
    pub hedges_won: u64,
    /// Requests that waited in a balancer's queue and were then sent to a server.
    pub waited: u64,
    /// Sum of their waiting times, nanoseconds.
    pub wait_sum: u128,
    /// Ejections of servers during the span, summed over balancers.
    pub ejections: u64,
    /// Servers asked for their load by a selector during the span.
    pub probes: u64,
    /// Attempts that were sent to a server of another zone than the balancer's.
    pub crossed: u64,
}

impl AttemptStats {
    fn add(&mut self, later: &AttemptStats) {
        self.attempts += later.attempts;
        self.retries += later.retries;
        self.hedges += later.hedges;
        self.hedges_won += later.hedges_won;
        self.waited += later.waited;
        self.wait_sum += later.wait_sum;
        self.ejections += later.ejections;
        self.probes += later.probes;
        self.crossed += later.crossed;
    }
}

impl Measured {
    /// Counts something in the classes that a request for this path, which leads to this pool, belongs to.
    #[inline(always)]
    pub(super) fn count(&mut self, pool: usize, path: usize, count: impl Fn(&mut ClassRecord)) {
        count(&mut self.all);
        if let Some(class) = self.pools.get_mut(pool) {
            count(class);
        }
        if let Some(class) = self.paths.get_mut(path) {
            count(class);
        }
    }

    /// Adds to the histograms what has been counted.
    pub(super) fn pour(&mut self) {
        let further = self.pools.iter_mut().chain(&mut self.paths);
        std::iter::once(&mut self.all).chain(further).for_each(ClassRecord::pour);
    }

    /// Adds the requests of a later span, whose histograms have all that was counted. Servers are left out: shares and means cannot be added.
    pub(super) fn add_requests(&mut self, later: &Measured) {
        let pairs = std::iter::once((&mut self.all, &later.all))
            .chain(self.pools.iter_mut().zip(&later.pools))
            .chain(self.paths.iter_mut().zip(&later.paths));
        pairs.for_each(|(class, more)| class.add(more));
        self.balancers.iter_mut().zip(&later.balancers).for_each(|(sum, more)| *sum += more);
        self.server_time.iter_mut().zip(&later.server_time).for_each(|(sum, more)| *sum += more);
        self.efforts.add(&later.efforts);
    }
}

/// The requests that arrived in one of [`ARRIVAL_BINS`] bins from the start of the run on. `measure::warmup` finds the end of
/// the warm-up from them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArrivalBin {
    /// Requests whose latency counts: see `ClassRecord::latency`.
    pub requests: u64,
    /// Sum of their latencies, nanoseconds.
    pub latency_sum: u64,
    /// Cache look-ups that hit.
    pub hits: u64,
    /// Cache look-ups.
    pub lookups: u64,
}

/// Number of [`ArrivalBin`]s over warm-up and measured span.
pub const ARRIVAL_BINS: usize = 1000;

/// A server over the measured span.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerRecord {
    /// Measured requests that were sent to it.
    pub picks: u64,
    /// Requests, measured or not, that it rejected or failed.
    pub errors: u64,
    /// Mean share of busy slots, 0 to 1; for processor sharing, share of the time with any request in service.
    pub utilisation: f64,
    /// Mean number of requests in it, in service or waiting.
    pub number: f64,
    /// Mean time in it of requests that left it, seconds.
    pub residence: f64,
    /// Cache look-ups that hit.
    pub hits: u64,
    /// Cache look-ups that missed.
    pub misses: u64,
}

/// A bin of the time series, by time of completion.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Requests answered without an error.
    pub ok: u64,
    /// Requests that ended otherwise.
    pub bad: u64,
    /// Sum of the latencies of `latency`, nanoseconds.
    pub latency_sum: u128,
    /// Latencies as (nanoseconds, count), ascending, with two significant digits.
    pub latency: Vec<(u64, u64)>,
    /// Integral of the number of requests in the system over the bin, request-nanoseconds.
    pub in_system_area: u128,
    /// The same by pool, where there are several entry pools or autoscaling; else empty.
    #[serde(default)]
    pub pools: Vec<PoolBin>,
}

/// A pool's part of a [`Bin`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PoolBin {
    /// Requests answered without an error.
    pub ok: u64,
    /// Requests that ended otherwise.
    pub bad: u64,
    /// Sum of the latencies of `latency`, nanoseconds.
    pub latency_sum: u128,
    /// Latencies as (nanoseconds, count), ascending, with two significant digits.
    pub latency: Vec<(u64, u64)>,
    /// Servers at the end of the bin, draining ones included.
    pub servers: u32,
}

/// Little's law, checked to the nanosecond on every run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Little {
    /// Requests that arrived, over the whole run.
    pub arrived: u64,
    /// Mean number of requests in the system.
    pub number: f64,
    /// Arrivals per second.
    pub rate: f64,
    /// Mean time in the system, unfinished requests at their age, seconds.
    pub time: f64,
}

/// Everything that one run (strategy and seed) measured. It can be written to a file and read back without loss, so that
/// finished runs survive an interruption and runs of several machines can be merged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunRecord {
    /// The measured span as a whole.
    pub measured: Measured,
    /// The measured span in equal parts, for batch means; empty unless the model asks for batches.
    pub batches: Vec<Measured>,
    /// The time series over warm-up and measured span.
    pub series: Vec<Bin>,
    /// [`ARRIVAL_BINS`] bins over warm-up and measured span, by time of arrival.
    pub settling: Vec<ArrivalBin>,
    /// Mean number of requests in the system in each tenth of the measured span. If it grows, the run is not stable.
    pub tenths: Vec<f64>,
    /// Little's law over the whole run.
    pub little: Little,
    /// Hash of the workload: equal for every strategy of an open-loop experiment with this seed.
    pub workload_hash: u64,
    /// Hash of all picks in order: a fingerprint of the strategy's behaviour.
    pub pick_hash: u64,
    /// Requests simulated, measured or not.
    pub requests: u64,
    /// Events that the engine handled.
    pub events: u64,
    /// The run over time, where it was watched by a [`super::timeline::Recorder`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Timeline>,
}

/// Width of each of `bins` bins over a span, in whole nanoseconds, at least one. The remainder of the division is in no bin.
pub fn bin_width(span: Nanos, bins: u32) -> Nanos {
    Nanos((span.0 / u64::from(bins.max(1))).max(1))
}

/// Collects the time series, bin by bin.
pub(super) struct SeriesRecorder {
    width: u64,
    end: u64,
    /// The integral of the number in the system at the start of the current bin.
    area: u128,
    bins: Vec<Bin>,
    wanted: usize,
    current: Bin,
    latency: Buckets<BIN_BITS>,
    /// By pool, where pools have a series each.
    pools: Vec<Buckets<BIN_BITS>>,
    /// Servers of each of these pools.
    servers: Vec<u32>,
}

impl SeriesRecorder {
    /// `servers`: initial number of servers of each pool; empty where pools have no series of their own.
    pub(super) fn new(span: Nanos, bins: u32, servers: Vec<u32>) -> SeriesRecorder {
        let width = bin_width(span, bins).0;
        SeriesRecorder {
            width,
            end: if bins == 0 { u64::MAX } else { width },
            area: 0,
            bins: Vec::with_capacity(bins as usize),
            wanted: bins as usize,
            current: Bin::default(),
            latency: Buckets::default(),
            pools: servers.iter().map(|_| Buckets::default()).collect(),
            servers,
        }
        .opened()
    }

    /// With an empty bin for each pool.
    fn opened(mut self) -> SeriesRecorder {
        self.current.pools = vec![PoolBin::default(); self.pools.len()];
        self
    }

    /// The bins that are over.
    pub(super) fn closed(&self) -> &[Bin] {
        &self.bins
    }

    /// A pool has so many servers from now on.
    pub(super) fn set_servers(&mut self, pool: usize, servers: u32) {
        if let Some(known) = self.servers.get_mut(pool) {
            *known = servers;
        }
    }

    /// Closes the bins that are over. `area` is the integral of the number in the system up to `now`, and `in_system` what it
    /// has been since the last call.
    #[inline]
    pub(super) fn advance(&mut self, now: Nanos, in_system: u64, area: u128) {
        while now.0 >= self.end {
            self.close(area - u128::from(in_system) * u128::from(now.0 - self.end));
        }
    }

    /// The current bin is over, with this integral at its end.
    fn close(&mut self, area: u128) {
        let next = Bin { pools: vec![PoolBin::default(); self.pools.len()], ..Bin::default() };
        let mut bin = std::mem::replace(&mut self.current, next);
        bin.in_system_area = area - std::mem::replace(&mut self.area, area);
        bin.latency = self.latency.take();
        for ((pool, latency), &servers) in bin.pools.iter_mut().zip(&mut self.pools).zip(&self.servers) {
            pool.latency = latency.take();
            pool.servers = servers;
        }
        self.bins.push(bin);
        self.end = if self.bins.len() == self.wanted { u64::MAX } else { self.end + self.width };
    }

    #[inline(always)]
    pub(super) fn end(&mut self, end: RequestOutcome, latency: Nanos, counts: bool, pool: usize) {
        if self.bins.len() == self.wanted {
            return;
        }
        match end {
            RequestOutcome::Ok => self.current.ok += 1,
            _ => self.current.bad += 1,
        }
        if counts {
            self.current.latency_sum += u128::from(latency.0);
            self.latency.record(recorded(latency.0));
        }
        if let Some(own) = self.current.pools.get_mut(pool) {
            match end {
                RequestOutcome::Ok => own.ok += 1,
                _ => own.bad += 1,
            }
            if counts {
                own.latency_sum += u128::from(latency.0);
                self.pools[pool].record(recorded(latency.0));
            }
        }
    }

    /// The bins; those that the run did not reach are empty.
    pub(super) fn finish(mut self, area: u128) -> Vec<Bin> {
        while self.bins.len() < self.wanted {
            self.close(area);
        }
        self.bins
    }
}
