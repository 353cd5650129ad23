//! The audit: a stream of records that proves that nothing was removed or changed, and what writes into it.
//!
//! [`Audit`] is a worker's end of it. A [`Ticket`] is the record of a message under way: it is opened before a byte of the
//! message leaves, and closed on every path, drop included. [`stream`] takes the records of all workers in one order; one
//! thread writes, hashes and signs them. Where there is no audit, tickets measure time and write nothing.

mod control;
mod copies;
mod figures;
mod leaves;
mod line;
mod queue;
pub mod raw;
pub mod read;
mod reads;
mod recover;
mod retention;
mod rounds;
pub mod segment;
mod sink;
pub mod stream;
mod tail;
#[cfg(test)]
mod tests;
mod writer;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

pub use control::RECORD_VERSION;
pub use copies::COPIES;
pub use figures::{CopyFigures, Signed, SinkFigures};
pub use reads::Announcement;
pub use recover::{OpenError, TORN};
pub use stream::{Figures, NotWritable, State, Stream};

use crate::chain::{Checkpoint, notes};
use crate::config::{self, Durability, Values};
use crate::record::{self, Answer, At, Ended, HashKey, Intent, Kept, Outcome, RawText, Show, TextMark, Who};
use crate::sql::{Analysis, Column, Statement};

/// A worker's end of the audit. Clones share it.
#[derive(Clone, Default)]
pub struct Audit {
    log: Option<Rc<Log>>,
}

/// The log, as a worker sees it.
struct Log {
    stream: Stream,
    /// The client waits for the record of what it sees.
    holds: bool,
    values: Policies,
    hash_key: Option<HashKey>,
    text_key: HashKey,
    /// Absent where texts are not kept.
    sealers: Option<raw::Sealers>,
    /// What the machine's clock and the stream's age were when they were compared last.
    clock: Cell<(Instant, At)>,
    started: Instant,
    /// Room to encode a record in, before anybody waits for it.
    fields: Cell<Vec<u8>>,
}

/// Room that is kept from one record to the next.
const FIELDS_KEPT: usize = 64 << 10;

/// What records may say of values.
struct Policies {
    default: Show,
    /// Of a value whose column is not certain: it may be of any.
    doubtful: Show,
    /// By `schema.table.column`.
    columns: BTreeMap<Arc<str>, Show>,
}

impl Policies {
    fn of(config: &config::Audit) -> Self {
        let show = |values| match values {
            Values::Omit => Show::Omit,
            Values::Hash => Show::Hash,
            Values::Clear => Show::Clear,
        };
        let default = show(config.parameters);
        let columns: BTreeMap<_, _> =
            config.columns.iter().map(|(name, values)| (name.clone(), show(*values))).collect();
        let doubtful = columns.values().copied().fold(default, Show::min);
        Self { default, doubtful, columns }
    }

    fn of_parameter(&self, statements: &[Statement], number: u16) -> Show {
        if self.columns.is_empty() {
            return self.default;
        }
        let known = statements.iter().flat_map(|it| &it.facts.parameters).find(|it| it.number == number);
        known.map_or(self.doubtful, |known| {
            known.columns.iter().map(|it| self.of_column(it)).fold(Show::Clear, Show::min)
        })
    }

    /// A name without its schema may be of any schema that has one like it.
    fn of_column(&self, column: &Column) -> Show {
        let is_it = |name: &str| {
            let mut parts = name.rsplitn(3, '.');
            let same = (parts.next(), parts.next()) == (Some(&*column.name), Some(&*column.relation));
            same && column.schema.as_deref().is_none_or(|schema| parts.next().is_none_or(|other| other == schema))
        };
        let listed = self.columns.iter().filter(|(name, _)| is_it(name)).map(|(_, show)| *show);
        listed.min().unwrap_or(self.default)
    }
}

/// After so long the machine's clock is looked at again; until then time is counted from there.
const CLOCK_LIFETIME: Duration = Duration::from_millis(200);

/// A message under way.
pub struct Ticket {
    opened_at: Instant,
    of_statement: bool,
    /// Absent where there is no audit, and once it is closed.
    open: Option<Open>,
}

/// What became of the record of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// There is no audit.
    Nothing,
    /// The log has it, under this number.
    Taken(u64),
    /// The log had no room for it; it counts what it could not take.
    Lost,
}

struct Open {
    log: Rc<Log>,
    who: Rc<Who>,
    seq: u64,
}

impl Audit {
    /// `stream`: absent for no audit.
    pub fn new(stream: Option<(Stream, &config::Audit)>) -> Self {
        let log = stream.map(|(stream, config)| {
            let now = Instant::now();
            Rc::new(Log {
                started: Instant::from_std(stream.started()),
                holds: config.durability == Durability::Strict,
                values: Policies::of(config),
                text_key: HashKey::derived(config.hash_key.as_ref().unwrap_or(&config.key).expose().as_bytes()),
                sealers: config.raw_text_keys.as_ref().map(|keys| raw::Sealers::new(keys, stream.origin())),
                hash_key: config.hash_key.as_ref().and_then(|key| key_bytes(key.expose())).map(HashKey::new),
                clock: Cell::new((now, moment(now, Instant::from_std(stream.started())))),
                stream,
                fields: Cell::default(),
            })
        });
        Self { log }
    }

    /// Whether there is a log.
    pub fn is_on(&self) -> bool {
        self.log.is_some()
    }

    /// What a record may say of the parameters of these statements, and the key for their hashes.
    pub fn values<'a>(&'a self, statements: &'a [Statement]) -> (impl Fn(u16) -> Show + 'a, Option<&'a HashKey>) {
        let log = self.log.as_deref();
        let show = move |number| log.map_or(Show::Omit, |log| log.values.of_parameter(statements, number));
        (show, log.and_then(|log| log.hash_key.as_ref()))
    }

    /// What a record tells of a text.
    pub fn mark(&self, text: &[u8]) -> Option<TextMark> {
        self.log.as_ref().map(|log| log.text_key.mark(text))
    }

    /// What a record keeps of a tenant's text as it is; nothing without a key of that tenant's.
    pub fn keep(&self, tenant: Option<&Arc<str>>, text: &[u8], analysis: &Analysis) -> Option<Kept> {
        let sealers = self.log.as_ref()?.sealers.as_ref()?;
        let tenant = tenant.filter(|tenant| sealers.has_key(tenant))?;
        match RawText::of(text, analysis) {
            RawText::LeaveOut(why) => Some(Kept::LeftOut(why)),
            RawText::Keep { text, cut } => sealers.seal(tenant, &text).map(|sealed| Kept::Sealed { sealed, cut }),
        }
    }

    /// A ticket of which nothing is written.
    pub fn unrecorded(&self, now: Instant) -> Ticket {
        Ticket { opened_at: now, of_statement: true, open: None }
    }

    /// The record of a message that is about to be forwarded. `of_statement`: it runs one.
    ///
    /// # Errors
    /// It cannot be recorded: it must not be forwarded.
    pub fn open(&self, intent: &Intent<'_>, of_statement: bool, now: Instant) -> Result<Ticket, NotWritable> {
        let Some(log) = &self.log else { return Ok(self.unrecorded(now)) };
        let at = log.at(now);
        let seq = log.encoded(|out| intent.put_rest(out), |rest| log.stream.append_intent(at, intent, rest))?;
        Ok(Ticket { opened_at: now, of_statement, open: Some(Open { log: log.clone(), who: intent.who.clone(), seq }) })
    }

    /// A record of what has happened already. Its number, if it was taken; the log counts what was not.
    pub fn note(&self, now: Instant, write: impl FnOnce(&mut Vec<u8>, At)) -> Option<u64> {
        let log = self.log.as_ref()?;
        let at = log.at(now);
        log.encoded(|out| write(out, at), |fields| log.stream.append_event(fields)).ok()
    }

    /// As [`Audit::note`], but not taken while the log cannot be written.
    pub fn try_note(&self, now: Instant, write: impl FnOnce(&mut Vec<u8>, At)) -> Option<u64> {
        let log = self.log.as_ref()?;
        let at = log.at(now);
        log.encoded(|out| write(out, at), |fields| log.stream.append(fields)).ok()
    }

    /// Whether a message can be recorded now.
    pub fn is_writable(&self) -> bool {
        self.log.as_ref().is_none_or(|log| log.stream.is_writable())
    }

    /// Ready when a message can be recorded; `cx` is woken when that may be.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(log) = &self.log else { return Poll::Ready(()) };
        if log.stream.is_writable() {
            return Poll::Ready(());
        }
        log.stream.wake_when_writable(cx.waker());
        Poll::Pending
    }

    /// Whether a client waits for the record of what it sees: `strict`.
    pub fn holds(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.holds)
    }

    /// Whether the client may hear of what this record says.
    pub fn is_settled(&self, seq: u64) -> bool {
        self.log.as_ref().is_none_or(|log| !log.holds || log.stream.is_settled(seq))
    }

    /// As [`Audit::is_settled`]; `cx` is woken when that may be.
    pub fn poll_settled(&self, seq: u64, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_settled(seq) {
            return Poll::Ready(());
        }
        if let Some(log) = &self.log {
            log.stream.wake_when_settled(seq, cx.waker());
        }
        Poll::Pending
    }
}

impl Log {
    /// Encodes a record's fields where no other worker waits for it, and hands them on.
    fn encoded<T>(&self, write: impl FnOnce(&mut Vec<u8>), hand_on: impl FnOnce(&[u8]) -> T) -> T {
        let mut fields = self.fields.take();
        fields.clear();
        write(&mut fields);
        let done = hand_on(&fields);
        if fields.capacity() <= FIELDS_KEPT {
            self.fields.set(fields);
        }
        done
    }

    /// The moment for a record: the machine's clock, looked at now and then.
    fn at(&self, now: Instant) -> At {
        let (then, at) = self.clock.get();
        let since = now.saturating_duration_since(then);
        if since >= CLOCK_LIFETIME {
            let at = moment(now, self.started);
            self.clock.set((now, at));
            return at;
        }
        let since_us = since.as_micros() as u64;
        at.later(since_us)
    }
}

/// A moment by the machine's clock, and by the age of a stream that was opened at `started`.
fn moment(now: Instant, started: Instant) -> At {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    At::new(unix.as_micros() as u64, now.saturating_duration_since(started).as_micros() as u64)
}

/// 64 hexadecimal digits.
fn key_bytes(text: &str) -> Option<[u8; 32]> {
    let digits = text.trim().as_bytes();
    let mut key = [0; 32];
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    (digits.len() == 64).then_some(key)
}

/// A record's line as it is in the log's files, without its end.
///
/// # Errors
/// It is not there.
pub fn record_at(directory: &Path, seq: u64) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    tail::Tail::open(directory, seq)?.read(seq + 1, &mut line)?;
    line.pop();
    Ok(line)
}

/// What the log in a directory calls itself in its checkpoints. Nothing is verified.
///
/// # Errors
/// There is no checkpoint to be read.
pub fn origin_of(directory: &Path) -> io::Result<String> {
    let missing = || io::Error::new(io::ErrorKind::NotFound, "no checkpoint of a log");
    for first in segment::segments(directory)? {
        let file = std::fs::read(segment::checkpoints_path(directory, first))?;
        if let Some(note) = notes(&file).0.first() {
            return Ok(Checkpoint::from_note(note).map_err(io::Error::other)?.0.origin);
        }
    }
    Err(missing())
}

impl Ticket {
    /// It is of a statement that runs, and not of the preparation of one.
    pub fn is_of_statement(&self) -> bool {
        self.of_statement
    }

    /// Records how it ended. Returns how long it took, and what became of the outcome's record.
    pub fn close(mut self, outcome: Outcome, answer: &Answer, now: Instant) -> (Duration, Recorded) {
        self.end(outcome, answer, now)
    }

    fn end(&mut self, outcome: Outcome, answer: &Answer, now: Instant) -> (Duration, Recorded) {
        let took = now.saturating_duration_since(self.opened_at);
        let Some(Open { log, who, seq }) = self.open.take() else { return (took, Recorded::Nothing) };
        let ended = Ended::new(outcome, answer, took.as_micros() as u64);
        let taken = match log.stream.end(seq, &ended) {
            Ok(true) => Ok(seq),
            Ok(false) => {
                let at = log.at(now);
                let write = |out: &mut Vec<u8>| record::outcome(out, at, &who, seq, &ended);
                log.encoded(write, |fields| log.stream.append_outcome(fields))
            }
            Err(error) => Err(error),
        };
        (took, taken.map_or(Recorded::Lost, Recorded::Taken))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.open.is_some() {
            self.end(Outcome::Abandoned, &Answer::default(), Instant::now());
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seq = self.open.as_ref().map(|open| open.seq);
        f.debug_struct("Ticket").field("seq", &seq).finish_non_exhaustive()
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").field("on", &self.is_on()).finish()
    }
}
