//! pg_query's fingerprint of a statement: the same for all texts that differ in literals only.
//!
//! Making one is a second parse, and only records ask for it: it is made when it is first asked for.

use std::sync::OnceLock;

use super::grammar::bounded;
use super::lexer::{Lexer, TokenKind};

/// See the module's documentation. 64 bits; 0: there is none.
#[derive(Debug, Clone, Default)]
pub struct Fingerprint {
    /// The statement without its literals, and with one blank for all white space: the same for all texts of one shape.
    text: Box<str>,
    value: OnceLock<u64>,
}

impl Fingerprint {
    /// pg_query leaves constants out, but takes in what utility statements keep as plain strings (a password, a connection's
    /// options), and a hash of that would let it be found by trying.
    pub(super) fn of(statement: &str) -> Self {
        let text = if statement.len() > TEXT_MAX { Box::default() } else { without_literals(statement).into() };
        Self { text, value: OnceLock::new() }
    }

    pub fn value(&self) -> u64 {
        *self.value.get_or_init(|| {
            let value = |text: &str| Ok(pg_query::fingerprint(text, 0, 0).map_or(0, |fingerprint| fingerprint.value));
            if self.text.is_empty() { 0 } else { bounded(self.text.as_bytes(), value).unwrap_or(0) }
        })
    }

    /// Bytes that it keeps.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }
}

impl PartialEq for Fingerprint {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// The text with another literal of its kind for each: the same one, so that nothing of the first is left. One that stands
/// where the grammar wants another value leaves a text that has no fingerprint.
fn without_literals(statement: &str) -> String {
    let mut out = String::with_capacity(statement.len());
    for token in Lexer::new(statement.as_bytes()) {
        out.push_str(match token.kind {
            TokenKind::Integer => "1",
            TokenKind::Number => "1.0",
            TokenKind::String | TokenKind::EscapeString | TokenKind::DollarString => "'!'",
            TokenKind::UnicodeString => "U&'x'",
            TokenKind::BitString => "b'1'",
            TokenKind::HexString => "x'1'",
            TokenKind::Space | TokenKind::Comment if out.is_empty() || out.ends_with(' ') => "",
            TokenKind::Space | TokenKind::Comment => " ",
            TokenKind::Ident
            | TokenKind::QuotedIdent
            | TokenKind::UnicodeIdent
            | TokenKind::Param
            | TokenKind::Symbol
            | TokenKind::Invalid => &statement[token.start..token.end],
        });
    }
    out.truncate(out.trim_end_matches(' ').len());
    out
}

/// Longer statements have no fingerprint: making one costs as much as parsing, and more where lists nest.
const TEXT_MAX: usize = 16 << 10;
