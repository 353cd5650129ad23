//! PostgreSQL's grammar (libpg_query), for those who read many texts only once.
//!
//! [`parse`] gives what `pg_query::parse` gives, for half the work: the tree's bytes are written while the tree is walked,
//! errors have their position, and no lists of tables and aliases are made that nobody asked for. The bytes are decoded by
//! `pg_query::protobuf::ParseResult::decode`. What is unsafe about it stays in here: calling C, and owning what it allocated.

use std::ffi::{CStr, c_char, c_int};
use std::ops::Deref;
use std::ptr::NonNull;

// For libpg_query, which the C code is linked with.
use pg_query as _;

/// A text's tree: the message `ParseResult` of `pg_query.proto`, encoded.
#[derive(Debug)]
pub struct Tree {
    data: NonNull<u8>,
    length: usize,
}

/// Why a text has no tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// PostgreSQL's message.
    pub message: String,
    /// Where in the text, in characters from 1.
    pub position: Option<u32>,
}

/// `PgwGrammarTree` of `tree.c`.
#[repr(C)]
struct Parsed {
    data: *mut u8,
    length: usize,
    message: *mut c_char,
    position: c_int,
}

unsafe extern "C" {
    fn pgwarden_grammar_parse(text: *const c_char) -> Parsed;
    fn free(data: *mut u8);
}

/// Reads a text of any number of statements, by the grammar alone: no catalog, no settings.
///
/// The text must be UTF-8. It needs a stack that grows with how deep the text nests, up to 2 MiB and some; what is deeper than
/// that or than 10,000 messages is an error that says so.
pub fn parse(text: &CStr) -> Result<Tree, Error> {
    // SAFETY: the text ends with NUL and lives through the call, and the C code keeps nothing of it.
    let parsed = unsafe { pgwarden_grammar_parse(text.as_ptr()) };
    if let Some(data) = NonNull::new(parsed.data) {
        return Ok(Tree { data, length: parsed.length });
    }
    // SAFETY: without data there is a message, which strdup allocated (or NULL, without memory), and which nobody else has.
    let message = unsafe {
        let message = match parsed.message.is_null() {
            true => "memory exhausted".to_owned(),
            false => CStr::from_ptr(parsed.message).to_string_lossy().into_owned(),
        };
        free(parsed.message.cast());
        message
    };
    Err(Error { message, position: u32::try_from(parsed.position).ok().filter(|position| *position > 0) })
}

impl Deref for Tree {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: malloc gave at least so many bytes, all of them written, and they are ours until they are dropped.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), self.length) }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // SAFETY: malloc gave it, and it is freed once.
        unsafe { free(self.data.as_ptr()) }
    }
}

// SAFETY: the bytes are plain memory that one value owns.
unsafe impl Send for Tree {}
