//! What a record of the audit stream says, and how it is written: one JSON object a line.
//!
//! Pure: times are given. A record begins with `{"seq":N,`, which the stream writes, and ends with `}`, which it writes too;
//! everything between is appended here. Field by field: docs/audit.md, held by `tests`.
//!
//! Invariants: what is appended is valid UTF-8 without a byte below 0x20, whatever clients and servers sent, so a line is a
//! record and a record a line; every text that a client or server can choose passes [`scrub`]; no literal, no parameter and no
//! row of a statement appears but as configuration says. A statement costs copies and a few integers: what does not change
//! within a session ([`Who`], [`Head`]) or for a text ([`Words`]) is encoded once, as a [`Phrase`].

mod event;
mod json;
mod keywords;
mod parameters;
mod phrase;
mod raw;
mod scrub;
mod statement;
mod time;
mod who;
mod words;

#[cfg(test)]
pub(crate) mod documented;
#[cfg(test)]
mod tests;

pub use event::{Change, LoginFailed, cancel, console, disconnect, login, login_failed, reload};
pub(crate) use json::put_number;
pub use json::quoted;
pub use parameters::{HashKey, Parameters, Show, TextMark};
pub use phrase::{Phrase, Phrases};
pub use raw::{Kept, LeftOut, RawText, Sealed};
pub use scrub::scrub;
pub use statement::{
    Answer, Counts, Ended, Forwarded, Intent, Message, Outcome, Refused, Statement, Verdict, outcome, refused,
    statement,
};
pub use time::{At, Second};
pub use who::{Head, Person, Who};
pub use words::Words;

/// Version of the records' schema: the field `v`.
pub const VERSION: u32 = 1;
