use pg_query::protobuf::{ScanToken, Token as Scanned};
use proptest::prelude::*;

use super::*;

/// Compares with PostgreSQL's own scanner: same tokens at the same places. Where it fails, no claim is made.
fn agrees(text: &str) -> Result<(), String> {
    // Not `scan_tokens`: pg_query 18.1 builds a slice from a null pointer there when a text has no token.
    let Ok(pg_query::protobuf::ScanResult { tokens: scanned, .. }) = pg_query::scan(text) else { return Ok(()) };
    let mut ours = Lexer::new(text.as_bytes()).filter(|token| token.kind != TokenKind::Space);
    for theirs in &scanned {
        let Some(token) = ours.next() else { return Err(format!("{text:?}: no token for {theirs:?}")) };
        if token.kind == TokenKind::Invalid {
            let byte = text.as_bytes()[theirs.start as usize];
            let alone =
                theirs.end == theirs.start + 1 && (byte == b'$' || class(byte) & IDENT == 0 && !is_operator(byte));
            let same = token.start == theirs.start as usize;
            return if alone && same { Ok(()) } else { Err(format!("{text:?}: invalid for {theirs:?}")) };
        }
        if (token.start, token.end) != (theirs.start as usize, theirs.end as usize) || !same_kind(token.kind, theirs) {
            return Err(format!("{text:?}: {token:?} for {theirs:?}"));
        }
    }
    match ours.next() {
        None => Ok(()),
        Some(token) => Err(format!("{text:?}: {token:?} for nothing")),
    }
}

fn same_kind(kind: TokenKind, theirs: &ScanToken) -> bool {
    let scanned = Scanned::try_from(theirs.token).expect("a token that pg_query knows");
    match kind {
        TokenKind::Space | TokenKind::Invalid => false,
        TokenKind::Comment => matches!(scanned, Scanned::SqlComment | Scanned::CComment),
        TokenKind::Ident => scanned == Scanned::Ident || theirs.keyword_kind != 0,
        TokenKind::QuotedIdent => scanned == Scanned::Ident,
        TokenKind::UnicodeIdent => matches!(scanned, Scanned::Uident | Scanned::Ident),
        TokenKind::Param => scanned == Scanned::Param,
        TokenKind::Integer => scanned == Scanned::Iconst,
        TokenKind::Number => matches!(scanned, Scanned::Fconst | Scanned::Iconst),
        TokenKind::String | TokenKind::EscapeString | TokenKind::DollarString => scanned == Scanned::Sconst,
        TokenKind::UnicodeString => matches!(scanned, Scanned::Usconst | Scanned::Sconst),
        TokenKind::BitString => scanned == Scanned::Bconst,
        TokenKind::HexString => scanned == Scanned::Xconst,
        TokenKind::Symbol => theirs.keyword_kind == 0,
    }
}

#[test]
fn tokens_are_the_scanners_own() {
    let texts = [
        "SELECT abalance FROM pgbench_accounts WHERE aid = 12345;",
        "select passwd end from secret",
        "select b from t where a >-- 2 and b='\n 5 union all select passwd from secret --'",
        "a &>$$ from public_t --$$ from secret",
        "SELECT 'a\\''; drop table t --'",
        "SELECT E'a\\''; drop table t --'",
        "select e'\\\\', E'\\'', E'a''b', E'\\x41\\u0041'",
        "select - -1, +-1, 1+-1, 1 @-1, 1 *-1, 1 <@- 1, a>=-1, a=-1, a<>-1, a!=-1",
        "select 'a'\n'b', 'a' -- c\n 'b', 'a' /* c */\n 'b', 'a' 'b', 'a'\n--x\n--y\n\t'b', 'a'\r'b' ",
        "select e'a'\n'b\\'c' , b'01'\n'10', x'1f'\n'ff', n'abc', N'x'\n'y', u&'d\\0061t', U&'!0061' uescape '!'",
        "select 'a'\n--x",
        "select U&\"d\\0061t\", u&\"a\"\"b\", u&x, b\"x\", \"a\"\"b\", \"a\nb\"",
        "select $$a$b$$, $a$ $b$ $$ $a $a$, $a$x$aa$a$, $_1$ $ $_1$, foo$$bar, $1, $12a, $ä$x$ä$",
        "select 1, 1.5, .5, 1., 1.e5, 1e5, 1e+5, 1E-5, 1..2, 1.5.5, 2147483647, 2147483648, 0, 007, 99999999999999999999",
        "select 0x1F, 0o17, 0b01, 1_000, 1_000.000_1, 1e1_0, 0x_ff, 0X_f_f",
        "select 1x",
        "select 1_",
        "select 1__0",
        "select 0x",
        "select 0xg",
        "select 1e",
        "select 1e+",
        "select 1.5a",
        "select 0b2",
        "select /* a /* b */ c */ 1 /**/ /***/ /*/**/*/ 2 /*/ x */ */",
        "select 1 /* open",
        "select 'open",
        "select \"open",
        "select $$open",
        "select E'open\\",
        "select \"\"",
        "$a",
        "$",
        "select a.b, a.*, a[1:2], a[:], (a).b, a::int::text, a:=b, f(x => 1), f(variadic x), x.1, a . 5",
        "select 1;;; select 2; -- end",
        "--",
        "/**/",
        "",
        " \t\r\n\u{c}\u{b}",
        "-",
        "/",
        "*/",
        "->",
        "->>",
        "#>>",
        "?|",
        "?-|",
        "|/-",
        "@-@",
        "select '\u{e9}\u{4e2d}', \u{e9}t\u{e9}, a\u{a0}b",
        "select a\u{2003}b",
        "{",
        "a{b",
        "\\",
        "a\\b",
        "a ~~* b !~~ c",
        "select a=/* c */-1, a=-- c\n-1, a+/**/b, a<--x\n b",
        "++--",
        "+*",
        "*+",
        "*+-",
        "~+-",
        "<=-",
        "/-*",
        "/ *",
        "-/*x*/-",
        "select U&'a' UESCAPE '+', u&\"x\"uescape'!'",
        "e",
        "E",
        "u&",
        "U&",
        "b",
        "x",
        "n",
        "N'",
        "select x'",
        "u&'",
        "U&\"",
        "B''''",
        "x'a''b'",
        "$''''",
        "e''''",
    ];
    let wrong: Vec<_> = texts.iter().filter_map(|text| agrees(text).err()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn tokens_cover_the_text() {
    for text in ["select /*x*/ 'a' -- y\n, $1", "a 'open", "1 \\ 2"] {
        let mut at = 0;
        for token in Lexer::new(text.as_bytes()) {
            assert_eq!(token.start, at);
            assert!(token.end > at);
            at = token.end;
        }
        assert_eq!(at, text.len());
    }
}

#[test]
fn rescans_show_what_is_quadratic_for_the_scanner() {
    let cost = |text: &str| {
        let mut lexer = Lexer::new(text.as_bytes());
        lexer.by_ref().count();
        lexer.rescans()
    };
    assert!(cost(&"/*".repeat(1000)) > 500_000);
    assert!(cost(&"/**/".repeat(1000)) > 500_000);
    assert!(cost(&"+-".repeat(1000)) > 500_000);
    assert!(cost(&format!("/{}/ select 1", "*".repeat(1000))) < 2_000);
    assert!(cost(&"a <> b and c >= d or e || f ".repeat(100)) < 1_000);
}

/// Pieces whose concatenations meet the rules' corners.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("'".to_string()),
        "['\"$\\\\]{1,3}",
        "[ \\t\\n\\r]{1,2}",
        "(--|/\\*|\\*/|\n)",
        "[-+*/<>=~!@#%^&|`?]{1,4}",
        "[eEbBxXnNuU]&?['\"]",
        "\\$[a-z]?\\$",
        "[0-9_.xXoObBeE]{1,5}",
        "[a-z\u{e9}_$]{1,3}",
        "[(),;:.\\[\\]{}]",
        Just("select".to_string()),
        "'[a-z'\\\\]{0,3}'",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn random_pieces_lex_as_the_scanner_does(pieces in prop::collection::vec(piece(), 0..12)) {
        if let Err(why) = agrees(&pieces.concat()) {
            prop_assert!(false, "{}", why);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let tokens: Vec<_> = Lexer::new(&bytes).collect();
        prop_assert_eq!(tokens.iter().map(|token| token.end - token.start).sum::<usize>(), bytes.len());
    }
}
