//! pg_query's fingerprint of a statement: the same for all texts that differ in literals only.
//!
//! Making one is a second parse, and only records ask for it, once for all texts of one shape.

use super::grammar::{self, bounded};
use super::lexer::{Lexer, TokenKind};
use super::{Analysis, Spans, Statement, StatementKind};

/// The fingerprints of the text's first `max` statements. 64 bits each; 0: there is none.
///
/// pg_query leaves constants out, but takes in what utility statements keep as plain strings (a password, a connection's
/// options), and a hash of that would let it be found by trying: literals are replaced before.
pub fn fingerprints(text: &[u8], analysis: &Analysis, max: usize) -> Vec<u64> {
    let of = |statement: &Statement| match statement.kind {
        StatementKind::Unknown => 0,
        _ => text.get(statement.span.clone()).map_or(0, fingerprint),
    };
    match (analysis.spans, analysis.statements.as_slice()) {
        (Spans::Exact, statements) => statements.iter().take(max).map(of).collect(),
        (Spans::Shape, [_]) => vec![fingerprint(text)],
        (Spans::Shape, _) => grammar::read(text).statements.iter().take(max).map(of).collect(),
    }
}

fn fingerprint(statement: &[u8]) -> u64 {
    let Some(statement) = std::str::from_utf8(statement).ok().filter(|statement| statement.len() <= TEXT_MAX) else {
        return 0;
    };
    let value = |text: &str| Ok(pg_query::fingerprint(text, 0, 0).map_or(0, |fingerprint| fingerprint.value));
    bounded(without_literals(statement).as_bytes(), value).unwrap_or(0)
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
