//! Where a prepared statement's name stands in the text: the tree has no position for it.
//!
//! The answer is checked against the name in the tree; when they differ nothing is returned, so that a rewrite of the
//! wrong bytes cannot happen.

use std::borrow::Cow;
use std::ops::Range;

use super::lexer::{Lexer, Token, TokenKind};

/// Where the name of a prepared statement is to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// `PREPARE name`, `EXECUTE name`.
    First,
    /// `DEALLOCATE name`, `DEALLOCATE PREPARE name`.
    Deallocate,
    /// `EXPLAIN [(…)] [ANALYZE] [VERBOSE] EXECUTE name`.
    Explain,
    /// `[EXPLAIN …] CREATE TABLE … AS EXECUTE name`.
    As,
}

/// The byte range of `name` in `text`, for the statement at `span`.
pub(super) fn find(text: &str, span: &Range<usize>, place: Place, name: &str) -> Option<Range<usize>> {
    let bytes = text[span.clone()].as_bytes();
    let mut tokens = Lexer::new(bytes).filter(|token| !matches!(token.kind, TokenKind::Space | TokenKind::Comment));
    let token = match place {
        Place::First => tokens.nth(1)?,
        Place::Deallocate => {
            let second = tokens.nth(1)?;
            match tokens.next() {
                Some(third) if is_word(second, bytes, "prepare") && is_name(third) => third,
                Some(_) | None => second,
            }
        }
        Place::Explain => {
            let mut outside = Outside { tokens: &mut tokens, bytes, depth: 0 };
            outside.find(|token| is_word(*token, bytes, "execute"))?;
            tokens.next()?
        }
        Place::As => {
            let mut outside = Outside { tokens: &mut tokens, bytes, depth: 0 };
            let mut before: [Option<Token>; 2] = [None, None];
            loop {
                let token = outside.next()?;
                let is = |token: Option<Token>, word: &str| token.is_some_and(|token| is_word(token, bytes, word));
                let after_dot = before[0].is_some_and(|token| token.of(bytes) == b".");
                if is_word(token, bytes, "execute") && is(before[1], "as") && !after_dot {
                    break;
                }
                before = [before[1], Some(token)];
            }
            tokens.next()?
        }
    };
    let mut end = token.end;
    match token.kind {
        TokenKind::UnicodeIdent => {
            // UESCAPE belongs to the name, and says how to read it: only the grammar knows the name then.
            let mut rest = tokens.clone();
            if rest.next().is_some_and(|token| is_word(token, bytes, "uescape")) {
                end = rest.next().filter(|token| token.kind == TokenKind::String)?.end;
            }
        }
        TokenKind::Ident | TokenKind::QuotedIdent if identifier(token, bytes)? == name => {}
        _ => return None,
    }
    Some(span.start + token.start..span.start + end)
}

/// The tokens that stand outside all parentheses.
struct Outside<'t, 'b, I> {
    tokens: &'t mut I,
    bytes: &'b [u8],
    depth: usize,
}

impl<I: Iterator<Item = Token>> Iterator for Outside<'_, '_, I> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        loop {
            let token = self.tokens.next()?;
            match token.of(self.bytes) {
                b"(" => self.depth += 1,
                b")" => self.depth = self.depth.saturating_sub(1),
                _ if self.depth == 0 => return Some(token),
                _ => {}
            }
        }
    }
}

fn is_word(token: Token, bytes: &[u8], word: &str) -> bool {
    token.kind == TokenKind::Ident && token.of(bytes).eq_ignore_ascii_case(word.as_bytes())
}

fn is_name(token: Token) -> bool {
    matches!(token.kind, TokenKind::Ident | TokenKind::QuotedIdent | TokenKind::UnicodeIdent)
}

/// What an identifier stands for: folded or unquoted, and cut to 63 bytes.
fn identifier(token: Token, bytes: &[u8]) -> Option<Cow<'_, str>> {
    let raw = std::str::from_utf8(token.of(bytes)).ok()?;
    let mut name = match token.kind {
        TokenKind::Ident => raw.to_ascii_lowercase(),
        _ => raw.get(1..raw.len() - 1)?.replace("\"\"", "\""),
    };
    let mut length = name.len().min(NAME_LENGTH_MAX);
    while !name.is_char_boundary(length) {
        length -= 1;
    }
    name.truncate(length);
    Some(Cow::Owned(name))
}

/// NAMEDATALEN - 1.
const NAME_LENGTH_MAX: usize = 63;
