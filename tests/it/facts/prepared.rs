//! Prepared statements follow the client over backends, and nobody else.

use std::io::Write;
use std::thread;

use crate::rig::Rig;
use crate::talk::*;

// 13
#[test]
fn deallocate_all_and_discard_all_clear_the_names_and_they_can_be_prepared_again() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    for clear in ["DEALLOCATE ALL", "DEALLOCATE PREPARE ALL", "DISCARD ALL", "/* c */ deallocate all;"] {
        for extended in [false, true] {
            assert_eq!(alice.ask(&[parse("s", "SELECT 13"), again("s", &[]), sync()]), "1 2 D(13) C(SELECT 1) Z(I)");
            rig.client("bob").query("SELECT 1");
            let said = if extended {
                alice.ask(&[parse("clear", clear), again("clear", &[]), sync()])
            } else {
                alice.query(clear)
            };
            assert!(said.ends_with(") Z(I)") && !said.contains('E') | said.contains("DEALLOCATE"), "{clear}: {said}");
            assert_eq!(alice.ask(&[again("s", &[]), sync()]), "E(26000) Z(I)", "{clear}");
            assert_eq!(
                alice.ask(&[parse("s", "SELECT 14"), again("s", &[]), sync()]),
                "1 2 D(14) C(SELECT 1) Z(I)",
                "{clear}"
            );
            assert_eq!(alice.ask(&[close_statement("s"), close_statement("clear"), sync()]), "3 3 Z(I)");
        }
    }
}

// 13
#[test]
fn deallocate_all_of_one_client_leaves_the_names_of_the_others() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    let mut bob = rig.client("bob");
    let mut second = rig.client("alice");
    assert_eq!(bob.ask(&[parse("s", "SELECT 'bob'"), sync()]), "1 Z(I)");
    assert_eq!(second.ask(&[parse("s", "SELECT 'second'"), sync()]), "1 Z(I)");
    for clear in ["DEALLOCATE ALL", "DISCARD ALL", "DISCARD PLANS"] {
        alice.query(clear);
        assert_eq!(bob.ask(&[again("s", &[]), sync()]), "2 D(bob) C(SELECT 1) Z(I)", "{clear}");
        assert_eq!(second.ask(&[again("s", &[]), sync()]), "2 D(second) C(SELECT 1) Z(I)", "{clear}");
    }
}

// 14
#[test]
fn a_changed_result_type_heals() {
    let rig = Rig::new();
    let mut admin = rig.superuser();
    admin.query("CREATE TABLE healed (a int); INSERT INTO healed VALUES (1); GRANT ALL ON healed TO PUBLIC");
    let mut alice = rig.client("alice");
    let mut bob = rig.client("bob");
    for client in [&mut alice, &mut bob] {
        assert_eq!(
            client.ask(&[parse("s", "SELECT * FROM healed"), again("s", &[]), sync()]),
            "1 2 D(1) C(SELECT 1) Z(I)"
        );
        assert_eq!(client.ask(&[parse("", "SELECT * FROM healed"), sync()]), "1 Z(I)");
    }
    admin.query("ALTER TABLE healed ADD COLUMN b int DEFAULT 2");
    for (who, client) in [("alice", &mut alice), ("bob", &mut bob)] {
        for name in ["s", ""] {
            let first = client.ask(&[again(name, &[]), sync()]);
            assert!(first == "2 D(1,2) C(SELECT 1) Z(I)" || first == "E(0A000) Z(I)", "{who} {name:?}: {first}");
            if name.is_empty() && first.starts_with('E') {
                continue;
            }
            let second = client.ask(&[bind("", name, &[]), describe_portal(""), execute("", 0), sync()]);
            assert_eq!(second, "2 T(a,b) D(1,2) C(SELECT 1) Z(I)", "{who} {name:?}: an error seen twice");
        }
    }
    // Dropped and made again: the same text, another table.
    admin.query(
        "DROP TABLE healed; CREATE TABLE healed (a int); INSERT INTO healed VALUES (3); GRANT ALL ON healed TO PUBLIC",
    );
    let first = alice.ask(&[again("s", &[]), sync()]);
    assert!(first == "2 D(3) C(SELECT 1) Z(I)" || first == "E(0A000) Z(I)", "{first}");
    assert_eq!(alice.ask(&[again("s", &[]), sync()]), "2 D(3) C(SELECT 1) Z(I)");
}

// 14
#[test]
fn who_prepares_after_a_change_of_the_table_sees_no_error_of_those_who_did_before() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    // The same user: between users a backend forgets what it has prepared.
    let mut other = rig.client("alice");
    assert_eq!(
        alice.query("CREATE TABLE reshaped (a int); INSERT INTO reshaped VALUES (1)"),
        "C(CREATE TABLE) C(INSERT 0 1) Z(I)"
    );
    let text = "SELECT * FROM reshaped";
    let whole =
        [describe_statement("new"), bind("", "new", &[]), execute("", 0), close_statement("new"), sync()].concat();
    for column in ["b", "c"] {
        assert!(alice.ask(&[parse("old", text), again("old", &[]), sync()]).ends_with("C(SELECT 1) Z(I)"));
        // In a transaction of a pipeline: only its end tells others.
        let alter = format!("ALTER TABLE reshaped ADD COLUMN {column} int");
        assert_eq!(other.ask(&[run("SELECT 1", &[]), sync(), run(&alter, &[]), sync()]), "1 2 D(1) C(SELECT 1) Z(I)");
        assert_eq!(other.until_ready(1), "1 2 C(ALTER TABLE) Z(I)");
        let fresh = other.ask(&[parse("new", text), whole.clone()]);
        assert!(!fresh.contains("E(") && fresh.contains("SELECT 1"), "{fresh}");
        assert_eq!(alice.ask(&[again("old", &[]), sync()]), "E(0A000) Z(I)", "as without a proxy");
        assert_eq!(alice.ask(&[close_statement("old"), sync()]), "3 Z(I)");
    }
}

// 15
#[test]
fn a_disconnect_between_parse_and_sync_leaves_no_false_memory() {
    let rig = Rig::new();
    for half in [
        vec![parse("s", "SELECT 15")],
        vec![parse("s", "SELECT 15"), flush()],
        vec![parse("", "SELEKT"), parse("s", "SELECT 15"), flush()],
        vec![parse("", "SELEKT"), parse("s", "SELECT 15")],
        vec![parse("s", "SELECT 15"), vec![b'S', 0]],
    ] {
        for _ in 0..3 {
            let mut alice = rig.client("alice");
            alice.say(&half);
            alice.reset();
            let mut bob = rig.client("bob");
            assert_eq!(bob.ask(&[again("s", &[]), sync()]), "E(26000) Z(I)");
            assert_eq!(bob.ask(&[parse("s", "SELECT 15"), sync()]), "1 Z(I)");
            assert_eq!(bob.ask(&[again("s", &[]), sync()]), "2 D(15) C(SELECT 1) Z(I)");
        }
    }
}

// 15
#[test]
fn a_parse_that_failed_is_never_remembered() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    let mut bob = rig.client("bob");
    assert_eq!(alice.ask(&[parse("s", "SELECT * FROM later"), sync()]), "E(42P01) Z(I)");
    assert_eq!(alice.ask(&[again("s", &[]), sync()]), "E(26000) Z(I)");
    rig.superuser().query("CREATE TABLE later AS SELECT 1 AS i; GRANT ALL ON later TO PUBLIC");
    assert_eq!(bob.ask(&[parse("s", "SELECT * FROM later"), again("s", &[]), sync()]), "1 2 D(1) C(SELECT 1) Z(I)");
    assert_eq!(alice.ask(&[parse("s", "SELECT * FROM later"), again("s", &[]), sync()]), "1 2 D(1) C(SELECT 1) Z(I)");
    // Skipped, for the error came before it.
    let said = alice.ask(&[parse("", "SELEKT"), parse("t", "SELECT 't'"), again("t", &[]), sync()]);
    assert_eq!(said, "E(42601) Z(I)");
    assert_eq!(alice.ask(&[again("t", &[]), sync()]), "E(26000) Z(I)");
    assert_eq!(bob.ask(&[parse("t", "SELECT 't'"), again("t", &[]), sync()]), "1 2 D(t) C(SELECT 1) Z(I)");
    assert_eq!(alice.ask(&[parse("t", "SELECT 't'"), again("t", &[]), sync()]), "1 2 D(t) C(SELECT 1) Z(I)");
    // Prepared in a transaction that is rolled back: a prepared statement outlives it.
    alice.query("BEGIN");
    assert_eq!(alice.ask(&[parse("u", "SELECT 'u'"), sync()]), "1 Z(T)");
    alice.query("ROLLBACK");
    assert_eq!(alice.ask(&[again("u", &[]), sync()]), "2 D(u) C(SELECT 1) Z(I)");
    // Parsed in a transaction that made its table and was rolled back.
    alice.query("BEGIN; CREATE TABLE never (i int)");
    assert_eq!(alice.ask(&[parse("n", "SELECT * FROM never"), sync()]), "1 Z(T)");
    alice.query("ROLLBACK");
    assert_eq!(alice.ask(&[again("n", &[]), sync()]), "E(42P01) Z(I)");
    assert_eq!(alice.ask(&[again("s", &[]), sync()]), "2 D(1) C(SELECT 1) Z(I)");
}

// 16
#[test]
fn evicting_a_statement_never_overtakes_its_bind() {
    let rig = Rig::setup().pool_line("prepared_max = 2").start();
    let mut alice = rig.client("alice");
    let names: Vec<String> = (0..8).map(|i| format!("s{i}")).collect();
    let mut messages: Vec<Vec<u8>> = names.iter().map(|name| parse(name, &format!("SELECT '{name}'"))).collect();
    for name in names.iter().chain(names.iter().rev()) {
        messages.push(again(name, &[]));
    }
    messages.push(sync());
    let rows = |names: &mut dyn Iterator<Item = &String>| {
        names.map(|name| format!("2 D({name}) C(SELECT 1)")).collect::<Vec<_>>().join(" ")
    };
    let all = rows(&mut names.iter().chain(names.iter().rev()));
    assert_eq!(alice.ask(&messages), format!("{} {all} Z(I)", ["1"; 8].join(" ")));
    for _ in 0..3 {
        rig.client("bob").query("SELECT 1");
        let mut messages: Vec<Vec<u8>> = names.iter().map(|name| again(name, &[])).collect();
        messages.push(sync());
        assert_eq!(alice.ask(&messages), format!("{} Z(I)", rows(&mut names.iter())));
    }
    // A portal outlives the eviction of its statement.
    alice.query("BEGIN");
    assert_eq!(alice.ask(&[bind("p", "s0", &[]), sync()]), "2 Z(T)");
    for name in &names[1..] {
        assert_eq!(alice.ask(&[again(name, &[]), sync()]), format!("2 D({name}) C(SELECT 1) Z(T)"));
    }
    assert_eq!(alice.ask(&[execute("p", 0), sync()]), "D(s0) C(SELECT 1) Z(T)");
    alice.query("COMMIT");
}

// 16
#[test]
fn eviction_under_flush_leaves_no_unread_reply() {
    let rig = Rig::setup().pool_line("prepared_max = 1").start();
    let mut alice = rig.client("alice");
    let mut bob = rig.client("bob");
    for round in 0..5 {
        alice.say(&[parse("a", "SELECT 'a'"), parse("b", "SELECT 'b'"), parse("c", "SELECT 'c'"), flush()]);
        assert_eq!(alice.until(b'1', 3), "1 1 1", "round {round}");
        for name in ["a", "b", "c", "a"] {
            alice.say(&[again(name, &[]), flush()]);
            assert_eq!(alice.until(b'C', 1), format!("2 D({name}) C(SELECT 1)"), "round {round}");
        }
        let closes = [close_statement("a"), close_statement("b"), close_statement("c"), sync()];
        assert_eq!(alice.ask(&closes), "3 3 3 Z(I)", "round {round}");
        assert_eq!(bob.query("SELECT 'bob'"), "T(?column?) D(bob) C(SELECT 1) Z(I)", "round {round}");
        assert_eq!(alice.query("SELECT 'alice'"), "T(?column?) D(alice) C(SELECT 1) Z(I)", "round {round}");
    }
}

// 16
#[test]
fn statements_work_with_reuse_turned_off() {
    let rig = Rig::setup().pool_line("prepared_max = 0").start();
    let mut alice = rig.client("alice");
    let mut bob = rig.client("bob");
    assert_eq!(alice.ask(&[parse("a", "SELECT 'a'"), again("a", &[]), sync()]), "1 2 D(a) C(SELECT 1) Z(I)");
    assert_eq!(bob.ask(&[parse("a", "SELECT 'b'"), again("a", &[]), sync()]), "1 2 D(b) C(SELECT 1) Z(I)");
    assert_eq!(alice.ask(&[again("a", &[]), again("a", &[]), sync()]), "2 D(a) C(SELECT 1) 2 D(a) C(SELECT 1) Z(I)");
    assert_eq!(bob.ask(&[describe_statement("a"), again("a", &[]), sync()]), "t() T(?column?) 2 D(b) C(SELECT 1) Z(I)");
}

// 17
#[test]
fn an_error_in_a_pipeline_leaves_the_right_number_of_parse_completes() {
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    let mut bob = rig.client("bob");
    assert_eq!(bob.ask(&[parse("x", "SELECT 'a'"), sync()]), "1 Z(I)");
    for round in 0..5 {
        alice.say(&[
            parse("a", "SELECT 'a'"),
            parse("b", "SELECT 'b'"),
            again("a", &[]),
            again("missing", &[]),
            parse("c", "SELECT 'c'"),
            again("b", &[]),
            sync(),
            parse("c", "SELECT 'c'"),
            again("c", &[]),
            parse("d", "SELECT 1/0"),
            again("d", &[]),
            parse("e", "SELECT 'e'"),
            sync(),
            again("a", &[]),
            sync(),
        ]);
        let want = "1 1 2 D(a) C(SELECT 1) E(26000) Z(I) 1 2 D(c) C(SELECT 1) E(22012) Z(I) 2 D(a) C(SELECT 1) Z(I)";
        // `SELECT 1/0` fails in the Parse or in the Execute, as the planner pleases; both count right.
        let said = alice.until_ready(3).replace("1 2 E(22012)", "E(22012)").replace("1 E(22012)", "E(22012)");
        assert_eq!(said, want, "round {round}");
        let closes: Vec<_> = ["a", "b", "c", "d", "e"].iter().map(|n| close_statement(n)).chain([sync()]).collect();
        assert_eq!(alice.ask(&closes), "3 3 3 3 3 Z(I)", "round {round}");
        assert_eq!(bob.ask(&[again("x", &[]), sync()]), "2 D(a) C(SELECT 1) Z(I)", "round {round}");
    }
}

// 18
#[test]
fn missing_and_duplicate_names_get_postgresqls_own_codes() {
    // A SQL PREPARE keeps its backend.
    let rig = Rig::setup().pool(2).start();
    let mut alice = rig.client("alice");
    for (messages, want) in [
        (vec![bind("", "missing", &[]), sync()], "E(26000) Z(I)"),
        (vec![describe_statement("missing"), sync()], "E(26000) Z(I)"),
        (vec![execute("missing", 0), sync()], "E(34000) Z(I)"),
        (vec![describe_portal("missing"), sync()], "E(34000) Z(I)"),
        (vec![parse("twice", "SELECT 1"), parse("twice", "SELECT 1"), sync()], "1 E(42P05) Z(I)"),
        (vec![parse("twice", "SELECT 2"), sync()], "E(42P05) Z(I)"),
        (vec![query("EXECUTE missing")], "E(26000) Z(I)"),
        (vec![query("DEALLOCATE missing")], "E(26000) Z(I)"),
        (vec![query("PREPARE pair AS SELECT 1"), query("PREPARE pair AS SELECT 2")], "C(PREPARE) Z(I)"),
    ] {
        assert_eq!(alice.ask(&messages), want);
    }
    assert_eq!(alice.until_ready(1), "E(42P05) Z(I)");
    // The unnamed ones before anything was parsed.
    let mut fresh = rig.client("alice");
    assert_eq!(fresh.ask(&[bind("", "", &[]), sync()]), "E(26000) Z(I)");
    assert_eq!(fresh.ask(&[execute("", 0), sync()]), "E(34000) Z(I)");
    assert_eq!(fresh.ask(&[describe_statement(""), sync()]), "E(26000) Z(I)");
    // A name that another client has is not a name that this one has.
    assert_eq!(rig.client("bob").ask(&[again("twice", &[]), sync()]), "E(26000) Z(I)");
    // Too many or too few parameters.
    assert_eq!(alice.ask(&[parse("one", "SELECT $1::int"), bind("", "one", &[]), sync()]), "1 E(08P01) Z(I)");
    assert_eq!(alice.ask(&[again("one", &[Some("1")]), sync()]), "2 D(1) C(SELECT 1) Z(I)");
}

// 19
#[test]
fn sixty_four_thousand_bind_messages_complete() {
    const BINDS: usize = 65_536;
    let rig = Rig::new();
    let mut alice = rig.client("alice");
    let mut writer = alice.writer();
    let feeder = thread::spawn(move || {
        let mut out = parse("s", "SELECT $1::int4");
        for i in 0..BINDS {
            out.extend(again("s", &[Some(&i.to_string())]));
            if out.len() > 1 << 16 {
                writer.write_all(&out).expect("the proxy reads on");
                out.clear();
            }
        }
        out.extend(sync());
        writer.write_all(&out).expect("the proxy reads on");
    });
    let (mut binds, mut rows, mut completes) = (0, 0, 0);
    loop {
        let reply = alice.reply();
        match reply.tag {
            b'1' => {}
            b'2' => binds += 1,
            b'D' => {
                let value = row(&reply.body).remove(0).expect("not null");
                assert_eq!(value, rows.to_string().into_bytes());
                rows += 1;
            }
            b'C' => completes += 1,
            b'Z' => break,
            other => panic!("{:?} {:?}", other as char, alice.error),
        }
    }
    feeder.join().expect("the feeder ends");
    assert_eq!((binds, rows, completes), (BINDS, BINDS, BINDS));
    assert_eq!(rig.client("bob").query("SELECT 'bob'"), "T(?column?) D(bob) C(SELECT 1) Z(I)");
}

// 19
#[test]
fn a_bind_of_65535_parameters_completes() {
    let rig = Rig::setup().server_line("statement_size_max = \"2MiB\"").start();
    let mut alice = rig.client("alice");
    let list = (1..=65_535).map(|n| format!("${n}::int4")).collect::<Vec<_>>().join("),(");
    let values: Vec<Option<&str>> = vec![Some("1"); 65_535];
    let sql = format!("SELECT count(*) FROM (VALUES ({list})) v");
    let said = alice.ask(&[parse("", &sql), bind("", "", &values), execute("", 0), sync()]);
    assert_eq!(said, "1 2 D(65535) C(SELECT 1) Z(I)");
}

// 20
#[test]
fn a_statement_means_what_its_session_makes_of_it() {
    let rig = Rig::new();
    let mut admin = rig.superuser();
    for schema in ["one", "two"] {
        admin.query(&format!("CREATE SCHEMA {schema}; GRANT ALL ON SCHEMA {schema} TO PUBLIC"));
        admin.query(&format!(
            "CREATE TABLE {schema}.place AS SELECT '{schema}' AS here; GRANT ALL ON {schema}.place TO PUBLIC"
        ));
    }
    let text = "SELECT here FROM place";
    let mut alice = rig.client_with("alice", &[("search_path", "one")]);
    let mut bob = rig.client_with("bob", &[("options", "-c search_path=two")]);
    let mut second = rig.client("alice");
    assert_eq!(second.query("SET search_path = two"), "C(SET) Z(I)");
    for round in 0..3 {
        for (client, here) in [(&mut alice, "one"), (&mut bob, "two"), (&mut second, "two")] {
            if round == 0 {
                assert_eq!(client.ask(&[parse("p", text), sync()]), "1 Z(I)");
            }
            assert_eq!(client.ask(&[again("p", &[]), sync()]), format!("2 D({here}) C(SELECT 1) Z(I)"));
            assert_eq!(client.ask(&[run(text, &[]), sync()]), format!("1 2 D({here}) C(SELECT 1) Z(I)"));
        }
    }
    // Within one session as well.
    second.query("SET search_path = one");
    assert_eq!(second.ask(&[again("p", &[]), sync()]), "2 D(one) C(SELECT 1) Z(I)");
    assert_eq!(bob.ask(&[again("p", &[]), sync()]), "2 D(two) C(SELECT 1) Z(I)");
    // Declared parameter types are part of a statement's meaning.
    assert_eq!(
        alice.ask(&[parse_typed("t", "SELECT pg_typeof($1)", &[23]), again("t", &[Some("1")]), sync()]),
        "1 2 D(integer) C(SELECT 1) Z(I)"
    );
    assert_eq!(
        bob.ask(&[parse_typed("t", "SELECT pg_typeof($1)", &[20]), again("t", &[Some("1")]), sync()]),
        "1 2 D(bigint) C(SELECT 1) Z(I)"
    );
    assert_eq!(alice.ask(&[again("t", &[Some("1")]), sync()]), "2 D(integer) C(SELECT 1) Z(I)");
}
