//! A text without its literals, white space and comments: texts of one shape differ in the values of literals only.
//!
//! Two texts of one shape are the same sequence of tokens to PostgreSQL's grammar, up to those values; where a literal's
//! value could make the grammar read on differently (`UESCAPE`, numbers in other bases) a text has no shape. Whether the
//! values matter to a reader of the analysis is not decided here.

use super::lexer::{self, Lexer, Token, TokenKind};

/// Writes the text's shape into `out`, which is cleared first. `false`: the text has none.
pub fn write(text: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    if write_plain(text, out) {
        return true;
    }
    out.clear();
    if std::str::from_utf8(text).is_err() || memchr::memchr(0, text).is_some() {
        return false;
    }
    let mut lexer = Lexer::new(text);
    // What is the same in text and shape since `from` is copied at once.
    let (mut from, mut at) = (0, 0);
    while let Some(&first) = text.get(at) {
        let next = text.get(at + 1).copied().unwrap_or(0);
        // Most tokens of most texts are told by their first bytes; this costs a few instructions for each.
        let class = lexer::class(first);
        if class & lexer::IDENT_START != 0 {
            let end = lexer::end_of(text, at + 1, lexer::IDENT);
            if end > at + 1 || !matches!(next, b'\'' | b'&') {
                at = end;
                continue;
            }
        } else if first == b' ' && at > 0 {
            // A comment would be part of it.
            if lexer::class(next) & lexer::SPACE == 0 && !matches!(next, b'-' | b'/') && at + 1 < text.len() {
                at += 1;
                continue;
            }
        } else if class & lexer::DIGIT != 0 {
            let end = lexer::end_of(text, at + 1, lexer::DIGIT);
            let behind = text.get(end).copied().unwrap_or(0);
            // Nine digits always fit 31 bits.
            if end - at <= 9 && behind != b'.' && lexer::class(behind) & lexer::IDENT == 0 {
                out.extend_from_slice(&text[from..at]);
                out.push(INTEGER);
                (from, at) = (end, end);
                continue;
            }
        } else if class & lexer::SINGLE != 0
            || class & lexer::OPERATOR != 0 && lexer::class(next) & lexer::OPERATOR == 0
        {
            at += 1;
            continue;
        }
        let token = lexer.token_at(at);
        match class_of(token, text) {
            Class::Verbatim => {}
            Class::None => return false,
            Class::Literal(mark) => {
                out.extend_from_slice(&text[from..at]);
                out.push(mark);
                from = token.end;
            }
            Class::Space => {
                let end = end_of_space(&mut lexer, text, token.end);
                out.extend_from_slice(&text[from..at]);
                if at > 0 && end < text.len() {
                    out.push(b' ');
                }
                (from, at) = (end, end);
                continue;
            }
        }
        at = token.end;
    }
    out.extend_from_slice(&text[from..]);
    true
}

/// Bytes that are looked at at once.
const LANES: usize = 16;

/// Most texts without quotes are nothing but words, short integers, single blanks and symbols, which is found out without
/// telling tokens apart. `false`: this one has something else, or may have.
fn write_plain(text: &[u8], out: &mut Vec<u8>) -> bool {
    let (Some(first), Some(last)) = (text.first(), text.last()) else { return false };
    // Each step looks at so many pairs of neighbours; the last one again at some of the step's before.
    let Some(last_step) = text.len().checked_sub(LANES + 1) else { return false };
    if first.is_ascii_digit() || *first == b' ' || *last == b' ' || !is_plain(*last) {
        return false;
    }
    let (mut from, mut at) = (0, 0);
    loop {
        let pairs = text[at..].first_chunk::<LANES>().zip(text[at + 1..].first_chunk::<LANES>());
        let Some((odd, mut integers)) = pairs.map(|(bytes, next)| look(bytes, next)) else { return false };
        if odd {
            return false;
        }
        while integers != 0 {
            let start = at + 1 + integers.trailing_zeros() as usize / 8;
            integers &= integers - 1;
            if start < from {
                continue;
            }
            let end = lexer::end_of(text, start, lexer::DIGIT);
            let behind = text.get(end).copied().unwrap_or(0);
            // Nine digits always fit 31 bits.
            if end - start > 9 || text[start - 1] == b'.' || behind == b'.' || lexer::class(behind) & lexer::IDENT != 0
            {
                return false;
            }
            out.extend_from_slice(&text[from..start]);
            out.push(INTEGER);
            from = end;
        }
        if at == last_step {
            out.extend_from_slice(&text[from..]);
            return true;
        }
        at = last_step.min(at + LANES);
    }
}

/// Letters, digits, `_`, blank, and `()*+,-./:;<=>`.
const fn is_plain(byte: u8) -> bool {
    (byte | 0x20).wrapping_sub(b'a') < 26 || byte.wrapping_sub(b'(') < 23 || byte == b' ' || byte == b'_'
}

/// Whether there is a byte that is not plain, a comment's beginning or more than one blank; and a bit in each byte of those
/// where `next` begins digits that are no part of a word.
#[inline]
fn look(bytes: &[u8; LANES], next: &[u8; LANES]) -> (bool, u128) {
    let (mut odd, mut integers) = ([0; LANES], [0; LANES]);
    for lane in 0..LANES {
        let (byte, next) = (bytes[lane], next[lane]);
        let word = (byte | 0x20).wrapping_sub(b'a') < 26 || byte.wrapping_sub(b'0') < 10 || byte == b'_';
        let pair = byte == b' ' && next == b' ' || byte == b'-' && next == b'-' || byte == b'/' && next == b'*';
        odd[lane] = u8::from(!is_plain(byte) || pair);
        integers[lane] = u8::from(next.wrapping_sub(b'0') < 10 && !word);
    }
    (u128::from_le_bytes(odd) != 0, u128::from_le_bytes(integers))
}

/// Where white space and comments end that go on at `at`, if they do.
fn end_of_space(lexer: &mut Lexer<'_>, text: &[u8], mut at: usize) -> usize {
    while at < text.len() {
        let token = lexer.token_at(at);
        if !matches!(token.kind, TokenKind::Space | TokenKind::Comment) {
            break;
        }
        at = token.end;
    }
    at
}

/// The literals of a text in order: what audit replaces, and where a value is found that a shape leaves out.
pub fn literals(text: &[u8]) -> impl Iterator<Item = Token> {
    Lexer::new(text).filter(|token| {
        matches!(
            token.kind,
            TokenKind::Integer
                | TokenKind::Number
                | TokenKind::String
                | TokenKind::EscapeString
                | TokenKind::DollarString
                | TokenKind::UnicodeString
                | TokenKind::BitString
                | TokenKind::HexString
        )
    })
}

/// What stands for an integer that the grammar reads as one.
const INTEGER: u8 = 1;

/// What a token is to a shape.
enum Class {
    Space,
    /// A literal: the grammar's token class, as a byte that no verbatim token has.
    Literal(u8),
    Verbatim,
    /// A token that leaves the text without a shape.
    None,
}

fn class_of(token: Token, text: &[u8]) -> Class {
    match token.kind {
        TokenKind::Space | TokenKind::Comment => Class::Space,
        TokenKind::Integer => Class::Literal(INTEGER),
        TokenKind::String | TokenKind::EscapeString | TokenKind::DollarString => Class::Literal(2),
        TokenKind::Number => {
            let bytes = token.of(text);
            let decimal = bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
            if decimal { Class::Literal(3) } else { Class::None }
        }
        TokenKind::BitString => Class::Literal(4),
        TokenKind::HexString => Class::Literal(5),
        TokenKind::QuotedIdent if token.of(text).iter().any(u8::is_ascii_control) => Class::None,
        TokenKind::Ident | TokenKind::QuotedIdent | TokenKind::Param | TokenKind::Symbol => Class::Verbatim,
        TokenKind::UnicodeIdent | TokenKind::UnicodeString | TokenKind::Invalid => Class::None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shape(text: &str) -> Option<String> {
        let mut out = Vec::new();
        let marks = |byte: &u8| if *byte < 6 { char::from(b'0' + byte) } else { char::from(*byte) };
        write(text.as_bytes(), &mut out).then(|| out.iter().map(marks).collect())
    }

    #[test]
    fn literals_spaces_and_comments_go() {
        let account = shape("SELECT abalance FROM pgbench_accounts WHERE aid = 12345;");
        assert_eq!(account.as_deref(), Some("SELECT abalance FROM pgbench_accounts WHERE aid = 1;"));
        assert_eq!(
            shape(" /* trace */SELECT  1\n-- x\n,'a''b' , 1.5e3,$$x$$,E'\\'',b'01',x'ff' ").as_deref(),
            Some("SELECT 1 ,2 , 3,2,2,4,5")
        );
        assert_eq!(shape("select 'a'\n'b'").as_deref(), Some("select 2"));
        assert_eq!(shape("select 'a' 'b'").as_deref(), Some("select 2 2"));
        assert_eq!(shape("a-/**/-1").as_deref(), Some("a- -1"));
        assert_eq!(shape("a.b, \"A b\", $1").as_deref(), Some("a.b, \"A b\", $1"));
    }

    #[test]
    fn what_differs_in_more_than_literals_has_another_shape() {
        for (one, other) in [
            ("select 1", "select 'a'"),
            ("select 1", "select 1.0"),
            ("select 1", "select 2147483648"),
            ("select b'1'", "select x'1'"),
            ("select a", "select \"a\""),
            ("select a", "select A"),
            ("select $1", "select $2"),
            ("select a - - 1", "select a --1"),
            ("select 1", "select 1;"),
            ("select 1 1", "select 11"),
        ] {
            assert_ne!(shape(one), shape(other), "{one} {other}");
        }
    }

    #[test]
    fn what_a_value_could_change_has_no_shape() {
        for text in [
            "select u&'d!0061' uescape '!'",
            "select U&\"a\"",
            "select 0x1F",
            "select 1_000",
            "select 'open",
            "select '\0'",
            "a\u{1}b",
            "\"a\nb\"",
        ] {
            assert_eq!(shape(text), None, "{text}");
        }
        let mut out = Vec::new();
        assert!(!write(b"select '\xff'", &mut out));
    }

    #[test]
    fn literals_are_found_in_order() {
        let text = b"select 1, 'a' -- 2\n, a1, $1, u&'x', \"3\", 4.5";
        let found: Vec<_> = literals(text).map(|token| std::str::from_utf8(token.of(text)).expect("ASCII")).collect();
        assert_eq!(found, ["1", "'a'", "u&'x'", "4.5"]);
    }

    /// As the module's documentation says it, token by token.
    fn by_tokens(text: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        if std::str::from_utf8(text).is_err() || text.contains(&0) {
            return None;
        }
        let mut spaced = false;
        for token in Lexer::new(text) {
            let class = class_of(token, text);
            if let Class::Space = class {
                spaced = true;
                continue;
            }
            if std::mem::take(&mut spaced) && !out.is_empty() {
                out.push(b' ');
            }
            match class {
                Class::None => return None,
                Class::Literal(mark) => out.push(mark),
                Class::Verbatim | Class::Space => out.extend_from_slice(token.of(text)),
            }
        }
        Some(out)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_shape_is_the_text_token_by_token(
            pieces in prop::collection::vec(prop::sample::select(&[
                " ", "  ", "\n", "\t", "--", "-- c\n", "/*", "*/", "/* c */", "-", "+", "/", "*", "=", "<", ">", "@", "&", "|",
                "'", "''", "'a'", "e'", "E'\\''", "b'1'", "x'f'", "n'a'", "u&'a'", "u&\"a\"", "\"", "\"a b\"", "\"\n\"",
                "$", "$1", "$$", "$a$", "a", "e", "b", "x", "n", "u", "ab", "_a", "é", "\u{1}", "\0", "1", "0", "12", "123456789",
                "1234567890", "2147483648", "1.", ".5", "1e", "1e5", "0x1", "0b", "1_0", "_", ".", "..", ":", "::", ":=", ",", "(",
                ")", "[", "]", ";", "\\", "{", "#", "?", "%", "`", "~", "!", "^",
            ][..]), 0..12),
        ) {
            let text: String = pieces.concat();
            let mut out = Vec::new();
            let shape = write(text.as_bytes(), &mut out).then_some(out);
            prop_assert_eq!(shape, by_tokens(text.as_bytes()), "{:?}", text);
        }

        /// Mostly what is found without telling tokens apart, in every place of a step.
        #[test]
        fn a_plain_text_s_shape_is_the_text_token_by_token(
            pieces in prop::collection::vec(prop::sample::select(&[
                "select", "a1", "_b", "A", "e5", "x", "0", "7", "12", "123456789", "1234567890", "2147483648", " ", " ", " ", " ", ",",
                "(", ")", "*", "+", "-", ".", "/", ":", "::", ";", "<", "=", ">", "=-", " - ", " = ", "1.5",
            ][..]), 8..40),
            odd in prop::sample::select(&["", "", "", "", " ", "-", "*", "/", "'a'", "$1", "%", "é", "\n", "\"b\"", "@", "[1]", "\0"][..]),
            place in 0..60_usize,
        ) {
            let mut text: String = pieces.concat();
            let place = (0..=place.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.insert_str(place, odd);
            let mut out = Vec::new();
            let shape = write(text.as_bytes(), &mut out).then_some(out);
            prop_assert_eq!(shape, by_tokens(text.as_bytes()), "{:?}", text);
        }
    }
}
