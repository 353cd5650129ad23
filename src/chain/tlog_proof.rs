//! A proof in one text: that a record is in a log, to a signed checkpoint. <https://c2sp.org/tlog-proof>
//!
//! The record itself travels as the format's `extra` data, so that a proof needs nothing beside a public key.

use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use thiserror::Error;

use super::checkpoint::{Checkpoint, CheckpointError};
use super::key::PublicKey;
use super::proof::verify_inclusion;
use super::tree::{Hash, leaf_hash};

/// A record, where it is, and what leads from it to a signed root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordProof {
    pub index: u64,
    /// The record's line, without its line feed.
    pub record: Vec<u8>,
    pub path: Vec<Hash>,
    /// A signed note.
    pub checkpoint: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProofError {
    #[error("not a proof: it begins with {FORMAT} and has the record, its index, hashes and a checkpoint")]
    Form,
    #[error("its checkpoint does not hold: {0}")]
    Checkpoint(#[from] CheckpointError),
    #[error("the record and the hashes do not lead to the checkpoint's root")]
    Root,
}

const FORMAT: &str = "c2sp.org/tlog-proof@v1";

/// A tree has no more levels.
const PATH_MAX: usize = 64;

impl RecordProof {
    /// Reads the text.
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        parse(text).filter(|proof| proof.to_string() == text).ok_or(ProofError::Form)
    }

    /// The checkpoint that the record is under.
    ///
    /// # Errors
    /// None of these keys signed it, or the record is not under it.
    pub fn verify(&self, keys: &[PublicKey]) -> Result<Checkpoint, ProofError> {
        let (checkpoint, note) = Checkpoint::from_note(self.checkpoint.as_bytes())?;
        note.verify(keys).map_err(CheckpointError::from)?;
        let leaf = leaf_hash(&self.record);
        if verify_inclusion(&leaf, self.index, checkpoint.size, &self.path, &checkpoint.root) {
            Ok(checkpoint)
        } else {
            Err(ProofError::Root)
        }
    }
}

impl fmt::Display for RecordProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FORMAT}\nextra {}\nindex {}", BASE64_STANDARD.encode(&self.record), self.index)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

fn parse(text: &str) -> Option<RecordProof> {
    let (head, checkpoint) = text.split_once("\n\n")?;
    let mut lines = head.split('\n');
    lines.next().filter(|first| *first == FORMAT)?;
    let record = BASE64_STANDARD.decode(lines.next()?.strip_prefix("extra ")?).ok()?;
    let index = lines.next()?.strip_prefix("index ")?.parse().ok()?;
    let path: Option<Vec<Hash>> = lines.map(|line| line.parse().ok()).collect();
    let path = path.filter(|path| path.len() <= PATH_MAX)?;
    Some(RecordProof { index, record, path, checkpoint: checkpoint.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::super::{Levels, Note, SigningKey, Time, tree::Frontier};
    use super::*;

    fn proof(key: &SigningKey) -> RecordProof {
        let records: Vec<Vec<u8>> = (0..11).map(|i| format!("{{\"seq\":{i}}}").into_bytes()).collect();
        let levels = Levels::new(&Frontier::new(), records.iter().map(|record| leaf_hash(record)).collect());
        let root = levels.root().expect("a root");
        let checkpoint =
            Checkpoint { origin: "a/b".to_owned(), size: 11, root, time: Time { micros: 0 }, previous: None };
        let note = Note::sign(checkpoint.to_string(), &[key]).expect("a note");
        let path = levels.path(6).expect("a path");
        RecordProof { index: 6, record: records[6].clone(), path, checkpoint: note.to_string() }
    }

    #[test]
    fn a_proof_is_read_as_written_and_verifies() {
        let key = SigningKey::from_seed("a/b", [3; 32]).expect("a key");
        let proof = proof(&key);
        let text = proof.to_string();
        assert!(text.starts_with("c2sp.org/tlog-proof@v1\nextra eyJzZXEiOjZ9\nindex 6\n"), "{text}");
        assert_eq!(RecordProof::parse(&text), Ok(proof.clone()));
        assert_eq!(proof.verify(&[key.public().clone()]).expect("verified").size, 11);
        let other = SigningKey::from_seed("a/b", [4; 32]).expect("a key");
        assert!(matches!(proof.verify(&[other.public().clone()]), Err(ProofError::Checkpoint(_))));
    }

    #[test]
    fn one_wrong_bit_is_no_proof() {
        let key = SigningKey::from_seed("a/b", [3; 32]).expect("a key");
        let known = [key.public().clone()];
        let right = proof(&key).to_string().into_bytes();
        for at in 0..right.len() {
            for bit in 0..8 {
                let mut wrong = right.clone();
                wrong[at] ^= 1 << bit;
                let text = String::from_utf8_lossy(&wrong);
                let verified = RecordProof::parse(&text).and_then(|proof| proof.verify(&known));
                assert!(verified.is_err(), "byte {at}, bit {bit}");
            }
        }
    }
}
