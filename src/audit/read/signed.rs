//! The checkpoints of a log, one after the other: by whom they are signed, and whether each names the one before.

use super::files::Part;
use super::report::{Finding, Newest, What};
use crate::chain::{Checkpoint, Hash, KeyId, NoteError, PublicKey, Time, notes};

/// A checkpoint that a known key signed.
#[derive(Debug)]
pub(super) struct Signed {
    /// Its place in its file, from 1.
    pub number: u64,
    pub size: u64,
    pub root: Hash,
    pub signers: Vec<KeyId>,
    time: Time,
    note: Box<str>,
}

impl Signed {
    pub fn newest(&self) -> Newest {
        let (root, time) = (self.root.to_string(), self.time.to_string());
        Newest { size: self.size, root, time, note: self.note.to_string() }
    }
}

/// Who may sign, and what the checkpoints so far said.
pub(super) struct Signatures<'k> {
    keys: &'k [PublicKey],
    pub origin: Option<String>,
    previous: Previous,
}

/// The checkpoint that the next one has to name.
enum Previous {
    /// There is none before it.
    Begin,
    /// Size and root.
    Known(u64, Hash),
    /// It was not readable, or is gone.
    Unknown { size: u64 },
}

impl<'k> Signatures<'k> {
    /// `origin`: the log's name; absent: what the first checkpoint says.
    pub fn new(keys: &'k [PublicKey], origin: Option<String>) -> Self {
        Self { keys, origin, previous: Previous::Begin }
    }

    /// The checkpoints of a segment that hold, and what is wrong with others.
    pub fn read(&mut self, part: &Part, file: &[u8]) -> (Vec<Signed>, Vec<Finding>) {
        let (whole, torn) = notes(file);
        let (mut signed, mut findings) = (Vec::new(), Vec::new());
        // Of a deleted segment only the last is left.
        if !part.is_there && whole.len() <= 1 {
            self.previous = Previous::Unknown { size: part.first };
        }
        let mut number = 0;
        for note in whole {
            number += 1;
            match self.check(part, number, note) {
                Ok(checkpoint) => {
                    self.previous = Previous::Known(checkpoint.size, checkpoint.root);
                    signed.push(checkpoint);
                }
                Err(why) => {
                    self.previous = Previous::Unknown { size: self.previous.size() };
                    findings.push(What::Checkpoint { number, why }.of_segment(part.first));
                }
            }
        }
        if !torn.is_empty() {
            findings.push(What::TornCheckpoint { bytes: torn.len() as u64 }.of_segment(part.first));
        }
        (signed, findings)
    }

    fn check(&mut self, part: &Part, number: u64, note: &[u8]) -> Result<Signed, String> {
        let (checkpoint, note) = Checkpoint::from_note(note).map_err(|error| format!("is {error}"))?;
        let signers = note.verify(self.keys).map_err(|error| match (error, note.signatures().first()) {
            (NoteError::Unsigned, Some(signature)) => {
                format!("is signed by key {}, which is not among the keys given", signature.id)
            }
            (error, _) => format!("does not hold: {error}"),
        })?;
        let origin = self.origin.get_or_insert_with(|| checkpoint.origin.clone());
        if *origin != checkpoint.origin {
            return Err(format!("is of the log {:?}, not {origin:?}", checkpoint.origin));
        }
        let Checkpoint { size, root, time, previous, .. } = checkpoint;
        let fits = match self.previous {
            Previous::Begin => previous.is_none(),
            Previous::Known(size, root) => previous == Some((size, root)),
            Previous::Unknown { .. } => true,
        };
        if !fits {
            return Err("does not name the checkpoint before it: one is missing, or was put between".to_owned());
        }
        let end = part.line.as_ref().map_or(u64::MAX, |line| line.end());
        if size <= self.previous.size().max(part.first) || size > end {
            return Err(format!("covers {size} records, which this segment has not"));
        }
        let signers = signers.into_iter().map(PublicKey::id).collect();
        Ok(Signed { number, size, root, signers, time, note: note.to_string().into() })
    }
}

impl Previous {
    fn size(&self) -> u64 {
        match self {
            Self::Begin => 0,
            Self::Known(size, _) | Self::Unknown { size } => *size,
        }
    }
}
