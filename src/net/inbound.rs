//! A stream with what was read from it and not yet taken, for the few messages of a login.

use std::io;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;

use super::Stream;

/// Least room for one read (bytes): a login's messages fit.
const READ_MIN: usize = 1024;

#[derive(Debug)]
pub struct Inbound {
    pub stream: Stream,
    pub received: BytesMut,
}

impl Inbound {
    pub fn new(stream: Stream) -> Self {
        Self { stream, received: BytesMut::new() }
    }

    /// Reads until at least `count` bytes are there; the caller bounds `count`. `UnexpectedEof` where the stream ends
    /// before. Cancel safe: what came stays in `received`.
    pub async fn fill(&mut self, count: usize) -> io::Result<()> {
        while self.received.len() < count {
            self.received.reserve((count - self.received.len()).max(READ_MIN));
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}
