//! What was measured, as rows (one a run) and as a table with ratios, spreads and targets. Pure but for the one file.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::proxy::{Kind, Pooling};
use crate::stats::{Spread, spread};
use crate::workload::{AS_ONE_TENANT, Target, WORKLOADS, Workload};

/// One run. Times are microseconds of the proxy's CPU for each unit of work; direct connections have none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub workload: String,
    pub proxy: Kind,
    pub workers: usize,
    pub round: usize,
    pub pooling: Pooling,
    /// transaction, MB (10^6 bytes on the wire), login, client or 1000 rows.
    pub unit: String,
    pub cpu_us: Option<f64>,
    pub user_us: Option<f64>,
    pub system_us: Option<f64>,
    /// Of `cpu_us`, the thread that writes the audit log.
    pub writer_us: Option<f64>,
    /// The server's CPU, where its processes outlive the load: behind pools.
    pub server_us: Option<f64>,
    /// Units a second.
    pub tps: f64,
    /// Latency of an operation: transaction, login, whole result, whole COPY.
    pub p50_us: Option<f64>,
    pub p99_us: Option<f64>,
    /// Peak resident memory of the proxy, KiB.
    pub rss_kb: Option<u64>,
    /// Resident memory that each idle client added, KiB.
    pub idle_kib: Option<f64>,
    /// Context switches of the proxy's threads, a unit.
    pub switches: Option<f64>,
    /// Server connections that changed tenants, a unit.
    pub changes: Option<f64>,
    pub version: String,
}

/// Writes the rows, one a line, as a JSON array.
pub fn write(rows: &[Row], path: &Path) -> Result<()> {
    let lines: Result<Vec<String>, _> = rows.iter().map(serde_json::to_string).collect();
    let text = format!("[\n{}\n]\n", lines?.join(",\n"));
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    std::fs::write(path, text).with_context(|| path.display().to_string())
}

pub fn read(path: &Path) -> Result<Vec<Row>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

/// The tables of all workloads that have rows, then the targets.
pub fn render(rows: &[Row]) -> String {
    let mut text = String::new();
    for workload in &WORKLOADS {
        for workers in [1, 2] {
            table(&mut text, rows, workload, workers);
        }
    }
    targets(&mut text, rows);
    text
}

fn table(text: &mut String, rows: &[Row], workload: &Workload, workers: usize) {
    let here = |kind| Select { rows, workload: workload.name, kind, workers };
    if Kind::ALL.into_iter().all(|kind| here(kind).count() == 0) {
        return;
    }
    let plural = if workers == 1 { "worker" } else { "workers" };
    let (name, about, unit) = (workload.name, workload.about, workload.unit.name());
    let rounds = Kind::ALL.into_iter().map(|kind| here(kind).count()).max().unwrap_or(0);
    let _infallible = writeln!(text, "\n{name}, {workers} {plural}: {about}; {rounds} rounds, per {unit}");
    let _infallible = writeln!(
        text,
        "  {:<12}{:>9}{:>8}{:>8}{:>22}{:>8}{:>10}{:>9}{:>9}{:>8}{:>9}",
        "proxy", "cpu µs", "user", "system", "× pgbouncer", "server", "per s", "p50 µs", "p99 µs", "RSS MB", "switches"
    );
    let mut notes = Vec::new();
    for kind in Kind::ALL {
        let select = here(kind);
        if select.count() == 0 {
            continue;
        }
        let mark = if select.pools_session() { "*" } else { "" };
        if !mark.is_empty() {
            notes.push(format!(
                "  * session pooling: this {} has no prepared statements in transaction pooling",
                kind.name()
            ));
        }
        let number = |value: fn(&Row) -> Option<f64>, digits: usize| match select.median(value) {
            Some(middle) => format!("{middle:.digits$}"),
            None => "–".to_owned(),
        };
        let pgbouncer = Select { workload: workload.group(), ..here(Kind::Pgbouncer) };
        let ratio = ratios(select, pgbouncer).filter(|_| kind != Kind::Pgbouncer);
        let _infallible = writeln!(
            text,
            "  {:<12}{:>9}{:>8}{:>8}{:>22}{:>8}{:>10}{:>9}{:>9}{:>8}{:>9}",
            format!("{}{mark}", kind.name()),
            number(|row| row.cpu_us, 2),
            number(|row| row.user_us, 2),
            number(|row| row.system_us, 2),
            ratio.map_or("–".to_owned(), show),
            number(|row| row.server_us, 1),
            number(|row| Some(row.tps), 0),
            number(|row| row.p50_us, 0),
            number(|row| row.p99_us, 0),
            number(|row| row.rss_kb.map(|kib| kib as f64 * 1024.0 / 1e6), 1),
            number(|row| row.switches, 3),
        );
        if let Some(kib) = select.spread(|row| row.idle_kib) {
            notes.push(format!("  {}: {} KiB for each idle client", kind.name(), show(kib)));
        }
        let same = Select { workload: AS_ONE_TENANT, ..here(Kind::Pgbouncer) };
        let same = ratios(select, same).filter(|_| kind == Kind::Pgwarden && workload.is_as_one_tenant());
        if let Some(same) = same {
            notes.push(format!("  {}: {} × pgbouncer on the same tables", kind.name(), show(same)));
        }
        if let Some(writer) = select.spread(|row| row.writer_us) {
            notes.push(format!("  {}: of it {} µs by the audit's writer", kind.name(), show(writer)));
        }
        if let Some(changes) = select.spread(|row| row.changes) {
            notes.push(format!("  {}: {} changes of tenant a {unit}", kind.name(), show(changes)));
        }
    }
    for note in notes {
        let _infallible = writeln!(text, "{note}");
    }
}

fn targets(text: &mut String, rows: &[Row]) {
    let lines = WORKLOADS.iter().flat_map(|workload| {
        workload.targets.iter().filter_map(|target| line(rows, workload, *target)).collect::<Vec<_>>()
    });
    let lines: Vec<String> = lines.collect();
    if !lines.is_empty() {
        let _infallible = writeln!(text, "\ntargets of pgwarden with one worker: median (lowest–highest round)");
        for line in lines {
            let _infallible = writeln!(text, "  {line}");
        }
    }
}

/// The line that says whether a target of a workload is met; `None` when it was not run.
fn line(rows: &[Row], workload: &Workload, target: Target) -> Option<String> {
    let select = |name, kind| Select { rows, workload: name, kind, workers: 1 };
    let own = select(workload.name, Kind::Pgwarden);
    let (measured, wanted, met) = match target {
        Target::OfPgbouncer(limit) => {
            let measured = ratios(own, select(workload.group(), Kind::Pgbouncer))?;
            (measured, format!("cpu ≤ {limit:.2} × pgbouncer"), measured.median <= limit)
        }
        Target::OfOwn(name, limit) => {
            let measured = ratios(own, select(name, Kind::Pgwarden))?;
            (measured, format!("cpu ≤ {limit:.2} × {name}"), measured.median <= limit)
        }
        Target::CpuAbove(name, limit) => {
            let measured = pairs(own, select(name, Kind::Pgwarden), |row| row.cpu_us, above)?;
            (measured, format!("cpu ≤ {name} + {limit:.1} µs"), measured.median <= limit)
        }
        Target::UserAbove(name, limit) => {
            let measured = pairs(own, select(name, Kind::Pgwarden), |row| row.user_us, above)?;
            (measured, format!("user ≤ {name} + {limit:.1} µs"), measured.median <= limit)
        }
        Target::WorkerAbove(name, limit) => {
            let worker = |row: &Row| Some(row.cpu_us? - row.writer_us.unwrap_or(0.0));
            let measured = pairs(own, select(name, Kind::Pgwarden), worker, above)?;
            (measured, format!("worker's cpu ≤ {name} + {limit:.1} µs"), measured.median <= limit)
        }
        Target::ServerOf(name, limit) => {
            let measured = pairs(own, select(name, Kind::Pgwarden), |row| row.server_us, ratio)?;
            (measured, format!("server's cpu ≤ {limit:.2} × {name}"), measured.median <= limit)
        }
        Target::RateOf(name, limit) => {
            let measured = pairs(own, select(name, Kind::Pgwarden), |row| Some(row.tps), ratio)?;
            (measured, format!("rate ≥ {limit:.2} × {name}"), measured.median >= limit)
        }
        Target::IdleKib(limit) => {
            let measured = own.spread(|row| row.idle_kib)?;
            (measured, format!("≤ {limit:.0} KiB an idle client"), measured.median <= limit)
        }
        Target::PeakKib(limit) => {
            let measured = own.spread(|row| row.rss_kb.map(|kib| kib as f64))?;
            (measured, format!("peak memory ≤ {limit:.0} KiB"), measured.median <= limit)
        }
    };
    let verdict = if met { "met" } else { "MISSED" };
    Some(format!("{:<20} {wanted:<44} {:>26}  {verdict}", workload.name, show(measured)))
}

fn show(spread: Spread) -> String {
    let digits = if spread.median < 100.0 { 2 } else { 0 };
    format!("{:.digits$} ({:.digits$}–{:.digits$})", spread.median, spread.min, spread.max)
}

/// Runs of one proxy in one workload.
#[derive(Clone, Copy)]
struct Select<'a> {
    rows: &'a [Row],
    workload: &'a str,
    kind: Kind,
    workers: usize,
}

impl<'a> Select<'a> {
    fn iter(self) -> impl Iterator<Item = &'a Row> {
        self.rows
            .iter()
            .filter(move |row| row.workload == self.workload && row.proxy == self.kind && row.workers == self.workers)
    }

    fn count(self) -> usize {
        self.iter().count()
    }

    fn pools_session(self) -> bool {
        self.iter().any(|row| row.pooling == Pooling::Session)
    }

    fn spread(self, value: impl Fn(&Row) -> Option<f64>) -> Option<Spread> {
        spread(self.iter().filter_map(value))
    }

    fn median(self, value: impl Fn(&Row) -> Option<f64>) -> Option<f64> {
        self.spread(value).map(|spread| spread.median)
    }
}

/// CPU of `of` as a multiple of `to`'s, round by round; rounds that lack either are left out.
fn ratios(of: Select<'_>, to: Select<'_>) -> Option<Spread> {
    pairs(of, to, |row| row.cpu_us, ratio)
}

/// A value of `of` against that of `to`, round by round; rounds that lack either are left out.
fn pairs(
    of: Select<'_>,
    to: Select<'_>,
    value: impl Fn(&Row) -> Option<f64>,
    against: fn(f64, f64) -> Option<f64>,
) -> Option<Spread> {
    let pairs = of.iter().filter_map(|row| {
        let base = to.iter().find(|base| base.round == row.round)?;
        against(value(row)?, value(base)?)
    });
    spread(pairs)
}

fn ratio(value: f64, base: f64) -> Option<f64> {
    (base > 0.0).then_some(value / base)
}

fn above(value: f64, base: f64) -> Option<f64> {
    Some(value - base)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(workload: &str, proxy: Kind, round: usize, cpu_us: f64) -> Row {
        Row {
            workload: workload.to_owned(),
            proxy,
            workers: 1,
            round,
            pooling: Pooling::Transaction,
            unit: "transaction".to_owned(),
            cpu_us: Some(cpu_us),
            user_us: Some(1.0),
            system_us: Some(cpu_us - 1.0),
            writer_us: None,
            server_us: Some(100.0),
            tps: 30_000.0,
            p50_us: Some(500.0),
            p99_us: Some(1500.0),
            rss_kb: Some(5_000),
            idle_kib: None,
            switches: Some(0.25),
            changes: None,
            version: "1".to_owned(),
        }
    }

    /// Three rounds of a machine that gets slower and slower, with pgwarden at `ratio` of PgBouncer in each.
    fn rounds(workload: &str, ratio: f64) -> Vec<Row> {
        let both = |round: usize| {
            let base = 10.0 * (round as f64 + 1.0);
            [row(workload, Kind::Pgbouncer, round, base), row(workload, Kind::Pgwarden, round, base * ratio)]
        };
        (0..3).flat_map(both).collect()
    }

    #[test]
    fn ratio_is_taken_within_a_round_so_that_drift_cancels_out() {
        let rows = rounds("select-simple-16", 1.1);
        let select = |kind| Select { rows: &rows, workload: "select-simple-16", kind, workers: 1 };
        let ratio = ratios(select(Kind::Pgwarden), select(Kind::Pgbouncer)).unwrap();
        assert!((ratio.min - 1.1).abs() < 1e-9 && (ratio.max - 1.1).abs() < 1e-9);
    }

    #[test]
    fn round_without_a_partner_does_not_count() {
        let mut rows = rounds("login", 1.0);
        rows.push(row("login", Kind::Pgwarden, 3, 1e9));
        let select = |kind| Select { rows: &rows, workload: "login", kind, workers: 1 };
        assert!((ratios(select(Kind::Pgwarden), select(Kind::Pgbouncer)).unwrap().max - 1.0).abs() < 1e-9);
    }

    #[test]
    fn target_is_met_at_its_limit_and_missed_above() {
        let text = |ratio| render(&rounds("select-simple-16", ratio));
        assert!(text(1.0).contains("  met\n"));
        assert!(text(1.2).contains("  MISSED\n"));
        assert!(!text(1.0).contains("MISSED"));
    }

    #[test]
    fn prepared_is_compared_with_own_simple() {
        let mut rows = rounds("select-simple-16", 1.0);
        rows.extend(rounds("select-prepared-16", 1.0).into_iter().map(|row| Row { cpu_us: Some(9.0), ..row }));
        let text = render(&rows);
        assert!(text.contains("cpu ≤ 1.00 × select-simple-16"), "{text}");
        assert!(text.contains("0.45 (0.30–0.90)"), "{text}");
    }

    #[test]
    fn variant_is_compared_with_the_pgbouncer_of_its_base() {
        let mut rows = rounds("select-simple-16", 1.0);
        let whole = (0..3).map(|round| row("whole-simple-16", Kind::Pgwarden, round, 12.0 * (round as f64 + 1.0)));
        rows.extend(whole);
        let text = render(&rows);
        let line = text.lines().find(|line| line.starts_with("  whole-simple-16")).unwrap();
        assert!(line.contains("× pgbouncer") && line.ends_with("1.20 (1.20–1.20)  met"), "{text}");
    }

    #[test]
    fn differences_are_of_the_same_round_and_leave_the_writer_out_where_they_should() {
        let mut rows = rounds("select-simple-16", 1.0);
        let audited = (0..3).map(|round| Row {
            writer_us: Some(1.0),
            ..row("group-simple-16", Kind::Pgwarden, round, 10.0 * (round as f64 + 1.0) + 1.5)
        });
        rows.extend(audited);
        let text = render(&rows);
        let said = |wanted: &str| text.lines().find(|line| line.contains(wanted)).unwrap().to_owned();
        assert!(said("  group-simple-16      cpu ≤").ends_with("1.50 (1.50–1.50)  met"), "{text}");
        assert!(said("worker's cpu ≤").ends_with("0.50 (0.50–0.50)  met"), "{text}");
    }

    #[test]
    fn rate_is_to_be_high_and_the_servers_cpu_low() {
        let pair = |one, other, change: fn(Row) -> Row| {
            let row = |name| row(name, Kind::Pgwarden, 0, 1.0);
            render(&[row(one), change(row(other))])
        };
        let text = pair("copy-rows", "copy-rows-tenant", |row| Row { tps: 9_000.0, ..row });
        assert!(text.contains("0.30 (0.30–0.30)  MISSED"), "{text}");
        let text = pair("setting-prepared-16", "sealed-prepared-16", |row| Row { server_us: Some(120.0), ..row });
        assert!(text.contains("1.20 (1.20–1.20)  met"), "{text}");
    }

    #[test]
    fn memory_targets_read_their_own_fields() {
        let own = |workload| row(workload, Kind::Pgwarden, 0, 1.0);
        let idle = Row { idle_kib: Some(6.5), ..own("idle-10000") };
        let rotate = Row { rss_kb: Some(19_000), ..own("rotate-1000") };
        let text = render(&[idle, rotate]);
        assert!(text.contains("6.50 (6.50–6.50)  MISSED"), "{text}");
        assert!(text.contains("19000 (19000–19000)  met"), "{text}");
    }

    #[test]
    fn session_pooling_is_marked() {
        let rows = [Row { pooling: Pooling::Session, ..row("select-prepared-16", Kind::Pgbouncer, 0, 9.0) }];
        let text = render(&rows);
        assert!(text.contains("pgbouncer* ") && text.contains("* session pooling"), "{text}");
    }

    #[test]
    fn rows_survive_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results/latest.json");
        let mut rows = rounds("rows-100k", 0.6);
        rows[0].cpu_us = None;
        write(&rows, &path).unwrap();
        assert_eq!(read(&path).unwrap(), rows);
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), rows.len() + 2);
    }
}
