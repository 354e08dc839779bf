//! # evenkeel: the architecture
//!
//! evenkeel is a laboratory for load balancing: one workspace, one binary, and one set of selectors under everything. It is
//! a discrete-event simulator that runs every selection strategy over scenario files, in parallel and with honest statistics,
//! and draws what came out; and a reverse proxy that runs the same selectors, and the same policies around them, in front of
//! real servers.
//!
//! Its users: an engineer who must choose and tune a strategy before touching production; a teacher or a student; a
//! developer of a balancer who wants a change in selector behaviour to fail a test. Whoever reads a result must be able to
//! trust it, repeat it bit for bit, and see why it came out so.
//!
//! ## The crates
//!
//! Imports run one way only. Between crates cargo sees to it; inside a crate a test (`tests/it/tidy.rs`) holds the table
//! that says which module may import which.
//!
//! `evenkeel-core <- evenkeel-config <- { evenkeel-sim <- evenkeel-testbed, evenkeel-proxy } <- evenkeel`
//!
//! `evenkeel-theory` stands beside this road: it has the arithmetic of [`math`] in common with the others and nothing else,
//! so that it cannot agree with the simulator by sharing its mistakes.
//!
//! | crate | modules | what is there |
//! |---|---|---|
//! | `evenkeel-core` | [`units`], [`rng`], [`math`] | quantities with units ([`units::Nanos`] cannot read a clock); the named, portable generators and their independent streams; the only exp/ln/pow |
//! | | [`fleet`] | backends as slots with generations: weight, eligibility, in-flight counts; changes to membership |
//! | | [`select`] | the [`select::Selector`] contract, the one catalogue ([`select::catalog`]), one file per strategy |
//! | | [`policy`] | what stands around a pick and is the same for any host: health, outlier ejection, panic, slow start, limits (given or found) and the queue before them, admission, retries with a budget, hedging, stickiness, subsets, priority levels, zones, routes by host and path |
//! | `evenkeel-config` | [`config`] | the language of files: pools and their rules, servers, checks, faults, distributions of duration, the proxy's config; their JSON schemas; diagnostics that point at line and column |
//! | `evenkeel-sim` | [`sim`] | event queue, engine, workload, servers (first come first served and processor sharing), caches, names, connections, faults, autoscaling, tiers |
//! | | [`scenario`] | what only an experiment has: arrivals, clients, faults, expectations; the import of access logs |
//! | | [`measure`] | replications, Student's intervals, paired comparison, regret, warm-up (MSER-5), verdicts, fingerprints of picks, changes between two sets of results; which theorem applies, and the set-ups that validate the simulator against theory |
//! | `evenkeel-theory` | [`theory`] | what queueing theory says the answer is: exact values and marked approximations, computed when asked |
//! | `evenkeel-proxy` | [`proxy`] | the reverse proxy: shards, forwarding, connections to servers, checks, reload, admin, metrics, access log, recording |
//! | `evenkeel-testbed` | [`testbed`] | test servers and load over real sockets, by the simulator's own distributions, caches and faults |
//! | `evenkeel` | [`report`] | terminal table, CSV, manifest, charts (SVG, and PNG from it); reads results, never runs anything |
//! | | [`cmd`] | one file per command; threads, files and clocks are here; errors become exit codes here |
//!
//! Members stand in `crates/`, where a Rust engineer looks for them; `src/` is the program. Core, config, theory and sim have
//! no threads, no clock and no `getrandom`, so that the same engine can run in a page.
//!
//! ## Why a result can be trusted
//!
//! 1. **Common random numbers by construction.** When a request comes, from whom, for what and with how much work is drawn
//!    from streams addressed by (seed, purpose, request number): [`rng::Keyed`]. Every strategy meets the same workload,
//!    whatever it does; a hash over the workload proves it in every manifest. (In a closed loop what clients ask does not
//!    change, but when they ask does: that is what a closed loop is.)
//! 2. **Determinism.** Integer nanoseconds; ties in the order of scheduling; named portable generators; transcendental
//!    functions through `libm` only, also where statistics or plots need them. One thread per run, any number across runs.
//! 3. **The books are proved in every run**: Little's law holds to the nanosecond, as an identity between integers, for the
//!    system and for each server; every request that arrived has ended or is there; in-flight counts are exact. A violation
//!    is a bug of ours and stops everything.
//! 4. **Open loop by default**, latency from the intended arrival. Cohorts by arrival: a request counts if it came inside the
//!    measured span, and the run goes on until those have ended; what has not ended by then counts at its age.
//! 5. **Failures do not flatter.** In the latency, at what it took, is every request that was answered in good order, whose
//!    client gave up (`timed_out`), whose client could not connect (`unreachable`, after its connect time-outs), or that was
//!    there at the end (at its age). Any other failure (`error`, `reset`, `rejected`, `no_server`) is in it where the request
//!    was *held* (in a server, in a balancer's queue, in a pause before a retry, at an address that did not answer) and that
//!    took longer than the mean work of its path at speed 1; it is left out where it was refused at once or failed sooner. The
//!    table does not rank a strategy by latency that fails more than another.
//! 6. **Theory is held against it** ([`measure::validation`], `evenkeel validate`, `tests/it/theory.rs`): M/M/c, M/G/1,
//!    processor sharing, loss under any law, batches and renewals, abandonment (Erlang A), E_n/M/1, E_n/H2/1, M/D/n, exact
//!    chains of the shortest queue and of two choices, tied requests, closed networks, held slots, caches, balls into bins;
//!    tolerance from the run's own standard error. And request by request, to the nanosecond: the recursions of Lindley and of
//!    Kiefer and Wolfowitz. The values come from [`theory`], which shares no code
//!    with the simulator, and those are compared with independent ones (`tests/it/reference.rs`).
//! 7. **A slow obvious version is kept under test** beside each clever one: event queue, processor sharing, LRU; and a naive
//!    second program recomputes every measure from a trace of every request (`tests/it/trace.rs`).
//! 8. **Intervals are tried on what is known** ([`measure::coverage`]): how often they hold an exact value, and how often
//!    equals come out as tied.
//! 9. **No claim without a steady state**: beside each row stands whether the run was stable, backlogged, overloaded, too
//!    short for its load (three relaxation times of its queues, by theory) or without any request; an overloaded one has no
//!    interval and no rank; MSER-5 says when a warm-up was too short.
//! 10. **A run has a bound.** It ends with an error where it holds more requests, timers and cache entries than
//!     `max_in_system` allows, at the same event on every machine; nothing grows until the machine swaps.
//!
//! ## Units
//!
//! What is run is a *unit*: (scenario, point of a sweep, contestant, replication). Its name is a hash of all that decides what
//! comes out, this program's source among it, so a finished unit need not be run again, wherever it was run: that is all there
//! is to `--resume`, `--shard` and `merge`. A unit's [`sim::record::RunRecord`] holds whole numbers and sums, so the order in
//! which units come in changes nothing. Who wants to look on while one runs is a [`sim::observer::Observer`]: fingerprints,
//! explanations and traces are; the observer that does nothing costs nothing.
//!
//! ## From Rust
//!
//! The command is one user of the library; another is a few lines away:
//!
//! ```
//! use evenkeel::scenario::Scenario;
//! use evenkeel::select::catalog;
//!
//! let source = r#"
//!     title = "Four servers"
//!     question = "How long do people wait?"
//!     duration = "10s"
//!     arrivals = { poisson = { load = "80%" } }
//!     service = { exponential = { mean = "10ms" } }
//!     [[pools]]
//!     name = "web"
//!     [[pools.servers]]
//!     name = "web"
//!     count = 4
//! "#;
//! let scenario = Scenario::parse("four", source, &|file| Err(format!("no file {file}"))).unwrap();
//! let run = |name: &str| {
//!     let strategy = (catalog::find(name).unwrap().default)();
//!     evenkeel::sim::run(&scenario.model, &strategy, scenario.replication_seed(0), &|| false).unwrap()
//! };
//! let (random, p2c) = (run("random"), run("p2c"));
//! assert_eq!(random.workload_hash, p2c.workload_hash, "both met the same requests");
//! assert!(p2c.measured.all.latency.value_at_quantile(0.99) < random.measured.all.latency.value_at_quantile(0.99));
//! ```
//!
//! ## Decisions that are not in the design one would write first
//!
//! * **Oracles get their truths through [`select::Context::truth`]**, which is `Some` only for a catalogue row that is
//!   marked as an oracle: a strategy cannot peek by accident.
//! * **Quantities are parsed in [`units`]**, below the selectors, because a strategy's parameters have durations too.
//! * **The laws of duration live in [`config`]**, since test servers speak them as well as the simulator.
//! * **Strategy tables are an enum that one macro makes** ([`select::catalog::Table`]), tagged by its key: a wrong parameter
//!   is reported at its own line and column, which trait objects behind a registry could not do.
//! * **Constant delays have lanes of their own in the event queue**, the next arrival a place of its own; the rest is a
//!   4-ary heap with keys and payloads apart.
//! * **Slow start thins picks and leaves weights alone**: a pick that lands on a warming server is kept with the probability of
//!   Envoy's factor and made again without that server otherwise. That is one rule for every strategy, hashes and averages
//!   included, and no table is rebuilt for it.
//! * **Limits on requests in flight are no change of the fleet either**: full servers go into [`select::Request::tried`]. A
//!   strategy may set limits too ([`select::Selector::limit`]); so late binding needs nothing but the queue at the balancer.
//! * **A strategy that asks before it places a request says whom and for how long** ([`select::Selector::inquire`]); the host asks,
//!   lets the request wait, and picks with the answers ([`select::Request::answers`]). So a pick itself never waits, and a
//!   selector stays a function of what it is told.
//! * **Subsets, priority levels and zones divide the fleet** ([`policy::eligible`]): a selector for each part, which knows no
//!   other servers, and a draw among the parts before it. Full servers are few and go into `tried`; a zone is not few, and
//!   a hash would pour its keys on neighbours.
//! * **An attempt is a job of its own only where a pool has retries or hedges**: everywhere else a request is its only attempt, and
//!   runs as fast as before and to the same bytes.
//! * **`peak_ewma` divides requests in flight by weight and not its whole cost**: servers are drawn by weight already, and
//!   dividing all of it starved light servers altogether while the fleet was idle (the conformance suite found that).

pub use evenkeel_config as config;
pub use evenkeel_core::{fleet, math, policy, rng, select, units};
pub use evenkeel_proxy as proxy;
pub use evenkeel_sim::{measure, scenario, sim};
pub use evenkeel_testbed as testbed;
pub use evenkeel_theory as theory;

pub mod cmd;
pub mod report;
