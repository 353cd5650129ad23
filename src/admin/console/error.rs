//! What can go wrong on the console, and how the client reads it.

use std::borrow::Cow;

use thiserror::Error;

use super::command::SyntaxError;
use crate::admin::{Command, CommandError};
use crate::fault::{Fault, Report, Severity, SqlState};
use crate::wire::frame::FrameError;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConsoleError {
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    #[error("permission denied for {0}")]
    ViewerOnly(&'static str),
    #[error("{} failed: {error:?}", command_name(.command))]
    Command { command: Command, error: CommandError },
    #[error("{} cancelled by the user", command_name(.0))]
    Cancelled(Command),
    #[error("current transaction is aborted")]
    FailedTransaction,
    #[error("several commands in one prepared statement")]
    SeveralCommands,
    #[error("prepared statement \"{0}\" does not exist")]
    NoStatement(String),
    #[error("prepared statement \"{0}\" already exists")]
    DuplicateStatement(String),
    #[error("portal \"{0}\" does not exist")]
    NoPortal(String),
    #[error("portal \"{0}\" already exists")]
    DuplicatePortal(String),
    #[error("portal \"{0}\" ran already")]
    PortalRan(String),
    #[error("too many {0}")]
    TooMany(&'static str),
    #[error("parameters bound to a statement that has none")]
    Parameters,
    #[error("result formats do not fit the columns")]
    Formats,
    #[error("text is not UTF-8")]
    NotUtf8,
    #[error("function call message")]
    FunctionCall,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("unexpected message of type {0:#04x}")]
    UnexpectedMessage(u8),
    #[error("idle for too long")]
    IdleTimeout,
    #[error("shutting down")]
    ShuttingDown,
}

/// The command's name, as errors and the log have it.
pub const fn command_name(command: &Command) -> &'static str {
    match command {
        Command::Reload => "RELOAD",
        Command::Pause { .. } => "PAUSE",
        Command::Resume { .. } => "RESUME",
        Command::KillClient { .. } => "KILL_CLIENT",
        Command::Kill { .. } => "KILL",
        Command::Shutdown => "SHUTDOWN",
    }
}

impl Report for ConsoleError {
    fn fault(&self) -> Fault {
        match self {
            Self::ViewerOnly(_) => Fault::Policy,
            Self::TooMany(_) => Fault::Capacity,
            Self::Command { error: CommandError::Unavailable { .. }, .. } | Self::ShuttingDown => Fault::Proxy,
            Self::Syntax(_)
            | Self::Command { error: CommandError::NotFound { .. } | CommandError::Config { .. }, .. }
            | Self::Cancelled(_)
            | Self::FailedTransaction
            | Self::SeveralCommands
            | Self::NoStatement(_)
            | Self::DuplicateStatement(_)
            | Self::NoPortal(_)
            | Self::DuplicatePortal(_)
            | Self::PortalRan(_)
            | Self::Parameters
            | Self::Formats
            | Self::NotUtf8
            | Self::FunctionCall
            | Self::Frame(_)
            | Self::UnexpectedMessage(_)
            | Self::IdleTimeout => Fault::Client,
        }
    }

    fn severity(&self) -> Severity {
        match self {
            Self::Frame(_) | Self::UnexpectedMessage(_) | Self::IdleTimeout | Self::ShuttingDown => Severity::Fatal,
            Self::Syntax(_)
            | Self::ViewerOnly(_)
            | Self::Command { .. }
            | Self::Cancelled(_)
            | Self::FailedTransaction
            | Self::SeveralCommands
            | Self::NoStatement(_)
            | Self::DuplicateStatement(_)
            | Self::NoPortal(_)
            | Self::DuplicatePortal(_)
            | Self::PortalRan(_)
            | Self::TooMany(_)
            | Self::Parameters
            | Self::Formats
            | Self::NotUtf8
            | Self::FunctionCall => Severity::Error,
        }
    }

    /// Codes that `fault` does not name are PostgreSQL's undefined_object, object_not_in_prerequisite_state,
    /// config_file_error, in_failed_sql_transaction, invalid_cursor_name, duplicate_cursor, character_not_in_repertoire.
    fn sqlstate(&self) -> SqlState {
        match self {
            Self::Syntax(SyntaxError::Unsupported(_) | SyntaxError::Encoding) | Self::FunctionCall => {
                SqlState::FEATURE_NOT_SUPPORTED
            }
            Self::Syntax(SyntaxError::Parameter(_)) => SqlState(*b"42704"),
            Self::Syntax(
                SyntaxError::Unterminated(_)
                | SyntaxError::Unknown(_)
                | SyntaxError::Unexpected(_)
                | SyntaxError::Incomplete,
            )
            | Self::SeveralCommands => SqlState::SYNTAX_ERROR,
            Self::ViewerOnly(_) => SqlState::INSUFFICIENT_PRIVILEGE,
            Self::Command { command: Command::KillClient { .. }, error: CommandError::NotFound { .. } } => {
                SqlState(*b"42704")
            }
            Self::Command { error: CommandError::NotFound { .. }, .. } => SqlState::INVALID_CATALOG_NAME,
            Self::Command { error: CommandError::Config { .. }, .. } => SqlState(*b"F0000"),
            Self::Command { error: CommandError::Unavailable { .. }, .. } | Self::PortalRan(_) => SqlState(*b"55000"),
            Self::Cancelled(_) => SqlState::QUERY_CANCELED,
            Self::FailedTransaction => SqlState(*b"25P02"),
            Self::NoStatement(_) => SqlState::INVALID_SQL_STATEMENT_NAME,
            Self::DuplicateStatement(_) => SqlState::DUPLICATE_PREPARED_STATEMENT,
            Self::NoPortal(_) => SqlState(*b"34000"),
            Self::DuplicatePortal(_) => SqlState(*b"42P03"),
            Self::TooMany(_) => SqlState::PROGRAM_LIMIT_EXCEEDED,
            Self::NotUtf8 => SqlState(*b"22021"),
            Self::Parameters | Self::Formats | Self::Frame(_) | Self::UnexpectedMessage(_) => {
                SqlState::PROTOCOL_VIOLATION
            }
            Self::IdleTimeout => SqlState::IDLE_SESSION_TIMEOUT,
            Self::ShuttingDown => SqlState::ADMIN_SHUTDOWN,
        }
    }

    fn message(&self) -> Cow<'_, str> {
        match self {
            Self::Command { error: CommandError::NotFound { what }, .. } => format!("{what} does not exist").into(),
            Self::Command { error: CommandError::Config { .. }, .. } => "the configuration was not applied".into(),
            Self::Command { error: CommandError::Unavailable { reason }, .. } => reason.into(),
            Self::Cancelled(_) => "canceling statement due to user request".into(),
            Self::FailedTransaction => {
                "current transaction is aborted, commands ignored until end of transaction block".into()
            }
            Self::SeveralCommands => "cannot insert multiple commands into a prepared statement".into(),
            Self::PortalRan(name) => format!("portal \"{name}\" cannot be run").into(),
            Self::Parameters => "console commands take no parameters".into(),
            Self::Formats => "result formats do not fit the result's columns".into(),
            Self::NotUtf8 => "invalid byte sequence for encoding \"UTF8\"".into(),
            Self::FunctionCall => "function calls are not supported here".into(),
            Self::IdleTimeout => "terminating connection due to idle-session timeout".into(),
            Self::ShuttingDown => "terminating connection due to administrator command".into(),
            Self::Syntax(_)
            | Self::ViewerOnly(_)
            | Self::NoStatement(_)
            | Self::DuplicateStatement(_)
            | Self::NoPortal(_)
            | Self::DuplicatePortal(_)
            | Self::TooMany(_)
            | Self::Frame(_)
            | Self::UnexpectedMessage(_) => self.to_string().into(),
        }
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Syntax(SyntaxError::Parameter(_)) => {
                Some("Settings change in the configuration file; RELOAD applies them.".into())
            }
            Self::Syntax(SyntaxError::Encoding) => Some("Set client_encoding to UTF8.".into()),
            Self::Syntax(_) | Self::FunctionCall => Some("Use SHOW HELP for the list of commands.".into()),
            Self::ViewerOnly(_) => Some("Users listed in admin.viewers may only use SHOW.".into()),
            Self::Command { command: Command::KillClient { .. }, error: CommandError::NotFound { .. } } => {
                Some("SHOW CLIENTS lists the ids.".into())
            }
            Self::Command { error: CommandError::NotFound { .. }, .. } => {
                Some("SHOW DATABASES lists the names; put a name with special characters in double quotes.".into())
            }
            Self::Command { error: CommandError::Config { .. }, .. } => {
                Some("The previous configuration stays in force.".into())
            }
            Self::Cancelled(Command::Pause { .. }) => Some("The pause itself stays in force; RESUME ends it.".into()),
            Self::TooMany(_) => Some("Close those that are no longer needed.".into()),
            Self::Command { error: CommandError::Unavailable { .. }, .. }
            | Self::Cancelled(_)
            | Self::FailedTransaction
            | Self::SeveralCommands
            | Self::NoStatement(_)
            | Self::DuplicateStatement(_)
            | Self::NoPortal(_)
            | Self::DuplicatePortal(_)
            | Self::PortalRan(_)
            | Self::Parameters
            | Self::Formats
            | Self::NotUtf8
            | Self::Frame(_)
            | Self::UnexpectedMessage(_)
            | Self::IdleTimeout
            | Self::ShuttingDown => None,
        }
    }

    fn detail(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Command { error: CommandError::Config { problems }, .. } => Some(problems.join("\n").into()),
            _ => None,
        }
    }
}
