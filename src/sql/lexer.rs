//! PostgreSQL's lexical rules, exactly: where each token, literal and comment begins and ends.
//!
//! It assumes `standard_conforming_strings = on` and an encoding whose bytes above 127 are never ASCII (UTF-8). It decides
//! nothing about grammar; it allocates nothing; it never fails: what PostgreSQL's scanner rejects is one `Invalid` token, the
//! last. Escapes inside `E''` and `U&''` are not checked, so a token here may still be an error there, never the reverse.
//! Rules: <https://www.postgresql.org/docs/18/sql-syntax-lexical.html>; the tests compare with the scanner itself.

use memchr::{memchr, memchr2};

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// A run of white space.
    Space,
    /// `-- …` to the end of the line, or `/* … */`, nested.
    Comment,
    /// An identifier or keyword without quotes.
    Ident,
    /// `"…"`.
    QuotedIdent,
    /// `U&"…"`.
    UnicodeIdent,
    /// `$1`.
    Param,
    /// Decimal digits that fit 31 bits: the grammar's ICONST.
    Integer,
    /// Any other number: the grammar's FCONST, or an ICONST in another base or with underscores.
    Number,
    /// `'…'`, its continuations on following lines included.
    String,
    /// `E'…'`.
    EscapeString,
    /// `$tag$…$tag$`.
    DollarString,
    /// `U&'…'`.
    UnicodeString,
    /// `B'…'`.
    BitString,
    /// `X'…'`.
    HexString,
    /// An operator, or one of `, ( ) [ ] . ; : :: .. :=`.
    Symbol,
    /// What the scanner would reject, or a byte that no grammar rule takes. Always the last token.
    Invalid,
}

/// A token and its byte range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    pub kind: TokenKind,
    pub start: usize,
    pub end: usize,
}

impl Token {
    /// The token's bytes in the text it was read from.
    pub fn of(self, text: &[u8]) -> &[u8] {
        &text[self.start..self.end]
    }
}

/// An iterator over the tokens of a text, white space and comments included: their ranges cover the text without gaps.
#[derive(Debug, Clone)]
pub struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    /// End of the run of operator characters that was measured last.
    run_end: usize,
    /// Steps that a scanner without memory would have spent on measuring such runs again.
    rescans: usize,
    stopped: bool,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, run_end: 0, rescans: 0, stopped: false }
    }

    /// How many bytes PostgreSQL's scanner has read more than once so far: it measures a run of operator characters anew at
    /// each comment or operator inside it, which is quadratic for `/*/*/*…`.
    pub fn rescans(&self) -> usize {
        self.rescans
    }

    /// The token that begins at `at`, where one does that was not read yet.
    pub(super) fn token_at(&mut self, at: usize) -> Token {
        self.at = at;
        let (kind, end) = self.kind();
        self.at = end;
        Token { kind, start: at, end }
    }

    fn byte(&self, at: usize) -> u8 {
        // NUL stands for the end: it belongs to no token, so a real one ends a token too.
        self.text.get(at).copied().unwrap_or(0)
    }

    fn kind(&mut self) -> (TokenKind, usize) {
        let at = self.at;
        let first = self.byte(at);
        let next = self.byte(at + 1);
        match first {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => (TokenKind::Space, end_of(self.text, at + 1, SPACE)),
            b'\'' => self.quoted(at + 1, TokenKind::String),
            b'e' | b'E' if next == b'\'' => self.quoted(at + 2, TokenKind::EscapeString),
            b'b' | b'B' if next == b'\'' => self.quoted(at + 2, TokenKind::BitString),
            b'x' | b'X' if next == b'\'' => self.quoted(at + 2, TokenKind::HexString),
            b'n' | b'N' if next == b'\'' => (TokenKind::Ident, at + 1),
            b'u' | b'U' if next == b'&' && self.byte(at + 2) == b'\'' => self.quoted(at + 3, TokenKind::UnicodeString),
            b'u' | b'U' if next == b'&' && self.byte(at + 2) == b'"' => self.ident(at + 3, TokenKind::UnicodeIdent),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => (TokenKind::Ident, end_of(self.text, at + 1, IDENT)),
            b'"' => self.ident(at + 1, TokenKind::QuotedIdent),
            b'0'..=b'9' => self.number(),
            b'.' if next.is_ascii_digit() => self.number(),
            b'.' if next == b'.' => (TokenKind::Symbol, at + 2),
            b':' if next == b':' || next == b'=' => (TokenKind::Symbol, at + 2),
            b',' | b'(' | b')' | b'[' | b']' | b'.' | b';' | b':' => (TokenKind::Symbol, at + 1),
            b'$' => self.dollar(),
            b'-' if next == b'-' => (TokenKind::Comment, self.run(at + 2, |byte| byte != b'\n' && byte != b'\r')),
            b'/' if next == b'*' => self.comment(),
            first if is_operator(first) => (TokenKind::Symbol, self.operator()),
            _ => (TokenKind::Invalid, self.text.len()),
        }
    }

    fn run(&self, from: usize, wanted: impl Fn(u8) -> bool) -> usize {
        let rest = self.text.get(from..).unwrap_or_default();
        from + rest.iter().position(|&byte| !wanted(byte)).unwrap_or(rest.len())
    }

    /// A string whose opening quote ends before `from`.
    fn quoted(&self, from: usize, kind: TokenKind) -> (TokenKind, usize) {
        let mut at = from;
        let escapes = kind == TokenKind::EscapeString;
        let doubles = !matches!(kind, TokenKind::BitString | TokenKind::HexString);
        loop {
            let rest = self.text.get(at..).unwrap_or_default();
            let found = if escapes { memchr2(b'\'', b'\\', rest) } else { memchr(b'\'', rest) };
            let Some(found) = found else { return (TokenKind::Invalid, self.text.len()) };
            at += found;
            if self.byte(at) == b'\\' || doubles && self.byte(at + 1) == b'\'' {
                at += 2;
            } else if let Some(next) = self.continuation(at + 1) {
                at = next;
            } else {
                return (kind, at + 1);
            }
        }
    }

    /// Where a string that was closed before `from` goes on: behind the quote that follows on another line.
    fn continuation(&self, from: usize) -> Option<usize> {
        let mut at = from;
        let mut lines = 0;
        loop {
            match self.byte(at) {
                b' ' | b'\t' | 0x0b | 0x0c => at += 1,
                b'\n' | b'\r' => {
                    lines += 1;
                    at += 1;
                }
                b'-' if self.byte(at + 1) == b'-' => {
                    at = self.run(at + 2, |byte| byte != b'\n' && byte != b'\r');
                    if at == self.text.len() {
                        return None;
                    }
                }
                b'\'' if lines > 0 => return Some(at + 1),
                _ => return None,
            }
        }
    }

    /// An identifier whose opening quote ends before `from`.
    fn ident(&self, from: usize, kind: TokenKind) -> (TokenKind, usize) {
        let mut at = from;
        loop {
            match self.text.get(at) {
                None => return (TokenKind::Invalid, self.text.len()),
                Some(b'"') if self.byte(at + 1) == b'"' => at += 2,
                Some(b'"') if at == from => return (TokenKind::Invalid, self.text.len()),
                Some(b'"') => return (kind, at + 1),
                Some(_) => at += 1,
            }
        }
    }

    fn number(&self) -> (TokenKind, usize) {
        let at = self.at;
        if self.byte(at) == b'0' {
            let digit: Option<fn(u8) -> bool> = match self.byte(at + 1) {
                b'x' | b'X' => Some(|byte| byte.is_ascii_hexdigit()),
                b'o' | b'O' => Some(|byte| matches!(byte, b'0'..=b'7')),
                b'b' | b'B' => Some(|byte| matches!(byte, b'0' | b'1')),
                _ => None,
            };
            if let Some(digit) = digit {
                let start = if self.byte(at + 2) == b'_' { at + 3 } else { at + 2 };
                return self.number_end(TokenKind::Number, self.digits(start, digit), start);
            }
        }
        let whole = self.digits(at, |byte| byte.is_ascii_digit());
        let mut end = whole;
        if self.byte(end) == b'.' && self.byte(end + 1) != b'.' {
            end = self.digits(end + 1, |byte| byte.is_ascii_digit());
        } else if self.byte(end) == b'.' {
            return (integer_kind(&self.text[at..whole]), whole);
        }
        if matches!(self.byte(end), b'e' | b'E') {
            let sign = usize::from(matches!(self.byte(end + 1), b'+' | b'-'));
            let start = end + 1 + sign;
            return self.number_end(TokenKind::Number, self.digits(start, |byte| byte.is_ascii_digit()), start);
        }
        let kind = if end == whole { integer_kind(&self.text[at..whole]) } else { TokenKind::Number };
        self.number_end(kind, end, at)
    }

    /// Digits with single underscores between them.
    fn digits(&self, from: usize, digit: impl Fn(u8) -> bool) -> usize {
        let mut at = from;
        while digit(self.byte(at)) || at > from && self.byte(at) == b'_' && digit(self.byte(at + 1)) {
            at += 1;
        }
        at
    }

    /// A number needs digits since `start`, and no letter behind it.
    fn number_end(&self, kind: TokenKind, end: usize, start: usize) -> (TokenKind, usize) {
        if end == start || is_ident_start(self.byte(end)) { (TokenKind::Invalid, self.text.len()) } else { (kind, end) }
    }

    fn dollar(&self) -> (TokenKind, usize) {
        let at = self.at;
        if self.byte(at + 1).is_ascii_digit() {
            return (TokenKind::Param, self.run(at + 1, |byte| byte.is_ascii_digit()));
        }
        let tag = if is_ident_start(self.byte(at + 1)) {
            self.run(at + 1, |byte| is_ident_start(byte) || byte.is_ascii_digit())
        } else {
            at + 1
        };
        if self.byte(tag) != b'$' {
            return (TokenKind::Invalid, self.text.len());
        }
        let delimiter = &self.text[at..=tag];
        let mut from = tag + 1;
        while let Some(found) = self.text[from..].iter().position(|&byte| byte == b'$') {
            from += found;
            if self.text[from..].starts_with(delimiter) {
                return (TokenKind::DollarString, from + delimiter.len());
            }
            from += 1;
        }
        (TokenKind::Invalid, self.text.len())
    }

    fn comment(&mut self) -> (TokenKind, usize) {
        let mut at = self.at + 2;
        let mut depth = 1usize;
        self.rescan(self.at);
        while depth > 0 {
            match (self.text.get(at), self.byte(at + 1)) {
                (None, _) => return (TokenKind::Invalid, self.text.len()),
                (Some(b'/'), b'*') => {
                    self.rescan(at);
                    depth += 1;
                    at += 2;
                }
                (Some(b'*'), b'/') => {
                    depth -= 1;
                    at += 2;
                }
                (Some(_), _) => at += 1,
            }
        }
        (TokenKind::Comment, at)
    }

    /// The end of the operator at `self.at`: up to a comment, and without a trailing sign unless a character that only
    /// operators outside the SQL standard have is in it.
    fn operator(&mut self) -> usize {
        let start = self.at;
        self.rescan(start);
        let run = &self.text[start..self.run_end];
        let comment = run.windows(2).position(|pair| pair == b"--" || pair == b"/*");
        let run = &run[..comment.unwrap_or(run.len())];
        let mut length = run.len();
        if length > 1 && matches!(run[length - 1], b'+' | b'-') {
            let special =
                |byte: &u8| matches!(byte, b'~' | b'!' | b'@' | b'#' | b'%' | b'^' | b'&' | b'|' | b'`' | b'?');
            if !run[..length - 1].iter().any(special) {
                while length > 1 && matches!(run[length - 1], b'+' | b'-') {
                    length -= 1;
                }
            }
        }
        start + length
    }

    /// Measures the run of operator characters at `at`, and counts what that costs the scanner.
    fn rescan(&mut self, at: usize) {
        if at >= self.run_end {
            self.run_end = end_of(self.text, at, OPERATOR);
        }
        self.rescans += self.run_end - at;
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    #[inline]
    fn next(&mut self) -> Option<Token> {
        if self.stopped || self.at >= self.text.len() {
            return None;
        }
        let start = self.at;
        let (kind, end) = self.kind();
        self.at = end;
        self.stopped = kind == TokenKind::Invalid;
        Some(Token { kind, start, end })
    }
}

fn integer_kind(digits: &[u8]) -> TokenKind {
    let value = digits.iter().try_fold(0u32, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u32::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit).filter(|value| *value <= i32::MAX as u32)
    });
    if value.is_some() { TokenKind::Integer } else { TokenKind::Number }
}

fn is_ident_start(byte: u8) -> bool {
    class(byte) & IDENT_START != 0
}

fn is_operator(byte: u8) -> bool {
    class(byte) & OPERATOR != 0
}

/// Where the run of bytes of a class ends that goes on at `from`.
#[inline]
pub(super) fn end_of(text: &[u8], from: usize, wanted: u8) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    from + rest.iter().take_while(|&&byte| class(byte) & wanted != 0).count()
}

/// What a byte may be part of.
#[inline]
pub(super) fn class(byte: u8) -> u8 {
    CLASS[usize::from(byte)]
}

pub(super) const IDENT: u8 = 1;
pub(super) const OPERATOR: u8 = 2;
pub(super) const IDENT_START: u8 = 4;
pub(super) const SPACE: u8 = 8;
pub(super) const DIGIT: u8 = 16;
/// A token whatever follows.
pub(super) const SINGLE: u8 = 32;

const CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        if (byte as u8).is_ascii_alphanumeric() || byte >= 0x80 || byte as u8 == b'_' || byte as u8 == b'$' {
            class[byte] |= IDENT;
        }
        if (byte as u8).is_ascii_alphabetic() || byte >= 0x80 || byte as u8 == b'_' {
            class[byte] |= IDENT_START;
        }
        if (byte as u8).is_ascii_digit() {
            class[byte] |= DIGIT;
        }
        if matches!(byte as u8, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c) {
            class[byte] |= SPACE;
        }
        if matches!(byte as u8, b',' | b'(' | b')' | b'[' | b']' | b';') {
            class[byte] |= SINGLE;
        }
        byte += 1;
    }
    let operators = b"~!@#^&|`?+-*/%<>=";
    let mut at = 0;
    while at < operators.len() {
        class[operators[at] as usize] |= OPERATOR;
        at += 1;
    }
    class
};

#[cfg(test)]
#[path = "lexer_tests.rs"]
mod tests;
