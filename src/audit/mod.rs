//! The audit stream's seam: a [`Ticket`] is opened before a byte of a statement leaves and closes on every path, drop
//! included. This sink counts; the stream of records comes with the audit issue.

mod control;
mod copies;
mod recover;
mod retention;
pub mod segment;
pub mod stream;
#[cfg(test)]
mod tests;
mod writer;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

pub use control::RECORD_VERSION;
pub use copies::COPIES;
pub use recover::{OpenError, TORN};
pub use stream::{Figures, NotWritable, State, Stream};

use crate::policy::Admitted;

/// A worker's end of the audit stream.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    counts: Rc<Counts>,
}

/// Statements by how they ended. `opened` is the sum of the others and of those under way.
#[derive(Debug, Default)]
pub struct Counts {
    pub opened: Cell<u64>,
    pub closed: Cell<u64>,
    pub abandoned: Cell<u64>,
}

/// How a statement ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Completed,
    Failed,
    /// The server discarded it after an earlier error.
    Skipped,
}

/// A statement under way.
#[derive(Debug)]
pub struct Ticket {
    counts: Rc<Counts>,
    opened_at: Instant,
    open: bool,
}

impl Audit {
    /// Intent, before execution.
    pub fn open(&self, _admitted: &Admitted) -> Ticket {
        self.counts.opened.set(self.counts.opened.get() + 1);
        Ticket { counts: self.counts.clone(), opened_at: Instant::now(), open: true }
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl Ticket {
    /// Ends the statement's record; returns how long it took.
    pub fn close(mut self, _outcome: Outcome) -> Duration {
        self.open = false;
        self.counts.closed.set(self.counts.closed.get() + 1);
        self.opened_at.elapsed()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.open {
            self.counts.abandoned.set(self.counts.abandoned.get() + 1);
        }
    }
}
