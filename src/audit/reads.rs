//! Reading the audit is on record, too.
//!
//! Whoever reads announces it first, in a file of its own in the directory `reads` beside the log's files; the process that
//! writes the log takes it into the stream and removes the file when the record is on disk. Where no process writes the log,
//! the announcement waits for the next. A reader therefore needs no lock and no running proxy, and reads nothing that it
//! could not announce.
//!
//! Invariants: an announcement is on disk before anything is shown; it is recorded at least once, and its `id` tells two
//! records of the same from two reads.

use std::fs::{self, DirBuilder};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use nix::unistd::{Uid, User, geteuid, getuid};
use serde::{Deserialize, Serialize};

use super::control::{Control, now};
use super::segment::{options, sync_directory};
use super::stream::Shared;

/// Who reads what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// `cat`, `prove`, `export`, `stats`, `reveal`.
    pub command: String,
    /// What of the log, in the command's own words.
    pub arguments: String,
    /// Account of the operating system, and the one that logged in where the system knows it.
    pub by: String,
    pub login: Option<String>,
    /// When, by the reader's clock.
    pub at: String,
}

/// Announcements that wait.
const READS: &str = "reads";

const ANNOUNCED: &str = "read";

/// Longest of its texts, in characters, and largest file.
const TEXT_MAX: usize = 1024;
const FILE_MAX: u64 = 16 << 10;

/// What the kernel says where nobody logged in.
const NOBODY: u32 = u32::MAX;

impl Announcement {
    /// By whoever runs this process.
    pub fn new(command: &str, arguments: &str) -> Self {
        let login = fs::read_to_string("/proc/self/loginuid").ok().and_then(|text| text.trim().parse::<u32>().ok());
        Self {
            command: command.to_owned(),
            arguments: arguments.to_owned(),
            by: account(getuid()),
            login: login.filter(|uid| *uid != NOBODY).map(|uid| account(Uid::from_raw(uid))),
            at: now().to_string(),
        }
    }

    /// Puts it where the log's writer finds it, on disk.
    ///
    /// # Errors
    /// It will not be recorded: nothing may be read.
    pub fn leave(&self, log: &Path) -> io::Result<()> {
        let owner = fs::metadata(log)?;
        let directory = log.join(READS);
        let is_new = match DirBuilder::new().mode(0o700).create(&directory) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(error),
        };
        // A directory that is root's would be closed to the log's owner.
        let hand_over = |file: &fs::File| match geteuid().is_root() {
            true => fchown(file, Some(owner.uid()), Some(owner.gid())),
            false => Ok(()),
        };
        if is_new {
            hand_over(&fs::File::open(&directory)?)?;
            sync_directory(log)?;
        }
        let name = format!("{:020}-{}-{:08x}", now().micros, std::process::id(), rand::random::<u32>());
        let (part, whole) = (directory.join(format!("{name}.part")), directory.join(format!("{name}.{ANNOUNCED}")));
        let mut file = options().create_new(true).open(&part)?;
        hand_over(&file)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(&part, &whole)?;
        sync_directory(&directory)
    }
}

fn account(uid: Uid) -> String {
    match User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        Ok(None) | Err(_) => uid.to_string(),
    }
}

/// The writer's side.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// Announcements in the stream, with the number that their records are below.
    taken: Vec<(PathBuf, u64)>,
    failing: bool,
}

/// Announcements taken at a time.
const TAKEN_MAX: usize = 256;

impl Reads {
    /// Takes what was announced into the stream, and removes what is on disk there.
    pub fn collect(&mut self, log: &Path, shared: &Shared) {
        if let Err(error) = self.try_collect(log, shared) {
            if !self.failing {
                tracing::warn!(%error, "announcements of reads of the audit log cannot be taken");
            }
            self.failing = true;
        } else {
            self.failing = false;
        }
    }

    fn try_collect(&mut self, log: &Path, shared: &Shared) -> io::Result<()> {
        let synced = shared.counts.synced.load(Ordering::Acquire);
        let mut removed = Ok(());
        self.taken.retain(|(path, below)| {
            let kept = *below > synced;
            match if kept { Ok(()) } else { fs::remove_file(path) } {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    removed = Err(error);
                    true
                }
                Ok(()) | Err(_) => kept,
            }
        });
        removed?;
        let entries = match fs::read_dir(log.join(READS)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for entry in entries {
            let path = entry?.path();
            let is_announced = path.extension().is_some_and(|extension| extension == ANNOUNCED);
            if !is_announced || self.taken.len() >= TAKEN_MAX || self.taken.iter().any(|(taken, _)| *taken == path) {
                continue;
            }
            let id = path.file_stem().map(|stem| plain(&stem.to_string_lossy())).unwrap_or_default();
            if shared.control(&Control::Read { id, announcement: read(&path)? }) {
                self.taken.push((path, shared.appended()));
            }
        }
        Ok(())
    }
}

/// What an announcement says; nothing of one that says something else.
fn read(path: &Path) -> io::Result<Option<Announcement>> {
    let no_follow = nix::fcntl::OFlag::O_NOFOLLOW.bits() | nix::fcntl::OFlag::O_NONBLOCK.bits();
    let file = fs::OpenOptions::new().read(true).custom_flags(no_follow).open(path)?;
    let mut text = Vec::new();
    file.take(FILE_MAX).read_to_end(&mut text)?;
    let announcement = serde_json::from_slice::<Announcement>(&text).ok();
    Ok(announcement.map(|it| Announcement {
        command: plain(&it.command),
        arguments: plain(&it.arguments),
        by: plain(&it.by),
        login: it.login.as_deref().map(plain),
        at: plain(&it.at),
    }))
}

/// A reader's words as a record may have them.
fn plain(text: &str) -> String {
    let visible =
        |char: char| if char == ' ' || char.is_ascii_graphic() || char.is_alphanumeric() { char } else { '\u{fffd}' };
    crate::record::scrub(text).chars().map(visible).take(TEXT_MAX).collect()
}
