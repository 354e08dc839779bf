//! A laboratory for load balancing: one set of selectors, run by a discrete-event simulator and by a reverse proxy.
//!
//! The simulator runs every selection strategy over scenario files, in parallel, with statistics that say which differences
//! are real, and draws the results. The proxy runs the same selectors, and the same policies around them, in front of real
//! servers.
//!
//! ## Crates
//!
//! Imports run in one direction. Between crates cargo enforces it; inside a crate a test (`tests/it/tidy.rs`) holds the
//! table that says which module may import which.
//!
//! `evenkeel-core <- evenkeel-config <- { evenkeel-sim <- { evenkeel-testbed, evenkeel-lab }, evenkeel-proxy } <- evenkeel`
//!
//! `evenkeel-theory` is separate: it shares only the arithmetic of [`math`] with the others, so that it cannot agree with
//! the simulator because of a common error.
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
//! | | [`lesson`] | lessons: a question, a run to watch, an explanation with its numbers, and a challenge with its grade |
//! | `evenkeel-lab` | | the simulator behind a C ABI for WebAssembly: what the page of `evenkeel lab` runs; not linked into the program |
//! | `evenkeel-theory` | [`theory`] | what queueing theory says the answer is: exact values and marked approximations, computed when asked |
//! | `evenkeel-proxy` | [`proxy`] | the reverse proxy: shards, forwarding, connections to servers, checks, reload, admin, metrics, access log, recording |
//! | `evenkeel-testbed` | [`testbed`] | test servers and load over real sockets, by the simulator's own distributions, caches and faults |
//! | `evenkeel` | [`report`] | terminal table, CSV, manifest, charts (SVG, and PNG from it), the answer in sentences, the HTML report; reads results, never runs anything |
//! | | [`cmd`] | one file per command; threads, files and clocks are here; errors become exit codes here |
//!
//! Member crates are in `crates/`; `src/` is the program. Core, config, theory and sim have no threads, no clock and no
//! `getrandom`, so that the same engine can run in a web page.
//!
//! ## Why a result can be trusted
//!
//! Every strategy gets the same requests (streams addressed by seed, purpose and request number: [`rng::Keyed`]); the same
//! seed gives the same bytes on any machine; Little's law and the conservation of requests are verified in every run, to the
//! nanosecond; the simulator is validated against queueing theory ([`measure::validation`]) and recomputed by an independent
//! naive program. `docs/method.md` has the details, `docs/bias.md` the choices that favour a strategy.
//!
//! ## Runs
//!
//! The unit of execution is a *run*: scenario, point of a sweep, variant, replication. Its name is a hash of everything that
//! determines its result, this program's source included, so a finished run need not be repeated, wherever it ran:
//! `--resume`, `--shard` and `merge` are built on that. A run's [`sim::record::RunRecord`] holds integers and sums, so the
//! order in which runs finish does not matter. Implement [`sim::observer::Observer`] to watch a run; the no-op observer
//! compiles away.
//!
//! ## From Rust
//!
//! `docs/library.md` has examples that are tested, `docs/architecture.md` the decisions that are not obvious.

pub use evenkeel_config as config;
pub use evenkeel_core::{fleet, math, policy, rng, select, units};
pub use evenkeel_proxy as proxy;
pub use evenkeel_sim::{lesson, measure, scenario, sim};
pub use evenkeel_testbed as testbed;
pub use evenkeel_theory as theory;

/// The Rust examples of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../docs/library.md")]
mod library {}

pub mod cmd;
pub mod report;
