//! A log in a directory of its own: written, read again as a stranger would, closed, damaged, opened.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::segment::{self, Finished, checkpoints_path, records_path, segments};
use super::*;
use crate::chain::{Checkpoint, Frontier, Note, SigningKey, leaf_hash, notes};
use crate::config::{self, CopyTo, Durability, OnFailure, Shipped, Values};
use crate::record::{Forwarded, Head, Message, Verdict};

pub(super) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed("example.com/audit", [seed; 32]).expect("a key")
}

pub(super) fn config(directory: &Path) -> config::Audit {
    config::Audit {
        directory: directory.join("log"),
        origin: None,
        durability: Durability::Group,
        on_failure: OnFailure::Block,
        key: key(1).to_text(),
        next_key: None,
        segment_size: 256 << 20,
        segment_age: Duration::ZERO,
        retention_age: Duration::ZERO,
        retention_size: None,
        shipped: Shipped::Marker,
        checkpoint_interval: Duration::from_millis(20),
        checkpoint_records: 1000,
        sinks: Vec::new(),
        sinks_ca: None,
        checkpoint_copies: Vec::new(),
        queue_size: 1 << 20,
        parameters: Values::Omit,
        columns: Default::default(),
        hash_key: None,
        raw_text_keys: None,
    }
}

const STATEMENT: &[u8] = b"\"v\":1,\"kind\":\"statement\"";

/// Waits for something that is about to become true.
fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    for _ in 0..5_000 {
        if is_true() {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("not within ten seconds: {what}");
}

/// What a log holds, checked record by record against every checkpoint.
struct Seen {
    records: Vec<Value>,
    checkpoints: Vec<(Checkpoint, Note)>,
}

impl Seen {
    fn kinds(&self) -> Vec<&str> {
        self.records.iter().map(|record| record["kind"].as_str().expect("a kind")).collect()
    }

    fn count(&self, kind: &str) -> usize {
        self.kinds().iter().filter(|other| **other == kind).count()
    }

    fn last(&self) -> &Checkpoint {
        &self.checkpoints.last().expect("a checkpoint").0
    }
}

/// Reads a whole log that has all its segments.
fn see(directory: &Path, keys: &[&SigningKey]) -> Seen {
    let mut seen = Seen { records: Vec::new(), checkpoints: Vec::new() };
    let mut frontier = Frontier::new();
    let mut roots = vec![frontier.root()];
    for first in segments(directory).expect("segments") {
        assert_eq!(first, frontier.size(), "segments follow each other");
        let text = fs::read_to_string(records_path(directory, first)).expect("UTF-8");
        assert!(text.is_empty() || text.ends_with('\n'));
        for line in text.lines() {
            let record: Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(record["seq"], frontier.size());
            frontier.append(leaf_hash(line.as_bytes()));
            roots.push(frontier.root());
            seen.records.push(record);
        }
        let file = fs::read(checkpoints_path(directory, first)).expect("checkpoints");
        let (whole, torn) = notes(&file);
        assert_eq!(torn, b"");
        seen.checkpoints.extend(whole.iter().map(|note| Checkpoint::from_note(note).expect("a checkpoint")));
    }
    let public: Vec<_> = keys.iter().map(|key| key.public().clone()).collect();
    let mut previous = None;
    for (checkpoint, note) in &seen.checkpoints {
        note.verify(&public).expect("a signature");
        assert_eq!(checkpoint.root, roots[checkpoint.size as usize]);
        assert_eq!(checkpoint.previous, previous);
        previous = Some((checkpoint.size, checkpoint.root));
    }
    seen
}

#[test]
fn a_log_begins_goes_on_and_is_signed_to_its_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(dir.path());
    for round in 0..3u64 {
        let stream = Stream::open(&config).expect("open");
        assert_eq!(stream.state(), State::Writing);
        let first = stream.append(STATEMENT).expect("append");
        assert_eq!(first, 1 + round * 12);
        for i in 1..10 {
            assert_eq!(stream.append(STATEMENT), Ok(first + i));
        }
        let last = first + 9;
        until("settled", || stream.is_settled(last));
        stream.clone().shutdown().expect("shutdown");
        assert_eq!(stream.append(STATEMENT), Err(NotWritable::Closed));
        let figures = stream.figures();
        assert_eq!((figures.appended, figures.synced, figures.covered), (last + 2, last + 2, last + 2));
        assert!(figures.checkpoints >= 2 && figures.bytes > 0 && figures.groups.iter().sum::<u64>() >= 2);
    }
    let seen = see(&config.directory, &[&key(1)]);
    assert_eq!((seen.records.len(), seen.last().size), (36, 36));
    assert_eq!((seen.count("start"), seen.count("stop"), seen.count("statement")), (3, 3, 30));
    assert!(seen.records.iter().filter(|record| record["kind"] == "start").all(|record| record["clean"] == true));
}

#[test]
fn one_process_at_a_time_writes_a_log_with_private_files() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(dir.path());
    let stream = Stream::open(&config).expect("open");
    assert!(matches!(Stream::open(&config), Err(OpenError::Locked(_))));
    stream.shutdown().expect("shutdown");
    let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    assert_eq!(mode(&config.directory), 0o700);
    for entry in fs::read_dir(&config.directory).expect("entries") {
        let path = entry.expect("an entry").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    Stream::open(&config).expect("open again").shutdown().expect("shutdown");
}

#[test]
fn segments_end_at_their_size_and_the_tree_goes_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config::Audit { segment_size: 2000, ..config(dir.path()) };
    let stream = Stream::open(&config).expect("open");
    for _ in 0..500 {
        stream.append(STATEMENT).expect("append");
    }
    stream.shutdown().expect("shutdown");
    let seen = see(&config.directory, &[&key(1)]);
    assert_eq!(seen.records.len(), 502);
    let text = fs::read_to_string(config.directory.join(segment::MANIFEST)).expect("a manifest");
    let lines: Vec<Finished> = text.lines().map(|line| serde_json::from_str(line).expect("a line")).collect();
    assert!(lines.len() > 5);
    let mut end = 0;
    for line in &lines {
        assert_eq!(line.first, end);
        let bytes = fs::read(records_path(&config.directory, line.first)).expect("a segment");
        assert_eq!(line.bytes, bytes.len() as u64);
        assert!((2000..2100).contains(&bytes.len()), "{}", bytes.len());
        let signed = |c: &(Checkpoint, Note)| (c.0.size, c.0.root.to_string()) == (line.end(), line.root.clone());
        assert!(seen.checkpoints.iter().any(signed), "a checkpoint at the segment's end");
        assert!(line.frontier().is_some());
        end = line.end();
    }
    // A process that goes on in the middle of a segment counts all of its file.
    let stream = Stream::open(&config).expect("open");
    for _ in 0..100 {
        stream.append(STATEMENT).expect("append");
    }
    stream.shutdown().expect("shutdown");
    let text = fs::read_to_string(config.directory.join(segment::MANIFEST)).expect("a manifest");
    let line: Finished = serde_json::from_str(text.lines().nth(lines.len()).expect("another")).expect("a line");
    let bytes = fs::read(records_path(&config.directory, line.first)).expect("a segment");
    assert_eq!(line.bytes, bytes.len() as u64);
    assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count() as u64, line.records);
    see(&config.directory, &[&key(1)]);
}

#[test]
fn a_segment_ends_at_its_age() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config::Audit { segment_age: Duration::from_millis(10), ..config(dir.path()) };
    let stream = Stream::open(&config).expect("open");
    until("another segment", || stream.figures().segments > 1);
    stream.append(STATEMENT).expect("append");
    stream.shutdown().expect("shutdown");
    assert!(segments(&config.directory).expect("segments").len() > 1);
    see(&config.directory, &[&key(1)]);
}

#[test]
fn a_torn_end_is_cut_kept_and_recorded() {
    for torn in
        ["{\"seq\":5,\"v\":1,\"ki", "{\"seq\":6}\n", "\0\0\0\0\n\0\0", "not json\n{\"seq\":6}\n", "{\"seq\":5,]\n"]
    {
        let dir = tempfile::tempdir().expect("a directory");
        let config = config(dir.path());
        let stream = Stream::open(&config).expect("open");
        for _ in 0..3 {
            stream.append(STATEMENT).expect("append");
        }
        stream.shutdown().expect("shutdown");
        let path = records_path(&config.directory, 0);
        let whole = fs::read(&path).expect("records");
        fs::write(&path, [&whole, torn.as_bytes()].concat()).expect("a torn end");
        let stream = Stream::open(&config).expect("open");
        stream.shutdown().expect("shutdown");
        let seen = see(&config.directory, &[&key(1)]);
        assert_eq!(seen.kinds()[4..], ["stop", "start", "gap", "stop"], "{torn:?}");
        assert_eq!((&seen.records[5]["clean"], &seen.records[6]["bytes"]), (&false.into(), &torn.len().into()));
        let kept = config.directory.join(seen.records[6]["file"].as_str().expect("a file"));
        assert_eq!(fs::read(kept).expect("the cut end"), torn.as_bytes());
    }
}

#[test]
fn whole_records_after_the_last_checkpoint_are_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(dir.path());
    Stream::open(&config).expect("open").shutdown().expect("shutdown");
    let path = records_path(&config.directory, 0);
    let whole = fs::read_to_string(&path).expect("records");
    fs::write(&path, format!("{whole}{{\"seq\":2,\"kind\":\"statement\"}}\n")).expect("one more");
    Stream::open(&config).expect("open").shutdown().expect("shutdown");
    let seen = see(&config.directory, &[&key(1)]);
    assert_eq!(seen.kinds(), ["start", "stop", "statement", "start", "stop"]);
    assert_eq!(seen.records[3]["clean"], false);
}

/// A log of several segments, closed.
fn closed_log(dir: &Path) -> config::Audit {
    let config = config::Audit { segment_size: 2000, ..config(dir) };
    let stream = Stream::open(&config).expect("open");
    for _ in 0..120 {
        stream.append(STATEMENT).expect("append");
    }
    stream.shutdown().expect("shutdown");
    config
}

#[test]
fn a_log_that_is_not_whole_is_not_opened() {
    type Damage = fn(&Path, u64, u64);
    let damages: [(&str, Damage, &str); 10] = [
        ("a record cut", |d, live, _| cut_lines(&records_path(d, live), 1), "records are missing"),
        ("all records cut", |d, live, _| fs::write(records_path(d, live), "").expect("write"), "records are missing"),
        ("a byte flipped", |d, live, _| flip(&records_path(d, live), 30), "they were changed"),
        ("a root changed", |d, live, _| flip_last_root(&checkpoints_path(d, live)), "does not hold"),
        ("the live file gone", |d, live, _| fs::remove_file(records_path(d, live)).expect("remove"), "are missing"),
        ("a segment gone", |d, _, middle| fs::remove_file(records_path(d, middle)).expect("remove"), "missing between"),
        ("a segment longer", |d, _, middle| append_line(&records_path(d, middle)), "bytes, not"),
        ("the manifest gone", |d, _, _| fs::remove_file(d.join(segment::MANIFEST)).expect("remove"), "is not in"),
        ("the manifest changed", |d, _, _| flip(&d.join(segment::MANIFEST), 40), "manifest"),
        ("another segment", |d, _, _| fs::write(records_path(d, 7), "{}\n").expect("write"), "segment 7 is not in"),
    ];
    for (what, damage, said) in damages {
        let dir = tempfile::tempdir().expect("a directory");
        let config = closed_log(dir.path());
        let firsts = segments(&config.directory).expect("segments");
        damage(&config.directory, *firsts.last().expect("a segment"), firsts[1]);
        let before = contents(&config.directory);
        let error = Stream::open(&config).expect_err(what).to_string();
        assert!(error.contains(said), "{what}: {error}");
        assert_eq!(contents(&config.directory), before, "{what}: nothing is changed");
    }
}

/// In the newest checkpoint: there may be several.
fn flip_last_root(path: &Path) {
    let file = fs::read(path).expect("notes");
    let last = notes(&file).0.last().expect("a note").len();
    flip(path, file.len() - last - 1 + 30);
}

fn cut_lines(path: &Path, count: usize) {
    let text = fs::read_to_string(path).expect("text");
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    fs::write(path, lines[..lines.len() - count].concat()).expect("write");
}

fn append_line(path: &Path) {
    let whole = fs::read_to_string(path).expect("text");
    fs::write(path, format!("{whole}{{}}\n")).expect("write");
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("bytes");
    bytes[at] ^= 1;
    fs::write(path, bytes).expect("write");
}

fn contents(directory: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(directory).expect("entries").map(|entry| entry.expect("an entry").path());
    let mut all: Vec<_> = entries
        .filter(|path| !path.ends_with(segment::LOCK))
        .map(|path| (path.clone(), fs::read(&path).expect("bytes")))
        .collect();
    all.sort();
    all
}

#[test]
fn keys_change_with_both_signatures_and_an_unknown_key_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let old = config(dir.path());
    Stream::open(&old).expect("open").shutdown().expect("shutdown");
    let both = config::Audit { next_key: Some(key(2).to_text()), ..old.clone() };
    for _ in 0..2 {
        Stream::open(&both).expect("open").shutdown().expect("shutdown");
    }
    let new = config::Audit { key: key(2).to_text(), ..old.clone() };
    Stream::open(&new).expect("open").shutdown().expect("shutdown");
    assert!(matches!(Stream::open(&old), Err(OpenError::OtherKey(id)) if id == key(2).public().id()));
    let other = config::Audit { key: key(3).to_text(), ..old.clone() };
    assert!(matches!(Stream::open(&other), Err(OpenError::OtherKey(_))));
    let renamed = config::Audit { origin: Some("another".into()), ..new };
    assert!(matches!(Stream::open(&renamed), Err(OpenError::Origin { .. })));

    let seen = see(&old.directory, &[&key(1), &key(2)]);
    assert_eq!(seen.count("key_change"), 1);
    let change = seen.records.iter().position(|record| record["kind"] == "key_change").expect("a record") as u64;
    assert_eq!(seen.records[change as usize]["new_public_key"], key(2).public().to_string());
    for (checkpoint, note) in &seen.checkpoints {
        let by: Vec<_> = note.signatures().iter().map(|signature| signature.id).collect();
        let after = seen.checkpoints.iter().find(|(c, _)| c.size > change).expect("one").0.size;
        let expected = match checkpoint.size {
            size if size <= change => vec![key(1).public().id()],
            size if size == after => vec![key(1).public().id(), key(2).public().id()],
            _ => vec![key(2).public().id()],
        };
        assert_eq!(by, expected, "checkpoint {}", checkpoint.size);
    }
}

#[test]
fn only_shipped_segments_are_deleted_and_the_log_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = closed_log(dir.path());
    let firsts = segments(&config.directory).expect("segments");
    let config = config::Audit { retention_size: Some(2100), ..config };
    let stream = Stream::open(&config).expect("open");
    until("a look", || stream.figures().unshipped > 0);
    assert_eq!(segments(&config.directory).expect("segments"), firsts);
    stream.clone().shutdown().expect("shutdown");

    fs::write(config.directory.join(segment::SHIPPED), format!("{}\n", firsts[2])).expect("a marker");
    let stream = Stream::open(&config).expect("open");
    until("two segments gone", || segments(&config.directory).expect("segments")[0] == firsts[2]);
    stream.shutdown().expect("shutdown");
    let kept = fs::read(checkpoints_path(&config.directory, 0)).expect("checkpoints");
    let (whole, _) = notes(&kept);
    assert_eq!(whole.len(), 1, "the last checkpoint of a deleted segment is kept");
    let last = Checkpoint::from_note(whole[0]).expect("a checkpoint").0;
    assert_eq!(last.size, firsts[1]);

    // What is left opens, and its tree goes on.
    Stream::open(&config).expect("open").shutdown().expect("shutdown");
    let newest = records_path(&config.directory, *segments(&config.directory).expect("segments").last().expect("one"));
    assert!(newest.exists());
    let mut deleted = Vec::new();
    for first in segments(&config.directory).expect("segments") {
        let text = fs::read_to_string(records_path(&config.directory, first)).expect("text");
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        deleted.extend(records.filter(|r| r["kind"] == "segment_deleted").map(|r| r["first"].as_u64()));
    }
    assert_eq!(deleted, [Some(firsts[0]), Some(firsts[1])]);
}

#[test]
fn a_record_stays_one_line_and_a_panic_leaves_none() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(dir.path());
    let stream = Stream::open(&config).expect("open");
    let forged = b"\"kind\":\n\"x\"\n\n";
    let seq = stream.append(forged).expect("append");
    let audit = Audit::new(Some((stream.clone(), &config)));
    let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        audit.note(tokio::time::Instant::now(), |out, _| {
            out.extend_from_slice(b"half a rec");
            panic!("a bug in an encoder");
        })
    }));
    assert!(died.is_err());
    assert_eq!(audit.note(tokio::time::Instant::now(), |out, _| out.extend_from_slice(STATEMENT)), Some(seq + 1));
    stream.shutdown().expect("shutdown");
    assert_eq!(see(&config.directory, &[&key(1)]).kinds(), ["start", "x", "statement", "stop"]);
}

fn opened(audit: &Audit) -> Ticket {
    let who = Rc::new(Who::new(&record::Person { session: 7, user: "alice", ..Default::default() }));
    let head = Head::new(&who, "db");
    let (message, verdict) = (Message::Query, Verdict::Allow);
    let forwarded = Forwarded { n: 1, message, verdict, policy: 1, backend: 1, text: None };
    let intent = Intent { who: &who, head: &head, forwarded, words: None, kept: None, parameters: None };
    audit.open(&intent, true, tokio::time::Instant::now()).expect("taken")
}

fn closed(ticket: Ticket) -> Recorded {
    ticket.close(Outcome::Completed, &Answer { rows: 3, ..Answer::default() }, tokio::time::Instant::now()).1
}

/// In whatever order and however late: every statement has one outcome, in its record or in a later one.
#[test]
fn a_statement_has_its_outcome_in_its_record_or_behind_it() {
    for durability in [Durability::Strict, Durability::Group, Durability::Relaxed] {
        let dir = tempfile::tempdir().expect("a directory");
        let config = config::Audit { durability, ..config(dir.path()) };
        let stream = Stream::open(&config).expect("open");
        let audit = Audit::new(Some((stream.clone(), &config)));
        let (mut late, mut in_time) = (Vec::new(), 0);
        for round in 0..200 {
            let (first, second, third) = (opened(&audit), opened(&audit), opened(&audit));
            let seq = first.open.as_ref().map(|open| open.seq).expect("there is a log");
            let Recorded::Taken(ended) = closed(first) else { panic!("there is room") };
            in_time += u32::from(ended == seq);
            drop(third);
            if round % 50 == 0 {
                let seq = second.open.as_ref().map(|open| open.seq).expect("there is a log");
                until("it is written", || stream.figures().written > seq && audit.is_settled(seq));
                let Recorded::Taken(ended) = closed(second) else { panic!("there is room") };
                assert!(ended > seq + 1, "it was written before");
                late.push(seq);
            } else {
                closed(second);
            }
        }
        stream.shutdown().expect("shutdown");
        let seen = see(&config.directory, &[&key(1)]);
        let mut outcomes: BTreeMap<u64, &Value> = BTreeMap::new();
        for record in seen.records.iter().filter(|record| record["outcome"].is_string()) {
            let of = record["of"].as_u64().or_else(|| record["seq"].as_u64()).expect("a number");
            assert_eq!(record["kind"], if record["of"].is_u64() { "outcome" } else { "statement" });
            assert!(outcomes.insert(of, record).is_none(), "twice: {record}");
        }
        for (number, statement) in seen.records.iter().filter(|record| record["kind"] == "statement").enumerate() {
            let seq = statement["seq"].as_u64().expect("a number");
            let outcome = outcomes[&seq];
            let expected = if number % 3 == 2 { "abandoned" } else { "completed" };
            assert_eq!(outcome["outcome"], expected, "{statement} {outcome}");
            assert_eq!(outcome["rows"].as_u64(), (expected == "completed").then_some(3));
            assert!(!late.contains(&seq) || outcome["of"] == seq);
        }
        assert_eq!(outcomes.len(), 600);
        // Where nobody waits, nearly all; else what ends during a write.
        assert!(in_time > if durability == Durability::Strict { 0 } else { 150 }, "{in_time} with {durability:?}");
    }
}

#[test]
fn in_strict_a_client_waits_for_the_record_that_has_the_outcome() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config::Audit { durability: Durability::Strict, ..config(dir.path()) };
    let stream = Stream::open(&config).expect("open");
    let audit = Audit::new(Some((stream.clone(), &config)));
    let seq = stream.stalled(|| {
        let Recorded::Taken(seq) = closed(opened(&audit)) else { panic!("there is room") };
        assert!(!audit.is_settled(seq), "the writer stands still");
        seq
    });
    until("it is on disk", || audit.is_settled(seq));
    stream.shutdown().expect("shutdown");
    let records = see(&config.directory, &[&key(1)]).records;
    let record = &records[usize::try_from(seq).expect("small")];
    assert_eq!((&record["kind"], &record["outcome"]), (&"statement".into(), &"completed".into()));
}

#[test]
fn an_outcome_that_finds_no_room_in_its_record_is_lost_and_counted() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config::Audit { queue_size: 64 << 10, ..config(dir.path()) };
    let stream = Stream::open(&config).expect("open");
    let audit = Audit::new(Some((stream.clone(), &config)));
    let (kept, lost) = stream.stalled(|| {
        let (first, second) = (opened(&audit), opened(&audit));
        let kept = closed(first);
        while stream.append_outcome(STATEMENT).is_ok() {}
        (kept, closed(second))
    });
    assert!(matches!(kept, Recorded::Taken(_)) && lost == Recorded::Lost, "{kept:?} {lost:?}");
    stream.clone().shutdown().expect("shutdown");
    assert_eq!(stream.figures().lost, 2);
    let seen = see(&config.directory, &[&key(1)]);
    let gaps: u64 = seen.records.iter().filter_map(|record| record["lost"].as_u64()).sum();
    assert_eq!((gaps, seen.records.iter().filter(|record| record["outcome"] == "completed").count()), (2, 1));
}

#[test]
fn nothing_that_clients_can_repeat_takes_the_room_of_outcomes() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config::Audit { queue_size: 64 << 10, ..config(dir.path()) };
    let stream = Stream::open(&config).expect("open");
    let long = [STATEMENT, b",\"text\":\"", &[b'x'; 1000], b"\""].concat();
    let (statements, events, outcomes) = stream.stalled(|| {
        let fill = |append: &dyn Fn() -> Result<u64, NotWritable>| (0..10_000).take_while(|_| append().is_ok()).count();
        let statements = fill(&|| stream.append(&long));
        assert!(!stream.is_writable());
        let events = fill(&|| stream.append_event(&long));
        assert!(stream.append(&long).is_err() && stream.append_event(&long).is_err());
        (statements, events, fill(&|| stream.append_outcome(&long)))
    });
    let all = (statements, events, outcomes);
    assert!((60..70).contains(&statements) && (60..70).contains(&events) && (120..140).contains(&outcomes), "{all:?}");
    until("room", || stream.is_writable());
    stream.shutdown().expect("shutdown");
    assert_eq!(see(&config.directory, &[&key(1)]).count("statement"), statements + events + outcomes);
}

#[test]
fn checkpoints_are_copied_and_a_copy_that_fails_is_recorded() {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixDatagram;
    let dir = tempfile::tempdir().expect("a directory");
    let elsewhere = dir.path().join("elsewhere");
    let syslog = UnixDatagram::bind(dir.path().join("syslog")).expect("a socket");
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let http = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let url = format!("http://user:secret@{}/checkpoints?token=secret", http.local_addr().expect("an address"));
    let config = config::Audit {
        checkpoint_copies: vec![
            CopyTo::Directory(elsewhere.clone()),
            CopyTo::SyslogUnix(dir.path().join("syslog")),
            CopyTo::SyslogUdp(udp.local_addr().expect("an address")),
            CopyTo::Http(url.into()),
        ],
        ..config(dir.path())
    };
    let (give, posts) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for (count, connection) in http.incoming().enumerate() {
            let mut connection = connection.expect("a connection");
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !request.ends_with(b"=\n") {
                let length = connection.read(&mut buffer).expect("a request");
                request.extend_from_slice(&buffer[..length]);
            }
            let status = if count == 0 { "503 Busy" } else { "204 Fine" };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            connection.write_all(answer.as_bytes()).expect("an answer");
            if give.send(String::from_utf8(request).expect("text")).is_err() {
                return;
            }
        }
    });
    let stream = Stream::open(&config).expect("open");
    until("a failed copy", || stream.figures().copies_failed >= 2);
    fs::create_dir(&elsewhere).expect("a directory");
    until("copies", || {
        stream.append(STATEMENT).expect("append");
        std::thread::sleep(Duration::from_millis(30));
        elsewhere.join(COPIES).exists()
    });
    stream.shutdown().expect("shutdown");

    let seen = see(&config.directory, &[&key(1)]);
    assert!(seen.count("checkpoint_copy_failed") >= 2 && seen.count("checkpoint_copy_restored") >= 1);
    let all: String = seen.records.iter().map(Value::to_string).collect();
    assert!(!all.contains("secret") && all.contains("503") && all.contains("elsewhere"), "{all}");
    let copies = fs::read(elsewhere.join(COPIES)).expect("copies");
    let (copied, torn) = notes(&copies);
    assert!(torn.is_empty() && !copied.is_empty());
    let newest = Checkpoint::from_note(copied[copied.len() - 1]).expect("a checkpoint").0;
    assert_eq!(&newest, seen.last());
    let mut buffer = [0; 4096];
    let length = syslog.recv(&mut buffer).expect("a datagram");
    let text = std::str::from_utf8(&buffer[..length]).expect("text");
    assert!(
        text.starts_with("<109>1 20") && text.contains(" pgwarden ") && text.contains(" checkpoint - size="),
        "{text}"
    );
    let length = udp.recv(&mut buffer).expect("a datagram");
    let text = std::str::from_utf8(&buffer[..length]).expect("text");
    let note = text.split("note=").nth(1).expect("a note");
    let note = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, note).expect("base64");
    assert_eq!(Checkpoint::from_note(&note).expect("a checkpoint").0, seen.checkpoints[0].0);
    let post = posts.recv().expect("a request");
    assert!(post.starts_with("POST /checkpoints?token=secret HTTP/1.1\r\n"), "{post}");
    let body = post.split_once("\r\n\r\n").expect("a body").1;
    assert_eq!(Checkpoint::from_note(body.as_bytes()).expect("a checkpoint").0, seen.checkpoints[0].0);
}

#[test]
fn whoever_waits_is_woken() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    struct Woken(AtomicUsize);
    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    for durability in [Durability::Strict, Durability::Group, Durability::Relaxed] {
        let dir = tempfile::tempdir().expect("a directory");
        let config = config::Audit { durability, ..config(dir.path()) };
        let stream = Stream::open(&config).expect("open");
        for _ in 0..50 {
            let woken = Arc::new(Woken(AtomicUsize::new(0)));
            let seq = stream.append(STATEMENT).expect("append");
            stream.wake_when_settled(seq, &woken.clone().into());
            until("woken", || woken.0.load(Ordering::SeqCst) > 0);
            assert!(stream.is_settled(seq), "{durability:?}");
        }
        let woken = Arc::new(Woken(AtomicUsize::new(0)));
        stream.wake_when_writable(&woken.clone().into());
        until("woken", || woken.0.load(Ordering::SeqCst) > 0);
        stream.shutdown().expect("shutdown");
    }
}

#[test]
fn a_cut_that_nobody_lived_to_record_is_recorded_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(dir.path());
    Stream::open(&config).expect("open").shutdown().expect("shutdown");
    let orphan = config.directory.join(format!("{TORN}2-1700000000000"));
    fs::write(&orphan, "half").expect("a file");
    fs::write(config.directory.join(format!("{TORN}1-1700000000000")), "of long ago").expect("a file");
    for _ in 0..2 {
        Stream::open(&config).expect("open").shutdown().expect("shutdown");
    }
    let seen = see(&config.directory, &[&key(1)]);
    assert_eq!(seen.kinds(), ["start", "stop", "start", "gap", "stop", "start", "stop"]);
    assert_eq!((&seen.records[3]["file"], &seen.records[3]["bytes"]), (&"torn-2-1700000000000".into(), &4.into()));
}

/// The end of the log was lost after the cut, and the number in the cut's name with it.
#[test]
fn a_cut_behind_the_end_of_the_log_is_recorded_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(dir.path());
    Stream::open(&config).expect("open").shutdown().expect("shutdown");
    for file in ["70-1700000000000", "80-1700000000000", "2-1700000000001"] {
        fs::write(config.directory.join(format!("{TORN}{file}")), file).expect("a file");
    }
    for _ in 0..2 {
        Stream::open(&config).expect("open").shutdown().expect("shutdown");
    }
    let seen = see(&config.directory, &[&key(1)]);
    assert_eq!(seen.kinds(), ["start", "stop", "start", "gap", "gap", "gap", "stop", "start", "stop"]);
    let mut kept: Vec<String> = Vec::new();
    for gap in &seen.records[3..6] {
        let name = gap["file"].as_str().expect("a name");
        assert!(name.starts_with("torn-2-"), "{name}");
        kept.push(fs::read_to_string(config.directory.join(name)).expect("it is there"));
        assert_eq!(gap["bytes"], kept.last().expect("one").len());
    }
    kept.sort();
    assert_eq!(kept, ["2-1700000000001", "70-1700000000000", "80-1700000000000"], "none took another's place");
}

#[test]
fn a_writer_that_stalls_fills_the_queue_and_nothing_is_lost() {
    for durability in [Durability::Strict, Durability::Group] {
        let dir = tempfile::tempdir().expect("a directory");
        let config = config::Audit { durability, queue_size: 64 << 10, ..config(dir.path()) };
        let stream = Stream::open(&config).expect("open");
        let (taken, outcomes) = stream.stalled(|| {
            let mut taken = 0u64;
            let refused = std::iter::repeat_with(|| stream.append(STATEMENT)).find_map(|appended| {
                taken += u64::from(appended.is_ok());
                appended.err()
            });
            assert_eq!((refused, stream.state()), (Some(NotWritable::Full), State::Full));
            let outcomes = (0..100_000).take_while(|_| stream.append_outcome(STATEMENT).is_ok()).count();
            (taken, outcomes)
        });
        assert!(taken > 1000 && taken < 100_000 && outcomes > 3000 && outcomes < 100_000, "{taken} and {outcomes}");
        until("room", || stream.state() == State::Writing);
        stream.append(STATEMENT).expect("append");
        let figures = stream.figures();
        assert_eq!((figures.failures, figures.refused, figures.lost), (0, 1, 1));
        stream.shutdown().expect("shutdown");
        let seen = see(&config.directory, &[&key(1)]);
        assert_eq!(seen.count("statement") as u64, taken + outcomes as u64 + 1);
        // What found no room is told, though the log never failed.
        let gaps: Vec<_> = seen.records.iter().filter(|record| record["kind"] == "gap").collect();
        assert_eq!(gaps.len(), 1);
        assert_eq!((&gaps[0]["lost"], &gaps[0]["refused"]), (&1.into(), &1.into()));
    }
}

/// A log that is closed while it fails says what was lost before it says that it stopped.
#[test]
fn what_was_lost_is_told_by_a_log_that_is_closed_meanwhile() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config::Audit { queue_size: 64 << 10, ..config(dir.path()) };
    let stream = Stream::open(&config).expect("open");
    let segment = config.directory.join("00000000000000000000.log");
    let aside = segment.with_extension("moved");
    fs::rename(&segment, &aside).expect("move it away");
    until("trouble", || matches!(stream.state(), State::Failed { .. }));
    while stream.append_outcome(STATEMENT).is_ok() {}
    let closing = stream.clone();
    let closed = std::thread::spawn(move || closing.shutdown());
    // Longer than the writer tries at a stretch once the log is closed.
    std::thread::sleep(Duration::from_millis(1500));
    fs::rename(&aside, &segment).expect("move it back");
    closed.join().expect("no panic").expect("shutdown");
    let lost = stream.figures().lost;
    let seen = see(&config.directory, &[&key(1)]);
    let told: u64 = seen.records.iter().filter_map(|record| record["lost"].as_u64()).sum();
    assert!(lost > 0);
    assert_eq!(told, lost);
    assert_eq!(seen.kinds().last().map(|kind| &**kind), Some("stop"));
}
