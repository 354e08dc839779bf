//! Traces against the recursions of first come, first served: one slot by D. Lindley (1952), several by J. Kiefer and J. Wolfowitz
//! (1955). The recursion is written out here, on waiting times as its authors have it, and reads the file that `run --trace`
//! writes: when requests came to a server and what work they brought gives when each began and left, to the nanosecond.
//! `evenkeel validate` does the same inside, from the workload alone.

use std::collections::BTreeMap;
use std::io::Read;

use crate::support::{Folder, evenkeel, rows, text};

struct Line {
    request: u64,
    server: String,
    demand: u64,
    entered: u64,
    started: Option<u64>,
    left: Option<u64>,
}

fn trace(source: &str) -> Vec<Line> {
    let folder = Folder::new();
    let file = folder.file("queue.toml", source);
    let out = folder.path().join("out");
    let output = evenkeel().arg("run").arg(&file).args(["--trace", "--out"]).arg(&out).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let path = std::fs::read_dir(out.join("queue/trace")).unwrap().next().unwrap().unwrap().path();
    let mut csv = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut csv).unwrap();
    let mut lines: Vec<Line> = rows(csv.as_slice())
        .into_iter()
        .filter(|row| !row["entered_ns"].is_empty())
        .map(|row| Line {
            request: row["request"].parse().unwrap(),
            server: row["server"].clone(),
            demand: row["demand_ns"].parse().unwrap(),
            entered: row["entered_ns"].parse().unwrap(),
            started: row["started_ns"].parse().ok(),
            left: row["left_ns"].parse().ok(),
        })
        .collect();
    // Lines are in the order of ends. Requests of one moment entered in the order of their numbers: there is no network.
    lines.sort_by_key(|line| (line.entered, line.request));
    lines
}

/// How many lines the recursion agrees with; it must be all. `slots` of each server.
fn agree(lines: &[Line], slots: usize) -> usize {
    // By server: the last arrival, and the work that each slot has left then, ascending.
    let mut queues: BTreeMap<&str, (u64, Vec<u64>)> = BTreeMap::new();
    let mut waited = 0;
    for line in lines {
        let (last, left) = queues.entry(&line.server).or_insert_with(|| (0, vec![0; slots]));
        let passed = line.entered - *last;
        left.iter_mut().for_each(|work| *work = work.saturating_sub(passed));
        left.sort_unstable();
        let wait = left[0];
        left[0] += line.demand;
        *last = line.entered;
        let (start, end) = (line.entered + wait, line.entered + wait + line.demand);
        // A request that is in service when the run ends has no end.
        assert!(line.started.is_none_or(|started| started == start), "{}: began at another moment", line.request);
        assert!(line.left.is_none_or(|left| left == end), "{}: left at another moment", line.request);
        waited += usize::from(wait > 0 && line.left.is_some());
    }
    assert!(waited > lines.len() / 3, "hardly any of {} waited", lines.len());
    lines.len()
}

fn source(arrivals: &str, service: &str, strategy: &str, servers: &str) -> String {
    format!(
        "title = \"Queue\"\nquestion = \"How long do requests wait?\"\nduration = \"4s\"\nwarmup = \"100ms\"\nreplications = 1\nbins = 0\n\
         strategies = [\"{strategy}\"]\narrivals = {arrivals}\nservice = {service}\n\
         [[pools]]\nname = \"web\"\n[[pools.servers]]\nname = \"web\"\n{servers}\n"
    )
}

const LOGNORMAL: &str = "{ lognormal = { mean = \"2ms\", sigma = 1.2 } }";
const BURSTY: &str =
    "{ renewal = { interarrival = { hyperexponential = { mean = \"1ms\", scv = 4.0 } }, load = \"85%\" } }";

#[test]
fn one_slot_is_lindleys_recursion() {
    for (arrivals, strategy, servers) in [
        (BURSTY, "random", "count = 1"),
        ("{ poisson = { load = \"90%\" } }", "p2c", "count = 6"),
        ("{ poisson = { load = \"80%\", batch = { geometric = { mean = 3.0 } } } }", "round_robin", "count = 3"),
    ] {
        let lines = trace(&source(arrivals, LOGNORMAL, strategy, servers));
        assert!(agree(&lines, 1) > 1000, "{servers}");
    }
}

#[test]
fn several_slots_are_kiefer_and_wolfowitzs_recursion() {
    for (service, strategy, servers) in [
        (LOGNORMAL, "random", "concurrency = 4"),
        ("{ constant = { value = \"2ms\" } }", "least_request", "count = 2\nconcurrency = 4"),
    ] {
        let lines = trace(&source(BURSTY, service, strategy, servers));
        assert!(agree(&lines, 4) > 4000, "{servers}");
    }
}

/// The oracle's least work left over four servers is one queue before four slots.
#[test]
fn least_work_left_is_one_queue() {
    let mut lines = trace(&source(BURSTY, LOGNORMAL, "oracle_least_work", "count = 4"));
    lines.iter_mut().for_each(|line| line.server.clear());
    assert!(agree(&lines, 4) > 4000);
}
