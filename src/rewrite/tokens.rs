//! A text's tokens without white space and comments, and the clauses of a statement between them.
//!
//! Clauses are found by reserved words outside parentheses. This only proposes places: whatever is put there is read again by
//! PostgreSQL's grammar and compared (see the module's own text), so a wrong place is a refusal and never a wrong statement.

use crate::sql::lexer::{Lexer, Token, TokenKind};

pub(super) struct Tokens<'a> {
    text: &'a [u8],
    list: Vec<Token>,
}

/// Where a statement's WHERE is, or could be; positions are bytes of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clauses {
    /// End of the SELECT list: of the last token before the first clause.
    pub list_end: usize,
    /// End of the word WHERE.
    pub where_start: Option<usize>,
    /// End of the last token of WHERE; without one, of the last token before the place where it would stand.
    pub where_end: usize,
}

/// Indices of the words that part a MERGE.
#[derive(Debug, Default)]
pub(super) struct MergeWords {
    pub ons: Vec<usize>,
    pub whens: Vec<usize>,
    pub thens: Vec<usize>,
}

/// Indices of tokens: `ONLY (name)`, `ONLY name`, `name *` or `name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Factor {
    pub first: usize,
    pub name: usize,
    pub behind_name: usize,
    pub behind: usize,
}

impl<'a> Tokens<'a> {
    pub fn of(text: &'a str) -> Self {
        let space = |token: &Token| matches!(token.kind, TokenKind::Space | TokenKind::Comment);
        let list = Lexer::new(text.as_bytes()).filter(|token| !space(token)).collect();
        Self { text: text.as_bytes(), list }
    }

    /// The index of the token that starts at a byte.
    pub fn at(&self, start: usize) -> Option<usize> {
        self.list.binary_search_by_key(&start, |token| token.start).ok()
    }

    pub fn get(&self, index: usize) -> Option<Token> {
        self.list.get(index).copied()
    }

    /// The tokens inside a byte range.
    pub fn within(&self, range: &std::ops::Range<usize>) -> std::ops::Range<usize> {
        let start = self.list.partition_point(|token| token.start < range.start);
        let end = self.list.partition_point(|token| token.start < range.end);
        start..end.max(start)
    }

    pub fn bytes(&self, index: usize) -> &'a [u8] {
        self.list.get(index).map(|token| token.of(self.text)).unwrap_or_default()
    }

    /// Whether the token is this word, unquoted, in any letter case.
    pub fn is_word(&self, index: usize, word: &str) -> bool {
        let ident = self.list.get(index).is_some_and(|token| token.kind == TokenKind::Ident);
        ident && self.bytes(index).eq_ignore_ascii_case(word.as_bytes())
    }

    pub fn is_one_of(&self, index: usize, words: &[&str]) -> bool {
        words.iter().any(|word| self.is_word(index, word))
    }

    pub fn is_symbol(&self, index: usize, symbol: &str) -> bool {
        let is = self.list.get(index).is_some_and(|token| token.kind == TokenKind::Symbol);
        is && self.bytes(index) == symbol.as_bytes()
    }

    pub fn is_name(&self, index: usize) -> bool {
        use TokenKind::{Ident, QuotedIdent, UnicodeIdent};
        self.list.get(index).is_some_and(|token| matches!(token.kind, Ident | QuotedIdent | UnicodeIdent))
    }

    pub fn end_of(&self, index: usize) -> Option<usize> {
        self.list.get(index).map(|token| token.end)
    }

    /// The index behind a name such as `a."b".c` that begins at `index`.
    pub fn behind_name(&self, index: usize) -> Option<usize> {
        let mut at = index;
        loop {
            if !self.is_name(at) {
                return None;
            }
            at = self.behind_escape(at + 1);
            if !self.is_symbol(at, ".") {
                return Some(at);
            }
            at += 1;
        }
    }

    /// The index behind `UESCAPE 'x'`, if that is what stands there.
    pub fn behind_escape(&self, index: usize) -> usize {
        let escape = self.is_word(index, "uescape")
            && self.list.get(index + 1).is_some_and(|token| token.kind == TokenKind::String);
        if escape { index + 2 } else { index }
    }

    /// The index of the parenthesis that closes the one at `index`.
    pub fn closing(&self, index: usize) -> Option<usize> {
        let mut depth = 0usize;
        for at in index..self.list.len() {
            if self.is_symbol(at, "(") {
                depth += 1;
            } else if self.is_symbol(at, ")") {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at);
                }
            }
        }
        None
    }

    /// The tokens from `index` on that stand in no parentheses of their own, up to the end of the statement or of the
    /// parentheses around it. An opening parenthesis is among them; what is in it is not.
    pub fn level(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        let mut at = index;
        std::iter::from_fn(move || {
            if at >= self.list.len() || self.is_symbol(at, ")") || self.is_symbol(at, ";") {
                return None;
            }
            let here = at;
            at = if self.is_symbol(at, "(") { self.closing(at)? } else { at };
            at += 1;
            Some(here)
        })
    }

    /// A table in FROM, or the target of a statement, whose name is at `name`: with ONLY before it, or `*` behind it.
    pub fn factor(&self, name: usize) -> Option<Factor> {
        let behind_name = self.behind_name(name)?;
        let before = |steps: usize, word: &str| name >= steps && self.is_word(name - steps, word);
        if name >= 2 && self.is_symbol(name - 1, "(") && before(2, "only") && self.is_symbol(behind_name, ")") {
            return Some(Factor { first: name - 2, name, behind_name, behind: behind_name + 1 });
        }
        let first = if before(1, "only") { name - 1 } else { name };
        let behind = if self.is_symbol(behind_name, "*") { behind_name + 1 } else { behind_name };
        Some(Factor { first, name, behind_name, behind })
    }

    /// The index behind `[AS] alias [(column, ...)]`, if that is what stands at `index`.
    pub fn behind_alias(&self, index: usize) -> Option<usize> {
        let name = if self.is_word(index, "as") { index + 1 } else { index };
        if !self.is_name(name) {
            return None;
        }
        let behind = self.behind_escape(name + 1);
        if self.is_symbol(behind, "(") { self.closing(behind).map(|closing| closing + 1) } else { Some(behind) }
    }

    /// The end of the last token before `index`.
    pub fn end_before(&self, index: usize) -> Option<usize> {
        index.checked_sub(1).and_then(|before| self.end_of(before))
    }

    /// The words of a MERGE whose table is at `table`, CASE left out.
    pub fn merge_words(&self, table: usize) -> MergeWords {
        let mut words = MergeWords::default();
        let mut cases = 0usize;
        for at in self.level(table) {
            let before = at.wrapping_sub(1);
            if self.is_word(before, "as") || self.is_symbol(before, ".") {
                continue;
            }
            if self.is_word(at, "case") {
                cases += 1;
            } else if self.is_word(at, "end") {
                cases = cases.saturating_sub(1);
            } else if cases == 0 && self.is_word(at, "on") {
                words.ons.push(at);
            } else if cases == 0 && self.is_word(at, "when") {
                words.whens.push(at);
            } else if cases == 0 && self.is_word(at, "then") {
                words.thens.push(at);
            }
        }
        words
    }

    /// The clauses of the SELECT, UPDATE or DELETE whose first word is at `keyword`.
    pub fn clauses(&self, keyword: usize) -> Option<Clauses> {
        let mut list_end = None;
        let mut where_start = None;
        let mut last = keyword;
        for at in self.level(keyword + 1) {
            if self.is_clause(at) {
                list_end = list_end.or(self.end_before(at));
                if self.is_word(at, "where") {
                    where_start = where_start.or(self.end_of(at));
                } else if !self.is_one_of(at, &["from", "into"]) {
                    return Some(Clauses { list_end: list_end?, where_start, where_end: self.end_before(at)? });
                }
            }
            last = at;
        }
        let last = if self.is_symbol(last, "(") { self.closing(last)? } else { last };
        let end = self.end_of(last)?;
        Some(Clauses { list_end: list_end.unwrap_or(end), where_start, where_end: end })
    }

    /// Whether a clause begins at a token: a reserved word that is no label, and no part of an expression.
    pub fn is_clause(&self, at: usize) -> bool {
        let before = at.wrapping_sub(1);
        if self.is_word(before, "as") || self.is_symbol(before, ".") {
            return false;
        }
        if self.is_word(at, "from") {
            return !self.is_word(before, "distinct");
        }
        if self.is_word(at, "group") {
            return !self.is_word(before, "within");
        }
        if self.is_word(at, "with") {
            return self.is_word(at + 1, "data") || self.is_word(at + 1, "no");
        }
        if self.is_word(at, "on") {
            let behind = self.is_word(at + 2, "do") || self.is_word(at + 2, "on") || self.is_symbol(at + 2, "(");
            return self.is_word(at + 1, "conflict") && behind;
        }
        self.is_one_of(at, &CLAUSES)
    }
}

/// All of them reserved in PostgreSQL.
const CLAUSES: [&str; 13] = [
    "into",
    "where",
    "having",
    "window",
    "union",
    "intersect",
    "except",
    "order",
    "limit",
    "offset",
    "fetch",
    "for",
    "returning",
];
