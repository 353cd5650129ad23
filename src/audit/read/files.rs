//! The log's files as a reader finds them: which segments there are, and what stands about them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use super::report::{Finding, What};
use crate::audit::segment::{CHECKPOINTS, Finished, MANIFEST, RECORDS, checkpoints_path, files_of, records_path};
use crate::chain::Hash;

/// A stretch of the log: a segment, or what is left of it.
#[derive(Debug)]
pub(super) struct Part {
    pub first: u64,
    /// Its line in the manifest; the last part has none.
    pub line: Option<Finished>,
    /// The records' file is there.
    pub is_there: bool,
}

/// All parts, oldest first; what is wrong with the manifest.
#[derive(Debug)]
pub(super) struct Files {
    pub parts: Vec<Part>,
    pub findings: Vec<Finding>,
}

/// A log that rotates meanwhile is looked at again, so often at most.
const LOOKS: usize = 20;

impl Files {
    /// Looks at a directory whose log may be written meanwhile.
    pub fn look(directory: &Path) -> io::Result<Self> {
        let mut manifest = read_if_there(&directory.join(MANIFEST))?;
        for _ in 0..LOOKS {
            // In this order: a segment begins with its records' file, so that one made between the two has only that.
            let signed = files_of(directory, CHECKPOINTS)?;
            let there = files_of(directory, RECORDS)?;
            let again = read_if_there(&directory.join(MANIFEST))?;
            if again == manifest {
                return Ok(Self::of(&manifest, &there, &signed));
            }
            manifest = again;
        }
        Err(io::Error::other("the manifest changes faster than it can be read"))
    }

    fn of(manifest: &[u8], there: &[u64], signed: &[u64]) -> Self {
        let (lines, mut findings) = lines(manifest);
        let firsts: BTreeSet<u64> =
            lines.iter().map(|line| line.first).chain(there.iter().copied()).chain(signed.iter().copied()).collect();
        let mut lines = lines.into_iter().peekable();
        let mut parts = Vec::new();
        for first in firsts {
            let line = lines.next_if(|line| line.first == first);
            parts.push(Part { first, line, is_there: there.binary_search(&first).is_ok() });
        }
        for pair in parts.windows(2) {
            let (first, next) = (pair[0].first, pair[1].first);
            let why = match &pair[0].line {
                None => Some("has no line for this segment".to_owned()),
                Some(line) if line.end() != next => Some(format!("ends this segment at record {}", line.end())),
                Some(_) => None,
            };
            findings.extend(why.map(|why| What::Manifest(why).of_segment(first)));
        }
        Self { parts, findings }
    }

    /// The segments whose records are there.
    pub fn there(&self) -> Vec<u64> {
        self.parts.iter().filter(|part| part.is_there).map(|part| part.first).collect()
    }
}

/// Lines in the order of their segments; one that is torn at the end was not written yet.
fn lines(manifest: &[u8]) -> (Vec<Finished>, Vec<Finding>) {
    let (mut lines, mut findings): (Vec<Finished>, Vec<Finding>) = (Vec::new(), Vec::new());
    let whole = memchr::memrchr(b'\n', manifest).map_or(0, |at| at + 1);
    for (number, text) in manifest[..whole].split_inclusive(|byte| *byte == b'\n').enumerate() {
        let line = serde_json::from_slice::<Finished>(text).ok().filter(|line| is_well_made(line, text));
        match line {
            Some(line) if lines.last().is_none_or(|last| last.first < line.first) => lines.push(line),
            Some(line) => findings.push(What::Manifest("has its lines out of order".to_owned()).of_segment(line.first)),
            None => findings.push(What::Manifest(format!("has a line {} that is none", number + 1)).of_log()),
        }
    }
    (lines, findings)
}

/// Its parts fit each other, and it is written as we write it.
fn is_well_made(line: &Finished, text: &[u8]) -> bool {
    let again = serde_json::to_string(line).unwrap_or_default();
    text.strip_suffix(b"\n") == Some(again.as_bytes())
        && line.records > 0
        && line.frontier().is_some()
        && line.closed.parse::<crate::chain::Time>().is_ok()
}

impl Part {
    /// The root at the segment's end, by the manifest.
    pub fn root(&self) -> Option<Hash> {
        self.line.as_ref()?.root.parse().ok()
    }

    pub fn records(&self, directory: &Path) -> std::path::PathBuf {
        records_path(directory, self.first)
    }

    pub fn checkpoints(&self, directory: &Path) -> io::Result<Vec<u8>> {
        read_if_there(&checkpoints_path(directory, self.first))
    }
}

/// Nothing where there is no such file.
pub(super) fn read_if_there(path: &Path) -> io::Result<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::segment::Segment;

    /// What `serve` does while somebody lists the directory: a checkpoint without its records would look like tampering.
    #[test]
    fn a_segment_that_begins_meanwhile_is_not_missing() {
        let dir = tempfile::tempdir().expect("a directory");
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for first in 0..1000 {
                    Segment::create(dir.path(), first).expect("a segment");
                }
            });
            while !writer.is_finished() {
                let files = Files::look(dir.path()).expect("a look");
                let missing: Vec<&Part> = files.parts.iter().filter(|part| !part.is_there).collect();
                assert!(missing.is_empty(), "{missing:?}");
            }
        });
        assert_eq!(Files::look(dir.path()).expect("a look").parts.len(), 1000);
    }
}
