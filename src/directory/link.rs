//! A connection that asks one statement at a time and hears notifications.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::{DirectoryError, ROWS_MAX, Source};
use crate::config::Keepalive;
use crate::net::Inbound;
use crate::pool::connect::{BackendLogin, Connected, Connector, connect};
use crate::wire::frame::{self, ErrorFields, FrameError, Header};

/// One message, at most (bytes): a row of a directory is far smaller.
const MESSAGE_MAX: usize = 1 << 20;

/// What a connection is started with. A role's own settings do not win over these.
const STARTUP: [(&str, &str); 7] = [
    ("application_name", "pgwarden directory"),
    ("client_encoding", "UTF8"),
    ("search_path", "pg_catalog"),
    ("standard_conforming_strings", "on"),
    ("default_transaction_isolation", "read committed"),
    ("statement_timeout", "60s"),
    ("idle_session_timeout", "0"),
];

/// Between heartbeats a dead network is found by the kernel at the latest.
const KEEPALIVE: Keepalive = Keepalive { idle: Duration::from_secs(20), interval: Duration::from_secs(5), retries: 3 };

#[derive(Debug)]
pub(super) struct Link {
    inbound: Inbound,
    /// A notification came that nobody asked about yet.
    notified: bool,
}

impl Link {
    pub async fn connect(source: &Source, connector: &Connector) -> Result<Self, DirectoryError> {
        let login = BackendLogin {
            user: source.login.user.clone(),
            database: source.server_database.clone(),
            password: source.login.password.clone(),
            auth: source.login.auth,
            keepalive: KEEPALIVE,
            startup: STARTUP.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        };
        let Connected { stream, .. } = connect(&source.node, &login, connector).await?;
        Ok(Self { inbound: Inbound::new(stream), notified: false })
    }

    /// Runs one statement; the first column of each row that is not NULL.
    ///
    /// This is not cancel safe, nor can a connection be used after an error.
    pub async fn run(&mut self, sql: &str, patience: Duration) -> Result<Vec<String>, DirectoryError> {
        timeout(patience, self.converse(sql)).await.unwrap_or(Err(DirectoryError::Timeout))
    }

    /// Whether a notification came since the last time that this was asked.
    pub fn take_notified(&mut self) -> bool {
        std::mem::take(&mut self.notified)
    }

    /// Waits for a notification. Cancel safe.
    pub async fn notified(&mut self) -> Result<(), DirectoryError> {
        while !self.notified {
            let (tag, body) = self.message().await?;
            match tag {
                b'A' => self.notified = true,
                b'N' | b'S' => {}
                b'E' => return Err(refused(&body)),
                tag => return Err(FrameError::Malformed { tag }.into()),
            }
        }
        Ok(())
    }

    async fn converse(&mut self, sql: &str) -> Result<Vec<String>, DirectoryError> {
        let mut message = BytesMut::with_capacity(sql.len() + 6);
        message.put_u8(b'Q');
        message.put_u32(u32::try_from(sql.len() + 5).map_err(|_| FrameError::Malformed { tag: b'Q' })?);
        message.put_slice(sql.as_bytes());
        message.put_u8(0);
        self.inbound.stream.write_all(&message).await.map_err(DirectoryError::Lost)?;
        self.inbound.stream.flush().await.map_err(DirectoryError::Lost)?;
        let mut rows = Vec::new();
        loop {
            let (tag, body) = self.message().await?;
            match tag {
                b'D' if rows.len() >= ROWS_MAX => return Err(DirectoryError::TooMany),
                b'D' => {
                    let first = frame::data_row(&body)?.into_iter().next().flatten();
                    rows.extend(first.map(|value| String::from_utf8_lossy(value).into_owned()));
                }
                b'A' => self.notified = true,
                b'Z' => return Ok(rows),
                b'T' | b'C' | b'I' | b'N' | b'S' => {}
                b'E' => return Err(refused(&body)),
                tag => return Err(FrameError::Malformed { tag }.into()),
            }
        }
    }

    /// Cancel safe: what came stays where it is.
    async fn message(&mut self) -> Result<(u8, BytesMut), DirectoryError> {
        self.inbound.fill(frame::HEADER).await.map_err(DirectoryError::Lost)?;
        let header = Header::read(&self.inbound.received, MESSAGE_MAX)?.ok_or(FrameError::Malformed { tag: 0 })?;
        self.inbound.fill(header.total()).await.map_err(DirectoryError::Lost)?;
        let mut message = self.inbound.received.split_to(header.total());
        Ok((header.tag, message.split_off(frame::HEADER)))
    }
}

/// The server's words, without control characters, for the log.
fn refused(body: &[u8]) -> DirectoryError {
    let fields = ErrorFields::read(body);
    let text = |bytes: &[u8]| -> String {
        String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).take(200).collect()
    };
    DirectoryError::Refused { sqlstate: text(fields.code), message: text(fields.message) }
}
