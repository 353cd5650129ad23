//! How the sample database is made safe: `pgwarden doctor`, `pgwarden protect --apply`, `pgwarden doctor`, as anyone would.
//!
//! Each is this very program as a child process, with the proxy's own configuration file.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::{Command, Output};

use serde::Deserialize;

use super::stage::BILLING_DATABASE;
use crate::cluster::Cluster;

#[derive(Debug, thiserror::Error)]
pub enum ProtectionError {
    #[error("start pgwarden {command}: {source}")]
    Io { command: &'static str, source: io::Error },
    #[error("pgwarden {command} ended with {status}:\n{said}")]
    Failed { command: &'static str, status: std::process::ExitStatus, said: String },
    #[error("pgwarden doctor --json printed what is no report: {0}")]
    Report(#[from] serde_json::Error),
}

/// What `doctor` and `protect` said.
#[derive(Debug, Default)]
pub struct Protection {
    pub before: Diagnosis,
    /// What was done: a line each.
    pub done: Vec<String>,
    /// What was left alone, and why.
    pub left: Vec<String>,
    pub after: Diagnosis,
}

/// What `doctor` found.
#[derive(Debug, Default)]
pub struct Diagnosis {
    pub passes: usize,
    pub warnings: usize,
    /// Objects with a hole, by the check's name.
    pub holes: BTreeMap<String, Vec<String>>,
}

impl Diagnosis {
    pub fn holes(&self) -> usize {
        self.holes.values().map(Vec::len).sum()
    }
}

#[derive(Debug, Deserialize)]
struct Report {
    findings: Vec<Finding>,
}

#[derive(Debug, Deserialize)]
struct Finding {
    level: Level,
    rule: String,
    object: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    Pass,
    Warning,
    Hole,
}

/// Makes the shared database safe, and looks at it before and after.
pub fn protect(program: &Path, config: &Path, cluster: &Cluster) -> Result<Protection, ProtectionError> {
    let before = diagnose(program, config)?;
    let dsn = format!("postgresql://{}@", cluster.superuser());
    let mut command = pgwarden(program, "protect", config);
    command.args(["--dsn", &dsn, "--apply"]).env("PGPASSWORD", cluster.password());
    let output = run("protect", &mut command)?;
    if !output.status.success() {
        return Err(failed("protect", &output));
    }
    let lines = |bytes: &[u8], mark: &str| {
        let text = String::from_utf8_lossy(bytes);
        text.lines().filter_map(|line| line.split_once(mark)).map(|(_, rest)| rest.to_owned()).collect()
    };
    let (done, left) = (lines(&output.stdout, "done: "), lines(&output.stderr, "left alone: "));
    Ok(Protection { before, done, left, after: diagnose(program, config)? })
}

/// What `doctor` says: its exit code is 1 where there is a hole.
fn diagnose(program: &Path, config: &Path) -> Result<Diagnosis, ProtectionError> {
    let output = run("doctor", pgwarden(program, "doctor", config).arg("--json"))?;
    if !matches!(output.status.code(), Some(0 | 1)) {
        return Err(failed("doctor", &output));
    }
    diagnosis(&output.stdout)
}

fn diagnosis(json: &[u8]) -> Result<Diagnosis, ProtectionError> {
    let report: Report = serde_json::from_slice(json)?;
    let count = |level| report.findings.iter().filter(|finding| finding.level == level).count();
    let mut found = Diagnosis { passes: count(Level::Pass), warnings: count(Level::Warning), holes: BTreeMap::new() };
    for finding in report.findings.into_iter().filter(|finding| finding.level == Level::Hole) {
        found.holes.entry(finding.rule).or_default().push(finding.object);
    }
    Ok(found)
}

fn pgwarden(program: &Path, command: &str, config: &Path) -> Command {
    let mut child = Command::new(program);
    child.arg(command).arg("--config").arg(config).args(["--database", BILLING_DATABASE]);
    child
}

fn run(name: &'static str, command: &mut Command) -> Result<Output, ProtectionError> {
    command.output().map_err(|source| ProtectionError::Io { command: name, source })
}

fn failed(command: &'static str, output: &Output) -> ProtectionError {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ProtectionError::Failed { command, status: output.status, said }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_counted_by_level_and_its_holes_by_rule() {
        let json = br#"{"database":"billing","findings":[
            {"level":"pass","rule":"server","object":"server","text":"ok","fix":null},
            {"level":"hole","rule":"row_security","object":"public.a","text":"off","fix":"x"},
            {"level":"hole","rule":"row_security","object":"public.b","text":"off","fix":"x"},
            {"level":"warning","rule":"index","object":"public.a","text":"none","fix":"y"}]}"#;
        let found = diagnosis(json).expect("a report");
        assert_eq!((found.passes, found.warnings, found.holes()), (1, 1, 2));
        assert_eq!(found.holes["row_security"], ["public.a", "public.b"]);
        assert!(diagnosis(b"no report").is_err());
    }
}
