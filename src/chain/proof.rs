//! Proofs in the tree: that a record is in it (inclusion), and that a tree begins with an earlier one (consistency).
//!
//! A proof is made in two steps. A path says which ranges of leaves a proof's hashes stand for; whoever has the leaves gives
//! the root of each range (see [`super::Frontier`]), in the path's order, and these are the proof. The form is that of
//! RFC 6962, section 2.1; the verifiers follow RFC 9162, sections 2.1.3.2 and 2.1.4.2.

use std::ops::Range;

use super::tree::{Hash, node_hash};

/// The ranges of leaves whose roots prove that leaf `index` is in the tree of `size` leaves, from the leaf upwards. `None`
/// where the tree has no such leaf.
pub fn inclusion_path(index: u64, size: u64) -> Option<Vec<Range<u64>>> {
    if index >= size {
        return None;
    }
    let (mut all, mut path) = (0..size, Vec::new());
    while length(&all) > 1 {
        let (left, right) = halves(&all);
        let (towards, away) = if left.contains(&index) { (left, right) } else { (right, left) };
        path.push(away);
        all = towards;
    }
    path.reverse();
    Some(path)
}

/// The ranges of leaves whose roots prove that the tree of `new` leaves begins with the tree of `old` leaves. `None` where
/// `old` is zero or more than `new`: there is nothing to prove.
pub fn consistency_path(old: u64, new: u64) -> Option<Vec<Range<u64>>> {
    if old == 0 || old > new {
        return None;
    }
    let (mut all, mut path) = (0..new, Vec::new());
    // Down to the range that ends where the old tree ends.
    while all.end != old {
        let (left, right) = halves(&all);
        let (towards, away) = if old <= left.end { (left, right) } else { (right, left) };
        path.push(away);
        all = towards;
    }
    // Whoever checks the proof knows the old tree's root already.
    if all.start != 0 {
        path.push(all);
    }
    path.reverse();
    Some(path)
}

/// Whether `proof` shows that the tree of `size` leaves with this root has `leaf` at `index`.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut at, mut last, mut hash) = (index, size - 1, *leaf);
    for step in proof {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(step, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, step);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether `proof` shows that the tree of `new` leaves begins with the tree of `old` leaves. Every tree begins with the empty
/// one and with itself, which needs no proof.
pub fn verify_consistency(old: u64, old_root: &Hash, new: u64, new_root: &Hash, proof: &[Hash]) -> bool {
    if old > new {
        return false;
    }
    if old == new {
        return proof.is_empty() && old_root == new_root;
    }
    if old == 0 {
        return proof.is_empty();
    }
    let (first, rest) = match proof {
        // The old tree is a perfect one, and stands for itself.
        _ if old.is_power_of_two() => (*old_root, proof),
        [first, rest @ ..] => (*first, rest),
        [] => return false,
    };
    let shift = (old - 1).trailing_ones();
    let (mut at, mut last) = ((old - 1) >> shift, (new - 1) >> shift);
    let (mut old_hash, mut new_hash) = (first, first);
    for step in rest {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            old_hash = node_hash(step, &old_hash);
            new_hash = node_hash(step, &new_hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, step);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && old_hash == *old_root && new_hash == *new_root
}

/// A range of two leaves or more, split where RFC 6962 splits it: at the largest power of two below its length.
fn halves(range: &Range<u64>) -> (Range<u64>, Range<u64>) {
    let left = 1 << (length(range) - 1).ilog2();
    let middle = range.start + left;
    (range.start..middle, middle..range.end)
}

fn length(range: &Range<u64>) -> u64 {
    range.end - range.start
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tlog_tiles::tlog;

    use super::super::tree::tests::{hex, inputs};
    use super::super::tree::{Frontier, leaf_hash};
    use super::*;

    fn leaves(n: u64) -> Vec<Hash> {
        (0..n).map(|i| leaf_hash(format!("record {i}").as_bytes())).collect()
    }

    fn root(leaves: &[Hash]) -> Hash {
        let mut frontier = Frontier::new();
        leaves.iter().for_each(|leaf| frontier.append(*leaf));
        frontier.root()
    }

    fn roots(path: Vec<Range<u64>>, leaves: &[Hash]) -> Vec<Hash> {
        path.into_iter().map(|range| root(&leaves[range.start as usize..range.end as usize])).collect()
    }

    fn foreign(hashes: &[Hash]) -> Vec<tlog::Hash> {
        hashes.iter().map(|hash| tlog::Hash(hash.0)).collect()
    }

    /// All hashes that the other implementation stores for a log with these leaves.
    struct Stored(Vec<tlog::Hash>);

    impl tlog::HashReader for Stored {
        fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog::Error> {
            Ok(indexes.iter().map(|index| self.0[*index as usize]).collect())
        }
    }

    fn stored(leaves: &[Hash]) -> Stored {
        let mut all = Stored(Vec::new());
        for (n, leaf) in leaves.iter().enumerate() {
            let more = tlog::stored_hashes_for_record_hash(n as u64, tlog::Hash(leaf.0), &all).expect("stored hashes");
            all.0.extend(more);
        }
        all
    }

    #[test]
    fn proofs_are_those_of_the_reference_implementation() {
        let leaves: Vec<Hash> = inputs().iter().map(|input| leaf_hash(input)).collect();
        let proof = |path: Option<Vec<Range<u64>>>| -> Vec<String> {
            roots(path.expect("a path"), &leaves).iter().map(hex).collect()
        };
        assert_eq!(
            proof(inclusion_path(5, 8)),
            [
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ]
        );
        assert_eq!(proof(inclusion_path(2, 3)), ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]);
        assert_eq!(
            proof(consistency_path(6, 8)),
            [
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ]
        );
        assert_eq!(
            proof(consistency_path(2, 5)),
            [
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ]
        );
        assert_eq!(inclusion_path(3, 3), None);
        assert_eq!(consistency_path(0, 3), None);
        assert_eq!(consistency_path(4, 3), None);
    }

    #[test]
    fn every_proof_of_small_trees_equals_another_implementations() {
        let leaves = leaves(40);
        let stored = stored(&leaves);
        for new in 1..=leaves.len() as u64 {
            let all = &leaves[..new as usize];
            let new_root = root(all);
            assert_eq!(tlog::tree_hash(new, &stored).expect("a root").0, new_root.0);
            for n in 0..new {
                let proof = roots(inclusion_path(n, new).expect("a path"), all);
                assert_eq!(tlog::prove_record(new, n, &stored).expect("a proof"), foreign(&proof));
                assert!(verify_inclusion(&leaves[n as usize], n, new, &proof, &new_root));
            }
            for old in 1..=new {
                let proof = roots(consistency_path(old, new).expect("a path"), all);
                assert_eq!(tlog::prove_tree(new, old, &stored).expect("a proof"), foreign(&proof));
                assert!(verify_consistency(old, &root(&leaves[..old as usize]), new, &new_root, &proof));
            }
        }
    }

    proptest! {
        /// What either verifier accepts, the other does: over right proofs, and over proofs with one thing wrong.
        #[test]
        fn verifiers_agree_with_another_implementation(
            new in 1u64..300, a in any::<u64>(), wrong in 0usize..7, at in any::<usize>(),
        ) {
            let leaves = leaves(new);
            let index = a % new;
            let (mut size, mut n, mut leaf, mut top) = (new, index, leaves[index as usize], root(&leaves));
            let mut proof = roots(inclusion_path(index, new).expect("a path"), &leaves);
            match wrong {
                0 => {}
                1 => size += 1 + (at % 3) as u64,
                2 => n = (n + 1 + (at as u64 % 5)) % new,
                3 => leaf.0[at % 32] ^= 1,
                4 => top.0[at % 32] ^= 1,
                5 if !proof.is_empty() => { let i = at % proof.len(); proof[i].0[at % 32] ^= 1; }
                _ => proof.push(leaf),
            }
            let theirs = tlog::check_record(&foreign(&proof), size, tlog::Hash(top.0), n, tlog::Hash(leaf.0)).is_ok();
            prop_assert_eq!(verify_inclusion(&leaf, n, size, &proof, &top), theirs);
            if wrong == 0 || wrong == 3 || wrong == 4 {
                prop_assert_eq!(theirs, wrong == 0);
            }
        }

        #[test]
        fn verifiers_of_consistency_agree_too(
            new in 1u64..300, a in any::<u64>(), wrong in 0usize..6, at in any::<usize>(),
        ) {
            let leaves = leaves(new);
            let old = 1 + a % new;
            let (mut small, mut size) = (old, new);
            let (mut below, mut top) = (root(&leaves[..old as usize]), root(&leaves));
            let mut proof = roots(consistency_path(old, new).expect("a path"), &leaves);
            match wrong {
                0 => {}
                1 => size += 1,
                2 => small = 1 + (small + at as u64 % 5) % new,
                3 => below.0[at % 32] ^= 1,
                4 => top.0[at % 32] ^= 1,
                _ if !proof.is_empty() => { let i = at % proof.len(); proof.remove(i); }
                _ => proof.push(top),
            }
            let theirs =
                tlog::check_tree(&foreign(&proof), size, tlog::Hash(top.0), small, tlog::Hash(below.0)).is_ok();
            prop_assert_eq!(verify_consistency(small, &below, size, &top, &proof), theirs);
            if wrong == 0 || wrong == 3 || wrong == 4 {
                prop_assert_eq!(theirs, wrong == 0);
            }
        }
    }
}
