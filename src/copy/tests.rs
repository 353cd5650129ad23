use proptest::prelude::*;

use super::*;
use crate::sql;

fn reader(statement: &str, columns: &[&str], row_max: usize) -> Result<Reader, CopyError> {
    let copy = sql::copy::read(statement.as_bytes()).expect("a COPY FROM STDIN");
    let options = Options::of(&copy)?;
    let field = |name: &&str| Field {
        name: (*name).to_owned(),
        force_not_null: options.force_not_null.iter().any(|forced| forced == name),
        force_null: options.force_null.iter().any(|forced| forced == name),
    };
    Ok(Reader::new(&options, columns.iter().map(field).collect(), row_max))
}

/// Feeds `data` in pieces; shows the rows with their lines (`1:a|NULL`), and the error with its context.
fn shown(statement: &str, columns: &[&str], data: &[u8], piece: usize) -> String {
    let mut reader = match reader(statement, columns, 1000) {
        Ok(reader) => reader,
        Err(error) => return format!("{:?} {}", error.sqlstate, error.message),
    };
    let mut batch = Batch::new(columns.len(), 3, 1 << 20);
    let mut out = String::new();
    let mut pieces = data.chunks(piece.max(1));
    loop {
        let read = reader.read(&mut batch);
        show_rows(&batch, &mut out);
        batch.clear();
        match read {
            Ok(Read::Full) => {}
            Ok(Read::Starved) => match pieces.next() {
                Some(bytes) => reader.feed(bytes),
                None => reader.finish(),
            },
            Ok(Read::Ended) => return out,
            Err(error) => {
                let context = error.place.context("t").unwrap_or_default();
                return out + &format!("{:?} {} [{context}]", error.sqlstate, error.message);
            }
        }
    }
}

fn show_rows(batch: &Batch, out: &mut String) {
    let columns: Vec<Vec<_>> = (0..batch.columns()).map(|column| batch.elements(column).collect()).collect();
    for row in 0..batch.rows() {
        let values = columns.iter().map(|column| match column[row].value {
            Some(value) => String::from_utf8_lossy(value).into_owned(),
            None => "NULL".to_owned(),
        });
        out.push_str(&format!("{}:{} ", batch.line(row), values.collect::<Vec<_>>().join("|")));
    }
    assert!(columns.iter().all(|column| column.len() == batch.rows()), "every column has every row");
}

#[track_caller]
fn check(statement: &str, data: &[u8], expect: &str) {
    for piece in [1, 2, 3, 7, 1 << 20] {
        assert_eq!(shown(statement, &["a", "b"], data, piece).trim_end(), expect, "in pieces of {piece}");
    }
}

const TEXT: &str = "copy t from stdin";
const CSV: &str = "copy t from stdin csv";
const BINARY: &str = "copy t from stdin binary";

#[test]
fn text_has_escapes_nulls_and_an_end() {
    check(TEXT, b"1\tx\n2\t\\N\n", "1:1|x 2:2|NULL");
    check(TEXT, b"1\tx", "1:1|x");
    check(TEXT, b"", "");
    check(TEXT, b"\\101\\x41\\x4g\t\\t\\\\\\q\\n\\0601\n", "1:AA\u{4}g|\t\\q\n01");
    check(TEXT, b"1\tx\n\\.\nanything at all", "1:1|x");
    check(TEXT, b"1\tx\\.\nmore", "1:1|x");
    check(TEXT, b"1\ta\\\nb\n2\tc\n", "1:1|a\nb 2:2|c");
    check(TEXT, b"\\N\t\\\\N\n", "1:NULL|\\N");
    check("copy t from stdin (delimiter '|', null 'none')", b"none|\\none\n", "1:NULL|\none");
}

#[test]
fn the_first_line_says_how_lines_end() {
    check(TEXT, b"1\tx\r\n2\ty\r\n", "1:1|x 2:2|y");
    check(TEXT, b"1\tx\r2\ty\r", "1:1|x 2:2|y");
    check(TEXT, b"1\tx\n2\ty\r\n", "1:1|x 22P04 literal carriage return found in data [COPY t, line 2]");
    check(TEXT, b"1\tx\r\n2\ty\n", "1:1|x 22P04 literal newline found in data [COPY t, line 2]");
    check(CSV, b"1,x\r\n2,y\rz\r\n", "1:1|x 22P04 unquoted carriage return found in data [COPY t, line 2]");
    check(
        TEXT,
        b"1\tx\r\n\\.\n",
        "1:1|x 22P04 end-of-copy marker does not match previous newline style [COPY t, line 2]",
    );
    check(TEXT, b"1\tx\n\\.y\n", "1:1|x 22P04 end-of-copy marker corrupt [COPY t, line 2]");
}

#[test]
fn a_line_with_too_few_or_too_many_fields_is_named() {
    check(TEXT, b"1\tx\n2\n", "1:1|x 22P04 missing data for column \"b\" [COPY t, line 2: \"2\"]");
    check(TEXT, b"1\tx\ty\n", "22P04 extra data after last expected column [COPY t, line 1: \"1\tx\ty\"]");
    check(CSV, b"1,x,y,z\n", "22P04 extra data after last expected column [COPY t, line 1: \"1,x,y,z\"]");
    let long = format!("{}\n", "é".repeat(80));
    let want = format!("22P04 missing data for column \"b\" [COPY t, line 1: \"{}...\"]", "é".repeat(50));
    check(TEXT, long.as_bytes(), &want);
}

#[test]
fn a_line_in_another_encoding_is_refused_before_it_is_read() {
    let wrong = "22021 invalid byte sequence for encoding \"UTF8\"";
    check(TEXT, b"1\tx\n2\xc3\"\n", &format!("1:1|x {wrong}: 0xc3 0x22 [COPY t, line 2]"));
    check(CSV, b"1,\0\n", &format!("{wrong}: 0x00 [COPY t, line 1]"));
    check(TEXT, b"\xff", &format!("{wrong}: 0xff [COPY t, line 1]"));
    check(TEXT, b"1\tx\n2\ty\xf0\x9f\n\n\n", &format!("1:1|x {wrong}: 0xf0 0x9f 0x0a 0x0a [COPY t, line 2]"));
    // It goes on up to there, and no byte behind it says what one before it means.
    let literal = "22P04 literal carriage return found in data [COPY t, line 2]";
    check(TEXT, b"1\tx\n2\ty\r\xff\n", &format!("1:1|x {literal}"));
    check(CSV, b"1,x\n2,y\r\xff\n", &format!("1:1|x {wrong}: 0xff [COPY t, line 2]"));
    check(TEXT, b"1\tx\n\\.\xff\n", &format!("1:1|x {wrong}: 0xff [COPY t, line 2]"));
    check(TEXT, b"1\tx\n\\.\n\xff", "1:1|x");
    check(TEXT, b"1\tx\r\n\\.\r\xff", &format!("1:1|x {wrong}: 0xff [COPY t, line 2]"));
    let mismatch = "22P04 end-of-copy marker does not match previous newline style [COPY t, line 2]";
    check(TEXT, b"1\tx\r\n\\.\n\xff", &format!("1:1|x {mismatch}"));
}

#[test]
fn csv_has_quotes_newlines_and_forced_values() {
    check(CSV, b"1,\"a\"\"b\nc\"\n,\"\"\n", "1:1|a\"b\nc 2:NULL|");
    // Newlines inside quotes count as lines once the first line has ended, and not before: as the server counts.
    check(CSV, b"1,x\n2,\"y\n\"\n", "1:1|x 3:2|y");
    check(CSV, b"a\"b,c\"d,x\n", "1:ab,cd|x");
    check(CSV, b"1,\"x\n2,y\n", "22P04 unterminated CSV quoted field [COPY t, line 1: \"1,\"x\n2,y\n\"]");
    check(CSV, b"\\.,x\n\\.\nmore", "1:\\.|x");
    check("copy t from stdin csv escape '\\'", b"\"a\\\"b\",\"\\\\\\x\"\n", "1:a\"b|\\\\x");
    check("copy t from stdin csv force not null a force null b", b",\"\"\n", "1:|NULL");
    check("copy t from stdin (format csv, header)", b"what,ever,this\n1,2\n", "2:1|2");
}

#[test]
fn a_header_that_must_match_is_compared() {
    let csv = "copy t from stdin (format csv, header match)";
    check(csv, b"a,\"b\"\n1,2\n", "2:1|2");
    check(
        csv,
        b"a,c\n1,2\n",
        "22P04 column name mismatch in header line field 2: got \"c\", expected \"b\" [COPY t, line 1: \"a,c\"]",
    );
    check(
        csv,
        b"a,\n",
        "22P04 column name mismatch in header line field 2: got null value (\"\"), expected \"b\" [COPY t, line 1: \"a,\"]",
    );
    check(csv, b"a\n", "22P04 wrong number of fields in header line: got 1, expected 2 [COPY t, line 1: \"a\"]");
}

fn binary(rows: &[u8]) -> Vec<u8> {
    [&b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\x03ext"[..], rows].concat()
}

#[test]
fn binary_rows_have_counts_and_lengths() {
    let row = b"\0\x02\0\0\0\x01x\xff\xff\xff\xff";
    check(BINARY, &binary(&[&row[..], row, b"\xff\xff"].concat()), "1:x|NULL 2:x|NULL");
    check(BINARY, &binary(row), "1:x|NULL");
    check(BINARY, &binary(b"\0\x01\0\0\0\0"), "22P04 row field count is 1, expected 2 [COPY t, line 1]");
    check(BINARY, &binary(b"\0\x02\0\0\0\x05x"), "22P04 unexpected EOF in COPY data [COPY t, line 1, column a]");
    check(BINARY, &binary(b"\0\x02\xff\xff\xff\xfe"), "22P04 invalid field size [COPY t, line 1, column a]");
    check(BINARY, &binary(b"\xff\xff!"), "22P04 received copy data after EOF marker [COPY t, line 1]");
    check(BINARY, b"PGCOPY\n\xff\r\r\0\0\0\0\0\0\0\0\0", "22P04 COPY file signature not recognized []");
    check(BINARY, b"PGCOPY\n\xff\r\n\0\0\x01\0\0", "22P04 invalid COPY file header (WITH OIDS) []");
    check(BINARY, b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\x09a", "22P04 invalid COPY file header (wrong length) []");
}

#[test]
fn a_row_longer_than_allowed_is_refused_in_every_format() {
    let long = "x".repeat(1100);
    let message = "54000 a row of COPY data is longer than 1000 bytes [COPY t, line 2]";
    check(TEXT, format!("1\tx\n2\t{long}\n").as_bytes(), &format!("1:1|x {message}"));
    check(CSV, format!("1,x\n2,\"{long}").as_bytes(), &format!("1:1|x {message}"));
    let rows = [&b"\0\x02\0\0\0\x01x\0\0\0\0\0\x02\0\0\x04\x4c"[..], long.as_bytes()].concat();
    check(BINARY, &binary(&rows), &format!("1:x| {}", message));
}

#[test]
fn options_are_checked_with_postgresqls_words() {
    for (options, expect) in [
        ("(format xml)", "22023 COPY format \"xml\" not recognized"),
        ("(format csv, format csv)", "42601 conflicting or redundant options"),
        ("(nonsense)", "42601 option \"nonsense\" not recognized"),
        ("(format binary, delimiter 'x')", "42601 cannot specify DELIMITER in BINARY mode"),
        ("(delimiter 'ab')", "0A000 COPY delimiter must be a single one-byte character"),
        ("(delimiter 'a')", "22023 COPY delimiter cannot be \"a\""),
        ("(quote 'a')", "0A000 COPY quote available only in CSV mode"),
        ("(format csv, quote ',')", "22023 COPY delimiter and quote must be different"),
        ("(format csv, null 'a,b')", "0A000 COPY delimiter must not appear in the NULL specification"),
        ("(force_null (a))", "0A000 COPY force null available only in CSV mode"),
        ("(freeze)", "0A000 COPY FREEZE is not supported under row security"),
        ("(encoding 'latin1')", "0A000 COPY FROM under row security reads UTF8 only"),
        ("where a > 1", "0A000 COPY FROM with WHERE is not supported under row security"),
    ] {
        check(&format!("copy t from stdin {options}"), b"", expect);
    }
    check("copy t from stdin (encoding 'utf-8', freeze off, header 0)", b"1\t2\n", "1:1|2");
}

proptest! {
    #[test]
    fn where_data_is_cut_makes_no_difference(
        words in proptest::collection::vec(
            proptest::sample::select(vec![
                &b"a"[..], b"1", b"\t", b",", b"\n", b"\r", b"\r\n", b"\\", b".", b"\"", b"'", b"\\N", b"\\.", "é".as_bytes(), b"\0",
                b"\xc3", b"\xf0\x9f",
            ]),
            0..40,
        ),
        statement in proptest::sample::select(vec![
            TEXT, CSV, "copy t from stdin csv quote '''' escape '\\'", "copy t from stdin (format csv, header match)",
            "copy t from stdin (delimiter ',', null '1')",
        ]),
        piece in 1usize..9,
    ) {
        let data = words.concat();
        let whole = shown(statement, &["a", "b"], &data, 1 << 20);
        prop_assert_eq!(shown(statement, &["a", "b"], &data, piece), whole);
    }

    #[test]
    fn no_binary_data_panics_and_cuts_make_no_difference(
        bytes in proptest::collection::vec(proptest::sample::select(vec![0u8, 0, 0, 1, 2, 3, 255, 255, b'x']), 0..60),
        piece in 1usize..9,
    ) {
        let data = binary(&bytes);
        prop_assert_eq!(shown(BINARY, &["a", "b"], &data, piece), shown(BINARY, &["a", "b"], &data, 1 << 20));
    }
}
