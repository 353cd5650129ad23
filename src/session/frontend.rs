//! What becomes of each message of the client.
//!
//! A message is dealt with whole where a decision needs all of it; CopyData and the values of a large Bind are passed on
//! as they come. Nothing is sent without a backend that is bound, and a statement only with policy's [`Admitted`].

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use bytes::BufMut;

use super::assembly::Assembly;
use super::effects::{Touched, needs_attention};
use super::statements::{NAMED_MAX, ServerName, Statement, scope};
use super::{After, CloseReason, Effectful, Event, Flow, Owed, Pass, Session, Undo, encode};
use crate::fault::{Fault, Report, Severity, SqlState};
use crate::metrics::ClientState;
use crate::policy::{Admitted, RESERVED_PREFIX, Verdict};
use crate::reply::{Expect, Show};
use crate::sql::{Analysis, Effect, StatementKind, Summary};
use crate::wire::frame::{self, BindNames, FrameError, HEADER, Header, Parse, Target, TxStatus};

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
    fn is_whole(&self) -> bool {
        self.body.len() == self.header.body
    }

    /// Where what is here of it ends in the bytes read.
    fn end(&self) -> usize {
        self.at + HEADER + self.body.len()
    }

    fn pass(&self, assembly: &mut Assembly<'_>) {
        assembly.take(self.at, self.end());
    }
}

/// The two names of a Bind must fit in so many bytes of it.
const BIND_NAMES_MAX: usize = 16 << 10;

const PARSE_COMPLETE: &[u8] = b"1\0\0\0\x04";
const CLOSE_COMPLETE: &[u8] = b"3\0\0\0\x04";
const READY_IDLE: &[u8] = b"Z\0\0\0\x05I";
const FLUSH: &[u8] = b"H\0\0\0\x04";
const SYNC: &[u8] = b"S\0\0\0\x04";
/// Closes the unnamed statement.
const CLOSE_UNNAMED: &[u8] = b"C\0\0\0\x06S\0";
/// A Bind of a statement that never exists: the server refuses it in every state, and aborts an open transaction.
const POISON: &[u8] = b"B\0\0\0\x19\0__pgw_refused\0\0\0\0\0\0\0";

impl Session {
    /// Walks the client's messages; returns how many bytes are dealt with.
    pub(super) fn take_requests(&mut self, bytes: &[u8], assembly: &mut Assembly<'_>) -> (usize, Option<Event>) {
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
        let event = if self.queue.is_empty() && matches!(self.flow, Flow::Before) {
            self.reopen();
            None
        } else {
            None
        };
        (at, event)
    }

    fn pass_client_rest(&mut self, bytes: &[u8], assembly: &mut Assembly<'_>) -> usize {
        let count = self.client.passing.min(bytes.len());
        if count > 0 {
            self.client.passing -= count;
            if self.client.pass == Pass::Forward && self.bound.is_some() {
                assembly.take(0, count);
            }
        }
        count
    }

    fn take_request(&mut self, message: &Message<'_>, assembly: &mut Assembly<'_>) -> Result<Step, FrameError> {
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
            b'X' => Ok(Step::Event(Event::Close(CloseReason::Terminated))),
            b'F' => Ok(self.refuse_query(&Unsupported::FunctionCall, assembly)),
            b'p' => Ok(Step::Event(Event::Close(CloseReason::Protocol(
                "a password message came after the login".to_owned(),
            )))),
            b'S' | b'H' => Err(FrameError::Malformed { tag }),
            tag => Ok(Step::Event(Event::Close(CloseReason::Protocol(format!("invalid frontend message type {tag}"))))),
        }
    }

    /// A backend is bound, or one that suits is free. `Err`: what to do instead.
    fn ensure_backend(&mut self) -> Result<(), Step> {
        if self.bound.is_some() {
            return Ok(());
        }
        if self.context.draining.get() {
            return Err(Step::Event(Event::Close(CloseReason::Shutdown)));
        }
        let fits = self.lease.is_none() && self.rules.generation == self.context.rules.borrow().generation;
        if fits && let Some(lease) = self.seat.try_lease(&self.settings) {
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
    pub(super) fn hold(&mut self, bound: crate::pool::Bound) {
        let now_us = self.context.now_us.get();
        bound.note_client(self.handle.id, now_us);
        *self.handle.cancel_target.borrow_mut() = Some(bound.cancel_target());
        self.handle.backend.set(Some(bound.id()));
        self.handle.request_at_us.set(now_us);
        self.handle.enter(ClientState::Active, self.context.now.get());
        self.began_at = Some(self.context.now.get());
        self.bound = Some(bound);
    }

    fn be_busy(&mut self) {
        if !self.handle.busy.get() {
            self.handle.busy.set(true);
            self.handle.timed_out.set(false);
            self.handle.enter(ClientState::Active, self.context.now.get());
        }
    }

    fn too_long(&self, text: &[u8]) -> Option<Unsupported> {
        let max = self.rules.config.server.statement_size_max;
        (text.len() > max).then_some(Unsupported::StatementTooLong { length: text.len(), max })
    }

    fn judge(&self, analysis: &Analysis) -> Verdict {
        self.rules.policy.judge(&self.user, analysis)
    }

    fn query(&mut self, message: &Message<'_>, assembly: &mut Assembly<'_>) -> Result<Step, FrameError> {
        let text = frame::query_text(message.body)?;
        if let Some(error) = self.too_long(text) {
            return Ok(self.refuse_query(&error, assembly));
        }
        let analysis = self.context.analyses.borrow_mut().read(text);
        let attention = needs_attention(&analysis);
        let admitted = match self.denied_or(self.judge(&analysis)) {
            Ok(admitted) => admitted,
            Err(error) => return Ok(self.refuse_with(error, Refusing::Query, assembly)),
        };
        if let Err(step) = self.ensure_backend() {
            return Ok(step);
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
        }
        self.be_busy();
        // A simple Query takes the unnamed statement and portal with it.
        self.unnamed = None;
        self.portals.unnamed = None;
        let autocommit = self.bound.as_ref().is_some_and(|bound| bound.status == TxStatus::Idle)
            && !self.queue.is_open()
            && !analysis.summary.has(Summary::TRANSACTION);
        if let Some(bound) = &mut self.bound {
            bound.unnamed = None;
        }
        self.forward_statement(admitted, Expect::Query, None);
        match effectful {
            None => {
                message.pass(assembly);
                Ok(Step::Done)
            }
            Some((statement, text)) => {
                match text {
                    None => message.pass(assembly),
                    Some(text) => {
                        let out = assembly.own();
                        out.put_u8(b'Q');
                        out.put_u32(text.len() as u32 + 5);
                        out.put_slice(&text);
                        out.put_u8(0);
                    }
                }
                self.failed = false;
                self.flow = Flow::After(Box::new(After { statement, autocommit, fresh }));
                Ok(Step::Answer)
            }
        }
    }

    /// Owes a statement's reply. Only what policy has admitted comes this far.
    fn forward_statement(&mut self, admitted: Admitted, expect: Expect, statement: Option<Rc<Statement>>) {
        let ticket = Some(self.context.audit.open(&admitted));
        self.queue.push(expect, Show::Forward, Owed { ticket, undo: Undo::Nothing, statement });
    }

    fn denied_or(&mut self, verdict: Verdict) -> Result<Admitted, Box<[u8]>> {
        if let Some(denied) = self.denied.take() {
            return Err(denied);
        }
        match verdict {
            Verdict::Allow(admitted) => Ok(admitted),
            Verdict::Refuse(refusal) => {
                tracing::debug!(session = self.handle.id, rule = refusal.rule, "statement refused");
                Err(encode(&refusal))
            }
        }
    }

    /// Everything sent must be answered before the next statement.
    fn wait_before(&mut self, assembly: &mut Assembly<'_>) -> Step {
        if self.queue.is_open() {
            assembly.own().put_slice(FLUSH);
        }
        self.flow = Flow::Before;
        Step::Hold
    }

    fn parse(&mut self, message: &Message<'_>, assembly: &mut Assembly<'_>) -> Result<Step, FrameError> {
        let parse = Parse::read(message.body)?;
        if let Some(error) = self.too_long(parse.text) {
            return Ok(self.refuse_extended(&error, assembly));
        }
        if let Some(denied) = self.denied.take() {
            return Ok(self.refuse_with(denied, Refusing::Extended, assembly));
        }
        if let Err(step) = self.ensure_backend() {
            return Ok(step);
        }
        if !parse.name.is_empty() {
            if parse.name.starts_with(RESERVED_PREFIX.as_bytes()) {
                return Ok(self.refuse_extended(&Unsupported::ReservedName, assembly));
            }
            if self.named.find(parse.name).is_some() {
                let name = String::from_utf8_lossy(parse.name).into_owned();
                return Ok(self.refuse_extended(&Unsupported::DuplicateName(name), assembly));
            }
            if self.named.len() >= NAMED_MAX {
                return Ok(self.refuse_extended(&Unsupported::TooManyNames, assembly));
            }
        }
        let statement = self.statement(&parse);
        if let Verdict::Refuse(refusal) = self.judge(&statement.analysis) {
            return Ok(self.refuse_extended(&refusal, assembly));
        }
        if statement.attention {
            let names = self.names_in(&statement.analysis);
            if !names.is_empty() {
                return Ok(self.parse_spliced(&parse, &statement, assembly));
            }
        }
        self.be_busy();
        if parse.name.is_empty() {
            self.parse_unnamed(statement, assembly);
            message.pass(assembly);
        } else {
            self.parse_named(parse.name, statement, assembly);
        }
        Ok(Step::Done)
    }

    fn statement(&mut self, parse: &Parse<'_>) -> Rc<Statement> {
        let analyses = &self.context.analyses;
        let analyse = || {
            let analysis = analyses.borrow_mut().read(parse.text);
            let attention = needs_attention(&analysis);
            (analysis, attention)
        };
        if self.touched.is_some() {
            // Settings that are not settled yet may change what the text means.
            let (analysis, attention) = analyse();
            return Statement::private(parse.text, parse.types, analysis, attention);
        }
        let scope = scope(&self.settings);
        self.context.interned.borrow_mut().intern(parse.text, parse.types, scope, analyse)
    }

    fn parse_unnamed(&mut self, statement: Rc<Statement>, _assembly: &mut Assembly<'_>) {
        let id = statement.id();
        let session = self.unnamed.replace(statement);
        let backend = self.bound.as_mut().and_then(|bound| bound.unnamed.replace(id));
        let owed = Owed { undo: Undo::Unnamed { session, backend }, ..Owed::default() };
        self.queue.push(Expect::Parse, Show::Forward, owed);
    }

    fn parse_named(&mut self, name: &[u8], statement: Rc<Statement>, assembly: &mut Assembly<'_>) {
        let id = statement.id();
        let known = self.bound.as_mut().is_some_and(|bound| bound.prepared.touch(id));
        let failed = self.bound.as_ref().is_some_and(|bound| bound.status == TxStatus::Failed);
        // In a failed transaction the server refuses a Parse of anything but its end: let it say so.
        let synthesise = known && (!failed || ends_transaction(&statement.analysis));
        let prepared = if synthesise || known { None } else { Some(id) };
        let undo = Undo::Named { name: name.into(), prepared };
        self.named.insert(name, statement.clone());
        self.handle.prepared.set(self.named.len());
        if synthesise {
            self.seat.pool().count(|counters| counters.prepared_hits += 1);
            self.queue.push(Expect::Synthesised(PARSE_COMPLETE), Show::Forward, Owed { undo, ..Owed::default() });
            let due = self.queue.is_synthesised_next();
            self.tell_synthesised(due);
        } else {
            self.seat.pool().count(|counters| counters.prepared_misses += 1);
            self.make_room(id, assembly);
            statement.put_parse(assembly.own(), ServerName::of(id).as_bytes());
            self.queue.push(Expect::Parse, Show::Forward, Owed { undo, ..Owed::default() });
        }
    }

    /// Replies of our own whose turn has come already.
    fn tell_synthesised(&mut self, due: bool) {
        if due {
            let mut out = std::mem::take(&mut self.client.unsent);
            self.emit_synthesised(Some(&mut out));
            self.client.unsent = out;
        }
    }

    /// Counts `id` as prepared on the backend; what must go for it is closed there.
    fn make_room(&mut self, id: u64, assembly: &mut Assembly<'_>) {
        let Some(evicted) = self.bound.as_mut().and_then(|bound| bound.prepared.insert(id)) else { return };
        let name = ServerName::of(evicted);
        let out = assembly.own();
        out.put_u8(b'C');
        out.put_u32(name.as_bytes().len() as u32 + 6);
        out.put_u8(b'S');
        out.put_slice(name.as_bytes());
        out.put_u8(0);
        let owed = Owed { undo: Undo::Evicted { id: evicted }, ..Owed::default() };
        self.queue.push(Expect::Close, Show::Swallow, owed);
    }

    /// Makes the backend have a named statement, and says what it is called there.
    fn ensure_prepared(&mut self, statement: &Rc<Statement>, assembly: &mut Assembly<'_>) -> ServerName {
        let id = statement.id();
        let name = ServerName::of(id);
        if self.bound.as_mut().is_some_and(|bound| bound.prepared.touch(id)) {
            self.seat.pool().count(|counters| counters.prepared_hits += 1);
        } else {
            self.seat.pool().count(|counters| counters.prepared_misses += 1);
            self.make_room(id, assembly);
            statement.put_parse(assembly.own(), name.as_bytes());
            let owed = Owed { undo: Undo::Prepared { id }, ..Owed::default() };
            self.queue.push(Expect::Parse, Show::Swallow, owed);
        }
        name
    }

    /// Makes the backend's unnamed statement the session's, or none where the session has none.
    fn ensure_unnamed(&mut self, assembly: &mut Assembly<'_>) {
        let wanted = self.unnamed.clone();
        let Some(bound) = &mut self.bound else { return };
        let backend = bound.unnamed;
        match wanted {
            Some(statement) if backend != Some(statement.id()) => {
                bound.unnamed = Some(statement.id());
                statement.put_parse(assembly.own(), b"");
                let owed = Owed { undo: Undo::UnnamedPrepared { backend }, ..Owed::default() };
                self.queue.push(Expect::Parse, Show::Swallow, owed);
            }
            None if backend.is_some() => {
                bound.unnamed = None;
                assembly.own().put_slice(CLOSE_UNNAMED);
                let owed = Owed { undo: Undo::UnnamedPrepared { backend }, ..Owed::default() };
                self.queue.push(Expect::Close, Show::Swallow, owed);
            }
            Some(_) | None => {}
        }
    }

    fn bind(&mut self, message: &Message<'_>, assembly: &mut Assembly<'_>) -> Result<Step, FrameError> {
        let Some(names) = BindNames::read(message.body) else {
            let hopeless = message.is_whole() || message.body.len() > BIND_NAMES_MAX;
            return if hopeless { Err(FrameError::Malformed { tag: b'B' }) } else { Ok(Step::Incomplete) };
        };
        if let Some(denied) = self.denied.take() {
            let step = self.refuse_with(denied, Refusing::Extended, assembly);
            return Ok(discard_rest(step, message));
        }
        if let Err(step) = self.ensure_backend() {
            return Ok(step);
        }
        let statement =
            if names.statement.is_empty() { self.unnamed.clone() } else { self.named.find(names.statement).cloned() };
        if names.statement.starts_with(RESERVED_PREFIX.as_bytes()) {
            let name = String::from_utf8_lossy(names.statement).into_owned();
            let step = self.refuse_extended(&Unsupported::NoSuchStatement(name), assembly);
            return Ok(discard_rest(step, message));
        }
        if statement.as_ref().is_some_and(|statement| statement.attention) {
            if !message.is_whole() {
                return Ok(Step::Incomplete);
            }
            self.touch_parameters(statement.as_deref(), &message.body[names.length..]);
        }
        self.be_busy();
        match &statement {
            _ if names.statement.is_empty() => {
                self.ensure_unnamed(assembly);
                message.pass(assembly);
            }
            None => message.pass(assembly),
            Some(statement) => {
                let server_name = self.ensure_prepared(statement, assembly);
                let server_name = server_name.as_bytes();
                let length = message.header.body + 4 - names.statement.len() + server_name.len();
                let out = assembly.own();
                out.put_u8(b'B');
                out.put_u32(length as u32);
                out.put_slice(names.portal);
                out.put_u8(0);
                out.put_slice(server_name);
                out.put_u8(0);
                assembly.take(message.at + HEADER + names.length, message.end());
            }
        }
        self.portals.note(names.portal, statement.clone());
        self.queue.push(Expect::Bind, Show::Forward, Owed { statement, ..Owed::default() });
        Ok(if message.is_whole() { Step::Done } else { Step::Streaming(Pass::Forward) })
    }

    /// `set_config($1, ...)`: the settings named by the values of a Bind.
    fn touch_parameters(&mut self, statement: Option<&Statement>, values: &[u8]) {
        let Some(statement) = statement else { return };
        let effects = statement.analysis.statements.iter().flat_map(|statement| &statement.effects);
        for effect in effects {
            let Effect::SetParameter { index } = effect else { continue };
            let touched = self.touched.get_or_insert_default();
            match bind_value(values, *index).and_then(|value| std::str::from_utf8(value).ok()) {
                Some(name) => touched.touch(name.to_lowercase().into()),
                None => touched.touch_all(),
            }
        }
    }

    fn describe(&mut self, message: &Message<'_>, assembly: &mut Assembly<'_>) -> Result<Step, FrameError> {
        let target = Target::read(b'D', message.body)?;
        if let Some(denied) = self.denied.take() {
            return Ok(self.refuse_with(denied, Refusing::Extended, assembly));
        }
        if let Err(step) = self.ensure_backend() {
            return Ok(step);
        }
        self.be_busy();
        let expect = match target {
            Target::Portal(_) => {
                message.pass(assembly);
                Expect::DescribePortal
            }
            Target::Statement(b"") => {
                self.ensure_unnamed(assembly);
                message.pass(assembly);
                Expect::DescribeStatement
            }
            Target::Statement(name) if name.starts_with(RESERVED_PREFIX.as_bytes()) => {
                let name = String::from_utf8_lossy(name).into_owned();
                return Ok(self.refuse_extended(&Unsupported::NoSuchStatement(name), assembly));
            }
            Target::Statement(name) => {
                match self.named.find(name).cloned() {
                    None => message.pass(assembly),
                    Some(statement) => {
                        let server_name = self.ensure_prepared(&statement, assembly);
                        let server_name = server_name.as_bytes();
                        let out = assembly.own();
                        out.put_u8(b'D');
                        out.put_u32(server_name.len() as u32 + 6);
                        out.put_u8(b'S');
                        out.put_slice(server_name);
                        out.put_u8(0);
                    }
                }
                Expect::DescribeStatement
            }
        };
        self.queue.push(expect, Show::Forward, Owed::default());
        Ok(Step::Done)
    }

    fn execute(&mut self, message: &Message<'_>, assembly: &mut Assembly<'_>) -> Result<Step, FrameError> {
        let portal = frame::execute_portal(message.body)?;
        let statement = self.portals.find(portal);
        let verdict = match &statement {
            Some(statement) => self.judge(&statement.analysis),
            // A portal that SQL opened was judged with the statement that did, and one that nothing opened runs nothing.
            None => self.judge(&self.context.analyses.borrow_mut().read(b"")),
        };
        let admitted = match self.denied_or(verdict) {
            Ok(admitted) => admitted,
            Err(error) => return Ok(self.refuse_with(error, Refusing::Extended, assembly)),
        };
        if let Err(step) = self.ensure_backend() {
            return Ok(step);
        }
        let mut effectful = None;
        if let Some(statement) = &statement
            && statement.attention
        {
            if !self.queue.is_empty() {
                return Ok(self.wait_before(assembly));
            }
            self.absorb(&statement.analysis);
            effectful = Some(Effectful { analysis: statement.analysis.clone(), spliced: Vec::new() });
        }
        self.be_busy();
        self.forward_statement(admitted, Expect::Execute, statement);
        message.pass(assembly);
        match effectful {
            None => Ok(Step::Done),
            Some(mut statement) => {
                statement.spliced = self.names_in(&statement.analysis);
                // Its reply would wait for a Sync that is not looked at before the reply.
                assembly.own().put_slice(FLUSH);
                self.failed = false;
                self.flow = Flow::After(Box::new(After { statement, autocommit: false, fresh: false }));
                Ok(Step::Answer)
            }
        }
    }

    fn close_target(&mut self, message: &Message<'_>, assembly: &mut Assembly<'_>) -> Result<Step, FrameError> {
        match Target::read(b'C', message.body)? {
            Target::Statement(b"") => {
                if self.bound.is_some() {
                    let session = self.unnamed.take();
                    let backend = self.bound.as_mut().and_then(|bound| bound.unnamed.take());
                    message.pass(assembly);
                    let owed = Owed { undo: Undo::Unnamed { session, backend }, ..Owed::default() };
                    self.queue.push(Expect::Close, Show::Forward, owed);
                } else {
                    self.unnamed = None;
                    self.synthesise_close(Undo::Nothing);
                }
            }
            Target::Statement(name) => match self.named.remove(name) {
                Some(statement) => {
                    self.handle.prepared.set(self.named.len());
                    self.synthesise_close(Undo::Closed { name: name.into(), statement });
                }
                // One that SQL prepared, perhaps; ours have names that no client has.
                None if self.bound.is_some() && !name.starts_with(RESERVED_PREFIX.as_bytes()) => {
                    message.pass(assembly);
                    self.queue.push(Expect::Close, Show::Forward, Owed::default());
                }
                None => self.synthesise_close(Undo::Nothing),
            },
            Target::Portal(name) => {
                self.portals.note(name, None);
                if self.bound.is_some() {
                    message.pass(assembly);
                    self.queue.push(Expect::Close, Show::Forward, Owed::default());
                } else {
                    self.synthesise_close(Undo::Nothing);
                }
            }
        }
        Ok(Step::Done)
    }

    fn synthesise_close(&mut self, undo: Undo) {
        self.queue.push(Expect::Synthesised(CLOSE_COMPLETE), Show::Forward, Owed { undo, ..Owed::default() });
        let due = self.queue.is_synthesised_next();
        self.tell_synthesised(due);
    }

    fn sync(&mut self, message: &Message<'_>, assembly: &mut Assembly<'_>) -> Step {
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
        }
        Step::Done
    }

    fn takes_copy(&self) -> bool {
        self.bound.is_some() && !self.queue.is_skipping() && (self.queue.is_copying_in() || !self.queue.is_empty())
    }

    fn copy_data(&mut self, message: &Message<'_>, assembly: &mut Assembly<'_>) -> Step {
        let pass = if self.takes_copy() { Pass::Forward } else { Pass::Discard };
        if pass == Pass::Forward {
            message.pass(assembly);
        }
        if message.is_whole() { Step::Done } else { Step::Streaming(pass) }
    }

    fn copy_end(&mut self, message: &Message<'_>, assembly: &mut Assembly<'_>) -> Step {
        if self.takes_copy() {
            self.queue.end_copy(Owed::default());
            message.pass(assembly);
        }
        Step::Done
    }

    fn refuse_query(&mut self, report: &dyn Report, assembly: &mut Assembly<'_>) -> Step {
        self.refuse_with(encode(report), Refusing::Query, assembly)
    }

    fn refuse_extended(&mut self, report: &dyn Report, assembly: &mut Assembly<'_>) -> Step {
        self.refuse_with(encode(report), Refusing::Extended, assembly)
    }

    /// Answers a request with an error. With a backend the server is made to fail in its place, so that it skips to Sync
    /// and aborts an open transaction as it would for an error of its own.
    fn refuse_with(&mut self, error: Box<[u8]>, refusing: Refusing, assembly: &mut Assembly<'_>) -> Step {
        if self.bound.is_some() {
            self.be_busy();
            self.queue.push(Expect::Poison(error), Show::Forward, Owed::default());
            assembly.own().put_slice(POISON);
            if refusing == Refusing::Query {
                assembly.own().put_slice(SYNC);
                self.queue.push(Expect::Sync, Show::Forward, Owed::default());
            }
        } else {
            self.seat.pool().count(|counters| counters.refusals += 1);
            self.tell(&error);
            match refusing {
                Refusing::Query => self.tell(READY_IDLE),
                Refusing::Extended => self.queue.start_skipping(),
            }
        }
        Step::Done
    }

    /// The client's statements that a text of SQL names, with what backends call them.
    fn names_in(&self, analysis: &Analysis) -> Vec<(Box<[u8]>, u64)> {
        let effects = analysis.statements.iter().flat_map(|statement| &statement.effects);
        let names = effects.filter_map(|effect| match effect {
            Effect::Execute { name, .. } | Effect::Deallocate { name, .. } => Some(name.as_bytes()),
            _ => None,
        });
        names.filter_map(|name| self.named.find(name).map(|statement| (name.into(), statement.id()))).collect()
    }

    fn absorb(&mut self, analysis: &Analysis) {
        let pinned = !self.pins.is_empty();
        let mut touched = self.touched.take().unwrap_or_default();
        touched.absorb(analysis, pinned);
        self.touched = touched.matters().then_some(touched);
    }

    /// Readies the session for a statement with effects that is about to be sent: what it touches, and its text where it
    /// names statements that backends know by another name.
    fn prepare_effects(
        &mut self,
        analysis: &Arc<Analysis>,
        text: &[u8],
        assembly: &mut Assembly<'_>,
    ) -> Result<(Effectful, Option<Vec<u8>>), Unsupported> {
        for effect in analysis.statements.iter().flat_map(|statement| &statement.effects) {
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
    fn splice(&mut self, analysis: &Analysis, text: &[u8], assembly: &mut Assembly<'_>) -> Vec<u8> {
        let mut spliced = Vec::with_capacity(text.len() + 32);
        let mut at = 0;
        for effect in analysis.statements.iter().flat_map(|statement| &statement.effects) {
            let (Effect::Execute { name, name_span } | Effect::Deallocate { name, name_span }) = effect else {
                continue;
            };
            let Some(statement) = self.named.find(name.as_bytes()).cloned() else { continue };
            let Some(before) = text.get(at..name_span.start) else { continue };
            let server_name = self.ensure_prepared(&statement, assembly);
            spliced.extend_from_slice(before);
            spliced.extend_from_slice(server_name.as_bytes());
            at = name_span.end;
        }
        spliced.extend_from_slice(text.get(at..).unwrap_or_default());
        spliced
    }

    /// A Parse of an SQL EXECUTE or DEALLOCATE of a statement of the protocol's.
    fn parse_spliced(&mut self, parse: &Parse<'_>, statement: &Statement, assembly: &mut Assembly<'_>) -> Step {
        if !parse.name.is_empty() {
            return self.refuse_extended(&Unsupported::PreparedExecute, assembly);
        }
        self.be_busy();
        let text = self.splice(&statement.analysis, parse.text, assembly);
        let spliced = Statement::private(&text, parse.types, statement.analysis.clone(), true);
        spliced.put_parse(assembly.own(), b"");
        self.parse_unnamed(spliced, assembly);
        Step::Done
    }
}

impl Touched {
    /// Something was collected.
    fn matters(&self) -> bool {
        !self.is_plain_reset() || self.resets_all()
    }
}

impl super::Portals {
    fn note(&mut self, portal: &[u8], statement: Option<Rc<Statement>>) {
        if portal.is_empty() {
            self.unnamed = statement;
            return;
        }
        match statement {
            Some(statement) => {
                self.named.get_or_insert_default().insert(portal.into(), statement);
            }
            None => {
                if let Some(named) = &mut self.named {
                    named.remove(portal);
                }
            }
        }
    }

    fn find(&self, portal: &[u8]) -> Option<Rc<Statement>> {
        if portal.is_empty() { self.unnamed.clone() } else { self.named.as_ref()?.get(portal).cloned() }
    }
}

/// Which kind of request is refused: what the client expects after the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusing {
    /// ReadyForQuery at once.
    Query,
    /// Nothing up to its Sync.
    Extended,
}

fn protocol(error: FrameError) -> Event {
    Event::Close(CloseReason::Protocol(error.to_string()))
}

/// A Bind that was refused may not be here whole.
fn discard_rest(step: Step, message: &Message<'_>) -> Step {
    match step {
        Step::Done if !message.is_whole() => Step::Streaming(Pass::Discard),
        step => step,
    }
}

fn ends_transaction(analysis: &Analysis) -> bool {
    matches!(
        analysis.statements.first().map(|statement| statement.kind),
        Some(
            StatementKind::Commit
                | StatementKind::CommitChain
                | StatementKind::Rollback
                | StatementKind::RollbackChain
                | StatementKind::RollbackTo
                | StatementKind::PrepareTransaction
        )
    )
}

/// The value of parameter `index` (from 1) in what follows the names of a Bind.
fn bind_value(values: &[u8], index: u16) -> Option<&[u8]> {
    let (formats, rest) = values.split_first_chunk::<2>()?;
    let rest = rest.get(usize::from(u16::from_be_bytes(*formats)) * 2..)?;
    let (count, mut rest) = rest.split_first_chunk::<2>()?;
    for number in 1..=u16::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        let (value, after) = after.split_at_checked(length)?;
        if number == index {
            return Some(value);
        }
        rest = after;
    }
    None
}

/// What the proxy itself does not do.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Unsupported {
    FunctionCall,
    ReservedName,
    DuplicateName(String),
    NoSuchStatement(String),
    TooManyNames,
    PreparedExecute,
    StatementTooLong { length: usize, max: usize },
}

impl Report for Unsupported {
    fn fault(&self) -> Fault {
        Fault::Client
    }

    fn severity(&self) -> Severity {
        Severity::Error
    }

    fn sqlstate(&self) -> SqlState {
        match self {
            Self::FunctionCall | Self::ReservedName | Self::PreparedExecute => SqlState::FEATURE_NOT_SUPPORTED,
            Self::DuplicateName(_) => SqlState::DUPLICATE_PREPARED_STATEMENT,
            Self::NoSuchStatement(_) => SqlState::INVALID_SQL_STATEMENT_NAME,
            Self::TooManyNames => SqlState::CONFIGURATION_LIMIT_EXCEEDED,
            Self::StatementTooLong { .. } => SqlState::PROGRAM_LIMIT_EXCEEDED,
        }
    }

    fn message(&self) -> Cow<'_, str> {
        match self {
            Self::FunctionCall => "the FunctionCall message is not supported".into(),
            Self::ReservedName => {
                format!("prepared statement names that begin with \"{RESERVED_PREFIX}\" are reserved").into()
            }
            Self::DuplicateName(name) => format!("prepared statement \"{name}\" already exists").into(),
            Self::NoSuchStatement(name) => format!("prepared statement \"{name}\" does not exist").into(),
            Self::TooManyNames => format!("a session may have {NAMED_MAX} prepared statements").into(),
            Self::StatementTooLong { length, max } => {
                format!("the statement's text is {length} bytes long, {max} are allowed").into()
            }
            Self::PreparedExecute => {
                "EXECUTE of a statement of the extended protocol cannot be prepared by name".into()
            }
        }
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::FunctionCall => Some(
                "Call the function in a SELECT. Large objects have SQL functions: lo_get, lo_put, lo_from_bytea."
                    .into(),
            ),
            Self::ReservedName => Some("Choose another name for the statement.".into()),
            Self::TooManyNames => Some("Close statements that are not needed any more.".into()),
            Self::PreparedExecute => Some("Bind and execute the statement itself.".into()),
            Self::StatementTooLong { .. } => {
                Some("Send values as parameters or by COPY, or raise server.statement_size_max.".into())
            }
            Self::DuplicateName(_) | Self::NoSuchStatement(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_poison_is_a_well_formed_bind_of_a_reserved_name() {
        let header = Header::read(POISON, 1000).unwrap().unwrap();
        assert_eq!(header.total(), POISON.len());
        let names = BindNames::read(&POISON[HEADER..]).unwrap();
        assert!(names.portal.is_empty() && names.statement.starts_with(RESERVED_PREFIX.as_bytes()));
        assert_eq!(&POISON[HEADER + names.length..], [0; 6]);
    }

    #[test]
    fn a_parameter_is_found_among_the_values_of_a_bind() {
        let values = b"\0\x01\0\0\0\x03\0\0\0\x01a\xff\xff\xff\xff\0\0\0\x02bc\0\0";
        assert_eq!(bind_value(values, 1), Some(&b"a"[..]));
        assert_eq!(bind_value(values, 2), Some(&b""[..]));
        assert_eq!(bind_value(values, 3), Some(&b"bc"[..]));
        assert_eq!(bind_value(values, 4), None);
        for end in 0..14 {
            let _ = bind_value(&values[..end], 3);
        }
    }
}
