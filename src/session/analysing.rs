//! A long text is read by the grammar beside the worker's thread, which serves others meanwhile; its session waits.
//!
//! One text at a time on each worker: whoever sends many long ones waits for their own, in the order in which they came.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::frontend::Message;
use super::{CloseReason, Event, Session};
use crate::metrics::ClientState;
use crate::sql::{Analysis, Failure, grammar};
use crate::wire::frame::{self, Parse};

/// Longer texts are not read on the worker's thread where they are new. A byte takes 0.1 µs to 5 µs, so this is 40 ms at the
/// very worst; handing a text over and back takes tens of microseconds, which is little beside reading this much.
const HERE_MAX: usize = 8 << 10;

/// A text that was read for the client's next message.
#[derive(Debug)]
pub(super) struct Analysed {
    text: Arc<[u8]>,
    analysis: Arc<Analysis>,
}

impl Session {
    /// The text of the client's next message, where that has to be read elsewhere first.
    pub(super) fn waits_for_analysis(&self, message: &Message<'_>) -> Option<Event> {
        if message.header.body <= HERE_MAX || self.denied.is_some() {
            return None;
        }
        let text = match message.header.tag {
            b'Q' => frame::query_text(message.body).ok()?,
            b'P' => Parse::read(message.body).ok()?.text,
            _ => return None,
        };
        let here = text.len() <= HERE_MAX
            || self.too_long(text).is_some()
            || self.analysed(text).is_some()
            || self.context.analyses.borrow_mut().find(text).is_some();
        (!here).then(|| Event::NeedAnalysis(text.into()))
    }

    /// What a text of the client's does.
    pub(super) fn analysis_of(&self, text: &[u8]) -> Arc<Analysis> {
        self.analysed(text).cloned().unwrap_or_else(|| self.context.analyses.borrow_mut().read(text))
    }

    fn analysed(&self, text: &[u8]) -> Option<&Arc<Analysis>> {
        self.analysed.as_ref().filter(|analysed| *analysed.text == *text).map(|analysed| &analysed.analysis)
    }

    /// Has the text read, and reads on meanwhile so that a client that leaves is noticed.
    ///
    /// This is cancel safe: a reading under way comes to its end for nobody.
    pub(super) async fn analyse(&mut self, text: Arc<[u8]>) -> Result<(), CloseReason> {
        self.handle.enter(ClientState::Waiting, Instant::now());
        let turn = self.context.parsing.clone().acquire_owned();
        let read = text.clone();
        let reading = async {
            // The turn ends with the reading, whether somebody still waits for it or not.
            let turn = turn.await;
            spawn_blocking(move || {
                let _turn = turn;
                grammar::read(&read)
            })
            .await
        };
        let mut reading = pin!(reading);
        let read = poll_fn(|cx| {
            self.handle.listen(cx.waker());
            if let Err(end) = self.heed() {
                return Poll::Ready(Err(end));
            }
            if let Poll::Ready(read) = reading.as_mut().poll(cx) {
                return Poll::Ready(Ok(read));
            }
            self.read_ahead(cx).map_or_else(|gone| Poll::Ready(Err(gone)), |()| Poll::Pending)
        })
        .await;
        self.handle.enter(ClientState::Idle, Instant::now());
        let analysis = match read {
            Ok(Ok(analysis)) => analysis,
            // No text makes the grammar panic; if one does, nobody knows what it does.
            Ok(Err(_)) => grammar::unread(Failure::TooComplex),
            Err(end) => return self.give_up(end),
        };
        let analysis = self.context.analyses.borrow_mut().keep(&text, analysis);
        self.analysed = Some(Box::new(Analysed { text, analysis }));
        Ok(())
    }
}
