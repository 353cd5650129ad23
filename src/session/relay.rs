//! Moving bytes, both ways at once.
//!
//! One read into the worker's buffer, one walk over it, one write. What a socket does not take is kept by its connection,
//! and the other side is not read until it is gone: that is all the backpressure there is.

use std::io;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWrite;

use super::assembly::Assembly;
use super::handle::Signal;
use super::readable::Readable;
use super::{CloseReason, Event, Flow, LastWords, Session};
use crate::net::{Received, Stream};
use crate::wire::frame::Header;

/// Bytes read ahead from a client whose next message has to wait.
pub(super) const READ_AHEAD_MAX: usize = 64 << 10;

/// Reads, of each side, before other sessions have their turn.
const ROUNDS_MAX: usize = 32;

/// What became of a read.
enum Read {
    Bytes(usize),
    End,
    Nothing,
}

impl Session {
    /// Relays until something has to wait.
    pub(super) fn poll_relay(&mut self, cx: &mut TaskContext<'_>) -> Poll<Event> {
        let polled = self.poll_rounds(cx);
        self.context.moment.end_round();
        polled
    }

    fn poll_rounds(&mut self, cx: &mut TaskContext<'_>) -> Poll<Event> {
        if self.handle.listen(cx.waker()) {
            self.doubt_readable();
        }
        while let Some(signal) = self.handle.take_signal() {
            if let Some(event) = self.obey(signal) {
                return Poll::Ready(event);
            }
        }
        if std::mem::take(&mut self.settle_next) {
            return Poll::Ready(Event::Settle);
        }
        if self.gathering.is_on() {
            self.poll_gathering(cx);
        }
        let context = self.context.clone();
        let mut scratch = context.scratch.borrow_mut();
        let mut out = context.out.borrow_mut();
        for _ in 0..ROUNDS_MAX {
            let mut moved = false;
            context.moment.begin_round();
            if let Some(event) = self.push_unsent(cx) {
                return Poll::Ready(event);
            }
            if self.bound.is_some() && self.has_room() {
                match self.read_server(cx, &mut scratch) {
                    Read::Bytes(count) => {
                        moved = true;
                        self.note_streamed(cx, count);
                        if let Some(event) = self.on_server_bytes(cx, &scratch[..count], &mut out) {
                            return Poll::Ready(event);
                        }
                    }
                    Read::End => return Poll::Ready(Event::BackendLost(LastWords::default())),
                    Read::Nothing => {}
                }
            }
            if self.takes_requests() {
                if !self.client.unread.is_empty() && self.client.unread.len() != self.seen_unread {
                    moved = true;
                    if let Some(event) = self.on_unread(cx, &mut out) {
                        return Poll::Ready(event);
                    }
                } else {
                    match self.read_client(cx, &mut scratch) {
                        Read::Bytes(count) => {
                            moved = true;
                            if let Some(event) = self.on_fresh_client_bytes(cx, &scratch[..count], &mut out) {
                                return Poll::Ready(event);
                            }
                        }
                        Read::End => return Poll::Ready(Event::Close(CloseReason::ClientGone)),
                        Read::Nothing => {}
                    }
                }
            } else if matches!(self.flow, Flow::Before | Flow::After(_)) && self.client.unread.len() < READ_AHEAD_MAX {
                // Nothing is dealt with now, but a client that leaves is noticed. What it sent before it left is dealt
                // with in its turn.
                match self.read_client(cx, &mut scratch) {
                    Read::Bytes(count) => {
                        moved = true;
                        self.client.unread.extend_from_slice(&scratch[..count]);
                    }
                    Read::End if self.client.unread.is_empty() => {
                        return Poll::Ready(Event::Close(CloseReason::ClientGone));
                    }
                    Read::End | Read::Nothing => {}
                }
            }
            if !moved && self.listen(cx) {
                return Poll::Pending;
            }
        }
        // The others have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The client's next message may be looked at, and what it leads to may be sent.
    fn takes_requests(&self) -> bool {
        matches!(self.flow, Flow::Open)
            && self.bound.as_ref().is_none_or(|bound| bound.unsent.is_empty())
            && !self.is_stopping()
    }

    /// The client has not left too much lying.
    #[inline]
    fn has_room(&self) -> bool {
        let unsent = self.client.unsent.len();
        unsent == 0 || unsent <= self.rules.config.server.buffer_size_max
    }

    fn obey(&mut self, signal: Signal) -> Option<Event> {
        match signal {
            Signal::Kill => Some(Event::Close(CloseReason::Killed)),
            Signal::IdleTimeout if self.bound.is_none() => Some(Event::Close(CloseReason::IdleTimeout)),
            Signal::IdleInTransactionTimeout if self.bound.is_some() && self.queue.is_empty() => {
                Some(Event::Close(CloseReason::IdleInTransactionTimeout))
            }
            Signal::Drain => {
                self.draining = true;
                self.is_at_rest().then_some(Event::Close(CloseReason::Shutdown))
            }
            // A tenant that was switched off is not served to the end of its transaction.
            Signal::Reload if self.account.tenant.is_some() && !self.has_place() => {
                Some(Event::Close(CloseReason::Retired))
            }
            Signal::OverLimit(limit) => self.end_over(limit),
            Signal::IdleTimeout | Signal::IdleInTransactionTimeout | Signal::Reload => None,
        }
    }

    /// The rules in force know the account.
    pub(super) fn has_place(&self) -> bool {
        self.context.has_place(&self.account)
    }

    /// Between transactions, with nothing half said by the client.
    pub(super) fn is_at_rest(&self) -> bool {
        let between = self.bound.as_ref().is_none_or(|bound| bound.is_settled() && self.queue.is_settled());
        between && self.client.unread.is_empty() && self.client.passing == 0 && self.lease.is_none()
    }

    fn read_server(&mut self, cx: &mut TaskContext<'_>, scratch: &mut [u8]) -> Read {
        if self.gathering.take_due()
            && let Some(bound) = &self.bound
        {
            match bound.stream.receive_untold(scratch) {
                Ok(Some(0)) | Err(_) => return Read::End,
                Ok(Some(count)) => return Read::Bytes(count),
                Ok(None) => {}
            }
        }
        match &mut self.bound {
            Some(bound) if self.from_server.may_be() => read(&mut bound.stream, &mut self.from_server, cx, scratch),
            Some(_) | None => Read::Nothing,
        }
    }

    fn read_client(&mut self, cx: &mut TaskContext<'_>, scratch: &mut [u8]) -> Read {
        if !self.from_client.may_be() {
            return Read::Nothing;
        }
        read(&mut self.client.stream, &mut self.from_client, cx, scratch)
    }

    /// Has both sockets wake the session from now on. False: something has come.
    fn listen(&mut self, cx: &TaskContext<'_>) -> bool {
        let stream = &self.client.stream;
        let client = self.from_client.listen(cx.waker(), |cx| stream.poll_readable(cx));
        let Some(bound) = &self.bound else { return client };
        self.from_server.listen(cx.waker(), |cx| bound.stream.poll_readable(cx)) && client
    }

    /// Something else than the relay may have read from the sockets.
    pub(super) fn doubt_readable(&mut self) {
        self.from_client.doubt();
        self.from_server.doubt();
    }

    /// Tries again to send what a socket did not take.
    fn push_unsent(&mut self, cx: &mut TaskContext<'_>) -> Option<Event> {
        if self.is_unrecorded() {
            return Some(Event::Close(CloseReason::Unrecorded));
        }
        if !self.is_held(Some(cx))
            && (!self.client.unsent.is_empty() || self.client.stream.buffers_writes())
            && push(&mut self.client.stream, cx, &mut self.client.unsent).is_err()
        {
            self.client.unsent.clear();
            if !self.has_taken_leave() {
                return Some(Event::Close(CloseReason::ClientGone));
            }
        }
        let bound = self.bound.as_mut()?;
        let bound = &mut **bound;
        if (!bound.unsent.is_empty() || bound.stream.buffers_writes())
            && push(&mut bound.stream, cx, &mut bound.unsent).is_err()
        {
            return Some(Event::BackendLost(LastWords::default()));
        }
        None
    }

    fn on_fresh_client_bytes(&mut self, cx: &mut TaskContext<'_>, fresh: &[u8], out: &mut BytesMut) -> Option<Event> {
        if self.client.unread.is_empty() {
            let (consumed, event) = self.on_client_bytes(cx, fresh, out);
            self.client.unread.extend_from_slice(&fresh[consumed..]);
            self.note_seen(event.is_some());
            return event;
        }
        self.client.unread.extend_from_slice(fresh);
        self.on_unread(cx, out)
    }

    /// Deals with what was left over.
    fn on_unread(&mut self, cx: &mut TaskContext<'_>, out: &mut BytesMut) -> Option<Event> {
        let mut unread = std::mem::take(&mut self.client.unread);
        let (consumed, event) = self.on_client_bytes(cx, &unread, out);
        if consumed < unread.len() {
            unread.advance(consumed);
            self.client.unread = unread;
        }
        self.note_seen(event.is_some());
        event
    }

    /// What is unread now need not be looked at again before more comes, or something changes.
    fn note_seen(&mut self, something_happened: bool) {
        self.seen_unread = if something_happened { 0 } else { self.client.unread.len() };
    }

    /// The client's messages may be dealt with again.
    pub(super) fn reopen(&mut self) {
        self.flow = Flow::Open;
        self.seen_unread = 0;
    }

    /// Deals with the client's bytes as far as may be, and says how far.
    fn on_client_bytes(
        &mut self,
        cx: &mut TaskContext<'_>,
        bytes: &[u8],
        out: &mut BytesMut,
    ) -> (usize, Option<Event>) {
        let mut assembly = Assembly::new(bytes, out);
        let (consumed, event) = self.take_requests(bytes, &mut assembly);
        let sent = assembly.finish();
        if !sent.is_empty() {
            let bound = self.bound.as_mut().expect("bytes are assembled for a bound backend only");
            let bound = &mut **bound;
            if send(&mut bound.stream, cx, sent, &mut bound.unsent).is_err() {
                return (consumed, Some(Event::BackendLost(LastWords::default())));
            }
        }
        (consumed, event)
    }

    fn on_server_bytes(&mut self, cx: &mut TaskContext<'_>, fresh: &[u8], out: &mut BytesMut) -> Option<Event> {
        let bound = self.bound.as_mut()?;
        let event = if bound.held.is_empty() {
            let (consumed, event) = self.relay_replies(cx, fresh, out);
            if let Some(bound) = &mut self.bound {
                bound.held.extend_from_slice(&fresh[consumed..]);
            }
            event
        } else {
            let mut held = std::mem::take(&mut bound.held);
            held.extend_from_slice(fresh);
            let (consumed, event) = self.relay_replies(cx, &held, out);
            if consumed < held.len()
                && let Some(bound) = &mut self.bound
            {
                held.advance(consumed);
                bound.held = held;
            }
            event
        };
        event.or_else(|| self.at_boundary())
    }

    fn relay_replies(&mut self, cx: &mut TaskContext<'_>, bytes: &[u8], out: &mut BytesMut) -> (usize, Option<Event>) {
        let mut assembly = Assembly::new(bytes, out);
        let (consumed, event) = self.take_replies(bytes, &mut assembly);
        let sent = assembly.finish();
        if self.is_held(None) {
            // The record of an answer in here is not safe yet.
            self.client.unsent.extend_from_slice(sent);
            return (consumed, event);
        }
        let lost = !sent.is_empty() && send(&mut self.client.stream, cx, sent, &mut self.client.unsent).is_err();
        if lost && !self.has_taken_leave() {
            return (consumed, Some(Event::Close(CloseReason::ClientGone)));
        }
        (consumed, event)
    }

    /// The client said Terminate, behind requests that are still to be dealt with: these are finished, as PostgreSQL does,
    /// though the client listens no more.
    pub(super) fn has_taken_leave(&self) -> bool {
        if matches!(self.flow, Flow::Leaving) {
            return true;
        }
        let mut rest = self.client.unread.get(self.client.passing..).unwrap_or_default();
        while let Ok(Some(header)) = Header::read(rest, self.rules.config.server.message_size_max) {
            match rest.get(header.total()..) {
                Some(_) if header.tag == b'X' => return true,
                Some(after) => rest = after,
                None => return false,
            }
        }
        false
    }

    /// Bytes of our own for the client, behind what it has been sent already.
    pub(super) fn tell(&mut self, bytes: &[u8]) {
        self.client.unsent.extend_from_slice(bytes);
    }
}

fn read(stream: &mut Stream, readable: &mut Readable, cx: &TaskContext<'_>, scratch: &mut [u8]) -> Read {
    let is_all = |read: &io::Result<Received>| read.as_ref().is_ok_and(|read| read.is_all);
    match readable.poll(cx.waker(), |cx| stream.poll_receive(cx, scratch), is_all) {
        Poll::Pending => Read::Nothing,
        Poll::Ready(Ok(Received { count: 0, .. }) | Err(_)) => Read::End,
        Poll::Ready(Ok(Received { count, .. })) => Read::Bytes(count),
    }
}

/// Writes `bytes`; what the socket does not take goes to `unsent`, and order is kept.
fn send(stream: &mut Stream, cx: &mut TaskContext<'_>, mut bytes: &[u8], unsent: &mut BytesMut) -> Result<(), ()> {
    if unsent.is_empty() {
        while !bytes.is_empty() {
            match stream.poll_send(cx, bytes) {
                Poll::Ready(Ok(0) | Err(_)) => return Err(()),
                Poll::Ready(Ok(count)) => bytes = &bytes[count..],
                Poll::Pending => break,
            }
        }
        if bytes.is_empty() {
            return flush(stream, cx);
        }
    }
    unsent.extend_from_slice(bytes);
    Ok(())
}

fn push(stream: &mut Stream, cx: &mut TaskContext<'_>, unsent: &mut BytesMut) -> Result<(), ()> {
    while !unsent.is_empty() {
        match stream.poll_send(cx, unsent) {
            Poll::Ready(Ok(0) | Err(_)) => return Err(()),
            Poll::Ready(Ok(count)) => unsent.advance(count),
            Poll::Pending => return Ok(()),
        }
    }
    if unsent.capacity() > 0 {
        *unsent = BytesMut::new();
    }
    flush(stream, cx)
}

/// TLS holds records back until it is told to write them; for the others this costs nothing.
fn flush(stream: &mut Stream, cx: &mut TaskContext<'_>) -> Result<(), ()> {
    match Pin::new(stream).poll_flush(cx) {
        Poll::Ready(Err(_)) => Err(()),
        Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
    }
}
