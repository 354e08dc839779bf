//! The input of a metric: a part of a run's measurements.

use hdrhistogram::Histogram;

use crate::sim::model::{Model, Pool};
use crate::sim::record::{ClassRecord, Measured, RequestOutcome, ServerRecord};

/// A part of the results that has metrics of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All requests and all servers.
    Whole,
    /// The requests for a path.
    Path(usize),
    /// The requests and servers of a pool.
    Pool(usize),
}

impl Part {
    /// The parts of a model, in output order, each with the prefix of its metrics' names.
    pub fn all(model: &Model) -> Vec<(Part, String)> {
        let mut parts = vec![(Part::Whole, String::new())];
        if model.paths_are_told_apart() {
            let paths = model.paths.iter().enumerate();
            parts.extend(paths.map(|(p, path)| (Part::Path(p), format!("path.{}.", path_name(&path.path)))));
        }
        if model.pools.len() > 1 {
            let pools = model.pools.iter().enumerate();
            parts.extend(pools.map(|(p, pool)| (Part::Pool(p), format!("{}.", pool.name))));
        }
        parts
    }

    /// Whether requests are counted in this part: for a pool, whether routes lead to it and there are several.
    pub fn has_requests(self, model: &Model) -> bool {
        match self {
            Part::Whole | Part::Path(_) => true,
            Part::Pool(p) => {
                let entry = entry_pools(model);
                entry.len() > 1 && entry.contains(&p)
            }
        }
    }

    /// Whether this part has servers of its own.
    pub fn has_servers(self) -> bool {
        !matches!(self, Part::Path(_))
    }

    /// Whether this is the whole, and a pool that routes lead to satisfies the condition.
    pub fn any_entry(self, model: &Model, what: fn(&Pool) -> bool) -> bool {
        self == Part::Whole && entry_pools(model).iter().any(|&p| what(&model.pools[p]))
    }

    /// The pool, if this part is one: the only pool of the whole, or one of several.
    pub fn only_pool(self, model: &Model) -> Option<usize> {
        match self {
            Part::Whole => (model.pools.len() == 1).then_some(0),
            Part::Path(_) => None,
            Part::Pool(p) => Some(p),
        }
    }
}

/// A path in the name of a metric.
fn path_name(path: &str) -> String {
    let name = path.trim_matches('/').replace(|c: char| !c.is_ascii_alphanumeric(), "-").to_lowercase();
    if name.is_empty() { "root".to_owned() } else { name }
}

/// The pools that routes lead to.
fn entry_pools(model: &Model) -> Vec<usize> {
    let mut pools: Vec<usize> = model.paths.iter().map(|path| path.pool).collect();
    pools.sort_unstable();
    pools.dedup();
    pools
}

/// A part of what was measured in a run, or in a batch of one.
pub struct View<'a> {
    pub model: &'a Model,
    pub measured: &'a Measured,
    /// Length of the measured span, seconds.
    pub seconds: f64,
    pub part: Part,
}

impl View<'_> {
    /// The requests of this part.
    pub fn requests(&self) -> &ClassRecord {
        match self.part {
            Part::Whole => &self.measured.all,
            Part::Path(p) => &self.measured.paths[p],
            Part::Pool(p) => &self.measured.pools[p],
        }
    }

    /// The share of requests with this outcome.
    pub fn ended(&self, end: RequestOutcome) -> f64 {
        ratio(self.requests().ends[end as usize], self.requests().requests())
    }

    /// The requests of the pools that satisfy the condition; with one pool, all requests.
    pub fn requests_of(&self, what: fn(&Pool) -> bool) -> u64 {
        match self.measured.pools.len() {
            0 => self.measured.all.requests(),
            _ => {
                let pools = entry_pools(self.model).into_iter().filter(|&p| what(&self.model.pools[p]));
                pools.map(|p| self.measured.pools[p].requests()).sum()
            }
        }
    }

    fn pools(&self) -> Vec<usize> {
        match self.part {
            Part::Pool(p) => vec![p],
            _ => (0..self.model.pools.len()).collect(),
        }
    }

    /// The servers of this part.
    pub fn servers(&self) -> impl Iterator<Item = &ServerRecord> {
        self.pools().into_iter().flat_map(|p| &self.measured.servers[p])
    }

    /// Load relative to capacity of every server of this pool, or of the pools that routes lead to.
    pub fn loads(&self) -> Vec<f64> {
        let pools = match self.part {
            Part::Pool(p) => vec![p],
            _ => entry_pools(self.model),
        };
        loads(&self.model.pools, &self.measured.servers, &pools)
    }

    /// Used capacity over capacity.
    pub fn utilisation(&self) -> f64 {
        utilisation(&self.model.pools, &self.measured.servers, &self.pools())
    }

    /// Requests and attempts that were sent to servers of the pools that routes lead to.
    pub fn entry_picks(&self) -> u64 {
        let servers = entry_pools(self.model).into_iter().filter_map(|p| self.measured.servers.get(p)).flatten();
        servers.map(|server| server.picks).sum()
    }

    /// Mean number of servers of this pool.
    pub fn server_count(&self) -> f64 {
        let time = self.part.only_pool(self.model).and_then(|p| self.measured.server_time.get(p));
        time.map_or(f64::NAN, |&time| time as f64 / 1e9 / self.seconds)
    }
}

/// A quotient of counts; NaN if the denominator is 0.
pub fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { f64::NAN } else { part as f64 / whole as f64 }
}

/// The mean; NaN without values.
pub fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    for value in values {
        sum += value;
        count += 1;
    }
    if count == 0 { f64::NAN } else { sum / f64::from(count) }
}

/// A quantile of latencies in seconds; NaN without values.
pub fn at_quantile(latency: &Histogram<u64>, quantile: f64) -> f64 {
    if latency.is_empty() { f64::NAN } else { latency.value_at_quantile(quantile) as f64 / 1e9 }
}

/// Each server's share of its pool's requests over its share of the pool's capacity: 1 is fair.
pub fn loads(pools: &[Pool], servers: &[Vec<ServerRecord>], which: &[usize]) -> Vec<f64> {
    let mut loads = Vec::new();
    for &p in which {
        let requests: u64 = servers[p].iter().map(|server| server.picks).sum();
        let capacity: f64 = pools[p].servers.iter().map(|server| server.capacity()).sum();
        for (server, spec) in servers[p].iter().zip(&pools[p].servers) {
            loads.push(ratio(server.picks, requests) / (spec.capacity() / capacity));
        }
    }
    loads
}

/// Jain's index: (Σx)² / (n Σx²), 1 when all are equal, 1/n when one has all.
pub fn jain(x: &[f64]) -> f64 {
    let (sum, squares) = x.iter().fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
    if squares > 0.0 { sum * sum / (x.len() as f64 * squares) } else { f64::NAN }
}

/// The largest over the mean.
pub fn max_over_mean(x: &[f64]) -> f64 {
    let average = mean(x.iter().copied());
    x.iter().copied().fold(0.0, f64::max) / average
}

/// Used capacity over capacity.
pub fn utilisation(pools: &[Pool], servers: &[Vec<ServerRecord>], which: &[usize]) -> f64 {
    let (mut used, mut capacity) = (0.0, 0.0);
    for &p in which {
        for (server, spec) in servers[p].iter().zip(&pools[p].servers) {
            used += server.utilisation * spec.capacity();
            capacity += spec.capacity();
        }
    }
    used / capacity
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fairness_by_hand() {
        // (1+2+3)² / (3 · 14)
        assert!((jain(&[1.0, 2.0, 3.0]) - 36.0 / 42.0).abs() < 1e-12);
        assert_eq!(jain(&[0.0, 0.0, 4.0, 0.0]), 0.25);
        assert_eq!(max_over_mean(&[1.0, 2.0, 3.0]), 1.5);
    }

    #[test]
    fn a_path_in_a_name() {
        assert_eq!((path_name("/"), path_name("/Pay/v1_x")), ("root".to_owned(), "pay-v1-x".to_owned()));
    }
}
