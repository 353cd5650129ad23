//! What waits to be written, in the order in which workers appended it, and how the statements among it ended.
//!
//! A statement waits as what its record will say, without what it shares with others: some two hundred bytes where its line
//! has six. They are what passes from a worker's core to the writer's, which is most of what a record costs a worker.
//!
//! A statement that ends while it still waits gets its outcome into its record: one record instead of two, and nothing is
//! known later or less surely than it was, since both would wait in this memory. For that the writer leaves statements under
//! way behind, with what came after them; once only, so a record waits for two of the writer's rounds at most.
//!
//! Invariants: sequence numbers have no holes; what was taken is never changed, nor a record that has its outcome.

use super::control;
use crate::record::{self, At, Counts, Ended, Forwarded, Intent, Phrases, Second};

/// Under the stream's lock.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Waiting,
    /// How long the lines will be, about: rather more.
    size: usize,
    /// Lines at the front that the writer has left behind once.
    left: usize,
    /// The next record's number.
    pub next: u64,
    pub failed: bool,
    pub closed: bool,
    pub lost: u64,
    pub refused: u64,
}

/// Records and what they consist of.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    lines: Vec<Line>,
    /// Of each line as many as it says, in their order.
    bytes: Vec<u8>,
    /// Command tags of the outcomes.
    tags: Vec<u8>,
    phrases: Phrases,
    /// Number of the first record.
    first: u64,
}

#[derive(Debug)]
enum Line {
    /// A record that was encoded before, of so many bytes.
    Encoded(u32),
    Statement(Statement),
}

/// The record of a message that was about to be forwarded.
#[derive(Debug)]
struct Statement {
    at: At,
    forwarded: Forwarded,
    head: u32,
    words: Option<u32>,
    /// Bytes of its other members.
    rest: u32,
    end: Option<End>,
}

/// How it ended. Its tag: where it begins among the tags, and its bytes.
#[derive(Debug)]
struct End {
    counts: Counts,
    tag: (u32, u8),
}

/// Bytes of a statement's line besides phrases and rest, and of an outcome besides the tag: 20 digits of each number are rare.
const STATEMENT: usize = 256;
const OUTCOME: usize = 96;
/// And of any other line besides its own.
const ENCODED: usize = 20;

impl Queue {
    pub fn new(next: u64) -> Self {
        Self { next, ..Self::default() }
    }

    /// Bytes of the lines that wait, about: rather more.
    pub fn size(&self) -> usize {
        self.size
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.lines.is_empty()
    }

    /// Gives a record its number, which it returns.
    pub fn append(&mut self, fields: &[u8]) -> u64 {
        let line = Line::Encoded(length_of(fields));
        self.waiting.bytes.extend_from_slice(fields);
        self.push(line)
    }

    /// The same for the record of a message that is about to be forwarded. `rest`: of [`Intent::put_rest`].
    pub fn append_statement(&mut self, at: At, it: &Intent<'_>, rest: &[u8]) -> u64 {
        let Waiting { bytes, phrases, .. } = &mut self.waiting;
        let statement = Statement {
            at,
            forwarded: it.forwarded,
            head: phrases.number(it.head.phrase()),
            words: it.words.map(|words| phrases.number(words.phrase())),
            rest: length_of(rest),
            end: None,
        };
        bytes.extend_from_slice(rest);
        self.push(Line::Statement(statement))
    }

    fn push(&mut self, line: Line) -> u64 {
        let seq = self.next;
        self.size += self.waiting.size_of(&line);
        self.waiting.lines.push(line);
        self.next += 1;
        seq
    }

    /// The record of a statement that has not ended; absent where the writer has taken it.
    fn open_line(&mut self, seq: u64) -> Option<&mut Statement> {
        let first = self.next - self.waiting.lines.len() as u64;
        let at = usize::try_from(seq.checked_sub(first)?).ok()?;
        match self.waiting.lines.get_mut(at)? {
            Line::Statement(statement) if statement.end.is_none() => Some(statement),
            Line::Statement(_) | Line::Encoded(_) => None,
        }
    }

    /// Whether a statement's record can still get its outcome.
    pub fn is_open(&mut self, seq: u64) -> bool {
        self.open_line(seq).is_some()
    }

    /// Gives a statement's record its outcome. False: it is too late.
    pub fn end(&mut self, seq: u64, ended: &Ended<'_>) -> bool {
        let tags = self.waiting.tags.len();
        let Some(statement) = self.open_line(seq) else { return false };
        statement.end = Some(End::new(ended, tags));
        self.waiting.tags.extend_from_slice(ended.tag);
        self.size += OUTCOME + ended.tag.len();
        true
    }

    /// Hands over what waits: `All`, or as far as no statement is under way that was not left behind before. `taken` is empty
    /// before.
    pub fn take(&mut self, taken: &mut Waiting, what: Take) {
        std::mem::swap(&mut self.waiting, taken);
        taken.first = self.next - taken.lines.len() as u64;
        self.size = 0;
        let under_way = match what {
            Take::All => None,
            Take::Ended => taken.lines[self.left..].iter().position(Line::is_under_way),
        };
        if let Some(under_way) = under_way {
            self.leave_behind(taken, self.left + under_way);
        }
        self.left = self.waiting.lines.len();
    }

    /// Takes back the lines from `from` on.
    fn leave_behind(&mut self, taken: &mut Waiting, from: usize) {
        let length: usize = taken.lines[from..].iter().map(Line::bytes).sum();
        let start = taken.bytes.len() - length;
        self.waiting.bytes.extend_from_slice(&taken.bytes[start..]);
        taken.bytes.truncate(start);
        for mut line in taken.lines.drain(from..) {
            if let Line::Statement(statement) = &mut line {
                statement.head = self.waiting.phrases.number(taken.phrases.of(statement.head));
                statement.words = statement.words.map(|words| self.waiting.phrases.number(taken.phrases.of(words)));
                if let Some(End { tag: (start, length), .. }) = &mut statement.end {
                    let tag = &taken.tags[*start as usize..][..usize::from(*length)];
                    *start = offset(self.waiting.tags.len());
                    self.waiting.tags.extend_from_slice(tag);
                    self.size += OUTCOME + tag.len();
                }
            }
            self.size += self.waiting.size_of(&line);
            self.waiting.lines.push(line);
        }
    }
}

/// How much the writer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Take {
    All,
    Ended,
}

impl Line {
    fn is_under_way(&self) -> bool {
        matches!(self, Self::Statement(Statement { end: None, .. }))
    }

    /// Bytes of its own.
    fn bytes(&self) -> usize {
        match self {
            Self::Encoded(length) | Self::Statement(Statement { rest: length, .. }) => *length as usize,
        }
    }
}

impl End {
    fn new(ended: &Ended<'_>, at: usize) -> Self {
        let length = u8::try_from(ended.tag.len()).expect("tags are short");
        Self { tag: (offset(at), length), counts: ended.counts }
    }
}

/// Whoever appends sees to it.
fn length_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("less than 4 GiB")
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("less than 4 GiB")
}

/// Where in what was taken the next record is.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Place {
    pub line: usize,
    byte: usize,
}

impl Waiting {
    /// Lets go of all but the memory for more.
    pub fn clear(&mut self) {
        self.lines.clear();
        self.bytes.clear();
        self.tags.clear();
        self.phrases.clear();
    }

    /// Moves everything into other memory, which is empty.
    pub fn move_to(&mut self, other: &mut Self) {
        let Self { lines, bytes, tags, phrases, first } = self;
        other.lines.append(lines);
        other.bytes.append(bytes);
        other.tags.append(tags);
        std::mem::swap(&mut other.phrases, phrases);
        other.first = *first;
    }

    /// Bytes of memory that are used.
    pub fn size(&self) -> usize {
        self.lines.len() * size_of::<Line>() + self.bytes.len() + self.tags.len()
    }

    /// Bytes of memory.
    pub fn capacity(&self) -> usize {
        let lines = self.lines.capacity() * size_of::<Line>();
        lines + self.bytes.capacity() + self.tags.capacity() + self.phrases.capacity()
    }

    /// Records.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Bytes of a line before it has its outcome, about.
    fn size_of(&self, line: &Line) -> usize {
        line.bytes()
            + match line {
                Line::Encoded(_) => ENCODED,
                Line::Statement(it) => {
                    let words = it.words.map_or(0, |words| self.phrases.of(words).members().len());
                    STATEMENT + self.phrases.of(it.head).members().len() + words
                }
            }
    }

    /// Appends the record at a place, a line with its end; then the place is behind it. A record is one line, whoever wrote
    /// it: a line feed inside it would make it two, and becomes a blank.
    pub fn write(&self, place: &mut Place, second: &mut Second, out: &mut Vec<u8>) {
        let mut checked = out.len();
        let line = &self.lines[place.line];
        let bytes = &self.bytes[place.byte..][..line.bytes()];
        control::begin(out, self.first + place.line as u64);
        match line {
            Line::Encoded(_) => out.extend_from_slice(bytes),
            Line::Statement(it) => {
                let ended = it.end.as_ref().map(|end| Ended { counts: end.counts, tag: self.tag(end) });
                let statement = record::Statement {
                    at: it.at,
                    head: self.phrases.of(it.head).members(),
                    forwarded: &it.forwarded,
                    words: it.words.map_or(&[], |words| self.phrases.of(words).members()),
                    rest: bytes,
                    ended,
                };
                record::statement(out, second, &statement);
            }
        }
        while let Some(found) = memchr::memchr(b'\n', &out[checked..]) {
            checked += found;
            out[checked] = b' ';
        }
        out.extend_from_slice(b"}\n");
        *place = Place { line: place.line + 1, byte: place.byte + bytes.len() };
    }

    fn tag(&self, end: &End) -> &[u8] {
        &self.tags[end.tag.0 as usize..][..usize::from(end.tag.1)]
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    use serde_json::Value;

    use super::*;
    use crate::record::{Answer, Head, Message, Outcome, Person, TextMark, Verdict, Who, Words};
    use crate::sql::grammar;

    fn lines(queue: &mut Queue, what: Take) -> Vec<Value> {
        let mut taken = Waiting::default();
        let promised = queue.size();
        queue.take(&mut taken, what);
        let (mut place, mut second, mut lines) = (Place::default(), Second::default(), Vec::new());
        let mut out = Vec::new();
        while place.line < taken.len() {
            let start = out.len();
            taken.write(&mut place, &mut second, &mut out);
            assert!(out.ends_with(b"}\n"));
            lines.push(serde_json::from_slice(&out[start..]).expect("JSON"));
        }
        assert!(out.len() <= promised - queue.size(), "{} of {promised}", out.len());
        lines
    }

    fn phrase(words: &str) -> Words {
        Words::of(words.as_bytes(), &grammar::read(words.as_bytes()))
    }

    /// Hands over a statement whose every part tells its number.
    fn open(queue: &mut Queue, words: &[Words], head: &Head) -> u64 {
        let seq = queue.next;
        let text = seq.is_multiple_of(3).then_some(TextMark { length: seq, hash: None });
        let (message, verdict) = (Message::Query, Verdict::Allow);
        let forwarded = Forwarded { n: seq, message, verdict, policy: seq, backend: 1, text };
        let rest = if seq.is_multiple_of(2) { format!("\"rest\":{seq},") } else { String::new() };
        let words = Some(&words[seq as usize % words.len()]).filter(|_| !seq.is_multiple_of(5));
        let who = Rc::new(Who::new(&Person::default()));
        let intent = Intent { who: &who, head, forwarded, words, kept: None, parameters: None };
        queue.append_statement(At::new(seq * 900_000, seq), &intent, rest.as_bytes())
    }

    fn end(queue: &mut Queue, seq: u64) -> bool {
        let mut answer = Answer { rows: seq, ..Answer::default() };
        answer.note_tag(format!("SELECT {seq}").as_bytes());
        queue.end(seq, &Ended::new(Outcome::Completed, &answer, seq))
    }

    /// Whether a record is what was handed over, and whether it has its outcome.
    fn check(record: &Value, words: &[Words]) -> bool {
        let seq = record["seq"].as_u64().expect("a number");
        if record["kind"] != "statement" {
            assert_eq!(record["id"], seq);
            return false;
        }
        let time = format!(
            "1970-01-01T{:02}:{:02}:{:02}.{:06}Z",
            seq * 9 / 10 / 3600,
            seq * 9 / 10 / 60 % 60,
            seq * 9 / 10 % 60,
            seq * 900_000 % 1_000_000
        );
        assert_eq!((&record["n"], &record["policy"], &record["mono"]), (&seq.into(), &seq.into(), &seq.into()));
        assert_eq!((record["time"].as_str(), &record["node"]), (Some(&*time), &"db".into()));
        assert_eq!(record["length"].as_u64(), seq.is_multiple_of(3).then_some(seq));
        assert_eq!(record["rest"].as_u64(), seq.is_multiple_of(2).then_some(seq));
        let text = format!("select a{}", seq as usize % words.len());
        assert_eq!(record["text"].as_str(), Some(&*text).filter(|_| !seq.is_multiple_of(5)));
        let has_ended = record["outcome"].is_string();
        assert_eq!(record["tag"].as_str(), has_ended.then(|| format!("SELECT {seq}")).as_deref());
        assert_eq!(record["us"].as_u64(), has_ended.then_some(seq));
        has_ended
    }

    fn all_words() -> (Vec<Words>, Head) {
        let words = (0..4).map(|at| phrase(&format!("select a{at}"))).collect();
        (words, Head::new(&Who::new(&Person::default()), "db"))
    }

    fn event(queue: &mut Queue) -> u64 {
        queue.append(format!("\"kind\":\"login\",\"id\":{}", queue.next).as_bytes())
    }

    #[test]
    fn a_statement_that_ends_in_time_has_its_outcome_in_its_line() {
        let (words, head) = all_words();
        let mut queue = Queue::new(7);
        assert_eq!(open(&mut queue, &words, &head), 7);
        assert_eq!(event(&mut queue), 8);
        assert_eq!(open(&mut queue, &words, &head), 9);
        assert!(end(&mut queue, 9) && end(&mut queue, 7));
        // Once, and not of a record that is whole, or was taken, or is not there yet.
        for seq in [9, 7, 8, 6, 10, 0, u64::MAX] {
            assert!(!queue.is_open(seq) && !end(&mut queue, seq), "{seq}");
        }
        let seen: Vec<bool> = lines(&mut queue, Take::Ended).iter().map(|line| check(line, &words)).collect();
        assert_eq!(seen, [true, false, true]);
        assert!(queue.is_empty() && queue.size() == 0);
    }

    #[test]
    fn a_statement_under_way_is_left_behind_once() {
        let (words, head) = all_words();
        let seen = |lines: Vec<Value>| -> Vec<(u64, bool)> {
            lines.iter().map(|line| (line["seq"].as_u64().expect("a number"), check(line, &words))).collect()
        };
        let mut queue = Queue::new(0);
        for seq in 0..6 {
            assert_eq!(open(&mut queue, &words, &head), seq);
        }
        assert!([0, 2, 4].iter().all(|seq| end(&mut queue, *seq)));
        assert_eq!(seen(lines(&mut queue, Take::Ended)), [(0, true)]);
        // 1 to 5 are behind; 3 ends late but in time, 1 and 5 do not; of what came since, 7 is under way.
        assert!(end(&mut queue, 3));
        assert_eq!(event(&mut queue), 6);
        assert_eq!(open(&mut queue, &words, &head), 7);
        assert_eq!(event(&mut queue), 8);
        let expected = [(1, false), (2, true), (3, true), (4, true), (5, false), (6, false)];
        assert_eq!(seen(lines(&mut queue, Take::Ended)), expected);
        assert!(!end(&mut queue, 1) && !end(&mut queue, 5), "they were taken");
        assert_eq!(open(&mut queue, &words, &head), 9);
        assert_eq!(seen(lines(&mut queue, Take::All)).len(), 3);
        assert!(queue.is_empty());
    }

    /// Whatever is appended, ended and taken in whatever order: every record comes once, in order, with all that was said of
    /// it, and has its outcome in its line or was refused it.
    #[test]
    fn nothing_is_lost_between_the_rounds() {
        let mut random = StdRng::seed_from_u64(11);
        let (words, head) = all_words();
        for _ in 0..200 {
            let (mut queue, mut out) = (Queue::new(3), Vec::new());
            let (mut under_way, mut ended, mut rounds) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..400 {
                match random.random_range(0..10) {
                    0..4 => {
                        let seq = open(&mut queue, &words, &head);
                        under_way.push(seq);
                        rounds.push((seq, 0));
                    }
                    4 => drop(event(&mut queue)),
                    5..8 if !under_way.is_empty() => {
                        let seq = under_way.swap_remove(random.random_range(0..under_way.len()));
                        let in_time = queue.is_open(seq);
                        assert_eq!(end(&mut queue, seq), in_time);
                        if in_time {
                            ended.push(seq);
                        }
                    }
                    8 => {
                        out.extend(lines(&mut queue, if random.random() { Take::Ended } else { Take::All }));
                        let first = queue.next - queue.waiting.lines.len() as u64;
                        rounds.retain_mut(|(seq, rounds)| {
                            *rounds += 1;
                            *seq >= first
                        });
                        assert!(rounds.iter().all(|(_, rounds)| *rounds < 2), "left behind twice");
                    }
                    _ => {}
                }
            }
            out.extend(lines(&mut queue, Take::All));
            assert_eq!(queue.size(), 0);
            for (at, record) in out.iter().enumerate() {
                let seq = 3 + at as u64;
                assert_eq!(record["seq"], seq);
                assert_eq!(check(record, &words), ended.contains(&seq), "{record}");
            }
            assert_eq!(out.len() as u64, queue.next - 3);
        }
    }
}
