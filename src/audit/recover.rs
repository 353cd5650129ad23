//! Opening a log: whose it is, whether it is whole, and where it goes on.
//!
//! What the newest checkpoint covers was on disk when it was signed: if that is not there any more, or is something else, the
//! log was tampered with or lost, and is not opened. What comes after the checkpoint may end torn, after a crash: it is
//! kept as far as it consists of whole records, and the rest is cut, kept in a file of its own and recorded.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;
use thiserror::Error;

use super::control::{Control, now};
use super::segment::{
    Finished, Journal, LOCK, MANIFEST, Resumed, Segment, checkpoints_path, make_directory, options, records_path,
    segments, sync_directory,
};
use crate::chain::{
    Checkpoint, CheckpointError, Frontier, Hash, KeyError, KeyId, Note, NoteError, SigningKey, Time, leaf_hash, notes,
};
use crate::config::{self, Secret};

/// What names of files with cut ends begin with; the sequence number that followed and the time come after it.
pub const TORN: &str = "torn-";

/// Why a log was not opened. Nothing was changed, unless a write failed.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("another process writes the log in {}", .0.display())]
    Locked(PathBuf),
    #[error("the log in {} cannot be read: {error}", path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("the log in {} cannot be written: {error}", path.display())]
    Write { path: PathBuf, error: io::Error },
    #[error("{file} is not a key of the log: {error}")]
    Key { file: &'static str, error: KeyError },
    #[error("the log's last checkpoint is signed by key {0}, which is neither key_file nor next_key_file")]
    OtherKey(KeyId),
    #[error("the log's last checkpoint, in {}, does not hold: {error}", path.display())]
    Checkpoint { path: PathBuf, error: CheckpointError },
    #[error("the log is called {found:?} in its checkpoints, and {expected:?} in the configuration")]
    Origin { found: String, expected: String },
    #[error("the log ends at record {found}, but its last checkpoint covers {signed}: records are missing")]
    Short { found: u64, signed: u64 },
    #[error("the log's records up to {0} are not those that its last checkpoint covers: they were changed")]
    Changed(u64),
    #[error("the log's files do not fit each other: {0}")]
    Files(String),
    #[error("the log's thread cannot be started: {0}")]
    Thread(io::Error),
}

/// A log that can be appended to.
pub(super) struct Log {
    pub directory: PathBuf,
    pub origin: String,
    pub keys: Keys,
    pub segment: Segment,
    /// When the segment got its first checkpoint, or now.
    pub segment_begun: Time,
    /// Segments before it whose records are still there, oldest first.
    pub finished: Vec<Finished>,
    pub manifest: Journal,
    /// Over all records.
    pub frontier: Frontier,
    /// The newest checkpoint's size and root.
    pub checkpoint: Option<(u64, Hash)>,
    /// Releases the lock when dropped.
    pub _lock: File,
}

/// Who signs.
pub(super) struct Keys {
    pub active: SigningKey,
    /// The key that takes over, where it has not yet.
    pub next: Option<SigningKey>,
}

/// Locks, reads, checks and mends. Also returns the records to begin with.
pub(super) fn open(config: &config::Audit) -> Result<(Log, Vec<Control>), OpenError> {
    let directory = &config.directory;
    let (active, next) = keys(config)?;
    let origin = config.origin.as_deref().unwrap_or(active.public().name()).to_owned();
    let write = |error| OpenError::Write { path: directory.clone(), error };
    make_directory(directory).map_err(write)?;
    let lock = take_lock(directory)?;

    let found = Found::read(directory)?;
    let (last, keys) = match found.last_checkpoint(directory)? {
        None => (None, Keys { active, next }),
        Some((checkpoint, note, path)) => {
            let keys = whose(&note, active, next).map_err(|error| error.at(path))?;
            if checkpoint.origin != origin {
                return Err(OpenError::Origin { found: checkpoint.origin, expected: origin });
            }
            (Some((checkpoint.size, checkpoint.root)), keys)
        }
    };
    let mut scan = found.scan(directory, last)?;
    let clean = scan.is_new || (scan.torn == 0 && scan.last_line_stops);
    let mut records = vec![Control::Start { clean, key: keys.active.public().id() }];
    if scan.torn > 0 {
        cut(directory, &scan, found.live).map_err(write)?;
    }
    records.extend(unrecorded(directory, &scan).map_err(write)?);
    if let Some(next) = &keys.next {
        records.push(Control::KeyChange {
            old: keys.active.public().id(),
            new: next.public().id(),
            new_public: next.public().to_string(),
        });
    }
    let segment = if found.live_is_there {
        let (records, bytes, leaves) = (scan.records, scan.bytes, std::mem::take(&mut scan.leaves));
        let resumed = Resumed { records, bytes, checkpoints: found.checkpoints_whole, leaves };
        let segment = Segment::resume(directory, found.live, resumed);
        // What an earlier process wrote is not on disk for certain.
        segment.and_then(|segment| File::open(records_path(directory, found.live))?.sync_all().map(|()| segment))
    } else {
        Segment::create(directory, found.live)
    };
    let manifest = Journal::open(&directory.join(MANIFEST), found.manifest_whole).map_err(write)?;
    let log = Log {
        directory: directory.clone(),
        origin,
        keys,
        segment: segment.map_err(write)?,
        segment_begun: found.begun.unwrap_or_else(now),
        finished: found.kept,
        manifest,
        frontier: scan.frontier,
        checkpoint: last,
        _lock: lock,
    };
    Ok((log, records))
}

fn keys(config: &config::Audit) -> Result<(SigningKey, Option<SigningKey>), OpenError> {
    let parse = |text: &Secret, file| SigningKey::parse(text).map_err(|error| OpenError::Key { file, error });
    let next = config.next_key.as_ref().map(|text| parse(text, "next_key_file")).transpose()?;
    Ok((parse(&config.key, "key_file")?, next))
}

/// Says our process id in the lock's file, for whoever finds it.
fn take_lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join(LOCK);
    let write = |error| OpenError::Write { path: path.clone(), error };
    let file = options().create(true).truncate(false).open(&path).map_err(write)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(OpenError::Locked(directory.to_path_buf())),
        Err(fs::TryLockError::Error(error)) => return Err(write(error)),
    }
    let mut journal = Journal::open(&path, 0).map_err(write)?;
    journal.append(format!("{}\n", std::process::id()).as_bytes()).map_err(write)?;
    Ok(file)
}

/// Why a checkpoint cannot be continued; without its path.
enum NotOurs {
    Key(KeyId),
    Note(NoteError),
}

impl NotOurs {
    fn at(self, path: PathBuf) -> OpenError {
        match self {
            Self::Key(id) => OpenError::OtherKey(id),
            Self::Note(error) => OpenError::Checkpoint { path, error: error.into() },
        }
    }
}

/// Which of the keys go on after a checkpoint: the one that signed it, and the next where it did not.
fn whose(note: &Note, active: SigningKey, next: Option<SigningKey>) -> Result<Keys, NotOurs> {
    let public: Vec<_> = [Some(&active), next.as_ref()].into_iter().flatten().map(|key| key.public().clone()).collect();
    let signers = match note.verify(&public) {
        Ok(signers) => signers,
        Err(NoteError::Unsigned) => {
            let id = note.signatures().first().map(|signature| signature.id);
            return Err(id.map_or(NotOurs::Note(NoteError::Unsigned), NotOurs::Key));
        }
        Err(error) => return Err(NotOurs::Note(error)),
    };
    Ok(match next {
        Some(next) if signers.contains(&next.public()) => Keys { active: next, next: None },
        next => Keys { active, next },
    })
}

/// The log's files, as far as they say what the log is.
struct Found {
    /// Finished segments whose records are there.
    kept: Vec<Finished>,
    /// The newest finished segment, whose records may be deleted.
    before: Option<Finished>,
    manifest_whole: u64,
    /// First record of the segment to go on with.
    live: u64,
    live_is_there: bool,
    checkpoints_whole: u64,
    begun: Option<Time>,
}

impl Found {
    fn read(directory: &Path) -> Result<Self, OpenError> {
        let files = |text: String| OpenError::Files(text);
        let (manifest, manifest_whole) = read_manifest(directory)?;
        let mut end = 0;
        for line in &manifest {
            if line.first != end || line.records == 0 || line.frontier().is_none() {
                return Err(files(format!("the line of segment {} in {MANIFEST}", line.first)));
            }
            end = line.end();
        }
        let read = |error| OpenError::Read { path: directory.to_path_buf(), error };
        let there = segments(directory).map_err(read)?;
        let kept: Vec<Finished> = manifest.iter().filter(|line| there.contains(&line.first)).cloned().collect();
        let gap =
            manifest.iter().skip_while(|line| !there.contains(&line.first)).find(|line| !there.contains(&line.first));
        if let Some(line) = gap {
            return Err(files(format!("segment {} is missing between others", line.first)));
        }
        if let Some(other) =
            there.iter().find(|first| **first != end && !manifest.iter().any(|line| line.first == **first))
        {
            return Err(files(format!("segment {other} is not in {MANIFEST}")));
        }
        // A finished segment was on disk before the manifest said so: nothing tears it any more.
        for line in &kept {
            let bytes = fs::metadata(records_path(directory, line.first)).map_err(read)?.len();
            if bytes != line.bytes {
                return Err(files(format!("segment {} has {bytes} bytes, not {}", line.first, line.bytes)));
            }
        }
        let live_is_there = there.contains(&end);
        let checkpoints = read_if_there(&checkpoints_path(directory, end))?;
        let (whole, torn) = notes(&checkpoints);
        if !live_is_there && !whole.is_empty() {
            return Err(files(format!("the records of segment {end} are missing")));
        }
        let begun = whole.first().and_then(|note| Checkpoint::from_note(note).ok()).map(|(first, _)| first.time);
        let checkpoints_whole = (checkpoints.len() - torn.len()) as u64;
        let before = manifest.last().cloned();
        Ok(Self { kept, before, manifest_whole, live: end, live_is_there, checkpoints_whole, begun })
    }

    /// The newest checkpoint: of the segment to go on with, or of the one before.
    fn last_checkpoint(&self, directory: &Path) -> Result<Option<(Checkpoint, Note, PathBuf)>, OpenError> {
        let last = |first| -> Result<Option<(Checkpoint, Note, PathBuf)>, OpenError> {
            let path = checkpoints_path(directory, first);
            let file = read_if_there(&path)?;
            let (notes, _) = notes(&file);
            let Some(note) = notes.last() else { return Ok(None) };
            match Checkpoint::from_note(note) {
                Ok((checkpoint, note)) => Ok(Some((checkpoint, note, path))),
                Err(error) => Err(OpenError::Checkpoint { path, error }),
            }
        };
        if let Some(found) = last(self.live)? {
            return Ok(Some(found));
        }
        let Some(before) = &self.before else { return Ok(None) };
        let Some((checkpoint, note, path)) = last(before.first)? else {
            return Err(OpenError::Files(format!("segment {} has no checkpoint", before.first)));
        };
        if checkpoint.size != before.end() {
            return Err(OpenError::Files(format!("segment {} has no checkpoint at its end", before.first)));
        }
        Ok(Some((checkpoint, note, path)))
    }

    /// Reads the records of the segment to go on with, against the newest checkpoint.
    fn scan(&self, directory: &Path, last: Option<(u64, Hash)>) -> Result<Scan, OpenError> {
        let frontier = match &self.before {
            Some(before) => before.frontier().expect("it was checked"),
            None => Frontier::new(),
        };
        let is_new = self.before.is_none() && !self.live_is_there;
        let (signed, root) = last.unwrap_or((0, Frontier::new().root()));
        let (recorded, leaves) = (Vec::new(), Vec::new());
        let mut scan =
            Scan { frontier, records: 0, bytes: 0, torn: 0, last_line_stops: false, is_new, signed, recorded, leaves };
        scan.compare(&root)?;
        if self.live_is_there {
            let path = records_path(directory, self.live);
            let read = |error| OpenError::Read { path: path.clone(), error };
            let file = File::open(&path).map_err(read)?;
            let length = file.metadata().map_err(read)?.len();
            // A log whose checkpoint never came: its first process died at once.
            scan.is_new = self.before.is_none() && length == 0;
            scan.read(BufReader::with_capacity(1 << 20, file), &root).map_err(read)??;
            scan.torn = length - scan.bytes;
        } else if let Some(before) = &self.before {
            scan.last_line_stops = last_line(&records_path(directory, before.first)).is_ok_and(|line| is_stop(&line));
        }
        if scan.frontier.size() < signed {
            return Err(OpenError::Short { found: scan.frontier.size(), signed });
        }
        Ok(scan)
    }
}

/// What a segment turned out to have.
struct Scan {
    frontier: Frontier,
    records: u64,
    bytes: u64,
    /// Bytes after the last whole record.
    torn: u64,
    last_line_stops: bool,
    /// Nothing was ever written.
    is_new: bool,
    /// Records that the newest checkpoint covers.
    signed: u64,
    /// Files of cut ends that records after it name.
    recorded: Vec<String>,
    /// Hashes of the records.
    leaves: Vec<u8>,
}

impl Scan {
    /// Takes whole lines for as long as there are any. Those that are signed are what they are; those after them must be
    /// records with the right numbers.
    fn read(&mut self, mut file: impl BufRead, root: &Hash) -> io::Result<Result<(), OpenError>> {
        let (mut line, mut last) = (Vec::new(), Vec::new());
        loop {
            line.clear();
            let length = file.read_until(b'\n', &mut line)?;
            let Some(record) = line.strip_suffix(b"\n") else { break };
            let seq = self.frontier.size();
            if seq >= self.signed {
                if !is_record(record, seq) {
                    break;
                }
                self.recorded.extend(torn_file(record));
            }
            let leaf = leaf_hash(record);
            self.frontier.append(leaf);
            self.leaves.extend_from_slice(&leaf.0);
            self.records += 1;
            self.bytes += length as u64;
            if let Err(error) = self.compare(root) {
                return Ok(Err(error));
            }
            std::mem::swap(&mut line, &mut last);
        }
        self.last_line_stops = is_stop(last.strip_suffix(b"\n").unwrap_or_default());
        Ok(Ok(()))
    }

    /// The root where the checkpoint was signed has to be the checkpoint's.
    fn compare(&self, root: &Hash) -> Result<(), OpenError> {
        if self.frontier.size() == self.signed && self.frontier.root() != *root {
            return Err(OpenError::Changed(self.signed));
        }
        Ok(())
    }
}

fn is_record(line: &[u8], seq: u64) -> bool {
    line.starts_with(format!("{{\"seq\":{seq},").as_bytes()) && serde_json::from_slice::<IgnoredAny>(line).is_ok()
}

/// The file that a record of a cut end names.
fn torn_file(line: &[u8]) -> Option<String> {
    memchr::memmem::find(line, TORN.as_bytes())?;
    let record: serde_json::Value = serde_json::from_slice(line).ok()?;
    (record["kind"] == "gap").then(|| record["file"].as_str().map(str::to_owned))?
}

fn is_stop(line: &[u8]) -> bool {
    let kind = serde_json::from_slice::<serde_json::Value>(line);
    kind.is_ok_and(|record| record["kind"] == "stop")
}

/// The last line of a file of records, without its newline; stop records are short.
fn last_line(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(4096)))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    let lines = end.strip_suffix(b"\n").unwrap_or(&end);
    Ok(lines.rsplit(|byte| *byte == b'\n').next().unwrap_or_default().to_vec())
}

/// Moves the torn end into a file of its own.
fn cut(directory: &Path, scan: &Scan, first: u64) -> io::Result<()> {
    let name = format!("{TORN}{}-{}", scan.frontier.size(), now().micros / 1000);
    let mut file = options().open(records_path(directory, first))?;
    file.seek(SeekFrom::Start(scan.bytes))?;
    let mut kept = options().create_new(true).open(directory.join(&name))?;
    io::copy(&mut file, &mut kept)?;
    kept.sync_all()?;
    sync_directory(directory)?;
    file.set_len(scan.bytes)?;
    file.sync_all()
}

/// The records of ends that were cut, now or by a process that did not live to record it. A process signs its record of a
/// cut before it does anything else, so only cuts behind the newest checkpoint can be without one. A cut that lies behind
/// the log's end, because more was lost after it, gets the end's number: once signed, its record covers it too.
fn unrecorded(directory: &Path, scan: &Scan) -> io::Result<Vec<Control>> {
    let mut records = Vec::new();
    let end = scan.frontier.size();
    for entry in fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()? {
        let name = entry.file_name();
        let Some((file, (at, cut))) = name.to_str().and_then(|file| Some((file, torn_name(file)?))) else { continue };
        if at < scan.signed || scan.recorded.iter().any(|known| known == file) {
            continue;
        }
        let mut file = file.to_owned();
        if at > end {
            let free = (cut..).map(|cut| format!("{TORN}{end}-{cut}")).find(|name| !directory.join(name).exists());
            file = free.expect("a number that is free");
            fs::rename(entry.path(), directory.join(&file))?;
            sync_directory(directory)?;
        }
        records.push(Control::Torn { bytes: fs::metadata(directory.join(&file))?.len(), file });
    }
    Ok(records)
}

/// The record's number and the time, in ms, in the name of a file with a cut end.
fn torn_name(file: &str) -> Option<(u64, u64)> {
    let (at, cut) = file.strip_prefix(TORN)?.split_once('-')?;
    Some((at.parse().ok()?, cut.parse().ok()?))
}

/// The manifest's lines, and how many bytes they have: a torn last one was not written yet.
fn read_manifest(directory: &Path) -> Result<(Vec<Finished>, u64), OpenError> {
    let bytes = read_if_there(&directory.join(MANIFEST))?;
    let whole = memchr::memrchr(b'\n', &bytes).map_or(0, |at| at + 1);
    let mut lines = Vec::new();
    for line in bytes[..whole].split_inclusive(|byte| *byte == b'\n') {
        let line = serde_json::from_slice(line);
        lines.push(line.map_err(|error| OpenError::Files(format!("line {} of {MANIFEST}: {error}", lines.len() + 1)))?);
    }
    Ok((lines, whole as u64))
}

fn read_if_there(path: &Path) -> Result<Vec<u8>, OpenError> {
    match fs::read(path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(OpenError::Read { path: path.to_path_buf(), error }),
    }
}
