//! `pgwarden audit verify`: of a log, a proof or an export.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;

use super::{Done, Exit, fail, print, read_text};
use crate::audit::read::{Ending, Kept, NotProven, Report, Verdict, Verifier, verify_export};
use crate::chain::{PublicKey, RecordProof};

#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    #[command(flatten)]
    log: super::Log,
    /// A public key that may have signed, or a file that has one; repeat it for a log whose key was changed
    #[arg(long = "key", value_name = "KEY", required = true)]
    keys: Vec<String>,
    /// Checkpoints that were kept elsewhere: the log must still have what they cover
    #[arg(long = "checkpoint", value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
    /// The log's name, by its checkpoints
    #[arg(long, value_name = "NAME")]
    origin: Option<String>,
    /// Seconds for which records at the log's end may be without a checkpoint
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    unsigned_max: u64,
    /// Write the newest checkpoint that holds to this file, to be kept and given to --checkpoint the next time
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
    /// Verify a proof that `prove` made, and print its record
    #[arg(long, value_name = "FILE", conflicts_with_all = ["directory", "export", "checkpoints", "keep", "json"])]
    proof: Option<PathBuf>,
    /// Verify what `export` wrote
    #[arg(long, value_name = "FILE", conflicts_with_all = ["directory", "checkpoints", "keep", "json"])]
    export: Option<PathBuf>,
}

pub(super) fn run(arguments: &VerifyArguments) -> Done {
    let verified = keys(&arguments.keys).and_then(|keys| match (&arguments.proof, &arguments.export) {
        (Some(file), _) => proof(file, &keys),
        (None, Some(file)) => export(file, &keys),
        (None, None) => log(arguments, keys),
    });
    verified.unwrap_or_else(|done| done)
}

/// Keys as texts, or in files.
pub(super) fn keys(given: &[String]) -> Result<Vec<PublicKey>, Done> {
    let read = |given: &String| match given.parse::<PublicKey>() {
        Ok(key) => Ok(key),
        Err(error) if given.contains('+') && !Path::new(given).exists() => {
            Err(Done(fail(Exit::Usage, &format!("--key {given}: {error}"))))
        }
        Err(_) => {
            let text = read_text(Path::new(given))?;
            text.parse().map_err(|error| Done(fail(Exit::Usage, &format!("--key {given}: not a public key: {error}"))))
        }
    };
    given.iter().map(read).collect()
}

fn log(arguments: &VerifyArguments, keys: Vec<PublicKey>) -> Result<Done, Done> {
    let directory = arguments.log.directory()?;
    let mut verifier = Verifier::new(keys);
    for file in &arguments.checkpoints {
        let name = file.display().to_string();
        let bytes = fs::read(file).map_err(|error| Done(fail(Exit::Unreadable, &format!("{name}: {error}"))))?;
        let kept = Kept::read(&name, &bytes, &verifier.keys, arguments.origin.as_deref());
        verifier.kept.extend(kept.map_err(|error| Done(fail(Exit::Unreadable, &error.to_string())))?);
    }
    verifier.origin.clone_from(&arguments.origin);
    verifier.unsigned_max = Duration::from_secs(arguments.unsigned_max);
    let begun = Instant::now();
    let report = verifier.verify(&directory);
    let text = if arguments.json {
        serde_json::to_string_pretty(&report).map_or_else(|error| error.to_string(), |text| text + "\n")
    } else {
        told(&report, begun.elapsed())
    };
    let printed = print(text.as_bytes());
    if let (Some(file), Some(newest)) = (&arguments.keep, &report.newest) {
        fs::write(file, &newest.note)
            .map_err(|error| Done(fail(Exit::Runtime, &format!("{}: {error}", file.display()))))?;
    }
    match (exit(report.verdict()), printed) {
        (Exit::Done, printed) => Ok(Done(printed)),
        (exit, _) => Ok(Done(exit)),
    }
}

fn exit(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Intact => Exit::Done,
        Verdict::Gap => Exit::Gap,
        Verdict::Unreadable => Exit::Unreadable,
        Verdict::Truncated => Exit::Truncated,
        Verdict::Tampered => Exit::Tampered,
    }
}

/// What was found, for people.
pub(crate) fn told(report: &Report, took: Duration) -> String {
    let mut out = String::new();
    for finding in &report.findings {
        let _ = writeln!(out, "{finding}");
    }
    for gap in &report.gaps {
        let what = if gap.lost > 0 { format!("{} records", gap.lost) } else { format!("{} bytes", gap.bytes) };
        let _ = writeln!(out, "gap: record {} at {}: {what} are not in the log: {}", gap.seq, gap.time, gap.reason);
    }
    let more = report.more_findings + report.more_gaps;
    if more > 0 {
        let _ = writeln!(out, "and {more} more");
    }
    let per_second = report.bytes as f64 / took.as_secs_f64().max(1e-6) / 1e6;
    let _ = writeln!(
        out,
        "{}: log {}, records {} to {}, {} segments ({} deleted), {:.1} MB in {:.2} s ({per_second:.0} MB/s)",
        report.verdict().label(),
        report.origin.as_deref().unwrap_or("without a name"),
        report.first,
        report.end.saturating_sub(1),
        report.segments,
        report.deleted,
        report.bytes as f64 / 1e6,
        took.as_secs_f64(),
    );
    let ending = match report.ending {
        Ending::Closed => "closed",
        Ending::Open => "open: being written, or its process did not close it",
    };
    let _ = writeln!(
        out,
        "{} checkpoints hold, the newest over {} records at {}; {} records are behind it; the log's end is {ending}",
        report.checkpoints,
        report.newest.as_ref().map_or(0, |newest| newest.size),
        report.newest.as_ref().map_or("no time", |newest| &newest.time),
        report.end.saturating_sub(report.covered),
    );
    if report.kept + report.kept_uncompared > 0 {
        let _ = writeln!(
            out,
            "{} checkpoints kept elsewhere hold, {} had nothing to be compared with",
            report.kept, report.kept_uncompared
        );
    }
    out
}

fn proof(file: &Path, keys: &[PublicKey]) -> Result<Done, Done> {
    let text = read_text(file)?;
    let wrong = |error| Done(fail(Exit::Tampered, &format!("{}: {error}", file.display())));
    let proof = RecordProof::parse(&text).map_err(wrong)?;
    let checkpoint = proof.verify(keys).map_err(wrong)?;
    let record = String::from_utf8_lossy(&proof.record);
    let said = format!(
        "{record}\nproven: record {} of log {}, under the checkpoint over {} records of {}\n",
        proof.index, checkpoint.origin, checkpoint.size, checkpoint.time
    );
    Ok(Done(print(said.as_bytes())))
}

fn export(file: &Path, keys: &[PublicKey]) -> Result<Done, Done> {
    let told = |exit, error: String| Done(fail(exit, &format!("{}: {error}", file.display())));
    let open = File::open(file).map_err(|error| told(Exit::Unreadable, error.to_string()))?;
    let exported = verify_export(BufReader::new(open), keys).map_err(|error| {
        let exit = match &error {
            NotProven::Read(_) => Exit::Unreadable,
            NotProven::Cut { .. } => Exit::Truncated,
            NotProven::Form(_)
            | NotProven::Checkpoint(_)
            | NotProven::Record { .. }
            | NotProven::Tenant { .. }
            | NotProven::Order { .. }
            | NotProven::Count { .. } => Exit::Tampered,
        };
        told(exit, error.to_string())
    })?;
    let said = format!(
        "proven: {} records of tenant {:?} in log {}, under the checkpoint over {} records of {}\n",
        exported.records,
        exported.tenant,
        exported.checkpoint.origin,
        exported.checkpoint.size,
        exported.checkpoint.time
    );
    Ok(Done(print(said.as_bytes())))
}
