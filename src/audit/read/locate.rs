//! Which of some records are not those that were signed.
//!
//! The writer leaves every record's hash beside the records. That file proves nothing by itself, but where its hashes lead
//! from one root that was signed to the next, they are the records that were signed, one by one.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::Path;

use crate::audit::leaves::LEAF;
use crate::chain::{Frontier, Hash, leaf_hash};

/// Records between two checkpoints.
pub(super) struct Stretch<'a> {
    pub records: &'a Path,
    pub leaves: &'a Path,
    /// First record of the segment.
    pub segment: u64,
    /// The tree where everything held.
    pub good: &'a Frontier,
    /// Where in the file the lines are that stand for the records from there on.
    pub bytes: Range<u64>,
    /// What was signed.
    pub size: u64,
    pub root: Hash,
}

/// What has become of them.
pub(super) struct Located {
    /// The tree as signed.
    pub tree: Frontier,
    /// Records in whose place there is another, and its bytes.
    pub changed: Vec<(u64, Range<u64>)>,
    /// No record is missing, and none was put between.
    pub is_aligned: bool,
}

/// Largest stretch that is looked at, in bytes.
const STRETCH_MAX: u64 = 256 << 20;

/// Records that are named, at most.
const CHANGED_MAX: usize = 20;

impl Stretch<'_> {
    /// `None` where the hashes are not there, or not those that were signed.
    pub fn locate(&self) -> Option<Located> {
        let count = self.size.checked_sub(self.good.size())?;
        let length = count.checked_mul(LEAF as u64)?;
        if self.bytes.end - self.bytes.start > STRETCH_MAX || length > STRETCH_MAX {
            return None;
        }
        let from = (self.good.size() - self.segment) * LEAF as u64;
        let leaves = read(self.leaves, from..from + length).ok()?;
        let signed: Vec<Hash> = leaves.chunks_exact(LEAF).filter_map(|leaf| leaf.try_into().map(Hash).ok()).collect();
        let mut tree = self.good.clone();
        signed.iter().for_each(|leaf| tree.append(*leaf));
        if tree.root() != self.root {
            return None;
        }
        let text = read(self.records, self.bytes.clone()).ok()?;
        let mut at = self.bytes.start;
        let lines = text.split_inclusive(|byte| *byte == b'\n').map(|line| {
            let bytes = at..at + line.len() as u64;
            at = bytes.end;
            (leaf_hash(line.strip_suffix(b"\n").unwrap_or(line)), bytes)
        });
        let (changed, is_aligned) = compare(&signed, &lines.collect::<Vec<_>>());
        let changed = changed.into_iter().map(|(at, bytes)| (self.good.size() + at as u64, bytes)).collect();
        Some(Located { tree, changed, is_aligned })
    }
}

/// Walks along both; where one has something that the other has not, goes on behind it.
fn compare(signed: &[Hash], found: &[(Hash, Range<u64>)]) -> (Vec<(usize, Range<u64>)>, bool) {
    let (mut i, mut j) = (0, 0);
    let mut changed = Vec::new();
    let mut is_aligned = signed.len() == found.len();
    while let (Some(leaf), Some((other, bytes))) = (signed.get(i), found.get(j)) {
        if leaf != other {
            if signed.get(i + 1) == Some(other) {
                (i, is_aligned) = (i + 1, false);
                continue;
            }
            if found.get(j + 1).is_some_and(|(next, _)| next == leaf) {
                (j, is_aligned) = (j + 1, false);
                continue;
            }
            if changed.len() < CHANGED_MAX {
                changed.push((i, bytes.clone()));
            }
        }
        (i, j) = (i + 1, j + 1);
    }
    (changed, is_aligned)
}

fn read(path: &Path, range: Range<u64>) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(range.start))?;
    let mut bytes = Vec::new();
    file.take(range.end - range.start).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == range.end - range.start { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(signed: &str, found: &str, expected: &[usize], is_aligned: bool) {
        let leaf = |byte: u8| leaf_hash(&[byte]);
        let signed: Vec<Hash> = signed.bytes().map(leaf).collect();
        let found: Vec<_> =
            found.bytes().enumerate().map(|(at, byte)| (leaf(byte), at as u64..at as u64 + 1)).collect();
        let (changed, aligned) = compare(&signed, &found);
        let changed: Vec<usize> = changed.into_iter().map(|(at, _)| at).collect();
        assert_eq!((changed.as_slice(), aligned), (expected, is_aligned));
    }

    #[test]
    fn what_was_changed_is_told_apart_from_what_moved() {
        check("abcdef", "abcdef", &[], true);
        check("abcdef", "abXdef", &[2], true);
        check("abcdef", "XbcdeX", &[0, 5], true);
        check("abcdef", "abdefg", &[], false);
        check("abcdef", "abXcde", &[], false);
        check("abcdef", "abdXfg", &[4], false);
    }
}
