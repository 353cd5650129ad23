//! Copies of checkpoints, sent where the owner of this machine cannot take them back.
//!
//! Each target has a thread and a short queue of its own: a slow or dead one holds up neither the log nor the others. What
//! could not be sent is counted, logged, and recorded in the log when the trouble begins and when it ends. A later checkpoint
//! vouches for all that an earlier one did, so a missed one is not sent again.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::control::{Control, now};
use super::figures::CopyFigures;
use super::stream::{Shared, lock};
use crate::config::CopyTo;

/// The threads that send.
pub(super) struct Copies {
    targets: Vec<Target>,
}

struct Target {
    queue: SyncSender<Copy>,
    missed: Arc<std::sync::atomic::AtomicU64>,
    thread: JoinHandle<()>,
}

/// A signed note, and the number of records it covers.
#[derive(Debug, Clone)]
struct Copy {
    note: Arc<str>,
    size: u64,
}

/// Checkpoints that may wait for one target.
const QUEUE: usize = 64;

/// One attempt to send, at most.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the end of the log waits for what is still being sent.
const LAST: Duration = Duration::from_secs(2);

/// Name of the file in a directory that takes copies.
pub const COPIES: &str = "checkpoints";

/// `log audit`, notice: 13 * 8 + 5. <https://www.rfc-editor.org/rfc/rfc5424#section-6.2.1>
const PRIORITY: u32 = 109;

impl Copies {
    pub fn start(targets: &[CopyTo], shared: &Arc<Shared>) -> io::Result<Self> {
        let start = |target: &CopyTo| -> io::Result<Target> {
            let (queue, copies) = sync_channel(QUEUE);
            let missed = Arc::new(std::sync::atomic::AtomicU64::new(0));
            let name = name(target);
            let sender = Sender {
                figures: shared.board.add_copy(&name),
                name,
                target: target.clone(),
                shared: Arc::downgrade(shared),
                missed: missed.clone(),
                failing: None,
            };
            let thread = thread::Builder::new().name("audit-copy".to_owned()).spawn(move || sender.run(&copies))?;
            Ok(Target { queue, missed, thread })
        };
        Ok(Self { targets: targets.iter().map(start).collect::<io::Result<_>>()? })
    }

    /// Never waits.
    pub fn send(&self, note: &str, size: u64) {
        if self.targets.is_empty() {
            return;
        }
        let copy = Copy { note: note.into(), size };
        for target in &self.targets {
            match target.queue.try_send(copy.clone()) {
                Ok(()) => {}
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                    target.missed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Lets the threads send what they have, for a moment.
    pub fn finish(&mut self) {
        let patience = Instant::now() + LAST;
        for Target { queue, missed: _, thread } in self.targets.drain(..) {
            drop(queue);
            while !thread.is_finished() && Instant::now() < patience {
                thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

struct Sender {
    name: String,
    target: CopyTo,
    /// The log, unless it is gone.
    shared: Weak<Shared>,
    /// Copies that did not even get into the queue.
    missed: Arc<std::sync::atomic::AtomicU64>,
    figures: Arc<Mutex<CopyFigures>>,
    /// Copies missed since the trouble began.
    failing: Option<u64>,
}

impl Sender {
    fn run(mut self, copies: &Receiver<Copy>) {
        for copy in copies {
            let overflow = self.missed.swap(0, Ordering::Relaxed);
            let sent = send(&self.target, &copy);
            self.tell(sent, overflow);
        }
    }

    fn tell(&mut self, sent: io::Result<()>, overflow: u64) {
        let Some(shared) = self.shared.upgrade() else { return };
        let missed = overflow + u64::from(sent.is_err());
        shared.counts.copies_failed.fetch_add(missed, Ordering::Relaxed);
        {
            let mut figures = lock(&self.figures);
            figures.sent += u64::from(sent.is_ok());
            figures.missed += missed;
            figures.error = sent.as_ref().err().map(|error| error.to_string().into());
        }
        match (sent, self.failing) {
            (Ok(()), None) => {
                if overflow > 0 {
                    self.begin_trouble(&shared, "too slow: checkpoints were skipped");
                    self.failing = Some(overflow);
                }
            }
            (Ok(()), Some(before)) => {
                if overflow > 0 {
                    self.failing = Some(before + overflow);
                    return;
                }
                tracing::info!(place = %self.name, missed = before, "copies of the audit log's checkpoints are sent again");
                shared.control(&Control::CopyRestored { target: self.name.clone(), missed: before });
                self.failing = None;
            }
            (Err(error), None) => {
                self.begin_trouble(&shared, &error.to_string());
                self.failing = Some(missed);
            }
            (Err(_), Some(before)) => self.failing = Some(before + missed),
        }
    }

    fn begin_trouble(&self, shared: &Shared, error: &str) {
        tracing::error!(place = %self.name, error, "a copy of the audit log's checkpoint could not be sent");
        shared.control(&Control::CopyFailed { target: self.name.clone(), error: error.to_owned() });
    }
}

fn send(target: &CopyTo, copy: &Copy) -> io::Result<()> {
    match target {
        CopyTo::Directory(directory) => to_directory(directory, copy),
        CopyTo::Http(url) => to_url(url, copy),
        CopyTo::SyslogUnix(path) => {
            let socket = UnixDatagram::unbound()?;
            socket.set_write_timeout(Some(PATIENCE))?;
            socket.send_to(syslog(copy).as_bytes(), path).map(drop)
        }
        CopyTo::SyslogUdp(address) => {
            let any = match address {
                SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
            };
            UdpSocket::bind(any)?.send_to(syslog(copy).as_bytes(), address).map(drop)
        }
    }
}

fn to_directory(directory: &Path, copy: &Copy) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(directory.join(COPIES))?;
    file.write_all(format!("{}\n", copy.note).as_bytes())?;
    file.sync_data()
}

fn to_url(url: &str, copy: &Copy) -> io::Result<()> {
    let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).max_redirects(0).build();
    let request = ureq::Agent::new_with_config(config).post(url).header("Content-Type", "text/plain; charset=utf-8");
    let answer = request.send(&*copy.note).map_err(io::Error::other)?;
    let status = answer.status();
    if status.is_success() { Ok(()) } else { Err(io::Error::other(format!("HTTP status {status}"))) }
}

/// One line, whatever the note has: its base64 is the note.
fn syslog(copy: &Copy) -> String {
    let (time, process) = (now(), std::process::id());
    let note = BASE64_STANDARD.encode(copy.note.as_bytes());
    format!("<{PRIORITY}>1 {time} - pgwarden {process} checkpoint - size={} note={note}", copy.size)
}

/// The target for people: a URL without its query, which may hold a secret.
fn name(target: &CopyTo) -> String {
    match target {
        CopyTo::Directory(path) => path.display().to_string(),
        CopyTo::Http(url) => {
            let url = url.split(['?', '#']).next().unwrap_or_default();
            let (scheme, rest) = url.split_once("://").unwrap_or_default();
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            format!("{scheme}://{}/{path}", host.rsplit_once('@').map_or(host, |(_, host)| host))
        }
        CopyTo::SyslogUnix(path) => format!("syslog:{}", path.display()),
        CopyTo::SyslogUdp(address) => format!("syslog:{address}"),
    }
}
