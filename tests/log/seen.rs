//! A log as a stranger reads it: every line, every checkpoint, every signature, from the public key and the files alone.

use std::fs;
use std::path::Path;

use pgwarden::audit::segment::{checkpoints_path, records_path, segments};
use pgwarden::chain::{Checkpoint, Frontier, Hash, SigningKey, leaf_hash, notes};
use serde_json::Value;

pub fn key() -> SigningKey {
    SigningKey::from_seed("example.com/audit", [5; 32]).expect("a key")
}

pub struct Seen {
    pub records: Vec<Value>,
    /// Records that the newest checkpoint covers.
    pub covered: u64,
}

impl Seen {
    pub fn count(&self, kind: &str) -> usize {
        self.records.iter().filter(|record| record["kind"] == kind).count()
    }
}

/// Reads a closed log that has all its segments, and panics where anything about it is not as it should be.
pub fn see(directory: &Path) -> Seen {
    let mut seen = Seen { records: Vec::new(), covered: 0 };
    let mut frontier = Frontier::new();
    let mut roots = vec![frontier.root()];
    let mut previous: Option<(u64, Hash)> = None;
    let known = [key().public().clone()];
    for first in segments(directory).expect("segments") {
        assert_eq!(first, frontier.size(), "segments follow each other");
        let bytes = fs::read(records_path(directory, first)).expect("records");
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let Some(line) = line.strip_suffix(b"\n") else {
                panic!("segment {first} ends with {:?}", String::from_utf8_lossy(line))
            };
            let record: Value = serde_json::from_slice(line).expect("JSON");
            assert_eq!(record["seq"], frontier.size(), "no number is left out");
            frontier.append(leaf_hash(line));
            roots.push(frontier.root());
            seen.records.push(record);
        }
        let file = fs::read(checkpoints_path(directory, first)).expect("checkpoints");
        for note in notes(&file).0 {
            let (checkpoint, note) = Checkpoint::from_note(note).expect("a checkpoint");
            note.verify(&known).expect("a signature");
            assert_eq!(Some(&checkpoint.root), roots.get(checkpoint.size as usize), "checkpoint {}", checkpoint.size);
            assert_eq!(checkpoint.previous, previous, "checkpoints name the one before");
            previous = Some((checkpoint.size, checkpoint.root));
            seen.covered = checkpoint.size;
        }
    }
    seen
}
