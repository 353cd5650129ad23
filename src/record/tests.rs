//! Records are one line, and say what they were given; what must not be in them is not.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::sql::grammar;

const AT: At = At { unix_us: 1_764_000_000_123_456, mono_us: 42 };

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

fn query(text: &[u8]) -> Value {
    let words = Words::of(text, &grammar::read(text));
    let it = Forwarded {
        n: 3,
        message: Message::Query,
        verdict: Verdict::Allow,
        policy: 2,
        node: "db1:5432",
        backend: 4711,
        words: Some(&words),
        text: Some(text),
        parameters: None,
    };
    read(|out| statement(out, AT, &who(), &it))
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
        "length": 51, "sha256": record["sha256"],
    });
    assert_eq!(record, expected);
    assert_eq!(record["sha256"].as_str().map(str::len), Some(32));
    assert_ne!(query(b"SELECT * FROM invoices WHERE id = 43 AND note = 'x'")["sha256"], record["sha256"]);
}

#[test]
fn an_outcome_says_what_came_of_it() {
    let mut answer = Answer { rows: 2, bytes: 80, sqlstate: Some(*b"22012"), ..Answer::default() };
    answer.note_tag(b"SELECT 2");
    answer.note_tag(b"INSERT 0 1");
    let record = read(|out| outcome(out, AT, &who(), 5, Outcome::Failed, &answer, 1234));
    let expected = serde_json::json!({
        "seq": 7, "v": 1, "kind": "outcome", "time": "2025-11-24T16:00:00.123456Z", "mono": 42,
        "session": 17, "tenant": "acme", "user": "acme_app", "of": 5, "outcome": "failed", "us": 1234,
        "tag": "SELECT 2; INSERT 0 1", "tags": 2, "rows": 2, "bytes": 80, "sqlstate": "22012",
    });
    assert_eq!(record, expected);
    // Any number of tags, of any length, from a server that is not to be trusted.
    let mut answer = Answer { sqlstate: Some(*b"\"},{\n"), ..Answer::default() };
    for length in [0, 1, 90, 93, 94, 95, 200] {
        answer.note_tag(&vec![b'x'; length]);
        answer.note_tag(b"\"\n\0");
    }
    let record = read(|out| outcome(out, AT, &who(), 5, Outcome::Completed, &answer, 0));
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
    let key = HashKey::new([7; 32]);
    let bind = |show, values: &[u8]| {
        let parameters = Parameters { values, types: &types, policy: show, key: Some(&key) };
        let it = Forwarded {
            n: 1,
            message: Message::Bind,
            verdict: Verdict::Allow,
            policy: 1,
            node: "",
            backend: 1,
            words: None,
            text: None,
            parameters: Some(parameters),
        };
        read(|out| statement(out, AT, &who(), &it))
    };
    let omitted = bind(Show::Omit, &values);
    assert_eq!(omitted["parameters_count"], 3);
    assert_eq!(
        omitted["parameters"],
        serde_json::json!([
            {"type": 25, "format": "text", "length": 23},
            {"type": 20, "format": "binary", "length": 8},
            {"type": 0, "format": "text", "null": true},
        ])
    );
    let hashed = bind(Show::Hash, &values);
    assert_eq!(hashed["parameters"][0]["hash"].as_str().map(str::len), Some(32));
    assert_ne!(hashed["parameters"][0]["hash"], hashed["parameters"][1]["hash"]);
    let clear = bind(Show::Clear, &values);
    assert_eq!(clear["parameters"][0]["value"], "secret [card]");
    assert_eq!(clear["parameters"][1]["value"], "[card]");
    // However much of it is here.
    for end in 0..values.len() {
        for show in [Show::Omit, Show::Hash, Show::Clear] {
            bind(show, &values[..end]);
        }
    }
}

#[test]
fn secrets_planted_in_any_place_of_a_text_are_in_no_record() {
    let secrets =
        ["hunter2hunter2", "4111111111111111", "4111-1111-1111-1111", "SCRAM-SHA-256$4096:c2FsdA==$c3Rv:c2Vydg=="];
    let places: [fn(&str) -> String; 20] = [
        |it| format!("SELECT '{it}'"),
        |it| format!("SELECT E'\\'{it}'"),
        |it| format!("SELECT $q${it}$q$"),
        |it| format!("SELECT U&'{it}'"),
        |it| format!("SELECT 1 -- {it}"),
        |it| format!("SELECT 1 /* /* {it} */ */"),
        |it| format!("ALTER ROLE r PASSWORD '{it}'"),
        |it| format!("CREATE USER r WITH ENCRYPTED PASSWORD '{it}' VALID UNTIL 'infinity'"),
        |it| format!("CREATE SUBSCRIPTION s CONNECTION 'host=a password={it}' PUBLICATION p"),
        |it| format!("CREATE USER MAPPING FOR r SERVER s OPTIONS (user 'u', password '{it}')"),
        |it| format!("SELECT * FROM dblink('postgresql://u:{it}@h/d', 'select 1') AS t(a int)"),
        |it| format!("SET app.token = '{it}'"),
        |it| format!("COPY (SELECT '{it}') TO STDOUT"),
        |it| format!("PREPARE p AS SELECT '{it}'"),
        |it| format!("EXECUTE p('{it}')"),
        |it| format!("DO $$ BEGIN PERFORM '{it}'; END $$"),
        |it| format!("SELECT 'open {it}"),
        |it| format!("SELEC '{it}' '{it}'"),
        |it| format!("ALTER ROLE r PASSWORD 'it's {it}'"),
        |it| format!("NOTIFY c, '{it}'"),
    ];
    for secret in secrets {
        for place in places {
            let text = place(secret);
            let record = query(text.as_bytes()).to_string();
            assert!(!record.contains(secret), "{text}: {record}");
        }
    }
    // Numbers of cards as names, and glued to others.
    for place in
        ["SELECT 1 AS \"x 4111 1111 1111 1111\"", "SELECT c4111111111111111", "SELECT 1 FROM t4111111111111111"]
    {
        let record = query(place.as_bytes()).to_string();
        assert!(!record.contains("1111111111") && !record.contains("1111 1111"), "{record}");
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
    let record = read(|out| login_failed(out, AT, &failed));
    assert_eq!(record["user"], "x\n{\"seq\":1}");
    assert_eq!(record["error"], "password of [card] wrong");
    assert_eq!(read(|out| login(out, AT, &who()))["kind"], "login");
    assert_eq!(read(|out| disconnect(out, AT, &who(), "terminated", 9))["messages"], 9);
    assert_eq!(read(|out| cancel(out, AT, "10.0.0.1:1", None))["found"], false);
    assert_eq!(read(|out| cancel(out, AT, "10.0.0.1:1", Some(4)))["target"], 4);
    assert_eq!(read(|out| console(out, AT, "ops", "local", "RELOAD"))["command"], "RELOAD");
    let change = Change { key: "pool.size".to_owned(), before: Some("1".to_owned()), after: None };
    let record = read(|out| reload(out, AT, 4, &[change], Some("bad")));
    assert_eq!(record["changes"], serde_json::json!([{"key": "pool.size", "before": "1"}]));
    assert_eq!((&record["taken"], &record["error"]), (&Value::from(false), &Value::from("bad")));
}

#[test]
fn every_member_is_documented() {
    let documented = include_str!("../../docs/audit.md");
    let text = b"insert into s.t select lower(a) from u, pg_catalog.now(); lock table w; selec";
    let mut records = vec![query(text), query(b"lock table w; insert into s.t select lower(a) from u")];
    let values = [0, 0, 0, 1, 0, 0, 0, 1, b'x', 0, 0];
    let key = HashKey::new([1; 32]);
    for policy in [Show::Hash, Show::Clear] {
        let parameters = Parameters { values: &values, types: &[], policy, key: Some(&key) };
        let it = Forwarded {
            n: 1,
            message: Message::Bind,
            verdict: Verdict::Rewrite,
            policy: 1,
            node: "",
            backend: 1,
            words: None,
            text: None,
            parameters: Some(parameters),
        };
        records.push(read(|out| statement(out, AT, &who(), &it)));
    }
    let mut answer =
        Answer { rows: 1, bytes: 1, copied: 1, copied_bytes: 1, sqlstate: Some(*b"22012"), ..Answer::default() };
    answer.note_tag(b"SELECT 1");
    answer.note_tag(b"SELECT 1");
    records.push(read(|out| outcome(out, AT, &who(), 1, Outcome::Lost, &answer, 1)));
    let it = Refused {
        n: 1,
        message: Message::Query,
        policy: 1,
        rule: Some("function"),
        sqlstate: *b"42501",
        words: None,
        text: Some(b"x"),
    };
    records.push(read(|out| refused(out, AT, &who(), &it)));
    records.push(read(|out| disconnect(out, AT, &who(), "x", 1)));
    records.push(read(|out| cancel(out, AT, "x", Some(1))));
    records.push(read(|out| console(out, AT, "x", "x", "x")));
    records.push(read(|out| reload(out, AT, 1, &[], Some("x"))));
    let failed = LoginFailed { user: None, database: None, client: "", sqlstate: "", error: "x" };
    records.push(read(|out| login_failed(out, AT, &failed)));
    for record in records {
        for key in record.as_object().expect("an object").keys() {
            assert!(documented.contains(&format!("| `{key}` |")), "{key} is not in docs/audit.md");
        }
    }
}

proptest! {
    #[test]
    fn nothing_that_is_sent_breaks_a_record(text in proptest::collection::vec(any::<u8>(), 0..300), name in ".{0,80}") {
        let record = query(&text);
        prop_assert_eq!(&record["n"], 3);
        let person = Person { user: &name, database: &name, application: &name, reason: Some(&name), ..Person::default() };
        let record = read(|out| login(out, AT, &Who::new(&person)));
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
