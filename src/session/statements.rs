//! Prepared statements: what a client calls them, and what backends call them.
//!
//! A statement is known on backends by a number that no other text has, so a backend that prepared it for one client
//! serves every other one whose text, parameter types and scope (`search_path`, role) are the same.

use std::cell::Cell;
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{BufMut, BytesMut};
use hashbrown::HashTable;

use crate::policy::RESERVED_PREFIX;
use crate::settings::Settings;
use crate::sql::Analysis;

/// A Parse message's content.
#[derive(Debug)]
pub struct Statement {
    id: Cell<u64>,
    pub text: Box<[u8]>,
    /// Parameter type oids, four bytes each.
    pub types: Box<[u8]>,
    pub analysis: Arc<Analysis>,
    /// Effects that the session must attend to when it is executed.
    pub attention: bool,
    hash: u64,
    scope: u64,
    /// [`shapes`] when it was made.
    shapes: u64,
}

impl Statement {
    /// A statement that is shared with nobody.
    pub fn private(text: &[u8], types: &[u8], analysis: Arc<Analysis>, attention: bool) -> Rc<Self> {
        Rc::new(Self {
            id: Cell::new(next_id()),
            text: text.into(),
            types: types.into(),
            analysis,
            attention,
            hash: 0,
            scope: 0,
            shapes: shapes(),
        })
    }

    pub fn id(&self) -> u64 {
        self.id.get()
    }

    /// From now on it is another one: what backends have prepared of it does not serve any more (its result changed).
    pub fn renew(&self) {
        self.id.set(next_id());
    }

    /// Appends the Parse message that prepares it on a backend.
    pub fn put_parse(&self, out: &mut BytesMut, name: &[u8]) {
        out.put_u8(b'P');
        out.put_u32((4 + name.len() + 1 + self.text.len() + 1 + 2 + self.types.len()) as u32);
        out.put_slice(name);
        out.put_u8(0);
        out.put_slice(&self.text);
        out.put_u8(0);
        out.put_u16((self.types.len() / 4) as u16);
        out.put_slice(&self.types);
    }
}

/// Unique in the process: backends move between workers with what they have prepared.
fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Counts changes of tables and views that a client of this process has made. A statement that backends prepared before may
/// have another result now, which PostgreSQL reports as an error (0A000) to whoever uses it: a client that prepares it
/// only now must not see that. Clients that were told the old result do, as they would without a proxy.
static SHAPES: AtomicU64 = AtomicU64::new(0);

fn shapes() -> u64 {
    SHAPES.load(Ordering::Acquire)
}

/// A transaction that may have changed tables or views has ended.
pub fn note_new_shapes() {
    SHAPES.fetch_add(1, Ordering::Release);
}

/// A statement's name on backends: the prefix and its number, at the end of the array.
#[derive(Debug, Clone, Copy)]
pub struct ServerName {
    bytes: [u8; 32],
    start: usize,
}

impl ServerName {
    pub fn of(id: u64) -> Self {
        let mut name = Self { bytes: [0; 32], start: 32 };
        let mut left = id;
        loop {
            name.start -= 1;
            name.bytes[name.start] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                break;
            }
        }
        let end = name.start;
        name.start -= RESERVED_PREFIX.len();
        name.bytes[name.start..end].copy_from_slice(RESERVED_PREFIX.as_bytes());
        name
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// The number of the first such name in a message of the server's.
    pub fn find(message: &[u8]) -> Option<u64> {
        let at = memchr::memmem::find(message, RESERVED_PREFIX.as_bytes())? + RESERVED_PREFIX.len();
        let digits = message[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        std::str::from_utf8(&message[at..at + digits]).ok()?.parse().ok()
    }
}

// The longest number has 20 digits.
const _: () = assert!(RESERVED_PREFIX.len() <= 32 - 20);

/// What the meaning of a text depends on besides the text.
pub fn scope(settings: &Settings) -> u64 {
    if settings.values().is_empty() {
        return 0;
    }
    let mut hasher = foldhash::fast::FixedState::with_seed(1).build_hasher();
    let mut any = false;
    for name in ["search_path", "role"] {
        if let Some(value) = settings.value(name) {
            hasher.write(name.as_bytes());
            hasher.write(value.as_bytes());
            hasher.write_u8(0);
            any = true;
        }
    }
    if any { hasher.finish() } else { 0 }
}

/// A worker's statements by content, so that equal ones are one.
#[derive(Debug, Default)]
pub struct Interned {
    table: HashTable<Rc<Statement>>,
    hasher: foldhash::fast::RandomState,
    bytes: usize,
}

/// Statements kept, and bytes of them, at most; then those that no session holds go, and what still does not fit is not
/// shared.
const INTERNED_MAX: usize = 20_000;
const INTERNED_BYTES_MAX: usize = 64 << 20;

impl Interned {
    /// The statement of this content. `analysis` is called when it is new.
    pub fn intern(
        &mut self,
        text: &[u8],
        types: &[u8],
        scope: u64,
        analysis: impl FnOnce() -> (Arc<Analysis>, bool),
    ) -> Rc<Statement> {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(text);
        hasher.write_u64(scope);
        hasher.write(types);
        let hash = hasher.finish();
        let same = |known: &Rc<Statement>| {
            known.hash == hash && *known.text == *text && *known.types == *types && known.scope == scope
        };
        let shapes = shapes();
        let new = |analysis, attention| {
            Rc::new(Statement {
                id: Cell::new(next_id()),
                text: text.into(),
                types: types.into(),
                analysis,
                attention,
                hash,
                scope,
                shapes,
            })
        };
        if let Some(known) = self.table.find_mut(hash, same) {
            if known.shapes != shapes {
                *known = new(known.analysis.clone(), known.attention);
            }
            return known.clone();
        }
        let (analysis, attention) = analysis();
        let statement = new(analysis, attention);
        if self.table.len() >= INTERNED_MAX || self.bytes >= INTERNED_BYTES_MAX {
            self.table.retain(|known| Rc::strong_count(known) > 1);
            self.bytes = self.table.iter().map(|known| known.text.len()).sum();
        }
        if self.table.len() < INTERNED_MAX && self.bytes < INTERNED_BYTES_MAX {
            self.bytes += text.len();
            self.table.insert_unique(hash, statement.clone(), |known| known.hash);
        }
        statement
    }
}

/// A session's named statements, by the client's names.
#[derive(Debug, Default)]
pub struct Named {
    by_name: super::ByName,
}

/// Names that one session may have. PostgreSQL has no limit; memory has.
pub const NAMED_MAX: usize = 65_536;

impl Named {
    pub fn find(&self, name: &[u8]) -> Option<&Rc<Statement>> {
        self.by_name.as_ref()?.get(name)
    }

    pub fn len(&self) -> usize {
        self.by_name.as_ref().map_or(0, |names| names.len())
    }

    pub fn insert(&mut self, name: &[u8], statement: Rc<Statement>) {
        self.by_name.get_or_insert_default().insert(name.into(), statement);
    }

    pub fn remove(&mut self, name: &[u8]) -> Option<Rc<Statement>> {
        let names = self.by_name.as_mut()?;
        let removed = names.remove(name);
        if names.is_empty() {
            self.by_name = None;
        }
        removed
    }

    pub fn clear(&mut self) {
        self.by_name = None;
    }
}

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

    /// There is no unnamed statement any more, on either side, and there will be none whatever is taken back.
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
    use super::*;

    fn analysis() -> (Arc<Analysis>, bool) {
        (Arc::new(crate::sql::grammar::read(b"select 1")), false)
    }

    #[test]
    fn names_on_backends_are_the_prefix_and_the_number() {
        for id in [0, 9, 10, 4711, u64::MAX] {
            assert_eq!(ServerName::of(id).as_bytes(), format!("{RESERVED_PREFIX}{id}").as_bytes());
            let message = format!("prepared statement \"{RESERVED_PREFIX}{id}\" does not exist");
            assert_eq!(ServerName::find(message.as_bytes()), Some(id));
        }
        for message in
            ["", "prepared statement \"a\" does not exist", "__pgw_", "__pgw_x", "__pgw_99999999999999999999"]
        {
            assert_eq!(ServerName::find(message.as_bytes()), None);
        }
    }

    #[test]
    fn equal_statements_are_one_and_a_scope_tells_them_apart() {
        let mut interned = Interned::default();
        let one = interned.intern(b"select 1", b"", 0, analysis);
        assert!(Rc::ptr_eq(&one, &interned.intern(b"select 1", b"", 0, analysis)));
        assert!(!Rc::ptr_eq(&one, &interned.intern(b"select 1", b"", 7, analysis)));
        assert!(!Rc::ptr_eq(&one, &interned.intern(b"select 1", b"\0\0\0\x17", 0, analysis)));
        let before = one.id();
        one.renew();
        assert_ne!(before, one.id());
    }

    #[test]
    fn a_parse_message_is_built_to_its_length() {
        let (analysis, _) = analysis();
        let statement = Statement::private(b"select $1", b"\0\0\0\x17", analysis, false);
        let mut out = BytesMut::new();
        statement.put_parse(&mut out, ServerName::of(7).as_bytes());
        assert_eq!(&out[..], b"P\0\0\0\x1c__pgw_7\0select $1\0\0\x01\0\0\0\x17");
    }

    #[test]
    fn the_longest_server_name_fits() {
        assert_eq!(ServerName::of(u64::MAX).as_bytes(), b"__pgw_18446744073709551615");
    }

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
        let statement = |text: &[u8]| {
            let (analysis, attention) = analysis();
            Statement::private(text, b"", analysis, attention)
        };
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
