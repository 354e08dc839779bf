//! `servers.csv`.

use super::{number, rows};
use crate::report::Outcome;
use evenkeel_sim::measure::ServerRow;

/// `servers.csv`: every server under every strategy, means over replications.
pub fn servers(outcomes: &[Outcome<'_>]) -> csv::Result<Vec<u8>> {
    let header = [
        "pool",
        "server",
        "weight",
        "capacity",
        "requests",
        "share",
        "load_over_capacity",
        "utilisation",
        "in_server",
        "time_in_server_s",
        "errors",
        "cache_hit_ratio",
    ];
    rows(outcomes, &header, |_, summary| {
        let row = |s: &ServerRow| {
            let numbers = [
                f64::from(s.weight),
                s.capacity,
                s.requests,
                s.share,
                s.load,
                s.utilisation,
                s.number,
                s.residence,
                s.errors,
                s.hit_ratio,
            ];
            [s.pool.clone(), s.server.clone()].into_iter().chain(numbers.map(number)).collect()
        };
        summary.servers.iter().map(row).collect()
    })
}
