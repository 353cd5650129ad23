//! The tree of RFC 6962 (section 2.1) over records, kept as its right edge only.

use std::fmt;
use std::str::FromStr;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ring::digest::{Context, SHA256, digest};
use thiserror::Error;

/// A SHA-256 hash: of a leaf, a node or a whole tree. Its text form is standard base64, 44 characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

/// A text that is not a hash in base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a hash is 32 bytes in base64")]
pub struct HashError;

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Hash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let bytes = BASE64_STANDARD.decode(text).map_err(|_| HashError)?;
        bytes.try_into().map(Self).map_err(|_| HashError)
    }
}

/// The leaf of a record: its line without the newline.
pub fn leaf_hash(record: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[0x00]);
    context.update(record);
    finished(context)
}

/// The node over two others.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [0x01; 65];
    bytes[1..33].copy_from_slice(&left.0);
    bytes[33..].copy_from_slice(&right.0);
    from_digest(digest(&SHA256, &bytes).as_ref())
}

fn finished(context: Context) -> Hash {
    from_digest(context.finish().as_ref())
}

fn from_digest(bytes: &[u8]) -> Hash {
    Hash(bytes.try_into().expect("SHA-256 gives 32 bytes"))
}

/// The right edge of a tree: the roots of the perfect trees that it consists of, largest first. All that is needed to
/// append a leaf and to give the root. At most 64 hashes.
///
/// The root of a range of leaves, as proofs need it (see `proof`), is that of a tree of those leaves alone: a frontier that is
/// fed with them gives it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    pub fn new() -> Self {
        Self::default()
    }

    /// A frontier as [`Frontier::peaks`] gave it. `None` where the number of peaks is not that of a tree of this size.
    pub fn from_parts(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    /// Adds a leaf at the right.
    pub fn append(&mut self, leaf: Hash) {
        self.append_tree(0, leaf);
    }

    /// Adds a perfect tree of `2^level` leaves at the right.
    ///
    /// # Panics
    /// The tree's size is no multiple of that number: such leaves are no perfect tree there.
    pub fn append_tree(&mut self, level: u32, root: Hash) {
        let trees = self.size >> level;
        assert_eq!(trees << level, self.size, "a perfect tree begins at a multiple of its size");
        let mut node = root;
        // Each set bit at the low end is a perfect tree that the new one completes to the next size.
        for _ in 0..trees.trailing_ones() {
            let left = self.peaks.pop().expect("one peak for each bit of the size");
            node = node_hash(&left, &node);
        }
        self.peaks.push(node);
        self.size = (trees + 1) << level;
    }

    /// In two: the leaves at the right that are no whole tree of `2^level`, as a tree of their own, and those before them,
    /// counted in such trees.
    pub fn split(&self, level: u32) -> (Self, Self) {
        let high = self.size >> level;
        let (left, right) = self.peaks.split_at(high.count_ones() as usize);
        let low = Self { size: self.size - (high << level), peaks: right.to_vec() };
        (low, Self { size: high, peaks: left.to_vec() })
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Roots of the perfect trees, largest (leftmost) first: one for each bit that is set in the size.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// The tree's root; that of no leaves is the hash of nothing.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return from_digest(digest(&SHA256, b"").as_ref()) };
        peaks.fold(*last, |right, left| node_hash(left, &right))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The inputs of the test vectors of RFC 6962's own reference implementation.
    pub(crate) fn inputs() -> Vec<Vec<u8>> {
        let hex = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
        hex.iter()
            .map(|text| (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect())
            .collect()
    }

    pub(crate) fn hex(hash: &Hash) -> String {
        hash.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn roots_are_those_of_the_reference_implementation() {
        let mut frontier = Frontier::new();
        assert_eq!(hex(&frontier.root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        for (input, root) in inputs().iter().zip(roots) {
            frontier.append(leaf_hash(input));
            assert_eq!(hex(&frontier.root()), root);
            assert_eq!(frontier.peaks().len(), frontier.size().count_ones() as usize);
        }
    }

    #[test]
    fn a_frontier_goes_on_from_its_parts() {
        let mut whole = Frontier::new();
        for i in 0..100u32 {
            let mut again = Frontier::from_parts(whole.size(), whole.peaks().to_vec()).expect("parts of a frontier");
            assert_eq!(again.root(), whole.root());
            again.append(leaf_hash(&i.to_be_bytes()));
            whole.append(leaf_hash(&i.to_be_bytes()));
            assert_eq!(again, whole);
        }
        assert_eq!(Frontier::from_parts(3, whole.peaks().to_vec()), None);
    }

    #[test]
    fn a_hash_has_one_text() {
        let hash = leaf_hash(b"");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        let text = hash.to_string();
        for wrong in [text.trim_end_matches('=').to_owned(), text.replace("=", "=="), format!(" {text}"), String::new()]
        {
            assert_eq!(wrong.parse::<Hash>(), Err(HashError), "{wrong}");
        }
        // The last character's two low bits carry nothing and have to be zero.
        let last = text.as_bytes()[42];
        assert_eq!(format!("{}{}=", &text[..42], (last + 1) as char).parse::<Hash>(), Err(HashError));
    }

    #[test]
    fn leaves_and_nodes_are_kept_apart() {
        let (a, b) = (leaf_hash(b"a"), leaf_hash(b"b"));
        let mut as_record = vec![0x01];
        as_record.extend(a.0);
        as_record.extend(b.0);
        assert_ne!(leaf_hash(&as_record[1..]), node_hash(&a, &b));
        assert_ne!(leaf_hash(&as_record), node_hash(&a, &b));
    }
}
