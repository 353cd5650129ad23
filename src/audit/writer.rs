//! The thread that writes the log: takes what workers appended, writes, hashes, syncs, signs, rotates and deletes.
//!
//! One thread does it all, so that the order of records, leaves and checkpoints is one. Its state is such that every step can
//! be done again: a failed write is repeated from what is certainly on disk, a signature is made only over what is.
//!
//! Invariants: a checkpoint covers nothing that a power failure could take; a segment ends with a checkpoint; while anything
//! fails, workers are refused and the writer tries again; it ends only by `shutdown`, or by a bug, which refuses for good.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use super::control::{Control, now};
use super::copies::Copies;
use super::figures::Signed;
use super::queue::Take;
use super::reads::Reads;
use super::recover::{Keys, Log};
use super::retention::Retention;
use super::rounds::Rounds;
use super::segment::{Finished, Segment, WRITTEN_MAX};
use super::stream::{GROUPS, Shared, Shortfall};
use crate::chain::{Checkpoint, Note, SigningKey};
use crate::config::{self, Durability};

pub(super) struct Writer {
    shared: Arc<Shared>,
    log: Log,
    copies: Copies,
    retention: Retention,
    reads: Reads,
    plan: Plan,
    rounds: Rounds,
    /// The line of the current segment is in the manifest; only a new file is missing.
    listed: Option<Finished>,
    segment_begun: Instant,
    checkpointed: Instant,
    looked: Instant,
    /// When the last were taken from the queue.
    last_records: Instant,
    /// What of the shortfall is on record.
    told: Shortfall,
    /// The stop record has been appended.
    stopped: bool,
}

/// When things are due.
struct Plan {
    durability: Durability,
    /// How long records gather; absent where somebody waits for each.
    gather: Option<Duration>,
    checkpoint_interval: Duration,
    checkpoint_records: u64,
    segment_size: u64,
    segment_age: Duration,
}

/// Records gather for so long before they are written, unless somebody waits for them or they are many: each time costs a
/// wake-up and a write. Those of statements under way are left for the next time, once.
const GATHER: Duration = Duration::from_millis(8);

/// The same where nobody ever waits.
const GATHER_RELAXED: Duration = Duration::from_millis(20);

/// With somebody waiting, there is so long between writes: records of others are then in the same one.
const GATHER_WANTED: Duration = Duration::from_micros(150);

/// Without records for so long, the writer sleeps until it is woken.
const DOZE: Duration = Duration::from_millis(50);

/// Bytes of lines that a failed sync would have written again. More force a sync.
const UNSYNCED_MAX: u64 = 8 << 20;

/// How often files are looked at, and segments that may be deleted.
const LOOK: Duration = Duration::from_secs(1);

/// Between attempts to write a log that cannot be written.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

impl Writer {
    pub fn new(shared: Arc<Shared>, log: Log, copies: Copies, config: &config::Audit) -> Self {
        let plan = Plan {
            durability: config.durability,
            gather: match config.durability {
                Durability::Strict => None,
                Durability::Group => Some(GATHER),
                Durability::Relaxed => Some(GATHER_RELAXED),
            },
            checkpoint_interval: config.checkpoint_interval,
            checkpoint_records: config.checkpoint_records,
            segment_size: config.segment_size,
            segment_age: config.segment_age,
        };
        let age = Duration::from_micros(now().micros.saturating_sub(log.segment_begun.micros));
        let begun = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
        shared.counts.segments.store(log.finished.len() as u64 + 1, Ordering::Release);
        shared.counts.covered.store(log.checkpoint.map_or(0, |(size, _)| size), Ordering::Release);
        Self {
            shared,
            copies,
            retention: Retention::new(config),
            reads: Reads::default(),
            plan,
            rounds: Rounds::default(),
            listed: None,
            segment_begun: begun,
            checkpointed: Instant::now(),
            looked: Instant::now(),
            last_records: Instant::now(),
            told: Shortfall { lost: 0, refused: 0 },
            stopped: false,
            log,
        }
    }

    /// Writes the first records and a checkpoint over them.
    pub fn begin(&mut self) -> io::Result<()> {
        self.take(Take::All);
        self.absorb()?;
        self.checkpoint()
    }

    /// Until the stream is closed.
    pub fn run(mut self) {
        let shared = self.shared.clone();
        shared.set_thread();
        if catch_unwind(AssertUnwindSafe(|| self.live())).is_err() {
            shared.fail("internal error: the writer has ended");
            shared.close();
            tracing::error!("the audit log's writer has ended: nothing is recorded, so nothing is let through");
        }
    }

    fn live(&mut self) {
        loop {
            match (self.rounds.is_done(), self.shared.is_closed()) {
                (false, _) => {}
                (true, false) => self.rest(),
                (true, true) if self.shared.has_records() => {}
                (true, true) if self.stopped => return self.finish(),
                (true, true) => {
                    self.stopped = true;
                    self.tell_shortfall();
                    self.shared.last(&Control::Stop);
                }
            }
            match self.cycle() {
                Ok(()) if !self.stopped => self.tell_shortfall(),
                Ok(()) => {}
                Err(error) => self.suffer(error),
            }
        }
    }

    /// Waits for records, or for what is due without any; and lets those that come gather, unless somebody waits for each.
    fn rest(&mut self) {
        let gather = self.plan.gather.filter(|_| self.last_records.elapsed() <= DOZE);
        if gather.is_none() && !self.shared.has_records() {
            self.shared.sleep(self.due_in().min(LOOK).max(Duration::from_micros(100)));
        }
        if let Some(gather) = gather.or(self.plan.gather.filter(|_| self.shared.has_records())) {
            self.shared.nap(self.due_in().min(gather));
        }
    }

    fn due_in(&self) -> Duration {
        let uncovered = self.log.frontier.size() > self.log.checkpoint.map_or(0, |(size, _)| size);
        if uncovered { self.plan.checkpoint_interval.saturating_sub(self.checkpointed.elapsed()) } else { LOOK }
    }

    /// Writes what is there and does what is due.
    fn cycle(&mut self) -> io::Result<()> {
        if self.rounds.is_done() {
            let is_wanted = self.plan.durability == Durability::Group && self.shared.is_wanted();
            if is_wanted {
                std::thread::sleep(GATHER_WANTED.saturating_sub(self.last_records.elapsed()));
            }
            let at_once = is_wanted || self.plan.gather.is_none() || self.shared.is_closed();
            self.take(if at_once { Take::All } else { Take::Ended });
        }
        self.absorb()?;
        self.due()
    }

    fn take(&mut self, what: Take) {
        let records = self.rounds.begin(|taken| self.shared.take(what, taken));
        if records > 0 {
            self.last_records = Instant::now();
            let group = (usize::BITS - (records - 1).leading_zeros()) as usize;
            self.shared.counts.groups[group.min(GROUPS - 1)].fetch_add(1, Ordering::Relaxed);
            self.shared.counts.grouped.fetch_add(records as u64, Ordering::Relaxed);
        }
    }

    /// Brings what was taken into segments, and what the durability asks for to where it asks for it.
    fn absorb(&mut self) -> io::Result<()> {
        self.make_up()?;
        loop {
            let full = self.log.segment.size() >= self.plan.segment_size && self.log.segment.records > 0;
            // A segment that is in the manifest takes nothing more.
            if full || self.listed.is_some() {
                self.rotate()?;
            }
            if self.rounds.is_done() {
                break;
            }
            self.absorb_piece()?;
        }
        self.settle()
    }

    /// As many lines as the segment takes, and no more than are written at once.
    fn absorb_piece(&mut self) -> io::Result<()> {
        let Log { segment, frontier, .. } = &mut self.log;
        let start = segment.size();
        self.rounds.put(segment, frontier, self.plan.segment_size.min(start + WRITTEN_MAX as u64));
        self.shared.counts.bytes.fetch_add(segment.size() - start, Ordering::Relaxed);
        segment.write()?;
        if self.plan.durability != Durability::Strict {
            self.publish_written(self.log.frontier.size());
        }
        if self.log.segment.unsynced_size() > UNSYNCED_MAX { self.sync() } else { Ok(()) }
    }

    fn settle(&mut self) -> io::Result<()> {
        self.log.segment.write()?;
        match self.plan.durability {
            Durability::Strict => self.sync(),
            Durability::Group | Durability::Relaxed => {
                self.publish_written(self.log.frontier.size());
                Ok(())
            }
        }
    }

    fn publish_written(&self, size: u64) {
        if self.shared.counts.written.swap(size, Ordering::SeqCst) != size {
            self.shared.wake_settled();
        }
    }

    /// After a failed write, what was not written; after a failed sync, all that the disk may not have.
    fn make_up(&mut self) -> io::Result<()> {
        let segment = &mut self.log.segment;
        if segment.is_doubtful() { self.rounds.write_again(segment) } else { segment.write() }
    }

    fn sync(&mut self) -> io::Result<()> {
        let size = self.log.frontier.size();
        self.make_up()?;
        if self.log.segment.unsynced_size() > 0 {
            let start = Instant::now();
            self.log.segment.sync()?;
            let took = start.elapsed();
            self.rounds.let_go();
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            self.shared.counts.last_sync_micros.store(micros, Ordering::Relaxed);
            self.shared.board.observe_sync(took);
        }
        self.shared.counts.written.store(size, Ordering::SeqCst);
        if self.shared.counts.synced.swap(size, Ordering::SeqCst) != size {
            self.shared.wake_settled();
        }
        Ok(())
    }

    fn due(&mut self) -> io::Result<()> {
        let uncovered = self.log.frontier.size() - self.log.checkpoint.map_or(0, |(size, _)| size);
        let in_time = self.checkpointed.elapsed() >= self.plan.checkpoint_interval;
        if uncovered > 0 && (in_time || uncovered >= self.plan.checkpoint_records) {
            self.checkpoint()?;
        }
        if self.looked.elapsed() < LOOK {
            return Ok(());
        }
        self.looked = Instant::now();
        self.look()?;
        let age = self.plan.segment_age;
        if !age.is_zero() && self.segment_begun.elapsed() >= age && self.log.segment.records > 0 {
            self.rotate()?;
        }
        self.retention.delete(&mut self.log, &self.shared);
        self.reads.collect(&self.log.directory, &self.shared);
        Ok(())
    }

    /// A file that was moved away would be written to the end of days, and nobody would find it.
    fn look(&self) -> io::Result<()> {
        if self.log.segment.is_in_place()? {
            return Ok(());
        }
        Err(io::Error::other("the file of records was removed, replaced or cut by somebody else"))
    }

    /// Signs what is on disk, after it is.
    fn checkpoint(&mut self) -> io::Result<()> {
        self.sync()?;
        let (size, root) = (self.log.frontier.size(), self.log.frontier.root());
        if self.log.checkpoint == Some((size, root)) {
            return Ok(());
        }
        let origin = self.log.origin.clone();
        let time = now();
        let checkpoint = Checkpoint { origin, size, root, time, previous: self.log.checkpoint };
        let Keys { active, next } = &self.log.keys;
        let signers: Vec<&SigningKey> = [Some(active), next.as_ref()].into_iter().flatten().collect();
        let note = Note::sign(checkpoint.to_string(), &signers).map_err(io::Error::other)?.to_string();
        self.log.segment.leaves.write()?;
        self.log.segment.checkpoints.append(format!("{note}\n").as_bytes())?;
        if let Some(next) = self.log.keys.next.take() {
            // The change has to last: with it lost, the old key's holder could sign another one.
            self.log.segment.checkpoints.sync()?;
            self.log.keys.active = next;
        }
        self.log.checkpoint = Some((size, root));
        self.checkpointed = Instant::now();
        self.shared.counts.checkpoints.fetch_add(1, Ordering::Relaxed);
        self.shared.counts.covered.store(size, Ordering::Release);
        let key = self.log.keys.active.public().id();
        self.shared.board.sign(Signed { size, root, time, key, note: note.as_str().into() });
        self.copies.send(&note, size);
        Ok(())
    }

    /// Ends the segment and begins the next. Done again after an error, it goes on where it failed.
    fn rotate(&mut self) -> io::Result<()> {
        if self.listed.is_none() {
            self.checkpoint()?;
            self.log.segment.checkpoints.sync()?;
            let line = self.finished();
            let text = serde_json::to_string(&line).map_err(io::Error::other)?;
            self.log.manifest.append(format!("{text}\n").as_bytes())?;
            self.listed = Some(line);
        }
        self.log.manifest.sync()?;
        self.log.segment = Segment::create(&self.log.directory, self.log.frontier.size())?;
        self.segment_begun = Instant::now();
        self.log.finished.extend(self.listed.take());
        self.shared.counts.segments.store(self.log.finished.len() as u64 + 1, Ordering::Release);
        Ok(())
    }

    fn finished(&self) -> Finished {
        let segment = &self.log.segment;
        Finished {
            first: segment.first,
            records: segment.records,
            bytes: segment.size(),
            root: self.log.frontier.root().to_string(),
            peaks: self.log.frontier.peaks().iter().map(ToString::to_string).collect(),
            closed: now().to_string(),
        }
    }

    /// The log cannot be written: says so, and tries until it can be, or until the stream is closed.
    fn suffer(&mut self, error: io::Error) {
        let mut error = error;
        let mut pause = RETRY.0;
        if self.shared.fail(&error.to_string()) {
            tracing::error!(%error, "the audit log cannot be written");
        }
        loop {
            if self.shared.is_closed() && pause > RETRY.0 * 4 {
                return;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(RETRY.1);
            let attempt = self.absorb().and_then(|()| self.sync()).and_then(|()| self.look());
            match attempt.and_then(|()| self.checkpoint()) {
                Ok(()) => break,
                Err(again) => error = again,
            }
            self.shared.fail(&error.to_string());
        }
        self.tell_shortfall();
    }

    /// Puts on record that the log could not be written, when it can be again, and whatever was lost, whether it failed or
    /// was too slow.
    fn tell_shortfall(&mut self) {
        let recovered = self.shared.recover();
        let all = self.shared.shortfall();
        let (lost, refused) = (all.lost - self.told.lost, all.refused - self.told.refused);
        let failed = recovered.is_some();
        if !failed && lost == 0 {
            return;
        }
        self.told = all;
        let (since, error) = recovered.unwrap_or_else(|| (SystemTime::now(), "the queue was full".into()));
        self.shared.last(&Control::Outage { since, error: error.to_string(), lost, refused });
        if failed {
            tracing::info!(lost, refused, "the audit log can be written again");
            self.shared.wake_all();
        } else {
            tracing::error!(lost, "records were lost: the audit log's writer does not keep up");
        }
    }

    /// Signs the log to its end. Without success the next process finds out how far the log got.
    fn finish(&mut self) {
        let done = self.checkpoint().and_then(|()| self.log.segment.checkpoints.sync());
        if let Err(error) = &done {
            tracing::error!(%error, "the audit log could not be closed");
            self.shared.fail(&error.to_string());
        }
        self.copies.finish();
    }
}
