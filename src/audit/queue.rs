//! What waits to be written: lines, in the order in which workers appended them, and how the statements among them ended.
//!
//! A statement that ends while its line still waits gets its outcome into that line: one record instead of two, and nothing is
//! known later or less surely than it was, since both would wait in this memory. For that the writer leaves lines of
//! statements under way behind, with what came after them; once only, so a line waits for two of the writer's rounds at most.
//!
//! Invariants: sequence numbers have no holes; a line that was taken is never changed, nor one that has its outcome.

use super::control;

/// Under the stream's lock.
#[derive(Debug, Default)]
pub(super) struct Queue {
    bytes: Vec<u8>,
    /// What becomes the last members of lines.
    ends: Vec<u8>,
    lines: Vec<Line>,
    /// Lines at the front that the writer has left behind once.
    left: usize,
    /// The next record's number.
    pub next: u64,
    pub failed: bool,
    pub closed: bool,
    pub lost: u64,
    pub refused: u64,
}

#[derive(Debug, Clone, Copy)]
struct Line {
    /// Its newline included.
    length: u32,
    end: End,
}

/// What a line ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Nothing more than it has.
    Whole,
    /// An outcome, if it comes in time.
    Open,
    /// Bytes of `ends`.
    At { start: usize, length: u32 },
}

/// What stands behind a record's members.
const CLOSE: &[u8] = b"}\n";

/// Whether a record gets its outcome later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    Now,
    Later,
}

impl Queue {
    pub fn new(next: u64) -> Self {
        Self { next, ..Self::default() }
    }

    /// Bytes that wait.
    pub fn size(&self) -> usize {
        self.bytes.len() + self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Gives a record its number, which it returns.
    pub fn append(&mut self, fields: &[u8], ends: Ends) -> u64 {
        let seq = self.next;
        let start = self.bytes.len();
        control::begin(&mut self.bytes, seq);
        self.bytes.extend_from_slice(fields);
        self.bytes.extend_from_slice(CLOSE);
        let length = u32::try_from(self.bytes.len() - start).expect("whoever appends saw to it");
        let end = match ends {
            Ends::Now => End::Whole,
            Ends::Later => End::Open,
        };
        self.lines.push(Line { length, end });
        self.next += 1;
        seq
    }

    /// The line of a statement that has not ended; absent where the writer has taken it.
    fn open_line(&self, seq: u64) -> Option<usize> {
        let first = self.next - self.lines.len() as u64;
        let at = usize::try_from(seq.checked_sub(first)?).ok()?;
        self.lines.get(at).filter(|line| line.end == End::Open).map(|_| at)
    }

    /// Whether a statement's line can still get its outcome.
    pub fn is_open(&self, seq: u64) -> bool {
        self.open_line(seq).is_some()
    }

    /// Gives a statement's line its outcome. `members`: each with a comma before it. False: it is too late.
    pub fn end(&mut self, seq: u64, members: &[u8]) -> bool {
        let Some(at) = self.open_line(seq) else { return false };
        let start = self.ends.len();
        self.ends.extend_from_slice(members);
        let length = u32::try_from(members.len()).expect("whoever appends saw to it");
        self.lines[at].end = End::At { start, length };
        true
    }

    /// Hands over what waits: `All`, or as far as no statement is under way that was not left behind before.
    pub fn take(&mut self, taken: &mut Taken, what: Take) {
        taken.clear();
        std::mem::swap(&mut self.bytes, &mut taken.bytes);
        std::mem::swap(&mut self.ends, &mut taken.ends);
        std::mem::swap(&mut self.lines, &mut taken.lines);
        let under_way = match what {
            Take::All => None,
            Take::Ended => taken.lines[self.left..].iter().position(|line| line.end == End::Open),
        };
        if let Some(under_way) = under_way {
            let from = self.left + under_way;
            let length: usize = taken.lines[from..].iter().map(|line| line.length as usize).sum();
            let start = taken.bytes.len() - length;
            self.bytes.extend_from_slice(&taken.bytes[start..]);
            taken.bytes.truncate(start);
            for mut line in taken.lines.drain(from..) {
                if let End::At { start, length } = line.end {
                    line.end = End::At { start: self.ends.len(), length };
                    self.ends.extend_from_slice(&taken.ends[start..start + length as usize]);
                }
                self.lines.push(line);
            }
        }
        self.left = self.lines.len();
    }
}

/// How much the writer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Take {
    All,
    Ended,
}

/// Lines as they waited.
#[derive(Debug, Default)]
pub(super) struct Taken {
    bytes: Vec<u8>,
    ends: Vec<u8>,
    lines: Vec<Line>,
}

/// Lines as they are written.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub bytes: Vec<u8>,
    /// Of each, its newline included.
    pub lengths: Vec<u32>,
}

/// Memory that is kept from one round to the next.
const KEPT: usize = 1 << 20;

impl Taken {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.lines.clear();
    }

    /// Brings lines and their ends together.
    pub fn join(&mut self, batch: &mut Batch) {
        batch.bytes.clear();
        batch.lengths.clear();
        if self.ends.is_empty() {
            batch.lengths.extend(self.lines.iter().map(|line| line.length));
            std::mem::swap(&mut self.bytes, &mut batch.bytes);
            return;
        }
        batch.bytes.reserve(self.bytes.len() + self.ends.len());
        let mut rest = &self.bytes[..];
        for line in &self.lines {
            let (text, others) = rest.split_at(line.length as usize);
            rest = others;
            match line.end {
                End::Whole | End::Open => {
                    batch.bytes.extend_from_slice(text);
                    batch.lengths.push(line.length);
                }
                End::At { start, length } => {
                    batch.bytes.extend_from_slice(&text[..text.len() - CLOSE.len()]);
                    batch.bytes.extend_from_slice(&self.ends[start..start + length as usize]);
                    batch.bytes.extend_from_slice(CLOSE);
                    batch.lengths.push(line.length + length);
                }
            }
        }
        if self.bytes.capacity() > KEPT {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn lines(queue: &mut Queue, what: Take) -> Vec<String> {
        let (mut taken, mut batch) = (Taken::default(), Batch::default());
        queue.take(&mut taken, what);
        taken.join(&mut batch);
        let text = String::from_utf8(batch.bytes).expect("UTF-8");
        let lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        assert_eq!(lines.iter().map(|line| line.len() as u32).collect::<Vec<_>>(), batch.lengths);
        lines
    }

    #[test]
    fn a_statement_that_ends_in_time_has_its_outcome_in_its_line() {
        let mut queue = Queue::new(7);
        assert_eq!(queue.append(b"\"a\":1", Ends::Later), 7);
        assert_eq!(queue.append(b"\"b\":1", Ends::Now), 8);
        assert_eq!(queue.append(b"\"c\":1", Ends::Later), 9);
        assert!(queue.end(9, b",\"x\":1") && queue.end(7, b",\"y\":22"));
        // Once, and not of a record that is whole, or was taken, or is not there yet.
        for seq in [9, 7, 8, 6, 10, 0, u64::MAX] {
            assert!(!queue.is_open(seq) && !queue.end(seq, b",\"z\":1"), "{seq}");
        }
        let expected = ["{\"seq\":7,\"a\":1,\"y\":22}\n", "{\"seq\":8,\"b\":1}\n", "{\"seq\":9,\"c\":1,\"x\":1}\n"];
        assert_eq!(lines(&mut queue, Take::Ended), expected);
        assert!(queue.is_empty() && queue.size() == 0);
    }

    #[test]
    fn a_statement_under_way_is_left_behind_once() {
        let mut queue = Queue::new(0);
        for seq in 0..6 {
            assert_eq!(queue.append(b"\"a\":1", Ends::Later), seq);
        }
        assert!(queue.end(0, b",\"x\":0") && queue.end(2, b",\"x\":2") && queue.end(4, b",\"x\":4"));
        assert_eq!(lines(&mut queue, Take::Ended), ["{\"seq\":0,\"a\":1,\"x\":0}\n"]);
        // 1 to 5 are behind; 3 ends late but in time, 1 does not; of what came since, 7 is under way.
        assert!(queue.end(3, b",\"x\":3"));
        assert_eq!(queue.append(b"\"a\":1", Ends::Now), 6);
        assert_eq!(queue.append(b"\"a\":1", Ends::Later), 7);
        assert_eq!(queue.append(b"\"a\":1", Ends::Now), 8);
        let second = lines(&mut queue, Take::Ended);
        assert_eq!(second[0], "{\"seq\":1,\"a\":1}\n");
        assert_eq!(second[1..4].concat().matches("\"x\"").count(), 3);
        assert_eq!(second[4..], ["{\"seq\":5,\"a\":1}\n", "{\"seq\":6,\"a\":1}\n"]);
        assert!(!queue.end(1, b",\"x\":1") && !queue.end(5, b",\"x\":5"), "they were taken");
        assert_eq!(queue.append(b"\"a\":1", Ends::Later), 9);
        assert_eq!(lines(&mut queue, Take::All).len(), 3);
        assert!(queue.is_empty());
    }

    /// Whatever is appended, ended and taken in whatever order: every record comes once, in order, and has its outcome in its
    /// line or was refused it.
    #[test]
    fn nothing_is_lost_between_the_rounds() {
        let mut random = StdRng::seed_from_u64(11);
        for _ in 0..200 {
            let (mut queue, mut out) = (Queue::new(3), Vec::new());
            let (mut open, mut ended, mut rounds) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..400 {
                match random.random_range(0..10) {
                    0..4 => {
                        let seq = queue.append(format!("\"id\":{}", queue.next).as_bytes(), Ends::Later);
                        open.push(seq);
                        rounds.push((seq, 0));
                    }
                    4 => drop(queue.append(format!("\"id\":{}", queue.next).as_bytes(), Ends::Now)),
                    5..8 if !open.is_empty() => {
                        let seq = open.swap_remove(random.random_range(0..open.len()));
                        let in_time = queue.is_open(seq);
                        assert_eq!(queue.end(seq, format!(",\"end\":{seq}").as_bytes()), in_time);
                        if in_time {
                            ended.push(seq);
                        }
                    }
                    8 => {
                        out.extend(lines(&mut queue, if random.random() { Take::Ended } else { Take::All }));
                        let first = queue.next - queue.lines.len() as u64;
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
            for (at, line) in out.iter().enumerate() {
                let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
                let seq = 3 + at as u64;
                assert_eq!((&record["seq"], &record["id"]), (&seq.into(), &seq.into()), "{line}");
                assert_eq!(record["end"].as_u64(), ended.contains(&seq).then_some(seq), "{line}");
            }
            assert_eq!(out.len() as u64, queue.next - 3);
        }
    }
}
