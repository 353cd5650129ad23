//! The extended protocol: what becomes of Parse, Bind, Describe, Execute and Close, and of the names in them.

use std::rc::Rc;

use bytes::BufMut;

use super::assembly::Assembly;
use super::auditing::Intent;
use super::copy_in::{CopyIn, Way};
use super::effects::{Pins, needs_attention};
use super::frontend::{FLUSH, Message, Step};
use super::refuse::{Refusing, Unsupported};
use super::sealing::Entering;
use super::statements::{NAMED_MAX, ServerName, Statement, scope};
use super::{After, Effectful, Event, Flow, Owed, Pass, Portals, Session, Undo};
use crate::audit::Ticket;
use crate::policy::{RESERVED_PREFIX, Verdict};
use crate::reply::{Expect, Show};
use crate::sql::{self, Analysis, Effect, StatementKind, Summary};
use crate::wire::frame::{self, BindNames, FrameError, HEADER, Parse, Target, TxStatus};

/// The two names of a Bind must fit in so many bytes of it.
const BIND_NAMES_MAX: usize = 16 << 10;

const PARSE_COMPLETE: &[u8] = b"1\0\0\0\x04";
const CLOSE_COMPLETE: &[u8] = b"3\0\0\0\x04";
/// Closes the unnamed statement.
const CLOSE_UNNAMED: &[u8] = b"C\0\0\0\x06S\0";

impl Session {
    /// What this name stands for, or whether the backend has that statement, depends on answers that are still to come.
    pub(super) fn is_doubtful(&self, name: &[u8]) -> bool {
        let on_the_backend = |id| self.changes.is_statement_doubtful(id) || self.evicts_doubtful(id);
        let doubtful =
            || self.changes.is_doubtful(name) || self.named.find(name).is_some_and(|it| on_the_backend(it.id()));
        !self.queue.is_empty() && doubtful()
    }

    /// What must go from the backend for this statement depends on answers that are still to come.
    fn evicts_doubtful(&self, id: u64) -> bool {
        let evicted = self.bound.as_ref().and_then(|bound| bound.prepared.evicted_by(id));
        evicted.is_some_and(|evicted| self.changes.is_statement_doubtful(evicted))
    }

    pub(super) fn parse(&mut self, message: &Message<'_>, assembly: &mut Assembly<'_>) -> Result<Step, FrameError> {
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
            let known = self.named.find(parse.name).is_some();
            // What is still to be answered may fail and take the name, or its Close, back.
            if self.is_doubtful(parse.name) || known && !self.queue.is_empty() {
                return Ok(self.wait_before(assembly));
            }
            if known {
                let failed = self.status() == TxStatus::Failed;
                if failed && !ends_transaction(&self.analysis_of(parse.text)) {
                    return Ok(self.refuse_extended(&Unsupported::AbortedTransaction, assembly));
                }
                let name = String::from_utf8_lossy(parse.name).into_owned();
                return Ok(self.refuse_extended(&Unsupported::DuplicateName(name), assembly));
            }
            if self.named.len() >= NAMED_MAX {
                return Ok(self.refuse_extended(&Unsupported::TooManyNames, assembly));
            }
        }
        let rewritten = match self.rewritten_parse(&parse) {
            Ok(rewritten) => rewritten,
            Err(error) => return Ok(self.refuse_extended(&*error, assembly)),
        };
        let asked = parse.text;
        let parse = Parse { text: rewritten.as_deref().unwrap_or(parse.text), ..parse };
        let statement = self.statement(&parse);
        if let Verdict::Refuse(refusal) = self.judge(&statement.analysis) {
            return Ok(self.refuse_extended(&refusal, assembly));
        }
        let named = !parse.name.is_empty();
        let id = statement.id();
        let unsure = || self.changes.is_statement_doubtful(id) || self.evicts_doubtful(id) || self.queue.owes_ready();
        if named && !self.queue.is_empty() && unsure() {
            return Ok(self.wait_before(assembly));
        }
        if statement.attention {
            let names = self.names_in(&statement.analysis);
            if !names.is_empty() && !self.queue.is_empty() {
                return Ok(self.wait_before(assembly));
            }
            if !names.is_empty() {
                return Ok(self.parse_spliced(&parse, &statement, asked, assembly));
            }
        }
        // Entering takes the unnamed statement: before a new one it is done already.
        let entering = if named { Entering::Not } else { self.entering(Some(&statement.analysis)) };
        if entering == Entering::Wait {
            return Ok(self.wait_before(assembly));
        }
        let ticket = match self.open_parse(asked, &parse, &statement) {
            Ok(ticket) => ticket,
            // The log has failed since it was looked at, and nothing was sent: the message waits like one that comes now.
            Err(_) if self.waits_for_audit(b'P') => return Ok(Step::Event(Event::NeedAudit)),
            Err(error) => return Ok(self.refuse_extended(&error, assembly)),
        };
        self.be_busy();
        self.enter_where(entering, assembly);
        if parse.name.is_empty() {
            match rewritten {
                None => message.pass(assembly),
                Some(_) => statement.put_parse(assembly.own(), b""),
            }
            self.parse_unnamed(statement, ticket);
        } else {
            self.prove_free(parse.name, &statement, assembly);
            self.parse_named(parse.name, statement, ticket, assembly);
        }
        Ok(Step::Done)
    }

    pub(super) fn statement(&mut self, parse: &Parse<'_>) -> Rc<Statement> {
        let analyse = || {
            let analysis = self.analysis_of(parse.text);
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

    pub(super) fn parse_unnamed(&mut self, statement: Rc<Statement>, ticket: Option<Ticket>) {
        let id = statement.id();
        let session = self.unnamed.replace(statement);
        let backend = self.bound.as_mut().and_then(|bound| bound.unnamed.replace(id));
        let epoch = self.changes.note_unnamed(Some(session), backend);
        let owed = Owed { ticket, undo: Undo::Unnamed { epoch }, ..Owed::default() };
        self.queue.push(Expect::Parse, Show::Forward, owed);
    }

    /// Backends have statements of the protocol under other names, and would not notice that SQL has prepared one of this
    /// name. Where that may be, the client's name is taken on the backend for a moment: the server refuses if it is not free.
    fn prove_free(&mut self, name: &[u8], statement: &Statement, assembly: &mut Assembly<'_>) {
        if !self.pins.has(Pins::PREPARED) && !self.touched.as_ref().is_some_and(|touched| touched.may_pin()) {
            return;
        }
        let out = assembly.own();
        statement.put_parse(out, name);
        out.put_u8(b'C');
        out.put_u32(name.len() as u32 + 6);
        out.put_u8(b'S');
        out.put_slice(name);
        out.put_u8(0);
        self.queue.push(Expect::Parse, Show::Swallow, Owed::default());
        self.queue.push(Expect::Close, Show::Swallow, Owed::default());
    }

    pub(super) fn parse_named(
        &mut self,
        name: &[u8],
        statement: Rc<Statement>,
        ticket: Option<Ticket>,
        assembly: &mut Assembly<'_>,
    ) {
        let id = statement.id();
        let known = self.bound.as_mut().is_some_and(|bound| bound.prepared.touch(id));
        let failed = self.status() == TxStatus::Failed;
        // In a failed transaction the server refuses a Parse of anything but its end: let it say so, if it has not ended by then.
        let synthesise = known && (!failed || ends_transaction(&statement.analysis));
        let undo = Undo::Named { name: name.into(), prepared: (!synthesise).then_some(id) };
        self.changes.note(name);
        self.named.insert(name, statement.clone());
        self.handle.prepared.set(self.named.len());
        if synthesise {
            self.seat.pool().count(|counters| counters.prepared_hits += 1);
            let owed = Owed { ticket, undo, ..Owed::default() };
            self.queue.push(Expect::Synthesised(PARSE_COMPLETE), Show::Forward, owed);
            let due = self.queue.is_synthesised_next();
            self.tell_synthesised(due);
        } else {
            self.seat.pool().count(|counters| counters.prepared_misses += 1);
            if known {
                self.close_prepared(id, assembly);
            }
            self.make_room(id, assembly);
            statement.put_parse(assembly.own(), ServerName::of(id).as_bytes());
            self.queue.push(Expect::Parse, Show::Forward, Owed { ticket, undo, ..Owed::default() });
        }
    }

    /// Replies of our own whose turn has come already.
    pub(super) fn tell_synthesised(&mut self, due: bool) {
        if due {
            let mut out = std::mem::take(&mut self.client.unsent);
            self.emit_synthesised(Some(&mut out));
            self.client.unsent = out;
        }
    }

    /// Counts `id` as prepared on the backend; what must go for it is closed there.
    pub(super) fn make_room(&mut self, id: u64, assembly: &mut Assembly<'_>) {
        self.changes.note_statement(id);
        if let Some(evicted) = self.bound.as_mut().and_then(|bound| bound.prepared.insert(id)) {
            self.changes.note_statement(evicted);
            self.close_prepared(evicted, assembly);
        }
    }

    /// Closes a statement on the backend; that it is gone is noted already, or is about to be.
    fn close_prepared(&mut self, id: u64, assembly: &mut Assembly<'_>) {
        let name = ServerName::of(id);
        let out = assembly.own();
        out.put_u8(b'C');
        out.put_u32(name.as_bytes().len() as u32 + 6);
        out.put_u8(b'S');
        out.put_slice(name.as_bytes());
        out.put_u8(0);
        let owed = Owed { undo: Undo::Evicted { id }, ..Owed::default() };
        self.queue.push(Expect::Close, Show::Swallow, owed);
    }

    /// Makes the backend have a named statement, and says what it is called there.
    pub(super) fn ensure_prepared(&mut self, statement: &Rc<Statement>, assembly: &mut Assembly<'_>) -> ServerName {
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
    pub(super) fn ensure_unnamed(&mut self, assembly: &mut Assembly<'_>) {
        let wanted = self.unnamed.clone();
        let Some(bound) = &mut self.bound else { return };
        let backend = bound.unnamed;
        match wanted {
            Some(statement) if backend != Some(statement.id()) => {
                bound.unnamed = Some(statement.id());
                statement.put_parse(assembly.own(), b"");
                let epoch = self.changes.note_unnamed(None, backend);
                let owed = Owed { undo: Undo::Unnamed { epoch }, ..Owed::default() };
                self.queue.push(Expect::Parse, Show::Swallow, owed);
            }
            None if backend.is_some() => {
                bound.unnamed = None;
                assembly.own().put_slice(CLOSE_UNNAMED);
                let epoch = self.changes.note_unnamed(None, backend);
                let owed = Owed { undo: Undo::Unnamed { epoch }, ..Owed::default() };
                self.queue.push(Expect::Close, Show::Swallow, owed);
            }
            Some(_) | None => {}
        }
    }

    pub(super) fn bind(&mut self, message: &Message<'_>, assembly: &mut Assembly<'_>) -> Result<Step, FrameError> {
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
        if self.is_doubtful(names.statement) {
            return Ok(self.wait_before(assembly));
        }
        if !self.queue.is_empty() && self.portals.has_named(names.portal) {
            // Which statement the portal has depends on what becomes of the Bind before.
            return Ok(self.wait_before(assembly));
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
        let entering = self.entering(statement.as_deref().map(|statement| &*statement.analysis));
        if entering == Entering::Wait {
            return Ok(self.wait_before(assembly));
        }
        let values = &message.body[names.length..];
        let intent = Intent::Bind { statement: statement.as_deref(), values };
        let ticket = match self.open_ticket_of_part(&intent) {
            Ok(ticket) => ticket,
            Err(_) if self.waits_for_audit(b'B') => return Ok(Step::Event(Event::NeedAudit)),
            Err(error) => return Ok(discard_rest(self.refuse_extended(&error, assembly), message)),
        };
        self.be_busy();
        self.enter_where(entering, assembly);
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
        let undo = self.portals.open(names.portal, statement.clone());
        self.queue.push(Expect::Bind, Show::Forward, Owed { ticket, undo, statement });
        Ok(if message.is_whole() { Step::Done } else { Step::Streaming(Pass::Forward) })
    }

    /// `set_config($1, ...)`: the settings named by the values of a Bind.
    pub(super) fn touch_parameters(&mut self, statement: Option<&Statement>, values: &[u8]) {
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

    pub(super) fn describe(&mut self, message: &Message<'_>, assembly: &mut Assembly<'_>) -> Result<Step, FrameError> {
        let target = Target::read(b'D', message.body)?;
        if matches!(target, Target::Portal(portal) if self.portals.lacks(portal)) {
            return Ok(self.refuse_extended(&Unsupported::NoUnnamedPortal, assembly));
        }
        if let Some(denied) = self.denied.take() {
            return Ok(self.refuse_with(denied, Refusing::Extended, assembly));
        }
        if let Err(step) = self.ensure_backend() {
            return Ok(step);
        }
        if let Target::Statement(name) = target
            && self.is_doubtful(name)
        {
            return Ok(self.wait_before(assembly));
        }
        if matches!(target, Target::Statement(name) if name.starts_with(RESERVED_PREFIX.as_bytes())) {
            let (Target::Statement(name) | Target::Portal(name)) = target;
            let name = String::from_utf8_lossy(name).into_owned();
            return Ok(self.refuse_extended(&Unsupported::NoSuchStatement(name), assembly));
        }
        let ticket = match self.open_describe(&target) {
            Ok(ticket) => ticket,
            Err(_) if self.waits_for_audit(b'D') => return Ok(Step::Event(Event::NeedAudit)),
            Err(error) => return Ok(self.refuse_extended(&error, assembly)),
        };
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
        self.queue.push(expect, Show::Forward, Owed { ticket, ..Owed::default() });
        Ok(Step::Done)
    }

    pub(super) fn execute(&mut self, message: &Message<'_>, assembly: &mut Assembly<'_>) -> Result<Step, FrameError> {
        let portal = frame::execute_portal(message.body)?;
        if self.portals.lacks(portal) {
            return Ok(self.refuse_extended(&Unsupported::NoUnnamedPortal, assembly));
        }
        if let Err(error) = self.pay(1) {
            return Ok(self.refuse_with(error, Refusing::Extended, assembly));
        }
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
        if let Some(statement) = &statement
            && statement.analysis.summary.has(Summary::COPY)
            && self.copies_by_insert(&statement.analysis)
        {
            if !self.queue.is_empty() {
                return Ok(self.wait_before(assembly));
            }
            let status = self.bound.as_ref().map(|bound| bound.status);
            // Of a batch that has run something outside a block, or behind a failure, it is not known where it is now.
            if status != Some(TxStatus::Open) && self.queue.has_executed() {
                return Ok(self.refuse_extended(&Unsupported::CopyNotAlone, assembly));
            }
            let Some(copy) = sql::copy::read(&statement.text) else {
                return Ok(self.refuse_extended(&Unsupported::CopyForm, assembly));
            };
            if status != Some(TxStatus::Failed) {
                let ticket = match self.open_ticket(&Intent::Execute { statement: Some(statement) }) {
                    Ok(ticket) => ticket,
                    Err(_) if self.waits_for_audit(b'E') => return Ok(Step::Event(Event::NeedAudit)),
                    Err(error) => return Ok(self.refuse_extended(&error, assembly)),
                };
                let copy = CopyIn { copy, admitted, ticket, way: Way::Execute, request: message.header.total() };
                return Ok(Step::Event(Event::CopyIn(Box::new(copy))));
            }
        }
        let mut effectful = None;
        if let Some(statement) = &statement
            && statement.attention
        {
            if self.forgets_tenant_midway(&statement.analysis) {
                return Ok(self.refuse_extended(&Unsupported::ContextReset, assembly));
            }
            if !self.queue.is_empty() {
                return Ok(self.wait_before(assembly));
            }
            self.absorb(&statement.analysis);
            effectful = Some(Effectful { analysis: statement.analysis.clone(), spliced: Vec::new() });
        }
        let ticket = match self.open_ticket(&Intent::Execute { statement: statement.as_deref() }) {
            Ok(ticket) => ticket,
            Err(_) if effectful.is_none() && self.waits_for_audit(b'E') => return Ok(Step::Event(Event::NeedAudit)),
            Err(error) => return Ok(self.refuse_extended(&error, assembly)),
        };
        self.be_busy();
        self.part_from_others(assembly);
        if let Some(statement) = &statement {
            self.note_shapes(&statement.analysis);
            self.note_ends(&statement.analysis);
        }
        let owed = Owed { ticket: Some(ticket), undo: Undo::Nothing, statement };
        self.forward_statement(admitted, Expect::Execute, Show::Forward, owed);
        message.pass(assembly);
        match effectful {
            None => Ok(Step::Done),
            Some(mut statement) => {
                statement.spliced = self.names_in(&statement.analysis);
                // Its reply would wait for a Sync that is not looked at before the reply.
                assembly.own().put_slice(FLUSH);
                self.failed = false;
                self.flow = Flow::After(After::new(statement, false, false));
                Ok(Step::Answer)
            }
        }
    }

    pub(super) fn close_target(
        &mut self,
        message: &Message<'_>,
        assembly: &mut Assembly<'_>,
    ) -> Result<Step, FrameError> {
        match Target::read(b'C', message.body)? {
            Target::Statement(b"") => {
                if self.bound.is_some() {
                    let session = self.unnamed.take();
                    let backend = self.bound.as_mut().and_then(|bound| bound.unnamed.take());
                    message.pass(assembly);
                    let epoch = self.changes.note_unnamed(Some(session), backend);
                    let owed = Owed { undo: Undo::Unnamed { epoch }, ..Owed::default() };
                    self.queue.push(Expect::Close, Show::Forward, owed);
                } else {
                    self.unnamed = None;
                    self.synthesise_close(Undo::Nothing);
                }
            }
            Target::Statement(name) if self.is_doubtful(name) => return Ok(self.wait_before(assembly)),
            Target::Statement(name) => match self.named.remove(name) {
                Some(statement) => {
                    self.changes.note(name);
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
                self.portals.close(name);
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

    pub(super) fn synthesise_close(&mut self, undo: Undo) {
        self.queue.push(Expect::Synthesised(CLOSE_COMPLETE), Show::Forward, Owed { undo, ..Owed::default() });
        let due = self.queue.is_synthesised_next();
        self.tell_synthesised(due);
    }

    /// A Parse of an SQL EXECUTE or DEALLOCATE of a statement of the protocol's.
    pub(super) fn parse_spliced(
        &mut self,
        parse: &Parse<'_>,
        statement: &Statement,
        asked: &[u8],
        assembly: &mut Assembly<'_>,
    ) -> Step {
        if !parse.name.is_empty() {
            return self.refuse_extended(&Unsupported::PreparedExecute, assembly);
        }
        let ticket = match self.open_parse(asked, parse, statement) {
            Ok(ticket) => ticket,
            Err(_) if self.waits_for_audit(b'P') => return Step::Event(Event::NeedAudit),
            Err(error) => return self.refuse_extended(&error, assembly),
        };
        self.be_busy();
        let text = self.splice(&statement.analysis, parse.text, assembly);
        let spliced = Statement::private(&text, parse.types, statement.analysis.clone(), true);
        spliced.put_parse(assembly.own(), b"");
        self.parse_unnamed(spliced, ticket);
        Step::Done
    }
}

impl Portals {
    /// A Bind of it is about to be sent; how to undo that.
    fn open(&mut self, portal: &[u8], statement: Option<Rc<Statement>>) -> Undo {
        if portal.is_empty() {
            self.binds += 1;
            (self.unnamed, self.unnamed_bind) = (statement, Some(self.binds));
            return Undo::UnnamedBound { bind: self.binds };
        }
        let before = self.find(portal);
        self.put(portal, statement);
        Undo::Bound { portal: portal.into(), before }
    }

    pub(super) fn close(&mut self, portal: &[u8]) {
        if portal.is_empty() {
            (self.unnamed, self.unnamed_bind) = (None, None);
        } else {
            self.put(portal, None);
        }
    }

    /// What a named portal runs; `None`: nothing that is known here.
    pub(super) fn put(&mut self, portal: &[u8], statement: Option<Rc<Statement>>) {
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

    /// The server did not take this Bind. Unless there is a newer one, the portal counts as closed: what it was before is
    /// not worth knowing in a transaction that has failed.
    pub(super) fn take_back_unnamed(&mut self, bind: u64) {
        if self.unnamed_bind == Some(bind) {
            self.close(b"");
        }
    }

    /// It is the unnamed portal, and no Bind has opened it.
    fn lacks(&self, portal: &[u8]) -> bool {
        portal.is_empty() && self.unnamed_bind.is_none()
    }

    fn has_named(&self, portal: &[u8]) -> bool {
        self.named.as_ref().is_some_and(|named| named.contains_key(portal))
    }

    pub(super) fn find(&self, portal: &[u8]) -> Option<Rc<Statement>> {
        if portal.is_empty() { self.unnamed.clone() } else { self.named.as_ref()?.get(portal).cloned() }
    }
}

/// A Bind that was refused may not be here whole.
pub(super) fn discard_rest(step: Step, message: &Message<'_>) -> Step {
    match step {
        Step::Done if !message.is_whole() => Step::Streaming(Pass::Discard),
        step => step,
    }
}

/// Whether a failed transaction takes it: its end, and a text without a statement.
fn ends_transaction(analysis: &Analysis) -> bool {
    if analysis.statements.is_empty() {
        return analysis.failure.is_none();
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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
