//! Runs pgbench and reads what it says: transactions, failures, and the latency of (a sample of) each.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::client::Login;
use crate::load::Outcome;
use crate::workload::{Protocol, Script, Unit};

/// Rows in pgbench_accounts are 100,000 times this.
pub const SCALE: usize = 20;
/// Accounts of the one tenant that pgbench runs as.
pub const TENANT_ACCOUNTS: usize = 200_000;
/// Share of the transactions whose latency is logged, where there are tens of thousands a second.
const SAMPLE: f64 = 0.2;

/// Scripts of our own, which are also there to be run by hand.
const TENANT_SELECT: &str = include_str!("../tenant-select.sql");
const TENANT_TPCB: &str = include_str!("../tenant.sql");
const UNSEEN: &str = include_str!("../unseen.sql");

/// How much to run.
pub enum Amount {
    Seconds(u64),
    /// Transactions of each client.
    Each(usize),
}

/// One pgbench.
pub struct Bench<'a> {
    /// pgbench's path.
    pub program: &'a Path,
    /// Where the latency logs go.
    pub dir: &'a Path,
    pub script: Script,
    pub protocol: Protocol,
    pub clients: usize,
}

impl Bench<'_> {
    /// Runs it; fails when a single transaction failed.
    pub fn run(&self, login: &Login, amount: &Amount) -> Result<Outcome> {
        let logs = tempfile::Builder::new().prefix("pgbench").tempdir_in(self.dir)?;
        let mut command = command(self.program, login);
        command.args(["--no-vacuum", "--protocol", self.protocol.name()]);
        command.args(["--client", &self.clients.to_string(), "--jobs", &self.clients.min(2).to_string()]);
        command.arg("--log").arg(format!("--log-prefix={}/log", logs.path().display()));
        let own = match self.script {
            Script::SelectOnly => {
                command.arg("--select-only");
                None
            }
            Script::TpcB => None,
            Script::TenantSelect => Some((TENANT_SELECT, TENANT_ACCOUNTS)),
            Script::TenantTpcB => Some((TENANT_TPCB, TENANT_ACCOUNTS)),
            Script::Unseen => Some((UNSEEN, SCALE * 100_000)),
        };
        if let Some((text, accounts)) = own {
            let file = logs.path().join("script.sql");
            fs::write(&file, text)?;
            command.arg("--file").arg(file).args(["--scale", &SCALE.to_string()]);
            command.arg(format!("--define=accounts={accounts}"));
        }
        if !matches!(self.script, Script::TpcB | Script::TenantTpcB) {
            command.args(["--sampling-rate", &SAMPLE.to_string()]);
        }
        match amount {
            Amount::Seconds(seconds) => command.args(["--time", &seconds.to_string()]),
            Amount::Each(count) => command.args(["--transactions", &count.to_string()]),
        };
        let output = command.arg(&login.database).output().context("start pgbench")?;
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rfind(|line| line.contains("error")).unwrap_or("no reason given");
        ensure!(output.status.success(), "pgbench: {last}");
        let summary = parse_summary(&String::from_utf8_lossy(&output.stdout))?;
        ensure!(summary.failed == 0, "pgbench: {} transactions failed", summary.failed);
        let mut latencies_us = Vec::new();
        for entry in fs::read_dir(logs.path())? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("log") {
                parse_log(&fs::read_to_string(entry.path())?, &mut latencies_us)?;
            }
        }
        latencies_us.sort_by(f64::total_cmp);
        Ok(Outcome {
            unit: Unit::Transaction,
            units: summary.transactions as f64,
            elapsed: Duration::from_secs_f64(summary.transactions as f64 / summary.tps),
            latencies_us,
            held: Vec::new(),
        })
    }
}

/// Makes pgbench's tables.
pub fn init(program: &Path, login: &Login) -> Result<()> {
    let mut command = command(program, login);
    command.args(["--initialize", "--quiet", "--init-steps=dtgvp", "--scale", &SCALE.to_string(), &login.database]);
    let output = command.output().context("start pgbench")?;
    ensure!(output.status.success(), "pgbench --initialize: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn command(program: &Path, login: &Login) -> Command {
    let mut command = Command::new(program);
    command.args(["--host", "127.0.0.1", "--port", &login.port.to_string(), "--username", &login.user]);
    command.env("PGPASSWORD", &login.password).env("PGSSLMODE", "disable").env("PGGSSENCMODE", "disable");
    command
}

#[derive(Debug, PartialEq)]
struct Summary {
    transactions: u64,
    failed: u64,
    tps: f64,
}

fn parse_summary(text: &str) -> Result<Summary> {
    let number = |label: &str| -> Result<&str> {
        let rest = text.lines().find_map(|line| line.strip_prefix(label));
        rest.with_context(|| format!("pgbench did not say {label:?}"))?
            .split_whitespace()
            .next()
            .with_context(|| format!("pgbench gave no number after {label:?}"))
    };
    // With a fixed number of transactions it says "done/wanted".
    let transactions = number("number of transactions actually processed: ")?;
    let transactions = transactions.split('/').next().unwrap_or(transactions);
    let summary = Summary {
        transactions: transactions.parse()?,
        failed: number("number of failed transactions: ")?.parse()?,
        tps: number("tps = ")?.parse()?,
    };
    ensure!(summary.transactions > 0 && summary.tps > 0.0, "pgbench ran no transaction");
    Ok(summary)
}

/// Adds the latencies (third column, µs) of a per-transaction log.
fn parse_log(text: &str, latencies_us: &mut Vec<f64>) -> Result<()> {
    for line in text.lines() {
        match line.split_whitespace().nth(2).map(str::parse::<f64>) {
            Some(Ok(latency)) => latencies_us.push(latency),
            Some(Err(_)) | None => bail!("pgbench logged {line:?}"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMARY: &str = "pgbench (15.8)\ntransaction type: <builtin: select only>\nnumber of clients: 16\n\
        duration: 5 s\nnumber of transactions actually processed: 151234\n\
        number of failed transactions: 0 (0.000%)\nlatency average = 0.5 ms\n\
        initial connection time = 30.1 ms\ntps = 30246.812345 (without initial connection time)\n";

    #[test]
    fn summary_is_read() {
        let expected = Summary { transactions: 151_234, failed: 0, tps: 30_246.812_345 };
        assert_eq!(parse_summary(SUMMARY).unwrap(), expected);
        let counted = SUMMARY.replace("151234", "1600/1600").replace(": 0 (0", ": 2 (0");
        let summary = parse_summary(&counted).unwrap();
        assert_eq!((summary.transactions, summary.failed), (1600, 2));
    }

    #[test]
    fn summary_without_a_line_is_an_error() {
        for label in ["actually processed", "failed transactions", "tps = "] {
            let cut: String = SUMMARY.lines().filter(|line| !line.contains(label)).map(|l| format!("{l}\n")).collect();
            assert!(parse_summary(&cut).is_err(), "{label}");
        }
        assert!(parse_summary(&SUMMARY.replace("151234", "0")).is_err());
    }

    #[test]
    fn log_gives_the_third_column() {
        let mut latencies = Vec::new();
        parse_log("0 199 2241 0 1175850568 995598\n1 2 350 0 1175850569 608\n", &mut latencies).unwrap();
        assert_eq!(latencies, [2241.0, 350.0]);
        assert!(parse_log("0 199 failed 0 1 2", &mut latencies).is_err());
        assert!(parse_log("0 199", &mut latencies).is_err());
    }
}
