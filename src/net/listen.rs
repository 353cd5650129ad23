//! Listeners: TCP with a socket a worker, and the Unix socket under PostgreSQL's name.
//!
//! Binding is exclusive: a port or a socket that somebody else serves is refused, never shared. [`Listener::accept`]
//! never fails and never spins: when the process or the machine is out of descriptors it waits.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use super::{Peer, Stream};

/// Connections that the kernel queues for us; it caps this by `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Pauses after an accept that failed for want of descriptors or memory.
const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Binds `workers` listeners to one address (port 0 takes a free one, the same for all).
///
/// The kernel spreads connections over them. Fails with `AddrInUse` where anybody else listens on the port, even if that
/// socket would share it.
pub fn bind_tcp(address: SocketAddr, workers: usize) -> io::Result<Vec<StdTcpListener>> {
    let first = tcp_socket(address)?;
    first.bind(&address.into())?;
    // Only now: the bind above was exclusive, and the next ones may join it.
    first.set_reuse_port(true)?;
    first.listen(BACKLOG)?;
    let first: StdTcpListener = first.into();
    let bound = first.local_addr()?;
    let mut listeners = vec![first];
    while listeners.len() < workers {
        let socket = tcp_socket(bound)?;
        socket.set_reuse_port(true)?;
        socket.bind(&bound.into())?;
        socket.listen(BACKLOG)?;
        listeners.push(socket.into());
    }
    Ok(listeners)
}

fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Binds `.s.PGSQL.<port>` in `dir`, with its lock file; everybody may connect, as PostgreSQL has it.
///
/// A lock file or a socket left by a process that is gone is replaced; one that is served is `AddrInUse`.
pub fn bind_unix(dir: &Path, port: u16) -> io::Result<UnixSocket> {
    let path = dir.join(format!(".s.PGSQL.{port}"));
    let lock = lock(dir.join(format!(".s.PGSQL.{port}.lock")))?;
    remove_stale(&path)?;
    let listener = StdUnixListener::bind(&path)?;
    let path = OwnedPath(path);
    fs::set_permissions(&path.0, Permissions::from_mode(0o777))?;
    listener.set_nonblocking(true)?;
    Ok(UnixSocket { listener, path, _lock: lock })
}

/// A bound Unix socket; dropping it removes the socket's file and its lock.
#[derive(Debug)]
pub struct UnixSocket {
    listener: StdUnixListener,
    // Dropped in this order: the socket's file goes before the lock that guards it.
    path: OwnedPath,
    _lock: OwnedPath,
}

impl UnixSocket {
    pub fn path(&self) -> &Path {
        &self.path.0
    }

    /// Another handle on the same socket, for one more worker.
    pub fn listener(&self) -> io::Result<StdUnixListener> {
        self.listener.try_clone()
    }
}

/// A file that is removed with its owner.
#[derive(Debug)]
struct OwnedPath(PathBuf);

impl Drop for OwnedPath {
    fn drop(&mut self) {
        // Nothing can be done about a failure here, and the next start copes with what is left.
        let _ = fs::remove_file(&self.0);
    }
}

fn lock(path: PathBuf) -> io::Result<OwnedPath> {
    // A stale file is removed once; if another process creates its own in between, that process has won.
    for attempt in 0..2 {
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(mut file) => {
                let lock = OwnedPath(path);
                writeln!(file, "{}", std::process::id())?;
                file.sync_all()?;
                return Ok(lock);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists && attempt == 0 => match holder(&path)? {
                Some(pid) => return Err(in_use(&path, &format!("held by process {pid}"))),
                None => fs::remove_file(&path)?,
            },
            Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        }
    }
    Err(in_use(&path, "taken by another process at this moment"))
}

/// The living process that a lock file names. A file that cannot be understood is held: somebody may be writing it.
fn holder(path: &Path) -> io::Result<Option<i32>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    };
    // PostgreSQL writes a negative number for a stand-alone backend.
    let pid = text.lines().next().and_then(|line| line.trim().parse::<i32>().ok()).and_then(i32::checked_abs);
    let Some(pid) = pid.filter(|pid| *pid > 0) else {
        return Err(in_use(path, "not understood; remove it if no server uses this socket"));
    };
    // After a reboot, or in a container, our own number may be in an old file.
    if pid == std::process::id() as i32 {
        return if served(&path.with_extension("")) { Ok(Some(pid)) } else { Ok(None) };
    }
    match kill(Pid::from_raw(pid), None) {
        Err(Errno::ESRCH) => Ok(None),
        Ok(()) | Err(_) => Ok(Some(pid)),
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            Err(io::Error::new(ErrorKind::AlreadyExists, format!("{} exists and is no socket", path.display())))
        }
        Ok(_) if served(path) => Err(in_use(path, "served by another process")),
        Ok(_) => fs::remove_file(path),
    }
}

/// Only a refused connection proves that nobody listens.
fn served(path: &Path) -> bool {
    match StdUnixStream::connect(path) {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound),
    }
}

fn in_use(path: &Path, why: &str) -> io::Error {
    io::Error::new(ErrorKind::AddrInUse, format!("{}: {why}", path.display()))
}

/// A listener of one worker, registered with its runtime.
#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// From [`bind_tcp`], inside the runtime that is to accept.
    pub fn from_tcp(listener: StdTcpListener) -> io::Result<Self> {
        TcpListener::from_std(listener).map(Self::Tcp)
    }

    /// From [`UnixSocket::listener`], inside the runtime that is to accept.
    pub fn from_unix(listener: StdUnixListener) -> io::Result<Self> {
        UnixListener::from_std(listener).map(Self::Unix)
    }

    /// The next connection, with who made it. Cancel safe.
    pub async fn accept(&self) -> (Stream, Peer) {
        let mut pause = BACKOFF_MIN;
        loop {
            let accepted = match self {
                Listener::Tcp(listener) => {
                    listener.accept().await.map(|(tcp, address)| (Stream::Tcp(tcp), Peer::Tcp(address)))
                }
                Listener::Unix(listener) => listener.accept().await.map(|(unix, _)| {
                    let stream = Stream::Unix(unix);
                    let peer = stream.peer();
                    (stream, peer)
                }),
            };
            match accepted {
                Ok(accepted) => return accepted,
                // The client was gone before we came; each such error takes one connection off the queue.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
                Err(error) => {
                    tracing::warn!(%error, pause_ms = pause.as_millis() as u64, "cannot accept connections");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(BACKOFF_MAX);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;

    #[test]
    fn workers_share_a_port_that_nobody_else_may_have() {
        let any = "127.0.0.1:0".parse().unwrap();
        let listeners = bind_tcp(any, 3).unwrap();
        let bound = listeners[0].local_addr().unwrap();
        assert_eq!(listeners.len(), 3);
        assert!(listeners.iter().all(|listener| listener.local_addr().unwrap() == bound));
        // Another group, though its sockets could join by SO_REUSEPORT.
        assert_eq!(bind_tcp(bound, 2).unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(listeners);
        bind_tcp(bound, 2).unwrap();
    }

    #[tokio::test]
    async fn every_listener_of_a_group_gets_connections() {
        let listeners = bind_tcp("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let address = listeners[0].local_addr().unwrap();
        let listeners: Vec<_> = listeners.into_iter().map(|listener| Listener::from_tcp(listener).unwrap()).collect();
        let mut counts = [0; 2];
        let mut streams = Vec::new();
        for _ in 0..64 {
            streams.push(TcpStream::connect(address).await.unwrap());
            tokio::select! {
                (_, peer) = listeners[0].accept() => { counts[0] += 1; assert!(peer.is_local()); }
                _ = listeners[1].accept() => counts[1] += 1,
            }
        }
        assert_eq!(counts.iter().sum::<i32>(), 64);
        assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    }

    #[tokio::test]
    async fn unix_socket_is_exclusive_and_cleans_up() {
        let dir = tempfile::tempdir().unwrap();
        let bound = bind_unix(dir.path(), 6432).unwrap();
        assert_eq!(bound.path(), dir.path().join(".s.PGSQL.6432"));
        assert_eq!(bind_unix(dir.path(), 6432).unwrap_err().kind(), ErrorKind::AddrInUse);
        let listener = Listener::from_unix(bound.listener().unwrap()).unwrap();
        let _client = tokio::net::UnixStream::connect(bound.path()).await.unwrap();
        assert!(matches!(listener.accept().await, (Stream::Unix(_), Peer::Unix { .. })));
        drop((listener, bound));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn leftovers_of_a_dead_process_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join(".s.PGSQL.1");
        drop(StdUnixListener::bind(&socket).unwrap());
        let mut dead = std::process::Command::new("true").spawn().unwrap();
        dead.wait().unwrap();
        fs::write(dir.path().join(".s.PGSQL.1.lock"), format!("{}\n/data\n", dead.id())).unwrap();
        bind_unix(dir.path(), 1).unwrap();
    }

    #[test]
    fn what_may_be_in_use_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join(".s.PGSQL.1.lock");
        // A living process that is not ours, a file without a number, a served socket, a file that is no socket.
        for content in ["1\n", "-1\n", "", "what\n"] {
            fs::write(&lock, content).unwrap();
            assert_eq!(bind_unix(dir.path(), 1).unwrap_err().kind(), ErrorKind::AddrInUse, "{content:?}");
            assert!(lock.exists());
        }
        fs::remove_file(&lock).unwrap();
        let socket = dir.path().join(".s.PGSQL.1");
        let served = StdUnixListener::bind(&socket).unwrap();
        assert_eq!(bind_unix(dir.path(), 1).unwrap_err().kind(), ErrorKind::AddrInUse);
        assert!(!lock.exists());
        drop(served);
        fs::remove_file(&socket).unwrap();
        fs::write(&socket, "mine").unwrap();
        assert_eq!(bind_unix(dir.path(), 1).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&socket).unwrap(), "mine");
    }
}
