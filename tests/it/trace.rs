//! A trace against the results of the same run. A second program, naive on purpose, computes every measure again from
//! the lines of the CSV and must agree; it shares nothing with the crate, neither its reader nor its formulas. And the
//! same file as a Chrome trace, which shows each request in detail.
//!
//! What a trace does not hold is taken from the scenario, written out by hand in each [`Case`]:
//!
//! * the span that is measured (with caches, from when on they count as warm);
//! * servers and their capacity: a server without requests is in no line, but counts in fairness and utilisation;
//! * the pool that a path leads to: a request that found no server, or no balancer, was sent to no pool.
//!
//! With these there is no measure that could not be computed again: [`EXCEPTIONS`] is empty. Of `servers.csv` two
//! things are left out: `errors`, since a server's error that came after its client had given up is a time-out in the
//! trace, and the balancers' rows, since a trace does not show whether a request without a server had reached its
//! balancer.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::support::{Folder, Row, evenkeel, rows, rows_at, text};

/// Every measure that was computed again in some case, without the names of pools and paths before it. A new measure of
/// the crate fails the test until it is in here, and so does one that is gone.
const COMPARED: [&str; 25] = [
    "cache.hit_ratio",
    "errors.error",
    "errors.no_healthy_server",
    "errors.ratio",
    "errors.rejected",
    "errors.reset",
    "errors.timed_out",
    "errors.unreachable",
    "fairness.jain",
    "fairness.max_over_mean",
    "goodput",
    "latency.mean",
    "latency.p50",
    "latency.p90",
    "latency.p99",
    "latency.p999",
    "in_server.mean",
    "throughput",
    "unfinished.ratio",
    "utilisation.max",
    "utilisation.mean",
    // By pool and path; these stand for the rest, which have the same stems.
    "pay.latency.p99",
    "path.pay.latency.p99",
    "path.root.goodput",
    "db.utilisation.mean",
];

/// Measures that cannot be computed from a trace, each with its reason.
const EXCEPTIONS: [(&str, &str); 0] = [];

/// How requests can end. Each must happen in some case: agreement on nothing proves nothing.
const OUTCOMES: [&str; 8] =
    ["ok", "error", "rejected", "no_healthy_server", "reset", "timed_out", "unreachable", "unfinished"];

const MS: u64 = 1_000_000;

/// A scenario, and what of it the second program must know.
struct Case {
    name: &'static str,
    source: &'static str,
    arguments: &'static [&'static str],
    warmup: u64,
    cache_warmup: u64,
    duration: u64,
    /// Equal parts of the measured span that have a row each; 1 for none.
    batches: u64,
    /// Pool, server, speed, slots; no slots where all share one processor.
    servers: &'static [(&'static str, &'static str, f64, u64)],
    /// Path, the name that its measures have, its pool, the mean of its work in milliseconds.
    paths: &'static [(&'static str, &'static str, &'static str, u64)],
}

const CASES: [Case; 4] = [
    Case {
        name: "mixed",
        source: r#"
title = "Mixed"
question = "Unlike servers, several balancers, caches, short patience"
duration = "4s"
warmup = "500ms"
cache_warmup = "1s"
drain = "20ms"
replications = 2
strategies = ["random", "p2c"]
arrivals = { poisson = { rate = "650/s" } }
service = { exponential = { mean = "10ms" } }
keys = { count = 300, exponent = 0.9 }
clients = { count = 200, timeout = "60ms" }
network = { client = "1ms", server = { exponential = { mean = "500us" } } }
balancers = { count = 3, shards = 2 }
[[pools]]
name = "web"
[[pools.servers]]
name = "strong"
speed = 2.0
concurrency = 2
weight = 4
queue_limit = 6
cache = { capacity = 60, ttl = "1s" }
[[pools.servers]]
name = "weak"
count = 3
queue_limit = 4
[[pools.servers]]
name = "shared"
discipline = "ps"
speed = 1.5
concurrency = 8
queue_limit = 5
cache = { capacity = 30 }
[[pools.servers]]
name = "spare"
weight = 0
"#,
        arguments: &[],
        warmup: 500 * MS,
        cache_warmup: 1000 * MS,
        duration: 4000 * MS,
        batches: 1,
        servers: &[
            ("web", "strong", 2.0, 2),
            ("web", "weak-1", 1.0, 1),
            ("web", "weak-2", 1.0, 1),
            ("web", "weak-3", 1.0, 1),
            ("web", "shared", 1.5, 0),
            ("web", "spare", 1.0, 1),
        ],
        paths: &[("/", "root", "web", 10)],
    },
    Case {
        name: "troubles",
        source: r#"
title = "Troubles"
question = "Two pools by path; servers and a balancer die, fail, slow down and are deployed"
kind = "terminating"
duration = "5s"
drain = "30ms"
replications = 3
strategies = ["round_robin", "least_request"]
arrivals = { poisson = { rate = "500/s" } }
service = { exponential = { mean = "8ms" } }
clients = { count = 300, timeout = "150ms", servers_see_cancel = true, connect_timeout = "40ms" }
network = { client = "2ms", server = "300us" }
dns = { ttl = "500ms", resolvers = 10 }
balancers = { count = 2 }
[[paths]]
path = "/pay"
share = 2
[[paths]]
path = "/Run/code"
share = 2
service = { constant = { value = "6ms" } }
[[paths]]
path = "/"
[[routes]]
prefix = "/pay"
pool = "pay"
[[routes]]
prefix = "/"
pool = "run"
[[pools]]
name = "pay"
health = { interval = "100ms", timeout = "50ms", rise = 2, fall = 3 }
[[pools.servers]]
name = "pay"
count = 2
concurrency = 2
[[pools]]
name = "run"
[[pools.servers]]
name = "a"
concurrency = 2
queue_limit = 3
[[pools.servers]]
name = "b"
speed = 2.0
cache = { capacity = 10 }
[[pools.servers]]
name = "c"
discipline = "ps"
speed = 1.5
[[faults]]
target = "pay/*"
at = "1s"
for = "1s"
kind = { crash = {} }
[[faults]]
target = "run/b"
at = "1500ms"
for = "500ms"
kind = { crash = { silent = true } }
[[faults]]
target = "balancer/1"
at = "2s"
for = "600ms"
kind = { crash = {} }
[[faults]]
target = "run/c"
at = "3s"
for = "500ms"
kind = { errors = { share = "30%" } }
[[faults]]
target = "run/a"
at = "3500ms"
for = "1s"
kind = { slow = { factor = 3 } }
[[faults]]
target = "run/c"
at = "4s"
for = "500ms"
kind = { drain = {} }
"#,
        arguments: &[],
        warmup: 0,
        cache_warmup: 0,
        duration: 5000 * MS,
        batches: 1,
        servers: &[
            ("pay", "pay-1", 1.0, 2),
            ("pay", "pay-2", 1.0, 2),
            ("run", "a", 1.0, 2),
            ("run", "b", 2.0, 1),
            ("run", "c", 1.5, 0),
        ],
        paths: &[("/pay", "pay", "pay", 8), ("/Run/code", "run-code", "run", 6), ("/", "root", "run", 8)],
    },
    Case {
        name: "tiers",
        source: r#"
title = "Tiers"
question = "People who wait, servers that call a second tier on a miss, and deaths in both"
duration = "4s"
warmup = "400ms"
replications = 2
strategies = ["random", "peak_ewma"]
arrivals = { closed = { think = { exponential = { mean = "50ms" } } } }
service = { exponential = { mean = "4ms" } }
keys = { count = 400, exponent = 0.8 }
clients = { count = 40, timeout = "200ms" }
network = { client = "1ms", server = "200us" }
[[pools]]
name = "web"
backend = { pool = "db", service = { exponential = { mean = "5ms" } }, on_miss = true }
[[pools.servers]]
name = "web"
count = 3
concurrency = 4
cache = { capacity = 80, hit_cost = "20%" }
[[pools]]
name = "db"
shards = 2
health = { interval = "50ms", timeout = "20ms", rise = 2, fall = 2 }
[[pools.servers]]
name = "replica"
count = 2
concurrency = 2
cache = { capacity = 200 }
[[faults]]
target = "web/web-2"
at = "1s"
for = "500ms"
kind = { crash = {} }
[[faults]]
target = "db/*"
at = "2s"
for = "400ms"
kind = { crash = {} }
"#,
        arguments: &[],
        warmup: 400 * MS,
        cache_warmup: 400 * MS,
        duration: 4000 * MS,
        batches: 1,
        servers: &[
            ("web", "web-1", 1.0, 4),
            ("web", "web-2", 1.0, 4),
            ("web", "web-3", 1.0, 4),
            ("db", "replica-1", 1.0, 2),
            ("db", "replica-2", 1.0, 2),
        ],
        paths: &[("/", "root", "web", 4)],
    },
    Case {
        name: "batches",
        source: r#"
title = "Batches"
question = "One long run in pieces"
duration = "1s"
warmup = "200ms"
cache_warmup = "500ms"
replications = 4
strategies = ["consistent_hash"]
arrivals = { poisson = { rate = "1000/s" } }
service = { exponential = { mean = "3ms" } }
keys = { count = 200, exponent = 0.5 }
[[pools]]
name = "web"
[[pools.servers]]
name = "web"
count = 4
cache = { capacity = 40 }
"#,
        arguments: &["--batches", "10"],
        warmup: 200 * MS,
        cache_warmup: 500 * MS,
        duration: 4000 * MS,
        batches: 10,
        servers: &[
            ("web", "web-1", 1.0, 1),
            ("web", "web-2", 1.0, 1),
            ("web", "web-3", 1.0, 1),
            ("web", "web-4", 1.0, 1),
        ],
        paths: &[("/", "root", "web", 3)],
    },
];

/// A line of a trace, as far as it is needed.
struct Line {
    request: u64,
    call: bool,
    measured: bool,
    path: String,
    pool: String,
    server: String,
    outcome: String,
    arrived: u64,
    picked: Option<u64>,
    entered: Option<u64>,
    started: Option<u64>,
    left: Option<u64>,
    returned: Option<u64>,
    ended: Option<u64>,
    hit: Option<bool>,
}

impl Line {
    fn of(row: &Row) -> Line {
        let time = |name: &str| (!row[name].is_empty()).then(|| row[name].parse().unwrap());
        let flag = |name: &str| (!row[name].is_empty()).then(|| row[name].parse().unwrap());
        assert!(row["attempt"].parse::<u32>().unwrap() >= 1);
        Line {
            request: row["request"].parse().unwrap(),
            call: row["tier"] == "1",
            measured: flag("measured").unwrap(),
            path: row["path"].clone(),
            pool: row["pool"].clone(),
            server: row["server"].clone(),
            outcome: row["outcome"].clone(),
            arrived: time("arrived_ns").unwrap(),
            picked: time("picked_ns"),
            entered: time("entered_ns"),
            started: time("started_ns"),
            left: time("left_ns"),
            returned: time("returned_ns"),
            ended: time("ended_ns"),
            hit: flag("hit"),
        }
    }

    /// The last that is known of it.
    fn last(&self) -> u64 {
        let times = [self.picked, self.entered, self.started, self.left, self.returned, self.ended];
        times.into_iter().flatten().max().unwrap_or(self.arrived)
    }

    fn is_at(&self, pool: &str, server: &str) -> bool {
        self.pool == pool && self.server == server
    }
}

fn unpacked(path: &Path) -> Vec<u8> {
    let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    bytes
}

fn lines(trace: &Path) -> Vec<Line> {
    rows(unpacked(trace).as_slice()).iter().map(Line::of).collect()
}

/// Runs a case; the folder of its results.
fn run(folder: &Folder, case: &Case) -> PathBuf {
    let file = folder.file(&format!("{}.toml", case.name), case.source);
    let out = folder.path().join("out");
    let output =
        evenkeel().arg("run").arg(&file).args(["--trace", "--out"]).arg(&out).args(case.arguments).output().unwrap();
    assert!(output.status.success(), "{}: {}", case.name, text(&output.stderr));
    out.join(case.name)
}

// ---- The second program ----

fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

fn average(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The measures of a group of requests, those that arrived in a span of so many seconds.
fn of_requests(prefix: &str, requests: &[&Line], case: &Case, seconds: f64, into: &mut BTreeMap<String, f64>) {
    let mut put = |name: &str, value: f64| into.insert(format!("{prefix}{name}"), value);
    let ended = |outcome: &str| requests.iter().filter(|line| line.outcome == outcome).count();
    // Requests that were refused, or failed in less time than such work takes, have no latency.
    let in_time = |line: &Line| ["ok", "timed_out", "unreachable", "unfinished"].contains(&line.outcome.as_str());
    let late = |line: &Line| {
        let work = case.paths.iter().find(|path| path.0 == line.path).unwrap().3 * MS;
        line.entered.is_some() && line.ended.unwrap() - line.arrived > work
    };
    let slow_or_good = requests.iter().filter(|line| in_time(line) || late(line));
    let mut latencies: Vec<u64> = slow_or_good.map(|line| line.ended.unwrap() - line.arrived).collect();
    latencies.sort_unstable();
    let n = latencies.len();
    put("latency.mean", latencies.iter().map(|&ns| u128::from(ns)).sum::<u128>() as f64 / n as f64 / 1e9);
    for (name, thousandths) in [("p50", 500), ("p90", 900), ("p99", 990), ("p999", 999)] {
        let rank = (n * thousandths).div_ceil(1000).max(1);
        let value = latencies.get(rank - 1).map_or(f64::NAN, |&ns| ns as f64 / 1e9);
        put(&format!("latency.{name}"), value);
    }
    let (all, ok, unfinished) = (requests.len(), ended("ok"), ended("unfinished"));
    put("throughput", (all - unfinished) as f64 / seconds);
    put("goodput", ok as f64 / seconds);
    put("errors.ratio", share(all - ok - unfinished, all));
    for outcome in OUTCOMES.iter().filter(|outcome| !["ok", "unfinished"].contains(outcome)) {
        put(&format!("errors.{outcome}"), share(ended(outcome), all));
    }
    put("unfinished.ratio", share(unfinished, all));
}

/// How long two stretches of time have in common.
fn common(a: (u64, u64), b: (u64, u64)) -> u64 {
    a.1.min(b.1).saturating_sub(a.0.max(b.0))
}

/// What one server did in a span of time.
struct Did {
    pool: &'static str,
    name: &'static str,
    capacity: f64,
    requests: usize,
    utilisation: f64,
    number: f64,
    /// Mean time in it of those that left it, seconds.
    residence: f64,
    /// NaN where nothing was looked up.
    hits: f64,
}

fn of_server(case: &Case, server: usize, lines: &[Line], span: (u64, u64)) -> Did {
    let (pool, name, speed, slots) = case.servers[server];
    let within = |at: u64| span.0 <= at && at < span.1;
    let here: Vec<&Line> = lines.iter().filter(|line| line.is_at(pool, name)).collect();
    // A request that has not ended when the trace ends lasts to the end of any span.
    let until = |line: &Line| line.left.unwrap_or(u64::MAX);
    let length = (span.1 - span.0) as f64;
    let inside = here.iter().filter_map(|line| Some(common((line.entered?, until(line)), span))).sum::<u64>();
    let mut served: Vec<(u64, u64)> = here.iter().filter_map(|line| Some((line.started?, until(line)))).collect();
    served.sort_unstable();
    let busy = if slots > 0 {
        served.iter().map(|&stretch| common(stretch, span)).sum::<u64>() as f64 / slots as f64
    } else {
        // One processor that is busy while it has any request: count no moment twice.
        let (mut busy, mut counted_to) = (0, 0);
        for (from, to) in served {
            busy += common((from.max(counted_to), to.max(counted_to)), span);
            counted_to = counted_to.max(to);
        }
        busy as f64
    };
    let stay = |line: &&Line| Some((line.left.filter(|&at| within(at))? - line.entered?) as f64 / 1e9);
    let stays: Vec<f64> = here.iter().filter_map(stay).collect();
    let looked_up = |line: &&Line| line.hit.is_some() && line.started.unwrap() >= case.cache_warmup.max(span.0);
    let looked_up = here.iter().copied().filter(looked_up).filter(|line| within(line.started.unwrap()));
    Did {
        pool,
        name,
        residence: if stays.is_empty() { 0.0 } else { average(&stays) },
        hits: hits(&looked_up.collect::<Vec<_>>()),
        capacity: if slots > 0 { speed * slots as f64 } else { speed },
        requests: here.iter().filter(|line| line.measured && line.picked.is_some_and(within)).count(),
        utilisation: busy / length,
        number: inside as f64 / length,
    }
}

fn of_servers(case: &Case, lines: &[Line], span: (u64, u64)) -> Vec<Did> {
    (0..case.servers.len()).map(|server| of_server(case, server, lines, span)).collect()
}

/// Each server's share of its pool's requests over its share of the pool's capacity.
fn loads(servers: &[&Did]) -> Vec<f64> {
    let of_pool = |pool: &str| servers.iter().filter(move |did| did.pool == pool).collect::<Vec<_>>();
    let load = |did: &&Did| {
        let pool = of_pool(did.pool);
        let requests: usize = pool.iter().map(|did| did.requests).sum();
        let capacity: f64 = pool.iter().map(|did| did.capacity).sum();
        share(did.requests, requests) / (did.capacity / capacity)
    };
    servers.iter().map(load).collect()
}

fn jain(loads: &[f64]) -> f64 {
    let (sum, squares) = (loads.iter().sum::<f64>(), loads.iter().map(|x| x * x).sum::<f64>());
    sum * sum / (loads.len() as f64 * squares)
}

fn busy_share(servers: &[&Did]) -> f64 {
    let capacity = |did: &&Did| did.capacity;
    servers.iter().map(|did| did.utilisation * did.capacity).sum::<f64>() / servers.iter().map(capacity).sum::<f64>()
}

fn hits(looked_up: &[&Line]) -> f64 {
    share(looked_up.iter().filter(|line| line.hit == Some(true)).count(), looked_up.len())
}

/// Every measure of a span of time.
fn recompute(case: &Case, lines: &[Line], span: (u64, u64)) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    let seconds = (span.1 - span.0) as f64 / 1e9;
    let within = |at: u64| span.0 <= at && at < span.1;
    let requests: Vec<&Line> = lines.iter().filter(|line| !line.call && within(line.arrived)).collect();
    assert!(requests.iter().all(|line| line.measured), "{}: what arrives in the span is measured", case.name);
    let pool_of = |line: &Line| case.paths.iter().find(|path| path.0 == line.path).unwrap().2;
    let pools: BTreeSet<&str> = case.servers.iter().map(|server| server.0).collect();
    let entries: BTreeSet<&str> = case.paths.iter().map(|path| path.2).collect();
    of_requests("", &requests, case, seconds, &mut found);
    if case.paths.len() > 1 {
        for (path, name, ..) in case.paths {
            let of_path: Vec<&Line> = requests.iter().copied().filter(|line| line.path == *path).collect();
            of_requests(&format!("path.{name}."), &of_path, case, seconds, &mut found);
        }
    }
    if entries.len() > 1 {
        for pool in &entries {
            let of_pool: Vec<&Line> = requests.iter().copied().filter(|line| pool_of(line) == *pool).collect();
            of_requests(&format!("{pool}."), &of_pool, case, seconds, &mut found);
        }
    }
    let servers = of_servers(case, lines, span);
    let all: Vec<&Did> = servers.iter().collect();
    let first_tier: Vec<&Did> = servers.iter().filter(|did| entries.contains(did.pool)).collect();
    let mut put = |name: String, value: f64| found.insert(name, value);
    put("fairness.jain".into(), jain(&loads(&first_tier)));
    let largest = loads(&first_tier).into_iter().fold(0.0, f64::max);
    put("fairness.max_over_mean".into(), largest / average(&loads(&first_tier)));
    put("utilisation.mean".into(), busy_share(&all));
    put("utilisation.max".into(), all.iter().map(|did| did.utilisation).fold(0.0, f64::max));
    put("in_server.mean".into(), average(&all.iter().map(|did| did.number).collect::<Vec<_>>()));
    // Of requests that arrived when caches were warm; of calls none.
    let warm = requests.iter().copied().filter(|line| line.hit.is_some() && line.arrived >= case.cache_warmup);
    if lines.iter().any(|line| line.hit.is_some()) {
        put("cache.hit_ratio".into(), hits(&warm.collect::<Vec<_>>()));
    }
    if pools.len() > 1 {
        for pool in pools {
            let of_pool: Vec<&Did> = servers.iter().filter(|did| did.pool == pool).collect();
            put(format!("{pool}.fairness.jain"), jain(&loads(&of_pool)));
            put(format!("{pool}.utilisation.mean"), busy_share(&of_pool));
            put(format!("{pool}.in_server.mean"), average(&of_pool.iter().map(|did| did.number).collect::<Vec<_>>()));
            // All cache look-ups of its servers in the span.
            let here = lines.iter().filter(|line| line.pool == pool && line.hit.is_some());
            if here.clone().next().is_some() {
                let then = |line: &&Line| line.started.is_some_and(|at| within(at) && at >= case.cache_warmup);
                put(format!("{pool}.cache.hit_ratio"), hits(&here.filter(then).collect::<Vec<_>>()));
            }
        }
    }
    found
}

/// Half of Student's interval at 95 %, from the printed table.
fn half_width(values: &[f64]) -> f64 {
    let t = match values.len() {
        2 => 12.706_205,
        3 => 4.302_653,
        10 => 2.262_157,
        n => panic!("look up t for {n} values"),
    };
    let mean = average(values);
    let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
    t * (squares / (values.len() as f64 - 1.0) / values.len() as f64).sqrt()
}

/// A number of a CSV; none where it is empty.
fn number(row: &Row, column: &str) -> Option<f64> {
    (!row[column].is_empty()).then(|| row[column].parse().unwrap())
}

/// Percentiles come from a histogram with three digits, all else is exact to the digits of the file.
fn tolerance(metric: &str) -> f64 {
    if metric.contains("latency.p") { 1e-3 } else { 1e-9 }
}

fn agree(theirs: Option<f64>, ours: f64, tolerance: f64) -> bool {
    match theirs {
        Some(theirs) => (theirs - ours).abs() <= tolerance * ours.abs(),
        None => ours.is_nan(),
    }
}

#[test]
fn a_naive_second_program_computes_the_same_from_the_trace() {
    let folder = Folder::new();
    let (mut compared, mut outcomes, mut calls) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let (mut wrong, mut telling) = (Vec::new(), BTreeSet::new());
    for case in &CASES {
        let results = run(&folder, case);
        let rows = rows_at(&results.join("replications.csv"));
        assert!(!rows.is_empty(), "{}: no results", case.name);
        // By strategy, then by measure: the values of the runs, in order.
        let mut values: BTreeMap<String, BTreeMap<String, Vec<f64>>> = BTreeMap::new();
        let mut traced = BTreeSet::new();
        for row in &rows {
            let (strategy, number_of_row) = (&row["strategy"], row["replication"].parse::<u64>().unwrap());
            let (replication, batch) = if case.batches > 1 { (0, number_of_row) } else { (number_of_row, 0) };
            let trace = results.join(format!("trace/base.{strategy}.{replication}.csv.gz"));
            let lines = lines(&trace);
            traced.insert(trace);
            let part = |i: u64| case.warmup + case.duration * i / case.batches;
            let ours = recompute(case, &lines, (part(batch), part(batch + 1)));
            let what = format!("{}, {strategy}, row {number_of_row}", case.name);
            let keys = ["scenario", "point", "strategy", "replication", "seed", "workload"];
            let metrics: Vec<&String> = row.keys().filter(|name| !keys.contains(&name.as_str())).collect();
            for metric in &metrics {
                if EXCEPTIONS.iter().any(|(name, _)| name == metric) {
                    continue;
                }
                let Some(&value) = ours.get(*metric) else { panic!("{what}: {metric} is not recomputed") };
                let theirs = number(row, metric);
                if !agree(theirs, value, tolerance(metric)) {
                    wrong.push(format!("{what}: {metric} is {theirs:?}, by the trace {value}"));
                }
                if value.is_finite() && value != 0.0 {
                    telling.insert(metric.to_string());
                }
                if let Some(theirs) = theirs {
                    values.entry(strategy.clone()).or_default().entry(metric.to_string()).or_default().push(theirs);
                }
                compared.insert(metric.to_string());
            }
            for name in ours.keys() {
                assert!(metrics.contains(&name), "{what}: the results have no {name}");
            }
            let seen = lines.iter().filter(|line| !line.call && line.measured).map(|line| line.outcome.clone());
            outcomes.extend(seen);
            calls.extend(lines.iter().filter(|line| line.call).map(|line| line.outcome.clone()));
        }
        let files = std::fs::read_dir(results.join("trace")).unwrap().count();
        assert_eq!(files, traced.len(), "{}: a trace for each run and nothing else", case.name);
        check_summary(case, &results, &values);
        wrong.extend(check_servers(case, &results));
    }
    assert!(wrong.is_empty(), "{} disagreements:\n{}", wrong.len(), wrong.join("\n"));
    println!("computed again: {}", compared.iter().map(String::as_str).collect::<Vec<_>>().join(", "));
    let of_class = |name: &str| COMPARED.iter().find(|stem| name.ends_with(&format!(".{stem}"))).copied();
    for name in &compared {
        let known = COMPARED.contains(&name.as_str()) || of_class(name).is_some();
        assert!(known, "{name} is not in the list of measures that are compared");
    }
    for stem in COMPARED {
        assert!(telling.contains(stem), "no case has {stem}, or only nothing");
    }
    assert_eq!(outcomes, OUTCOMES.map(str::to_owned).into(), "not every end has happened");
    for outcome in &calls {
        assert!(OUTCOMES.contains(&outcome.as_str()), "a call ended `{outcome}`");
    }
    assert!(calls.contains("no_healthy_server") && calls.contains("reset"), "{calls:?}");
}

/// `metrics.csv`: mean and interval of the runs' values.
fn check_summary(case: &Case, results: &Path, values: &BTreeMap<String, BTreeMap<String, Vec<f64>>>) {
    let overloaded: BTreeSet<String> = rows_at(&results.join("verdicts.csv"))
        .into_iter()
        .filter(|row| row["verdict"] == "overloaded")
        .map(|row| row["strategy"].clone())
        .collect();
    let mut rows = 0;
    for row in rows_at(&results.join("metrics.csv")) {
        let (strategy, metric) = (&row["strategy"], &row["metric"]);
        let what = format!("{}, {strategy}, {metric}", case.name);
        rows += 1;
        let none = Vec::new();
        let values = values[strategy].get(metric).unwrap_or(&none);
        assert_eq!(row["replications"].parse::<usize>().unwrap(), values.len(), "{what}");
        let mean = average(values);
        assert!(agree(number(&row, "value"), mean, 2e-9), "{what}: {:?}, not {mean}", row["value"]);
        let meaningless =
            overloaded.contains(strategy) && (metric.contains("latency.") || metric.contains("in_server."));
        let (low, high) = (number(&row, "low"), number(&row, "high"));
        if meaningless || values.len() < 2 {
            assert_eq!((low, high), (None, None), "{what}: nothing is known that an interval could hold");
            continue;
        }
        let half = half_width(values);
        let near = |theirs: Option<f64>, ours: f64| {
            theirs.is_some_and(|theirs| (theirs - ours).abs() <= 1e-6 * half + 1e-7 * mean.abs())
        };
        assert!(near(low, mean - half) && near(high, mean + half), "{what}: {low:?} to {high:?}, not {mean} ± {half}");
    }
    let expected: usize = values.values().map(|metrics| metrics.len()).sum();
    assert!(rows >= expected && expected > 0, "{}: {rows} rows for {expected} measures", case.name);
}

/// `servers.csv`: means over the runs; what disagrees.
fn check_servers(case: &Case, results: &Path) -> Vec<String> {
    const COLUMNS: [&str; 8] = [
        "capacity",
        "requests",
        "share",
        "load_over_capacity",
        "utilisation",
        "in_server",
        "time_in_server_s",
        "cache_hit_ratio",
    ];
    // By strategy: of each run, of each server, the columns.
    let mut runs: BTreeMap<String, Vec<Vec<[f64; 8]>>> = BTreeMap::new();
    for entry in std::fs::read_dir(results.join("trace")).unwrap() {
        let path = entry.unwrap().path();
        let strategy = path.file_name().unwrap().to_string_lossy().split('.').nth(1).unwrap().to_owned();
        let did = of_servers(case, &lines(&path), (case.warmup, case.warmup + case.duration));
        let columns = |one: &Did| {
            let pool: Vec<&Did> = did.iter().filter(|other| other.pool == one.pool).collect();
            let place = pool.iter().position(|other| other.name == one.name).unwrap();
            let share = share(one.requests, pool.iter().map(|other| other.requests).sum());
            let requests = one.requests as f64;
            let load = loads(&pool)[place];
            [one.capacity, requests, share, load, one.utilisation, one.number, one.residence, one.hits]
        };
        runs.entry(strategy).or_default().push(did.iter().map(columns).collect());
    }
    let rows = rows_at(&results.join("servers.csv")).into_iter().filter(|row| row["pool"] != "balancer");
    let rows: Vec<Row> = rows.collect();
    assert_eq!(rows.len(), runs.len() * case.servers.len(), "{}: a row for each server", case.name);
    let mut wrong = Vec::new();
    for row in &rows {
        let server = case.servers.iter().position(|&(pool, name, ..)| row["pool"] == pool && row["server"] == name);
        for (i, column) in COLUMNS.into_iter().enumerate() {
            let values = runs[&row["strategy"]].iter().map(|run| run[server.unwrap()][i]);
            let ours = average(&values.filter(|value| value.is_finite()).collect::<Vec<_>>());
            let theirs = number(row, column);
            if !agree(theirs, ours, 1e-9) {
                let what = format!("{}, {}, {}", case.name, row["strategy"], row["server"]);
                wrong.push(format!("{what}: {column} is {theirs:?}, by the trace {ours}"));
            }
        }
    }
    wrong
}

// ---- Perfetto ----

fn chrome(trace: &Path, arguments: &[&str]) -> Vec<serde_json::Value> {
    let output = evenkeel().arg("trace").arg(trace).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["displayTimeUnit"], "ms");
    json["traceEvents"].as_array().unwrap().clone()
}

/// Process, thread, name, begin and end in nanoseconds, number of the request where it is a server's.
type Slice = (u64, u64, String, u64, u64, Option<u64>);

/// The slices of a trace, and the names of processes (thread 0) and threads. Checks what the format asks of an event.
fn slices(events: &[serde_json::Value]) -> (Vec<Slice>, BTreeMap<(u64, u64), String>) {
    let (mut slices, mut names) = (Vec::new(), BTreeMap::new());
    for event in events {
        let name = event["name"].as_str().unwrap();
        let place = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
        // The format has microseconds, and Perfetto keeps nanoseconds.
        let ns = |key: &str| {
            let microseconds = event[key].as_f64().unwrap_or_else(|| panic!("no {key}: {event}"));
            let ns = (microseconds * 1e3).round();
            assert!(ns >= 0.0 && (microseconds * 1e3 - ns).abs() < 1e-3, "{event}");
            ns as u64
        };
        match event["ph"].as_str().unwrap() {
            "M" => {
                assert!(matches!((name, place.1), ("process_name", 0) | ("thread_name", 1..)), "{event}");
                let before = names.insert(place, event["args"]["name"].as_str().unwrap().to_owned());
                assert_eq!(before, None, "a name given twice: {event}");
            }
            "X" => {
                let of = event["args"]["request"].as_u64();
                slices.push((place.0, place.1, name.to_owned(), ns("ts"), ns("ts") + ns("dur"), of));
            }
            other => panic!("an event of the kind {other}"),
        }
    }
    for &(pid, tid, ..) in &slices {
        assert!(names.contains_key(&(pid, 0)) && names.contains_key(&(pid, tid)), "{pid}/{tid} has no name");
    }
    (slices, names)
}

/// What the CSV says that a request, or a call, waited for.
fn waits(line: &Line) -> Vec<(String, u64, u64)> {
    let steps = [
        ("to the balancer", Some(line.arrived), line.picked),
        ("to the server", line.picked, line.entered),
        ("in the queue", line.entered, line.started.or(line.left)),
        ("in service", line.started, line.left),
        ("back to the balancer", line.left, line.returned),
        ("back to the client", line.returned, line.ended),
    ];
    let took_time = |(name, from, to): (&str, Option<u64>, Option<u64>)| {
        let (from, to) = (from?, to?);
        (to > from).then(|| (name.to_owned(), from, to))
    };
    steps.into_iter().filter_map(took_time).collect()
}

/// One request's life: times as in the CSV, steps one after the other inside the whole, calls inside the service.
fn check_life(trace: &Path, lines: &[Line], request: u64) {
    let (slices, names) = slices(&chrome(trace, &["--request", &request.to_string()]));
    let own: Vec<&Line> = lines.iter().filter(|line| line.request == request).collect();
    assert_eq!(names[&(1, 0)], "requests");
    let threads: Vec<u64> = names.keys().filter(|place| place.0 == 1 && place.1 > 0).map(|place| place.1).collect();
    assert_eq!(threads.len(), own.len(), "a row for the request and for each call, and no other");
    for line in &own {
        let kind = if line.call { "call" } else { "request" };
        let title = format!("{kind} {request} {}", line.path);
        let tid = names.iter().find(|(place, name)| place.0 == 1 && **name == title).expect("its row").0.1;
        let mut here: Vec<(String, u64, u64)> =
            slices.iter().filter(|s| (s.0, s.1) == (1, tid)).map(|s| (s.2.clone(), s.3, s.4)).collect();
        assert_eq!(here.remove(0), (kind.to_owned(), line.arrived, line.last()), "{title}");
        assert_eq!(here, waits(line), "{title}");
        assert!(here.iter().all(|step| line.arrived <= step.1 && step.2 <= line.last()), "{title}: {here:?}");
        assert!(here.windows(2).all(|pair| pair[0].2 <= pair[1].1), "{title}: {here:?}");
        if let (Some(from), Some(to)) = (line.started, line.left) {
            let serving: Vec<&Slice> =
                slices.iter().filter(|s| s.0 > 1 && (s.3, s.4) == (from, to) && s.5 == Some(request)).collect();
            assert_eq!(serving.len(), 1, "{title}: its server's row");
            assert_eq!(names[&(serving[0].0, 0)], format!("pool {}", line.pool));
            let row = &names[&(serving[0].0, serving[0].1)];
            assert!(*row == line.server || row.starts_with(&format!("{}, slot ", line.server)), "{row}");
        }
        let caller = own.iter().find(|caller| !caller.call).unwrap();
        if line.call
            && let Some(end) = caller.left
        {
            assert!(
                caller.started.unwrap() <= line.arrived && line.returned.unwrap() <= end,
                "{title}: in the service"
            );
        }
    }
    // On the servers' rows nothing overlaps, and only servers that this request met are shown.
    let mut on_servers: Vec<&Slice> = slices.iter().filter(|s| s.0 > 1).collect();
    on_servers.sort_by_key(|s| (s.0, s.1, s.3, s.4));
    for pair in on_servers.windows(2) {
        let same = (pair[0].0, pair[0].1) == (pair[1].0, pair[1].1);
        assert!(!same || pair[0].4 <= pair[1].3, "{pair:?}");
    }
    for ((pid, tid), name) in names.iter().filter(|((pid, tid), _)| *pid > 1 && *tid > 0) {
        let pool = names[&(*pid, 0)].strip_prefix("pool ").unwrap();
        let met = own.iter().any(|line| line.is_at(pool, name.split(", slot ").next().unwrap()));
        assert!(met, "{pid}/{tid}: request {request} never met {name}");
    }
}

#[test]
fn perfetto_trace_shows_each_request() {
    let folder = Folder::new();
    let calls_of = |lines: &[Line], request: u64| lines.iter().filter(|l| l.call && l.request == request).count();
    // With a call to the second tier that was answered, and without one.
    let tiers = run(&folder, &CASES[2]).join("trace/base.peak_ewma.1.csv.gz");
    let lines_of_tiers = lines(&tiers);
    for calls in [1, 0] {
        let fits = |line: &&Line| {
            let queued = line.started > line.entered;
            !line.call
                && line.outcome == "ok"
                && (queued || calls == 0)
                && calls_of(&lines_of_tiers, line.request) == calls
        };
        let request = lines_of_tiers.iter().find(fits).expect("such a request").request;
        check_life(&tiers, &lines_of_tiers, request);
    }
    // However it ended.
    let troubles = run(&folder, &CASES[1]).join("trace/base.round_robin.0.csv.gz");
    let lines_of_troubles = lines(&troubles);
    for outcome in OUTCOMES {
        let Some(line) = lines_of_troubles.iter().find(|line| line.outcome == outcome) else {
            panic!("no request ended {outcome}");
        };
        check_life(&troubles, &lines_of_troubles, line.request);
    }
    // A span of time has everything that was there, from the file as it is or unpacked.
    let plain = folder.path().join("plain.csv");
    std::fs::write(&plain, unpacked(&troubles)).unwrap();
    let (from, to) = (1_200 * MS, 1_300 * MS);
    for file in [&troubles, &plain] {
        let (slices, _) = slices(&chrome(file, &["--from", "1200ms", "--to", "1300ms"]));
        let mut shown: Vec<(u64, u64)> =
            slices.iter().filter(|s| s.0 == 1 && s.2 == "request").map(|s| (s.3, s.4)).collect();
        let there = lines_of_troubles.iter().filter(|line| line.arrived < to && line.last() >= from);
        let mut expected: Vec<(u64, u64)> = there.map(|line| (line.arrived, line.last())).collect();
        shown.sort_unstable();
        expected.sort_unstable();
        assert!(!shown.is_empty());
        assert_eq!(shown, expected);
    }
    // Into a file as well as to standard output.
    let request = lines_of_troubles[0].request.to_string();
    let written = folder.path().join("life.json");
    let mut command = evenkeel();
    command.arg("trace").arg(&troubles).args(["--request", &request, "--output"]).arg(&written);
    assert!(command.output().unwrap().status.success());
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&written).unwrap()).unwrap();
    assert_eq!(json["traceEvents"].as_array().unwrap(), &chrome(&troubles, &["--request", &request]));
}

#[test]
fn what_is_no_trace_or_not_in_it_is_exit_code_2() {
    let folder = Folder::new();
    let results = run(&folder, &CASES[3]);
    let trace = results.join("trace/base.consistent_hash.0.csv.gz");
    let packed = std::fs::read(&trace).unwrap();
    let cut = folder.path().join("cut.csv.gz");
    std::fs::write(&cut, &packed[..packed.len() / 2]).unwrap();
    let header = text(&unpacked(&trace)).lines().next().unwrap().to_owned();
    let cases = [
        (trace.clone(), vec!["--request", "999999999"], "no matching request"),
        (trace.clone(), vec!["--from", "1000s", "--to", "1001s"], "no matching request"),
        (trace.clone(), vec!["--from", "2s", "--to", "1s"], "--to must be later than --from"),
        (trace.clone(), vec!["--from", "2s"], "--to"),
        (trace.clone(), vec![], "--request"),
        (trace.clone(), vec!["--request", "1", "--from", "1s", "--to", "2s"], "cannot be used with"),
        (folder.path().join("nowhere.csv"), vec!["--request", "1"], "cannot read"),
        (results.join("metrics.csv"), vec!["--request", "1"], "is not a trace"),
        (folder.file("mine.csv.gz", "not packed at all"), vec!["--request", "1"], "is not a trace"),
        (cut, vec!["--request", "1"], "is not a trace"),
        (folder.file("header.csv", &format!("{header}\n")), vec!["--request", "1"], "it holds 0 lines"),
        (
            folder.file("words.csv", &format!("{header}\nthe quick brown fox\n")),
            vec!["--request", "1"],
            "is not a trace",
        ),
    ];
    for (file, arguments, expected) in cases {
        let output = evenkeel().arg("trace").arg(&file).args(&arguments).output().unwrap();
        let message = text(&output.stderr);
        let what = format!("{} {arguments:?}", file.display());
        assert_eq!(output.status.code(), Some(2), "{what}: {message}");
        assert!(message.contains(expected), "{what}: no {expected:?} in\n{message}");
        assert!(output.stdout.is_empty(), "{what}");
    }
}
