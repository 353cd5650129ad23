//! The log's files: what they are called, and how bytes get to their ends.
//!
//! Every file is written at offsets that we keep, never "at the end": a write that failed half way goes on where it failed, and
//! after a failed sync all is written again from the last byte that is known to be on disk (`rounds`). A line is therefore
//! never left torn inside the log, whatever failed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::leaves::Leaves;
use crate::chain::{Frontier, Hash};

/// Lines of finished segments.
pub const MANIFEST: &str = "manifest.jsonl";

/// Held by the process that writes the log.
pub const LOCK: &str = "lock";

/// The first sequence number that is not safe elsewhere yet, written by whoever ships the log.
pub const SHIPPED: &str = "shipped";

pub(super) const RECORDS: &str = "log";
pub(super) const CHECKPOINTS: &str = "checkpoints";

/// A finished segment, as its line in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finished {
    /// Sequence number of its first record.
    pub first: u64,
    pub records: u64,
    pub bytes: u64,
    /// Root of the tree over all records up to its end, in base64.
    pub root: String,
    /// The perfect trees under that root (`Frontier::peaks`): where the next segment goes on.
    pub peaks: Vec<String>,
    /// When it was finished: RFC 3339.
    pub closed: String,
}

impl Finished {
    /// Sequence number after its last record.
    pub fn end(&self) -> u64 {
        self.first.saturating_add(self.records)
    }

    /// The tree at its end; `None` where the line's parts do not fit each other.
    pub fn frontier(&self) -> Option<Frontier> {
        let peaks: Option<Vec<Hash>> = self.peaks.iter().map(|peak| peak.parse().ok()).collect();
        let frontier = Frontier::from_parts(self.end(), peaks?)?;
        (frontier.root().to_string() == self.root).then_some(frontier)
    }
}

/// The file of a segment's records.
pub fn records_path(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{first:020}.{RECORDS}"))
}

/// The file of the checkpoints that were signed while a segment was written.
pub fn checkpoints_path(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{first:020}.{CHECKPOINTS}"))
}

/// The first sequence numbers of the segments whose records are there, in order.
pub fn segments(directory: &Path) -> io::Result<Vec<u64>> {
    files_of(directory, RECORDS)
}

/// The first sequence numbers of the segments that have a file of this kind, in order.
pub(super) fn files_of(directory: &Path, extension: &str) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let parts = name.to_str().and_then(|name| name.split_once('.'));
        let stem = parts.filter(|(stem, rest)| *rest == extension && stem.len() == 20).map(|(stem, _)| stem);
        found.extend(
            stem.filter(|stem| stem.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|stem| stem.parse::<u64>().ok()),
        );
    }
    found.sort_unstable();
    Ok(found)
}

/// Makes the directory, for its owner only, unless it is there.
pub(super) fn make_directory(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
        other => other,
    }
}

/// Makes what was created in or removed from a directory survive a power failure.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

pub(super) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// A file that only grows, in whole pieces: what a failed write left behind its end is cut before the next.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    length: u64,
    dirty: bool,
}

impl Journal {
    /// Opens a file, made if it is not there, whose first `length` bytes count.
    pub fn open(path: &Path, length: u64) -> io::Result<Self> {
        let file = options().create(true).truncate(false).open(path)?;
        let dirty = file.metadata()?.len() != length;
        Ok(Self { file, length, dirty })
    }

    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.dirty {
            self.file.set_len(self.length)?;
        }
        self.dirty = true;
        self.file.write_all_at(bytes, self.length)?;
        self.length += bytes.len() as u64;
        self.dirty = false;
        Ok(())
    }

    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// What an earlier process left of a segment, all of it on disk.
#[derive(Debug, Default)]
pub(super) struct Resumed {
    pub records: u64,
    pub bytes: u64,
    /// Bytes of whole checkpoints.
    pub checkpoints: u64,
    /// Hashes of the records.
    pub leaves: Vec<u8>,
}

/// The segment that is being written.
#[derive(Debug)]
pub(super) struct Segment {
    path: PathBuf,
    file: File,
    pub first: u64,
    pub records: u64,
    /// Bytes on disk for certain.
    synced: u64,
    /// Bytes that the operating system has.
    written: u64,
    /// Bytes behind `written`, from `begun` on.
    unwritten: Vec<u8>,
    begun: usize,
    /// A sync has failed, and nobody knows what the disk has behind `synced`: the size up to which all is to be written again.
    doubtful: Option<u64>,
    pub checkpoints: Journal,
    pub leaves: Leaves,
}

impl Segment {
    /// Begins an empty one. One that was begun before and got no record is taken.
    pub fn create(directory: &Path, first: u64) -> io::Result<Self> {
        let path = records_path(directory, first);
        let file = options().create(true).truncate(false).open(&path)?;
        if file.metadata()?.len() != 0 {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the next segment's file has records already"));
        }
        let segment = Self::open(directory, path, file, first, Resumed::default())?;
        sync_directory(directory)?;
        Ok(segment)
    }

    /// Goes on with one.
    pub fn resume(directory: &Path, first: u64, resumed: Resumed) -> io::Result<Self> {
        let path = records_path(directory, first);
        let file = options().open(&path)?;
        Self::open(directory, path, file, first, resumed)
    }

    fn open(directory: &Path, path: PathBuf, file: File, first: u64, resumed: Resumed) -> io::Result<Self> {
        let Resumed { records, bytes, checkpoints, leaves } = resumed;
        let checkpoints = Journal::open(&checkpoints_path(directory, first), checkpoints)?;
        let leaves = Leaves::begin(directory, first, leaves)?;
        Ok(Self {
            path,
            file,
            first,
            records,
            synced: bytes,
            written: bytes,
            unwritten: Vec::new(),
            begun: 0,
            doubtful: None,
            checkpoints,
            leaves,
        })
    }

    /// Takes a line, to be written by `write`. `put` appends it. Returns it.
    pub fn append(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        let start = self.unwritten.len();
        put(&mut self.unwritten);
        self.records += 1;
        &self.unwritten[start..]
    }

    /// Hands everything to the operating system. Can be repeated after an error.
    pub fn write(&mut self) -> io::Result<()> {
        while self.begun < self.unwritten.len() {
            match self.file.write_at(&self.unwritten[self.begun..], self.written) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.written += count as u64;
                    self.begun += count;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.forget_unwritten();
        Ok(())
    }

    fn forget_unwritten(&mut self) {
        if self.unwritten.capacity() > UNWRITTEN_KEPT {
            self.unwritten = Vec::new();
        }
        self.unwritten.clear();
        self.begun = 0;
    }

    /// Brings everything to disk. After an error the segment is doubtful.
    ///
    /// # Errors
    /// It is doubtful: what is not on disk for certain is to be written again first.
    pub fn sync(&mut self) -> io::Result<()> {
        self.write()?;
        if self.is_doubtful() {
            return Err(io::Error::other("what the disk has of the records is not known"));
        }
        if self.synced == self.written {
            return Ok(());
        }
        if let Err(error) = self.file.sync_data() {
            self.doubtful = Some(self.size());
            return Err(error);
        }
        self.synced = self.written;
        Ok(())
    }

    /// Whether what is not on disk for certain has to be written again.
    pub fn is_doubtful(&self) -> bool {
        self.doubtful.is_some()
    }

    /// A sync has failed.
    #[cfg(test)]
    pub fn doubt(&mut self) {
        self.doubtful = Some(self.size());
    }

    /// Begins to write again what is not on disk for certain; an earlier attempt counts for nothing.
    pub fn begin_again(&mut self) {
        self.doubtful = Some(self.size());
        self.forget_unwritten();
        self.written = self.synced;
    }

    /// The next line of it.
    pub fn append_again(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        put(&mut self.unwritten);
        if self.unwritten.len() < WRITTEN_MAX { Ok(()) } else { self.write() }
    }

    /// That was all.
    pub fn end_again(&mut self) -> io::Result<()> {
        self.write()?;
        assert_eq!(self.doubtful, Some(self.written), "the records that were put together again are others");
        self.doubtful = None;
        Ok(())
    }

    /// Bytes, those included that are in memory only.
    pub fn size(&self) -> u64 {
        self.doubtful.unwrap_or(self.written + (self.unwritten.len() - self.begun) as u64)
    }

    /// Bytes that are not on disk for certain.
    pub fn unsynced_size(&self) -> u64 {
        self.size() - self.synced
    }

    /// Whether the file is still where it was made. Writing to a file that nobody can find succeeds.
    pub fn is_in_place(&self) -> io::Result<bool> {
        let (there, ours) = (fs::metadata(&self.path)?, self.file.metadata()?);
        Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino()) && there.len() == self.written)
    }
}

/// Bytes that are put together before they are written.
pub(super) const WRITTEN_MAX: usize = 128 << 10;

/// Room for them that is kept from one time to the next.
const UNWRITTEN_KEPT: usize = 4 * WRITTEN_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_cuts_what_a_failed_write_left() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("journal");
        fs::write(&path, "whole\ntorn").expect("a file");
        let mut journal = Journal::open(&path, 6).expect("open");
        journal.append(b"x\n").expect("append");
        journal.append(b"y\n").expect("append");
        assert_eq!(fs::read_to_string(&path).expect("text"), "whole\nx\ny\n");
    }

    #[test]
    fn a_segment_is_found_out_of_place() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut segment = Segment::create(dir.path(), 7).expect("a segment");
        assert_eq!(segments(dir.path()).expect("names"), [7]);
        segment.append(|out| out.extend_from_slice(b"{}\n"));
        segment.sync().expect("sync");
        assert!(segment.is_in_place().expect("metadata"));
        let path = records_path(dir.path(), 7);
        fs::rename(&path, dir.path().join("elsewhere")).expect("rename");
        assert!(segment.is_in_place().is_err());
        fs::write(&path, "{}\n").expect("another file");
        assert!(!segment.is_in_place().expect("metadata"));
        fs::rename(dir.path().join("elsewhere"), &path).expect("rename");
        assert!(segment.is_in_place().expect("metadata"));
        fs::write(&path, "").expect("cut");
        assert!(!segment.is_in_place().expect("metadata"));
    }

    #[test]
    fn a_manifest_line_says_where_the_tree_goes_on() {
        let mut frontier = Frontier::new();
        for i in 0..11u8 {
            frontier.append(crate::chain::leaf_hash(&[i]));
        }
        let peaks: Vec<String> = frontier.peaks().iter().map(Hash::to_string).collect();
        let root = frontier.root().to_string();
        let line = Finished { first: 4, records: 7, bytes: 1, root, peaks, closed: String::new() };
        assert_eq!(line.frontier(), Some(frontier));
        assert_eq!(Finished { records: 6, ..line.clone() }.frontier(), None);
        let mut other = line.clone();
        other.peaks.reverse();
        assert_eq!(other.frontier(), None);
    }
}
