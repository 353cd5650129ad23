//! What the writer has taken from the queue, round by round, until it is on disk for certain.
//!
//! After a failed sync nobody knows what the disk has, and the operating system may have dropped it and said so only once:
//! then everything is written again that was not synced before. For that the rounds are kept as they were taken, which is a
//! third of their lines, and lines are put together once more: the same line comes out each time.
//!
//! They are kept in memory of their own. What workers write into is little, and the same again each time: it stays in the
//! caches of both cores, and memory that does not costs a worker more for a record than all else that it does for it.

use std::collections::VecDeque;
use std::io;

use super::queue::{Place, Waiting};
use super::segment::Segment;
use crate::chain::{Frontier, leaf_hash};
use crate::record::Second;

/// The last of the rounds is the one that is being written.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    rounds: VecDeque<Round>,
    /// Memory for more to keep, and its bytes.
    spare: Vec<Waiting>,
    spare_size: usize,
    second: Second,
}

#[derive(Debug, Default)]
struct Round {
    taken: Waiting,
    /// What comes before is on disk.
    synced: Place,
    /// What comes before is in a segment.
    done: Place,
}

impl Round {
    fn is_on_disk(&self) -> bool {
        self.synced.line == self.taken.len()
    }
}

/// Memory that is kept for more rounds.
const SPARE_MAX: usize = 10 << 20;

/// A round with more bytes than this is not copied: no cache would have it still.
const LITTLE: usize = 256 << 10;

impl Rounds {
    /// Begins a round, which `take` fills. Returns how many records it has.
    pub fn begin(&mut self, take: impl FnOnce(&mut Waiting)) -> usize {
        let mut taken = self.exchange();
        take(&mut taken);
        let records = taken.len();
        self.rounds.push_back(Round { taken, ..Round::default() });
        records
    }

    /// Memory for what comes next: what the last round came in, where that is little enough to stay in caches.
    fn exchange(&mut self) -> Waiting {
        let Some(mut last) = self.rounds.pop_back() else { return Waiting::default() };
        let is_little = last.taken.size() <= LITTLE;
        let mut memory = match (last.is_on_disk(), is_little) {
            (true, _) => last.taken,
            (false, true) => {
                let mut kept = self.spare();
                last.taken.move_to(&mut kept);
                let memory = std::mem::replace(&mut last.taken, kept);
                self.rounds.push_back(last);
                memory
            }
            (false, false) => {
                self.rounds.push_back(last);
                self.spare()
            }
        };
        memory.clear();
        // Of a time with more to do.
        if is_little && memory.capacity() > LITTLE * 4 { Waiting::default() } else { memory }
    }

    fn spare(&mut self) -> Waiting {
        let spare = self.spare.pop().unwrap_or_default();
        self.spare_size -= spare.capacity();
        spare
    }

    /// Whether all that was taken is in segments.
    pub fn is_done(&self) -> bool {
        self.rounds.back().is_none_or(|round| round.done.line == round.taken.len())
    }

    /// Puts lines into the segment, and their hashes into the tree, until it has `end` bytes.
    pub fn put(&mut self, segment: &mut Segment, frontier: &mut Frontier, end: u64) {
        let Some(Round { taken, done, .. }) = self.rounds.back_mut() else { return };
        while done.line < taken.len() && segment.size() < end {
            let line = segment.append(|out| taken.write(done, &mut self.second, out));
            let leaf = leaf_hash(&line[..line.len() - 1]);
            frontier.append(leaf);
            segment.leaves.push(&leaf);
        }
    }

    /// Writes again what is not on disk for certain. Can be repeated after an error.
    pub fn write_again(&mut self, segment: &mut Segment) -> io::Result<()> {
        segment.begin_again();
        for Round { taken, synced, done } in &self.rounds {
            let mut place = *synced;
            while place.line < done.line {
                segment.append_again(|out| taken.write(&mut place, &mut self.second, out))?;
            }
        }
        segment.end_again()
    }

    /// All that is in segments is on disk.
    pub fn let_go(&mut self) {
        while self.rounds.len() > 1 {
            let Some(round) = self.rounds.pop_front() else { break };
            self.keep(round.taken);
        }
        if let Some(last) = self.rounds.back_mut() {
            last.synced = last.done;
        }
    }

    fn keep(&mut self, mut taken: Waiting) {
        taken.clear();
        let size = self.spare_size + taken.capacity();
        if size <= SPARE_MAX {
            self.spare_size = size;
            self.spare.push(taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::queue::{Queue, Take};
    use super::super::segment::records_path;
    use super::*;

    /// However often, and wherever between the rounds, a sync fails: the file has every line once, as the tree has it.
    #[test]
    fn what_the_disk_may_have_lost_is_written_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut segment, mut frontier) = (Segment::create(dir.path(), 0).expect("a segment"), Frontier::new());
        let path = records_path(dir.path(), 0);
        let (mut queue, mut rounds, mut on_disk) = (Queue::new(0), Rounds::default(), Vec::new());
        for step in 0..60_u64 {
            for _ in 0..step % 7 {
                let fields = format!("\"kind\":\"x\",\"text\":\"{}\"", "y".repeat(queue.next as usize * 977 % 60_000));
                queue.append(fields.as_bytes());
            }
            assert_eq!(rounds.begin(|taken| queue.take(taken, Take::All)) as u64, step % 7);
            // A part of the round first.
            let end = segment.size() + 1;
            rounds.put(&mut segment, &mut frontier, end);
            if step % 5 == 0 {
                segment.write().expect("write");
                segment.doubt();
                let lost = vec![b'?'; (segment.size() as usize - on_disk.len()) / 2];
                std::fs::write(&path, [&on_disk[..], &lost].concat()).expect("lose something");
                assert!(segment.sync().is_err(), "first it is written again");
                rounds.write_again(&mut segment).expect("write again");
            }
            rounds.put(&mut segment, &mut frontier, u64::MAX);
            assert!(rounds.is_done());
            if step % 3 == 0 {
                segment.write().expect("write");
            }
            if step % 4 == 3 {
                segment.sync().expect("sync");
                rounds.let_go();
                assert!(rounds.rounds.len() == 1 && rounds.spare_size <= SPARE_MAX);
                // What the disk has for certain is not written again.
                on_disk = std::fs::read(&path).expect("read");
                std::fs::write(&path, vec![b' '; on_disk.len()]).expect("overwrite");
                rounds.write_again(&mut segment).expect("nothing to write");
                assert!(std::fs::read(&path).expect("read").iter().all(|byte| *byte == b' '));
                std::fs::write(&path, &on_disk).expect("restore");
            }
        }
        segment.sync().expect("sync");
        let mut found = Frontier::new();
        for (seq, line) in std::fs::read_to_string(&path).expect("read").lines().enumerate() {
            assert!(line.starts_with(&format!("{{\"seq\":{seq},\"kind\":\"x\"")), "line {seq} is another");
            found.append(leaf_hash(line.as_bytes()));
        }
        assert_eq!((found.size(), found.root()), (queue.next, frontier.root()));
    }

    /// What workers write into is the same two pieces of memory in turn, whether the disk has what was in them or not; and
    /// after a time with much to do it is little again.
    #[test]
    fn the_queue_gets_its_memory_back_and_no_more_than_it_needs() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut segment, mut frontier) = (Segment::create(dir.path(), 0).expect("a segment"), Frontier::new());
        let (mut queue, mut rounds) = (Queue::new(0), Rounds::default());
        let mut round = |length: usize, sync: bool| {
            queue.append(format!("\"kind\":\"x\",\"text\":\"{}\"", "y".repeat(length)).as_bytes());
            let mut capacity = 0;
            rounds.begin(|taken| {
                capacity = taken.capacity();
                queue.take(taken, Take::All);
            });
            rounds.put(&mut segment, &mut frontier, u64::MAX);
            if sync {
                segment.sync().expect("sync");
                rounds.let_go();
            }
            capacity
        };
        let exchanged: Vec<usize> = (0..12).map(|step| round(1_000, step % 5 == 4)).collect();
        assert_eq!(exchanged[0], 0, "nothing was taken before");
        assert!(exchanged[1..].iter().all(|known| *known > 1_000 && *known < 10_000), "{exchanged:?}");
        for step in 0..6 {
            round(5 * LITTLE, step % 3 == 0);
        }
        for _ in 0..4 {
            round(1_000, false);
        }
        assert!(round(1_000, false) <= LITTLE * 4 && round(1_000, true) <= LITTLE * 4);
        assert!(rounds.spare_size <= SPARE_MAX);
    }
}
