//! A plain connection to a node: one statement, one answer. Logs in as the proxy's own backends do, so the node's TLS
//! settings and the permitted password methods hold.
//!
//! The server is untrusted: answers are bounded in size and in time. Every connection has `search_path = pg_catalog`, so
//! that names in what the catalog prints are qualified and no schema of the database's own is searched.

use std::io;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::io::AsyncWriteExt;

use crate::config::{Keepalive, Node, ServerLogin};
use crate::net::Inbound;
use crate::pool::connect::{BackendLogin, ConnectError, Connected, Connector, connect};
use crate::wire::frame::{self, ErrorFields, FrameError, Header};

/// Rows of text values; NULL is `None`.
pub type Rows = Vec<Vec<Option<String>>>;

/// One message of an answer, at most (bytes): a policy or a view can be long.
const MESSAGE_MAX: usize = 64 << 20;

/// Rows of one answer, at most: a database with a hundred thousand relations fits.
const ROWS_MAX: usize = 1_000_000;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Error)]
pub enum GuardError {
    #[error("cannot log in: {0}")]
    Connect(#[from] ConnectError),
    #[error("the server refused: {message} (SQLSTATE {sqlstate})")]
    Refused { sqlstate: String, message: String },
    #[error("the connection broke: {0}")]
    Lost(#[source] io::Error),
    #[error("the server broke the protocol: {0}")]
    Protocol(#[from] FrameError),
    #[error("the server's answer is not what was asked for: {0}")]
    Answer(String),
    #[error("the server did not answer within {PATIENCE:?}")]
    Timeout,
    /// What was asked for does not fit the configuration or the server.
    #[error("{0}")]
    Unfit(String),
}

impl GuardError {
    /// The SQLSTATE of a statement that the server refused.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Refused { sqlstate, .. } => Some(sqlstate),
            Self::Connect(_) | Self::Lost(_) | Self::Protocol(_) | Self::Answer(_) | Self::Timeout | Self::Unfit(_) => {
                None
            }
        }
    }
}

/// A logged-in connection.
#[derive(Debug)]
pub struct Client {
    inbound: Inbound,
    pid: i32,
}

impl Client {
    /// Logs in to a database of a node.
    ///
    /// This is not cancel safe: dropping it closes the connection.
    pub async fn connect(node: &Node, database: &str, login: &ServerLogin) -> Result<Self, GuardError> {
        let login = BackendLogin {
            user: login.user.clone(),
            database: database.into(),
            password: login.password.clone(),
            auth: login.auth,
            keepalive: Keepalive { idle: Duration::ZERO, interval: Duration::ZERO, retries: 0 },
            startup: STARTUP.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        };
        let Connected { stream, pid, .. } = connect(node, &login, &Connector::default()).await?;
        Ok(Self { inbound: Inbound::new(stream), pid })
    }

    /// The server process's id.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Runs statements and gives the rows of all of them; the first error is the answer.
    ///
    /// This is not cancel safe: a connection whose statement was dropped must be dropped as well.
    pub async fn run(&mut self, sql: &str) -> Result<Rows, GuardError> {
        tokio::time::timeout(PATIENCE, self.converse(sql)).await.unwrap_or(Err(GuardError::Timeout))
    }

    /// Runs one SELECT and reads each of its rows as a `T`, by the names of its columns.
    ///
    /// This is not cancel safe, as [`Client::run`].
    pub async fn read<T: DeserializeOwned>(&mut self, select: &str) -> Result<Vec<T>, GuardError> {
        let rows = self.run(&format!("SELECT pg_catalog.row_to_json(q)::pg_catalog.text FROM ({select}) AS q")).await?;
        let row = |row: Vec<Option<String>>| {
            let text = row.into_iter().next().flatten().unwrap_or_default();
            serde_json::from_str(&text).map_err(|error| GuardError::Answer(error.to_string()))
        };
        rows.into_iter().map(row).collect()
    }

    /// As [`Client::read`], for a SELECT that has one row.
    pub async fn read_one<T: DeserializeOwned>(&mut self, select: &str) -> Result<T, GuardError> {
        let rows = self.read(select).await?;
        rows.into_iter().next().ok_or_else(|| GuardError::Answer("no row".to_owned()))
    }

    async fn converse(&mut self, sql: &str) -> Result<Rows, GuardError> {
        let length = i32::try_from(sql.len() + 5).map_err(|_| GuardError::Unfit("a statement of 2 GiB".to_owned()))?;
        let mut message = BytesMut::with_capacity(sql.len() + 6);
        message.put_u8(b'Q');
        message.put_i32(length);
        message.put_slice(sql.as_bytes());
        message.put_u8(0);
        self.inbound.stream.write_all(&message).await.map_err(GuardError::Lost)?;
        self.inbound.stream.flush().await.map_err(GuardError::Lost)?;
        let mut rows = Rows::new();
        let mut refused = None;
        loop {
            let (tag, body) = self.message().await?;
            match tag {
                b'D' if rows.len() < ROWS_MAX => rows.push(row(&body)?),
                b'E' => {
                    let fields = ErrorFields::read(&body);
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    refused.get_or_insert(GuardError::Refused {
                        sqlstate: text(fields.code),
                        message: text(fields.message),
                    });
                    if fields.is_fatal() {
                        return Err(refused.unwrap_or(GuardError::Timeout));
                    }
                }
                b'Z' => return refused.map_or(Ok(rows), Err),
                b'T' | b'C' | b'I' | b'N' | b'S' | b'A' => {}
                tag => return Err(FrameError::Malformed { tag }.into()),
            }
        }
    }

    async fn message(&mut self) -> Result<(u8, BytesMut), GuardError> {
        self.inbound.fill(frame::HEADER).await.map_err(GuardError::Lost)?;
        let header = Header::read(&self.inbound.received, MESSAGE_MAX)?.ok_or(FrameError::Malformed { tag: 0 })?;
        self.inbound.fill(header.total()).await.map_err(GuardError::Lost)?;
        let mut message = self.inbound.received.split_to(header.total());
        Ok((header.tag, message.split_off(frame::HEADER)))
    }
}

fn row(body: &[u8]) -> Result<Vec<Option<String>>, FrameError> {
    let values = frame::data_row(body)?;
    Ok(values.into_iter().map(|value| value.map(|bytes| String::from_utf8_lossy(bytes).into_owned())).collect())
}

/// What a connection is started with. A role's own settings (`ALTER ROLE ... SET`) do not win over these.
const STARTUP: [(&str, &str); 9] = [
    ("application_name", "pgwarden"),
    ("client_encoding", "UTF8"),
    ("search_path", "pg_catalog"),
    ("standard_conforming_strings", "on"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_isolation", "read committed"),
    ("row_security", "on"),
    ("statement_timeout", "50s"),
    ("quote_all_identifiers", "off"),
];
