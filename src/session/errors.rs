//! What a session tells its client when it fails it, or ends.

use std::borrow::Cow;

use super::CloseReason;
use crate::fault::{Fault, Report, Severity, SqlState};
use crate::pool::BindError;
use crate::settings::Settings;

/// The backend was lost while it owed answers.
pub(super) struct BackendGone {
    pub detail: String,
    pub fatal: bool,
}

impl Report for BackendGone {
    fn fault(&self) -> Fault {
        Fault::Server
    }

    fn severity(&self) -> Severity {
        if self.fatal { Severity::Fatal } else { Severity::Error }
    }

    fn sqlstate(&self) -> SqlState {
        SqlState::CONNECTION_FAILURE
    }

    fn message(&self) -> Cow<'_, str> {
        "the connection to the server was lost".into()
    }

    fn detail(&self) -> Option<Cow<'_, str>> {
        (!self.detail.is_empty()).then(|| format!("The server said: {}", self.detail).into())
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        Some("What was under way may have been done or not; pgwarden does not send it again.".into())
    }
}

/// What a client wants to do cannot be recorded, so it is not done.
pub(super) struct AuditAway;

impl Report for AuditAway {
    fn fault(&self) -> Fault {
        Fault::Capacity
    }

    fn severity(&self) -> Severity {
        Severity::Error
    }

    fn sqlstate(&self) -> SqlState {
        SqlState::DISK_FULL
    }

    fn message(&self) -> Cow<'_, str> {
        "the audit log cannot be written".into()
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(
            "Nothing was executed. Try again when the log can be written; the log of pgwarden says why it cannot."
                .into(),
        )
    }
}

pub(super) struct SettingsRefused(pub BindError);

impl Report for SettingsRefused {
    fn fault(&self) -> Fault {
        Fault::Client
    }

    fn severity(&self) -> Severity {
        Severity::Error
    }

    fn sqlstate(&self) -> SqlState {
        match &self.0 {
            BindError::Settings { sqlstate, .. } => {
                sqlstate.as_bytes().try_into().map_or(SqlState::INVALID_PARAMETER_VALUE, SqlState)
            }
            BindError::Backend(_) | BindError::Context(_) => SqlState::CONNECTION_FAILURE,
        }
    }

    fn message(&self) -> Cow<'_, str> {
        match &self.0 {
            BindError::Settings { message, .. } => message.into(),
            BindError::Backend(_) | BindError::Context(_) => "the connection to the server was lost".into(),
        }
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        Some("The server does not take a setting of this session any more: RESET it, or connect again.".into())
    }
}

/// The server would not see a session as its tenant. The reason is for the log only.
pub(super) struct ContextRefused;

impl Report for ContextRefused {
    fn fault(&self) -> Fault {
        Fault::Server
    }

    fn severity(&self) -> Severity {
        Severity::Error
    }

    fn sqlstate(&self) -> SqlState {
        SqlState::INVALID_AUTHORIZATION
    }

    fn message(&self) -> Cow<'_, str> {
        "the tenant's context could not be entered in the database".into()
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        Some("Ask an administrator to run pgwarden doctor.".into())
    }
}

/// A cancel or a time limit hit what goes before the client's statement, which did not begin.
pub(super) struct CancelledBefore;

impl Report for CancelledBefore {
    fn fault(&self) -> Fault {
        Fault::Client
    }

    fn severity(&self) -> Severity {
        Severity::Error
    }

    fn sqlstate(&self) -> SqlState {
        SqlState::QUERY_CANCELED
    }

    fn message(&self) -> Cow<'_, str> {
        "canceling statement before it began".into()
    }
}

/// Why a database's tenants are not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WallReport {
    /// It could not be looked at yet.
    Unseen,
    /// Tenants would see others.
    Open,
}

impl Report for WallReport {
    fn fault(&self) -> Fault {
        Fault::Server
    }

    fn severity(&self) -> Severity {
        Severity::Fatal
    }

    fn sqlstate(&self) -> SqlState {
        match self {
            Self::Unseen => SqlState::CANNOT_CONNECT_NOW,
            Self::Open => SqlState::INVALID_AUTHORIZATION,
        }
    }

    fn message(&self) -> Cow<'_, str> {
        match self {
            Self::Unseen => "the database could not be verified yet".into(),
            Self::Open => "the database does not keep its tenants apart: they are not served".into(),
        }
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Unseen => Some("Try again later.".into()),
            Self::Open => Some("Ask an administrator to run pgwarden doctor, which says how to mend it.".into()),
        }
    }
}

pub(super) struct StateUnknown;

impl Report for StateUnknown {
    fn fault(&self) -> Fault {
        Fault::Server
    }

    fn severity(&self) -> Severity {
        Severity::Fatal
    }

    fn sqlstate(&self) -> SqlState {
        SqlState::CONNECTION_FAILURE
    }

    fn message(&self) -> Cow<'_, str> {
        "the session's settings could not be read back from the server".into()
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        Some("Connect again.".into())
    }
}

pub(super) struct TooManySettings;

impl Report for TooManySettings {
    fn fault(&self) -> Fault {
        Fault::Client
    }

    fn severity(&self) -> Severity {
        Severity::Fatal
    }

    fn sqlstate(&self) -> SqlState {
        SqlState::CONFIGURATION_LIMIT_EXCEEDED
    }

    fn message(&self) -> Cow<'_, str> {
        format!("a session may have at most {} settings of its own", Settings::COUNT_MAX).into()
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        Some("RESET settings that are not needed any more, or use SET LOCAL.".into())
    }
}

/// The last message to a client.
pub(super) struct Farewell {
    sqlstate: SqlState,
    message: String,
}

impl Farewell {
    pub fn of(reason: &CloseReason) -> Option<Self> {
        let (sqlstate, message) = match reason {
            CloseReason::Protocol(message) => (SqlState::PROTOCOL_VIOLATION, message.clone()),
            CloseReason::IdleTimeout => {
                (SqlState::IDLE_SESSION_TIMEOUT, "terminating connection due to idle-session timeout".to_owned())
            }
            CloseReason::IdleInTransactionTimeout => (
                SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
                "terminating connection due to idle-in-transaction timeout".to_owned(),
            ),
            CloseReason::Shutdown | CloseReason::Killed => {
                (SqlState::ADMIN_SHUTDOWN, "terminating connection due to administrator command".to_owned())
            }
            CloseReason::Retired => {
                (SqlState::ADMIN_SHUTDOWN, "the configuration of this user or database was changed".to_owned())
            }
            CloseReason::Terminated
            | CloseReason::ClientGone
            | CloseReason::BackendLost
            | CloseReason::Refused
            | CloseReason::Unrecorded
            | CloseReason::OverLimit(_)
            | CloseReason::Limit => return None,
        };
        Some(Self { sqlstate, message })
    }
}

impl Report for Farewell {
    fn fault(&self) -> Fault {
        Fault::Proxy
    }

    fn severity(&self) -> Severity {
        Severity::Fatal
    }

    fn sqlstate(&self) -> SqlState {
        self.sqlstate
    }

    fn message(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.message)
    }
}

/// Strings that read backslashes as escapes.
pub(super) struct QuotingOff;

/// The setting that decides it.
pub(super) const QUOTING: &str = "standard_conforming_strings";

impl Report for QuotingOff {
    fn fault(&self) -> Fault {
        Fault::Client
    }

    fn severity(&self) -> Severity {
        Severity::Fatal
    }

    fn sqlstate(&self) -> SqlState {
        SqlState::FEATURE_NOT_SUPPORTED
    }

    fn message(&self) -> Cow<'_, str> {
        "standard_conforming_strings = off is not supported".into()
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        Some("Leave the setting on, and write strings with backslash escapes as E'...'.".into())
    }
}
