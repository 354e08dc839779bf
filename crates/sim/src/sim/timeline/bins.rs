//! The series of a timeline: a fixed number of cells. When all are in use, bins are merged in pairs, so that a bin is twice as
//! long from then on.

use std::collections::BTreeMap;

use super::{PoolSeries, ServerSeries};
use crate::sim::record::ENDS;

/// Width of a bin at first.
const FIRST_WIDTH: u64 = 100_000_000;
/// Most cells, of servers and pools together; a pool counts as [`POOL_CELLS`].
const MOST_CELLS: usize = 1 << 16;
/// A pool's cell in those of a server.
const POOL_CELLS: usize = 2;
/// Most bins.
const MOST_BINS: usize = 1024;
/// There are so many bins even where there are more servers than cells.
const LEAST_BINS: usize = 16;

/// A server in a bin.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cell {
    pub(super) picks: u32,
    pub(super) in_server: u32,
    pub(super) errors: u32,
    pub(super) hits: u32,
    pub(super) misses: u32,
    pub(super) evictions: u32,
}

impl Cell {
    fn merge(self, later: Cell) -> Cell {
        Cell {
            picks: self.picks + later.picks,
            in_server: self.in_server.max(later.in_server),
            errors: self.errors + later.errors,
            hits: self.hits + later.hits,
            misses: self.misses + later.misses,
            evictions: self.evictions + later.evictions,
        }
    }
}

/// A pool in a bin.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PoolCell {
    pub(super) arrivals: u32,
    pub(super) ends: [u32; ENDS.len()],
    pub(super) retries: u32,
    pub(super) hedges: u32,
    pub(super) waiting: u32,
    pub(super) servers: u32,
}

impl PoolCell {
    fn merge(self, later: PoolCell) -> PoolCell {
        PoolCell {
            arrivals: self.arrivals + later.arrivals,
            ends: std::array::from_fn(|i| self.ends[i] + later.ends[i]),
            retries: self.retries + later.retries,
            hedges: self.hedges + later.hedges,
            waiting: self.waiting.max(later.waiting),
            servers: later.servers,
        }
    }
}

/// What carries over from one bin to the next.
pub(super) struct Levels<'a> {
    /// Requests in each server.
    pub(super) in_server: &'a [u32],
    /// Requests that wait at balancers, by pool.
    pub(super) waiting: &'a [u32],
    /// Servers of each pool.
    pub(super) members: &'a [u32],
}

/// All bins so far.
pub(super) struct Bins {
    width: u64,
    most: usize,
    count: usize,
    /// By bin, then by server.
    cells: Vec<Cell>,
    /// By bin, then by pool.
    pools: Vec<PoolCell>,
    /// The first cell of the current bin, and its first pool.
    row: (usize, usize),
}

impl Bins {
    /// One bin, which begins at 0.
    pub(super) fn new(levels: &Levels<'_>) -> Bins {
        let row = levels.in_server.len() + POOL_CELLS * levels.waiting.len();
        // An even number: bins are merged in pairs.
        let most = (MOST_CELLS / row.max(1)).clamp(LEAST_BINS, MOST_BINS) & !1;
        let mut bins = Bins { width: FIRST_WIDTH, most, count: 0, cells: Vec::new(), pools: Vec::new(), row: (0, 0) };
        bins.open(levels);
        bins
    }

    /// End of the current bin.
    pub(super) fn end(&self) -> u64 {
        self.width.saturating_mul(self.count as u64)
    }

    /// The current bin is over: opens the next one.
    pub(super) fn open(&mut self, levels: &Levels<'_>) {
        if self.count == self.most {
            self.merge(levels.in_server.len(), levels.waiting.len());
        }
        self.count += 1;
        self.row = (self.cells.len(), self.pools.len());
        self.cells.extend(levels.in_server.iter().map(|&in_server| Cell { in_server, ..Cell::default() }));
        let pools = levels.waiting.iter().zip(levels.members);
        self.pools.extend(pools.map(|(&waiting, &servers)| PoolCell { waiting, servers, ..PoolCell::default() }));
    }

    fn merge(&mut self, servers: usize, pools: usize) {
        self.count /= 2;
        self.width *= 2;
        for bin in 0..self.count {
            for i in 0..servers {
                let first = 2 * bin * servers + i;
                self.cells[bin * servers + i] = self.cells[first].merge(self.cells[first + servers]);
            }
            for i in 0..pools {
                let first = 2 * bin * pools + i;
                self.pools[bin * pools + i] = self.pools[first].merge(self.pools[first + pools]);
            }
        }
        self.cells.truncate(self.count * servers);
        self.pools.truncate(self.count * pools);
    }

    /// A server in the current bin.
    #[inline]
    pub(super) fn server(&mut self, server: u32) -> &mut Cell {
        &mut self.cells[self.row.0 + server as usize]
    }

    /// A pool in the current bin.
    #[inline]
    pub(super) fn pool(&mut self, pool: u32) -> &mut PoolCell {
        &mut self.pools[self.row.1 + pool as usize]
    }

    /// Width of a bin, nanoseconds.
    pub(super) fn width(&self) -> u64 {
        self.width
    }

    /// Number of bins.
    pub(super) fn count(&self) -> u32 {
        self.count as u32
    }

    /// A value of one server in every bin; empty if it is always zero.
    fn of_server(&self, server: usize, value: impl Fn(&Cell) -> u32) -> Vec<u32> {
        let servers = self.cells.len() / self.count;
        unless_zero(self.cells.iter().skip(server).step_by(servers.max(1)).map(value))
    }

    fn of_pool(&self, pool: usize, value: impl Fn(&PoolCell) -> u32) -> Vec<u32> {
        let pools = self.pools.len() / self.count;
        unless_zero(self.pools.iter().skip(pool).step_by(pools.max(1)).map(value))
    }

    /// The series of a server, without its names.
    pub(super) fn server_series(&self, server: usize) -> ServerSeries {
        ServerSeries {
            picks: self.of_server(server, |cell| cell.picks),
            in_server: self.of_server(server, |cell| cell.in_server),
            errors: self.of_server(server, |cell| cell.errors),
            hits: self.of_server(server, |cell| cell.hits),
            misses: self.of_server(server, |cell| cell.misses),
            evictions: self.of_server(server, |cell| cell.evictions),
            ..ServerSeries::default()
        }
    }

    /// The series of a pool, without its name.
    pub(super) fn pool_series(&self, pool: usize) -> PoolSeries {
        let ends =
            ENDS.iter().map(|&(end, name)| (name.to_owned(), self.of_pool(pool, |cell| cell.ends[end as usize])));
        let outcomes: BTreeMap<_, _> = ends.filter(|(_, series)| !series.is_empty()).collect();
        let servers = self.of_pool(pool, |cell| cell.servers);
        let changes = servers.windows(2).any(|pair| pair[0] != pair[1]);
        PoolSeries {
            arrivals: self.of_pool(pool, |cell| cell.arrivals),
            outcomes,
            retries: self.of_pool(pool, |cell| cell.retries),
            hedges: self.of_pool(pool, |cell| cell.hedges),
            waiting: self.of_pool(pool, |cell| cell.waiting),
            servers: if changes { servers } else { Vec::new() },
            ..PoolSeries::default()
        }
    }
}

fn unless_zero(values: impl Iterator<Item = u32>) -> Vec<u32> {
    let values: Vec<u32> = values.collect();
    if values.iter().all(|&value| value == 0) { Vec::new() } else { values }
}
