//! Throwaway PostgreSQL clusters for the demo, the tests and the benchmarks.
//!
//! A [`Cluster`] is a real server (15 or newer) in a directory of its own: free port, Unix socket, random superuser password,
//! SCRAM. Nothing of it outlives its owner: dropping the `Cluster`, or the death of the owning process in any way, stops the
//! server and removes the directory (a guardian, a small shell child, waits for the end of a pipe that only the owner holds).
//!
//! A [`Cluster::standby`] of a cluster streams from it and takes reads only.
//!
//! Invariants: never touches a server, socket or directory that it did not make; durability is off, so never use it for data
//! that matters; blocking calls only, no runtime. As root the server runs as `postgres` or `nobody`, for it refuses root.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use rand::Rng;

/// Major versions below this are not used.
const VERSION_MIN: u32 = 15;
/// How long a server may take to start or stop.
const PATIENCE: Duration = Duration::from_secs(60);
/// Ports below the usual ephemeral range, so that an outgoing connection does not take a stopped server's port.
const PORTS: std::ops::Range<u16> = 15_000..32_000;
const SUPERUSER: &str = "postgres";

#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("no PostgreSQL {VERSION_MIN} or newer found (looked in {looked}); set PGBIN to its bin directory")]
    NoBinaries { looked: String },
    #[error("running as root, and neither the user postgres nor nobody exists to run the server as")]
    NoUser,
    #[error("{what}: {source}")]
    Io { what: &'static str, source: io::Error },
    #[error("{program} failed: {output}")]
    Command { program: String, output: String },
    #[error("the server did not start:\n{log}")]
    Start { log: String },
    #[error("the server did not stop in time")]
    Stop,
    #[error("the standby does not follow its primary:\n{log}")]
    Behind { log: String },
    #[error("the server is not running")]
    NotRunning,
}

fn io_error(what: &'static str) -> impl FnOnce(io::Error) -> ClusterError {
    move |source| ClusterError::Io { what, source }
}

/// A running (or stopped) server of its own.
#[derive(Debug)]
pub struct Cluster {
    tools: Tools,
    port: u16,
    password: String,
    server: Option<Child>,
    paused: bool,
    scratch: Scratch,
}

/// What a cluster is started with; see [`Cluster::builder`].
#[derive(Debug, Clone, Default)]
pub struct Builder {
    hba: Option<String>,
    settings: Vec<(String, String)>,
    tls: Option<Certificate>,
    installation: Option<PathBuf>,
}

/// PEM files, copied into the cluster.
#[derive(Debug, Clone)]
pub struct Certificate {
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Roots that client certificates must chain to.
    pub client_ca: Option<PathBuf>,
}

/// How a server is stopped, by `pg_ctl`'s names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Waits for clients to leave.
    Smart,
    /// Ends sessions, then writes a checkpoint.
    Fast,
    /// As a crash: no goodbye, recovery at the next start.
    Immediate,
}

impl Builder {
    /// The whole of `pg_hba.conf`, in place of the default (`scram-sha-256` for every local, loopback and TLS connection).
    pub fn hba(mut self, lines: impl Into<String>) -> Self {
        self.hba = Some(lines.into());
        self
    }

    /// One server setting; the last of a name wins.
    pub fn setting(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.settings.push((name.into(), value.to_string()));
        self
    }

    /// Turns TLS on.
    pub fn tls(mut self, certificate: Certificate) -> Self {
        self.tls = Some(certificate);
        self
    }

    /// The server of this installation (a directory with `bin`, `lib` and `share`) in place of the one that is found. It need
    /// not have clients: those are the ones that are found.
    pub fn installation(mut self, directory: impl Into<PathBuf>) -> Self {
        self.installation = Some(directory.into());
        self
    }

    /// Makes the cluster and starts it; returns once it takes connections.
    pub fn start(self) -> Result<Cluster, ClusterError> {
        let (tools, password, scratch) = from_template(self.installation.as_deref())?;
        let mut cluster = Cluster { tools, port: 0, password, server: None, paused: false, scratch };
        cluster.configure(&self)?;
        cluster.start_on_a_free_port()?;
        Ok(cluster)
    }
}

impl Cluster {
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The TCP address it listens on (there is no other but loopback).
    pub fn host(&self) -> &'static str {
        "127.0.0.1"
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Directory of the `.s.PGSQL.<port>` socket.
    pub fn socket_dir(&self) -> PathBuf {
        self.scratch.dir.join("run")
    }

    pub fn superuser(&self) -> &'static str {
        SUPERUSER
    }

    pub fn password(&self) -> &str {
        &self.password
    }

    pub fn data_dir(&self) -> PathBuf {
        self.scratch.dir.join("data")
    }

    /// The path of one of this version's programs (`psql`, `pgbench` ...).
    pub fn program(&self, name: &str) -> PathBuf {
        let own = self.tools.bin.join(name);
        if own.is_file() { own } else { self.tools.clients.join(name) }
    }

    /// Major version.
    pub fn version(&self) -> u32 {
        self.tools.version
    }

    /// The server's log so far.
    pub fn log(&self) -> String {
        fs::read(self.log_path()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The postmaster's process id.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Child::id)
    }

    /// Runs a script as the superuser, over the Unix socket; unaligned tuples only, stops at the first error.
    pub fn psql(&self, database: &str, script: &str) -> Result<String, ClusterError> {
        let output = Command::new(self.program("psql"))
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-h"])
            .arg(self.socket_dir())
            .args(["-p", &self.port.to_string(), "-U", SUPERUSER, "-d", database, "-c", script])
            .env_clear()
            .env("PGPASSWORD", &self.password)
            .stdin(Stdio::null())
            .output()
            .map_err(io_error("run psql"))?;
        let output = checked("psql", output)?;
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// A hot standby that streams from this server, which is restarted for it: what is copied is at rest.
    pub fn standby(&mut self) -> Result<Self, ClusterError> {
        self.stop(Shutdown::Fast)?;
        let tools = self.tools.clone();
        let scratch = Scratch::new(&tools)?;
        copy(&tools, &self.data_dir(), &scratch.dir.join("data"))?;
        self.start()?;
        let password = self.password.clone();
        let standby = Self { tools, port: 0, password, server: None, paused: false, scratch };
        let primary = format!("host=127.0.0.1 port={} user={SUPERUSER} password={}", self.port, self.password);
        let more =
            format!("unix_socket_directories = '{}'\nprimary_conninfo = '{primary}'\n", standby.socket_dir().display());
        let conf = standby.data_dir().join("postgresql.conf");
        let text = fs::read_to_string(&conf).map_err(io_error("read the settings"))?;
        standby.scratch.write(&conf, (text + &more).as_bytes(), &standby.tools)?;
        standby.scratch.write(&standby.data_dir().join("standby.signal"), b"", &standby.tools)?;
        let mut standby = standby;
        standby.start_on_a_free_port()?;
        Ok(standby)
    }

    /// Waits until this standby has replayed what its primary has written up to now.
    pub fn catch_up(&self, primary: &Self) -> Result<(), ClusterError> {
        let written = primary.psql("postgres", "select pg_current_wal_insert_lsn()")?;
        let deadline = Instant::now() + PATIENCE;
        while self.psql("postgres", &format!("select pg_last_wal_replay_lsn() >= '{written}'"))? != "t" {
            if Instant::now() > deadline {
                return Err(ClusterError::Behind { log: self.log() });
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn start_on_a_free_port(&mut self) -> Result<(), ClusterError> {
        let mut tries = 5;
        loop {
            self.take_port()?;
            tries -= 1;
            match self.start() {
                // Another process may take the port between our probe and the server's bind.
                Err(ClusterError::Start { log }) if tries > 0 && log.contains("Address already in use") => continue,
                outcome => return outcome,
            }
        }
    }

    /// Starts a stopped server, on the same port.
    pub fn start(&mut self) -> Result<(), ClusterError> {
        if self.server.is_some() {
            return Ok(());
        }
        fs::write(self.data_dir().join("port.conf"), format!("port = {}\n", self.port)).map_err(io_error("write"))?;
        let log =
            fs::File::options().create(true).append(true).open(self.log_path()).map_err(io_error("open the log"))?;
        let seen = log.metadata().map_err(io_error("read the log"))?.len() as usize;
        let errors = log.try_clone().map_err(io_error("open the log"))?;
        let mut command = self.tools.command("postgres");
        command.arg("-D").arg(self.data_dir()).stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
        self.server = Some(command.spawn().map_err(io_error("start postgres"))?);
        self.await_ready(seen)
    }

    pub fn stop(&mut self, how: Shutdown) -> Result<(), ClusterError> {
        self.resume()?;
        self.signal(match how {
            Shutdown::Smart => Signal::SIGTERM,
            Shutdown::Fast => Signal::SIGINT,
            Shutdown::Immediate => Signal::SIGQUIT,
        })?;
        let deadline = Instant::now() + PATIENCE;
        let server = self.server.as_mut().ok_or(ClusterError::NotRunning)?;
        while server.try_wait().map_err(io_error("wait for postgres"))?.is_none() {
            if Instant::now() > deadline {
                return Err(ClusterError::Stop);
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.server = None;
        Ok(())
    }

    pub fn restart(&mut self) -> Result<(), ClusterError> {
        self.stop(Shutdown::Fast)?;
        self.start()
    }

    /// Ends every server process at once, as a crash does.
    pub fn crash(&mut self) -> Result<(), ClusterError> {
        self.stop(Shutdown::Immediate)
    }

    /// Reads the configuration files again.
    pub fn reload(&self) -> Result<(), ClusterError> {
        self.signal(Signal::SIGHUP)
    }

    /// Freezes every process of the server: connections stay open and nothing answers.
    pub fn pause(&mut self) -> Result<(), ClusterError> {
        self.signal(Signal::SIGSTOP)?;
        self.paused = true;
        self.signal_children(Signal::SIGSTOP)
    }

    pub fn resume(&mut self) -> Result<(), ClusterError> {
        if self.paused {
            self.signal_children(Signal::SIGCONT)?;
            self.signal(Signal::SIGCONT)?;
            self.paused = false;
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<(), ClusterError> {
        let pid = self.pid().ok_or(ClusterError::NotRunning)?;
        kill(Pid::from_raw(pid as i32), signal).map_err(|errno| io_error("signal postgres")(errno.into()))
    }

    fn signal_children(&self, signal: Signal) -> Result<(), ClusterError> {
        let parent = self.pid().ok_or(ClusterError::NotRunning)?;
        for entry in fs::read_dir("/proc").map_err(io_error("list processes"))?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            // A process that ended meanwhile has no file, and needs no signal.
            let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
            let ppid = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
            if ppid == Some(parent) {
                let _ = kill(Pid::from_raw(pid), signal);
            }
        }
        Ok(())
    }

    /// Ready means what `pg_ctl` means by it: the status line of `postmaster.pid`; and the port answers.
    fn await_ready(&mut self, log_seen: usize) -> Result<(), ClusterError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = fs::read_to_string(self.data_dir().join("postmaster.pid")).unwrap_or_default();
            let mine = status.lines().next().and_then(|line| line.parse().ok()) == self.pid();
            let ready = status.lines().nth(7).is_some_and(|line| matches!(line.trim(), "ready" | "standby"));
            if mine && ready && TcpStream::connect(self.address()).is_ok() {
                return Ok(());
            }
            let server = self.server.as_mut().ok_or(ClusterError::NotRunning)?;
            let ended = server.try_wait().map_err(io_error("wait for postgres"))?.is_some();
            if ended || Instant::now() > deadline {
                let _ = server.kill();
                let _ = server.wait();
                self.server = None;
                let log = self.log();
                return Err(ClusterError::Start { log: log.get(log_seen..).unwrap_or(&log).to_owned() });
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn log_path(&self) -> PathBuf {
        self.scratch.dir.join("server.log")
    }

    fn take_port(&mut self) -> Result<(), ClusterError> {
        let mut rng = rand::rng();
        for _ in 0..1000 {
            let port = rng.random_range(PORTS);
            if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                self.port = port;
                return Ok(());
            }
        }
        Err(io_error("find a free port")(io::ErrorKind::AddrInUse.into()))
    }

    fn configure(&self, builder: &Builder) -> Result<(), ClusterError> {
        let data = self.data_dir();
        let mut settings = vec![
            ("listen_addresses".to_owned(), "127.0.0.1".to_owned()),
            ("unix_socket_directories".to_owned(), self.socket_dir().display().to_string()),
            ("unix_socket_permissions".to_owned(), "0777".to_owned()),
            ("fsync".to_owned(), "off".to_owned()),
            ("full_page_writes".to_owned(), "off".to_owned()),
            ("synchronous_commit".to_owned(), "off".to_owned()),
            // Not /dev/shm, where a killed server would leave its segments behind.
            ("dynamic_shared_memory_type".to_owned(), "mmap".to_owned()),
            ("max_connections".to_owned(), "200".to_owned()),
            ("password_encryption".to_owned(), "scram-sha-256".to_owned()),
            ("timezone".to_owned(), "UTC".to_owned()),
            ("log_timezone".to_owned(), "UTC".to_owned()),
            ("log_line_prefix".to_owned(), "%m [%p] %q%u@%d ".to_owned()),
            ("lc_messages".to_owned(), "C".to_owned()),
        ];
        if let Some(tls) = &builder.tls {
            settings.push(("ssl".to_owned(), "on".to_owned()));
            let files = [("ssl_cert_file", Some(&tls.cert)), ("ssl_key_file", Some(&tls.key))];
            for (name, path) in files.into_iter().chain([("ssl_ca_file", tls.client_ca.as_ref())]) {
                let Some(path) = path else { continue };
                let file = format!("{name}.pem");
                let pem = fs::read(path).map_err(io_error("read a certificate or key"))?;
                self.scratch.write(&data.join(&file), &pem, &self.tools)?;
                settings.push((name.to_owned(), file));
            }
        }
        settings.extend(builder.settings.iter().cloned());
        let mut conf = String::new();
        for (name, value) in &settings {
            conf.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
        }
        conf.push_str("include 'port.conf'\n");
        self.scratch.write(&data.join("postgresql.conf"), conf.as_bytes(), &self.tools)?;
        self.scratch.write(&data.join("port.conf"), b"", &self.tools)?;
        let hba = builder.hba.clone().unwrap_or_else(|| {
            "local all,replication all scram-sha-256\nhost all,replication all 127.0.0.1/32 scram-sha-256\n".to_owned()
        });
        self.scratch.write(&data.join("pg_hba.conf"), hba.as_bytes(), &self.tools)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The guardian stops the server and removes everything: one path for every kind of end.
        self.scratch.remove();
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// The programs of one PostgreSQL version, and whom they run as.
#[derive(Debug, Clone)]
struct Tools {
    bin: PathBuf,
    /// Where `psql` is.
    clients: PathBuf,
    version: u32,
    /// Only where we are root.
    run_as: Option<(u32, u32)>,
}

impl Tools {
    fn find() -> Result<Self, ClusterError> {
        let mut places: Vec<PathBuf> = std::env::var_os("PGBIN").map(PathBuf::from).into_iter().collect();
        places.push(format!("/usr/lib/postgresql/{VERSION_MIN}/bin").into());
        places.extend(std::env::var_os("PATH").iter().flat_map(|path| std::env::split_paths(path).collect::<Vec<_>>()));
        places.extend((VERSION_MIN + 1..VERSION_MIN + 10).map(|v| format!("/usr/lib/postgresql/{v}/bin").into()));
        let run_as = if geteuid().is_root() { Some(unprivileged()?) } else { None };
        for bin in &places {
            if ["postgres", "initdb", "psql"].iter().all(|program| bin.join(program).is_file())
                && let Some(version) = major_version(&bin.join("postgres")).filter(|version| *version >= VERSION_MIN)
            {
                return Ok(Self { bin: bin.clone(), clients: bin.clone(), version, run_as });
            }
        }
        let looked = places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ");
        Err(ClusterError::NoBinaries { looked })
    }

    /// With the server of an installation.
    fn of(self, installation: &Path) -> Result<Self, ClusterError> {
        let bin = installation.join("bin");
        let version = major_version(&bin.join("postgres")).filter(|version| *version >= VERSION_MIN);
        let version = version.ok_or_else(|| ClusterError::NoBinaries { looked: bin.display().to_string() })?;
        Ok(Self { bin, version, ..self })
    }

    /// A command of this version, as the server's user, with an environment that changes nothing.
    fn command(&self, program: &str) -> Command {
        self.command_at(self.bin.join(program))
    }

    fn command_at(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").current_dir("/");
        if let Some((uid, gid)) = self.run_as {
            command.uid(uid).gid(gid);
        }
        command
    }
}

fn unprivileged() -> Result<(u32, u32), ClusterError> {
    ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| User::from_name(name).ok().flatten())
        .map(|user| (user.uid.as_raw(), user.gid.as_raw()))
        .ok_or(ClusterError::NoUser)
}

fn major_version(postgres: &Path) -> Option<u32> {
    let output = Command::new(postgres).arg("--version").env_clear().stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let number = text.split_whitespace().nth(2)?;
    let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number[..digits].parse().ok()
}

fn checked(program: &str, output: Output) -> Result<Output, ClusterError> {
    if output.status.success() {
        return Ok(output);
    }
    let text = [output.stdout, output.stderr].concat();
    Err(ClusterError::Command { program: program.to_owned(), output: String::from_utf8_lossy(&text).trim().to_owned() })
}

/// A fresh data directory that this process has initialised once; clusters start as copies of it.
#[derive(Debug)]
struct Template {
    installation: Option<PathBuf>,
    tools: Tools,
    password: String,
    scratch: Scratch,
}

static TEMPLATES: Mutex<Vec<Template>> = Mutex::new(Vec::new());

/// What runs it, the superuser's password, and a directory with `data` in it.
fn from_template(installation: Option<&Path>) -> Result<(Tools, String, Scratch), ClusterError> {
    let mut templates = TEMPLATES.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let known = templates.iter().position(|template| template.installation.as_deref() == installation);
    let index = match known {
        Some(index) => index,
        None => {
            templates.push(initdb(installation)?);
            templates.len() - 1
        }
    };
    let template = &templates[index];
    let scratch = Scratch::new(&template.tools)?;
    copy(&template.tools, &template.scratch.dir.join("data"), &scratch.dir.join("data"))?;
    Ok((template.tools.clone(), template.password.clone(), scratch))
}

fn copy(tools: &Tools, from: &Path, to: &Path) -> Result<(), ClusterError> {
    let mut copy = tools.command_at("cp");
    copy.arg("-a").arg(from).arg(to).stdin(Stdio::null());
    checked("cp", copy.output().map_err(io_error("run cp"))?).map(drop)
}

fn initdb(installation: Option<&Path>) -> Result<Template, ClusterError> {
    let mut tools = Tools::find()?;
    let scratch = Scratch::new(&tools)?;
    if let Some(installation) = installation {
        // Where we are root, the server's user may have no way into our directories.
        let within = if tools.run_as.is_some() { scratch.dir.join("installation") } else { installation.to_owned() };
        if within != installation {
            let mut copy = Command::new("cp");
            copy.arg("-r").arg("-P").arg(installation).arg(&within).stdin(Stdio::null());
            checked("cp", copy.output().map_err(io_error("run cp"))?)?;
        }
        tools = tools.of(&within)?;
    }
    let password: String = hexadecimal(&rand::rng().random::<[u8; 16]>());
    let file = scratch.dir.join("password");
    scratch.write(&file, password.as_bytes(), &tools)?;
    let mut command = tools.command("initdb");
    command
        .args(["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", "-U", SUPERUSER])
        .arg(format!("--pwfile={}", file.display()))
        .arg("-D")
        .arg(scratch.dir.join("data"))
        .stdin(Stdio::null());
    checked("initdb", command.output().map_err(io_error("run initdb"))?)?;
    Ok(Template { installation: installation.map(Path::to_owned), tools, password, scratch })
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A directory that is gone when its owner is, with whatever server runs in its `data`.
#[derive(Debug)]
struct Scratch {
    dir: PathBuf,
    guardian: Child,
    /// Its end is the guardian's signal; only this process holds it (descriptors are closed on exec).
    pipe: Option<ChildStdin>,
}

/// `$1` is the directory. Server processes are those whose working directory is the data directory.
const GUARDIAN: &str = r#"
trap '' HUP INT TERM
while read -r _; do :; done
servers() { for p in /proc/[0-9]*; do [ "$(readlink "$p/cwd")" = "$1/data" ] && echo "${p#/proc/}"; done 2>/dev/null; }
all=$(servers "$1")
if [ -n "$all" ]; then
  kill -CONT $all
  read -r postmaster <"$1/data/postmaster.pid" && kill -QUIT "$postmaster"
  tries=100
  while [ $tries -gt 0 ] && [ -n "$(servers "$1")" ]; do sleep 0.05; tries=$((tries - 1)); done
  all=$(servers "$1")
  [ -n "$all" ] && kill -KILL $all
fi
rm -rf "$1"
"#;

impl Scratch {
    fn new(tools: &Tools) -> Result<Self, ClusterError> {
        let name = format!("pgwarden-{}", hexadecimal(&rand::rng().random::<[u8; 6]>()));
        let dir = std::env::temp_dir().join(name);
        fs::create_dir(&dir).map_err(io_error("make a directory"))?;
        let guardian = Command::new("/bin/sh")
            .args(["-c", GUARDIAN, "pgwarden-guardian"])
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        let mut guardian = match guardian {
            Ok(guardian) => guardian,
            Err(source) => {
                let _ = fs::remove_dir(&dir);
                return Err(ClusterError::Io { what: "start the guardian", source });
            }
        };
        let pipe = guardian.stdin.take();
        let scratch = Self { dir, guardian, pipe };
        scratch.own(&scratch.dir, 0o755, tools)?;
        let run = scratch.dir.join("run");
        fs::create_dir(&run).map_err(io_error("make a directory"))?;
        scratch.own(&run, 0o755, tools)?;
        Ok(scratch)
    }

    /// Writes a file that only the server's user reads.
    fn write(&self, path: &Path, content: &[u8], tools: &Tools) -> Result<(), ClusterError> {
        fs::write(path, content).map_err(io_error("write a file"))?;
        self.own(path, 0o600, tools)
    }

    fn own(&self, path: &Path, mode: u32, tools: &Tools) -> Result<(), ClusterError> {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(io_error("set permissions"))?;
        if let Some((uid, gid)) = tools.run_as {
            std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(io_error("change the owner"))?;
        }
        Ok(())
    }

    fn remove(&mut self) {
        drop(self.pipe.take());
        let _ = self.guardian.wait();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_lives_restarts_crashes_pauses_and_leaves_nothing() {
        let mut cluster = Cluster::builder().setting("work_mem", "5MB").start().expect("start");
        assert_eq!(cluster.psql("postgres", "show work_mem").expect("query"), "5MB");
        let started = cluster.psql("postgres", "select pg_postmaster_start_time()").expect("query");
        cluster.restart().expect("restart");
        assert_ne!(cluster.psql("postgres", "select pg_postmaster_start_time()").expect("query"), started);
        cluster.crash().expect("crash");
        assert!(matches!(cluster.psql("postgres", "select 1"), Err(ClusterError::Command { .. })));
        cluster.start().expect("start after a crash");
        assert!(cluster.log().contains("not properly shut down"), "{}", cluster.log());

        cluster.pause().expect("pause");
        let mut socket = TcpStream::connect(cluster.address()).expect("the kernel still accepts");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("set a timeout");
        io::Write::write_all(&mut socket, &[0, 0, 0, 8, 4, 210, 22, 47]).expect("write");
        let silence = io::Read::read(&mut socket, &mut [0; 1]).expect_err("a frozen server is silent");
        assert_eq!(silence.kind(), io::ErrorKind::WouldBlock);
        cluster.resume().expect("resume");
        assert_eq!(cluster.psql("postgres", "select 1").expect("query"), "1");

        let (dir, pid) = (cluster.scratch.dir.clone(), cluster.pid().expect("running"));
        cluster.pause().expect("pause");
        drop(cluster);
        assert!(!dir.exists());
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    /// The same test plays the owner, in a process of its own that is then killed.
    #[test]
    fn a_killed_owner_leaves_no_server_and_no_directory() {
        const ROLE: &str = "PGWARDEN_TEST_CLUSTER_OWNER";
        if std::env::var_os(ROLE).is_some() {
            let cluster = Cluster::builder().start().expect("start");
            println!("owner of {} {}", cluster.scratch.dir.display(), cluster.pid().expect("running"));
            thread::sleep(PATIENCE);
            return;
        }
        let name = "cluster::tests::a_killed_owner_leaves_no_server_and_no_directory";
        let mut owner = Command::new(std::env::current_exe().expect("own path"))
            .args(["--exact", name, "--nocapture"])
            .env(ROLE, "1")
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the owner");
        let mut lines = io::BufRead::lines(io::BufReader::new(owner.stdout.take().expect("piped")));
        let line = lines.find_map(|line| Some(line.ok()?.split_once("owner of ")?.1.to_owned())).expect("its line");
        let (dir, pid) = line.split_once(' ').expect("directory and pid");
        assert!(Path::new(dir).join("data").exists());
        owner.kill().expect("kill the owner");
        owner.wait().expect("reap the owner");
        let deadline = Instant::now() + Duration::from_secs(20);
        while Path::new(dir).exists() || Path::new("/proc").join(pid).exists() {
            assert!(Instant::now() < deadline, "{dir} or process {pid} is still there");
            thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn a_standby_follows_and_is_read_only() {
        let mut primary = Cluster::builder().start().expect("start");
        let standby = primary.standby().expect("a standby");
        primary.psql("postgres", "create table t as select 7 as x").expect("write");
        standby.catch_up(&primary).expect("follow");
        assert_eq!(standby.psql("postgres", "select x from t").expect("query"), "7");
        assert!(standby.psql("postgres", "delete from t").is_err());
    }

    #[test]
    fn rules_for_access_are_the_callers() {
        let cluster = Cluster::builder().hba("local all all scram-sha-256\nhost all all 127.0.0.1/32 reject\n").start();
        let cluster = cluster.expect("start");
        let output = Command::new(cluster.program("psql"))
            .args(["-X", "-h", "127.0.0.1", "-U", "postgres", "-p", &cluster.port().to_string(), "-c", "select 1"])
            .env("PGPASSWORD", cluster.password())
            .output()
            .expect("run psql");
        assert!(String::from_utf8_lossy(&output.stderr).contains("pg_hba.conf rejects connection"));
    }
}
