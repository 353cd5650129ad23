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
use super::exchange::{ExchangeError, Rows, is_unasked};
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
        while left > 0 || !self.held.is_empty() {
            let Some(header) =
                Header::read(&self.held, MESSAGE_MAX)?.filter(|header| header.total() <= self.held.len())
            else {
                poll_fn(|cx| self.pump(cx, messages, &mut sent)).await.map_err(ExchangeError::Lost)?;
                continue;
            };
            if left == 0 && !is_unasked(header.tag) {
                return Err(FrameError::Malformed { tag: header.tag }.into());
            }
            let message = self.held.split_to(header.total());
            left -= usize::from(self.take_answer(header.tag, &message, &mut answer)?);
        }
        if sent < messages.len() {
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

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;

    use super::super::backend::Card;
    use super::super::budget::{Budget, Permit};
    use super::super::connect::Connected;
    use super::*;
    use crate::config::{Node, NodeAddress, ServerTls, ServerTlsMode};
    use crate::metrics::BackendState;
    use crate::net::Stream;

    fn backend(stream: Stream) -> Backend {
        let budget = Arc::new(Budget::new(1, 1));
        let permit = Permit::take(&budget, &Arc::new(Budget::new(1, 1))).expect("there is room");
        let address = NodeAddress::Tcp { host: "db".into(), port: 1 };
        let tls = ServerTls { mode: ServerTlsMode::Disable, ca: None, cert: None, key: None };
        let node = Node { address, tls, connect_timeout: Duration::from_secs(1) };
        let card = Card {
            id: 1,
            slot: Default::default(),
            pid: 1,
            tls: None,
            address: String::new(),
            connected_at_us: 0,
            state: BackendState::Active.into(),
            client: Default::default(),
            request_at_us: Default::default(),
            prepared: Default::default(),
        };
        let connected = Connected { stream, parameters: Vec::new(), pid: 1, secret: Default::default(), tls: None };
        Backend::new(connected, Arc::new(node), Rc::new(card), permit, 8)
    }

    #[tokio::test]
    async fn what_a_server_says_of_its_own_accord_behind_an_answer_is_no_fault_and_anything_else_is() {
        let notification = b"A\0\0\0\x0d\0\0\0\x07ch\0x\0";
        let ready = b"C\0\0\0\x0fINSERT 0 3\0Z\0\0\0\x05I";
        for cut in 0..=notification.len() {
            let (ours, mut server) = tokio::io::duplex(1 << 16);
            let mut backend = backend(Stream::Memory(ours));
            server.write_all(&[&ready[..], &notification[..cut]].concat()).await.expect("room");
            let rest = notification[cut..].to_vec();
            let later = tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                server.write_all(&rest).await.expect("room");
                server
            });
            let answer = backend.run(b"x", 1).await.unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
            assert_eq!((answer.inserted, backend.is_exchanging()), (3, false));
            let expected = if cut == 0 { &[][..] } else { notification };
            assert_eq!(&backend.aside[..], expected, "cut at {cut}");
            drop(later.await.expect("no panic"));
        }
        for wrong in [&b"Z\0\0\0\x05I"[..], b"D\0\0\0\x06\0\0", b"C\0\0\0\x05\0", b"1\0\0\0\x04"] {
            let (ours, mut server) = tokio::io::duplex(1 << 16);
            let mut backend = backend(Stream::Memory(ours));
            server.write_all(&[&ready[..], wrong].concat()).await.expect("room");
            assert!(matches!(backend.run(b"x", 1).await, Err(ExchangeError::Protocol(_))), "{wrong:?}");
            assert!(backend.is_exchanging(), "it must not be lent again");
        }
    }
}
