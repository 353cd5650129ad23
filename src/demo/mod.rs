//! The guided tour: a throwaway cluster with a sample billing database that is made safe for its tenants, the proxy in
//! front, and statements that show what it does.
//!
//! The tour checks itself: every step says what it did, what was expected and what came. Nothing is left behind, however
//! the demo ends: server, proxy and files are removed by guardians.

mod child;
mod config;
mod protection;
mod screen;
mod stage;
mod steps;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cluster::{Cluster, ClusterError};
use child::{CONFIG, ChildError, Files, Proxy};
use config::{AUDIT_KEY, KEYS, audit_key, config, keys};
use protection::ProtectionError;
use screen::{Colours, Ink, Screen, thousands};
use stage::{Account, Accounts, BILLING_DATABASE, Stage, StepError};
use steps::{Came, Chapter, Step, TOUR, Verdict};

/// PgBouncer's port, and so the first choice.
const PORT: u16 = 6432;
/// Longest that one step may take.
const STEP: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    pub after: After,
    pub logs: Logs,
    /// The proxy's port; absent: 6432 where that is free and the demo stays up, any free one otherwise.
    pub port: Option<u16>,
}

/// What follows the tour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// The end.
    Leave,
    /// Everything stays up until SIGINT or SIGTERM.
    Stay,
}

/// What becomes of the logs of server and proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logs {
    Remove,
    /// Kept in a directory whose name is printed.
    Keep,
}

#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("PostgreSQL: {0}")]
    Cluster(#[from] ClusterError),
    #[error("pgwarden: {0}")]
    Proxy(#[from] ChildError),
    #[error("{0}")]
    Protection(#[from] ProtectionError),
    #[error("{what}: {source}")]
    Io { what: &'static str, source: io::Error },
    #[error("{failed} of {of} steps did not give what they should")]
    Steps { failed: usize, of: usize },
    #[error("the proxy ended with exit code {code:?} when told to stop, not 0")]
    ProxyExit { code: Option<i32> },
    #[error("interrupted before the end of the tour")]
    Interrupted,
}

fn io_error(what: &'static str) -> impl FnOnce(io::Error) -> DemoError {
    move |source| DemoError::Io { what, source }
}

/// Runs the demo from start to end. Ok only when every step gave what it should and the proxy stopped cleanly.
pub fn run(options: &Options) -> Result<(), DemoError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(io_error("start the runtime"))?.block_on(demo(options))
}

async fn demo(options: &Options) -> Result<(), DemoError> {
    // First, so that from here on a signal ends the demo in order.
    let mut signals = Signals::new().map_err(io_error("handle signals"))?;
    let screen = Screen::new(Colours::for_stdout());
    let show = |text: String| screen.print(&text).map_err(io_error("write to standard output"));

    let started = Instant::now();
    let cluster = Cluster::builder().start()?;
    show(setup_line(&screen, started, &format!("PostgreSQL {} on port {}", cluster.version(), cluster.port())))?;
    let role_password = new_password();
    let started = Instant::now();
    stage::fill(&cluster, &role_password)?;
    show(setup_line(&screen, started, &contents(&cluster)?))?;

    let accounts = Accounts::new(new_password);
    let port = options.port.unwrap_or_else(|| free_port(options.after));
    let program = std::env::current_exe().map_err(io_error("find this program"))?;
    let (keys, audit_key) = (keys(), audit_key());
    let files_with = |port| {
        let text = config(port, cluster.address(), &accounts, &role_password);
        Files::write(&program, &[(CONFIG, &text), (KEYS, &keys), (AUDIT_KEY, &audit_key)])
    };
    let files = files_with(port)?;
    let started = Instant::now();
    let protection = protection::protect(&program, &files.config_path(), &cluster)?;
    show(setup_line(&screen, started, &format!("{BILLING_DATABASE} made safe for its tenants by pgwarden protect")))?;
    let started = Instant::now();
    let proxy = match files.start().await {
        // Somebody else has taken the usual port since it was looked at: any other one will do.
        Err(ChildError::Start { .. }) if port == PORT && options.port.is_none() => files_with(0)?.start().await?,
        started => started?,
    };
    let addresses = proxy.addresses();
    let what = format!("pgwarden on port {}, transaction pooling", addresses.clients.port());
    show(setup_line(&screen, started, &what))?;

    let (server, config) = (superuser(&cluster), proxy.config_path());
    let stage = Stage { accounts, proxy: addresses.clients, config, server, role_password, protection };
    show(addresses_page(&screen, &stage, addresses.http))?;

    let outcome = tokio::select! {
        outcome = tour(&screen, &stage, &proxy, TOUR) => outcome,
        () = signals.any() => Err(DemoError::Interrupted),
    };
    if options.after == After::Stay && !matches!(outcome, Err(DemoError::Interrupted)) {
        show(addresses_page(&screen, &stage, addresses.http))?;
        show(format!("{}\n", screen.paint(Ink::Bold, "Everything stays up. Ctrl-C ends it and removes everything.")))?;
        signals.any().await;
        show("\nStopping.\n".to_owned())?;
    }
    if options.logs == Logs::Keep {
        let dir = keep_logs(&cluster, &proxy).map_err(io_error("keep the logs"))?;
        show(format!("The logs are in {}\n", dir.display()))?;
    }
    let code = proxy.stop()?;
    drop(cluster);
    outcome?;
    if code == Some(0) { Ok(()) } else { Err(DemoError::ProxyExit { code }) }
}

/// Runs the steps one after the other; a failed one does not stop the rest.
async fn tour(screen: &Screen, stage: &Stage, proxy: &Proxy, chapters: &[Chapter]) -> Result<(), DemoError> {
    let show = |text: String| screen.print(&text).map_err(io_error("write to standard output"));
    let (mut of, mut failed) = (0, 0);
    for chapter in chapters {
        show(format!("{}\n\n", screen.paint(Ink::Bold, chapter.title)))?;
        for step in chapter.steps {
            of += 1;
            show(step_page(screen, of, step))?;
            let answer = tokio::time::timeout(STEP, (step.run)(stage)).await;
            let answer = answer.unwrap_or(Err(StepError::TimedOut(STEP)));
            failed += usize::from(!matches!(answer, Ok(Came { verdict: Verdict::AsExpected, .. })));
            show(answer_page(screen, &answer))?;
        }
    }
    let passed = of - failed;
    let ink = if failed == 0 { Ink::Good } else { Ink::Bad };
    show(format!("{}\n", screen.paint(ink, &format!("tour: {passed} passed, {failed} failed"))))?;
    if failed == 0 {
        return Ok(());
    }
    show(format!("\nThe proxy's log ends with:\n{}\n", proxy.log_tail()))?;
    Err(DemoError::Steps { failed, of })
}

fn setup_line(screen: &Screen, started: Instant, what: &str) -> String {
    screen.line(&format!("{:.1} s", started.elapsed().as_secs_f32()), Ink::Plain, what)
}

fn step_page(screen: &Screen, number: usize, step: &Step) -> String {
    let mut page = screen.heading(number, step.title);
    page.push_str(&screen.line("did", Ink::Plain, step.did));
    page.push_str(&screen.line("expected", Ink::Plain, step.expected));
    page
}

fn answer_page(screen: &Screen, answer: &Result<Came, StepError>) -> String {
    let mut page = match answer {
        Ok(Came { verdict: Verdict::AsExpected, text, .. }) => screen.line("came", Ink::Good, &format!("✓ {text}")),
        Ok(Came { verdict: Verdict::Different, text, .. }) => screen.line("came", Ink::Bad, &format!("✗ {text}")),
        Err(error) => screen.line("came", Ink::Bad, &format!("✗ {error}")),
    };
    if let Ok(Came { table: Some(table), .. }) = answer {
        page.push_str(&screen.table(table));
    }
    page.push('\n');
    page
}

/// Where to connect, as commands that work as they stand.
fn addresses_page(screen: &Screen, stage: &Stage, http: SocketAddr) -> String {
    let mut page = String::from("\n");
    let Accounts { harbor, lumen, support, north, south: _, operator } = &stage.accounts;
    let support = Account { name: format!("{}@{}", support.name, harbor.name), ..support.clone() };
    for account in [harbor, lumen, &support, north, operator] {
        let Account { name, password, database, .. } = account;
        let user = name.replace('@', "%40");
        let command = format!("psql 'postgresql://{user}:{password}@{}/{database}'", stage.proxy);
        page.push_str(&screen.line(name.split('@').next().unwrap_or(name), Ink::Bold, &command));
    }
    page.push_str(&screen.line("status", Ink::Bold, &format!("http://{http}/")));
    page.push('\n');
    page
}

/// What is in the sample database, in a line.
fn contents(cluster: &Cluster) -> Result<String, ClusterError> {
    let mut parts = Vec::new();
    for table in ["tenants", "customers", "invoices", "invoice_lines", "payments", "usage_events"] {
        let rows = cluster.psql(BILLING_DATABASE, &format!("SELECT count(*) FROM {table}"))?;
        parts.push(format!("{} {}", rows.parse().map(thousands).unwrap_or(rows), table.replace('_', " ")));
    }
    Ok(format!("sample database {BILLING_DATABASE}: {}", parts.join(", ")))
}

fn superuser(cluster: &Cluster) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    config.host(cluster.host()).port(cluster.port()).dbname(BILLING_DATABASE);
    config.user(cluster.superuser()).password(cluster.password());
    config
}

/// A password that needs no quoting in a URL, in SQL or in TOML.
fn new_password() -> String {
    format!("{:016x}", rand::random::<u64>())
}

fn free_port(after: After) -> u16 {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    if after == After::Stay && TcpListener::bind(address).is_ok() { PORT } else { 0 }
}

/// Copies both logs where they outlive the demo.
fn keep_logs(cluster: &Cluster, proxy: &Proxy) -> io::Result<PathBuf> {
    let dir: PathBuf = std::env::temp_dir().join(format!("pgwarden-demo-logs-{:08x}", rand::random::<u32>()));
    std::fs::create_dir(&dir)?;
    std::fs::write(dir.join("postgresql.log"), cluster.log())?;
    let copy = |from: &Path| std::fs::copy(from, dir.join("pgwarden.log"));
    copy(&proxy.log_path())?;
    Ok(dir)
}

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PostgreSQL itself in the proxy's place, with nothing protected: the steps that need a proxy must notice, the others
    /// must pass.
    #[tokio::test]
    async fn a_tour_without_a_proxy_fails_where_it_should() {
        let cluster = Cluster::builder().start().expect("start");
        stage::fill(&cluster, "secret").expect("fill the sample databases");
        let accounts = Accounts::new(|| "secret".to_owned());
        for (user, role) in [
            ("harbor", "billing_app"),
            ("lumen", "billing_app"),
            (r#""support@harbor""#, "billing_app"),
            (r#""support@lumen""#, "billing_app"),
            ("north", "sandbox_app"),
            ("south", "sandbox_app"),
        ] {
            let made = format!("CREATE ROLE {user} LOGIN PASSWORD 'secret' IN ROLE {role}");
            cluster.psql("postgres", &made).expect("make the users");
        }
        let stage = Stage {
            accounts,
            proxy: cluster.address(),
            config: "/nonexistent".into(),
            server: superuser(&cluster),
            role_password: "secret".to_owned(),
            protection: protection::Protection::default(),
        };
        let mut came = Vec::new();
        for step in TOUR.iter().flat_map(|chapter| chapter.steps) {
            let answer = (step.run)(&stage).await;
            let passed = matches!(&answer, Ok(Came { verdict: Verdict::AsExpected, .. }));
            println!("{}: {answer:?}", step.title);
            if passed {
                came.push(step.title);
            }
        }
        let expected = ["Settings go back with ROLLBACK", "COPY, both ways", "Errors are PostgreSQL's own", "Cancel"];
        assert_eq!(came, expected);
    }

    #[test]
    fn the_sample_database_is_the_same_every_time() {
        let cluster = Cluster::builder().start().expect("start");
        stage::fill(&cluster, "secret").expect("fill the sample database");
        assert_eq!(
            contents(&cluster).expect("count"),
            "sample database billing: 5 tenants, 320 customers, 2,770 invoices, 4,903 invoice lines, 2,514 payments, \
             27,036 usage events"
        );
        let sums = "SELECT (SELECT sum(amount) FROM invoice_lines), (SELECT sum(amount) FROM payments),
                           (SELECT count(*) FROM pg_inherits WHERE inhparent = 'usage_events'::regclass)";
        assert_eq!(cluster.psql(BILLING_DATABASE, sums).expect("add up"), "938339.20|853514.75|30");
    }
}
