//! Reading a log that is being written: records in order from any number on, as far as they are on disk.
//!
//! It remembers where the next line begins and nothing else, so its memory is bounded however far behind it is. What is in
//! the files beyond the given end may still change, and is not looked at.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::control;
use super::segment::{records_path, segments};

pub(super) struct Tail {
    directory: PathBuf,
    /// The record to read next.
    next: u64,
    file: File,
    /// First record of the file.
    first: u64,
    /// Where the next record begins in it.
    offset: u64,
    chunk: Vec<u8>,
    head: Vec<u8>,
}

/// Bytes read at once.
const CHUNK: usize = 256 << 10;

/// A record is shorter.
const RECORD_MAX: usize = 16 << 20;

impl Tail {
    /// Finds a record, which is there or will be the next.
    pub fn open(directory: &Path, next: u64) -> io::Result<Self> {
        let first = segments(directory)?.into_iter().take_while(|first| *first <= next).last();
        let first = first.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the record was deleted"))?;
        let file = File::open(records_path(directory, first))?;
        let (chunk, head) = (vec![0; CHUNK], Vec::new());
        let mut tail = Self { directory: directory.to_path_buf(), next: first, file, first, offset: 0, chunk, head };
        while tail.next < next {
            let count = tail.file.read_at(&mut tail.chunk, tail.offset)?;
            if count == 0 {
                return Err(missing(tail.next));
            }
            let wanted = usize::try_from(next - tail.next).unwrap_or(usize::MAX);
            let (mut lines, mut end) = (0, 0);
            for at in memchr::memchr_iter(b'\n', &tail.chunk[..count]).take(wanted) {
                (lines, end) = (lines + 1, at + 1);
            }
            // A line that does not end here is skipped all the same: its end comes.
            tail.next += lines;
            tail.offset += if tail.next == next { end } else { count } as u64;
        }
        Ok(tail)
    }

    /// The record that would be read next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Appends records below `end` as lines, about 256 KiB of them at most and one at least. None where there is none.
    pub fn read(&mut self, end: u64, out: &mut Vec<u8>) -> io::Result<()> {
        if self.next >= end {
            return Ok(());
        }
        let before = self.next;
        while self.next == before {
            let count = self.file.read_at(&mut self.chunk, self.offset)?;
            if count == 0 {
                self.turn()?;
                continue;
            }
            self.take_lines(end, count, out)?;
            if self.next > before {
                self.chunk.truncate(CHUNK);
                self.chunk.shrink_to_fit();
            } else if count < self.chunk.len() {
                return Err(missing(self.next));
            } else if self.chunk.len() < RECORD_MAX {
                self.chunk.resize(self.chunk.len() * 2, 0);
            } else {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("record {} is too long", self.next)));
            }
        }
        Ok(())
    }

    /// Goes on with the next segment.
    fn turn(&mut self) -> io::Result<()> {
        if self.next == self.first {
            return Err(missing(self.next));
        }
        self.file = File::open(records_path(&self.directory, self.next)).map_err(|_| missing(self.next))?;
        (self.first, self.offset) = (self.next, 0);
        Ok(())
    }

    fn take_lines(&mut self, end: u64, count: usize, out: &mut Vec<u8>) -> io::Result<()> {
        let mut from = 0;
        for at in memchr::memchr_iter(b'\n', &self.chunk[..count]) {
            if self.next == end {
                break;
            }
            let line = &self.chunk[from..=at];
            self.head.clear();
            control::begin(&mut self.head, self.next);
            if !line.starts_with(&self.head) {
                let error = format!("record {} is not where it was written", self.next);
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
            out.extend_from_slice(line);
            self.next += 1;
            self.offset += line.len() as u64;
            from = at + 1;
        }
        Ok(())
    }
}

fn missing(seq: u64) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("record {seq} is not in the log's files"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn line(seq: u64, length: usize) -> String {
        format!("{{\"seq\":{seq},\"x\":\"{}\"}}\n", "x".repeat(length))
    }

    fn all(tail: &mut Tail, end: u64) -> io::Result<String> {
        let mut out = Vec::new();
        while tail.next() < end {
            tail.read(end, &mut out)?;
        }
        Ok(String::from_utf8(out).expect("text"))
    }

    #[test]
    fn records_come_in_order_from_any_on_over_segments_and_whatever_their_length() {
        let dir = tempfile::tempdir().expect("a directory");
        let lengths = [10, 300_000, 0, 700_000, 40, 5];
        let lines: Vec<String> = lengths.iter().enumerate().map(|(seq, length)| line(seq as u64, *length)).collect();
        fs::write(records_path(dir.path(), 0), lines[..3].concat()).expect("a segment");
        // Behind the end there is what is not on disk for certain.
        fs::write(records_path(dir.path(), 3), lines[3..].concat() + "{\"seq\":6,\"torn").expect("a segment");
        for from in 0..=6 {
            let mut tail = Tail::open(dir.path(), from).expect("it is there");
            let middle = from.max(4);
            let text = all(&mut tail, middle).expect("records") + &all(&mut tail, 6).expect("records");
            assert_eq!(text, lines[from as usize..].concat(), "from {from}");
        }
        let mut tail = Tail::open(dir.path(), 5).expect("it is there");
        assert!(all(&mut tail, 7).is_err(), "a record that is not whole");
        assert!(Tail::open(dir.path(), 9).is_err());
    }

    #[test]
    fn what_is_not_the_record_is_not_passed_on() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(records_path(dir.path(), 4), line(4, 1) + &line(6, 1)).expect("a segment");
        assert_eq!(Tail::open(dir.path(), 3).err().map(|error| error.kind()), Some(io::ErrorKind::NotFound));
        let mut tail = Tail::open(dir.path(), 4).expect("it is there");
        assert_eq!(all(&mut tail, 6).expect_err("another record").kind(), io::ErrorKind::InvalidData);
        let mut tail = Tail::open(dir.path(), 4).expect("it is there");
        all(&mut tail, 5).expect("the first");
        fs::write(records_path(dir.path(), 4), "").expect("cut");
        assert!(all(&mut tail, 6).is_err());
    }
}
