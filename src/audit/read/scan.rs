//! A segment's records, read once: hashed and looked at by several threads, handed on in order.
//!
//! Memory is bounded by a few chunks, whatever the file; a line that does not end is an error and not read further.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread;

use memchr::memmem;
use serde::de::IgnoredAny;

use crate::audit::stream::lock;
use crate::chain::{Piece, Run, leaf_hash};

/// Pieces of a log's tree have at most `2^BLOCK` leaves.
pub(super) const BLOCK: u32 = 8;

/// What to read, and what of it is wanted.
pub(super) struct Job<'a> {
    pub path: &'a Path,
    /// Number of the first record.
    pub first: u64,
    /// Where the tree is compared, in order: numbers of records before that point.
    pub cuts: &'a [u64],
    /// Records from here on have no signature yet, and are read word by word.
    pub covered: u64,
    pub threads: usize,
}

/// What is in a segment, in its order. Records are counted as lines, whatever number they bear.
#[derive(Debug)]
pub(super) enum Event {
    /// So many leaves more.
    Piece(Piece),
    /// One of the cuts: records before it, and where in the file it is.
    Cut { size: u64, at: u64 },
    /// The `index`th record of the log bears the number `found`, and the one behind it `next`. Told for the first record of
    /// each chunk, and wherever a number does not follow the one before.
    Number { index: u64, bytes: Range<u64>, found: u64, next: Option<u64> },
    /// A line that is no record.
    Broken { index: u64, bytes: Range<u64>, why: &'static str },
    /// A record that says something about the log.
    Control { index: u64, line: Vec<u8> },
}

/// A segment's end.
#[derive(Debug)]
pub(super) struct Scanned {
    /// Number after the last whole record, by counting lines.
    pub end: u64,
    /// Bytes of whole lines, and those after them.
    pub bytes: u64,
    pub torn: u64,
}

/// Kinds of records that `Event::Control` is about.
const CONTROLS: [&[u8]; 6] = [b"start", b"stop", b"gap", b"recovered", b"key_change", b"segment_deleted"];

const CHUNK: usize = 1 << 20;

/// Longest line, in bytes: far above the longest record.
const LINE_MAX: usize = 16 << 20;

/// Events of one kind that one chunk may give: a file of line feeds gives no more.
const STRANGE_MAX: usize = 64;

/// Reads a segment. `take` gets everything in order, on this thread.
pub(super) fn scan(job: &Job<'_>, mut take: impl FnMut(Event)) -> io::Result<Scanned> {
    let mut chunks = Chunks::open(job)?;
    let threads = job.threads.max(1);
    let (hand, work) = sync_channel::<Chunk>(threads * 2);
    let work = Mutex::new(work);
    let (tell, told) = channel();
    thread::scope(|scope| {
        let hand = hand;
        for _ in 0..threads {
            let (work, tell) = (&work, tell.clone());
            scope.spawn(move || examine_all(work, &tell, job));
        }
        let (mut sent, mut taken, mut ended) = (0, 0, false);
        let mut early: BTreeMap<u64, Vec<Event>> = BTreeMap::new();
        loop {
            while !ended && sent - taken < threads as u64 * 2 {
                let Some(chunk) = chunks.next(sent)? else {
                    ended = true;
                    break;
                };
                // It fits: no more than the channel holds are under way.
                ended = hand.send(chunk).is_err();
                sent += 1;
            }
            if taken == sent {
                return Ok(());
            }
            let Ok((number, events, bytes)) = told.recv() else { return Err(io::Error::other("a thread has ended")) };
            chunks.spare.push(bytes);
            early.insert(number, events);
            while let Some(events) = early.remove(&taken) {
                events.into_iter().for_each(&mut take);
                taken += 1;
            }
        }
    })?;
    Ok(chunks.end())
}

/// Whole lines.
struct Chunk {
    number: u64,
    /// Number of the first record, and where it is in the file.
    first: u64,
    at: u64,
    bytes: Vec<u8>,
}

/// A file in chunks.
struct Chunks {
    file: File,
    /// Number and place of the next chunk's first record.
    next: u64,
    at: u64,
    /// The beginning of a line.
    carry: Vec<u8>,
    /// Buffers to be used again.
    spare: Vec<Vec<u8>>,
}

impl Chunks {
    fn open(job: &Job<'_>) -> io::Result<Self> {
        let file = File::open(job.path)?;
        Ok(Self { file, next: job.first, at: 0, carry: Vec::new(), spare: Vec::new() })
    }

    /// The next lines; `None` where there is no whole one any more.
    fn next(&mut self, number: u64) -> io::Result<Option<Chunk>> {
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.append(&mut self.carry);
        let end = loop {
            let before = bytes.len();
            let read = (&mut self.file).take(CHUNK as u64).read_to_end(&mut bytes)?;
            if let Some(end) = memchr::memrchr(b'\n', &bytes[before..]) {
                break before + end + 1;
            }
            if read == 0 {
                self.carry = bytes;
                return Ok(None);
            }
            if bytes.len() > LINE_MAX {
                return Err(io::Error::other(format!("the line at byte {} does not end", self.at)));
            }
        };
        self.carry.extend_from_slice(&bytes[end..]);
        bytes.truncate(end);
        let chunk = Chunk { number, first: self.next, at: self.at, bytes };
        self.next += memchr::memchr_iter(b'\n', &chunk.bytes).count() as u64;
        self.at += chunk.bytes.len() as u64;
        Ok(Some(chunk))
    }

    fn end(self) -> Scanned {
        Scanned { end: self.next, bytes: self.at, torn: self.carry.len() as u64 }
    }
}

type Examined = (u64, Vec<Event>, Vec<u8>);

fn examine_all(work: &Mutex<Receiver<Chunk>>, tell: &Sender<Examined>, job: &Job<'_>) {
    loop {
        let chunk = lock(work).recv();
        let Ok(chunk) = chunk else { return };
        let events = Examination::of(&chunk, job);
        // Nobody listens any more: the file could not be read to its end.
        if tell.send((chunk.number, events, chunk.bytes)).is_err() {
            return;
        }
    }
}

struct Examination {
    events: Vec<Event>,
    strange: usize,
    run: Run,
    kind: memmem::Finder<'static>,
}

impl Examination {
    fn of(chunk: &Chunk, job: &Job<'_>) -> Vec<Event> {
        let mut this =
            Self { events: Vec::new(), strange: 0, run: Run::new(chunk.first, BLOCK), kind: memmem::Finder::new(KIND) };
        let mut cuts = &job.cuts[job.cuts.partition_point(|cut| *cut <= chunk.first)..];
        let mut number = Number::new(chunk.first);
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', &chunk.bytes) {
            let line = &chunk.bytes[start..end];
            let (index, bytes) = (this.run.next(), chunk.at + start as u64..chunk.at + end as u64 + 1);
            if start == 0 || !number.begins(line) {
                this.number(&mut number, line, &chunk.bytes[end + 1..], (index, bytes.clone()));
            }
            number.increase();
            if let Some(why) = wrong(line, index >= job.covered) {
                this.strange(Event::Broken { index, bytes, why });
            } else if this.is_control(line) {
                this.events.push(Event::Control { index, line: line.to_vec() });
            }
            this.run.push(leaf_hash(line));
            start = end + 1;
            if let Some((cut, rest)) = cuts.split_first()
                && *cut == this.run.next()
            {
                cuts = rest;
                this.flush();
                this.events.push(Event::Cut { size: *cut, at: chunk.at + start as u64 });
            }
        }
        this.flush();
        this.events
    }

    fn flush(&mut self) {
        self.events.extend(self.run.take().into_iter().map(Event::Piece));
    }

    fn strange(&mut self, event: Event) {
        self.strange += 1;
        if self.strange <= STRANGE_MAX {
            self.events.push(event);
        }
    }

    /// Compares what a line says its number is; lines after it are compared with that.
    fn number(&mut self, expected: &mut Number, line: &[u8], rest: &[u8], (index, bytes): (u64, Range<u64>)) {
        match seq(line) {
            Some(found) => {
                let next = memchr::memchr(b'\n', rest).and_then(|end| seq(&rest[..end]));
                self.strange(Event::Number { index, bytes, found, next });
                *expected = Number::new(found);
            }
            None => self.strange(Event::Broken { index, bytes, why: "it has no number" }),
        }
    }

    fn is_control(&self, line: &[u8]) -> bool {
        kind_by(&self.kind, line).is_some_and(|kind| CONTROLS.contains(&kind))
    }
}

const KIND: &[u8] = b"\"kind\":\"";

/// A record's kind. Inside a text, quotes have a backslash before them, so that it is found nowhere else.
fn kind_by<'a>(finder: &memmem::Finder<'_>, line: &'a [u8]) -> Option<&'a [u8]> {
    let rest = &line[finder.find(line)? + KIND.len()..];
    Some(&rest[..memchr::memchr(b'"', rest)?])
}

/// What is wrong with a line as a record, by its looks; `fully`: as JSON.
fn wrong(line: &[u8], fully: bool) -> Option<&'static str> {
    if !line.ends_with(b"}") {
        Some("it does not end as a record")
    } else if std::str::from_utf8(line).is_err() {
        Some("it is not UTF-8")
    } else if line.iter().fold(false, |found, byte| found | (*byte < b' ')) {
        Some("it has control characters")
    } else if fully && serde_json::from_slice::<IgnoredAny>(line).is_err() {
        Some("it is not JSON")
    } else {
        None
    }
}

const SEQ: &[u8] = b"{\"seq\":";

/// The number that a record begins with.
pub(super) fn seq(line: &[u8]) -> Option<u64> {
    let rest = line.strip_prefix(SEQ)?;
    let digits = std::str::from_utf8(&rest[..memchr::memchr(b',', rest)?]).ok()?;
    let number: u64 = digits.parse().ok()?;
    // One form of each number.
    (number.to_string() == digits).then_some(number)
}

/// What a record with some number begins with, counted up in place.
struct Number {
    text: Vec<u8>,
    digits: Range<usize>,
}

impl Number {
    fn new(seq: u64) -> Self {
        let mut text = SEQ.to_vec();
        text.extend_from_slice(format!("{seq},").as_bytes());
        let digits = SEQ.len()..text.len() - 1;
        Self { text, digits }
    }

    fn begins(&self, line: &[u8]) -> bool {
        line.starts_with(&self.text)
    }

    fn increase(&mut self) {
        for at in self.digits.clone().rev() {
            if self.text[at] == b'9' {
                self.text[at] = b'0';
            } else {
                self.text[at] += 1;
                return;
            }
        }
        self.text.insert(self.digits.start, b'1');
        self.digits.end += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Frontier;

    #[test]
    fn numbers_count_up() {
        for start in [0, 8, 98, 999, 1_999_999] {
            let mut number = Number::new(start);
            for seq in start..start + 25 {
                assert_eq!(number.text, format!("{{\"seq\":{seq},").as_bytes());
                number.increase();
            }
        }
        assert_eq!(seq(b"{\"seq\":12,\"v\":1}"), Some(12));
        for wrong in [
            "{\"seq\":012,",
            "{\"seq\":+1,",
            "{\"seq\":,",
            "{\"seq\":1",
            " {\"seq\":1,",
            "{\"seq\":99999999999999999999,",
        ] {
            assert_eq!(seq(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_text_cannot_pass_for_a_kind() {
        let line = br#"{"seq":1,"text":"\"kind\":\"gap\"","kind":"stop"}"#;
        assert_eq!(kind_by(&memmem::Finder::new(KIND), line), Some(&b"stop"[..]));
    }

    /// Lines of every length against a hash of each, with cuts, by one thread and by several.
    #[test]
    fn chunks_give_the_tree_of_their_lines() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("records");
        let (mut text, mut tree, mut roots) = (Vec::new(), Frontier::new(), BTreeMap::new());
        for seq in 0..9000u64 {
            let line = format!(
                "{{\"seq\":{seq},\"v\":1,\"kind\":\"statement\",\"x\":\"{}\"}}",
                "y".repeat(seq as usize % 900)
            );
            tree.append(leaf_hash(line.as_bytes()));
            roots.insert(tree.size(), (tree.root(), text.len() + line.len() + 1));
            text.extend_from_slice(line.as_bytes());
            text.push(b'\n');
        }
        let whole = text.len() as u64;
        text.extend_from_slice(b"{\"seq\":9000,\"to");
        std::fs::write(&path, &text).expect("a file");
        for threads in [1, 3] {
            let cuts = [1, 2, 255, 256, 257, 4000, 8999, 9000];
            let job = Job { path: &path, first: 0, cuts: &cuts, covered: 0, threads };
            let (mut tree, mut seen) = (Frontier::new(), Vec::new());
            let scanned = scan(&job, |event| match event {
                Event::Piece(Piece { level, root }) => tree.append_tree(level, root),
                Event::Cut { size, at } => {
                    assert_eq!((tree.size(), (tree.root(), at as usize)), (size, roots[&size]));
                    seen.push(size);
                }
                Event::Number { index, found, .. } => assert_eq!(index, found),
                Event::Broken { .. } | Event::Control { .. } => panic!("{event:?}"),
            });
            let scanned = scanned.expect("read");
            assert_eq!(seen, cuts);
            assert_eq!((scanned.end, scanned.bytes, scanned.torn), (9000, whole, text.len() as u64 - whole));
        }
    }
}
