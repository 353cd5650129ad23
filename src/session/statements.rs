//! Prepared statements: what a client calls them, and what backends call them.
//!
//! A statement is known on backends by a number that no other text has, so a backend that prepared it for one client
//! serves every other one whose text, parameter types and scope (`search_path`, role) are the same.

use std::cell::Cell;
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
}
