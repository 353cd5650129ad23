//! The same texts in other shapes: several in one message, in transactions that failed, pipelined, prepared by SQL and run by
//! the protocol, under settings and encodings that read a text in another way.

use super::client::{Client, Way};
use super::generated::{harm, texts};
use super::lab::{Ground, Lab, Wall};
use crate::kit::say;

#[test]
fn no_shape_gets_through_both_walls() {
    shapes(Wall::BothSealed);
}

#[test]
fn no_shape_gets_through_the_database_alone() {
    shapes(Wall::Database);
}

#[test]
fn no_shape_gets_through_the_policy_alone() {
    shapes(Wall::Policy);
}

#[test]
fn no_setting_makes_a_text_another_before_both_walls() {
    readings(Wall::BothSealed);
}

#[test]
fn no_setting_makes_a_text_another_before_the_policy_alone() {
    readings(Wall::Policy);
}

/// What the tenant may read, to be asked after whatever came before.
const READ: &str = "SELECT email FROM a.invoices";

/// Conversations around a text `t`; each ends where another can begin.
fn conversations(t: &str) -> Vec<(&'static str, Vec<u8>)> {
    let run = |sql: &str| [say::parse("", sql, &[]), say::bind("", "", &[]), say::execute("", 0)].concat();
    let query = say::query;
    vec![
        ("between others", query(&format!("SELECT 1; {t}; {READ}"))),
        ("behind a BEGIN", [query(&format!("BEGIN; {t}")), query(READ), query("COMMIT")].concat()),
        (
            "in a failed block",
            [query("BEGIN"), query("SELECT 1/0"), query(t), query(&format!("ROLLBACK; {READ}"))].concat(),
        ),
        (
            "behind a savepoint",
            [
                query("BEGIN; SAVEPOINT s"),
                query(t),
                query("SELECT 1/0"),
                query("ROLLBACK TO s"),
                query(READ),
                query("COMMIT AND CHAIN"),
                query(t),
                query("COMMIT"),
                query(READ),
            ]
            .concat(),
        ),
        ("pipelined", [run("SELECT 1"), run(t), run(READ), say::sync(), run(READ), say::sync()].concat()),
        ("behind an error", [run("SELECT 1/0"), run(t), run(READ), say::sync(), run(READ), say::sync()].concat()),
        (
            "in a block, pipelined",
            [run("BEGIN"), run(t), run(READ), run("COMMIT"), say::sync(), run(READ), say::sync()].concat(),
        ),
        (
            "named, a row at a time",
            [
                say::parse("n", t, &[]),
                say::describe_statement("n"),
                say::flush(),
                say::bind("o", "n", &[]),
                say::flush(),
                say::execute("o", 1),
                say::execute("o", 1),
                say::sync(),
                say::bind("", "n", &[]),
                say::execute("", 0),
                say::close_statement("n"),
                say::sync(),
            ]
            .concat(),
        ),
        (
            "prepared by SQL, run by the protocol",
            [
                query(&format!("PREPARE k AS {t}")),
                say::bind("", "k", &[]),
                say::describe_portal(""),
                say::execute("", 0),
                say::sync(),
                query("EXPLAIN ANALYZE EXECUTE k"),
                query("EXECUTE k"),
                query("CREATE TEMP TABLE of_k AS EXECUTE k"),
                query("DEALLOCATE ALL"),
            ]
            .concat(),
        ),
        (
            "prepared, then the context is dropped",
            [
                say::parse("n", t, &[]),
                say::sync(),
                query("RESET ALL"),
                query("DISCARD SEQUENCES"),
                say::bind("", "n", &[]),
                say::execute("", 0),
                say::sync(),
                query("DISCARD ALL"),
                say::bind("", "n", &[]),
                say::execute("", 0),
                say::sync(),
                query(READ),
            ]
            .concat(),
        ),
        (
            "a cursor that is held",
            [
                query(&format!("BEGIN; DECLARE h CURSOR WITH HOLD FOR {t}; COMMIT")),
                query("FETCH ALL FROM h"),
                say::describe_portal("h"),
                say::execute("h", 0),
                say::sync(),
                query("CLOSE ALL"),
            ]
            .concat(),
        ),
        ("a Query without a Sync before it", [run(t), query(READ), say::sync()].concat()),
        (
            "the unnamed statement of another text",
            [
                say::parse("", "SELECT 1", &[]),
                say::sync(),
                query(t),
                say::bind("", "", &[]),
                say::execute("", 0),
                say::sync(),
            ]
            .concat(),
        ),
    ]
}

fn shapes(wall: Wall) {
    let lab = Lab::new(wall);
    let all = texts(&lab);
    let fits = |text: &&String| !text.contains("STDIN") && !text.contains("COPY");
    let some: Vec<_> = all.iter().filter(fits).step_by(29).collect();
    assert!(some.len() > 80, "{} texts", some.len());
    let mut wrong = Vec::new();
    for stretch in some.chunks(20) {
        let before = lab.state();
        let mut client = lab.client(Ground::Row, 1);
        client.ask(Way::Simple, "SET enable_seqscan = off");
        for (at, text) in stretch.iter().enumerate() {
            for (name, bytes) in conversations(text) {
                converse(&mut client, &bytes, &format!("{name} {at}"));
            }
        }
        client.end();
        if let Some(what) = harm(&lab, &before, &client) {
            wrong.push(format!("{stretch:#?}: {what}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Sends a conversation, and hears everything up to an answer to a question of our own.
fn converse(client: &mut Client, bytes: &[u8], name: &str) {
    if !client.is_open() {
        client.reconnect();
    }
    client.send(bytes);
    let mark = format!("the end of {name}");
    // Where the line is ours again, and where a transaction is still open.
    client.send(&[say::sync(), say::query("ROLLBACK"), say::query(&format!("SELECT '{mark}'"))].concat());
    while client.is_open() {
        let said = client.hear();
        let is_mark = |message: &crate::kit::Message| {
            message.tag == b'D' && message.body.windows(mark.len()).any(|window| window == mark.as_bytes())
        };
        if said.0.iter().any(is_mark) {
            break;
        }
    }
}

/// Settings under which a text might be read in another way, and values.
const READINGS: [(&str, &str); 16] = [
    ("standard_conforming_strings", "off"),
    ("backslash_quote", "on"),
    ("escape_string_warning", "off"),
    ("quote_all_identifiers", "on"),
    ("client_encoding", "SJIS"),
    ("client_encoding", "GBK"),
    ("client_encoding", "BIG5"),
    ("client_encoding", "LATIN1"),
    ("client_encoding", "SQL_ASCII"),
    ("client_encoding", "UHC"),
    ("DateStyle", "SQL, DMY"),
    ("search_path", "t2, b, a"),
    ("role", "{t2r}"),
    ("session_authorization", "{t2r}"),
    ("row_security", "off"),
    ("app.tenant_id", "2"),
];

/// Texts that are harmless, or two statements, by how a byte is read.
const AMBIGUOUS: [&[u8]; 14] = [
    b"SELECT 'a\\'', (SELECT max(email) FROM t2.invoices) --'",
    b"SELECT 'a\\'; TABLE t2.invoices; --'",
    b"SELECT '\\''; SELECT max(email) FROM b.invoices WHERE tenant_id = 2; --'",
    b"SELECT E'\\'' || (SELECT max(email) FROM t2.invoices) || E'\\''",
    b"SELECT \"a\\\" FROM t2.invoices; TABLE t2.invoices; --\"",
    b"SELECT U&'\\0027'; TABLE t2.invoices; --'",
    b"SELECT '\x83\\'; TABLE t2.invoices; --'",
    b"SELECT '\xbf\\'; TABLE t2.invoices; --'",
    b"SELECT '\xa5\\'; TABLE t2.invoices; --'",
    b"SELECT '\xbf'; TABLE t2.invoices; --'",
    b"SELECT $\x83$ a $\x83$; TABLE t2.invoices",
    b"SELECT 1 /* \xbf*/; TABLE t2.invoices; -- */",
    b"SELECT 1\0; TABLE t2.invoices",
    b"TABLE t2\xc2\xa0.invoices; TABLE t2.\xe3\x80\x80invoices",
];

fn readings(wall: Wall) {
    let lab = Lab::new(wall);
    let before = lab.state();
    let mut wrong = Vec::new();
    for (name, value) in READINGS {
        let value = lab.fill(value);
        for how in 0..4 {
            let login = lab.login(Ground::Row, 1);
            let login = match how {
                0 => login.parameter(name, &value),
                1 => login.parameter("options", &format!("-c {name}={}", value.replace(' ', "\\ "))),
                _ => login,
            };
            let mut client = Client::new(login, None);
            if !client.is_open() {
                client = lab.client(Ground::Row, 1);
            }
            match how {
                2 => drop(client.ask(Way::Simple, &format!("SET {name} = '{value}'"))),
                3 => drop(client.ask(Way::Extended, &format!("SELECT set_config('{name}', '{value}', false)"))),
                _ => {}
            }
            for (at, text) in AMBIGUOUS.iter().enumerate() {
                converse(&mut client, &say::message(b'Q', &[text, &[0][..]].concat()), &format!("reading {at}"));
                let body = [&b"\0"[..], text, b"\0\0\0"].concat();
                let rest = [say::bind("", "", &[]), say::execute("", 0), say::sync()].concat();
                converse(&mut client, &[say::message(b'P', &body), rest].concat(), &format!("reading of Parse {at}"));
            }
            converse(&mut client, &say::query(READ), "reading");
            client.end();
            wrong.extend(harm(&lab, &before, &client).map(|what| format!("{name} = {value}, way {how}: {what}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
