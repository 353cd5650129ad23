//! Logs as the writer makes them, read as they are, and after every kind of edit.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use proptest::prelude::*;
use tlog_tiles::tlog;

use super::*;
use crate::audit::leaves::leaves_path;
use crate::audit::segment::{MANIFEST, checkpoints_path, records_path, segments};
use crate::audit::tests::{config, key};
use crate::audit::{Announcement, Stream};
use crate::chain::{PublicKey, RecordProof, notes};
use crate::config;

fn public(seed: u8) -> PublicKey {
    key(seed).public().clone()
}

fn verifier() -> Verifier {
    Verifier { threads: 2, ..Verifier::new(vec![public(1)]) }
}

/// Segments of some 40 records, a checkpoint every 10.
fn small(directory: &Path) -> config::Audit {
    config::Audit {
        segment_size: 8 << 10,
        checkpoint_records: 10,
        checkpoint_interval: Duration::from_secs(60),
        ..config(directory)
    }
}

fn statement(number: u64) -> Vec<u8> {
    let tenant = ["harbor", "lumen", "quill"][number as usize % 3];
    format!(
        "\"v\":1,\"kind\":\"statement\",\"time\":\"2026-01-01T00:00:00.{number:06}Z\",\"mono\":{number},\"session\":{number},\
         \"tenant\":\"{tenant}\",\"user\":\"app\",\"text\":\"SELECT ? FROM t{number} WHERE \\\"x\\\" = ?\""
    )
    .into_bytes()
}

/// Appends records one by one, so that checkpoints are many; a log that is closed in the end.
fn write(config: &config::Audit, records: u64) {
    let stream = Stream::open(config).expect("open");
    for number in 0..records {
        let seq = stream.append(&statement(number)).expect("append");
        while !stream.is_settled(seq) {
            std::thread::yield_now();
        }
    }
    stream.shutdown().expect("shutdown");
}

/// A closed log of several segments. Tests copy it.
struct Master {
    _dir: tempfile::TempDir,
    log: PathBuf,
}

static MASTER: LazyLock<Master> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a directory");
    let config = small(dir.path());
    write(&config, 150);
    Master { log: config.directory, _dir: dir }
});

impl Master {
    fn copy(&self) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("log");
        copy(&self.log, &log);
        (dir, log)
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        if entry.path().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
        }
    }
}

/// The segments' lines.
fn lines(log: &Path, first: u64) -> Vec<Vec<u8>> {
    let bytes = fs::read(records_path(log, first)).expect("records");
    bytes.split_inclusive(|byte| *byte == b'\n').map(Into::into).collect()
}

fn put(log: &Path, first: u64, lines: &[Vec<u8>]) {
    fs::write(records_path(log, first), lines.concat()).expect("write");
}

fn kept(log: &Path) -> Vec<Kept> {
    let mut file = Vec::new();
    for first in segments(log).expect("segments") {
        file.extend(fs::read(checkpoints_path(log, first)).expect("checkpoints"));
    }
    Kept::read("kept", &file, &[public(1)], None).expect("checkpoints")
}

#[test]
fn a_log_as_it_was_written_is_intact() {
    let (_dir, log) = MASTER.copy();
    let report = Verifier { kept: kept(&log), ..verifier() }.verify(&log);
    assert_eq!((report.verdict(), report.findings.as_slice()), (Verdict::Intact, &[][..]));
    assert!(report.segments >= 4 && report.checkpoints >= 10, "{report:?}");
    assert_eq!((report.first, report.end, report.covered, report.ending), (0, 152, 152, Ending::Closed));
    assert_eq!((report.kept, report.kept_uncompared), (report.checkpoints, 0));
    assert_eq!(report.origin.as_deref(), Some("example.com/audit"));
    let stranger = Verifier::new(vec![public(2)]).verify(&log);
    assert_eq!(stranger.verdict(), Verdict::Tampered);
    let other = Verifier { origin: Some("example.com/other".to_owned()), ..verifier() }.verify(&log);
    assert_eq!(other.verdict(), Verdict::Tampered);
    assert_eq!(verifier().verify(log.parent().expect("a parent")).verdict(), Verdict::Unreadable);
}

/// What is done to a log.
#[derive(Debug, Clone, Copy)]
enum Edit {
    FlipRecord,
    Drop,
    Insert,
    Forge,
    Swap,
    MoveAway,
    FlipCheckpoint,
    DropCheckpoint,
    FlipManifest,
    DropManifestLine,
    RemoveSegment,
    CutSegment,
}

const EDITS: [Edit; 12] = [
    Edit::FlipRecord,
    Edit::Drop,
    Edit::Insert,
    Edit::Forge,
    Edit::Swap,
    Edit::MoveAway,
    Edit::FlipCheckpoint,
    Edit::DropCheckpoint,
    Edit::FlipManifest,
    Edit::DropManifestLine,
    Edit::RemoveSegment,
    Edit::CutSegment,
];

impl Edit {
    /// Does it, at a place that the numbers choose. Returns the segment, and the record where it is one's.
    fn make(self, log: &Path, a: usize, b: usize) -> (u64, Option<u64>) {
        let all = segments(log).expect("segments");
        let first = all[a % all.len()];
        let mut own = lines(log, first);
        let k = b % own.len();
        let at = Some(first + k as u64);
        match self {
            Self::FlipRecord => {
                let byte = (b / own.len()) % own[k].len();
                own[k][byte] ^= 1 << (a % 8);
                put(log, first, &own);
            }
            Self::Drop => {
                own.remove(k);
                put(log, first, &own);
            }
            Self::Insert => {
                // A copy before the record is the same file as one behind it.
                let copy = own[a % own.len()].clone();
                let k = if copy == own[k] { k + 1 } else { k };
                own.insert(k, copy);
                put(log, first, &own);
                return (first, Some(first + k as u64));
            }
            Self::Forge => {
                let mut line = format!("{{\"seq\":{},", first + k as u64).into_bytes();
                line.extend_from_slice(&statement(4711));
                line.extend_from_slice(b"}\n");
                own[k] = line;
                put(log, first, &own);
            }
            Self::Swap | Self::MoveAway if own.len() < 2 => return Self::Drop.make(log, a, b),
            Self::Swap => {
                let k = b % (own.len() - 1);
                own.swap(k, k + 1);
                put(log, first, &own);
                return (first, Some(first + k as u64));
            }
            Self::MoveAway => {
                let k = b % (own.len() - 1);
                let line = own.remove(k);
                own.push(line);
                put(log, first, &own);
                return (first, Some(first + k as u64));
            }
            Self::FlipCheckpoint => {
                let path = checkpoints_path(log, first);
                let mut file = fs::read(&path).expect("checkpoints");
                let byte = b % (file.len() - 2);
                file[byte] ^= 1 << (a % 8);
                fs::write(&path, file).expect("write");
                return (first, None);
            }
            Self::DropCheckpoint => {
                let path = checkpoints_path(log, first);
                let file = fs::read(&path).expect("checkpoints");
                let (whole, _) = notes(&file);
                // The log's newest can be missed by nobody who has not kept it.
                let droppable = whole.len() - usize::from(Some(&first) == all.last());
                if droppable == 0 {
                    return Self::FlipCheckpoint.make(log, a, b);
                }
                let dropped = b % droppable;
                let rest = whole.iter().enumerate().filter(|(at, _)| *at != dropped);
                let rest: Vec<u8> = rest.flat_map(|(_, note)| [note, &b"\n"[..]].concat()).collect();
                fs::write(&path, rest).expect("write");
                return (first, None);
            }
            Self::FlipManifest => {
                let path = log.join(MANIFEST);
                let mut file = fs::read(&path).expect("the manifest");
                let byte = b % file.len();
                // Nothing vouches for the time that a segment was finished at.
                let from = file[..byte].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                let closed =
                    memchr::memmem::find(&file[from..], b"\"closed\":\"").map_or(usize::MAX, |at| from + at + 10);
                let byte = if byte >= closed && byte < closed + 27 { from } else { byte };
                file[byte] ^= 1 << (a % 8);
                fs::write(&path, file).expect("write");
                return (first, None);
            }
            Self::DropManifestLine => {
                let path = log.join(MANIFEST);
                let file = fs::read(&path).expect("the manifest");
                let mut of: Vec<&[u8]> = file.split_inclusive(|byte| *byte == b'\n').collect();
                of.remove(b % of.len());
                fs::write(&path, of.concat()).expect("write");
                return (first, None);
            }
            Self::RemoveSegment => {
                fs::remove_file(records_path(log, first)).expect("remove");
                return (first, None);
            }
            Self::CutSegment => {
                let length = own.concat().len();
                let file = fs::OpenOptions::new().write(true).open(records_path(log, first)).expect("open");
                file.set_len((b % length) as u64).expect("cut");
                return (first, None);
            }
        }
        (first, at)
    }

    /// Whether the report says what was done, and where.
    fn is_found(self, report: &Report, (segment, record): (u64, Option<u64>)) -> bool {
        let holds = |finding: &Finding| {
            let in_segment = finding.segment == Some(segment);
            let at_record = record.is_none_or(|record| finding.records.as_ref().is_some_and(|it| it.contains(&record)));
            // One record alone, unless the edit made lines of it, or one of two.
            let is_exact = finding.records.as_ref().is_some_and(|it| it.end - it.start == 1);
            let of_files =
                matches!(finding.what, What::Manifest(_) | What::Checkpoint { .. } | What::TornCheckpoint { .. });
            match self {
                Self::FlipManifest | Self::DropManifestLine => of_files,
                Self::DropCheckpoint | Self::FlipCheckpoint => of_files,
                Self::RemoveSegment => in_segment && finding.what == What::Missing,
                Self::CutSegment => {
                    in_segment && matches!(finding.what, What::Ends { .. } | What::Length { .. } | What::Broken(_))
                }
                Self::Forge => in_segment && at_record && is_exact,
                Self::FlipRecord if report.end == 152 && finding.what == What::Changed => {
                    in_segment && at_record && is_exact
                }
                _ => in_segment && at_record,
            }
        };
        report.findings.iter().any(holds)
    }
}

/// All files of a log that say anything.
fn content(log: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(log)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| (path.file_name().expect("a name").into(), fs::read(&path).expect("a file")))
        .collect();
    files.sort();
    files
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Every edit, anywhere, is found where it is.
    #[test]
    fn an_edit_is_found_and_located(edit in 0..EDITS.len(), a in any::<usize>(), b in any::<usize>()) {
        let (_dir, log) = MASTER.copy();
        let edit = EDITS[edit];
        let place = edit.make(&log, a, b);
        let report = verifier().verify(&log);
        prop_assert!(report.verdict() >= Verdict::Truncated, "{:?}", report);
        prop_assert!(edit.is_found(&report, place), "{:?} at {:?}: {:#?}", edit, place, report.findings);
        // What came before it is not called into question.
        let segment = report.findings.iter().filter_map(|finding| finding.segment).min().unwrap_or(0);
        prop_assert!(report.covered >= segment || report.findings.len() > 1, "{:?}", report);
    }

    /// Whatever several edits leave is another log, and found to be.
    #[test]
    fn several_edits_do_not_hide_each_other(
        edits in proptest::collection::vec((0..EDITS.len(), any::<usize>(), any::<usize>()), 1..4),
    ) {
        let (_dir, log) = MASTER.copy();
        for (edit, a, b) in edits {
            let is_whole = segments(&log).is_ok_and(|all| {
                !all.is_empty() && all.iter().all(|first| {
                    fs::read(checkpoints_path(&log, *first)).is_ok_and(|file| !notes(&file).0.is_empty())
                        && fs::metadata(records_path(&log, *first)).is_ok_and(|file| file.len() > 0)
                })
            });
            if is_whole && fs::metadata(log.join(MANIFEST)).is_ok_and(|file| file.len() > 0) {
                EDITS[edit].make(&log, a, b);
            }
        }
        let verdict = verifier().verify(&log).verdict();
        let is_same = content(&log) == content(&MASTER.log);
        prop_assert_eq!(verdict == Verdict::Intact, is_same, "{:?}", verdict);
    }
}

/// The hashes beside the records name the record that was changed, and cannot be made to name another.
#[test]
fn hashes_beside_the_records_are_believed_only_where_they_were_signed() {
    let (_dir, log) = MASTER.copy();
    let leaves = leaves_path(&log, 0);
    let right = fs::read(&leaves).expect("hashes");
    let mut own = lines(&log, 0);
    assert_eq!(right.len(), own.len() * 32);
    let wrong = |at: usize| {
        let mut wrong = right.clone();
        wrong[at * 32] ^= 1;
        fs::write(&leaves, wrong).expect("write");
    };
    wrong(5);
    assert_eq!(verifier().verify(&log).verdict(), Verdict::Intact);
    let (five, byte) = (own[5].len(), own[5].len() - 4);
    own[5][byte] ^= 1;
    let start: usize = own[..5].iter().map(Vec::len).sum();
    put(&log, 0, &own);
    let found = || verifier().verify(&log).findings;
    let range = found();
    assert!(
        matches!(&range[..], [Finding { what: What::Changed, records: Some(it), .. }] if it.contains(&5) && it.end - it.start > 1)
    );
    // Another record's hash and this one's new one: as if that one had been changed.
    wrong(6);
    assert_eq!(found(), range);
    fs::write(&leaves, &right).expect("write");
    let bytes = start as u64..(start + five) as u64;
    assert_eq!(found(), [What::Changed.at(0, 5..6, bytes.clone())]);
    // What comes behind is compared still.
    own[9][byte] ^= 1;
    own[30][byte] ^= 1;
    put(&log, 0, &own);
    let records: Vec<u64> = found().into_iter().map(|finding| finding.records.expect("records").start).collect();
    assert_eq!(records, [5, 9, 30]);
    fs::remove_file(&leaves).expect("remove");
    assert!(found()[0].records == range[0].records);
}

#[test]
fn a_cut_end_is_truncation_and_an_edit_is_tampering() {
    let (_dir, log) = MASTER.copy();
    let first = *segments(&log).expect("segments").last().expect("one");
    let own = lines(&log, first);
    put(&log, first, &own[..own.len() - 2]);
    let report = verifier().verify(&log);
    let end = 152 - 2;
    let [Finding { what: What::Ends { found: 150, signed: 152 }, records: Some(records), .. }] = &report.findings[..]
    else {
        panic!("{report:?}")
    };
    assert_eq!(*records, end..152);
    assert_eq!(report.verdict(), Verdict::Truncated);
    // Inside a record: the rest of it is told, too.
    let mut torn = own[..own.len() - 1].to_vec();
    torn.push(own[own.len() - 1][..5].to_vec());
    put(&log, first, &torn);
    let report = verifier().verify(&log);
    assert_eq!(report.verdict(), Verdict::Truncated);
    assert!(report.findings.iter().any(|finding| finding.what == What::Torn { bytes: 5 }), "{report:?}");
    // A crash leaves the same behind the newest checkpoint, where nothing signed is missing.
    put(&log, first, &[own.concat(), b"{\"seq\":152,\"v".to_vec()]);
    let report = verifier().verify(&log);
    assert_eq!((report.verdict(), report.findings.len(), report.covered), (Verdict::Truncated, 1, 152));
    // The next process repairs it and says so, and what it says is no damage.
    let config = config::Audit { directory: log.clone(), ..small(Path::new("/")) };
    Stream::open(&config).expect("open").shutdown().expect("shutdown");
    let report = verifier().verify(&log);
    assert_eq!((report.verdict(), report.findings.as_slice()), (Verdict::Gap, &[][..]));
    assert_eq!((report.gaps[0].reason.as_str(), report.gaps[0].bytes), ("torn", 13));
}

#[test]
fn records_that_were_never_signed_are_not_taken_for_long() {
    let (_dir, log) = MASTER.copy();
    let first = *segments(&log).expect("segments").last().expect("one");
    let own = lines(&log, first).concat();
    let more = |seq: u64, time: &str| {
        format!("{{\"seq\":{seq},\"v\":1,\"kind\":\"login\",\"time\":\"{time}\",\"mono\":1}}\n").into_bytes()
    };
    let newest = verifier().verify(&log).newest.expect("a checkpoint").time;
    put(&log, first, &[own.clone(), more(152, &newest)]);
    let report = verifier().verify(&log);
    assert_eq!(
        (report.verdict(), report.end, report.covered, report.ending),
        (Verdict::Intact, 153, 152, Ending::Open)
    );
    put(&log, first, &[own.clone(), more(152, "2099-01-01T00:00:00.000000Z")]);
    assert!(matches!(verifier().verify(&log).findings[0].what, What::Unsigned { .. }));
    // Of these the form is held against them.
    put(&log, first, &[own.clone(), more(153, &newest)]);
    assert_eq!(verifier().verify(&log).findings[0].what, What::Dropped { missing: 1 });
    put(&log, first, &[own, more(152, &newest).replace_first(b"\"mono\":1", b"\"mono\":")]);
    assert_eq!(verifier().verify(&log).findings[0].what, What::Broken("it is not JSON".to_owned()));
}

trait ReplaceFirst {
    fn replace_first(self, from: &[u8], to: &[u8]) -> Self;
}

impl ReplaceFirst for Vec<u8> {
    fn replace_first(mut self, from: &[u8], to: &[u8]) -> Self {
        let at = memchr::memmem::find(&self, from).expect("it is there");
        self.splice(at..at + from.len(), to.iter().copied());
        self
    }
}

#[test]
fn a_kept_checkpoint_shows_a_log_that_was_rolled_back_or_written_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = small(dir.path());
    write(&config, 60);
    let earlier = dir.path().join("earlier");
    copy(&config.directory, &earlier);
    write(&config, 20);
    let kept = kept(&config.directory);
    let with = |kept: &[Kept]| Verifier { kept: kept.to_vec(), ..verifier() };
    assert_eq!(with(&kept).verify(&config.directory).verdict(), Verdict::Intact);
    // An earlier state is a whole log, for whoever kept nothing.
    assert_eq!(verifier().verify(&earlier).verdict(), Verdict::Intact);
    let report = with(&kept).verify(&earlier);
    assert_eq!(report.verdict(), Verdict::Truncated);
    assert!(report.findings.iter().all(|finding| matches!(finding.what, What::RolledBack { size, .. } if size > 62)));
    // So is one that was written again with the same key.
    fs::remove_dir_all(&config.directory).expect("remove");
    write(&config, 120);
    assert_eq!(verifier().verify(&config.directory).verdict(), Verdict::Intact);
    let report = with(&kept).verify(&config.directory);
    assert_eq!(report.verdict(), Verdict::Tampered);
    assert!(matches!(report.findings[0].what, What::Rewritten { .. }), "{report:?}");
    assert!(Kept::read("kept", b"nothing", &[public(1)], None).is_err());
}

#[test]
fn a_log_is_verified_while_it_is_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = small(dir.path());
    let stream = Stream::open(&config).expect("open");
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 0..3000 {
                while stream.append(&statement(number)).is_err() {
                    std::thread::yield_now();
                }
                if number % 20 == 0 {
                    std::thread::sleep(Duration::from_micros(300));
                }
            }
        });
        let mut rounds = 0;
        while !writer.is_finished() || rounds < 3 {
            let report = verifier().verify(&config.directory);
            assert_eq!((report.verdict(), report.findings.as_slice()), (Verdict::Intact, &[][..]));
            rounds += 1;
        }
    });
    stream.shutdown().expect("shutdown");
    assert_eq!(verifier().verify(&config.directory).end, 3002);
}

#[test]
fn deleted_segments_are_missed_unless_a_record_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let config =
        config::Audit { retention_size: Some(20 << 10), shipped: config::Shipped::Unneeded, ..small(dir.path()) };
    let stream = Stream::open(&config).expect("open");
    for number in 0..250 {
        let seq = stream.append(&statement(number)).expect("append");
        while !stream.is_settled(seq) {
            std::thread::yield_now();
        }
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while segments(&config.directory).expect("segments")[0] == 0 {
        assert!(std::time::Instant::now() < deadline, "nothing was deleted");
        std::thread::sleep(Duration::from_millis(20));
    }
    stream.shutdown().expect("shutdown");
    let report = verifier().verify(&config.directory);
    assert_eq!((&report.findings[..], &report.gaps[..]), (&[][..], &[][..]));
    assert!(report.deleted >= 1 && report.first > 0, "{report:?}");
    // Proofs do not need what is gone.
    let tree = Tree::read(&config.directory, None, 2).expect("a tree");
    for seq in [report.first, report.first + 1, 200, report.covered - 1] {
        tree.prove(seq).expect("a proof").verify(&[public(1)]).expect("verified");
    }
    assert!(matches!(tree.prove(0), Err(ProveError::Deleted { .. })));
    // More of them, by somebody else.
    let all = segments(&config.directory).expect("segments");
    let (_, oldest) = all.split_last().expect("one");
    oldest.iter().for_each(|first| fs::remove_file(records_path(&config.directory, *first)).expect("remove"));
    let missing = oldest.last().expect("one more");
    let report = verifier().verify(&config.directory);
    assert!(report.findings.contains(&What::Missing.of_segment(*missing)), "{report:?}");
}

/// A crash between the removal of a segment's records and that of all its checkpoints but the last.
#[test]
fn a_deletion_that_was_not_finished_is_one() {
    let dir = tempfile::tempdir().expect("a directory");
    write(&small(dir.path()), 150);
    let config = config::Audit {
        retention_size: Some(10 << 10),
        shipped: config::Shipped::Unneeded,
        checkpoint_interval: Duration::from_millis(50),
        ..small(dir.path())
    };
    let all = segments(&config.directory).expect("segments");
    let before: Vec<Vec<u8>> =
        all.iter().map(|first| fs::read(checkpoints_path(&config.directory, *first)).expect("checkpoints")).collect();
    let stream = Stream::open(&config).expect("open");
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while segments(&config.directory).expect("segments").contains(&all[0]) {
        assert!(std::time::Instant::now() < deadline, "nothing was deleted");
        std::thread::sleep(Duration::from_millis(20));
    }
    stream.shutdown().expect("shutdown");
    let left = segments(&config.directory).expect("segments");
    for (first, checkpoints) in all.iter().zip(before).filter(|(first, _)| !left.contains(first)) {
        let path = checkpoints_path(&config.directory, *first);
        assert!(notes(&checkpoints).0.len() > 1 && notes(&fs::read(&path).expect("checkpoints")).0.len() == 1);
        fs::write(&path, checkpoints).expect("checkpoints");
    }
    let intact = || {
        let report = verifier().verify(&config.directory);
        assert_eq!((report.verdict(), report.findings.as_slice()), (Verdict::Intact, &[][..]));
    };
    intact();
    Stream::open(&config).expect("open").shutdown().expect("shutdown");
    intact();
}

#[test]
fn another_key_signs_only_where_records_say_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = small(dir.path());
    write(&config, 15);
    let next = config::Audit { next_key: Some(key(2).to_text()), ..config.clone() };
    write(&next, 15);
    let both = Verifier { keys: vec![public(1), public(2)], ..verifier() };
    assert_eq!(both.verify(&config.directory).verdict(), Verdict::Intact);
    assert_eq!(verifier().verify(&config.directory).verdict(), Verdict::Tampered);
    // The old key's holder goes on with it.
    let first = *segments(&config.directory).expect("segments").last().expect("one");
    let path = checkpoints_path(&config.directory, first);
    let file = fs::read(&path).expect("checkpoints");
    let (whole, _) = notes(&file);
    let (last, rest) = whole.split_last().expect("some");
    let (checkpoint, _) = crate::chain::Checkpoint::from_note(last).expect("a checkpoint");
    let forged = crate::chain::Note::sign(checkpoint.to_string(), &[&key(1)]).expect("a note").to_string();
    let rest: Vec<u8> = rest.iter().flat_map(|note| [note, &b"\n"[..]].concat()).collect();
    fs::write(&path, [rest, format!("{forged}\n").into_bytes()].concat()).expect("write");
    let report = both.verify(&config.directory);
    assert!(
        matches!(&report.findings[0].what, What::Checkpoint { why, .. } if why.contains("is not signed by key")),
        "{report:?}"
    );
}

/// Proofs of every record, checked by other people's code.
#[test]
fn other_implementations_verify_our_proofs() {
    use signed_note::{Note, StandardVerifier, VerifierList};
    let tree = Tree::read(&MASTER.log, None, 2).expect("a tree");
    for seq in 0..152 {
        let text = tree.prove(seq).expect("a proof").to_string();
        let mut lines = text.lines().skip(3);
        let hash = |line: &str| tlog::Hash(line.parse::<crate::chain::Hash>().expect("a hash").0);
        let path: Vec<tlog::Hash> = lines.by_ref().take_while(|line| !line.is_empty()).map(hash).collect();
        let note = text.split_once("\n\n").expect("a checkpoint").1;
        let note = Note::from_bytes(note.as_bytes()).expect("their note");
        let verifier = StandardVerifier::new(&public(1).to_string()).expect("their verifier");
        note.verify(&VerifierList::new(vec![Box::new(verifier)])).expect("verified");
        let checkpoint = tlog_tiles::Checkpoint::from_bytes(note.text()).expect("their checkpoint");
        let leaf = tlog::record_hash(&RecordProof::parse(&text).expect("a proof").record);
        tlog::check_record(&path, checkpoint.size(), *checkpoint.hash(), seq, leaf).expect("in the log");
    }
    assert!(matches!(tree.prove(152), Err(ProveError::Uncovered { .. })));
    let older = kept(&MASTER.log)[3].clone();
    let note = notes_of(&MASTER.log).into_iter().find(|note| note.contains(&format!("\n{}\n", older.size)));
    let tree = Tree::read(&MASTER.log, note.as_deref(), 1).expect("a tree");
    assert_eq!(tree.prove(3).expect("a proof").verify(&[public(1)]).expect("verified").size, older.size);
}

fn notes_of(log: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for first in segments(log).expect("segments") {
        let file = fs::read(checkpoints_path(log, first)).expect("checkpoints");
        all.extend(notes(&file).0.iter().map(|note| String::from_utf8_lossy(note).into_owned()));
    }
    all
}

#[test]
fn an_export_has_a_tenants_records_proven_and_nobody_elses() {
    let tree = Tree::read(&MASTER.log, None, 2).expect("a tree");
    let mut file = Vec::new();
    assert_eq!(export(&tree, "lumen", &mut file).expect("an export"), 50);
    let text = String::from_utf8(file.clone()).expect("UTF-8");
    assert!(!text.contains("harbor") && !text.contains("quill") && text.contains("lumen"));
    let keys = [public(1)];
    let exported = verify_export(file.as_slice(), &keys).expect("it holds");
    assert_eq!((exported.tenant.as_str(), exported.records, exported.checkpoint.size), ("lumen", 50, 152));
    assert!(matches!(verify_export(file.as_slice(), &[public(2)]), Err(NotProven::Checkpoint(_))));
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let verify = |lines: &[&str]| verify_export(lines.concat().as_bytes(), &keys).map(|exported| exported.records);
    assert!(matches!(verify(&lines[..20]), Err(NotProven::Cut { found: 19 })));
    assert!(matches!(verify(&[&lines[..20], &lines[21..]].concat()), Err(NotProven::Count { found: 49, said: 50 })));
    assert!(matches!(verify(&[&lines[..20], &lines[19..]].concat()), Err(NotProven::Order { .. })));
    assert!(matches!(verify(&[&lines[..], &["{}\n"]].concat()), Err(NotProven::Form(_))));
    let forged = lines[20].replace("SELECT", "DELETE");
    assert!(matches!(
        verify(&[&lines[..20], &[&forged], &lines[21..]].concat()),
        Err(NotProven::Record { line: 21, .. })
    ));
    // Somebody else's record, proven, is not this tenant's.
    let mut other = Vec::new();
    export(&tree, "harbor", &mut other).expect("an export");
    let other = String::from_utf8(other).expect("UTF-8");
    let theirs = other.lines().nth(1).expect("a record").to_owned() + "\n";
    assert!(matches!(verify(&[lines[0], &theirs]), Err(NotProven::Tenant { .. })));
}

#[test]
fn lines_are_followed_across_segments() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = small(dir.path());
    let stream = Stream::open(&config).expect("open");
    let mut lines = Lines::of(&config.directory);
    let mut next = 0;
    for number in 0..200 {
        stream.append(&statement(number)).expect("append");
        if number % 7 == 0 {
            while let Some(line) = lines.next_line().expect("read") {
                assert_eq!(scan::seq(line), Some(next));
                next += 1;
            }
        }
    }
    stream.shutdown().expect("shutdown");
    while let Some(line) = lines.next_line().expect("read") {
        assert_eq!(scan::seq(line), Some(next));
        next += 1;
    }
    assert_eq!(next, 202);
    let mut later = Lines::from(&config.directory, 150).expect("open");
    let first = later.segment().expect("a segment");
    assert!(first > 0 && first <= 150);
    assert_eq!(scan::seq(later.next_line().expect("read").expect("a line")), Some(first));
}

#[test]
fn stats_count_what_is_there() {
    let stats = Stats::read(&MASTER.log).expect("read");
    assert_eq!((stats.records, stats.broken, stats.kinds["statement"]), (152, 0, 150));
    assert_eq!(stats.tenants.by_name["harbor"], 50);
    assert_eq!(stats.earliest.as_deref(), Some("2026-01-01T00:00:00.000000Z"));
    let sizes: BTreeSet<u64> = stats.segments.iter().map(|segment| segment.first).collect();
    assert_eq!(sizes, segments(&MASTER.log).expect("segments").into_iter().collect());
    assert_eq!(stats.segments.iter().map(|segment| segment.records).sum::<u64>(), 152);
}

#[test]
fn a_read_is_recorded_once_whether_the_log_is_open_or_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = small(dir.path());
    write(&config, 3);
    Announcement::new("cat", "--tenant harbor\n\u{202e} 4111 1111 1111 1111")
        .leave(&config.directory)
        .expect("announced");
    let stream = Stream::open(&config).expect("open");
    Announcement::new("stats", "").leave(&config.directory).expect("announced");
    fs::write(config.directory.join("reads/0-forged.read"), "{").expect("write");
    let waiting = || fs::read_dir(config.directory.join("reads")).expect("a directory").count();
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    // Records count as on disk when a checkpoint says so; more of them make one.
    let mut number = 0;
    while waiting() > 0 {
        assert!(std::time::Instant::now() < deadline, "announcements were not taken");
        stream.append(&statement(number)).expect("append");
        number += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    stream.shutdown().expect("shutdown");
    let filter = Filter { kinds: vec!["read".to_owned()], ..Filter::default() };
    let (mut lines, mut selection, mut reads) = (Lines::of(&config.directory), filter.selection(), Vec::new());
    while let Some(line) = lines.next_line().expect("read") {
        reads.extend(selection.take(line).expect("JSON"));
    }
    reads.sort_by_key(|read| read["command"].to_string());
    assert_eq!(reads.len(), 3, "{reads:?}");
    assert_eq!(
        (&reads[0]["command"], &reads[0]["arguments"]),
        (&"cat".into(), &"--tenant harbor\u{fffd}\u{fffd} [card]".into())
    );
    assert_eq!((&reads[1]["command"], &reads[2]["id"]), (&"stats".into(), &"0-forged".into()));
    assert_eq!(verifier().verify(&config.directory).verdict(), Verdict::Intact);
    // A log that nobody can write to is not read.
    assert!(Announcement::new("cat", "").leave(&config.directory.join("manifest.jsonl")).is_err());
}
