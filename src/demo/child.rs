//! The proxy as a child process: this very program, `serve`, with a configuration of its own.
//!
//! The child and its directory never outlive the demo: a guardian (a small shell, its parent) waits for the end of a pipe
//! that only we hold, then stops the child and removes the directory, however the demo ended.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

/// How long the proxy may take to listen.
const START: Duration = Duration::from_secs(20);
/// How long the guardian may take to stop it (it uses force after ten seconds).
const STOP: Duration = Duration::from_secs(15);
/// Lines of the log kept for the report of a failure.
const TAIL: usize = 40;

/// `$1` program, `$2` configuration, `$3` directory. It starts the proxy at the first line. The guardian's exit code is the
/// proxy's.
const GUARDIAN: &str = r#"
if ! read -r _; then
    rm -rf "$3"
    exit 0
fi
"$1" serve --config "$2" </dev/null &
proxy=$!
trap '' HUP INT TERM
exec 2>/dev/null
while read -r _; do :; done
kill -TERM $proxy
(sleep 10; kill -KILL $proxy) &
force=$!
wait $proxy
code=$?
# It ignores TERM as we do; it must not live on and meet another process under the proxy's number.
kill -KILL $force
rm -rf "$3"
exit $code
"#;

#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    #[error("{what}: {source}")]
    Io { what: &'static str, source: io::Error },
    #[error("the proxy did not start; its log ends with:\n{log}")]
    Start { log: String },
    #[error("the proxy did not stop in {} s", STOP.as_secs())]
    Stop,
}

fn io_error(what: &'static str) -> impl FnOnce(io::Error) -> ChildError {
    move |source| ChildError::Io { what, source }
}

/// Where the proxy listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    pub clients: SocketAddr,
    pub http: SocketAddr,
}

/// The proxy's files in a directory of their own, under a guardian; the proxy itself does not run yet.
#[derive(Debug)]
pub struct Files {
    guardian: Child,
    /// Its end is the guardian's signal.
    pipe: Option<ChildStdin>,
    dir: PathBuf,
}

/// The running proxy.
#[derive(Debug)]
pub struct Proxy {
    files: Files,
    addresses: Addresses,
    tail: Tail,
}

type Tail = Arc<Mutex<Vec<String>>>;

/// Name of the configuration file.
pub const CONFIG: &str = "pgwarden.toml";

impl Files {
    /// Files for `program serve`, by name and text; one of them is [`CONFIG`].
    pub fn write(program: &Path, files: &[(&str, &str)]) -> Result<Self, ChildError> {
        let dir = std::env::temp_dir().join(format!("pgwarden-demo-{:016x}", rand::random::<u64>()));
        fs::DirBuilder::new().mode(0o700).create(&dir).map_err(io_error("make a directory"))?;
        let guardian = Command::new("/bin/sh")
            .args(["-c", GUARDIAN, "pgwarden-demo-guardian"])
            .arg(program)
            .arg(dir.join(CONFIG))
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C on the terminal is ours to handle.
            .process_group(0)
            .spawn();
        let mut guardian = match guardian {
            Ok(guardian) => guardian,
            Err(error) => {
                let _ = fs::remove_dir_all(&dir);
                return Err(io_error("start the proxy's guardian")(error));
            }
        };
        let pipe = guardian.stdin.take();
        let written = Self { guardian, pipe, dir };
        for (name, text) in files {
            write_secret(&written.dir.join(name), text)?;
        }
        Ok(written)
    }

    /// The configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.dir.join(CONFIG)
    }

    /// Starts the proxy; returns once it listens.
    pub async fn start(mut self) -> Result<Proxy, ChildError> {
        let log = fs::File::create(self.dir.join("proxy.log")).map_err(io_error("make the proxy's log"))?;
        let errors = self.guardian.stderr.take().expect("it was asked for, and is taken once");
        let go = self.pipe.as_mut().map_or(Ok(()), |pipe| pipe.write_all(b"start\n"));
        go.map_err(io_error("start the proxy"))?;
        let tail = Tail::default();
        let (sender, mut listening) = mpsc::unbounded_channel();
        let shared = Arc::clone(&tail);
        thread::spawn(move || follow(errors, log, &shared, &sender));
        match tokio::time::timeout(START, await_listeners(&mut listening)).await {
            Ok(Some(addresses)) => Ok(Proxy { files: self, addresses, tail }),
            Ok(None) | Err(_) => Err(ChildError::Start { log: text_of(&tail) }),
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // Without the pipe's other end the guardian is done already.
        if self.pipe.take().is_some() {
            let _ = self.guardian.wait();
        }
    }
}

fn text_of(tail: &Tail) -> String {
    tail.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).join("\n")
}

impl Proxy {
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Its configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.files.config_path()
    }

    /// The whole log so far.
    pub fn log_path(&self) -> PathBuf {
        self.files.dir.join("proxy.log")
    }

    /// The last lines of the log.
    pub fn log_tail(&self) -> String {
        text_of(&self.tail)
    }

    /// SIGTERM, and its exit code.
    pub fn stop(mut self) -> Result<Option<i32>, ChildError> {
        drop(self.files.pipe.take());
        let deadline = Instant::now() + STOP;
        while Instant::now() < deadline {
            if let Some(status) = self.files.guardian.try_wait().map_err(io_error("wait for the proxy"))? {
                return Ok(status.code());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Err(ChildError::Stop)
    }
}

/// A file that nobody else may read.
fn write_secret(path: &Path, text: &str) -> Result<(), ChildError> {
    let mut file = fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(io_error("write the configuration"))?;
    file.write_all(text.as_bytes()).map_err(io_error("write the configuration"))
}

/// Both listeners' addresses; `None` when the log ends first, for then the proxy has.
async fn await_listeners(listening: &mut mpsc::UnboundedReceiver<(Listener, SocketAddr)>) -> Option<Addresses> {
    let (mut clients, mut http) = (None, None);
    loop {
        match listening.recv().await? {
            (Listener::Clients, address) => clients = Some(address),
            (Listener::Http, address) => http = Some(address),
        }
        if let (Some(clients), Some(http)) = (clients, http) {
            return Some(Addresses { clients, http });
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listener {
    Clients,
    Http,
}

/// Copies the log to its file and looks for `listening` lines, until the proxy ends.
fn follow(errors: ChildStderr, mut log: fs::File, tail: &Tail, sender: &mpsc::UnboundedSender<(Listener, SocketAddr)>) {
    for line in BufReader::new(errors).lines() {
        let Ok(line) = line else { return };
        // A full disk costs us the log file, not the demo.
        let _ = writeln!(log, "{line}");
        if let Some(found) = listening(&line) {
            let _ = sender.send(found);
        }
        let mut tail = tail.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if tail.len() == TAIL {
            tail.remove(0);
        }
        tail.push(line);
    }
}

/// The address in a line that says a listener is up.
fn listening(line: &str) -> Option<(Listener, SocketAddr)> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    if line.get("message")?.as_str()? != "listening" {
        return None;
    }
    let listener = match line.get("listener")?.as_str()? {
        "clients" => Listener::Clients,
        "http" => Listener::Http,
        _ => return None,
    };
    Some((listener, line.get("address")?.as_str()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A shell script in the proxy's place. Another process writes it: were it open for writing here while another test
    /// forks, it could not be run for a moment ("text file busy").
    fn program(script: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("make a directory");
        let path = dir.path().join("proxy");
        let status = Command::new("/bin/sh")
            .args(["-c", r#"printf '#!/bin/sh\n%s\n' "$2" >"$1" && chmod 755 "$1""#, "write"])
            .arg(&path)
            .arg(script)
            .status();
        assert!(status.expect("run sh").success());
        (dir, path)
    }

    async fn start(program: &Path) -> Result<Proxy, ChildError> {
        Files::write(program, &[(CONFIG, "# nothing")])?.start().await
    }

    const LISTENS: &str = r#"
        echo 'not JSON' >&2
        echo '{"message":"listening","listener":"clients","address":"127.0.0.1:41234"}' >&2
        echo '{"message":"listening","listener":"http","address":"127.0.0.1:41235"}' >&2"#;

    #[tokio::test]
    async fn a_proxy_starts_says_where_it_listens_and_stops_with_its_exit_code() {
        let (_keep, path) = program(&format!("trap 'exit 7' TERM\n{LISTENS}\nwhile :; do sleep 0.01; done"));
        let proxy = start(&path).await.expect("start");
        assert_eq!(proxy.addresses().clients.port(), 41234);
        assert_eq!(proxy.addresses().http.port(), 41235);
        let dir = proxy.files.dir.clone();
        let mode = fs::metadata(dir.join("pgwarden.toml")).expect("the file is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(proxy.log_tail().starts_with("not JSON\n"));
        assert_eq!(proxy.stop().expect("stop"), Some(7));
        assert!(!dir.exists());
        let deadline = Instant::now() + Duration::from_secs(5);
        while mentioned(&dir) {
            assert!(Instant::now() < deadline, "a part of the guardian lives on");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// A process has the directory in its command line.
    fn mentioned(dir: &Path) -> bool {
        let processes = fs::read_dir("/proc").expect("list processes").flatten();
        let mut commands = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
        commands.any(|command| String::from_utf8_lossy(&command).contains(&*dir.to_string_lossy()))
    }

    #[tokio::test]
    async fn a_proxy_that_ends_early_is_reported_with_its_log() {
        let (_keep, path) = program("echo 'cannot listen' >&2; exit 4");
        let Err(ChildError::Start { log }) = start(&path).await else { panic!("it cannot have started") };
        assert_eq!(log, "cannot listen");
    }

    #[test]
    fn files_of_a_proxy_that_never_ran_go_too() {
        let files = Files::write(Path::new("/nonexistent"), &[(CONFIG, ""), ("seal.keys", "1:00")]).expect("write");
        let dir = files.dir.clone();
        let mode = fs::metadata(dir.join("seal.keys")).expect("the file is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(files);
        assert!(!dir.exists());
    }

    #[tokio::test]
    async fn dropping_a_proxy_stops_it_and_removes_its_directory() {
        let (_keep, path) = program(&format!("{LISTENS}\necho $$ >&2\nexec sleep 60"));
        let proxy = start(&path).await.expect("start");
        let dir = proxy.files.dir.clone();
        while proxy.log_tail().lines().last().is_none_or(|line| line.parse::<u32>().is_err()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let pid = proxy.log_tail().lines().last().expect("its number").to_owned();
        assert!(Path::new("/proc").join(&pid).exists());
        drop(proxy);
        assert!(!Path::new("/proc").join(&pid).exists());
        assert!(!dir.exists());
    }
}
