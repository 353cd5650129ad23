//! The tree over a log, as far as proofs of its records need it: one hash for each block of records is kept in memory, and
//! the leaves of a block are hashed again when one of its records is proven.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::files::Files;
use super::lines::Lines;
use super::scan::{self, BLOCK, Event, Job};
use crate::chain::{Checkpoint, CheckpointError, Frontier, Hash, Levels, Piece, RecordProof, leaf_hash, notes};

/// Why a record cannot be proven.
#[derive(Debug, Error)]
pub enum ProveError {
    #[error("the log cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("the log has no checkpoint")]
    NoCheckpoint,
    #[error("the checkpoint does not hold: {0}")]
    Checkpoint(#[from] CheckpointError),
    #[error("record {seq} is not signed yet: the checkpoint covers {size} records")]
    Uncovered { seq: u64, size: u64 },
    #[error("record {seq} was deleted: the log begins with record {first}")]
    Deleted { seq: u64, first: u64 },
    #[error("the log has no record {0}")]
    Absent(u64),
    #[error("the log's records do not lead to the checkpoint's root: pgwarden audit verify says what is wrong")]
    Root,
}

/// A log up to a checkpoint.
pub struct Tree {
    directory: PathBuf,
    /// A signed note.
    note: String,
    checkpoint: Checkpoint,
    /// The first record that is there; what was deleted before it, in its block and in whole blocks before that.
    first: u64,
    before: (Frontier, Frontier),
    blocks: Levels,
}

/// Puts blocks together from pieces of any size.
struct Blocks {
    block: Frontier,
    roots: Vec<Hash>,
}

impl Blocks {
    fn take(&mut self, piece: Piece) {
        self.block.append_tree(piece.level, piece.root);
        if self.block.size() == 1 << BLOCK {
            self.roots.push(std::mem::take(&mut self.block).root());
        }
    }

    fn end(mut self) -> Vec<Hash> {
        if self.block.size() > 0 {
            self.roots.push(self.block.root());
        }
        self.roots
    }
}

impl Tree {
    /// Reads a log up to a checkpoint: the note given, or its newest. It is not verified who signed it: whoever checks the
    /// proofs does that.
    pub fn read(directory: &Path, note: Option<&str>, threads: usize) -> Result<Self, ProveError> {
        let files = Files::look(directory)?;
        let note = match note {
            Some(note) => note.to_owned(),
            None => newest(directory, &files)?,
        };
        let (checkpoint, _) = Checkpoint::from_note(note.as_bytes())?;
        let size = checkpoint.size;
        let gone = files.parts.iter().take_while(|part| !part.is_there).last();
        let before = match gone.map(|part| part.line.as_ref().and_then(|line| line.frontier())) {
            None => Frontier::new(),
            Some(frontier) => frontier.ok_or(ProveError::Root)?,
        };
        let first = before.size();
        if first >= size {
            return Err(ProveError::Deleted { seq: size.saturating_sub(1), first });
        }
        let (low, high) = before.split(BLOCK);
        let mut blocks = Blocks { block: low.clone(), roots: Vec::new() };
        let mut read = first;
        for part in files.parts.iter().filter(|part| part.is_there && part.first < size) {
            if part.first != read {
                return Err(ProveError::Root);
            }
            let (path, mut is_over) = (part.records(directory), false);
            let job = Job { path: &path, first: read, cuts: &[size], covered: u64::MAX, threads };
            let scanned = scan::scan(&job, |event| match event {
                Event::Piece(piece) if !is_over => blocks.take(piece),
                Event::Cut { .. } => is_over = true,
                Event::Piece(_) | Event::Number { .. } | Event::Broken { .. } | Event::Control { .. } => {}
            })?;
            read = scanned.end;
        }
        if read < size {
            return Err(ProveError::Root);
        }
        let blocks = Levels::new(&high, blocks.end());
        if blocks.root() != Some(checkpoint.root) {
            return Err(ProveError::Root);
        }
        Ok(Self { directory: directory.to_path_buf(), note, checkpoint, first, before: (low, high), blocks })
    }

    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The checkpoint as signed.
    pub fn note(&self) -> &str {
        &self.note
    }

    pub fn prove(&self, seq: u64) -> Result<RecordProof, ProveError> {
        if seq >= self.checkpoint.size {
            return Err(ProveError::Uncovered { seq, size: self.checkpoint.size });
        }
        if seq < self.first {
            return Err(ProveError::Deleted { seq, first: self.first });
        }
        let mut proof = None;
        self.each_block(seq, |block| {
            proof = block.prove(seq);
            Ok::<_, ProveError>(false)
        })?;
        proof.ok_or(ProveError::Absent(seq))
    }

    /// The blocks of records from that of `seq` on, one after the other, for as long as `take` says so.
    pub fn each_block<E: From<ProveError>>(
        &self,
        seq: u64,
        mut take: impl FnMut(&Block<'_>) -> Result<bool, E>,
    ) -> Result<(), E> {
        let read = |error: io::Error| E::from(ProveError::Read(error));
        let mut at = self.first.max(seq >> BLOCK << BLOCK);
        let mut lines = self.lines_from(at).map_err(read)?;
        while at < self.checkpoint.size {
            let end = self.checkpoint.size.min(((at >> BLOCK) + 1) << BLOCK);
            let mut records = Vec::with_capacity(1 << BLOCK);
            for seq in at..end {
                let line = lines.next_line().map_err(read)?;
                records.push(line.ok_or(ProveError::Absent(seq))?.to_vec());
            }
            if !take(&Block { tree: self, first: at, records })? {
                break;
            }
            at = end;
        }
        Ok(())
    }

    /// Lines from a record on, by counting.
    fn lines_from(&self, seq: u64) -> io::Result<Lines> {
        let mut lines = Lines::from(&self.directory, seq)?;
        for _ in lines.segment().unwrap_or_default()..seq {
            lines.next_line()?;
        }
        Ok(lines)
    }
}

/// Records that share all but the lowest hashes of their proofs.
pub struct Block<'t> {
    tree: &'t Tree,
    first: u64,
    records: Vec<Vec<u8>>,
}

impl Block<'_> {
    /// The records and their numbers.
    pub fn records(&self) -> impl Iterator<Item = (u64, &[u8])> {
        (self.first..).zip(self.records.iter().map(Vec::as_slice))
    }

    pub fn prove(&self, seq: u64) -> Option<RecordProof> {
        let record = self.records.get(usize::try_from(seq.checked_sub(self.first)?).ok()?)?;
        let path = self.paths()(seq)?;
        Some(RecordProof { index: seq, record: record.clone(), path, checkpoint: self.tree.note.clone() })
    }

    /// Gives the path of each of its records; hashes them all once.
    pub fn paths(&self) -> impl Fn(u64) -> Option<Vec<Hash>> {
        let leaves = self.records.iter().map(|record| leaf_hash(record)).collect();
        let begin = self.first >> BLOCK << BLOCK;
        let before = if self.first > begin { self.tree.before.0.clone() } else { Frontier::new() };
        let inner = Levels::new(&before, leaves);
        let outer = self.tree.blocks.path(self.first >> BLOCK);
        move |seq| Some([inner.path(seq.checked_sub(begin)?)?, outer.clone()?].concat())
    }
}

/// The newest checkpoint of a log.
fn newest(directory: &Path, files: &Files) -> Result<String, ProveError> {
    for part in files.parts.iter().rev() {
        let file = part.checkpoints(directory)?;
        if let Some(note) = notes(&file).0.last() {
            return Ok(String::from_utf8_lossy(note).into_owned());
        }
    }
    Err(ProveError::NoCheckpoint)
}
