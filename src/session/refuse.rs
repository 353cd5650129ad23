//! Refusals: how a request that is not forwarded is answered, and what the proxy itself does not do.

use std::borrow::Cow;

use bytes::BufMut;

use super::assembly::Assembly;
use super::frontend::{READY_IDLE, Step};
use super::statements::NAMED_MAX;
use super::{Owed, Session, encode};
use crate::fault::{Fault, Report, Severity, SqlState};
use crate::policy::RESERVED_PREFIX;
use crate::reply::{Expect, Show};

pub(super) const SYNC: &[u8] = b"S\0\0\0\x04";
/// A Bind of a statement that never exists: the server refuses it in every state, and aborts an open transaction.
pub(super) const POISON: &[u8] = b"B\0\0\0\x19\0__pgw_refused\0\0\0\0\0\0\0";

impl Session {
    pub(super) fn refuse_query(&mut self, report: &dyn Report, assembly: &mut Assembly<'_>) -> Step {
        self.note_rule(report.rule());
        self.refuse_with(encode(report), Refusing::Query, assembly)
    }

    pub(super) fn refuse_extended(&mut self, report: &dyn Report, assembly: &mut Assembly<'_>) -> Step {
        self.note_rule(report.rule());
        self.refuse_with(encode(report), Refusing::Extended, assembly)
    }

    /// Answers a request with an error. With a backend the server is made to fail in its place, so that it skips to Sync
    /// and aborts an open transaction as it would for an error of its own.
    pub(super) fn refuse_with(&mut self, error: Box<[u8]>, refusing: Refusing, assembly: &mut Assembly<'_>) -> Step {
        self.paid = false;
        self.note_refused(&error);
        if let Some(tenant) = &self.handle.tenant {
            tenant.refused.set(tenant.refused.get() + 1);
        }
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
}

/// Which kind of request is refused: what the client expects after the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusing {
    /// ReadyForQuery at once.
    Query,
    /// Nothing up to its Sync.
    Extended,
}

/// What the proxy itself does not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unsupported {
    FunctionCall,
    ReservedName,
    DuplicateName(String),
    AbortedTransaction,
    NoSuchStatement(String),
    NoUnnamedPortal,
    TooManyNames,
    PreparedExecute,
    StatementTooLong {
        length: usize,
        max: usize,
    },
    /// COPY FROM under row security that is not alone in its text or batch.
    CopyNotAlone,
    /// COPY FROM under row security in a form that is not read.
    CopyForm,
    /// Whom the session speaks for would be forgotten in the middle of something, or was.
    ContextReset,
    /// A text that would leave the transaction in which a standby knows whom the session speaks for.
    TransactionInText,
    /// A Query in the middle of a batch, where a standby cannot be told whom the session speaks for.
    QueryInBatch,
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
            Self::FunctionCall
            | Self::ReservedName
            | Self::PreparedExecute
            | Self::CopyNotAlone
            | Self::CopyForm
            | Self::ContextReset
            | Self::TransactionInText
            | Self::QueryInBatch => SqlState::FEATURE_NOT_SUPPORTED,
            Self::DuplicateName(_) => SqlState::DUPLICATE_PREPARED_STATEMENT,
            Self::AbortedTransaction => SqlState::IN_FAILED_TRANSACTION,
            Self::NoSuchStatement(_) => SqlState::INVALID_SQL_STATEMENT_NAME,
            Self::NoUnnamedPortal => SqlState::INVALID_CURSOR_NAME,
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
            Self::AbortedTransaction => {
                "current transaction is aborted, commands ignored until end of transaction block".into()
            }
            Self::NoSuchStatement(name) => format!("prepared statement \"{name}\" does not exist").into(),
            Self::NoUnnamedPortal => "portal \"\" does not exist".into(),
            Self::TooManyNames => format!("a session may have {NAMED_MAX} prepared statements").into(),
            Self::StatementTooLong { length, max } => {
                format!("the statement's text is {length} bytes long, {max} are allowed").into()
            }
            Self::ContextReset => {
                "DISCARD ALL, DISCARD SEQUENCES and RESET ALL are not supported inside a transaction or batch".into()
            }
            Self::TransactionInText => {
                "transaction control and RESET ALL with other statements in one text are not supported on a standby"
                    .into()
            }
            Self::QueryInBatch => "a Query before the Sync of a batch is not supported on a standby".into(),
            Self::CopyNotAlone => {
                "COPY FROM with other statements in one text or batch is not supported under row security".into()
            }
            Self::CopyForm => "COPY FROM in this form is not supported under row security".into(),
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
            Self::CopyNotAlone => {
                Some("Send COPY FROM by itself; BEGIN before makes it one transaction with others.".into())
            }
            Self::CopyForm => Some("Name the table without its database.".into()),
            Self::ContextReset => Some("Send it alone, between transactions.".into()),
            Self::TransactionInText => Some("Send BEGIN, COMMIT and the like each in a Query of its own.".into()),
            Self::QueryInBatch => Some("Send Sync before it.".into()),
            Self::PreparedExecute => Some("Bind and execute the statement itself.".into()),
            Self::StatementTooLong { .. } => {
                Some("Send values as parameters or by COPY, or raise server.statement_size_max.".into())
            }
            Self::DuplicateName(_) | Self::AbortedTransaction | Self::NoSuchStatement(_) | Self::NoUnnamedPortal => {
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::{BindNames, HEADER, Header};

    #[test]
    fn the_poison_is_a_well_formed_bind_of_a_reserved_name() {
        let header = Header::read(POISON, 1000).unwrap().unwrap();
        assert_eq!(header.total(), POISON.len());
        let names = BindNames::read(&POISON[HEADER..]).unwrap();
        assert!(names.portal.is_empty() && names.statement.starts_with(RESERVED_PREFIX.as_bytes()));
        assert_eq!(&POISON[HEADER + names.length..], [0; 6]);
    }
}
