//! What requests change that are still to be answered, so that it can be taken back.

use std::collections::VecDeque;
use std::rc::Rc;

use super::statements::Statement;

/// Changes of one batch that are kept apart; with more than these, everything counts as changed.
const CHANGES_MAX: usize = 64;

/// Changes of the unnamed statement that there is room for once everything was answered.
const UNNAMED_KEPT: usize = 4;

/// What requests that are still to be answered change: names of the client's, statements of the backend's, and the unnamed
/// statement; in the batch under way, and in those before it.
///
/// An error in an earlier batch takes its changes back. Within a batch that is no matter, for what follows is discarded,
/// too; but a request of a later batch that stands on such a change must wait for the answers.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Changes {
    /// There is anything to settle.
    any: bool,
    /// Counts the changes of the unnamed statement.
    epoch: u64,
    batch: Noted,
    earlier: Noted,
    /// Changes of the unnamed statement that may still be taken back, oldest first.
    unnamed: VecDeque<UnnamedChange>,
}

/// What the unnamed statement was before a change of it.
#[derive(Debug)]
struct UnnamedChange {
    epoch: u64,
    /// The session's, where the client changed it.
    session: Option<Option<Rc<Statement>>>,
    backend: Option<u64>,
}

/// What the unnamed statement is after a change of it was taken back, as far as no newer change says otherwise.
#[derive(Debug, Default)]
pub struct Restored {
    pub session: Option<Option<Rc<Statement>>>,
    pub backend: Option<Option<u64>>,
}

#[derive(Debug, Default)]
struct Noted {
    names: Vec<Box<[u8]>>,
    statements: Vec<u64>,
    unnamed: bool,
}

impl Changes {
    /// A Parse or Close of a name.
    pub fn note(&mut self, name: &[u8]) {
        self.any = true;
        if self.batch.names.len() <= CHANGES_MAX {
            self.batch.names.push(name.into());
        }
    }

    /// A statement was prepared or closed on the backend.
    pub fn note_statement(&mut self, id: u64) {
        self.any = true;
        if self.batch.statements.len() <= CHANGES_MAX {
            self.batch.statements.push(id);
        }
    }

    /// The unnamed statement changed, and was these before: the session's, where the client changed it, and the backend's. The
    /// epoch is what [`Self::take_back_unnamed`] and [`Self::keep_unnamed`] ask for.
    pub fn note_unnamed(&mut self, session: Option<Option<Rc<Statement>>>, backend: Option<u64>) -> u64 {
        (self.any, self.batch.unnamed) = (true, true);
        self.epoch += 1;
        self.unnamed.push_back(UnnamedChange { epoch: self.epoch, session, backend });
        self.epoch
    }

    /// Whatever is taken back, no unnamed statement of before comes back, on either side.
    pub fn note_no_unnamed(&mut self) {
        (self.any, self.batch.unnamed) = (true, true);
        self.unnamed.clear();
    }

    /// The server has made the change of this epoch.
    pub fn keep_unnamed(&mut self, epoch: u64) {
        while self.unnamed.front().is_some_and(|change| change.epoch <= epoch) {
            self.unnamed.pop_front();
        }
    }

    /// The server has not made the change of this epoch; `failed`: it has tried, and dropped what was there before.
    pub fn take_back_unnamed(&mut self, epoch: u64, failed: bool) -> Restored {
        let Ok(index) = self.unnamed.binary_search_by_key(&epoch, |change| change.epoch) else {
            return Restored::default();
        };
        let Some(UnnamedChange { session, backend, .. }) = self.unnamed.remove(index) else {
            return Restored::default();
        };
        let (mut session, backend) = if failed { (session.map(|_| None), None) } else { (session, backend) };
        // What a newer change stands on is what was before this one.
        if session.is_some()
            && let Some(later) = self.unnamed.range_mut(index..).find(|change| change.session.is_some())
        {
            later.session = session.take();
        }
        let backend = match self.unnamed.get_mut(index) {
            Some(later) => {
                later.backend = backend;
                None
            }
            None => Some(backend),
        };
        Restored { session, backend }
    }

    /// A Sync was sent.
    pub fn end_batch(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        self.earlier.unnamed |= batch.unnamed;
        if !self.earlier.is_full() {
            self.earlier.names.extend(batch.names);
            self.earlier.statements.extend(batch.statements);
        }
    }

    /// Everything was answered.
    pub fn settle(&mut self) {
        if self.any {
            let mut unnamed = std::mem::take(&mut self.unnamed);
            unnamed.clear();
            // Its memory is used again by whoever always prepares the unnamed statement.
            unnamed.shrink_to(UNNAMED_KEPT);
            *self = Self { epoch: self.epoch, unnamed, ..Self::default() };
        }
    }

    /// What the name (empty: the unnamed statement) stands for depends on answers that are still to come.
    pub fn is_doubtful(&self, name: &[u8]) -> bool {
        let holds = |noted: &Noted| match name {
            b"" => noted.unnamed,
            name => noted.names.iter().any(|changed| **changed == *name),
        };
        self.earlier.is_full() || holds(&self.earlier) && !holds(&self.batch)
    }

    /// Whether the backend has the statement depends on answers that are still to come.
    pub fn is_statement_doubtful(&self, id: u64) -> bool {
        let holds = |noted: &Noted| noted.statements.contains(&id);
        self.earlier.is_full() || holds(&self.earlier) && !holds(&self.batch)
    }
}

impl Noted {
    fn is_full(&self) -> bool {
        self.names.len() > CHANGES_MAX || self.statements.len() > CHANGES_MAX
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_name_changed_in_an_earlier_batch_is_doubtful_until_everything_was_answered() {
        let mut changes = Changes::default();
        changes.note(b"a");
        assert!(!changes.is_doubtful(b"a"), "in its own batch");
        changes.end_batch();
        assert!(changes.is_doubtful(b"a") && !changes.is_doubtful(b"b"));
        changes.note(b"a");
        assert!(!changes.is_doubtful(b"a"), "changed again in this batch");
        changes.end_batch();
        assert!(changes.is_doubtful(b"a"));
        changes.settle();
        assert!(!changes.is_doubtful(b"a"));
        for number in 0..1000_u32 {
            changes.note(&number.to_be_bytes());
        }
        changes.end_batch();
        assert!(
            changes.is_doubtful(b"any") && changes.earlier.names.len() <= 2 * CHANGES_MAX,
            "bounded, and then everything is"
        );
    }

    #[test]
    fn a_change_of_the_unnamed_statement_that_is_taken_back_leaves_what_was_before_it() {
        let statement = |text: &[u8]| Statement::private(text, b"", Arc::new(crate::sql::grammar::read(text)), false);
        /// A session and a backend, and what becomes of their unnamed statement.
        #[derive(Default)]
        struct Sides {
            changes: Changes,
            session: Option<Rc<Statement>>,
            backend: Option<u64>,
        }
        impl Sides {
            fn parse(&mut self, statement: &Rc<Statement>) -> u64 {
                let session = self.session.replace(statement.clone());
                let backend = self.backend.replace(statement.id());
                self.changes.note_unnamed(Some(session), backend)
            }
            fn close_ours(&mut self) -> u64 {
                let backend = self.backend.take();
                self.changes.note_unnamed(None, backend)
            }
            fn take_back(&mut self, epoch: u64, failed: bool) {
                let restored = self.changes.take_back_unnamed(epoch, failed);
                self.session = restored.session.unwrap_or(self.session.take());
                self.backend = restored.backend.unwrap_or(self.backend);
            }
            #[track_caller]
            fn check(&self, session: &[u8], backend: Option<&Rc<Statement>>) {
                assert_eq!(self.session.as_ref().map_or(&b""[..], |it| &it.text), session);
                assert_eq!(self.backend, backend.map(|it| it.id()));
            }
        }
        let (a, b, c) = (statement(b"a"), statement(b"b"), statement(b"c"));
        let mut sides = Sides::default();
        let epoch = sides.parse(&a);
        sides.changes.keep_unnamed(epoch);
        // In one batch, the newest first.
        let (older, newer) = (sides.parse(&b), sides.parse(&c));
        sides.take_back(newer, false);
        sides.check(b"b", Some(&b));
        sides.take_back(older, false);
        sides.check(b"a", Some(&a));
        // A newer batch has changed it again when the older one fails.
        let (older, ours, newer) = (sides.parse(&b), sides.close_ours(), sides.parse(&c));
        sides.take_back(older, false);
        sides.check(b"c", Some(&c));
        sides.take_back(newer, false);
        sides.check(b"a", None);
        sides.take_back(ours, false);
        sides.check(b"a", Some(&a));
        // What is newer than what was taken back, and was made, stays.
        let older = sides.parse(&b);
        let (made, newer) = (sides.parse(&c), sides.parse(&b));
        sides.take_back(older, false);
        sides.changes.keep_unnamed(made);
        sides.take_back(newer, false);
        sides.check(b"c", Some(&c));
        // A Parse that failed has taken the one before with it; one of ours has no other than the backend's.
        let (older, newer) = (sides.parse(&a), sides.parse(&b));
        sides.take_back(newer, false);
        sides.take_back(older, true);
        sides.check(b"", None);
        let epoch = sides.parse(&a);
        sides.changes.keep_unnamed(epoch);
        let ours = sides.close_ours();
        sides.take_back(ours, true);
        sides.check(b"a", None);
        // Behind a Query nothing is left to come back.
        let older = sides.parse(&b);
        (sides.session, sides.backend) = (None, None);
        sides.changes.note_no_unnamed();
        sides.take_back(older, false);
        sides.check(b"", None);
        sides.changes.end_batch();
        assert!(sides.changes.is_doubtful(b""));
        let newer = sides.parse(&c);
        assert!(!sides.changes.is_doubtful(b""));
        sides.take_back(newer, false);
        sides.check(b"", None);
    }
}
