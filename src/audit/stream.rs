//! The way records take into the log: a queue that workers append to, and what they can ask about its state.
//!
//! Workers copy what a record will say under a lock that is held for nothing else (`queue`); the order in which they get it is
//! the order of the log. One thread (`writer`) takes what is there, writes it and says how far it is. Nothing
//! here waits: a session that has to wait leaves its waker.
//!
//! Invariants: sequence numbers have no holes and depend on no clock; what was refused was not appended; the queue is
//! bounded, and what is left of it at the end is for outcomes. A panic in the writer leaves a log that refuses everything.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant, SystemTime};

use thiserror::Error;

use super::control::Control;
use super::copies::Copies;
use super::figures::{Board, CopyFigures, Signed, SinkFigures};
use super::queue::{Queue, Take, Waiting};
use super::recover::{self, OpenError};
use super::sink::Sinks;
use super::writer::Writer;
use crate::config::{self, Durability};
use crate::metrics::Histogram;
use crate::record::{At, Ended, Intent};

/// The log as sessions know it. Clones share it.
#[derive(Clone)]
pub struct Stream {
    shared: Arc<Shared>,
}

/// Whether records can be appended now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Writing,
    /// The last attempt to write failed; the writer keeps trying.
    Failed {
        since: SystemTime,
        error: Arc<str>,
    },
    /// The writer does not keep up.
    Full,
}

/// Why a record was not appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotWritable {
    #[error("the audit log cannot be written")]
    Failed,
    #[error("the audit log's queue is full")]
    Full,
    #[error("the audit log is closed")]
    Closed,
}

/// What the log has done since it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    pub state: State,
    /// Records before which the operating system has all, and before which the disk has all. All counts of records are of
    /// the whole log, earlier processes included.
    pub appended: u64,
    pub written: u64,
    pub synced: u64,
    /// Records that the newest checkpoint covers.
    pub covered: u64,
    /// Bytes that wait for the writer, and at how many statements are refused.
    pub queue_bytes: u64,
    pub queue_bytes_max: u64,
    /// How long the last sync took, and all of them.
    pub last_sync: Duration,
    pub sync_times: Histogram,
    pub syncs: u64,
    /// Writes by how many records they had: 1, 2, up to 4, up to 8 and so on; the last has all above.
    pub groups: [u64; GROUPS],
    /// Records in all of them.
    pub grouped: u64,
    /// Bytes written since the start.
    pub bytes: u64,
    /// Files of records, the current one included.
    pub segments: u64,
    pub checkpoints: u64,
    /// The newest of them.
    pub signed: Option<Signed>,
    /// Times that the log became unwritable.
    pub failures: u64,
    /// Records refused to sessions, and outcomes that were lost. Each of the latter is counted by a record, too.
    pub refused: u64,
    pub lost: u64,
    pub copies_failed: u64,
    /// By place.
    pub copies: Vec<CopyFigures>,
    pub sinks: Vec<SinkFigures>,
    /// Finished segments that are due for deletion but not shipped.
    pub unshipped: u64,
}

pub const GROUPS: usize = 14;

/// Bytes of a record's fields, at most: lengths have four bytes, and no record comes near.
const RECORD_MAX: usize = 1 << 30;

/// How long `shutdown` waits for the writer.
const SHUTDOWN_TIME: Duration = Duration::from_secs(10);

/// How far what has happened already may fill the queue, as a multiple of what statements may: logins, refusals and the like,
/// of which a client can make as many as it likes; and outcomes, for statements that were let through end in any case.
const EVENTS: usize = 2;
const OUTCOMES: usize = 4;

/// Which part of the queue may fill while the writer lets records gather.
const HURRY: usize = 4;

pub(super) struct Shared {
    queue: Mutex<Queue>,
    queue_max: usize,
    /// So many bytes are written at once.
    hurry: usize,
    durability: Durability,
    pub counts: Counts,
    pub board: Board,
    /// Set while the writer cannot write. Under the queue's lock as `Queue::failed`, too.
    failure: Mutex<Option<(SystemTime, Arc<str>)>>,
    /// Statements are refused: the log fails, or the queue is full. Changed under the queue's lock, looked at without.
    refuses: AtomicBool,
    waiters: Mutex<Waiters>,
    /// How deep the writer sleeps.
    sleep: AtomicU8,
    /// Somebody waits for a record to be settled.
    wanted: AtomicBool,
    writer: Mutex<Option<JoinHandle<()>>>,
    sinks: Mutex<Sinks>,
    thread: std::sync::OnceLock<Thread>,
    started: Instant,
}

#[derive(Default)]
struct Waiters {
    settled: Vec<(u64, Waker)>,
    writable: Vec<Waker>,
}

#[derive(Default)]
pub(super) struct Counts {
    pub written: AtomicU64,
    pub synced: AtomicU64,
    pub covered: AtomicU64,
    pub last_sync_micros: AtomicU64,
    pub groups: [AtomicU64; GROUPS],
    pub grouped: AtomicU64,
    pub bytes: AtomicU64,
    pub segments: AtomicU64,
    pub checkpoints: AtomicU64,
    pub failures: AtomicU64,
    pub copies_failed: AtomicU64,
    pub unshipped: AtomicU64,
}

const AWAKE: u8 = 0;
/// For a moment, to let records gather.
const NAPPING: u8 = 1;
/// Until somebody appends.
const ASLEEP: u8 = 2;

/// What could not be appended while the log failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shortfall {
    pub lost: u64,
    pub refused: u64,
}

/// How far the queue may fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Its refusal is a record of its own, and counts where there is no room for that either.
    Intent,
    Statement,
    Event,
    Outcome,
    Control,
    /// Of the writer, which writes it still when the log is closed for everybody else.
    Last,
}

impl Stream {
    /// Opens the log, or begins one where there is none, and starts its writer.
    ///
    /// # Errors
    /// Another process has it, it cannot be read or written, or it is not whole: then nothing was changed.
    pub fn open(config: &config::Audit) -> Result<Self, OpenError> {
        let (log, first_records) = recover::open(config)?;
        let queue = Queue::new(log.frontier.size());
        let shared = Arc::new(Shared {
            queue: Mutex::new(queue),
            queue_max: config.queue_size,
            hurry: config.queue_size / HURRY,
            durability: config.durability,
            counts: Counts::default(),
            board: Board::of(&log.origin),
            failure: Mutex::new(None),
            refuses: AtomicBool::new(false),
            waiters: Mutex::new(Waiters::default()),
            sleep: AtomicU8::new(AWAKE),
            wanted: AtomicBool::new(false),
            writer: Mutex::new(None),
            sinks: Mutex::default(),
            thread: std::sync::OnceLock::new(),
            started: Instant::now(),
        });
        for counter in [&shared.counts.written, &shared.counts.synced] {
            counter.store(log.frontier.size(), Ordering::Release);
        }
        for control in &first_records {
            shared.control(control);
        }
        let copies = Copies::start(&config.checkpoint_copies, &shared).map_err(OpenError::Thread)?;
        let mut writer = Writer::new(shared.clone(), log, copies, config);
        // The log is not open before it has been written to once.
        writer.begin().map_err(|error| OpenError::Write { path: config.directory.clone(), error })?;
        let thread = thread::Builder::new().name("audit".to_owned());
        let handle = thread.spawn(move || writer.run()).map_err(OpenError::Thread)?;
        *lock(&shared.writer) = Some(handle);
        *lock(&shared.sinks) = Sinks::start(config, &shared).map_err(OpenError::Thread)?;
        Ok(Self { shared })
    }

    /// Gives a record the next sequence number, which it returns. `fields` follow `{"seq":N,`, without the closing brace or a
    /// newline.
    ///
    /// # Errors
    /// The log cannot be written now, or the queue is full: nothing was appended.
    pub fn append(&self, fields: &[u8]) -> Result<u64, NotWritable> {
        self.shared.append(Kind::Statement, fields)
    }

    /// As [`Stream::append`], for a message that is about to be forwarded: [`Stream::end`] may give the record its outcome. Its
    /// refusal is recorded next, and not counted twice. `rest`: of [`Intent::put_rest`].
    ///
    /// # Errors
    /// As there.
    pub fn append_intent(&self, at: At, it: &Intent<'_>, rest: &[u8]) -> Result<u64, NotWritable> {
        self.shared.add(Kind::Intent, rest.len(), |queue| queue.append_statement(at, it, rest))
    }

    /// As [`Stream::append`], for what has happened already: taken even while the log cannot be written, for as long as there
    /// is more room than outcomes need.
    ///
    /// # Errors
    /// There is not. A `gap` record will count it.
    pub fn append_event(&self, fields: &[u8]) -> Result<u64, NotWritable> {
        self.shared.append(Kind::Event, fields)
    }

    /// Puts an outcome into the record of its message, while that waits to be written. False: it waits no more, and the
    /// outcome is to be a record of its own.
    ///
    /// # Errors
    /// As of [`Stream::append_outcome`].
    pub fn end(&self, seq: u64, ended: &Ended<'_>) -> Result<bool, NotWritable> {
        self.shared.end(seq, ended)
    }

    /// As [`Stream::append_event`], for the end of a statement that was let through: it has the last of the room.
    ///
    /// # Errors
    /// That is used up too. A `gap` record will count it.
    pub fn append_outcome(&self, fields: &[u8]) -> Result<u64, NotWritable> {
        self.shared.append(Kind::Outcome, fields)
    }

    /// Whether a statement can be appended now.
    pub fn is_writable(&self) -> bool {
        !self.shared.refuses.load(Ordering::Acquire)
    }

    /// Whether a record has survived what `durability` asks for. It never becomes false again.
    pub fn is_settled(&self, seq: u64) -> bool {
        self.shared.is_settled(seq)
    }

    /// Wakes when a record may be settled, or the log's state changed. Records are written sooner when somebody waits.
    pub fn wake_when_settled(&self, seq: u64, waker: &Waker) {
        let shared = &*self.shared;
        let mut waiters = lock(&shared.waiters);
        // The writer says how far it is before it looks for waiters.
        if shared.is_settled(seq) {
            drop(waiters);
            waker.wake_by_ref();
            return;
        }
        match waiters.settled.iter_mut().find(|(_, known)| known.will_wake(waker)) {
            Some(known) => known.0 = seq,
            None => waiters.settled.push((seq, waker.clone())),
        }
        drop(waiters);
        shared.wanted.store(true, Ordering::SeqCst);
        if shared.sleep.swap(AWAKE, Ordering::SeqCst) != AWAKE {
            shared.unpark();
        }
    }

    pub fn state(&self) -> State {
        self.shared.state()
    }

    /// Wakes when `append` may succeed again.
    pub fn wake_when_writable(&self, waker: &Waker) {
        let shared = &*self.shared;
        let mut waiters = lock(&shared.waiters);
        if !waiters.writable.iter().any(|known| known.will_wake(waker)) {
            waiters.writable.push(waker.clone());
        }
        drop(waiters);
        if self.is_writable() {
            waker.wake_by_ref();
        }
    }

    pub fn figures(&self) -> Figures {
        let shared = &*self.shared;
        let (appended, queue_bytes, lost, refused) = {
            let queue = shared.lock_queue();
            (queue.next, queue.size() as u64, queue.lost, queue.refused)
        };
        let counts = &shared.counts;
        let load = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        let sync_times = shared.board.sync_times();
        Figures {
            state: shared.state(),
            appended,
            written: load(&counts.written),
            synced: load(&counts.synced),
            covered: load(&counts.covered),
            queue_bytes,
            queue_bytes_max: shared.queue_max as u64,
            last_sync: Duration::from_micros(load(&counts.last_sync_micros)),
            syncs: sync_times.count,
            sync_times,
            groups: std::array::from_fn(|i| load(&counts.groups[i])),
            grouped: load(&counts.grouped),
            bytes: load(&counts.bytes),
            segments: load(&counts.segments),
            checkpoints: load(&counts.checkpoints),
            signed: shared.board.signed(),
            failures: load(&counts.failures),
            refused,
            lost,
            copies_failed: load(&counts.copies_failed),
            copies: shared.board.copies(),
            sinks: shared.board.sinks(),
            unshipped: load(&counts.unshipped),
        }
    }

    /// What the log calls itself.
    pub fn origin(&self) -> &str {
        self.shared.board.origin()
    }

    /// When the stream was opened: what `mono` counts from.
    pub fn started(&self) -> Instant {
        self.shared.started
    }

    /// Writes the stop record and a last checkpoint, and ends the writer. Records of other clones are refused from here on.
    /// Blocks for as long as the disk takes, ten seconds at most.
    ///
    /// # Errors
    /// The log could not be written to its end.
    pub fn shutdown(self) -> Result<(), NotWritable> {
        let shared = &*self.shared;
        shared.close();
        let Some(handle) = lock(&shared.writer).take() else { return Err(NotWritable::Closed) };
        let patience = Instant::now() + SHUTDOWN_TIME;
        while !handle.is_finished() {
            if Instant::now() > patience {
                return Err(NotWritable::Failed);
            }
            thread::sleep(Duration::from_millis(2));
        }
        let _ = handle.join();
        shared.wake_all();
        lock(&shared.sinks).finish();
        let all = shared.lock_queue().next;
        let whole = shared.counts.synced.load(Ordering::Acquire) == all && lock(&shared.failure).is_none();
        if whole { Ok(()) } else { Err(NotWritable::Failed) }
    }
}

#[cfg(test)]
impl Stream {
    /// Runs something while the writer cannot go on: it has written a record of the kind `stall`, and cannot say so.
    pub(super) fn stalled<T>(&self, during: impl FnOnce() -> T) -> T {
        let _held = lock(&self.shared.waiters);
        let seq = self.append(b"\"kind\":\"stall\"").expect("room");
        while self.figures().written <= seq {
            thread::sleep(Duration::from_millis(1));
        }
        during()
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("state", &self.state()).finish_non_exhaustive()
    }
}

impl Shared {
    fn append(&self, kind: Kind, fields: &[u8]) -> Result<u64, NotWritable> {
        self.add(kind, fields.len(), |queue| queue.append(fields))
    }

    /// `length`: bytes that are given.
    fn add(&self, kind: Kind, length: usize, add: impl FnOnce(&mut Queue) -> u64) -> Result<u64, NotWritable> {
        let mut queue = self.lock_queue();
        if let Err(refusal) = self.admit(&queue, kind, length) {
            match kind {
                Kind::Intent => {}
                Kind::Statement => queue.refused += 1,
                Kind::Event | Kind::Outcome | Kind::Last => queue.lost += 1,
                // Refused by a closed log only, and then what it would have said is not done.
                Kind::Control => {}
            }
            return Err(refusal);
        }
        let seq = add(&mut queue);
        self.tell(&queue);
        self.rouse(queue);
        Ok(seq)
    }

    fn end(&self, seq: u64, ended: &Ended<'_>) -> Result<bool, NotWritable> {
        let mut queue = self.lock_queue();
        if !queue.is_open(seq) {
            return Ok(false);
        }
        if let Err(refusal) = self.admit(&queue, Kind::Outcome, 0) {
            queue.lost += 1;
            return Err(refusal);
        }
        let has_ended = queue.end(seq, ended);
        self.tell(&queue);
        self.rouse(queue);
        Ok(has_ended)
    }

    /// Wakes the writer where it has something to do: before it sleeps or naps it says so, and looks into the queue once more.
    fn rouse(&self, queue: MutexGuard<'_, Queue>) {
        let depth = if queue.size() >= self.hurry { NAPPING } else { ASLEEP };
        drop(queue);
        if self.sleep.load(Ordering::SeqCst) >= depth && self.sleep.swap(AWAKE, Ordering::SeqCst) != AWAKE {
            self.unpark();
        }
    }

    fn admit(&self, queue: &Queue, kind: Kind, length: usize) -> Result<(), NotWritable> {
        let limit = match kind {
            Kind::Intent | Kind::Statement => self.queue_max,
            Kind::Event => self.queue_max.saturating_mul(EVENTS),
            Kind::Outcome => self.queue_max.saturating_mul(OUTCOMES),
            Kind::Control | Kind::Last => usize::MAX,
        };
        if queue.closed && kind != Kind::Last {
            Err(NotWritable::Closed)
        } else if queue.failed && matches!(kind, Kind::Intent | Kind::Statement) {
            Err(NotWritable::Failed)
        } else if queue.size() >= limit || length > RECORD_MAX {
            Err(if queue.failed { NotWritable::Failed } else { NotWritable::Full })
        } else {
            Ok(())
        }
    }

    /// For those who do not ask the queue itself.
    fn tell(&self, queue: &Queue) {
        self.refuses.store(queue.failed || queue.size() >= self.queue_max, Ordering::Release);
    }

    /// Appends one of the log's own records, in spite of a full queue: they are few. Returns whether it did: a closed log
    /// refuses, and what the record says must not be done then.
    pub fn control(&self, control: &Control) -> bool {
        self.append(Kind::Control, &control.fields(self.started.elapsed())).is_ok()
    }

    /// As [`Shared::control`], by the writer, and to a closed log too.
    pub fn last(&self, control: &Control) {
        // Nothing refuses it.
        let _ = self.append(Kind::Last, &control.fields(self.started.elapsed()));
    }

    fn is_settled(&self, seq: u64) -> bool {
        match self.durability {
            Durability::Strict => seq < self.counts.synced.load(Ordering::Acquire),
            Durability::Group => seq < self.counts.written.load(Ordering::Acquire),
            Durability::Relaxed => true,
        }
    }

    fn state(&self) -> State {
        if let Some((since, error)) = lock(&self.failure).clone() {
            return State::Failed { since, error };
        }
        if self.lock_queue().size() >= self.queue_max { State::Full } else { State::Writing }
    }

    /// What waits, or as much of it as `what` says.
    pub fn take(&self, what: Take, taken: &mut Waiting) {
        let was_full = {
            let mut queue = self.lock_queue();
            let was_full = queue.size() >= self.queue_max;
            queue.take(taken, what);
            self.tell(&queue);
            was_full
        };
        if was_full {
            self.wake_writable();
        }
    }

    pub fn has_records(&self) -> bool {
        !self.lock_queue().is_empty()
    }

    /// Refuses everything from here on.
    pub fn close(&self) {
        self.lock_queue().closed = true;
        self.unpark();
        self.wake_all();
    }

    /// Called by the writer's thread: it is the one to wake.
    pub fn set_thread(&self) {
        self.thread.get_or_init(thread::current);
    }

    /// Records in all, waiting ones included.
    pub fn appended(&self) -> u64 {
        self.lock_queue().next
    }

    pub fn is_closed(&self) -> bool {
        self.lock_queue().closed
    }

    /// Says that the log cannot be written. Returns whether that is news.
    pub fn fail(&self, error: &str) -> bool {
        let mut failure = lock(&self.failure);
        let is_news = failure.is_none();
        match &mut *failure {
            Some((_, known)) if **known != *error => *known = error.into(),
            Some(_) => {}
            None => *failure = Some((SystemTime::now(), error.into())),
        }
        drop(failure);
        if is_news {
            self.counts.failures.fetch_add(1, Ordering::Relaxed);
            self.set_failed(true);
            self.wake_all();
        }
        is_news
    }

    /// Says that the log can be written again. Returns since when it could not, and why; absent where it could.
    pub fn recover(&self) -> Option<(SystemTime, Arc<str>)> {
        let failure = lock(&self.failure).take()?;
        self.set_failed(false);
        Some(failure)
    }

    fn set_failed(&self, failed: bool) {
        let mut queue = self.lock_queue();
        queue.failed = failed;
        self.tell(&queue);
    }

    pub fn shortfall(&self) -> Shortfall {
        let queue = self.lock_queue();
        Shortfall { lost: queue.lost, refused: queue.refused }
    }

    /// Wakes whoever waits for a record that is settled now.
    pub fn wake_settled(&self) {
        let mut ready = Vec::new();
        {
            let mut waiters = lock(&self.waiters);
            waiters.settled.retain_mut(|(seq, waker)| {
                let settled = self.is_settled(*seq);
                if settled {
                    ready.push(std::mem::replace(waker, Waker::noop().clone()));
                }
                !settled
            });
        }
        ready.into_iter().for_each(Waker::wake);
    }

    pub fn wake_writable(&self) {
        let ready = std::mem::take(&mut lock(&self.waiters).writable);
        ready.into_iter().for_each(Waker::wake);
    }

    pub fn wake_all(&self) {
        let settled = std::mem::take(&mut lock(&self.waiters).settled);
        settled.into_iter().for_each(|(_, waker)| waker.wake());
        self.wake_writable();
    }

    /// Lets records gather; ends early when somebody waits for one, or when they are many.
    pub fn nap(&self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            self.sleep.store(NAPPING, Ordering::SeqCst);
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.is_urgent() {
                break;
            }
            // What woke it may have been meant for an earlier nap.
            thread::park_timeout(left);
        }
        self.sleep.store(AWAKE, Ordering::SeqCst);
    }

    fn is_urgent(&self) -> bool {
        let queue = self.lock_queue();
        queue.size() >= self.hurry || queue.closed || self.wanted.load(Ordering::SeqCst)
    }

    /// Sleeps until somebody appends a record, or so long.
    pub fn sleep(&self, time: Duration) {
        self.sleep.store(ASLEEP, Ordering::SeqCst);
        let (is_idle, closed) = {
            let queue = self.lock_queue();
            (queue.is_empty(), queue.closed)
        };
        if is_idle && !closed {
            thread::park_timeout(time);
        }
        self.sleep.store(AWAKE, Ordering::SeqCst);
    }

    /// Whether somebody has waited since this was asked last.
    pub fn is_wanted(&self) -> bool {
        self.wanted.swap(false, Ordering::SeqCst)
    }

    fn unpark(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn lock_queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }
}

/// What the lock guards is whole at every point where a holder can panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
