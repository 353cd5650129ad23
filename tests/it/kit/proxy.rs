//! The real proxy as a child process: writes its configuration, waits until it listens, keeps its log, ends it.
//!
//! A proxy never outlives its test: dropping kills it, and a guardian kills it when the test process dies in any other way.
//! When a test panics, the end of the proxy's log is printed.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgwarden::cluster::Cluster;
use tempfile::TempDir;

use super::wire::Address;
use super::{Database, Login, PATIENCE};

/// Lines of the proxy's log that are kept.
const LOG_LINES: usize = 5_000;

/// A configuration file in the making, as a TOML table.
#[derive(Debug, Clone)]
pub struct Config(pub toml::Table);

impl Config {
    /// One shard on this address, one worker, pool size 4 in transaction mode, port 0; no database and no user yet.
    pub fn new(server: SocketAddr) -> Self {
        Self(toml::Table::new())
            .set("server.listen", vec!["127.0.0.1:0"])
            .set("server.workers", 1)
            .set("pool.size", 4)
            .set("shards.main.primary.host", server.ip().to_string())
            .set("shards.main.primary.port", i64::from(server.port()))
            .set("shards.main.primary.tls", "disable")
    }

    /// [`Config::new`] for a cluster.
    pub fn for_cluster(cluster: &Cluster) -> Self {
        Self::new(cluster.address())
    }

    /// The shared cluster, this database, and its owner as a user (same name and password on both sides).
    pub fn for_database(database: &Database) -> Self {
        let owner = &database.owner;
        Self::for_cluster(super::cluster()).database(&database.name).user(&owner.name, &owner.password)
    }

    /// Sets a key by its dotted path; tables on the way are made.
    pub fn set(mut self, path: &str, value: impl Into<toml::Value>) -> Self {
        let (tables, key) = path.rsplit_once('.').unwrap_or(("", path));
        let mut table = &mut self.0;
        for name in tables.split('.').filter(|name| !name.is_empty()) {
            let next = table.entry(name).or_insert_with(|| toml::Table::new().into());
            table = next.as_table_mut().expect("a table on the way");
        }
        table.insert(key.to_owned(), value.into());
        self
    }

    /// A database on the shard `main`.
    pub fn database(self, name: &str) -> Self {
        self.set(&format!("databases.{name}.shard"), "main")
    }

    /// A user with a plain password, which is the server's too.
    pub fn user(self, name: &str, password: &str) -> Self {
        self.set(&format!("users.{name}.password"), password)
    }

    /// A user that is another role on the server.
    pub fn user_as(self, name: &str, password: &str, role: &super::Account) -> Self {
        self.user(name, password)
            .set(&format!("users.{name}.server_user"), role.name.as_str())
            .set(&format!("users.{name}.server_password"), role.password.as_str())
    }

    fn listeners(&self) -> usize {
        let get = |table: &str, key: &str| self.0.get(table)?.get(key).cloned();
        let tcp = get("server", "listen").and_then(|list| Some(list.as_array()?.len())).unwrap_or(0);
        tcp + usize::from(get("server", "unix_socket_dir").is_some()) + usize::from(get("admin", "http").is_some())
    }
}

/// A running proxy.
pub struct Proxy {
    child: Child,
    guardian: Guardian,
    directory: TempDir,
    config: Config,
    log: Arc<Log>,
    addresses: Vec<(String, String)>,
    status: Option<ExitStatus>,
}

#[derive(Default)]
struct Log {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    kept: VecDeque<String>,
    /// Lines before the first kept one.
    dropped: usize,
    ended: bool,
}

impl Proxy {
    /// Starts the real binary; fails the test with its log where it does not come up.
    #[track_caller]
    pub fn start(config: Config) -> Self {
        match Self::try_start(config) {
            Ok(proxy) => proxy,
            Err(log) => panic!("the proxy did not start:\n{log}"),
        }
    }

    /// As [`Proxy::start`]; what it said, where it does not come up.
    pub fn try_start(config: Config) -> Result<Self, String> {
        Self::try_start_by(Command::new(env!("CARGO_BIN_EXE_pgwarden")), config)
    }

    /// As [`Proxy::try_start`], by a command that runs the binary in the end, with the arguments that it gets.
    pub fn try_start_by(mut command: Command, config: Config) -> Result<Self, String> {
        let directory = tempfile::Builder::new().prefix("pgwarden-proxy-").tempdir().expect("a directory");
        write_config(directory.path(), &config);
        let mut child = command
            .args(["serve", "--config"])
            .arg(directory.path().join("pgwarden.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("start the proxy");
        let guardian = Guardian::over(child.id());
        let log = Arc::new(Log::default());
        let stderr = child.stderr.take().expect("piped");
        thread::spawn({
            let log = log.clone();
            move || log.fill(BufReader::new(stderr))
        });
        let mut proxy = Self { child, guardian, directory, config, log, addresses: Vec::new(), status: None };
        let wanted = proxy.config.listeners();
        let listening =
            |line: &str| Some((field(line, "listener")?, field(line, "address")?)).filter(|_| says(line, "listening"));
        let addresses = proxy.log.collect(wanted, listening).ok_or_else(|| {
            let _ = proxy.child.kill();
            proxy.log()
        })?;
        proxy.addresses = addresses;
        Ok(proxy)
    }

    /// The first TCP address for clients.
    #[track_caller]
    pub fn address(&self) -> SocketAddr {
        self.listener("clients").into_iter().find_map(|address| address.parse().ok()).expect("a TCP listener")
    }

    /// The Unix socket for clients.
    #[track_caller]
    pub fn unix_socket(&self) -> PathBuf {
        self.listener("clients").into_iter().find(|address| address.starts_with('/')).expect("a Unix listener").into()
    }

    /// The HTTP endpoint.
    #[track_caller]
    pub fn http(&self) -> SocketAddr {
        self.listener("http").into_iter().find_map(|address| address.parse().ok()).expect("an HTTP listener")
    }

    /// A page of the HTTP endpoint: its status and its body.
    #[track_caller]
    pub fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.http()).expect("connect");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("ask");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, answer.split_once("\r\n\r\n").expect("a body").1.to_owned())
    }

    fn listener(&self, kind: &str) -> Vec<&str> {
        self.addresses.iter().filter(|(listener, _)| listener == kind).map(|(_, address)| address.as_str()).collect()
    }

    /// A login through the proxy over TCP.
    #[track_caller]
    pub fn login(&self, user: &str, password: &str, database: &str) -> Login {
        Login::new(self.address(), user, password, database)
    }

    /// A login as the database's owner.
    #[track_caller]
    pub fn owner(&self, database: &Database) -> Login {
        self.login(&database.owner.name, &database.owner.password, &database.name)
    }

    /// As [`Proxy::login`], over the Unix socket.
    #[track_caller]
    pub fn login_unix(&self, user: &str, password: &str, database: &str) -> Login {
        let address = Address::Unix(self.unix_socket());
        Login { address, ..self.login(user, password, database) }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A directory of this proxy's own (its configuration file is in it).
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The last lines of its log.
    pub fn log(&self) -> String {
        let lines = self.log.lines.lock().expect("no panic under the lock");
        lines.kept.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }

    /// Lines logged so far: a mark for [`Proxy::await_log`].
    pub fn mark(&self) -> usize {
        let lines = self.log.lines.lock().expect("no panic under the lock");
        lines.dropped + lines.kept.len()
    }

    /// Waits for a line with this message logged after the mark; the line.
    #[track_caller]
    pub fn await_log(&self, mark: usize, message: &str) -> String {
        match self.log.find(mark, |line| says(line, message)) {
            Some(line) => line,
            None => panic!("no {message:?} in the log"),
        }
    }

    /// The configuration that was written last.
    pub fn config(&self) -> Config {
        self.config.clone()
    }

    /// Writes another configuration; it is read at the next reload.
    pub fn rewrite(&mut self, change: impl FnOnce(Config) -> Config) {
        self.config = change(self.config.clone());
        write_config(self.directory.path(), &self.config);
    }

    /// SIGHUP.
    pub fn reload(&self) {
        self.signal(Signal::SIGHUP);
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("the proxy runs");
    }

    /// SIGTERM; how it ended.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.exited() {
                return status;
            }
            assert!(Instant::now() < deadline, "the proxy still runs");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("wait for the proxy");
        }
        self.status
    }

    /// Resident memory, KiB.
    pub fn rss_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the proxy runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a VmRSS line");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Processor time so far, user and system.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("the proxy runs");
        let fields: Vec<&str> = stat.rsplit(')').next().expect("the fields").split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
        // USER_HZ is 100 on every architecture that Linux exports it for.
        Duration::from_millis(ticks * 10)
    }

    /// Open descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("the proxy runs").count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- the proxy's log, its end ---\n{}\n---", lines[lines.len().saturating_sub(100)..].join("\n"));
        }
        if self.exited().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        self.guardian.dismiss();
    }
}

fn write_config(directory: &Path, config: &Config) {
    let text = toml::to_string(&config.0).expect("a TOML table");
    fs::write(directory.join("pgwarden.toml"), text).expect("write the configuration");
}

/// The text of a field of a JSON log line, at the top or under `fields`.
fn field(line: &str, name: &str) -> Option<String> {
    let json: serde_json::Value = serde_json::from_str(line).ok()?;
    let value = json.get(name).or_else(|| json.get("fields")?.get(name))?;
    Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

fn says(line: &str, message: &str) -> bool {
    field(line, "message").is_some_and(|text| text == message)
}

impl Log {
    fn fill(&self, reader: impl BufRead) {
        for line in reader.split(b'\n').map_while(Result::ok) {
            let mut lines = self.lines.lock().expect("no panic under the lock");
            lines.kept.push_back(String::from_utf8_lossy(&line).into_owned());
            if lines.kept.len() > LOG_LINES {
                lines.kept.pop_front();
                lines.dropped += 1;
            }
            self.changed.notify_all();
        }
        self.lines.lock().expect("no panic under the lock").ended = true;
        self.changed.notify_all();
    }

    /// Waits for `count` lines that `pick` takes; nothing if the log ends or the deadline passes first.
    fn collect<T>(&self, count: usize, pick: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
        self.until(|lines| {
            let picked: Vec<T> = lines.kept.iter().filter_map(|line| pick(line)).collect();
            (picked.len() >= count).then_some(picked)
        })
    }

    fn find(&self, mark: usize, wanted: impl Fn(&str) -> bool) -> Option<String> {
        self.until(|lines| {
            let skip = mark.saturating_sub(lines.dropped);
            lines.kept.iter().skip(skip).find(|line| wanted(line)).cloned()
        })
    }

    fn until<T>(&self, ready: impl Fn(&Lines) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.lines.lock().expect("no panic under the lock");
        loop {
            if let Some(found) = ready(&lines) {
                return Some(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if lines.ended || left.is_zero() {
                return None;
            }
            lines = self.changed.wait_timeout(lines, left).expect("no panic under the lock").0;
        }
    }
}

/// A shell that kills a process when we are gone, unless it is dismissed first.
pub struct Guardian {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Guardian {
    pub fn over(pid: u32) -> Self {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", "trap '' HUP INT TERM; read -r _ || kill -KILL \"$1\"", "guardian", &pid.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("start the guardian");
        let pipe = shell.stdin.take();
        Self { shell, pipe }
    }

    pub fn dismiss(&mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            let _ = pipe.write_all(b"done\n");
        }
        let _ = self.shell.wait();
    }
}
