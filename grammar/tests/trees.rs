//! Trees are pg_query's own, bit for bit once decoded, at the bounds of the encoding too. Whole grammars of generated texts
//! are compared by pgwarden's tests (`reading`).

use std::ffi::CString;

use pg_query::protobuf::ParseResult;
use prost::Message;

fn ours(text: &str) -> Result<ParseResult, pgwarden_grammar::Error> {
    let tree = pgwarden_grammar::parse(&CString::new(text).expect("no NUL"))?;
    Ok(ParseResult::decode(&*tree).expect("a tree"))
}

#[track_caller]
fn same(text: &str) {
    let begin: String = text.chars().take(200).collect();
    match (pg_query::parse(text, 0), ours(text)) {
        (Ok(theirs), Ok(ours)) => assert!(theirs.protobuf == ours, "{begin}"),
        (Err(pg_query::Error::Parse(theirs)), Err(ours)) => assert_eq!(theirs, ours.message, "{begin}"),
        (theirs, ours) => panic!("{begin}: {:?}, and {:?}", theirs.err(), ours.err()),
    }
}

#[test]
fn trees_are_those_of_pg_query() {
    for text in [
        "",
        ";;",
        "-- nothing",
        "SELECT 1; SELECT 2;; SELECT",
        "SELECT -2147483648, 2147483647, 0, 1.5, 'text', '', b'101', x'ff', true, false, NULL, $1, 9999999999",
        "SELECT a.*, b AS \"B\", c::int[], (d).e[1:2], f(VARIADIC g => 1) FILTER (WHERE h) OVER (PARTITION BY i ORDER BY j DESC \
         NULLS LAST ROWS BETWEEN 1 PRECEDING AND UNBOUNDED FOLLOWING) FROM ONLY t AS a (x, y), LATERAL (VALUES (1), (2)) v",
        "WITH RECURSIVE w AS MATERIALIZED (SELECT 1 UNION ALL SELECT n + 1 FROM w) SELECT * FROM w FETCH FIRST 3 ROWS WITH TIES",
        "INSERT INTO t (a, b) VALUES (DEFAULT, 'é→😀') ON CONFLICT (a) DO UPDATE SET b = excluded.b RETURNING *",
        "MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (s.a)",
        "CREATE TABLE t (a int GENERATED ALWAYS AS IDENTITY, b text COLLATE \"C\" CHECK (b <> '')) PARTITION BY RANGE (a)",
        "ALTER TABLE t ALTER a TYPE bigint USING a::bigint, ADD FOREIGN KEY (a, b) REFERENCES s ON DELETE SET NULL (a)",
        "CREATE FUNCTION f(a int DEFAULT 1, OUT b text) LANGUAGE sql AS 'select 1', 'x' BEGIN ATOMIC SELECT 1; END",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END",
        "GRANT SELECT (a), UPDATE ON t TO PUBLIC WITH GRANT OPTION",
        "SET LOCAL x.y = 'a', 1, on; RESET ALL; BEGIN ISOLATION LEVEL SERIALIZABLE, DEFERRABLE",
        "COPY t (a) FROM STDIN (FORMAT csv, FORCE_NULL (a), DELIMITER ',')",
        "DROP SUBSCRIPTION IF EXISTS s CASCADE; ALTER SERVER s VERSION '2' OPTIONS (SET a 'b', DROP c)",
        "SELECT * FROM json_table('{}', '$' COLUMNS (a int PATH '$.a', NESTED '$.b[*]' COLUMNS (c FOR ORDINALITY)))",
        "SELECT xmlelement(name a, xmlattributes(1 AS b)), GROUPING(a), CURRENT_DATE, ROW(1, 2) = ANY (SELECT 1, 2)",
        "DO 'begin end'; CALL p(1); PREPARE q (int) AS SELECT $1; EXECUTE q (1); DEALLOCATE ALL; LISTEN a; NOTIFY a, 'b'",
        "SELEC 1",
        "SELECT 'open",
        "SELECT \u{1}",
        "SELECT e'\\xff'",
        "SELECT U&'\\d800'",
    ] {
        same(text);
    }
}

/// Lengths of messages take one byte up to 127, two up to 16,383, and so on.
#[test]
fn trees_of_all_sizes_are_those_of_pg_query() {
    for length in (90..140).chain(16_300..16_400).chain([300_000, 2_097_100, 2_100_000]) {
        same(&format!("SELECT '{}'", "x".repeat(length)));
        same(&format!("SELECT a, '{}' FROM t WHERE b = 1", "x".repeat(length)));
    }
    for count in [1, 10, 1000, 20_000] {
        same(&format!("SELECT 1 WHERE a IN (1{})", ", -7".repeat(count)));
        same(&"SELECT f(1);".repeat(count));
    }
}

/// Below some depth lengths are written otherwise; at the last depth both refuse.
#[test]
fn deep_trees_are_those_of_pg_query() {
    let thread = std::thread::Builder::new().stack_size(512 << 20).spawn(|| {
        for depth in (10..70).chain([500, 3000]) {
            for (open, close) in [("(", " + 1)"), ("f(", ")"), ("(SELECT ", ")"), ("ARRAY[", "]"), ("NOT ", "")] {
                same(&format!("SELECT {}1{}", open.repeat(depth), close.repeat(depth)));
            }
            same(&format!("SELECT 1{}", " UNION SELECT 2".repeat(depth)));
        }
    });
    thread.expect("a thread").join().expect("no panic");
}

#[test]
fn what_is_too_deep_is_refused_as_such() {
    let thread = std::thread::Builder::new().stack_size(512 << 20).spawn(|| {
        for depth in [6_000, 30_000, 200_000] {
            let error = ours(&format!("SELECT 1{}", " + 1".repeat(depth))).expect_err("too deep");
            let message = error.message;
            assert!(message.contains("stack depth") || message.contains("nested too deeply"), "{depth}: {message}");
        }
        // The thread reads on.
        same("SELECT 1");
    });
    thread.expect("a thread").join().expect("no panic");
}

#[test]
fn errors_have_their_place_in_characters() {
    for (text, position) in [("SELEC 1", Some(1)), ("SELECT 'ééé' FROM", Some(18)), ("SELECT 'é', FROM t", Some(13))]
    {
        assert_eq!(ours(text).expect_err("an error").position, position, "{text}");
    }
}
