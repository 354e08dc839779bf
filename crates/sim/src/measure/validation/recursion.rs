//! Comparison of queues request by request: for first come, first served a recursion gives the end of every request from
//! arrivals and work alone. The engine must agree with it to the nanosecond.
//!
//! One slot: D. Lindley, "The theory of queues with a single server", Proc. Cambridge Phil. Soc. 48 (1952). Several: J. Kiefer and
//! J. Wolfowitz, "On the theory of queues with many servers", Trans. AMS 78 (1955). A request begins when it has come and the
//! slot that is free first is free; here slots are noted by the time at which they are free, not by the work that is left in
//! them, which is the same and needs no step for time that passes. A request whose patience ends before it begins never takes a
//! slot.

use super::cases::{CONSTANT, HYPEREXPONENTIAL, Setup, add, poisson};
use super::{Asked, Certainty, Gate, Subject};
use crate::scenario::Scenario;
use crate::sim::model::Model;
use crate::sim::observer::{Arrival, Observer, Step};
use crate::sim::record::RequestOutcome;
use crate::sim::workload::Workload;
use crate::sim::{Stopped, observe};
use evenkeel_core::units::Nanos;

/// Which requests wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recursion {
    /// Each server has a queue: those that were sent to it.
    EachServer,
    /// All servers together are one queue.
    OneQueue,
}

/// The end of every request of a run, by its number.
#[derive(Default)]
struct Log {
    /// Number of the request, by job index of the engine.
    numbers: Vec<u64>,
    /// The server it was last sent to, and its end.
    requests: Vec<(u32, Option<(Nanos, RequestOutcome)>)>,
    closed: Nanos,
}

impl Observer for Log {
    fn arrived(&mut self, job: u32, arrival: &Arrival<'_>) {
        let job = job as usize;
        self.numbers.resize(self.numbers.len().max(job + 1), 0);
        self.numbers[job] = arrival.id;
        self.requests.resize(self.requests.len().max(arrival.id as usize + 1), (0, None));
    }

    fn decided(&mut self, job: u32, server: Option<u32>, _now: Nanos) {
        let number = self.numbers[job as usize];
        self.requests[number as usize].0 = server.unwrap_or(u32::MAX);
    }

    fn step(&mut self, job: u32, step: Step, now: Nanos) {
        if let Step::Ended(end) = step {
            let number = self.numbers[job as usize];
            self.requests[number as usize].1 = Some((now, end));
        }
    }

    fn closed(&mut self, now: Nanos) {
        self.closed = now;
    }
}

/// When and how a request ends that comes at `at` with so much work and patience, where `free` are the times at which the slots
/// are free.
fn end(free: &mut [Nanos], at: Nanos, work: Nanos, patience: Option<Nanos>) -> Option<(Nanos, RequestOutcome)> {
    let slot = free.iter_mut().min()?;
    let start = at.max(*slot);
    if let Some(patience) = patience.filter(|patience| *patience <= start - at) {
        return Some((at + patience, RequestOutcome::TimedOut));
    }
    *slot = start + work;
    Some((*slot, RequestOutcome::Ok))
}

impl Recursion {
    /// The share of all requests of a run that end when and how the recursion says, of scenarios with one pool whose servers have
    /// speed 1 and no network before them.
    pub(super) fn agreement(
        self,
        scenario: &Scenario,
        replication: u32,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<f64, Stopped> {
        let setup = scenario.setup(0, replication);
        let mut log = Log::default();
        observe(&setup, interrupted, &mut log)?;
        Ok(self.compare(setup.model, setup.seed, &log))
    }

    fn compare(self, model: &Model, seed: u64, log: &Log) -> f64 {
        let slots = model.pools[0].servers.iter().map(|server| server.concurrency as usize);
        let mut queues: Vec<Vec<Nanos>> = match self {
            Recursion::EachServer => slots.map(|slots| vec![Nanos::ZERO; slots]).collect(),
            Recursion::OneQueue => vec![vec![Nanos::ZERO; slots.sum()]],
        };
        let mut workload = Workload::new(model, seed);
        let mut agree = 0;
        for (server, ended) in &log.requests {
            let Some((at, origin)) = workload.next_arrival() else { break };
            let draft = workload.draft(origin, at);
            let queue = if self == Recursion::OneQueue { queues.first_mut() } else { queues.get_mut(*server as usize) };
            let expected = queue.and_then(|free| end(free, at, draft.demand, draft.patience));
            agree += u64::from(match (expected, ended) {
                (Some(expected), Some(ended)) => expected == *ended,
                // The run ended before.
                (Some((at, _)), None) => at >= log.closed,
                (None, _) => false,
            });
        }
        agree as f64 / log.requests.len() as f64
    }
}

pub(super) fn cases(all: &mut Vec<Gate>) {
    let mut check = |name, about: &str, recursion, setup: &Setup<'_>| {
        let asked = Asked {
            quantity: "requests that agree".to_owned(),
            theory: 1.0,
            certainty: Certainty::Identity,
            slack: 0.0,
        };
        add(all, name, about, setup, vec![asked]);
        let gate = all.last_mut().expect("just added");
        gate.replications = 5;
        if let Subject::Scenario(scenario) = &gate.subject {
            gate.subject = Subject::Trace(scenario.clone(), recursion);
        }
    };
    let lognormal = r#"{ lognormal = { mean = "1ms", sigma = 1.0 } }"#;
    let pareto = r#"{ bounded_pareto = { shape = 1.5, low = "350us", high = "35ms" } }"#;
    let renewals = |distribution: &str, load: f64, more: &str| {
        format!("{{ renewal = {{ interarrival = {distribution}, load = {load}{more} }} }}")
    };

    let text = "one server, lognormal gaps, bounded Pareto service, load 0.9: Lindley's recursion, to the nanosecond";
    let arrivals = renewals(lognormal, 0.9, "");
    let setup = Setup { arrivals, service: pareto, ..poisson("\"random\"", 0.0, "count = 1") };
    check("lindley", text, Recursion::EachServer, &setup);

    let text = "random over 10 servers, load 0.9: Lindley's recursion at each of them";
    check(
        "lindley-random",
        text,
        Recursion::EachServer,
        &Setup { span: 4_000, ..poisson("\"random\"", 0.9, "count = 10") },
    );

    let text =
        "4 slots, hyperexponential gaps between batches, lognormal service, load 0.9: Kiefer and Wolfowitz' recursion";
    let arrivals = renewals(HYPEREXPONENTIAL, 0.9, ", batch = { geometric = { mean = 3.0 } }");
    let setup = Setup { arrivals, service: lognormal, span: 8_000, ..poisson("\"random\"", 0.0, "concurrency = 4") };
    check("kiefer-wolfowitz", text, Recursion::EachServer, &setup);

    let text = "the oracle's least work left over 4 servers, lognormal service, load 0.9: one queue before 4 slots";
    let setup = Setup { service: lognormal, span: 8_000, ..poisson("\"oracle_least_work\"", 0.9, "count = 4") };
    check("kiefer-wolfowitz-least-work", text, Recursion::OneQueue, &setup);

    let text =
        "round robin of constant service over 4 servers, hyperexponential gaps, load 0.9: one queue before 4 slots";
    let arrivals = renewals(HYPEREXPONENTIAL, 0.9, "");
    let setup = Setup { arrivals, service: CONSTANT, span: 8_000, ..poisson("\"round_robin\"", 0.0, "count = 4") };
    check("kiefer-wolfowitz-round-robin", text, Recursion::OneQueue, &setup);

    let text = "4 slots, load 1.2, clients who abandon the queue: the recursion with patience";
    let setup = Setup {
        service: lognormal,
        more: "allow_overload = true\nclients = { patience = { exponential = { mean = \"3ms\" } }, servers_see_cancel = true }",
        span: 8_000,
        ..poisson("\"random\"", 1.2, "concurrency = 4")
    };
    check("kiefer-wolfowitz-abandonment", text, Recursion::EachServer, &setup);

    // All times are multiples of half a millisecond: both servers often finish at the same moment, and would then start the
    // same request if the notification of a start came late.
    let text = "tied requests over 2 servers, regular arrivals, bimodal service, load 0.85: one queue before 2 slots";
    let setup = Setup {
        arrivals: "{ constant = { rate = \"2000/s\" } }".to_owned(),
        service: r#"{ bimodal = { short = "500us", long = "4ms", long_share = 0.1 } }"#,
        pool: "hedge = { after = \"0ms\", budget = \"100%\", tied = true }",
        span: 8_000,
        ..poisson("\"random\"", 0.0, "count = 2")
    };
    check("kiefer-wolfowitz-tied", text, Recursion::OneQueue, &setup);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two slots, work 10 and 4 at time 0; at 1 comes work 3, which begins at 4; at 2 comes work 5, which would begin at 7 and has
    /// patience of 5, which ends then; at 3 the same with patience of 6.
    #[test]
    fn two_slots_by_hand() {
        let mut free = [Nanos::ZERO; 2];
        let mut next = |at, work, patience: Option<u64>| end(&mut free, Nanos(at), Nanos(work), patience.map(Nanos));
        assert_eq!(next(0, 10, None), Some((Nanos(10), RequestOutcome::Ok)));
        assert_eq!(next(0, 4, None), Some((Nanos(4), RequestOutcome::Ok)));
        assert_eq!(next(1, 3, None), Some((Nanos(7), RequestOutcome::Ok)));
        assert_eq!(next(2, 5, Some(5)), Some((Nanos(7), RequestOutcome::TimedOut)));
        assert_eq!(next(3, 5, Some(6)), Some((Nanos(12), RequestOutcome::Ok)));
        assert_eq!(next(30, 1, Some(0)), Some((Nanos(30), RequestOutcome::TimedOut)));
    }

    /// One request that ends a nanosecond late, one at another server, one that is missing.
    #[test]
    fn a_nanosecond_is_detected() {
        let gates = super::super::gates();
        let gate = gates.iter().find(|gate| gate.name == "lindley-random").unwrap();
        let Subject::Trace(scenario, recursion) = &gate.subject else { panic!("no trace") };
        let mut scenario = scenario.clone();
        (scenario.model.warmup, scenario.model.duration) = (Nanos::ZERO, Nanos::from_millis(100));
        let setup = scenario.setup(0, 0);
        let run = || {
            let mut log = Log::default();
            observe(&setup, &|| false, &mut log).unwrap();
            log
        };
        let compare = |log: &Log| recursion.compare(setup.model, setup.seed, log);
        assert_eq!(compare(&run()), 1.0);
        let mut late = run();
        let (at, _) = late.requests[100].1.as_mut().unwrap();
        at.0 += 1;
        assert!(compare(&late) < 1.0);
        let mut elsewhere = run();
        elsewhere.requests[100].0 = (elsewhere.requests[100].0 + 1) % 10;
        assert!(compare(&elsewhere) < 1.0);
        let mut forgotten = run();
        forgotten.requests[100].1 = None;
        assert!(compare(&forgotten) < 1.0);
    }
}
