//! The arithmetic that makes a log provable: a tree over its records, proofs in it, and signed notes about it.
//!
//! The tree is that of RFC 6962; checkpoints are those of <https://c2sp.org/tlog-checkpoint>, signed notes those of
//! <https://c2sp.org/signed-note>, with Ed25519 keys, proofs of records those of <https://c2sp.org/tlog-proof>. Other tools can therefore check what we write.
//!
//! Pure: no file, clock or chance. Everything that is read here may come from an attacker: parsers accept one form of each
//! thing, the one that we would write.

mod checkpoint;
mod key;
mod note;
mod pieces;
mod proof;
mod tlog_proof;
mod tree;

pub use checkpoint::{Checkpoint, CheckpointError, Time, notes};
pub use key::{KeyError, KeyId, PublicKey, SigningKey};
pub use note::{Note, NoteError, Signature};
pub use pieces::{Levels, Piece, Run};
pub use proof::{consistency_path, inclusion_path, verify_consistency, verify_inclusion};
pub use tlog_proof::{ProofError, RecordProof};
pub use tree::{Frontier, Hash, HashError, leaf_hash, node_hash};
