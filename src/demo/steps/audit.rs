//! Steps about the audit: the records of what was asked, and the proof that they are all.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::Came;
use crate::audit::read::{Tree, Verdict, Verifier, threads};
use crate::audit::segment::{checkpoints_path, records_path};
use crate::chain::{PublicKey, SigningKey};
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
        mine == 3
            && records.iter().filter(|record| is_mine(record)).filter_map(|it| outcome_of(records, it)).count() == 2
    });
    let records = records.await?;
    let mut table = Table::new(["record", "verdict", "by", "text", "what came of it"]);
    let mut verdicts = Vec::new();
    for record in records.iter().filter(|record| is_mine(record)) {
        let came = match outcome_of(&records, record) {
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

/// What says how a statement ended: its own record, or a later one.
fn outcome_of<'a>(records: &'a [Value], record: &'a Value) -> Option<&'a Value> {
    match record["outcome"].is_string() {
        true => Some(record),
        false => records.iter().find(|other| other["of"] == record["seq"]),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

pub async fn proven(stage: &Stage) -> Result<Came, StepError> {
    let log = Log::of(stage);
    let verifier = Verifier::new(vec![log.key()?]);
    let lines = log.lines()?;
    let asked = lines.len() as u64;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let report = loop {
        let report = verifier.verify(&log.directory);
        match report.covered >= asked || report.verdict() != Verdict::Intact {
            true => break report,
            false if tokio::time::Instant::now() > deadline => {
                return Err(StepError::unexpected("no checkpoint was signed"));
            }
            false => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    let mine = |line: &Vec<u8>| serde_json::from_slice(line).is_ok_and(|record| is_mine(&record));
    let seq = lines.iter().position(mine).unwrap_or_default();
    let proof = Tree::read(&log.directory, None, threads()).and_then(|tree| tree.prove(seq as u64));
    let proof = proof.map_err(|error| StepError::unexpected(error.to_string()))?;
    let is_proven = proof.verify(&verifier.keys).is_ok();
    let mut table = Table::new(["a copy of the log with", "verdict", "where", "what"]);
    let mut found = 0;
    for (edit, change) in EDITS {
        let copy = log.copy(*change, seq)?;
        let report = verifier.verify(&copy);
        fs::remove_dir_all(&copy).map_err(io)?;
        let first = report.findings.first();
        let at = first.and_then(|finding| finding.records.clone()).unwrap_or_default();
        let what = first.map(|finding| finding.what.to_string()).unwrap_or_default();
        // The record, or the one that is behind it now.
        found += usize::from(
            report.verdict() == Verdict::Tampered && (at.start == seq as u64 || at.start == seq as u64 + 1),
        );
        table.row([(*edit).to_owned(), report.verdict().label().to_owned(), format!("record {}", at.start), what]);
    }
    let (directory, key) = (log.directory.display(), &verifier.keys[0]);
    let text = format!(
        "pgwarden audit verify {directory} --key {key}\n{}: {} records, {} of them under {} checkpoints\n\
         pgwarden audit prove {seq} {directory}\n{} hashes lead from record {seq} (the one above) to the root that was signed",
        report.verdict().label(),
        report.end,
        report.covered,
        report.checkpoints,
        proof.path.len(),
    );
    let holds = report.verdict() == Verdict::Intact && report.covered > 100;
    Ok(Came::judged([holds, is_proven, found == EDITS.len()], text).with(table))
}

/// Changes a log's lines, at one of them.
type Change = fn(&mut Vec<Vec<u8>>, usize);

/// Every kind of edit.
const EDITS: &[(&str, Change)] = &[
    ("one bit of that record flipped", |lines, at| lines[at][20] ^= 1),
    ("that record dropped", |lines, at| drop(lines.remove(at))),
    ("that record moved to the end", |lines, at| {
        let line = lines.remove(at);
        lines.push(line);
    }),
    ("that record and the next swapped", |lines, at| lines.swap(at, at + 1)),
    ("that record twice", |lines, at| lines.insert(at, lines[at].clone())),
];

fn io(error: std::io::Error) -> StepError {
    StepError::unexpected(error.to_string())
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
        let entries = fs::read_dir(&self.directory).map_err(io)?.flatten().map(|entry| entry.path());
        let mut paths: Vec<_> = entries.filter(|path| path.extension().is_some_and(|it| it == extension)).collect();
        paths.sort();
        let mut all = Vec::new();
        for path in paths {
            all.extend(fs::read(path).map_err(io)?);
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

    /// A copy with a change at some record; the log has one segment.
    fn copy(&self, change: Change, seq: usize) -> Result<PathBuf, StepError> {
        let copy = self.directory.with_extension("copy");
        fs::create_dir(&copy).map_err(io)?;
        // Checkpoints first: they cover nothing that is not written.
        let signed = self.files("checkpoints")?;
        let mut lines = self.lines()?;
        change(&mut lines, seq);
        let records: Vec<u8> = lines.into_iter().flat_map(|line| [line, b"\n".to_vec()].concat()).collect();
        fs::write(records_path(&copy, 0).with_extension("leaves"), self.files("leaves")?).map_err(io)?;
        fs::write(checkpoints_path(&copy, 0), signed).map_err(io)?;
        fs::write(records_path(&copy, 0), records).map_err(io)?;
        Ok(copy)
    }
}
