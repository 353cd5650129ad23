//! `pgwarden audit prove`: a record's proof.

use std::path::PathBuf;

use clap::Args;

use super::{Done, Exit, fail, print, read_text};
use crate::audit::read::{ProveError, Tree, threads};

#[derive(Debug, Args)]
pub(super) struct ProveArguments {
    /// The record's number
    seq: u64,
    #[command(flatten)]
    shown: super::Shown,
    /// Prove it under this checkpoint, and not the newest
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
}

pub(super) fn run(arguments: &ProveArguments) -> Done {
    prove(arguments).unwrap_or_else(|done| done)
}

fn prove(arguments: &ProveArguments) -> Result<Done, Done> {
    let note = arguments.checkpoint.as_deref().map(read_text).transpose()?;
    let directory = arguments.shown.open("prove", &format!("record {}", arguments.seq))?;
    let tree = Tree::read(&directory, note.as_deref(), threads()).map_err(|error| failed(&error))?;
    let proof = tree.prove(arguments.seq).map_err(|error| failed(&error))?;
    Ok(Done(print(proof.to_string().as_bytes())))
}

pub(super) fn failed(error: &ProveError) -> Done {
    let exit = match error {
        ProveError::Read(_) => Exit::Unreadable,
        ProveError::Root | ProveError::Checkpoint(_) => Exit::Tampered,
        ProveError::NoCheckpoint
        | ProveError::Uncovered { .. }
        | ProveError::Deleted { .. }
        | ProveError::Absent(_) => Exit::Failed,
    };
    Done(fail(exit, &error.to_string()))
}
