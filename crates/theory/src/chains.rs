//! Exact Markov chains of a balancer that looks at queue lengths: Poisson arrivals, exponential service. A state is the
//! queue length of each server (sorted, where the servers are equal), a *level* is their sum; every jump goes one level up or
//! down.
//!
//! **Where the chain is cut.** The sum is not cut at all: above some level the chain repeats itself, and the matrix that takes
//! the equilibrium from one level to the next is found there as a fixed point (M. Neuts, *Matrix-Geometric Solutions in
//! Stochastic Models*, 1981; here one level at a time, so that the matrices stay small), to 1e-14. What is cut is the
//! difference between the longest queue and the shortest: where a departure would make it larger than a bound, the customer
//! leaves the longest queue instead, and an arrival that would do so joins the shortest, as if one had changed queues
//! ("threshold jockeying": I. Adan, G. van Houtum and J. van der Wal, "Upper and lower bounds for the waiting time in the
//! symmetric shortest queue system", Ann. Oper. Res. 48, 1994). No work is lost by it; the mean errs to the low side, by a few
//! times [`Solved::edge`], the probability of states at the bound. At a load of 0.9 that is below 1e-11, except for two
//! choices of four servers: 2e-9 if they are distinct, 8e-8 if they may be the same. At lower loads it is far less.

use super::numeric::{beyond, erlang_mixture_tail, quantile};

/// The largest difference between two queues that is kept, for two, three and four equal servers, by how hard a rule pulls
/// them together.
const SPREAD_SHORTEST: [u32; 3] = [60, 26, 16];
const SPREAD_TWO: [u32; 3] = [60, 34, 20];

/// The same for two unlike servers, of which the slow one can keep a long queue while the fast one runs empty.
const UNEQUAL_SPREAD: u32 = 100;

/// How an arrival chooses among equal servers; ties are broken at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The shortest queue of all.
    Shortest,
    /// The shorter of two different queues drawn at random.
    TwoDistinct,
    /// The shorter of two queues drawn at random, which may be the same one.
    TwoReplaced,
}

/// What the shortest queue does with a tie between two unlike servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ties {
    /// Each of the two with probability 1/2.
    Random,
    /// The first of the two servers.
    First,
}

/// A Markov chain in equilibrium.
#[derive(Clone, Debug)]
pub struct Solved {
    /// Mean sojourn, from the mean number in the system (Little's law).
    pub mean: f64,
    /// Per kind of server (equal servers are one kind): probability that one of them is busy.
    pub busy: Vec<f64>,
    /// Per kind of server: probability that an arrival joins one of them and finds k requests there, by k.
    pub joined: Vec<Vec<f64>>,
    /// Probability of the states at the bound: the order of the truncation error.
    pub edge: f64,
    rates: Vec<f64>,
}

impl Solved {
    /// Probability that an arrival joins a busy server. (Poisson arrivals see the equilibrium.)
    pub fn joins_busy(&self) -> f64 {
        1.0 - self.joined.iter().map(|kind| kind[0]).sum::<f64>()
    }

    /// Quantile of the sojourn under first come first served: an arrival that finds k requests stays for k + 1 exponential
    /// times.
    pub fn quantile(&self, q: f64) -> f64 {
        let kinds: Vec<(Vec<f64>, f64)> =
            self.joined.iter().map(|k| beyond(k)).zip(self.rates.iter().copied()).collect();
        quantile(|t| kinds.iter().map(|(beyond, mu)| erlang_mixture_tail(beyond, *mu, t)).sum(), q, self.mean)
    }
}

/// Two to four equal servers with arrivals of rate `lam` in all; `None` where the load is one or more.
///
/// Two choices of four servers take about two seconds, everything else less than half of one.
pub fn equal(rule: Rule, servers: u32, lam: f64, mu: f64) -> Option<Solved> {
    assert!((2..=4).contains(&servers), "the chains are for two to four servers, not {servers}");
    let spreads = if rule == Rule::Shortest { SPREAD_SHORTEST } else { SPREAD_TWO };
    let spread = spreads[servers as usize - 2];
    solve(&Chain { servers: servers as usize, spread, lam, rates: vec![mu], choice: Choice::Equal(rule) })
}

/// Two servers of rates `mu`, each arrival to the shorter queue whatever the rates; `None` where the load is one or more.
pub fn unequal(ties: Ties, lam: f64, mu: [f64; 2]) -> Option<Solved> {
    solve(&Chain { servers: 2, spread: UNEQUAL_SPREAD, lam, rates: mu.to_vec(), choice: Choice::Unequal(ties) })
}

type State = Vec<u32>;

enum Choice {
    Equal(Rule),
    Unequal(Ties),
}

struct Chain {
    servers: usize,
    spread: u32,
    lam: f64,
    /// One for equal servers, else one for each.
    rates: Vec<f64>,
    choice: Choice,
}

impl Chain {
    /// The kind of the server at a place of the state.
    fn kind(&self, place: usize) -> usize {
        place.min(self.rates.len() - 1)
    }

    fn rate(&self, place: usize) -> f64 {
        self.rates[self.kind(place)]
    }

    fn capacity(&self) -> f64 {
        (0..self.servers).map(|place| self.rate(place)).sum()
    }

    /// Equal servers are told apart by their queues alone.
    fn canonical(&self, mut state: State) -> State {
        if self.rates.len() == 1 {
            state.sort_unstable();
        }
        state
    }

    /// The states of a level, in order. Adding one to every queue leads to the states of the level `servers` higher, in the
    /// same order.
    fn states(&self, level: u32) -> Vec<State> {
        let mut found = Vec::new();
        self.extend(&mut Vec::new(), level, &mut found);
        found
    }

    fn extend(&self, prefix: &mut State, left: u32, found: &mut Vec<State>) {
        let shortest = prefix.iter().copied().min().unwrap_or(left);
        let longest = prefix.iter().copied().max().unwrap_or(0);
        if prefix.len() == self.servers {
            if left == 0 && longest - shortest <= self.spread {
                found.push(prefix.clone());
            }
            return;
        }
        let low = if self.rates.len() == 1 { longest } else { 0 };
        let high = if prefix.is_empty() { left } else { left.min(shortest + self.spread) };
        for queue in low..=high {
            prefix.push(queue);
            self.extend(prefix, left - queue, found);
            prefix.pop();
        }
    }

    /// The probability that an arrival joins each place.
    fn choose(&self, state: &[u32]) -> Vec<f64> {
        let mut shares = vec![0.0; self.servers];
        let mut shorter = |among: &[usize], probability: f64| {
            let least = among.iter().map(|&i| state[i]).min();
            let ties: Vec<usize> = among.iter().copied().filter(|&i| Some(state[i]) == least).collect();
            for &i in &ties {
                shares[i] += probability / ties.len() as f64;
            }
        };
        let n = self.servers;
        match self.choice {
            Choice::Equal(Rule::Shortest) | Choice::Unequal(Ties::Random) => shorter(&(0..n).collect::<Vec<_>>(), 1.0),
            Choice::Unequal(Ties::First) => shares[usize::from(state[1] < state[0])] = 1.0,
            Choice::Equal(rule) => {
                let pairs = if rule == Rule::TwoDistinct { n * (n - 1) } else { n * n } as f64;
                for i in 0..n {
                    for j in 0..n {
                        if i != j || rule == Rule::TwoReplaced {
                            shorter(&[i, j], 1.0 / pairs);
                        }
                    }
                }
            }
        }
        shares
    }

    /// Where an arrival to `place` leads, with the cut.
    fn arrive(&self, state: &[u32], place: usize) -> State {
        let mut next = state.to_vec();
        let shortest = (0..self.servers).min_by_key(|&i| state[i]).unwrap_or(place);
        let cut = state[place] - state[shortest] == self.spread;
        next[if cut { shortest } else { place }] += 1;
        self.canonical(next)
    }

    /// Where a departure from `place` leads, with the cut.
    fn depart(&self, state: &[u32], place: usize) -> State {
        let mut next = state.to_vec();
        let longest = (0..self.servers).max_by_key(|&i| state[i]).unwrap_or(place);
        let cut = state[longest] - state[place] == self.spread;
        next[if cut { longest } else { place }] -= 1;
        self.canonical(next)
    }

    fn level(&self, number: u32) -> Level {
        let states = self.states(number);
        let above = self.states(number + 1);
        let below = if number > 0 { self.states(number - 1) } else { Vec::new() };
        let find = |states: &[State], state: &State| states.binary_search(state).expect("every jump leads to a state");
        let mut level =
            Level { up: Vec::new(), down: Vec::new(), out: Vec::new(), chosen: Vec::new(), states: Vec::new() };
        for state in states {
            let shares = self.choose(&state);
            let (mut up, mut down) = (Vec::new(), Vec::new());
            for (place, share) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
                up.push((find(&above, &self.arrive(&state, place)), self.lam * share));
            }
            for place in (0..self.servers).filter(|&place| state[place] > 0) {
                down.push((find(&below, &self.depart(&state, place)), self.rate(place)));
            }
            level.out.push(self.lam + down.iter().map(|(_, rate)| rate).sum::<f64>());
            level.up.push(up);
            level.down.push(down);
            level.chosen.push(shares);
            level.states.push(state);
        }
        level
    }
}

/// The states with one sum, and the jumps out of them: `(state of the next level, rate)`.
struct Level {
    states: Vec<State>,
    /// Probabilities of the places that an arrival may join.
    chosen: Vec<Vec<f64>>,
    up: Vec<Vec<(usize, f64)>>,
    down: Vec<Vec<(usize, f64)>>,
    /// Total rate of jumps.
    out: Vec<f64>,
}

/// A dense matrix by rows.
struct Matrix {
    width: usize,
    cells: Vec<f64>,
}

impl Matrix {
    fn zero(height: usize, width: usize) -> Self {
        Self { width, cells: vec![0.0; height * width] }
    }

    fn row(&self, i: usize) -> &[f64] {
        &self.cells[i * self.width..][..self.width]
    }

    fn row_mut(&mut self, i: usize) -> &mut [f64] {
        &mut self.cells[i * self.width..][..self.width]
    }

    /// `vector` (a row) times this.
    fn after(&self, vector: &[f64]) -> Vec<f64> {
        let mut product = vec![0.0; self.width];
        for (i, &weight) in vector.iter().enumerate() {
            add(&mut product, weight, self.row(i));
        }
        product
    }

    /// The largest difference between two cells.
    fn distance(&self, other: &Self) -> f64 {
        self.cells.iter().zip(&other.cells).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }

    /// Gauss and Jordan in place. No pivots are sought: these matrices are dominated by their diagonals.
    fn invert(&mut self) {
        for k in 0..self.width {
            let row = self.row_mut(k);
            let pivot = 1.0 / row[k];
            row[k] = 1.0;
            row.iter_mut().for_each(|cell| *cell *= pivot);
            let pivots = row.to_vec();
            for i in (0..self.width).filter(|&i| i != k) {
                let row = self.row_mut(i);
                let factor = row[k];
                row[k] = 0.0;
                add(row, -factor, &pivots);
            }
        }
    }
}

fn add(sum: &mut [f64], factor: f64, row: &[f64]) {
    for (s, r) in sum.iter_mut().zip(row) {
        *s += factor * r;
    }
}

/// The matrix that takes the equilibrium of the level `below` to that of `here`: R = U (D - R' V)^-1, with U the rates up to
/// here, D those out of here, R' the matrix to the level above and V the rates down from there. Without a level above, arrivals here are lost.
fn rise(below: &Level, here: &Level, above: Option<(&Level, &Matrix)>) -> Matrix {
    let size = here.out.len();
    let mut inner = Matrix::zero(size, size);
    for i in 0..size {
        let to = inner.row_mut(i);
        to[i] = here.out[i];
        match above {
            Some((above, next)) => {
                for (weight, jumps) in next.row(i).iter().zip(&above.down) {
                    for (target, rate) in jumps {
                        to[*target] -= weight * rate;
                    }
                }
            }
            None => to[i] -= here.up[i].iter().map(|(_, rate)| rate).sum::<f64>(),
        }
    }
    inner.invert();
    let mut matrix = Matrix::zero(below.out.len(), size);
    for (i, jumps) in below.up.iter().enumerate() {
        for (target, rate) in jumps {
            add(matrix.row_mut(i), *rate, inner.row(*target));
        }
    }
    matrix
}

/// The levels up to the first that repeat, and the matrices between them: `rises[m]` leads to level m.
struct Ladder {
    levels: Vec<Level>,
    rises: Vec<Matrix>,
    /// The first level that repeats.
    first: usize,
}

impl Ladder {
    fn climb(chain: &Chain) -> Self {
        let period = chain.servers;
        // From here on no server can be idle, so only the number changes.
        let first = (period - 1) * chain.spread as usize + 1;
        let levels: Vec<Level> = (0..first + period).map(|m| chain.level(m as u32)).collect();
        let mut rises: Vec<Option<Matrix>> = levels.iter().map(|_| None).collect();
        let above = |m: usize, rises: &[Option<Matrix>]| {
            let next = if m + 1 == levels.len() { first } else { m + 1 };
            rise(&levels[m - 1], &levels[m], rises[next].as_ref().map(|matrix| (&levels[next], matrix)))
        };
        // The first time round arrivals beyond the top are lost, which keeps the ratio between levels as it is for one queue
        // of all servers: what is left to settle is how a level divides into states, and that takes few rounds.
        let mut settled = false;
        while !settled {
            settled = true;
            for m in (first..levels.len()).rev() {
                let better = above(m, &rises);
                settled &= rises[m].as_ref().is_some_and(|matrix| matrix.distance(&better) < 1e-14);
                rises[m] = Some(better);
            }
        }
        for m in (1..first).rev() {
            rises[m] = Some(above(m, &rises));
        }
        // Nothing leads to level zero.
        let rises = rises.into_iter().map(|matrix| matrix.unwrap_or(Matrix::zero(0, 1))).collect();
        Self { levels, rises, first }
    }

    /// The place of any level among those that are kept, and by how much every queue is longer than there.
    fn fold(&self, level: usize) -> (usize, u32) {
        let period = self.levels.len() - self.first;
        let turns = level.saturating_sub(self.first) / period;
        (level - turns * period, turns as u32)
    }
}

/// From the empty system upwards, until a level weighs nothing.
fn solve(chain: &Chain) -> Option<Solved> {
    if chain.lam >= chain.capacity() {
        return None;
    }
    let ladder = Ladder::climb(chain);
    let kinds = chain.rates.len();
    let mut sums = Solved {
        mean: 0.0,
        busy: vec![0.0; kinds],
        joined: vec![Vec::new(); kinds],
        edge: 0.0,
        rates: chain.rates.clone(),
    };
    let (mut total, mut equilibrium) = (0.0, vec![1.0]);
    for number in 0.. {
        let (place, longer) = ladder.fold(number);
        let mass: f64 = equilibrium.iter().sum();
        total += mass;
        sums.mean += mass * number as f64 / chain.lam;
        collect(chain, &ladder.levels[place], longer, &equilibrium, &mut sums);
        if number > ladder.first && mass * (number as f64) < 1e-18 * total {
            break;
        }
        equilibrium = ladder.rises[ladder.fold(number + 1).0].after(&equilibrium);
    }
    sums.mean /= total;
    sums.edge /= total;
    sums.busy.iter_mut().for_each(|busy| *busy *= kinds as f64 / (total * chain.servers as f64));
    sums.joined.iter_mut().flatten().for_each(|joined| *joined /= total);
    Some(sums)
}

/// What one level adds to the sums.
fn collect(chain: &Chain, level: &Level, longer: u32, equilibrium: &[f64], sums: &mut Solved) {
    for ((state, chosen), weight) in level.states.iter().zip(&level.chosen).zip(equilibrium) {
        let (mut shortest, mut longest) = (u32::MAX, 0);
        for (place, (&queue, share)) in state.iter().zip(chosen).enumerate() {
            (shortest, longest) = (shortest.min(queue), longest.max(queue));
            let (kind, found) = (chain.kind(place), (queue + longer) as usize);
            let joined = &mut sums.joined[kind];
            if joined.len() <= found {
                joined.resize(found + 1, 0.0);
            }
            joined[found] += weight * share;
            sums.busy[kind] += if found > 0 { *weight } else { 0.0 };
        }
        sums.edge += if longest - shortest == chain.spread { *weight } else { 0.0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean from the number in the system and the mean over arrivals agree only if equilibrium and truncation are right;
    /// and arriving work equals completed work. `each` is the number of servers of a kind.
    fn consistent(solved: &Solved, each: f64, lam: f64, within: f64) {
        let mut mean = 0.0;
        for (kind, mu) in solved.joined.iter().zip(&solved.rates) {
            mean += kind.iter().enumerate().map(|(k, p)| p * (k + 1) as f64).sum::<f64>() / mu;
        }
        assert!((mean / solved.mean - 1.0).abs() < within, "{mean} {}, edge {}", solved.mean, solved.edge);
        let done: f64 = solved.busy.iter().zip(&solved.rates).map(|(busy, mu)| each * busy * mu).sum();
        assert!((done / lam - 1.0).abs() < 1e-11, "{done} of {lam}");
    }

    /// Every rule that looks at queues does worse than one queue for all, and better than round robin.
    #[test]
    fn between_the_central_queue_and_round_robin() {
        use crate::{dispatch::round_robin_mean, queues::mmc_mean};
        for (rule, servers) in
            [(Rule::Shortest, 2), (Rule::Shortest, 3), (Rule::TwoDistinct, 3), (Rule::TwoReplaced, 2)]
        {
            let n = f64::from(servers);
            let solved = equal(rule, servers, 0.7 * n, 1.0).unwrap();
            assert!(solved.mean > mmc_mean(0.7 * n, 1.0, servers));
            assert!(solved.mean < round_robin_mean(0.7 * n, 1.0, servers));
            consistent(&solved, n, 0.7 * n, 1e-9);
        }
        assert!(equal(Rule::Shortest, 2, 2.0, 1.0).is_none());
    }

    /// Two servers: two distinct choices are the shortest queue of all.
    #[test]
    fn two_of_two_is_the_shortest() {
        let all = equal(Rule::Shortest, 2, 1.6, 1.0).unwrap();
        let two = equal(Rule::TwoDistinct, 2, 1.6, 1.0).unwrap();
        assert!((all.mean - two.mean).abs() < 1e-12);
        // Two unlike servers that happen to be alike are the same system without the sorting.
        let apart = unequal(Ties::Random, 1.6, [1.0, 1.0]).unwrap();
        assert!((all.mean - apart.mean).abs() < 1e-10, "{} {}", all.mean, apart.mean);
        assert!((all.quantile(0.99) - apart.quantile(0.99)).abs() < 1e-8);
        assert!((apart.busy[0] - 0.8).abs() < 1e-10 && (apart.busy[1] - 0.8).abs() < 1e-10);
    }

    /// Doubling all rates halves every time.
    #[test]
    fn the_unit_of_time_does_not_matter() {
        let slow = unequal(Ties::First, 0.8, [0.75, 0.25]).unwrap();
        let fast = unequal(Ties::First, 1.6, [1.5, 0.5]).unwrap();
        assert!((slow.mean - 2.0 * fast.mean).abs() < 1e-9);
        assert!((slow.quantile(0.9) - 2.0 * fast.quantile(0.9)).abs() < 1e-9);
        consistent(&fast, 1.0, 1.6, 1e-10);
    }

    #[test]
    fn four_servers_are_cut_far_out() {
        let solved = equal(Rule::Shortest, 4, 3.2, 1.0).unwrap();
        assert!(solved.edge < 1e-13, "{}", solved.edge);
        consistent(&solved, 4.0, 3.2, 1e-10);
        assert!((solved.joins_busy() - (1.0 - solved.joined[0][0])).abs() < 1e-15);
    }
}
