//! Large answers, read in larger pieces.
//!
//! To be woken costs more than to read some kilobytes, and a server writes eight at a time. When an answer has streamed for a
//! while, its bytes gather in the socket before the session is woken (`Backend::gather`), and a timer reads what is less. So
//! the end of a large answer may come up to [`INTERVAL`] later, and all of it costs the proxy half.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use super::Session;

/// Where a session stands with this.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    /// Bytes that streamed so far.
    streamed: usize,
    timer: Option<Box<Timer>>,
    /// What is there is to be read, enough or not.
    due: bool,
}

#[derive(Debug)]
struct Timer {
    sleep: Pin<Box<Sleep>>,
    /// Something was read since it was set.
    moved: bool,
}

impl Gathering {
    pub fn is_on(&self) -> bool {
        self.timer.is_some()
    }

    #[inline]
    pub fn take_due(&mut self) -> bool {
        std::mem::take(&mut self.due)
    }
}

/// Bytes of an answer before any gather: shorter ones are not late.
const STREAMED_MIN: usize = 1 << 20;

/// A read of fewer is no stream.
const PIECE_MIN: usize = 4 << 10;

/// How often what did not suffice is read.
const INTERVAL: Duration = Duration::from_millis(1);

impl Session {
    /// So many bytes were read from the server.
    pub(super) fn note_streamed(&mut self, cx: &mut Context<'_>, count: usize) {
        if let Some(timer) = &mut self.gathering.timer {
            timer.moved = true;
            return;
        }
        self.gathering.streamed = if count < PIECE_MIN { 0 } else { self.gathering.streamed + count };
        if self.gathering.streamed < STREAMED_MIN {
            return;
        }
        self.gathering.streamed = 0;
        if self.bound.as_mut().is_some_and(|bound| bound.gather()) {
            let timer = Timer { sleep: Box::pin(sleep(INTERVAL)), moved: false };
            self.gathering.timer = Some(Box::new(timer));
            self.poll_gathering(cx);
        }
    }

    /// Reads when the timer says so, or stops where nothing has come since it was set.
    pub(super) fn poll_gathering(&mut self, cx: &mut Context<'_>) {
        while let Some(timer) = &mut self.gathering.timer
            && timer.sleep.as_mut().poll(cx).is_ready()
        {
            if std::mem::take(&mut timer.moved) {
                self.gathering.due = true;
                timer.sleep.as_mut().reset(Instant::now() + INTERVAL);
            } else {
                self.end_gathering();
            }
        }
    }

    /// The answer is whole, or has come to a halt.
    #[inline]
    pub(super) fn end_gathering(&mut self) {
        self.gathering.due = false;
        self.gathering.streamed = 0;
        if self.gathering.timer.take().is_some()
            && let Some(bound) = &mut self.bound
        {
            bound.stop_gathering();
        }
    }
}
