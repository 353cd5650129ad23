//! Statements that the proxy makes and runs for a client, in the client's transaction: their errors are the client's to see.
//!
//! Writing and reading go on at once, so that a long pipeline cannot block both ends.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::backend::Backend;
use super::exchange::{ExchangeError, Rows};
use crate::wire::frame::{self, ErrorFields, FrameError, Header, TxStatus};

/// What came up to the last ReadyForQuery.
#[derive(Debug, Default)]
pub struct Answer {
    /// Values as text; of all statements, in order.
    pub rows: Rows,
    /// Statements that completed.
    pub completed: usize,
    /// Rows that they inserted.
    pub inserted: u64,
    /// The body of the first ErrorResponse.
    pub error: Option<Vec<u8>>,
    /// Notices, whole messages.
    pub notices: BytesMut,
}

/// One message of an answer, at most: an error may quote a whole value.
const MESSAGE_MAX: usize = 64 << 20;

/// All notices of an answer, at most; and what comes aside.
const NOTICES_MAX: usize = 16 << 20;

/// Rows of an answer, at most: a table has 1600 columns.
const ROWS_MAX: usize = 4096;

/// Bytes read at once.
const READ_SIZE: usize = 16 << 10;

impl Backend {
    /// Sends messages that end in `readies` times ReadyForQuery, and reads up to the last. There is no time limit.
    ///
    /// This is not cancel safe: a backend whose answer was not awaited stays unsettled, and is closed.
    pub async fn run(&mut self, messages: &[u8], readies: usize) -> Result<Answer, ExchangeError> {
        self.exchanging = true;
        let (mut sent, mut left) = (0, readies);
        let mut answer = Answer::default();
        while left > 0 {
            poll_fn(|cx| self.pump(cx, messages, &mut sent)).await.map_err(ExchangeError::Lost)?;
            while let Some(header) =
                Header::read(&self.held, MESSAGE_MAX)?.filter(|header| header.total() <= self.held.len())
            {
                let message = self.held.split_to(header.total());
                left -= usize::from(self.take_answer(header.tag, &message, &mut answer)?);
                if left == 0 {
                    break;
                }
            }
        }
        if sent < messages.len() || !self.held.is_empty() {
            return Err(FrameError::Malformed { tag: b'Z' }.into());
        }
        self.held = BytesMut::new();
        self.exchanging = false;
        Ok(answer)
    }

    /// An answer is under way, or was given up.
    pub fn is_exchanging(&self) -> bool {
        self.exchanging
    }

    /// Ready when something was read. Writes meanwhile as far as it goes.
    fn pump(&mut self, cx: &mut Context<'_>, messages: &[u8], sent: &mut usize) -> Poll<io::Result<()>> {
        while *sent < messages.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &messages[*sent..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => *sent += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        if let Poll::Ready(Err(error)) = Pin::new(&mut self.stream).poll_flush(cx) {
            return Poll::Ready(Err(error));
        }
        let mut space = [0; READ_SIZE];
        let mut buffer = ReadBuf::new(&mut space);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(Ok(())) => {
                self.held.extend_from_slice(buffer.filled());
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Whether it was a ReadyForQuery.
    fn take_answer(&mut self, tag: u8, message: &[u8], answer: &mut Answer) -> Result<bool, ExchangeError> {
        let body = &message[frame::HEADER..];
        match tag {
            b'Z' => {
                self.status = TxStatus::read(body)?;
                return Ok(true);
            }
            b'D' if answer.rows.len() < ROWS_MAX => {
                let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
                answer.rows.push(frame::data_row(body)?.into_iter().map(|value| value.map(text)).collect());
            }
            b'C' => {
                answer.completed += 1;
                answer.inserted += inserted(body);
            }
            b'E' => {
                let fields = ErrorFields::read(body);
                if fields.is_fatal() {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    let (sqlstate, message) = (text(fields.code), text(fields.message));
                    return Err(ExchangeError::Refused { sqlstate, message });
                }
                answer.error.get_or_insert_with(|| body.to_vec());
            }
            b'N' if answer.notices.len() + message.len() <= NOTICES_MAX => answer.notices.extend_from_slice(message),
            b'A' if self.aside.len() + message.len() <= NOTICES_MAX => self.aside.extend_from_slice(message),
            b'S' => self.note_parameter(body)?,
            b'1' | b'2' | b'3' | b'n' | b't' | b'T' | b'I' => {}
            tag => return Err(FrameError::Malformed { tag }.into()),
        }
        Ok(false)
    }
}

/// The count of `INSERT 0 n`.
fn inserted(body: &[u8]) -> u64 {
    let tag = std::str::from_utf8(body).unwrap_or_default().trim_end_matches('\0');
    tag.strip_prefix("INSERT 0 ").and_then(|count| count.parse().ok()).unwrap_or(0)
}
