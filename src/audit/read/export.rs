//! A tenant's own slice of a log: its records, a proof for each, and nothing of anybody else's but hashes.
//!
//! One JSON object a line: the head, with a signed checkpoint; the records, each with its place and path; the end, with how
//! many there were. It proves of each record that it is in the log as it stands here, not that there are no others: only who
//! has the log can tell that.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::tree::{Block, ProveError, Tree};
use crate::chain::{Checkpoint, CheckpointError, Hash, PublicKey, leaf_hash, verify_inclusion};

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    format: String,
    tenant: String,
    /// A signed note.
    checkpoint: String,
}

/// A record.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry<'a> {
    index: u64,
    /// The record's line.
    record: std::borrow::Cow<'a, str>,
    path: Vec<String>,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    records: u64,
}

const FORMAT: &str = "pgwarden-audit-export-v1";

/// Longest line of an export.
const LINE_MAX: u64 = 64 << 20;

#[derive(Debug, Error)]
pub enum ExportError {
    #[error(transparent)]
    Prove(#[from] ProveError),
    #[error("record {0} is no text")]
    Record(u64),
    #[error("the export cannot be written: {0}")]
    Write(#[from] io::Error),
}

/// Why an export does not hold.
#[derive(Debug, Error)]
pub enum NotProven {
    #[error("the export cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("line {0} is not of an export")]
    Form(u64),
    #[error("its checkpoint does not hold: {0}")]
    Checkpoint(#[from] CheckpointError),
    #[error("line {line}: record {index} is not in the log that was signed")]
    Record { line: u64, index: u64 },
    #[error("line {line}: record {index} is not of the tenant")]
    Tenant { line: u64, index: u64 },
    #[error("line {line}: record {index} stands behind a later one, or twice")]
    Order { line: u64, index: u64 },
    #[error("it ends after {found} records, before its end: it was cut")]
    Cut { found: u64 },
    #[error("it has {found} records and says that it has {said}")]
    Count { found: u64, said: u64 },
}

/// What an export has been found to be.
#[derive(Debug)]
pub struct Exported {
    pub tenant: String,
    pub records: u64,
    pub checkpoint: Checkpoint,
}

/// Writes what a log has of a tenant. Returns the number of records.
pub fn export(tree: &Tree, tenant: &str, mut out: impl Write) -> Result<u64, ExportError> {
    let head = Head { format: FORMAT.to_owned(), tenant: tenant.to_owned(), checkpoint: tree.note().to_owned() };
    put(&mut out, &head)?;
    let mut records = 0;
    tree.each_block(0, |block| {
        records += export_block(block, tenant, &mut out)?;
        Ok::<_, ExportError>(true)
    })?;
    put(&mut out, &End { records })?;
    out.flush()?;
    Ok(records)
}

fn export_block(block: &Block<'_>, tenant: &str, out: &mut impl Write) -> Result<u64, ExportError> {
    let own: Vec<(u64, &[u8])> = block.records().filter(|(_, record)| is_of(record, tenant)).collect();
    if own.is_empty() {
        return Ok(0);
    }
    let paths = block.paths();
    for (index, record) in &own {
        let record = std::str::from_utf8(record).map_err(|_| ExportError::Record(*index))?;
        let path = paths(*index).ok_or(ProveError::Absent(*index))?;
        put(out, &Entry { index: *index, record: record.into(), path: path.iter().map(Hash::to_string).collect() })?;
    }
    Ok(own.len() as u64)
}

fn put(out: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

/// Only a record that says so itself is a tenant's.
fn is_of(record: &[u8], tenant: &str) -> bool {
    #[derive(Deserialize)]
    struct Owner<'a> {
        #[serde(borrow)]
        tenant: Option<std::borrow::Cow<'a, str>>,
    }
    serde_json::from_slice::<Owner<'_>>(record).is_ok_and(|owner| owner.tenant.as_deref() == Some(tenant))
}

/// Checks every record of an export, with nothing but public keys.
///
/// # Errors
/// Something in it does not hold.
pub fn verify_export(mut file: impl BufRead, keys: &[PublicKey]) -> Result<Exported, NotProven> {
    let mut line = Vec::new();
    let mut number = 0;
    let mut next = |line: &mut Vec<u8>| -> Result<u64, NotProven> {
        line.clear();
        number += 1;
        io::Read::take(&mut file, LINE_MAX).read_until(b'\n', line)?;
        Ok(number)
    };
    let number = next(&mut line)?;
    let head: Head = serde_json::from_slice(&line).map_err(|_| NotProven::Form(number))?;
    if head.format != FORMAT {
        return Err(NotProven::Form(number));
    }
    let (checkpoint, note) = Checkpoint::from_note(head.checkpoint.as_bytes())?;
    note.verify(keys).map_err(CheckpointError::from)?;
    let (mut found, mut last) = (0, None);
    loop {
        let number = next(&mut line)?;
        if !line.ends_with(b"\n") {
            return Err(NotProven::Cut { found });
        }
        if let Ok(End { records: said }) = serde_json::from_slice(&line) {
            let more = next(&mut line)?;
            return match said {
                _ if !line.is_empty() => Err(NotProven::Form(more)),
                said if said != found => Err(NotProven::Count { found, said }),
                _ => Ok(Exported { tenant: head.tenant, records: found, checkpoint }),
            };
        }
        let entry: Entry<'_> = serde_json::from_slice(&line).map_err(|_| NotProven::Form(number))?;
        let (index, record) = (entry.index, entry.record.as_bytes());
        let path: Result<Vec<Hash>, _> = entry.path.iter().map(|hash| hash.parse()).collect();
        let path = path.map_err(|_| NotProven::Form(number))?;
        if !verify_inclusion(&leaf_hash(record), index, checkpoint.size, &path, &checkpoint.root) {
            return Err(NotProven::Record { line: number, index });
        }
        if !is_of(record, &head.tenant) {
            return Err(NotProven::Tenant { line: number, index });
        }
        if last.is_some_and(|last| last >= index) {
            return Err(NotProven::Order { line: number, index });
        }
        (found, last) = (found + 1, Some(index));
    }
}
