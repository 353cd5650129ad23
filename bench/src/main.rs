//! Measures what a proxy costs: CPU, latency and memory of pgwarden beside PgBouncer, HAProxy and no proxy at all.
//!
//! Everything is started here, runs on loopback without TLS, and is interleaved: in each round every proxy runs the same
//! workload once, in a fresh process. `bench/README.md` has the method.
#![forbid(unsafe_code)]

mod client;
mod config;
mod load;
mod pgbench;
mod process;
mod proxy;
mod report;
mod server;
mod stats;
mod trace;
mod workload;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use crate::client::Login;
use crate::load::Outcome;
use crate::pgbench::{Amount, Bench};
use crate::process::{Each, Usage};
use crate::proxy::{Account, Kind, Pooling, Running, Site};
use crate::report::Row;
use crate::server::{DATABASE, Server};
use crate::stats::percentile;
use crate::trace::{Tool, Trace};
use crate::workload::{
    Context as TenantContext, IDLE_CLIENTS, Load, POOL_SIZE, Protocol, Script, Tenancy, WORKLOADS, Workload,
};

/// How long memory is given to settle before idle clients are weighed.
const SETTLE: Duration = Duration::from_millis(1500);
/// Rounds of a quick run.
const QUICK_ROUNDS: usize = 3;
/// Transactions of each client before a run is counted: pools fill, caches warm up.
const WARM_UP: usize = 50;

/// Measures pgwarden beside PgBouncer, HAProxy and direct connections.
#[derive(Parser)]
struct Args {
    /// The first workloads only, 3 rounds of 2 seconds
    #[arg(long)]
    quick: bool,
    /// Workloads, by name or the start of it (default: all)
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    workloads: Vec<String>,
    /// What to measure
    #[arg(long, value_delimiter = ',', value_enum, value_name = "NAMES")]
    proxies: Vec<Kind>,
    /// Numbers of workers (default: 1,2; quick: 1)
    #[arg(long, value_delimiter = ',', value_name = "NUMBERS", value_parser = clap::value_parser!(u64).range(1..=2))]
    workers: Vec<u64>,
    /// Rounds (default: 5, or 3 where the target is no narrow ratio; quick: 3)
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: Option<u64>,
    /// Length of a run (default: 4; quick: 2)
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// Size of each COPY, in MB (10^6 bytes)
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    copy_mb: u64,
    /// Where audit logs are written, and removed again: on a disk, for `strict` to mean anything (default: the temporary
    /// directory)
    #[arg(long, value_name = "DIR")]
    audit_dir: Option<PathBuf>,
    /// pgwarden's binary (default: the one beside this program)
    #[arg(long, value_name = "PATH")]
    pgwarden: Option<PathBuf>,
    /// Where the rows go
    #[arg(long, default_value = "bench/results/latest.json", value_name = "FILE")]
    output: PathBuf,
    /// Attach a tracer to the proxies and print what it saw; writes no rows
    #[arg(long, value_enum)]
    trace: Option<Tool>,
    /// Print the table of a file of rows and measure nothing
    #[arg(long, value_name = "FILE", conflicts_with = "trace")]
    report: Option<PathBuf>,
    /// List the workloads
    #[arg(long)]
    list: bool,
}

/// What is to be run, with defaults filled in.
struct Plan {
    workloads: Vec<Workload>,
    proxies: Vec<Kind>,
    workers: Vec<usize>,
    /// The workload's own number where none was asked for.
    rounds: Option<usize>,
    time: Duration,
    copy_bytes: u64,
    trace: Option<Tool>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(Complete::Yes) => ExitCode::SUCCESS,
        Ok(Complete::No) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether every run that was planned gave a row.
enum Complete {
    Yes,
    No,
}

fn run(args: &Args) -> Result<Complete> {
    if args.list {
        for workload in &WORKLOADS {
            println!("{:<20} {}{}", workload.name, workload.about, if workload.quick { " (quick)" } else { "" });
        }
        return Ok(Complete::Yes);
    }
    if let Some(file) = &args.report {
        print!("{}", report::render(&report::read(file)?));
        return Ok(Complete::Yes);
    }
    let plan = Plan::new(args)?;
    raise_file_limit()?;
    let account = Account::choose()?;
    let dir = tempfile::Builder::new().prefix("pgwarden-bench-").tempdir()?;
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))?;
    say(&format!("machine: {}", machine()));
    say("making a PostgreSQL server");
    let server = Server::start()?;
    let pgwarden = private_copy(args, dir.path())?;
    config::put_keys(dir.path())?;
    let audit = args.audit_dir.as_deref().unwrap_or(dir.path()).canonicalize()?;
    warn_of_memory(&audit, &plan);
    let site = Site { dir: dir.path(), account: &account, server: &server, pgwarden: &pgwarden, audit: &audit };
    let mut series = Series { plan: &plan, site, versions: BTreeMap::new(), rows: Vec::new(), complete: true };
    series.probe();
    series.make_tenants()?;
    series.run();
    print!("{}", report::render(&series.rows));
    if plan.trace.is_none() && !series.rows.is_empty() {
        report::write(&series.rows, &args.output)?;
        say(&format!("{} rows in {}", series.rows.len(), args.output.display()));
    }
    Ok(if series.complete { Complete::Yes } else { Complete::No })
}

/// A copy of pgwarden's binary that the servers' account can run, wherever the original is, and that no build replaces
/// in the middle of a run. Where there is none, the path at which it was looked for.
fn private_copy(args: &Args, dir: &Path) -> Result<PathBuf> {
    let original = match &args.pgwarden {
        Some(path) => path.canonicalize().with_context(|| path.display().to_string())?,
        None => std::env::current_exe()?.with_file_name("pgwarden"),
    };
    if !original.is_file() {
        return Ok(original);
    }
    let copy = dir.join("pgwarden");
    std::fs::copy(&original, &copy).with_context(|| format!("copy {}", original.display()))?;
    Ok(copy)
}

impl Plan {
    fn new(args: &Args) -> Result<Plan> {
        let named = |workload: &Workload| {
            if args.workloads.is_empty() {
                return !args.quick || workload.quick;
            }
            args.workloads.iter().any(|name| workload.name.starts_with(name.as_str()))
        };
        // With what it is a variant of, or a target of its refers to.
        let others = WORKLOADS
            .iter()
            .filter(|workload| named(workload))
            .flat_map(|workload| workload.targets.iter().filter_map(|target| target.other()).chain(workload.base));
        let others: BTreeSet<&str> = others.collect();
        let chosen = |workload: &Workload| named(workload) || others.contains(workload.name);
        for name in &args.workloads {
            ensure!(
                WORKLOADS.iter().any(|workload| workload.name.starts_with(name.as_str())),
                "no workload is called {name}; --list lists them"
            );
        }
        let workers: Vec<usize> = match (args.workers.as_slice(), args.quick) {
            ([], true) => vec![1],
            ([], false) => vec![1, 2],
            (chosen, _) => chosen.iter().map(|workers| if *workers == 1 { 1 } else { 2 }).collect(),
        };
        Ok(Plan {
            workloads: WORKLOADS.into_iter().filter(chosen).collect(),
            proxies: if args.proxies.is_empty() { Kind::ALL.to_vec() } else { args.proxies.clone() },
            workers,
            rounds: match (args.rounds, args.quick) {
                (Some(rounds), _) => Some(usize::try_from(rounds)?),
                (None, true) => Some(QUICK_ROUNDS),
                (None, false) => None,
            },
            time: Duration::from_secs(args.seconds.unwrap_or(if args.quick { 2 } else { 4 })),
            copy_bytes: args.copy_mb * 1_000_000,
            trace: args.trace,
        })
    }

    /// What takes part in one round of `workload`, in order.
    fn entries(&self, workload: &Workload) -> Vec<(Kind, usize)> {
        let mut entries = Vec::new();
        for &workers in &self.workers {
            if workers > 1 && !workload.two_workers {
                continue;
            }
            let kinds = Kind::ALL.into_iter().filter(|kind| self.proxies.contains(kind));
            let kinds = kinds.filter(|kind| workload.takes(*kind));
            // Direct connections know no workers.
            entries.extend(kinds.filter(|kind| workers == 1 || *kind != Kind::Direct).map(|kind| (kind, workers)));
        }
        entries
    }
}

/// All runs of one benchmark.
struct Series<'a> {
    plan: &'a Plan,
    site: Site<'a>,
    /// Versions of the proxies that start; the others are left out.
    versions: BTreeMap<Kind, String>,
    rows: Vec<Row>,
    complete: bool,
}

impl Series<'_> {
    /// Starts each proxy once and leaves out, saying why, the ones that do not serve.
    fn probe(&mut self) {
        for &kind in &self.plan.proxies {
            let version = self.site.version(kind).and_then(|version| {
                let workload = &WORKLOADS[0];
                self.site.start(kind, 1, workload)?;
                Ok(version)
            });
            match version {
                Ok(version) => {
                    say(&format!("{}: {version}", kind.name()));
                    self.versions.insert(kind, version);
                }
                Err(error) => {
                    say(&format!("{}: SKIPPED: {error:#}", kind.name()));
                    self.complete = false;
                }
            }
        }
    }

    /// Makes the databases of tenants that the workloads need.
    fn make_tenants(&self) -> Result<()> {
        if !self.versions.contains_key(&Kind::Pgwarden) {
            return Ok(());
        }
        let contexts = self.plan.workloads.iter().filter_map(|workload| match workload.duty.tenancy {
            Tenancy::Row(context) => Some(context),
            Tenancy::None | Tenancy::Database => None,
        });
        for context in contexts.collect::<BTreeSet<_>>() {
            say(&format!("making tables that tenants share, context {}", context.name()));
            self.site.make_tenants(context)?;
        }
        Ok(())
    }

    /// Group by group; in each round of a group all its workloads run.
    fn run(&mut self) {
        for group in self.plan.workloads.chunk_by(|one, next| one.group() == next.group()) {
            let rounds = self.plan.rounds.or(group.iter().map(|workload| workload.rounds).max()).unwrap_or(1);
            for round in 0..rounds {
                for workload in group {
                    for (kind, workers) in self.plan.entries(workload) {
                        // Tenants' tables are made with pgwarden.
                        let needs = [kind, if workload.duty.tenancy == Tenancy::None { kind } else { Kind::Pgwarden }];
                        if !needs.iter().all(|kind| self.versions.contains_key(kind)) {
                            continue;
                        }
                        match self.one(workload, kind, workers, round) {
                            Ok(row) => {
                                say(&progress(&row, rounds));
                                self.rows.push(row);
                            }
                            Err(error) => {
                                self.complete = false;
                                say(&format!("{}, {}, {workers}: FAILED: {error:#}", workload.name, kind.name()));
                            }
                        }
                    }
                }
            }
        }
    }

    /// One run: a fresh proxy, a warm-up, the load between two readings of the counters.
    fn one(&self, workload: &Workload, kind: Kind, workers: usize, round: usize) -> Result<Row> {
        let pooling = workload.pooling(kind);
        let tenants = match workload.duty.tenancy {
            Tenancy::Row(context) if kind == Kind::Pgwarden => Some(context),
            Tenancy::Row(_) | Tenancy::None | Tenancy::Database => None,
        };
        if workload.changes_tables() {
            self.site.server.tidy(tenants.map_or(DATABASE, TenantContext::name))?;
        }
        let proxy = self.site.start(kind, workers, workload)?;
        let login = self.site.login(kind, workload, proxy.port);
        self.warm_up(workload, &login)?;

        let mut meter = Meter::new(&proxy, self)?;
        let outcome = self.load(workload, &login, || meter.begin())?;
        let used = meter.end()?;
        if let Some(trace) = meter.trace.take() {
            print!("{}, {}:\n{}", workload.name, kind.name(), trace.report(outcome.units, outcome.unit.name())?);
        }
        if matches!(workload.load, Load::Idle) {
            std::thread::sleep(SETTLE);
        }
        let memory = process::memory(&meter.roots)?;
        let idle_kib = matches!(workload.load, Load::Idle)
            .then(|| (memory.rss_kb as f64 - meter.rss_kb_before as f64) / outcome.held.len() as f64);

        let measured = !meter.roots.is_empty();
        let pools = pooling != Pooling::None;
        let (user_us, system_us) = used.proxy.split_us();
        let each = |value: f64| measured.then(|| rounded(value / outcome.units));
        Ok(Row {
            workload: workload.name.to_owned(),
            proxy: kind,
            workers,
            round,
            pooling,
            unit: outcome.unit.name().to_owned(),
            cpu_us: each(user_us + system_us),
            user_us: each(user_us),
            system_us: each(system_us),
            writer_us: each(used.writer_us).filter(|_| workload.duty.audit.is_some()),
            server_us: each(used.server_us).filter(|_| pools),
            tps: rounded(outcome.units / outcome.elapsed.as_secs_f64()),
            p50_us: percentile(&outcome.latencies_us, 0.50).map(rounded),
            p99_us: percentile(&outcome.latencies_us, 0.99).map(rounded),
            rss_kb: measured.then_some(memory.peak_kb),
            idle_kib: idle_kib.map(rounded),
            switches: each(used.proxy.switches as f64),
            changes: each(used.cleanings).filter(|_| matches!(workload.duty.tenancy, Tenancy::Row(_))),
            version: self.versions.get(&kind).cloned().unwrap_or_default(),
        })
    }

    /// Fills the pool, in the protocol that will be measured.
    fn warm_up(&self, workload: &Workload, login: &Login) -> Result<()> {
        let protocol = match workload.load {
            Load::Pgbench { protocol, .. } => protocol,
            Load::Rotate | Load::Login | Load::Rows | Load::CopyOut | Load::CopyIn | Load::CopyRows => Protocol::Simple,
            Load::Idle | Load::Turns { .. } | Load::Spread { .. } | Load::Scan => Protocol::Simple,
        };
        let script = match workload.duty.tenancy {
            Tenancy::Row(_) => Script::TenantSelect,
            Tenancy::None | Tenancy::Database => Script::SelectOnly,
        };
        self.pgbench(script, protocol, POOL_SIZE, login, &Amount::Each(WARM_UP)).map(drop)
    }

    fn load(&self, workload: &Workload, login: &Login, begin: impl FnOnce() -> Result<()>) -> Result<Outcome> {
        let (time, size) = (self.plan.time, self.plan.copy_bytes);
        match workload.load {
            Load::Pgbench { script, protocol, clients } => {
                begin()?;
                self.pgbench(script, protocol, clients, login, &Amount::Seconds(time.as_secs()))
            }
            Load::Rotate => load::rotate(login, time, begin),
            Load::Login => load::login(login, time, begin),
            Load::Rows => load::rows(login, time, begin),
            Load::CopyOut => load::copy_out(login, size, begin),
            Load::CopyIn => load::copy_in(login, size, begin),
            Load::CopyRows => load::copy_rows(login, size, begin),
            Load::Turns { tenants } => load::turns(login, tenants, time, begin),
            Load::Spread { tenants } => load::spread(login, tenants, time, begin),
            Load::Scan => load::scan(login, time, begin),
            Load::Idle => load::idle(login, begin),
        }
    }

    fn pgbench(
        &self,
        script: Script,
        protocol: Protocol,
        clients: usize,
        login: &Login,
        amount: &Amount,
    ) -> Result<Outcome> {
        let program = self.site.server.pgbench();
        Bench { program: &program, dir: self.site.dir, script, protocol, clients }.run(login, amount)
    }
}

/// What is read at the moment the work begins, and again at its end.
struct Meter<'a> {
    proxy: &'a Running,
    roots: Vec<i32>,
    server: Option<i32>,
    dir: &'a Path,
    tool: Option<Tool>,
    rss_kb_before: u64,
    before: Readings,
    trace: Option<Trace>,
}

#[derive(Default)]
struct Readings {
    proxy: Usage,
    /// Of the thread that writes the audit log.
    writer_ns: u64,
    server: Each,
    /// Server connections that were cleaned for another tenant.
    cleanings: f64,
}

/// The difference between two readings.
struct Used {
    proxy: Usage,
    writer_us: f64,
    server_us: f64,
    cleanings: f64,
}

impl<'a> Meter<'a> {
    fn new(proxy: &'a Running, series: &'a Series<'_>) -> Result<Self> {
        let roots = proxy.roots();
        let rss_kb_before = process::memory(&roots)?.rss_kb;
        let tool = series.plan.trace.filter(|_| !roots.is_empty());
        let (server, dir) = (series.site.server.pid(), series.site.dir);
        Ok(Self { proxy, roots, server, dir, tool, rss_kb_before, before: Readings::default(), trace: None })
    }

    fn begin(&mut self) -> Result<()> {
        if let Some(tool) = self.tool {
            self.trace = Some(Trace::attach(tool, &self.roots, self.dir)?);
        }
        let cleanings = self.cleanings()?;
        let (server, writer_ns) = (self.server()?, process::threads_ns(&self.roots, WRITER)?);
        self.before = Readings { proxy: process::usage(&self.roots)?, writer_ns, server, cleanings };
        Ok(())
    }

    /// The proxy is read first here and last in [`Self::begin`]: asking for its metrics is no part of the work.
    fn end(&self) -> Result<Used> {
        let proxy = process::usage(&self.roots)?.since(self.before.proxy);
        let writer_ns = process::threads_ns(&self.roots, WRITER)?.saturating_sub(self.before.writer_ns);
        let server_us = process::used_us(&self.before.server, &self.server()?);
        let cleanings = self.cleanings()? - self.before.cleanings;
        Ok(Used { proxy, writer_us: writer_ns as f64 / 1000.0, server_us, cleanings })
    }

    fn server(&self) -> Result<Each> {
        self.server.map_or_else(|| Ok(Each::new()), process::each)
    }

    fn cleanings(&self) -> Result<f64> {
        self.proxy.metric("pgwarden_pool_cleanings_total")
    }
}

/// The name of pgwarden's thread that writes the audit log.
const WRITER: &str = "audit";

/// An audit log in memory is synced at once: `strict` would look better than it is.
fn warn_of_memory(directory: &Path, plan: &Plan) {
    let audited = plan.workloads.iter().any(|workload| workload.duty.audit.is_some());
    if audited && statfs(directory).is_ok_and(|system| system.filesystem_type() == TMPFS_MAGIC) {
        say(&format!("audit logs go to memory ({}): see --audit-dir", directory.display()));
    }
}

/// Proxies and this program hold a socket for every idle client.
fn raise_file_limit() -> Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = (IDLE_CLIENTS + 2_000) as u64;
    ensure!(hard >= wanted, "the limit of open files is {hard}; {wanted} are needed (ulimit -n)");
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(wanted), hard)?;
    Ok(())
}

/// What the numbers depend on: processors, kernel, and what else runs.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
    let loads = read("/proc/loadavg");
    let load = loads.split(' ').next().unwrap_or_default();
    let busy =
        if load.parse::<f64>().is_ok_and(|load| load > 0.5) { " (others are at work: expect noise)" } else { "" };
    format!(
        "{cpus} × {}, Linux {}, load {load}{busy}",
        model.unwrap_or("unknown processor"),
        read("/proc/sys/kernel/osrelease").trim()
    )
}

fn progress(row: &Row, rounds: usize) -> String {
    let cpu = row.cpu_us.map_or("–".to_owned(), |cpu| format!("{cpu:.2}"));
    format!(
        "{:<20} {:<10} {} round {}/{rounds}: {cpu:>8} µs/{}, {:.0}/s",
        row.workload,
        row.proxy.name(),
        row.workers,
        row.round + 1,
        row.unit,
        row.tps
    )
}

fn say(text: &str) {
    use std::sync::OnceLock;
    static STARTED: OnceLock<Instant> = OnceLock::new();
    let seconds = STARTED.get_or_init(Instant::now).elapsed().as_secs();
    println!("[{:02}:{:02}] {text}", seconds / 60, seconds % 60);
}

/// Three decimals are more than any clock here is good for.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(args: &[&str]) -> Result<Plan> {
        Plan::new(&Args::try_parse_from([&["bench"], args].concat())?)
    }

    #[test]
    fn quick_is_shorter_and_keeps_to_one_worker() {
        let quick = plan(&["--quick"]).unwrap();
        let full = plan(&[]).unwrap();
        assert_eq!((quick.rounds, quick.time.as_secs(), quick.workers.as_slice()), (Some(3), 2, [1].as_slice()));
        assert_eq!((full.rounds, full.time.as_secs(), full.workers.as_slice()), (None, 4, [1, 2].as_slice()));
        assert!(quick.workloads.len() < full.workloads.len() && full.workloads.len() == WORKLOADS.len());
    }

    #[test]
    fn rounds_go_through_the_proxies_in_one_order_with_direct_once() {
        let plan = plan(&["--proxies", "pgwarden,direct,pgbouncer"]).unwrap();
        let two = WORKLOADS.iter().find(|workload| workload.two_workers).unwrap();
        let expected =
            [(Kind::Direct, 1), (Kind::Pgbouncer, 1), (Kind::Pgwarden, 1), (Kind::Pgbouncer, 2), (Kind::Pgwarden, 2)];
        assert_eq!(plan.entries(two), expected);
        let variant = WORKLOADS.iter().find(|workload| workload.base.is_some()).unwrap();
        assert_eq!(plan.entries(variant), [(Kind::Pgwarden, 1)], "of a variant only pgwarden is measured");
    }

    #[test]
    fn workload_brings_what_it_is_compared_with() {
        let names =
            |args: &[&str]| -> Vec<_> { plan(args).unwrap().workloads.iter().map(|workload| workload.name).collect() };
        assert_eq!(names(&["--workloads", "unseen"]), ["select-simple-16", "policy-simple-16", "unseen-simple-16"]);
        assert_eq!(names(&["--workloads", "tpcb-tenant"]), ["tpcb-simple-16", "tpcb-tenant-16"]);
    }

    #[test]
    fn workloads_are_chosen_by_prefix_and_unknown_ones_refused() {
        let chosen = plan(&["--workloads", "copy-i,copy-o,login"]).unwrap();
        let names: Vec<_> = chosen.workloads.iter().map(|workload| workload.name).collect();
        assert_eq!(names, ["login", "copy-out", "copy-in"]);
        assert!(plan(&["--workloads", "copyy"]).is_err());
        assert!(plan(&["--workers", "3"]).is_err());
    }
}
