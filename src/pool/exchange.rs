//! The proxy's own conversations with a backend that nobody else uses at the moment: cleaning, settings, reading back.

use std::io;
use std::time::Duration;

use bytes::BufMut;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::backend::Backend;
use super::claim::IN_HOT_STANDBY;
use crate::wire::frame::{self, ErrorFields, FrameError, Header, TxStatus};

/// Rows of text values; NULL is `None`.
pub type Rows = Vec<Vec<Option<String>>>;

#[derive(Debug, Error)]
pub enum ExchangeError {
    /// The server answered with an error; the connection goes on.
    #[error("the server refused: {sqlstate} {message}")]
    Refused { sqlstate: String, message: String },
    #[error("the server closed the connection")]
    Lost(#[source] io::Error),
    #[error("the server broke the protocol: {0}")]
    Protocol(#[from] FrameError),
    /// The server does not see the session as its tenant.
    #[error("{0}")]
    Context(&'static str),
    #[error("something of another session is left that the server cannot discard")]
    Residue,
    #[error("the server did not answer within {0:?}")]
    Timeout(Duration),
}

/// One message of an answer, at most.
const MESSAGE_MAX: usize = 4 << 20;

/// All rows of an answer, at most.
const ROWS_MAX: usize = 4096;

impl Backend {
    /// Runs `sql` as a Query and reads up to ReadyForQuery. The backend must be settled.
    ///
    /// This is not cancel safe: a backend whose exchange was dropped stays unsettled, and is closed.
    pub async fn exchange(&mut self, sql: &str, within: Duration) -> Result<Rows, ExchangeError> {
        let mut message = Vec::with_capacity(sql.len() + 6);
        put_query(&mut message, sql);
        self.exchange_messages(&message, 1, within).await.map(|mut answers| answers.pop().unwrap_or_default())
    }

    /// Runs several texts, each as a Query of its own, in one write. An error of one does not keep the others from running;
    /// the first is returned.
    pub(super) async fn exchange_all(&mut self, texts: &[&str], within: Duration) -> Result<Vec<Rows>, ExchangeError> {
        let mut messages = Vec::new();
        for sql in texts {
            put_query(&mut messages, sql);
        }
        self.exchange_messages(&messages, texts.len(), within).await
    }

    /// Sends messages that end in `count` times ReadyForQuery, and reads up to the last; the rows before each.
    pub(super) async fn exchange_messages(
        &mut self,
        messages: &[u8],
        count: usize,
        within: Duration,
    ) -> Result<Vec<Rows>, ExchangeError> {
        self.stop_gathering();
        self.exchanging = true;
        let answer = tokio::time::timeout(within, self.converse(messages, count)).await;
        match answer {
            Ok(Ok(answer)) => {
                self.exchanging = false;
                answer
            }
            Ok(Err(broken)) => Err(broken),
            Err(_) => Err(ExchangeError::Timeout(within)),
        }
    }

    /// The outer error: the connection is of no more use.
    async fn converse(
        &mut self,
        messages: &[u8],
        count: usize,
    ) -> Result<Result<Vec<Rows>, ExchangeError>, ExchangeError> {
        self.stream.write_all(messages).await.map_err(ExchangeError::Lost)?;
        self.stream.flush().await.map_err(ExchangeError::Lost)?;
        let mut answers = Vec::with_capacity(count);
        let mut rows = Rows::new();
        let mut refused = None;
        loop {
            let answered = answers.len() == count;
            if answered && self.held.is_empty() {
                self.held = Default::default();
                return Ok(refused.map_or(Ok(answers), Err));
            }
            let Some(header) =
                Header::read(&self.held, MESSAGE_MAX)?.filter(|header| header.total() <= self.held.len())
            else {
                let read = self.stream.read_buf(&mut self.held).await.map_err(ExchangeError::Lost)?;
                if read == 0 {
                    return Err(ExchangeError::Lost(io::ErrorKind::UnexpectedEof.into()));
                }
                continue;
            };
            let message = self.held.split_to(header.total());
            let body = &message[frame::HEADER..];
            match header.tag {
                tag if answered && !is_unasked(tag) => return Err(FrameError::Malformed { tag }.into()),
                b'Z' => {
                    self.status = TxStatus::read(body)?;
                    answers.push(std::mem::take(&mut rows));
                }
                b'D' if rows.len() < ROWS_MAX => {
                    let values = frame::data_row(body)?;
                    rows.push(values.into_iter().map(|v| v.map(|v| String::from_utf8_lossy(v).into_owned())).collect());
                }
                b'D' => return Err(FrameError::Malformed { tag: b'D' }.into()),
                b'E' => {
                    let fields = ErrorFields::read(body);
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    refused.get_or_insert(ExchangeError::Refused {
                        sqlstate: text(fields.code),
                        message: text(fields.message),
                    });
                }
                b'S' => self.note_parameter(body)?,
                b'A' if self.aside.len() + message.len() <= MESSAGE_MAX => self.aside.extend_from_slice(&message),
                // Descriptions and completions say nothing new; notices have no reader here.
                b'T' | b'C' | b'I' | b'N' | b'1' | b'2' | b'3' => {}
                tag => return Err(FrameError::Malformed { tag }.into()),
            }
        }
    }

    /// Takes a ParameterStatus in.
    pub fn note_parameter(&mut self, body: &[u8]) -> Result<(), FrameError> {
        let (name, value) = frame::parameter_status(body)?;
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| FrameError::Malformed { tag: b'S' });
        let (name, value) = (text(name)?, text(value)?);
        let room = self.parameters.len() < PARAMETERS_MAX;
        match self.parameters.get_mut(name) {
            Some(known) if **known == *value => {}
            Some(known) => {
                *known = value.into();
                if name == IN_HOT_STANDBY {
                    self.note_standby();
                }
            }
            None if room => {
                self.parameters.insert(name.into(), value.into());
            }
            None => return Err(FrameError::Malformed { tag: b'S' }),
        }
        Ok(())
    }
}

/// What a server says of its own accord, and so behind the last answer too: notifications, notices, parameters.
pub(super) fn is_unasked(tag: u8) -> bool {
    matches!(tag, b'A' | b'N' | b'S')
}

/// Parameters that one server reports, at most (PostgreSQL 18 has 15).
const PARAMETERS_MAX: usize = 128;

fn put_query(out: &mut Vec<u8>, sql: &str) {
    out.put_u8(b'Q');
    out.put_i32(sql.len() as i32 + 5);
    out.put_slice(sql.as_bytes());
    out.put_u8(0);
}
