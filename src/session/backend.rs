//! What becomes of each message of the server.

use std::sync::Arc;

use bytes::BytesMut;

use super::assembly::Assembly;
use super::refuse::Unsupported;
use super::statements::{ServerName, note_new_shapes};
use super::{CloseReason, Event, Flow, LastWords, Owed, Pass, Session, Undo, encode};
use crate::audit::Ticket;
use crate::metrics::ClientState;
use crate::pool::BackendClose;
use crate::record::Outcome;
use crate::reply::Deliver;
use crate::wire::frame::{self, ErrorFields, FrameError, HEADER, Header, TxStatus};
use crate::wire::message;

/// A message that must be whole before it is judged, at most (bytes). Rows, notices and descriptions are passed on as
/// they come, whatever their size.
const WHOLE_MAX: usize = 64 << 20;

/// Any message, at most: PostgreSQL's own limit.
const MESSAGE_MAX: usize = 0x3fff_ffff;

impl Session {
    /// Walks the server's messages; returns how many bytes are dealt with.
    pub(super) fn take_replies(&mut self, bytes: &[u8], assembly: &mut Assembly<'_>) -> (usize, Option<Event>) {
        let mut at = self.pass_rest(bytes, assembly);
        loop {
            let rest = &bytes[at..];
            let header = match Header::read(rest, MESSAGE_MAX) {
                Ok(Some(header)) => header,
                Ok(None) => return (at, None),
                Err(error) => return (at, Some(self.broken(&error))),
            };
            let here = rest.len().min(header.total());
            match header.tag {
                b'D' | b'd' if self.queue.forwards_rows() => {
                    self.note_row(header.total());
                    if self.meter.is_none() || self.measure(header.total()) {
                        assembly.take(at, at + here);
                    }
                    self.expect_rest(header.total() - here);
                }
                b'N' if self.queue.is_secret() && header.total() <= WHOLE_MAX => {
                    if here < header.total() {
                        return (at, None);
                    }
                }
                b'N' => {
                    if !self.is_cutting() {
                        assembly.take(at, at + here);
                    }
                    self.expect_rest(header.total() - here);
                }
                b'T' | b't' => {
                    if let Some(event) = self.reply(header.tag, &[], at, at + here, assembly) {
                        return (at, Some(event));
                    }
                    self.expect_rest(header.total() - here);
                }
                _ if header.total() > WHOLE_MAX => {
                    return (at, Some(self.broken(&"a message of the server is too large to be held")));
                }
                _ if here < header.total() => return (at, None),
                b'A' => assembly.take(at, at + here),
                b'S' => match self.parameter(&rest[HEADER..here]) {
                    Ok(None) => assembly.take(at, at + here),
                    Ok(Some((name, value))) => message::parameter_status(assembly.own(), &name, &value),
                    Err(error) => return (at, Some(self.broken(&error))),
                },
                b'E' => {
                    if let Some(event) = self.error_reply(&rest[HEADER..here], at, at + here, assembly) {
                        return (at + here, Some(event));
                    }
                }
                b'Z' => {
                    if let Some(event) = self.ready(&rest[HEADER..here], at, at + here, assembly) {
                        return (at, Some(event));
                    }
                }
                tag => {
                    if let Some(event) = self.reply(tag, &rest[HEADER..here], at, at + here, assembly) {
                        return (at, Some(event));
                    }
                }
            }
            at += here;
        }
    }

    /// The rest of a message whose beginning was passed on.
    fn pass_rest(&mut self, bytes: &[u8], assembly: &mut Assembly<'_>) -> usize {
        let cutting = self.is_cutting();
        let Some(bound) = &mut self.bound else { return 0 };
        let count = bound.passing.min(bytes.len());
        if count > 0 {
            bound.passing -= count;
            if !cutting {
                assembly.take(0, count);
            }
        }
        count
    }

    /// Notes a ParameterStatus that is on its way to the client. After a reset the client is told what its session goes
    /// back to, which are the values it connected with, and not the server's defaults.
    #[expect(clippy::type_complexity, reason = "the name and value to tell instead")]
    fn parameter(&mut self, body: &[u8]) -> Result<Option<(Arc<str>, Arc<str>)>, FrameError> {
        let Some(bound) = &mut self.bound else { return Ok(None) };
        bound.note_parameter(body)?;
        let (name, value) = frame::parameter_status(body)?;
        if let (Ok(name), Ok(value)) = (std::str::from_utf8(name), std::str::from_utf8(value)) {
            let own = match &self.flow {
                Flow::After(after) if after.resets() => {
                    // Settings are kept by their names in lower case.
                    self.startup.value(&name.to_ascii_lowercase()).and_then(|_| self.told.at_login(name))
                }
                Flow::After(_) | Flow::Before | Flow::Leaving | Flow::Open => None,
            };
            if let Some(own) = own.filter(|own| **own != *value) {
                self.told.note(name, own.clone());
                return Ok(Some((name.into(), own)));
            }
            self.told.note(name, value.into());
        }
        Ok(None)
    }

    fn expect_rest(&mut self, count: usize) {
        if let Some(bound) = &mut self.bound {
            bound.passing = count;
        }
    }

    /// A reply to the head of the queue. `body`: where all of it is here.
    fn reply(&mut self, tag: u8, body: &[u8], from: usize, to: usize, assembly: &mut Assembly<'_>) -> Option<Event> {
        if tag == b'D' && self.queue.is_secret() && !self.bound.as_ref().is_some_and(|bound| bound.has_entered(body)) {
            return Some(Event::BackendLost(LastWords { without_context: true, ..LastWords::default() }));
        }
        match self.queue.receive(tag) {
            Ok(received) => {
                let is_clients = received.deliver == Deliver::Forward;
                if tag == b'C' && is_clients {
                    self.note_command(body);
                }
                if let (b'C', Flow::After(after), true) = (tag, &mut self.flow, is_clients) {
                    after.completed += 1;
                }
                self.deliver(received.deliver, from, to, assembly);
                if let Some(owed) = received.done {
                    self.completed(owed, Outcome::Completed);
                }
                self.emit_synthesised(assembly.own_if(self.queue.is_synthesised_next()));
                if self.meter.is_some() && is_clients {
                    self.measured(tag, body);
                }
                None
            }
            Err(mismatch) => Some(self.broken(&mismatch)),
        }
    }

    fn ready(&mut self, body: &[u8], from: usize, to: usize, assembly: &mut Assembly<'_>) -> Option<Event> {
        let status = match TxStatus::read(body) {
            Ok(status) => status,
            Err(error) => return Some(self.broken(&error)),
        };
        let outcome = if self.queue.has_failed() { Outcome::Failed } else { Outcome::Completed };
        match self.queue.receive(b'Z') {
            Ok(received) => {
                if let Some(owed) = received.done {
                    self.completed(owed, outcome);
                }
                let is_clients = received.deliver != Deliver::Withhold;
                self.sealing.settle(is_clients.then_some(status));
                if !is_clients {
                    return None;
                }
                if let Some(bound) = &mut self.bound {
                    bound.status = status;
                }
                if status == TxStatus::Idle && self.reshapes {
                    // Before the client knows, and may tell others. What is still owed may change more.
                    note_new_shapes();
                    self.reshapes = !self.queue.is_empty();
                }
                if status == TxStatus::Idle && self.handle.transaction_since.get().is_some() {
                    // What was sent behind it is another transaction.
                    self.handle.transaction_since.set(Some(self.context.now.get()));
                }
                match self.measured_ready(status, assembly) {
                    Ok(true) => self.deliver(received.deliver, from, to, assembly),
                    Ok(false) => {}
                    Err(event) => return Some(event),
                }
                self.emit_synthesised(assembly.own_if(self.queue.is_synthesised_next()));
                None
            }
            Err(mismatch) => Some(self.broken(&mismatch)),
        }
    }

    fn deliver(&self, deliver: Deliver, from: usize, to: usize, assembly: &mut Assembly<'_>) {
        match deliver {
            Deliver::Forward if self.is_cutting() => {}
            Deliver::Forward => assembly.take(from, to),
            Deliver::Swallow | Deliver::Withhold => {}
            Deliver::Replace(bytes) => assembly.own().extend_from_slice(&bytes),
        }
    }

    fn error_reply(&mut self, body: &[u8], from: usize, to: usize, assembly: &mut Assembly<'_>) -> Option<Event> {
        let fields = ErrorFields::read(body);
        let words = |without_context| LastWords {
            code: String::from_utf8_lossy(fields.code).into_owned(),
            message: String::from_utf8_lossy(fields.message).into_owned(),
            without_context,
        };
        if fields.is_fatal() {
            return Some(Event::BackendLost(words(false)));
        }
        if self.queue.is_secret() {
            return Some(Event::BackendLost(words(true)));
        }
        let mut dropped = Vec::new();
        let Some(deliver) = self.queue.receive_error(|owed| dropped.push(owed)) else {
            return Some(Event::BackendLost(words(false)));
        };
        let refused = matches!(deliver, Deliver::Replace(_));
        let ours = if deliver == Deliver::Forward && self.handle.tenant.is_some() {
            self.take_cut().or_else(|| self.stopped_error(fields.code))
        } else {
            None
        };
        let deliver = match (&self.flow, fields.code, &deliver) {
            // The name that the server complains of is its own.
            (Flow::After(after), b"42P05", Deliver::Forward) => after
                .duplicate_name()
                .map_or(deliver, |name| Deliver::Replace(encode(&Unsupported::DuplicateName(name.to_owned())))),
            _ => deliver,
        };
        match deliver {
            Deliver::Forward if let Some(error) = ours => assembly.own().extend_from_slice(&error),
            Deliver::Forward if self.account.row().is_some() && shows_others(&fields) => {
                frame::error_without(body, b'D', assembly.own());
            }
            Deliver::Forward | Deliver::Swallow | Deliver::Withhold | Deliver::Replace(_) => {
                self.deliver(deliver, from, to, assembly)
            }
        }
        self.note_error(fields.code);
        self.failed = true;
        self.syntax_error = fields.code == b"42601";
        if let Some(touched) = &mut self.touched {
            touched.failed = true;
        }
        self.seat.pool().count(|counters| if refused { counters.refusals += 1 } else { counters.errors += 1 });
        let stale = fields.code == b"0A000" && fields.routine == b"RevalidateCachedQuery";
        let head = dropped.len().checked_sub(1);
        for (index, owed) in dropped.into_iter().enumerate() {
            let at_head = Some(index) == head;
            if at_head
                && stale
                && let Some(statement) = &owed.statement
            {
                statement.renew();
            }
            self.undo(owed, if at_head { Undone::Failed } else { Undone::Skipped });
        }
        self.note_strange_statement(&fields);
        None
    }

    /// A function's text may drop or prepare statements of a backend unseen. When the server says so of one of ours, nobody else
    /// gets this backend: what its other names stand for is not known either.
    fn note_strange_statement(&mut self, fields: &ErrorFields<'_>) {
        let missing = match (fields.code, fields.routine) {
            (b"26000", b"FetchPreparedStatement") => true,
            (b"42P05", b"StorePreparedStatement") => false,
            _ => return,
        };
        let (Some(id), Some(bound)) = (ServerName::find(fields.message), &mut self.bound) else { return };
        let assumed = bound.prepared.remove(id);
        if assumed || !missing {
            tracing::warn!(
                session = self.handle.id,
                backend = bound.id(),
                missing,
                "prepared statements were changed unseen"
            );
            bound.close_after.get_or_insert(BackendClose::Tainted);
        }
    }

    /// The server did not run this, or not to its end.
    pub(super) fn undo(&mut self, owed: Owed, undone: Undone) {
        let failed = undone == Undone::Failed;
        let Owed { ticket, undo, statement: _ } = owed;
        match undone {
            Undone::Failed => self.close_answered(ticket, Outcome::Failed),
            Undone::Lost { at_head: true } => self.close_answered(ticket, Outcome::Lost),
            Undone::Lost { at_head: false } => self.close_unanswered(ticket, Outcome::Lost),
            Undone::Skipped => self.close_unanswered(ticket, Outcome::Skipped),
        };
        match undo {
            Undo::Nothing => {}
            Undo::Named { name, prepared } => {
                self.named.remove(&name);
                if let (Some(id), Some(bound)) = (prepared, &mut self.bound) {
                    bound.prepared.remove(id);
                }
            }
            Undo::Unnamed { epoch } => {
                let restored = self.changes.take_back_unnamed(epoch, failed);
                if let Some(session) = restored.session {
                    self.unnamed = session;
                }
                if let (Some(backend), Some(bound)) = (restored.backend, &mut self.bound) {
                    bound.unnamed = backend;
                }
            }
            Undo::Closed { name, statement } => self.named.insert(&name, statement),
            Undo::Bound { portal, before } => self.portals.put(&portal, before),
            Undo::UnnamedBound { bind } => self.portals.take_back_unnamed(bind),
            Undo::Prepared { id } => {
                if let Some(bound) = &mut self.bound {
                    bound.prepared.remove(id);
                }
            }
            Undo::Evicted { id } => {
                if let Some(bound) = &mut self.bound {
                    bound.prepared.restore(id);
                }
            }
        }
    }

    pub(super) fn completed(&mut self, owed: Owed, outcome: Outcome) {
        if let Undo::Unnamed { epoch } = owed.undo {
            self.changes.keep_unnamed(epoch);
        }
        let statement = owed.ticket.as_ref().is_some_and(Ticket::is_of_statement);
        if let Some(took) = self.close_answered(owed.ticket, outcome).filter(|_| statement) {
            // The next statement's time begins.
            self.handle.since.set(self.context.now.get());
            if self.handle.cancels.get() == 0 {
                self.handle.stopped.set(None);
            }
            self.seat.pool().count(|counters| {
                counters.queries += 1;
                counters.query_time.observe(took);
            });
        }
    }

    /// Replies of our own whose turn has come.
    pub(super) fn emit_synthesised(&mut self, out: Option<&mut BytesMut>) {
        let Some(out) = out else { return };
        while let Some((bytes, owed)) = self.queue.pop_synthesised() {
            out.extend_from_slice(bytes);
            self.completed(owed, Outcome::Completed);
        }
    }

    /// All of a read is dealt with: is it time for something else?
    pub(super) fn at_boundary(&mut self) -> Option<Event> {
        if !self.queue.is_empty() {
            let ends = matches!(self.flow, Flow::Leaving) && self.queue.is_copying_in();
            return ends.then_some(Event::Close(CloseReason::Terminated));
        }
        self.end_gathering();
        match &self.flow {
            Flow::Open => {}
            Flow::Before => self.reopen(),
            Flow::After(_) => return Some(Event::Answered),
            Flow::Leaving => {
                // What is left to ask of the server nobody needs any more: a backend that was touched is cleaned.
                let _ = self.after_transaction();
                return Some(Event::Close(CloseReason::Terminated));
            }
        }
        self.after_transaction()
    }

    /// Lets the backend go where nothing keeps it.
    pub(super) fn after_transaction(&mut self) -> Option<Event> {
        let bound = self.bound.as_ref()?;
        if self.client.passing > 0 && self.client.pass == Pass::Forward {
            return None;
        }
        if bound.status != TxStatus::Idle {
            if self.queue.is_settled() {
                self.rest(ClientState::IdleInTransaction);
            }
            return None;
        }
        if !self.queue.is_settled() || !bound.is_settled() {
            if self.queue.is_doubtful() {
                // The number of replies still to come is not known: nobody else may get this backend.
                self.let_go(Some(BackendClose::Unsettled));
            } else if self.queue.is_empty() && bound.is_settled() {
                // It is the client's turn, and its Sync that ends the transaction.
                self.rest(ClientState::IdleInTransaction);
            }
            return None;
        }
        if self.touched.is_some() || self.handle.cancels.get() > 0 {
            return Some(Event::Settle);
        }
        self.end_transaction();
        if self.keeps_backend() {
            self.portals = Default::default();
            self.rest(ClientState::Idle);
        } else {
            self.let_go(None);
        }
        if self.draining && self.is_at_rest() {
            return Some(Event::Close(CloseReason::Shutdown));
        }
        None
    }

    fn end_transaction(&mut self) {
        self.handle.transaction_since.set(None);
        let took = self.began_at.take().map(|began| self.context.now.get().saturating_duration_since(began));
        self.seat.pool().count(|counters| {
            counters.transactions += 1;
            if let Some(took) = took {
                counters.transaction_time.observe(took);
            }
        });
    }

    fn rest(&mut self, state: ClientState) {
        self.handle.busy.set(false);
        self.handle.enter(state, self.context.now.get());
    }

    /// Gives the backend back, or closes it.
    pub(super) fn let_go(&mut self, close: Option<BackendClose>) {
        let Some(bound) = self.bound.take() else { return };
        if std::mem::take(&mut self.reshapes) {
            note_new_shapes();
        }
        *self.handle.cancel_target.borrow_mut() = None;
        self.handle.backend.set(None);
        self.handle.transaction_since.set(None);
        self.meter = None;
        self.rest(ClientState::Idle);
        self.portals = Default::default();
        match (close, self.queue.settled()) {
            (None, Some(settled)) => bound.release(settled, self.context.moment.get()),
            (None, None) => bound.close(BackendClose::Unsettled),
            (Some(reason), _) => {
                bound.close(reason);
                let skipping = self.queue.is_skipping();
                self.queue = Default::default();
                if skipping {
                    self.queue.start_skipping();
                }
            }
        }
        self.queue.shrink();
    }

    /// The server broke the protocol: nothing more of it is believed.
    fn broken(&mut self, what: &dyn std::fmt::Display) -> Event {
        tracing::warn!(session = self.handle.id, error = %what, "the server broke the protocol");
        if let Some(bound) = &mut self.bound {
            bound.close_after = Some(BackendClose::Protocol);
        }
        Event::BackendLost(LastWords { code: "08P01".to_owned(), message: what.to_string(), ..LastWords::default() })
    }
}

/// Why a message had not the effect that was assumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undone {
    /// The server tried, and reported the error.
    Failed,
    /// The server discarded it after an earlier error.
    Skipped,
    /// The server went away; it may have run. `at_head`: its answer may have begun.
    Lost { at_head: bool },
}

/// The error's DETAIL may hold values of a row that is not the client's own: the row that an exclusion constraint conflicts
/// with, or one that a foreign key's action changed beneath the statement.
pub(super) fn shows_others(fields: &ErrorFields<'_>) -> bool {
    fields.code == b"23P01" || (fields.code.starts_with(b"23") && fields.has_context)
}
