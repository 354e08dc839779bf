//! Results of queueing theory: reference values for the simulator and for readers of its results. Everything is computed on
//! request; there are no tables of results here. Time is in any unit, as long as rates are per that unit.
//!
//! The crate depends on no other part of evenkeel but [`evenkeel_core::math`], so it cannot agree with the simulator by
//! sharing a mistake with it, and gives the same bits on every platform.
//!
//! **Exact** (up to the rounding of floats):
//!
//! | function | model |
//! |---|---|
//! | [`queues::mm1_mean`] and its kin | one exponential server, first come first served |
//! | [`queues::erlang_b`], [`queues::erlang_c`], [`queues::mmc_mean`], [`queues::mmc_quantile`] | several servers, one queue |
//! | [`queues::bounded`], [`queues::repairman`] | a queue with a limit; a closed loop of clients that think |
//! | [`queues::mg1_mean`], [`queues::mg1_wait_deviation`] | one server, any distribution of service |
//! | [`queues::ps_mean`], [`queues::ps_deviation`], [`queues::ps_quantile`] | processor sharing |
//! | [`deterministic::ConstantService`] | M/D/c: constant service; also round robin of constant work over c servers |
//! | [`dispatch::round_robin_mean`], [`dispatch::round_robin_quantile`] | round robin of exponential work: E_n/M/1 at each server |
//! | [`dispatch::split_mean`], [`dispatch::split_quantile`], [`dispatch::best_split`] | a random split over unlike servers |
//! | [`abandonment::Abandonment`] | M/M/c with abandonment: exponential patience (Erlang A), constant patience, deadlines for answers |
//! | [`renewal::bursty_mean`], [`renewal::RoundRobin`], [`renewal::batch_mean`] | H2/M/1, E_n/H2/1 and E_n/E2/1, batch arrivals M^X/G/1 |
//! | [`networks::mva`], [`networks::tandem_mean`], [`networks::held_slots`] | closed networks, tandem queues, slots held during a call |
//! | [`caches::ttl_hit_ratio`] | caches with a time to live |
//! | [`copies::hedged_quantile`] and its kin | hedged requests without queues |
//! | [`balls_into_bins::ring_deviation`] | spread of the key space on a hash ring |
//!
//! **Numerically exact**: [`chains`] solves Markov chains of two to four servers (shortest queue, two choices) that are cut
//! only where the probability is negligible, and say how much they cut.
//!
//! **Approximations**, documented as such: [`dispatch::MeanField`] (two choices among infinitely many servers; the
//! error at n servers is of the order of 1/n), [`copies::tied_mean`] (likewise), [`caches::che_hit_ratio`] (Che; error about 1 % for tiny caches, far less for
//! large ones), [`balls_into_bins::greedy_shares`] and [`balls_into_bins::random_share`] (the fluid limit of balls into bins),
//! [`balls_into_bins::random_jain`] and [`balls_into_bins::ring_jain`] (the index at the mean square, not the mean of the index).
//!
//! Where the offered load is one or more there is no equilibrium: means and quantiles are then infinite, and solvers give
//! `None`.

pub mod abandonment;
pub mod balls_into_bins;
pub mod caches;
pub mod chains;
pub mod copies;
pub mod deterministic;
pub mod dispatch;
pub mod networks;
mod numeric;
pub mod queues;
pub mod renewal;

pub use abandonment::{Abandonment, Patience};
pub use chains::{Rule, Solved, Ties};
pub use deterministic::ConstantService;
pub use dispatch::{Branch, MeanField};
