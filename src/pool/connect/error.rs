//! Why a backend could not be opened, and what of it a client may read.

use std::borrow::Cow;
use std::io;

use thiserror::Error;

use crate::fault::{Fault, Report, Severity, SqlState};
use crate::net::tls::TlsError;
use crate::scram::ScramError;

/// `Display` is for the log and may quote the server.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The server's ErrorResponse; some send no SQLSTATE.
    #[error("the server refused: {message}")]
    Refused { sqlstate: Option<SqlState>, message: String },
    /// No connection came about: refused, no route, no such host, no such socket.
    #[error("cannot reach the server: {0}")]
    Unreachable(#[source] io::Error),
    /// The connection ended during the login.
    #[error("the server closed the connection during login: {0}")]
    Lost(#[source] io::Error),
    #[error("the server did not finish the login within connect_timeout")]
    Timeout,
    #[error(transparent)]
    Tls(TlsError),
    #[error("the server offers no TLS, and the node's tls mode needs it")]
    NoTls,
    /// The server asks for what the configuration cannot give or does not permit, or does not prove itself.
    #[error("{0}")]
    Auth(&'static str),
    #[error("login at the server: {0}")]
    Scram(#[source] ScramError),
    /// The server does not speak the protocol.
    #[error("the server sent {0}")]
    Protocol(&'static str),
}

impl ConnectError {
    /// A label for logs and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "refused",
            Self::Unreachable(_) => "unreachable",
            Self::Lost(_) => "lost",
            Self::Timeout => "timeout",
            Self::Tls(_) | Self::NoTls => "tls",
            Self::Auth(_) | Self::Scram(_) => "auth",
            Self::Protocol(_) => "protocol",
        }
    }

    /// The SQLSTATE that the server gave, if any.
    pub fn server_sqlstate(&self) -> Option<SqlState> {
        match self {
            Self::Refused { sqlstate, .. } => *sqlstate,
            Self::Unreachable(_)
            | Self::Lost(_)
            | Self::Timeout
            | Self::Tls(_)
            | Self::NoTls
            | Self::Auth(_)
            | Self::Scram(_)
            | Self::Protocol(_) => None,
        }
    }

    /// Whether the next try may well succeed: the server was away, starting or full. What the configuration or the server
    /// has to change for is not.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Lost(_) | Self::Timeout => true,
            Self::Refused { sqlstate, .. } => sqlstate.is_some_and(|state| matches!(&state.0, b"53300" | b"57P03")),
            Self::Tls(_) | Self::NoTls | Self::Auth(_) | Self::Scram(_) | Self::Protocol(_) => false,
        }
    }
}

impl Report for ConnectError {
    fn fault(&self) -> Fault {
        match self {
            Self::Auth(_) | Self::Scram(_) | Self::Tls(_) | Self::NoTls => Fault::Proxy,
            Self::Refused { sqlstate: Some(SqlState::TOO_MANY_CONNECTIONS), .. } => Fault::Capacity,
            Self::Refused { .. } | Self::Unreachable(_) | Self::Lost(_) | Self::Timeout | Self::Protocol(_) => {
                Fault::Server
            }
        }
    }

    fn severity(&self) -> Severity {
        Severity::Fatal
    }

    fn sqlstate(&self) -> SqlState {
        match self {
            Self::Unreachable(_) | Self::Lost(_) | Self::Timeout => SqlState::CANNOT_CONNECT_NOW,
            Self::Refused { sqlstate: Some(state), .. } if *state == SqlState::CANNOT_CONNECT_NOW => *state,
            Self::Refused { sqlstate: Some(state), .. } if *state == SqlState::TOO_MANY_CONNECTIONS => *state,
            Self::Refused { sqlstate: Some(state), .. } if *state == SqlState::INVALID_CATALOG_NAME => *state,
            Self::Refused { .. } | Self::Tls(_) | Self::NoTls | Self::Auth(_) | Self::Scram(_) | Self::Protocol(_) => {
                SqlState::CONNECTION_FAILURE
            }
        }
    }

    fn message(&self) -> Cow<'_, str> {
        match self {
            Self::Unreachable(_) => "the database server cannot be reached",
            Self::Lost(_) => "the database server closed the connection during login",
            Self::Timeout => "the database server did not answer in time",
            Self::Refused { sqlstate: Some(SqlState::CANNOT_CONNECT_NOW), .. } => {
                "the database server is not accepting connections now"
            }
            Self::Refused { sqlstate: Some(SqlState::TOO_MANY_CONNECTIONS), .. } => {
                "the database server has no connection slot left"
            }
            Self::Refused { sqlstate: Some(SqlState::INVALID_CATALOG_NAME), .. } => {
                "the database does not exist on the database server"
            }
            Self::Refused { .. } | Self::Auth(_) | Self::Scram(_) => {
                "the proxy could not log in to the database server"
            }
            Self::Tls(_) | Self::NoTls => "no encrypted connection to the database server could be made",
            Self::Protocol(_) => "the database server violated the protocol during login",
        }
        .into()
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Refused { .. } | Self::Auth(_) | Self::Scram(_) | Self::Tls(_) | Self::NoTls | Self::Protocol(_) => {
                Some("The proxy's log has the reason.".into())
            }
            Self::Unreachable(_) | Self::Lost(_) | Self::Timeout => None,
        }
    }
}
