//! Verifying a log from its files and public keys alone.
//!
//! Every leaf and every root is computed again and compared with every signature, segment by segment, in one pass. Where
//! records are not what was signed, the comparison is taken up again at the segment's end, whose tree the manifest has and a
//! signature confirms: damage in one segment hides none in another.
//!
//! Checkpoints are read before the records that they cover, and writers sign only what is on disk, so that a log can be
//! verified while it is written. Records behind the newest checkpoint prove nothing yet: of them only the form is held
//! against them.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use thiserror::Error;

use super::files::{Files, Part};
use super::locate::{Located, Stretch};
use super::order::Order;
use super::report::{Ending, Gap, Report, What};
use super::scan::{self, Event, Job, Scanned};
use super::signed::{Signatures, Signed};
use crate::audit::leaves::leaves_path;
use crate::audit::segment::records_path;
use crate::chain::{Checkpoint, Frontier, Hash, Piece, PublicKey, Time, notes};

/// What to verify with.
#[derive(Debug, Clone)]
pub struct Verifier {
    /// Keys that may have signed; at least one.
    pub keys: Vec<PublicKey>,
    /// The log's name; absent: whatever its first checkpoint says.
    pub origin: Option<String>,
    /// Checkpoints that were kept elsewhere.
    pub kept: Vec<Kept>,
    /// Threads that hash.
    pub threads: usize,
    /// Records at the end may have no signature for so long.
    pub unsigned_max: Duration,
}

/// A checkpoint that was kept where the log's owner could not reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub size: u64,
    pub root: Hash,
    /// Where it was found.
    pub name: String,
}

/// Why kept checkpoints cannot be used.
#[derive(Debug, Error)]
pub enum KeptError {
    #[error("{0}: no whole checkpoint is in it")]
    Empty(String),
    #[error("{0}: checkpoint {1}: {2}")]
    Checkpoint(String, usize, String),
}

impl Kept {
    /// Reads a file of checkpoints: a single note, or as many as a second directory has collected. A last one that is torn
    /// is left out.
    ///
    /// # Errors
    /// One is not signed by these keys, or there is none.
    pub fn read(name: &str, file: &[u8], keys: &[PublicKey], origin: Option<&str>) -> Result<Vec<Self>, KeptError> {
        let closed = [file, b"\n"].concat();
        let (whole, _) = notes(&closed);
        let mut kept = Vec::new();
        for (number, note) in whole.into_iter().enumerate() {
            let wrong = |why: String| KeptError::Checkpoint(name.to_owned(), number + 1, why);
            let (checkpoint, note) = Checkpoint::from_note(note).map_err(|error| wrong(error.to_string()))?;
            note.verify(keys).map_err(|error| wrong(error.to_string()))?;
            if origin.is_some_and(|origin| origin != checkpoint.origin) {
                return Err(wrong(format!("it is of the log {:?}", checkpoint.origin)));
            }
            kept.push(Self { size: checkpoint.size, root: checkpoint.root, name: name.to_owned() });
        }
        if kept.is_empty() { Err(KeptError::Empty(name.to_owned())) } else { Ok(kept) }
    }
}

impl Verifier {
    pub fn new(keys: Vec<PublicKey>) -> Self {
        Self { keys, origin: None, kept: Vec::new(), threads: threads(), unsigned_max: UNSIGNED_MAX }
    }

    /// Reads the whole log. Never fails: what cannot be read is a finding.
    pub fn verify(&self, directory: &Path) -> Report {
        let there = |files: io::Result<Files>| files.map_or_else(|_| Vec::new(), |files| files.there());
        for _ in 1..ATTEMPTS {
            let before = there(Files::look(directory));
            let report = self.read(directory);
            // A segment that retention deleted meanwhile looks like damage.
            if report.findings.is_empty() || there(Files::look(directory)).starts_with(&before[..1.min(before.len())]) {
                return report;
            }
        }
        self.read(directory)
    }

    fn read(&self, directory: &Path) -> Report {
        let mut kept = self.kept.clone();
        kept.sort_by_key(|kept| kept.size);
        let mut course = Course {
            directory,
            verifier: self,
            signatures: Signatures::new(&self.keys, self.origin.clone()),
            kept: kept.into(),
            report: Report::default(),
            tree: Some(Frontier::new()),
            signer: None,
            deletions: BTreeSet::new(),
            stopped: None,
            reached: false,
        };
        match Files::look(directory) {
            Ok(files) => course.log(files),
            Err(error) => course.report.find(What::Unreadable(error.to_string()).of_log()),
        }
        course.report
    }
}

/// Threads that hash: as many as the machine has, within reason.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(8)
}

/// A log whose oldest segments go while it is read is read again, so often in all.
const ATTEMPTS: usize = 4;

const UNSIGNED_MAX: Duration = Duration::from_secs(60);

/// How long the end of a log may take to become whole.
const MOMENT: Duration = Duration::from_millis(100);

/// A log being verified.
struct Course<'a> {
    directory: &'a Path,
    verifier: &'a Verifier,
    signatures: Signatures<'a>,
    /// Not compared yet, the smallest first.
    kept: VecDeque<Kept>,
    report: Report,
    /// The tree so far; absent where the records are not those that were signed.
    tree: Option<Frontier>,
    /// Id of the key that has to sign, by the records.
    signer: Option<String>,
    /// Segments that records say were deleted.
    deletions: BTreeSet<u64>,
    /// Index of the last record that closes the log.
    stopped: Option<u64>,
    /// A segment with records was reached.
    reached: bool,
}

/// Where in a segment the comparison is.
struct Place<'p> {
    segment: u64,
    signed: &'p [Signed],
    /// The last point where everything held: the tree, and bytes before it.
    good: Option<(Frontier, u64)>,
    /// Something was found in this segment.
    hurt: bool,
    order: Order,
}

impl Course<'_> {
    fn log(&mut self, files: Files) {
        files.findings.into_iter().for_each(|finding| self.report.find(finding));
        let mut gone = None;
        for (at, part) in files.parts.iter().enumerate() {
            let is_last = at + 1 == files.parts.len();
            if part.is_there {
                self.reached = true;
                self.segment(part, is_last);
            } else {
                gone = self.gone(part).or(gone);
            }
        }
        // Segments are deleted oldest first, and the record that says so is younger than the segment: that of the newest
        // deleted one is there.
        if let Some(first) = gone.filter(|first| !self.deletions.contains(first)) {
            self.report.find(What::Missing.of_segment(first));
        }
        if files.parts.is_empty() {
            self.report.find(What::Unreadable("no log is in this directory".to_owned()).of_log());
        } else if self.report.newest.is_none() {
            let why = "does not exist: nothing of this log is signed".to_owned();
            self.report.find(What::Checkpoint { number: 1, why }.of_log());
        }
        let (end, reached) = (self.report.end, self.reached);
        for kept in std::mem::take(&mut self.kept) {
            if kept.size > end || !reached {
                self.report.find(What::RolledBack { kept: kept.name, size: kept.size }.of_log());
            } else {
                self.report.kept_uncompared += 1;
            }
        }
        self.report.origin = self.signatures.origin.clone();
        if self.stopped.is_some_and(|stopped| stopped + 1 == end) {
            self.report.ending = Ending::Closed;
        }
    }

    /// A segment whose records are not there. Returns it if it may have been deleted.
    fn gone(&mut self, part: &Part) -> Option<u64> {
        let signed = self.signed(part);
        self.tree = authentic(part, &signed);
        let end = part.line.as_ref().map_or(part.first, |line| line.end());
        if self.reached {
            let end = end.max(signed.last().map_or(0, |last| last.size));
            self.report.find(What::Missing.at(part.first, part.first..end, 0..0));
            return None;
        }
        if self.tree.is_none() && part.line.is_some() {
            let why = "says how this segment ended, and no checkpoint confirms it".to_owned();
            self.report.find(What::Manifest(why).of_segment(part.first));
        }
        self.report.deleted += 1;
        (self.report.first, self.report.end, self.report.covered) = (end, end, end);
        // What was kept of the deleted part can be compared at segments' ends.
        let root = self.tree.as_ref().map(Frontier::root);
        while let Some(kept) = self.kept_up_to(end) {
            match root.filter(|_| kept.size == end) {
                Some(root) if root != kept.root => {
                    self.report.find(What::Rewritten { kept: kept.name, size: kept.size }.of_segment(part.first));
                }
                Some(_) => self.report.kept += 1,
                None => self.report.kept_uncompared += 1,
            }
        }
        Some(part.first)
    }

    fn signed(&mut self, part: &Part) -> Vec<Signed> {
        match whole_checkpoints(part, self.directory) {
            Ok(file) => {
                let (signed, findings) = self.signatures.read(part, &file);
                findings.into_iter().for_each(|finding| self.report.find(finding));
                signed
            }
            Err(error) => {
                self.report.find(What::Unreadable(format!("checkpoints: {error}")).of_segment(part.first));
                Vec::new()
            }
        }
    }

    fn segment(&mut self, part: &Part, is_last: bool) {
        let signed = self.signed(part);
        if self.tree.as_ref().is_some_and(|tree| tree.size() != part.first) {
            self.tree = None;
        }
        let covered = signed.last().map_or(part.first, |last| last.size);
        let kept = self
            .kept
            .iter()
            .map(|kept| kept.size)
            .take_while(|size| part.line.as_ref().is_none_or(|line| *size <= line.end()));
        let mut cuts: Vec<u64> =
            signed.iter().map(|signed| signed.size).chain(kept).filter(|cut| *cut > part.first).collect();
        cuts.sort_unstable();
        cuts.dedup();
        let mut place = Place {
            segment: part.first,
            signed: &signed,
            good: self.tree.clone().map(|tree| (tree, 0)),
            hurt: self.tree.is_none(),
            order: Order::new(part.first),
        };
        self.compare_kept(part.first);
        let path = part.records(self.directory);
        let job = Job { path: &path, first: part.first, cuts: &cuts, covered, threads: self.verifier.threads };
        let scanned = match scan::scan(&job, |event| self.take(event, &mut place)) {
            Ok(scanned) => scanned,
            Err(error) => {
                self.report.find(What::Unreadable(format!("{}: {error}", path.display())).of_segment(part.first));
                self.tree = authentic(part, &signed);
                return;
            }
        };
        self.report.segments += 1;
        self.report.bytes += scanned.bytes;
        self.report.end = scanned.end;
        match &part.line {
            Some(_) => self.finished(part, &place, &scanned, is_last),
            None => self.last(part, &place, &scanned, is_last),
        }
    }

    fn take(&mut self, event: Event, place: &mut Place<'_>) {
        match event {
            Event::Piece(Piece { level, root }) => {
                if let Some(tree) = &mut self.tree {
                    tree.append_tree(level, root);
                }
            }
            Event::Cut { size, at } => self.compare(size, at, place),
            Event::Number { index, bytes, found, next } => {
                if let Some(what) = place.order.look(index, found, next) {
                    place.hurt = true;
                    self.report.find(what.at(place.segment, index..index + 1, bytes));
                }
            }
            Event::Broken { index, bytes, why } => {
                place.hurt = true;
                self.report.find(What::Broken(why.to_owned()).at(place.segment, index..index + 1, bytes));
            }
            Event::Control { index, line } => self.control(index, &line),
        }
    }

    /// The tree against what was signed over so many records, and what was kept.
    fn compare(&mut self, size: u64, at: u64, place: &mut Place<'_>) {
        let found = place.signed.binary_search_by_key(&size, |signed| signed.size);
        if let (Some(tree), Ok(found)) = (&self.tree, found) {
            let signed = &place.signed[found];
            if tree.root() != signed.root {
                place.hurt = true;
                self.locate(signed, at, place);
            } else {
                self.report.covered = size;
            }
            if let Some(tree) = &self.tree {
                place.good = Some((tree.clone(), at));
                self.report.checkpoints += 1;
                self.report.newest = Some(signed.newest());
                self.check_signer(signed, place.segment);
            }
        }
        self.compare_kept(size);
    }

    /// Says which records are not those that this checkpoint covers. Where the hashes that the writer left tell that, the tree
    /// goes on from what was signed.
    fn locate(&mut self, signed: &Signed, at: u64, place: &Place<'_>) {
        self.tree = None;
        let Some((good, start)) = &place.good else { return };
        let (segment, bytes) = (place.segment, *start..at);
        let stretch = Stretch {
            records: &records_path(self.directory, segment),
            leaves: &leaves_path(self.directory, segment),
            segment,
            good,
            bytes: bytes.clone(),
            size: signed.size,
            root: signed.root,
        };
        let located = stretch.locate().filter(|located| !located.changed.is_empty());
        let Some(Located { tree, changed, is_aligned }) = located else {
            return self.report.find(What::Changed.at(segment, good.size()..signed.size, bytes));
        };
        for (record, bytes) in changed {
            self.report.find(What::Changed.at(segment, record..record + 1, bytes));
        }
        self.tree = is_aligned.then_some(tree);
    }

    fn compare_kept(&mut self, size: u64) {
        let Some(root) = self.tree.as_ref().map(Frontier::root) else { return };
        while let Some(kept) = self.kept_up_to(size) {
            if kept.size < size {
                self.report.kept_uncompared += 1;
            } else if kept.root == root {
                self.report.kept += 1;
            } else {
                self.report.find(What::Rewritten { kept: kept.name, size }.of_log());
            }
        }
    }

    fn kept_up_to(&mut self, size: u64) -> Option<Kept> {
        self.kept.front().filter(|kept| kept.size <= size)?;
        self.kept.pop_front()
    }

    /// The key that records announce has to have signed: another one's holder could write another log.
    fn check_signer(&mut self, signed: &Signed, segment: u64) {
        let Some(signer) = &self.signer else { return };
        if !signed.signers.iter().any(|id| id.to_string() == *signer) {
            let why = format!("is not signed by key {signer}, which signs by the records before it");
            self.report.find(What::Checkpoint { number: signed.number, why }.of_segment(segment));
        }
    }

    /// What a record says about the log.
    fn control(&mut self, index: u64, line: &[u8]) {
        let record: Value = serde_json::from_slice(line).unwrap_or_default();
        let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        let number = |name: &str| record[name].as_u64().unwrap_or_default();
        match record["kind"].as_str() {
            Some("start") => self.signer = Some(text("key")),
            Some("key_change") => self.signer = Some(text("new_key")),
            Some("stop") => self.stopped = Some(index),
            Some("segment_deleted") => drop(self.deletions.insert(number("first"))),
            Some("gap") => self.report.gap(Gap {
                seq: index,
                time: text("time"),
                reason: text("reason"),
                lost: number("lost"),
                bytes: number("bytes"),
            }),
            _ => {}
        }
    }

    /// The end of a segment that is in the manifest.
    fn finished(&mut self, part: &Part, place: &Place<'_>, scanned: &Scanned, is_last: bool) {
        let Some(line) = &part.line else { return };
        let segment = part.first;
        let find = |what: What| what.of_segment(segment);
        let end = authentic(part, place.signed);
        if end.is_none() {
            let why = "says how this segment ended, and no checkpoint confirms it".to_owned();
            self.report.find(find(What::Manifest(why)));
        }
        let (found, signed) = (scanned.end, line.end());
        if found != signed {
            let what = short(found, signed, is_last && !place.hurt);
            self.report.find(what.at(segment, found.min(signed)..found.max(signed), scanned.bytes..scanned.bytes));
        } else if scanned.torn > 0 {
            let bytes = scanned.bytes..scanned.bytes + scanned.torn;
            let why = "bytes behind the segment's last record".to_owned();
            self.report.find(What::Broken(why).at(segment, scanned.end..scanned.end + 1, bytes));
        } else if !place.hurt && scanned.bytes != line.bytes {
            let why = "has another length for this segment, whose records are those that were signed";
            self.report.find(find(What::Manifest(why.to_owned())));
        }
        if self.tree.is_none() && end.is_some() {
            self.tree = end;
        }
    }

    /// The end of the segment that is written, or was when the log ended.
    fn last(&mut self, part: &Part, place: &Place<'_>, scanned: &Scanned, is_last: bool) {
        let signed = place.signed.last().map_or(part.first, |last| last.size);
        if scanned.end < signed {
            let what = short(scanned.end, signed, is_last && !place.hurt);
            self.report.find(what.at(part.first, scanned.end..signed, scanned.bytes..scanned.bytes));
        } else if let (true, Some(since)) = (scanned.end > signed, self.unsigned_for(part)) {
            let what = What::Unsigned { seconds: since.as_secs() };
            let start = place.good.as_ref().map_or(0, |(_, at)| *at);
            self.report.find(what.at(part.first, signed..scanned.end, start..scanned.bytes));
        }
        if scanned.torn > 0 && !self.is_growing(part, scanned) {
            let what = if is_last {
                What::Torn { bytes: scanned.torn }
            } else {
                What::Broken("bytes behind the last record".to_owned())
            };
            let bytes = scanned.bytes..scanned.bytes + scanned.torn;
            self.report.find(what.at(part.first, scanned.end..scanned.end + 1, bytes));
        }
    }

    /// How long the log went on behind its newest checkpoint, if that is too long.
    fn unsigned_for(&self, part: &Part) -> Option<Duration> {
        let newest: Time = self.report.newest.as_ref()?.time.parse().ok()?;
        let last = super::lines::last_line(&part.records(self.directory)).ok()?;
        let record: Value = serde_json::from_slice(&last).ok()?;
        let time: Time = record["time"].as_str()?.parse().ok()?;
        let since = Duration::from_micros(time.micros.saturating_sub(newest.micros));
        (since > self.verifier.unsigned_max).then_some(since)
    }

    /// Whether somebody is writing the record that the file ends with.
    fn is_growing(&self, part: &Part, scanned: &Scanned) -> bool {
        std::thread::sleep(MOMENT);
        fs::metadata(part.records(self.directory)).is_ok_and(|file| file.len() != scanned.bytes + scanned.torn)
    }
}

/// A segment that ends elsewhere; `is_cut`: nothing else is wrong with it, and nothing comes after it.
fn short(found: u64, signed: u64, is_cut: bool) -> What {
    if is_cut && found < signed { What::Ends { found, signed } } else { What::Length { found, signed } }
}

/// A file of checkpoints, the last of which may be under way.
fn whole_checkpoints(part: &Part, directory: &Path) -> io::Result<Vec<u8>> {
    let file = part.checkpoints(directory)?;
    if notes(&file).1.is_empty() {
        return Ok(file);
    }
    std::thread::sleep(MOMENT);
    part.checkpoints(directory)
}

/// The tree at a segment's end, as the manifest has it and a checkpoint confirms it.
fn authentic(part: &Part, signed: &[Signed]) -> Option<Frontier> {
    let line = part.line.as_ref()?;
    let last = signed.last()?;
    (last.size == line.end() && Some(last.root) == part.root()).then(|| line.frontier())?
}
