//! The document of a report: everything that the page shows, as JSON. `null` stands for a value that does not exist (not
//! finite, or not measured). Times are seconds. Strategies are referred to by their index in `strategies` of the same part.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::report::table::Note;

/// Version of the document's format.
pub const SCHEMA_VERSION: u32 = 1;

/// The whole document.
#[derive(Clone, Debug, Serialize)]
pub struct Document {
    /// Version of this format.
    pub schema_version: u32,
    /// The command that made the results.
    pub kind: Kind,
    /// Name of the scenario; for other kinds a short name.
    pub name: String,
    /// Title, one line.
    pub title: String,
    /// Paragraphs, separated by a blank line.
    pub question: String,
    /// The sentences that the statistics support.
    pub answer: Vec<String>,
    /// The explanation of the scenario's author; paragraphs.
    pub explanation: Option<String>,
    /// Settings in words: name and value.
    pub facts: Vec<(String, String)>,
    /// What limits the meaning of the results.
    pub warnings: Vec<Note>,
    /// The results of a run.
    pub run: Option<Run>,
    /// The results of a sweep.
    pub sweep: Option<Sweep>,
    /// Tables and text of the other kinds.
    pub sections: Vec<Section>,
    /// How to repeat it.
    pub repeat: Repeat,
}

impl Document {
    /// A document with a title and nothing else, of this version of evenkeel.
    pub fn new(kind: Kind, name: &str, title: &str) -> Document {
        Document {
            schema_version: SCHEMA_VERSION,
            kind,
            name: name.to_owned(),
            title: title.to_owned(),
            question: String::new(),
            answer: Vec::new(),
            explanation: None,
            facts: Vec::new(),
            warnings: Vec::new(),
            run: None,
            sweep: None,
            sections: Vec::new(),
            repeat: Repeat { version: env!("CARGO_PKG_VERSION").to_owned(), ..Repeat::default() },
        }
    }
}

/// The command that made the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `evenkeel run`.
    Run,
    /// `evenkeel sweep`.
    Sweep,
    /// `evenkeel compare`.
    Compare,
    /// `evenkeel validate`.
    Validate,
    /// `evenkeel twin`.
    Twin,
    /// The list of all reports in a folder.
    Index,
}

/// A metric of the catalogue.
#[derive(Clone, Debug, Serialize)]
pub struct Metric {
    /// Name without a pool: `latency.p99`.
    pub name: String,
    /// Name on the axis of a chart.
    pub label: String,
    /// `s`, `1/s`, `share`, `index` or `number`.
    pub unit: &'static str,
    /// `lower`, `higher` or `neither`.
    pub direction: &'static str,
    /// Description, one sentence.
    pub doc: String,
}

/// A value with the lower and the upper end of its 95 % interval.
pub type Estimate = [Option<f64>; 3];

/// By strategy, by bin or quantile.
pub type Rows = Vec<Vec<Option<f64>>>;

/// The results of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// Metrics that the strategies have.
    pub metrics: Vec<Metric>,
    /// Entry pools, where there are several; else empty.
    pub pools: Vec<String>,
    /// Families of strategies, in the order of the catalogue.
    pub families: Vec<Family>,
    /// In the order of the table: the best first.
    pub strategies: Vec<Strategy>,
    /// Groups of strategies that picked the same servers in every run.
    pub same_picks: Vec<Vec<usize>>,
    /// Distribution of the latency, by scope.
    pub cdf: Vec<Cdf>,
    /// Time series, by scope.
    pub series: Vec<Series>,
    /// Load by server over the measured span.
    pub servers: Vec<Server>,
    /// Faults of the scenario.
    pub faults: Vec<Fault>,
    /// Warm-up before the measured span, seconds.
    pub warmup: f64,
    /// Measured span, seconds.
    pub duration: f64,
    /// By strategy; `None` where the results have none.
    pub timelines: Vec<Option<Timeline>>,
    /// Why it came out so; `None` where the results have no timelines.
    pub why: Option<serde_json::Value>,
    /// The same in at most three lines.
    pub why_short: Vec<String>,
}

/// A family of strategies.
#[derive(Clone, Debug, Serialize)]
pub struct Family {
    /// Its heading in lists and charts.
    pub name: String,
    /// What its choices are based on.
    pub doc: String,
}

/// A strategy in a run.
#[derive(Clone, Debug, Serialize)]
pub struct Strategy {
    /// Its label.
    pub label: String,
    /// Name in the catalogue.
    pub strategy: String,
    /// Its family's heading.
    pub family: String,
    /// Its position in the catalogue, from 0: charts take its marks from it. `None` for a custom strategy.
    pub place: Option<usize>,
    /// Whether it is a baseline with perfect information.
    pub oracle: bool,
    /// One sentence of the catalogue.
    pub doc: String,
    /// One per ranking.
    pub verdicts: Vec<Verdict>,
    /// `stable`, `backlogged`, `overloaded`, `too_short` or `no_requests`.
    pub state: String,
    /// The reason in words; empty if it is stable.
    pub state_reason: String,
    /// By metric name, those of a pool with the pool before it.
    pub values: BTreeMap<String, Estimate>,
    /// The exact values from theory, where a theorem applies.
    pub theory: Option<Theory>,
    /// Mean latency above the oracle's on the same requests, seconds.
    pub regret: Option<Estimate>,
}

/// The verdict of a ranking.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// The pool; `None` for all requests.
    pub pool: Option<String>,
    /// `best`, `tied`, `worse`, `unknown`, `fails_more`, `overloaded` or `none`.
    pub relation: &'static str,
    /// Ratio to the best, or excess share of failed requests.
    pub by: Option<f64>,
    /// The verdict in a few words.
    pub text: String,
}

/// The exact values from theory.
#[derive(Clone, Debug, Serialize)]
pub struct Theory {
    /// Name of the theorem.
    pub theorem: String,
    /// Mean latency, seconds.
    pub mean: Option<f64>,
    /// p99 of the latency, seconds.
    pub p99: Option<f64>,
    /// Theory against simulation, in words.
    pub text: String,
}

/// A distribution of the latency.
#[derive(Clone, Debug, Serialize)]
pub struct Cdf {
    /// The pool; `None` for all requests.
    pub pool: Option<String>,
    /// Shares of requests, 0 to 1.
    pub quantiles: Vec<f64>,
    /// Latency at each quantile, seconds.
    pub latency: Rows,
}

/// Time series of all replications together.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// The pool; `None` for all requests.
    pub pool: Option<String>,
    /// Middle of each bin, seconds.
    pub time: Vec<f64>,
    /// Successful responses per second.
    pub goodput: Rows,
    /// Failed requests per second.
    pub errors: Rows,
    /// Mean latency, seconds.
    pub mean: Rows,
    /// p99 of the latency, seconds.
    pub p99: Rows,
    /// Mean number of requests in the system.
    pub in_system: Option<Rows>,
    /// Number of servers, where it changes.
    pub servers: Option<Rows>,
}

/// A server, with a value of each strategy.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Server {
    /// Name of the pool, or `balancer`.
    pub pool: String,
    /// Name of the server.
    pub server: String,
    /// Its weight.
    pub weight: Option<f64>,
    /// Its speed relative to a server of speed 1.
    pub capacity: Option<f64>,
    /// Share of the pool's requests.
    pub share: Vec<Option<f64>>,
    /// Share of requests over share of capacity.
    pub load: Vec<Option<f64>>,
    /// Busy share of the measured span.
    pub utilisation: Vec<Option<f64>>,
    /// Mean number of requests in it.
    pub in_server: Vec<Option<f64>>,
    /// Requests that it rejected or failed.
    pub errors: Vec<Option<f64>>,
    /// Hits over look-ups of its cache.
    pub hit_ratio: Vec<Option<f64>>,
}

/// A fault of the scenario.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
pub struct Fault {
    /// Start, seconds since the start of the run.
    pub start: f64,
    /// End; `None` for a fault that never ends.
    pub end: Option<f64>,
    /// The server, pool or balancer that has it.
    pub target: String,
    /// Its effect in words.
    pub text: String,
}

/// The first replication of a strategy over time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, serde::Deserialize)]
pub struct Timeline {
    /// Seconds per bin.
    pub bin: f64,
    /// By server.
    pub servers: Vec<TimelineServer>,
    /// By name of the outcome: requests that ended so, by bin.
    pub outcomes: BTreeMap<String, Vec<u64>>,
    /// Retries, by bin.
    pub retries: Option<Vec<u64>>,
    /// Hedged requests, by bin.
    pub hedges: Option<Vec<u64>>,
    /// Requests queued in balancers, by bin.
    pub balancer_queue: Option<Vec<u64>>,
}

/// A server over time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, serde::Deserialize)]
pub struct TimelineServer {
    /// Name of its pool.
    pub pool: String,
    /// Its name.
    pub server: String,
    /// Requests sent to it, by bin.
    pub picks: Vec<u64>,
    /// Highest number of requests in it, by bin.
    pub in_server: Vec<u64>,
    /// Failed or refused requests, by bin.
    pub errors: Vec<u64>,
}

/// The results of a sweep.
#[derive(Clone, Debug, Serialize)]
pub struct Sweep {
    /// Metrics that the strategies have.
    pub metrics: Vec<Metric>,
    /// The keys that vary.
    pub axes: Vec<Axis>,
    /// The values at each point.
    pub points: Vec<Point>,
    /// In the order of the scenario.
    pub strategies: Vec<SweepStrategy>,
    /// Where two strategies change places.
    pub crossings: Vec<Crossing>,
}

/// An axis of a sweep.
#[derive(Clone, Debug, Serialize)]
pub struct Axis {
    /// The keys that vary together.
    pub key: String,
    /// Unit of the values.
    pub unit: String,
    /// Whether a logarithmic scale makes sense.
    pub log: bool,
}

/// A point of a sweep.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// The values as text.
    pub label: String,
    /// By axis; `None` where it is no number.
    pub values: Vec<Option<f64>>,
}

/// A strategy in a sweep.
#[derive(Clone, Debug, Serialize)]
pub struct SweepStrategy {
    /// Its label.
    pub label: String,
    /// Its family's heading.
    pub family: String,
    /// Its position in the catalogue, from 0: charts take its marks from it. `None` for a custom strategy.
    pub place: Option<usize>,
    /// Whether it is a baseline with perfect information.
    pub oracle: bool,
    /// By metric name, by point.
    pub values: BTreeMap<String, Vec<Estimate>>,
}

/// Two strategies that change places between two points.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Crossing {
    /// In words.
    pub text: String,
    /// The metric.
    pub metric: String,
    /// The strategy that is better before.
    pub a: usize,
    /// The strategy that is better after.
    pub b: usize,
    /// The values of the first axis between which they cross.
    pub between: (f64, f64),
}

/// A part of a report with text and a table.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Section {
    /// Its heading.
    pub heading: String,
    /// Its text.
    pub paragraphs: Vec<String>,
    /// Its table.
    pub table: Option<Table>,
}

/// A table.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Table {
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows.
    pub rows: Vec<TableRow>,
}

/// A column of a table.
#[derive(Clone, Debug, Serialize)]
pub struct Column {
    /// Its heading.
    pub name: String,
    /// As [`Metric::unit`], or `text`.
    pub unit: &'static str,
    /// Its description.
    pub doc: Option<String>,
}

/// A row of a table.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TableRow {
    /// A cell per column.
    pub cells: Vec<Cell>,
    /// `good`, `bad` or `neutral`.
    pub mark: Option<&'static str>,
    /// Relative link to another report.
    pub href: Option<String>,
}

/// A cell of a table.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Cell {
    /// Text.
    Text(String),
    /// A number in the unit of its column; `None` without a value.
    Number(Option<f64>),
}

/// How to repeat the results.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Repeat {
    /// The command line.
    pub command: String,
    /// Version of evenkeel.
    pub version: String,
    /// The commit it was built from, where known.
    pub commit: Option<String>,
    /// Seed of all randomness. Text: it may exceed what a number of JavaScript holds exactly.
    pub seed: Option<String>,
    /// The machine.
    pub machine: Option<String>,
    /// Hash of the scenario's text and of the files it reads.
    pub scenario_sha256: Option<String>,
    /// The scenario's text.
    pub scenario_source: Option<String>,
    /// The other files of the results.
    pub files: Vec<File>,
    /// Hashes of the workloads, by replication.
    pub workloads: Vec<String>,
}

/// A file of the results.
#[derive(Clone, Debug, Serialize)]
pub struct File {
    /// Its name.
    pub name: String,
    /// Its content, one sentence.
    pub doc: String,
    /// Its hash.
    pub sha256: Option<String>,
}

/// A number that exists.
pub fn some(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}
