//! What a tenant may use: its statements are counted against a rate, their answers measured, its times looked at.
//!
//! Nothing here relies on a setting of the server's, which a client could change. A session of a tenant without limits pays
//! for them with one look at an `Option`. Invariants: an answer that is too large ends with one error, where a message
//! begins, and never with half a row; while an answer is measured nothing but a Sync is sent behind its statement, so that
//! what the client is told has failed has not gone on; the transaction around it fails, as it does for an error of the
//! server's. A statement that has finished and committed before it could be stopped and was no mere read ends the session:
//! the client must not take it for undone.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::BufMut;
use tokio::time::Instant;

use super::assembly::Assembly;
use super::frontend::FLUSH;
use super::handle::{Handle, Stopped};
use super::refuse::{POISON, SYNC};
use super::{CloseReason, Event, Owed, Session, encode, encode_as};
use crate::config::Limits;
use crate::fault::{Fault, Report, Severity, SqlState};
use crate::metrics::{ClientState, LimitKind};
use crate::pool::tenants::TenantShare;
use crate::reply::{Expect, Show};
use crate::wire::frame::TxStatus;

/// A statement that is still running so long after it was cancelled takes its session with it.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Ends a COPY FROM STDIN that the client was never told of.
const COPY_FAIL: &[u8] = b"f\0\0\0\x05\0";

/// Times are taken as of the last tick, which may be so old: what is within its limit is never taken for over it.
const TICK: Duration = Duration::from_millis(100);

/// Counts one statement's answer.
#[derive(Debug, Default)]
pub(super) struct Meter {
    rows: u64,
    bytes: u64,
    /// At most; zero: any number.
    rows_max: u64,
    bytes_max: u64,
    cut: Option<Cut>,
}

/// An answer that was too large: the rest of it is swallowed.
#[derive(Debug)]
struct Cut {
    limit: LimitKind,
    /// Something that did more than read has finished since.
    wrote: bool,
}

/// What becomes of a session that is over a limit.
pub(super) enum Overdue {
    Cancel,
    End(LimitKind),
}

/// Looks at a session's times.
pub(super) fn look(tenant: &TenantShare, handle: &Handle, now: Instant) -> Option<Overdue> {
    let limits = tenant.limits.get();
    let over = |limit: Option<Duration>, since: Instant| {
        limit.is_some_and(|limit| now.saturating_duration_since(since) > limit + TICK)
    };
    if handle.transaction_since.get().is_some_and(|since| over(limits.transaction_time, since)) {
        return Some(Overdue::End(LimitKind::TransactionTime));
    }
    match (handle.state.get(), handle.stopped.get()) {
        (ClientState::IdleInTransaction, _) if over(limits.idle_in_transaction_time, handle.since.get()) => {
            Some(Overdue::End(LimitKind::IdleInTransactionTime))
        }
        (ClientState::Active, Some(Stopped { at, limit: Some(limit) })) if over(Some(STOP_GRACE), at) => {
            Some(Overdue::End(limit))
        }
        (ClientState::Active, None) if handle.busy.get() && over(limits.statement_time, handle.since.get()) => {
            handle.stopped.set(Some(Stopped { at: now, limit: Some(LimitKind::StatementTime) }));
            tenant.count_limited(LimitKind::StatementTime);
            Some(Overdue::Cancel)
        }
        (
            ClientState::Active
            | ClientState::Waiting
            | ClientState::Idle
            | ClientState::IdleInTransaction
            | ClientState::Login
            | ClientState::Closing,
            _,
        ) => None,
    }
}

impl Session {
    /// Counts statements that the client wants run, once. `Err`: why not now.
    pub(super) fn pay(&mut self, statements: usize) -> Result<(), Box<[u8]>> {
        let Some(tenant) = &self.handle.tenant else { return Ok(()) };
        if self.paid {
            return Ok(());
        }
        let taken = tenant.take_statements(|| self.context.pools.since_start(), statements);
        taken.map_err(|wait| encode(&Exceeded::of(tenant, LimitKind::StatementsPerSecond).after(wait)))?;
        self.paid = true;
        Ok(())
    }

    /// A statement is forwarded.
    pub(super) fn note_statement(&mut self) {
        let Some(tenant) = &self.handle.tenant else { return };
        self.paid = false;
        tenant.statements.set(tenant.statements.get() + 1);
        let Limits { rows, bytes, .. } = tenant.limits.get();
        if rows.is_none() && bytes.is_none() {
            self.meter = None;
            return;
        }
        let (rows_max, bytes_max) = (rows.unwrap_or(0), bytes.unwrap_or(0));
        self.meter = Some(Box::new(Meter { rows_max, bytes_max, ..Meter::default() }));
    }

    /// A statement is about to be sent behind others: the server is to answer those first, not all at the Sync, where each
    /// one's time is looked at.
    pub(super) fn part_from_others(&self, assembly: &mut Assembly<'_>) {
        let timed = |tenant: &TenantShare| tenant.limits.get().statement_time.is_some();
        if self.handle.tenant.as_ref().is_some_and(|tenant| timed(tenant)) && self.queue.runs_statement() {
            assembly.own().put_slice(FLUSH);
        }
    }

    /// A message of this type must wait until the answer under way has been measured.
    pub(super) fn waits_for_meter(&self, tag: u8) -> bool {
        self.meter.is_some()
            && match tag {
                b'Q' | b'P' | b'B' | b'D' | b'E' | b'C' => self.queue.runs_statement(),
                b'S' => self.queue.owes_ready(),
                _ => false,
            }
    }

    /// Our own cancel request is on its way, and what it was for is over: it must not hit what comes next.
    pub(super) fn is_stopping(&self) -> bool {
        self.handle.cancels.get() > 0 && self.handle.stopped.get().is_some() && self.queue.is_empty()
    }

    pub(super) fn is_cutting(&self) -> bool {
        self.meter.as_ref().is_some_and(|meter| meter.cut.is_some())
    }

    /// Measures a row, or a piece of a COPY, by its message's length. Whether the client gets it.
    pub(super) fn measure(&mut self, length: usize) -> bool {
        let Some(meter) = &mut self.meter else { return true };
        if meter.cut.is_some() {
            return false;
        }
        meter.rows += 1;
        meter.bytes = meter.bytes.saturating_add(length as u64);
        let limit = if meter.rows_max != 0 && meter.rows > meter.rows_max {
            LimitKind::Rows
        } else if meter.bytes_max != 0 && meter.bytes > meter.bytes_max {
            LimitKind::Bytes
        } else {
            return true;
        };
        meter.cut = Some(Cut { limit, wrote: false });
        if let Some(tenant) = &self.handle.tenant {
            tenant.count_limited(limit);
        }
        self.handle.stopped.set(Some(Stopped { at: self.context.now.get(), limit: Some(limit) }));
        self.context.cancel_statement(self.handle.clone(), None);
        false
    }

    /// A message of the server that answered a statement, which is under way or over now.
    pub(super) fn measured(&mut self, tag: u8, body: &[u8]) {
        let Some(meter) = &mut self.meter else { return };
        match (tag, &mut meter.cut) {
            (b'C' | b'I' | b's', None) => (meter.rows, meter.bytes) = (0, 0),
            (b'C' | b'I' | b's', Some(cut)) => {
                cut.wrote |= tag == b'C' && !READS.iter().any(|verb| body.starts_with(verb));
                if self.queue.is_empty() {
                    // Its Sync has not been sent: the server is made to fail in its place.
                    self.fail_at_server(POISON);
                }
            }
            (b'G', Some(_)) => {
                self.queue.end_copy(Owed::default());
                if let Some(bound) = &mut self.bound {
                    bound.unsent.put_slice(COPY_FAIL);
                }
            }
            (_, _) => {}
        }
    }

    /// The server is ready for the next query. Whether the client is to know; or the session's end.
    pub(super) fn measured_ready(&mut self, status: TxStatus, assembly: &mut Assembly<'_>) -> Result<bool, Event> {
        let Some(Cut { limit, wrote }) = self.meter.as_mut().and_then(|meter| meter.cut.take()) else {
            return Ok(true);
        };
        match status {
            TxStatus::Open => {
                if let Some(meter) = &mut self.meter {
                    meter.cut = Some(Cut { limit, wrote });
                }
                self.fail_at_server(POISON);
                if let Some(bound) = &mut self.bound {
                    bound.unsent.put_slice(SYNC);
                }
                self.queue.push(Expect::Sync, Show::Forward, Owed::default());
                Ok(false)
            }
            TxStatus::Idle if wrote => {
                // Behind the rows that are still in the assembly.
                let error = Exceeded::of_session(self, limit).committed();
                assembly.own().put_slice(&encode_as(&error, Severity::Fatal));
                Err(Event::Close(CloseReason::OverLimit(limit)))
            }
            TxStatus::Idle | TxStatus::Failed => {
                assembly.own().put_slice(&encode(&Exceeded::of_session(self, limit)));
                Ok(true)
            }
        }
    }

    /// The answer is over. The server is sent what it fails at, and the client gets our error for it.
    fn fail_at_server(&mut self, poison: &[u8]) {
        let Some(error) = self.take_cut() else { return };
        if let Some(bound) = &mut self.bound {
            bound.unsent.put_slice(poison);
        }
        self.queue.push(Expect::Poison(error), Show::Forward, Owed::default());
    }

    /// The error in place of the rest of an answer that was too large, and of what the server said about it.
    pub(super) fn take_cut(&mut self) -> Option<Box<[u8]>> {
        let cut = self.meter.as_mut()?.cut.take()?;
        Some(encode(&Exceeded::of_session(self, cut.limit)))
    }

    /// The error in place of the server's own, where it says that a statement was cancelled and we asked for it.
    pub(super) fn stopped_error(&self, sqlstate: &[u8]) -> Option<Box<[u8]>> {
        let limit = self.handle.stopped.get().filter(|_| sqlstate == SqlState::QUERY_CANCELED.0)?.limit?;
        (limit == LimitKind::StatementTime).then(|| encode(&Exceeded::of_session(self, limit)))
    }

    /// The session has been over a limit for as long as the tick has seen it. Ends it, where that is still so.
    pub(super) fn end_over(&mut self, limit: LimitKind) -> Option<Event> {
        let still = match limit {
            LimitKind::TransactionTime => self.handle.transaction_since.get().is_some(),
            LimitKind::IdleInTransactionTime => self.bound.is_some() && self.queue.is_empty(),
            LimitKind::StatementTime | LimitKind::Rows | LimitKind::Bytes => {
                self.handle.stopped.get().is_some() && !self.queue.is_empty()
            }
            LimitKind::Connections | LimitKind::StatementsPerSecond => false,
        };
        if !still {
            return None;
        }
        let timed = matches!(limit, LimitKind::TransactionTime | LimitKind::IdleInTransactionTime);
        if let Some(tenant) = self.handle.tenant.as_ref().filter(|_| timed) {
            tenant.count_limited(limit);
        }
        if self.is_cutting() || self.bound.as_ref().is_none_or(|bound| bound.passing == 0) {
            let error = Exceeded::of_session(self, limit);
            self.fatal_as(&error, CloseReason::OverLimit(limit));
        }
        Some(Event::Close(CloseReason::OverLimit(limit)))
    }
}

/// What a CommandComplete begins with where the statement itself only read.
const READS: [&[u8]; 4] = [b"SELECT ", b"FETCH ", b"COPY ", b"SHOW"];

/// A tenant's limit was reached.
#[derive(Debug, Clone)]
pub struct Exceeded {
    tenant: Arc<str>,
    limit: LimitKind,
    limits: Limits,
    wait: Duration,
    committed: bool,
}

impl Exceeded {
    pub fn of(tenant: &TenantShare, limit: LimitKind) -> Self {
        let (tenant, limits) = (tenant.name.clone(), tenant.limits.get());
        Self { tenant, limit, limits, wait: Duration::ZERO, committed: false }
    }

    fn of_session(session: &Session, limit: LimitKind) -> Self {
        match &session.handle.tenant {
            Some(tenant) => Self::of(tenant, limit),
            None => {
                Self { tenant: "".into(), limit, limits: Limits::default(), wait: Duration::ZERO, committed: false }
            }
        }
    }

    /// There is room again after so long.
    fn after(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }

    fn committed(self) -> Self {
        Self { committed: true, ..self }
    }
}

impl Report for Exceeded {
    fn fault(&self) -> Fault {
        Fault::Capacity
    }

    fn severity(&self) -> Severity {
        match self.limit {
            LimitKind::StatementsPerSecond | LimitKind::StatementTime | LimitKind::Rows | LimitKind::Bytes => {
                Severity::Error
            }
            LimitKind::Connections | LimitKind::TransactionTime | LimitKind::IdleInTransactionTime => Severity::Fatal,
        }
    }

    fn sqlstate(&self) -> SqlState {
        match self.limit {
            LimitKind::Connections => SqlState::TOO_MANY_CONNECTIONS,
            LimitKind::StatementsPerSecond | LimitKind::Rows | LimitKind::Bytes => {
                SqlState::CONFIGURATION_LIMIT_EXCEEDED
            }
            LimitKind::StatementTime => SqlState::QUERY_CANCELED,
            LimitKind::TransactionTime | LimitKind::IdleInTransactionTime => {
                SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
            }
        }
    }

    fn message(&self) -> Cow<'_, str> {
        let Self { tenant, limits, .. } = self;
        let count = |limit: Option<u64>| limit.map_or_else(|| "its limit of".to_owned(), |limit| limit.to_string());
        let time = |limit: Option<Duration>| limit.map_or_else(|| "it may".to_owned(), span);
        let small = |limit: Option<u32>| count(limit.map(u64::from));
        match self.limit {
            LimitKind::Connections => {
                format!("tenant \"{tenant}\" has {} connections already", small(limits.connections))
            }
            LimitKind::StatementsPerSecond => {
                format!(
                    "tenant \"{tenant}\" sends more than {} statements a second",
                    small(limits.statements_per_second)
                )
            }
            LimitKind::StatementTime => format!(
                "canceling statement because it took longer than {}, the limit of tenant \"{tenant}\"",
                time(limits.statement_time)
            ),
            LimitKind::TransactionTime => format!(
                "terminating connection because its transaction took longer than {}, the limit of tenant \"{tenant}\"",
                time(limits.transaction_time)
            ),
            LimitKind::IdleInTransactionTime => format!(
                "terminating connection because it was idle in a transaction for longer than {}, the limit of tenant \
                 \"{tenant}\"",
                time(limits.idle_in_transaction_time)
            ),
            LimitKind::Rows => {
                format!("the result has more than {} rows, the limit of tenant \"{tenant}\"", count(limits.rows))
            }
            LimitKind::Bytes => {
                format!("the result has more than {} bytes, the limit of tenant \"{tenant}\"", count(limits.bytes))
            }
        }
        .into()
    }

    fn detail(&self) -> Option<Cow<'_, str>> {
        self.committed.then(|| "The statement had finished before it could be stopped: what it changed stays.".into())
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        let hint: Cow<'_, str> = match self.limit {
            LimitKind::Connections => "Close connections that are not used, or use a smaller pool of them.".into(),
            LimitKind::StatementsPerSecond => {
                format!("Try again in {} ms, and send fewer statements.", self.wait.as_millis() + 1).into()
            }
            LimitKind::StatementTime => "Make the statement do less, or look for an index that it needs.".into(),
            LimitKind::TransactionTime | LimitKind::IdleInTransactionTime => {
                "Keep transactions short, and wait for nothing else inside them. It was rolled back.".into()
            }
            LimitKind::Rows | LimitKind::Bytes => {
                "Ask for less with LIMIT or a condition, or fetch the result in parts with a cursor.".into()
            }
        };
        Some(hint)
    }
}

/// `1500 ms`, `30 s`.
fn span(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{} s", duration.as_secs()),
        _ => format!("{} ms", duration.as_millis()),
    }
}
