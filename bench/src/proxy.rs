//! Starts what is measured: nothing, HAProxy, PgBouncer, pgwarden, each with the same server, pool size and logins.
//!
//! Every run gets a fresh process, so that peak memory and counters are that run's own. Processes run under an
//! unprivileged account where the benchmark itself is root, end with this program, and write what they say to a file.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, User, chown};
use serde::{Deserialize, Serialize};

use crate::client::Login;
use crate::config::{self, OWN, Place};
use crate::load;
use crate::server::{DATABASE, PASSWORD, Server, TENANTS_ROLE, USER, first_line};
use crate::workload::{Context as TenantContext, IDLE_CLIENTS, POOL_SIZE, Tenancy, Workload};

/// Generous: a configuration may have ten thousand tenants, and the machine other work.
const START_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(5);
/// Clients every proxy is configured for.
pub const CLIENTS_MAX: usize = IDLE_CLIENTS + 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Direct,
    Haproxy,
    Pgbouncer,
    Pgwarden,
}

impl Kind {
    /// The order within a round.
    pub const ALL: [Kind; 4] = [Kind::Direct, Kind::Haproxy, Kind::Pgbouncer, Kind::Pgwarden];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Direct => "direct",
            Kind::Haproxy => "haproxy",
            Kind::Pgbouncer => "pgbouncer",
            Kind::Pgwarden => "pgwarden",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    None,
    Session,
    Transaction,
}

impl Pooling {
    pub fn name(self) -> &'static str {
        match self {
            Pooling::None => "none",
            Pooling::Session => "session",
            Pooling::Transaction => "transaction",
        }
    }
}

/// Where things are.
pub struct Site<'a> {
    pub dir: &'a Path,
    pub account: &'a Account,
    pub server: &'a Server,
    /// pgwarden's binary.
    pub pgwarden: &'a Path,
    /// Where audit logs are written, and removed again.
    pub audit: &'a Path,
}

impl Site<'_> {
    /// The version of `kind`; an error when it is not installed.
    pub fn version(&self, kind: Kind) -> Result<String> {
        let text = match kind {
            Kind::Direct => return Ok(self.server.version.clone()),
            Kind::Haproxy => first_line(Command::new(program("haproxy")?).arg("-v"))?,
            Kind::Pgbouncer => first_line(Command::new(program("pgbouncer")?).arg("--version"))?,
            Kind::Pgwarden => first_line(Command::new(self.pgwarden).arg("--version"))
                .with_context(|| format!("no {}", self.pgwarden.display()))?,
        };
        ensure!(!text.is_empty(), "{} does not say its version", kind.name());
        Ok(text)
    }

    /// Starts `kind` for `workload` and waits until a client can log in and query.
    pub fn start(&self, kind: Kind, workers: usize, workload: &Workload) -> Result<Running> {
        let pooling = workload.pooling(kind);
        let mut running = match kind {
            Kind::Direct => Running { port: self.server.port(), http: None, daemons: Vec::new(), audit: None },
            Kind::Haproxy => self.haproxy(workers)?,
            Kind::Pgbouncer => self.pgbouncer(workers, pooling, workload)?,
            Kind::Pgwarden => self.pgwarden(workers, workload)?,
        };
        let login = self.login(kind, workload, running.port);
        let started = Instant::now();
        loop {
            match load::served(&login) {
                Ok(client) => {
                    client.close()?;
                    return Ok(running);
                }
                Err(_) if started.elapsed() < START_MAX && running.lives()? => sleep(Duration::from_millis(20)),
                Err(error) => {
                    return Err(error.context(format!("{} does not serve: {}", kind.name(), running.last_words())));
                }
            }
        }
    }

    /// As whom a workload is run: the same user by all proxies, unless there are tenants, of whom only pgwarden knows:
    /// PgBouncer's is the role that they share.
    pub fn login(&self, kind: Kind, workload: &Workload, port: u16) -> Login {
        let login = |user: &str, database: &str| Login::new(port, user, database, PASSWORD);
        match (kind, workload.duty.tenancy) {
            (Kind::Pgwarden, Tenancy::Database) => login(OWN, OWN),
            (Kind::Pgwarden, Tenancy::Row(context)) => login(&config::tenant(1), context.name()),
            (Kind::Pgbouncer, Tenancy::Row(context)) => login(TENANTS_ROLE, context.name()),
            (Kind::Pgwarden, Tenancy::None) | (Kind::Direct | Kind::Haproxy | Kind::Pgbouncer, _) => {
                login(USER, DATABASE)
            }
        }
    }

    /// Makes the database of the tenants who share tables under `context`, and protects it.
    pub fn make_tenants(&self, context: TenantContext) -> Result<()> {
        self.server.make_tenants(context, self.dir)?;
        let file = self.dir.join("protect.toml");
        fs::write(&file, config::for_protection(context, self.place(1, Pooling::Transaction, self.audit)))?;
        let (user, password) = self.server.superuser();
        let mut command = Command::new(self.pgwarden);
        command.arg("protect").arg("--config").arg(file).args(["--database", context.name()]);
        command.args(["--dsn", &format!("postgresql://{user}@"), "--apply"]).env("PGPASSWORD", password);
        let output = command.output().context("start pgwarden protect")?;
        ensure!(output.status.success(), "pgwarden protect: {}", String::from_utf8_lossy(&output.stderr));
        self.server.settle(context.name())
    }

    fn place<'a>(&'a self, workers: usize, pooling: Pooling, audit: &'a Path) -> Place<'a> {
        Place { server_port: self.server.port(), verifier: &self.server.verifier, workers, pooling, audit }
    }

    fn haproxy(&self, workers: usize) -> Result<Running> {
        let port = free_port()?;
        let file = self.dir.join("haproxy.cfg");
        fs::write(&file, haproxy_config(port, self.server.port(), workers))?;
        let mut command = self.account.command(&program("haproxy")?);
        command.arg("-db").arg("-f").arg(file);
        let daemons = vec![Daemon::spawn(command, &self.dir.join("haproxy.log"))?];
        Ok(Running { port, http: None, daemons, audit: None })
    }

    /// One process a worker, sharing the port and the pool's size.
    fn pgbouncer(&self, workers: usize, pooling: Pooling, workload: &Workload) -> Result<Running> {
        let port = free_port()?;
        let users = self.dir.join("users.txt");
        let (user, database) = match workload.duty.tenancy {
            Tenancy::Row(context) => {
                (TENANTS_ROLE, format!("{} = connect_query='SET app.tenant_id TO 1' ", context.name()))
            }
            Tenancy::None | Tenancy::Database => (USER, format!("{DATABASE} = ")),
        };
        fs::write(&users, format!("\"{user}\" \"{}\"\n", self.server.verifier_of(user)?))?;
        let file = self.dir.join("pgbouncer.ini");
        fs::write(&file, pgbouncer_config(port, (&database, self.server.port()), workers, pooling, &users))?;
        let mut daemons = Vec::new();
        for worker in 0..workers {
            let mut command = self.account.command(&program("pgbouncer")?);
            command.arg("--quiet").arg(&file);
            daemons.push(Daemon::spawn(command, &self.dir.join(format!("pgbouncer-{worker}.log")))?);
        }
        Ok(Running { port, http: None, daemons, audit: None })
    }

    fn pgwarden(&self, workers: usize, workload: &Workload) -> Result<Running> {
        let audit = match workload.duty.audit {
            Some(_) => Some(tempfile::Builder::new().prefix("pgwarden-bench-audit-").tempdir_in(self.audit)?),
            None => None,
        };
        let log = audit.as_ref().map_or_else(|| self.audit.to_owned(), |audit| audit.path().join("log"));
        if let Some(audit) = &audit {
            self.account.give(audit.path())?;
        }
        let file = self.dir.join("pgwarden.toml");
        fs::write(&file, config::of(workload, self.place(workers, workload.pooling(Kind::Pgwarden), &log)))?;
        self.account.give(&file)?;
        for name in config::KEYS {
            self.account.give(&self.dir.join(name))?;
        }
        let mut command = self.account.command(self.pgwarden);
        command.args(["serve", "--config"]).arg(&file);
        let log = self.dir.join("pgwarden.log");
        let mut daemon = Daemon::spawn(command, &log)?;
        let started = Instant::now();
        loop {
            let said = fs::read_to_string(&log)?;
            if let (Some(port), http @ Some(_)) = (listening_port(&said, "clients"), listening_port(&said, "http")) {
                return Ok(Running { port, http, daemons: vec![daemon], audit });
            }
            ensure!(daemon.lives()?, "pgwarden ended: {}", daemon.last_words());
            ensure!(started.elapsed() < START_MAX, "pgwarden does not listen: {}", daemon.last_words());
            sleep(Duration::from_millis(20));
        }
    }
}

/// A proxy at work (or the bare server); dropping it ends its processes.
pub struct Running {
    pub port: u16,
    /// Where pgwarden's metrics are.
    http: Option<u16>,
    daemons: Vec<Daemon>,
    /// Removed when the daemons have ended.
    #[expect(dead_code, reason = "it is there to be dropped")]
    audit: Option<tempfile::TempDir>,
}

impl Running {
    /// Process ids of the proxy; none for direct connections.
    pub fn roots(&self) -> Vec<i32> {
        self.daemons.iter().map(Daemon::id).collect()
    }

    /// The sum of a metric of pgwarden's over its labels; zero for the other proxies.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let Some(port) = self.http else { return Ok(0.0) };
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("connect to /metrics")?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200 "), "/metrics: {}", answer.lines().next().unwrap_or_default());
        Ok(sum_of(&answer, name))
    }

    fn lives(&mut self) -> Result<bool> {
        for daemon in &mut self.daemons {
            if !daemon.lives()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn last_words(&self) -> String {
        self.daemons.iter().map(Daemon::last_words).collect::<Vec<_>>().join("; ")
    }
}

/// The sum of the samples of a metric, in Prometheus' text format.
fn sum_of(exposition: &str, name: &str) -> f64 {
    let samples = exposition.lines().filter_map(|line| {
        let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']))?;
        rest.rsplit(' ').next()?.parse::<f64>().ok()
    });
    samples.sum()
}

fn haproxy_config(port: u16, server_port: u16, workers: usize) -> String {
    format!(
        "global\n  nbthread {workers}\n  maxconn 4000\n\
         defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
         listen postgresql\n  bind 127.0.0.1:{port}\n  server primary 127.0.0.1:{server_port}\n"
    )
}

/// `server`: the database, as a line about it begins, and the server's port.
fn pgbouncer_config(port: u16, server: (&str, u16), workers: usize, pooling: Pooling, users: &Path) -> String {
    let (database, server_port) = server;
    let reuse = usize::from(workers > 1);
    let size = match pooling {
        // A process may get all clients, and each keeps a server connection: with fewer some would wait for ever.
        Pooling::Session => POOL_SIZE,
        Pooling::Transaction | Pooling::None => POOL_SIZE.div_ceil(workers),
    };
    format!(
        "[databases]\n{database}host=127.0.0.1 port={server_port}\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nso_reuseport = {reuse}\n\
         listen_backlog = 1024\nauth_type = scram-sha-256\nauth_file = {}\npool_mode = {}\n\
         default_pool_size = {size}\nmax_client_conn = {CLIENTS_MAX}\nserver_tls_sslmode = disable\n\
         server_idle_timeout = 3600\nserver_lifetime = 36000\nlog_connections = 0\nlog_disconnections = 0\n\
         log_stats = 0\n",
        users.display(),
        pooling.name(),
    )
}

/// The port in the log line that says where a listener is: of `clients`, or of `http`.
fn listening_port(log: &str, listener: &str) -> Option<u16> {
    log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()).find_map(|event| {
        // tracing's JSON nests an event's fields unless it is told to flatten them.
        let text = |name: &str| event.get(name).or_else(|| event.get("fields")?.get(name))?.as_str();
        if text("message") != Some("listening") || text("listener") != Some(listener) {
            return None;
        }
        Some(text("address")?.parse::<SocketAddr>().ok()?.port())
    })
}

/// The account under which servers and proxies run.
pub struct Account {
    /// Set when this program is root: PostgreSQL and PgBouncer refuse to be.
    other: Option<(Uid, Gid)>,
}

impl Account {
    pub fn choose() -> Result<Account> {
        if !Uid::effective().is_root() {
            return Ok(Account { other: None });
        }
        let user = User::from_name("postgres")?.context("as root, this needs the account 'postgres'")?;
        Ok(Account { other: Some((user.uid, user.gid)) })
    }

    /// Makes a path the account's own.
    pub fn give(&self, path: &Path) -> Result<()> {
        match self.other {
            Some((uid, gid)) => Ok(chown(path, Some(uid), Some(gid))?),
            None => Ok(()),
        }
    }

    /// A command that runs `program` under the account and is ended with this program's main thread.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        if let Some((uid, gid)) = self.other {
            command.args(["--reuid", &uid.to_string(), "--regid", &gid.to_string(), "--clear-groups"]);
        }
        command.args(["--pdeathsig", "INT", "--"]).arg(program);
        command
    }
}

/// A child process whose output goes to a file; dropping it ends it.
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    pub fn spawn(mut command: Command, log: &Path) -> Result<Daemon> {
        let file = fs::File::create(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("start {:?}", command.get_program()))?;
        Ok(Daemon { child, log: log.to_owned() })
    }

    pub fn id(&self) -> i32 {
        i32::try_from(self.child.id()).expect("Linux process ids fit")
    }

    pub fn lives(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// The last line that it wrote.
    pub fn last_words(&self) -> String {
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        said.lines().last().unwrap_or("(no output)").trim().to_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // SIGINT ends all of them quickly: a fast shutdown in PostgreSQL, an immediate one or a short drain elsewhere.
        let _gone = kill(Pid::from_raw(self.id()), Signal::SIGINT);
        let asked = Instant::now();
        while asked.elapsed() < STOP_MAX {
            match self.child.try_wait() {
                Ok(None) => sleep(Duration::from_millis(5)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// A loopback port that was free a moment ago.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The path of an installed program; system directories count even when PATH lacks them.
fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    dirs.extend(["/usr/sbin", "/usr/bin"].map(PathBuf::from));
    match dirs.into_iter().map(|dir| dir.join(name)).find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!("{name} is not installed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_is_read_from_nested_and_flat_log_lines() {
        let http = r#"{"message":"listening","listener":"http","address":"127.0.0.1:9"}"#;
        let flat = r#"{"message":"listening","listener":"clients","address":"127.0.0.1:4321"}"#;
        let nested = r#"{"level":"INFO","fields":{"message":"listening","listener":"clients","address":"[::1]:4322"}}"#;
        assert_eq!(listening_port(&format!("not json\n{http}\n{flat}\n"), "clients"), Some(4321));
        assert_eq!(listening_port(&format!("{http}\n{nested}\n"), "clients"), Some(4322));
        assert_eq!(listening_port(http, "clients"), None);
        assert_eq!(listening_port(&format!("{flat}\n{http}\n"), "http"), Some(9));
    }

    #[test]
    fn a_metric_is_summed_over_its_labels_and_no_other_is() {
        let text = "# TYPE a counter\na{x=\"1 2\"} 3\na{x=\"b\"} 4\nab 100\na_total 7\nb 1\n";
        assert_eq!((sum_of(text, "a"), sum_of(text, "b"), sum_of(text, "c")), (7.0, 1.0, 0.0));
    }

    #[test]
    fn unix_socket_lines_are_not_taken_for_ports() {
        let unix = r#"{"message":"listening","listener":"clients","address":"/run/.s.PGSQL.6432"}"#;
        assert_eq!(listening_port(unix, "clients"), None);
    }

    #[test]
    fn two_workers_share_one_pool_size() {
        let users = Path::new("/u");
        let two = pgbouncer_config(1, ("x = ", 2), 2, Pooling::Transaction, users);
        assert!(two.contains("default_pool_size = 8\n") && two.contains("so_reuseport = 1\n"));
        let one = pgbouncer_config(1, ("x = ", 2), 1, Pooling::Session, users);
        assert!(one.contains("default_pool_size = 16\n") && one.contains("pool_mode = session\n"));
        let kept = pgbouncer_config(1, ("x = ", 2), 2, Pooling::Session, users);
        assert!(kept.contains("default_pool_size = 16\n"), "each of two processes may get all clients");
    }

    #[test]
    fn daemon_ends_when_dropped_and_keeps_its_last_words() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo first; echo last; exec sleep 60"]);
        let mut daemon = Daemon::spawn(command, &dir.path().join("log")).unwrap();
        let started = Instant::now();
        while daemon.last_words() != "last" && started.elapsed() < START_MAX {
            sleep(Duration::from_millis(5));
        }
        assert_eq!(daemon.last_words(), "last");
        assert!(daemon.lives().unwrap());
        let id = daemon.id();
        drop(daemon);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }
}
