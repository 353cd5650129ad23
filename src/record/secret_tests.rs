//! Secrets sent by every route are in no record.

use super::*;

/// What nobody may read in a record, in forms that SQL takes inside quotes.
fn secret() -> impl Strategy<Value = String> {
    prop_oneof![
        "Zq[A-Za-z0-9]{8,14}",
        "[0-9a-f]{32}".prop_map(|hash| format!("md5{hash}")),
        "[A-Za-z0-9+/]{22}".prop_map(|salt| format!("SCRAM-SHA-256$4096:{salt}==$c3Rv:c2Vydg==")),
        Just("4111111111111111".to_owned()),
        Just("4111 1111 1111 1111".to_owned()),
        Just("3782-822463-10005".to_owned()),
    ]
}

/// Ways to write a string.
const STRINGS: [fn(&str) -> String; 9] = [
    |it| format!("'{it}'"),
    |it| format!("E'\\'{it}'"),
    |it| format!("e'{it}\\\\'"),
    |it| format!("$${it}$$"),
    |it| format!("$tag$ ' {it} $$ $tag$"),
    |it| format!("U&'{it}'"),
    |it| format!("u&'{it}' UESCAPE '!'"),
    |it| format!("N'{it}'"),
    |it| format!("'a'\n  '{it}'"),
];

/// Statements that have a string.
const PLACES: [fn(&str) -> String; 34] = [
    |it| format!("SELECT {it}"),
    |it| format!("SELECT * FROM t WHERE a = {it} AND b"),
    |it| format!("INSERT INTO t VALUES ({it}), ({it})"),
    |it| format!("UPDATE t SET password = {it} WHERE b = {it}"),
    |it| format!("ALTER ROLE r PASSWORD {it}"),
    |it| format!("ALTER USER r WITH PASSWORD {it} VALID UNTIL 'infinity'"),
    |it| format!("CREATE ROLE r LOGIN ENCRYPTED PASSWORD {it}"),
    |it| format!("CREATE USER r PASSWORD {it} IN ROLE s"),
    |it| format!("ALTER ROLE r SET app.key TO {it}"),
    |it| format!("ALTER DATABASE d SET app.key = {it}"),
    |it| format!("ALTER SYSTEM SET primary_conninfo = {it}"),
    |it| format!("SET app.token = {it}"),
    |it| format!("SET LOCAL app.token TO a, {it}"),
    |it| format!("SELECT set_config('app.token', {it}, true)"),
    |it| format!("CREATE SUBSCRIPTION s CONNECTION {it} PUBLICATION p"),
    |it| format!("ALTER SUBSCRIPTION s CONNECTION {it}"),
    |it| format!("CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (host 'h', password {it})"),
    |it| format!("CREATE USER MAPPING FOR r SERVER s OPTIONS (user 'u', password {it})"),
    |it| format!("ALTER USER MAPPING FOR r SERVER s OPTIONS (SET password {it})"),
    |it| format!("SELECT * FROM dblink({it}, 'select 1') AS t (a int)"),
    |it| format!("SELECT dblink_connect('c', {it})"),
    |it| format!("COPY (SELECT {it}) TO STDOUT"),
    |it| format!("COPY t TO PROGRAM {it}"),
    |it| format!("PREPARE p AS SELECT {it}"),
    |it| format!("EXECUTE p ({it})"),
    |it| format!("EXPLAIN ANALYZE SELECT {it}"),
    |it| format!("DECLARE c CURSOR FOR SELECT {it}"),
    |it| format!("DO {it}"),
    |it| format!("CALL f({it}, x => {it})"),
    |it| format!("NOTIFY c, {it}"),
    |it| format!("COMMENT ON TABLE t IS {it}"),
    |it| format!("CREATE FUNCTION f() RETURNS text LANGUAGE sql AS {it}"),
    |it| format!("CREATE TABLE t (a text DEFAULT {it}, CHECK (a <> {it}))"),
    |it| format!("SELECT 1; SELECT {it}; ROLLBACK"),
];

/// What becomes of a text around a secret: the grammar accepts some of it.
const BREAKS: [fn(&str) -> String; 12] = [
    |it| it.to_owned(),
    |it| format!("{it} x y z ("),
    |it| format!("SELEC {it}"),
    |it| format!("{it}'"),
    |it| format!("'{it}"),
    |it| format!("\"{it}"),
    |it| format!("$$ {it}"),
    |it| format!("/* {it}"),
    |it| format!("-- x\n{it} -- y"),
    |it| format!("{}{it}", "(".repeat(300)),
    |it| format!("{it}\0"),
    |it| format!("{} x y z (", it.replace(['\'', '$'], "")),
];

/// A record as text does not have the secret, whatever is between its parts, nor the secret's digits where it is a number.
fn assert_hidden(record: &Value, secret: &str, sent: &str) {
    let shown = record.to_string();
    assert!(!shown.contains(secret), "{sent}\n{shown}");
    let part = secret.split(['$', ' ', '-', ':']).find(|part| part.len() > 8 && !part.starts_with("SCRAM"));
    assert!(part.is_none_or(|part| !shown.contains(part)), "{sent}\n{shown}");
    let digits: String = secret.chars().filter(char::is_ascii_digit).collect();
    let of_record: String = shown.chars().filter(char::is_ascii_digit).collect();
    assert!(digits.len() < 13 || !of_record.contains(&digits), "{sent}\n{shown}");
}

#[test]
fn places_are_sql() {
    let is_sql = |place: &&fn(&str) -> String| grammar::read(place("'x'").as_bytes()).failure.is_none();
    assert_eq!(PLACES.iter().filter(is_sql).count(), PLACES.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_literal_is_in_no_record(
        secret in secret(),
        string in prop::sample::select(&STRINGS[..]),
        place in prop::sample::select(&PLACES[..]),
        broken in prop::sample::select(&BREAKS[..]),
    ) {
        let text = broken(&place(&string(&secret)));
        assert_hidden(&query(text.as_bytes()), &secret, &text);
    }

    #[test]
    fn a_comment_is_in_no_record(secret in secret(), place in prop::sample::select(&PLACES[..])) {
        for comment in [format!("/* {secret} */"), format!("/* /* */ {secret} */"), format!("-- {secret}\n")] {
            let text = place("'x'").replace(' ', &format!(" {comment} "));
            assert_hidden(&query(text.as_bytes()), &secret, &text);
        }
    }

    /// A word where a string should be: PostgreSQL refuses it or takes it for a name, and it may be a password all the same.
    #[test]
    fn a_word_behind_a_secret_s_name_is_in_no_record(
        secret in "zq[a-z0-9]{8,14}",
        before in prop::sample::select(vec![
            "ALTER ROLE r PASSWORD", "CREATE USER r PASSWORD =", "SET app.token =", "SET app.token TO", "ALTER ROLE r SET x.y =",
            "ALTER SYSTEM SET a =", "CREATE PUBLICATION p WITH (password =", "EXPLAIN (secret", "SET SESSION api_key TO on,",
            "CREATE USER MAPPING FOR r SERVER s OPTIONS (password", "update t set a = 1; set x.y to", "IDENTIFIED BY PASSWORD",
        ]),
        quote in prop::sample::select(vec!["", "\""]),
        after in "[;) ]{0,2}( x)?",
    ) {
        let text = format!("{before} {quote}{secret}{quote}{after}");
        assert_hidden(&query(text.as_bytes()), &secret, &text);
    }

    #[test]
    fn a_card_in_a_name_is_in_no_record(
        place in prop::sample::select(vec![
            "SELECT 1 AS \"x @\"", "SELECT * FROM \"@\"", "SELECT \"a\".\"@\" FROM a", "SELECT f@()", "SELECT \"f @\"()",
            "SAVEPOINT \"@\"", "INSERT INTO t (\"@\") VALUES (1)", "LISTEN \"@\"", "SELECT x@ FROM t@", "SELECT U&\"@\" FROM U&\"@\"",
            "LOCK TABLE \"x@y\"", "SELECT $@", "SELECT @", "SELECT -@.5", "SELECT 0x@",
        ]),
        card in prop::sample::select(vec!["4111111111111111", "5555555555554444", "4111_1111_1111_1111", "378282246310005"]),
    ) {
        let text = place.replace('@', card);
        assert_hidden(&query(text.as_bytes()), card, &text);
    }

    #[test]
    fn a_value_of_a_bind_is_in_no_record(secret in secret(), oid in prop::sample::select(vec![0u32, 25, 1043, 17, 3802, 114])) {
        let values = text_values([secret.as_bytes(), format!("a={secret}").as_bytes()]);
        for others in [Show::Omit, Show::Hash] {
            let record = bind(&values, &oid.to_be_bytes().repeat(2), others);
            assert_hidden(&record, &secret, "");
        }
    }

    /// In clear is what nobody called a secret.
    #[test]
    fn a_card_in_a_value_in_clear_is_in_no_record(
        card in prop::sample::select(vec!["4111111111111111", "5555555555554444", "378282246310005", "4222222222222"]),
        separator in prop::sample::select(vec!["", " ", "-", "."]),
        around in "[a-z{}\",: ]{0,5}",
    ) {
        let groups: Vec<&str> = card.as_bytes().chunks(4).map(|it| std::str::from_utf8(it).expect("digits")).collect();
        let text = format!("{around}{}{around}", groups.join(separator));
        let number: i64 = card.parse().expect("a number");
        let numeric = {
            // Four digits in each word: weight, sign, scale before them.
            let groups: Vec<u16> = format!("{number:020}").as_bytes().chunks(4)
                .map(|it| std::str::from_utf8(it).expect("digits").parse().expect("a number")).collect();
            let head = [groups.len() as u16, groups.len() as u16 - 1, 0, 0];
            head.iter().chain(&groups).flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>()
        };
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        let jsonb = [&[1][..], format!("{{\"a\":\"{text}\"}}").as_bytes()].concat();
        let all: [(u32, u8, &[u8]); 13] = [
            (25, 0, text.as_bytes()), (25, 1, text.as_bytes()), (0, 0, text.as_bytes()), (0, 1, text.as_bytes()),
            (1043, 1, text.as_bytes()), (17, 1, text.as_bytes()), (17, 0, hex.as_bytes()), (20, 0, card.as_bytes()),
            (20, 1, &number.to_be_bytes()), (1700, 1, &numeric), (3802, 1, &jsonb), (114, 1, &jsonb[1..]), (701, 0, card.as_bytes()),
        ];
        for (oid, format, value) in all {
            let body = [&[0, 1, 0, format, 0, 1][..], &(value.len() as u32).to_be_bytes(), value].concat();
            let record = bind(&body, &oid.to_be_bytes(), Show::Clear);
            assert_hidden(&record, card, &format!("{oid} {format}"));
            prop_assert!(!record.to_string().contains(&text));
        }
        for text in [format!("\\x{hex}"), format!("{{\"\\\\x{hex}\"}}")] {
            let record = bind(&text_values([text.as_bytes()]), &[], Show::Clear);
            prop_assert!(!record.to_string().contains(&hex));
        }
    }

    #[test]
    fn what_a_client_calls_itself_hides_its_secrets(secret in secret(), padding in 0usize..400) {
        let secret = if secret.starts_with("Zq") { format!("password={secret}") } else { secret };
        let text = format!("{}{secret}", " ".repeat(padding));
        let person = Person { user: &text, database: &text, application: &text, reason: Some(&text), ..Person::default() };
        let hidden = secret.trim_start_matches("password=");
        let failed = LoginFailed { user: Some(&text), database: Some(&text), client: "c", sqlstate: "28P01", error: &text };
        let change = Change { key: text.clone(), before: Some(text.clone()), after: Some(text.clone()) };
        for record in [
            read(|out| login(out, *AT, &Who::new(&person))),
            read(|out| login_failed(out, *AT, &failed)),
            read(|out| console(out, *AT, &text, "c", &text)),
            read(|out| reload(out, *AT, 1, std::slice::from_ref(&change), Some(&text))),
        ] {
            assert_hidden(&record, hidden, &text);
        }
        let mut answer = Answer::default();
        answer.note_tag(secret.as_bytes());
        let record = read(|out| outcome(out, *AT, &who(), 1, &Ended::new(Outcome::Completed, &answer, 1)));
        assert_hidden(&record, hidden, &text);
    }
}

proptest! {
    /// So all of them can share what was encoded for one.
    #[test]
    fn texts_of_one_shape_have_the_same_words(
        parts in prop::collection::vec((0usize..12, 0usize..3, 0usize..3), 1..12),
    ) {
        const TOKENS: [[&str; 3]; 12] = [
            ["1", "22", "333"], ["'a'", "$$b$$", "E'\\'c'"], ["1.5", "2e3", ".7"], ["b'1'", "B'0'", "b''"],
            ["a", "a", "a"], ["\"B b\"", "\"B b\"", "\"B b\""], [",", ",", ","], ["=", "=", "="],
            ["select", "select", "select"], ["$1", "$1", "$1"], ["(", "(", "("], ["x'f'", "X'0'", "x''"],
        ];
        const SPACES: [&str; 3] = [" ", "\n\t", " /* zq */ -- zq\n"];
        let text = |which: fn(&(usize, usize, usize)) -> usize| {
            parts.iter().map(|part| format!("{}{}", TOKENS[part.0][which(part)], SPACES[which(part)])).collect::<String>()
        };
        let (one, other) = (text(|part| part.1), text(|part| part.2));
        let shape = |text: &str| {
            let mut shape = Vec::new();
            crate::sql::shape::write(text.as_bytes(), &mut shape).then_some(shape)
        };
        // Strings on two lines are one.
        prop_assume!(shape(&one) == shape(&other));
        let analysis = grammar::read(one.as_bytes());
        let of_shape = crate::sql::Analysis { spans: crate::sql::Spans::Shape, ..analysis.clone() };
        prop_assert_eq!(Words::of(one.as_bytes(), &analysis), Words::of(other.as_bytes(), &of_shape));
        prop_assert!(!query(one.as_bytes()).to_string().contains("zq"));
    }
}
