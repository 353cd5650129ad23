//! Why a text cannot be limited to one tenant: a rule's name, what the client reads, and what to write instead.

use std::borrow::Cow;

use thiserror::Error;

use crate::fault::{Fault, Report, Severity, SqlState};
use crate::sql::Failure;

/// A text that is not rewritten, and so not forwarded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CannotRewrite {
    /// The grammar does not accept the text.
    #[error("syntax")]
    Syntax,
    /// Larger, deeper or slower to read than is allowed.
    #[error("too complex")]
    TooComplex,
    /// A relation that is not in the catalog.
    #[error("unknown relation")]
    UnknownRelation(String),
    /// A kind of statement that cannot carry a predicate, on a table that needs one.
    #[error("statement on {0}")]
    Statement(String),
    /// The two readings of the text do not show the same relations at the same places.
    #[error("readings differ")]
    Reading,
    /// The new text does not read as the old one plus the change.
    #[error("not verified")]
    Verification,
    /// A sub-select takes the table's place, and something in the statement asks for what only a table has.
    #[error("outer join: {0}")]
    OuterJoin(&'static str),
    /// TABLESAMPLE whose arguments look at other tables, below an outer join.
    #[error("sample")]
    Sample,
    /// WHERE CURRENT OF.
    #[error("current of")]
    CurrentOf,
    /// MERGE … WHEN NOT MATCHED BY SOURCE.
    #[error("merge by source")]
    MergeBySource,
    /// COPY … FROM.
    #[error("copy from {0}")]
    CopyFrom(String),
    /// INSERT without a column list where the columns cannot be told.
    #[error("insert without columns")]
    InsertColumns(String),
    /// The tenant column is given by something else than a literal.
    #[error("tenant by expression")]
    InsertValue(String),
    /// The tenant column is given, and it is another tenant's.
    #[error("foreign tenant")]
    ForeignTenant(String),
    /// The tenant column is to be changed.
    #[error("tenant column changed")]
    TenantColumn(String),
    /// A plan was applied to a text that it was not made for, or with a key of another type.
    #[error("plan of another text")]
    OtherText,
}

impl From<Failure> for CannotRewrite {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Syntax { .. } | Failure::Encoding => Self::Syntax,
            Failure::TooComplex => Self::TooComplex,
        }
    }
}

impl CannotRewrite {
    /// The rule's name: a metric's label and an audit field.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Syntax => "rewrite_syntax",
            Self::TooComplex => "rewrite_complex",
            Self::UnknownRelation(_) => "rewrite_unknown_relation",
            Self::Statement(_) => "rewrite_statement",
            Self::Reading => "rewrite_reading",
            Self::Verification => "rewrite_verification",
            Self::OuterJoin(_) => "rewrite_outer_join",
            Self::Sample => "rewrite_sample",
            Self::CurrentOf => "rewrite_current_of",
            Self::MergeBySource => "rewrite_merge_by_source",
            Self::CopyFrom(_) => "rewrite_copy_from",
            Self::InsertColumns(_) => "rewrite_insert_columns",
            Self::InsertValue(_) => "rewrite_insert_value",
            Self::ForeignTenant(_) => "rewrite_foreign_tenant",
            Self::TenantColumn(_) => "rewrite_tenant_column",
            Self::OtherText => "rewrite_other_text",
        }
    }

    fn text(&self) -> Cow<'static, str> {
        match self {
            Self::Syntax => "the statement could not be read".into(),
            Self::TooComplex => "the statement is too complex to be limited to one tenant".into(),
            Self::UnknownRelation(name) => format!("relation \"{name}\" is not known here").into(),
            Self::Statement(name) => {
                format!("this kind of statement on \"{name}\" cannot be limited to one tenant").into()
            }
            Self::Reading => "the statement could not be read in one way only".into(),
            Self::Verification => "the statement could not be limited to one tenant".into(),
            Self::OuterJoin(what) => format!("{what} of a table below an outer join is not supported here").into(),
            Self::Sample => "TABLESAMPLE with arguments from other tables is not supported here".into(),
            Self::CurrentOf => "WHERE CURRENT OF is not supported here".into(),
            Self::MergeBySource => "MERGE with WHEN NOT MATCHED BY SOURCE is not supported here".into(),
            Self::CopyFrom(name) => format!("COPY FROM into \"{name}\" is not supported here").into(),
            Self::InsertColumns(name) => format!("INSERT into \"{name}\" needs a list of columns").into(),
            Self::InsertValue(column) => format!("column \"{column}\" is given by an expression").into(),
            Self::ForeignTenant(column) => format!("column \"{column}\" names another tenant").into(),
            Self::TenantColumn(column) => format!("column \"{column}\" cannot be changed").into(),
            Self::OtherText => "the statement's plan belongs to another text".into(),
        }
    }

    fn advice(&self) -> Option<&'static str> {
        Some(match self {
            Self::Syntax => "Check the statement's syntax.",
            Self::TooComplex => "Split the statement into smaller ones.",
            Self::UnknownRelation(_) => {
                "Check the spelling and the schema. Temporary tables and tables made since the last reload are not known."
            }
            Self::Statement(_) => "Use SELECT, INSERT, UPDATE, DELETE, MERGE or COPY TO.",
            Self::Reading => {
                "Write the statement in a plainer form: name tables without Unicode escapes, and write AS before aliases."
            }
            Self::Verification => {
                "Write the statement in a plainer form: SELECT, FROM and WHERE without keywords as labels."
            }
            Self::OuterJoin(_) => "Join the table by an inner join, or select the columns that you need by name.",
            Self::Sample => "Give TABLESAMPLE a number.",
            Self::CurrentOf => "Name the row by its key.",
            Self::MergeBySource => "Run a DELETE or UPDATE with NOT EXISTS in place of that action.",
            Self::CopyFrom(_) => "Use INSERT.",
            Self::InsertColumns(_) => "Write INSERT INTO table (column, ...) and leave the tenant column out.",
            Self::InsertValue(_) => "Leave the column out: it is filled in.",
            Self::ForeignTenant(_) => {
                "Leave the column out: it is filled in with the tenant that you are logged in as."
            }
            Self::TenantColumn(_) => "Leave the column out of SET. To move a row, delete it and insert it again.",
            Self::OtherText => return None,
        })
    }
}

impl Report for CannotRewrite {
    fn fault(&self) -> Fault {
        match self {
            Self::Syntax => Fault::Client,
            Self::OtherText => Fault::Proxy,
            Self::TooComplex
            | Self::UnknownRelation(_)
            | Self::Statement(_)
            | Self::Reading
            | Self::Verification
            | Self::OuterJoin(_)
            | Self::Sample
            | Self::CurrentOf
            | Self::MergeBySource
            | Self::CopyFrom(_)
            | Self::InsertColumns(_)
            | Self::InsertValue(_)
            | Self::ForeignTenant(_)
            | Self::TenantColumn(_) => Fault::Policy,
        }
    }

    fn severity(&self) -> Severity {
        Severity::Error
    }

    fn sqlstate(&self) -> SqlState {
        match self {
            Self::Syntax => SqlState::SYNTAX_ERROR,
            Self::ForeignTenant(_) | Self::TenantColumn(_) => SqlState::INSUFFICIENT_PRIVILEGE,
            Self::OtherText => SqlState::INTERNAL_ERROR,
            Self::TooComplex
            | Self::UnknownRelation(_)
            | Self::Statement(_)
            | Self::Reading
            | Self::Verification
            | Self::OuterJoin(_)
            | Self::Sample
            | Self::CurrentOf
            | Self::MergeBySource
            | Self::CopyFrom(_)
            | Self::InsertColumns(_)
            | Self::InsertValue(_) => SqlState::FEATURE_NOT_SUPPORTED,
        }
    }

    fn message(&self) -> Cow<'_, str> {
        self.text()
    }

    fn detail(&self) -> Option<Cow<'_, str>> {
        Some(format!("Refused by pgwarden, rule {}.", self.rule()).into())
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        self.advice().map(Cow::Borrowed)
    }
}
