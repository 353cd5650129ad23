//! A tree in pieces: stretches of leaves are hashed apart, by whoever has the time, and put together in order.
//!
//! A stretch of leaves, whatever its ends, consists of few perfect trees that are whole parts of the log's tree (see
//! [`Frontier::append_tree`]); that is all that is left of it.

use super::tree::{Frontier, Hash, node_hash};

/// The root of a perfect tree of `2^level` leaves, the first of which has an index that is a multiple of that number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    pub level: u32,
    pub root: Hash,
}

/// Leaves that follow each other, from some index on, as the perfect trees that they are.
#[derive(Debug, Clone)]
pub struct Run {
    next: u64,
    level_max: u32,
    pieces: Vec<Piece>,
}

impl Run {
    /// `first`: index of the first leaf. `level_max`: no piece has more than `2^level_max` leaves.
    pub fn new(first: u64, level_max: u32) -> Self {
        Self { next: first, level_max, pieces: Vec::new() }
    }

    pub fn push(&mut self, leaf: Hash) {
        let mut piece = Piece { level: 0, root: leaf };
        // A right half finds its left half in front of it, unless the run begins between them.
        while piece.level < self.level_max && (self.next >> piece.level) & 1 == 1 {
            let Some(left) = self.pieces.pop_if(|left| left.level == piece.level) else { break };
            piece = Piece { level: piece.level + 1, root: node_hash(&left.root, &piece.root) };
        }
        self.pieces.push(piece);
        self.next += 1;
    }

    /// Index of the leaf that would be pushed next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The pieces so far, first to last; the run goes on behind them.
    pub fn take(&mut self) -> Vec<Piece> {
        std::mem::take(&mut self.pieces)
    }
}

/// Every hash of a tree from one level upwards, so that a proof of any of its nodes is looked up.
///
/// A node without a right neighbour stands for itself one level up, which gives the tree of RFC 6962 (section 2.1) whatever
/// its size. What lies before the first node is known by its peaks, which are all that proofs of later nodes need of it.
#[derive(Debug)]
pub struct Levels {
    levels: Vec<Level>,
}

#[derive(Debug)]
struct Level {
    first: u64,
    nodes: Vec<Hash>,
}

impl Levels {
    /// `before`: the tree to the left of `nodes`, counted in such nodes; there must be at least one node.
    pub fn new(before: &Frontier, nodes: Vec<Hash>) -> Self {
        let mut peaks = before.peaks().to_vec();
        let mut level = Level { first: before.size(), nodes };
        let mut levels = Vec::new();
        loop {
            if level.first & 1 == 1 {
                level.nodes.splice(..0, peaks.pop());
                level.first -= 1;
            }
            let parents = level.nodes.chunks(2).map(|pair| match pair {
                [left, right] => node_hash(left, right),
                alone => alone[0],
            });
            let above = Level { first: level.first / 2, nodes: parents.collect() };
            let is_root = level.first == 0 && level.nodes.len() <= 1;
            levels.push(level);
            if is_root {
                return Self { levels };
            }
            level = above;
        }
    }

    /// The proof of node `index`, from its neighbour upwards. `None` where the tree has no such node, or where it is among
    /// those before the first.
    pub fn path(&self, index: u64) -> Option<Vec<Hash>> {
        self.levels.first()?.node(index)?;
        let siblings = self.levels.iter().enumerate().filter_map(|(up, level)| level.node((index >> up) ^ 1));
        Some(siblings.collect())
    }

    pub fn root(&self) -> Option<Hash> {
        self.levels.last()?.node(0)
    }
}

impl Level {
    fn node(&self, index: u64) -> Option<Hash> {
        self.nodes.get(usize::try_from(index.checked_sub(self.first)?).ok()?).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{inclusion_path, leaf_hash, verify_inclusion};
    use super::*;

    fn leaves(range: std::ops::Range<u64>) -> Vec<Hash> {
        range.map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    fn frontier(leaves: &[Hash]) -> Frontier {
        let mut frontier = Frontier::new();
        leaves.iter().for_each(|leaf| frontier.append(*leaf));
        frontier
    }

    proptest! {
        #[test]
        fn pieces_give_the_tree_of_their_leaves(cuts in proptest::collection::vec(1u64..90, 1..8), level_max in 0u32..9) {
            let mut whole = Frontier::new();
            let mut first = 0;
            for length in cuts {
                let mut run = Run::new(first, level_max);
                leaves(first..first + length).into_iter().for_each(|leaf| run.push(leaf));
                prop_assert_eq!(run.next(), first + length);
                for piece in run.take() {
                    prop_assert!(piece.level <= level_max);
                    whole.append_tree(piece.level, piece.root);
                }
                first += length;
                prop_assert_eq!(&whole, &frontier(&leaves(0..first)));
            }
        }

        /// Proofs looked up in levels over blocks, with any number of leaves gone, verify, and are as long as they must be.
        #[test]
        fn proofs_are_looked_up(size in 1u64..600, gone in 0u64..600, block in 0u32..7, at in any::<u64>()) {
            let gone = gone % size;
            let index = gone + at % (size - gone);
            let all = leaves(0..size);
            let (low, high) = frontier(&all[..gone as usize]).split(block);
            let mut nodes = Vec::new();
            let mut inner = None;
            for n in gone >> block..=(size - 1) >> block {
                let (first, end) = ((n << block).max(gone), ((n + 1) << block).min(size));
                let before = if n == gone >> block { low.clone() } else { Frontier::new() };
                let levels = Levels::new(&before, all[first as usize..end as usize].to_vec());
                nodes.push(levels.root().expect("a root"));
                if n == index >> block {
                    inner = levels.path(index - (n << block));
                }
            }
            let outer = Levels::new(&high, nodes);
            let root = frontier(&all).root();
            prop_assert_eq!(outer.root(), Some(root));
            let path = [inner.expect("a path"), outer.path(index >> block).expect("a path")].concat();
            prop_assert_eq!(path.len(), inclusion_path(index, size).expect("a path").len());
            prop_assert!(verify_inclusion(&all[index as usize], index, size, &path, &root));
        }
    }

    #[test]
    fn what_is_gone_or_not_there_has_no_path() {
        let all = leaves(0..11);
        let levels = Levels::new(&frontier(&all[..6]), all[6..].to_vec());
        assert_eq!((levels.path(5), levels.path(11)), (None, None));
        assert!(levels.path(6).is_some() && levels.path(10).is_some());
    }
}
