//! The servers that may be picked, ordered by requests in flight per weight: which have the fewest, how heavy these are
//! together, and which of them stands at a given place.
//!
//! A binary tree over blocks of slots. Each node holds the least load below it and the sum of the weights that are tied for
//! it. A change of one count recomputes a block and its ancestors, until a node stays as it is. Loads are compared by
//! cross-multiplication: exactly.

/// Slots per leaf of the tree.
const BLOCK: usize = 8;

/// The least loaded of some servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Least {
    /// Requests in flight of one of them.
    count: u32,
    /// Its weight; zero where there is no server.
    weight: u32,
    /// The sum of the weights of all that have this load.
    tied: u64,
}

impl Least {
    /// Of no server: more than any load.
    pub(crate) const NONE: Least = Least { count: 1, weight: 0, tied: 0 };

    /// Of one server. A weight of zero stands for no server.
    #[inline]
    pub(crate) fn of(count: u32, weight: u32) -> Least {
        if weight == 0 { Least::NONE } else { Least { count, weight, tied: u64::from(weight) } }
    }

    /// The least loaded of both groups.
    #[inline]
    pub(crate) fn or(self, other: Least) -> Least {
        let own = u64::from(self.count) * u64::from(other.weight);
        let others = u64::from(other.count) * u64::from(self.weight);
        let tied = if own <= others { self.tied } else { 0 } + if others <= own { other.tied } else { 0 };
        let first = if own <= others { self } else { other };
        Least { tied, ..first }
    }

    /// Whether a group has this load, which is the least of all.
    #[inline]
    pub(crate) fn is_load_of(self, group: Least) -> bool {
        group.weight > 0
            && u64::from(self.count) * u64::from(group.weight) == u64::from(group.count) * u64::from(self.weight)
    }

    /// The sum of the weights of the servers that have this load.
    #[inline]
    pub(crate) fn tied(self) -> u64 {
        self.tied
    }

    /// The weight of one of them: of the only one, where `tied` is the same.
    #[inline]
    pub(crate) fn weight(self) -> u32 {
        self.weight
    }
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(crate) struct LoadIndex {
    /// By slot; zero for servers that may not be picked.
    weights: Vec<u32>,
    /// The root is at 1, the children of `n` at `2 n` and `2 n + 1`, the leaves in the second half.
    nodes: Vec<Least>,
}

impl LoadIndex {
    /// An index of servers with these weights, zero for those that may not be picked, and these counts.
    pub(super) fn new(weights: Vec<u32>, counts: &[u32]) -> LoadIndex {
        let leaves = weights.len().div_ceil(BLOCK).next_power_of_two();
        let mut index = LoadIndex { weights, nodes: vec![Least::NONE; 2 * leaves] };
        for leaf in 0..leaves {
            index.nodes[leaves + leaf] = index.block(leaf, counts, &[]);
        }
        for node in (1..leaves).rev() {
            index.nodes[node] = index.nodes[2 * node].or(index.nodes[2 * node + 1]);
        }
        index
    }

    /// Takes over a changed count.
    pub(super) fn update(&mut self, slot: u32, counts: &[u32]) {
        let leaf = slot as usize / BLOCK;
        let mut node = self.nodes.len() / 2 + leaf;
        let mut least = self.block(leaf, counts, &[]);
        while self.nodes[node] != least {
            self.nodes[node] = least;
            if node == 1 {
                break;
            }
            least = self.nodes[node & !1].or(self.nodes[node | 1]);
            node /= 2;
        }
    }

    /// Sets a server's weight; zero where it may not be picked.
    pub(super) fn set_weight(&mut self, slot: u32, weight: u32, counts: &[u32]) {
        self.weights[slot as usize] = weight;
        self.update(slot, counts);
    }

    /// Whether this slot's server may be picked.
    #[inline]
    pub(crate) fn holds(&self, slot: u32) -> bool {
        self.weights.get(slot as usize).is_some_and(|&weight| weight > 0)
    }

    /// The least loaded servers, apart from `excluded`, which is sorted. `counts` are those of the fleet.
    pub(crate) fn least(&self, counts: &[u32], excluded: &[u32]) -> Least {
        self.below(1, 0..self.nodes.len() / 2, counts, excluded)
    }

    /// The slot at `place` of those that have the load `least`, each with as many places as its weight, in the order of the
    /// slots. `least` is [`LoadIndex::least`] of the same arguments; `place` must be below its `tied`.
    pub(crate) fn slot(&self, counts: &[u32], excluded: &[u32], least: Least, mut place: u64) -> Option<u32> {
        let leaves = self.nodes.len() / 2;
        let (mut node, mut blocks) = (1, 0..leaves);
        while node < leaves {
            let middle = (blocks.start + blocks.end) / 2;
            let left = self.below(2 * node, blocks.start..middle, counts, excluded);
            let here = if least.is_load_of(left) { left.tied } else { 0 };
            if place < here {
                (node, blocks) = (2 * node, blocks.start..middle);
            } else {
                place -= here;
                (node, blocks) = (2 * node + 1, middle..blocks.end);
            }
        }
        self.slots_of(node - leaves).find(|&slot| {
            let own = self.server(slot, counts, excluded);
            let here = if least.is_load_of(own) { own.tied } else { 0 };
            let found = place < here;
            place = place.wrapping_sub(here);
            found
        })
    }

    /// The least below a node that covers these blocks. Only nodes above an excluded slot are computed.
    fn below(&self, node: usize, blocks: std::ops::Range<usize>, counts: &[u32], excluded: &[u32]) -> Least {
        let from = excluded.partition_point(|&slot| (slot as usize) < blocks.start * BLOCK);
        let to = excluded.partition_point(|&slot| (slot as usize) < blocks.end * BLOCK);
        if from == to {
            return self.nodes[node];
        }
        let excluded = &excluded[from..to];
        if blocks.len() == 1 {
            return self.block(blocks.start, counts, excluded);
        }
        let middle = (blocks.start + blocks.end) / 2;
        let left = self.below(2 * node, blocks.start..middle, counts, excluded);
        left.or(self.below(2 * node + 1, middle..blocks.end, counts, excluded))
    }

    fn slots_of(&self, leaf: usize) -> std::ops::Range<u32> {
        (leaf * BLOCK).min(self.weights.len()) as u32..((leaf + 1) * BLOCK).min(self.weights.len()) as u32
    }

    fn block(&self, leaf: usize, counts: &[u32], excluded: &[u32]) -> Least {
        self.slots_of(leaf).fold(Least::NONE, |least, slot| least.or(self.server(slot, counts, excluded)))
    }

    fn server(&self, slot: u32, counts: &[u32], excluded: &[u32]) -> Least {
        let weight = if excluded.contains(&slot) { 0 } else { self.weights[slot as usize] };
        Least::of(counts[slot as usize], weight)
    }
}
