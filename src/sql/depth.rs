//! How deep a text's tree may become, from its tokens alone and before anything is built.
//!
//! The bound never understates: it decides how much stack a parse gets. It overstates freely, and that costs nothing but a
//! larger stack. The grammar's lists (whatever commas separate) are flat; everything else may nest once a token, to the
//! left (`1+1+1`), to the right (`- - - 1`) or within (`CASE WHEN CASE WHEN`). Members of a UNION nest, whatever commas are
//! in them.

use super::lexer::{Lexer, TokenKind};

/// What a text would ask of the parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Survey {
    /// Levels of nesting, at most.
    pub depth: usize,
    /// Bytes that the scanner would read more than once.
    pub rescans: usize,
}

/// One level of parentheses or brackets.
#[derive(Default, Clone, Copy)]
struct Level {
    /// Tokens since the last comma.
    tokens: usize,
    /// The deepest parenthesis since the last comma.
    inside: usize,
    /// The deepest list member so far.
    deepest: usize,
    /// UNION, INTERSECT and EXCEPT so far.
    unions: usize,
}

impl Level {
    fn end_member(&mut self) {
        self.deepest = self.deepest.max(self.tokens + self.inside);
        self.tokens = 0;
        self.inside = 0;
    }

    fn depth(mut self) -> usize {
        self.end_member();
        self.deepest + self.unions
    }
}

/// Reads the whole text once, unless the scanner would need more than `rescans_max`.
pub(super) fn survey(text: &[u8], rescans_max: usize) -> Survey {
    let mut levels: Vec<Level> = Vec::new();
    let mut level = Level::default();
    let mut depth = 0;
    let mut lexer = Lexer::new(text);
    while let Some(token) = lexer.next() {
        if lexer.rescans() > rescans_max {
            break;
        }
        match token.kind {
            TokenKind::Space | TokenKind::Comment => continue,
            TokenKind::Ident => {
                let word = token.of(text);
                let union = SET_OPERATIONS.iter().any(|operation| word.eq_ignore_ascii_case(operation));
                level.unions += usize::from(union);
                level.tokens += 1;
            }
            TokenKind::Symbol => match token.of(text) {
                b"(" | b"[" => {
                    level.tokens += 1;
                    levels.push(std::mem::take(&mut level));
                }
                b")" | b"]" => {
                    if let Some(outer) = levels.pop() {
                        let inside = level.depth() + 1;
                        level = outer;
                        level.inside = level.inside.max(inside);
                    }
                }
                b"," => level.end_member(),
                b";" if levels.is_empty() => depth = depth.max(std::mem::take(&mut level).depth()),
                _ => level.tokens += 1,
            },
            TokenKind::QuotedIdent
            | TokenKind::UnicodeIdent
            | TokenKind::Param
            | TokenKind::Integer
            | TokenKind::Number
            | TokenKind::String
            | TokenKind::EscapeString
            | TokenKind::DollarString
            | TokenKind::UnicodeString
            | TokenKind::BitString
            | TokenKind::HexString
            | TokenKind::Invalid => level.tokens += 1,
        }
    }
    // What is still open counts too: the text may be wrong, and the parser will say so, but it goes as deep as this first.
    while let Some(outer) = levels.pop() {
        let inside = level.depth() + 1;
        level = outer;
        level.inside = level.inside.max(inside);
    }
    Survey { depth: depth.max(level.depth()), rescans: lexer.rescans() }
}

const SET_OPERATIONS: [&[u8]; 3] = [b"union", b"intersect", b"except"];
