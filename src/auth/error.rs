//! Why a login ended without a session, and what of it the client is told.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use thiserror::Error;

use crate::config::Mismatch;
use crate::fault::{Fault, Report, Severity, SqlState};
use crate::net::tls::TlsError;
use crate::scram::ScramError;
use crate::wire::startup::{OptionsError, PacketError};

/// `Display` is for the log. What the client reads is [`Report::message`], where [`LoginError::is_told`].
#[derive(Debug, Error)]
pub enum LoginError {
    /// It closed the connection: psql does so to ask for a password, port scanners and health checks as well.
    #[error("the client closed the connection during login")]
    Gone,
    #[error("connection lost during login: {0}")]
    Io(#[source] io::Error),
    #[error("the login took longer than login_timeout")]
    Timeout,
    #[error(transparent)]
    Packet(#[from] PacketError),
    #[error(transparent)]
    Tls(TlsError),
    #[error("received unencrypted data after an encryption request")]
    PlainAfterRequest,
    #[error("direct TLS without the application protocol \"postgresql\"")]
    NoAlpn,
    #[error("direct TLS, and TLS is not configured or this is a Unix socket")]
    NoTls,
    #[error("the connection is not encrypted, and must be")]
    TlsRequired,
    #[error("no PostgreSQL user name specified in startup packet")]
    NoUser,
    #[error("replication was asked for")]
    Replication,
    #[error("invalid value for parameter \"replication\": \"{0}\"")]
    ReplicationValue(Arc<str>),
    #[error(transparent)]
    Options(#[from] OptionsError),
    #[error("client_encoding \"{0}\" is not supported")]
    ClientEncoding(Arc<str>),
    #[error("unrecognized configuration parameter \"{0}\"")]
    SettingName(String),
    #[error("too many failed logins from this address")]
    TooManyFailures,
    #[error("expected {expected}, got message type {got}")]
    UnexpectedMessage { expected: &'static str, got: u8 },
    #[error("malformed SASL message")]
    Sasl,
    #[error("client selected an invalid SASL authentication mechanism")]
    Mechanism,
    #[error("user \"{user}\": {error}")]
    Scram { user: Arc<str>, error: ScramError },
    /// Wrong password, unknown user, expired user, no password that could be right: told apart nowhere.
    #[error("password authentication failed for user \"{user}\"")]
    Password { user: Arc<str> },
    #[error("user \"{user}\" is past its valid_until")]
    Expired { user: Arc<str> },
    #[error("user \"{user}\" may not open database \"{database}\"")]
    Forbidden { user: Arc<str>, database: Arc<str> },
    #[error("user \"{user}\" asked for database \"{database}\", which does not exist")]
    NoDatabase { user: Arc<str>, database: Arc<str> },
    #[error("user \"{user}\" may not work as a tenant here: {why:?}")]
    Tenant { user: Arc<str>, why: Mismatch },
}

impl LoginError {
    pub(super) fn scram(user: &Arc<str>, error: ScramError) -> Self {
        match error {
            ScramError::Proof => Self::Password { user: user.clone() },
            ScramError::Malformed(_)
            | ScramError::AuthorizationIdentity
            | ScramError::Extension
            | ScramError::BindingType
            | ScramError::Downgrade
            | ScramError::Binding
            | ScramError::Nonce
            | ScramError::ServerSignature
            | ScramError::Iterations
            | ScramError::ServerError => Self::Scram { user: user.clone(), error },
        }
    }

    pub(super) fn io(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected => Self::Gone,
            _ => Self::Io(error),
        }
    }

    /// Whom the client said it is, where it came so far.
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Scram { user, .. }
            | Self::Password { user }
            | Self::Expired { user }
            | Self::Forbidden { user, .. }
            | Self::NoDatabase { user, .. }
            | Self::Tenant { user, .. } => Some(user),
            Self::Gone
            | Self::Io(_)
            | Self::Timeout
            | Self::Packet(_)
            | Self::Tls(_)
            | Self::PlainAfterRequest
            | Self::NoAlpn
            | Self::NoTls
            | Self::TlsRequired
            | Self::NoUser
            | Self::Replication
            | Self::ReplicationValue(_)
            | Self::Options(_)
            | Self::ClientEncoding(_)
            | Self::SettingName(_)
            | Self::TooManyFailures
            | Self::UnexpectedMessage { .. }
            | Self::Sasl
            | Self::Mechanism => None,
        }
    }

    /// Whether there is anybody to tell, and anything to say before TLS or a startup packet stands.
    pub fn is_told(&self) -> bool {
        match self {
            Self::Gone | Self::Io(_) | Self::Timeout | Self::Tls(_) | Self::NoTls => false,
            Self::Packet(_)
            | Self::PlainAfterRequest
            | Self::NoAlpn
            | Self::TlsRequired
            | Self::NoUser
            | Self::Replication
            | Self::ReplicationValue(_)
            | Self::Options(_)
            | Self::ClientEncoding(_)
            | Self::SettingName(_)
            | Self::TooManyFailures
            | Self::UnexpectedMessage { .. }
            | Self::Sasl
            | Self::Mechanism
            | Self::Scram { .. }
            | Self::Password { .. }
            | Self::Expired { .. }
            | Self::Forbidden { .. }
            | Self::NoDatabase { .. }
            | Self::Tenant { .. } => true,
        }
    }

    /// A label for logs and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Gone => "client_gone",
            Self::Io(_) => "connection_lost",
            Self::Timeout => "login_timeout",
            Self::Packet(_) => "startup_packet",
            Self::Tls(_) => "tls_handshake",
            Self::PlainAfterRequest => "plain_after_tls_request",
            Self::NoAlpn | Self::NoTls => "direct_tls",
            Self::TlsRequired => "tls_required",
            Self::NoUser => "no_user",
            Self::Replication | Self::ReplicationValue(_) => "replication",
            Self::Options(_) => "options",
            Self::ClientEncoding(_) => "client_encoding",
            Self::SettingName(_) => "setting_name",
            Self::TooManyFailures => "login_failures",
            Self::UnexpectedMessage { .. } | Self::Sasl | Self::Mechanism => "login_message",
            Self::Scram { .. } => "scram",
            Self::Password { .. } => "password",
            Self::Expired { .. } => "expired",
            Self::Forbidden { .. } => "database_forbidden",
            Self::NoDatabase { .. } => "database_unknown",
            Self::Tenant { .. } => "tenant",
        }
    }
}

impl Report for LoginError {
    fn fault(&self) -> Fault {
        match self {
            Self::TooManyFailures => Fault::Capacity,
            Self::Gone
            | Self::Io(_)
            | Self::Timeout
            | Self::Packet(_)
            | Self::Tls(_)
            | Self::PlainAfterRequest
            | Self::NoAlpn
            | Self::NoTls
            | Self::TlsRequired
            | Self::NoUser
            | Self::Replication
            | Self::ReplicationValue(_)
            | Self::Options(_)
            | Self::ClientEncoding(_)
            | Self::SettingName(_)
            | Self::UnexpectedMessage { .. }
            | Self::Sasl
            | Self::Mechanism
            | Self::Scram { .. }
            | Self::Password { .. }
            | Self::Expired { .. }
            | Self::Forbidden { .. }
            | Self::NoDatabase { .. }
            | Self::Tenant { .. } => Fault::Client,
        }
    }

    fn severity(&self) -> Severity {
        Severity::Fatal
    }

    fn sqlstate(&self) -> SqlState {
        match self {
            Self::Gone | Self::Io(_) | Self::Tls(_) => SqlState::CONNECTION_FAILURE,
            Self::Timeout => SqlState::QUERY_CANCELED,
            Self::Packet(PacketError::Version { .. }) | Self::Replication | Self::ClientEncoding(_) => {
                SqlState::FEATURE_NOT_SUPPORTED
            }
            Self::Packet(_)
            | Self::PlainAfterRequest
            | Self::NoAlpn
            | Self::NoTls
            | Self::UnexpectedMessage { .. }
            | Self::Sasl
            | Self::Mechanism => SqlState::PROTOCOL_VIOLATION,
            Self::TlsRequired | Self::NoUser | Self::Expired { .. } | Self::Forbidden { .. } | Self::Tenant { .. } => {
                SqlState::INVALID_AUTHORIZATION
            }
            Self::ReplicationValue(_) => SqlState::INVALID_PARAMETER_VALUE,
            Self::Options(_) => SqlState::SYNTAX_ERROR,
            Self::SettingName(_) => SqlState(*b"42704"),
            Self::TooManyFailures => SqlState::CONFIGURATION_LIMIT_EXCEEDED,
            Self::Scram { error, .. } => scram_sqlstate(*error),
            Self::Password { .. } => SqlState::INVALID_PASSWORD,
            Self::NoDatabase { .. } => SqlState::INVALID_CATALOG_NAME,
        }
    }

    fn message(&self) -> Cow<'_, str> {
        match self {
            Self::NoAlpn => "direct TLS needs the application protocol \"postgresql\"".into(),
            Self::PlainAfterRequest => "received unencrypted data after SSL request".into(),
            Self::TlsRequired => "this connection must be encrypted".into(),
            Self::Replication => "replication connections are not supported".into(),
            Self::Scram { error, .. } => error.to_string().into(),
            Self::Expired { user } => format!("user \"{user}\" is no longer valid").into(),
            Self::NoDatabase { database, .. } => format!("database \"{database}\" does not exist").into(),
            Self::Forbidden { user, database } => {
                format!("user \"{user}\" is not allowed to connect to database \"{database}\"").into()
            }
            Self::Tenant { user, why } => match why {
                Mismatch::NoTenant | Mismatch::OtherDatabase => {
                    format!("user \"{user}\" has no tenant in this database").into()
                }
                Mismatch::Unnamed => format!("user \"{user}\" must name a tenant").into(),
                // Whether there is such a tenant is not for everybody to know.
                Mismatch::OtherTenant => format!("user \"{user}\" may not work as this tenant").into(),
                Mismatch::Disabled => "the tenant is disabled".into(),
            },
            Self::Io(_) | Self::Tls(_) => "connection lost during login".into(),
            Self::Gone
            | Self::Timeout
            | Self::Packet(_)
            | Self::NoTls
            | Self::NoUser
            | Self::ReplicationValue(_)
            | Self::Options(_)
            | Self::ClientEncoding(_)
            | Self::SettingName(_)
            | Self::TooManyFailures
            | Self::UnexpectedMessage { .. }
            | Self::Sasl
            | Self::Mechanism
            | Self::Password { .. } => self.to_string().into(),
        }
    }

    fn detail(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::PlainAfterRequest => Some(
                "This is either a bug of the client or the trace of somebody in between who inserts commands.".into(),
            ),
            Self::Scram { error: ScramError::Downgrade, .. } => Some(
                "The client supports channel binding and thinks that the server does not, though it was offered."
                    .into(),
            ),
            _ => None,
        }
    }

    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Tenant { user, why: Mismatch::Unnamed } => Some(format!("Log in as {user}@TENANT.").into()),
            Self::Tenant { why: Mismatch::NoTenant | Mismatch::OtherDatabase, .. } => {
                Some("Connect to the database that the user's tenant is in.".into())
            }
            Self::TlsRequired => Some("Connect with sslmode=require or stricter.".into()),
            Self::Replication => Some("Connect to the PostgreSQL server itself for replication.".into()),
            Self::ClientEncoding(_) => Some("Use client_encoding UTF8.".into()),
            Self::Options(_) => Some("Only -c name=value and --name=value are taken.".into()),
            Self::TooManyFailures => Some("Wait until login_timeout has passed, then try the right password.".into()),
            _ => None,
        }
    }
}

fn scram_sqlstate(error: ScramError) -> SqlState {
    match error {
        ScramError::AuthorizationIdentity | ScramError::Extension => SqlState::FEATURE_NOT_SUPPORTED,
        ScramError::Downgrade | ScramError::Binding => SqlState::INVALID_AUTHORIZATION,
        ScramError::Proof => SqlState::INVALID_PASSWORD,
        ScramError::Malformed(_)
        | ScramError::BindingType
        | ScramError::Nonce
        | ScramError::ServerSignature
        | ScramError::Iterations
        | ScramError::ServerError => SqlState::PROTOCOL_VIOLATION,
    }
}
