//! Distributions, time series and servers, from their tables.

use std::collections::BTreeMap;

use anyhow::Result;

use super::folder::{Folder, Row, Table};
use super::model::{Cdf, Rows, Series, Server};

/// A matrix by strategy and by key (a quantile, or a time).
struct Grid {
    /// The keys, as numbers, in the order of the file.
    keys: Vec<f64>,
    /// By strategy, the place of each key's row.
    rows: Vec<BTreeMap<usize, usize>>,
}

impl Grid {
    /// Sorts rows by strategy and key.
    fn new(rows: &[Row<'_>], labels: &[&str], key: &str) -> Grid {
        let mut keys: Vec<(&str, f64)> = Vec::new();
        let mut at: BTreeMap<&str, usize> = BTreeMap::new();
        let mut grid = Grid { keys: Vec::new(), rows: vec![BTreeMap::new(); labels.len()] };
        let strategies: BTreeMap<&str, usize> = labels.iter().enumerate().map(|(i, label)| (*label, i)).collect();
        for (place, row) in rows.iter().enumerate() {
            let (Some(&strategy), Some(number)) = (strategies.get(row.text("strategy")), row.number(key)) else {
                continue;
            };
            let text = row.text(key);
            let k = *at.entry(text).or_insert_with(|| {
                keys.push((text, number));
                keys.len() - 1
            });
            grid.rows[strategy].insert(k, place);
        }
        grid.keys = keys.into_iter().map(|(_, number)| number).collect();
        grid
    }

    /// A column as a matrix.
    fn column(&self, rows: &[Row<'_>], column: &str) -> Rows {
        let strategy = |places: &BTreeMap<usize, usize>| {
            (0..self.keys.len()).map(|k| rows[*places.get(&k)?].number(column)).collect()
        };
        self.rows.iter().map(strategy).collect()
    }
}

/// The distribution of the latency, of all requests and of each pool that has a table.
///
/// # Errors
/// If a table is malformed.
pub fn cdf(folder: &Folder, point: &str, labels: &[&str]) -> Result<Vec<Cdf>> {
    let mut all = Vec::new();
    for name in ["latency_cdf.csv", "latency_cdf_pools.csv"] {
        let Some(table) = folder.table(name)? else { continue };
        table.need(&["quantile", "latency_s"])?;
        for (pool, rows) in scopes(&table, point) {
            let grid = Grid::new(&rows, labels, "quantile");
            all.push(Cdf { pool, latency: grid.column(&rows, "latency_s"), quantiles: grid.keys });
        }
    }
    Ok(all)
}

/// The time series, of all requests and of each pool.
///
/// # Errors
/// If a table is malformed.
pub fn series(folder: &Folder, point: &str, labels: &[&str]) -> Result<Vec<Series>> {
    let mut all = Vec::new();
    for name in ["timeseries.csv", "timeseries_pools.csv"] {
        let Some(table) = folder.table(name)? else { continue };
        table.need(&["time_s", "goodput_per_s", "errors_per_s", "latency_mean_s", "latency_p99_s"])?;
        let has = |column: &str| table.header().contains(&column);
        for (pool, rows) in scopes(&table, point) {
            let grid = Grid::new(&rows, labels, "time_s");
            let of = |column: &str| grid.column(&rows, column);
            all.push(Series {
                pool,
                goodput: of("goodput_per_s"),
                errors: of("errors_per_s"),
                mean: of("latency_mean_s"),
                p99: of("latency_p99_s"),
                in_system: has("in_system").then(|| of("in_system")),
                servers: has("servers").then(|| of("servers")).filter(changes),
                time: grid.keys,
            });
        }
    }
    Ok(all)
}

/// Whether a number of servers changes over time.
fn changes(rows: &Rows) -> bool {
    rows.iter().any(|row| row.windows(2).any(|pair| pair[0] != pair[1]))
}

/// The rows of each pool; of a table without pools all in one.
fn scopes<'a>(table: &'a Table, point: &'a str) -> Vec<(Option<String>, Vec<Row<'a>>)> {
    if !table.header().contains(&"pool") {
        return vec![(None, table.at(point).collect())];
    }
    let of = |pool: &&str| table.at(point).filter(|row| row.text("pool") == *pool).collect();
    table.distinct(point, "pool").iter().map(|pool| (Some((*pool).to_owned()), of(pool))).collect()
}

/// Every server, with a value of each strategy.
///
/// # Errors
/// If servers.csv is malformed.
pub fn servers(folder: &Folder, point: &str, labels: &[&str]) -> Result<Vec<Server>> {
    let Some(table) = folder.table("servers.csv")? else { return Ok(Vec::new()) };
    table.need(&["pool", "server", "share"])?;
    let mut all: Vec<Server> = Vec::new();
    let mut at: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let strategies: BTreeMap<&str, usize> = labels.iter().enumerate().map(|(i, label)| (*label, i)).collect();
    for row in table.at(point) {
        let Some(&strategy) = strategies.get(row.text("strategy")) else { continue };
        let key = (row.text("pool"), row.text("server"));
        let place = *at.entry(key).or_insert_with(|| {
            let none = || vec![None; labels.len()];
            all.push(Server {
                pool: key.0.to_owned(),
                server: key.1.to_owned(),
                weight: row.number("weight"),
                capacity: row.number("capacity"),
                share: none(),
                load: none(),
                utilisation: none(),
                in_server: none(),
                errors: none(),
                hit_ratio: none(),
            });
            all.len() - 1
        });
        let server = &mut all[place];
        for (values, column) in [
            (&mut server.share, "share"),
            (&mut server.load, "load_over_capacity"),
            (&mut server.utilisation, "utilisation"),
            (&mut server.in_server, "in_server"),
            (&mut server.errors, "errors"),
            (&mut server.hit_ratio, "cache_hit_ratio"),
        ] {
            values[strategy] = row.number(column);
        }
    }
    Ok(all)
}
