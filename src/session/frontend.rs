//! What becomes of each message of the client.
//!
//! A message is dealt with whole where a decision needs all of it; CopyData and the values of a large Bind are passed on
//! as they come. Nothing is sent without a backend that is bound, and a statement only with policy's [`Admitted`].

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};

use super::assembly::Assembly;
use super::auditing::Intent;
use super::copy_in::{CopyIn, Way};
use super::effects::{Touched, needs_attention};
use super::extended::discard_rest;
use super::refuse::{Refusing, SYNC, Unsupported};
use super::sealing::Sealing;
use super::statements::{ServerName, Statement};
use super::{After, CloseReason, Effectful, Event, Flow, Owed, Pass, Session, Undo, encode};
use crate::metrics::ClientState;
use crate::policy::{Admitted, Verdict};
use crate::pool::Bound;
use crate::reply::{Expect, Show};
use crate::sql::{self, Analysis, Effect, StatementKind, Summary};
use crate::wire::frame::{self, FrameError, HEADER, Header, TxStatus};

/// What became of a message.
pub(super) enum Step {
    Done,
    /// Its beginning was dealt with; the rest follows as it comes.
    Streaming(Pass),
    /// More of it is needed.
    Incomplete,
    /// Look at it again when what was sent has been answered.
    Hold,
    /// It was dealt with; nothing after it is, before it has been answered.
    Answer,
    Event(Event),
}

/// One message of the client, or as much as has come.
pub(super) struct Message<'a> {
    pub header: Header,
    /// The body, as far as it is here.
    pub body: &'a [u8],
    /// Where it begins in the bytes read.
    pub at: usize,
}

impl Message<'_> {
    pub(super) fn is_whole(&self) -> bool {
        self.body.len() == self.header.body
    }

    /// Where what is here of it ends in the bytes read.
    pub(super) fn end(&self) -> usize {
        self.at + HEADER + self.body.len()
    }

    pub(super) fn pass(&self, assembly: &mut Assembly<'_>) {
        assembly.take(self.at, self.end());
    }
}

pub(super) const READY_IDLE: &[u8] = b"Z\0\0\0\x05I";
pub(super) const FLUSH: &[u8] = b"H\0\0\0\x04";

impl Session {
    /// Walks the client's messages; returns how many bytes are dealt with.
    pub(super) fn take_requests(&mut self, bytes: &[u8], assembly: &mut Assembly<'_>) -> (usize, Option<Event>) {
        if self.queue.is_empty() {
            self.changes.settle();
        }
        let mut at = self.pass_client_rest(bytes, assembly);
        while at < bytes.len() && matches!(self.flow, Flow::Open) {
            let rest = &bytes[at..];
            let header = match Header::read(rest, self.rules.config.server.message_size_max) {
                Ok(Some(header)) => header,
                Ok(None) => break,
                Err(error) => return (at, Some(protocol(error))),
            };
            let here = rest.len().min(header.total());
            let message = Message { header, body: &rest[HEADER..here], at };
            match self.take_request(&message, assembly) {
                Ok(Step::Done) => at += here,
                Ok(Step::Answer) => {
                    at += here;
                    break;
                }
                Ok(Step::Streaming(pass)) => {
                    self.client.passing = header.total() - here;
                    self.client.pass = pass;
                    at += here;
                }
                Ok(Step::Incomplete | Step::Hold) => break,
                Ok(Step::Event(event)) => return (at, Some(event)),
                Err(error) => return (at, Some(protocol(error))),
            }
        }
        if self.queue.is_empty() && matches!(self.flow, Flow::Before) {
            self.reopen();
        }
        (at, None)
    }

    pub(super) fn pass_client_rest(&mut self, bytes: &[u8], assembly: &mut Assembly<'_>) -> usize {
        let count = self.client.passing.min(bytes.len());
        if count > 0 {
            self.client.passing -= count;
            if self.client.pass == Pass::Forward && self.bound.is_some() {
                assembly.take(0, count);
            }
        }
        count
    }

    pub(super) fn take_request(
        &mut self,
        message: &Message<'_>,
        assembly: &mut Assembly<'_>,
    ) -> Result<Step, FrameError> {
        let step = self.consider(message, assembly);
        self.record_refusal(message);
        if self.analysed.is_some() && matches!(step, Ok(Step::Done | Step::Answer)) {
            self.analysed = None;
        }
        step
    }

    fn consider(&mut self, message: &Message<'_>, assembly: &mut Assembly<'_>) -> Result<Step, FrameError> {
        let tag = message.header.tag;
        match tag {
            b'd' => return Ok(self.copy_data(message, assembly)),
            b'B' => {}
            _ if !message.is_whole() => return Ok(Step::Incomplete),
            _ => {}
        }
        if self.queue.is_skipping() && !matches!(tag, b'S' | b'X') {
            // The server is discarding up to Sync, or would be, had it not gone.
            return Ok(if message.is_whole() { Step::Done } else { Step::Streaming(Pass::Discard) });
        }
        if self.bound.as_ref().is_some_and(Bound::lacks_context)
            && let Some(step) = self.without_context(message, assembly)
        {
            return Ok(step);
        }
        if self.waits_for_meter(tag) {
            return Ok(self.wait_before(assembly));
        }
        if self.waits_for_audit(tag) {
            return Ok(Step::Event(Event::NeedAudit));
        }
        if let Some(event) = self.waits_for_analysis(message) {
            return Ok(Step::Event(event));
        }
        match tag {
            b'Q' => self.query(message, assembly),
            b'P' => self.parse(message, assembly),
            b'B' => self.bind(message, assembly),
            b'D' => self.describe(message, assembly),
            b'E' => self.execute(message, assembly),
            b'C' => self.close_target(message, assembly),
            b'S' if message.body.is_empty() => Ok(self.sync(message, assembly)),
            b'H' if message.body.is_empty() => {
                if self.bound.is_some() && !self.queue.is_copying_in() {
                    message.pass(assembly);
                }
                Ok(Step::Done)
            }
            b'c' | b'f' => Ok(self.copy_end(message, assembly)),
            b'X' => Ok(self.terminate(assembly)),
            b'F' => Ok(match self.denied.take() {
                Some(denied) => self.refuse_with(denied, Refusing::Query, assembly),
                None => self.refuse_query(&Unsupported::FunctionCall, assembly),
            }),
            b'p' => Ok(Step::Event(Event::Close(CloseReason::Protocol(
                "a password message came after the login".to_owned(),
            )))),
            b'S' | b'H' => Err(FrameError::Malformed { tag }),
            tag => Ok(Step::Event(Event::Close(CloseReason::Protocol(format!("invalid frontend message type {tag}"))))),
        }
    }

    /// The server has forgotten whom the session speaks for, at its own request: between transactions the backend goes back,
    /// and is bound again for whatever comes next; until then nothing is sent to it that could read or write.
    fn without_context(&mut self, message: &Message<'_>, assembly: &mut Assembly<'_>) -> Option<Step> {
        let settled = self.queue.is_settled() && self.bound.as_ref().is_some_and(|bound| bound.is_settled());
        if settled && self.touched.is_none() {
            self.pins = Default::default();
            self.let_go(None);
            return None;
        }
        match message.header.tag {
            b'S' | b'X' | b'H' | b'd' | b'c' | b'f' => None,
            _ if !self.queue.is_empty() => Some(self.wait_before(assembly)),
            b'Q' => Some(self.refuse_query(&Unsupported::ContextReset, assembly)),
            _ => Some(discard_rest(self.refuse_extended(&Unsupported::ContextReset, assembly), message)),
        }
    }

    /// Whom the session speaks for would be forgotten by this, at a moment when it cannot be said again.
    pub(super) fn forgets_tenant_midway(&self, analysis: &Analysis) -> bool {
        let forgets = |statement: &sql::Statement| statement.effects.iter().any(|it| self.seat.forgets_tenant(it));
        let midway = || self.bound.as_ref().is_some_and(|bound| bound.status != TxStatus::Idle);
        analysis.summary.has(Summary::EFFECTS)
            && match analysis.statements.split_last() {
                Some((last, others)) => others.iter().any(forgets) || (forgets(last) && midway()),
                None => false,
            }
    }

    /// A backend is bound, or one that suits is free. `Err`: what to do instead.
    pub(super) fn ensure_backend(&mut self) -> Result<(), Step> {
        if self.bound.is_some() {
            return Ok(());
        }
        if self.context.draining.get() {
            return Err(Step::Event(Event::Close(CloseReason::Shutdown)));
        }
        let fits = self.lease.is_none() && Rc::ptr_eq(&self.rules, &self.context.rules.borrow());
        if fits && let Some(lease) = self.seat.try_lease(&self.settings, self.context.moment.get()) {
            match lease.try_bind(&self.settings) {
                Ok(bound) => {
                    self.hold(bound);
                    return Ok(());
                }
                Err(lease) => self.lease = Some(lease),
            }
        }
        Err(Step::Event(Event::NeedBackend))
    }

    /// The backend is this session's now.
    pub(super) fn hold(&mut self, bound: Bound) {
        let now_us = self.context.now_us.get();
        bound.note_client(self.handle.id, now_us);
        self.sealing = Sealing::default();
        *self.handle.cancel_target.borrow_mut() = Some(bound.cancel_target());
        self.handle.backend.set(Some(bound.id()));
        self.handle.request_at_us.set(now_us);
        self.handle.enter(ClientState::Active, self.context.now.get());
        self.began_at = Some(self.context.now.get());
        self.bound = Some(bound);
        self.from_server.renew();
    }

    pub(super) fn be_busy(&mut self) {
        if !self.handle.busy.get() {
            self.handle.busy.set(true);
            self.handle.stopped.set(None);
            if self.handle.transaction_since.get().is_none() {
                self.handle.transaction_since.set(Some(self.context.now.get()));
            }
            self.handle.enter(ClientState::Active, self.context.now.get());
        }
    }

    pub(super) fn too_long(&self, text: &[u8]) -> Option<Unsupported> {
        let max = self.rules.config.server.statement_size_max;
        (text.len() > max).then_some(Unsupported::StatementTooLong { length: text.len(), max })
    }

    pub(super) fn judge(&self, analysis: &Analysis) -> Verdict {
        self.rules.policy.judge(&self.subject, analysis)
    }

    pub(super) fn query(&mut self, message: &Message<'_>, assembly: &mut Assembly<'_>) -> Result<Step, FrameError> {
        let text = frame::query_text(message.body)?;
        if let Some(error) = self.too_long(text) {
            return Ok(self.refuse_query(&error, assembly));
        }
        let analysis = self.analysis_of(text);
        if let Err(error) = self.pay(analysis.statements.len()) {
            return Ok(self.refuse_with(error, Refusing::Query, assembly));
        }
        let admitted = match self.denied_or(self.judge(&analysis)) {
            Ok(admitted) => admitted,
            Err(error) => return Ok(self.refuse_with(error, Refusing::Query, assembly)),
        };
        let rewritten = match self.rewritten(text, &analysis) {
            Ok(rewritten) => rewritten,
            Err(error) => return Ok(self.refuse_query(&*error, assembly)),
        };
        let (asked_text, asked) = (text, analysis.clone());
        let (text, analysis) = match &rewritten {
            Some(text) => (text.as_slice(), self.context.analyses.borrow_mut().read(text)),
            None => (text, analysis),
        };
        let attention = needs_attention(&analysis);
        if let Err(step) = self.ensure_backend() {
            return Ok(step);
        }
        if attention && self.forgets_tenant_midway(&analysis) {
            return Ok(self.refuse_query(&Unsupported::ContextReset, assembly));
        }
        let enclosure = match self.enclosure(&analysis) {
            Ok(Some(enclosure)) => enclosure,
            Ok(None) => return Ok(self.wait_before(assembly)),
            Err(error) => return Ok(self.refuse_query(&error, assembly)),
        };
        if analysis.summary.has(Summary::COPY) && self.copies_by_insert(&analysis) {
            // Of a batch that has run something it is not known where it is now; one that only prepared is where it was.
            if analysis.statements.len() > 1 || self.queue.has_executed() {
                return Ok(self.refuse_query(&Unsupported::CopyNotAlone, assembly));
            }
            if !self.queue.is_empty() {
                return Ok(self.wait_before(assembly));
            }
            let Some(copy) = sql::copy::read(text) else {
                return Ok(self.refuse_query(&Unsupported::CopyForm, assembly));
            };
            if self.bound.as_ref().is_some_and(|bound| bound.status != TxStatus::Failed) {
                let intent =
                    Intent::Query { text: asked_text, analysis: &asked, forwarded: asked_text, rewritten: true };
                let ticket = match self.open_ticket(&intent) {
                    Ok(ticket) => ticket,
                    Err(_) if self.waits_for_audit(b'Q') => return Ok(Step::Event(Event::NeedAudit)),
                    Err(error) => return Ok(self.refuse_query(&error, assembly)),
                };
                let copy = CopyIn { copy, admitted, ticket, way: Way::Query, request: message.header.total() };
                return Ok(Step::Event(Event::CopyIn(Box::new(copy))));
            }
            // In a failed transaction the server refuses it by itself.
        }
        let mut effectful = None;
        let fresh = self.touched.is_none();
        if attention {
            if !self.queue.is_empty() {
                return Ok(self.wait_before(assembly));
            }
            match self.prepare_effects(&analysis, text, assembly) {
                Ok(prepared) => effectful = Some(prepared),
                Err(error) => return Ok(self.refuse_query(&error, assembly)),
            }
            if !self.queue.is_empty() {
                // Statements are prepared ahead: if that fails, the server must not skip the Query with what follows.
                assembly.own().put_slice(SYNC);
                self.queue.push(Expect::Sync, Show::Swallow, Owed::default());
            }
        }
        let (effectful, spliced) = effectful.map_or((None, None), |(statement, text)| (Some(statement), text));
        let forwarded = spliced.as_deref().unwrap_or(text);
        let intent = Intent::Query { text: asked_text, analysis: &asked, forwarded, rewritten: rewritten.is_some() };
        let ticket = match self.open_ticket(&intent) {
            Ok(ticket) => ticket,
            // The log has failed since it was looked at, and nothing was sent: the Query waits like one that comes now.
            Err(_) if effectful.is_none() && self.waits_for_audit(b'Q') => return Ok(Step::Event(Event::NeedAudit)),
            Err(error) => return Ok(self.refuse_query(&error, assembly)),
        };
        self.be_busy();
        // A simple Query takes the unnamed statement and portal with it.
        let session = self.unnamed.take();
        let backend = self.bound.as_mut().and_then(|bound| bound.unnamed.take());
        self.portals.close(b"");
        let undo = if self.queue.is_open() {
            // The server skips it, too, when something before it in its batch fails.
            Undo::Unnamed { epoch: self.changes.note_unnamed(Some(session), backend) }
        } else {
            if !self.queue.is_empty() {
                self.changes.note_no_unnamed();
            }
            Undo::Nothing
        };
        let autocommit = self.bound.as_ref().is_some_and(|bound| bound.status == TxStatus::Idle)
            && !self.queue.is_open()
            && !analysis.summary.has(Summary::TRANSACTION);
        self.note_shapes(&analysis);
        self.enclose(enclosure, assembly);
        self.note_ends(&analysis);
        let owed = Owed { ticket: Some(ticket), undo, ..Owed::default() };
        self.forward_statement(admitted, Expect::Query, enclosure.shows(), owed);
        match spliced.or(rewritten) {
            None => message.pass(assembly),
            Some(text) => put_query(assembly.own(), &text),
        }
        self.end_enclosure(enclosure, assembly);
        match effectful {
            None => Ok(Step::Done),
            Some(statement) => {
                self.failed = false;
                self.flow = Flow::After(After::new(statement, autocommit, fresh));
                Ok(Step::Answer)
            }
        }
    }

    /// Row security does not let the server run a COPY FROM of this text: it is made of INSERTs.
    pub(super) fn copies_by_insert(&self, analysis: &Analysis) -> bool {
        let copies = || analysis.statements.iter().any(|statement| statement.kind == StatementKind::CopyFrom);
        self.account.row().is_some() && copies()
    }

    /// Notes a statement that may change what others return.
    pub(super) fn note_shapes(&mut self, analysis: &Analysis) {
        self.reshapes |= analysis.summary.has(Summary::WRITES)
            && analysis.statements.iter().any(|it| matches!(it.kind, StatementKind::Alter | StatementKind::Drop));
    }

    /// Owes a statement's reply. Only what policy has admitted comes this far.
    pub(super) fn forward_statement(&mut self, _admitted: Admitted, expect: Expect, show: Show, owed: Owed) {
        self.note_statement();
        self.queue.push(expect, show, owed);
    }

    pub(super) fn denied_or(&mut self, verdict: Verdict) -> Result<Admitted, Box<[u8]>> {
        if let Some(denied) = self.denied.take() {
            return Err(denied);
        }
        match verdict {
            Verdict::Allow(admitted) => Ok(admitted),
            Verdict::Refuse(refusal) => {
                tracing::debug!(session = self.handle.id, rule = refusal.rule, "statement refused");
                self.note_rule(Some(refusal.rule));
                Err(encode(&refusal))
            }
        }
    }

    /// Everything sent must be answered before the next statement.
    pub(super) fn wait_before(&mut self, assembly: &mut Assembly<'_>) -> Step {
        if self.queue.is_open() {
            assembly.own().put_slice(FLUSH);
        }
        self.flow = Flow::Before;
        Step::Hold
    }

    pub(super) fn sync(&mut self, message: &Message<'_>, assembly: &mut Assembly<'_>) -> Step {
        if self.bound.is_none() {
            self.queue.stop_skipping();
            self.tell(READY_IDLE);
            if self.draining {
                return Step::Event(Event::Close(CloseReason::Shutdown));
            }
        } else if !self.queue.is_copying_in() {
            // A server that reads CopyData ignores a Sync.
            self.be_busy();
            message.pass(assembly);
            self.queue.push(Expect::Sync, Show::Forward, Owed::default());
            self.changes.end_batch();
            self.note_sync();
        }
        Step::Done
    }

    /// The server finishes what was sent before a Terminate. A COPY that waits for data ends unfinished.
    fn terminate(&mut self, assembly: &mut Assembly<'_>) -> Step {
        if self.queue.is_empty() || self.queue.is_copying_in() {
            return Step::Event(Event::Close(CloseReason::Terminated));
        }
        if self.queue.is_open() {
            assembly.own().put_slice(FLUSH);
        }
        self.flow = Flow::Leaving;
        Step::Answer
    }

    pub(super) fn takes_copy(&self) -> bool {
        self.bound.is_some() && !self.queue.is_skipping() && (self.queue.is_copying_in() || !self.queue.is_empty())
    }

    pub(super) fn copy_data(&mut self, message: &Message<'_>, assembly: &mut Assembly<'_>) -> Step {
        let pass = if self.takes_copy() { Pass::Forward } else { Pass::Discard };
        if pass == Pass::Forward {
            self.note_copied(message.header.total());
            message.pass(assembly);
        }
        if message.is_whole() { Step::Done } else { Step::Streaming(pass) }
    }

    pub(super) fn copy_end(&mut self, message: &Message<'_>, assembly: &mut Assembly<'_>) -> Step {
        if self.takes_copy() {
            self.queue.end_copy(Owed::default());
            message.pass(assembly);
        }
        Step::Done
    }

    /// The client's statements that a text of SQL names, and where; those that the text itself drops first are not the
    /// client's any more.
    fn named_in<'a>(&self, analysis: &'a Analysis) -> Vec<(&'a str, &'a Range<usize>, Rc<Statement>)> {
        let (mut found, mut dropped) = (Vec::new(), Vec::new());
        for effect in analysis.statements.iter().flat_map(|statement| &statement.effects) {
            match effect {
                Effect::Prepare { name, name_span }
                | Effect::Execute { name, name_span }
                | Effect::Deallocate { name, name_span } => {
                    let known = self.named.find(name.as_bytes()).filter(|_| !dropped.contains(&&**name));
                    found.extend(known.map(|statement| (&**name, name_span, statement.clone())));
                    if matches!(effect, Effect::Deallocate { .. }) {
                        dropped.push(name);
                    }
                }
                Effect::DeallocateAll => return found,
                _ => {}
            }
        }
        found
    }

    /// The client's statements that a text of SQL names, with what backends call them.
    pub(super) fn names_in(&self, analysis: &Analysis) -> Vec<(Box<[u8]>, u64)> {
        let found = self.named_in(analysis).into_iter();
        found.map(|(name, _, statement)| (name.as_bytes().into(), statement.id())).collect()
    }

    pub(super) fn absorb(&mut self, analysis: &Analysis) {
        let pinned = !self.pins.is_empty();
        let mut touched = self.touched.take().unwrap_or_default();
        touched.absorb(analysis, pinned);
        self.touched = touched.matters().then_some(touched);
    }

    /// Readies the session for a statement with effects that is about to be sent: what it touches, and its text where it
    /// names statements that backends know by another name.
    pub(super) fn prepare_effects(
        &mut self,
        analysis: &Arc<Analysis>,
        text: &[u8],
        assembly: &mut Assembly<'_>,
    ) -> Result<(Effectful, Option<Vec<u8>>), Unsupported> {
        // Where other statements run before, the server is left to find that the name is taken.
        for effect in analysis.statements.first().iter().flat_map(|statement| &statement.effects) {
            if let Effect::Prepare { name, .. } = effect
                && self.named.find(name.as_bytes()).is_some()
            {
                return Err(Unsupported::DuplicateName(name.to_string()));
            }
        }
        let spliced = self.names_in(analysis);
        self.absorb(analysis);
        let text = if spliced.is_empty() { None } else { Some(self.splice(analysis, text, assembly)) };
        Ok((Effectful { analysis: analysis.clone(), spliced }, text))
    }

    /// The text with the client's names of prepared statements replaced by the backend's.
    pub(super) fn splice(&mut self, analysis: &Analysis, text: &[u8], assembly: &mut Assembly<'_>) -> Vec<u8> {
        let mut spliced = Vec::with_capacity(text.len() + 32);
        let mut at = 0;
        for (_, name_span, statement) in self.named_in(analysis) {
            let Some(before) = text.get(at..name_span.start) else { continue };
            // A failed block takes no Parse, whose error would come ahead of the text's own.
            let server_name = match self.status() {
                TxStatus::Failed => ServerName::of(statement.id()),
                TxStatus::Idle | TxStatus::Open => self.ensure_prepared(&statement, assembly),
            };
            spliced.extend_from_slice(before);
            spliced.extend_from_slice(server_name.as_bytes());
            at = name_span.end;
        }
        spliced.extend_from_slice(text.get(at..).unwrap_or_default());
        spliced
    }
}

pub(super) fn put_query(out: &mut BytesMut, text: &[u8]) {
    out.put_u8(b'Q');
    out.put_u32(text.len() as u32 + 5);
    out.put_slice(text);
    out.put_u8(0);
}

impl Touched {
    /// Something was collected.
    pub(super) fn matters(&self) -> bool {
        !self.is_plain_reset() || self.resets_all()
    }
}

fn protocol(error: FrameError) -> Event {
    Event::Close(CloseReason::Protocol(error.to_string()))
}
