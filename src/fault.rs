//! Errors as the wire, the log and the metrics see them.
//!
//! Each module owns a small error enum; [`Report`] is the one place where such an error becomes an ErrorResponse. What a
//! client may read (`message`, `hint`) is written for it on purpose: log text is `Display`, and may say more.

use std::borrow::Cow;

/// Whose fault an error is: decides the log level and the metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    Client,
    Server,
    Policy,
    Capacity,
    Proxy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The session goes on.
    Error,
    /// The connection closes after this message.
    Fatal,
}

/// A five-character SQLSTATE, with the names PostgreSQL gives them:
/// <https://www.postgresql.org/docs/15/errcodes-appendix.html>.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState(pub [u8; 5]);

impl SqlState {
    pub const PROTOCOL_VIOLATION: Self = Self(*b"08P01");
    pub const CONNECTION_FAILURE: Self = Self(*b"08006");
    pub const FEATURE_NOT_SUPPORTED: Self = Self(*b"0A000");
    pub const INVALID_PARAMETER_VALUE: Self = Self(*b"22023");
    pub const CHARACTER_NOT_IN_REPERTOIRE: Self = Self(*b"22021");
    pub const BAD_COPY_FILE_FORMAT: Self = Self(*b"22P04");
    pub const INVALID_COLUMN_REFERENCE: Self = Self(*b"42P10");
    pub const UNDEFINED_COLUMN: Self = Self(*b"42703");
    pub const DUPLICATE_COLUMN: Self = Self(*b"42701");
    pub const WRONG_OBJECT_TYPE: Self = Self(*b"42809");
    pub const READ_ONLY_TRANSACTION: Self = Self(*b"25006");
    pub const INVALID_SQL_STATEMENT_NAME: Self = Self(*b"26000");
    pub const IN_FAILED_TRANSACTION: Self = Self(*b"25P02");
    pub const INVALID_AUTHORIZATION: Self = Self(*b"28000");
    pub const INVALID_PASSWORD: Self = Self(*b"28P01");
    pub const INVALID_CURSOR_NAME: Self = Self(*b"34000");
    pub const INVALID_CATALOG_NAME: Self = Self(*b"3D000");
    pub const DUPLICATE_PREPARED_STATEMENT: Self = Self(*b"42P05");
    pub const SYNTAX_ERROR: Self = Self(*b"42601");
    pub const INSUFFICIENT_PRIVILEGE: Self = Self(*b"42501");
    pub const DISK_FULL: Self = Self(*b"53100");
    pub const TOO_MANY_CONNECTIONS: Self = Self(*b"53300");
    pub const CONFIGURATION_LIMIT_EXCEEDED: Self = Self(*b"53400");
    pub const PROGRAM_LIMIT_EXCEEDED: Self = Self(*b"54000");
    pub const QUERY_CANCELED: Self = Self(*b"57014");
    pub const ADMIN_SHUTDOWN: Self = Self(*b"57P01");
    pub const CANNOT_CONNECT_NOW: Self = Self(*b"57P03");
    pub const IDLE_SESSION_TIMEOUT: Self = Self(*b"57P05");
    pub const IDLE_IN_TRANSACTION_SESSION_TIMEOUT: Self = Self(*b"25P03");
    pub const INTERNAL_ERROR: Self = Self(*b"XX000");

    /// The five characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XX000")
    }
}

impl std::fmt::Debug for SqlState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error that may be shown to a client, and how.
pub trait Report {
    fn fault(&self) -> Fault;
    fn severity(&self) -> Severity;
    fn sqlstate(&self) -> SqlState;
    /// The primary message, in PostgreSQL's style: lower case, no full stop.
    fn message(&self) -> Cow<'_, str>;
    /// What the developer can do about it: full sentences.
    fn hint(&self) -> Option<Cow<'_, str>> {
        None
    }
    fn detail(&self) -> Option<Cow<'_, str>> {
        None
    }
    /// Where in the client's text it is, in characters from 1.
    fn position(&self) -> Option<u32> {
        None
    }
    /// The rule of policy that it refuses by: a label, and a field of the audit.
    fn rule(&self) -> Option<&'static str> {
        None
    }
}
