//! Whom a transaction is for, where the server keeps no state of a session: on a hot standby.
//!
//! There the sealed context ends with each transaction, and is entered in the client's own: before the first message that
//! may come to a tenant's rows, and no sooner, for `BEGIN ISOLATION LEVEL` and `SET TRANSACTION` want no query before them.
//! What is sent for it:
//!
//! - extended protocol: Parse, Bind, Execute and Close ahead of the client's Parse or Bind, in its batch. If that fails, the
//!   server discards the client's part.
//! - a Query in a transaction block: the same with a Sync, which in a block ends nothing.
//! - a Query between transactions: `BEGIN READ ONLY`, the same, the Query, `COMMIT`. If that fails, the server refuses the
//!   Query: its transaction has failed. (Without a Sync before it, PostgreSQL 18 takes a Query for a part of the batch.)
//!
//! Nothing of this shows: its answers are [`Show::Secret`], and an error in them closes the backend. Where the session thinks
//! that it has entered and the server does not, the server's `tenant()` raises an error: no row depends on what is here.

use super::assembly::Assembly;
use super::frontend::put_query;
use super::refuse::{SYNC, Unsupported};
use super::{Owed, Session, Undo};
use crate::reply::{Expect, Show};
use crate::sql::{Analysis, DiscardTarget, Effect, Statement, StatementKind};
use crate::wire::frame::TxStatus;

/// What is known of the transaction under way, on a backend whose transactions are entered one by one.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Sealing {
    /// It is the tenant's, if what was sent succeeds.
    entered: bool,
    /// It may have ended, or begun, since the server last said where it is.
    moved: bool,
    /// So many times the server still says where it was before either.
    before: usize,
}

/// Whether to enter before the client's next message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entering {
    Not,
    Now,
    /// It is not known yet whether there is a transaction, or a failed one.
    Wait,
}

/// What is put around a Query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Enclosure {
    Bare,
    /// It is in a block of the client's.
    Entered,
    /// A transaction of our own.
    Whole,
}

impl Enclosure {
    pub(super) fn shows(self) -> Show {
        match self {
            Self::Bare | Self::Entered => Show::Forward,
            Self::Whole => Show::Inside,
        }
    }
}

impl Sealing {
    /// The server has said where it is; `None`: inside a transaction of our own.
    pub(super) fn settle(&mut self, status: Option<TxStatus>) {
        if self.before > 0 {
            self.before -= 1;
            return;
        }
        self.moved = false;
        self.entered &= status != Some(TxStatus::Idle);
    }
}

impl Session {
    fn enters_by_transaction(&self) -> bool {
        self.bound.as_ref().is_some_and(|bound| bound.enters_by_transaction())
    }

    pub(super) fn status(&self) -> TxStatus {
        self.bound.as_ref().map_or(TxStatus::Idle, |bound| bound.status)
    }

    /// In the extended protocol. A statement that SQL has prepared is not known here: it may read.
    pub(super) fn entering(&self, analysis: Option<&Analysis>) -> Entering {
        if !self.enters_by_transaction() || self.sealing.entered || !analysis.is_none_or(reads) {
            return Entering::Not;
        }
        if !self.queue.is_empty() && !self.queue.is_open() {
            return Entering::Wait;
        }
        if self.status() == TxStatus::Idle && !self.sealing.moved && analysis.is_some_and(is_for_blocks) {
            return Entering::Not;
        }
        // In a failed transaction the server says so by itself.
        let failed = self.status() == TxStatus::Failed && !self.sealing.moved;
        if failed { Entering::Not } else { Entering::Now }
    }

    pub(super) fn enter_where(&mut self, entering: Entering, assembly: &mut Assembly<'_>) {
        match entering {
            Entering::Now => self.enter_transaction(assembly),
            Entering::Not | Entering::Wait => {}
        }
    }

    /// Around a Query; `None`: it is not known yet where the server is.
    pub(super) fn enclosure(&self, analysis: &Analysis) -> Result<Option<Enclosure>, Unsupported> {
        if !self.enters_by_transaction() || !reads(analysis) {
            return Ok(Some(Enclosure::Bare));
        }
        if analysis.statements.len() > 1 && analysis.statements.iter().any(ends_context) {
            return Err(Unsupported::TransactionInText);
        }
        if !self.queue.is_empty() {
            return Ok(None);
        }
        if self.queue.is_open() {
            return Err(Unsupported::QueryInBatch);
        }
        Ok(Some(match self.status() {
            TxStatus::Idle if is_for_blocks(analysis) => Enclosure::Bare,
            TxStatus::Idle if analysis.statements.iter().any(minds_a_block) => {
                return Err(Unsupported::TransactionInText);
            }
            TxStatus::Idle => Enclosure::Whole,
            TxStatus::Open if !self.sealing.entered => Enclosure::Entered,
            TxStatus::Open | TxStatus::Failed => Enclosure::Bare,
        }))
    }

    /// What goes ahead of the Query.
    pub(super) fn enclose(&mut self, enclosure: Enclosure, assembly: &mut Assembly<'_>) {
        match enclosure {
            Enclosure::Bare => return,
            Enclosure::Entered => {}
            Enclosure::Whole => {
                put_query(assembly.own(), b"BEGIN READ ONLY");
                self.queue.push(Expect::Query, Show::Secret, Owed::default());
            }
        }
        self.enter_transaction(assembly);
        assembly.own().extend_from_slice(SYNC);
        self.queue.push(Expect::Sync, Show::Secret, Owed::default());
    }

    /// What goes behind it.
    pub(super) fn end_enclosure(&mut self, enclosure: Enclosure, assembly: &mut Assembly<'_>) {
        match enclosure {
            Enclosure::Bare | Enclosure::Entered => {}
            Enclosure::Whole => {
                put_query(assembly.own(), b"COMMIT");
                self.queue.push(Expect::Query, Show::End, Owed::default());
                self.sealing.entered = false;
            }
        }
    }

    /// The unnamed statement and portal are the server's for this, and gone behind it.
    fn enter_transaction(&mut self, assembly: &mut Assembly<'_>) {
        let Some(bound) = &mut self.bound else { return };
        bound.put_enter_transaction(assembly.own());
        for expect in [Expect::Parse, Expect::Bind, Expect::Execute] {
            self.queue.push(expect, Show::Secret, Owed::default());
        }
        let backend = bound.unnamed.take();
        let undo = Undo::Unnamed { epoch: self.changes.note_unnamed(None, backend) };
        self.queue.push(Expect::Close, Show::Secret, Owed { undo, ..Owed::default() });
        self.portals.close(b"");
        self.sealing = Sealing { entered: true, before: self.queue.readies(), ..self.sealing };
    }

    /// A statement is about to be sent.
    pub(super) fn note_ends(&mut self, analysis: &Analysis) {
        if analysis.statements.iter().any(ends_context) {
            self.sealing = Sealing { entered: false, moved: true, before: self.queue.readies() };
        }
    }

    /// A Sync was sent: outside a block it is the transaction's end.
    pub(super) fn note_sync(&mut self) {
        self.sealing.entered &= self.status() == TxStatus::Open && !self.sealing.moved;
    }
}

/// Whether a text may come to a tenant's rows; what cannot be read may.
fn reads(analysis: &Analysis) -> bool {
    analysis.failure.is_some() || analysis.statements.iter().any(statement_reads)
}

fn statement_reads(statement: &Statement) -> bool {
    match statement.kind {
        // Rows are behind relations and functions.
        StatementKind::Select | StatementKind::Values => {
            !statement.relations.is_empty() || !statement.functions.is_empty() || !statement.facts.inner.is_empty()
        }
        StatementKind::Insert
        | StatementKind::Update
        | StatementKind::Delete
        | StatementKind::Merge
        | StatementKind::CopyFrom
        | StatementKind::CopyTo
        | StatementKind::CopyFile
        | StatementKind::CopyProgram
        | StatementKind::Explain
        | StatementKind::ExplainAnalyze
        | StatementKind::Prepare
        | StatementKind::Execute
        | StatementKind::Declare
        | StatementKind::Fetch
        | StatementKind::Move
        | StatementKind::Do
        | StatementKind::Call
        | StatementKind::Refresh
        | StatementKind::CreateTableAs
        | StatementKind::SelectInto
        | StatementKind::Unknown => true,
        StatementKind::Begin
        | StatementKind::Commit
        | StatementKind::CommitChain
        | StatementKind::Rollback
        | StatementKind::RollbackChain
        | StatementKind::Savepoint
        | StatementKind::Release
        | StatementKind::RollbackTo
        | StatementKind::PrepareTransaction
        | StatementKind::CommitPrepared
        | StatementKind::RollbackPrepared
        | StatementKind::Set
        | StatementKind::SetLocal
        | StatementKind::SetTransaction
        | StatementKind::SetSessionCharacteristics
        | StatementKind::Reset
        | StatementKind::ResetAll
        | StatementKind::Show
        | StatementKind::SetRole
        | StatementKind::SetSessionAuthorization
        | StatementKind::SetConstraints
        | StatementKind::Discard(_)
        | StatementKind::Deallocate
        | StatementKind::DeallocateAll
        | StatementKind::Close
        | StatementKind::CloseAll
        | StatementKind::Listen
        | StatementKind::Unlisten
        | StatementKind::UnlistenAll
        | StatementKind::Notify
        | StatementKind::Lock
        | StatementKind::Load
        | StatementKind::Checkpoint
        | StatementKind::Vacuum
        | StatementKind::Analyze
        | StatementKind::Cluster
        | StatementKind::Reindex
        | StatementKind::Create
        | StatementKind::Alter
        | StatementKind::AlterSystem
        | StatementKind::Drop
        | StatementKind::Truncate
        | StatementKind::Comment
        | StatementKind::Grant
        | StatementKind::SecurityLabel
        | StatementKind::Import
        | StatementKind::DefineFunction
        | StatementKind::DefineTrigger
        | StatementKind::Administer => false,
    }
}

/// Whether the transaction's tenant may be gone behind it.
fn ends_context(statement: &Statement) -> bool {
    let ends = matches!(
        statement.kind,
        StatementKind::Begin
            | StatementKind::Commit
            | StatementKind::CommitChain
            | StatementKind::Rollback
            | StatementKind::RollbackChain
            | StatementKind::RollbackTo
            | StatementKind::PrepareTransaction
    );
    let forgets =
        |effect: &Effect| matches!(effect, Effect::DiscardAll | Effect::Discard(DiscardTarget::All) | Effect::ResetAll);
    ends || statement.effects.iter().any(forgets)
}

/// In a text between transactions the server takes it otherwise than in a block.
fn minds_a_block(statement: &Statement) -> bool {
    matches!(statement.kind, StatementKind::Savepoint | StatementKind::Release | StatementKind::SetTransaction)
}

/// Outside a block the server refuses it, as it should: what it makes would be gone with the transaction.
fn is_for_blocks(analysis: &Analysis) -> bool {
    match analysis.statements.as_slice() {
        [only] => {
            only.kind == StatementKind::Declare
                && !only.effects.iter().any(|effect| matches!(effect, Effect::HoldCursor { .. }))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::grammar;

    #[test]
    fn what_may_come_to_rows_is_entered_for() {
        let check = |text: &str, expect: bool| assert_eq!(reads(&grammar::read(text.as_bytes())), expect, "{text}");
        for text in [
            "select * from t",
            "select f()",
            "select (select count(*) from t)",
            "set x = 1; table t",
            "explain select * from t",
            "declare c cursor for select * from t",
            "fetch c",
            "execute p",
            "copy t to stdout",
            "do $$ begin end $$",
            "select nonsense from from",
        ] {
            check(text, true);
        }
        for text in ["", "select 1", "begin isolation level repeatable read", "set transaction read only", "show all"] {
            check(text, false);
        }
    }

    #[test]
    fn what_leaves_a_transaction_ends_its_context() {
        let check = |text: &str, expect: bool| {
            let analysis = grammar::read(text.as_bytes());
            assert_eq!(analysis.statements.iter().any(ends_context), expect, "{text}");
        };
        for text in
            ["commit", "commit and chain", "rollback to s", "begin", "reset all", "discard all", "end; select 1"]
        {
            check(text, true);
        }
        for text in ["savepoint s", "release s", "select 1", "set x = 1", "discard plans"] {
            check(text, false);
        }
    }
}
