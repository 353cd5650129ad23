//! Steps about the audit: the records of what was asked, and the proof that they are all.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::Came;
use crate::chain::{Checkpoint, Frontier, PublicKey, SigningKey, leaf_hash, notes};
use crate::config::Secret;
use crate::demo::config::{AUDIT, AUDIT_KEY};
use crate::demo::screen::Table;
use crate::demo::stage::{Stage, StepError};

/// How long the log may take to write and sign what was just asked.
const PATIENCE: Duration = Duration::from_secs(5);

pub async fn on_record(stage: &Stage) -> Result<Came, StepError> {
    let (harbor, lumen) = (stage.connect(&stage.accounts.harbor).await?, stage.connect(&stage.accounts.lumen).await?);
    harbor.value("SELECT count(*) AS on_record FROM invoices WHERE status = 'paid'").await?;
    lumen.value("SELECT count(*) AS on_record FROM usage_events WHERE quantity > 4711").await?;
    harbor.refusal("SET ROLE on_record").await?;
    let log = Log::of(stage);
    let records = log.await_records(|records| {
        let mine = records.iter().filter(|record| is_mine(record)).count();
        let ended = records.iter().filter(|record| record["kind"] == "outcome" && outcome_of(records, record)).count();
        mine == 3 && ended == 2
    });
    let records = records.await?;
    let mut table = Table::new(["record", "verdict", "by", "text", "what came of it"]);
    let mut verdicts = Vec::new();
    for record in records.iter().filter(|record| is_mine(record)) {
        let outcome = records.iter().find(|other| other["of"] == record["seq"]);
        let came = match outcome {
            Some(outcome) => format!("{}, {}", plain(&outcome["outcome"]), plain(&outcome["tag"])),
            None => format!("{}, rule {}", plain(&record["sqlstate"]), plain(&record["rule"])),
        };
        verdicts.push(plain(&record["verdict"]));
        let by = format!("{} of {}", plain(&record["user"]), plain(&record["tenant"]));
        table.row([plain(&record["seq"]), plain(&record["verdict"]), by, plain(&record["text"]), came]);
    }
    let first = records.iter().position(is_mine).unwrap_or_default();
    let whole = log.lines()?.get(first).map(|line| String::from_utf8_lossy(line).into_owned()).unwrap_or_default();
    let texts = records.iter().filter(|record| is_mine(record)).map(|record| plain(&record["text"]));
    let literals = texts.filter(|text| text.contains("paid") || text.contains("4711")).count();
    let text = format!("No literal is in the texts. The first record, whole:\n{whole}");
    Ok(Came::judged([verdicts == ["allow", "rewrite", "refuse"], literals == 0], text).with(table))
}

/// It is of one of the texts that this step sends.
fn is_mine(record: &Value) -> bool {
    record["text"].as_str().is_some_and(|text| text.contains("on_record"))
}

/// It is the outcome of one of those.
fn outcome_of(records: &[Value], outcome: &Value) -> bool {
    records.iter().any(|record| record["seq"] == outcome["of"] && is_mine(record))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

pub async fn proven(stage: &Stage) -> Result<Came, StepError> {
    let log = Log::of(stage);
    let key = log.key()?;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let asked = log.lines()?.len();
    let (covered, lines) = loop {
        // The checkpoint first: it covers nothing that is not written.
        let newest = log.checkpoint(&key)?;
        let lines = log.lines()?;
        let covered = newest.filter(|newest| (asked..=lines.len()).contains(&(newest.size as usize)));
        match covered {
            Some(checkpoint) => break (checkpoint, lines),
            None if tokio::time::Instant::now() > deadline => {
                return Err(StepError::unexpected("no checkpoint was signed"));
            }
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    let size = covered.size as usize;
    let holds = |lines: &[Vec<u8>]| root(&lines[..size]) == covered.root;
    let good = holds(&lines);
    // Every kind of edit, in a copy.
    let middle = size / 2;
    let mut flipped = lines.clone();
    flipped[middle][20] ^= 1;
    let mut dropped = lines.clone();
    dropped.remove(middle);
    dropped.push(lines[middle].clone());
    let mut swapped = lines.clone();
    swapped.swap(middle, middle + 1);
    let edits =
        [("one bit flipped", flipped), ("a record moved to the end", dropped), ("two records swapped", swapped)];
    let mut table = Table::new(["a copy of the log with", "fits the signed root"]);
    table.row(["nothing changed".to_owned(), if good { "yes" } else { "no" }.to_owned()]);
    let mut found = 0;
    for (edit, copy) in &edits {
        let fits = holds(copy);
        found += usize::from(!fits);
        table.row([(*edit).to_owned(), if fits { "yes" } else { "no" }.to_owned()]);
    }
    let text =
        format!("{size} records are under root {}, signed by key {} at {}.", covered.root, key.id(), covered.time);
    Ok(Came::judged([good, found == edits.len(), size > 100], text).with(table))
}

fn root(lines: &[Vec<u8>]) -> crate::chain::Hash {
    let mut tree = Frontier::new();
    for line in lines {
        tree.append(leaf_hash(line));
    }
    tree.root()
}

/// The proxy's log.
struct Log {
    directory: PathBuf,
    key: PathBuf,
}

impl Log {
    fn of(stage: &Stage) -> Self {
        let beside = |name: &str| stage.config.with_file_name(name);
        Self { directory: beside(AUDIT), key: beside(AUDIT_KEY) }
    }

    fn files(&self, extension: &str) -> Result<Vec<u8>, StepError> {
        let failed = |error: std::io::Error| StepError::unexpected(error.to_string());
        let entries = fs::read_dir(&self.directory).map_err(failed)?.flatten().map(|entry| entry.path());
        let mut paths: Vec<_> = entries.filter(|path| path.extension().is_some_and(|it| it == extension)).collect();
        paths.sort();
        let mut all = Vec::new();
        for path in paths {
            all.extend(fs::read(path).map_err(failed)?);
        }
        Ok(all)
    }

    /// Whole lines, without their line feeds.
    fn lines(&self) -> Result<Vec<Vec<u8>>, StepError> {
        let all = self.files("log")?;
        Ok(all
            .split_inclusive(|byte| *byte == b'\n')
            .filter_map(|line| line.strip_suffix(b"\n"))
            .map(Into::into)
            .collect())
    }

    /// All records, once they are as wanted, or when it took too long.
    async fn await_records(&self, wanted: impl Fn(&[Value]) -> bool) -> Result<Vec<Value>, StepError> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let read = |line: &Vec<u8>| serde_json::from_slice(line);
            let records: Result<Vec<Value>, _> = self.lines()?.iter().map(read).collect();
            let records = records.map_err(|error| StepError::unexpected(error.to_string()))?;
            if wanted(&records) || tokio::time::Instant::now() > deadline {
                return Ok(records);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn key(&self) -> Result<PublicKey, StepError> {
        let text = fs::read_to_string(&self.key).map_err(|error| StepError::unexpected(error.to_string()))?;
        let key = SigningKey::parse(&Secret::new(text)).map_err(|error| StepError::unexpected(error.to_string()))?;
        Ok(key.public().clone())
    }

    /// The newest checkpoint, if this key signed it.
    fn checkpoint(&self, key: &PublicKey) -> Result<Option<Checkpoint>, StepError> {
        let all = self.files("checkpoints")?;
        let (notes, _) = notes(&all);
        let newest = notes.last().and_then(|note| Checkpoint::from_note(note).ok());
        Ok(newest.filter(|(_, note)| note.verify(std::slice::from_ref(key)).is_ok()).map(|(checkpoint, _)| checkpoint))
    }
}
