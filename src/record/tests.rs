//! Records are one line, and say what they were given; what must not be in them is not.

use std::rc::Rc;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::sql::grammar;

#[path = "secret_tests.rs"]
mod secrets;

static AT: LazyLock<At> = LazyLock::new(|| At::new(1_764_000_000_123_456, 42));

/// A record as it is written, read back. Fails where it is not one object on one line without a key twice.
fn read(write: impl FnOnce(&mut Vec<u8>)) -> Value {
    let mut line = b"{\"seq\":7,".to_vec();
    write(&mut line);
    line.push(b'}');
    assert!(line.iter().all(|byte| *byte >= 0x20 && *byte != 0x7f), "{}", String::from_utf8_lossy(&line));
    let text = std::str::from_utf8(&line).expect("UTF-8");
    assert!(!text.contains(['\u{85}', '\u{2028}', '\u{2029}']));
    let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let Value::Object(object) = &value else { panic!("{text}") };
    assert_eq!(object["seq"], 7);
    assert_eq!(object["v"], VERSION);
    // A key twice would be lost in the map: then writing it again gives another length.
    let again = serde_json::to_string(&value).expect("write it again");
    let members = |text: &str| serde_json::from_str::<Value>(text).map(|it| it.as_object().map(serde_json::Map::len));
    assert_eq!(members(&again).ok(), members(text).ok());
    for key in object.keys() {
        assert_eq!(top_level(text, key), 1, "{key} in {text}");
    }
    value
}

/// How often a key stands at the top level of an object.
fn top_level(text: &str, key: &str) -> usize {
    let (mut depth, mut in_string, mut escaped, mut count) = (0, false, false, 0);
    let wanted = format!("\"{key}\":");
    for (at, byte) in text.bytes().enumerate() {
        if !in_string && depth == 1 && text[at..].starts_with(&wanted) {
            count += 1;
        }
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth -= 1,
            _ => {}
        }
    }
    count
}

fn who() -> Who {
    Who::new(&Person {
        session: 17,
        user: "acme_app",
        tenant: Some("acme"),
        role: Some("writer"),
        database: "billing",
        auth: "scram-sha-256",
        client: "10.0.0.1:5555",
        tls: None,
        application: "psql",
        reason: None,
    })
}

/// Who has every member.
fn everyone() -> Who {
    let person = Person { tls: Some("TLSv1.3"), application: "psql", reason: Some("ticket 7"), ..Person::default() };
    Who::new(&Person { user: "u", tenant: Some("t"), role: Some("r"), auth: "scram-sha-256", client: "c", ..person })
}

/// The record of a Bind; `values`: what follows the names in it.
fn bind(values: &[u8], types: &[u8], policy: Show) -> Value {
    let key = HashKey::new([7; 32]);
    let parameters = Parameters { values, types, policy: &|_| policy, key: Some(&key) };
    let forwarded = Forwarded { message: Message::Bind, text: None, ..of_text(b"") };
    read_intent(&Intent { forwarded, parameters: Some(parameters), ..intent(b"", None) }, None)
}

/// A Bind's values in text, behind the names.
fn text_values<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let (mut count, mut body) = (0u16, Vec::new());
    for value in values {
        count += 1;
        body.extend_from_slice(&(value.len() as u32).to_be_bytes());
        body.extend_from_slice(value);
    }
    [&[0, 0][..], &count.to_be_bytes(), &body].concat()
}

fn query(text: &[u8]) -> Value {
    let words = Words::of(text, &grammar::read(text));
    read_intent(&intent(text, Some(&words)), None)
}

thread_local! {
    static WHO: &'static (Rc<Who>, Head) = with_head(who());
    static EVERYONE: &'static (Rc<Who>, Head) = with_head(everyone());
}

fn with_head(who: Who) -> &'static (Rc<Who>, Head) {
    let head = Head::new(&who, "db1:5432");
    Box::leak(Box::new((Rc::new(who), head)))
}

/// The record of an intent, which the writer puts together.
fn read_intent(it: &Intent<'_>, ended: Option<Ended<'_>>) -> Value {
    let mut rest = Vec::new();
    it.put_rest(&mut rest);
    let words = it.words.map_or(&b""[..], |words| words.phrase().members());
    let head = it.head.phrase().members();
    let it = Statement { at: *AT, head, forwarded: &it.forwarded, words, rest: &rest, ended };
    read(|out| statement(out, &mut Second::default(), &it))
}

fn of_text(text: &[u8]) -> Forwarded {
    Forwarded {
        n: 3,
        message: Message::Query,
        verdict: Verdict::Allow,
        policy: 2,
        backend: 4711,
        text: Some(HashKey::new([9; 32]).mark(text)),
    }
}

fn intent<'a>(text: &'a [u8], words: Option<&'a Words>) -> Intent<'a> {
    let (who, head) = WHO.with(|known| *known);
    Intent { who, head, forwarded: of_text(text), words, kept: None, parameters: None }
}

#[test]
fn a_statement_says_who_what_and_where() {
    let record = query(b"SELECT * FROM invoices WHERE id = 42 AND note = 'x'");
    let expected = serde_json::json!({
        "seq": 7, "v": 1, "kind": "statement", "time": "2025-11-24T16:00:00.123456Z", "mono": 42,
        "session": 17, "tenant": "acme", "user": "acme_app", "role": "writer", "database": "billing",
        "auth": "scram-sha-256", "client": "10.0.0.1:5555", "tls": "none", "application": "psql",
        "n": 3, "message": "query", "verdict": "allow", "policy": 2, "node": "db1:5432", "backend": 4711,
        "statements": ["select"], "fingerprints": record["fingerprints"],
        "text": "SELECT * FROM invoices WHERE id = ? AND note = ?", "reads": ["invoices"],
        "length": 51, "hash": record["hash"],
    });
    assert_eq!(record, expected);
    assert_eq!(record["hash"].as_str().map(str::len), Some(32));
    assert_ne!(query(b"SELECT * FROM invoices WHERE id = 43 AND note = 'x'")["hash"], record["hash"]);
}

#[test]
fn an_outcome_says_what_came_of_it() {
    let mut answer = Answer { rows: 2, bytes: 80, sqlstate: Some(*b"22012"), ..Answer::default() };
    answer.note_tag(b"SELECT 2");
    answer.note_tag(b"INSERT 0 1");
    let ended = Ended::new(Outcome::Failed, &answer, 1234);
    let record = read(|out| outcome(out, *AT, &who(), 5, &ended));
    let expected = serde_json::json!({
        "seq": 7, "v": 1, "kind": "outcome", "time": "2025-11-24T16:00:00.123456Z", "mono": 42,
        "session": 17, "tenant": "acme", "user": "acme_app", "of": 5, "outcome": "failed", "us": 1234,
        "tag": "SELECT 2; INSERT 0 1", "tags": 2, "rows": 2, "bytes": 80, "sqlstate": "22012",
    });
    assert_eq!(record, expected);
    // In the statement's own record the same.
    let whole = read_intent(&intent(b"", None), Some(ended));
    assert_eq!((&whole["kind"], &whole["message"]), (&Value::from("statement"), &Value::from("query")));
    for field in ["outcome", "us", "tag", "tags", "rows", "bytes", "sqlstate"] {
        assert_eq!(whole[field], record[field], "{field}");
    }
    // Any number of tags, of any length, from a server that is not to be trusted.
    let mut answer = Answer { sqlstate: Some(*b"\"},{\n"), ..Answer::default() };
    for length in [0, 1, 90, 93, 94, 95, 200] {
        answer.note_tag(&vec![b'x'; length]);
        answer.note_tag(b"\"\n\0");
    }
    let ended = Ended::new(Outcome::Completed, &answer, 0);
    let record = read(|out| outcome(out, *AT, &who(), 5, &ended));
    assert_eq!((&record["tags"], &record["sqlstate"]), (&Value::from(14), &Value::from("?????")));
}

#[test]
fn a_bind_says_of_its_values_what_it_may() {
    let mut values = vec![0, 2, 0, 0, 0, 1, 0, 3];
    for value in [Some(&b"secret 4111111111111111"[..]), Some(&4_111_111_111_111_111_i64.to_be_bytes()), None] {
        match value {
            Some(value) => {
                values.extend_from_slice(&(value.len() as u32).to_be_bytes());
                values.extend_from_slice(value);
            }
            None => values.extend_from_slice(&(-1_i32).to_be_bytes()),
        }
    }
    let types = [25_u32, 20, 0].map(u32::to_be_bytes).concat();
    let bound = |others, values: &[u8]| bind(values, &types, others);
    let omitted = bound(Show::Omit, &values);
    assert_eq!(omitted["parameters_count"], 3);
    assert_eq!(
        omitted["parameters"],
        serde_json::json!([
            {"type": 25, "format": "text", "length": 23},
            {"type": 20, "format": "binary", "length": 8},
            {"type": 0, "format": "text", "null": true},
        ])
    );
    let hashed = bound(Show::Hash, &values);
    assert_eq!(hashed["parameters"][0]["hash"].as_str().map(str::len), Some(32));
    assert_ne!(hashed["parameters"][0]["hash"], hashed["parameters"][1]["hash"]);
    let clear = bound(Show::Clear, &values);
    assert_eq!(clear["parameters"][0]["value"], "secret [card]");
    assert_eq!(clear["parameters"][1]["value"], "[card]");
    // However much of it is here.
    for end in 0..values.len() {
        for others in [Show::Omit, Show::Hash, Show::Clear] {
            bound(others, &values[..end]);
        }
    }
}

#[test]
fn events_say_what_happened() {
    let failed = LoginFailed {
        user: Some("x\n{\"seq\":1}"),
        database: None,
        client: "10.0.0.1:1",
        sqlstate: "28P01",
        error: "password of 4111111111111111 wrong",
    };
    let record = read(|out| login_failed(out, *AT, &failed));
    assert_eq!(record["user"], "x\n{\"seq\":1}");
    assert_eq!(record["error"], "password of [card] wrong");
    assert_eq!(read(|out| login(out, *AT, &who()))["kind"], "login");
    assert_eq!(read(|out| disconnect(out, *AT, &who(), "terminated", 9))["messages"], 9);
    assert_eq!(read(|out| cancel(out, *AT, "10.0.0.1:1", None))["found"], false);
    assert_eq!(read(|out| cancel(out, *AT, "10.0.0.1:1", Some(4)))["target"], 4);
    assert_eq!(read(|out| console(out, *AT, "ops", "local", "RELOAD"))["command"], "RELOAD");
    let change = Change { key: "pool.size".to_owned(), before: Some("1".to_owned()), after: None };
    let record = read(|out| reload(out, *AT, 4, &[change], Some("bad")));
    assert_eq!(record["changes"], serde_json::json!([{"key": "pool.size", "before": "1"}]));
    assert_eq!((&record["taken"], &record["error"]), (&Value::from(false), &Value::from("bad")));
}

#[test]
fn every_member_is_documented() {
    let mut records = vec![
        query(b"lock table w; insert into s.t select lower(a) from u where password = 'x'"),
        query(b"selec"),
        query(b"select 'open"),
    ];
    let calls: String = (0..70).map(|number| format!("f{number}(),")).collect();
    let long = format!("select {calls} 1").into_bytes();
    records.push(query(&long));
    let values = [0, 0, 0, 2, 0, 0, 0, 1, b'x', 255, 255, 255, 255, 0, 0];
    let mut many = vec![0, 0, 0, 65];
    many.extend_from_slice(&[255; 65 * 4]);
    for (values, others) in [(&values[..], Show::Hash), (&values, Show::Clear), (&many, Show::Omit)] {
        records.push(bind(values, &[], others));
    }
    let sealed = Sealed { key: "0123abcd".to_owned(), text: "AQ==".to_owned() };
    let kept = [Kept::Sealed { sealed, cut: true }, Kept::LeftOut(LeftOut::Secret)];
    for kept in &kept {
        let (who, head) = EVERYONE.with(|known| *known);
        records.push(read_intent(&Intent { who, head, kept: Some(kept.clone()), ..intent(b"", None) }, None));
    }
    let mut answer =
        Answer { rows: 1, bytes: 1, copied: 1, copied_bytes: 1, sqlstate: Some(*b"22012"), ..Answer::default() };
    answer.note_tag(b"SELECT 1");
    answer.note_tag(b"SELECT 1");
    let ended = Ended::new(Outcome::Lost, &answer, 1);
    records.push(read(|out| outcome(out, *AT, &everyone(), 1, &ended)));
    records.push(read_intent(&intent(b"", None), Some(ended)));
    let texts = [&b"lock table w; insert into s.t select lower(a) from u"[..], &long, b"selec", b"select 'open"];
    for (text, kept) in texts.into_iter().zip(kept.iter().cycle()) {
        let words = Words::of(text, &grammar::read(text));
        let it = Refused {
            n: 1,
            message: Message::Query,
            policy: 1,
            rule: Some("function"),
            sqlstate: *b"42501",
            words: Some(&words),
            text: Some(HashKey::new([9; 32]).mark(text)),
            kept: Some(kept.clone()),
        };
        records.push(read(|out| refused(out, *AT, &everyone(), &it)));
    }
    records.push(read(|out| login(out, *AT, &everyone())));
    records.push(read(|out| disconnect(out, *AT, &everyone(), "x", 1)));
    records.push(read(|out| cancel(out, *AT, "x", Some(1))));
    records.push(read(|out| cancel(out, *AT, "x", None)));
    records.push(read(|out| console(out, *AT, "x", "x", "x")));
    let change = Change { key: "k".to_owned(), before: Some("b".to_owned()), after: Some("a".to_owned()) };
    records.push(read(|out| reload(out, *AT, 1, &vec![change; 201], Some("x"))));
    let failed = LoginFailed { user: Some("u"), database: Some("d"), client: "c", sqlstate: "28P01", error: "x" };
    records.push(read(|out| login_failed(out, *AT, &failed)));
    documented::assert_documented(&records);
}

proptest! {
    #[test]
    fn nothing_that_is_sent_breaks_a_record(text in proptest::collection::vec(any::<u8>(), 0..300), name in ".{0,80}") {
        let record = query(&text);
        prop_assert_eq!(&record["n"], 3);
        let person = Person { user: &name, database: &name, application: &name, reason: Some(&name), ..Person::default() };
        let record = read(|out| login(out, *AT, &Who::new(&person)));
        prop_assert_eq!(&record["session"], 0);
    }

    #[test]
    fn sql_with_json_in_it_breaks_no_record(parts in proptest::collection::vec(
        prop_oneof![
            Just("select "), Just("'"), Just("\""), Just("}\n{\"seq\":8,"), Just("\\"), Just("\0"), Just("\u{2028}"),
            Just("$$"), Just("/*"), Just("--"), Just("1"), Just(" from "), Just("é"), Just("\r\n"), Just("password "),
        ], 0..40)) {
        let text = parts.concat();
        let record = query(text.as_bytes());
        prop_assert_eq!(&record["kind"], "statement");
    }
}
