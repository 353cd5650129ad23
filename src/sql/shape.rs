//! A text without its literals, white space and comments: texts of one shape differ in the values of literals only.
//!
//! Two texts of one shape are the same sequence of tokens to PostgreSQL's grammar, up to those values; where a literal's
//! value could make the grammar read on differently (`UESCAPE`, numbers in other bases) a text has no shape. Whether the
//! values matter to a reader of the analysis is not decided here.

use super::lexer::{Lexer, Token, TokenKind};

/// Writes the text's shape into `out`, which is cleared first. `false`: the text has none.
pub fn write(text: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    if std::str::from_utf8(text).is_err() || text.contains(&0) {
        return false;
    }
    // What is the same in text and shape since `from` is copied at once; `space`: where white space and comments began.
    let (mut from, mut space) = (0, None);
    for token in Lexer::new(text) {
        let mark = match class(token, text) {
            Class::Space => {
                space.get_or_insert(token.start);
                continue;
            }
            Class::None => return false,
            Class::Literal(mark) => Some(mark),
            Class::Verbatim => None,
        };
        if let Some(start) = space.take()
            && (start == 0 || &text[start..token.start] != b" ")
        {
            out.extend_from_slice(&text[from..start]);
            if start > 0 {
                out.push(b' ');
            }
            from = token.start;
        }
        if let Some(mark) = mark {
            out.extend_from_slice(&text[from..token.start]);
            out.push(mark);
            from = token.end;
        }
    }
    out.extend_from_slice(&text[from..space.unwrap_or(text.len())]);
    true
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

/// What a token is to a shape.
enum Class {
    Space,
    /// A literal: the grammar's token class, as a byte that no verbatim token has.
    Literal(u8),
    Verbatim,
    /// A token that leaves the text without a shape.
    None,
}

fn class(token: Token, text: &[u8]) -> Class {
    match token.kind {
        TokenKind::Space | TokenKind::Comment => Class::Space,
        TokenKind::Integer => Class::Literal(1),
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
}
