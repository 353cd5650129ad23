//! The hashes of a segment's records, in a file of their own: where the records are not what was signed, they say which.
//!
//! Nothing depends on them. They are written with each checkpoint, not synced, and made again from the records when a log is
//! opened; a reader believes them only where they lead to a signed root.

use std::io;
use std::path::{Path, PathBuf};

use super::segment::Journal;
use crate::chain::Hash;

/// The hashes of the segment being written.
#[derive(Debug)]
pub(super) struct Leaves {
    journal: Journal,
    /// Those since the last checkpoint.
    pending: Vec<u8>,
}

/// Bytes of one.
pub(super) const LEAF: usize = 32;

impl Leaves {
    /// Begins the file anew with the hashes of the records that there are.
    pub fn begin(directory: &Path, first: u64, leaves: Vec<u8>) -> io::Result<Self> {
        Ok(Self { journal: Journal::open(&leaves_path(directory, first), 0)?, pending: leaves })
    }

    pub fn push(&mut self, leaf: &Hash) {
        self.pending.extend_from_slice(&leaf.0);
    }

    /// Can be repeated after an error.
    pub fn write(&mut self) -> io::Result<()> {
        self.journal.append(&self.pending)?;
        self.pending.clear();
        Ok(())
    }
}

/// The file of the hashes of a segment's records.
pub(super) fn leaves_path(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{first:020}.leaves"))
}
