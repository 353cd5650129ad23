//! The guided tour: a throwaway cluster with a sample billing database, the proxy in front, and statements that show what
//! it does.
//!
//! The tour checks itself: every step says what it did, what was expected and what came. Nothing is left behind, however
//! the demo ends: server, proxy and files are removed by guardians.

mod child;
mod screen;
mod stage;
mod steps;

use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cluster::{Cluster, ClusterError};
use crate::scram::Verifier;
use child::{ChildError, Proxy};
use screen::{Colours, Ink, Screen, thousands};
use stage::{Account, CONSOLE, DATABASE, POOL, ROLE, Stage, StepError};
use steps::{Came, Step, TOUR, Verdict};

/// PgBouncer's port, and so the first choice.
const PORT: u16 = 6432;
/// PostgreSQL's own count.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).expect("it is not zero");
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

    let accounts = [("harbor", 1), ("lumen", 2), ("ops", 0)];
    let [harbor, lumen, operator] = accounts.map(|(name, tenant)| Account { name, password: new_password(), tenant });
    let port = options.port.unwrap_or_else(|| free_port(options.after));
    let config = config(port, cluster.address(), [&harbor, &lumen], &operator, &role_password);
    let program = std::env::current_exe().map_err(io_error("find this program"))?;
    let started = Instant::now();
    let proxy = Proxy::start(&program, &config).await?;
    let addresses = proxy.addresses();
    let what = format!("pgwarden on port {}, transaction pooling over {POOL} backends", addresses.clients.port());
    show(setup_line(&screen, started, &what))?;

    let server = superuser(&cluster);
    let stage = Stage { harbor, lumen, operator, proxy: addresses.clients, config: proxy.config_path(), server };
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
async fn tour(screen: &Screen, stage: &Stage, proxy: &Proxy, steps: &[Step]) -> Result<(), DemoError> {
    let show = |text: String| screen.print(&text).map_err(io_error("write to standard output"));
    let mut failed = 0;
    for (index, step) in steps.iter().enumerate() {
        show(step_page(screen, index + 1, step))?;
        let answer = tokio::time::timeout(STEP, (step.run)(stage)).await;
        let answer = answer.unwrap_or(Err(StepError::TimedOut(STEP)));
        failed += usize::from(!matches!(answer, Ok(Came { verdict: Verdict::AsExpected, .. })));
        show(answer_page(screen, &answer))?;
    }
    let passed = steps.len() - failed;
    let ink = if failed == 0 { Ink::Good } else { Ink::Bad };
    show(format!("{}\n", screen.paint(ink, &format!("tour: {passed} passed, {failed} failed"))))?;
    if failed == 0 {
        return Ok(());
    }
    show(format!("\nThe proxy's log ends with:\n{}\n", proxy.log_tail()))?;
    Err(DemoError::Steps { failed, of: steps.len() })
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
    for (account, database) in [(&stage.harbor, DATABASE), (&stage.lumen, DATABASE), (&stage.operator, CONSOLE)] {
        let Account { name, password, .. } = account;
        let command = format!("psql 'postgresql://{name}:{password}@{}/{database}'", stage.proxy);
        page.push_str(&screen.line(name, Ink::Bold, &command));
    }
    page.push_str(&screen.line("status", Ink::Bold, &format!("http://{http}/")));
    page.push('\n');
    page
}

/// What is in the sample database, in a line.
fn contents(cluster: &Cluster) -> Result<String, ClusterError> {
    let mut parts = Vec::new();
    for table in ["tenants", "customers", "invoices", "invoice_lines", "payments", "usage_events"] {
        let rows = cluster.psql(DATABASE, &format!("SELECT count(*) FROM {table}"))?;
        parts.push(format!("{} {}", rows.parse().map(thousands).unwrap_or(rows), table.replace('_', " ")));
    }
    Ok(format!("sample database {DATABASE}: {}", parts.join(", ")))
}

fn superuser(cluster: &Cluster) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    config.host(cluster.host()).port(cluster.port()).dbname(DATABASE);
    config.user(cluster.superuser()).password(cluster.password());
    config
}

/// The proxy's configuration: two users who share one role, and so one pool, on the server; and an operator.
fn config(port: u16, server: SocketAddr, users: [&Account; 2], operator: &Account, role_password: &str) -> String {
    let mut text = format!(
        r#"[server]
listen = ["127.0.0.1:{port}"]
workers = 1

[admin]
database = "{CONSOLE}"
admins = ["{ops}"]
http = "127.0.0.1:0"

[log]
level = "info"
format = "json"

[pool]
mode = "transaction"
size = {POOL}

[shards.main]
primary = {{ host = "{host}", port = {server_port}, tls = "disable" }}

[databases.{DATABASE}]
shard = "main"

[users.{ops}]
verifier = "{ops_verifier}"
databases = ["{CONSOLE}"]
"#,
        ops = operator.name,
        ops_verifier = verifier(&operator.password),
        host = server.ip(),
        server_port = server.port(),
    );
    for Account { name, password, .. } in users {
        let verifier = verifier(password);
        let _ = write!(
            text,
            "\n[users.{name}]\nverifier = \"{verifier}\"\ndatabases = [\"{DATABASE}\"]\n\
             server_user = \"{ROLE}\"\nserver_password = \"{role_password}\"\n"
        );
    }
    text
}

/// What the proxy checks a password against: not the password itself.
fn verifier(password: &str) -> Verifier {
    Verifier::derive(password, &rand::random::<[u8; 16]>(), ITERATIONS)
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

    /// PostgreSQL itself in the proxy's place: the steps that need a pooler must notice, the others must pass.
    #[tokio::test]
    async fn a_tour_without_a_proxy_fails_where_it_should() {
        let cluster = Cluster::builder().start().expect("start");
        stage::fill(&cluster, "secret").expect("fill the sample database");
        let [harbor, lumen, operator] = [("harbor", 1), ("lumen", 2), ("ops", 0)].map(|(name, tenant)| Account {
            name,
            password: "secret".to_owned(),
            tenant,
        });
        let roles = "CREATE ROLE harbor LOGIN PASSWORD 'secret' IN ROLE billing_app;
                     CREATE ROLE lumen LOGIN PASSWORD 'secret' IN ROLE billing_app";
        cluster.psql(DATABASE, roles).expect("make the users");
        let server = superuser(&cluster);
        let stage = Stage { harbor, lumen, operator, proxy: cluster.address(), config: "/nonexistent".into(), server };
        let mut came = Vec::new();
        for step in TOUR {
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
    fn the_proxys_configuration_is_valid_and_warns_of_nothing() {
        let [harbor, lumen, operator] = [("harbor", 1), ("lumen", 2), ("ops", 0)].map(|(name, tenant)| Account {
            name,
            password: new_password(),
            tenant,
        });
        let text = config(0, "127.0.0.1:5432".parse().expect("an address"), [&harbor, &lumen], &operator, "secret");
        let file = tempfile::NamedTempFile::new().expect("make a file");
        std::fs::write(file.path(), &text).expect("write it");
        let loaded = crate::config::load(file.path()).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        assert_eq!(loaded.warnings, []);
        assert_eq!(loaded.config.users["harbor"].server_user, loaded.config.users["lumen"].server_user);
        assert_eq!(loaded.config.users["harbor"].pool.size, POOL);
        for account in [&harbor, &lumen, &operator] {
            assert!(!text.contains(&account.password), "a client's password is in the configuration");
        }
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
        assert_eq!(cluster.psql(DATABASE, sums).expect("add up"), "938339.20|853514.75|30");
    }
}
